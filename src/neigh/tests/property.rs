//! Random interleavings: an owner that checks what the table promises, and a naive model that says the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Key = (u16, IpAddr);

const HOLD_ONE: usize = 2;
const HOLD_ALL: usize = 5;

/// The owner of a table: carries outputs out in its books, and fails when one breaks a promise.
struct Owner {
    table: Neighbors,
    capacity: usize,
    /// Milliseconds that never wrap; the table sees the low 32 bits.
    now: u64,
    keys: BTreeMap<AdjacencyId, Key>,
    usable: BTreeMap<AdjacencyId, MacAddr>,
    waiting: BTreeMap<AdjacencyId, usize>,
    unreleased: BTreeSet<AdjacencyId>,
    solicited: BTreeMap<Key, u64>,
}

impl Owner {
    fn new(capacity: usize, start: u64) -> Self {
        Self {
            table: Neighbors::new(capacity, TIMERS, HOLD_ONE, HOLD_ALL).unwrap(),
            capacity,
            now: start,
            keys: BTreeMap::new(),
            usable: BTreeMap::new(),
            waiting: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            solicited: BTreeMap::new(),
        }
    }

    /// Does it, books its outputs, and tells them as the model tells them.
    fn act(&mut self, action: &Action, budget: usize) -> Told {
        let (mut outputs, mut want) = (Vec::new(), None);
        let (table, now) = (&mut self.table, self.now as u32);
        let out = &mut |output| outputs.push(output);
        match *action {
            Action::Want((interface, addr)) => want = Some(table.want(interface, addr, now, out)),
            Action::Hear((interface, addr), mac, heard) => table.heard(interface, addr, mac, heard, now, out),
            Action::Monitor((interface, addr)) => {
                let _ = table.monitor(interface, addr, now, out);
            }
            Action::Forget((interface, addr)) => {
                table.forget(interface, addr);
            }
            Action::Permanent((interface, addr), mac) => {
                let _ = table.insert_permanent(interface, addr, mac, out);
            }
            Action::Wait(ms) => {
                self.now += u64::from(ms);
                table.tick(self.now as u32, budget, out);
                assert!(outputs.len() <= budget);
            }
            Action::Release(nth) => {
                if let Some(&id) = self.unreleased.iter().nth(nth) {
                    assert!(table.release(id));
                    self.unreleased.remove(&id);
                }
            }
        }
        assert!(matches!(action, Action::Wait(_)) || outputs.len() <= 1);
        let mut told: Vec<_> = outputs.into_iter().map(|output| self.book(output)).collect();
        told.sort();
        self.check_bounds();
        (want.map(|want| self.book_want(want)), told)
    }

    fn book(&mut self, output: Output) -> Tell {
        match output {
            Output::Solicit { interface, addr, to } => {
                let last = self.solicited.insert((interface, addr), self.now);
                let gap = last.map(|last| self.now - last);
                assert!(gap.is_none_or(|gap| gap >= u64::from(TIMERS.retransmit)), "storm: {gap:?}");
                Tell::Solicit((interface, addr), to)
            }
            Output::Resolved { id, interface, addr, mac } => {
                self.name(id, (interface, addr));
                assert_eq!(self.usable.insert(id, mac), None, "resolved twice");
                self.waiting.remove(&id);
                Tell::Resolved((interface, addr), mac)
            }
            Output::Changed { id, mac } => {
                let before = self.usable.insert(id, mac);
                assert!(before.is_some_and(|before| before != mac), "changed from {before:?}");
                Tell::Changed(self.keys[&id], mac)
            }
            Output::Lost { id } => {
                self.usable.remove(&id);
                self.waiting.remove(&id);
                Tell::Lost(self.key_of_held(id))
            }
            Output::Removed { id } => {
                assert_eq!(self.waiting.get(&id), None, "removed with packets waiting");
                self.usable.remove(&id);
                assert!(self.unreleased.insert(id));
                Tell::Removed(self.keys.remove(&id))
            }
        }
    }

