//! What becomes of an upstream's answer where hosts see proxy addresses.

use super::*;
use crate::dns::Transport;
use crate::edge::proxies::{Counter, Known, TTL_IN_USE};
use crate::flow::{self, HashKey};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, Mandatory};
use hickory_proto::rr::rdata::{AAAA, CNAME, HTTPS, NULL};
use proptest::prelude::*;
use std::net::Ipv6Addr;
use std::sync::Arc;

const HOME: Realm = Realm(1);
const INSIDE: (u16, &str) = (1, "10.0.0.0/8");

/// So many proxy addresses of realm 1, of which a host pays for `per_host`.
fn proxies(addresses: u8, per_host: u32) -> (Proxies, Arc<flow::Proxies>) {
    let first = Ipv4Addr::new(172, 16, 64, 0);
    let range = (first, Ipv4Addr::from_bits(first.to_bits() + u32::from(addresses) - 1));
    let (shared, bindings) = flow::Proxies::new(vec![(HOME, vec![range])], HashKey::new(|| 7));
    (Proxies::new(bindings, |_| per_host, Instant::now()), shared)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
    record(owner, ttl, RData::A(A(address.into())))
}

fn signature(owner: &str, covered: RecordType) -> Record {
    let bytes = [&u16::from(covered).to_be_bytes()[..], &[8; 30]].concat();
    record(owner, 300, RData::Unknown { code: RecordType::RRSIG, rdata: NULL::with(bytes) })
}

fn shown_to(realm: Option<u16>, proxies: &Proxies, answers: Vec<Record>) -> Found {
    let asker = Asker { address: [10, 0, 0, 2].into(), transport: Transport::Udp, realm };
    let inside = [(INSIDE.0, INSIDE.1.parse().expect("a prefix"))];
    let found = Found { answers, ..Found::default() };
    show(found, &name("WWW.example."), &asker, proxies, &inside, Instant::now())
}

fn shown(proxies: &Proxies, answers: Vec<Record>) -> Found {
    shown_to(Some(1), proxies, answers)
}

fn addresses(found: &Found) -> Vec<(Ipv4Addr, u32)> {
    let address = |record: &Record| match &record.data {
        RData::A(a) => Some((a.0, record.ttl)),
        _ => None,
    };
    found.answers.iter().filter_map(address).collect()
}

#[test]
fn where_strangers_are_real_answers_stay() {
    let (proxies, _shared) = proxies(8, 8);
    let proxies = proxies.with_real_strangers(vec![HOME]);
    let heard = Found {
        answers: vec![a("www.far.example.", 300, [198, 51, 100, 1])],
        ..Found::code(ResponseCode::NoError)
    };
    let asker = Asker { address: [10, 0, 0, 2].into(), transport: Transport::Udp, realm: Some(HOME.0) };
    let shown = show(heard, &name("www.far.example."), &asker, &proxies, &[], Instant::now());
    assert_eq!(shown.answers, [a("www.far.example.", 300, [198, 51, 100, 1])]);
    assert!(proxies.serves(HOME) && !proxies.hides_strangers(HOME));
}

