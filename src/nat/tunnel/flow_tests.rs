//! When flows of sessions begin, whose their answers are, and when they are over.

use super::tests::{A, B, REALM};
use super::*;
use crate::flow::tunnel::{LOCAL, Service, SessionOptions, Sizes, Tunnels};
use crate::flow::{FlowTable, HashKey, Quiescence};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::sync::Arc;

fn tunnels() -> (Tunnels, u32) {
    let mut rng = StdRng::seed_from_u64(9);
    let sizes = Sizes { sessions: 4, peers: 1, rlocs: 1 };
    let mut tunnels = Tunnels::new(sizes, Arc::new(Quiescence::new(0)), || rng.random());
    let (peer, tag) = (tunnels.add_peer().unwrap(), tunnels.reserve().unwrap());
    let services = [
        Service { protocol: Some(6), ports: (80, 80), opens: Opens::Host },
        Service { protocol: Some(17), ports: (53, 53), opens: Opens::Remote },
    ];
    let options =
        SessionOptions { peer_tag: 77, peer, realm: REALM, host: A.0, proxy: A.1, services: &services };
    tunnels.install(tag, &options, 0).unwrap();
    (tunnels, tag)
}

fn flows() -> FlowHome {
    let mut rng = StdRng::seed_from_u64(4);
    FlowHome::new(Arc::new(FlowTable::new(64, 0, 1, HashKey::new(|| rng.random()))))
}

#[test]
fn a_flow_begins_as_it_was_negotiated() {
    const SYN: u8 = 2;
    let ((tunnels, tag), mut flows) = (tunnels(), flows());
    let session = tunnels.shared().find(tag).unwrap();
    let from_host =
        |protocol, port| Key4::of_any_protocol(REALM, protocol, A, crate::flow::key::ports(5000, port));
    let from_remote = |protocol, port| {
        let ends = (Ipv4Addr::from_bits(77), Ipv4Addr::from_bits(tag));
        Key4::of_any_protocol(Realm::TUNNEL, protocol, ends, crate::flow::key::ports(6000, port))
    };
    for (key, flags, expected) in [
        (from_host(6, 81), SYN, Err(DropReason::CetpNotNegotiated)),
        (from_host(17, 53), 0, Err(DropReason::CetpNotNegotiated)),
        (from_remote(6, 80), SYN, Err(DropReason::CetpNotNegotiated)),
        (from_host(6, 80), 16, Err(DropReason::TcpNotSyn)),
        (from_host(6, 80), SYN, Ok(Action::ENCAPSULATE)),
        (from_remote(17, 53), 0, Ok(Action::DECAPSULATE)),
    ] {
        let made = open(&mut flows, tunnels.shared(), session, &key, flags, 5);
        let table = flows.table().clone();
        let record = made.map(|made| table.get::<Record4>(made.flow).unwrap());
        assert_eq!(record.map(|r| r.common().action().kind()), expected, "{key:?}");
        if let Ok(record) = record {
            assert!(record.common().action().is_initiator() && record.common().action().is_tunnelled());
            let twin = table.twin(record).unwrap();
            assert_eq!((own_tag(record), own_tag(twin)), (tag, tag));
            // The answers are found, and know where they go.
            let answer = if expected == Ok(Action::ENCAPSULATE) {
                from_remote(6, 0).realm()
            } else {
                assert_eq!((twin.key().source(), twin.key().destination()), A);
                REALM
            };
            assert!(table.lookup::<Record4>(&twin.key()).is_some() && twin.key().realm() == answer);
        }
    }
}

