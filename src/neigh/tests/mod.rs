//! Tests of the neighbours: the state machine, the table and what it emits.

use super::state::{Effect, Event, transition};
use super::*;

mod announce;
mod property;

const TIMERS: Timers = Timers {
    retransmit: 10,
    multicast_solicits: 3,
    unicast_solicits: 2,
    reachable: 50,
    stale: 70,
    failed: 30,
};
const OLD: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const NEW: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const REPLY: Heard = Heard::Reply { solicited: true, overrides: true };
const GRATUITOUS: Heard = Heard::Request { for_us: false };
const ASKS_US: Heard = Heard::Request { for_us: true };

fn addr(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn table(capacity: usize) -> Neighbors {
    Neighbors::new(capacity, TIMERS, 2, 3).unwrap()
}

/// The outputs of one call.
fn outputs<R>(call: impl FnOnce(&mut dyn FnMut(Output)) -> R) -> (R, Vec<Output>) {
    let mut seen = Vec::new();
    let result = call(&mut |output| seen.push(output));
    (result, seen)
}

fn tick(neighbors: &mut Neighbors, now: u32) -> Vec<Output> {
    outputs(|mut out| neighbors.tick(now, usize::MAX, &mut out)).1
}

fn want(neighbors: &mut Neighbors, addr: IpAddr, now: u32) -> (Want, Vec<Output>) {
    outputs(|mut out| neighbors.want(1, addr, now, &mut out))
}

fn hear(neighbors: &mut Neighbors, addr: IpAddr, mac: MacAddr, heard: Heard, now: u32) -> Vec<Output> {
    outputs(|mut out| neighbors.heard(1, addr, Some(mac), heard, now, &mut out)).1
}

fn state(neighbors: &Neighbors, addr: IpAddr) -> Option<State> {
    neighbors.iter(0).find(|n| n.addr == addr).map(|n| n.state)
}

/// It asks for an address of ours. Whether it is on record since; the owner hears nothing of it.
fn learns(neighbors: &mut Neighbors, addr: IpAddr, now: u32) -> bool {
    assert_eq!(hear(neighbors, addr, OLD, ASKS_US, now), []);
    state(neighbors, addr) == Some(State::Stale)
}

/// What is only learnt is nobody's adjacency: its first packet asks for it, whoever forwards that, and it is probed from then on.
#[test]
fn what_is_learnt_is_told_when_it_is_wanted() {
    let (mut table, one) = (table(4), addr(1));
    assert!(learns(&mut table, one, 0));
    assert_eq!(hear(&mut table, one, NEW, GRATUITOUS, 1), [], "noted");
    let (known, sent) = want(&mut table, one, 5);
    let Want::Known(id) = known else { panic!("{known:?}") };
    assert_eq!(sent, [Output::Resolved { id, interface: 1, addr: one, mac: NEW }]);
    assert_eq!((tick(&mut table, 14), want(&mut table, one, 14).1), (vec![], vec![]));
    assert_eq!(tick(&mut table, 15), [Output::Solicit { interface: 1, addr: one, to: Some(NEW) }]);
    hear(&mut table, one, NEW, REPLY, 16);
    assert_eq!(state(&table, one), Some(State::Reachable));
}

/// Every edge of the machine: (states it leaves from, events, state it leads to, effect).
#[test]
fn every_edge() {
    use State::*;
    let incomplete = [Incomplete { sent: 1 }, Incomplete { sent: 3 }];
    let probe = [Probe { sent: 0 }, Probe { sent: 2 }];
    let failed = [Failed { asked: false }, Failed { asked: true }];
    let heard = |mac, solicited, overrides| Event::Heard { mac, solicited, overrides };
    let same = [heard(Some(OLD), false, false), heard(Some(OLD), false, true), heard(None, false, true)];
    let confirmed = [heard(Some(OLD), true, false), heard(Some(OLD), true, true), heard(None, true, false)];
    let other = [heard(Some(NEW), false, true)];
    let other_solicited = [heard(Some(NEW), true, true)];
    let other_kept = [heard(Some(NEW), false, false), heard(Some(NEW), true, false)];

    let check = |states: &[State], events: &[Event], next: Option<State>, effect: Effect| {
        for &state in states {
            for &event in events {
                let step = transition(state, OLD, event, &TIMERS);
                assert_eq!(step, (next, effect), "{state:?} {event:?}");
            }
        }
    };
    let stays = |states: &[State], events: &[Event]| {
        states.iter().for_each(|state| check(&[*state], events, Some(*state), Effect::Nothing));
    };

    stays(&incomplete, &[Event::Wanted, heard(None, true, true), heard(None, false, false)]);
    check(&incomplete, &other_solicited, Some(Reachable), Effect::Resolve(NEW));
    check(&incomplete, &other_kept[1..], Some(Reachable), Effect::Resolve(NEW));
    check(&incomplete, &other_kept[..1], Some(Probe { sent: 0 }), Effect::Resolve(NEW));
    check(&incomplete, &other, Some(Probe { sent: 0 }), Effect::Resolve(NEW));
    check(&incomplete[..1], &[Event::Timeout], Some(Incomplete { sent: 2 }), Effect::Solicit);
    check(&incomplete[1..], &[Event::Timeout], Some(Failed { asked: false }), Effect::Lose);

    stays(&[Reachable], &[Event::Wanted]);
    stays(&[Reachable], &same);
    stays(&[Reachable], &confirmed);
    check(&[Reachable], &other, Some(Probe { sent: 0 }), Effect::Change(NEW));
    check(&[Reachable], &other_solicited, Some(Probe { sent: 0 }), Effect::Change(NEW));
    check(&[Reachable], &other_kept, Some(Probe { sent: 0 }), Effect::Nothing);
    check(&[Reachable], &[Event::Timeout], Some(Probe { sent: 1 }), Effect::Solicit);

    check(&[Stale], &[Event::Wanted], Some(Probe { sent: 0 }), Effect::Resolve(OLD));
    stays(&[Stale], &same);
    stays(&[Stale], &confirmed);
    stays(&[Stale], &other_kept);
    check(&[Stale], &[other[0], other_solicited[0]], Some(Stale), Effect::Note(NEW));
    check(&[Stale], &[Event::Timeout], None, Effect::Nothing);

    stays(&probe, &[Event::Wanted]);
    stays(&probe, &same);
    stays(&probe, &other_kept);
    check(&probe, &confirmed, Some(Reachable), Effect::Nothing);
    check(&probe, &other_solicited, Some(Reachable), Effect::Change(NEW));
    check(&probe, &other, Some(Probe { sent: 0 }), Effect::Change(NEW));
    check(&probe[..1], &[Event::Timeout], Some(Probe { sent: 1 }), Effect::Solicit);
    check(&probe[1..], &[Event::Timeout], Some(Failed { asked: false }), Effect::Lose);

    check(&failed, &[Event::Wanted], Some(Failed { asked: true }), Effect::Nothing);
    stays(&failed, &[heard(None, true, true)]);
    check(&failed, &[other[0], other_solicited[0]], Some(Probe { sent: 0 }), Effect::Resolve(NEW));
    check(&failed, &confirmed[..2], Some(Probe { sent: 0 }), Effect::Resolve(OLD));
    check(&failed[..1], &[Event::Timeout], None, Effect::Nothing);
    check(&failed[1..], &[Event::Timeout], Some(Incomplete { sent: 1 }), Effect::Solicit);

    check(&failed, &[Event::Retry], Some(Incomplete { sent: 3 }), Effect::Solicit);

    stays(&[Permanent], &[Event::Wanted, Event::Timeout, other[0], other_solicited[0]]);
    stays(&[Permanent], &same);
}

#[test]
fn a_life() {
    let start = u32::MAX - 25; // the clock wraps in the middle of it
    let at = |ms| start.wrapping_add(ms);
    let mut table = table(4);
    let (interface, one) = (1, addr(1));
    let solicit = |to| Output::Solicit { interface, addr: one, to };

    let (held, sent) = want(&mut table, one, at(0));
    let Want::Hold { id } = held else { panic!("{held:?}") };
    assert_eq!(sent, [solicit(None)]);
    assert_eq!(tick(&mut table, at(9)), []);
    assert_eq!(tick(&mut table, at(10)), [solicit(None)]);
    let resolved = Output::Resolved { id, interface, addr: one, mac: OLD };
    assert_eq!(hear(&mut table, one, OLD, REPLY, at(15)), [resolved]);
    assert_eq!(want(&mut table, one, at(16)), (Want::Known(id), vec![]));

    assert_eq!(tick(&mut table, at(64)), []);
    assert_eq!(tick(&mut table, at(65)), [solicit(Some(OLD))]);
    assert_eq!(want(&mut table, one, at(66)), (Want::Known(id), vec![]), "usable while it is probed");
    assert_eq!(hear(&mut table, one, OLD, REPLY, at(67)), []);
    assert_eq!(tick(&mut table, at(117)), [solicit(Some(OLD))]);
    assert_eq!(tick(&mut table, at(127)), [solicit(Some(OLD))]);
    assert_eq!(tick(&mut table, at(137)), [Output::Lost { id }]);
    assert_eq!(want(&mut table, one, at(138)), (Want::Unreachable, vec![]));

    assert_eq!(tick(&mut table, at(167)), [solicit(None)], "asked again: looked for again, with its id");
    assert_eq!(want(&mut table, one, at(168)), (Want::Hold { id }, vec![]));
    assert_eq!(tick(&mut table, at(177)).len() + tick(&mut table, at(187)).len(), 2);
    assert_eq!(tick(&mut table, at(197)), [Output::Lost { id }]);
    assert_eq!(tick(&mut table, at(227)), [Output::Removed { id }]);
    assert_eq!(table.iter(at(227)).count(), 0);
    assert!(table.release(id) && !table.release(id));
}

#[test]
fn held_packets_are_limited_for_one_and_for_all() {
    let mut table = table(4);
    let mut ask = |last| want(&mut table, addr(last), 0).0;
    assert!(matches!([ask(1), ask(1), ask(2)], [Want::Hold { .. }, Want::Hold { .. }, Want::Hold { .. }]));
    assert_eq!([ask(1), ask(2), ask(3)], [Want::QueueFull; 3]);
    hear(&mut table, addr(1), OLD, REPLY, 1);
    assert!(matches!(want(&mut table, addr(3), 2).0, Want::Hold { .. }));
}

#[test]
fn a_removed_id_waits_for_its_release() {
    let mut table = table(1);
    assert!(matches!(want(&mut table, addr(1), 0).0, Want::Hold { id: AdjacencyId(0) }));
    assert!(!table.release(AdjacencyId(0)) && !table.release(AdjacencyId(9)), "not removed yet");
    for now in [10, 20, 30, 60] {
        tick(&mut table, now);
    }
    assert_eq!(want(&mut table, addr(2), 61), (Want::TableFull, vec![]));
    assert!(table.release(AdjacencyId(0)));
    assert!(matches!(want(&mut table, addr(2), 62).0, Want::Hold { id: AdjacencyId(0) }));
}

#[test]
fn strangers_fill_a_quarter_and_are_forgotten() {
    let mut table = table(8);
    assert_eq!(hear(&mut table, addr(1), OLD, GRATUITOUS, 0), []);
    assert_eq!(hear(&mut table, addr(1), OLD, REPLY, 0), []);
    for last in 1..=8 {
        assert!(!learns(&mut table, addr(last), 0) || last <= 2, "{last}");
        assert_eq!(state(&table, addr(last)).is_some(), last <= 2, "{last}");
    }
    for nobody in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "ff02::1"] {
        let mut table = Neighbors::new(8, TIMERS, 1, 1).unwrap();
        assert!(!learns(&mut table, nobody.parse().unwrap(), 0), "{nobody}");
    }
    assert!(matches!(want(&mut table, addr(1), 1).0, Want::Known(_)));
    assert!(learns(&mut table, addr(4), 2), "the first is asked for now");
    hear(&mut table, addr(1), OLD, REPLY, 3);
    let removed = tick(&mut table, 72).into_iter().chain(tick(&mut table, 73));
    assert_eq!(removed.filter(|o| matches!(o, Output::Removed { .. })).count(), 2);
    assert!(!learns(&mut table, addr(5), 74), "their slots are not released yet");
    assert!(state(&table, addr(1)).is_some());
}

