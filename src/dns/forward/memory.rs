//! Answers, and the memory of them, that whoever asks and the thread that resolves share: what is remembered is answered by who asks,
//! without waking anybody.
//!
//! Guarantees: each answer leaves by the one channel, where there is room for it ([`super::limits`]); its place is given back after.
//! Never: waits for the other thread where a question is asked: what that is busy with, it answers.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use ipnet::Ipv4Net;

use super::answer::{self, Bounds, Doubts, Found, Question};
use super::cache::Cache;
use super::limits::Slot;
use super::{Counters, Options, proxied};
use crate::dns::pending::Sections;
use crate::dns::{Alias, Forward, forwarder};
use crate::edge::proxies::Proxies;
use crate::ring::wake::Waking;

/// A question that was taken.
pub(super) struct Ask {
    pub forward: Box<Forward>,
    pub token: u64,
    pub slot: Slot,
}

impl Ask {
    /// What upstreams are asked.
    pub fn question(&self) -> Question {
        let pending = &self.forward.pending;
        Question::new(&self.forward.query, pending.wants_dnssec(), pending.is_checking_disabled())
    }
}

/// See the module.
pub(super) struct Memory {
    cache: Mutex<Cache>,
    pub doubts: Doubts,
    counters: Arc<Counters>,
    answers: Waking<(u64, forwarder::Found)>,
    proxies: Option<Arc<Proxies>>,
    inside: Vec<(u16, Ipv4Net)>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    pub fn new(
        options: &Options,
        counters: Arc<Counters>,
        answers: Waking<(u64, forwarder::Found)>,
    ) -> Memory {
        let bounds =
            Bounds { min: options.ttl_min, max: options.ttl_max, negative_max: options.negative_ttl_max };
        let own = options.own.iter().filter_map(|apex| Name::from_ascii(format!("{apex}.")).ok()).collect();
        Memory {
            cache: Mutex::new(Cache::new(options.cache_entries, bounds)),
            doubts: Doubts::new(own, &options.protected),
            counters,
            answers,
            proxies: options.proxies.clone(),
            inside: options.inside.clone(),
        }
    }

    /// Of the thread that resolves. A panic in the other's midst leaves at worst an entry that is gone.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what is remembered, for who asks; gives back what is not, or what can't be looked at just now.
    pub fn try_answer(&self, ask: Ask) -> Result<(), Ask> {
        let Ok(cache) = self.cache.try_lock() else { return Err(ask) };
        self.answer_by(cache, ask)
    }

    /// The same for the thread that resolves.
    pub fn answer_remembered(&self, ask: Ask) -> Result<(), Ask> {
        self.answer_by(self.cache(), ask)
    }

    fn answer_by(&self, mut cache: MutexGuard<'_, Cache>, ask: Ask) -> Result<(), Ask> {
        let Some(found) = cache.get(&ask.question(), Instant::now()) else { return Err(ask) };
        drop(cache);
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
        self.answer(ask, found);
        Ok(())
    }

    /// Bounds the TTLs of what was found, and remembers it.
    pub fn remember(&self, question: &Question, found: &mut Found) {
        self.cache().insert(question, found, Instant::now());
    }

    /// Tells who has asked.
    pub fn answer(&self, ask: Ask, found: Found) {
        let Ask { forward, token, slot } = ask;
        let found = match &self.proxies {
            Some(proxies) => {
                let (asked, asker) = (forward.query.name(), &forward.asker);
                proxied::show(found, asked, asker, proxies, &self.inside, Instant::now())
            }
            None => found,
        };
        if found.code == ResponseCode::ServFail {
            self.counters.servfail.fetch_add(1, Ordering::Relaxed);
        }
        let target = self.doubts.leads_to(&found, &forward.query);
        let sections = answer::sections(found, &forward.query);
        let found = match target {
            Some(target) => forwarder::Found::Alias(Box::new(Alias {
                forward: *forward,
                chain: sections.answers,
                target,
            })),
            None => {
                let bytes = forward.pending.bytes(sections);
                let bytes = bytes.or_else(|| forward.pending.bytes(Sections::code(ResponseCode::ServFail)));
                forwarder::Found::Answer(bytes.unwrap_or_default())
            }
        };
        // There is room: see `limits`. The place is given back after, so that it stays so.
        let _ = self.answers.try_send((token, found));
        drop(slot);
    }
}
