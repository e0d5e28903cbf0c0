//! The service: calls, messages, time and the DNS's answers in; messages, outcomes, questions and the tables of tunnels and proxy
//! addresses out.
//!
//! Guarantees: sans-IO; every call that is taken over is answered, once; calls for the same two hosts are one negotiation, and none
//! where there is a session that does. A session has its place in the table of tunnels and its proxy address from its beginning to its
//! end, and nothing of it is left after that. Every table is bounded: what is full refuses. Never: waits.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::edges::Edges;
use super::house::{self, Judged, Lent, Parts, Rooms};
use super::live::Live;
use super::local::Locals;
use super::own::{Credentials, Own};
use super::path_mtu;
use super::refusals::Refusals;
use super::reports::{self, Reports};
use super::reputations::Reputations;
use super::review::Review;
use super::tags::Table;
use super::waiting::{Waiting, Waits};
use super::{Answer, Outcome};
use crate::edge::cetp::io::{self, Output, Pair};
use crate::edge::cetp::message::{Backoff, Evidence, Fqdn, IdType, Reason, Rloc, Tag};
use crate::edge::cetp::negotiation::{Cetp, Size, session};
use crate::edge::cetp::terms::{HostKey, Side};
use crate::edge::identity::naming::{self, Claim, NamingCheck, Question, Step};
use crate::edge::proxies::Proxies;
use crate::flow::tunnel::{TunnelTable, Tunnels};

/// The time of an event.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub unix: u64,
    /// Wrapping milliseconds of the workers.
    pub worker: u32,
    pub at: Instant,
}

impl Now {
    pub(super) fn io(self) -> io::Now {
        io::Now { ms: self.ms, unix: self.unix }
    }
}

/// A session as the protocol tells of it, to be acted on when the protocol is done.
#[derive(Debug)]
pub(super) struct Agreed {
    pub pair: Pair,
    pub side: Side,
    pub local: Tag,
    pub remote: Tag,
    pub rloc: Rloc,
    pub name: Option<Box<str>>,
    pub edge: Option<Box<str>>,
    pub services: crate::edge::cetp::message::Services,
    pub timeout: u32,
}

/// A question of another edge that is refused.
#[derive(Debug)]
pub(super) struct Declined {
    pub peer: Box<str>,
    pub hash: [u8; 16],
    pub edge: Option<Box<str>>,
    /// It comes from where it says it does.
    pub is_proved: bool,
    pub is_flood: bool,
    /// How it was called.
    pub host: (IdType, Box<[u8]>),
    pub rloc: Rloc,
    pub backoff: Backoff,
}

/// What the protocol wants.
#[derive(Debug)]
pub(super) enum Event {
    Established(Box<Agreed>),
    Refused { pair: Pair, backoff: Backoff, by_peer: bool },
    Declined(Box<Declined>),
    Ended { local: Tag, reason: Reason },
    Check { local: Tag, name: Box<str>, edge: Option<Box<str>>, rloc: Rloc },
    Evidence { edge: Box<str>, local: Option<Tag>, evidence: Evidence },
    Filtering(reports::Asked),
    Associated { edge: Box<str>, clock: i64 },
    Parted { edge: Box<str>, reason: Reason },
}

/// What the DNS is asked for.
#[derive(Debug)]
pub(super) enum Lookup {
    Check(Tag, NamingCheck),
    /// Where the edge is that a call is for.
    Addresses(Pair),
}

/// What has happened, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub calls: u64,
    /// Answered by a session that there was.
    pub reused: u64,
    /// Joined to a negotiation under way.
    pub joined: u64,
    /// Turned away because there was no room.
    pub busy: u64,
    /// Sessions that the tables have not taken.
    pub untaken: u64,
    pub installed: u64,
    pub removed: u64,
    /// Further addresses of hosts by which sessions are not found: there is no room, or another host has it in its sessions still.
    pub addresses_left_out: u64,
    /// Ended because hosts or rules have changed.
    pub withdrawn: u64,
    pub local: u64,
    pub checks: u64,
    /// Reports of other edges: misbehaviour, and what to keep away.
    pub reports: u64,
    /// Sessions of own hosts that authenticated edges had evidence about.
    pub evidence: u64,
    /// Packets of other edges' hosts that no service of their session is for, as far as workers tell.
    pub trespasses: u64,
    /// Evidence of that, and hosts that other edges were asked to keep away.
    pub evidence_sent: u64,
    pub filtering_sent: u64,
    /// Of those what was ended before its time.
    pub filtering_lifted: u64,
    /// What other edges have asked to have kept away, and what of it is not.
    pub filtering_taken: u64,
    pub filtering_ignored: u64,
}

