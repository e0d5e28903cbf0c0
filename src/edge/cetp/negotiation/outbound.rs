//! The outbound side (oCES): a host behind this edge asks for another, in one to three rounds.

use super::draft::{Draft, askable, own_id, to_be_asked, within};
use super::judge::judge;
use super::session::{self, Flight, Opening, Purpose, State, covers, turned};
use super::{Cetp, backoff};
use crate::edge::cetp::association::peer::RlocList;
use crate::edge::cetp::association::{Arrival, Context, LEAST_UNPROVEN, Target, peer};
use crate::edge::cetp::io::{Now, Out, Output, Pair, PeerId};
use crate::edge::cetp::message::{
    Backoff, Code, CodeSet, Fqdn, Header, Id, IdType, IdTypes, Message, Reason, Rloc, Service, Services, Tag,
    Tlv, Value,
};
use crate::edge::cetp::retry::Sending;
use crate::edge::cetp::terms::{Ask, HostKey, House, Proved, Side};
use crate::edge::cetp::wire::Decoded;
use arrayvec::ArrayVec;
use rand::RngExt;
use std::num::NonZeroU32;

/// Rounds that one negotiation may take (S1).
pub const ROUNDS: u8 = 3;

/// What a host behind this edge wants, as discovery has found it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub host: HostKey,
    pub name: Fqdn<'a>,
    pub services: &'a [Service],
    /// The edge that the other host is behind, if the DNS says who that is.
    pub edge: Option<Fqdn<'a>>,
    /// Where that edge is, best first.
    pub rlocs: &'a [Rloc],
}

/// What became of a question at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There is a session that does, of that local tag.
    Reused(Tag),
    /// The other side is asked; an output will say what it said.
    Asked,
    /// It was asked already.
    Joined,
    /// The two hosts are negotiating something else: to be asked again when that is over.
    Busy,
    /// It can't be had.
    Refused(Backoff),
}

impl Cetp {
    /// A host behind this edge wants something of another.
    pub fn open<H: House>(
        &mut self,
        question: &Question<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) -> Opened {
        let pair = Pair { host: question.host, peer: question.name.hash() };
        if let Some(slot) = self.sessions.by_pair.get(&pair).copied() {
            return self.open_again(slot, question, house, now, out);
        }
        let flight = match self.prepare(question, house) {
            Ok(flight) => flight,
            Err(refusal) => return Opened::Refused(refusal),
        };
        let peer = match self.way(question, &flight, house, now, out) {
            Ok(peer) => peer,
            Err(refusal) => return Opened::Refused(refusal),
        };
        let rloc = flight.rlocs[0];
        let opening =
            Opening { state: State::Opening(Box::new(flight)), side: Side::Outbound, pair, rloc, peer };
        let Some(slot) = self.sessions.open(opening) else {
            self.counters.full += 1;
            return Opened::Refused(backoff(Reason::OVERLOADED, None));
        };
        self.sessions.by_pair.insert(pair, slot);
        // Whatever becomes of the association, there is a deadline.
        self.sessions.deadlines.set(slot, now.ms + super::clock::ASSOCIATION);
        if peer.is_none_or(|peer| self.peers.is_up(peer)) {
            self.send_round(slot, house, now, out);
        }
        self.drain(house, now, out);
        Opened::Asked
    }

    fn open_again<H: House>(
        &mut self,
        slot: u32,
        question: &Question<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) -> Opened {
        let session = self.sessions.get(slot);
        match &session.state {
            State::Opening(flight) if covers(&flight.wanted, question.services) => Opened::Joined,
            State::HalfOpen(_) | State::Established(_) if covers(&session.services, question.services) => {
                Opened::Reused(session.local)
            }
            State::Established(None) => match self.prepare(question, house) {
                Ok(flight) => {
                    self.extend(slot, Box::new(flight), house, now, out);
                    Opened::Asked
                }
                Err(refusal) => Opened::Refused(refusal),
            },
            _ => Opened::Busy,
        }
    }