#[test]
fn a_group_address_is_never_believed() {
    let mut table = table(4);
    let _ = want(&mut table, addr(1), 0);
    for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr::ZERO] {
        assert_eq!(hear(&mut table, addr(1), mac, REPLY, 1), []);
    }
    assert_eq!(state(&table, addr(1)), Some(State::Incomplete { sent: 1 }));
}

#[test]
fn permanent_entries_stay() {
    let mut table = table(2);
    let (held, _) = want(&mut table, addr(1), 0);
    let Want::Hold { id } = held else { panic!("{held:?}") };
    let (made, sent) = outputs(|mut out| table.insert_permanent(1, addr(1), OLD, &mut out));
    assert_eq!(made, Ok(id));
    assert_eq!(sent, [Output::Resolved { id, interface: 1, addr: addr(1), mac: OLD }]);
    let again = table.insert_permanent(1, addr(1), NEW, &mut |_| ());
    assert_eq!(again, Err(NeighborsError::Duplicate { interface: 1, addr: addr(1) }));
    assert!(table.insert_permanent(1, addr(2), OLD, &mut |_| ()).is_ok());
    let full = table.insert_permanent(1, addr(3), OLD, &mut |_| ());
    assert_eq!(full, Err(NeighborsError::Full { interface: 1, addr: addr(3) }));

    for now in 0..500 {
        assert_eq!(hear(&mut table, addr(1), NEW, REPLY, now), []);
        assert_eq!(tick(&mut table, now), []);
    }
    let shown = table.iter(500).next().unwrap();
    assert_eq!((shown.state, shown.mac, shown.age), (State::Permanent, Some(OLD), None));
    assert_eq!(shown.state.name(), "permanent");
}

