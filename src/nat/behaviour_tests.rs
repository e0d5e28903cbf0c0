//! What each pool promises, by its behaviour: RFC 4787's classes, RFC 6888's limits, RFC 7422's formula; one at a time, and all
//! of them under random packets over several homes.

use super::tests::*;
use super::*;
use crate::nat::session::Timeouts;
use crate::nat::{PoolOptions, PortSelection, Sharing, Usage};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const CLASSES: [Dependence; 3] = [Dependence::Endpoint, Dependence::Address, Dependence::AddressAndPort];
const GRE: u8 = 47;

/// From outside, of `remote`, to a public end.
fn to(public: &Key4, remote: (u8, u16)) -> Key4 {
    let end = (public.source(), public.source_port());
    let protocol = Protocol::from_number(public.protocol()).expect("one with ports");
    // An echo has one identifier.
    let port = if protocol == Protocol::Icmp { end.1 } else { remote.1 };
    Key4::new(OUTSIDE, protocol, (Ipv4Addr::new(198, 51, 100, remote.0), port), end)
}

/// A packet of a protocol without ports.
fn gre(host: u8, remote: u8) -> Key4 {
    let ends = (Ipv4Addr::new(10, 0, 0, host), Ipv4Addr::new(198, 51, 100, remote));
    Key4::of_any_protocol(Realm(1), GRE, ends, 0)
}

/// The class of mapping that three packets of one inside endpoint show.
pub(super) fn mapping_seen(b: &mut Bed, protocol: Protocol, port: u16) -> Dependence {
    let [to_a, to_a2, to_b] = [(1, 53), (1, 54), (2, 53)].map(|(remote, remote_port)| {
        b.send(&with_protocol(udp(1, 2, port, remote, remote_port), protocol), SYN).unwrap().source_port()
    });
    match (to_a == to_a2, to_a == to_b) {
        (true, true) => Dependence::Endpoint,
        (true, false) => Dependence::Address,
        (false, false) => Dependence::AddressAndPort,
        (false, true) => panic!("by port alone"),
    }
}

/// The class of filter that an inside endpoint has which has sent to one remote end alone.
pub(super) fn filtering_seen(b: &mut Bed, protocol: Protocol, port: u16) -> Dependence {
    let out = b.send(&with_protocol(udp(1, 2, port, 1, 53), protocol), SYN).unwrap();
    let mut passes = |remote| match b.send(&to(&out, remote), SYN) {
        Ok(inside) => {
            assert_eq!((inside.destination(), inside.destination_port()), ([10, 0, 0, 2].into(), port));
            true
        }
        Err(why) => {
            assert_eq!(why, DropReason::NatFiltered);
            false
        }
    };
    assert!(passes((1, 53)), "whom it was sent to");
    match (passes((1, 99)), passes((3, 53))) {
        (true, true) => Dependence::Endpoint,
        (true, false) => Dependence::Address,
        (false, false) => Dependence::AddressAndPort,
        (false, true) => panic!("by address alone"),
    }
}

/// Every pair of classes.
pub(super) fn nine() -> impl Iterator<Item = (Dependence, Dependence)> {
    CLASSES.into_iter().flat_map(|mapping| CLASSES.map(|filtering| (mapping, filtering)))
}

#[test]
fn nine_combinations_of_mapping_and_filtering() {
    for (mapping, filtering) in nine() {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let pools = vec![PoolOptions { mapping, filtering, ..pool("p", 16, 17) }];
            let mut b = bed_of(1, options(), pools);
            let seen = (mapping_seen(&mut b, protocol, 4000), filtering_seen(&mut b, protocol, 5000));
            assert_eq!(seen, (mapping, filtering), "{protocol:?}");
        }
    }
}