    fn prepare<H: House>(&mut self, question: &Question<'_>, house: &H) -> Result<Flight, Backoff> {
        let mut rlocs: RlocList =
            question.rlocs.iter().copied().filter(|rloc| peer::is_usable(*rloc)).take(peer::RLOCS).collect();
        peer::keep_carriers(&mut rlocs, super::super::association::handshake::own_carriers(house));
        let rloc = *rlocs.first().ok_or(backoff(Reason::NO_CARRIER, None))?;
        // The DNS says which edge it is: an association has proved it.
        let edge = question.edge.filter(|edge| self.peer(*edge).is_some());
        let ask = Ask {
            side: Side::Outbound,
            host: question.host,
            peer: Id::fqdn(question.name),
            peer_name: Some(question.name),
            proved: Proved { edge, is_signed: false, is_named: true },
            rloc,
            services: question.services,
        };
        let terms = house.terms(&ask)?;
        let wanted: Services = terms.services.clone();
        let id = own_id(house, question.host, |id_type| terms.own_ids.contains(id_type));
        let id_type = id.ok_or(backoff(Reason::ID_TYPE, None))?.id_type;
        Ok(Flight {
            target: question.name.as_str().into(),
            is_by_name: false,
            rlocs,
            at: 0,
            terms,
            wanted,
            id_type,
            rounds: 0,
            cookie: ArrayVec::new(),
            asked: CodeSet::EMPTY,
            sending: None,
        })
    }

    /// By which association it goes, if by one.
    fn way<H: House>(
        &mut self,
        question: &Question<'_>,
        flight: &Flight,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) -> Result<Option<PeerId>, Backoff> {
        let up = question.edge.and_then(|edge| self.peer(edge));
        if let Some(peer) = up {
            let peer_state = self.peers.get(peer);
            let most = peer_state.current.as_ref().map_or(0, |current| current.told.limits.sessions);
            return if peer_state.sessions < most { Ok(up) } else { Err(backoff(Reason::LIMIT, None)) };
        }
        if !flight.terms.needs_association {
            return Ok(None);
        }
        let name = question.edge.ok_or(backoff(Reason::REFUSED, None))?;
        if !self.has_room(name) {
            self.counters.full += 1;
            return Err(backoff(Reason::OVERLOADED, None));
        }
        let mut context = Context { house, cookies: &mut self.cookies, rng: &mut self.rng, now };
        let target = Target { name, rlocs: &flight.rlocs };
        self.peers.ask(&target, &mut context, out).map(Some).ok_or(backoff(Reason::SILENT, None))
    }

    /// Whether something may be kept of that edge: if not, it is no fault of its own, and it may be asked again.
    pub fn has_room(&self, edge: Fqdn<'_>) -> bool {
        self.peers.find(edge.as_str()).is_some() || !self.peers.is_full()
    }

    /// Begins an association with an edge, if there is none; what comes of it an output says. False: one was in vain just now, or there
    /// is no room.
    pub fn associate<H: House>(
        &mut self,
        edge: Fqdn<'_>,
        rlocs: &[Rloc],
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) -> bool {
        let mut context = Context { house, cookies: &mut self.cookies, rng: &mut self.rng, now };
        let asked = self.peers.ask(&Target { name: edge, rlocs }, &mut context, out);
        self.drain(house, now, out);
        asked.is_some()
    }

    /// An association is there: what waits for it goes.
    pub(super) fn start_waiting<H: House>(&mut self, peer: PeerId, house: &H, now: Now, out: &mut Out<'_>) {
        for slot in self.sessions.of_peer(peer) {
            let session = self.sessions.get(slot);
            if matches!(&session.state, State::Opening(flight) if flight.sending.is_none())
                && !self.is_held(slot)
            {
                self.send_round(slot, house, now, out);
            }
        }
    }

    fn is_held(&self, slot: u32) -> bool {
        let pair = self.sessions.get(slot).pair;
        self.sessions
            .by_pair
            .get(&pair)
            .is_some_and(|other| self.sessions.get(*other).held == Some(self.sessions.get(slot).local))
    }