/// How often, in milliseconds, it is looked at where other edges are, and whether they have been heard.
const LOOK: u64 = 100;

/// See the module.
pub struct Service {
    pub(super) cetp: Cetp,
    pub(super) own: Own,
    pub(super) credentials: Credentials,
    pub(super) table: Table,
    pub(super) shared: Arc<TunnelTable>,
    pub(super) proxies: Arc<Proxies>,
    pub(super) live: Live,
    pub(super) edges: Edges,
    pub(super) waits: Waits,
    pub(super) locals: Locals,
    pub(super) refusals: RefCell<Refusals>,
    pub(super) judged: RefCell<Judged>,
    pub(super) review: Review,
    pub(super) reputations: Reputations,
    pub(super) reports: Reports,
    pub(super) counters: Counters,
    pub(super) mtu_counters: path_mtu::Counters,
    /// By how many milliseconds the clocks of associated edges are ahead.
    pub(super) clocks: HashMap<Box<str>, i64>,
    lookups: HashMap<u64, Lookup>,
    next_lookup: u64,
    /// Sessions of the other side's that no packet has come by yet, and until when that is looked at, in milliseconds.
    unheard: VecDeque<(u64, Tag)>,
    looked: u64,
    pub(super) events: VecDeque<Event>,
    sends: VecDeque<(Rloc, Vec<u8>)>,
    questions: VecDeque<(u64, Question)>,
    pub(super) outcomes: VecDeque<(u64, Outcome)>,
}

impl Service {
    /// `seed` is from a cryptographic source of random numbers.
    pub fn new(
        size: Size,
        (own, credentials): (Own, Credentials),
        tunnels: Tunnels,
        proxies: Arc<Proxies>,
        seed: [u8; 32],
        now: Now,
    ) -> Service {
        let (shared, table) = (tunnels.shared().clone(), Table::new(tunnels));
        Service {
            cetp: Cetp::new(size, Box::new(table.clone()), seed, now.io()),
            own,
            credentials,
            table,
            shared,
            proxies,
            live: Live::default(),
            edges: Edges::default(),
            waits: Waits::default(),
            locals: Locals::default(),
            refusals: RefCell::default(),
            judged: RefCell::default(),
            review: Review::default(),
            reputations: Reputations::default(),
            reports: Reports::default(),
            counters: Counters::default(),
            mtu_counters: path_mtu::Counters::default(),
            clocks: HashMap::new(),
            lookups: HashMap::new(),
            next_lookup: 0,
            unheard: VecDeque::new(),
            looked: now.ms,
            events: VecDeque::new(),
            sends: VecDeque::new(),
            questions: VecDeque::new(),
            outcomes: VecDeque::new(),
        }
    }

    // ---- out ----

    /// The next message that is to be sent.
    pub fn next_message(&mut self) -> Option<(Rloc, Vec<u8>)> {
        self.sends.pop_front()
    }

    /// What has come of the next call.
    pub fn next_outcome(&mut self) -> Option<(u64, Outcome)> {
        self.outcomes.pop_front()
    }

    /// The next question for the DNS, under the number that its answer is to have.
    pub fn next_question(&mut self) -> Option<(u64, Question)> {
        self.questions.pop_front()
    }

