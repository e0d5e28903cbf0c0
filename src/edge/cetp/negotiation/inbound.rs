//! The inbound side (iCES): another host asks for one behind this edge.
//!
//! Guarantees: a question is weighed as a whole each time, so that nothing need be kept between rounds; what isn't proved to come
//! from where it says it does costs one MAC, and its answer is no longer than itself.

use super::draft::{Draft, answer, askable, brief, own_id, to_be_asked};
use super::judge::{by_signature, signed_by, unsealed};
use super::outbound::turn;
use super::session::{self, Checking, Opening, Origin, State, granted};
use super::{Cetp, OWN, backoff};
use crate::edge::cetp::association::{Arrival, LEAST_UNPROVEN};
use crate::edge::cetp::cookie::{Bound, COOKIE, Form, Shown};
use crate::edge::cetp::io::{Now, Out, Output, PeerId};
use crate::edge::cetp::message::{
    Backoff, Code, CodeSet, Fqdn, Header, Id, IdType, Kind, Message, Reason, Services, Tag, Tlv, Value,
};
use crate::edge::cetp::retry::{PATIENCE, Sending};
use crate::edge::cetp::terms::{Ask, HostKey, House, Proved, Side, SignedBy, Terms};
use crate::edge::cetp::wire::{self, Decoded};
use std::num::NonZeroU32;

// What is said to who has proved nothing is never longer than the shortest question that is answered: a cookie, all that can be
// asked for, and the types of ID that would do.
const _: () = assert!(
    wire::FIXED + 4 + wire::TLV_HEADER * (2 + Code::KNOWN.len()) + COOKIE + size_of::<u16>()
        <= LEAST_UNPROVEN
);

/// A question as it is weighed.
pub(super) struct Asked<'a> {
    pub arrival: Arrival<'a>,
    pub decoded: &'a Decoded<'a>,
    pub peer: Option<PeerId>,
    /// Where it is from is proved.
    pub is_proved: bool,
    /// The DNS says that its name is behind its RLOC.
    pub is_checked: bool,
    /// The session that it is about, by its tag here.
    pub session: Option<Tag>,
}

/// What the policy makes of it.
pub(super) enum Verdict {
    Refuse(Backoff),
    /// These must be told first, and the ID be of one of these types.
    Require(Terms, CodeSet),
    /// The name must be checked first; who has signed, if somebody had to.
    Check(Terms, Option<SignedBy>),
    Accept(Terms),
}

impl Asked<'_> {
    pub(super) fn message(&self) -> &Message<'_> {
        &self.decoded.message
    }

    pub(super) fn header(&self) -> &Header<'_> {
        &self.decoded.message.header
    }

    fn origin(&self) -> Origin {
        self.peer.map_or(Origin::Rloc(self.arrival.from), Origin::Peer)
    }

    pub(super) fn name(&self) -> Option<Fqdn<'_>> {
        match self.message().value(Code::DOMAIN) {
            Some(Value::Domain(name)) => Some(*name),
            _ => self.header().source.name(),
        }
    }

    pub(super) fn is_wanted_type(&self, terms: &Terms) -> bool {
        terms.peer_ids.contains(self.header().source.id_type)
    }

    /// What is optional, and was neither told nor said not to be there.
    pub(super) fn might_tell(&self, terms: &Terms) -> CodeSet {
        let message = self.message();
        askable(terms.optional).minus(message.told()).minus(message.unavailable())
    }

    fn bound(&self, sst: Tag) -> Bound<'_> {
        let header = self.header();
        Bound { rloc: self.arrival.from, sst, source: header.source, destination: header.destination }
    }
}

