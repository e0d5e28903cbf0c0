//! Calls between edges, one promise each.

use super::lab::*;
use crate::edge::calls::Outcome;
use crate::edge::cetp::message::{Code, Kind, Reason};
use crate::edge::proxies::{Known, TTL, TTL_IN_USE};
use crate::flow::tunnel::Opens;

const LAX: &str = "";
/// Whoever calls a host must sign, by its edge, and its name must be where the DNS says.
const STRICT: &str = "[[policy.operator]]\nname = \"strict\"\nrequired_as_ices = [\"signature\", \"naming-check\"]\n\
    required_as_oces = [\"signature\"]\n";
const SIGNS: &str = "[policy]\noffered_as_oces = [\"domain\", \"signature on-query\"]\n\
    offered_as_ices = [\"domain\", \"signature on-query\"]\n";

fn ttl(outcome: Option<Outcome>) -> u32 {
    let Some(Outcome::Address(assigned)) = outcome else { panic!("{outcome:?}") };
    assigned.ttl
}

#[test]
fn a_lax_call_comes_to_a_proxy_address_on_both_sides() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    assert_eq!(lab.outcome(0, call), None, "nobody has answered yet");
    lab.run(100);
    let proxy = lab.reached(0, call);
    assert_eq!(ttl(lab.outcome(0, call)), TTL);
    let known = lab.edges[0].proxies.known(REALM, proxy);
    assert_eq!(known, Known::Named(vec![host_name(1, 2).into()]), "for PTR");
    // The other host sees the caller as a proxy address of its own realm, by the same session.
    let (_, theirs) = lab.edges[1].service.live().iter().next().expect("a session");
    let theirs = theirs.proxy;
    assert!(lab.packet(0, 1, proxy) && lab.packet(1, 2, theirs));
    let table = lab.edges[0].service.shared.clone();
    let (_, record) = table.find_pair(REALM, address(1), proxy).expect("a session");
    assert_eq!(record.counts().packets_in, 1);
    // Who has called may open flows; the other side may answer them and no more.
    assert!(record.services().allow(Opens::Host, 6, 443) && !record.services().allow(Opens::Remote, 6, 443));
    lab.assert_empty();
}

#[test]
fn calls_for_the_same_hosts_are_one_negotiation_and_a_session_answers_at_once() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let calls: Vec<u64> = (0..5).map(|_| lab.call((0, 1), (1, 2))).collect();
    lab.run(100);
    let addresses: Vec<_> = calls.iter().map(|call| lab.reached(0, *call)).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]));
    let messages = lab.messages;
    let again = lab.call((0, 1), (1, 2));
    assert_eq!((lab.reached(0, again), lab.messages), (addresses[0], messages), "without a message");
    assert_eq!(ttl(lab.outcome(0, again)), TTL_IN_USE.min(60));
    let counters = lab.edges[0].service.counters();
    assert_eq!((counters.joined, counters.reused, counters.installed), (4, 1, 1));
    // Another host of the realm sees the same host by the same address, in a session of its own.
    let other = lab.call((0, 2), (1, 2));
    lab.run(100);
    assert_eq!(lab.reached(0, other), addresses[0]);
    assert_eq!(lab.edges[0].service.live().len(), 2);
    lab.assert_empty();
}

#[test]
fn a_session_that_nobody_uses_ends_on_both_sides_and_one_that_is_used_does_not() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(100);
    let proxy = lab.reached(0, call);
    let (_, theirs) = lab.edges[1].service.live().iter().next().expect("a session");
    let theirs = theirs.proxy;
    for _ in 0..20 {
        lab.run(20_000);
        assert!(lab.packet(0, 1, proxy) && lab.packet(1, 2, theirs), "it is used");
    }
    lab.run(59_000);
    assert_eq!([0, 1].map(|edge| lab.edges[edge].service.live().len()), [1, 1]);
    lab.run(2_000);
    assert_eq!([0, 1].map(|edge| lab.edges[edge].service.live().len()), [0, 0]);
    assert!(!lab.packet(0, 1, proxy), "no worker finds it");
    lab.assert_empty();
}

