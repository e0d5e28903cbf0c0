//! What happens in an association: keepalive, new keys, reports, the end.

use super::keys::{Half, MESSAGES};
use super::peer::Association;
use super::{Context, Notice, Peers, Report};
use crate::edge::cetp::io::{Now, Out, Output, PeerId};
use crate::edge::cetp::message::{
    Code, KeyShare, Message, Operation, Reason, Rloc, Tag, Termination, Tlv, Unexpected, Value,
};
use crate::edge::cetp::retry::{PATIENCE, Sending};
use crate::edge::cetp::terms::House;
use crate::edge::cetp::wire;
use rand::RngExt;
use std::mem;

/// Milliseconds without a message from the other edge after which it is asked whether it is there.
pub const KEEPALIVE: u64 = 30_000;
/// Milliseconds without a session and without a negotiation after which an association ends.
pub const IDLE: u64 = 300_000;
/// Milliseconds after which a key is replaced.
pub const REKEY: u64 = 3_600_000;
/// Milliseconds for which the key before it is still taken.
const GRACE: u64 = 60_000;

impl Association {
    /// The other side has the newer key: so it is used.
    pub fn use_newer(&mut self, now: u64) {
        if let Some(newer) = self.other.take() {
            self.other = Some(mem::replace(&mut self.keys, newer));
            (self.is_other_newer, self.since) = (false, now);
        }
    }
}

impl Peers {
    /// Sets when an edge is to be looked at next.
    pub(super) fn plan(&mut self, id: PeerId) {
        let peer = self.get(id);
        let mut due = [None; 8];
        due[0] = peer.asking.as_ref().map(|asking| asking.sending.due);
        due[1] = peer.next.as_ref().map(|next| next.until);
        due[2] = peer.reports.iter().map(|report| report.due).min();
        if let Some(association) = &peer.current {
            due[3] = Some(peer.probe.as_ref().map_or(peer.heard + KEEPALIVE, |(probe, _)| probe.due));
            due[4] = (peer.sessions == 0).then_some(peer.used + IDLE);
            due[5] = peer.rekey.as_ref().map(|(_, sending)| sending.due);
            if due[5].is_none() && association.is_initiator {
                due[5] = Some(association.since + REKEY);
            }
            due[6] = (association.other.is_some() && !association.is_other_newer)
                .then_some(association.since + GRACE);
        }
        let is_nothing = due.iter().all(Option::is_none);
        due[7] = is_nothing.then_some(peer.rest);
        if let Some(at) = due.into_iter().flatten().min() {
            self.deadlines.set(id.0, at);
        }
    }

    /// A session has come or gone, or something was said for hosts.
    pub fn touch(&mut self, id: PeerId, sessions: i32, now: Now) {
        let peer = self.get_mut(id);
        if peer.is_free() {
            return;
        }
        peer.used = now.ms;
        peer.sessions = peer.sessions.saturating_add_signed(sessions);
        if sessions != 0 && peer.sessions <= 1 {
            self.plan(id);
        }
    }

    /// Time has passed.
    pub fn tick<H: House>(&mut self, context: &mut Context<'_, H>, out: &mut Out<'_>) {
        while let Some(id) = self.deadlines.due(context.now.ms) {
            let id = PeerId(id);
            self.serve(id, context, out);
            if !self.get(id).is_free() {
                self.plan(id);
            }
        }
    }

    fn serve<H: House>(&mut self, id: PeerId, context: &mut Context<'_, H>, out: &mut Out<'_>) {
        let now = context.now.ms;
        let peer = self.get_mut(id);
        if peer.next.as_ref().is_some_and(|next| next.until <= now) {
            peer.next = None;
        }
        if peer.asking.as_ref().is_some_and(|asking| asking.sending.due <= now) {
            self.ask_again(id, context, out);
        }
        self.repeat_reports(id, context.now, out);
        let peer = self.get_mut(id);
        let Some(association) = &mut peer.current else {
            if peer.asking.is_none() && peer.next.is_none() && peer.rest <= now {
                self.forget(id);
            }
            return;
        };
        if !association.is_other_newer && association.since + GRACE <= now {
            association.other = None;
        }
        if peer.sessions == 0 && peer.used + IDLE <= now {
            return self.end(id, Reason::IDLE, context, out);
        }
        let is_worn = association.since + REKEY <= now || association.keys.sent() > MESSAGES;
        if let Some((_, sending)) = &mut peer.rekey {
            if sending.due <= now && sending.again(now).is_ok() {
                let mut bytes = mem::take(&mut sending.bytes);
                self.emit(id, &mut bytes, out);
                self.get_mut(id)
                    .rekey
                    .iter_mut()
                    .for_each(|(_, sending)| sending.bytes = mem::take(&mut bytes));
            } else if sending.due <= now {
                // The old key goes on until the next try.
                peer.rekey = None;
                association.since = now - REKEY / 2;
            }
        } else if is_worn && association.is_initiator {
            self.rekey(id, context.rng.random(), context.now, out);
        }
        self.repeat_probe(id, context, out);
    }

