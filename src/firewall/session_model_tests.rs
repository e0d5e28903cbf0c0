//! Sessions by random sequences, over one and two homes, against a naive model.

use super::*;
use proptest::prelude::*;

/// A session as a naive observer notes it.
#[derive(Clone, Debug)]
struct Noted {
    keys: [Key6; 2],
    seen: [Option<u32>; 2],
    flags: [u8; 2],
    since: u32,
}

impl Noted {
    fn is_from_outside(&self) -> bool {
        self.keys[0].realm() == OUTSIDE
    }

    fn is_over(&self, now: u32) -> bool {
        let t = Timeouts6::default();
        let idle = |i: usize| now.wrapping_sub(self.seen[i].unwrap_or(self.since));
        let either = idle(0).min(idle(1));
        let within = self.keys[0].realm() == self.keys[1].realm();
        let inside = if within { either } else { idle(usize::from(self.is_from_outside())) };
        let both = self.flags[0] & self.flags[1];
        let established = both & (SYN | ACK) == SYN | ACK && both & 1 == 0;
        let answered = self.seen[0].is_some() && self.seen[1].is_some();
        match self.keys[0].protocol() {
            6 => either > if established { t.tcp_established } else { t.tcp_transitory },
            132 | 33 => either > if answered { t.tcp_established } else { t.tcp_transitory },
            17 | 136 => inside > t.udp,
            58 => inside > t.icmp,
            _ => inside > t.other,
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send { from: usize, to: usize, protocol: usize, ports: (usize, usize), flags: usize, opens: bool },
    Wait(u32),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let ports = (0usize..2, 0usize..2);
    let send = (0usize..8, 0usize..8, 0..PROTOCOLS.len(), ports, 0usize..5, any::<bool>());
    prop_oneof![
        12 => send.prop_map(|(from, to, protocol, ports, flags, opens)| {
            Op::Send { from, to, protocol, ports, flags, opens }
        }),
        2 => prop_oneof![0u32..130_000, Just(60_000), Just(240_001), 0u32..8_000_000].prop_map(Op::Wait),
        1 => Just(Op::Sweep),
    ]
}

/// Where an end is: three subscribers of one realm, two of another (one with somebody else's address), three outside.
fn end(n: usize) -> (Realm, Ipv6Addr) {
    match n {
        0 => (INSIDE, host(1, 1)),
        1 => (INSIDE, host(1, 2)),
        2 => (INSIDE, host(2, 1)),
        3 => (OTHER_INSIDE, host(1, 1)),
        4 => (OTHER_INSIDE, host(3, 1)),
        n => (OUTSIDE, server(n as u16)),
    }
}

/// What the rules say of a packet without a session: whether it makes one.
fn admits(noted: &[Noted], bed: &Bed, flow: &Flow6, to: Realm, allow_ipsec: bool) -> Result<(), DropReason> {
    let key = flow.key;
    let taken = |k: Key6| noted.iter().any(|n| n.keys.contains(&k));
    match (key.realm(), to) {
        (OUTSIDE, OUTSIDE) => Err(DropReason::RealmNotServed),
        (OUTSIDE, _) => {
            let is_ipsec = matches!(key.protocol(), 50 | 51 | 139)
                || key.protocol() == 17 && key.destination_port() == 500;
            let home = |n: &Noted| bed.firewall.home_of(n.keys[1].source());
            let here = bed.firewall.home_of(key.destination());
            let others = noted.iter().filter(|n| n.is_from_outside() && home(n) == here).count();
            match () {
                () if !allow_ipsec || !is_ipsec => Err(DropReason::NoSession),
                () if others >= QUOTA.div_ceil(bed.homes.len()) => Err(DropReason::NatInboundQuota),
                () if taken(key.reversed(to)) => Err(DropReason::SourceSpoofed),
                () => Ok(()),
            }
        }
        (from, to) if to != OUTSIDE && to != from => Err(DropReason::RealmNotServed),
        _ if !flow.opens && key.protocol() == 6 => Err(DropReason::TcpNotSyn),
        _ if !flow.opens => Err(DropReason::NoSession),
        _ if key == key.reversed(to) || taken(key.reversed(to)) => Err(DropReason::SourceSpoofed),
        _ => Ok(()),
    }
}

proptest! {
    /// Random packets between all ends, time and sweeps: the homes do what the rules say, across the wrap of the clock.
    #[test]
    fn like_the_naive_model(
        ops in prop::collection::vec(op(), 1..400), workers in 1usize..=2, allow_ipsec: bool,
    ) {
        let mut bed = bed(workers, allow_ipsec);
        let mut noted: Vec<Noted> = Vec::new();
        for op in ops {
            match op {
                Op::Wait(ms) => bed.now = bed.now.wrapping_add(ms),
                Op::Sweep => {
                    let removed = bed.sweep_all();
                    let before = noted.len();
                    noted.retain(|n| !n.is_over(bed.now));
                    prop_assert_eq!(removed, before - noted.len());
                }
                Op::Send { from, to, protocol, ports, flags, opens } => {
                    let ((realm, source), (to, destination)) = (end(from), end(to));
                    let port = |n| [500, 4000][n];
                    let protocol = PROTOCOLS[protocol];
                    let mut flow = flow(realm, protocol, (source, destination), (port(ports.0), port(ports.1)));
                    if protocol == Protocol::TCP {
                        flow = segment(&flow, [SYN, SYN_ACK, ACK, FIN_ACK, RST][flags]);
                    } else if protocol == Protocol::ICMPV6 {
                        flow.opens = opens;
                    }
                    let found = noted.iter_mut().find_map(|n| {
                        n.keys.iter().position(|k| *k == flow.key).map(|half| (n, half))
                    });
                    let now = bed.now;
                    let expected = if let Some((n, half)) = found {
                        n.seen[half] = Some(now);
                        n.flags[half] |= flow.tcp_flags;
                        Ok(())
                    } else {
                        let admitted = admits(&noted, &bed, &flow, to, allow_ipsec);
                        if admitted.is_ok() {
                            let keys = [flow.key, flow.key.reversed(to)];
                            let (seen, flags) = ([Some(now), None], [flow.tcp_flags, 0]);
                            noted.push(Noted { keys, seen, flags, since: now });
                        }
                        admitted
                    };
                    prop_assert_eq!(bed.send(&flow, to), expected, "{:?} to {:?}", flow, to);
                }
            }
        }
        prop_assert_eq!(bed.table.sessions::<Record6>().count(), noted.len());
        for n in &noted {
            prop_assert!(n.keys.iter().all(|k| bed.table.lookup::<Record6>(k).is_some()));
        }
    }
}
