//! Loom models of what workers do to one another through the flow table.

use super::*;
use crate::flow::index::Index;
use crate::flow::key::{Key4, Protocol, Realm};
use crate::flow::quiescence::Reporter;
use crate::flow::record::Rewrite4;
use std::net::Ipv4Addr;

fn key(n: u16, realm: u16) -> Key4 {
    Key4::new(Realm(realm), Protocol::Udp, (Ipv4Addr::LOCALHOST, n), (Ipv4Addr::LOCALHOST, 53))
}

fn half(key: Key4) -> Half<Key4, Rewrite4> {
    // The rewrite repeats the key, so that a reader can see whether both belong together.
    let rewrite = Rewrite4 { addresses: key.tail, ports: key.tail as u32, ip_delta: 0, l4_delta: 0 };
    Half { key, rewrite, action: Action::FORWARD }
}

fn table() -> Arc<FlowTable> {
    let mut n = 0u64;
    Arc::new(FlowTable::new(
        1,
        0,
        2,
        HashKey::new(|| {
            n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
            n
        }),
    ))
}

/// Bounded: three preemptions find what there is to find in models of this size, in seconds.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = Some(3);
    b.check(f);
}

/// Publish and look up: whoever finds an entry sees the whole record, and where the initiator's half is found its twin is.
#[test]
fn loom_publish_then_lookup() {
    model(|| {
        let table = table();
        let reader = table.clone();
        let t = loom::thread::spawn(move || {
            if let Some((_, r)) = reader.lookup::<Record4>(&key(1, 1)) {
                assert_eq!(r.rewrite().addresses, key(1, 1).tail);
                assert!(reader.lookup::<Record4>(&key(1, 2)).is_some(), "the answers' entry comes first");
            }
        });
        let mut home = FlowHome::new(table.clone());
        home.create::<Record4>(&half(key(1, 1)), &half(key(1, 2)), 0).unwrap();
        t.join().unwrap();
    });
}

/// Remove and reuse: while a worker holds a record between two reports its key and rewrite stay what it found.
#[test]
fn loom_remove_then_reuse_waits_for_quiescence() {
    model(|| {
        let table = table();
        let mut home = FlowHome::new(table.clone());
        let first = home.create::<Record4>(&half(key(1, 1)), &half(key(1, 2)), 0).unwrap();
        let reader = table.clone();
        let t = loom::thread::spawn(move || {
            let reporter = Reporter::new(reader.quiescence().clone(), 1);
            reporter.online();
            if let Some((_, r)) = reader.lookup::<Record4>(&key(1, 1)) {
                assert_eq!(r.rewrite().addresses, key(1, 1).tail, "reused while held");
            }
            reporter.quiescent();
        });
        home.remove::<Record4>(first);
        home.seal();
        home.reclaim();
        // Takes the same records if, and only if, they are free again.
        let _ = home.create::<Record4>(&half(key(9, 1)), &half(key(9, 2)), 0);
        t.join().unwrap();
    });
}

/// Replace: a reader finds the old or the new entry, never neither.
#[test]
fn loom_replace_is_one_step() {
    model(|| {
        let index = loom::sync::Arc::new(Index::new(1));
        let hash = Hash { buckets: 0, tag: 3 };
        let (old, new) = (Ref::new(4, 0, 0), Ref::new(4, 1, 0));
        index.insert(hash, old).unwrap();
        let reader = index.clone();
        let t = loom::thread::spawn(move || {
            assert!(reader.find(hash, |r| r == old || r == new).is_some());
        });
        assert!(index.replace(hash, old, new));
        t.join().unwrap();
    });
}

/// Two homes insert into one bucket and remove again: no entry is lost, none is left.
#[test]
fn loom_two_homes_share_a_bucket() {
    model(|| {
        let index = loom::sync::Arc::new(Index::new(1));
        let hash = Hash { buckets: 0, tag: 3 };
        let (a, b) = (Ref::new(4, 0, 0), Ref::new(4, 1, 0));
        let other = index.clone();
        let t = loom::thread::spawn(move || {
            other.insert(hash, b).unwrap();
            assert!(other.find(hash, |r| r == b).is_some());
            assert!(other.remove(hash, b));
        });
        index.insert(hash, a).unwrap();
        assert!(index.find(hash, |r| r == a).is_some());
        t.join().unwrap();
        assert!(index.remove(hash, a));
        assert_eq!(index.census(), (0, 0));
    });
}
