//! What was refused lately, and why: for the operator.
//!
//! Guarantees: so many are kept as [`KEPT`] says, the newest first out; texts are no longer than names are. Never: decides anything.

use std::collections::VecDeque;

use crate::config::Direction;
use crate::edge::cetp::message::{Backoff, Rloc};
use crate::edge::policy::Level;

/// How many are kept.
pub const KEPT: usize = 256;

/// The rule that has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub level: Level,
    pub name: Box<str>,
    /// What did not fit, or was not told; nothing where it refuses whoever it is for.
    pub attribute: Option<&'static str>,
}

/// A question that came to nothing, or a session that would not be agreed on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Seen from the host behind this edge.
    pub direction: Direction,
    pub host: Box<str>,
    /// The other host, by its name or by its ID.
    pub peer: Box<str>,
    pub edge: Option<Box<str>>,
    pub rloc: Option<Rloc>,
    pub backoff: Backoff,
    /// The other edge has refused.
    pub by_peer: bool,
    /// It has ended a session that there was.
    pub has_ended: bool,
    /// Of this edge's policy.
    pub rule: Option<Rule>,
}

/// The last ones.
#[derive(Debug, Default)]
pub struct Refusals {
    kept: VecDeque<Refusal>,
    count: u64,
}

impl Refusals {
    /// Adds one.
    pub fn push(&mut self, refusal: Refusal) {
        self.count += 1;
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(refusal);
    }

    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.kept.iter()
    }

    /// All that there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}
