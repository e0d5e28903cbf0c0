//! The names behind proxy addresses, asked of a responder as hosts do.

use super::*;
use crate::dns::tests::{NOW, fixture, question};
use crate::dns::{Outcome, Responder, Transport};
use crate::edge::hosts::Register;
use crate::edge::proxies;
use crate::flow::{self, HashKey};
use hickory_proto::op::Message;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

/// Realm 1 has four; one of them stands for a remote host of two names.
pub(in crate::dns) fn bed() -> (Responder, Register, Arc<Proxies>, Ipv4Addr) {
    let range = (Ipv4Addr::new(10, 99, 64, 0), Ipv4Addr::new(10, 99, 64, 3));
    let (_, bindings) = flow::Proxies::new(vec![(Realm(1), vec![range])], HashKey::new(|| 7));
    let proxies = Arc::new(Proxies::new(bindings, |_| 4, Instant::now()));
    let asker = proxies::Asker { realm: Realm(1), address: [10, 0, 0, 2].into() };
    let remote = Ipv4Addr::new(198, 51, 100, 7);
    let assign = |name| proxies.assign(&asker, remote, name, 30, Instant::now()).expect("room").address;
    assign("cdn.example");
    let address = assign("www.example");
    let (responder, register) = fixture();
    (responder.with_proxies(Some(proxies.clone())), register, proxies, address)
}

fn ask(
    responder: &Responder,
    register: &Register,
    realm: Option<u16>,
    name: &str,
    kind: RecordType,
) -> Option<Message> {
    let asker = Asker { address: [10, 0, 0, 2].into(), transport: Transport::Udp, realm };
    match responder.ask(&question(name, kind).to_vec().expect("sound"), &asker, register, NOW) {
        Outcome::Answer(bytes) => Some(Message::from_vec(&bytes).expect("sound")),
        _ => None,
    }
}

fn reverse_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.In-Addr.arpa")
}

#[test]
fn a_proxy_address_has_the_names_of_whom_it_stands_for() {
    let (responder, register, _, address) = bed();
    let name = reverse_of(address);
    let answer = ask(&responder, &register, Some(1), &name, RecordType::PTR).expect("an answer");
    let targets: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(targets, ["www.example.", "cdn.example."]);
    assert!(answer.metadata.authoritative && answer.answers.iter().all(|record| record.ttl == TTL));
    assert!(answer.answers[0].name.eq_case(answer.queries[0].name()));
    let answer = ask(&responder, &register, Some(1), &name, RecordType::TXT).expect("an answer");
    let soa = |answer: &Message| answer.authorities.first().map(|record| (record.record_type(), record.ttl));
    let negative = Some((RecordType::SOA, NEGATIVE_TTL));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(soa(&answer), negative);
    let answer = ask(&responder, &register, Some(1), &name, RecordType::ANY).expect("an answer");
    assert_eq!(answer.answers.first().map(Record::record_type), Some(RecordType::HINFO), "RFC 8482");
}

#[test]
fn one_that_stands_for_nobody_has_none() {
    let (responder, register, _, address) = bed();
    let other = Ipv4Addr::from_bits(address.to_bits() ^ 3);
    let answer = ask(&responder, &register, Some(1), &reverse_of(other), RecordType::PTR).expect("an answer");
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NXDomain, 0));
    let soa = answer.authorities.first().expect("who says so");
    assert_eq!((soa.record_type(), soa.ttl), (RecordType::SOA, NEGATIVE_TTL));
    assert_eq!(soa.name.to_string().to_lowercase(), "64.99.10.in-addr.arpa.");
}

/// Of another realm, or outside, that address is whatever it is; and so are other addresses and other names inside.
#[test]
fn elsewhere_it_is_none() {
    let (responder, register, _, address) = bed();
    let without = fixture().0;
    let name = reverse_of(address);
    for (realm, name) in [
        (Some(2), name.as_str()),
        (None, &name),
        (Some(1), "4.64.99.10.in-addr.arpa"),
        (Some(1), "64.99.10.in-addr.arpa"),
        (Some(1), "2.0.0.10.in-addr.arpa"),
        (Some(1), "a.ces.example"),
    ] {
        let [with, before] =
            [&responder, &without].map(|responder| ask(responder, &register, realm, name, RecordType::PTR));
        assert_eq!(with, before, "{realm:?} {name}");
    }
}

#[test]
fn its_time_passes_with_the_responders() {
    let (responder, register, proxies, address) = bed();
    let code = |now: Instant| {
        responder.turn(now);
        let answer = ask(&responder, &register, Some(1), &reverse_of(address), RecordType::PTR);
        answer.expect("an answer").metadata.response_code
    };
    let (start, held) = (Instant::now(), u64::from(TTL) * 1000 + proxies::GRACE);
    let after = |ms| start + std::time::Duration::from_millis(ms);
    assert_eq!(
        [code(after(held - 1000)), code(after(held + 2000))],
        [ResponseCode::NoError, ResponseCode::NXDomain]
    );
    assert_eq!(proxies.known(Realm(1), address), Known::Nobody);
}
