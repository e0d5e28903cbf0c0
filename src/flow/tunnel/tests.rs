//! Tags, sessions, edges and RLOCs: what is found, what is no longer, what is refused.

use super::services::SERVICES;
use super::session::OTHERS;
use super::*;
use crate::flow::adjacency::{KeepsPath, Path};
use crate::flow::quiescence::{Quiescence, Reporter};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PROXY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);

fn tunnels(sessions: usize, quiescence: &Arc<Quiescence>) -> Tunnels {
    let mut rng = StdRng::seed_from_u64(5);
    Tunnels::new(Sizes { sessions, peers: 2, rlocs: 4 }, quiescence.clone(), || rng.random())
}

fn options(peer: u32, peer_tag: u32, host: Ipv4Addr) -> SessionOptions<'static> {
    SessionOptions { peer_tag, peer, realm: Realm(3), host, proxy: PROXY, services: &[Service::ANY] }
}

fn v4(local: u8, remote: u8) -> Ends {
    Ends::V4 { local: Ipv4Addr::new(192, 0, 2, local), remote: Ipv4Addr::new(198, 51, 100, remote) }
}

fn rloc(ends: Ends) -> RlocOptions {
    RlocOptions { ends, realm: Realm(7), mtu: 1500 }
}

#[test]
fn a_session_is_found_by_its_tag_and_by_its_pair() {
    let mut tunnels = tunnels(8, &Arc::new(Quiescence::new(0)));
    let table = tunnels.shared().clone();
    let peer = tunnels.add_peer().unwrap();
    let tag = tunnels.reserve().unwrap();
    assert!(tag != 0 && table.find(tag).is_none(), "nobody finds what is only negotiated");
    tunnels.install(tag, &options(peer, 77, HOST), 5).unwrap();
    let session = table.find(tag).unwrap();
    assert_eq!((session.tags(), session.pair(), session.realm()), ((tag, 77), (HOST, PROXY), Realm(3)));
    assert_eq!((session.peer(), session.last_seen(), session.counts()), (peer, 5, Counts::default()));
    let (place, found) = table.find_pair(Realm(3), HOST, PROXY).unwrap();
    assert!(std::ptr::eq(found, session) && std::ptr::eq(table.at(place, tag).unwrap(), session));
    assert_eq!(table.begin(tag), place);
    assert!(table.find_pair(Realm(4), HOST, PROXY).is_none(), "another realm's host of that address");
    assert!(table.find_pair(Realm(3), PROXY, HOST).is_none());
    assert!(table.find(0).is_none() && table.find(tag ^ 1).is_none());
    session.count_out(100, 9);
    session.count_in(50, 10);
    session.count_in(50, 11);
    let counts = Counts { packets_out: 1, bytes_out: 100, packets_in: 2, bytes_in: 100 };
    assert_eq!((session.counts(), session.last_seen()), (counts, 11));
    assert_eq!(table.sessions().count(), 1);
    assert!(tunnels.remove(tag) && !tunnels.remove(tag));
    assert!(table.find(tag).is_none() && table.find_pair(Realm(3), HOST, PROXY).is_none());
    assert_eq!(table.sessions().count(), 0);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut tunnels = tunnels(4, &Arc::new(Quiescence::new(0)));
    let peer = tunnels.add_peer().unwrap();
    let tag = tunnels.reserve().unwrap();
    let good = options(peer, 77, HOST);
    let many = [Service::ANY; SERVICES + 1];
    for (wrong, why) in [
        (SessionOptions { peer_tag: 0, ..good }, Refused::Session),
        (SessionOptions { services: &[], ..good }, Refused::Session),
        (SessionOptions { services: &many, ..good }, Refused::Session),
        (SessionOptions { peer: peer + 1, ..good }, Refused::Number),
        (SessionOptions { peer: 99, ..good }, Refused::Number),
    ] {
        assert_eq!(tunnels.install(tag, &wrong, 0), Err(why));
    }
    assert_eq!(tunnels.install(tag ^ 1, &good, 0), Err(Refused::Tag));
    assert_eq!(tunnels.install(tag, &good, 0), Ok(()));
    assert_eq!(tunnels.install(tag, &good, 0), Err(Refused::Tag), "it has a session");
    let other = tunnels.reserve().unwrap();
    assert_eq!(tunnels.install(other, &good, 0), Err(Refused::Session), "that pair has one");
    assert!(tunnels.release(other) && !tunnels.release(other) && !tunnels.release(tag));
    assert_eq!(tunnels.install(other, &good, 0), Err(Refused::Tag));
    let three: Vec<u32> = std::iter::from_fn(|| tunnels.reserve().ok()).collect();
    assert_eq!((three.len(), tunnels.reserve()), (3, Err(Refused::Full)));
    assert!(!three.contains(&other), "a tag that was let go is another the next time");
}

