//! Sessions to proxy addresses: both ends translated, the remote address alone beyond the edge, and each session counted once.

use super::tests::{ACK, Bed, OUTSIDE, bed_with, keys, options, pool, public, udp};
use super::*;
use crate::flow::Bindings;
use crate::flow::record::Record;
use crate::nat::{NatOptions, PoolOptions, Untranslated};
use proptest::prelude::*;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn proxy(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 64, last)
}

fn remote(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// Both realms have the same sixteen addresses.
struct Proxied {
    bed: Bed,
    proxies: Arc<Proxies>,
    bindings: Bindings,
}

fn proxied_with(workers: usize, options: NatOptions, pool: PoolOptions) -> Proxied {
    let ranges = vec![(proxy(0), proxy(15))];
    let realms = [1, 2].map(|realm| (Realm(realm), ranges.clone()));
    let (proxies, bindings) = Proxies::new(realms.into(), keys(3));
    let bed = bed_with(workers, options, vec![pool], |nat| nat.with_proxies(proxies.clone()));
    Proxied { bed, proxies, bindings }
}

fn proxied(workers: usize) -> Proxied {
    proxied_with(workers, options(), pool("only", 16, 17))
}

impl Proxied {
    fn bind(&mut self, realm: u16, last: u8, to: Ipv4Addr) {
        let number = self.number(realm, last);
        assert!(self.bindings.bind(number, to));
    }

    fn number(&self, realm: u16, last: u8) -> u32 {
        self.proxies.number(Realm(realm), proxy(last)).expect("one of them")
    }

    fn sessions(&self, realm: u16, last: u8) -> u32 {
        self.proxies.sessions(self.number(realm, last))
    }
}

/// To a proxy address, from a host of that realm.
fn to_proxy(realm: u16, protocol: Protocol, port: u16, last: u8, remote_port: u16) -> Key4 {
    let remote_port = if protocol == Protocol::Icmp { port } else { remote_port };
    Key4::new(Realm(realm), protocol, (HOST, port), (proxy(last), remote_port))
}

fn flags(protocol: Protocol) -> u8 {
    if protocol == Protocol::Tcp { SYN } else { 0 }
}

#[test]
fn both_ends_are_translated_there_and_back() {
    for workers in [1, 2] {
        let mut p = proxied(workers);
        p.bind(1, 7, remote(1));
        p.bind(2, 7, remote(2));
        for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
            for realm in [1, 2] {
                let key = to_proxy(realm, protocol, 4000 + realm, 7, 443);
                let leaves = p.bed.send(&key, flags(protocol)).expect("room");
                assert_eq!((leaves.realm(), leaves.destination()), (OUTSIDE, remote(realm as u8)));
                assert!(p.bed.nat.contains(leaves.source()));
                let back = p.bed.send(&leaves.reversed(OUTSIDE), SYN | ACK).expect("its answer");
                assert_eq!(back, key.reversed(Realm(realm)));
            }
        }
        assert_eq!((p.sessions(1, 7), p.sessions(2, 7), p.sessions(1, 8)), (3, 3, 0));
        p.bed.pass(options().timeouts.tcp_established + 1);
        p.bed.pass(0);
        assert_eq!((p.sessions(1, 7), p.sessions(2, 7), p.bed.population()), (0, 0, (0, 0)));
    }
}

#[test]
fn beyond_the_edge_nobody_knows_a_proxy_address() {
    // Of the remote address alone: a host has one mapping for both of its names, and other ports of it may answer.
    let strict = PoolOptions {
        mapping: Dependence::Address,
        filtering: Dependence::Address,
        ..pool("strict", 16, 17)
    };
    let mut p = proxied_with(1, options(), strict);
    p.bind(1, 7, remote(1));
    let one = p.bed.send(&to_proxy(1, Protocol::Udp, 4000, 7, 53), 0).expect("room");
    let other = p.bed.send(&udp(1, 2, 4000, 1, 54), 0).expect("room");
    assert_eq!((one.source(), one.source_port()), (other.source(), other.source_port()));
    let third = p.bed.send(&udp(1, 2, 4000, 9, 53), 0).expect("room");
    assert_ne!(one.source_port(), third.source_port(), "another remote");
    let from = |last, port| {
        Key4::new(OUTSIDE, Protocol::Udp, (remote(last), port), (one.source(), one.source_port()))
    };
    assert_eq!(p.bed.send(&from(2, 60), 0), Err(DropReason::NatFiltered));
    p.bed.send(&from(1, 60), 0).expect("of an address that was sent to");
}

