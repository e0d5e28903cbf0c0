//! The NAT with one plain pool, and the bed for all tests of it: what the dataplane does with packets, over several homes.

use super::*;
use crate::flow::{FlowTable, Reporter};
use crate::nat::session::Timeouts;
use crate::nat::{PoolOptions, Sharing};

pub(super) const OUTSIDE: Realm = Realm(9);
pub(super) const ACK: u8 = 16;

pub(super) fn keys(seed: u64) -> HashKey {
    let mut s = seed;
    HashKey::new(|| {
        s = s.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        s ^ s >> 31
    })
}

pub(super) struct Bed {
    pub table: Arc<FlowTable>,
    pub nat: Arc<Nat44>,
    homes: Vec<(FlowHome, NatHome)>,
    reporters: Vec<Reporter>,
    pub now: u32,
}

pub(super) fn public(d: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, d)
}

pub(super) fn options() -> NatOptions {
    NatOptions {
        inside: vec![Realm(1), Realm(2)],
        outside: OUTSIDE,
        untranslated: vec![],
        hairpin: true,
        inbound_sessions_per_mapping: 3,
        sessions_per_subscriber: 1000,
        new_sessions_per_second: 0,
        timeouts: Timeouts::default(),
        pcp: None,
        mappings: 4000,
        subscribers: 1000,
    }
}

pub(super) fn pool(name: &str, first: u8, last: u8) -> PoolOptions {
    PoolOptions {
        sharing: Sharing::Blocks { first: 64, block: 64, per_subscriber: 2 },
        ports: 1024..=2047,
        ..PoolOptions::new(name, vec![(public(first), public(last))], vec![Realm(1), Realm(2)])
    }
}

pub(super) fn bed(workers: usize, options: NatOptions) -> Bed {
    bed_of(workers, options, vec![pool("only", 16, 17)])
}

pub(super) fn bed_of(workers: usize, options: NatOptions, pools: Vec<PoolOptions>) -> Bed {
    bed_with(workers, options, pools, |nat| nat)
}

pub(super) fn bed_with(
    workers: usize,
    options: NatOptions,
    pools: Vec<PoolOptions>,
    with: impl FnOnce(Nat44) -> Nat44,
) -> Bed {
    let mut n = 7u64;
    let mut random = || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n >> 33
    };
    let pools = pools.into_iter().map(|options| Pool::new(options, &mut random)).collect();
    let table = Arc::new(FlowTable::new(4000, 0, workers, keys(1)));
    let nat = Arc::new(with(Nat44::new(options, pools, keys(2), workers)));
    let homes = (0..workers)
        .map(|w| (FlowHome::new(table.clone()), NatHome::new(nat.clone(), w, [w as u8; 32])))
        .collect();
    let reporters = (0..workers).map(|w| Reporter::new(table.quiescence().clone(), w)).collect();
    Bed { table, nat, homes, reporters, now: u32::MAX - 500_000 }
}

impl Bed {
    /// What the dataplane does with a packet: the translated key, or why it is dropped.
    pub fn send(&mut self, key: &Key4, flags: u8) -> Result<Key4, DropReason> {
        let mut key = *key;
        for _ in 0..3 {
            if self.table.lookup::<Record4>(&key).is_none() {
                let (destination, port) = (key.destination(), key.destination_port());
                let outside = key.realm() == OUTSIDE;
                let home = if outside {
                    self.nat.home_of_public(destination, port).ok_or(DropReason::NatNoMapping)?
                } else {
                    self.nat.home_of_inside(key.realm(), key.source())
                };
                let (flows, nat) = &mut self.homes[home];
                if outside {
                    nat.inbound(flows, &key, flags, self.now)
                } else {
                    nat.outbound(flows, &key, flags, self.now)
                }?;
            }
            let (_, r) = self.table.lookup::<Record4>(&key).expect("just made");
            r.common().count(64, self.now);
            r.common().saw_tcp(flags);
            let twin = self.table.twin(r).expect("both halves live");
            let rewrite = r.rewrite();
            let ports = rewrite.ports.to_le_bytes();
            let realm =
                if r.common().action().kind() == Action::HAIRPIN { OUTSIDE } else { twin.key().realm() };
            let translated = Key4::from_wire(rewrite.addresses.to_le_bytes(), ports, realm, key.protocol());
            if r.common().action().kind() != Action::HAIRPIN {
                return Ok(translated);
            }
            key = translated;
        }
        Err(DropReason::HairpinLoop)
    }

