//! A host asks for one behind another edge.

use super::bed::*;
use crate::config::DomainName;
use crate::dns::forwarder::Found;
use crate::dns::{Asker, Transport};
use crate::edge::calls::{Call, Callee, Outcome};
use crate::edge::identity::naming::{Rloc, Speaker};
use crate::edge::proxies;
use crate::flow::Realm;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType::{A, AAAA, ANY, HTTPS, MX, NAPTR, PTR, TXT};

const SOA: &str = "far.example. 5 IN SOA far.example. nobody.invalid. 1 3600 1200 604800 5";

fn far_edge() -> Callee {
    let edge = DomainName::new("ces.far.example").expect("a name");
    Callee::Remote(vec![Speaker { edge: Some(edge), rlocs: vec![Rloc::Ip([192, 0, 2, 99].into())] }])
}

fn call_of(asker: &Asker, called: &str) -> Call {
    let realm = Realm(asker.realm.expect("inside"));
    let name = DomainName::new(called).expect("a name");
    Call { asker: proxies::Asker { realm, address: asker.address }, name, callee: far_edge() }
}

/// A bed in which a host has asked for `PC.far.example`, whose edge has been found.
fn calling() -> (Bed, u64) {
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "PC.far.example", A);
    bed.others_say_edge("pc.far.example");
    (bed, connection)
}

#[test]
fn a_host_behind_another_edge_is_called_and_seen_by_its_proxy_address() {
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "PC.far.example", A);
    assert_eq!((bed.last_asked().as_str(), bed.calls().len()), ("pc.far.example. NAPTR", 0));
    let asker = bed.others.lock().expect("no panic").asked[0].1.asker;
    assert_eq!(asker, host(1, 9), "by whose limits");
    bed.others_say_edge("pc.far.example");
    let [(_, call)] = &bed.calls()[..] else { panic!("one call") };
    assert_eq!(*call, call_of(&host(1, 9), "pc.far.example"));
    assert_eq!((bed.told(connection), bed.counters.calls_waiting.get()), (None, 1));
    bed.comes_to(assigned(7, 30));
    bed.is_told(connection, "NoError | PC.far.example. 30 IN A 172.16.64.7");
    assert_eq!((bed.asked_of_others(), bed.counters.calls_waiting.get()), (1, 0));
    assert_eq!(bed.discovered(), [("edge", 1)]);
    assert_eq!(bed.called(), [("remote", 1), ("address", 1)]);
    // Whoever asks for anything is told an address, too.
    let connection = bed.ask(host(1, 9), "pc.far.example", ANY);
    bed.others_say_edge("pc.far.example");
    bed.comes_to(assigned(7, 120));
    bed.is_told(connection, "NoError | pc.far.example. 120 IN A 172.16.64.7");
}

#[test]
fn each_outcome_is_an_answer() {
    for (outcome, told, counted) in [
        (Outcome::Refused, format!("NXDomain ? {SOA}"), "refused"),
        (Outcome::Busy, "ServFail".into(), "busy"),
    ] {
        let (mut bed, connection) = calling();
        bed.comes_to(outcome);
        bed.is_told(connection, &told);
        assert_eq!((bed.called(), bed.asked_of_others()), (vec![("remote", 1), (counted, 1)], 1));
    }
    // As without an edge.
    let (mut bed, connection) = calling();
    bed.comes_to(Outcome::Legacy);
    assert_eq!((bed.last_asked().as_str(), bed.told(connection)), ("pc.far.example. A", None));
    bed.others_say(answer(ResponseCode::NoError, vec![address("pc.far.example", [198, 51, 100, 1])]));
    bed.is_told(connection, "NoError | pc.far.example. 60 IN A 198.51.100.1");
    assert_eq!(bed.called(), [("remote", 1), ("legacy", 1)]);
    // Nobody takes it over.
    let mut bed = Bed::new();
    bed.caller.lock().expect("no panic").is_full = true;
    let connection = bed.ask(host(1, 9), "pc.far.example", A);
    bed.others_say_edge("pc.far.example");
    bed.is_told(connection, "ServFail");
    assert_eq!((bed.called(), bed.counters.calls_waiting.get()), (vec![("remote", 1), ("busy", 1)], 0));
}