/// As a TFTP server does (RFC 1350 section 4).
#[test]
fn who_answers_from_another_port_is_seen_as_the_proxy_address() {
    let mut p = proxied(1);
    p.bind(1, 7, remote(1));
    let key = to_proxy(1, Protocol::Udp, 4000, 7, 69);
    let leaves = p.bed.send(&key, 0).expect("room");
    let from =
        |remote| Key4::new(OUTSIDE, Protocol::Udp, (remote, 3000), (leaves.source(), leaves.source_port()));
    let seen = p.bed.send(&from(remote(1)), 0).expect("anybody may");
    assert_eq!((seen.source(), seen.source_port(), seen.destination()), (proxy(7), 3000, HOST));
    assert_eq!(p.bed.send(&seen.reversed(Realm(1)), 0), Ok(from(remote(1)).reversed(OUTSIDE)));
    // A stranger is seen as who it is; and nobody comes as a proxy address himself.
    assert_eq!(p.bed.send(&from(remote(2)), 0).map(|seen| seen.source()), Ok(remote(2)));
    assert_eq!(p.bed.send(&from(proxy(7)), 0), Err(DropReason::Ipv4SourceInvalid));
    assert_eq!(p.bed.send(&from(proxy(9)), 0), Err(DropReason::Ipv4SourceInvalid));
    assert_eq!(p.sessions(1, 7), 2);
    p.bed.pass(options().timeouts.udp + 1);
    assert_eq!((p.sessions(1, 7), p.bed.population()), (0, (0, 0)));
}

#[test]
fn an_address_that_stands_for_nobody_leads_nowhere() {
    let mut p = proxied(1);
    let key = to_proxy(1, Protocol::Udp, 4000, 7, 53);
    assert_eq!(p.bed.send(&key, 0), Err(DropReason::ProxyUnassigned));
    assert_eq!(p.bed.population(), (0, 0), "nothing was taken for it");
    p.bind(2, 7, remote(1));
    assert_eq!(p.bed.send(&key, 0), Err(DropReason::ProxyUnassigned), "another realm's");
    // Nobody inside is a proxy address.
    let pretends = Key4::new(Realm(2), Protocol::Udp, (proxy(3), 4000), (remote(9), 53));
    assert_eq!(p.bed.send(&pretends, 0), Err(DropReason::Ipv4SourceInvalid));
}

/// What was chosen in one burst is opened in it, and the address may have become another's in between.
#[test]
fn whoever_was_chosen_is_not_changed_for_another() {
    let mut p = proxied(1);
    p.bind(1, 7, remote(1));
    let (key, now, table) = (to_proxy(1, Protocol::Udp, 4000, 7, 53), p.bed.now, p.bed.table.clone());
    let number = p.number(1, 7);
    let (flows, nat) = p.bed.home(0);
    let chosen = nat.choose(&table, &key, 0, now).expect("room");
    assert!(p.bindings.unbind(number) && p.bindings.bind(number, remote(2)));
    assert_eq!(nat.open(flows, chosen).map(|opened| opened.is_new), Err(DropReason::ProxyUnassigned));
    assert_eq!((p.sessions(1, 7), p.bed.population()), (0, (0, 0)));
}

