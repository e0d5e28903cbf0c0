//! What is believed of an answer, and for how long.

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, NULL, SOA, SVCB};

use super::*;

pub(in crate::dns::forward) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

pub(in crate::dns::forward) fn question(text: &str, kind: RecordType) -> Question {
    Question::new(&Query::query(name(text), kind), false, false)
}

pub(in crate::dns::forward) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
}

pub(in crate::dns::forward) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(in crate::dns::forward) fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name(zone), name("hostmaster.example"), 1, 3600, 600, 86_400, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}

/// A record whose data nobody here reads.
fn opaque(owner: &str, kind: RecordType) -> Record {
    let data = RData::Unknown { code: kind, rdata: NULL::with(vec![1, 2, 3]) };
    Record::from_rdata(name(owner), 300, data)
}

fn message(answers: Vec<Record>, authorities: Vec<Record>) -> Message {
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    (message.answers, message.authorities) = (answers, authorities);
    message
}

fn no_doubts() -> Doubts {
    Doubts::new(Vec::new(), &[])
}

#[test]
fn of_the_answers_what_the_question_leads_to_is_kept() {
    let answers = vec![
        cname("b.example", 300, "c.example"),
        cname("A.example", 300, "b.example"),
        a("c.example", 300, 1),
        a("d.example", 300, 2),
        opaque("c.example", RecordType::TXT),
        opaque("example", RecordType::DNAME),
        opaque("other", RecordType::DNAME),
    ];
    let (found, taken_out) =
        believe(message(answers, vec![]), &question("a.example", RecordType::A), &no_doubts()).expect("few");
    let kept: Vec<String> =
        found.answers.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect();
    assert_eq!(kept, ["b.example. CNAME", "A.example. CNAME", "c.example. A", "example. DNAME"]);
    assert_eq!(taken_out, TakenOut::default());
    // One that asks for the alias itself isn't led on.
    let answers = vec![cname("a.example", 300, "b.example"), cname("b.example", 300, "c.example")];
    let (found, _) =
        believe(message(answers, vec![]), &question("a.example", RecordType::CNAME), &no_doubts())
            .expect("few");
    assert_eq!(found.answers.len(), 1);
}

#[test]
fn a_chain_that_goes_in_circles_or_on_for_ever_ends() {
    let circle = vec![cname("a.example", 300, "b.example"), cname("b.example", 300, "a.example")];
    let asked = question("a.example", RecordType::A);
    let (found, _) = believe(message(circle, vec![]), &asked, &no_doubts()).expect("few");
    assert_eq!(found.answers.len(), 2);
    let long = (0..100).map(|n| cname(&format!("n{n}.example"), 300, &format!("n{}.example", n + 1)));
    let asked = question("n0.example", RecordType::A);
    let (found, _) = believe(message(long.collect(), vec![]), &asked, &no_doubts()).expect("few");
    assert_eq!(found.answers.len(), CHAIN_MAX);
    let many = (0..=RECORDS_MAX).map(|_| a("n0.example", 300, 1)).collect();
    assert_eq!(believe(message(many, vec![]), &asked, &no_doubts()), None);
}

#[test]
fn signatures_and_proofs_are_kept_for_those_who_want_them() {
    let authorities = || {
        vec![
            soa("example", 300, 300),
            opaque("example", RecordType::NSEC),
            opaque("example", RecordType::NSEC3),
            opaque("example", RecordType::RRSIG),
            opaque("example", RecordType::NS),
        ]
    };
    let answers = || vec![a("a.example", 300, 1), opaque("a.example", RecordType::RRSIG)];
    for (dnssec, expected) in [(false, (1, 1)), (true, (2, 4))] {
        let asked = Question { dnssec, ..question("a.example", RecordType::A) };
        let (found, _) = believe(message(answers(), authorities()), &asked, &no_doubts()).expect("few");
        assert_eq!((found.answers.len(), found.authorities.len()), expected);
    }
}