#[test]
fn whom_nobody_hears_any_more_is_given_up() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(100);
    let proxy = lab.reached(0, call);
    lab.deaf = vec![0, 1];
    // Own packets alone don't keep it: half of the timeout, then the time of a question.
    for _ in 0..5 {
        lab.run(10_000);
        lab.packet(0, 1, proxy);
        let table = &lab.edges[1].service.shared;
        assert!(table.sessions().count() <= 1);
    }
    assert!(lab.edges[0].service.live().is_empty());
    lab.deaf.clear();
    lab.assert_empty();
}

#[test]
fn a_strict_policy_needs_a_signature_and_a_name_that_is_where_it_says() {
    let text: &'static str = Box::leak(format!("{SIGNS}{STRICT}").into_boxed_str());
    let mut lab = Lab::new(&[SIGNS, text], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    assert!(lab.edges[1].service.counters().checks >= 1);
    // The DNS says that this host is elsewhere.
    lab.elsewhere.insert(host_name(0, 3), Ipv4Addr::new(192, 0, 2, 99));
    let call = lab.call((0, 3), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert_eq!(lab.last_refusal(0), "peer h3.e0.example h2.e1.example: the name is not behind that edge");
    assert_eq!(lab.last_refusal(1), "own h2.e1.example h3.e0.example: the name is not behind that edge");
    lab.assert_empty();
}

#[test]
fn an_edge_that_signs_tells_where_its_authority_is_found() {
    let text: &'static str = Box::leak(format!("{SIGNS}{STRICT}").into_boxed_str());
    for (signing, expected) in [(&[0, 1][..], true), (&[][..], false)] {
        let mut lab = Lab::new(&[SIGNS, text], signing);
        lab.call((0, 1), (1, 2));
        let mut step = || {
            lab.run(1);
            lab.is_under_way(Kind::Edges, 1, Code::CA_ADDRESS)
        };
        assert_eq!((0..1_000).any(|_| step()), expected);
    }
}

#[test]
fn what_a_policy_wishes_is_asked_for_and_not_needed() {
    const WISHES: &str =
        "[[policy.operator]]\nname = \"wishes\"\nrequired_as_ices = [\"signature optional\"]\n";
    let text: &'static str = Box::leak(format!("{SIGNS}{WISHES}").into_boxed_str());
    for (signing, is_told) in [(&[0, 1][..], true), (&[][..], false)] {
        let mut lab = Lab::new(&[SIGNS, text], signing);
        let call = lab.call((0, 1), (1, 2));
        let mut step = || {
            lab.run(1);
            lab.is_under_way(Kind::Hosts, 0, Code::SIGNATURE)
        };
        assert_eq!((0..100).any(|_| step()), is_told);
        lab.run(100);
        lab.reached(0, call);
    }
}

/// The DNS says that the name is behind another edge than the one that has signed, at the same RLOC.
#[test]
fn the_edge_that_has_signed_must_be_the_one_that_the_dns_names() {
    let text: &'static str = Box::leak(format!("{SIGNS}{STRICT}").into_boxed_str());
    let mut lab = Lab::new(&[SIGNS, text], &[0, 1]);
    lab.behind.insert(host_name(0, 3), "ces.other.example".into());
    let call = lab.call((0, 3), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    lab.assert_empty();
}

/// A certificate proves its own names: an edge that has a good one of another gets no association by its own.
#[test]
fn an_edge_is_who_its_certificate_says() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    lab.misname(0);
    let call = lab.call((0, 1), (1, 2));
    lab.run(20_000);
    lab.reached(0, call);
    assert!(lab.edges[1].service.protocol().rlocs(fqdn(&edge_name(0))).is_none(), "nobody has proved that");
    lab.assert_empty();
}

#[test]
fn an_operator_ends_the_sessions_of_a_host() {
    use crate::edge::calls::shown::Wanted;
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let calls = [lab.call((0, 1), (1, 2)), lab.call((0, 2), (1, 2)), lab.call_local(0, 1, 3)];
    lab.run(100);
    for call in calls {
        lab.reached(0, call);
    }
    let wanted = Wanted { host: Some(host_name(0, 1).into()), limit: 9, ..Wanted::default() };
    let shown = lab.at(0, |service, lent, now| service.show(&wanted, lent, now));
    assert_eq!((shown.total, shown.sessions.len(), shown.locals.len()), (1, 1, 1));
    assert_eq!(lab.at(0, |service, lent, now| service.terminate(&wanted, lent, now)), 2);
    lab.run(100);
    assert_eq!([0, 1].map(|edge| lab.edges[edge].service.live().len()), [1, 1], "of the other host");
    lab.assert_empty();
}

#[test]
fn a_certificate_of_nobodys_proves_nothing() {
    let text: &'static str = Box::leak(format!("{SIGNS}{STRICT}").into_boxed_str());
    let mut lab = Lab::new(&[SIGNS, text], &[0, 1]);
    lab.forge(0);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert!(lab.last_refusal(0).ends_with("bad certificate"), "{}", lab.last_refusal(0));
    assert!(lab.last_refusal(1).ends_with("bad certificate"), "{}", lab.last_refusal(1));
    // The caller's own policy is as strict: the other side has signed nothing that it believes.
    lab.assert_empty();
}

#[test]
fn a_policy_that_refuses_says_by_which_rule() {
    let refuses = "[[policy.host]]\nname = \"quiet\"\nhosts = [\"h2.e1.example\"]\ndirection = \"inbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[LAX, refuses], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(100);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert_eq!(lab.last_refusal(0), "peer h1.e0.example h2.e1.example: refused by policy");
    let theirs = lab.last_refusal(1);
    assert!(theirs.starts_with("own h2.e1.example fqdn-hash:"), "{theirs}");
    assert!(theirs.ends_with("refused by policy host quiet -"), "{theirs}");
    let mine = "[[policy.operator]]\nname = \"no-calls\"\npeers = [\".e1.example\"]\ndirection = \"outbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[mine, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    assert_eq!((lab.outcome(0, call), lab.messages), (Some(Outcome::Refused), 0));
    let refusal = lab.last_refusal(0);
    assert_eq!(refusal, "own h1.e0.example h2.e1.example: refused by policy operator no-calls -");
    lab.assert_empty();
}

#[test]
fn an_association_carries_many_calls_in_one_round_each() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    let first = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, first);
    assert!(lab.edges[0].service.protocol().rlocs(fqdn(&edge_name(1))).is_some(), "it is there meanwhile");
    for (host, to) in [(1, 1), (2, 1), (2, 2), (2, 3), (3, 3)] {
        let messages = lab.messages;
        let call = lab.call((0, host), (1, to));
        lab.run(3);
        lab.reached(0, call);
        lab.run(50);
        // A question, its answer, and the acknowledgement.
        assert_eq!(lab.messages - messages, 3, "{host} {to}");
    }
    let edges: Vec<String> = lab.edges[1].service.edges.named().map(str::to_owned).collect();
    assert_eq!(edges, [edge_name(0)], "an edge is in the table once");
    lab.assert_empty();
}