#[test]
fn each_address_becomes_one_that_stands_for_it() {
    let (proxies, pool) = proxies(8, 8);
    let alias = record("www.example.", 3600, RData::CNAME(CNAME(name("cdn.example."))));
    let v6 = record("cdn.example.", 300, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
    let answers = vec![
        alias.clone(),
        signature("www.example.", RecordType::CNAME),
        a("cdn.example.", 300, [198, 51, 100, 1]),
        a("cdn.example.", 300, [198, 51, 100, 2]),
        signature("cdn.example.", RecordType::A),
        v6.clone(),
        signature("cdn.example.", RecordType::AAAA),
    ];
    let found = shown(&proxies, answers.clone());
    let told = addresses(&found);
    let remote = |address| pool.remote(pool.number(HOME, address).expect("a proxy address"));
    let remotes: Vec<_> = told.iter().map(|(address, _)| remote(*address)).collect();
    assert_eq!(remotes, [[198, 51, 100, 1], [198, 51, 100, 2]].map(|a| Some(Ipv4Addr::from(a))));
    assert!(told.iter().all(|(_, ttl)| *ttl == 30));
    // Aliases stay, and IPv6; what is signed and was changed has lost its signature.
    let rest: Vec<&Record> = found.answers.iter().filter(|r| r.record_type() != RecordType::A).collect();
    let kept = [&answers[0], &answers[1], &answers[5], &answers[6]];
    assert_eq!(rest, kept);
    // By the name that was asked for.
    assert_eq!(proxies.known(HOME, told[0].0), Known::Named(vec!["www.example".into()]));
    // Whoever asks again hears the same; of one realm of two, or from nowhere, nobody hears of them.
    assert_eq!(addresses(&shown(&proxies, answers.clone())), told);
    for realm in [Some(2), None] {
        assert_eq!(shown_to(realm, &proxies, answers.clone()).answers, answers);
    }
}

#[test]
fn a_ttl_is_short_and_in_use_it_is_long_and_one_for_all() {
    let (proxies, pool) = proxies(8, 8);
    let both = || vec![a("www.example.", 7, [198, 51, 100, 1]), a("www.example.", 900, [198, 51, 100, 2])];
    let told = addresses(&shown(&proxies, both()));
    assert_eq!(told.iter().map(|(_, ttl)| *ttl).collect::<Vec<_>>(), [7, 7]);
    let number = pool.number(HOME, told[0].0).expect("one of them");
    assert!(pool.enter(number, [198, 51, 100, 1].into()));
    let one = addresses(&shown(&proxies, both()[..1].to_vec()));
    assert_eq!(one, [(told[0].0, TTL_IN_USE)], "a session goes there");
    assert!(addresses(&shown(&proxies, both())).iter().all(|(_, ttl)| *ttl == 30));
}

#[test]
fn what_never_leads_through_the_edge_stays() {
    let (proxies, _) = proxies(2, 8);
    let stay: [[u8; 4]; 6] =
        [[0, 0, 0, 0], [127, 0, 0, 1], [169, 254, 1, 1], [224, 0, 0, 251], [255; 4], [10, 9, 8, 7]];
    for address in stay {
        let answers = vec![a("www.example.", 300, address), signature("www.example.", RecordType::A)];
        assert_eq!(shown(&proxies, answers.clone()).answers, answers, "{address:?}");
    }
    // What would be taken for a proxy address is not told at all.
    let found = shown(&proxies, vec![a("www.example.", 300, [172, 16, 64, 1])]);
    assert_eq!((found.code, found.answers), (ResponseCode::NoError, vec![]));
    assert_eq!(proxies.figures().1.get(Counter::NoRemote), 1);
}

#[test]
fn without_an_address_left_it_is_a_failure() {
    let (proxies, _) = proxies(2, 8);
    let answer = |last| vec![a("www.example.", 300, [198, 51, 100, last])];
    let of = |lasts: &[u8]| lasts.iter().flat_map(|last| answer(*last)).collect::<Vec<_>>();
    // As many as there are.
    let found = shown(&proxies, of(&[1, 2, 3]));
    assert_eq!((found.code, addresses(&found).len()), (ResponseCode::NoError, 2));
    let found = shown(&proxies, of(&[4]));
    assert_eq!(found, Found::code(ResponseCode::ServFail));
    assert_eq!(addresses(&shown(&proxies, of(&[4, 1]))).len(), 1, "what is there is told");
    assert_eq!(proxies.figures().1.get(Counter::Exhausted), 3);
    let (proxies, _) = self::proxies(8, 1);
    shown(&proxies, of(&[1]));
    assert_eq!(shown(&proxies, of(&[2])), Found::code(ResponseCode::ServFail));
    assert_eq!(proxies.figures().1.get(Counter::Limited), 1);
    // There is nothing to fail of what has no address.
    let alias = vec![record("www.example.", 300, RData::CNAME(CNAME(name("cdn.example."))))];
    assert_eq!(shown(&proxies, alias.clone()).answers, alias);
}

fn service(params: Vec<(SvcParamKey, SvcParamValue)>) -> SVCB {
    SVCB::new(1, name("."), params)
}

#[test]
fn hints_that_lead_around_a_proxy_address_go() {
    let (proxies, _) = proxies(2, 8);
    let alpn = || (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".into()])));
    let hint = || (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(198, 51, 100, 1)])));
    let mandatory =
        |keys: &[SvcParamKey]| (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(keys.to_vec())));
    let v6 = || (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(Ipv6Addr::LOCALHOST)])));
    let (h, p) = (SvcParamKey::Ipv4Hint, SvcParamKey::Alpn);
    for (before, after) in [
        (vec![alpn(), hint(), v6()], vec![alpn(), v6()]),
        (vec![mandatory(&[h]), alpn(), hint()], vec![alpn()]),
        (vec![mandatory(&[p, h]), alpn(), hint()], vec![mandatory(&[p]), alpn()]),
    ] {
        for wrap in [|svcb| RData::HTTPS(HTTPS(svcb)), RData::SVCB as fn(SVCB) -> RData] {
            let of = |params: &[_]| record("www.example.", 300, wrap(service(params.to_vec())));
            let signed = signature("www.example.", of(&before).record_type());
            let found = shown(&proxies, vec![of(&before), signed]);
            assert_eq!(found.answers, [of(&after)]);
        }
    }
    // Without hints it stays as it is signed.
    let plain = record("www.example.", 300, RData::HTTPS(HTTPS(service(vec![alpn()]))));
    let answers = vec![plain, signature("www.example.", RecordType::HTTPS)];
    assert_eq!(shown(&proxies, answers.clone()).answers, answers);
    assert_eq!(shown_to(Some(2), &proxies, answers.clone()).answers, answers);
}

proptest! {
    /// Whatever upstreams say: no address of theirs that leads through the edge is told, whatever comes of the pool.
    #[test]
    fn no_remote_address_is_told(
        lasts in prop::collection::vec(prop_oneof![1u8..20, Just(200)], 0..12), ttls in prop::collection::vec(any::<u32>(), 12),
    ) {
        let (proxies, pool) = proxies(4, 3);
        let answers: Vec<Record> =
            lasts.iter().zip(ttls).map(|(last, ttl)| a("www.example.", ttl, [198, 51, 100, *last])).collect();
        let count = answers.len();
        let found = shown(&proxies, answers);
        let told = addresses(&found);
        prop_assert_eq!(found.code == ResponseCode::ServFail, told.is_empty() && count > 0);
        for (address, ttl) in told {
            let number = pool.number(HOME, address);
            prop_assert!(ttl <= 30 && number.is_some_and(|number| pool.remote(number).is_some()), "{address}");
        }
    }
}