/// With several mappings of one endpoint the same two ends can meet by two of them: both ways lead to the inside, and the
/// session that was there first is not disturbed.
#[test]
fn two_mappings_between_the_same_ends() {
    let pools = vec![PoolOptions { mapping: Dependence::AddressAndPort, ..pool("p", 16, 17) }];
    let mut b = bed_of(1, options(), pools);
    let (first, second) = (udp(1, 2, 4000, 1, 53), udp(1, 2, 4000, 2, 53));
    let (t1, t2) = (b.send(&first, 0).unwrap(), b.send(&second, 0).unwrap());
    // The second remote end sends to the public end that was made for the first.
    let by_first = b.send(&to(&t1, (2, 53)), 0).unwrap();
    assert_eq!(by_first, second.reversed(Realm(1)));
    assert_eq!(b.send(&t2.reversed(OUTSIDE), 0).unwrap(), second.reversed(Realm(1)));
    assert_eq!(b.send(&second, 0).unwrap(), t2, "answers go on by their own mapping");
    b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.population(), (0, 0));
}

#[test]
fn an_address_that_was_sent_to_may_answer_as_long_as_it_was() {
    let pools = vec![PoolOptions { filtering: Dependence::Address, ..pool("p", 16, 17) }];
    let mut b = bed_of(1, options(), pools);
    let out = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    b.now = b.now.wrapping_add(200_000);
    b.send(&udp(1, 2, 4000, 2, 53), 0).unwrap();
    b.sweep_all();
    assert!(b.send(&to(&out, (1, 99)), 0).is_ok());
    b.now = b.now.wrapping_add(150_000);
    b.sweep_all();
    assert_eq!(b.send(&to(&out, (1, 98)), 0), Err(DropReason::NatFiltered), "that was 350 s ago");
    assert!(b.send(&to(&out, (2, 98)), 0).is_ok());
}

#[test]
fn strangers_alone_keep_no_mapping_alive() {
    let mut b = bed(1, NatOptions { inbound_sessions_per_mapping: 100, ..options() });
    let out = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let mut refused = 0;
    for minute in 0..12u8 {
        refused += u32::from(b.send(&to(&out, (10 + minute, 7)), 0).is_err());
        b.now = b.now.wrapping_add(60_000);
        b.sweep_all();
    }
    assert_eq!(
        (b.population(), refused),
        ((0, 0), 6),
        "RFC 4787 REQ-6: five minutes after the last packet from inside"
    );

    // One that is answered keeps it, for others too.
    let mut b = bed(1, options());
    let out = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let heard = b.send(&to(&out, (9, 7)), 0).unwrap();
    for _ in 0..12 {
        b.send(&heard.reversed(Realm(1)), 0).unwrap();
        b.now = b.now.wrapping_add(60_000);
        b.sweep_all();
    }
    assert!(b.send(&to(&out, (20, 7)), 0).is_ok());
    assert_eq!(b.population(), (1, 1));
}

#[test]
fn ports_are_chosen_as_the_pool_says() {
    let of = |selection| vec![PoolOptions { selection, ..pool("p", 16, 16) }];
    let mut b = bed_of(1, options(), of(PortSelection::Preserve));
    let first = b.send(&udp(1, 2, 1100, 1, 53), 0).unwrap().source_port();
    let block = (first / 64) * 64;
    for port in (block..block + 64).filter(|p| *p != first) {
        assert_eq!(b.send(&udp(1, 2, port, 1, 53), 0).unwrap().source_port(), port);
    }
    let mut b = bed_of(1, options(), of(PortSelection::PreserveParity));
    let parities = |b: &mut Bed, ports: std::ops::Range<u16>| -> usize {
        let kept =
            |p: &u16| b.send(&udp(1, 2, 4000 + 2 * p, 1, 53), 0).unwrap().source_port().is_multiple_of(2);
        ports.filter(kept).count()
    };
    // Two blocks have 64 even ports; the rest gets what there is (RFC 4787 REQ-4).
    assert_eq!((parities(&mut b, 0..64), parities(&mut b, 64..128)), (64, 0));
}