/// A static neighbour may be an IPv6 one, a link-local one too: the same address on two links is two neighbours.
#[test]
fn permanent_entries_of_ipv6() {
    let mut table = table(3);
    let router: IpAddr = "fe80::1".parse().unwrap();
    let (first, sent) = outputs(|mut out| table.insert_permanent(1, router, OLD, &mut out));
    let id = first.unwrap();
    assert_eq!(sent, [Output::Resolved { id, interface: 1, addr: router, mac: OLD }]);
    let second = table.insert_permanent(2, router, NEW, &mut |_| ()).unwrap();
    assert_ne!(id, second);
    assert_eq!(hear(&mut table, router, NEW, REPLY, 5), []);
    assert_eq!(hear(&mut table, router, NEW, ASKS_US, 5), []);
    assert_eq!(tick(&mut table, 5000), []);
    assert_eq!(want(&mut table, router, 5000), (Want::Known(id), vec![]));
}

#[test]
fn a_gateway_is_kept_resolved_with_no_traffic() {
    let start = u32::MAX - 100;
    let at = |ms| start.wrapping_add(ms);
    let mut table = table(2);
    let one = addr(1);
    let solicit = |to| Output::Solicit { interface: 1, addr: one, to };
    let (id, sent) = outputs(|mut out| table.monitor(1, one, at(0), &mut out));
    let id = id.unwrap();
    assert_eq!(sent, [solicit(None)]);
    assert_eq!(tick(&mut table, at(10)), [solicit(None)]);
    assert_eq!(tick(&mut table, at(20)), [solicit(None)]);
    assert_eq!(tick(&mut table, at(30)), [Output::Lost { id }]);
    // From now on one question in (failed + retransmit) milliseconds, for ever, and never removed.
    for round in 0..20 {
        let then = 30 + round * 40;
        assert_eq!(tick(&mut table, at(then + 29)), []);
        assert_eq!(tick(&mut table, at(then + 30)), [solicit(None)]);
        assert_eq!(tick(&mut table, at(then + 40)), [Output::Lost { id }]);
    }
    let resolved = Output::Resolved { id, interface: 1, addr: one, mac: OLD };
    assert_eq!(tick(&mut table, at(860)), [solicit(None)]);
    assert_eq!(hear(&mut table, one, OLD, REPLY, at(861)), [resolved]);
    assert_eq!(state(&table, one), Some(State::Reachable));
    assert_eq!(tick(&mut table, at(911)), [solicit(Some(OLD))], "probed, though nobody uses it");

    assert!(table.forget(1, one) && !table.forget(1, one) && !table.forget(1, addr(9)));
    tick(&mut table, at(921));
    assert_eq!(tick(&mut table, at(931)), [Output::Lost { id }]);
    assert_eq!(tick(&mut table, at(961)), [Output::Removed { id }]);
}

