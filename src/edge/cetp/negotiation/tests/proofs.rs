//! Before a question has proved where it is from.

use super::lab::*;
use crate::edge::cetp::cookie::COOKIE_LIFETIME;
use crate::edge::cetp::io::Output;
use crate::edge::cetp::message::*;
use crate::edge::cetp::terms::*;
use crate::edge::cetp::wire;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A question as anybody could write one, of at least that many bytes.
fn question(sst: u32, transaction: u16, cookie: Option<&[u8]>, least: usize) -> Vec<u8> {
    let (source, target) = (leak(format!("h{sst}.evil.example")), host_name(0, 1));
    let hash = Fqdn::new(target).expect("a name").hash();
    let header = Header {
        kind: Kind::Hosts,
        is_answer: false,
        is_inbound: false,
        transaction,
        sst: Tag::new(sst),
        dst: None,
        source: Fqdn::new(source).map(Id::fqdn).expect("a name"),
        destination: Id { id_type: IdType::FqdnHash, value: &hash },
        seal: None,
    };
    let mut tlvs = vec![Tlv::exchange(Value::Service([Service::ANY].into_iter().collect()))];
    tlvs.extend(cookie.map(Tlv::cookie));
    let mut bytes = Vec::new();
    wire::encode(&Message { header: header.clone(), tlvs: tlvs.clone() }, &mut bytes).expect("a message");
    if bytes.len() < least {
        tlvs.push(Tlv::response(Value::Padding((least - bytes.len() - wire::TLV_HEADER) as u16)));
        wire::encode(&Message { header, tlvs }, &mut bytes).expect("a message");
    }
    bytes
}

/// What an edge says to that, byte by byte.
fn answers(lab: &mut Lab, from: Rloc, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    lab.with(0, |cetp, house, now, _| {
        cetp.receive(from, bytes, house, now, &mut |output| {
            if let Output::Send { to, message } = output {
                assert_eq!(to, from);
                sent.push(message.to_vec());
            }
        });
    });
    sent
}

fn cookie_of(answer: &[u8]) -> Vec<u8> {
    let decoded = wire::decode(answer).expect("a message");
    assert_eq!(decoded.message.header.sst, None, "no state");
    match decoded.message.value(Code::COOKIE) {
        Some(Value::Cookie(cookie)) => cookie.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Millions of sources that aren't theirs, with and without cookies and seals: no state, one MAC, no answer that is longer.
#[test]
fn a_flood_leaves_nothing_and_costs_one_mac_a_message() {
    let mut lab = Lab::new(1, 40);
    lab.edges[0].house.rule = Box::new(|ask| {
        let strict = ask.peer.value.len() % 2 == 0;
        Ok(Terms {
            required: if strict {
                CodeSet::of(&[Code::DOMAIN, Code::SIGNATURE, Code::CA_ADDRESS])
            } else {
                CodeSet::EMPTY
            },
            ..lax(ask)
        })
    });
    let mut rng = StdRng::seed_from_u64(41);
    for number in 0..200_000u32 {
        let from = Rloc::V4(rng.random::<[u8; 4]>().into());
        let mut noise = [0u8; 20];
        rng.fill(&mut noise[..]);
        noise[0] &= 0x83;
        let cookie = Some(&noise[..]).filter(|_| number % 3 == 0);
        let least = if number % 5 == 0 { 0 } else { 128 };
        let mut bytes = question(rng.random_range(1..=u32::MAX), rng.random(), cookie, least);
        match number % 7 {
            // Of an edge, within a session, sealed, answers, noise.
            1 => bytes[0] |= 0x08,
            2 => bytes[8..12].copy_from_slice(&noise[1..5]),
            3 => bytes[0] |= 0x01,
            4 => bytes[0] |= 0x06,
            5 => bytes.iter_mut().skip(4).for_each(|byte| *byte ^= (rng.random_range(0..200u8) == 0) as u8),
            _ => (),
        }
        let before = lab.edges[0].cetp.macs();
        let answers = answers(&mut lab, from, &bytes);
        assert!(lab.edges[0].cetp.macs() - before <= 1);
        assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.len() <= bytes.len()));
    }
    lab.assert_empty();
    let counters = lab.edges[0].cetp.counters();
    assert!(counters.cookies > 10_000 && counters.forged > 5_000 && counters.short > 10_000, "{counters:?}");
    assert_eq!(lab.edges[0].cetp.next_deadline(), None);
}