#[test]
fn growth_takes_nobodys_first_block() {
    let sharing = Sharing::Blocks { first: 64, block: 256, per_subscriber: 4 };
    let mut b = bed_of(1, options(), vec![PoolOptions { sharing, ..pool("p", 16, 16) }]);
    // 1,024 ports: three first blocks of 64, three others of 256.
    let many = |b: &mut Bed, host: u8| {
        (0..900).take_while(|port| b.send(&udp(1, host, 2000 + port, 1, 53), 0).is_ok()).count()
    };
    assert_eq!(many(&mut b, 2), 64 + 3 * 256);
    assert_eq!((many(&mut b, 3), many(&mut b, 4)), (64, 64), "a neighbour's share is there");
    assert_eq!(b.send(&udp(1, 5, 1, 1, 53), 0), Err(DropReason::NatNoPort));
}

#[test]
fn sessions_of_a_subscriber_have_limits() {
    let mut b = bed(1, NatOptions { sessions_per_subscriber: 10, ..options() });
    for port in 0..10 {
        b.send(&udp(1, 2, 4000, 1, 100 + port), 0).unwrap();
    }
    assert_eq!(b.send(&udp(1, 2, 4000, 1, 99), 0), Err(DropReason::NatSessionLimit));
    assert_eq!(b.send(&udp(1, 2, 4001, 1, 99), 0), Err(DropReason::NatSessionLimit));
    assert!(b.send(&udp(1, 3, 4000, 1, 99), 0).is_ok());
    assert_eq!(b.population(), (2, 2), "what was refused left no mapping");

    let mut b = bed(1, NatOptions { new_sessions_per_second: 5, ..options() });
    let burst =
        |b: &mut Bed, base: u16| (0..20).filter(|n| b.send(&udp(1, 2, 4000, 1, base + n), 0).is_ok()).count();
    assert_eq!(burst(&mut b, 0), 5);
    assert_eq!(b.send(&udp(1, 2, 4000, 1, 99), 0), Err(DropReason::NatSessionRate));
    b.now = b.now.wrapping_add(400);
    assert_eq!(burst(&mut b, 100), 2);
    assert!(b.send(&udp(1, 3, 4000, 1, 99), 0).is_ok(), "a neighbour's rate is its own");
}

#[test]
fn strangers_leave_the_subscriber_half_of_its_sessions() {
    let limits = NatOptions { sessions_per_subscriber: 10, inbound_sessions_per_mapping: 100, ..options() };
    let mut b = bed(1, limits);
    let out = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let let_in = (0..20).filter(|n| b.send(&to(&out, (10 + n, 7)), 0).is_ok()).count();
    assert_eq!(let_in, 5);
    assert_eq!(b.send(&to(&out, (99, 7)), 0), Err(DropReason::NatInboundQuota));
    assert!((0..4).all(|n| b.send(&udp(1, 2, 4000, 1, 60 + n), 0).is_ok()));
}

