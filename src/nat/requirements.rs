//! What the RFCs ask of a NAT, one by one, and which test holds it: RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP), 6888 (carrier-grade)
//! and 7857 (updates).
//!
//! Each row is one demand, in words of our own: its number, and its letter if it has one; its level, RECOMMENDED being a SHOULD;
//! what it asks; how it is met; the tests. A test is a path in this library, `tests/FILE.rs::NAME`, or a step of
//! `scripts/demo SCENARIO`. What is not met says `unmet`, and why; what is only allowed, and not there, `not done`.
//!
//! Guarantees: `tests/requirements.rs` refuses a demand without a row, a row without its test, a test that isn't there, and a
//! MUST that is not met.
//!
//! # RFC 4787: UDP
//!
//! | demand | level | asks | how | tests |
//! |---|---|---|---|---|
//! | REQ-1 | MUST | one mapping of an endpoint for all destinations | the default; another class where the operator chooses it for a pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering`, `demo cgn: nine classes by coturn and stun` |
//! | REQ-2 | SHOULD | one public address for each inside address | a subscriber stays on the address of its first block | `nat::nat44::requirements_tests::a_subscriber_stays_on_its_address_and_is_refused_when_that_is_full` |
//! | REQ-3 | MUST | no two inside endpoints on one public port | a port is taken, or the packet refused | `nat::nat44::behaviour_tests::promises_hold`, `nat::nat44::requirements_tests::a_class_stays_as_it_is_where_numbers_clash_and_ports_run_out` |
//! | REQ-3 a | SHOULD | ports below 1,024 to ports below 1,024, others to others | unmet: those below 1,024 get one from 1,024 on, so that no subscriber seems to serve what is well known; a whole address keeps all | - |
//! | REQ-4 | SHOULD | even ports to even ones, odd to odd | `port_selection = "preserve-parity"`; random is the default (RFC 7857 section 8) | `nat::nat44::behaviour_tests::ports_are_chosen_as_the_pool_says` |
//! | REQ-5 | MUST | UDP mappings live for two minutes at the least | five by default; less is warned about, with this name | `nat::session::tests::the_defaults_are_those_of_the_rfcs`, `tests/config_accepted.rs::what_is_odd_is_warned_about_at_its_place` |
//! | REQ-5 a | MAY | less for well-known destination ports | `udp_ports` | `nat::session::tests::udp_ports_have_their_own_time` |
//! | REQ-5 b | MAY | a time that can be configured | `udp` | `tests/config_accepted.rs::life_times_have_parts_of_their_own` |
//! | REQ-5 c | SHOULD | five minutes by default | as it says | `nat::session::tests::the_defaults_are_those_of_the_rfcs` |
//! | REQ-6 | MUST | packets from inside keep a mapping | each sets the clock of its session, and a mapping lives as long as one of its sessions | `nat::session::tests::udp_inbound_refreshes_only_where_it_may`, `nat::nat44::behaviour_tests::strangers_alone_keep_no_mapping_alive` |
//! | REQ-6 a | MAY | packets from outside may, too | `udp_inbound_refresh` | `nat::session::tests::udp_inbound_refreshes_only_where_it_may` |
//! | REQ-7 | MUST | an outside network may have the numbers of an inside one | each key has its realm: an address is one host in each | `nat::nat44::requirements_tests::an_outside_host_may_have_an_inside_hosts_address` |
//! | REQ-8 | SHOULD | filters that depend on no endpoint; strict ones on the address | the default; the other classes by pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering` |
//! | REQ-8 a | MAY | a filter that can be configured | `filtering`, by pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering`, `tests/config_accepted.rs::pools_inherit_what_they_do_not_say` |
//! | REQ-9 | MUST | subscribers reach each other by public endpoints | two sessions, one at each home | `nat::nat44::tests::hairpin_shows_the_external_source_and_can_be_off`, `demo cgn: hairpin by coturn and stun` |
//! | REQ-9 a | MUST | and see public sources | the first of them translates the source | `nat::nat44::tests::hairpin_shows_the_external_source_and_can_be_off`, `demo nat44: UDP hairpin` |
//! | REQ-10 | SHOULD | no gateways for protocols over UDP | there is no application layer gateway: payloads leave as they came | `dataplane::rewrite::tests::fast_is_general_is_built_anew` |
//! | REQ-10 a | SHOULD | each gateway by itself on or off | there is none | `dataplane::rewrite::tests::fast_is_general_is_built_anew` |
//! | REQ-11 | MUST | behaviour that never changes | a class is the pool's; where a number or room is missing the packet is refused | `nat::nat44::requirements_tests::a_class_stays_as_it_is_where_numbers_clash_and_ports_run_out` |
//! | REQ-12 | MUST | no ICMP message ends a mapping | errors only look sessions up | `nat::icmp_error::tests::a_session_takes_no_notice_of_errors` |
//! | REQ-12 a | SHOULD | ICMP from any source by default | any router may report; the quote decides | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet` |
//! | REQ-12 b | SHOULD | destination unreachable is translated | as all errors | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet`, `nat::icmp_error::tests::from_the_inside_the_sender_reads_its_own_packet_and_no_private_address` |
//! | REQ-13 | MUST | too big and DF: the host is told | fragmentation needed, with the next link's MTU | `tests/golden.rs::one_worker`, `tests/hairpin_live.rs::who_sends_too_much_by_a_hairpin_is_told`, `demo network: IPv4 path MTU from inside` |
//! | REQ-13 a | MUST | too big without DF: fragments | cut behind the translation, of a fresh identification | `tests/fragments.rs::what_the_edge_cuts_has_its_identification`, `tests/fragments.rs::datagrams_of_64_kib_arrive_over_smaller_links`, `packet::ipv4::fragment::tests::fragments_reassemble` |
//! | REQ-13 a | SHOULD | fragments leave in order | as they are cut | `packet::ipv4::fragment::tests::fragments_reassemble` |
//! | REQ-14 | MUST | fragments arrive in any order | others wait for the one that has the ports | `tests/fragments.rs::datagrams_of_64_kib_arrive_with_one_worker`, `tests/fragments.rs::a_storm_of_fragments_is_not_mixed_up`, `demo cgn: 64 KiB in shuffled fragments` |
//! | REQ-14 a | MUST | floods of fragments harm nothing else | places by kind and by source, of an age | `nat::fragments::tests::a_flood_out_of_order_leaves_what_is_in_order_alone`, `nat::fragments::tests::one_source_starves_no_other` |
//!
//! # RFC 5382: TCP
//!
//! | demand | level | asks | how | tests |
//! |---|---|---|---|---|
//! | REQ-1 | MUST | one mapping of an endpoint for all destinations | as for UDP | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering` |
//! | REQ-2 | MUST | every valid sequence of segments, whoever opens | states are told by flags; each segment of a session is translated | `tests/tcp_state.rs::connections_are_in_the_state_that_their_segments_say`, `flow::tcp::tests::it_is_what_the_model_says` |
//! | REQ-2 a | MUST | simultaneous open | the inner SYN makes the session that the outer one was held for | `flow::tcp::tests::a_simultaneous_open_is_an_open`, `tests/tcp_state.rs::an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too` |
//! | REQ-3 | SHOULD | filters that depend on no endpoint; strict ones on the address | the default; the other classes by pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering` |
//! | REQ-3 a | MAY | a filter that can be configured | `filtering`, by pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering`, `tests/config_accepted.rs::pools_inherit_what_they_do_not_say` |
//! | REQ-3 b | MAY | another filter than that of UDP | not done: a pool has one | - |
//! | REQ-4 | MUST | no answer to an unsolicited SYN for six seconds, none at all if the host opens, too | held, then looked up | `tests/tcp_state.rs::an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too`, `demo cgn: an unsolicited SYN waits 6 s` |
//! | REQ-4 | SHOULD | then port unreachable | type 3, code 3, from the address that was asked | `tests/tcp_state.rs::an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too` |
//! | REQ-4 a | MUST | none where policy forbids one | `icmp_errors_per_second` bounds them, 0 is silence, and so does the room for held ones | `tests/tcp_state.rs::an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too`, `dataplane::limit::tests::zero_means_zero` |
//! | REQ-5 | MUST | 2 h 4 min for established connections, 4 min for others | as it says by default; less is warned about, with this name; opening ones by RFC 7857 section 2.1 | `nat::session::tests::the_defaults_are_those_of_the_rfcs`, `nat::nat44::tests::tcp_opens_with_a_syn_only_and_lives_by_its_state`, `tests/config_accepted.rs::what_is_odd_is_warned_about_at_its_place` |
//! | REQ-5 a | MAY | times that can be configured | `tcp_established`, `tcp_transitory`, `tcp_opening` | `tests/config_accepted.rs::life_times_have_parts_of_their_own` |
//! | REQ-6 | SHOULD | no gateways for protocols over TCP, but FTP | there is no application layer gateway: payloads leave as they came | `dataplane::rewrite::tests::fast_is_general_is_built_anew` |
//! | REQ-7 | MUST | no two inside endpoints on one public port | as for UDP | `nat::nat44::behaviour_tests::promises_hold` |
//! | REQ-8 | MUST | subscribers reach each other by public endpoints | as for UDP | `nat::nat44::requirements_tests::hairpin_is_for_tcp_too`, `demo nat44: TCP hairpin` |
//! | REQ-8 a | MUST | and see public sources | as for UDP | `nat::nat44::requirements_tests::hairpin_is_for_tcp_too` |
//! | REQ-9 | SHOULD | destination unreachable is translated | as all errors | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet`, `nat::icmp_error::tests::from_the_inside_the_sender_reads_its_own_packet_and_no_private_address` |
//! | REQ-10 | MUST | no ICMP message ends a mapping or a connection | errors only look sessions up | `nat::icmp_error::tests::a_session_takes_no_notice_of_errors` |
//!
//! # RFC 5508: ICMP
//!
//! | demand | level | asks | how | tests |
//! |---|---|---|---|---|
//! | REQ-1 | MUST | queries from inside cross, and their answers | echo; other queries are REQ-10 b and c | `nat::nat44::tests::echo_identifiers_are_translated_once_for_both_ends`, `demo nat44: ping` |
//! | REQ-1 a | SHOULD | one identifier for all who are asked | mapped as ports are, by the class of the pool | `nat::nat44::requirements_tests::an_identifier_is_the_same_for_all_who_are_asked` |
//! | REQ-2 | MUST | queries live for a minute at the least | 60 s by default; less is warned about, with this name | `nat::session::tests::the_defaults_are_those_of_the_rfcs`, `tests/config_accepted.rs::what_is_odd_is_warned_about_at_its_place` |
//! | REQ-2 a | SHOULD | a time that can be configured | `icmp` | `tests/config_accepted.rs::what_is_odd_is_warned_about_at_its_place` |
//! | REQ-3 | SHOULD | errors of a wrong checksum are dropped silently | `icmp_error_invalid` | `nat::icmp_error::tests::what_is_wrong_is_dropped_by_name` |
//! | REQ-3 a | SHOULD | and those whose quoted header has one | the same | `nat::icmp_error::tests::what_is_wrong_is_dropped_by_name` |
//! | REQ-3 b | MUST | quoted IP options are stepped over | the quoted header's length counts | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet`, `nat::icmp_error::tests::equals_the_error_written_anew` |
//! | REQ-3 c | SHOULD | no look at the quoted transport's checksum | it is changed, never judged | `nat::icmp_error::tests::equals_the_error_written_anew`, `nat::icmp_error::tests::checksums_that_cannot_be_right_are_left_as_they_are` |
//! | REQ-3 d | MUST | extensions are no part of the quote | no checksum of a quote is summed up | `nat::icmp_error::tests::extensions_and_their_padding_are_left_as_they_are` |
//! | REQ-4 | SHOULD | an error from outside about nothing is dropped silently | `icmp_error_no_session` | `nat::icmp_error::tests::what_is_wrong_is_dropped_by_name` |
//! | REQ-4 a | MUST | from outside: the quote becomes what the host sent | addresses, ports or identifier, checksums | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet` |
//! | REQ-4 b | MUST | type and code stay | never written | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet` |
//! | REQ-4 c | MUST | to whom the quote is from | as the session translates | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet` |
//! | REQ-5 | SHOULD | an error from inside about nothing is dropped silently | `icmp_error_no_session` | `nat::icmp_error::tests::what_is_wrong_is_dropped_by_name` |
//! | REQ-5 a | MUST | from inside: the quote becomes what the remote host sent | addresses, ports or identifier, checksums | `nat::icmp_error::tests::from_the_inside_the_sender_reads_its_own_packet_and_no_private_address` |
//! | REQ-5 b | MUST | type and code stay | never written | `nat::icmp_error::tests::from_the_inside_the_sender_reads_its_own_packet_and_no_private_address` |
//! | REQ-5 c | MUST | from a public address | the session's, whoever inside reports: of a whole address its host's own | `nat::icmp_error::tests::from_the_inside_the_sender_reads_its_own_packet_and_no_private_address`, `nat::icmp_error::tests::a_session_opened_from_outside_has_errors_too` |
//! | REQ-6 | MUST | an error about a query neither keeps nor ends its session | errors only look sessions up | `nat::icmp_error::tests::a_session_takes_no_notice_of_errors` |
//! | REQ-7 | MUST | errors cross hairpins | two legs, as packets do | `nat::icmp_error::tests::a_hairpin_error_takes_two_legs` |
//! | REQ-7 | MUST | queries cross hairpins to whole addresses | an echo of any identifier is let in, as long as the subscriber has a session of its own | `nat::nat44::requirements_tests::who_holds_an_address_hears_every_echo` |
//! | REQ-7 a | MUST | a hairpin's error goes to whom its quote is from | by the second leg | `nat::icmp_error::tests::a_hairpin_error_takes_two_legs` |
//! | REQ-8 | SHOULD | who gets no session hears code 13 | prohibited, within the limit of errors; the packet is dropped | `tests/golden.rs::full_tables_refuse` |
//! | REQ-9 | MAY | no ICMP towards some interfaces | not done: one limit for all | - |
//! | REQ-10 a 1 | MUST | destination unreachable | told by routes, sizes, neighbours and limits; translated; too big crosses to the host | `tests/golden.rs::one_worker`, `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet`, `demo network: IPv4 path MTU from outside` |
//! | REQ-10 a 2 | MUST | time exceeded | told by default, and translated | `tests/golden.rs::one_worker`, `demo nat44: UDP traceroute shows the edge` |
//! | REQ-10 a 3 | MUST | echo | REQ-1; the edge answers for itself | `tests/golden.rs::one_worker` |
//! | REQ-10 b 1 | MAY | redirect | not done: means nothing off its link | - |
//! | REQ-10 b 2 | MAY | timestamp | not done | - |
//! | REQ-10 b 3 | MAY | source routes | not done: no packet with one crosses | - |
//! | REQ-10 b 4 | MAY | address mask | not done | - |
//! | REQ-10 b 5 | MAY | parameter problem | translated, never made | `nat::icmp_error::tests::from_the_outside_the_inside_host_reads_its_own_packet` |
//! | REQ-10 b 6 | MAY | router discovery | not done | - |
//! | REQ-10 c 1 | SHOULD | no source quench | dropped by name | `nat::icmp_error::tests::what_is_wrong_is_dropped_by_name` |
//! | REQ-10 c 2 | SHOULD | no information request | as every query but echo | `tests/golden.rs::one_worker` |
//! | REQ-10 d | SHOULD | errors in the class of the packet | unmet: internetwork control, as RFC 1812 section 4.3.2.5 asks of routers: an error is worth more than what it is about | - |
//! | REQ-10 e | SHOULD | no errors where RFC 1812 section 4.3.2.7 has none | about no errors, fragments, groups, or sources that are nobody | `packet::icmp::tests::errors_are_for_ordinary_packets_only`, `tests/golden_network.rs::nobody_and_everybody_get_no_answer` |
//! | REQ-10 f | SHOULD | a limit of errors | `icmp_errors_per_second` | `tests/golden_network.rs::what_is_asked_of_the_edge_has_a_limit` |
//! | REQ-11 | MAY | other ICMP is dropped or handled | dropped by name | `tests/golden.rs::one_worker` |
//!
//! # RFC 6888: carrier-grade NAT
//!
//! | demand | level | asks | how | tests |
//! |---|---|---|---|---|
//! | REQ-1 | MUST | each transport that crosses by its own requirements | UDP, TCP and ICMP by these tables | `tests/requirements.rs::every_requirement_has_its_test` |
//! | REQ-1 a | MUST | UDP: RFC 4787 | above | `tests/requirements.rs::every_requirement_has_its_test` |
//! | REQ-1 b | MUST | TCP: RFC 5382 | above | `tests/requirements.rs::every_requirement_has_its_test` |
//! | REQ-1 c | MUST | ICMP: RFC 5508 | above | `tests/requirements.rs::every_requirement_has_its_test` |
//! | REQ-1 d | MUST | DCCP: RFC 5597 | it crosses by whole addresses, unchanged but for addresses and checksum, and has the time of established TCP (REQ-5) | `nat::nat44::requirements_tests::dccp_has_its_time` |
//! | REQ-2 | MUST | one public address for each subscriber by default | always, for all protocols | `nat::nat44::requirements_tests::a_subscriber_stays_on_its_address_and_is_refused_when_that_is_full`, `nat::nat44::behaviour_tests::promises_hold` |
//! | REQ-2 | MAY | another way for some applications | not done | - |
//! | REQ-3 | MUST | ranges that are not contiguous | a pool has any number of ranges | `nat::nat44::requirements_tests::a_pool_is_of_any_addresses` |
//! | REQ-3 | SHOULD | pools of any size and shape | ranges of any number of addresses | `nat::nat44::requirements_tests::a_pool_is_of_any_addresses` |
//! | REQ-4 | MUST | a limit of ports for each subscriber | blocks of ports, so many at the most | `nat::nat44::tests::a_subscriber_is_refused_at_its_block_limit_and_others_are_not`, `nat::nat44::behaviour_tests::promises_hold`, `demo cgn: a subscriber's blocks are used up` |
//! | REQ-4 a | MUST | which the operator sets | `block_size`, `first_block_size`, `blocks_per_subscriber`, by pool | `tests/config_accepted.rs::pools_inherit_what_they_do_not_say` |
//! | REQ-4 b | MAY | for each protocol by itself | not done: a block is of one number for every protocol | - |
//! | REQ-4 c | SHOULD | and a limit of its new mappings a second | `new_sessions_per_second` | `nat::nat44::behaviour_tests::sessions_of_a_subscriber_have_limits`, `demo cgn: a subscriber's rate is used up` |
//! | REQ-5 | SHOULD | a limit of state for each subscriber and mapping | sessions of both, and half of them for strangers at the most | `nat::nat44::behaviour_tests::sessions_of_a_subscriber_have_limits`, `nat::nat44::behaviour_tests::strangers_leave_the_subscriber_half_of_its_sessions` |
//! | REQ-5 a | SHOULD | which the operator sets | `sessions_per_subscriber`, `inbound_sessions_per_mapping` | `tests/config_accepted.rs::pools_may_serve_the_same_hosts_and_use_every_limit` |
//! | REQ-5 b | SHOULD | and a limit of its rate | `new_sessions_per_second` | `nat::nat44::behaviour_tests::sessions_of_a_subscriber_have_limits` |
//! | REQ-6 | MUST | no translation towards some destinations | `untranslated`: prefixes, ports, or both; such sessions are followed all the same | `nat::nat44::requirements_tests::towards_some_destinations_nobody_is_translated`, `tests/config_accepted.rs::destinations_without_translation` |
//! | REQ-7 | SHOULD | filters that depend on no endpoint | the default | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering` |
//! | REQ-7 | MAY | on the address where that does no harm | `filtering`, by pool | `nat::nat44::behaviour_tests::nine_combinations_of_mapping_and_filtering` |
//! | REQ-8 | SHOULD | a port rests for 120 s | and a block before another subscriber has it | `nat::ports::tests::ports_rest`, `nat::nat44::behaviour_tests::promises_hold` |
//! | REQ-8 | SHOULD | also after a restart | unmet: no state outlives the process; blocks and ports are then chosen anew at random | - |
//! | REQ-8 | MUST | the operator sets how long, and how many | `port_cool_down`; what rests of a subscriber is in the blocks that it may have, whose size and number are set | `tests/config_accepted.rs::pools_may_serve_the_same_hosts_and_use_every_limit`, `nat::ports::tests::ports_rest` |
//! | REQ-8 a | MAY | not where TCP is tracked | not done: all rest | - |
//! | REQ-8 b | MAY | not where ports are assigned for ever | not done: all rest | `nat::nat44::behaviour_tests::deterministic_blocks_are_where_the_formula_says` |
//! | REQ-8 c | MAY | not where the filter is stricter | not done: all rest | - |
//! | REQ-9 | MUST | a protocol by which subscribers control mappings | where the operator writes `[nat44.pcp]`: each its own, and nobody else's | `nat::nat44::pcp_tests::a_mapped_port_is_open_until_its_time_is_over`, `nat::nat44::pcp_tests::renewed_and_deleted_by_who_knows_the_nonce`, `nat::nat44::pcp_model_tests::promises_hold`, `demo cgn: a port mapped by natpmpc` |
//! | REQ-9 | SHOULD | that of RFC 6887 | MAP, PEER, ANNOUNCE, PREFER_FAILURE and FILTER; THIRD_PARTY is refused | `nat::nat44::pcp_tests::an_answer_is_what_the_rfc_draws`, `nat::nat44::pcp_tests::what_is_malformed_is_refused_by_name_and_changes_nothing` |
//! | REQ-10 | SHOULD | it can be managed | `cesctl`, JSON over a socket, telemetry | `tests/manage_socket.rs::every_verb_answers_with_its_model`, `tests/pools_live.rs::pools_are_drained_and_removed_and_formulas_tell_the_truth` |
//! | REQ-10 | SHOULD | by a standard | unmet: no MIB; the models are JSON that whoever collects them can read | - |
//! | REQ-11 a | MUST | what gets no mapping is dropped | under the name of what was missing | `nat::nat44::requirements_tests::what_is_refused_takes_nothing_from_what_is_there`, `tests/golden.rs::full_tables_refuse` |
//! | REQ-11 b | SHOULD | and its sender hears code 1 | unmet: code 13, as RFC 5508 REQ-8 asks: a limit is told apart from a host that is away | - |
//! | REQ-11 c | SHOULD | and the management system, too | unmet: refusals are counted by name for whoever asks; nothing is sent unasked | - |
//! | REQ-11 d | MUST | and nothing makes room for it | what is there stays | `nat::nat44::requirements_tests::what_is_refused_takes_nothing_from_what_is_there` |
//! | REQ-12 | SHOULD | no destination in a log | nothing of a mapping is logged | `tests/requirements.rs::nothing_of_a_mapping_is_logged` |
//! | REQ-13 | SHOULD | ports are used well | every port of a block before the next; small first blocks | `nat::ports::tests::every_port_once_then_none`, `nat::ports::tests::blocks_of_two_sizes_tile_the_ports` |
//! | REQ-14 | SHOULD | few lines of log | blocks, or a formula that needs none | `nat::nat44::behaviour_tests::deterministic_blocks_are_where_the_formula_says`, `nat::deterministic::tests::inverts` |
//! | REQ-15 | SHOULD | ports are hard to guess | random blocks, and random ports in them | `nat::nat44::requirements_tests::ports_follow_no_order` |
//!
//! # RFC 7857: updates
//!
//! | demand | level | asks | how | tests |
//! |---|---|---|---|---|
//! | section 2 | SHOULD | a state machine for TCP, as figured | states by both halves' flags | `nat::session::tests::tcp_has_a_time_for_each_state`, `flow::tcp::tests::it_is_what_the_model_says` |
//! | section 2.1 | SHOULD | opening and closing connections have a time each | `tcp_opening`, `tcp_transitory` | `nat::session::tests::tcp_has_a_time_for_each_state`, `tests/config_accepted.rs::life_times_have_parts_of_their_own` |
//! | section 2.1 | SHOULD | of four minutes by default | as it says | `nat::session::tests::the_defaults_are_those_of_the_rfcs` |
//! | section 2.1 | MAY | less for opening ones | `tcp_opening`, without a warning | `tests/config_accepted.rs::life_times_have_parts_of_their_own` |
//! | section 2.2 | MUST | a reset is translated | whether it is believed or not | `tests/tcp_state.rs::connections_are_in_the_state_that_their_segments_say` |
//! | section 2.2 | SHOULD | and ends a session only four minutes later | one in the window closes it; any segment after it opens it again; others change nothing | `flow::tcp::tests::a_reset_is_believed_in_the_window_and_nowhere_else`, `flow::tcp::tests::a_connection_that_survives_its_reset_is_established_again`, `demo cgn: a reset out of the window` |
//! | section 3 | MAY | one public port for several inside endpoints with different destinations | not done: a port is one endpoint's | - |
//! | section 4 | SHOULD | a subscriber whose address has no port left is refused | as it says | `nat::nat44::requirements_tests::a_subscriber_stays_on_its_address_and_is_refused_when_that_is_full` |
//! | section 4 | SHOULD | for TCP, too | one rule for all protocols | `nat::nat44::requirements_tests::a_subscriber_stays_on_its_address_and_is_refused_when_that_is_full` |
//! | section 4 | MAY | another address then | not done: an address is what others know a subscriber by | - |
//! | section 5 | SHOULD | a mapping is of one protocol | by its key | `nat::nat44::requirements_tests::mappings_and_filters_are_of_one_protocol` |
//! | section 5 | MUST | by default | always | `nat::nat44::requirements_tests::mappings_and_filters_are_of_one_protocol` |
//! | section 5 | MAY | one for TCP and UDP | not done | - |
//! | section 6 | SHOULD | a filter is of one protocol | by the mapping | `nat::nat44::requirements_tests::mappings_and_filters_are_of_one_protocol` |
//! | section 6 | MUST | by default | always | `nat::nat44::requirements_tests::mappings_and_filters_are_of_one_protocol` |
//! | section 6 | MAY | one for all | not done | - |
//! | section 7 | SHOULD | what makes no session refreshes no mapping | a mapping lives by its sessions | `nat::nat44::behaviour_tests::strangers_alone_keep_no_mapping_alive`, `nat::session::tests::a_stranger_whom_nobody_answers_refreshes_nothing` |
//! | section 7 | SHOULD | for TCP, too | one rule for all protocols | `nat::session::tests::a_stranger_whom_nobody_answers_refreshes_nothing` |
//! | section 7.1 | SHOULD | neither does an error or a reset that the inside answers with | neither is counted | `nat::icmp_error::tests::a_session_takes_no_notice_of_errors`, `flow::tcp::tests::an_outbound_reset_refuses_a_stranger_without_a_refresh`, `flow::tcp::tests::a_repeated_reset_refreshes_nothing` |
//! | section 7.1 | MAY | nor refusals of applications | not done: payloads are nobody's business | - |
//! | section 8 | MAY | no parity | the default | `nat::nat44::behaviour_tests::ports_are_chosen_as_the_pool_says` |
//! | section 8 | SHOULD | but by request | subscribers suggest each port by PCP (RFC 6888 REQ-9), and get it where it is theirs; the operator can, by pool | `nat::nat44::pcp_tests::what_is_suggested_is_given_where_it_is_the_subscribers`, `nat::nat44::behaviour_tests::ports_are_chosen_as_the_pool_says` |
//! | section 9 | SHOULD | ports nobody can guess (RFC 6056 section 4) | random blocks, and random ports in them | `nat::nat44::requirements_tests::ports_follow_no_order` |
//! | section 9 | SHOULD | where a port is preserved, only those that must change | `port_selection = "preserve"` | `nat::nat44::behaviour_tests::ports_are_chosen_as_the_pool_says` |
//! | section 9 | SHOULD | and where its parity is, any of that parity | `port_selection = "preserve-parity"` | `nat::ports::tests::wishes`, `nat::nat44::behaviour_tests::ports_are_chosen_as_the_pool_says` |
//! | section 10 | SHOULD | identifications by RFC 6864 section 5.3.1 | what leaves in fragments has a fresh one | `tests/fragments.rs::what_the_edge_cuts_has_its_identification`, `nat::fragments::identification::tests::no_two_workers_share_one_and_none_repeats_before_all_are_used` |
//! | section 11 | MAY | a query's mapping ends with its last session | as every mapping | `nat::nat44::behaviour_tests::promises_hold` |
//! | section 12 | MUST | errors cross hairpins | two legs, as packets do | `nat::icmp_error::tests::a_hairpin_error_takes_two_legs` |
//! | section 12 | MUST | queries from outside find a whole address's subscriber | as RFC 5508 REQ-7 | `nat::nat44::requirements_tests::who_holds_an_address_hears_every_echo` |
//! | section 13 | MUST | no port is shared but towards different destinations | none is shared | `nat::nat44::behaviour_tests::promises_hold` |
