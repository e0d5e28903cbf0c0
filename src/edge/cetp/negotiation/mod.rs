//! Negotiations and the sessions that come of them: (state, event, now) to outputs.
//!
//! | file | what it is |
//! |---|---|
//! | `outbound` | oCES: a host behind this edge asks for another |
//! | `inbound` | iCES: another host asks for one behind this edge |
//! | `live` | what is said within a session: acknowledgements, queries, reports, its end |
//! | `judge` | what the other side tells, against what is required |
//! | `more` | more services in a session |
//! | `clock` | what is due |
//! | [`session`] | what is kept of two hosts |
//! | `draft` | messages as they are written |
//!
//! Guarantees: the inbound side keeps nothing until a cookie, a token or an association's MAC has proved where a question is from;
//! until then a message costs one MAC and no answer is longer than its question. Every table is bounded, every state has a
//! deadline. Never: waits, or asks anything but its [`House`].

mod clock;
mod draft;
mod inbound;
mod judge;
mod live;
mod more;
mod outbound;
pub mod session;

pub use outbound::{Opened, Question};

use super::association::{Arrival, Context, Notice, Peers, Report, Unsealed};
use super::cookie::Cookies;
use super::io::{Now, Out, Output, PeerId};
use super::message::{
    Backoff, Code, CodeSet, Fqdn, Kind, Reason, Rloc, Tag, Termination, Tlv, Unexpected, UnexpectedKind,
    Value,
};
use super::rate::Rate;
use super::terms::{House, Tags};
use super::wire::{self, Decoded};
use lru::LruCache;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use session::{Origin, Sessions, State};

/// How much an edge keeps at most.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Sessions and questions.
    pub sessions: usize,
    /// Other edges.
    pub peers: usize,
    /// Address-bound tokens of other edges.
    pub tokens: usize,
}

/// Reports to strangers a second, and at once.
const UNEXPECTED: u32 = 100;

/// What has happened, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that are no message.
    pub malformed: u64,
    /// Of another version.
    pub version: u64,
    /// Sealed messages whose MAC, number or key is wrong.
    pub unsealed: u64,
    /// Cookies that were never given out.
    pub forged: u64,
    /// Messages without a proof that are too short to be answered.
    pub short: u64,
    /// Cookies given out.
    pub cookies: u64,
    /// Messages for what isn't known here.
    pub unexpected: u64,
    /// Sessions that were agreed on.
    pub established: u64,
    /// Questions for hashes of names that nobody here has, which may be those of services.
    pub unknown_hashes: u64,
    /// Questions of other edges that were refused.
    pub refused: u64,
    /// Questions that were refused because there is no room.
    pub full: u64,
}

/// A whole edge's part of the protocol.
pub struct Cetp {
    pub(super) peers: Peers,
    pub(super) sessions: Sessions,
    pub(super) cookies: Cookies,
    pub(super) rng: StdRng,
    /// Tokens of other edges, and until when they count, in seconds.
    tokens: LruCache<Rloc, ([u8; super::cookie::COOKIE], u32)>,
    most_tokens: usize,
    unexpected: Rate,
    counters: Counters,
}

impl Cetp {
    /// `seed` is from a cryptographic source of random numbers: cookies and the tags of associations are as hard to guess as it is.
    pub fn new(size: Size, tags: Box<dyn Tags>, seed: [u8; 32], now: Now) -> Cetp {
        let mut rng = StdRng::from_seed(seed);
        Cetp {
            peers: Peers::new(size.peers, &mut rng, now),
            sessions: Sessions::new(size.sessions, tags),
            cookies: Cookies::new([rng.random(), rng.random()], now.seconds()),
            tokens: LruCache::unbounded(),
            most_tokens: size.tokens,
            unexpected: Rate::new(UNEXPECTED, UNEXPECTED, now.ms),
            counters: Counters::default(),
            rng,
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// MACs that messages have cost: of cookies and tokens, and of seals.
    pub fn macs(&self) -> u64 {
        self.cookies.macs() + self.peers.macs()
    }

    /// Sessions and questions of which anything is kept, and other edges.
    pub fn len(&self) -> (usize, usize) {
        (self.sessions.used(), self.peers.len())
    }

    /// Whether nothing is kept of anybody.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.peers.rlocs() == 0
    }

    /// When [`Self::tick`] is to be called next, in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        [self.peers.next_deadline(), self.sessions.deadlines.next()].into_iter().flatten().min()
    }

