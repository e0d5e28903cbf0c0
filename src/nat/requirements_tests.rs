//! What the RFCs ask of a NAT and the tests of one mechanism don't show by themselves: see [`crate::nat::requirements`].

use super::behaviour_tests::{filtering_seen, mapping_seen, nine};
use super::tests::*;
use super::*;
use crate::nat::{PoolOptions, PortSelection, Sharing, Untranslated};
use std::collections::{HashMap, HashSet};

/// RFC 4787 REQ-11 and REQ-3: neither numbers that are somebody else's already nor the want of ports make another class of
/// it, or have two inside endpoints share a port.
#[test]
fn a_class_stays_as_it_is_where_numbers_clash_and_ports_run_out() {
    for selection in [PortSelection::Random, PortSelection::Preserve, PortSelection::PreserveParity] {
        for (mapping, filtering) in nine() {
            let one = PoolOptions { mapping, filtering, selection, ..pool("p", 16, 16) };
            let mut b = bed_of(1, options(), vec![one]);
            for host in 3..9 {
                b.send(&udp(1, host, 1100, 1, 53), 0).unwrap();
            }
            let seen =
                (mapping_seen(&mut b, Protocol::Udp, 1100), filtering_seen(&mut b, Protocol::Udp, 1101));
            assert_eq!(seen, (mapping, filtering), "{selection:?}");

            let refused = (0..200).find_map(|n| b.send(&udp(1, 2, 2000 + n, 1, 53), 0).err());
            assert_eq!(refused, Some(DropReason::NatNoPort));
            let mut port_to = |remote, remote_port| {
                b.send(&udp(1, 2, 1100, remote, remote_port), 0).map(|out| out.source_port())
            };
            let (had, none) = (port_to(1, 53), Err(DropReason::NatNoPort));
            let expected = match mapping {
                Dependence::Endpoint => (had, had),
                Dependence::Address => (had, none),
                Dependence::AddressAndPort => (none, none),
            };
            assert_eq!((port_to(1, 200), port_to(5, 77)), expected, "{selection:?} {mapping:?}");
        }
    }
}

/// RFC 4787 REQ-7: an address means one host inside and another outside, even one's own.
#[test]
fn an_outside_host_may_have_an_inside_hosts_address() {
    let mut b = bed(2, options());
    b.send(&udp(1, 3, 4000, 1, 53), 0).unwrap();
    for remote in [[10, 0, 0, 2], [10, 0, 0, 3]].map(Ipv4Addr::from) {
        let key = Key4::new(Realm(1), Protocol::Udp, ([10, 0, 0, 2].into(), 4000), (remote, 53));
        let out = b.send(&key, 0).unwrap();
        assert_eq!((out.realm(), out.destination(), out.destination_port()), (OUTSIDE, remote, 53));
        assert!(b.nat.contains(out.source()));
        assert_eq!(b.send(&out.reversed(OUTSIDE), 0), Ok(key.reversed(Realm(1))));
    }
}

/// RFC 5382 REQ-8 a: the called host sees the endpoint that everybody else sees of the caller.
#[test]
fn hairpin_is_for_tcp_too() {
    let mut b = bed(2, options());
    let server = b.send(&with_protocol(udp(1, 2, 4000, 1, 53), Protocol::Tcp), SYN).unwrap();
    let elsewhere = with_protocol(udp(2, 9, 5, 7, 80), Protocol::Tcp);
    let caller = (elsewhere.source(), elsewhere.source_port());
    let call = Key4::new(Realm(2), Protocol::Tcp, caller, (server.source(), server.source_port()));
    let heard = b.send(&call, SYN).unwrap();
    assert_eq!(heard.realm(), Realm(1));
    assert_eq!((heard.destination(), heard.destination_port()), ([10, 0, 0, 2].into(), 4000));
    assert_eq!(b.send(&heard.reversed(Realm(1)), SYN | ACK), Ok(call.reversed(Realm(2))));
    let shown = b.send(&elsewhere, SYN).unwrap();
    assert_eq!((heard.source(), heard.source_port()), (shown.source(), shown.source_port()));
}