    fn book_want(&mut self, want: Want) -> Wanted {
        match want {
            Want::Known(id) => {
                assert!(self.usable.contains_key(&id), "known, yet never resolved");
                Wanted::Known(self.keys[&id])
            }
            Want::Hold { id } => {
                assert!(!self.usable.contains_key(&id) && !self.unreleased.contains(&id));
                let key = self.key_of_held(id);
                *self.waiting.entry(id).or_default() += 1;
                Wanted::Hold(key)
            }
            Want::QueueFull => Wanted::QueueFull,
            Want::Unreachable => Wanted::Unreachable,
            Want::TableFull => Wanted::TableFull,
        }
    }

    /// The key of an id that need not have been resolved before.
    fn key_of_held(&mut self, id: AdjacencyId) -> Key {
        let line = self.table.iter(0).find(|line| line.id == id).expect("an id of the table");
        self.name(id, (line.interface, line.addr));
        (line.interface, line.addr)
    }

    fn name(&mut self, id: AdjacencyId, key: Key) {
        assert!(!self.unreleased.contains(&id), "reused before release");
        assert_eq!(*self.keys.entry(id).or_insert(key), key, "one id, two neighbours");
        assert_eq!(self.keys.values().filter(|k| **k == key).count(), 1, "one neighbour, two ids");
    }

    fn check_bounds(&self) {
        assert!(self.waiting.values().all(|n| *n <= HOLD_ONE));
        assert!(self.waiting.values().sum::<usize>() <= HOLD_ALL);
        let lines: Vec<_> = self.table.iter(self.now as u32).collect();
        assert!(lines.len() + self.unreleased.len() <= self.capacity);
        assert!(lines.iter().all(|line| usize::from(line.id.0) < self.capacity));
        assert!(lines.iter().filter(|line| line.state == State::Stale).count() <= self.capacity / 4);
        let usable: BTreeMap<_, _> = lines
            .iter()
            .filter(|line| line.state.usable())
            .filter_map(|line| Some((line.id, line.mac?)))
            .collect();
        assert_eq!(usable, self.usable, "the owner's adjacencies are the table's");
    }
}

#[derive(Clone, Debug)]
enum Action {
    Want(Key),
    Hear(Key, Option<MacAddr>, Heard),
    Permanent(Key, MacAddr),
    Monitor(Key),
    Forget(Key),
    Wait(u32),
    Release(usize),
}

/// Outputs and answers with keys for ids, since the model has no ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tell {
    Solicit(Key, Option<MacAddr>),
    Resolved(Key, MacAddr),
    Changed(Key, MacAddr),
    Lost(Key),
    /// `None` where it was never resolved.
    Removed(Option<Key>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Known(Key),
    Hold(Key),
    QueueFull,
    Unreachable,
    TableFull,
}

type Told = (Option<Wanted>, Vec<Tell>);

/// A neighbour of the model: facts and a deadline in place of states.
#[derive(Clone, Copy, Debug)]
struct Fact {
    mac: Option<MacAddr>,
    permanent: bool,
    learnt: bool,
    failed: bool,
    asked: bool,
    confirmed: bool,
    solicits: u8,
    deadline: u64,
    held: usize,
    monitored: bool,
}

/// The table as a map that is searched from end to end, with time that never wraps.
struct Model {
    capacity: usize,
    now: u64,
    facts: BTreeMap<Key, Fact>,
    /// Slots removed and not released, and how many of them were learnt.
    gone: usize,
    gone_learnt: usize,
}

const BLANK: Fact = Fact {
    mac: None,
    permanent: false,
    learnt: false,
    failed: false,
    asked: false,
    confirmed: false,
    solicits: 0,
    deadline: 0,
    held: 0,
    monitored: false,
};

impl Model {
    fn taken(&self) -> usize {
        self.facts.len() + self.gone
    }

    fn after(&self, ms: u32) -> u64 {
        self.now + u64::from(ms)
    }