    fn ask_again<H: House>(&mut self, id: PeerId, context: &mut Context<'_, H>, out: &mut Out<'_>) {
        let peer = self.get_mut(id);
        let (Some(to), Some(asking)) = (peer.rloc(), peer.asking.as_mut()) else { return };
        if asking.sending.again(context.now.ms).is_ok() {
            return out(Output::Send { to, message: &asking.sending.bytes });
        }
        // Its cookie is for the RLOC that is silent: the next one begins anew.
        asking.tried += 1;
        let (local, tried) = (asking.local, asking.tried);
        if tried > peer.rlocs.len() {
            return self.give_up(id, Reason::SILENT, context.now.ms, out);
        }
        peer.next_rloc();
        let transaction = context.rng.random();
        let Some(to) = self.get(id).rloc() else { return };
        let Some(bytes) = self.first_question(id, local, transaction, context) else { return };
        out(Output::Send { to, message: &bytes });
        if let Some(asking) = &mut self.get_mut(id).asking {
            asking.sending = Sending::new(bytes, transaction, context.now.ms);
            asking.is_proved = false;
        }
    }

    /// Asks whether the other edge is there.
    pub(super) fn probe(&mut self, id: PeerId, transaction: u16, now: Now, out: &mut Out<'_>) {
        let tlvs = vec![Tlv::exchange(Value::Keepalive(u32::from(transaction)))];
        let mut bytes = self.compose(id, transaction, false, tlvs);
        self.emit(id, &mut bytes, out);
        let tried = self.get(id).probe.as_ref().map_or(1, |(_, tried)| tried + 1);
        self.get_mut(id).probe = Some((Sending::new(bytes, transaction, now.ms), tried));
        self.plan(id);
    }

    fn repeat_probe<H: House>(&mut self, id: PeerId, context: &mut Context<'_, H>, out: &mut Out<'_>) {
        let now = context.now.ms;
        let peer = self.get_mut(id);
        match &mut peer.probe {
            None if peer.heard + KEEPALIVE <= now => self.probe(id, context.rng.random(), context.now, out),
            Some((probe, tried)) if probe.due <= now => {
                if probe.again(now).is_ok() {
                    let mut bytes = mem::take(&mut probe.bytes);
                    self.emit(id, &mut bytes, out);
                    self.get_mut(id)
                        .probe
                        .iter_mut()
                        .for_each(|(probe, _)| probe.bytes = mem::take(&mut bytes));
                } else if peer.heard + PATIENCE > now {
                    // Its answers were lost, and other messages of it weren't.
                    peer.probe = None;
                } else if *tried < peer.rlocs.len() {
                    peer.next_rloc();
                    self.probe(id, context.rng.random(), context.now, out);
                } else {
                    // Who hears and isn't heard knows so at least.
                    self.say_end(id, Reason::LOST, context, out);
                    self.part(id, Reason::SILENT, out);
                }
            }
            _ => (),
        }
    }

    /// Agrees on a new key, under the old one.
    fn rekey(&mut self, id: PeerId, transaction: u16, now: Now, out: &mut Out<'_>) {
        let Some(association) = &self.get(id).current else { return };
        let epoch = association.keys.epoch.wrapping_add(1);
        let Some(half) = Half::new() else { return };
        let tlvs = vec![
            Tlv::exchange(Value::KeyShare(KeyShare::X25519(&half.public))),
            Tlv::response(Value::Epoch(epoch)),
        ];
        let mut bytes = self.compose(id, transaction, false, tlvs);
        self.emit(id, &mut bytes, out);
        self.get_mut(id).rekey = Some((half, Sending::new(bytes, transaction, now.ms)));
        self.plan(id);
    }

