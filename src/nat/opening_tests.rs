//! Sessions that are opened in bursts: as one by one, and nothing is left of what comes to nothing.

use super::tests::{Bed, bed, bed_of, options, pool, udp};
use crate::flow::{FlowHome, FlowTable, Key4, Reporter};
use crate::nat::{NatHome, NatOptions, Opening};
use crate::packet::DropReason;
use proptest::prelude::*;
use std::sync::Arc;

impl Bed {
    /// What the dataplane does with a burst of packets that have no sessions: the public port of each, or why it is dropped.
    fn burst(&mut self, keys: &[Key4]) -> Vec<Result<u16, DropReason>> {
        let (now, table) = (self.now, self.table.clone());
        let home = self.home(0);
        for step in 0..NatHome::FORESIGHT {
            keys.iter().for_each(|key| home.1.foresee(step, key));
        }
        let chosen: Vec<_> = keys.iter().map(|key| home.1.choose(&table, key, 0, now)).collect();
        let mut open = |opening: Opening| home.1.open(&mut home.0, opening).map(|opened| opened.session);
        let opened: Vec<_> = chosen.into_iter().map(|chosen| chosen.and_then(&mut open)).collect();
        opened.into_iter().map(|r| r.map(|r| port(&table, r))).collect()
    }

    fn one_by_one(&mut self, keys: &[Key4]) -> Vec<Result<u16, DropReason>> {
        keys.iter().map(|key| self.send(key, 0).map(|translated| translated.source_port())).collect()
    }
}

fn port(table: &FlowTable, session: crate::flow::Ref) -> u16 {
    let record = table.get::<crate::flow::Record4>(session).expect("a session");
    u16::from_be_bytes(record.rewrite().ports.to_le_bytes()[..2].try_into().expect("two bytes"))
}

#[test]
fn packets_of_one_flow_open_one_session() {
    let mut b = bed(1, options());
    let (key, now, table) = (udp(1, 2, 4000, 1, 53), b.now, b.table.clone());
    let home = b.home(0);
    let chosen = [0; 3].map(|_| home.1.choose(&table, &key, 0, now).expect("room"));
    let opened = chosen.map(|opening| home.1.open(&mut home.0, opening).expect("room"));
    assert_eq!(opened.map(|o| o.is_new), [true, false, false]);
    assert!(opened.iter().all(|o| o.session == opened[0].session));
    // The two that came too late are not counted: the mapping goes with the only session.
    b.now = b.now.wrapping_add(options().timeouts.udp + 1);
    b.sweep_all();
    assert_eq!((b.population(), b.counted(0).1), ((0, 0), 0));
}

#[test]
fn what_comes_to_nothing_leaves_nothing() {
    let mut b = bed(1, options());
    // Of one session: its index is full first.
    b.table = Arc::new(FlowTable::new(1, 0, 1, super::tests::keys(1)));
    b.replace_flows(0, FlowHome::new(b.table.clone()));
    Reporter::new(b.table.quiescence().clone(), 0).online();
    let keys: Vec<Key4> = (0..400).map(|n| udp(1, (n % 20) as u8, 4000 + n / 40, n as u8, 53)).collect();
    let made: Vec<_> = keys.chunks(50).flat_map(|burst| b.burst(burst)).collect();
    let good = made.iter().filter(|r| r.is_ok()).count();
    assert_eq!(good, b.table.sessions::<crate::flow::Record4>().count());
    assert!(made.contains(&Err(DropReason::IndexFull)) && (1..100).contains(&good), "{good}");
    // Each mapping that is left has a session, and a port; a burst before it was full shared some.
    let (mappings, _) = b.population();
    assert!(mappings <= good && mappings == b.counted(0).1 as usize, "{mappings} {good} {:?}", b.counted(0));
}

fn key() -> impl Strategy<Value = Key4> {
    (1u16..3, 0u8..6, 4000u16..4004, 0u8..4, prop_oneof![Just(53u16), Just(443)])
        .prop_map(|(realm, host, port, remote, remote_port)| udp(realm, host, port, remote, remote_port))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The same random numbers, the same order: the same ports and the same refusals, for any burst, also where a flow or a
    /// mapping comes twice, ports run out, or some realm has no pool.
    #[test]
    fn in_bursts_as_one_by_one(bursts in prop::collection::vec(prop::collection::vec(key(), 1..64), 1..6)) {
        let few = || NatOptions { sessions_per_subscriber: 200, ..options() };
        let pools = || vec![crate::nat::PoolOptions { ports: 1024..=1151, ..pool("small", 16, 17) }];
        let (mut together, mut alone) = (bed_of(1, few(), pools()), bed_of(1, few(), pools()));
        for burst in &bursts {
            let fresh: Vec<Key4> = burst
                .iter()
                .filter(|key| together.table.lookup::<crate::flow::Record4>(key).is_none())
                .copied()
                .collect();
            prop_assert_eq!(together.burst(&fresh), alone.one_by_one(&fresh));
            prop_assert_eq!(together.population(), alone.population());
            prop_assert_eq!(together.counted(0), alone.counted(0));
            for bed in [&mut together, &mut alone] {
                bed.now = bed.now.wrapping_add(options().timeouts.udp / 2);
                bed.sweep_all();
            }
            prop_assert_eq!(together.population(), alone.population());
        }
    }
}
