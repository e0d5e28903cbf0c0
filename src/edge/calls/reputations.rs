//! What other edges, and hosts behind them, are held to be worth by what has come of their questions and sessions; hosts behind this
//! edge, by what other edges have evidence of.
//!
//! Whoever is worth less than somebody unknown, the host or its edge, counts as that; else the better of both does. A host is known
//! behind its edge alone: so nobody spoils the name of one behind another edge. An edge is known by the name that is proved, else by
//! where it speaks from, once it has shown that it is there. What a host does is its edge's fault where the edge has no name, or
//! nobody knew the host.
//!
//! Guarantees: of so many each is kept something as [`HOSTS`] and [`EDGES`] say, and hosts take no place of edges; who wasn't heard of
//! for longest gives way. Time heals ([`Reputation`]). Never: counts what anybody can send in another's name.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::edges::Key;
use crate::edge::cetp::message::{Backoff, Reason};
use crate::edge::cetp::terms::{Ask, Side};
use crate::edge::hosts::NameHash;
use crate::edge::prgw::reputation::{MIDDLE, Reputation};

/// Hosts behind other edges, and hosts behind this one, that something is kept of.
pub const HOSTS: usize = 4096;
/// Other edges.
pub const EDGES: usize = 1024;

/// What is known of somebody, and how an operator knows it.
#[derive(Debug)]
struct Entry {
    name: Box<str>,
    reputation: Reputation,
}

/// Somebody, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownReputation {
    /// `None`: this edge.
    pub edge: Option<Box<str>>,
    /// `None`: the edge itself.
    pub host: Option<Box<str>>,
    /// In hundredths.
    pub value: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Reputations {
    edges: LruCache<Key, Entry>,
    hosts: LruCache<(Key, NameHash), Entry>,
    own: LruCache<NameHash, Entry>,
}

fn hundredths(value: f32) -> u8 {
    (value * 100.0).round() as u8
}

/// Who speaks for the other host.
pub fn edge(ask: &Ask<'_>) -> Key {
    ask.proved.edge.map_or(Key::At(ask.rloc), |edge| Key::Named(edge.as_str().into()))
}

/// The other host.
pub fn host(ask: &Ask<'_>) -> NameHash {
    match (ask.side, ask.peer_name) {
        (Side::Outbound, Some(name)) => name.hash(),
        _ => crate::edge::cetp::negotiation::session::pair(ask.host, &ask.peer).peer,
    }
}

/// What has become of a question or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Well,
    /// The host's.
    Fault,
    /// Of the edge as well, which answers for names and signatures, and for how much it asks.
    EdgesFault,
}

/// What a refusal says of who is refused: what this edge has no room for says nothing.
pub fn fault(backoff: Backoff, is_flood: bool) -> Option<What> {
    match backoff.reason {
        _ if is_flood => Some(What::EdgesFault),
        Reason::NAMING_CHECK | Reason::BAD_SIGNATURE | Reason::BAD_CERTIFICATE => Some(What::EdgesFault),
        Reason::REFUSED | Reason::UNKNOWN_HOST | Reason::MISSING | Reason::UNACCEPTABLE => Some(What::Fault),
        _ => None,
    }
}

impl Default for Reputations {
    fn default() -> Reputations {
        const { assert!(HOSTS > 0 && EDGES > 0) };
        let room = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        Reputations {
            edges: LruCache::new(room(EDGES)),
            hosts: LruCache::new(room(HOSTS)),
            own: LruCache::new(room(HOSTS)),
        }
    }
}

impl Reputations {
    /// In hundredths, of a host behind another edge, or of that edge.
    pub fn of(&self, edge: &Key, host: Option<&NameHash>, now: u64) -> u8 {
        let value = |entry: &Entry| entry.reputation.value(now);
        let edges = self.edges.peek(edge).map_or(MIDDLE, value);
        let host = host.and_then(|host| self.hosts.peek(&(edge.clone(), *host)));
        let hosts = host.map_or(MIDDLE, value);
        hundredths(if edges.min(hosts) < MIDDLE { edges.min(hosts) } else { edges.max(hosts) })
    }

    /// Of a host behind this edge.
    pub fn of_own(&self, host: &NameHash, now: u64) -> u8 {
        hundredths(self.own.peek(host).map_or(MIDDLE, |entry| entry.reputation.value(now)))
    }

    /// Something of a host behind another edge has turned out well, or not.
    pub fn record(&mut self, edge: &Key, (host, name): (NameHash, &str), what: What, now: u64) {
        let (key, well) = ((edge.clone(), host), what == What::Well);
        // Who has no name that is proved may have any host; and new hosts shall hide nobody.
        if what != What::Fault || edge.name().is_none() || !self.hosts.contains(&key) {
            record(&mut self.edges, edge.clone(), || called(edge), well, now);
        }
        record(&mut self.hosts, key, || name.into(), well, now);
    }

    /// Something of a host behind this edge has.
    pub fn record_own(&mut self, host: NameHash, name: &str, well: bool, now: u64) {
        record(&mut self.own, host, || name.into(), well, now);
    }

    /// Those that are worth least, the least first.
    pub fn worst(&self, limit: usize, now: u64) -> Vec<ShownReputation> {
        let shown = |edge: Option<&str>, host: Option<&Entry>, of: &Entry| ShownReputation {
            edge: edge.map(Box::from),
            host: host.map(|host| host.name.clone()),
            value: hundredths(of.reputation.value(now)),
        };
        let edges = self.edges.iter().map(|(_, entry)| shown(Some(&entry.name), None, entry));
        let hosts =
            self.hosts.iter().map(|((edge, _), entry)| shown(Some(&called(edge)), Some(entry), entry));
        let own = self.own.iter().map(|(_, entry)| shown(None, Some(entry), entry));
        let mut all: Vec<_> = edges.chain(hosts).chain(own).collect();
        all.sort_by_key(|shown| shown.value);
        all.truncate(limit);
        all
    }

    /// Of how many something is kept.
    pub fn len(&self) -> usize {
        self.edges.len() + self.hosts.len() + self.own.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// As an operator knows it.
fn called(edge: &Key) -> Box<str> {
    match edge {
        Key::Named(name) => name.clone(),
        Key::At(rloc) => rloc.to_string().into(),
    }
}

fn record<K: std::hash::Hash + Eq>(
    all: &mut LruCache<K, Entry>,
    key: K,
    name: impl FnOnce() -> Box<str>,
    well: bool,
    now: u64,
) {
    let entry = all.get_or_insert_mut(key, || Entry { name: name(), reputation: Reputation::new(now) });
    entry.reputation.record(well, now);
}