    fn want(&mut self, key: Key) -> Told {
        let full = self.taken() == self.capacity;
        let held: usize = self.facts.values().map(|fact| fact.held).sum();
        let deadline = self.after(TIMERS.retransmit);
        let mut told = Vec::new();
        let fact = match self.facts.get_mut(&key) {
            None if full => return (Some(Wanted::TableFull), told),
            None => {
                told.push(Tell::Solicit(key, None));
                self.facts.entry(key).or_insert(Fact { solicits: 1, deadline, ..BLANK })
            }
            Some(fact) => fact,
        };
        if fact.failed {
            fact.asked = true;
            return (Some(Wanted::Unreachable), told);
        }
        let Some(mac) = fact.mac else {
            if fact.held == HOLD_ONE || held == HOLD_ALL {
                return (Some(Wanted::QueueFull), told);
            }
            fact.held += 1;
            return (Some(Wanted::Hold(key)), told);
        };
        if fact.learnt {
            *fact = Fact { learnt: false, deadline, ..*fact };
            told.push(Tell::Resolved(key, mac));
        }
        (Some(Wanted::Known(key)), told)
    }

    fn monitor(&mut self, key: Key) -> Option<Tell> {
        let (room, deadline) = (self.taken() < self.capacity, self.after(TIMERS.retransmit));
        let told = match self.facts.get_mut(&key) {
            None if !room => return None,
            None => {
                self.facts.insert(key, Fact { solicits: 1, deadline, ..BLANK });
                Some(Tell::Solicit(key, None))
            }
            Some(fact) if fact.learnt => {
                *fact = Fact { learnt: false, deadline, ..*fact };
                fact.mac.map(|mac| Tell::Resolved(key, mac))
            }
            Some(fact) => {
                fact.asked |= fact.failed;
                None
            }
        };
        self.facts.entry(key).and_modify(|fact| fact.monitored = true);
        told
    }

    fn hear(&mut self, key: Key, mac: Option<MacAddr>, heard: Heard) -> Option<Tell> {
        let (probe_at, reachable_until) = (self.after(TIMERS.retransmit), self.after(TIMERS.reachable));
        let (solicited, overrides) = match heard {
            Heard::Reply { solicited, overrides } => (solicited, overrides),
            Heard::Request { .. } => (false, true),
        };
        let learnt = self.facts.values().filter(|fact| fact.learnt).count() + self.gone_learnt;
        let room = learnt < self.capacity / 4 && self.taken() < self.capacity;
        let Some(fact) = self.facts.get_mut(&key) else {
            let mac = mac.filter(|_| heard == ASKS_US && room)?;
            let deadline = self.after(TIMERS.stale);
            self.facts.insert(key, Fact { mac: Some(mac), learnt: true, deadline, ..BLANK });
            return None;
        };
        if fact.permanent {
            return None;
        }
        let was = *fact;
        let asking = !was.failed && !was.learnt && !was.confirmed;
        let answered = asking && solicited;
        let Some(known) = was.mac else {
            let mac = mac?;
            *fact = Fact { mac: Some(mac), failed: false, asked: false, solicits: 0, held: 0, ..was };
            if was.failed {
                fact.deadline = probe_at;
            }
            if answered {
                *fact = Fact { confirmed: true, deadline: reachable_until, ..*fact };
            }
            return Some(Tell::Resolved(key, mac));
        };
        let other = mac.filter(|mac| *mac != known);
        if other.is_none() || overrides {
            if answered {
                *fact = Fact { confirmed: true, deadline: reachable_until, ..was };
            }
            fact.mac = mac.or(was.mac);
        }
        if other.is_some() && !answered && !was.learnt && (overrides || was.confirmed) {
            *fact = Fact { confirmed: false, solicits: 0, ..*fact };
            if was.confirmed {
                fact.deadline = probe_at;
            }
        }
        other.filter(|_| overrides && !was.learnt).map(|mac| Tell::Changed(key, mac))
    }