    /// Sends a round's question.
    pub(super) fn send_round<H: House>(&mut self, slot: u32, house: &H, now: Now, out: &mut Out<'_>) {
        let transaction = self.rng.random();
        let token = self.token(self.sessions.get(slot).rloc, now);
        let session = self.sessions.get_mut(slot);
        let (local, host, is_sealed) = (session.local, session.pair.host, session.peer.is_some());
        let State::Opening(flight) = &mut session.state else { return };
        flight.rounds += 1;
        if let Some(token) = token.filter(|_| !is_sealed && flight.rounds == 1) {
            // It may have a cookie yet: what has waited for a question of the other side begins anew.
            flight.cookie.clear();
            flight.cookie.extend(token);
        }
        let header = Header { dst: None, ..within(local, local, transaction, (false, false)) };
        let Some(mut bytes) = write_round(flight, header, host, is_sealed, house) else {
            return self.refuse(slot, backoff(Reason::MISSING, Some(Code::SIGNATURE)), false, out);
        };
        session.transaction = transaction;
        self.transmit(slot, &mut bytes, out);
        let sending = Sending::new(bytes, transaction, now.ms);
        self.sessions.deadlines.set(slot, sending.due);
        if let State::Opening(flight) = &mut self.sessions.get_mut(slot).state {
            flight.sending = Some(sending);
        }
    }

    /// Asks as if nothing had been said yet, under another tag: what was said may count on the other side.
    pub(super) fn start_over<H: House>(&mut self, slot: u32, house: &H, now: Now, out: &mut Out<'_>) {
        self.sessions.retag(slot);
        let State::Opening(flight) = &mut self.sessions.get_mut(slot).state else { return };
        (flight.rounds, flight.asked) = (0, CodeSet::EMPTY);
        flight.cookie.clear();
        self.send_round(slot, house, now, out);
    }

    /// The question comes to nothing; nothing is kept.
    pub(super) fn refuse(&mut self, slot: u32, refusal: Backoff, by_peer: bool, out: &mut Out<'_>) {
        let pair = self.sessions.get(slot).pair;
        self.sessions.free(slot);
        out(Output::Refused { pair, backoff: refusal, by_peer });
    }

    /// The answer won't do: if the other side has a session for it, it is told that this is over.
    fn disagree(&mut self, slot: u32, remote: Option<Tag>, refusal: Backoff, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        (session.remote, session.since) = (remote, now.ms);
        if remote.is_none() {
            return self.refuse(slot, refusal, false, out);
        }
        out(Output::Refused { pair: session.pair, backoff: refusal, by_peer: false });
        self.begin_closing(slot, refusal.reason, now, out);
    }

    /// An answer to a question that opens a session.
    pub(super) fn answered<H: House>(
        &mut self,
        slot: u32,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let session = self.sessions.get(slot);
        let message = &decoded.message;
        let State::Opening(flight) = &session.state else { return };
        let Some(sending) = &flight.sending else { return };
        if sending.transaction != message.header.transaction {
            return;
        }
        if message.demands().ignores_message {
            return self.disagree(slot, message.header.sst, backoff(Reason::UNSUPPORTED, None), now, out);
        }
        if let Some(Value::Backoff(refusal)) = message.value(Code::BACKOFF) {
            return match self.flight_mut(slot) {
                Some(flight) if refusal.reason == Reason::UNKNOWN_HOST && !flight.is_by_name => {
                    flight.is_by_name = true;
                    self.start_over(slot, house, now, out);
                }
                _ => self.refuse(slot, *refusal, true, out),
            };
        }
        let Some(remote) = message.header.sst else {
            return match next_round(self.flight_mut(slot), message) {
                Ok(id_types) => self.go_on(slot, id_types, house, now, out),
                Err(refusal) => self.refuse(slot, refusal, false, out),
            };
        };
        self.conclude(slot, remote, arrival, decoded, house, now, out);
    }