#[test]
fn a_place_waits_until_no_worker_can_see_it() {
    let quiescence = Arc::new(Quiescence::new(1));
    let worker = Reporter::new(quiescence.clone(), 0);
    worker.online();
    let mut tunnels = tunnels(1, &quiescence);
    let peer = tunnels.add_peer().unwrap();
    let tag = tunnels.reserve().unwrap();
    tunnels.install(tag, &options(peer, 77, HOST), 0).unwrap();
    tunnels.remove(tag);
    assert_eq!(tunnels.reserve(), Err(Refused::Full), "the worker may hold it");
    worker.quiescent();
    let next = tunnels.reserve().unwrap();
    assert_ne!(next, tag);
    tunnels.install(next, &options(peer, 78, HOST), 0).unwrap();
    assert!(tunnels.shared().find(tag).is_none() && tunnels.shared().find(next).is_some());
    // The same holds for edges and RLOCs.
    tunnels.remove(next);
    let rlocs: Vec<u32> = std::iter::from_fn(|| tunnels.add_rloc(&rloc(v4(1, 1))).ok()).collect();
    assert_eq!(rlocs.len(), 4);
    tunnels.remove_rloc(rlocs[2]).unwrap();
    tunnels.add_peer().unwrap();
    tunnels.remove_peer(peer).unwrap();
    assert_eq!(
        (tunnels.add_rloc(&rloc(v4(1, 1))), tunnels.add_peer()),
        (Err(Refused::Full), Err(Refused::Full))
    );
    worker.quiescent();
    assert_eq!((tunnels.add_rloc(&rloc(v4(1, 1))), tunnels.add_peer()), (Ok(rlocs[2]), Ok(peer)));
}

#[test]
fn one_write_moves_every_session_of_an_edge() {
    let mut tunnels = tunnels(4, &Arc::new(Quiescence::new(0)));
    let table = tunnels.shared().clone();
    let peer = tunnels.add_peer().unwrap();
    let six = Ends::V6 { local: Ipv6Addr::LOCALHOST, remote: "2001:db8::5".parse().unwrap() };
    let link = Ends::Ethernet { interface: 2, local: [2, 0, 0, 0, 0, 1], remote: [2, 0, 0, 0, 0, 2] };
    let ends = [v4(1, 5), six, link, v4(2, 6)];
    let rlocs = ends.map(|ends| tunnels.add_rloc(&rloc(ends)).unwrap());
    let tag = tunnels.reserve().unwrap();
    tunnels.install(tag, &options(peer, 9, HOST), 0).unwrap();
    let goes_to =
        || table.active(table.peer(table.find(tag).unwrap()).unwrap()).map(|r| (r.ends(), r.realm()));
    assert_eq!(goes_to(), None, "no RLOC yet");
    tunnels.set_rloc_list(peer, &rlocs[..3]);
    for (number, ends) in rlocs.into_iter().zip(ends).take(3) {
        tunnels.activate(peer, number).unwrap();
        assert_eq!(goes_to(), Some((ends, Realm(7))));
    }
    assert_eq!(tunnels.activate(peer, rlocs[3]), Err(Refused::Number), "not that edge's");
    let of_peer = table.peer(table.find(tag).unwrap()).unwrap();
    let accepted = |ends: &Ends| table.accepts(of_peer, ends);
    assert!(ends[..3].iter().all(accepted), "from any of them, whichever is in use");
    let elsewhere = Ends::Ethernet { interface: 3, local: [2, 0, 0, 0, 0, 1], remote: [2, 0, 0, 0, 0, 2] };
    assert!(![v4(2, 6), v4(1, 6), v4(2, 5), v4(5, 1), elsewhere].iter().any(accepted));
    assert_eq!(tunnels.remove_rloc(rlocs[0]), Err(Refused::Number), "an edge has it");
    assert_eq!(tunnels.remove_peer(peer), Err(Refused::Number), "a session has it");
    assert_eq!(tunnels.set_rlocs(peer, &[99]), Err(Refused::Number));
    tunnels.set_rloc_list(peer, &[rlocs[3], rlocs[0]]);
    assert!(table.accepts(of_peer, &v4(2, 6)) && !table.accepts(of_peer, &six));
    // Each end is one that was negotiated, in whichever pair.
    assert!(table.accepts(of_peer, &v4(1, 6)));
    tunnels.set_mtu(rlocs[3], 1400).unwrap();
    assert_eq!(table.active(of_peer).map(|r| r.mtu()), Some(1400));
    tunnels.remove_rloc(rlocs[1]).unwrap();
    assert_eq!(
        (tunnels.set_mtu(rlocs[1], 1), tunnels.remove_rloc(rlocs[1])),
        (Err(Refused::Number), Err(Refused::Number))
    );
    assert!(tunnels.remove(tag));
    tunnels.remove_peer(peer).unwrap();
    tunnels.remove_rloc(rlocs[0]).unwrap();
    assert_eq!(
        (tunnels.remove_peer(peer), tunnels.activate(peer, rlocs[3])),
        (Err(Refused::Number), Err(Refused::Number))
    );
}

