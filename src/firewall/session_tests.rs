//! Sessions against their rules. Random sequences against a naive model are in `session_model_tests.rs`.

use super::*;
use crate::flow::tcp::Segment;
use crate::flow::{FlowTable, Reporter};

#[path = "session_model_tests.rs"]
mod model;

const INSIDE: Realm = Realm(1);
const OTHER_INSIDE: Realm = Realm(2);
const OUTSIDE: Realm = Realm(9);
const QUOTA: usize = 4;

const SYN: u8 = 2;
const SYN_ACK: u8 = 18;
const ACK: u8 = 16;
const FIN_ACK: u8 = 17;
const RST: u8 = 4;

const PROTOCOLS: [Protocol; 10] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::ICMPV6,
    Protocol::SCTP,
    Protocol::DCCP,
    Protocol::UDP_LITE,
    Protocol::ESP,
    Protocol::AH,
    Protocol::HIP,
    Protocol(47), // GRE
];

fn random(seed: u64) -> HashKey {
    let mut s = seed;
    HashKey::new(|| {
        s = s.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        s ^ s >> 31
    })
}

struct Bed {
    table: Arc<FlowTable>,
    firewall: Arc<Firewall>,
    homes: Vec<(FlowHome, Home)>,
    reporters: Vec<Reporter>,
    now: u32,
}

fn bed(workers: usize, allow_ipsec: bool) -> Bed {
    let options = Options {
        inside: vec![INSIDE, OTHER_INSIDE],
        outside: OUTSIDE,
        allow_ipsec,
        sessions_from_outside: QUOTA,
        timeouts: Timeouts6::default(),
    };
    let table = Arc::new(FlowTable::new(0, 2000, workers, random(1)));
    let firewall = Arc::new(Firewall::new(options, random(2), workers));
    let home = |_| (FlowHome::new(table.clone()), Home::new(firewall.clone()));
    let homes = (0..workers).map(home).collect();
    let reporters = (0..workers).map(|w| Reporter::new(table.quiescence().clone(), w)).collect();
    Bed { homes, reporters, now: u32::MAX - 500_000, table, firewall }
}

impl Bed {
    /// What the dataplane does with a packet that is routed to the realm `to`.
    fn send(&mut self, flow: &Flow6, to: Realm) -> Result<(), DropReason> {
        let key = flow.key;
        if self.table.lookup::<Record6>(&key).is_none() {
            let home = self.firewall.home_of_session(&key, to).ok_or(DropReason::RealmNotServed)?;
            let (flows, home) = &mut self.homes[home];
            let before = home.sessions_from_outside();
            let made = if self.firewall.is_outside(key.realm()) {
                home.inbound(flows, flow, to, self.now)
            } else {
                home.outbound(flows, flow, to, self.now)
            }?;
            let again = home.outbound(flows, flow, to, self.now);
            assert!(again == Ok(made) || self.firewall.is_outside(key.realm()));
            assert!(home.sessions_from_outside() - before <= 1);
        }
        let (_, record) = self.table.lookup::<Record6>(&key).expect("just made");
        record.common().count(64, self.now);
        record.common().saw_tcp(flow.tcp_flags);
        let twin = self.table.twin(record).expect("both halves live");
        assert_eq!(twin.key(), key.reversed(twin.key().realm()));
        let (a, b) = (record.common().action(), twin.common().action());
        assert!(a.is_outbound() != b.is_outbound() && a.is_initiator() != b.is_initiator());
        assert!(a.kind() == Action::FORWARD && b.kind() == Action::FORWARD);
        Ok(())
    }

    fn sweep_all(&mut self) -> usize {
        let mut removed = 0;
        for (flows, home) in &mut self.homes {
            for _ in 0..=flows.owned_records_of::<Record6>() / 128 + 1 {
                removed += home.sweep(flows, 100_000, self.now);
            }
        }
        self.reporters.iter().for_each(Reporter::quiescent);
        self.homes.iter_mut().for_each(|(flows, _)| flows.reclaim());
        removed
    }

    /// Milliseconds after which the only session goes.
    fn life_time(&mut self) -> u32 {
        let start = self.now;
        assert_eq!(self.table.sessions::<Record6>().count(), 1);
        for limit in [60_000, 240_000, 300_000, 7_440_000] {
            self.now = start.wrapping_add(limit);
            assert_eq!(self.sweep_all(), 0, "after {limit} ms");
            self.now = self.now.wrapping_add(1);
            if self.sweep_all() == 1 {
                return limit;
            }
        }
        panic!("never over");
    }
}

fn host(prefix: u16, n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, prefix, 0, 0, 0, n)
}

fn server(n: u16) -> Ipv6Addr {
    host(0xf000, n)
}