#[test]
fn a_gateway_that_is_known_already_is_marked() {
    let mut table = table(4);
    assert!(learns(&mut table, addr(1), 0));
    let (id, sent) = outputs(|mut out| table.monitor(1, addr(1), 1, &mut out));
    let resolved = Output::Resolved { id: id.unwrap(), interface: 1, addr: addr(1), mac: OLD };
    assert_eq!(sent, [resolved], "learnt: now of use");
    table.insert_permanent(1, addr(2), OLD, &mut |_| ()).unwrap();
    let (_, sent) = outputs(|mut out| table.monitor(1, addr(2), 1, &mut out));
    assert_eq!(sent, []);
    assert!(table.iter(1).all(|line| line.monitored));
    let _ = (want(&mut table, addr(3), 1), want(&mut table, addr(4), 1));
    let full = table.monitor(1, addr(5), 1, &mut |_| ());
    assert_eq!(full, Err(NeighborsError::Full { interface: 1, addr: addr(5) }));
}

#[test]
fn a_learnt_entry_made_permanent_leaves_the_quarter() {
    let mut table = table(4);
    assert!(learns(&mut table, addr(1), 0) && !learns(&mut table, addr(2), 0));
    let (id, sent) = outputs(|mut out| table.insert_permanent(1, addr(1), NEW, &mut out));
    assert_eq!(sent, [Output::Resolved { id: id.unwrap(), interface: 1, addr: addr(1), mac: NEW }]);
    assert!(learns(&mut table, addr(2), 0));
}