#[test]
fn deterministic_blocks_are_where_the_formula_says() {
    let deterministic = PoolOptions {
        sharing: Sharing::Deterministic,
        subscribers: vec!["10.0.0.0/27".parse().unwrap()],
        ..pool("p", 16, 19)
    };
    let mut b = bed_of(2, options(), vec![deterministic]);
    for (realm, host) in [(1, 0), (1, 31), (2, 5)] {
        let inside = Ipv4Addr::new(10, 0, 0, host);
        let (address, ports) = b.nat.pools()[0].determined(Realm(realm), inside).unwrap();
        assert_eq!(ports.clone().count(), 64, "1,024 ports for 16 subscribers an address");
        for port in 0..64 {
            let out = b.send(&udp(realm, host, 4000 + port, 1, 53), 0).unwrap();
            assert!(out.source() == address && ports.contains(&out.source_port()));
            let public = Endpoint { address, port: out.source_port() };
            let who = b.nat.pools()[0].determined_subscriber(public).unwrap();
            assert_eq!(who, ((Realm(realm), inside), ports.clone()));
        }
        assert_eq!(b.send(&udp(realm, host, 9000, 1, 53), 0), Err(DropReason::NatNoPort));
    }
    assert_eq!(b.send(&udp(1, 32, 4000, 1, 53), 0), Err(DropReason::NatNoPool));
    // Its ports rest even when the subscriber has left and come again.
    let before = b.send(&udp(1, 7, 4000, 1, 53), 0).unwrap().source_port();
    b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
    b.sweep_all();
    b.sweep_all();
    let again: HashSet<u16> =
        (0..63).map(|port| b.send(&udp(1, 7, 5000 + port, 1, 53), 0).unwrap().source_port()).collect();
    assert!(!again.contains(&before));
    assert_eq!(b.send(&udp(1, 7, 9000, 1, 53), 0), Err(DropReason::NatNoPort), "RFC 6888 REQ-8");
}

#[test]
fn a_subscriber_that_comes_back_finds_its_address_again() {
    let whole = PoolOptions { sharing: Sharing::WholeAddress, ..pool("whole", 20, 21) };
    for pools in [vec![whole], vec![pool("shared", 16, 17)]] {
        let mut b = bed_of(1, options(), pools);
        let first = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
        // It is silent for longer than its mapping lives, and not for as long as ports rest.
        b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
        b.sweep_all();
        b.now = b.now.wrapping_add(100_000);
        b.sweep_all();
        assert_eq!(b.population(), (0, 0));
        let strangers: HashSet<Ipv4Addr> =
            (10..60).filter_map(|host| b.send(&udp(1, host, 1, 1, 53), 0).ok()).map(|t| t.source()).collect();
        let again = b.send(&udp(1, 2, 5000, 1, 53), 0).unwrap();
        assert_eq!(again.source(), first.source());
        if b.nat.pools()[0].is_whole() {
            assert!(!strangers.contains(&first.source()), "RFC 6888 REQ-8");
        }
        // Who stays away has none any more.
        b.now = b.now.wrapping_add(Timeouts::default().udp + 1);
        b.sweep_all();
        b.now = b.now.wrapping_add(250_000);
        b.sweep_all();
        b.sweep_all();
        assert_eq!(b.nat.pools()[0].blocks().usage().leased, 0);
    }
}

#[test]
fn a_whole_address_carries_every_protocol() {
    let whole = PoolOptions {
        sharing: Sharing::WholeAddress,
        subscribers: vec!["10.0.0.2/31".parse().unwrap()],
        ..pool("whole", 20, 21)
    };
    let mut b = bed_of(1, options(), vec![whole, pool("shared", 16, 17)]);
    let out = b.send(&gre(2, 1), 0).unwrap();
    assert!(b.nat.pools()[0].contains(out.source()));
    assert_eq!(b.send(&out.reversed(OUTSIDE), 0).unwrap(), gre(2, 1).reversed(Realm(1)));
    // Every port is its own, and keeps its number.
    for port in [1, 80, 65535] {
        let t = b.send(&udp(1, 2, port, 1, 53), 0).unwrap();
        assert_eq!((t.source(), t.source_port()), (out.source(), port));
    }
    // It is pinged by its identifier once it has shown it.
    let echo = with_protocol(udp(1, 2, 77, 1, 77), Protocol::Icmp);
    let t = b.send(&echo, 0).unwrap();
    let ping = Key4::new(OUTSIDE, Protocol::Icmp, ([192, 0, 2, 1].into(), 77), (t.source(), 77));
    assert_eq!(b.send(&ping, 0).unwrap().destination(), Ipv4Addr::new(10, 0, 0, 2));
    let other = b.send(&gre(3, 1), 0).unwrap();
    assert_ne!(other.source(), out.source());
    assert_eq!(b.send(&gre(4, 1), 0), Err(DropReason::ProtocolUnsupported), "it shares its address");
    let sctp = Key4::of_any_protocol(OUTSIDE, 132, ([192, 0, 2, 1].into(), out.source()), 0);
    assert_eq!(b.send(&sctp, 0), Err(DropReason::NatNoMapping), "nobody has sent any");
}