#[test]
fn who_wants_the_certificate_of_the_edge_gets_an_association() {
    let text = "[[policy.edge]]\nname = \"known\"\nrequired_as_oces = [\"certificate\", \"ca=ca.lab.example\"]\n\
        required_as_ices = [\"certificate\"]\n";
    let mut lab = Lab::new(&[text, LAX], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    assert!(lab.edges[0].service.live().iter().all(|(_, session)| {
        matches!(&session.edge, super::super::edges::Key::Named(name) if **name == *edge_name(1))
    }));
    let other =
        "[[policy.edge]]\nname = \"known\"\nrequired_as_oces = [\"certificate\", \"ca=ca.other.example\"]\n";
    let mut lab = Lab::new(&[other, LAX], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(20_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    lab.assert_empty();
}

#[test]
fn an_edge_that_begins_anew_is_called_anew() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    let calls = [lab.call((0, 1), (1, 2)), lab.call((0, 2), (1, 3))];
    lab.run(1_000);
    for call in calls {
        lab.reached(0, call);
    }
    lab.restart(1);
    // A packet comes whose session isn't known there: that is said under the MAC of an association, or not at all.
    let third = lab.call((0, 3), (1, 3));
    lab.run(90_000);
    assert!(lab.outcome(0, third).is_some());
    let again = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, again);
    assert_eq!(lab.edges[1].service.live().len(), 1, "and no session is but that one");
    lab.assert_empty();
}

#[test]
fn services_are_cut_to_what_both_grant() {
    let theirs = "[[policy.host]]\nname = \"web\"\ndirection = \"inbound\"\nservices = [\"tcp/443\", \"tcp/80\"]\n\
        required_as_ices = [\"domain\"]\n[[policy.host]]\nname = \"rest\"\ndirection = \"inbound\"\nrefuse = true\n";
    let mine = "[[policy.operator]]\nname = \"no-http\"\ndirection = \"outbound\"\nservices = [\"tcp/80\"]\nrefuse = true\n";
    let mut lab = Lab::new(&[mine, theirs], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    let proxy = lab.reached(0, call);
    for (edge, opener) in [(0, Opens::Host), (1, Opens::Remote)] {
        let table = &lab.edges[edge].service.shared;
        let record = table.sessions().next().expect("a session");
        for (protocol, port, is_open) in
            [(6, 443, true), (6, 80, false), (6, 22, false), (17, 443, false), (1, 0, false)]
        {
            assert_eq!(record.services().allow(opener, protocol, port), is_open, "{edge} {protocol}/{port}");
        }
    }
    assert!(lab.packet(0, 1, proxy));
    lab.assert_empty();
}

#[test]
fn a_user_takes_calls_of_the_identified_only() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    lab.user_rules(1, 2, &["identified"]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    assert_eq!(lab.edges[1].service.counters().checks, 1, "by name");
    lab.elsewhere.insert(host_name(0, 3), Ipv4Addr::new(192, 0, 2, 99));
    let call = lab.call((0, 3), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    lab.assert_empty();
}

#[test]
fn a_user_takes_calls_of_certain_names_only_when_they_are_proved() {
    let mut lab = Lab::new(&[LAX, LAX, LAX], &[]);
    lab.user_rules(1, 2, &["allow h1.e0.example", "nobody"]);
    let good = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, good);
    let other = lab.call((0, 3), (1, 2));
    let stranger = lab.call((2, 1), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, other), Some(Outcome::Refused));
    assert_eq!(lab.outcome(2, stranger), Some(Outcome::Refused));
    assert!(lab.last_refusal(1).contains("h1.e2.example: refused by policy"), "{}", lab.last_refusal(1));
    // Another edge tells a name that is not behind it.
    lab.elsewhere.insert(host_name(0, 1), rloc(2));
    let moved = lab.call((0, 1), (1, 2));
    assert!(lab.outcome(0, moved).is_some(), "the session that there is");
    lab.run(70_000);
    let moved = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, moved), Some(Outcome::Refused));
    lab.assert_empty();
}