    fn wait(&mut self, ms: u32) -> Vec<Tell> {
        self.now = self.after(ms);
        let now = self.now;
        let due = self.facts.iter().filter(|(_, fact)| !fact.permanent && fact.deadline <= now);
        let due: Vec<Key> = due.map(|(key, _)| *key).collect();
        let mut told: Vec<_> = due.into_iter().map(|key| self.expire(key)).collect();
        told.sort();
        told
    }

    fn expire(&mut self, key: Key) -> Tell {
        let (again, given_up) = (self.after(TIMERS.retransmit), self.after(TIMERS.failed));
        let fact = self.facts.get_mut(&key).unwrap();
        if fact.failed && fact.monitored {
            // One question only.
            let solicits = TIMERS.multicast_solicits;
            *fact =
                Fact { failed: false, asked: false, confirmed: false, solicits, deadline: again, ..*fact };
            return Tell::Solicit(key, None);
        }
        if fact.learnt || (fact.failed && !fact.asked) {
            self.gone += 1;
            let told = Tell::Removed((!fact.learnt).then_some(key));
            self.gone_learnt += usize::from(fact.learnt);
            self.facts.remove(&key);
            return told;
        }
        let limit = if fact.mac.is_some() { TIMERS.unicast_solicits } else { TIMERS.multicast_solicits };
        if fact.confirmed || fact.failed {
            *fact = Fact { confirmed: false, failed: false, asked: false, solicits: 0, ..*fact };
        }
        if fact.solicits == limit {
            *fact = Fact { failed: true, deadline: given_up, monitored: fact.monitored, ..BLANK };
            return Tell::Lost(key);
        }
        *fact = Fact { solicits: fact.solicits + 1, deadline: again, ..*fact };
        Tell::Solicit(key, fact.mac)
    }

    fn release(&mut self, learnt: bool) {
        self.gone -= 1;
        self.gone_learnt -= usize::from(learnt);
    }

    fn permanent(&mut self, key: Key, mac: MacAddr) -> Option<Tell> {
        if self.taken() == self.capacity && !self.facts.contains_key(&key) {
            return None;
        }
        let fact = self.facts.entry(key).or_insert(BLANK);
        if fact.permanent {
            return None;
        }
        let before = fact.mac.filter(|_| !fact.learnt);
        *fact = Fact { mac: Some(mac), permanent: true, monitored: fact.monitored, ..BLANK };
        match before {
            None => Some(Tell::Resolved(key, mac)),
            Some(known) => (known != mac).then_some(Tell::Changed(key, mac)),
        }
    }
}

/// Few keys, so that they meet: two interfaces, IPv4 and IPv6.
fn key() -> impl Strategy<Value = Key> {
    (0..2u16, 0..6u8).prop_map(|(interface, n)| match n {
        0..3 => (interface, addr(n + 1)),
        _ => (interface, IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(n)])),
    })
}

fn mac() -> impl Strategy<Value = MacAddr> {
    (1..4u8).prop_map(|last| MacAddr([2, 0, 0, 0, 0, last]))
}

fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(solicited, overrides)| Heard::Reply { solicited, overrides }),
        1 => any::<bool>().prop_map(|for_us| Heard::Request { for_us }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let mac_or_none = prop_oneof![9 => mac().prop_map(Some), 1 => Just(None)];
    prop_oneof![
        8 => key().prop_map(Action::Want),
        5 => (key(), mac_or_none, heard()).prop_map(|(key, mac, heard)| Action::Hear(key, mac, heard)),
        8 => prop_oneof![0..12u32, Just(10), 0..120u32].prop_map(Action::Wait),
        3 => (0..3usize).prop_map(Action::Release),
        1 => key().prop_map(Action::Monitor),
        1 => key().prop_map(Action::Forget),
        1 => (prop::bool::weighted(0.1), key(), mac()).prop_map(|(rarely, key, mac)| match rarely {
            true => Action::Permanent(key, mac),
            false => Action::Want(key),
        }),
    ]
}