#[test]
fn a_cookie_is_for_whom_it_was_made_and_for_its_time() {
    let mut lab = Lab::new(1, 42);
    let (home, elsewhere) = (rloc(1, 0), rloc(2, 0));
    let given = answers(&mut lab, home, &question(7, 1, None, 128));
    let cookie = cookie_of(&given[0]);
    assert_eq!(answers(&mut lab, elsewhere, &question(7, 2, Some(&cookie), 128)), Vec::<Vec<u8>>::new());
    assert_eq!(answers(&mut lab, home, &question(8, 2, Some(&cookie), 128)), Vec::<Vec<u8>>::new());
    assert_eq!(lab.edges[0].cetp.counters().forged, 2);
    lab.now += u64::from(COOKIE_LIFETIME + 1) * 1000;
    let again = answers(&mut lab, home, &question(7, 3, Some(&cookie), 128));
    let newer = cookie_of(&again[0]);
    assert_ne!(newer, cookie, "an old one is replaced");
    assert!(lab.edges[0].cetp.is_empty());
    let granted = answers(&mut lab, home, &question(7, 4, Some(&newer), 0));
    assert_eq!(lab.edges[0].cetp.len(), (1, 0));
    // A copy gets the same answer; what has the same tag and isn't one gets none.
    assert_eq!(answers(&mut lab, home, &question(7, 4, Some(&newer), 0)), granted);
    assert_eq!(answers(&mut lab, home, &question(7, 5, Some(&newer), 0)), Vec::<Vec<u8>>::new());
}

#[test]
fn what_is_short_gets_no_answer() {
    let mut lab = Lab::new(1, 43);
    let bytes = question(7, 1, None, 0);
    assert!(bytes.len() < 128);
    assert_eq!(answers(&mut lab, rloc(1, 0), &bytes), Vec::<Vec<u8>>::new());
    assert_eq!(lab.edges[0].cetp.counters().short, 1);
}

/// Reports to strangers: within a rate, never of answers, and no longer than what they are of.
#[test]
fn what_is_unexpected_is_reported_within_a_rate() {
    let mut lab = Lab::new(1, 44);
    let mut bytes = question(7, 1, None, 128);
    bytes[8..12].copy_from_slice(&[1, 2, 3, 4]);
    let answer = answers(&mut lab, rloc(1, 0), &bytes);
    let read = wire::decode(&answer[0]).expect("a message").message;
    let unexpected =
        Unexpected { kind: UnexpectedKind::UNKNOWN_TAG, sst: Tag::new(7), dst: Tag::new(0x0102_0304) };
    assert_eq!(read.value(Code::UNEXPECTED), Some(&Value::Unexpected(unexpected)));
    let reports: usize = (0..1000).map(|_| answers(&mut lab, rloc(1, 0), &bytes).len()).sum();
    assert_eq!(reports, 99);
    lab.now += 10_000;
    bytes[0] |= 0x04;
    assert_eq!(answers(&mut lab, rloc(1, 0), &bytes).len(), 0, "an answer");
}

#[test]
fn whatever_comes_nothing_panics() {
    let mut lab = Lab::new(2, 45);
    lab.established();
    let mut rng = StdRng::seed_from_u64(46);
    let (local, remote) = lab.only(0);
    for _ in 0..100_000 {
        let mut bytes = question(remote.get(), rng.random(), None, 40);
        bytes[8..12].copy_from_slice(&local.get().to_be_bytes());
        let length = rng.random_range(0..=bytes.len());
        bytes.truncate(length);
        for _ in 0..rng.random_range(0..4) {
            if !bytes.is_empty() {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        if bytes.len() > 4 {
            let length = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        answers(&mut lab, rloc(1, 0), &bytes);
    }
}