/// Ports as a packet of this protocol has them: none, an identifier twice, or two.
fn ports_of(protocol: Protocol, source: u16, destination: u16) -> u32 {
    let (s, d) = (source.to_be_bytes(), destination.to_be_bytes());
    match protocol {
        Protocol::ESP | Protocol::AH | Protocol::HIP | Protocol(47) => 0,
        Protocol::ICMPV6 => u32::from_le_bytes([s[0], s[1], s[0], s[1]]),
        _ => u32::from_le_bytes([s[0], s[1], d[0], d[1]]),
    }
}

fn flow(realm: Realm, protocol: Protocol, ends: (Ipv6Addr, Ipv6Addr), ports: (u16, u16)) -> Flow6 {
    let key = Key6::of_any_protocol(realm, protocol.0, ends, ports_of(protocol, ports.0, ports.1));
    let tcp_flags = if protocol == Protocol::TCP { SYN } else { 0 };
    Flow6 { key, tcp_flags, opens: true, upper_offset: 40 }
}

fn out(protocol: Protocol) -> Flow6 {
    flow(INSIDE, protocol, (host(1, 1), server(1)), (4000, 53))
}

/// An answer: `tcp_flags` for TCP, an echo reply for ICMPv6.
fn answer(to: &Flow6, realm: Realm, tcp_flags: u8) -> Flow6 {
    let is_tcp = to.key.protocol() == Protocol::TCP.0;
    let tcp_flags = if is_tcp { tcp_flags } else { 0 };
    let opens = !is_tcp && to.key.protocol() != Protocol::ICMPV6.0;
    Flow6 { key: to.key.reversed(realm), tcp_flags, opens, ..*to }
}

fn segment(flow: &Flow6, tcp_flags: u8) -> Flow6 {
    Flow6 { tcp_flags, opens: tcp_flags == SYN, ..*flow }
}

#[test]
fn nothing_unsolicited_comes_in() {
    for protocol in PROTOCOLS {
        let mut bed = bed(2, false);
        let out = out(protocol);
        let back = answer(&out, OUTSIDE, SYN_ACK);
        let opening = Flow6 { opens: true, tcp_flags: out.tcp_flags, ..back };
        for packet in [&back, &opening] {
            assert_eq!(bed.send(packet, INSIDE), Err(DropReason::NoSession), "{protocol:?}");
        }
        bed.send(&out, OUTSIDE).unwrap();
        bed.send(&back, INSIDE).unwrap();
        // Another host of the outside has no part in it, nor another port of the same.
        let stranger = flow(OUTSIDE, protocol, (server(2), host(1, 1)), (53, 4000));
        assert_eq!(bed.send(&stranger, INSIDE), Err(DropReason::NoSession), "{protocol:?}");
        let other_port = flow(OUTSIDE, protocol, (server(1), host(1, 1)), (54, 4000));
        if other_port.key != back.key {
            assert_eq!(bed.send(&other_port, INSIDE), Err(DropReason::NoSession), "{protocol:?}");
        }
    }
}

#[test]
fn tcp_opens_by_a_syn_from_inside() {
    for flags in [SYN_ACK, ACK, FIN_ACK, RST] {
        let mut bed = bed(1, false);
        assert_eq!(bed.send(&segment(&out(Protocol::TCP), flags), OUTSIDE), Err(DropReason::TcpNotSyn));
        assert_eq!(bed.table.sessions::<Record6>().count(), 0);
    }
    let mut bed = bed(1, false);
    let reply = Flow6 { opens: false, ..out(Protocol::ICMPV6) };
    assert_eq!(bed.send(&reply, OUTSIDE), Err(DropReason::NoSession), "an echo reply to nobody");
}

#[test]
fn simultaneous_open() {
    let mut bed = bed(1, false);
    let out = out(Protocol::TCP);
    let back = answer(&out, OUTSIDE, SYN);
    assert_eq!(bed.send(&back, INSIDE), Err(DropReason::NoSession), "the inside has not opened yet");
    for (packet, to) in
        [(out, OUTSIDE), (back, INSIDE), (segment(&out, SYN_ACK), OUTSIDE), (segment(&back, SYN_ACK), INSIDE)]
    {
        bed.send(&packet, to).unwrap();
    }
    assert_eq!(bed.life_time(), 7_440_000, "established");
}