#[test]
fn protected_addresses_are_found_wherever_they_hide() {
    let doubts = Doubts::new(
        Vec::new(),
        &["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/30", "fd00::/8"].map(|net| net.parse().expect("a net")),
    );
    let https = |value| {
        let svcb = SVCB::new(1, Name::root(), vec![(SvcParamKey::Ipv4Hint, value)]);
        RData::HTTPS(HTTPS(svcb))
    };
    for (data, is_taken_out) in [
        (RData::A(A::new(10, 255, 0, 1)), true),
        (RData::A(A::new(10, 1, 0, 1)), true),
        (RData::A(A::new(11, 0, 0, 1)), false),
        (RData::A(A::new(9, 255, 255, 255)), false),
        (RData::A(A::new(192, 0, 2, 3)), true),
        (RData::A(A::new(192, 0, 2, 4)), false),
        (RData::AAAA(AAAA("fd12::1".parse().expect("an address"))), true),
        (RData::AAAA(AAAA("::ffff:10.0.0.1".parse().expect("an address"))), true),
        (RData::AAAA(AAAA("2001:db8::1".parse().expect("an address"))), false),
        (https(SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 9), A::new(10, 0, 0, 1)]))), true),
        (https(SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 9)]))), false),
    ] {
        let asked = question("a.example", data.record_type());
        let record = Record::from_rdata(name("a.example"), 300, data.clone());
        let (found, taken_out) = believe(message(vec![record], vec![]), &asked, &doubts).expect("few");
        assert_eq!(found.answers.is_empty(), is_taken_out, "{data}");
        assert_eq!(taken_out.protected, u64::from(is_taken_out), "{data}");
    }
}

#[test]
fn our_own_zones_are_ours_to_speak_of() {
    let doubts = Doubts::new(vec![name("ces.example")], &[]);
    let answers = vec![
        cname("www.example", 300, "a.ces.example"),
        a("a.CES.example", 300, 1),
        a("notces.example", 300, 1),
    ];
    let authorities = vec![soa("ces.example", 300, 300), soa("example", 300, 300)];
    let asked = question("www.example", RecordType::A);
    let (found, taken_out) = believe(message(answers, authorities), &asked, &doubts).expect("few");
    assert_eq!((found.answers.len(), found.authorities.len(), taken_out.own), (1, 1, 2));
}

const BOUNDS: Bounds = Bounds { min: 10, max: 1000, negative_max: 100 };

#[test]
fn ttls_are_bounded() {
    for (code, answers, authorities, life) in [
        (ResponseCode::NoError, vec![a("a.example", 300, 1), a("a.example", 40, 2)], vec![], 40),
        (ResponseCode::NoError, vec![a("a.example", 3, 1)], vec![], 10),
        (ResponseCode::NoError, vec![a("a.example", 0, 1)], vec![], 0),
        (ResponseCode::NoError, vec![a("a.example", 5000, 1)], vec![], 1000),
        (ResponseCode::NoError, vec![a("a.example", 1 << 31, 1)], vec![], 0),
        (ResponseCode::NoError, vec![], vec![soa("example", 50, 30)], 30),
        (ResponseCode::NXDomain, vec![], vec![soa("example", 20, 30)], 20),
        (ResponseCode::NXDomain, vec![], vec![soa("example", 5000, 3000)], 100),
        (ResponseCode::NXDomain, vec![], vec![soa("example", 5000, u32::MAX)], 0),
        (ResponseCode::NoError, vec![], vec![], 0),
        (ResponseCode::NXDomain, vec![], vec![], 0),
        (ResponseCode::NXDomain, vec![cname("a.example", 15, "b.example")], vec![soa("example", 50, 30)], 15),
        (ResponseCode::ServFail, vec![], vec![], FAILURE_TTL),
    ] {
        let mut found = Found { code, answers, authorities };
        let shown = format!("{found:?}");
        assert_eq!(BOUNDS.apply(&mut found, RecordType::A), life, "{shown}");
        let mut records = found.answers.iter().chain(&found.authorities);
        assert!(records.all(|record| record.ttl <= 1000 && record.ttl >= life), "{shown}");
    }
}

#[test]
fn an_alias_to_nowhere_without_a_soa_is_not_remembered() {
    let mut found = Found { code: ResponseCode::NXDomain, ..Found::default() };
    found.answers.push(cname("a.example", 300, "b.example"));
    assert_eq!(BOUNDS.apply(&mut found, RecordType::A), 0);
}