    /// A message has come. The bytes are what the carrier brought as one, from that RLOC.
    pub fn receive<H: House>(&mut self, from: Rloc, bytes: &[u8], house: &H, now: Now, out: &mut Out<'_>) {
        let outline = match wire::outline(bytes) {
            Ok(outline) => outline,
            Err(wire::Error::Version(_)) => return self.counters.version += 1,
            Err(_) => return self.counters.malformed += 1,
        };
        let arrival = Arrival { outline, bytes, from };
        let Ok(peer) = self.open_seal(&arrival, now, out) else { return };
        let Ok(decoded) = wire::decode(bytes) else { return self.counters.malformed += 1 };
        match (outline.kind, peer) {
            (Kind::Edges, Some(peer)) => {
                let mut context = Context { house, cookies: &mut self.cookies, rng: &mut self.rng, now };
                self.peers.receive(peer, &decoded.message, &mut context, out);
            }
            (Kind::Edges, None) => self.stranger(&arrival, &decoded, house, now, out),
            (Kind::Hosts, _) => self.hosts(&arrival, &decoded, peer, house, now, out),
        }
        self.drain(house, now, out);
    }

    /// Whose message it is; an error if it is nobody's.
    fn open_seal(
        &mut self,
        arrival: &Arrival<'_>,
        now: Now,
        out: &mut Out<'_>,
    ) -> Result<Option<PeerId>, ()> {
        let Some(sealed) = &arrival.outline.sealed else { return Ok(None) };
        match self.peers.unseal(sealed, arrival.from, now, out) {
            Ok(peer) => Ok(Some(peer)),
            Err(error) => {
                self.counters.unsealed += 1;
                // Only what has no key to doubt it by is answered: the other side may have lost, or outlived, ours.
                if error == Unsealed::UnknownTag {
                    let unexpected = Unexpected {
                        kind: UnexpectedKind::UNKNOWN_TAG,
                        sst: arrival.outline.sst,
                        dst: Some(sealed.seal.association),
                    };
                    self.tell_unexpected(arrival, unexpected, now, out);
                }
                Err(())
            }
        }
    }

    /// An edge with which there is no association, or a report that there is none.
    fn stranger<H: House>(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let mut context = Context { house, cookies: &mut self.cookies, rng: &mut self.rng, now };
        match decoded.message.value(Code::UNEXPECTED) {
            Some(Value::Unexpected(unexpected)) => {
                if let Some(association) = unexpected.dst {
                    self.peers.hint(association, arrival.from, &mut context, out);
                }
            }
            _ => self.peers.handshake(arrival, decoded, &mut context, out),
        }
    }

    /// Says that a message is unexpected: to who isn't proved, within a rate, never in more bytes than it has, and never of what
    /// is an answer itself.
    fn tell_unexpected(
        &mut self,
        arrival: &Arrival<'_>,
        unexpected: Unexpected,
        now: Now,
        out: &mut Out<'_>,
    ) {
        self.counters.unexpected += 1;
        if arrival.outline.is_answer || !self.unexpected.allow(now.ms) {
            return;
        }
        let kind = if arrival.outline.sealed.is_some() { Kind::Edges } else { Kind::Hosts };
        let tlv = Tlv::response(Value::Unexpected(unexpected));
        let bytes = draft::brief(kind, &arrival.outline, None, &[tlv], false);
        if bytes.len() <= arrival.bytes.len() {
            out(Output::Send { to: arrival.from, message: &bytes });
        }
    }

    /// A message for hosts.
    fn hosts<H: House>(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        peer: Option<PeerId>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        if let Some(peer) = peer {
            self.peers.touch(peer, 0, now);
        }
        let origin = peer.map_or(Origin::Rloc(arrival.from), Origin::Peer);
        let (header, message) = (&decoded.message.header, &decoded.message);
        let Some(dst) = header.dst else {
            if !header.is_answer && !header.is_inbound {
                self.asked(arrival, decoded, peer, house, now, out);
            }
            return;
        };
        let Some(slot) = self.sessions.find(dst).filter(|slot| self.sessions.get(*slot).origin() == origin)
        else {
            return self.nobodys(arrival, decoded, peer, now, out);
        };
        let session = self.sessions.get(slot);
        let is_answer = header.is_answer && header.is_inbound;
        match &session.state {
            _ if peer.is_none() && message.told().contains(Code::UNEXPECTED) => {
                self.unknown_there(arrival, message, now, out);
            }
            State::Opening(_) if is_answer => self.answered(slot, arrival, decoded, house, now, out),
            State::HalfOpen(_) | State::Established(_) if header.sst == session.remote => {
                self.within(slot, arrival, decoded, house, now, out);
            }
            State::Closing(_) | State::Lingering if header.sst == session.remote => {
                self.after_the_end(slot, message, now, out);
            }
            _ => self.counters.unexpected += 1,
        }
    }

