//! What the thread `ces-dns` does with a question: answers it, or keeps it until the pool, the register, other servers or other edges
//! have decided.
//!
//! Sans-IO: frames and messages come in with the time and the register, answers go out by [`Replies`].
//!
//! Guarantees: whatever the bytes, a frame is counted as malformed or its message as one question, and each question ends as one
//! answer or one silence; what is kept is bounded, and what finds no room ends in silence under a name. Never: waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::circular::{self, Decided, Pool};
use super::counters::Counters;
use super::datagram::{self, Ends};
use super::discovery::waiting::Waiting as Calling;
use super::discovery::{Callers, lookups};
use super::forwarder::{Forwarder, Found};
use super::update::End;
use super::updates::{Done, Updates, Waiting};
use super::{Asker, Decision, Deferral, Forward, Outcome, Responder, Silence, Transport, Update};
use crate::edge::calls::Callee;
use crate::edge::hosts::Register;
use crate::edge::thread::Changer;

mod calls;

/// Questions by TCP that the pool is to be asked about once more.
const RETRIES_MAX: usize = 1024;
/// Questions that are with other servers.
const FORWARDED_MAX: usize = 16_384;
/// What of each is taken at a time.
const BATCH: usize = 64;

/// The time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Milliseconds that never go back.
    pub ms: u64,
    /// The same moment, to whom other threads tell theirs.
    pub at: Instant,
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// By that worker, on that interface.
    Datagram { worker: usize, interface: u16, ends: Ends },
    /// By that connection.
    Stream { connection: u64 },
}

/// Where answers go.
pub trait Replies {
    /// `None`: there is none, and there will be none.
    fn send(&mut self, to: &ReplyTo, message: Option<Vec<u8>>);
}

/// What a server is made of.
pub struct Parts {
    pub responder: Responder,
    /// By interface: its inside realm; `None` outside.
    pub realms: Vec<Option<u16>>,
    /// `None` where there is no register.
    pub changer: Option<Changer>,
    /// `None`: hosts have no address outside.
    pub pool: Option<Pool>,
    /// `None`: others' names are refused.
    pub forwarder: Option<Box<dyn Forwarder>>,
    pub callers: Callers,
    pub counters: Arc<Counters>,
}

/// See the module.
pub struct Server {
    responder: Responder,
    realms: Vec<Option<u16>>,
    updates: Updates,
    pool: Option<Pool>,
    forwarder: Option<Box<dyn Forwarder>>,
    /// By their number, which grows.
    forwarded: BTreeMap<u64, ReplyTo>,
    /// `None`: nobody makes calls.
    calling: Option<Calling>,
    /// `None`: nobody makes naming checks.
    lookups: Option<lookups::Desk>,
    /// By when they are due, and their number.
    retries: BTreeMap<(u64, u64), (Box<Deferral>, ReplyTo)>,
    next: u64,
    counters: Arc<Counters>,
}

impl Server {
    pub fn new(parts: Parts) -> Server {
        let Parts { mut responder, callers: Callers { calls, lookups }, .. } = parts;
        responder.make_calls(calls.is_some());
        Server {
            responder,
            calling: calls.map(|calls| Calling::new(calls, parts.counters.clone())),
            lookups,
            realms: parts.realms,
            updates: Updates::new(parts.changer),
            pool: parts.pool,
            forwarder: parts.forwarder,
            forwarded: BTreeMap::new(),
            retries: BTreeMap::new(),
            next: 0,
            counters: parts.counters,
        }
    }

    /// From now on whatever a turn takes up ends the calling thread's naps: all but what the register's owner has.
    pub fn wakes_me(&self) {
        if let Some(pool) = &self.pool {
            pool.gateway.wakes_me();
        }
        if let Some(calling) = &self.calling {
            calling.wakes_me();
        }
        if let Some(desk) = &self.lookups {
            desk.wakes_me();
        }
        if let Some(others) = &self.forwarder {
            others.wakes_me();
        }
    }

    pub fn responder(&mut self) -> &mut Responder {
        &mut self.responder
    }

    /// A frame from a worker.
    pub fn frame(
        &mut self,
        frame: &[u8],
        (worker, interface): (usize, u16),
        hosts: &Register,
        now: Now,
        replies: &mut impl Replies,
    ) {
        let realm = self.realms.get(usize::from(interface));
        let (Some(&realm), Some((ends, message))) = (realm, datagram::read(frame)) else {
            return self.counters.malformed.add(1);
        };
        self.counters.udp.add(1);
        let asker = Asker { address: ends.remote.ip(), transport: Transport::Udp, realm };
        self.message(message, &asker, ReplyTo::Datagram { worker, interface, ends }, hosts, now, replies);
    }

    /// A message by TCP.
    pub fn stream(
        &mut self,
        message: &[u8],
        asker: &Asker,
        connection: u64,
        hosts: &Register,
        now: Now,
        replies: &mut impl Replies,
    ) {
        self.counters.tcp.add(1);
        self.message(message, asker, ReplyTo::Stream { connection }, hosts, now, replies);
    }

    fn message(
        &mut self,
        message: &[u8],
        asker: &Asker,
        to: ReplyTo,
        hosts: &Register,
        now: Now,
        replies: &mut impl Replies,
    ) {
        match self.responder.ask(message, asker, hosts, now.seconds) {
            Outcome::Forward(forward) => self.discover(*forward, to, now, replies),
            Outcome::Update(update) => self.update(update, message, asker, to, now, replies),
            outcome => self.go_on(outcome, to, now, replies),
        }
    }