#[test]
fn what_finds_no_room_is_not_counted() {
    let mut p = proxied(1);
    p.bind(1, 7, remote(1));
    p.bed.table = Arc::new(crate::flow::FlowTable::new(1, 0, 1, keys(1)));
    p.bed.replace_flows(0, FlowHome::new(p.bed.table.clone()));
    let made =
        (0..400).filter(|n| p.bed.send(&to_proxy(1, Protocol::Udp, 4000 + n / 4, 7, 50 + n % 4), 0).is_ok());
    let made = made.count() as u32;
    assert!((1..400).contains(&made), "{made}");
    assert_eq!(p.sessions(1, 7), made);
}

#[test]
fn one_socket_and_two_addresses_of_a_remote_host_have_one_session() {
    let mut p = proxied(1);
    p.bind(1, 7, remote(1));
    let (by_proxy, by_itself) = (to_proxy(1, Protocol::Udp, 4000, 7, 53), udp(1, 2, 4000, 1, 53));
    let leaves = p.bed.send(&by_proxy, 0).expect("room");
    assert_eq!(p.bed.send(&by_itself, 0), Err(DropReason::ProxyCollision));
    assert_eq!(p.bed.send(&leaves.reversed(OUTSIDE), 0), Ok(by_proxy.reversed(Realm(1))), "as before");
    // The other way round; another socket, or another port, is nobody's but its own.
    let (first, second) = (udp(1, 2, 4001, 1, 53), to_proxy(1, Protocol::Udp, 4001, 7, 53));
    p.bed.send(&first, 0).expect("room");
    assert_eq!(p.bed.send(&second, 0), Err(DropReason::ProxyCollision));
    p.bed.send(&udp(1, 2, 4002, 1, 53), 0).expect("room");
    p.bed.send(&udp(1, 2, 4000, 1, 54), 0).expect("room");
    assert_eq!(p.sessions(1, 7), 1);
}

#[test]
fn untranslated_destinations_are_those_of_the_remote_address() {
    let prefix = |a: Ipv4Addr, length| ipnet::Ipv4Net::new(a, length).expect("a length");
    let untranslated =
        |prefix| NatOptions { untranslated: vec![Untranslated { prefix, port: None }], ..options() };
    let key = to_proxy(1, Protocol::Udp, 4000, 7, 53);
    // The remote one is: the source stays, the destination does not.
    let mut p = proxied_with(1, untranslated(prefix(remote(0), 24)), pool("only", 16, 17));
    p.bind(1, 7, remote(1));
    let leaves = p.bed.send(&key, 0).expect("room");
    assert_eq!((leaves.source(), leaves.source_port(), leaves.destination()), (HOST, 4000, remote(1)));
    let (_, back) = p.bed.table.lookup::<Record4>(&leaves.reversed(OUTSIDE)).expect("its answers");
    assert_eq!(back.rewrite().addresses, key.reversed(Realm(1)).addresses);
    assert_eq!(p.sessions(1, 7), 1);
    p.bed.pass(options().timeouts.udp + 1);
    assert_eq!((p.sessions(1, 7), p.bed.home(0).1.untranslated_sessions()), (0, 0));
    // The proxy address is: nothing to do with it.
    let mut p = proxied_with(1, untranslated(prefix(proxy(0), 24)), pool("only", 16, 17));
    p.bind(1, 7, remote(1));
    assert!(p.bed.send(&key, 0).is_ok_and(|leaves| leaves.source() != HOST));
}