    /// A message whose tag finds nothing, or something of another edge.
    fn nobodys(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        peer: Option<PeerId>,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let header = &decoded.message.header;
        let unexpected = Unexpected { kind: UnexpectedKind::UNKNOWN_TAG, sst: header.sst, dst: header.dst };
        match peer {
            None if decoded.message.told().contains(Code::UNEXPECTED) => {
                self.unknown_there(arrival, &decoded.message, now, out);
            }
            Some(peer) if !header.is_answer => {
                self.counters.unexpected += 1;
                self.peers.report_unexpected(peer, unexpected, header.transaction, now, out);
            }
            Some(_) => self.counters.unexpected += 1,
            None => self.tell_unexpected(arrival, unexpected, now, out),
        }
    }

    /// A tunnelled packet has come whose tags aren't known. It is reported to the edge whose RLOC it comes from, under its
    /// association's MAC; to others it is not.
    pub fn unknown_packet(&mut self, from: Rloc, sst: Tag, dst: Tag, now: Now, out: &mut Out<'_>) {
        self.counters.unexpected += 1;
        if !self.unexpected.allow(now.ms) {
            return;
        }
        if let Some(peer) = self.peers.by_rloc(from) {
            let kind = UnexpectedKind::UNKNOWN_TAG;
            let unexpected = Unexpected { kind, sst: Some(sst), dst: Some(dst) };
            let transaction = self.rng.random();
            self.peers.report_unexpected(peer, unexpected, transaction, now, out);
        }
    }

    /// Reports to another edge, about no session in particular. False: there is no association, or too much waits.
    pub fn report(&mut self, peer: PeerId, report: &Report<'_>, now: Now, out: &mut Out<'_>) -> bool {
        let transaction = self.rng.random();
        self.peers.report(peer, report, transaction, now, out)
    }

    /// The association with an edge of that name.
    pub fn peer(&self, name: Fqdn<'_>) -> Option<PeerId> {
        self.peers.find(name.as_str()).filter(|peer| self.peers.is_up(*peer))
    }

    /// Where an edge with which there is an association is reached, and all that it may speak from.
    pub fn rlocs(&self, edge: Fqdn<'_>) -> Option<(Rloc, &[Rloc])> {
        let peer = self.peers.get(self.peer(edge)?);
        Some((peer.rloc()?, &peer.current.as_deref()?.told.rlocs))
    }

    /// The longest packet of a host that an associated edge takes out of a tunnel.
    pub fn mtu(&self, edge: Fqdn<'_>) -> Option<u16> {
        Some(self.peers.get(self.peer(edge)?).current.as_deref()?.told.mtu)
    }

    /// Which life of an associated edge it is.
    pub fn incarnation(&self, edge: Fqdn<'_>) -> Option<u64> {
        Some(self.peers.get(self.peer(edge)?).current.as_deref()?.told.incarnation)
    }

    /// The edges that are known, and what of them is.
    pub fn edges(&self) -> impl Iterator<Item = &super::association::peer::Peer> {
        self.peers.iter()
    }

    /// What associations mean for sessions.
    pub(super) fn drain<H: House>(&mut self, house: &H, now: Now, out: &mut Out<'_>) {
        while let Some(notice) = self.peers.notice() {
            match notice {
                Notice::Up(peer) => self.start_waiting(peer, house, now, out),
                Notice::Lost(peer) => {
                    self.end_all(peer, Reason::LOST, |state| !matches!(state, State::Opening(_)), now, out)
                }
                Notice::Down(peer, reason) => self.end_all(peer, reason, |_| true, now, out),
                Notice::Terminate(peer, Termination::These(reason, tags)) => {
                    for slot in tags.iter().filter_map(|tag| self.sessions.find(*tag)).collect::<Vec<_>>() {
                        if self.sessions.get(slot).peer == Some(peer) {
                            self.remove(slot, reason, now, out);
                        }
                    }
                }
                Notice::Terminate(peer, Termination::All(reason) | Termination::This(reason)) => {
                    self.end_all(peer, reason, |state| !matches!(state, State::Opening(_)), now, out);
                }
                Notice::Unexpected(peer, unexpected) => {
                    if let Some(slot) = unexpected.sst.and_then(|tag| self.sessions.find(tag)) {
                        let session = self.sessions.get(slot);
                        let is_its = session.peer == Some(peer) && session.remote == unexpected.dst;
                        match session.state {
                            State::HalfOpen(_) | State::Established(_) if is_its => {
                                self.remove(slot, Reason::LOST, now, out);
                            }
                            State::Closing(_) if is_its => self.finish_closing(slot, now),
                            _ => (),
                        }
                    }
                }
            }
        }
    }

