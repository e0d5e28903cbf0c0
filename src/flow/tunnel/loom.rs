//! What a worker may see of a session that goes, and of the next one at its place.

use super::*;
use crate::flow::quiescence::{Quiescence, Reporter};

/// A worker that has found a session by its tag sees that session's addresses until its burst is over, although its place gets
/// another session meanwhile.
#[test]
fn loom_a_tag_never_shows_another_session() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let quiescence = std::sync::Arc::new(Quiescence::new(1));
        let worker = Reporter::new(quiescence.clone(), 0);
        worker.online();
        let mut seed = 1u64;
        let sizes = Sizes { sessions: 1, peers: 1, rlocs: 1 };
        let mut tunnels = Tunnels::new(sizes, quiescence, || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            seed
        });
        let peer = tunnels.add_peer().unwrap();
        let proxy = Ipv4Addr::new(172, 16, 0, 1);
        let hosts = [1, 2].map(|n| Ipv4Addr::new(10, 0, 0, n));
        let options = |host| SessionOptions {
            peer_tag: 7,
            peer,
            realm: Realm(1),
            host,
            proxy,
            services: &[Service::ANY],
        };
        let first = tunnels.reserve().unwrap();
        tunnels.install(first, &options(hosts[0]), 0).unwrap();
        let table = tunnels.shared().clone();
        let t = loom::thread::spawn(move || {
            for _ in 0..2 {
                if let Some(session) = table.find(first) {
                    assert_eq!(session.pair(), (hosts[0], proxy), "a stranger");
                }
                worker.quiescent();
            }
        });
        tunnels.remove(first);
        if let Ok(second) = tunnels.reserve() {
            tunnels.install(second, &options(hosts[1]), 0).unwrap();
        }
        t.join().unwrap();
    });
}