#[test]
fn a_drained_pool_lives_on_and_a_removed_one_does_not() {
    let mut b = bed_of(2, options(), vec![pool("old", 16, 16), pool("new", 20, 20)]);
    let (mine, other) = (udp(1, 2, 4000, 1, 53), udp(1, 3, 4000, 1, 53));
    let (before, untouched) = (b.send(&mine, 0).unwrap(), b.send(&udp(2, 9, 4000, 1, 53), 0).unwrap());
    let in_new = |b: &Bed, k: &Key4| b.nat.pools()[1].contains(k.source());
    assert!(!in_new(&b, &before));

    b.nat.pools()[0].set_state(PoolState::Draining);
    assert_eq!(
        b.send(&udp(1, 2, 4000, 77, 53), 0).unwrap().source(),
        before.source(),
        "its mapping lives on"
    );
    assert_eq!(b.send(&to(&before, (9, 9)), 0).unwrap().destination_port(), 4000);
    let moved = b.send(&udp(1, 2, 4001, 1, 53), 0).unwrap();
    let newcomer = b.send(&other, 0).unwrap();
    assert!(in_new(&b, &moved) && in_new(&b, &newcomer));
    assert_eq!(b.send(&udp(1, 2, 4001, 5, 53), 0).unwrap().source(), moved.source());
    assert_eq!(b.population(), (4, 3));

    b.nat.pools()[0].set_state(PoolState::Removed);
    assert!(!b.nat.pools()[0].set_state(PoolState::Active), "for good");
    b.sweep_all();
    b.sweep_all();
    assert_eq!(b.population(), (2, 2));
    assert_eq!(b.send(&before.reversed(OUTSIDE), 0), Err(DropReason::NatNoMapping));
    assert_eq!(b.send(&moved.reversed(OUTSIDE), 0).unwrap(), udp(1, 2, 4001, 1, 53).reversed(Realm(1)));
    let anew = b.send(&mine, 0).unwrap();
    assert!(in_new(&b, &anew), "it begins anew elsewhere");
    assert_eq!(b.send(&untouched.reversed(OUTSIDE), 0), Err(DropReason::NatNoMapping));

    b.nat.pools()[1].set_state(PoolState::Draining);
    assert_eq!(b.send(&udp(1, 44, 1, 1, 1), 0), Err(DropReason::NatPoolDraining));
    assert!(b.nat.pools()[1].set_state(PoolState::Active));
    assert!(b.send(&udp(1, 44, 1, 1, 1), 0).is_ok());
}

#[derive(Clone, Debug)]
enum Op {
    Out { realm: u16, host: u8, port: u16, remote: u8, remote_port: u16, protocol: Protocol },
    In { pick: usize, remote: u8 },
    Wait(u32),
    Sweep,
    State(usize, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let protocol = prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp), Just(Protocol::Icmp)];
    prop_oneof![
        80 => (1u16..3, 0u8..6, 0u16..40, 0u8..4, 50u16..53, protocol).prop_map(
            |(realm, host, port, remote, remote_port, protocol)| Op::Out { realm, host, port, remote, remote_port, protocol }
        ),
        40 => (any::<usize>(), 0u8..4).prop_map(|(pick, remote)| Op::In { pick, remote }),
        10 => (0u32..200_000).prop_map(Op::Wait),
        10 => Just(Op::Sweep),
        1 => (0usize..2, any::<bool>()).prop_map(|(pool, drain)| Op::State(pool, drain)),
    ]
}

