//! What a server does with a question of a host that may become a call, and with those of naming checks. The states are
//! [`Calling`](super::Calling)'s and the desk's; see [`discovery`](crate::dns::discovery).
//!
//! Guarantees: what is taken out of a state ends here, or goes on as a question without an edge does. Never: waits.

use hickory_proto::op::Query;
use hickory_proto::rr::RecordType;

use super::{BATCH, Now, Replies, ReplyTo, Server};
use crate::dns::counters::{DiscoveryEnd, LookupEnd};
use crate::dns::discovery::lookups::{self, Found as LookedUp};
use crate::dns::discovery::waiting::{Ended, Waiter};
use crate::dns::discovery::{Heard, domain, naptr};
use crate::dns::forwarder::Found;
use crate::dns::{Alias, Asker, Forward, zone};
use crate::edge::calls::{Answer, Callee, Outcome};
use crate::edge::hosts::Register;
use crate::edge::identity::naming::Question;

impl Server {
    /// A question for somebody else's name: whether an edge speaks for that name is asked first, where the asker's questions become
    /// calls.
    pub(super) fn discover(&mut self, forward: Forward, to: ReplyTo, now: Now, replies: &mut impl Replies) {
        let may_call = self.responder.discovers(&forward);
        let (Some(calling), Some(others), true) = (&mut self.calling, &mut self.forwarder, may_call) else {
            return self.forward(forward, to, replies);
        };
        let (name, asker) = (forward.query.name().clone(), forward.asker);
        let waiter = Waiter { alias: Alias { forward, chain: Vec::new(), target: name.clone() }, to };
        if !calling.has_room(&asker) {
            self.counters.discovery(DiscoveryEnd::Limited);
            return self.fail(&waiter, replies);
        }
        self.next += 1;
        match others.ask(Forward::of_edge(name, RecordType::NAPTR, asker), self.next) {
            true => calling.ask(self.next, waiter, now.ms),
            false => self.overload(&waiter.to, replies),
        }
    }

    /// What others have found of a question that is no host's own.
    pub(super) fn found(
        &mut self,
        token: u64,
        found: Found,
        hosts: &Register,
        now: Now,
        replies: &mut impl Replies,
    ) {
        if let Some(waiter) = self.calling.as_mut().and_then(|calling| calling.found(token)) {
            self.discovered(waiter, found, hosts, now, replies);
        } else if self.lookups.as_ref().is_some_and(|desk| desk.has(token)) {
            self.looked_up(token, found, hosts, now);
        }
    }

    /// NAPTR has come: the question goes on.
    fn discovered(
        &mut self,
        waiter: Waiter,
        found: Found,
        hosts: &Register,
        now: Now,
        replies: &mut impl Replies,
    ) {
        let Waiter { alias: Alias { forward, target: asked, .. }, to } = waiter;
        let kind = forward.query.query_type();
        let heard = match found {
            // The alias itself is what ANY asks for.
            Found::Alias(_) if kind == RecordType::ANY => None,
            Found::Alias(alias) => {
                self.counters.discovery(DiscoveryEnd::Own);
                let alias = Alias { forward, ..*alias };
                let outcome = self.responder.complete(alias, hosts, now.seconds);
                return self.go_on(outcome, to, now, replies);
            }
            Found::Answer(bytes) => {
                let query = Query::query(asked, RecordType::NAPTR);
                let heard = Heard::read(&bytes, &query);
                if heard.is_none() {
                    self.counters.discovery(DiscoveryEnd::Failed);
                    return self.forward(forward, to, replies);
                }
                heard.filter(|heard| kind != RecordType::ANY || heard.chain.is_empty())
            }
        };
        let spoken = heard.and_then(|heard| {
            let speakers = self.responder.others(naptr::speakers(&heard.target, &heard.records));
            (!speakers.is_empty() && domain(&heard.target).is_some()).then_some((heard, speakers))
        });
        let Some((Heard { chain, target, .. }, speakers)) = spoken else {
            self.counters.discovery(DiscoveryEnd::NoEdge);
            return self.forward(forward, to, replies);
        };
        self.counters.discovery(DiscoveryEnd::Edge);
        let alias = Alias { forward, chain, target };
        match kind {
            RecordType::AAAA => self.end(self.responder.has_no_ipv6(alias), &to, replies),
            _ => self.call(alias, Callee::Remote(speakers), to, now, replies),
        }
    }

    /// Somebody is called.
    pub(super) fn call(
        &mut self,
        alias: Alias,
        callee: Callee,
        to: ReplyTo,
        now: Now,
        replies: &mut impl Replies,
    ) {
        let name = domain(&alias.target);
        let waiter = Waiter { alias, to };
        let (Some(calling), Some(name)) = (&mut self.calling, name) else {
            return self.fail(&waiter, replies);
        };
        self.next += 1;
        if let Err(waiter) = calling.call(waiter, name, callee, self.next, now.ms) {
            self.fail(&waiter, replies);
        }
    }