/// What somebody says of himself decides nothing: a rule that asks nothing of a friend asks that much before.
#[test]
fn a_rule_for_a_name_is_for_who_has_it() {
    let friends = "[policy]\ndefault = \"nobody\"\n[[policy.host]]\nname = \"friends\"\npeers = [\"h1.e0.example\"]\n\
        direction = \"inbound\"\nrequired_as_ices = []\n";
    let mut lab = Lab::new(&[LAX, friends], &[]);
    lab.elsewhere.insert(host_name(0, 1), Ipv4Addr::new(192, 0, 2, 99));
    let liar = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, liar), Some(Outcome::Refused));
    lab.elsewhere.clear();
    let friend = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, friend);
    lab.assert_empty();
}

/// The caller's own rules want a signature for one service, which the other side doesn't give: the other service is had.
#[test]
fn what_the_answer_does_not_suffice_for_stays_closed() {
    let mine = "[[policy.operator]]\nname = \"web\"\ndirection = \"outbound\"\nservices = [\"tcp/443\"]\nrequired_as_oces = []\n\
        [[policy.operator]]\nname = \"ssh\"\ndirection = \"outbound\"\nservices = [\"tcp/22\"]\nrequired_as_oces = [\"signature\"]\n\
        [[policy.operator]]\nname = \"rest\"\ndirection = \"outbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[mine, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    let record = lab.edges[0].service.shared.clone();
    let services = record.sessions().next().expect("a session").services();
    assert!(services.allow(Opens::Host, 6, 443) && !services.allow(Opens::Host, 6, 22));
    lab.assert_empty();
}