impl Tunnels {
    fn set_rloc_list(&mut self, peer: u32, rlocs: &[u32]) {
        self.set_rlocs(peer, rlocs).unwrap();
    }
}

#[test]
fn epochs_overlap() {
    let mut tunnels = tunnels(1, &Arc::new(Quiescence::new(0)));
    let peer = tunnels.add_peer().unwrap();
    tunnels.set_epochs(peer, 4, 3).unwrap();
    let tag = tunnels.reserve().unwrap();
    tunnels.install(tag, &options(peer, 9, HOST), 0).unwrap();
    let table = tunnels.shared();
    let of_peer = table.peer(table.find(tag).unwrap()).unwrap();
    let taken: Vec<u8> = (0..=255).filter(|epoch| of_peer.takes_epoch(*epoch)).collect();
    assert_eq!((of_peer.epoch(), taken), (4, vec![3, 4]));
}

#[test]
fn a_service_is_who_opens_what() {
    const TCP: u8 = 6;
    let services = Services::none();
    assert!(!services.allow(Opens::Host, TCP, 80), "nothing was negotiated");
    services.write(&[
        Service { protocol: Some(TCP), ports: (80, 90), opens: Opens::Host },
        Service { protocol: Some(17), ports: (53, 53), opens: Opens::Remote },
        Service { protocol: Some(1), ports: (0, u16::MAX), opens: Opens::Either },
        Service { protocol: Some(132), ports: (5, 5), opens: Opens::Either },
        Service { protocol: None, ports: (7, 7), opens: Opens::Host },
    ]);
    for (opener, protocol, port, expected) in [
        (Opens::Host, TCP, 80, true),
        (Opens::Host, TCP, 90, true),
        (Opens::Host, TCP, 79, false),
        (Opens::Host, TCP, 91, false),
        (Opens::Remote, TCP, 80, false),
        (Opens::Remote, 17, 53, true),
        (Opens::Host, 17, 53, false),
        (Opens::Host, 1, 4711, true),
        (Opens::Remote, 1, 0, true),
        (Opens::Host, 132, 5, false),
        (Opens::Host, 17, 7, true),
        (Opens::Host, 50, 0, false),
    ] {
        assert_eq!(services.allow(opener, protocol, port), expected, "{opener:?} {protocol} {port}");
    }
    services.write(&[Service::ANY]);
    assert!(services.allow(Opens::Remote, 50, 0) && services.allow(Opens::Host, TCP, 0));
}