/// RFC 5508 REQ-1 a.
#[test]
fn an_identifier_is_the_same_for_all_who_are_asked() {
    let mut b = bed(1, options());
    let ask = |remote| with_protocol(udp(1, 2, 77, remote, 77), Protocol::Icmp);
    let shown = [1, 2, 3].map(|remote| {
        let out = b.send(&ask(remote), 0).unwrap();
        assert_eq!(b.send(&out.reversed(OUTSIDE), 0), Ok(ask(remote).reversed(Realm(1))));
        (out.source(), out.source_port())
    });
    assert_eq!((shown[0], shown[1]), (shown[1], shown[2]));
    assert_eq!(b.population(), (1, 1));
}

/// RFC 7857 sections 5 and 6.
#[test]
fn mappings_and_filters_are_of_one_protocol() {
    let mut b = bed(1, options());
    let datagram = udp(1, 2, 4000, 1, 53);
    let out = b.send(&with_protocol(datagram, Protocol::Tcp), SYN).unwrap();
    let answer = out.reversed(OUTSIDE);
    assert_eq!(b.send(&with_protocol(answer, Protocol::Udp), 0), Err(DropReason::NatNoMapping));
    b.send(&datagram, 0).unwrap();
    assert_eq!(b.population(), (2, 1));
}

/// RFC 6888 REQ-3.
#[test]
fn a_pool_is_of_any_addresses() {
    let alone = Ipv4Addr::new(192, 0, 2, 200);
    let ranges = vec![(public(40), public(40)), (public(16), public(17)), (alone, alone)];
    let mut b = bed_of(1, options(), vec![PoolOptions { ranges, ..pool("p", 16, 16) }]);
    let mut subscribers = HashMap::<_, u32>::new();
    for host in 0..64 {
        let key = udp(1, host, 4000, 1, 53);
        let out = b.send(&key, 0).unwrap();
        assert_eq!(b.send(&out.reversed(OUTSIDE), 0), Ok(key.reversed(Realm(1))));
        let stranger = (public(200), 7);
        let call = Key4::new(OUTSIDE, Protocol::Udp, stranger, (out.source(), out.source_port()));
        assert_eq!(b.send(&call, 0).map(|heard| heard.destination()), Ok(key.source()));
        *subscribers.entry(out.source()).or_default() += 1;
    }
    let all = [public(16), public(17), public(40), alone].map(|address| (address, 16));
    assert_eq!(subscribers, all.into());
    assert_eq!(b.send(&udp(1, 64, 4000, 1, 53), 0), Err(DropReason::NatNoPort));
}

/// RFC 6888 REQ-2 and RFC 7857 section 4: one address for all protocols; where it has no port left there is none elsewhere.
#[test]
fn a_subscriber_stays_on_its_address_and_is_refused_when_that_is_full() {
    let sharing = Sharing::Blocks { first: 64, block: 64, per_subscriber: 16 };
    let limits = NatOptions { sessions_per_subscriber: 4000, ..options() };
    let mut b = bed_of(1, limits, vec![PoolOptions { sharing, ..pool("p", 16, 17) }]);
    let mut addresses = HashSet::new();
    let refused = (0..2000).find_map(|n| match b.send(&udp(1, 2, 4000 + n, 1, 53), 0) {
        Ok(out) => {
            addresses.insert(out.source());
            None
        }
        Err(why) => Some((n, why)),
    });
    assert_eq!(refused, Some((1024, DropReason::NatNoPort)));
    for protocol in [Protocol::Tcp, Protocol::Icmp] {
        addresses.insert(b.send(&with_protocol(udp(1, 2, 4000, 1, 4000), protocol), SYN).unwrap().source());
    }
    assert_eq!(addresses.len(), 1);
    let neighbour = b.send(&udp(1, 3, 4000, 1, 53), 0).unwrap();
    assert!(!addresses.contains(&neighbour.source()), "the other address had room");
}