#[test]
fn idle_times() {
    for (protocol, unanswered, answered) in [
        (Protocol::UDP, 300_000, 300_000),
        (Protocol::UDP_LITE, 300_000, 300_000),
        (Protocol::ICMPV6, 60_000, 60_000),
        (Protocol::SCTP, 240_000, 7_440_000),
        (Protocol::DCCP, 240_000, 7_440_000),
        (Protocol::ESP, 300_000, 300_000),
        (Protocol(47), 300_000, 300_000),
        (Protocol::TCP, 240_000, 240_000),
    ] {
        for (is_answered, expected) in [(false, unanswered), (true, answered)] {
            let mut bed = bed(1, false);
            bed.send(&out(protocol), OUTSIDE).unwrap();
            if is_answered {
                bed.send(&answer(&out(protocol), OUTSIDE, SYN_ACK), INSIDE).unwrap();
            }
            assert_eq!(bed.life_time(), expected, "{protocol:?}, answered: {is_answered}");
        }
    }
    let out = out(Protocol::TCP);
    for (last, expected) in [(ACK, 7_440_000), (FIN_ACK, 240_000)] {
        let mut bed = bed(1, false);
        bed.send(&out, OUTSIDE).unwrap();
        bed.send(&answer(&out, OUTSIDE, SYN_ACK), INSIDE).unwrap();
        bed.send(&segment(&out, ACK), OUTSIDE).unwrap();
        bed.send(&answer(&out, OUTSIDE, last), INSIDE).unwrap();
        bed.send(&segment(&out, last), OUTSIDE).unwrap();
        assert_eq!(bed.life_time(), expected, "{last:#x}");
    }
}

/// Which resets are believed is [`crate::flow::tcp`]'s.
#[test]
fn a_reset_connection_is_transitory() {
    for (sequence, expected) in [(999, 240_000), (1000, 7_440_000)] {
        let (mut bed, out) = (bed(1, false), out(Protocol::TCP));
        bed.send(&out, OUTSIDE).unwrap();
        for (key, flags, sequence) in [
            (out.key, SYN, 0),
            (out.key.reversed(OUTSIDE), SYN_ACK, 0),
            (out.key, ACK, 1),
            (out.key, RST, sequence),
        ] {
            let (_, record) = bed.table.lookup::<Record6>(&key).unwrap();
            let numbers =
                Segment { flags, sequence, acknowledgement: 0, window: 1000, window_scale: None, payload: 0 };
            bed.table.pass_segment(record, &numbers);
        }
        assert_eq!(bed.life_time(), expected);
    }
}

#[test]
fn only_the_inside_keeps_a_udp_session() {
    let mut bed = bed(1, false);
    let out = out(Protocol::UDP);
    let back = answer(&out, OUTSIDE, 0);
    bed.send(&out, OUTSIDE).unwrap();
    for _ in 0..3 {
        bed.now = bed.now.wrapping_add(100_000);
        bed.send(&back, INSIDE).unwrap();
        assert_eq!(bed.sweep_all(), 0);
    }
    bed.now = bed.now.wrapping_add(1);
    assert_eq!(bed.sweep_all(), 1);

    // Between two subscribers either is inside.
    let out = flow(INSIDE, Protocol::UDP, (host(1, 1), host(2, 1)), (1, 2));
    bed.send(&out, INSIDE).unwrap();
    for _ in 0..5 {
        bed.now = bed.now.wrapping_add(100_000);
        bed.send(&answer(&out, INSIDE, 0), INSIDE).unwrap();
        assert_eq!(bed.sweep_all(), 0);
    }
    assert_eq!(bed.life_time(), 300_000);
}

#[test]
fn protocols_do_not_mix() {
    for one in PROTOCOLS {
        let mut bed = bed(1, false);
        bed.send(&out(one), OUTSIDE).unwrap();
        for other in PROTOCOLS {
            let expected = if one == other { Ok(()) } else { Err(DropReason::NoSession) };
            assert_eq!(bed.send(&answer(&out(other), OUTSIDE, ACK), INSIDE), expected, "{one:?} {other:?}");
        }
    }
}