    /// The other side wants a new key: it is taken from now on, and used when the other side does.
    fn rekeyed(&mut self, id: PeerId, message: &Message<'_>, share: &[u8; 32], out: &mut Out<'_>) {
        let transaction = message.header.transaction;
        let Some(association) = self.get_mut(id).current.as_deref_mut() else { return };
        let Some(Value::Epoch(epoch)) = message.value(Code::EPOCH) else { return };
        if let Some((_, reply)) =
            association.rekeyed.as_mut().filter(|(answered, _)| *answered == transaction)
        {
            let mut reply = reply.clone();
            return self.emit(id, &mut reply, out);
        }
        if association.is_initiator || *epoch != association.keys.epoch.wrapping_add(1) {
            return;
        }
        let Some(half) = Half::new() else { return };
        let public = half.public;
        let Some(keys) = half.agree(share, &transcript(share, &public), false, *epoch) else { return };
        (association.other, association.is_other_newer) = (Some(keys), true);
        let tlvs = vec![
            Tlv::response(Value::KeyShare(KeyShare::X25519(&public))),
            Tlv::response(Value::Epoch(*epoch)),
        ];
        let mut reply = self.compose(id, transaction, true, tlvs);
        self.emit(id, &mut reply, out);
        if let Some(association) = self.get_mut(id).current.as_deref_mut() {
            association.rekeyed = Some((transaction, reply));
        }
    }

    /// The other side has the new key.
    fn rekey_done(
        &mut self,
        id: PeerId,
        message: &Message<'_>,
        share: &[u8; 32],
        now: Now,
        out: &mut Out<'_>,
    ) {
        let transaction = message.header.transaction;
        let peer = self.get_mut(id);
        let Some((half, sending)) = peer.rekey.take() else { return };
        if sending.transaction != transaction {
            peer.rekey = Some((half, sending));
            return;
        }
        let Some(association) = peer.current.as_deref_mut() else { return };
        let epoch = association.keys.epoch.wrapping_add(1);
        let public = half.public;
        let Some(keys) = half.agree(share, &transcript(&public, share), true, epoch) else { return };
        (association.other, association.is_other_newer) = (Some(keys), true);
        association.use_newer(now.ms);
        // The other side waits for the first message by it.
        self.probe(id, transaction.wrapping_add(1), now, out);
    }

    /// Reports to another edge; it is sent until it is acknowledged, or until another report has taken its place. False: there is no
    /// association, or too much waits.
    pub fn report(
        &mut self,
        id: PeerId,
        report: &Report<'_>,
        transaction: u16,
        now: Now,
        out: &mut Out<'_>,
    ) -> bool {
        let value = match report {
            Report::Evidence(evidence) => Value::Evidence(evidence.clone()),
            Report::Filtering(filtering) => Value::Filtering(*filtering),
            Report::Terminate(termination) => Value::Terminate(termination.clone()),
        };
        let is_replaced = |waiting: &Sending| replaces(report, &waiting.bytes);
        let reports = &self.get(id).reports;
        if reports.is_full() && !reports.iter().any(is_replaced) {
            return false;
        }
        let mut bytes = self.compose(id, transaction, false, vec![Tlv::reliable(value)]);
        self.emit(id, &mut bytes, out);
        let is_sent = !bytes.is_empty();
        if is_sent {
            let reports = &mut self.get_mut(id).reports;
            reports.retain(|waiting| !is_replaced(waiting));
            reports.push(Sending::new(bytes, transaction, now.ms));
            self.plan(id);
        }
        is_sent
    }

    fn repeat_reports(&mut self, id: PeerId, now: Now, out: &mut Out<'_>) {
        let mut reports = mem::take(&mut self.get_mut(id).reports);
        reports.retain(|report| {
            report.due > now.ms
                || report.again(now.ms).is_ok() && {
                    self.emit(id, &mut report.bytes, out);
                    true
                }
        });
        self.get_mut(id).reports = reports;
    }

    /// Ends an association, and tells the other side so.
    pub fn end<H: House>(
        &mut self,
        id: PeerId,
        reason: Reason,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        self.say_end(id, reason, context, out);
        self.part(id, reason, out);
    }

    fn say_end<H: House>(
        &mut self,
        id: PeerId,
        reason: Reason,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let tlvs = vec![Tlv::response(Value::Terminate(Termination::This(reason)))];
        let mut bytes = self.compose(id, context.rng.random(), false, tlvs);
        self.emit(id, &mut bytes, out);
    }