    /// What a question comes to that is no update, and for which no other edge is looked for.
    fn go_on(&mut self, outcome: Outcome, to: ReplyTo, now: Now, replies: &mut impl Replies) {
        match outcome {
            Outcome::Reserve(deferral) => self.reserve(deferral, to, false, now, replies),
            Outcome::Forward(forward) => self.forward(*forward, to, replies),
            Outcome::Call(alias, host, service) => {
                self.call(*alias, Callee::Local(host, service), to, now, replies);
            }
            outcome => self.end(outcome, &to, replies),
        }
    }

    /// Lets time pass, and takes up what has been decided elsewhere; whether there was anything.
    pub fn turn(&mut self, hosts: &Register, now: Now, replies: &mut impl Replies) -> bool {
        self.responder.turn(now.at);
        let mut busy = self.pool.as_mut().is_some_and(|pool| pool.gateway.turn(now.ms) > 0);
        busy |= self.turn_updates(hosts, now, replies);
        for _ in 0..BATCH {
            let Some((token, found)) = self.forwarder.as_mut().and_then(|others| others.poll()) else {
                break;
            };
            busy = true;
            let Some(to) = self.forwarded.remove(&token) else {
                self.found(token, found, hosts, now, replies);
                continue;
            };
            let outcome = match found {
                Found::Answer(message) if message.is_empty() => Outcome::Silence(Silence::TooLong),
                Found::Answer(message) => Outcome::Answer(message),
                Found::Alias(alias) => self.responder.complete(*alias, hosts, now.seconds),
            };
            self.go_on(outcome, to, now, replies);
        }
        busy |= self.turn_calls(hosts, now, replies);
        busy |= self.turn_lookups(hosts, now);
        while let Some(entry) = self.retries.first_entry().filter(|entry| entry.key().0 <= now.ms) {
            let (deferral, to) = entry.remove();
            busy = true;
            self.reserve(deferral, to, true, now, replies);
        }
        busy
    }

    /// The last thing that becomes of a question.
    fn end(&self, outcome: Outcome, to: &ReplyTo, replies: &mut impl Replies) {
        match outcome {
            Outcome::Answer(message) => {
                self.counters.answer(&message);
                replies.send(to, Some(message));
            }
            Outcome::Silence(why) => {
                self.counters.silence(why);
                replies.send(to, None);
            }
            // Neither a decision nor a refusal is one of these.
            Outcome::Reserve(_) | Outcome::Forward(_) | Outcome::Call(..) | Outcome::Update(_) => {
                self.overload(to, replies);
            }
        }
    }

    fn overload(&self, to: &ReplyTo, replies: &mut impl Replies) {
        self.counters.overload();
        replies.send(to, None);
    }

    fn reserve(
        &mut self,
        deferral: Box<Deferral>,
        to: ReplyTo,
        is_again: bool,
        now: Now,
        replies: &mut impl Replies,
    ) {
        let decided = circular::decide(&mut self.pool, &deferral.reserve, is_again, &self.counters, now.ms);
        let decision = match decided {
            Decided::Now(decision) => decision,
            Decided::Later(after) if self.retries.len() < RETRIES_MAX => {
                self.next += 1;
                self.retries.insert((now.ms + u64::from(after), self.next), (deferral, to));
                return;
            }
            Decided::Later(_) => Decision::Empty,
        };
        self.end(self.responder.decide(&deferral, decision, now.seconds), &to, replies);
    }

    fn forward(&mut self, forward: Forward, to: ReplyTo, replies: &mut impl Replies) {
        let Some(others) = &mut self.forwarder else {
            return self.end(self.responder.refuse(&forward), &to, replies);
        };
        self.next += 1;
        if self.forwarded.len() >= FORWARDED_MAX || !others.ask(forward, self.next) {
            return self.overload(&to, replies);
        }
        self.counters.forwarded.add(1);
        self.forwarded.insert(self.next, to);
    }

    fn update(
        &mut self,
        update: Box<Update>,
        message: &[u8],
        asker: &Asker,
        to: ReplyTo,
        now: Now,
        replies: &mut impl Replies,
    ) {
        if self.updates.is_running() {
            let waiting = Waiting { message: message.to_vec(), asker: *asker, to };
            if !self.updates.wait(waiting) {
                self.overload(&to, replies);
            }
        } else if let Some(done) = self.updates.begin(update, to) {
            self.updated(&done, now, replies);
        }
        self.counters.updates_waiting.set(self.updates.len() as u64);
    }

    fn turn_updates(&mut self, hosts: &Register, now: Now, replies: &mut impl Replies) -> bool {
        let Some(done) = self.updates.poll() else { return false };
        self.updated(&done, now, replies);
        while let Some(Waiting { message, asker, to }) = self.updates.next() {
            self.message(&message, &asker, to, hosts, now, replies);
        }
        self.counters.updates_waiting.set(self.updates.len() as u64);
        true
    }

    fn updated(&self, done: &Done, now: Now, replies: &mut impl Replies) {
        let counter = match done.end {
            End::Done => &self.counters.updates_done,
            End::Refused => &self.counters.updates_refused,
            End::Failed => &self.counters.updates_failed,
        };
        counter.add(1);
        self.end(self.responder.updated(&done.update, done.end, now.seconds), &done.to, replies);
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
