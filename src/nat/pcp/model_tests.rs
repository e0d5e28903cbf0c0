//! Random requests and packets over two homes, against what a subscriber would write down of its answers.

use super::pcp_tests::*;
use super::tests::*;
use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// (host, protocol, inside port).
type Inside = (u8, u8, u16);
type End = (Ipv4Addr, u16);

#[derive(Clone, Debug)]
enum Step {
    Map {
        inside: Inside,
        nonce: u8,
        lifetime: u32,
        wish: Option<u16>,
        exact: bool,
    },
    Peer {
        inside: Inside,
        nonce: u8,
        lifetime: u32,
        remote: u8,
    },
    Send {
        inside: Inside,
        remote: u8,
    },
    /// At one of the ends that were ever mapped.
    Knock {
        end: usize,
        remote: u8,
    },
    /// Ten seconds each.
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let inside = || (2..5u8, prop_oneof![Just(UDP), Just(TCP)], 1..7u16);
    let lifetime = || prop_oneof![Just(0u32), Just(1), Just(120), Just(200), Just(100_000)];
    let wish = prop::option::of(1024..1300u16);
    let step = prop_oneof![
        4 => (inside(), 0..2u8, lifetime(), wish, any::<bool>())
            .prop_map(|(inside, nonce, lifetime, wish, exact)| Step::Map { inside, nonce, lifetime, wish, exact }),
        2 => (inside(), 0..2u8, lifetime(), 1..4u8)
            .prop_map(|(inside, nonce, lifetime, remote)| Step::Peer { inside, nonce, lifetime, remote }),
        2 => (inside(), 1..4u8).prop_map(|(inside, remote)| Step::Send { inside, remote }),
        3 => (0..50usize, 1..6u8).prop_map(|(end, remote)| Step::Knock { end, remote }),
        2 => (1..15u32).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

/// What was granted: by which nonce, until when, in seconds.
struct Grant {
    nonce: u8,
    until: u32,
}

#[derive(Default)]
struct Model {
    now: u32,
    maps: HashMap<Inside, (Grant, End)>,
    peers: HashMap<(Inside, u8), Grant>,
    /// Whose an end is, of all that were ever mapped; who has ever sent from where, and which strangers ever came in.
    ends: Vec<(Inside, End)>,
    sent: HashSet<Inside>,
    came: HashSet<(Inside, u8)>,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.maps.retain(|_, (grant, _)| grant.until > now);
        self.peers.retain(|_, grant| grant.until > now);
    }

    fn of(&self, host: u8) -> usize {
        let maps = self.maps.keys().filter(|inside| inside.0 == host).count();
        maps + self.peers.keys().filter(|(inside, _)| inside.0 == host).count()
    }

    /// No end is two insides', and no inside that has one has another.
    fn owns(&self, inside: Inside, end: End) -> bool {
        let is_same = |other: &Inside, theirs: &End| other.1 == inside.1 && *theirs == end;
        self.maps.iter().all(|(other, (_, theirs))| is_same(other, theirs) == (*other == inside))
    }
}

fn granted(lifetime: u32) -> u32 {
    lifetime.clamp(120, 86_400)
}

fn form(inside: Inside, nonce: u8) -> Map {
    Map { nonce: [nonce; 12], ..Map::of(inside.1, inside.2) }
}

fn check_answer(had: Option<&Grant>, nonce: u8, said: &Said) {
    let is_foreign = had.is_some_and(|grant| grant.nonce != nonce);
    assert_eq!(said.code == 2, is_foreign, "{said:?}");
}

fn take(b: &mut Bed, m: &mut Model, step: &Step) {
    match *step {
        Step::Map { inside, nonce, lifetime, wish, exact } => {
            let address = if exact { [0; 4] } else { [203, 0, 113, 16] };
            let map = Map { external: (address, wish.unwrap_or(0)), ..form(inside, nonce) };
            let said =
                ask(b, inside.0, &map.bytes(inside.0, lifetime, if exact { &[2, 0, 0, 0] } else { &[] }));
            let had = m.maps.get(&inside);
            check_answer(had.map(|had| &had.0), nonce, &said);
            if said.code != 0 {
                return;
            }
            if lifetime == 0 {
                m.maps.remove(&inside);
                return;
            }
            assert_eq!(said.lifetime, granted(lifetime));
            assert!(had.is_none_or(|had| had.1 == said.end), "a renewal keeps its end");
            assert!(!exact || wish.is_none_or(|wish| wish == said.end.1));
            m.maps.insert(inside, (Grant { nonce, until: m.now + said.lifetime }, said.end));
            m.ends.push((inside, said.end));
            assert!(m.owns(inside, said.end));
        }
        Step::Peer { inside, nonce, lifetime, remote } => {
            let said =
                ask(b, inside.0, &form(inside, nonce).peer(inside.0, lifetime, ([198, 51, 100, remote], 53)));
            check_answer(m.peers.get(&(inside, remote)), nonce, &said);
            if said.code != 0 {
                return;
            }
            if lifetime == 0 {
                m.peers.remove(&(inside, remote));
                return;
            }
            m.sent.insert(inside);
            assert!(m.owns(inside, said.end));
            m.peers.insert((inside, remote), Grant { nonce, until: m.now + granted(lifetime) });
        }
        Step::Send { inside, remote } => {
            let protocol = Protocol::from_number(inside.1).unwrap();
            let key = with_protocol(udp(1, inside.0, inside.2, remote, 53), protocol);
            if let Ok(out) = b.send(&key, if inside.1 == TCP { SYN } else { 0 }) {
                m.sent.insert(inside);
                assert!(m.owns(inside, (out.source(), out.source_port())));
            }
        }
        Step::Knock { end, remote } => {
            let Some((inside, end)) = m.ends.get(end % m.ends.len().max(1)).copied() else { return };
            let came = knock(b, inside.1, end, (remote, 999));
            let is_open =
                |m: &Model, inside: &Inside| m.maps.get(inside).is_some_and(|(_, there)| *there == end);
            match came {
                // Whoever has the end by now.
                Ok((address, port)) => {
                    let reached = (address.octets()[3], inside.1, port);
                    let is_mapped = is_open(m, &reached);
                    // Whoever came in goes on; nobody new does.
                    let goes_on = m.sent.contains(&reached) || m.came.contains(&(reached, remote));
                    assert!(is_mapped || goes_on, "{reached:?} is open to {remote}");
                    assert!(!is_open(m, &inside) || reached == inside);
                    if is_mapped {
                        m.came.insert((reached, remote));
                    }
                }
                Err(why) => assert!(!is_open(m, &inside) || why == DropReason::NatInboundQuota, "{why:?}"),
            }
        }
        Step::Pass(tens) => {
            b.pass(tens * 10_000);
            m.now += tens * 10;
            m.expire();
        }
    }
}

proptest! {
    /// No end is two subscribers', what is granted is there and open until its time is over and no longer, nobody has more than it
    /// may, nobody's mapping is another's to change; and nothing is left in the end.
    #[test]
    fn promises_hold(steps in steps()) {
        let mut b = bed_of(2, pcp_options(), vec![pool("p", 16, 17)]);
        let mut m = Model::default();
        b.pass(1);
        for step in &steps {
            take(&mut b, &mut m, step);
            prop_assert_eq!(b.asked_for(), m.maps.len() + m.peers.len());
            prop_assert!((2..5).all(|host| m.of(host) <= 4));
            for (inside, remote) in m.peers.keys() {
                let protocol = Protocol::from_number(inside.1).unwrap();
                let key = with_protocol(udp(1, inside.0, inside.2, *remote, 53), protocol);
                prop_assert!(b.table.lookup::<Record4>(&key).is_some(), "a session that was asked for");
            }
        }
        b.pass(86_400_000);
        b.pass(8_000_000);
        prop_assert_eq!((b.asked_for(), b.population().0), (0, 0));
        let blocks = b.nat.pools()[0].blocks();
        prop_assert!((0..blocks.count() as u32).all(|n| blocks.in_use(n) == 0));
    }
}