#[test]
fn without_an_edge_the_question_goes_on() {
    let no_edge = "!^(.*)$!sip:info@far.example!";
    for (found, counted) in [
        (answer(ResponseCode::NoError, vec![]), "no_edge"),
        (answer(ResponseCode::NXDomain, vec![]), "no_edge"),
        (answer(ResponseCode::NoError, vec![naptr("pc.far.example", no_edge)]), "no_edge"),
        (answer(ResponseCode::NoError, vec![naptr("other.example", EDGE)]), "no_edge"),
        (answer(ResponseCode::ServFail, vec![naptr("pc.far.example", EDGE)]), "failed"),
        (Found::Answer(vec![1, 2, 3]), "failed"),
        (Found::Answer(vec![]), "failed"),
    ] {
        for kind in [A, AAAA, ANY] {
            let mut bed = Bed::new();
            let connection = bed.ask(host(1, 9), "pc.far.example", kind);
            bed.others_say(found_again(&found));
            assert_eq!(bed.last_asked(), format!("pc.far.example. {kind}"));
            assert_eq!((bed.discovered(), bed.calls().len()), (vec![(counted, 1)], 0));
            bed.others_say(answer(ResponseCode::NXDomain, vec![]));
            bed.is_told(connection, "NXDomain");
        }
    }
}

fn found_again(found: &Found) -> Found {
    let Found::Answer(bytes) = found else { panic!("{found:?}") };
    Found::Answer(bytes.clone())
}

#[test]
fn there_is_no_ipv6_address_of_whom_an_edge_speaks_for() {
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "pc.far.example", AAAA);
    bed.others_say_edge("pc.far.example");
    bed.is_told(connection, &format!("NoError ? {SOA}"));
    assert_eq!((bed.calls().len(), bed.asked_of_others(), bed.discovered()), (0, 1, vec![("edge", 1)]));
}

#[test]
fn nothing_else_looks_for_an_edge() {
    let mut bed = Bed::new();
    for (asker, name, kind) in [
        (host(1, 9), "pc.far.example", NAPTR),
        (host(1, 9), "pc.far.example", MX),
        (host(1, 9), "pc.far.example", TXT),
        (host(1, 9), "pc.far.example", HTTPS),
        (host(1, 9), "9.2.0.192.in-addr.arpa", PTR),
        // Of no host.
        (host(1, 9), "_sip._udp.far.example", A),
        (host(1, 9), "localhost", A),
        // Of a realm that sees addresses as they are.
        (host(4, 9), "pc.far.example", A),
    ] {
        bed.ask(asker, name, kind);
        assert_eq!(bed.last_asked(), format!("{name}. {kind}"));
    }
    let mut bed = Bed::with(false, None);
    bed.ask(host(1, 9), "pc.far.example", A);
    assert_eq!(bed.last_asked(), "pc.far.example. A", "nobody makes calls");
    assert_eq!((bed.discovered(), bed.counters.forwarded.get()), (vec![], 1));
}

/// Ours is cesb.ces.example, at 192.0.2.10.
#[test]
fn this_edge_does_not_call_itself() {
    let of = |edge: &str, rlocs: &str| naptr("pc.far.example", &format!("!^(.*)$!cesid:1={edge}{rlocs}!"));
    for record in [
        of("CESb.ces.example.", "?ip=192.0.2.99"),
        of("cesb.ces.example.", ""),
        of("ces.far.example.", "?ip=192.0.2.10"),
    ] {
        let mut bed = Bed::new();
        bed.ask(host(1, 9), "pc.far.example", A);
        bed.others_say(answer(ResponseCode::NoError, vec![record.clone()]));
        assert_eq!((bed.last_asked().as_str(), bed.calls().len()), ("pc.far.example. A", 0), "{record}");
        assert_eq!(bed.discovered(), [("no_edge", 1)]);
    }
    // One that is at an address of its own, too; and one that leaves its addresses to its name.
    let mut bed = Bed::new();
    bed.ask(host(1, 9), "pc.far.example", A);
    let both = vec![of("cesb.ces.example.", ""), of("ces.far.example.", "?ip=192.0.2.10?ip=192.0.2.99")];
    bed.others_say(answer(ResponseCode::NoError, both));
    assert_eq!(bed.calls()[0].1.callee, far_edge());
    bed.ask(host(1, 9), "tv.far.example", A);
    bed.others_say(answer(
        ResponseCode::NoError,
        vec![naptr("tv.far.example", "!^(.*)$!cesid:1=ces.far.example.!")],
    ));
    let Callee::Remote(speakers) = &bed.calls()[1].1.callee else { panic!("another edge") };
    assert_eq!((speakers.len(), speakers[0].rlocs.len()), (1, 0));
}