/// The acknowledgement is lost, and a packet comes: so the other side has the answer.
#[test]
fn a_packet_stands_for_an_acknowledgement() {
    for has_packet in [true, false] {
        let mut lab = Lab::new(&[LAX, LAX], &[]);
        let call = lab.call((0, 1), (1, 2));
        while lab.edges[1].service.live().is_empty() {
            lab.run(1);
        }
        lab.deaf = vec![1];
        lab.run(10);
        let proxy = lab.reached(0, call);
        assert!(!has_packet || lab.packet(0, 1, proxy));
        lab.run(8_000);
        assert_eq!(lab.edges[1].service.live().is_empty(), !has_packet);
        lab.deaf.clear();
        lab.assert_empty();
    }
}

/// Another edge negotiates within associations only: there is one, and the call goes on.
#[test]
fn who_wants_an_association_first_gets_one() {
    use crate::edge::calls::called::Called;
    use crate::edge::cetp::io::Pair;
    use crate::edge::cetp::message::Backoff;
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    lab.deaf = vec![1];
    let call = lab.call((0, 1), (1, 2));
    lab.deaf.clear();
    let host = lab.edges[0].register.by_address(REALM.0, address(1).into()).expect("a host").id;
    let pair = Pair { host: Called::host(host).into(), peer: fqdn(&host_name(1, 2)).hash() };
    let backoff = Backoff { reason: Reason::ASSOCIATION, code: None, retry_after: 0 };
    lab.at(0, |service, lent, now| service.refused(pair, backoff, true, lent, now));
    assert_eq!(lab.outcome(0, call), None, "not yet");
    lab.run(2_000);
    lab.reached(0, call);
    assert!(lab.edges[0].service.protocol().rlocs(fqdn(&edge_name(1))).is_some());
    lab.assert_empty();
}

#[test]
fn whom_nobody_answers_for_may_be_called_without() {
    let falls_back = "[policy]\nlegacy_fallback = true\n";
    for (text, outcome) in [(LAX, Outcome::Refused), (falls_back, Outcome::Legacy)] {
        let mut lab = Lab::new(&[text, LAX], &[]);
        lab.deaf = vec![1];
        let call = lab.call((0, 1), (1, 2));
        lab.run(5_000);
        assert_eq!(lab.outcome(0, call), None, "it is asked again and again");
        lab.run(5_000);
        assert_eq!(lab.outcome(0, call), Some(outcome));
        assert!(lab.last_refusal(0).ends_with("no answer"), "{}", lab.last_refusal(0));
        lab.assert_empty();
    }
}

#[test]
fn another_edge_of_the_name_is_tried_and_one_without_an_rloc_is_looked_up() {
    use crate::edge::calls::Callee;
    use crate::edge::identity::naming::Speaker;
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let name = crate::config::DomainName::new(&host_name(1, 2)).expect("a name");
    let mut speakers = vec![Speaker {
        edge: crate::config::DomainName::new("ces.e7.example"),
        rlocs: vec![crate::edge::identity::naming::Rloc::Ip(Ipv4Addr::new(192, 0, 2, 99).into())],
    }];
    speakers.extend(lab.speakers(name.as_str()).into_iter().map(|known| Speaker { rlocs: vec![], ..known }));
    let call = lab.call_at((0, 1), name, Callee::Remote(speakers));
    lab.run(10_000);
    lab.reached(0, call);
    lab.assert_empty();
}

#[test]
fn a_session_that_is_not_where_the_dns_says_is_not_used() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(100);
    lab.reached(0, call);
    let messages = lab.messages;
    lab.elsewhere.insert(host_name(1, 2), Ipv4Addr::new(192, 0, 2, 99));
    let name = crate::config::DomainName::new(&host_name(1, 2)).expect("a name");
    let mut speakers = lab.speakers(name.as_str());
    speakers[0].edge = None;
    let call = lab.call_at((0, 1), name, crate::edge::calls::Callee::Remote(speakers));
    lab.run(10_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert!(lab.messages > messages);
    lab.assert_empty();
}