fn class() -> impl Strategy<Value = Dependence> {
    prop_oneof![Just(Dependence::Endpoint), Just(Dependence::Address), Just(Dependence::AddressAndPort)]
}

fn any_pool(first: u8) -> impl Strategy<Value = PoolOptions> {
    let selection = prop_oneof![
        Just(PortSelection::Random),
        Just(PortSelection::Preserve),
        Just(PortSelection::PreserveParity)
    ];
    let sharing = prop_oneof![
        3 => Just(Sharing::Blocks { first: 64, block: 64, per_subscriber: 2 }),
        3 => Just(Sharing::Blocks { first: 64, block: 128, per_subscriber: 2 }),
        1 => Just(Sharing::Deterministic),
        1 => Just(Sharing::WholeAddress),
    ];
    let cool_down = prop_oneof![Just(0u32), Just(1000), Just(120_000)];
    (class(), class(), selection, sharing, cool_down).prop_map(
        move |(mapping, filtering, selection, sharing, cool_down)| PoolOptions {
            mapping,
            filtering,
            selection,
            sharing,
            cool_down,
            subscribers: vec!["10.0.0.0/29".parse().unwrap()],
            ..pool("p", first, first + 1)
        },
    )
}

/// Who a public endpoint belongs to, and when nobody's session had it any more.
type Held = HashMap<(Ipv4Addr, u16, u8), ((Realm, Ipv4Addr, u16), Option<u32>)>;