#[test]
fn a_proxy_address_of_another_subscriber_is_a_hairpin() {
    for workers in [1, 2] {
        let mut p = proxied(workers);
        let server = p.bed.send(&udp(1, 3, 4000, 1, 53), 0).expect("room");
        p.bind(1, 7, server.source());
        let call = to_proxy(1, Protocol::Udp, 5, 7, server.source_port());
        let heard = p.bed.send(&call, 0).expect("it is there");
        assert_eq!((heard.realm(), heard.destination()), (Realm(1), Ipv4Addr::new(10, 0, 0, 3)));
        // It sees its caller's public address, which is the server's own, by what its realm knows that as.
        assert!([server.source(), proxy(7)].contains(&heard.source()) || p.bed.nat.contains(heard.source()));
        assert_eq!(p.bed.send(&heard.reversed(Realm(1)), 0), Ok(call.reversed(Realm(1))));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send { realm: u16, port: u16, last: u8, remote_port: u16, direct: bool },
    Answer { remote: u8, remote_port: u16, port: u16 },
    Bind { realm: u16, last: u8, remote: u8 },
    Unbind { realm: u16, last: u8 },
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let (realm, port, last, remote, remote_port) = (1u16..3, 4000u16..4003, 0u8..4, 0u8..3, 53u16..55);
    prop_oneof![
        6 => (realm.clone(), port.clone(), last.clone(), remote_port.clone(), any::<bool>()).prop_map(
            |(realm, port, last, remote_port, direct)| Step::Send { realm, port, last, remote_port, direct }
        ),
        2 => (remote.clone(), remote_port, port).prop_map(
            |(remote, remote_port, port)| Step::Answer { remote, remote_port, port }
        ),
        3 => (realm.clone(), last.clone(), remote).prop_map(|(realm, last, remote)| Step::Bind { realm, last, remote }),
        2 => (realm, last).prop_map(|(realm, last)| Step::Unbind { realm, last }),
        1 => prop_oneof![Just(1000u32), Just(200_000), Just(301_000)].prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Any interleaving: the count of each address is that of the live sessions that have it, whoever they go to is whom it stands
    /// for, no two outside halves are the same, and nothing is left at the end.
    #[test]
    fn counts_are_those_of_live_sessions(steps in prop::collection::vec(step(), 1..60)) {
        let mut p = proxied(1);
        let mut seen = vec![];
        for step in steps {
            match step {
                Step::Send { realm, port, last, remote_port, direct } => {
                    let key = match direct {
                        false => to_proxy(realm, Protocol::Udp, port, last, remote_port),
                        true => udp(realm, 2, port, last % 3, remote_port),
                    };
                    if let Ok(leaves) = p.bed.send(&key, 0) {
                        seen.push((leaves.source(), leaves.source_port()));
                        prop_assert_eq!(p.bed.send(&leaves.reversed(OUTSIDE), 0), Ok(key.reversed(Realm(realm))));
                    }
                }
                Step::Answer { remote: last, remote_port, port } => {
                    let to = seen.get(usize::from(port) % seen.len().max(1)).copied().unwrap_or((public(16), 3000));
                    let key = Key4::new(OUTSIDE, Protocol::Udp, (remote(last), remote_port), to);
                    let _ = p.bed.send(&key, 0);
                }
                Step::Bind { realm, last, remote: to } => {
                    let number = p.number(realm, last);
                    // As whoever assigns does: one address for a remote host of a realm.
                    if p.proxies.standing_for(Realm(realm), remote(to)).is_none() {
                        p.bindings.bind(number, remote(to));
                    }
                }
                Step::Unbind { realm, last } => {
                    let number = p.number(realm, last);
                    let has = p.proxies.sessions(number) > 0;
                    prop_assert_eq!(p.bindings.unbind(number), !has);
                }
                Step::Pass(ms) => p.bed.pass(ms),
            }
            let mut counts = [0; 32];
            let mut outside = std::collections::HashSet::new();
            for (first, other) in p.bed.table.sessions::<Record4>() {
                let (out, back) = sides(first, other);
                prop_assert!(outside.insert(back.key()), "{:?} twice", back.key());
                if let Some(number) = p.proxies.number(out.key().realm(), out.key().destination()) {
                    counts[number as usize] += 1;
                    prop_assert_eq!(p.proxies.remote(number), Some(back.key().source()));
                }
            }
            let counted: Vec<u32> = (0..32).map(|number| p.proxies.sessions(number)).collect();
            prop_assert_eq!(&counted[..], &counts[..]);
        }
        p.bed.pass(301_000);
        p.bed.pass(301_000);
        prop_assert!((0..32).all(|number| p.proxies.sessions(number) == 0));
        prop_assert_eq!(p.bed.population(), (0, 0));
    }
}