impl Cetp {
    /// A question for a session.
    pub(super) fn asked<H: House>(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        peer: Option<PeerId>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let (is_proved, is_checked, session) = (peer.is_some(), false, None);
        let mut asked = Asked { arrival: *arrival, decoded, peer, is_proved, is_checked, session };
        let Some(sst) = arrival.outline.sst else { return self.counters.malformed += 1 };
        if let Some(slot) = self.sessions.by_origin.get(&(asked.origin(), sst)).copied() {
            return self.asked_again(slot, arrival, out);
        }
        if let (None, Some(Value::Cookie(cookie))) = (peer, decoded.message.value(Code::COOKIE)) {
            match self.cookies.check(cookie, &asked.bound(sst), now.seconds()) {
                Shown::Proof => asked.is_proved = true,
                Shown::Stale => (),
                Shown::Forged => return self.counters.forged += 1,
            }
        }
        if !asked.is_proved && arrival.bytes.len() < LEAST_UNPROVEN {
            return self.counters.short += 1;
        }
        let demands = decoded.message.demands();
        if demands.ignores_message {
            let code = demands.reported.first().copied();
            if code.is_some() {
                self.refuse_question(&asked, backoff(Reason::UNSUPPORTED, code), out);
            }
            return;
        }
        if let Some(peer) = peer
            && !self.peers.get_mut(peer).negotiations.allow(now.ms)
        {
            let refusal = Backoff { retry_after: 1, ..backoff(Reason::OVERLOADED, None) };
            return self.decline(&asked, refusal, true, out);
        }
        let Some(host) = house.find(&decoded.message.header.destination) else {
            let refusal = backoff(Reason::UNKNOWN_HOST, None);
            return match decoded.message.header.destination.id_type {
                // It will be asked for by its name, and may be a service's.
                IdType::FqdnHash => {
                    self.counters.unknown_hashes += 1;
                    self.answer_without_state(&asked, &[Tlv::response(Value::Backoff(refusal))], out);
                }
                _ => self.refuse_question(&asked, refusal, out),
            };
        };
        match self.weigh(&asked, host, house, now) {
            Verdict::Refuse(refusal) => self.refuse_question(&asked, refusal, out),
            Verdict::Require(terms, missing) => self.demand(&asked, sst, &terms, missing, now, out),
            Verdict::Check(terms, _) | Verdict::Accept(terms) if !asked.is_proved => {
                self.give_cookie(&asked, sst, &terms, now, out)
            }
            Verdict::Check(_, signed) => self.begin_check(&asked, signed, host, sst, house, now, out),
            Verdict::Accept(terms) => self.accept(&asked, host, sst, terms, None, house, now, out),
        }
    }