    /// What a subscriber's home answers.
    pub fn ask(&mut self, realm: u16, host: u8, request: &[u8]) -> Option<Vec<u8>> {
        let client = (Realm(realm), Ipv4Addr::new(10, 0, 0, host));
        let home = self.nat.home_of_inside(client.0, client.1);
        let mut answer = [0xa5; 1100];
        let (flows, nat) = &mut self.homes[home];
        let done = nat.control(flows, client, request, self.now, &mut answer)?;
        Some(answer[..done.length].to_vec())
    }

    /// What subscribers have asked for, at all homes.
    pub fn asked_for(&self) -> usize {
        self.homes.iter().map(|h| h.1.asked_for()).sum()
    }

    /// Lets so many milliseconds pass, and everybody sweep.
    pub fn pass(&mut self, ms: u32) {
        self.now = self.now.wrapping_add(ms);
        self.sweep_all();
        self.sweep_all();
    }

    /// One worker's.
    pub fn home(&mut self, worker: usize) -> &mut (FlowHome, NatHome) {
        &mut self.homes[worker]
    }

    pub fn replace_flows(&mut self, worker: usize, flows: FlowHome) {
        self.homes[worker].0 = flows;
    }

    /// (blocks leased, ports in use) of a pool, block by block.
    pub fn counted(&self, pool: usize) -> (u32, u32) {
        let blocks = self.nat.pools()[pool].blocks();
        let leased = (0..blocks.count() as u32).filter(|b| blocks.owner(*b).is_some());
        leased.fold((0, 0), |(n, ports), b| (n + 1, ports + blocks.in_use(b)))
    }

    pub fn sweep_all(&mut self) {
        for (flows, nat) in &mut self.homes {
            for _ in 0..=flows.owned_records() / 128 + 1 {
                nat.sweep(flows, flows.owned_records().max(1), self.now);
            }
        }
        self.reporters.iter().for_each(Reporter::quiescent);
        self.homes.iter_mut().for_each(|(flows, _)| flows.reclaim());
    }

