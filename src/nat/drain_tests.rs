//! Pools that are drained, undrained and removed: whose a subscriber, a block and an address then are.

use super::tests::*;
use super::*;
use crate::nat::session::Timeouts;
use crate::nat::{PoolOptions, Sharing, Usage};

/// The hosts 0 to 7 of realm 1 share 203.0.113.16.
fn formula() -> PoolOptions {
    PoolOptions {
        sharing: Sharing::Deterministic,
        subscribers: vec!["10.0.0.0/29".parse().unwrap()],
        realms: vec![Realm(1)],
        ..pool("formula", 16, 16)
    }
}

/// However often pools are drained and undrained, a subscriber has one self in each: two would have the same block of a
/// deterministic pool, and take its ports from one another.
#[test]
fn a_pool_that_is_undrained_has_its_subscribers_back() {
    let mut b = bed_of(1, options(), vec![formula(), pool("other", 17, 17)]);
    let state = |b: &Bed, formula, other| {
        assert!(b.nat.pools()[0].set_state(formula) && b.nat.pools()[1].set_state(other));
    };
    let first = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    assert_eq!(first.source(), public(16));
    state(&b, PoolState::Draining, PoolState::Active);
    assert_eq!(b.send(&udp(1, 2, 4001, 1, 53), 0).unwrap().source(), public(17));
    state(&b, PoolState::Active, PoolState::Draining);
    assert_eq!(b.send(&udp(1, 2, 4002, 1, 53), 0).unwrap().source(), public(16));
    // The first mapping is still there for other destinations, and from outside.
    let again = b.send(&udp(1, 2, 4000, 2, 53), 0).unwrap();
    assert_eq!((again.source(), again.source_port()), (first.source(), first.source_port()));
    assert_eq!(b.send(&first.reversed(OUTSIDE), 0).unwrap().destination_port(), 4000);
    assert_eq!(b.nat.pools().iter().map(|p| p.blocks().usage().leased).sum::<u32>(), 2);
    b.now = b.now.wrapping_add(10_000_000);
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.population(), (0, 0));
    assert_eq!([b.counted(0), b.counted(1)], [(0, 0), (0, 0)]);
}

#[test]
fn what_a_removed_pool_had_is_over_and_its_addresses_are_somebody_elses() {
    let one_realm = |name, d, realm| PoolOptions { realms: vec![Realm(realm)], ..pool(name, d, d) };
    let mut b = bed_of(1, options(), vec![one_realm("gone", 16, 1), one_realm("stays", 17, 2)]);
    let gone = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let stays = b.send(&udp(2, 2, 4000, 1, 53), 0).unwrap();
    // A hairpin from the pool that stays to the one that goes: a session at each end.
    let to_gone = (gone.source(), gone.source_port());
    let call = Key4::new(Realm(2), Protocol::Udp, (Ipv4Addr::new(10, 0, 0, 3), 5), to_gone);
    assert_eq!(b.send(&call, 0).unwrap().realm(), Realm(1));
    assert_eq!((b.table.sessions::<Record4>().count(), b.nat.contains(gone.source())), (4, true));
    assert!(b.nat.pools()[0].set_state(PoolState::Removed));
    assert!(!b.nat.contains(gone.source()) && b.nat.contains(stays.source()));
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.table.sessions::<Record4>().count(), 1, "the other pool's own");
    assert_eq!(b.send(&stays.reversed(OUTSIDE), 0).unwrap().realm(), Realm(2));
    assert_eq!(b.send(&udp(1, 2, 4000, 1, 53), 0), Err(DropReason::NatPoolDraining));
    assert_eq!(b.send(&gone.reversed(OUTSIDE), 0), Err(DropReason::NatNoMapping));
    assert_eq!(b.send(&call, 0).unwrap().destination(), gone.source(), "to whoever has it now");
    assert!(!b.nat.pools()[0].set_state(PoolState::Active), "for good");
}

