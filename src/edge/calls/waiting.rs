//! Calls that wait for a negotiation, for an address of an edge, for an association, or for their turn.
//!
//! Guarantees: those for the same two hosts are one; at most [`CALLS`] wait, and each for a bounded time. Never: asks anybody.

use std::collections::{BTreeSet, HashMap};

use crate::config::DomainName;
use crate::edge::cetp::io::Pair;
use crate::edge::identity::naming::Speaker;
use crate::edge::proxies::Asker;

/// Calls that may wait.
pub const CALLS: usize = 4096;
/// Milliseconds until something else that two hosts negotiate is looked at again.
pub const AGAIN: u64 = 100;
/// Milliseconds for which a call waits, whatever it waits for: two edges may be tried, each at two RLOCs.
pub const PATIENCE: u64 = 30_000;

/// What it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum For {
    /// The other side's answer.
    Answer,
    /// The addresses of an edge.
    Addresses,
    /// An association with that edge.
    Association(Box<str>),
    /// Its turn.
    Turn,
}

/// Calls for the same two hosts.
#[derive(Debug)]
pub struct Waiting {
    pub name: DomainName,
    pub speakers: Vec<Speaker>,
    /// Which of them is tried.
    pub at: usize,
    /// That one refused to negotiate without an association once.
    pub has_associated: bool,
    /// Who called, and the numbers that they have.
    pub calls: Vec<(u64, Asker)>,
    pub waits_for: For,
    /// When it is looked at, and when it is given up, in milliseconds.
    due: u64,
    pub until: u64,
}

/// All of them. See the module.
#[derive(Debug, Default)]
pub struct Waits {
    by_pair: HashMap<Pair, Waiting>,
    due: BTreeSet<(u64, Pair)>,
    calls: usize,
}

impl Waits {
    /// Calls that wait.
    pub fn count(&self) -> usize {
        self.calls
    }

    pub fn is_full(&self) -> bool {
        self.calls >= CALLS
    }

    pub fn get_mut(&mut self, pair: &Pair) -> Option<&mut Waiting> {
        self.by_pair.get_mut(pair)
    }

    /// Adds a call to those for the same two hosts; whether there are any.
    pub fn join(&mut self, pair: &Pair, number: u64, asker: Asker) -> bool {
        let Some(waiting) = self.by_pair.get_mut(pair) else { return false };
        waiting.calls.push((number, asker));
        self.calls += 1;
        true
    }

    /// A call, the first for two hosts.
    pub fn begin(
        &mut self,
        pair: Pair,
        name: DomainName,
        speakers: Vec<Speaker>,
        call: (u64, Asker),
        now: u64,
    ) {
        let until = now + PATIENCE;
        let waiting = Waiting {
            name,
            speakers,
            at: 0,
            has_associated: false,
            calls: vec![call],
            waits_for: For::Turn,
            due: until,
            until,
        };
        self.by_pair.insert(pair, waiting);
        self.due.insert((until, pair));
        self.calls += 1;
    }

    /// It waits for that from now on.
    pub fn wait(&mut self, pair: &Pair, waits_for: For, now: u64) {
        let Some(waiting) = self.by_pair.get_mut(pair) else { return };
        let due = if waits_for == For::Turn { (now + AGAIN).min(waiting.until) } else { waiting.until };
        self.due.remove(&(waiting.due, *pair));
        self.due.insert((due, *pair));
        (waiting.due, waiting.waits_for) = (due, waits_for);
    }

    /// It is over.
    pub fn end(&mut self, pair: &Pair) -> Option<Waiting> {
        let waiting = self.by_pair.remove(pair)?;
        self.due.remove(&(waiting.due, *pair));
        self.calls -= waiting.calls.len();
        Some(waiting)
    }

    /// There is an association: who waited for it has its turn.
    pub fn associated(&mut self, edge: &str, now: u64) {
        let waits = |waiting: &Waiting| matches!(&waiting.waits_for, For::Association(of) if **of == *edge);
        let pairs: Vec<Pair> =
            self.by_pair.iter().filter(|(_, waiting)| waits(waiting)).map(|(pair, _)| *pair).collect();
        pairs.iter().for_each(|pair| self.wait(pair, For::Turn, now.saturating_sub(AGAIN)));
    }

    /// There is none: who waited for it.
    pub fn parted(&self, edge: &str) -> Vec<Pair> {
        let waits = |waiting: &Waiting| matches!(&waiting.waits_for, For::Association(of) if **of == *edge);
        self.by_pair.iter().filter(|(_, waiting)| waits(waiting)).map(|(pair, _)| *pair).collect()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next whose time has come; it is to wait anew, or to end.
    pub fn due(&mut self, now: u64) -> Option<Pair> {
        let (due, pair) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, pair));
        Some(pair)
    }
}
