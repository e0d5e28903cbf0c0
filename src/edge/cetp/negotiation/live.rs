//! What is said within a session: acknowledgements, queries, keepalive, reports, more services, its end.

use super::draft::{Draft, REPORT, within};
use super::session::{Exchange, Purpose, State};
use super::{Cetp, OWN};
use crate::edge::cetp::association::{Arrival, Report};
use crate::edge::cetp::io::{Now, Out, Output};
use crate::edge::cetp::message::{
    Code, CodeSet, Message, Operation, Reason, Tag, Termination, Tlv, UnexpectedKind, Value,
};
use crate::edge::cetp::retry::Sending;
use crate::edge::cetp::terms::{House, Side};
use crate::edge::cetp::wire::Decoded;
use rand::RngExt;

impl Cetp {
    /// A message with both tags of a session.
    pub(super) fn within<H: House>(
        &mut self,
        slot: u32,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let message = &decoded.message;
        let header = &message.header;
        let session = self.sessions.get_mut(slot);
        let is_own_answer = header.is_answer && header.is_inbound && session.side == Side::Outbound;
        if is_own_answer && header.transaction == session.transaction {
            // A copy of the answer that made it: the acknowledgement was lost.
            return self.acknowledge(slot, message, out);
        }
        // Who knows this side's tag has its answer, and takes it, unless it says that it doesn't.
        if matches!(session.state, State::HalfOpen(_)) && !message.told().contains(Code::TERMINATE) {
            self.confirm(slot, house, now, out);
        }
        match header.is_answer {
            true => self.answered_within(slot, arrival, decoded, house, now, out),
            false if message.queries().contains(Code::SERVICE) => {
                self.asked_for_more(slot, arrival, decoded, house, now, out);
            }
            false => self.asked_within(slot, message, house, now, out),
        }
    }

    /// The other side has the answer that made the session.
    pub(super) fn confirm<H: House>(&mut self, slot: u32, house: &H, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        session.state = State::Established(None);
        let held = session.held.take().and_then(|held| self.sessions.find(held));
        self.plan_idle(slot, house, now);
        let Some(held) = held else { return };
        // What was held asks for no more than there is, or for more within the session.
        let state = std::mem::replace(&mut self.sessions.get_mut(held).state, State::Lingering);
        self.sessions.free(held);
        let State::Opening(flight) = state else { return };
        let session = self.sessions.get(slot);
        self.sessions.by_pair.insert(session.pair, slot);
        if super::session::covers(&self.sessions.get(slot).services, &flight.wanted) {
            self.tell_established(slot, house, out);
        } else {
            self.extend(slot, flight, house, now, out);
        }
    }

    /// A packet of the other side has come by the session of that tag, for the first time: so it has the answer.
    pub fn heard<H: House>(&mut self, local: Tag, house: &H, now: Now, out: &mut Out<'_>) {
        if let Some(slot) = self.sessions.find(local)
            && matches!(self.sessions.get(slot).state, State::HalfOpen(_))
        {
            self.confirm(slot, house, now, out);
        }
    }

    /// Acknowledges what the other side tells reliably.
    pub(super) fn acknowledge(&mut self, slot: u32, message: &Message<'_>, out: &mut Out<'_>) {
        let acks: Vec<Tlv<'_>> = message.reliable().iter().map(Tlv::ack).collect();
        if !acks.is_empty() {
            self.say(slot, message.header.transaction, (true, !message.header.is_inbound), &acks, out);
        }
    }

