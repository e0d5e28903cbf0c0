//! Stateful IPv6, sans-IO: who may open a session, along which sessions ICMPv6 travels, when a session is over (RFC 6092). Logic
//! takes views, keys and `now`, and makes sessions in [`crate::flow`]; nothing is ever rewritten.
//!
//! What it guarantees:
//! - Nothing crosses from the outside but packets of a session, and errors about its packets; IPsec if the operator allows it.
//! - A session is of exactly two hosts and, where the protocol has them, two ports (address and port-dependent filtering).
//! - Whoever makes a session with a key is the only one who can: its home follows from the key.
//! - A miss never waits for another thread; nothing grows after start.
//!
//! What it never does: change a packet, read a clock, allocate after start, end a session because of an ICMPv6 message.
//!
//! | file | what it is |
//! |---|---|
//! | [`session`] | what happens on a miss, from either side; when a session is over |
//! | [`parse`] | the flow that a packet belongs to, behind its extension headers |
//! | [`icmpv6`] | which ICMPv6 messages may cross (RFC 4890), and along which session an error travels |
//!
//! # RFC 6092, recommendation by recommendation
//!
//! | recommendation | here | test |
//! |---|---|---|
//! | REC-1, 2, 3 | [`crate::packet::ipv6::is_forwardable_source`] and `…_destination`, which the dataplane asks; documentation and other bogon prefixes are its configuration's | `addresses_that_no_router_forwards` |
//! | REC-4 | a routing header of type 0 never crosses | `source_routes_never_cross` |
//! | REC-5, 6 | source checks are the dataplane's, by its routes | |
//! | REC-7, 8, 9, 13, 48, 49 | not of a session: configuration, and the edge's own services | |
//! | REC-10, 18, 23, 36, 41, 45 | ICMPv6 errors cross along the session that they quote, and only so | `errors_travel_along_their_session` |
//! | REC-11, 17, 33 | "more stringent": nobody outside opens a session | `nothing_unsolicited_comes_in` |
//! | REC-12 | other protocols: 5 minutes of idle time | `idle_times` |
//! | REC-14, 15, 16 | UDP: 5 minutes, well-known ports too, refreshed from inside | `idle_times`, `only_the_inside_keeps_a_udp_session` |
//! | REC-19, 37, 42 | an ICMPv6 message ends no session: [`icmpv6`] cannot | |
//! | REC-20 | UDP-Lite as UDP, and never mistaken for it | `protocols_do_not_mix`, `idle_times` |
//! | REC-21, 22, 24, 26 | AH, ESP, IKE and HIP from outside, by [`Options::allow_ipsec`] | `ipsec_comes_in_if_allowed` |
//! | REC-25 | AH and ESP are keyed by addresses and protocol, not by SPI | `every_protocol_has_its_key` |
//! | REC-27, 28, 30 | a type 2 routing header crosses; mobility headers are walked over to what they lead to, which is often nothing: a session of protocol 59 | `source_routes_never_cross`, `every_protocol_has_its_key` |
//! | REC-31, 32 | from inside a SYN opens, both ways of opening work, no window is enforced but on resets ([`crate::flow::tcp`]) | `tcp_opens_by_a_syn_from_inside`, `simultaneous_open` |
//! | REC-34 | refused as [`DropReason::NoSession`]; the dataplane says "administratively prohibited" six seconds later, unless the inside has opened the connection by then | `nothing_unsolicited_comes_in`, `an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too` |
//! | REC-39 | SCTP: refused as [`DropReason::NoSession`], quietly | `nothing_unsolicited_comes_in` |
//! | REC-35 | TCP: 2 hours 4 minutes established, 4 minutes opening and closing | `idle_times` |
//! | REC-38, 40, 43, 44 | SCTP and DCCP by addresses and ports; those that were answered as established TCP, others as transitory | `idle_times` |
//! | REC-47 | Shim6 headers are walked over, their content is ignored | `every_protocol_has_its_key` |
//!
//! [`DropReason::NoSession`]: crate::packet::DropReason::NoSession

pub mod icmpv6;
pub mod parse;
pub mod session;

pub use parse::Flow6;
pub use session::{Firewall, Home, Options, Timeouts6};