    fn end_all(
        &mut self,
        peer: PeerId,
        reason: Reason,
        of: impl Fn(&State) -> bool,
        now: Now,
        out: &mut Out<'_>,
    ) {
        for slot in self.sessions.of_peer(peer) {
            if of(&self.sessions.get(slot).state) {
                self.remove(slot, reason, now, out);
            }
        }
    }

    /// A transaction within a session: never that of the question that made it, whose answer may come once more.
    pub(super) fn new_transaction(&mut self, slot: u32) -> u16 {
        self.sessions.get(slot).transaction.wrapping_add(self.rng.random_range(1..=u16::MAX))
    }

    /// Sends the message of a session; one in an association is sealed just now.
    pub(super) fn transmit(&mut self, slot: u32, bytes: &mut [u8], out: &mut Out<'_>) {
        let session = self.sessions.get(slot);
        match session.peer {
            None => out(Output::Send { to: session.rloc, message: bytes }),
            Some(peer) => {
                if let Some(to) = self.peers.seal(peer, bytes) {
                    self.sessions.get_mut(slot).rloc = to;
                    out(Output::Send { to, message: bytes });
                }
            }
        }
    }

    /// Says what a session is.
    pub(super) fn tell_established<H: House>(&mut self, slot: u32, house: &H, out: &mut Out<'_>) {
        let session = self.sessions.get(slot);
        let (local, Some(remote)) = (session.local, session.remote) else { return };
        let told = session
            .peer
            .and_then(|peer| self.peers.get(peer).current.as_deref())
            .map(|current| &current.told);
        let own_mtu = match house.value(None, Code::MTU) {
            Some(Value::Mtu(mtu)) => mtu,
            _ => u16::MAX,
        };
        out(Output::Established(super::io::Session {
            pair: session.pair,
            side: session.side,
            local,
            remote,
            rloc: session.rloc,
            carriers: told.map_or(super::message::Carriers::default().with(session.rloc.carrier()), |told| {
                told.carriers
            }),
            mtu: told.map_or(super::association::peer::MTU, |told| told.mtu).min(own_mtu),
            peer: session.peer_id(),
            peer_name: session.peer_name(),
            edge: session.peer.and_then(|peer| self.peers.name(peer)),
            services: &session.services,
            timeout: session.timeout,
        }));
    }

    /// Ends a session on this side, whatever it was; a question that it was is refused.
    pub(super) fn remove(&mut self, slot: u32, reason: Reason, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        let (pair, was_live) = (session.pair, session.is_live());
        let (side, is_cold, held) = (session.side, session.peer.is_none(), session.held.take());
        let state = std::mem::replace(&mut session.state, State::Lingering);
        if let Some(peer) = session.peer.filter(|_| was_live) {
            self.peers.touch(peer, -1, now);
        }
        self.sessions.unlink_pair(slot);
        if was_live {
            let local = self.sessions.get(slot).local;
            out(Output::Ended { pair, local, reason });
        }
        if matches!(state, State::Opening(_)) {
            out(Output::Refused { pair, backoff: backoff(reason, None), by_peer: false });
        }
        if let State::Established(Some(exchange)) = state
            && matches!(exchange.purpose, session::Purpose::Extend(_))
        {
            out(Output::Refused { pair, backoff: backoff(reason, None), by_peer: false });
        }
        if side == super::terms::Side::Inbound && is_cold && was_live {
            self.sessions.deadlines.set(slot, now.ms + session::LINGER);
        } else {
            self.sessions.free(slot);
        }
        if let Some(held) = held {
            self.resume(held, now);
        }
    }
}

/// A refusal.
pub(super) fn backoff(reason: Reason, code: Option<Code>) -> Backoff {
    Backoff { reason, code, retry_after: 0 }
}

/// What is negotiated by its own rules, and never asked of the house.
const OWN: CodeSet = CodeSet::of(&[
    Code::SERVICE,
    Code::TIMEOUT,
    Code::COOKIE,
    Code::TOKEN,
    Code::ID_TYPE,
    Code::PADDING,
    Code::SIGNATURE,
    Code::CERTIFICATE,
]);

#[cfg(test)]
pub(crate) mod tests;