    /// Says something that needs no answer.
    pub(super) fn say(
        &mut self,
        slot: u32,
        transaction: u16,
        kind: (bool, bool),
        tlvs: &[Tlv<'_>],
        out: &mut Out<'_>,
    ) -> Option<Vec<u8>> {
        let session = self.sessions.get(slot);
        let header = within(session.local, session.remote?, transaction, kind);
        let mut draft = Draft::new(&header, session.peer.is_some());
        tlvs.iter().for_each(|tlv| draft.push(tlv));
        if session.peer.is_none() && !header.is_answer {
            draft.pad(REPORT);
        }
        let mut bytes = draft.finish()?;
        self.transmit(slot, &mut bytes, out);
        Some(bytes)
    }

    /// Says something until it is answered. False: something else is being said.
    fn exchange(
        &mut self,
        slot: u32,
        purpose: Purpose,
        tlvs: &[Tlv<'_>],
        now: Now,
        out: &mut Out<'_>,
    ) -> bool {
        let transaction = self.new_transaction(slot);
        let session = self.sessions.get(slot);
        let is_inbound = session.side == Side::Inbound;
        if !matches!(session.state, State::Established(None)) {
            return false;
        }
        let Some(bytes) = self.say(slot, transaction, (false, is_inbound), tlvs, out) else { return false };
        let sending = Sending::new(bytes, transaction, now.ms);
        self.sessions.deadlines.set(slot, sending.due);
        self.sessions.get_mut(slot).state = State::Established(Some(Box::new(Exchange { sending, purpose })));
        true
    }

    /// Asks the other side to tell something of its host, such as its FQDN (S0: "on demand"). False: not now.
    pub fn query(&mut self, local: Tag, code: Code, now: Now, out: &mut Out<'_>) -> bool {
        let Some(slot) = self.sessions.find(local) else { return false };
        !OWN.contains(code)
            && self.exchange(slot, Purpose::Query(CodeSet::of(&[code])), &[Tlv::query(code)], now, out)
    }

    /// Asks whether the other side still knows of the session.
    pub(super) fn keepalive(&mut self, slot: u32, now: Now, out: &mut Out<'_>) -> bool {
        let number = self.rng.random();
        self.exchange(slot, Purpose::Keepalive, &[Tlv::exchange(Value::Keepalive(number))], now, out)
    }

    /// Reports what the other host does, or asks to keep it away. False: not now.
    pub fn report_session(&mut self, local: Tag, report: &Report<'_>, now: Now, out: &mut Out<'_>) -> bool {
        let Some(slot) = self.sessions.find(local) else { return false };
        let value = match report {
            Report::Evidence(evidence) => Value::Evidence(evidence.clone()),
            Report::Filtering(filtering) => Value::Filtering(*filtering),
            Report::Terminate(_) => return false,
        };
        self.exchange(slot, Purpose::Report, &[Tlv::reliable(value)], now, out)
    }

    /// Ends a session, and tells the other side until it knows.
    pub fn close(&mut self, local: Tag, reason: Reason, now: Now, out: &mut Out<'_>) {
        let Some(slot) = self.sessions.find(local).filter(|slot| self.sessions.get(*slot).is_live()) else {
            return;
        };
        let session = self.sessions.get(slot);
        let pair = session.pair;
        if let Some(peer) = session.peer {
            self.peers.touch(peer, -1, now);
        }
        self.begin_closing(slot, reason, now, out);
        out(Output::Ended { pair, local, reason });
    }

    /// Tells the other side that it is over; the session counts for nothing any more.
    pub(super) fn begin_closing(&mut self, slot: u32, reason: Reason, now: Now, out: &mut Out<'_>) {
        let transaction = self.rng.random();
        self.sessions.unlink_pair(slot);
        let is_inbound = self.sessions.get(slot).side == Side::Inbound;
        let held = self.sessions.get_mut(slot).held.take();
        let end = [Tlv::reliable(Value::Terminate(Termination::This(reason)))];
        match self.say(slot, transaction, (false, is_inbound), &end, out) {
            Some(bytes) => {
                let sending = Sending::new(bytes, transaction, now.ms);
                self.sessions.deadlines.set(slot, sending.due);
                self.sessions.get_mut(slot).state = State::Closing(Box::new(sending));
            }
            None => self.sessions.free(slot),
        }
        if let Some(held) = held {
            self.resume(held, now);
        }
    }

    /// A message for a session that is over.
    pub(super) fn after_the_end(&mut self, slot: u32, message: &Message<'_>, now: Now, out: &mut Out<'_>) {
        let is_end = matches!(message.value(Code::TERMINATE), Some(Value::Terminate(_)));
        if is_end {
            self.acknowledge(slot, message, out);
        }
        if is_end || message.acks().contains(Code::TERMINATE) || message.told().contains(Code::UNEXPECTED) {
            self.finish_closing(slot, now);
        }
    }

    /// The other side knows that it is over, or never will.
    pub(super) fn finish_closing(&mut self, slot: u32, now: Now) {
        let session = self.sessions.get_mut(slot);
        if !matches!(session.state, State::Closing(_)) {
            return;
        }
        if session.side == Side::Inbound && session.peer.is_none() {
            session.state = State::Lingering;
            self.sessions.deadlines.set(slot, now.ms + super::session::LINGER);
        } else {
            self.sessions.free(slot);
        }
    }

    /// The other side wants something of a session.
    fn asked_within<H: House>(
        &mut self,
        slot: u32,
        message: &Message<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let header = &message.header;
        let demands = message.demands();
        let session = self.sessions.get_mut(slot);
        let (host, available) = (session.pair.host, session.available);
        let is_new = session.reported != Some(header.transaction);
        if !message.reliable().is_empty() {
            session.reported = Some(header.transaction);
        }
        let mut answers: Vec<Tlv<'_>> = demands.reported.iter().map(|code| Tlv::unavailable(*code)).collect();
        let mut end = None;
        for tlv in message.tlvs.iter().filter(|_| !demands.ignores_message) {
            if tlv.operation == Operation::ReliableResponse {
                answers.push(Tlv::ack(tlv.code));
            }
            match (&tlv.value, tlv.operation) {
                (Some(Value::Terminate(Termination::This(reason))), _) => end = Some(*reason),
                (Some(Value::Evidence(evidence)), _) if is_new => {
                    let (edge, local) = self.whose(slot);
                    out(Output::Evidence { edge, local, evidence });
                }
                (Some(Value::Filtering(filtering)), _) if is_new => {
                    let (edge, local) = self.whose(slot);
                    out(Output::Filtering { edge, local, filtering });
                }
                (Some(Value::Keepalive(number)), Operation::Query) => {
                    answers.push(Tlv::response(Value::Keepalive(*number)));
                }
                (_, Operation::Query) if tlv.code.is_known() => {
                    let value = if available.contains(tlv.code) && !OWN.contains(tlv.code) {
                        house.value(Some(host), tlv.code)
                    } else {
                        None
                    };
                    answers.push(value.map_or(Tlv::unavailable(tlv.code), Tlv::response));
                }
                _ => (),
            }
        }
        if !answers.is_empty() {
            self.say(slot, header.transaction, (true, !header.is_inbound), &answers, out);
        }
        if let Some(reason) = end {
            self.remove(slot, reason, now, out);
        }
    }

    fn whose(&self, slot: u32) -> (Option<crate::edge::cetp::message::Fqdn<'_>>, Option<Tag>) {
        let edge = self.sessions.get(slot).peer.and_then(|peer| self.peers.name(peer));
        (edge, Some(self.sessions.get(slot).local))
    }

    /// The other side answers, or reports that it knows nothing of it.
    fn answered_within<H: House>(
        &mut self,
        slot: u32,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        house: &H,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let message = &decoded.message;
        let session = self.sessions.get_mut(slot);
        let local = session.local;
        if let State::Established(Some(exchange)) = &session.state
            && exchange.sending.transaction == message.header.transaction
        {
            let State::Established(Some(exchange)) =
                std::mem::replace(&mut session.state, State::Established(None))
            else {
                return;
            };
            self.plan_idle(slot, house, now);
            match exchange.purpose {
                Purpose::Extend(flight) => {
                    self.extended(slot, flight, &exchange.sending.bytes, arrival, decoded, house, now, out);
                }
                Purpose::Query(codes) => {
                    codes.iter().for_each(|code| out(Output::Told { local, value: message.value(code) }));
                }
                Purpose::Keepalive | Purpose::Report => (),
            }
        }
    }

    /// The other side says that it knows nothing of a session. Its tags and its RLOC are all that proves it, as they are all that
    /// proves any message outside an association.
    pub(super) fn unknown_there(
        &mut self,
        arrival: &Arrival<'_>,
        message: &Message<'_>,
        now: Now,
        out: &mut Out<'_>,
    ) {
        let Some(Value::Unexpected(unexpected)) = message.value(Code::UNEXPECTED) else { return };
        let Some(slot) = unexpected.sst.and_then(|tag| self.sessions.find(tag)) else { return };
        let session = self.sessions.get(slot);
        let is_its = session.peer.is_none()
            && session.rloc == arrival.from
            && session.remote == unexpected.dst
            && unexpected.kind == UnexpectedKind::UNKNOWN_TAG;
        match session.state {
            State::HalfOpen(_) | State::Established(_) if is_its => self.remove(slot, Reason::LOST, now, out),
            State::Closing(_) if is_its => self.finish_closing(slot, now),
            _ => (),
        }
    }
}
