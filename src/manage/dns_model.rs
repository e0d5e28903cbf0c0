//! `show dns`: what the edge's DNS was asked and answered. Part of the [`model`](super::model), with its guarantees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `show dns`. Every question ends as an answer or in silence, but for those that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    pub questions: DnsQuestions,
    /// By code, as RFC 6895 names it; those that never were are left out.
    pub answers: BTreeMap<String, u64>,
    /// Of the answers, those with TC set.
    pub truncated: u64,
    /// Answers that were lost on their way out: a full ring, or a connection that is gone.
    pub lost: u64,
    /// Questions without an answer, by reason.
    pub silences: BTreeMap<String, u64>,
    /// Decisions of the circular pool.
    pub pool: BTreeMap<String, u64>,
    pub updates: DnsUpdates,
    /// Questions that were taken to other servers.
    pub forwarded: u64,
    /// What became of them there, by name; empty where there are no upstreams.
    pub resolver: BTreeMap<String, u64>,
    /// What became of looking for another edge, by name; those that never were are left out, here and in the next two.
    pub discovery: BTreeMap<String, u64>,
    /// What became of questions that called somebody, and how many wait.
    pub calls: BTreeMap<String, u64>,
    /// What naming checks were told.
    pub lookups: BTreeMap<String, u64>,
    pub connections: DnsConnections,
}

/// Questions by carrier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuestions {
    pub udp: u64,
    pub tcp: u64,
    /// Frames that were none.
    pub malformed: u64,
}

/// Updates (RFC 2136) that were signed by a known key and allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsUpdates {
    /// In force, and on disk where there is a store.
    pub done: u64,
    /// The register refused them.
    pub refused: u64,
    /// They could not be tried, or not be written to disk.
    pub failed: u64,
    /// Now on their way into the register.
    pub waiting: u64,
}

/// Connections of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConnections {
    pub accepted: u64,
    /// Now.
    pub open: u64,
    /// Closed at once: too many.
    pub refused: u64,
    /// Closed after a silence, or because nobody read.
    pub idle: u64,
    /// Closed because of what came by them.
    pub bad: u64,
}