#[test]
fn a_tick_keeps_to_its_budget_and_loses_nothing() {
    let mut table = Neighbors::new(100, TIMERS, 1, 100).unwrap();
    (0..100).for_each(|last| drop(want(&mut table, addr(last), 0)));
    let mut solicited = std::collections::HashSet::new();
    for now in 10..20 {
        let (_, sent) = outputs(|mut out| table.tick(now, 10, &mut out));
        assert_eq!(sent.len(), 10);
        for output in sent {
            let Output::Solicit { addr, .. } = output else { panic!("{output:?}") };
            assert!(solicited.insert(addr));
        }
    }
    assert_eq!(solicited.len(), 100);
}

#[test]
fn wrong_limits_are_refused() {
    let new = |capacity, timers| Neighbors::new(capacity, timers, 1, 1).map(drop);
    let default = Timers::default();
    assert_eq!(new(1, default), Ok(()));
    assert_eq!(new(65_535, default), Ok(()));
    assert_eq!(new(0, default), Err(NeighborsError::Capacity(0)));
    assert_eq!(new(65_536, default), Err(NeighborsError::Capacity(65_536)));
    let given = Timers::MAX + 1;
    assert_eq!(
        new(1, Timers { stale: given, ..default }),
        Err(NeighborsError::Time { name: "stale", given })
    );
    assert_eq!(
        new(1, Timers { failed: 0, ..default }),
        Err(NeighborsError::Time { name: "failed", given: 0 })
    );
    assert_eq!(new(1, Timers { unicast_solicits: 0, ..default }), Err(NeighborsError::NoSolicits));
    assert_eq!(new(1, Timers { reachable: 999, ..default }), Err(NeighborsError::ReachableTooShort));
}