/// Over all live sessions: no two inside endpoints share a public one, nobody has more than it may, and a port that changes
/// hands has rested.
fn check(b: &Bed, held: &mut Held) -> Result<(), TestCaseError> {
    let mut live: HashMap<(Ipv4Addr, u16, u8), (Realm, Ipv4Addr, u16)> = HashMap::new();
    let (mut mappings, mut sessions) = (HashSet::new(), HashMap::<_, u32>::new());
    let mut blocks: HashMap<_, HashSet<_>> = HashMap::new();
    for (first, other) in b.table.sessions::<Record4>() {
        let (out, back) = sides(first, other);
        let (i, o) = (out.key(), back.key());
        let inside = (i.realm(), i.source(), i.source_port());
        let outside = (o.destination(), o.destination_port(), o.protocol());
        prop_assert_eq!(*live.entry(outside).or_insert(inside), inside);
        mappings.insert(outside);
        *sessions.entry((i.realm(), i.source())).or_default() += 1;
        let pool = b.nat.pool_of(o.destination()).expect("an address of a pool");
        let block = pool.block_of(Endpoint { address: o.destination(), port: o.destination_port() });
        blocks.entry((i.realm(), i.source(), o.destination())).or_default().insert(block);
        prop_assert!(blocks.values().all(|of| of.len() <= pool.blocks_per_subscriber().max(2).into()));
    }
    prop_assert!(sessions.values().all(|n| *n <= b.nat.options().sessions_per_subscriber));
    prop_assert_eq!(b.population().0, mappings.len());
    for pool in 0..b.nat.pools().len() {
        let (usage, counted) = (b.nat.pools()[pool].blocks().usage(), b.counted(pool));
        prop_assert_eq!((usage.leased, usage.tcp + usage.udp + usage.icmp + usage.other), counted);
        prop_assert!((usage.leased + usage.resting) as usize <= b.nat.pools()[pool].blocks().count());
    }
    for (end, (owner, gone)) in held.iter_mut() {
        match live.remove(end) {
            Some(now) => {
                let pool = b.nat.pool_of(end.0).expect("a pool's");
                // Who holds a whole address may use a port of it again at once: nobody else has it meanwhile.
                let is_own = pool.is_whole() && (owner.0, owner.1) == (now.0, now.1);
                if let Some(gone) = gone.take() {
                    let rested = b.now.wrapping_sub(gone) >= pool.options().cool_down;
                    prop_assert!(is_own || rested, "{end:?} has not rested");
                } else {
                    prop_assert_eq!(*owner, now, "{:?} changed hands while in use", end);
                }
                *owner = now;
            }
            None => *gone = gone.or(Some(b.now)),
        }
    }
    held.extend(live.into_iter().map(|(end, owner)| (end, (owner, None))));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Random packets from both sides, time, sweeps and drained pools, on 1 to 3 homes, for any two pools; after everything has
    /// expired nothing is left and every block is free again.
    #[test]
    fn promises_hold(
        workers in 1usize..4,
        pools in (any_pool(16), any_pool(18)),
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let limits = NatOptions { sessions_per_subscriber: 60, ..options() };
        let mut b = bed_of(workers, limits, vec![pools.0, pools.1]);
        let mut seen: Vec<(Key4, Key4)> = vec![];
        let mut held = Held::new();
        for o in ops {
            match o {
                Op::Out { realm, host, port, remote, remote_port, protocol } => {
                    let remote_port = if protocol == Protocol::Icmp { port } else { remote_port };
                    let k = with_protocol(udp(realm, host, port, remote, remote_port), protocol);
                    match b.send(&k, SYN) {
                        Ok(t) => {
                            prop_assert!(b.nat.contains(t.source()));
                            prop_assert_eq!(t.destination(), k.destination());
                            prop_assert_eq!(b.send(&t.reversed(OUTSIDE), SYN | ACK).unwrap(), k.reversed(Realm(realm)));
                            seen.push((k, t));
                        }
                        Err(e) => prop_assert!(matches!(
                            e,
                            DropReason::NatNoPort | DropReason::NatSessionLimit | DropReason::NatPoolDraining
                        ), "{:?}", e),
                    }
                }
                Op::In { pick, remote } if !seen.is_empty() => {
                    let (k, t) = seen[pick % seen.len()];
                    let live = b.table.lookup::<Record4>(&k).map(|(_, r)| r.rewrite());
                    let same = |w: Rewrite4| (w.addresses, w.ports) == (t.addresses, t.tail as u32);
                    if live.is_some_and(same) && let Ok(x) = b.send(&to(&t, (remote, 5)), SYN) {
                        prop_assert_eq!((x.destination(), x.destination_port(), x.realm()), (k.source(), k.source_port(), k.realm()));
                    }
                }
                Op::In { .. } => (),
                Op::Wait(ms) => b.now = b.now.wrapping_add(ms),
                Op::Sweep => b.sweep_all(),
                Op::State(pool, drain) => {
                    b.nat.pools()[pool].set_state(if drain { PoolState::Draining } else { PoolState::Active });
                }
            }
            check(&b, &mut held)?;
        }
        b.now = b.now.wrapping_add(10_000_000);
        for _ in 0..3 {
            b.sweep_all();
            b.now = b.now.wrapping_add(250_000);
        }
        prop_assert_eq!(b.population(), (0, 0));
        prop_assert_eq!(b.table.sessions::<Record4>().count(), 0);
        for pool in b.nat.pools() {
            let free = |n: &u32| pool.blocks().owner(*n).is_none() && pool.blocks().in_use(*n) == 0;
            let whole = pool.blocks().count() as u32;
            prop_assert_eq!(pool.blocks().usage(), Usage::default());
            prop_assert_eq!((0..whole).filter(free).count() as u32, whole);
            if pool.options().sharing != Sharing::Deterministic {
                let layout = *pool.blocks().layout();
                let firsts = std::iter::from_fn(|| pool.lease_first((Realm(1), public(1)), 0, 0, 0, b.now));
                let mut leased: HashSet<u32> = firsts.collect();
                for a in 0..pool.addresses() {
                    let beside = a * layout.blocks();
                    leased.extend(std::iter::from_fn(|| pool.lease_more(beside, 0, 0, b.now)));
                }
                prop_assert_eq!(leased.len() as u32, whole, "every block came back once");
            }
        }
    }
}
