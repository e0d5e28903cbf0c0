//! Sessions of hosts that have changed, or whose rules have, are weighed again: what would not be agreed on any more ends.
//!
//! So are those with hosts behind other edges that have come to be worth less than a rule wants, and those within this edge of an own host
//! that has.
//!
//! Guarantees: only sessions of those hosts are weighed, or all where it is not known any more which they are; at most [`TURN`] are looked
//! at a turn. The other side is told why, and the operator which rule it was. Never: takes services out of a session: who still may have
//! some asks anew.

use std::collections::VecDeque;
use std::ops::Bound;

use super::called::{self, Called};
use super::claims::Case;
use super::edges::Key;
use super::house::{Lent, Parts, Rooms};
use super::local;
use super::refusals::Rule;
use super::reputations::What;
use super::service::{Now, Service};
use crate::config::Services;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{Backoff, Reason, Tag};
use crate::edge::cetp::terms::{HostKey, Side};
use crate::edge::hosts::{HostId, NameHash};

/// Sessions, or pairs of hosts behind this edge, that are looked at a turn.
pub const TURN: usize = 64;
/// Hosts that wait for it; of more all are looked at.
const HOSTS: usize = 2048;

/// What is still to be looked at, from where on.
#[derive(Clone, Debug)]
enum Span {
    Remote(Bound<Pair>, HostKey),
    Local(Bound<(HostId, HostId)>, HostId),
    /// Those with that edge, and with that host where it is about one.
    Worth(Bound<Pair>, Key, Option<NameHash>),
}

/// How far it has come.
#[derive(Debug, Default)]
pub struct Review {
    /// Changes of the register and of users' rules that are taken over.
    seen: [u64; 2],
    spans: VecDeque<Span>,
}

impl Review {
    /// Takes over what has changed; whether anything has.
    fn take(&mut self, lent: Lent<'_>) -> bool {
        let (hosts, rules) = (lent.register.changes(), lent.policy.changes());
        let counts = [hosts.count(), rules.count()];
        let has_changed = counts != self.seen;
        if has_changed {
            match (hosts.since(self.seen[0]), rules.since(self.seen[1])) {
                (Some(hosts), Some(rules)) => {
                    hosts.for_each(|host| self.add(*host));
                    let ruled = rules.filter_map(|name| lent.register.host(name));
                    ruled.for_each(|host| self.add(host.id));
                }
                _ => self.add_all(),
            }
            self.seen = counts;
        }
        has_changed
    }

    fn add(&mut self, host: HostId) {
        if self.spans.len() >= 2 * HOSTS {
            return self.add_all();
        }
        let from = Bound::Included(Pair { host: Called::host(host).into(), peer: [0; 16] });
        self.spans.push_back(Span::Remote(from, Called::last(host)));
        self.add_local(host);
    }

    /// An own host has come to be worth less: what other edges' hosts may use of it, and it of theirs, doesn't depend on that.
    pub(super) fn add_local(&mut self, host: HostId) {
        if self.spans.len() >= 2 * HOSTS {
            return self.add_all();
        }
        let first = HostId::from_number(0);
        self.spans.push_back(Span::Local(Bound::Included((host, first)), host));
    }

    fn add_worth(&mut self, edge: &Key, host: Option<NameHash>) {
        if self.spans.len() >= 2 * HOSTS {
            return self.add_all();
        }
        self.spans.push_back(Span::Worth(Bound::Unbounded, edge.clone(), host));
    }

    fn add_all(&mut self) {
        self.spans.clear();
        self.spans.push_back(Span::Remote(Bound::Unbounded, HostKey(u64::MAX)));
        self.spans.push_back(Span::Local(Bound::Unbounded, HostId::from_number(u32::MAX)));
    }
}

fn backoff(reason: Reason) -> Backoff {
    Backoff { reason, code: None, retry_after: 0 }
}