/// RFC 6888 REQ-11 a and d.
#[test]
fn what_is_refused_takes_nothing_from_what_is_there() {
    for (limits, reason) in [
        (options(), DropReason::NatNoPort),
        (NatOptions { mappings: 40, ..options() }, DropReason::NatMappingsFull),
        (NatOptions { sessions_per_subscriber: 40, ..options() }, DropReason::NatSessionLimit),
        (NatOptions { new_sessions_per_second: 40, ..options() }, DropReason::NatSessionRate),
    ] {
        let mut b = bed(1, limits);
        let mut there = vec![];
        let refused = (0..200).find_map(|n| {
            let key = udp(1, 2, 4000 + n, 1, 53);
            b.send(&key, 0).map(|out| there.push((key, out))).err()
        });
        assert_eq!(refused, Some(reason));
        assert!(there.len() > 20, "{}", there.len());
        assert_eq!(b.population(), (there.len(), 1), "what was refused left nothing");
        for (key, out) in there {
            assert_eq!(b.send(&key, 0), Ok(out), "{reason:?}");
            assert_eq!(b.send(&out.reversed(OUTSIDE), 0), Ok(key.reversed(Realm(1))), "{reason:?}");
        }
    }
}

/// RFC 6888 REQ-15 and RFC 7857 section 9: neither the next port nor a neighbour's follows from one that is known.
#[test]
fn ports_follow_no_order() {
    let mut b = bed(1, options());
    let mut of = |host| -> Vec<u16> {
        (0..32).map(|n| b.send(&udp(1, host, 4000 + n, 1, 53), 0).unwrap().source_port() % 64).collect()
    };
    let (one, other) = (of(2), of(3));
    assert_ne!(one, other);
    let beside = |ports: &[u16]| ports.windows(2).filter(|p| p[0].abs_diff(p[1]) <= 1).count();
    assert!(beside(&one) < 8 && beside(&other) < 8, "{one:?} {other:?}");
}

fn whole() -> PoolOptions {
    PoolOptions { sharing: Sharing::WholeAddress, ..pool("whole", 20, 21) }
}

/// RFC 5508 REQ-7, RFC 7857 section 12: from outside and across a hairpin.
#[test]
fn who_holds_an_address_hears_every_echo() {
    let shared = PoolOptions { realms: vec![Realm(2)], ..pool("shared", 16, 17) };
    let limits = NatOptions { inbound_sessions_per_mapping: 4, ..options() };
    let mut b = bed_of(2, limits, vec![PoolOptions { realms: vec![Realm(1)], ..whole() }, shared]);
    let held = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap().source();
    let echo = |remote: u8, identifier| {
        let from = (Ipv4Addr::new(198, 51, 100, remote), identifier);
        Key4::new(OUTSIDE, Protocol::Icmp, from, (held, identifier))
    };
    for (remote, identifier) in [(7, 1), (8, 1), (7, 60_000)] {
        let heard = b.send(&echo(remote, identifier), 0).unwrap();
        assert_eq!((heard.destination(), heard.destination_port()), ([10, 0, 0, 2].into(), identifier));
        let answered = b.send(&heard.reversed(Realm(1)), 0).unwrap();
        assert_eq!(answered, echo(remote, identifier).reversed(OUTSIDE));
    }
    let across = Key4::new(Realm(2), Protocol::Icmp, ([10, 0, 0, 9].into(), 5), (held, 5));
    let heard = b.send(&across, 0).unwrap();
    assert_eq!((heard.realm(), heard.destination()), (Realm(1), [10, 0, 0, 2].into()));
    assert_eq!(b.send(&heard.reversed(Realm(1)), 0).unwrap(), across.reversed(Realm(2)));

    // One that the subscriber has used itself a minute ago is no other; and strangers may bring so many.
    assert_eq!(b.send(&echo(9, 77), 0), Err(DropReason::NatInboundQuota));
    let own = with_protocol(udp(1, 2, 77, 1, 77), Protocol::Icmp);
    assert_eq!(b.send(&own, 0).unwrap().source_port(), 77);
    b.now = b.now.wrapping_add(61_000);
    b.sweep_all();
    b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    assert!(b.send(&echo(9, 77), 0).is_ok());

    // Who shares an address is not asked, nor is whoever has gone: strangers keep nobody's address.
    let sharer = b.send(&udp(2, 3, 4000, 1, 53), 0).unwrap();
    let ends = ((Ipv4Addr::new(198, 51, 100, 7), 9), (sharer.source(), 9));
    assert!(b.send(&Key4::new(OUTSIDE, Protocol::Icmp, ends.0, ends.1), 0).is_err());
    for minute in 0..30 {
        b.now = b.now.wrapping_add(60_000);
        let _ = b.send(&echo(50, 1000 + minute), 0);
        b.sweep_all();
    }
    assert_eq!(b.send(&echo(7, 3), 0), Err(DropReason::NatNoMapping));
    assert_eq!(b.population(), (0, 0));
}