#[test]
fn aliases_are_followed_and_answered() {
    let told = [cname("WWW.shop.example", "cdn.example"), cname("cdn.example", "pc.far.example")];
    let with_edge = || [&told[..], &[naptr("pc.far.example", EDGE)]].concat();
    let aliases = "WWW.shop.example. 77 IN CNAME cdn.example. | cdn.example. 77 IN CNAME pc.far.example.";
    for (kind, outcome, expected) in [
        (A, Some(assigned(7, 30)), format!("NoError | {aliases} | pc.far.example. 30 IN A 172.16.64.7")),
        (A, Some(Outcome::Refused), format!("NXDomain | {aliases} ? {SOA}")),
        (AAAA, None, format!("NoError | {aliases} ? {SOA}")),
    ] {
        let mut bed = Bed::new();
        let connection = bed.ask(host(1, 9), "WWW.shop.example", kind);
        bed.others_say(answer(ResponseCode::NoError, with_edge()));
        if let Some(outcome) = outcome {
            assert_eq!(bed.calls()[0].1, call_of(&host(1, 9), "pc.far.example"), "by its own name");
            bed.comes_to(outcome);
        }
        bed.is_told(connection, &expected);
    }
    // Of the alias itself nobody speaks; and it alone is what ANY asks for.
    let of_alias = || [&told[..], &[naptr("WWW.shop.example", EDGE), naptr("cdn.example", EDGE)]].concat();
    for (kind, records) in [(A, of_alias()), (ANY, with_edge())] {
        let mut bed = Bed::new();
        bed.ask(host(1, 9), "WWW.shop.example", kind);
        bed.others_say(answer(ResponseCode::NoError, records));
        assert_eq!(bed.last_asked(), format!("www.shop.example. {kind}"));
        assert_eq!(bed.calls().len(), 0);
    }
    // To a name that no host can have.
    let mut bed = Bed::new();
    bed.ask(host(1, 9), "WWW.shop.example", A);
    let records = vec![cname("WWW.shop.example", "_x.far.example"), naptr("_x.far.example", EDGE)];
    bed.others_say(answer(ResponseCode::NoError, records));
    assert_eq!((bed.last_asked().as_str(), bed.calls().len()), ("www.shop.example. A", 0));
}

#[test]
fn questions_of_one_host_for_one_name_share_a_call() {
    let (mut bed, first) = calling();
    let mut joined = vec![];
    for (name, kind) in [("pc.far.example", A), ("pc.FAR.example", A), ("pc.far.example", ANY)] {
        let transport = Transport::Udp;
        joined.push((bed.ask(Asker { transport, ..host(1, 9) }, name, kind), name));
        bed.others_say_edge(name);
    }
    let alias = bed.ask(host(1, 9), "www.example", A);
    let records = vec![cname("www.example", "pc.far.example"), naptr("pc.far.example", EDGE)];
    bed.others_say(answer(ResponseCode::NoError, records));
    assert_eq!(bed.calls().len(), 1);
    // Another host, the same address of another realm, and another name.
    for (asker, name) in
        [(host(1, 8), "pc.far.example"), (host(2, 9), "pc.far.example"), (host(1, 9), "tv.far.example")]
    {
        bed.ask(asker, name, A);
        bed.others_say_edge(name);
    }
    let calls = bed.calls();
    let expected = [
        call_of(&host(1, 9), "pc.far.example"),
        call_of(&host(1, 8), "pc.far.example"),
        call_of(&host(2, 9), "pc.far.example"),
        call_of(&host(1, 9), "tv.far.example"),
    ];
    assert_eq!(calls.iter().map(|(_, call)| call.clone()).collect::<Vec<_>>(), expected);
    bed.caller.lock().expect("no panic").outcomes.push_back((calls[0].0, assigned(7, 30)));
    bed.turn();
    bed.is_told(first, "NoError | PC.far.example. 30 IN A 172.16.64.7");
    for (connection, name) in joined {
        bed.is_told(connection, &format!("NoError | {name}. 30 IN A 172.16.64.7"));
    }
    let alias_told =
        "NoError | www.example. 77 IN CNAME pc.far.example. | pc.far.example. 30 IN A 172.16.64.7";
    bed.is_told(alias, alias_told);
    assert_eq!(bed.called(), [("remote", 4), ("joined", 4), ("address", 5)]);
    assert_eq!((bed.sent.0.len(), bed.counters.calls_waiting.get()), (5, 3));
    // What has ended is called anew.
    bed.ask(host(1, 9), "pc.far.example", A);
    bed.others_say_edge("pc.far.example");
    assert_eq!(bed.calls().len(), 5);
}