proptest! {
    /// Compiled services say of a flow what they say one by one: whoever opens it.
    #[test]
    fn compiled_as_one_by_one(
        services in proptest::collection::vec(
            (proptest::option::of(0..3usize), 0..9u16, 0..9u16, prop_oneof![Just(Opens::Host), Just(Opens::Remote), Just(Opens::Either)]),
            1..=SERVICES,
        ),
        protocol in 0..4usize, port in 0..10u16,
    ) {
        const PROTOCOLS: [u8; 4] = [6, 17, 1, 132];
        let service = |(protocol, first, length, opens): (Option<usize>, u16, u16, Opens)| {
            Service { protocol: protocol.map(|n| PROTOCOLS[n]), ports: (first, first + length), opens }
        };
        let list: Vec<Service> = services.into_iter().map(service).collect();
        let compiled = Services::none();
        compiled.write(&list);
        let protocol = PROTOCOLS[protocol];
        let seen = if matches!(protocol, 6 | 17) { port } else { 0 };
        for opener in [Opens::Host, Opens::Remote] {
            let says = |service: &Service| {
                [opener, Opens::Either].contains(&service.opens)
                    && service.protocol.is_none_or(|known| known == protocol)
                    && (service.ports.0..=service.ports.1).contains(&seen)
            };
            prop_assert_eq!(compiled.allow(opener, protocol, port), list.iter().any(says));
        }
    }
}

#[test]
fn two_local_sessions_know_each_other() {
    let mut tunnels = tunnels(4, &Arc::new(Quiescence::new(0)));
    let table = tunnels.shared().clone();
    let [a, b, free] = std::array::from_fn(|_| tunnels.reserve().unwrap());
    let other = Ipv4Addr::new(10, 0, 0, 3);
    let of_a = options(LOCAL, b, HOST);
    let of_b = SessionOptions { realm: Realm(4), ..options(LOCAL, a, other) };
    assert_eq!(tunnels.install(a, &options(LOCAL, a, HOST), 0), Err(Refused::Tag), "it is its own twin");
    assert_eq!(tunnels.install(a, &options(LOCAL, free ^ 1, HOST), 0), Err(Refused::Tag), "nobody's tag");
    tunnels.install(a, &of_a, 0).unwrap();
    assert!(table.twin(table.find(a).unwrap()).is_none(), "only half of it is there");
    tunnels.install(b, &of_b, 0).unwrap();
    let twin_of = |tag| table.twin(table.find(tag).unwrap()).map(|twin| (twin.tags().0, twin.pair().0));
    assert_eq!((twin_of(a), twin_of(b)), (Some((b, other)), Some((a, HOST))));
    assert!(table.find(a).unwrap().is_local() && table.peer(table.find(a).unwrap()).is_none());
    assert!(tunnels.remove(a) && table.twin(table.find(b).unwrap()).is_none());
    assert!(tunnels.remove(b) && tunnels.release(free));
}

#[derive(Clone, Debug)]
enum Op {
    Reserve,
    Release(usize),
    Install(usize, u8),
    /// The hosts whose bit is set are further addresses.
    Others(usize, u16),
    Remove(usize),
    Quiescent,
}

/// More than a session has further addresses.
const HOSTS: u8 = OTHERS as u8 + 3;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Reserve),
        1 => any::<usize>().prop_map(Op::Release),
        4 => (any::<usize>(), 0..HOSTS).prop_map(|(n, host)| Op::Install(n, host)),
        3 => (any::<usize>(), 0..1u16 << HOSTS).prop_map(|(n, hosts)| Op::Others(n, hosts)),
        3 => any::<usize>().prop_map(Op::Remove),
        1 => Just(Op::Quiescent),
    ];
    proptest::collection::vec(op, 1..200)
}