/// RFC 6888 REQ-6.
#[test]
fn towards_some_destinations_nobody_is_translated() {
    let untranslated = |prefix: &str, port| Untranslated { prefix: prefix.parse().unwrap(), port };
    let exempt = vec![untranslated("198.51.100.64/26", None), untranslated("0.0.0.0/0", Some(25))];
    let mut b = bed_of(2, NatOptions { untranslated: exempt, ..options() }, vec![pool("p", 16, 17)]);
    let there = [
        udp(1, 2, 4000, 64, 53),
        with_protocol(udp(1, 2, 4000, 127, 80), Protocol::Tcp),
        udp(1, 2, 9, 1, 25),
    ];
    for key in there {
        let as_it_is = Key4 { tail: key.reversed(OUTSIDE).reversed(OUTSIDE).tail, ..key };
        assert_eq!(b.send(&key, SYN).unwrap(), as_it_is);
        assert_eq!(b.send(&as_it_is.reversed(OUTSIDE), SYN | ACK).unwrap(), key.reversed(Realm(1)));
    }
    assert_eq!(b.population(), (0, 0), "no port is spent");
    for key in [udp(1, 2, 4000, 63, 53), udp(1, 2, 4000, 1, 26)] {
        let seen = b.send(&key, 0).unwrap();
        assert!(b.nat.contains(seen.source()));
    }
    // A public address is never a destination beyond, and nobody's source who has it not.
    let neighbor = b.send(&udp(1, 7, 4000, 1, 53), 0).unwrap();
    let (public, port) = (neighbor.source(), neighbor.source_port());
    let smtp = Key4::new(Realm(1), Protocol::Udp, ([10, 0, 0, 9].into(), 9), (public, 25));
    assert_ne!(b.send(&smtp, 0).map(|key| key.source()), Ok([10, 0, 0, 9].into()));
    let spoofed = Key4::new(Realm(1), Protocol::Udp, (public, port), ([198, 51, 100, 64].into(), 53));
    assert_eq!(b.send(&spoofed, 0), Err(DropReason::Ipv4SourceInvalid));
    // A realm with the same addresses: what is in use there stays whose it is.
    assert_eq!(b.send(&udp(2, 2, 4000, 64, 53), 0), Err(DropReason::NatUntranslatedTaken));
    assert!(b.send(&udp(2, 3, 4000, 64, 53), 0).is_ok());
    b.now = b.now.wrapping_add(10_000_000);
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.table.sessions::<Record4>().count(), 0);
}

/// RFC 5597 REQ-5, by RFC 6888 REQ-1 d.
#[test]
fn dccp_has_its_time() {
    let mut b = bed_of(1, options(), vec![whole()]);
    let ends = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(198, 51, 100, 1));
    b.send(&Key4::of_any_protocol(Realm(1), 33, ends, 0), 0).unwrap();
    for (later, left) in [(7_440_000, 1), (1, 0)] {
        b.now = b.now.wrapping_add(later);
        b.sweep_all();
        assert_eq!(b.population().0, left);
    }
}