    /// When [`Self::tick`] is to be called next, in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let is_idle = self.unheard.is_empty() && self.edges.is_empty() && self.reports.is_at_rest();
        let look = (!is_idle).then_some(self.looked + LOOK);
        let all = [self.cetp.next_deadline(), self.waits.next_deadline(), self.locals.next_deadline(), look];
        all.into_iter().flatten().min()
    }

    // ---- in ----

    /// A message has come from there.
    pub fn received(&mut self, from: Rloc, message: &[u8], lent: Lent<'_>, now: Now) {
        self.drive(lent, now, |cetp, rooms, out| cetp.receive(from, message, rooms, now.io(), out));
        self.settle(lent, now);
    }

    /// A tunnelled packet has come from there that no session is for.
    pub fn unexpected(&mut self, from: Rloc, source: Tag, destination: Tag, lent: Lent<'_>, now: Now) {
        self.drive(lent, now, |cetp, _, out| cetp.unknown_packet(from, source, destination, now.io(), out));
        self.settle(lent, now);
    }

    /// Time has passed.
    pub fn tick(&mut self, lent: Lent<'_>, now: Now) {
        if self.cetp.next_deadline().is_some_and(|due| due <= now.ms) {
            self.drive(lent, now, |cetp, rooms, out| cetp.tick(rooms, now.io(), out));
        }
        self.settle(lent, now);
        if now.ms >= self.looked + LOOK {
            self.looked = now.ms;
            self.look(lent, now);
        }
        self.tick_locals(now);
        while let Some(pair) = self.waits.due(now.ms) {
            self.again(pair, lent, now);
        }
        self.settle(lent, now);
        self.table.lock().reclaim();
    }

    /// The DNS has answered a question.
    pub fn looked_up(&mut self, number: u64, answer: &Answer, lent: Lent<'_>, now: Now) {
        match self.lookups.remove(&number) {
            None => {}
            Some(Lookup::Addresses(pair)) => self.found(pair, answer, lent, now),
            Some(Lookup::Check(local, mut check)) => {
                let answer = match answer {
                    Answer::Speakers(speakers) => naming::Answer::Speakers(speakers),
                    Answer::Addresses(addresses) => naming::Answer::Addresses(addresses),
                    Answer::Nothing => naming::Answer::Nothing,
                    Answer::Failed => naming::Answer::Failed,
                };
                match check.answer(answer) {
                    Step::Ask(question) => self.ask(Lookup::Check(local, check), question),
                    Step::Done(verdict) => {
                        let is_right = verdict == naming::Verdict::Proven;
                        self.drive(lent, now, |cetp, rooms, out| {
                            cetp.checked(local, is_right, rooms, now.io(), out);
                        });
                    }
                }
            }
        }
        self.settle(lent, now);
    }

    // ---- inside ----

    pub(super) fn ask(&mut self, lookup: Lookup, question: Question) {
        self.next_lookup += 1;
        self.lookups.insert(self.next_lookup, lookup);
        self.questions.push_back((self.next_lookup, question));
    }

    /// Lets the protocol act; what it wants besides sending is done by [`Self::settle`].
    pub(super) fn drive<R>(
        &mut self,
        lent: Lent<'_>,
        now: Now,
        act: impl FnOnce(&mut Cetp, &Rooms<'_>, &mut io::Out<'_>) -> R,
    ) -> R {
        let Service {
            cetp,
            own,
            credentials,
            live,
            shared,
            reputations,
            reports,
            refusals,
            judged,
            events,
            sends,
            counters,
            ..
        } = self;
        let parts = Parts { own, credentials, live, reputations, reports, table: shared };
        let rooms = Rooms::new(parts, refusals, judged, lent, now);
        act(cetp, &rooms, &mut |output| take(output, events, sends, counters))
    }

    pub(super) fn settle(&mut self, lent: Lent<'_>, now: Now) {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Established(agreed) => self.established(*agreed, lent, now),
                Event::Refused { pair, backoff, by_peer } => self.refused(pair, backoff, by_peer, lent, now),
                Event::Declined(declined) => self.declined(*declined, lent, now),
                Event::Evidence { edge, local, evidence } => self.believe(&edge, local, &evidence, lent, now),
                Event::Filtering(asked) => self.keep_away(&asked, lent, now),
                Event::Ended { local, reason } => self.told_ended(local, reason, now),
                Event::Check { local, name, edge, rloc } => self.check(local, &name, edge.as_deref(), rloc),
                Event::Associated { edge, clock } => {
                    self.clocks.insert(edge.clone(), clock);
                    self.met(&edge);
                    self.waits.associated(&edge, now.ms);
                }
                Event::Parted { edge, reason } => {
                    self.clocks.remove(&edge);
                    for pair in self.waits.parted(&edge) {
                        let backoff = Backoff { reason, code: None, retry_after: 0 };
                        self.refused(pair, backoff, false, lent, now);
                    }
                }
            }
        }
        // What came to no session.
        self.judged.borrow_mut().clear();
    }

    fn check(&mut self, local: Tag, name: &str, edge: Option<&str>, rloc: Rloc) {
        self.counters.checks += 1;
        let name_of = |text: &str| crate::config::DomainName::new(text);
        let Some(name) = name_of(name) else { return };
        let rloc = match rloc {
            Rloc::V4(address) => naming::Rloc::Ip(address.into()),
            Rloc::V6(address) => naming::Rloc::Ip(address.into()),
            Rloc::Ethernet(address) => naming::Rloc::Ethernet(address.0),
        };
        let claim = Claim { name, edge: edge.and_then(name_of), rloc };
        let (check, question) = NamingCheck::begin(claim);
        self.ask(Lookup::Check(local, check), question);
    }

    /// Has the other side been heard, and is it where it was?
    fn look(&mut self, lent: Lent<'_>, now: Now) {
        for _ in 0..self.unheard.len() {
            let Some((until, local)) = self.unheard.pop_front() else { break };
            let has_come = self.shared.find(local.get()).map(|record| record.counts().packets_in > 0);
            match has_come {
                Some(true) => {
                    self.drive(lent, now, |cetp, rooms, out| cetp.heard(local, rooms, now.io(), out))
                }
                Some(false) if now.ms < until => self.unheard.push_back((until, local)),
                _ => {}
            }
        }
        let Service { cetp, edges, table, own, .. } = self;
        let named: Vec<Box<str>> = edges.named().map(Box::from).collect();
        for name in named {
            let Some(at) = super::edges::whereabouts(cetp, &name) else { continue };
            edges.moved(&super::edges::Key::Named(name.clone()), &at, own, &mut table.lock());
        }
        self.restore_ways(now);
        self.reunite(false, lent, now);
        self.retell(lent, now);
        self.settle(lent, now);
    }

    pub(super) fn listen(&mut self, local: Tag, now: Now) {
        self.unheard.push_back((now.ms + super::live::UNHEARD, local));
    }

    /// What waits for something.
    pub(super) fn waiting(&mut self, pair: &Pair) -> Option<&mut Waiting> {
        self.waits.get_mut(pair)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn protocol(&self) -> &Cetp {
        &self.cetp
    }

    pub fn live(&self) -> &Live {
        &self.live
    }

    pub fn locals(&self) -> &Locals {
        &self.locals
    }

    pub fn refusals(&self) -> std::cell::Ref<'_, Refusals> {
        self.refusals.borrow()
    }

    pub fn credentials_mut(&mut self) -> &mut Credentials {
        &mut self.credentials
    }

    /// What is kept of anybody: sessions and questions, edges, lookups, calls; sessions, edges and RLOCs in the table of tunnels.
    pub fn population(&self) -> [usize; 8] {
        let [sessions, peers, rlocs] = self.table.lock().used();
        let (questions, _) = self.cetp.len();
        let unheard: BTreeSet<Tag> = self.unheard.iter().map(|(_, local)| *local).collect();
        let looked_for = self.lookups.len() + unheard.len();
        let live = self.live.len() + self.locals.len();
        [questions, live, self.edges.len(), looked_for, self.waits.count(), sessions, peers, rlocs]
    }
}