/// A start so near to the end of the clock that it wraps during the run, or anywhere.
fn start() -> impl Strategy<Value = u64> {
    prop_oneof![(0..3000u64).prop_map(|ms| (1 << 32) - ms), 0..1u64 << 32]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_with_the_model(capacity in 1..14usize, start in start(), actions in vec(action(), 1..120)) {
        let mut owner = Owner::new(capacity, start);
        let mut model = Model { capacity, now: start, facts: BTreeMap::new(), gone: 0, gone_learnt: 0 };
        let mut learnt = BTreeMap::new();
        for action in &actions {
            let unreleased = owner.unreleased.clone();
            let keys = owner.keys.clone();
            let told = owner.act(action, usize::MAX);
            for id in owner.unreleased.difference(&unreleased) {
                learnt.insert(*id, !keys.contains_key(id));
            }
            let expected = match *action {
                Action::Want(key) => model.want(key),
                Action::Hear(key, mac, heard) => (None, Vec::from_iter(model.hear(key, mac, heard))),
                Action::Permanent(key, mac) => (None, Vec::from_iter(model.permanent(key, mac))),
                Action::Monitor(key) => (None, Vec::from_iter(model.monitor(key))),
                Action::Forget(key) => {
                    model.facts.entry(key).and_modify(|fact| fact.monitored = false);
                    (None, vec![])
                }
                Action::Wait(ms) => (None, model.wait(ms)),
                Action::Release(_) => {
                    unreleased.difference(&owner.unreleased).for_each(|id| model.release(learnt[id]));
                    (None, vec![])
                }
            };
            prop_assert_eq!(told, expected, "{:?} at {}", action, owner.now);
            let kept = owner.table.iter(0).filter(|line| line.monitored).map(|line| (line.interface, line.addr));
            let facts = model.facts.iter().filter(|(_, fact)| fact.monitored);
            prop_assert_eq!(kept.collect::<BTreeSet<_>>(), facts.map(|(key, _)| *key).collect());
        }
    }

    /// With a tick that does less than is due, every promise still holds, and in the end nothing waits.
    #[test]
    fn a_small_budget_breaks_no_promise(
        capacity in 1..14usize, start in start(), budget in 0..3usize, actions in vec(action(), 1..120),
    ) {
        let mut owner = Owner::new(capacity, start);
        for action in &actions {
            owner.act(action, budget);
        }
        for _ in 0..200 {
            owner.act(&Action::Wait(1), 1);
        }
        prop_assert!(owner.waiting.is_empty(), "{:?}", owner.waiting);
    }

    /// A stranger that sends anything about addresses that are not its victims' changes nothing for them, and leaves
    /// room for neighbours that are asked for.
    #[test]
    fn strangers_neither_evict_nor_fill(
        start in start(),
        noise in vec((8..250u8, mac(), heard(), 0..5u32), 1..400),
    ) {
        let mut owner = Owner::new(8, start);
        let [fixed, asked, next] = [(1, addr(1)), (1, addr(2)), (1, addr(3))];
        owner.act(&Action::Permanent(fixed, OLD), usize::MAX);
        owner.act(&Action::Want(asked), usize::MAX);
        owner.act(&Action::Hear(asked, Some(NEW), REPLY), usize::MAX);
        for (last, mac, heard, ms) in noise {
            owner.act(&Action::Hear((1, addr(last)), Some(mac), heard), usize::MAX);
            let (_, told) = owner.act(&Action::Wait(ms), usize::MAX);
            if told.contains(&Tell::Solicit(asked, Some(NEW))) {
                owner.act(&Action::Hear(asked, Some(NEW), REPLY), usize::MAX);
            }
            prop_assert_eq!(owner.act(&Action::Want(fixed), usize::MAX).0, Some(Wanted::Known(fixed)));
            prop_assert_eq!(owner.act(&Action::Want(asked), usize::MAX).0, Some(Wanted::Known(asked)));
            prop_assert!(owner.table.iter(0).count() + owner.unreleased.len() <= 4);
        }
        prop_assert_eq!(owner.act(&Action::Want(next), usize::MAX).0, Some(Wanted::Hold(next)));
    }
}