proptest! {
    /// Against a map: what is installed is found by tag and by pairs, and nothing else is; no tag comes twice.
    #[test]
    fn as_a_map(ops in ops(), sessions in 1usize..9) {
        let quiescence = Arc::new(Quiescence::new(1));
        let worker = Reporter::new(quiescence.clone(), 0);
        worker.online();
        let mut tunnels = tunnels(sessions, &quiescence);
        let peer = tunnels.add_peer().unwrap();
        let (mut tags, mut reserved, mut live) = (vec![], vec![], HashMap::<u32, Vec<Ipv4Addr>>::new());
        let host_of = |number: u8| Ipv4Addr::new(10, 0, 0, number);
        let pick = |from: &[u32], n: usize| (!from.is_empty()).then(|| from[n % from.len()]);
        for op in ops {
            match op {
                Op::Reserve => if let Ok(tag) = tunnels.reserve() {
                    prop_assert!(tag != 0 && !tags.contains(&tag), "it was given before");
                    tags.push(tag);
                    reserved.push(tag);
                    prop_assert!(reserved.len() + live.len() <= sessions);
                },
                Op::Release(n) => if let Some(tag) = pick(&tags, n) {
                    prop_assert_eq!(tunnels.release(tag), reserved.contains(&tag));
                    reserved.retain(|t| *t != tag);
                },
                Op::Install(n, host) => if let Some(tag) = pick(&tags, n) {
                    let host = host_of(host);
                    let may = reserved.contains(&tag) && !live.values().any(|hosts| hosts.contains(&host));
                    prop_assert_eq!(tunnels.install(tag, &options(peer, tag ^ 5 | 1, host), 0).is_ok(), may);
                    if may {
                        reserved.retain(|t| *t != tag);
                        live.insert(tag, vec![host]);
                    }
                },
                Op::Others(n, hosts) => if let Some(tag) = pick(&tags, n) {
                    let wanted: Vec<_> = (0..HOSTS).filter(|n| hosts >> n & 1 != 0).map(host_of).collect();
                    let told = tunnels.set_others(tag, &wanted);
                    let Some(mut own) = live.remove(&tag) else {
                        prop_assert_eq!(told, Err(Refused::Tag));
                        continue;
                    };
                    let first = own[0];
                    own.retain(|host| *host == first || wanted.contains(host));
                    let mut left_out = 0;
                    for host in wanted {
                        let others: usize = live.values().map(|hosts| hosts.len() - 1).sum();
                        let is_taken = live.values().any(|hosts| hosts.contains(&host));
                        if own.contains(&host) {
                            continue;
                        }
                        match !is_taken && own.len() <= OTHERS && others + own.len() - 1 < sessions {
                            true => own.push(host),
                            false => left_out += 1,
                        }
                    }
                    prop_assert_eq!(told, Ok(left_out));
                    live.insert(tag, own);
                },
                Op::Remove(n) => if let Some(tag) = pick(&tags, n) {
                    prop_assert_eq!(tunnels.remove(tag), live.remove(&tag).is_some());
                },
                Op::Quiescent => worker.quiescent(),
            }
            let table = tunnels.shared();
            for tag in &tags {
                let found = table.find(*tag).map(|s| (s.pair().0, s.tags()));
                prop_assert_eq!(found, live.get(tag).map(|hosts| (hosts[0], (*tag, *tag ^ 5 | 1))));
            }
            for host in (0..HOSTS).map(host_of) {
                let found = table.find_pair(Realm(3), host, PROXY).map(|(_, s)| s.tags().0);
                prop_assert_eq!(found, live.iter().find(|(_, h)| h.contains(&host)).map(|(tag, _)| *tag));
            }
            prop_assert_eq!(table.sessions().count(), live.len());
        }
    }
}

#[test]
fn an_rloc_remembers_a_next_hop_for_some_flows_each() {
    let mut tunnels = tunnels(16, &Arc::new(Quiescence::new(1)));
    let peer = tunnels.add_peer().unwrap();
    let number = tunnels.add_rloc(&rloc(v4(1, 1))).unwrap();
    tunnels.set_rlocs(peer, &[number]).unwrap();
    let tag = tunnels.reserve().unwrap();
    tunnels.install(tag, &options(peer, 77, HOST), 5).unwrap();
    let table = tunnels.shared().clone();
    let way = table.active(table.peer(table.find(tag).unwrap()).unwrap()).unwrap();
    let path = |entropy: u16| Path(0x1_0000 | u32::from(entropy % 32));
    let mut hashes: Vec<u64> = (0..32).map(|entropy| way.keeper(entropy).1).collect();
    hashes.dedup();
    assert_eq!(hashes.len(), 32, "each chooses for itself");
    (0..32).for_each(|entropy| way.keeper(entropy).0.set_path(path(entropy)));
    for entropy in 0..1 << 14 {
        assert_eq!(
            (way.path(entropy), way.keeper(entropy).1),
            (path(entropy), hashes[usize::from(entropy % 32)])
        );
    }
}
