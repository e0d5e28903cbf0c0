//! More services in a session that there is: both sides of it.
//!
//! Guarantees: it stays with the two IDs that it was agreed on for. Never: takes away what was granted.

use super::draft::within;
use super::inbound::{Asked, Verdict};
use super::judge::judge;
use super::outbound::{next_round, turn, write_round};
use super::session::{self, Exchange, Flight, Purpose, State, covers};
use super::{Cetp, backoff};
use crate::edge::cetp::association::Arrival;
use crate::edge::cetp::io::{Now, Out, Output};
use crate::edge::cetp::message::{Backoff, Code, Fqdn, Reason, Tlv, Value};
use crate::edge::cetp::retry::Sending;
use crate::edge::cetp::terms::{HostKey, House, Terms};
use crate::edge::cetp::wire::Decoded;

impl Cetp {
    /// Asks for more services in a session that there is.
    pub(super) fn extend<H: House>(
        &mut self,
        slot: u32,
        mut flight: Box<Flight>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let transaction = self.new_transaction(slot);
        let session = self.sessions.get(slot);
        let Some(remote) = session.remote else { return };
        let header = within(session.local, remote, transaction, (false, false));
        flight.rounds += 1;
        let written = write_round(&flight, header, session.pair.host, session.peer.is_some(), house);
        let Some(mut bytes) = written else {
            let (pair, refusal) = (session.pair, backoff(Reason::MISSING, Some(Code::SIGNATURE)));
            return out(Output::Refused { pair, backoff: refusal, by_peer: false });
        };
        self.transmit(slot, &mut bytes, out);
        let sending = Sending::new(bytes, transaction, now.ms);
        self.sessions.deadlines.set(slot, sending.due);
        let exchange = Exchange { sending, purpose: Purpose::Extend(flight) };
        self.sessions.get_mut(slot).state = State::Established(Some(Box::new(exchange)));
    }

    /// The answer to a question for more services.
    #[expect(clippy::too_many_arguments, reason = "an event and its surroundings")]
    pub(super) fn extended<H: House>(
        &mut self,
        slot: u32,
        mut flight: Box<Flight>,
        question: &[u8],
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let message = &decoded.message;
        let session = self.sessions.get(slot);
        let (pair, host) = (session.pair, session.pair.host);
        let edge = session.peer.and_then(|peer| self.peers.name(peer));
        let refused = |refusal: Backoff, by_peer: bool| Output::Refused { pair, backoff: refusal, by_peer };
        if let Some(Value::Backoff(refusal)) = message.value(Code::BACKOFF) {
            return out(refused(*refusal, true));
        }
        if message.value(Code::SERVICE).is_none() {
            match next_round(Some(&mut flight), message) {
                Ok(None) => return self.extend(slot, flight, house, now, out),
                Ok(Some(_)) => return out(refused(backoff(Reason::ID_TYPE, Some(Code::ID_TYPE)), false)),
                Err(refusal) => return out(refused(refusal, false)),
            }
        }
        match judge(&flight, question, host, arrival.from, edge, decoded, house, now) {
            Err(refusal) => out(refused(refusal, false)),
            Ok(accepted) => {
                let session = self.sessions.get_mut(slot);
                session::merge(&mut session.services, &accepted.services);
                self.acknowledge(slot, message, out);
                self.tell_established(slot, house, out);
            }
        }
        self.plan_idle(slot, house, now);
    }

    /// A question for more services in a session that there is.
    pub(super) fn asked_for_more<H: House>(
        &mut self,
        slot: u32,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let session = self.sessions.get(slot);
        let (peer, host) = (session.peer, session.pair.host);
        let told = Asked {
            arrival: *arrival,
            decoded,
            peer,
            is_proved: true,
            is_checked: false,
            session: Some(session.local),
        };
        // The name was checked when the session was made, if it is still the same.
        let is_same = told.name().map(Fqdn::as_str) == session.peer_name.as_deref();
        let asked = Asked { is_checked: session.is_checked && is_same, ..told };
        // It stays with whom it was agreed: another ID would be another session.
        if session::pair(host, &asked.header().source) != session.pair {
            return self.refuse_question(&asked, backoff(Reason::ID_TYPE, Some(Code::ID_TYPE)), out);
        }
        match self.weigh(&asked, host, house, now) {
            Verdict::Refuse(refusal) => self.refuse_question(&asked, refusal, out),
            Verdict::Require(terms, missing) => {
                let asks = missing.union(asked.might_tell(&terms));
                let tlvs: Vec<Tlv<'_>> = asks.iter().map(Tlv::query).collect();
                self.answer_without_state(&asked, &tlvs, out);
            }
            Verdict::Check(..) => {
                self.refuse_question(&asked, backoff(Reason::NAMING_CHECK, Some(Code::DOMAIN)), out);
            }
            Verdict::Accept(terms) => self.grant_more(slot, &asked, host, &terms, house, now, out),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an event and its surroundings")]
    fn grant_more<H: House>(
        &mut self,
        slot: u32,
        asked: &Asked<'_>,
        host: HostKey,
        terms: &Terms,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let Some((mut reply, agreed)) = self.write_answer(asked, slot, host, terms, house, now) else {
            return self.refuse_question(asked, backoff(Reason::MISSING, None), out);
        };
        let session = self.sessions.get_mut(slot);
        let more = turn(&agreed.services);
        let is_new = !covers(&session.services, &more);
        session::merge(&mut session.services, &more);
        session.since = now.ms;
        self.transmit(slot, &mut reply, out);
        if is_new {
            self.tell_established(slot, house, out);
        }
    }
}