#[test]
fn naptr_that_does_not_come_in_time_is_none() {
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "pc.far.example", A);
    let token = bed.others.lock().expect("no panic").asked[0].0;
    bed.after(super::waiting::DISCOVERY_TIME - 1);
    assert_eq!(bed.asked_of_others(), 1);
    bed.after(1);
    assert_eq!((bed.last_asked().as_str(), bed.discovered()), ("pc.far.example. A", vec![("late", 1)]));
    // It comes after all.
    bed.others_say_of(token, answer(ResponseCode::NoError, vec![naptr("pc.far.example", EDGE)]));
    assert_eq!((bed.calls().len(), bed.told(connection)), (0, None));
    bed.others_say(answer(ResponseCode::NXDomain, vec![]));
    bed.is_told(connection, "NXDomain");
}

#[test]
fn a_call_that_comes_to_nothing_in_time_is_a_failure() {
    let (mut bed, first) = calling();
    bed.after(super::waiting::CALL_TIME - 1);
    let second = bed.ask(host(1, 9), "pc.far.example", A);
    bed.others_say_edge("pc.far.example");
    assert_eq!((bed.told(first), bed.told(second)), (None, None));
    bed.after(1);
    bed.is_told(first, "ServFail");
    bed.is_told(second, "ServFail");
    // It comes to something after all, and to something that nobody has asked for.
    bed.comes_to(assigned(7, 30));
    bed.caller.lock().expect("no panic").outcomes.push_back((u64::MAX, Outcome::Refused));
    bed.turn();
    assert_eq!(bed.called(), [("remote", 1), ("joined", 1), ("expired", 2), ("late", 2)]);
    assert_eq!((bed.sent.0.len(), bed.counters.calls_waiting.get()), (2, 0));
    // The next one is a call of its own.
    bed.ask(host(1, 9), "pc.far.example", A);
    bed.others_say_edge("pc.far.example");
    assert_eq!(bed.calls().len(), 2);
}

/// Whoever asks for too much at a time is told so, while others are served.
#[test]
fn one_asker_has_so_many_questions_waiting() {
    let mut bed = Bed::new();
    let ask = |bed: &mut Bed, asker, number: u64| {
        let name = format!("h{number}.far.example");
        let before = bed.asked_of_others();
        let connection = bed.ask(asker, &name, A);
        if bed.asked_of_others() > before {
            bed.others_say_edge(&name);
        }
        connection
    };
    for number in 0..128 {
        ask(&mut bed, host(1, 9), number);
    }
    assert_eq!((bed.calls().len(), bed.sent.0.len()), (128, 0));
    let too_many = ask(&mut bed, host(1, 9), 128);
    bed.is_told(too_many, "ServFail");
    assert_eq!(bed.discovered(), [("edge", 128), ("limited", 1)]);
    // Those that wait for NAPTR count, too; other names, other hosts and the same name do not matter.
    ask(&mut bed, host(1, 8), 0);
    assert_eq!(bed.calls().len(), 129);
    let number = bed.calls()[5].0;
    bed.caller.lock().expect("no panic").outcomes.push_back((number, Outcome::Refused));
    bed.turn();
    bed.ask(host(1, 9), "x.far.example", A);
    let too_many = bed.ask(host(1, 9), "y.far.example", A);
    bed.is_told(too_many, "ServFail");
}

#[test]
fn where_others_take_no_more_there_is_silence() {
    let mut bed = Bed::new();
    bed.others.lock().expect("no panic").is_full = true;
    let connection = bed.ask(host(1, 9), "pc.far.example", A);
    bed.is_told(connection, "silence");
    assert_eq!((bed.counters.calls_waiting.get(), bed.counters.silences[5].get()), (0, 1));
}