impl Service {
    /// What the protocol asks of this edge, for who only looks.
    pub(super) fn rooms<'r>(&'r self, lent: Lent<'r>, now: Now) -> Rooms<'r> {
        let parts = Parts {
            own: &self.own,
            credentials: &self.credentials,
            live: &self.live,
            reputations: &self.reputations,
            reports: &self.reports,
            table: &self.shared,
        };
        Rooms::new(parts, &self.refusals, &self.judged, lent, now)
    }

    /// Something of a host behind another edge has turned out badly. Where rules tell what it, or its edge, is worth now from what it was
    /// before, its sessions are weighed again.
    pub(super) fn blame(&mut self, edge: &Key, host: (NameHash, &str), what: What, lent: Lent<'_>, now: Now) {
        let worth =
            |service: &Service| [None, Some(&host.0)].map(|host| service.reputations.of(edge, host, now.ms));
        let before = worth(self);
        self.reputations.record(edge, host, what, now.ms);
        let after = worth(self);
        let is_other = |at: usize| lent.policy.tells_apart(before[at], after[at]);
        if is_other(0) {
            self.review.add_worth(edge, None);
        } else if is_other(1) {
            self.review.add_worth(edge, Some(host.0));
        }
    }

    /// Looks at some sessions of hosts that have changed; whether there was anything to do.
    pub fn review(&mut self, lent: Lent<'_>, now: Now) -> bool {
        let has_changed = self.review.take(lent);
        if has_changed {
            self.reunite(true, lent, now);
        }
        if self.review.spans.is_empty() {
            return has_changed;
        }
        for _ in 0..TURN {
            match self.review.spans.front().cloned() {
                None => break,
                Some(Span::Worth(from, edge, host)) => match self.live.next(from, HostKey(u64::MAX)) {
                    Some((pair, local)) => {
                        let is_its = self.live.get(local).is_some_and(|session| session.edge == edge);
                        self.review.spans[0] = Span::Worth(Bound::Excluded(pair), edge, host);
                        if is_its && host.is_none_or(|host| host == pair.peer) {
                            self.review_session(local, lent, now);
                        }
                    }
                    None => _ = self.review.spans.pop_front(),
                },
                Some(Span::Remote(from, last)) => match self.live.next(from, last) {
                    Some((pair, local)) => {
                        self.review.spans[0] = Span::Remote(Bound::Excluded(pair), last);
                        self.review_session(local, lent, now);
                    }
                    None => _ = self.review.spans.pop_front(),
                },
                Some(Span::Local(from, last)) => match self.locals.next(from, last) {
                    Some(both) => {
                        self.review.spans[0] = Span::Local(Bound::Excluded(both), last);
                        self.review_twins(local::pair(both.0, both.1), lent, now);
                    }
                    None => _ = self.review.spans.pop_front(),
                },
            }
        }
        self.settle(lent, now);
        true
    }

    fn review_session(&mut self, local: Tag, lent: Lent<'_>, now: Now) {
        if let Err(Backoff { reason, .. }) = self.weigh_session(local, lent, now) {
            self.counters.withdrawn += 1;
            let apart = self.take_apart(local, lent, now);
            self.close(local, reason, lent, now);
            return apart.into_iter().for_each(|(pair, apart)| self.keep_apart(pair, apart, lent, now));
        }
        let host = self.live.get(local).and_then(|session| lent.host(session.pair.host));
        if let Some(host) = host {
            self.has_addresses(local, &called::addresses(&host));
        }
    }