    fn flight_mut(&mut self, slot: u32) -> Option<&mut Flight> {
        match &mut self.sessions.get_mut(slot).state {
            State::Opening(flight) => Some(flight),
            State::Established(Some(exchange)) => match &mut exchange.purpose {
                Purpose::Extend(flight) => Some(flight),
                _ => None,
            },
            _ => None,
        }
    }

    /// Another round, under another type of ID if that was asked for.
    fn go_on<H: House>(
        &mut self,
        slot: u32,
        id_types: Option<IdTypes>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let host = self.sessions.get(slot).pair.host;
        let Some(flight) = self.flight_mut(slot) else { return };
        if let Some(types) = id_types {
            let is_right = |id_type| types.contains(id_type) && flight.terms.own_ids.contains(id_type);
            let Some(id) = own_id(house, host, is_right) else {
                return self.refuse(slot, backoff(Reason::ID_TYPE, Some(Code::ID_TYPE)), false, out);
            };
            flight.id_type = id.id_type;
        }
        self.send_round(slot, house, now, out);
    }

    /// The other side has a session for it. Does it tell what is required?
    #[expect(clippy::too_many_arguments, reason = "an event and its surroundings")]
    fn conclude<H: House>(
        &mut self,
        slot: u32,
        remote: Tag,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let session = self.sessions.get(slot);
        let State::Opening(flight) = &session.state else { return };
        let edge = session.peer.and_then(|peer| self.peers.name(peer));
        let question = flight.sending.as_ref().map_or(&[][..], |sending| &sending.bytes);
        let judged = judge(flight, question, session.pair.host, arrival.from, edge, decoded, house, now);
        let message = &decoded.message;
        let accepted = match judged {
            Ok(accepted) => accepted,
            Err(refusal) => return self.disagree(slot, Some(remote), refusal, now, out),
        };
        let name: Box<str> = flight.target.clone();
        let id = match message.header.source {
            id if id.is_none() => session::keep_id(&Fqdn::new(&name).map_or(Id::NONE, Id::fqdn)),
            id => session::keep_id(&id),
        };
        let available = flight.terms.available.union(flight.terms.offered);
        let is_named = matches!(flight.id_type, IdType::Fqdn | IdType::FqdnHash);
        let session = self.sessions.get_mut(slot);
        (session.remote, session.is_named) = (Some(remote), is_named);
        session.available = available;
        (session.services, session.timeout, session.since) = (accepted.services, accepted.timeout, now.ms);
        (session.peer_id, session.peer_name) = (id, Some(name));
        session.state = State::Established(None);
        let peer = session.peer;
        if let Some(peer) = peer {
            self.peers.touch(peer, 1, now);
        }
        if let (Some(Value::Token(token)), None) = (message.value(Code::TOKEN), peer) {
            self.keep_token(arrival.from, token, now);
        }
        self.counters.established += 1;
        self.acknowledge(slot, message, out);
        self.plan_idle(slot, house, now);
        self.tell_established(slot, house, out);
    }

    /// A negotiation of the other side does as well, or has come to nothing.
    pub(super) fn resume(&mut self, held: Tag, now: Now) {
        let Some(held) = self.sessions.find(held) else { return };
        if matches!(self.sessions.get(held).state, State::Opening(_)) {
            let pair = self.sessions.get(held).pair;
            self.sessions.by_pair.insert(pair, held);
            self.sessions.deadlines.set(held, now.ms);
        }
    }

    fn token(&mut self, rloc: Rloc, now: Now) -> Option<[u8; crate::edge::cetp::cookie::COOKIE]> {
        let (token, until) = *self.tokens.get(&rloc)?;
        (now.seconds() < until).then_some(token)
    }