#[test]
fn ipsec_comes_in_if_allowed() {
    let ends = (server(1), host(1, 1));
    for protocol in PROTOCOLS {
        let ports = (500, 500);
        let packet = flow(OUTSIDE, protocol, ends, ports);
        let is_admitted = [Protocol::AH, Protocol::ESP, Protocol::HIP, Protocol::UDP].contains(&protocol);
        let expected = if is_admitted { Ok(()) } else { Err(DropReason::NoSession) };
        assert_eq!(bed(1, true).send(&packet, INSIDE), expected, "{protocol:?}");
        assert_eq!(bed(1, false).send(&packet, INSIDE), Err(DropReason::NoSession), "{protocol:?}");
    }
    for port in [499, 501, 4500] {
        let packet = flow(OUTSIDE, Protocol::UDP, ends, (500, port));
        assert_eq!(bed(1, true).send(&packet, INSIDE), Err(DropReason::NoSession), "UDP to {port}");
    }

    // The quota is given back when they are over; the inside's own sessions don't count.
    let mut bed = bed(1, true);
    let esp = |n| flow(OUTSIDE, Protocol::ESP, (server(n), host(1, 1)), (0, 0));
    bed.send(&flow(INSIDE, Protocol::ESP, (host(1, 1), server(100)), (0, 0)), OUTSIDE).unwrap();
    for n in 0..QUOTA as u16 {
        bed.send(&esp(n), INSIDE).unwrap();
    }
    assert_eq!(bed.send(&esp(90), INSIDE), Err(DropReason::NatInboundQuota));
    bed.send(&esp(0), INSIDE).unwrap();
    bed.send(&answer(&esp(0), INSIDE, 0), OUTSIDE).unwrap();
    bed.now = bed.now.wrapping_add(300_001);
    assert_eq!(bed.sweep_all(), QUOTA + 1);
    assert_eq!(bed.homes[0].1.sessions_from_outside(), 0);
    bed.send(&esp(90), INSIDE).unwrap();
}

#[test]
fn subscribers_reach_each_other_within_their_realm_only() {
    let mut bed = bed(2, true);
    let ends = (host(1, 1), host(2, 1));
    let there = flow(INSIDE, Protocol::UDP, ends, (4000, 53));
    assert_eq!(bed.send(&there, OTHER_INSIDE), Err(DropReason::RealmNotServed));
    assert_eq!(bed.send(&there, Realm(77)), Err(DropReason::RealmNotServed));
    let stranger = flow(Realm(77), Protocol::UDP, ends, (4000, 53));
    assert_eq!(bed.send(&stranger, OUTSIDE), Err(DropReason::RealmNotServed));
    let transit = flow(OUTSIDE, Protocol::UDP, ends, (4000, 53));
    assert_eq!(bed.send(&transit, OUTSIDE), Err(DropReason::RealmNotServed));
    let (flows, home) = &mut bed.homes[0];
    for (packet, to) in [(&there, OTHER_INSIDE), (&stranger, OUTSIDE)] {
        assert_eq!(home.outbound(flows, packet, to, 0), Err(DropReason::RealmNotServed));
    }
    assert_eq!(home.inbound(flows, &transit, OUTSIDE, 0), Err(DropReason::RealmNotServed));

    bed.send(&there, INSIDE).unwrap();
    bed.send(&answer(&there, INSIDE, 0), INSIDE).unwrap();
    // Both ends' first packets have one home, even if neither has seen the other's.
    let mut homes = [false; 2];
    for n in 2..20 {
        let key = flow(INSIDE, Protocol::UDP, (host(1, 1), host(n, 1)), (4000, 4000)).key;
        let swapped = flow(INSIDE, Protocol::UDP, (host(n, 1), host(n - 2, 1)), (4000, 4000)).key;
        for key in [key, swapped] {
            let home = bed.firewall.home_of_session(&key, INSIDE).unwrap();
            assert_eq!(bed.firewall.home_of_session(&key.reversed(INSIDE), INSIDE), Some(home));
            homes[home] = true;
        }
    }
    assert_eq!(homes, [true; 2]);
    // From and to the same end.
    let to_itself = flow(INSIDE, Protocol::UDP, (host(1, 1), host(1, 1)), (7, 7));
    assert_eq!(bed.send(&to_itself, INSIDE), Err(DropReason::SourceSpoofed));
}

#[test]
fn an_address_is_of_one_realm() {
    let mut bed = bed(2, false);
    bed.send(&out(Protocol::UDP), OUTSIDE).unwrap();
    let thief = flow(OTHER_INSIDE, Protocol::UDP, (host(1, 1), server(1)), (4000, 53));
    assert_eq!(bed.send(&thief, OUTSIDE), Err(DropReason::SourceSpoofed));
}

#[test]
fn a_subscriber_has_one_home_and_subscribers_spread() {
    let firewall = bed(2, false).firewall;
    let mut at = [0; 2];
    for prefix in 0..1000 {
        let home = firewall.home_of(host(prefix, 1));
        assert!((2..20).all(|n| firewall.home_of(host(prefix, n)) == home));
        at[home] += 1;
    }
    assert!(at.iter().all(|n| (400..600).contains(n)), "{at:?}");
}

#[test]
fn a_full_table_is_refused() {
    let mut bed = bed(1, false);
    let full = (0..u16::MAX).find_map(|port| {
        bed.send(&flow(INSIDE, Protocol::UDP, (host(1, 1), server(1)), (port, 53)), OUTSIDE).err()
    });
    assert_eq!(full, Some(DropReason::SessionsFull));
}
