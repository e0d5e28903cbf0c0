//! What is due.

use super::session::{Purpose, State};
use super::{Cetp, backoff};
use crate::edge::cetp::association::Context;
use crate::edge::cetp::io::{Now, Out};
use crate::edge::cetp::message::{Reason, Termination, Tlv, Value};
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::{House, LastSeen, Side};
use rand::RngExt;

/// Milliseconds for which a question waits for its association: two questions, each as long as it may take.
pub const ASSOCIATION: u64 = 2 * PATIENCE;

impl Cetp {
    /// Time has passed: everything that was due by now is done.
    pub fn tick<H: House>(&mut self, house: &H, now: Now, out: &mut Out<'_>) {
        if self.cookies.is_due(now.seconds()) {
            self.cookies.rotate(self.rng.random(), now.seconds());
        }
        let mut context = Context { house, cookies: &mut self.cookies, rng: &mut self.rng, now };
        self.peers.tick(&mut context, out);
        self.drain(house, now, out);
        while let Some(slot) = self.sessions.deadlines.due(now.ms) {
            self.serve(slot, house, now, out);
        }
    }

    fn serve<H: House>(&mut self, slot: u32, house: &H, now: Now, out: &mut Out<'_>) {
        let peer = self.sessions.get(slot).peer;
        match &mut self.sessions.get_mut(slot).state {
            State::Free => (),
            State::Lingering => self.sessions.free(slot),
            State::Checking(_) => self.checked_slot(slot, false, house, now, out),
            State::Opening(flight) if flight.is_token_doubtful() => {
                let rloc = self.sessions.get(slot).rloc;
                self.tokens.pop(&rloc);
                self.start_over(slot, house, now, out);
            }
            State::Opening(flight) => match &mut flight.sending {
                // It has waited for an association,
                None if peer.is_some_and(|peer| !self.peers.is_up(peer)) => {
                    self.refuse(slot, backoff(Reason::SILENT, None), false, out)
                }
                // or for a question of the other side.
                None => {
                    flight.rounds = 0;
                    self.send_round(slot, house, now, out);
                }
                Some(sending) => match sending.again(now.ms) {
                    Ok(()) => {
                        let mut bytes = std::mem::take(&mut sending.bytes);
                        let due = sending.due;
                        self.transmit(slot, &mut bytes, out);
                        self.put_back(slot, bytes, due);
                    }
                    Err(reason) => self.next_rloc(slot, reason, house, now, out),
                },
            },
            State::HalfOpen(sending) | State::Closing(sending) => match sending.again(now.ms) {
                Ok(()) => {
                    let mut bytes = std::mem::take(&mut sending.bytes);
                    let due = sending.due;
                    self.transmit(slot, &mut bytes, out);
                    self.put_back(slot, bytes, due);
                }
                Err(_) if matches!(self.sessions.get(slot).state, State::Closing(_)) => {
                    self.finish_closing(slot, now);
                }
                Err(reason) => {
                    let local = self.sessions.get(slot).local;
                    self.close(local, reason, now, out);
                }
            },
            State::Established(Some(exchange)) => match exchange.sending.again(now.ms) {
                Ok(()) => {
                    let mut bytes = std::mem::take(&mut exchange.sending.bytes);
                    let due = exchange.sending.due;
                    self.transmit(slot, &mut bytes, out);
                    self.put_back(slot, bytes, due);
                }
                Err(reason) => self.give_up(slot, reason, house, now, out),
            },
            State::Established(None) => self.idle(slot, house, now, out),
        }
    }

    fn put_back(&mut self, slot: u32, bytes: Vec<u8>, due: u64) {
        let sending = match &mut self.sessions.get_mut(slot).state {
            State::Opening(flight) => flight.sending.as_mut(),
            State::HalfOpen(sending) | State::Closing(sending) => Some(&mut **sending),
            State::Established(Some(exchange)) => Some(&mut exchange.sending),
            _ => None,
        };
        if let Some(sending) = sending {
            sending.bytes = bytes;
            self.sessions.deadlines.set(slot, due);
        }
    }

    /// The other edge is silent: is it at its next RLOC? In an association that is the association's affair.
    fn next_rloc<H: House>(&mut self, slot: u32, reason: Reason, house: &H, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        self.tokens.pop(&session.rloc);
        let State::Opening(flight) = &mut session.state else { return };
        flight.at += 1;
        match flight.rlocs.get(flight.at) {
            Some(rloc) if session.peer.is_none() => {
                session.rloc = *rloc;
                self.start_over(slot, house, now, out);
            }
            _ => self.refuse(slot, backoff(reason, None), false, out),
        }
    }

    /// What was said within a session stays without an answer.
    fn give_up<H: House>(&mut self, slot: u32, reason: Reason, house: &H, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get_mut(slot);
        let State::Established(Some(exchange)) =
            std::mem::replace(&mut session.state, State::Established(None))
        else {
            return;
        };
        let (pair, local) = (session.pair, session.local);
        match exchange.purpose {
            // It isn't there any more.
            Purpose::Keepalive => return self.remove(slot, reason, now, out),
            Purpose::Extend(_) => {
                out(crate::edge::cetp::io::Output::Refused {
                    pair,
                    backoff: backoff(reason, None),
                    by_peer: false,
                });
            }
            Purpose::Query(_) => {
                out(crate::edge::cetp::io::Output::Told { local, value: None });
            }
            Purpose::Report => (),
        }
        self.plan_idle(slot, house, now);
    }

    /// When a session is looked at next: half of its timeout after the last packet, then at its end.
    pub(super) fn plan_idle<H: House>(&mut self, slot: u32, house: &H, now: Now) {
        let session = self.sessions.get(slot);
        let timeout = u64::from(session.timeout) * 1000;
        let last = self.last_seen(slot, house);
        let half = last.inbound + timeout / 2;
        let end = last.inbound.max(last.outbound) + timeout;
        let at = if half > now.ms { half.min(end) } else { end };
        self.sessions.deadlines.set(slot, at.max(now.ms + 1));
    }

    fn last_seen<H: House>(&self, slot: u32, house: &H) -> LastSeen {
        let session = self.sessions.get(slot);
        let since = session.since;
        let seen = house.last_seen(session.local).unwrap_or(LastSeen { inbound: 0, outbound: 0 });
        LastSeen { inbound: seen.inbound.max(since), outbound: seen.outbound.max(since) }
    }

    /// Nothing was said within the session; were there packets?
    fn idle<H: House>(&mut self, slot: u32, house: &H, now: Now, out: &mut Out<'_>) {
        let session = self.sessions.get(slot);
        let timeout = u64::from(session.timeout) * 1000;
        let LastSeen { inbound, outbound } = self.last_seen(slot, house);
        if inbound.max(outbound) + timeout <= now.ms {
            let is_inbound = session.side == Side::Inbound;
            let transaction = self.rng.random();
            // Once: the other side's timer says the same.
            let end = [Tlv::response(Value::Terminate(Termination::This(Reason::IDLE)))];
            self.say(slot, transaction, (false, is_inbound), &end, out);
            return self.remove(slot, Reason::IDLE, now, out);
        }
        // The own host speaks, and nothing comes back: is the other side still there?
        let is_one_sided = outbound > inbound && inbound + timeout / 2 <= now.ms;
        if !(is_one_sided && self.keepalive(slot, now, out)) {
            self.plan_idle(slot, house, now);
        }
    }
}