    /// The one that wasn't used for longest gives way. Only who was asked for a host, and has granted a session, gets here: what nobody
    /// asked for takes no place. Who has itself called at many RLOCs takes those of others, and costs each a round more; edges in an
    /// association have none to lose.
    fn keep_token(&mut self, rloc: Rloc, token: &[u8], now: Now) {
        let Ok(token) = token.try_into() else { return };
        let is_full = self.tokens.len() >= self.most_tokens && !self.tokens.contains(&rloc);
        if is_full && self.tokens.pop_lru().is_none() {
            return;
        }
        // A minute less than it counts there: clocks and ways differ.
        let until = now.seconds() + crate::edge::cetp::cookie::TOKEN_LIFETIME - 60;
        self.tokens.put(rloc, (token, until));
    }
}

/// What the other side requires: whether another round can tell it, and the types of ID that it wants.
pub(super) fn next_round(
    flight: Option<&mut Flight>,
    message: &Message<'_>,
) -> Result<Option<IdTypes>, Backoff> {
    let Some(flight) = flight else { return Ok(None) };
    let asked = message.queries();
    let cookie = match message.value(Code::COOKIE) {
        Some(Value::Cookie(cookie)) => Some(*cookie),
        _ => None,
    };
    let is_progress =
        cookie.is_some_and(|cookie| flight.cookie[..] != *cookie) || !asked.minus(flight.asked).is_empty();
    if flight.rounds >= ROUNDS || !is_progress {
        return Err(backoff(Reason::ROUNDS, asked.iter().next()));
    }
    if let Some(cookie) = cookie {
        flight.cookie.clear();
        flight.cookie.extend(cookie.iter().copied());
    }
    flight.asked = flight.asked.union(asked);
    Ok(match message.value(Code::ID_TYPE) {
        Some(Value::IdType(types)) if asked.contains(Code::ID_TYPE) => Some(*types),
        _ => None,
    })
}

/// A question: what is wanted, what is told, what is asked. `None`: it can't be written, or not be signed.
pub(super) fn write_round<H: House>(
    flight: &Flight,
    header: Header<'_>,
    host: HostKey,
    is_sealed: bool,
    house: &H,
) -> Option<Vec<u8>> {
    let terms = &flight.terms;
    let target = Fqdn::new(&flight.target)?;
    let hash = target.hash();
    let source = house.id(host, flight.id_type)?;
    let hashed = Id { id_type: IdType::FqdnHash, value: &hash };
    let destination = if flight.is_by_name { Id::fqdn(target) } else { hashed };
    let header = Header { source, destination, ..header };
    let mut draft = Draft::new(&header, is_sealed);
    if !flight.cookie.is_empty() {
        draft.push(&Tlv::cookie(&flight.cookie));
    }
    draft.push(&Tlv::exchange(Value::Service(flight.wanted.clone())));
    draft.push(&Tlv::exchange(Value::Timeout(NonZeroU32::new(terms.timeout)?)));
    let told = terms.offered.union(flight.asked.intersection(terms.available));
    for code in told.iter() {
        if !draft.tell(house.value(Some(host), code), code, terms) && flight.asked.contains(code) {
            draft.push(&Tlv::unavailable(code));
        }
    }
    // Whether it can do without, the other side knows.
    let in_vain = askable(flight.asked).without(Code::ID_TYPE).minus(told);
    in_vain.iter().for_each(|code| draft.push(&Tlv::unavailable(code)));
    let asks = to_be_asked(terms).union(askable(terms.optional));
    asks.iter().for_each(|code| draft.push(&Tlv::query(code)));
    if !terms.peer_ids.contains(IdType::Fqdn) && !terms.peer_ids.contains(IdType::FqdnHash) {
        draft.push(&Tlv::exchange(Value::IdType(terms.peer_ids)));
    }
    let is_signed = told.contains(Code::SIGNATURE);
    if is_signed && !is_sealed || told.contains(Code::CERTIFICATE) {
        draft.certify(house, host);
    }
    if !is_sealed && flight.cookie.is_empty() && header.dst.is_none() {
        draft.pad(LEAST_UNPROVEN);
    }
    if is_signed {
        draft.sign(house, host, None);
    }
    draft.finish()
}

/// Services as the other side calls them.
pub(super) fn turn(services: &[Service]) -> Services {
    services.iter().map(turned).collect()
}
