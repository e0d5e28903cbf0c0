//! Two threads whose rings are joined as a network would join them. They nap far longer than the test may take: what comes wakes them.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::own::{Credentials, Own, OwnRloc};
use super::*;
use crate::config::{DomainName, Host, Hosts};
use crate::edge::calls::Callee;
use crate::edge::cetp::message::{Limits, Rloc};
use crate::edge::cetp::negotiation::Size;
use crate::edge::identity::naming::{self, Speaker};
use crate::edge::identity::{Authorities, Identities, Revocation};
use crate::edge::proxies::{Asker, Proxies};
use crate::edge::thread::Edge;
use crate::flow::quiescence::Quiescence;
use crate::flow::tunnel::{Sizes, Tunnels};
use crate::flow::{self, HashKey, Realm};
use crate::ring::frames::frames;

const NAP: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks of the test's own.
const LOOK: Duration = Duration::from_millis(1);

const REALM: Realm = Realm(1);

fn name(text: &str) -> DomainName {
    DomainName::new(text).expect("a name")
}

fn rloc(edge: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, edge)
}

fn identities() -> Identities {
    Identities::new(Authorities::new(Revocation::Soft, 300), NonZeroUsize::MIN)
}

fn service(edge: u8, now: Now) -> Service {
    let own = Own {
        name: name(&format!("ces.e{edge}.example")),
        port: 48_001,
        rlocs: vec![OwnRloc { rloc: Rloc::V4(rloc(edge)), realm: Realm(9), interface: 2, mtu: 1500 }],
        mtu: 1500,
        limits: Limits { sessions: 10, negotiations: 10 },
        timeout: 60,
    };
    let tunnels =
        Tunnels::new(Sizes { sessions: 8, peers: 2, rlocs: 2 }, Arc::new(Quiescence::new(0)), rand::random);
    let ranges = vec![(Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(172, 16, 0, 9))];
    let (_, bindings) = flow::Proxies::new(vec![(REALM, ranges)], HashKey::new(rand::random));
    let proxies = Arc::new(Proxies::new(bindings, |_| 9, now.at));
    let credentials = Credentials::new(None, identities(), NonZeroUsize::MIN);
    let size = Size { sessions: 8, peers: 2, tokens: 2 };
    Service::new(size, (own, credentials), tunnels, proxies, rand::random(), now)
}

/// An edge with one host.
fn edge(edge: u8) -> Edge {
    let host = Host {
        name: name(&format!("h.e{edge}.example")),
        realm: REALM.0,
        addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
        group: None,
        services: vec![],
        pending_reservations: None,
        reservations_per_second: None,
        dhcid: None,
    };
    let hosts = Hosts {
        capacity: 4,
        hosts: vec![host],
        store: None,
        realms: Default::default(),
        pending_reservations: 1,
        reservations_per_second: 1,
    };
    Edge::start(hosts, Arc::default(), None).expect("a thread")
}

fn start(number: u8, of: &Edge, from: Vec<FrameReceiver>, to: FrameSender) -> Cetp {
    let options = Options {
        service: Box::new(move |now| service(number, now)),
        hosts: of.reader().clone(),
        from_workers: from,
        to_workers: vec![to],
        lookups: None,
        worker_clock: Box::new(|| 0),
        nap: NAP,
        core: None,
    };
    Cetp::start(options).expect("a thread")
}

#[test]
fn a_call_crosses_the_rings_and_is_shown_and_ended() {
    let edges = [edge(1), edge(2)];
    let ((to_two, from_one), (to_one, from_two)) = (frames(0), frames(0));
    let (mut router, from_router) = frames(0);
    let mut one = start(1, &edges[0], vec![from_two, from_router], to_two);
    let two = start(2, &edges[1], vec![from_one], to_one);
    let mut calls = one.take_calls().expect("the only one");
    assert!(one.take_calls().is_none());
    let asker = Asker { realm: REALM, address: Ipv4Addr::new(10, 0, 0, 1).into() };
    let speaker = Speaker { edge: None, rlocs: vec![naming::Rloc::Ip(rloc(2).into())] };
    let call = Call { asker, name: name("h.e2.example"), callee: Callee::Remote(vec![speaker]) };
    calls.wakes_me();
    let start = Instant::now();
    // Long enough for both to nap.
    thread::sleep(50 * LOOK);
    assert!(calls.call(call, 7));
    let outcome = loop {
        assert!(start.elapsed() < PATIENCE, "somebody sleeps");
        match calls.poll() {
            Some(outcome) => break outcome,
            None => wake::nap(PATIENCE),
        }
    };
    assert!(matches!(outcome, (7, Outcome::Address(_))), "{outcome:?}");
    let wanted = Wanted { limit: 10, ..Wanted::default() };
    let shown = one.show(wanted.clone()).expect("it answers");
    assert_eq!((shown.total, shown.sessions.len()), (1, 1));
    assert_eq!((&*shown.sessions[0].host, &*shown.sessions[0].peer), ("h.e1.example", "h.e2.example"));
    // What a router says of the way comes by a ring, too.
    let (own, theirs) = shown.sessions[0].tags;
    let said = super::super::tests::path_mtu::message((own.get(), theirs.get()), 1300, 60);
    assert!(router.push(2, carrier::TOO_BIG, &[&said]));
    while one.show(wanted.clone()).expect("it answers").path_mtu.lowered == 0 {
        thread::sleep(NAP);
    }
    let ways = one.show(wanted.clone()).expect("it answers").ways;
    assert_eq!((ways.len(), ways[0].1.mtu, ways[0].1.most), (1, 1300, 1500));
    let nobodys = Wanted { host: Some("h.e9.example".into()), ..wanted.clone() };
    assert_eq!(one.terminate(nobodys), Ok(0));
    assert_eq!(one.believe(Authorities::new(Revocation::Soft, 300)), Ok(()));
    assert_eq!(one.terminate(wanted.clone()), Ok(1));
    // The other side is told.
    while two.show(wanted.clone()).expect("it answers").total > 0 {
        assert!(start.elapsed() < PATIENCE, "somebody sleeps");
        thread::sleep(LOOK);
    }
    let traffic = one.traffic();
    assert_eq!(traffic.lost.load(Ordering::Relaxed) + traffic.malformed.load(Ordering::Relaxed), 0);
    assert!(traffic.sent.load(Ordering::Relaxed) >= 3 && traffic.received.load(Ordering::Relaxed) >= 2);
    drop((one, two));
    assert!(start.elapsed() < PATIENCE, "they end at once");
}
