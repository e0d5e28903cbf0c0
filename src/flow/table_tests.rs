//! The flow table against naive oracles.

use super::*;
use crate::flow::key::{Key4, Key6, Protocol, Realm};
use crate::flow::quiescence::Reporter;
use crate::flow::record::Rewrite4;
use crate::flow::record::Rewrite6;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::Ipv4Addr;

fn hash_key(seed: u64) -> HashKey {
    let mut s = seed;
    HashKey::new(|| {
        s = s.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        s ^ s >> 29
    })
}

fn key(n: u32, realm: u16) -> Key4 {
    let (a, b) = (Ipv4Addr::from(0x0a00_0000 | n), Ipv4Addr::from(0xcb00_7100 | n >> 8));
    Key4::new(Realm(realm), Protocol::Udp, (a, n as u16), (b, 53))
}

fn half(key: Key4) -> Half<Key4, Rewrite4> {
    let rewrite = Rewrite4 { addresses: key.addresses ^ 1, ports: 5, ip_delta: 6, l4_delta: 7 };
    Half { key, rewrite, action: Action::FORWARD }
}

/// Everything older than what it is told is over.
struct OlderThan(u32);

impl Judge<Record4> for OlderThan {
    fn is_over(&mut self, a: &Record4, b: &Record4, now: u32) -> bool {
        now.wrapping_sub(a.common().last_seen()).min(now.wrapping_sub(b.common().last_seen())) > self.0
    }
    fn removed(&mut self, _: &Record4, _: &Record4) {}
}

#[test]
fn both_halves_are_found_and_refer_to_each_other() {
    let table = Arc::new(FlowTable::new(64, 64, 1, hash_key(1)));
    let mut home = FlowHome::new(table.clone());
    let (k, back) = (key(7, 1), key(7, 1).reversed(Realm(2)));
    let r = home.create::<Record4>(&half(k), &half(back), 9).unwrap();
    let (found, record) = table.lookup::<Record4>(&k).unwrap();
    assert_eq!(found, r);
    assert!(record.common().action().is_initiator());
    assert_eq!(record.rewrite(), half(k).rewrite);
    let twin = table.twin(record).unwrap();
    assert_eq!((twin.key(), twin.common().action().is_initiator()), (back, false));
    assert_eq!(table.twin(twin).unwrap().key(), k);
    // The same addresses in another realm are another flow.
    assert!(table.lookup::<Record4>(&key(7, 3)).is_none());

    let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let k6 = Key6::new(Realm(1), Protocol::Tcp, (a, 1), (b, 2));
    let six = |key| Half { key, rewrite: Rewrite6, action: Action::FORWARD };
    let r6 = home.create::<Record6>(&six(k6), &six(k6.reversed(Realm(2))), 9).unwrap();
    assert_eq!(table.lookup::<Record6>(&k6).map(|x| x.0), Some(r6));
    assert!(table.get::<Record4>(r6).is_none(), "a reference is valid in its own table only");
    assert!(home.remove::<Record6>(r6) && !home.remove::<Record6>(r6));
    assert!(table.lookup::<Record6>(&k6).is_none());
}

#[test]
fn staged_lookup_agrees_with_find() {
    let n = 20_000;
    let table = Arc::new(FlowTable::new(n as usize, 0, 1, hash_key(2)));
    let mut home = FlowHome::new(table.clone());
    for i in 0..n {
        home.create::<Record4>(&half(key(i, 1)), &half(key(i, 2)), 0).unwrap();
    }
    let mut staged = 0;
    for i in 0..n * 2 {
        let k = key(i, 1);
        let mut l = table.begin::<Record4>(&k);
        if !table.locate::<Record4>(&mut l) {
            table.locate_second::<Record4>(&mut l);
        }
        let found = table.confirm::<Record4>(&l, &k).map(|r| r.key());
        staged += u32::from(found.is_some());
        let whole = table.find::<Record4>(l.hash, &k).map(|r| r.1.key());
        assert_eq!(whole.is_some(), i < n);
        assert!(found.is_none() || found == whole);
    }
    assert!(staged > n - n / 500, "the stages find all but rare double tags: {staged} of {n}");
}

#[test]
fn at_95_percent_every_insert_succeeds_after_churn() {
    let capacity = 100_000u32;
    let n = capacity / 100 * 95;
    for seed in 0..3 {
        let table = Arc::new(FlowTable::new(capacity as usize, 0, 2, hash_key(seed)));
        let mut homes = [FlowHome::new(table.clone()), FlowHome::new(table.clone())];
        for i in 0..n {
            homes[i as usize % 2].create::<Record4>(&half(key(i, 1)), &half(key(i, 2)), 0).unwrap();
        }
        for i in 0..n {
            let r = table.lookup::<Record4>(&key(i, 1)).unwrap().0;
            let home = &mut homes[i as usize % 2];
            assert!(home.remove::<Record4>(r));
            home.seal();
            home.reclaim();
            home.create::<Record4>(&half(key(i + n, 1)), &half(key(i + n, 2)), 0).unwrap();
        }
        assert!((n..2 * n).all(|i| table.lookup::<Record4>(&key(i, 2)).is_some()));
    }
}