    pub fn population(&self) -> (usize, usize) {
        self.homes.iter().map(|h| h.1.population()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

pub(super) fn udp(realm: u16, host: u8, port: u16, remote: u8, remote_port: u16) -> Key4 {
    let (inside, outside) = (Ipv4Addr::new(10, 0, 0, host), Ipv4Addr::new(198, 51, 100, remote));
    Key4::new(Realm(realm), Protocol::Udp, (inside, port), (outside, remote_port))
}

pub(super) fn with_protocol(k: Key4, p: Protocol) -> Key4 {
    Key4::new(k.realm(), p, (k.source(), k.source_port()), (k.destination(), k.destination_port()))
}

#[test]
fn mapping_is_endpoint_independent_and_answers_come_back() {
    let mut b = bed(2, options());
    let (one, two) = (udp(1, 2, 4000, 1, 53), udp(1, 2, 4000, 77, 99));
    let (t1, t2) = (b.send(&one, 0).unwrap(), b.send(&two, 0).unwrap());
    assert_eq!((t1.source(), t1.source_port()), (t2.source(), t2.source_port()));
    assert_eq!(b.send(&t1.reversed(OUTSIDE), 0).unwrap(), one.reversed(Realm(1)));
    assert_eq!(b.send(&t2.reversed(OUTSIDE), 0).unwrap(), two.reversed(Realm(1)));
    // The same host and port in the other realm is somebody else.
    let t3 = b.send(&udp(2, 2, 4000, 1, 53), 0).unwrap();
    assert_ne!((t1.source(), t1.source_port()), (t3.source(), t3.source_port()));
    assert_eq!(b.population(), (2, 2));
}

#[test]
fn filters_and_quota_from_outside() {
    let mut b = bed(1, options());
    let t = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let stranger = |n: u8| {
        Key4::new(OUTSIDE, Protocol::Udp, (Ipv4Addr::new(192, 0, 2, n), 7), (t.source(), t.source_port()))
    };
    for n in 1..=3 {
        assert_eq!(b.send(&stranger(n), 0).unwrap().destination(), Ipv4Addr::new(10, 0, 0, 2));
    }
    assert_eq!(b.send(&stranger(4), 0), Err(DropReason::NatInboundQuota));
    assert_eq!(b.send(&stranger(3), 0).map(|k| k.destination_port()), Ok(4000));
    let nobody = Key4::new(OUTSIDE, Protocol::Udp, (Ipv4Addr::new(192, 0, 2, 1), 7), (public(16), 3000));
    assert_eq!(b.send(&nobody, 0), Err(DropReason::NatNoMapping));

    let strict = PoolOptions { filtering: Dependence::AddressAndPort, ..pool("strict", 16, 17) };
    let mut b = bed_of(1, options(), vec![strict]);
    let t = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    let stranger =
        Key4::new(OUTSIDE, Protocol::Udp, (Ipv4Addr::new(192, 0, 2, 1), 7), (t.source(), t.source_port()));
    assert_eq!(b.send(&stranger, 0), Err(DropReason::NatFiltered));
}

#[test]
fn hairpin_shows_the_external_source_and_can_be_off() {
    for workers in [1, 2] {
        let mut b = bed(workers, options());
        let server = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
        let (address, port) = (server.source(), server.source_port());
        let call = Key4::new(Realm(2), Protocol::Udp, (Ipv4Addr::new(10, 0, 0, 2), 5), (address, port));
        let heard = b.send(&call, 0).unwrap();
        assert_eq!((heard.destination(), heard.destination_port()), (Ipv4Addr::new(10, 0, 0, 2), 4000));
        assert_eq!(heard.realm(), Realm(1));
        assert!(b.nat.contains(heard.source()), "RFC 4787 REQ-9 a");
        let back = b.send(&heard.reversed(Realm(1)), 0).unwrap();
        assert_eq!(back, call.reversed(Realm(2)));

        let mut b = bed(workers, NatOptions { hairpin: false, ..options() });
        b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
        assert_eq!(b.send(&call, 0), Err(DropReason::HairpinOff));
    }
}

#[test]
fn tcp_opens_with_a_syn_only_and_lives_by_its_state() {
    let mut b = bed(1, options());
    let k = with_protocol(udp(1, 2, 4000, 1, 80), Protocol::Tcp);
    assert_eq!(b.send(&k, ACK), Err(DropReason::TcpNotSyn));
    let back = b.send(&k, SYN).unwrap().reversed(OUTSIDE);
    b.send(&back, SYN | ACK).unwrap();
    b.send(&k, ACK).unwrap();
    b.now = b.now.wrapping_add(7_000_000);
    b.sweep_all();
    assert_eq!(b.population().0, 1, "established: 2 h 4 min");
    b.send(&k, 1 | ACK).unwrap();
    b.send(&back, 1 | ACK).unwrap();
    b.now = b.now.wrapping_add(239_000);
    b.sweep_all();
    assert_eq!(b.population().0, 1);
    b.now = b.now.wrapping_add(2_000);
    b.sweep_all();
    assert_eq!(b.population(), (0, 0), "closing: 4 min");
}

#[test]
fn echo_identifiers_are_translated_once_for_both_ends() {
    let mut b = bed(1, options());
    let k = with_protocol(udp(1, 2, 4000, 1, 4000), Protocol::Icmp);
    let t = b.send(&k, 0).unwrap();
    assert_eq!(t.source_port(), t.destination_port());
    assert_eq!(b.send(&t.reversed(OUTSIDE), 0).unwrap(), k.reversed(Realm(1)));
    let ping = Key4::new(
        OUTSIDE,
        Protocol::Icmp,
        (Ipv4Addr::new(192, 0, 2, 1), t.source_port()),
        (t.source(), t.source_port()),
    );
    assert_eq!(b.send(&ping, 0), Err(DropReason::NatFiltered));
}

#[test]
fn udp_is_kept_alive_from_inside_only() {
    let mut b = bed(1, options());
    let k = udp(1, 2, 4000, 1, 53);
    let back = b.send(&k, 0).unwrap().reversed(OUTSIDE);
    for _ in 0..4 {
        b.now = b.now.wrapping_add(100_000);
        let _ = b.send(&back, 0);
        b.sweep_all();
    }
    assert_eq!(b.population(), (0, 0), "RFC 4787 REQ-6");
}

#[test]
fn a_subscriber_is_refused_at_its_block_limit_and_others_are_not() {
    let mut b = bed(1, options());
    for port in 0..128 {
        b.send(&udp(1, 2, 1000 + port, 1, 53), 0).unwrap();
    }
    assert_eq!(b.send(&udp(1, 2, 9000, 1, 53), 0), Err(DropReason::NatNoPort));
    assert!(b.send(&with_protocol(udp(1, 2, 9000, 1, 53), Protocol::Tcp), SYN).is_ok(), "another port space");
    assert!(b.send(&udp(1, 3, 9000, 1, 53), 0).is_ok());
    assert!(b.send(&udp(1, 2, 1000, 99, 53), 0).is_ok(), "an existing mapping still opens sessions");
}