/// What has left a deterministic pool's block finds it again, and no one else can have it; resting is for ports there.
#[test]
fn a_block_by_formula_is_never_given_to_others() {
    let mut b = bed_of(1, options(), vec![formula()]);
    for round in 0..3 {
        for host in 0..8 {
            let inside = Ipv4Addr::new(10, 0, 0, host);
            let out = b.send(&udp(1, host, 4000, 1, 53), 0).unwrap();
            let (address, ports) = b.nat.pools()[0].determined(Realm(1), inside).unwrap();
            assert!(out.source() == address && ports.contains(&out.source_port()), "{round}: {host}");
            let e = Endpoint { address, port: out.source_port() };
            let found = b.nat.pools()[0].determined_subscriber(e);
            assert_eq!(found, Some(((Realm(1), inside), ports)));
        }
        assert_eq!(b.send(&udp(2, 1, 4000, 1, 53), 0), Err(DropReason::NatNoPool), "not of its realm");
        assert_eq!(b.send(&udp(1, 8, 4000, 1, 53), 0), Err(DropReason::NatNoPool), "not of its prefix");
        b.now = b.now.wrapping_add(400_000);
        b.sweep_all();
        b.sweep_all();
        assert_eq!(b.nat.pools()[0].blocks().usage(), Usage::default());
    }
}

/// The table of subscribers is full, and who makes room is the asker's own former self.
#[test]
fn who_makes_room_for_oneself_is_nobodys_former_self() {
    let limits = NatOptions { subscribers: 1, ..options() };
    let mut b = bed_of(1, limits, vec![pool("old", 16, 16), pool("new", 20, 20)]);
    b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.population(), (0, 0));
    b.nat.pools()[0].set_state(PoolState::Draining);
    for port in 1..5 {
        let seen = b.send(&udp(1, 2, port, 1, 53), 0).unwrap();
        assert!(b.nat.pools()[1].contains(seen.source()));
    }
    assert_eq!(b.population(), (4, 1));
}

/// What is refused takes no port, and puts none to rest: a neighbour finds all that there was.
#[test]
fn refusals_burn_nothing() {
    let limits = NatOptions { sessions_per_subscriber: 10, ..options() };
    let mut b = bed(1, limits);
    for port in 0..10 {
        b.send(&udp(1, 2, 4000 + port, 1, 53), 0).unwrap();
    }
    let before = b.nat.pools()[0].blocks().usage();
    for port in 0..2000 {
        assert_eq!(b.send(&udp(1, 2, 10_000 + port, 1, 53), 0), Err(DropReason::NatSessionLimit));
    }
    let after = b.nat.pools()[0].blocks().usage();
    assert_eq!((after.leased, after.resting, after.udp), (before.leased, before.resting, before.udp));

    // The same where the table of sessions is full: newcomers leave nothing behind.
    let mut b = bed(1, NatOptions { sessions_per_subscriber: 100_000, ..options() });
    let mut opened = 0u32;
    while b.send(&udp(1, 2, 4000, (opened >> 14) as u8, opened as u16 & 0x3fff), 0).is_ok() {
        opened += 1;
    }
    let before = b.nat.pools()[0].blocks().usage();
    for host in 10..200 {
        assert_eq!(b.send(&udp(1, host, 4000, 9, 9), 0), Err(DropReason::SessionsFull));
    }
    let after = b.nat.pools()[0].blocks().usage();
    assert_eq!((after.leased, after.resting, after.udp), (before.leased, before.resting, before.udp));
}

/// Every remote address of a protocol without ports is by one mapping, whatever the class: they have one public endpoint.
#[test]
fn what_has_no_ports_has_one_mapping() {
    for (mapping, filtering) in
        [(Dependence::Address, Dependence::Address), (Dependence::AddressAndPort, Dependence::Endpoint)]
    {
        let sharing = Sharing::WholeAddress;
        let mut b =
            bed_of(1, options(), vec![PoolOptions { mapping, filtering, sharing, ..pool("p", 16, 16) }]);
        let gre = |remote: u8| {
            let ends = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(198, 51, 100, remote));
            Key4::of_any_protocol(Realm(1), 47, ends, 0)
        };
        let seen: Vec<Key4> = (1..200).map(|remote| b.send(&gre(remote), 0).unwrap()).collect();
        assert_eq!(b.population(), (1, 1));
        for out in &seen {
            assert_eq!(b.send(&out.reversed(OUTSIDE), 0).unwrap().destination(), Ipv4Addr::new(10, 0, 0, 2));
        }
        let stranger = gre(250).reversed(OUTSIDE);
        let stranger = Key4::of_any_protocol(OUTSIDE, 47, (stranger.source(), seen[0].source()), 0);
        assert_eq!(b.send(&stranger, 0).is_ok(), filtering == Dependence::Endpoint);
        b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
        b.sweep_all();
        b.sweep_all();
        assert_eq!(b.population(), (0, 0));
    }
}