    /// Says under the association's MAC that a message or packet is unexpected, not too often.
    pub fn report_unexpected(
        &mut self,
        id: PeerId,
        unexpected: Unexpected,
        transaction: u16,
        now: Now,
        out: &mut Out<'_>,
    ) {
        if self.get_mut(id).unexpected.allow(now.ms) {
            let tlvs = vec![Tlv::response(Value::Unexpected(unexpected))];
            let mut bytes = self.compose(id, transaction, true, tlvs);
            self.emit(id, &mut bytes, out);
        }
    }

    /// Somebody says that the other edge knows nothing of the association that it had called so. Nothing has proved it: so the other edge is
    /// asked for a new one, and the old one stays until then.
    pub fn hint<H: House>(
        &mut self,
        remote: Tag,
        from: Rloc,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let Some(id) = self.by_rloc(from) else { return };
        let peer = self.get_mut(id);
        let is_current = peer.current.as_ref().is_some_and(|current| current.remote == remote);
        if !is_current || peer.asking.is_some() || peer.rest > context.now.ms {
            return;
        }
        peer.rest = context.now.ms + super::handshake::REST;
        if peer.sessions == 0 && peer.used + KEEPALIVE < context.now.ms {
            return self.part(id, Reason::LOST, out);
        }
        self.begin(id, context, out);
    }

    /// A message by an association, about it.
    pub fn receive<H: House>(
        &mut self,
        id: PeerId,
        message: &Message<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let header = &message.header;
        let demands = message.demands();
        let mut answer: Vec<Tlv<'_>> = demands.reported.iter().map(|code| Tlv::unavailable(*code)).collect();
        let is_new = !message.reliable().is_empty() && !self.get_mut(id).has_answered(header.transaction);
        for tlv in message.tlvs.iter().filter(|_| !demands.ignores_message) {
            match (&tlv.value, tlv.operation) {
                (Some(Value::Keepalive(number)), Operation::Query) => {
                    answer.push(Tlv::response(Value::Keepalive(*number)));
                }
                (Some(Value::Keepalive(_)), _) => {
                    let peer = self.get_mut(id);
                    peer.probe.take_if(|(probe, _)| probe.transaction == header.transaction);
                }
                (Some(Value::KeyShare(KeyShare::X25519(share))), Operation::Query) => {
                    self.rekeyed(id, message, share, out);
                }
                (Some(Value::KeyShare(KeyShare::X25519(share))), _) => {
                    self.rekey_done(id, message, share, context.now, out);
                }
                (Some(Value::Unexpected(unexpected)), _) => {
                    self.notices.push(Notice::Unexpected(id, *unexpected));
                }
                (None, Operation::Ack) => {
                    self.get_mut(id).reports.retain(|report| report.transaction != header.transaction);
                }
                (Some(Value::Terminate(Termination::This(reason))), _) => return self.part(id, *reason, out),
                (Some(value), operation) => {
                    if operation == Operation::ReliableResponse {
                        answer.push(Tlv::ack(tlv.code));
                    }
                    if is_new {
                        self.told(id, value, out);
                    }
                }
                _ => (),
            }
        }
        if !answer.is_empty() && !header.is_answer {
            let mut bytes = self.compose(id, header.transaction, true, answer);
            self.emit(id, &mut bytes, out);
        }
    }

    fn told(&mut self, id: PeerId, value: &Value<'_>, out: &mut Out<'_>) {
        let edge = self.name(id);
        match value {
            Value::Evidence(evidence) => out(Output::Evidence { edge, local: None, evidence }),
            Value::Filtering(filtering) => out(Output::Filtering { edge, local: None, filtering }),
            Value::Terminate(termination) => self.notices.push(Notice::Terminate(id, termination.clone())),
            _ => (),
        }
    }
}

/// Whether a message that was not acknowledged yet asks for what the report asks for otherwise: sent again, it would come after it.
fn replaces(report: &Report<'_>, waiting: &[u8]) -> bool {
    let Report::Filtering(newer) = report else { return false };
    wire::decode(waiting).is_ok_and(|older| match older.message.value(Code::FILTERING) {
        Some(Value::Filtering(older)) => older.blocked == newer.blocked,
        _ => false,
    })
}

/// What both sides have said of a new key; that they have, the old one's MAC says.
fn transcript(outbound: &[u8; 32], inbound: &[u8; 32]) -> [u8; 64] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(outbound);
    both[32..].copy_from_slice(inbound);
    both
}