#[test]
fn a_flow_from_a_further_address_of_a_host_comes_back_to_that() {
    let mut rng = StdRng::seed_from_u64(9);
    let sizes = Sizes { sessions: 4, peers: 1, rlocs: 1 };
    let mut tunnels = Tunnels::new(sizes, Arc::new(Quiescence::new(0)), || rng.random());
    let (peer, further) = (tunnels.add_peer().unwrap(), Ipv4Addr::new(10, 0, 0, 77));
    let [tag, one, other] = [(); 3].map(|()| tunnels.reserve().unwrap());
    let services = [Service::ANY];
    let remote =
        SessionOptions { peer_tag: 77, peer, realm: REALM, host: A.0, proxy: A.1, services: &services };
    let local = SessionOptions { peer: LOCAL, ..remote };
    let (mine, its) = ((A.0, B.1), (Ipv4Addr::new(10, 0, 0, 3), A.1));
    for (tag, options) in [
        (tag, remote),
        (one, SessionOptions { peer_tag: other, proxy: mine.1, ..local }),
        (other, SessionOptions { peer_tag: one, host: its.0, proxy: its.1, realm: Realm(4), ..local }),
    ] {
        tunnels.install(tag, &options, 0).unwrap();
    }
    for tag in [tag, one] {
        assert_eq!(tunnels.set_others(tag, &[A.0, further]), Ok(0));
    }
    let (table, mut flows) = (tunnels.shared().clone(), flows());
    for (tag, proxy) in [(tag, A.1), (one, mine.1)] {
        let found = table.find_pair(REALM, further, proxy).map(|(_, session)| session.tags().0);
        assert_eq!(found, Some(tag));
        for (port, host) in [(5000, further), (5001, A.0)] {
            let key = Key4::of_any_protocol(REALM, 17, (host, proxy), crate::flow::key::ports(port, 53));
            let session = table.find(tag).unwrap();
            let flow = open(&mut flows, &table, session, &key, 0, 5).unwrap().flow;
            let twin = flows.table().twin(flows.table().get::<Record4>(flow).unwrap()).unwrap();
            // What its packets become: from the proxy address, to where the flow came from.
            let becomes = rewrite_of(twin).addresses.to_le_bytes();
            assert_eq!(becomes, [proxy.octets(), host.octets()].concat()[..]);
        }
        // Of two flows of the same ports only one can be told from the other within a tunnel.
        let key = Key4::of_any_protocol(REALM, 17, (A.0, proxy), crate::flow::key::ports(5000, 53));
        let again = open(&mut flows, &table, table.find(tag).unwrap(), &key, 0, 5);
        assert_eq!(again.map(|_| ()), Err(DropReason::ProxyCollision));
    }
}

#[test]
fn a_flow_is_over_with_its_session_or_when_it_is_idle() {
    let ((mut tunnels, tag), mut flows) = (tunnels(), flows());
    let table = tunnels.shared().clone();
    let session = table.find(tag).unwrap();
    let key =
        Key4::of_any_protocol(Realm::TUNNEL, 17, (Ipv4Addr::from_bits(77), Ipv4Addr::from_bits(tag)), {
            crate::flow::key::ports(6000, 53)
        });
    let timeouts = Timeouts::default();
    let first = open(&mut flows, tunnels.shared(), session, &key, 0, 0).unwrap().flow;
    let shared = flows.table().clone();
    let record = shared.get::<Record4>(first).unwrap();
    let idle = timeouts.udp;
    // The other host alone keeps it: both edges have agreed to it.
    record.common().count(100, 1000);
    let mut judge = Flows { table: &table, timeouts: &timeouts };
    assert_eq!(flows.sweep::<Record4>(1000, 1000 + idle, &mut judge), 0);
    assert_eq!(flows.sweep::<Record4>(1000, 1001 + idle, &mut judge), 1);
    let second = open(&mut flows, tunnels.shared(), session, &key, 0, 2000).unwrap().flow;
    assert_eq!(flows.sweep::<Record4>(1000, 2001, &mut judge), 0);
    tunnels.remove(tag);
    assert_eq!(flows.sweep::<Record4>(1000, 2001, &mut judge), 1, "its session is gone");
    assert!(shared.get::<Record4>(second).is_none_or(|r| !r.common().action().is_initiator()));
}