    /// Takes up what calls have come to, and what has waited for too long; whether there was anything.
    pub(super) fn turn_calls(&mut self, hosts: &Register, now: Now, replies: &mut impl Replies) -> bool {
        let mut is_busy = false;
        for _ in 0..BATCH {
            let Some((ended, true)) = self.calling.as_mut().map(|calling| calling.ended()) else { break };
            is_busy = true;
            if let Some(ended) = ended {
                self.ended(ended, hosts, now, replies);
            }
        }
        for _ in 0..BATCH {
            let Some(waiters) = self.calling.as_mut().and_then(|calling| calling.expired(now.ms)) else {
                break;
            };
            is_busy = true;
            waiters.iter().for_each(|waiter| self.fail(waiter, replies));
        }
        for _ in 0..BATCH {
            let Some(waiter) = self.calling.as_mut().and_then(|calling| calling.late(now.ms)) else { break };
            is_busy = true;
            self.counters.discovery(DiscoveryEnd::Late);
            self.forward(waiter.alias.forward, waiter.to, replies);
        }
        is_busy
    }

    fn ended(&mut self, ended: Ended, hosts: &Register, now: Now, replies: &mut impl Replies) {
        for Waiter { alias, to } in ended.waiters {
            let outcome = match ended.outcome {
                Outcome::Address(assigned) => self.responder.agreed(alias, assigned),
                Outcome::Refused => self.responder.refused(alias),
                Outcome::Busy => self.responder.failed(&alias),
                Outcome::Legacy if ended.is_local => self.responder.without_calls(alias, hosts, now.seconds),
                Outcome::Legacy => {
                    self.forward(alias.forward, to, replies);
                    continue;
                }
            };
            self.go_on(outcome, to, now, replies);
        }
    }

    fn fail(&self, waiter: &Waiter, replies: &mut impl Replies) {
        self.end(self.responder.failed(&waiter.alias), &waiter.to, replies);
    }

    /// Takes up questions of naming checks; whether there were any.
    pub(super) fn turn_lookups(&mut self, hosts: &Register, now: Now) -> bool {
        let mut is_busy = false;
        for _ in 0..BATCH {
            let Some((question, number)) = self.lookups.as_mut().and_then(|desk| desk.next()) else { break };
            is_busy = true;
            self.look_up(&question, number, hosts, now);
        }
        is_busy
    }

    fn look_up(&mut self, question: &Question, number: u64, hosts: &Register, now: Now) {
        let (Question::Naptr(name) | Question::Addresses(name)) = question;
        let name = zone::name(name);
        let (mut found, mut tokens) = (Vec::new(), Vec::new());
        for &kind in lookups::wanted(question) {
            if let Some(records) = self.responder.look_up(&name, kind, hosts, now.seconds) {
                found.push(LookedUp::Records(name.clone(), records));
                continue;
            }
            self.next += 1;
            let forward = Forward::of_edge(name.clone(), kind, Asker::EDGE);
            match self.forwarder.as_mut().is_some_and(|others| others.ask(forward, self.next)) {
                true => tokens.push((self.next, kind)),
                false => found.push(LookedUp::Failed),
            }
        }
        let Some(desk) = &mut self.lookups else { return };
        if let Some(answer) = desk.asked(number, name, tokens, found) {
            self.count_lookup(&answer);
        }
    }

    /// Others have answered for a naming check.
    fn looked_up(&mut self, token: u64, found: Found, hosts: &Register, now: Now) {
        let Some(desk) = &mut self.lookups else { return };
        let responder = &self.responder;
        let read = |query: &Query| match found {
            Found::Answer(bytes) => Heard::read(&bytes, query)
                .map_or(LookedUp::Failed, |heard| LookedUp::Records(heard.target, heard.records)),
            Found::Alias(alias) => {
                let records = responder.look_up(&alias.target, query.query_type(), hosts, now.seconds);
                LookedUp::Records(alias.target, records.unwrap_or_default())
            }
        };
        if let Some(answer) = desk.found(token, read) {
            self.count_lookup(&answer);
        }
    }

    fn count_lookup(&self, answer: &Answer) {
        self.counters.lookup(match answer {
            Answer::Speakers(_) => LookupEnd::Speakers,
            Answer::Addresses(_) => LookupEnd::Addresses,
            Answer::Nothing => LookupEnd::Nothing,
            Answer::Failed => LookupEnd::Failed,
        });
    }
}