#[test]
fn what_is_full_refuses_and_forgets() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let calls: Vec<(u8, u8, u64)> = (1..=4)
        .flat_map(|host| (1..=4).map(move |to| (host, to)))
        .map(|(host, to)| (host, to, lab.call((0, host), (1, to))))
        .collect();
    let other = lab.call_at(
        (0, 9),
        crate::config::DomainName::new(&host_name(1, 1)).expect("a name"),
        crate::edge::calls::Callee::Remote(vec![]),
    );
    assert_eq!(lab.outcome(0, other), Some(Outcome::Refused), "nobody knows who that is");
    lab.run(1_000);
    assert_eq!(lab.edges[0].service.live().len(), SESSIONS);
    for (_, _, call) in calls {
        lab.reached(0, call);
    }
    let mut third = lab.call((1, 1), (0, 1));
    lab.run(1_000);
    // Within the session that there is: the other way is negotiated, without another place.
    lab.reached(1, third);
    assert_eq!(lab.edges[1].service.live().len(), SESSIONS);
    let record = lab.edges[1].service.shared.clone();
    assert_eq!(record.sessions().filter(|r| r.services().allow(Opens::Either, 6, 1)).count(), SESSIONS);
    third = lab.call_local(0, 1, 2);
    assert_eq!(lab.outcome(0, third), Some(Outcome::Busy), "no place is left");
    lab.assert_empty();
}

#[test]
fn an_unexpected_packet_is_reported_within_an_association_and_within_a_rate() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    let tag = |tag: u32| crate::edge::cetp::message::Tag::new(tag).expect("a tag");
    let unexpected = |lab: &mut Lab, from: Ipv4Addr, number: u32| {
        lab.at(1, |service, lent, now| {
            service.unexpected(crate::edge::cetp::message::Rloc::V4(from), tag(number), tag(9), lent, now);
        });
    };
    let before = lab.messages;
    (1..100).for_each(|number| unexpected(&mut lab, Ipv4Addr::new(192, 0, 2, 77), number));
    assert_eq!(lab.messages, before, "a stranger");
    (1..100).for_each(|number| unexpected(&mut lab, rloc(0), number));
    assert!(lab.messages - before <= 10, "{}", lab.messages - before);
    lab.run(2_000);
    let before = lab.messages;
    // One that is the session's: the other edge believes it, because of the MAC.
    let (local, remote) =
        lab.edges[0].service.live().iter().map(|(local, s)| (local, s.remote)).next().expect("one");
    lab.at(1, |service, lent, now| {
        service.unexpected(crate::edge::cetp::message::Rloc::V4(rloc(0)), local, remote, lent, now);
    });
    assert_eq!(lab.messages - before, 1);
    lab.run(100);
    let is_cold =
        lab.edges[1].service.live().iter().any(|(_, s)| matches!(s.edge, super::super::edges::Key::At(_)));
    assert_eq!(lab.edges[0].service.live().is_empty(), !is_cold, "{is_cold}");
    lab.assert_empty();
}

fn fqdn(name: &str) -> crate::edge::cetp::message::Fqdn<'_> {
    crate::edge::cetp::message::Fqdn::new(name).expect("a name")
}

#[test]
fn refusals_are_kept_within_bounds() {
    use crate::edge::calls::refusals::KEPT;
    let mine = "[[policy.operator]]\nname = \"no-calls\"\ndirection = \"outbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[mine, LAX], &[]);
    for _ in 0..2 * KEPT {
        lab.call((0, 1), (1, 2));
    }
    let refusals = lab.edges[0].service.refusals();
    assert_eq!((refusals.iter().count(), refusals.count()), (KEPT, 2 * KEPT as u64));
    assert_eq!(refusals.iter().next().map(|last| last.backoff.reason), Some(Reason::REFUSED));
}

use std::net::Ipv4Addr;