    /// Whether a session would be agreed on.
    fn weigh_session(&self, local: Tag, lent: Lent<'_>, now: Now) -> Result<(), Backoff> {
        let Some(session) = self.live.get(local) else { return Ok(()) };
        let rooms = self.rooms(lent, now).of_sessions();
        for side in [Side::Outbound, Side::Inbound] {
            let services = session.services_of(side);
            if services.is_empty() {
                continue;
            }
            // What nothing is known of nobody has agreed on.
            let grounds = session.grounds[side as usize].as_deref().ok_or(backoff(Reason::REFUSED))?;
            let ask = grounds.ask(side, session.pair.host, session.rloc, &services);
            let has_address = |host: crate::edge::hosts::HostRef<'_>| {
                let parts = host.parts();
                parts.realm == session.realm.0 && parts.addresses().any(|known| known == session.host)
            };
            let lost = match rooms.host(session.pair.host) {
                None => Some(Reason::UNKNOWN_HOST),
                Some(host) => (!has_address(host)).then_some(Reason::CLOSED),
            };
            if let Some(reason) = lost {
                rooms.keep_of(&session.host_name, &ask, backoff(reason), None);
                return Err(backoff(reason));
            }
            Case::new(&rooms, &ask)?.confirm(&grounds.known)?;
        }
        Ok(())
    }

    fn review_twins(&mut self, key: [HostId; 2], lent: Lent<'_>, now: Now) {
        let Some(twins) = self.locals.get(&key) else { return };
        let Err((refusal, rule, caller)) = self.weigh_twins(twins, lent, now) else {
            for (tag, host) in twins.halves.each_ref().map(|half| (half.tag, half.host)) {
                let addresses = lent.register.get(host).map(|host| called::addresses(&host));
                self.has_addresses(tag, &addresses.unwrap_or_default());
            }
            return;
        };
        let names = [caller, 1 - caller].map(|at| twins.halves[at].name.clone());
        self.keep_local(names, refusal, rule, true, now);
        self.counters.withdrawn += 1;
        self.end_twins(key, now);
    }

    /// Whether two hosts would still agree; what is in the way, and which of both has called then.
    fn weigh_twins(
        &self,
        twins: &local::Twins,
        lent: Lent<'_>,
        now: Now,
    ) -> Result<(), (Backoff, Option<Rule>, usize)> {
        let hosts = twins.halves.each_ref().map(|half| lent.register.get(half.host));
        for (at, (half, host)) in twins.halves.iter().zip(&hosts).enumerate() {
            let Some(host) = host else { return Err((backoff(Reason::UNKNOWN_HOST), None, at)) };
            let parts = host.parts();
            let is_there =
                parts.realm == half.realm.0 && parts.addresses().any(|known| known == half.address);
            if !is_there {
                return Err((backoff(Reason::CLOSED), None, at));
            }
        }
        let [Some(one), Some(other)] = &hosts else { return Ok(()) };
        for (at, caller, called) in [(0, one, other), (1, other, one)] {
            let half = &twins.halves[at];
            if !half.is_caller() {
                continue;
            }
            let terms = self.match_policies(caller, called, Services::ANY, lent, now);
            let terms = terms.map_err(|(refusal, rule)| (refusal, rule, at))?;
            if !half.is_within(&terms.services) {
                return Err((backoff(Reason::REFUSED), None, at));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More hosts that change, or edges that come to be worth less, than may wait: then all sessions are looked at, and nothing is missed.
    #[test]
    fn what_waits_is_bounded_and_covers_everything() {
        let edge = |number: u32| Key::Named(number.to_string().into());
        let adds: [fn(&mut Review, u32, Key); 3] = [
            |review, number, _| review.add(HostId::from_number(number)),
            |review, number, _| review.add_local(HostId::from_number(number)),
            |review, _, edge| review.add_worth(&edge, None),
        ];
        for add in adds {
            let mut review = Review::default();
            let mut has_been_all = false;
            for number in 0..5 * HOSTS as u32 {
                add(&mut review, number, edge(number));
                assert!(review.spans.len() <= 2 * HOSTS);
                has_been_all |= review.spans.len() == 2;
            }
            let first = review.spans.iter().take(2).cloned().collect::<Vec<_>>();
            assert!(has_been_all);
            assert!(matches!(
                first[..],
                [Span::Remote(Bound::Unbounded, HostKey(u64::MAX)), Span::Local(Bound::Unbounded, _)]
            ));
        }
    }
}