/// Takes over what the protocol wants.
fn take(
    output: Output<'_>,
    events: &mut VecDeque<Event>,
    sends: &mut VecDeque<(Rloc, Vec<u8>)>,
    counters: &mut Counters,
) {
    let owned = |name: Option<Fqdn<'_>>| name.map(|name| Box::from(name.as_str()));
    events.push_back(match output {
        Output::Send { to, message } => return sends.push_back((to, message.to_vec())),
        Output::Established(session) => Event::Established(Box::new(Agreed {
            pair: session.pair,
            side: session.side,
            local: session.local,
            remote: session.remote,
            rloc: session.rloc,
            name: owned(session.peer_name),
            edge: owned(session.edge),
            services: session.services.iter().copied().collect(),
            timeout: session.timeout,
        })),
        Output::Refused { pair, backoff, by_peer } => Event::Refused { pair, backoff, by_peer },
        Output::Declined { peer, name, edge, host, rloc, backoff, is_proved, is_flood } => {
            let hash = session::pair(HostKey(0), &peer).peer;
            let (peer, host) = (house::peer_text(&peer, name), (host.id_type, host.value.into()));
            let edge = owned(edge);
            Event::Declined(Box::new(Declined { peer, hash, edge, is_proved, is_flood, host, rloc, backoff }))
        }
        Output::Ended { local, reason, .. } => Event::Ended { local, reason },
        Output::Check { local, name, edge, rloc } => {
            Event::Check { local, name: name.as_str().into(), edge: owned(edge), rloc }
        }
        Output::Associated { edge, clock, .. } => Event::Associated { edge: edge.as_str().into(), clock },
        Output::Parted { edge, reason, .. } => Event::Parted { edge: edge.as_str().into(), reason },
        Output::Told { .. } => return,
        Output::Evidence { edge, local, evidence } => {
            counters.reports += 1;
            // Who has proved nothing is heard, and not believed.
            let Some(edge) = owned(edge) else { return };
            Event::Evidence { edge, local, evidence: evidence.clone() }
        }
        Output::Filtering { edge, filtering, .. } => {
            counters.reports += 1;
            let Some(edge) = owned(edge) else { return };
            Event::Filtering(reports::Asked::new(edge, filtering))
        }
    });
}
