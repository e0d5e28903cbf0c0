//! Tests of the neighbours: the state machine, the table and what it emits.

use super::state::{Effect, Event, transition};
use super::*;

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

    check(&[Stale], &[Event::Wanted], Some(Probe { sent: 1 }), Effect::Solicit);
    stays(&[Stale], &same);
    stays(&[Stale], &confirmed);
    stays(&[Stale], &other_kept);
    check(&[Stale], &[other[0], other_solicited[0]], Some(Stale), Effect::Change(NEW));
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
        let made = hear(&mut table, addr(last), OLD, ASKS_US, 0).len();
        assert_eq!(made, usize::from(last <= 2), "{last}");
    }
    for nobody in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "ff02::1"] {
        let mut table = Neighbors::new(8, TIMERS, 1, 1).unwrap();
        assert_eq!(hear(&mut table, nobody.parse().unwrap(), OLD, ASKS_US, 0), [], "{nobody}");
    }
    assert!(matches!(want(&mut table, addr(1), 1).0, Want::Known(_)));
    assert_eq!(hear(&mut table, addr(4), OLD, ASKS_US, 2).len(), 1, "the first is asked for now");
    hear(&mut table, addr(1), OLD, REPLY, 3);
    let removed = tick(&mut table, 72).into_iter().chain(tick(&mut table, 73));
    assert_eq!(removed.filter(|o| matches!(o, Output::Removed { .. })).count(), 2);
    assert_eq!(hear(&mut table, addr(5), OLD, ASKS_US, 74), [], "their slots are not released yet");
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

#[test]
fn a_learnt_entry_made_permanent_leaves_the_quarter() {
    let mut table = table(4);
    assert_eq!(hear(&mut table, addr(1), OLD, ASKS_US, 0).len(), 1);
    assert_eq!(hear(&mut table, addr(2), OLD, ASKS_US, 0), []);
    let (id, sent) = outputs(|mut out| table.insert_permanent(1, addr(1), NEW, &mut out));
    assert_eq!(sent, [Output::Changed { id: id.unwrap(), mac: NEW }]);
    assert_eq!(hear(&mut table, addr(2), OLD, ASKS_US, 0).len(), 1);
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

#[test]
fn an_expected_neighbour_is_asked_once_and_no_packet_waits_for_it() {
    let mut neighbors = table(2);
    let expect =
        |neighbors: &mut Neighbors, addr, now| outputs(|mut out| neighbors.expect(1, addr, now, &mut out)).1;
    let solicit = Output::Solicit { interface: 1, addr: addr(1), to: None };
    assert_eq!(expect(&mut neighbors, addr(1), 0), [solicit]);
    assert_eq!(expect(&mut neighbors, addr(1), 1), [], "it is being asked");
    let id = neighbors.iter(1).next().unwrap().id;
    let heard = hear(&mut neighbors, addr(1), OLD, REPLY, 2);
    assert_eq!(heard, [Output::Resolved { id, interface: 1, addr: addr(1), mac: OLD }]);
    assert_eq!(expect(&mut neighbors, addr(1), 3), [], "it is known");
    // One that doesn't answer is given up, forgotten, and asked again.
    assert_eq!(expect(&mut neighbors, addr(2), 3).len(), 1);
    assert_eq!(expect(&mut neighbors, addr(3), 3), [], "no room");
    let mut removed = None;
    for now in 4..100 {
        for output in tick(&mut neighbors, now) {
            if let Output::Removed { id } = output {
                removed = removed.or(Some((now, id)));
            }
        }
    }
    let (at, id) = removed.expect("given up");
    assert!(at >= 3 + 30 + 30, "after asking thrice and a rest, not at {at}");
    assert!(neighbors.release(id));
    assert_eq!(expect(&mut neighbors, addr(2), 100).len(), 1);
}
