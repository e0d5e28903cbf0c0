//! Questions of hosts that wait: for the NAPTR of a name, and then for what a call comes to.
//!
//! Guarantees: a question is given back once. Those of one asker for one name share a call, however often they are asked meanwhile. An
//! asker has a place as long as there is one and it has none; the fewer are left, the fewer has one asker. NAPTR is waited for
//! [`DISCOVERY_TIME`] and a call for [`CALL_TIME`] at most; what comes later finds nobody. Never: reads a clock.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::DomainName;
use crate::dns::counters::{CallEnd, Counters};
use crate::dns::server::ReplyTo;
use crate::dns::{Alias, Asker};
use crate::edge::calls::{Call, Callee, Calls, Outcome};
use crate::edge::proxies;
use crate::flow::Realm;

/// Milliseconds after which a name is taken for one without an edge: short of what a stub waits before it asks again.
pub const DISCOVERY_TIME: u64 = 2_000;
/// Milliseconds after which a call has failed for who asked: a silent RLOC is given up after 6.2 s, and a stub after ten or so.
pub const CALL_TIME: u64 = 10_000;
/// Questions that wait.
const WAITING_MAX: usize = 16_384;
/// Of one asker: a router that asks for a household, and no flood.
const WAITING_OF_ONE: usize = 128;
/// Of the places that are left, which part one asker may have.
const SHARE: usize = 64;

/// A question that waits.
#[derive(Debug)]
pub struct Waiter {
    /// What was asked, and the name that it has led to.
    pub alias: Alias,
    pub to: ReplyTo,
}

/// What has become of a call.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// Whether the host that was called is behind this edge.
    pub is_local: bool,
    pub waiters: Vec<Waiter>,
}

/// See the module.
pub struct Waiting {
    calls: Box<dyn Calls>,
    /// For NAPTR, by its token, which grows, and by when at the latest.
    asked: BTreeMap<u64, (u64, Waiter)>,
    /// For a call, by its number, which grows.
    called: BTreeMap<u64, Called>,
    by_pair: HashMap<Pair, u64>,
    count: usize,
    of_asker: HashMap<(Option<u16>, IpAddr), usize>,
    counters: Arc<Counters>,
}

/// Who calls whom.
type Pair = ((Option<u16>, IpAddr), DomainName);

struct Called {
    due: u64,
    pair: Pair,
    is_local: bool,
    waiters: Vec<Waiter>,
}

fn key(asker: &Asker) -> (Option<u16>, IpAddr) {
    (asker.realm, asker.address)
}

impl Waiting {
    pub(in crate::dns) fn new(calls: Box<dyn Calls>, counters: Arc<Counters>) -> Waiting {
        Waiting {
            calls,
            asked: BTreeMap::new(),
            called: BTreeMap::new(),
            by_pair: HashMap::new(),
            count: 0,
            of_asker: HashMap::new(),
            counters,
        }
    }

    /// From now on outcomes end the calling thread's naps.
    pub(in crate::dns) fn wakes_me(&self) {
        self.calls.wakes_me();
    }

    /// Whether a question more of `asker` may wait.
    pub(in crate::dns) fn has_room(&self, asker: &Asker) -> bool {
        let left = WAITING_MAX.saturating_sub(self.count);
        let of_one = (left / SHARE).clamp(1, WAITING_OF_ONE);
        left > 0 && self.of_asker.get(&key(asker)).is_none_or(|count| *count < of_one)
    }

    fn enter(&mut self, asker: &Asker) {
        self.count += 1;
        *self.of_asker.entry(key(asker)).or_default() += 1;
        self.counters.calls_waiting.set(self.count as u64);
    }

    fn leave(&mut self, asker: &Asker) {
        self.count -= 1;
        if let Some(count) = self.of_asker.get_mut(&key(asker)) {
            *count -= 1;
            if *count == 0 {
                self.of_asker.remove(&key(asker));
            }
        }
        self.counters.calls_waiting.set(self.count as u64);
    }