#[test]
fn records_wait_for_the_slowest_worker() {
    let table = Arc::new(FlowTable::new(8, 0, 2, hash_key(3)));
    let mut home = FlowHome::new(table.clone());
    let slow = Reporter::new(table.quiescence().clone(), 1);
    slow.online();
    let r = home.create::<Record4>(&half(key(1, 1)), &half(key(1, 2)), 0).unwrap();
    let held = table.lookup::<Record4>(&key(1, 1)).unwrap().1;
    assert_eq!(home.sweep(100_000, 500, &mut OlderThan(100)), 1);
    assert!(table.lookup::<Record4>(&key(1, 1)).is_none());
    home.reclaim();
    assert_eq!(home.live_records(), 2, "still held by the slow worker");
    assert_eq!(held.key(), key(1, 1));
    slow.quiescent();
    home.reclaim();
    assert_eq!(home.live_records(), 0);
    assert!(!home.remove::<Record4>(r));
}

#[test]
fn full_is_refused_and_leaves_nothing() {
    let table = Arc::new(FlowTable::new(1024, 0, 1, hash_key(4)));
    let mut home = FlowHome::new(table.clone());
    let mut made = 0;
    let full = loop {
        match home.create::<Record4>(&half(key(made, 1)), &half(key(made, 2)), 0) {
            Ok(_) => made += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(full, Full::Records);
    assert!(made >= 1024);
    assert!(table.lookup::<Record4>(&key(made, 1)).is_none());
    assert!(table.lookup::<Record4>(&key(made, 2)).is_none());
    assert_eq!(table.sessions::<Record4>().count(), made as usize);
}

#[derive(Clone, Debug)]
enum Op {
    Create(u32, usize),
    Remove(u32),
    Touch(u32),
    Sweep(usize),
    Quiesce(usize),
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u32..600, 0usize..2).prop_map(|(n, w)| Op::Create(n, w)),
        2 => (0u32..600).prop_map(Op::Remove),
        2 => (0u32..600).prop_map(Op::Touch),
        1 => (0usize..2).prop_map(Op::Sweep),
        2 => (0usize..2).prop_map(Op::Quiesce),
        1 => (0u32..200).prop_map(Op::Wait),
    ]
}

proptest! {
    /// Against a `HashMap`: create, remove, touch, expire and reuse on two homes in any order, across the wrap of the clock.
    #[test]
    fn like_a_hash_map(ops in prop::collection::vec(op(), 1..2000)) {
        const IDLE: u32 = 300;
        let table = Arc::new(FlowTable::new(400, 0, 2, hash_key(5)));
        let mut homes = [FlowHome::new(table.clone()), FlowHome::new(table.clone())];
        let reporters = [0, 1].map(|w| Reporter::new(table.quiescence().clone(), w));
        reporters.iter().for_each(|r| r.online());
        let mut oracle: HashMap<u32, (usize, u32, Ref)> = HashMap::new();
        let mut now = u32::MAX - 1000;
        for o in ops {
            match o {
                Op::Create(n, w) => if let std::collections::hash_map::Entry::Vacant(e) = oracle.entry(n)
                    && let Ok(r) = homes[w].create::<Record4>(&half(key(n, 1)), &half(key(n, 2)), now)
                {
                    e.insert((w, now, r));
                },
                Op::Remove(n) => if let Some((w, _, r)) = oracle.remove(&n) {
                    prop_assert!(homes[w].remove::<Record4>(r));
                    homes[w].seal();
                    prop_assert!(!homes[w].remove::<Record4>(r), "twice");
                },
                Op::Touch(n) => if let Some((_, seen, r)) = oracle.get_mut(&n) {
                    *seen = now;
                    table.get::<Record4>(*r).unwrap().common().count(64, now);
                },
                Op::Sweep(w) => {
                    // A whole round: from wherever the cursor is, once around.
                    for _ in 0..=homes[w].owned_records() / crate::flow::slab::CHUNK + 1 {
                        homes[w].sweep(1000, now, &mut OlderThan(IDLE));
                    }
                    oracle.retain(|_, (h, seen, _)| *h != w || now.wrapping_sub(*seen) <= IDLE);
                }
                Op::Quiesce(w) => { reporters[w].quiescent(); homes[w].reclaim(); }
                Op::Wait(ms) => now = now.wrapping_add(ms),
            }
        }
        for n in 0..600 {
            for realm in [1, 2] {
                let found = table.lookup::<Record4>(&key(n, realm));
                prop_assert_eq!(found.is_some(), oracle.contains_key(&n), "{} in realm {}", n, realm);
                if let Some((_, r)) = found {
                    prop_assert_eq!(r.key(), key(n, realm));
                    prop_assert_eq!(r.rewrite(), half(key(n, realm)).rewrite);
                }
            }
        }
        prop_assert_eq!(table.sessions::<Record4>().count(), oracle.len());
    }
}

/// Steps that are no part of a chunk add up to a round all the same.
#[test]
fn odd_steps_of_the_sweep_are_a_round() {
    let n = 1000;
    let table = Arc::new(FlowTable::new(n as usize, 0, 2, hash_key(5)));
    let mut home = FlowHome::new(table.clone());
    // Somebody holds records meanwhile: none comes back, and the round keeps its length.
    let slow = Reporter::new(table.quiescence().clone(), 1);
    slow.online();
    for i in 0..n {
        home.create::<Record4>(&half(key(i, 1)), &half(key(i, 2)), 0).unwrap();
    }
    let steps = home.owned_records().div_ceil(100);
    let removed: usize = (0..steps).map(|_| home.sweep(100, 500, &mut OlderThan(100))).sum();
    assert_eq!(removed, n as usize);
    assert!((0..n).all(|i| table.lookup::<Record4>(&key(i, 1)).is_none()));
    assert!((0..n).all(|i| table.lookup::<Record4>(&key(i, 2)).is_none()));
}