    /// A copy of a question that was answered: so is this.
    fn asked_again(&mut self, slot: u32, arrival: &Arrival<'_>, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        if session.transaction != arrival.outline.transaction {
            return;
        }
        if let State::HalfOpen(sending) = &mut session.state {
            let mut bytes = std::mem::take(&mut sending.bytes);
            self.transmit(slot, &mut bytes, out);
            if let State::HalfOpen(sending) = &mut self.sessions.get_mut(slot).state {
                sending.bytes = bytes;
            }
        }
    }

    pub(super) fn weigh<H: House>(&self, asked: &Asked<'_>, host: HostKey, house: &H, now: Now) -> Verdict {
        let message = asked.message();
        let Some(Value::Service(wanted)) = message.value(Code::SERVICE) else {
            return Verdict::Refuse(backoff(Reason::MISSING, Some(Code::SERVICE)));
        };
        // Whoever tells a name has the hash of that one: what is proved of the one holds for the other.
        let source = asked.header().source;
        let is_others = |name: &Fqdn<'_>| source.id_type == IdType::FqdnHash && source.value != name.hash();
        if asked.name().is_some_and(|name| is_others(&name)) {
            return Verdict::Refuse(backoff(Reason::UNACCEPTABLE, Some(Code::DOMAIN)));
        }
        let edge = asked.peer.and_then(|peer| self.peers.name(peer));
        let ask = Ask {
            side: Side::Inbound,
            host,
            peer: asked.header().source,
            peer_name: asked.name(),
            proved: Proved { edge, is_signed: false, is_named: asked.is_checked },
            rloc: asked.arrival.from,
            services: wanted,
        };
        let terms = match house.terms(&ask) {
            Ok(terms) => terms,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        if terms.needs_association && asked.peer.is_none() {
            return Verdict::Refuse(backoff(Reason::ASSOCIATION, None));
        }
        let missing = match lacking(&terms, message) {
            Ok(missing) => missing,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        if asked.header().source.is_none() {
            return Verdict::Refuse(backoff(Reason::ID_TYPE, Some(Code::ID_TYPE)));
        }
        if !missing.is_empty() || !asked.is_wanted_type(&terms) {
            return Verdict::Require(terms, missing);
        }
        if !asked.is_proved {
            // It is judged when it comes again: that is when signatures, which cost what thousands of MACs do, are looked at.
            return Verdict::Accept(terms);
        }
        let signed = match signed_by(&terms, edge, asked.header().source, None, asked.decoded, house, now) {
            Ok(signed) => signed,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let proved = signed.as_ref().map_or(ask.proved, |signed| by_signature(ask.proved, signed));
        let judged = match house.judge(&Ask { proved, ..ask }, &terms, message) {
            Ok(judged) => judged,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let missing = match lacking(&judged, message) {
            Ok(missing) => missing,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        if !missing.is_empty() || !asked.is_wanted_type(&judged) {
            Verdict::Require(judged, missing)
        } else if judged.naming_check && !proved.is_named {
            Verdict::Check(judged, signed)
        } else {
            Verdict::Accept(judged)
        }
    }

    /// An answer that makes no state; sealed if the question was.
    pub(super) fn answer_without_state(&mut self, asked: &Asked<'_>, tlvs: &[Tlv<'_>], out: &mut Out<'_>) {
        let mut bytes = brief(Kind::Hosts, &asked.arrival.outline, asked.session, tlvs, asked.peer.is_some());
        if bytes.is_empty() {
            return;
        }
        match asked.peer {
            None => out(Output::Send { to: asked.arrival.from, message: &bytes }),
            Some(peer) => {
                if let Some(to) = self.peers.seal(peer, &mut bytes) {
                    out(Output::Send { to, message: &bytes });
                }
            }
        }
    }

    pub(super) fn refuse_question(&mut self, asked: &Asked<'_>, refusal: Backoff, out: &mut Out<'_>) {
        self.decline(asked, refusal, false, out);
    }

    fn decline(&mut self, asked: &Asked<'_>, refusal: Backoff, is_flood: bool, out: &mut Out<'_>) {
        self.counters.refused += 1;
        let header = asked.header();
        out(Output::Declined {
            peer: header.source,
            name: asked.name(),
            edge: asked.peer.and_then(|peer| self.peers.name(peer)),
            host: header.destination,
            rloc: asked.arrival.from,
            backoff: refusal,
            is_proved: asked.is_proved,
            is_flood,
        });
        self.answer_without_state(asked, &[Tlv::response(Value::Backoff(refusal))], out);
    }

    /// Says what must be told, and gives a cookie to who has none.
    fn demand(
        &mut self,
        asked: &Asked<'_>,
        sst: Tag,
        terms: &Terms,
        missing: CodeSet,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let is_wanted_type = asked.is_wanted_type(terms);
        let form = if is_wanted_type { Form::Cookie } else { Form::AnySource };
        let cookie;
        let mut tlvs: Vec<Tlv<'_>> = Vec::new();
        // Who has shown a token, or a cookie for the ID that it had, needs one for the next round.
        if asked.peer.is_none() {
            self.counters.cookies += 1;
            cookie = self.cookies.make(form, &asked.bound(sst), now.seconds());
            tlvs.push(Tlv::reliable(Value::Cookie(&cookie)));
        }
        if !is_wanted_type {
            tlvs.push(Tlv::exchange(Value::IdType(terms.peer_ids)));
        }
        tlvs.extend(missing.union(asked.might_tell(terms)).iter().map(Tlv::query));
        self.answer_without_state(asked, &tlvs, out);
    }

    /// There must be another round: what is optional is asked for with it.
    fn give_cookie(&mut self, asked: &Asked<'_>, sst: Tag, terms: &Terms, now: Now, out: &mut Out<'_>) {
        self.counters.cookies += 1;
        let cookie = self.cookies.make(Form::Cookie, &asked.bound(sst), now.seconds());
        let mut tlvs = vec![Tlv::reliable(Value::Cookie(&cookie))];
        tlvs.extend(asked.might_tell(terms).iter().map(Tlv::query));
        self.answer_without_state(asked, &tlvs, out);
    }

    /// Keeps the question until it is known whose the name is.
    #[expect(clippy::too_many_arguments, reason = "an event and its surroundings")]
    fn begin_check<H: House>(
        &mut self,
        asked: &Asked<'_>,
        signed: Option<SignedBy>,
        host: HostKey,
        sst: Tag,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let question = asked.arrival.bytes.to_vec();
        let state = State::Checking(Box::new(Checking { question, until: now.ms + PATIENCE }));
        let Some(slot) = self.new_session(asked, host, sst, state) else { return self.full(asked, out) };
        self.sessions.deadlines.set(slot, now.ms + PATIENCE);
        let edge = asked.peer.and_then(|peer| self.peers.name(peer));
        let proved = Proved { edge, ..Proved::default() };
        let edge = signed.as_ref().map_or(proved, |signed| by_signature(proved, signed)).edge;
        match (self.sessions.get(slot).local, asked.name()) {
            (local, Some(name)) => out(Output::Check { local, name, edge, rloc: asked.arrival.from }),
            _ => self.checked_slot(slot, false, house, now, out),
        }
    }

    fn new_session(&mut self, asked: &Asked<'_>, host: HostKey, sst: Tag, state: State) -> Option<u32> {
        let pair = session::pair(host, &asked.header().source);
        let (rloc, peer) = (asked.arrival.from, asked.peer);
        let slot = self.sessions.open(Opening { state, side: Side::Inbound, pair, rloc, peer })?;
        let session = self.sessions.get_mut(slot);
        session.remote = Some(sst);
        session.transaction = asked.header().transaction;
        session.peer_id = session::keep_id(&asked.header().source);
        session.peer_name = asked.name().map(|name| name.as_str().into());
        self.sessions.by_origin.insert((asked.origin(), sst), slot);
        Some(slot)
    }

    fn full(&mut self, asked: &Asked<'_>, out: &mut Out<'_>) {
        self.counters.full += 1;
        let refusal = Backoff { retry_after: 1, ..backoff(Reason::OVERLOADED, None) };
        self.refuse_question(asked, refusal, out);
    }

    /// What the DNS says of the name of an [`Output::Check`].
    pub fn checked<H: House>(&mut self, local: Tag, is_right: bool, house: &H, now: Now, out: &mut Out<'_>) {
        if let Some(slot) = self.sessions.find(local) {
            self.checked_slot(slot, is_right, house, now, out);
        }
    }

    pub(super) fn checked_slot<H: House>(
        &mut self,
        slot: u32,
        is_right: bool,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let session = self.sessions.get_mut(slot);
        let State::Checking(checking) = &mut session.state else { return };
        let question = std::mem::take(&mut checking.question);
        let (from, peer, host, sst) = (session.rloc, session.peer, session.pair.host, session.remote);
        let (Ok(outline), Ok(decoded), Some(sst)) = (wire::outline(&question), wire::decode(&question), sst)
        else {
            return self.sessions.free(slot);
        };
        let arrival = Arrival { outline, bytes: &question, from };
        let (is_proved, is_checked, session) = (true, is_right, None);
        let asked = Asked { arrival, decoded: &decoded, peer, is_proved, is_checked, session };
        let verdict = match is_right {
            true => self.weigh(&asked, host, house, now),
            false => Verdict::Refuse(backoff(Reason::NAMING_CHECK, Some(Code::DOMAIN))),
        };
        match verdict {
            Verdict::Check(terms, _) | Verdict::Accept(terms) => {
                self.accept(&asked, host, sst, terms, Some(slot), house, now, out);
            }
            Verdict::Refuse(refusal) => {
                self.sessions.free(slot);
                self.refuse_question(&asked, refusal, out);
            }
            Verdict::Require(terms, missing) => {
                self.sessions.free(slot);
                self.demand(&asked, sst, &terms, missing, now, out);
            }
        }
    }

    /// The two policies meet: there is a session from now on.
    #[expect(clippy::too_many_arguments, reason = "an event and its surroundings")]
    fn accept<H: House>(
        &mut self,
        asked: &Asked<'_>,
        host: HostKey,
        sst: Tag,
        terms: Terms,
        slot: Option<u32>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let pair = session::pair(host, &asked.header().source);
        let other = self.sessions.by_pair.get(&pair).copied().filter(|other| Some(*other) != slot);
        let is_opening =
            other.is_some_and(|other| matches!(self.sessions.get(other).state, State::Opening(_)));
        if is_opening && own_goes_on(house, host, &pair.peer) {
            // Both ask: the host whose hash is lower goes on, and the other side knows that as well.
            return if let Some(slot) = slot {
                self.sessions.free(slot)
            };
        }
        if let Some(peer) = asked.peer {
            let known = self.peers.get(peer);
            let most = known.current.as_ref().map_or(0, |current| current.granted.sessions);
            if known.sessions >= most {
                if let Some(slot) = slot {
                    self.sessions.free(slot);
                }
                return self.refuse_question(asked, backoff(Reason::LIMIT, None), out);
            }
        }
        let waiting = State::Checking(Box::new(Checking { question: Vec::new(), until: 0 }));
        let Some(slot) = slot.or_else(|| self.new_session(asked, host, sst, waiting)) else {
            return self.full(asked, out);
        };
        let Some((mut reply, agreed)) = self.write_answer(asked, slot, host, &terms, house, now) else {
            self.sessions.free(slot);
            return self.refuse_question(asked, backoff(Reason::MISSING, Some(Code::SIGNATURE)), out);
        };
        if let Some(other) = other {
            self.make_way(other, slot, asked.origin(), now, out);
        }
        self.sessions.by_pair.entry(pair).or_insert(slot);
        let session = self.sessions.get_mut(slot);
        session.available = terms.available.union(terms.offered);
        session.is_checked = asked.is_checked;
        (session.services, session.timeout, session.since) = (turn(&agreed.services), agreed.timeout, now.ms);
        if let Some(peer) = asked.peer {
            self.peers.touch(peer, 1, now);
        }
        self.counters.established += 1;
        self.transmit(slot, &mut reply, out);
        let sending = Sending::new(reply, asked.header().transaction, now.ms);
        self.sessions.deadlines.set(slot, sending.due);
        self.sessions.get_mut(slot).state = State::HalfOpen(Box::new(sending));
        self.tell_established(slot, house, out);
    }

    /// What there was of the two hosts, when the other side asks anew: a question of one's own waits, and a session with the same
    /// edge, which that would have used, must be one that it has lost.
    fn make_way(&mut self, other: u32, slot: u32, origin: Origin, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get(other);
        let (local, is_lost) = (session.local, session.origin() == origin && session.is_named);
        match &mut self.sessions.get_mut(other).state {
            State::Opening(flight) => {
                flight.sending = None;
                self.sessions.deadlines.set(other, now.ms + 2 * PATIENCE);
                self.sessions.unlink_pair(other);
                self.sessions.get_mut(slot).held = Some(local);
            }
            State::HalfOpen(_) | State::Established(_) if is_lost => {
                self.close(local, Reason::SUPERSEDED, now, out);
            }
            _ => (),
        }
    }

    /// The answer that grants it. `None`: it can't be signed, or not be written.
    pub(super) fn write_answer<H: House>(
        &mut self,
        asked: &Asked<'_>,
        slot: u32,
        host: HostKey,
        terms: &Terms,
        house: &H,
        now: Now,
    ) -> Option<(Vec<u8>, Agreed)> {
        let (message, is_sealed) = (asked.message(), asked.peer.is_some());
        let Some(Value::Service(wanted)) = message.value(Code::SERVICE) else { return None };
        let services = granted(&terms.services, wanted);
        let timeout = match message.value(Code::TIMEOUT) {
            Some(Value::Timeout(told)) => told.get().min(terms.timeout),
            _ => terms.timeout,
        };
        if services.is_empty() {
            return None;
        }
        let mut header = answer(&asked.arrival.outline, Some(self.sessions.get(slot).local));
        // Who was called by a name has that one.
        let called = asked.header().destination.name();
        let hash = called.map_or([0; 16], |name| name.hash());
        let queries = message.queries();
        let own = match message.value(Code::ID_TYPE) {
            Some(Value::IdType(types)) if queries.contains(Code::ID_TYPE) => {
                let is_right = |id_type| types.contains(id_type) && terms.own_ids.contains(id_type);
                match called {
                    Some(name) if is_right(IdType::Fqdn) => Some(Id::fqdn(name)),
                    Some(_) if is_right(IdType::FqdnHash) => Id::new(IdType::FqdnHash, &hash),
                    _ => own_id(house, host, is_right),
                }
            }
            _ => None,
        };
        header.source = own.unwrap_or(Id::NONE);
        let mut draft = Draft::new(&header, is_sealed);
        draft.push(&Tlv::response(Value::Service(services.clone())));
        draft.push(&Tlv::reliable(Value::Timeout(NonZeroU32::new(timeout)?)));
        message.reliable().iter().for_each(|code| draft.push(&Tlv::ack(code)));
        message.demands().reported.iter().for_each(|code| draft.push(&Tlv::unavailable(*code)));
        let value = |code| match called {
            Some(name) if code == Code::DOMAIN => Some(Value::Domain(name)),
            _ => house.value(Some(host), code),
        };
        answer_queries(&mut draft, queries, terms, value);
        let is_signed = terms.offered.union(terms.available.intersection(queries)).contains(Code::SIGNATURE);
        if !is_sealed {
            let token =
                self.cookies.make(Form::Token, &asked.bound(asked.arrival.outline.sst?), now.seconds());
            draft.push(&Tlv::response(Value::Token(&token)));
        }
        if is_signed {
            if !is_sealed {
                draft.certify(house, host);
            }
            draft.sign(house, host, Some(unsealed(asked.arrival.bytes, asked.decoded)));
        }
        Some((draft.finish()?, Agreed { services, timeout }))
    }
}

/// What is required and was not told.
///
/// # Errors
/// It was asked for before, and isn't there.
fn lacking(terms: &Terms, message: &Message<'_>) -> Result<CodeSet, Backoff> {
    let missing = to_be_asked(terms).minus(message.told());
    match missing.intersection(message.unavailable()).iter().next() {
        Some(code) => Err(backoff(Reason::MISSING, Some(code))),
        None => Ok(missing),
    }
}

/// What was agreed on, as the other side calls it.
pub(super) struct Agreed {
    pub services: Services,
    pub timeout: u32,
}

/// What the other side asks to be told, and what is told unasked.
fn answer_queries<'v>(
    draft: &mut Draft,
    queries: CodeSet,
    terms: &Terms,
    value: impl Fn(Code) -> Option<Value<'v>>,
) {
    let tellable = terms.offered.union(terms.available);
    for code in queries.minus(OWN).iter().filter(|code| code.is_known()) {
        if !tellable.contains(code) || !draft.tell(value(code), code, terms) {
            draft.push(&Tlv::unavailable(code));
        }
    }
    for code in terms.offered.minus(queries).iter() {
        draft.tell(value(code), code, terms);
    }
}

/// Whether, when both hosts ask for each other at once, the question of the own one goes on.
fn own_goes_on<H: House>(house: &H, host: HostKey, peer: &[u8; 16]) -> bool {
    house.id(host, IdType::FqdnHash).is_some_and(|own| own.value < &peer[..])
}