    /// One waits for NAPTR, that has that token. The caller knows that there is room.
    pub(in crate::dns) fn ask(&mut self, token: u64, waiter: Waiter, now_ms: u64) {
        self.enter(&waiter.alias.forward.asker);
        self.asked.insert(token, (now_ms + DISCOVERY_TIME, waiter));
    }

    /// Whose NAPTR has come.
    pub(in crate::dns) fn found(&mut self, token: u64) -> Option<Waiter> {
        let (_, waiter) = self.asked.remove(&token)?;
        self.leave(&waiter.alias.forward.asker);
        Some(waiter)
    }

    /// One whose NAPTR has not come in time.
    pub(in crate::dns) fn late(&mut self, now_ms: u64) -> Option<Waiter> {
        let (&token, _) = self.asked.first_key_value().filter(|(_, (due, _))| *due <= now_ms)?;
        self.found(token)
    }

    /// Makes a call of a question for `name`, under that number, or joins one; gives it back where there is no room.
    ///
    /// # Errors
    /// The question.
    pub(in crate::dns) fn call(
        &mut self,
        waiter: Waiter,
        name: DomainName,
        callee: Callee,
        number: u64,
        now_ms: u64,
    ) -> Result<(), Box<Waiter>> {
        let asker = waiter.alias.forward.asker;
        if !self.has_room(&asker) {
            self.counters.call(CallEnd::Limited);
            return Err(waiter.into());
        }
        let pair = (key(&asker), name);
        let under_way = self.by_pair.get(&pair).and_then(|number| self.called.get_mut(number));
        if let Some(called) = under_way {
            self.counters.call(CallEnd::Joined);
            called.waiters.push(waiter);
            self.enter(&asker);
            return Ok(());
        }
        let is_local = matches!(callee, Callee::Local(..));
        let realm = Realm(asker.realm.unwrap_or_default());
        let by = proxies::Asker { realm, address: asker.address };
        self.counters.call(if is_local { CallEnd::Local } else { CallEnd::Remote });
        if !self.calls.call(Call { asker: by, name: pair.1.clone(), callee }, number) {
            self.counters.call(CallEnd::Busy);
            return Err(waiter.into());
        }
        self.by_pair.insert(pair.clone(), number);
        let called = Called { due: now_ms + CALL_TIME, pair, is_local, waiters: vec![waiter] };
        self.called.insert(number, called);
        self.enter(&asker);
        Ok(())
    }

    /// What the next call that has ended came to; whether there may be more.
    pub(in crate::dns) fn ended(&mut self) -> (Option<Ended>, bool) {
        let Some((number, outcome)) = self.calls.poll() else { return (None, false) };
        let Some(called) = self.end(number) else {
            self.counters.call(CallEnd::Late);
            return (None, true);
        };
        let end = match outcome {
            Outcome::Address(_) => CallEnd::Address,
            Outcome::Refused => CallEnd::Refused,
            Outcome::Legacy => CallEnd::Legacy,
            Outcome::Busy => CallEnd::Busy,
        };
        called.waiters.iter().for_each(|_| self.counters.call(end));
        (Some(Ended { outcome, is_local: called.is_local, waiters: called.waiters }), true)
    }

    /// Those who have waited too long for a call.
    pub(in crate::dns) fn expired(&mut self, now_ms: u64) -> Option<Vec<Waiter>> {
        let (&number, _) = self.called.first_key_value().filter(|(_, called)| called.due <= now_ms)?;
        let waiters = self.end(number)?.waiters;
        waiters.iter().for_each(|_| self.counters.call(CallEnd::Expired));
        Some(waiters)
    }

    fn end(&mut self, number: u64) -> Option<Called> {
        let called = self.called.remove(&number)?;
        self.by_pair.remove(&called.pair);
        called.waiters.iter().for_each(|waiter| self.leave(&waiter.alias.forward.asker));
        Some(called)
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
