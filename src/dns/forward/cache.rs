//! Answers that are remembered.
//!
//! Guarantees: at most as many as there is room for, each of at most [`ENTRY_MAX`] bytes as on the wire; the one that was longest not
//! asked for goes first. What is given has TTLs that count down, and none after its time. A name that does not exist doesn't exist for
//! any type (RFC 2308 section 5, RFC 8020). Never: reads a clock, or tells those who want signatures what was found without.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{LowerName, RecordType};
use lru::LruCache;

use super::answer::{Bounds, Found, Question};

/// Longest answer that is remembered: so much has a zone's keys and their signatures.
const ENTRY_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Cache {
    /// `None`: nothing is remembered.
    entries: Option<LruCache<Key, Entry>>,
    bounds: Bounds,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: LowerName,
    /// `None`: any, for the name doesn't exist.
    record_type: Option<RecordType>,
    dnssec: bool,
    checking_disabled: bool,
}

#[derive(Debug)]
struct Entry {
    /// A message without a question: a third of what its records take when they are read.
    bytes: Box<[u8]>,
    since: Instant,
    until: Instant,
}

impl Key {
    fn new(question: &Question, record_type: Option<RecordType>) -> Key {
        let name = LowerName::new(question.query.name());
        let Question { dnssec, checking_disabled, .. } = *question;
        Key { name, record_type, dnssec, checking_disabled }
    }
}

impl Cache {
    /// With room for `entries`.
    pub fn new(entries: usize, bounds: Bounds) -> Cache {
        // It grows into its room: most edges never need all of it.
        let entries = NonZeroUsize::new(entries).map(|most| {
            let mut entries = LruCache::unbounded();
            entries.resize(most);
            entries
        });
        Cache { entries, bounds }
    }

    /// What is remembered of `question`.
    pub fn get(&mut self, question: &Question, now: Instant) -> Option<Found> {
        for record_type in [Some(question.query.query_type()), None] {
            let key = Key::new(question, record_type);
            let Some(entry) = self.entries.as_mut()?.get(&key) else { continue };
            if now >= entry.until {
                self.entries.as_mut()?.pop(&key);
                continue;
            }
            return entry.found(now);
        }
        None
    }

    /// Bounds the TTLs of `found`, and remembers it for as long as it may be.
    pub fn insert(&mut self, question: &Question, found: &mut Found, now: Instant) {
        let life = self.bounds.apply(found, question.query.query_type());
        let Some(entries) = self.entries.as_mut().filter(|_| life > 0) else { return };
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = found.code;
        message.answers.clone_from(&found.answers);
        message.authorities.clone_from(&found.authorities);
        let Some(bytes) = message.to_vec().ok().filter(|bytes| bytes.len() <= ENTRY_MAX) else { return };
        // An alias to a name that doesn't exist is one only for what it was asked for.
        let is_no_name = found.code == ResponseCode::NXDomain && found.answers.is_empty();
        let record_type = (!is_no_name).then(|| question.query.query_type());
        let until = now + Duration::from_secs(life.into());
        entries.put(Key::new(question, record_type), Entry { bytes: bytes.into(), since: now, until });
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, LruCache::len)
    }
}

impl Entry {
    fn found(&self, now: Instant) -> Option<Found> {
        let message = Message::from_vec(&self.bytes).ok()?;
        let elapsed = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        let mut found = Found {
            code: message.metadata.response_code,
            answers: message.answers,
            authorities: message.authorities,
        };
        for record in found.answers.iter_mut().chain(&mut found.authorities) {
            record.ttl = record.ttl.saturating_sub(elapsed);
        }
        Some(found)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
