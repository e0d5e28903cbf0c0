//! From nothing to an association: `PROTOCOL.md`, "Setting up an association".
//!
//! ```text
//! A                                              B
//! │ who I am, whom I want, padding  ───────────► │  one MAC, no state
//! │ ◄───────────────────────────────────  cookie │
//! │ cookie, share, certificates, signature ────► │  one MAC, then signatures
//! │ ◄────────── share, certificates, signature   │  `next`
//! │ anything by the new key ───────────────────► │  `current`
//! ```

use super::keys::{Half, Keys};
use super::peer::{Asking, Association, Next, Told, keep_carriers};
use super::{Arrival, Context, LEAST_UNPROVEN, Peers, Target};
use crate::edge::cetp::cookie::{Bound, Form, Shown};
use crate::edge::cetp::io::{Out, Output, PeerId};
use crate::edge::cetp::message::id::HASH;
use crate::edge::cetp::message::value::LONGEST_COOKIE;
use crate::edge::cetp::message::{
    Backoff, Carriers, Code, Fqdn, Header, Id, IdType, KeyShare, Kind, Limits, Reason, Rloc, Tag, Tlv, Value,
};
use crate::edge::cetp::retry::{PATIENCE, Sending};
use crate::edge::cetp::signing;
use crate::edge::cetp::terms::House;
use crate::edge::cetp::wire::{self, Decoded};
use rand::RngExt;
use ring::digest::{SHA256, digest};
use std::num::NonZeroU32;

/// Milliseconds for which an edge that didn't answer isn't asked again.
pub const REST: u64 = 30_000;

/// A question for an association, as it was read.
struct Question<'a> {
    decoded: &'a Decoded<'a>,
    bytes: &'a [u8],
    from: Rloc,
    name: Fqdn<'a>,
    sst: Tag,
}

impl Peers {
    /// Sets up an association, if there is none and none is being set up. `None`: there is no room, the edge is at rest after a
    /// failure, or none of its RLOCs can be reached.
    pub fn ask<H: House>(
        &mut self,
        target: &Target<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) -> Option<PeerId> {
        if let Some(id) = self.find(target.name.as_str()) {
            let peer = self.get(id);
            if peer.current.is_some() || peer.asking.is_some() || peer.next.is_some() {
                return Some(id);
            }
            if peer.rest > context.now.ms {
                return None;
            }
        }
        let mut rlocs = target.list();
        keep_carriers(&mut rlocs, own_carriers(context.house));
        if rlocs.is_empty() || target.name == context.house.name() {
            return None;
        }
        let id = self.place(target.name, context.now)?;
        let peer = self.get_mut(id);
        (peer.rlocs, peer.at) = (rlocs, 0);
        self.begin(id, context, out)
    }

    /// Asks for an association, whether there is one or not: the other side says that it has lost it.
    pub fn begin<H: House>(
        &mut self,
        id: PeerId,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) -> Option<PeerId> {
        let (local, half) = (self.fresh_tag(id, context.rng)?, Half::new()?);
        let transaction = context.rng.random();
        let bytes = self.first_question(id, local, transaction, context)?;
        let to = self.get(id).rloc()?;
        out(Output::Send { to, message: &bytes });
        let sending = Sending::new(bytes, transaction, context.now.ms);
        self.get_mut(id).asking = Some(Box::new(Asking { local, half, sending, tried: 1, is_proved: false }));
        self.plan(id);
        Some(id)
    }

    pub(super) fn first_question<H: House>(
        &self,
        id: PeerId,
        local: Tag,
        transaction: u16,
        context: &Context<'_, H>,
    ) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(LEAST_UNPROVEN);
        let hash = self.name(id)?.hash();
        wire::begin(&question_header(context.house.name(), &hash, local, transaction), &mut bytes).ok()?;
        pad(&mut bytes, LEAST_UNPROVEN);
        wire::end(None, &mut bytes).ok()?;
        Some(bytes)
    }

    /// A message that isn't sealed, from an edge to an edge.
    pub fn handshake<H: House>(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let header = &decoded.message.header;
        if header.is_answer {
            self.answered(arrival, decoded, context, out);
        } else if let (false, Some(sst), Some(name)) = (header.is_inbound, header.sst, header.source.name()) {
            let question = Question { decoded, bytes: arrival.bytes, from: arrival.from, name, sst };
            let own = context.house.name();
            let hash = *self.own.get_or_insert_with(|| own.hash());
            if header.destination == hashed(&hash) && name != own {
                self.asked(&question, context, out);
            }
        }
    }

    /// The inbound side: nothing is kept until the cookie is back.
    fn asked<H: House>(&mut self, question: &Question<'_>, context: &mut Context<'_, H>, out: &mut Out<'_>) {
        let header = &question.decoded.message.header;
        let bound = Bound {
            rloc: question.from,
            sst: question.sst,
            source: header.source,
            destination: header.destination,
        };
        let cookie = match question.decoded.message.value(Code::COOKIE) {
            Some(Value::Cookie(cookie)) => Some(*cookie),
            _ => None,
        };
        let now = context.now.seconds();
        match cookie.map(|cookie| context.cookies.check(cookie, &bound, now)) {
            None if question.bytes.len() < LEAST_UNPROVEN => (),
            None | Some(Shown::Stale) => {
                let cookie = context.cookies.make(Form::Cookie, &bound, now);
                self.reply(question, &[Tlv::reliable(Value::Cookie(&cookie))], out);
            }
            Some(Shown::Forged) => (),
            Some(Shown::Proof) => {
                if let Err(backoff) = self.proved(question, context, out) {
                    self.reply(question, &[Tlv::response(Value::Backoff(backoff))], out);
                }
            }
        }
    }

    /// Answers without a tag: there is no state.
    fn reply(&mut self, question: &Question<'_>, tlvs: &[Tlv<'_>], out: &mut Out<'_>) {
        let mut bytes = std::mem::take(&mut self.room);
        let header = answer_header(&question.decoded.message.header, None);
        let written = wire::begin(&header, &mut bytes)
            .and_then(|()| tlvs.iter().try_for_each(|tlv| wire::push(tlv, &mut bytes)))
            .and_then(|()| wire::end(None, &mut bytes));
        if written.is_ok() {
            out(Output::Send { to: question.from, message: &bytes });
        }
        self.room = bytes;
    }

    /// Its RLOC is its own: now it is worth a signature's work.
    fn proved<H: House>(
        &mut self,
        question: &Question<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) -> Result<(), Backoff> {
        let message = &question.decoded.message;
        let transaction = message.header.transaction;
        if let Some(id) = self.find(question.name.as_str()) {
            let peer = self.get(id);
            let is_known = |association: &Association| association.remote == question.sst;
            if let Some(next) = peer.next.as_ref().filter(|next| is_known(&next.association)) {
                if next.transaction == transaction {
                    out(Output::Send { to: question.from, message: &next.reply });
                }
                return Ok(());
            }
            // A late copy of what was answered long ago.
            if peer.current.as_deref().is_some_and(is_known) {
                return Ok(());
            }
            // Both ask: the one whose name comes first goes on.
            if peer.asking.is_some() && context.house.name() < question.name {
                return Ok(());
            }
        }
        if !self.handshakes.allow(context.now.ms) {
            return Err(refused(Reason::OVERLOADED, 1));
        }
        let granted = context.house.admit(question.name, question.from)?;
        let checked = (message, question.decoded.signed);
        signing::verify_edge(context.house, message.header.source, None, checked, context.now.unix)
            .map_err(|reason| refused(reason, 0))?;
        self.accept(question, granted, context, out)
    }

    fn accept<H: House>(
        &mut self,
        question: &Question<'_>,
        granted: Limits,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) -> Result<(), Backoff> {
        let message = &question.decoded.message;
        let overloaded = refused(Reason::OVERLOADED, 5);
        let Some(Value::KeyShare(KeyShare::X25519(share))) = message.value(Code::KEY_SHARE) else {
            return Err(Backoff { code: Some(Code::KEY_SHARE), ..refused(Reason::MISSING, 0) });
        };
        let mut told = Told::read(message, question.from, context.now.unix);
        keep_carriers(&mut told.rlocs, own_carriers(context.house));
        let half = Half::new().ok_or(overloaded)?;
        let id = self.place(question.name, context.now).ok_or(overloaded)?;
        let local = self.fresh_tag(id, context.rng).ok_or(overloaded)?;
        let header = answer_header(&message.header, Some(local));
        let wanted = Wanted { header: &header, share: &half.public, granted, cookie: None };
        let reply = self.written(&wanted, Some(question.bytes), context).ok_or(overloaded)?;
        let keys = agree(half, share, (question.bytes, &reply), false).ok_or(overloaded)?;
        let association = Association {
            local,
            remote: question.sst,
            is_initiator: false,
            keys,
            other: None,
            is_other_newer: false,
            rekeyed: None,
            granted,
            told,
            since: context.now.ms,
        };
        out(Output::Send { to: question.from, message: &reply });
        let until = context.now.ms + PATIENCE;
        let transaction = message.header.transaction;
        let peer = self.get_mut(id);
        peer.asking = None;
        peer.next = Some(Box::new(Next { association, reply, transaction, until }));
        self.plan(id);
        Ok(())
    }

    /// A message with all that an edge tells of itself, signed.
    fn written<H: House>(
        &self,
        wanted: &Wanted<'_>,
        question: Option<&[u8]>,
        context: &Context<'_, H>,
    ) -> Option<Vec<u8>> {
        let values = ABOUT.iter().filter_map(|code| context.house.value(None, *code));
        let mut bytes = uncertified(wanted, values, context.now.unix, self.incarnation)?;
        for certificate in context.house.certificates(None) {
            wire::push(&Tlv::response(Value::Certificate(certificate)), &mut bytes).ok()?;
        }
        signing::sign(context.house, None, question, false, &mut bytes)?;
        wire::end(None, &mut bytes).ok()?;
        Some(bytes)
    }

    /// The outbound side has an answer, or what looks like one.
    fn answered<H: House>(
        &mut self,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let header = &decoded.message.header;
        let Some(id) = header.dst.and_then(|dst| self.by_tag(dst)) else { return };
        let peer = self.get(id);
        let is_its = peer.rloc() == Some(arrival.from) && header.is_inbound;
        let Some(asking) = peer.asking.as_ref().filter(|asking| {
            is_its && Some(asking.local) == header.dst && asking.sending.transaction == header.transaction
        }) else {
            return;
        };
        let is_proved = asking.is_proved;
        let message = &decoded.message;
        if let Some(Value::Backoff(backoff)) = message.value(Code::BACKOFF) {
            return self.give_up(id, backoff.reason, context.now.ms, out);
        }
        match (message.value(Code::COOKIE), header.sst) {
            (Some(Value::Cookie(cookie)), None) => self.prove(id, cookie, context, out),
            (_, Some(remote)) if is_proved => self.finish(id, remote, arrival, decoded, context, out),
            _ => (),
        }
    }

    /// Sends the second question, with the cookie.
    fn prove<H: House>(
        &mut self,
        id: PeerId,
        cookie: &[u8],
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let (Some(name), Some(to)) = (self.name(id), self.get(id).rloc()) else { return };
        let Some(asking) = &self.get(id).asking else { return };
        let granted = match context.house.admit(name, to) {
            Ok(granted) => granted,
            Err(backoff) => return self.give_up(id, backoff.reason, context.now.ms, out),
        };
        let transaction = asking.sending.transaction.wrapping_add(1);
        let (local, share) = (asking.local, asking.half.public);
        let own = context.house.name();
        let hash = name.hash();
        let header = question_header(own, &hash, local, transaction);
        let wanted = Wanted { header: &header, share: &share, granted, cookie: Some(cookie) };
        let Some(bytes) = self.written(&wanted, None, context) else {
            return self.give_up(id, Reason::BAD_CERTIFICATE, context.now.ms, out);
        };
        out(Output::Send { to, message: &bytes });
        if let Some(asking) = &mut self.get_mut(id).asking {
            asking.sending = Sending::new(bytes, transaction, context.now.ms);
            asking.is_proved = true;
        }
        self.plan(id);
    }

    /// The answer is signed: so there is an association.
    fn finish<H: House>(
        &mut self,
        id: PeerId,
        remote: Tag,
        arrival: &Arrival<'_>,
        decoded: &Decoded<'_>,
        context: &mut Context<'_, H>,
        out: &mut Out<'_>,
    ) {
        let (Some(name), Some(asking)) = (self.name(id), &self.get(id).asking) else { return };
        let message = &decoded.message;
        let question = Some(&asking.sending.bytes[..]);
        let checked = (message, decoded.signed);
        if let Err(reason) =
            signing::verify_edge(context.house, Id::fqdn(name), question, checked, context.now.unix)
        {
            // A forged answer to it doesn't end the question: the right one may still come.
            return if reason == Reason::BAD_CERTIFICATE {
                self.give_up(id, reason, context.now.ms, out)
            };
        }
        let Some(Value::KeyShare(KeyShare::X25519(share))) = message.value(Code::KEY_SHARE) else { return };
        let granted = context.house.admit(name, arrival.from);
        let (Some(asking), Ok(granted)) = (self.get_mut(id).asking.take(), granted) else { return };
        let mut told = Told::read(message, arrival.from, context.now.unix);
        keep_carriers(&mut told.rlocs, own_carriers(context.house));
        let Asking { local, half, sending, .. } = *asking;
        let Some(keys) = agree(half, share, (&sending.bytes, arrival.bytes), true) else {
            return self.give_up(id, Reason::BAD_SIGNATURE, context.now.ms, out);
        };
        let association = Association {
            local,
            remote,
            is_initiator: true,
            keys,
            other: None,
            is_other_newer: false,
            rekeyed: None,
            granted,
            told,
            since: context.now.ms,
        };
        self.install(id, association, arrival.from, context.now, out);
        // The other side waits for the first message by the new key.
        self.probe(id, context.rng.random(), context.now, out);
    }

    /// Nothing comes of it.
    pub(super) fn give_up(&mut self, id: PeerId, reason: Reason, now: u64, out: &mut Out<'_>) {
        let peer = self.get_mut(id);
        peer.asking = None;
        if peer.current.is_some() || peer.next.is_some() {
            return self.plan(id);
        }
        if let Some(edge) = self.name(id) {
            out(Output::Parted { peer: id, edge, reason });
        }
        self.notices.push(super::Notice::Down(id, reason));
        // It is kept for a while, so that it isn't asked all the time.
        self.get_mut(id).rest = now + REST;
        self.plan(id);
    }
}

/// What a message that sets up an association is written from.
struct Wanted<'a> {
    header: &'a Header<'a>,
    share: &'a [u8; 32],
    granted: Limits,
    cookie: Option<&'a [u8]>,
}

fn refused(reason: Reason, retry_after: u16) -> Backoff {
    Backoff { reason, code: None, retry_after }
}

/// What an edge tells of itself, beside what the association is to be.
const ABOUT: [Code; 6] =
    [Code::RLOC_IPV4, Code::RLOC_IPV6, Code::RLOC_ETHERNET, Code::CARRIERS, Code::MTU, Code::CA_ADDRESS];

/// A signed message up to its certificates.
fn uncertified<'v>(
    wanted: &Wanted<'_>,
    about: impl Iterator<Item = Value<'v>>,
    clock: u64,
    incarnation: u64,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(wire::LONGEST);
    wire::begin(wanted.header, &mut bytes).ok()?;
    let mut push = |tlv: Tlv<'_>| wire::push(&tlv, &mut bytes).ok();
    if let Some(cookie) = wanted.cookie {
        push(Tlv::cookie(cookie))?;
    }
    push(Tlv::exchange(Value::KeyShare(KeyShare::X25519(wanted.share))))?;
    for value in about {
        push(Tlv::response(value))?;
    }
    push(Tlv::response(Value::Limits(wanted.granted)))?;
    push(Tlv::response(Value::Clock(clock)))?;
    push(Tlv::response(Value::Incarnation(incarnation)))?;
    Some(bytes)
}

/// For how many bytes of certificates, each with the head of its TLV, the messages of an edge with that name have room that sets up an
/// association, where it tells that much about itself.
pub fn room_for_certificates(own: Fqdn<'_>, about: &[Value<'_>]) -> usize {
    const SIGNATURE: usize = wire::TLV_HEADER + 1 + 64;
    let header = question_header(own, &[0; HASH], Tag(NonZeroU32::MIN), 0);
    let cookie = Some(&[0; LONGEST_COOKIE][..]);
    let granted = Limits { sessions: 1, negotiations: 1 };
    let wanted = Wanted { header: &header, share: &[0; 32], granted, cookie };
    let without =
        uncertified(&wanted, about.iter().cloned(), 1, 1).map_or(wire::LONGEST, |bytes| bytes.len());
    wire::LONGEST.saturating_sub(without + SIGNATURE)
}

/// The other edge is named by the hash alone: it knows its name, and certificates need the room that a long one would take.
fn question_header<'a>(own: Fqdn<'a>, other: &'a [u8; HASH], local: Tag, transaction: u16) -> Header<'a> {
    Header {
        kind: Kind::Edges,
        is_answer: false,
        is_inbound: false,
        transaction,
        sst: Some(local),
        dst: None,
        source: Id::fqdn(own),
        destination: hashed(other),
        seal: None,
    }
}

fn hashed(hash: &[u8; HASH]) -> Id<'_> {
    Id { id_type: IdType::FqdnHash, value: hash }
}

/// The header of the answer to a message that isn't sealed.
pub fn answer_header(question: &Header<'_>, sst: Option<Tag>) -> Header<'static> {
    Header {
        kind: question.kind,
        is_answer: true,
        is_inbound: true,
        transaction: question.transaction,
        sst,
        dst: question.sst,
        source: Id::NONE,
        destination: Id::NONE,
        seal: None,
    }
}

/// Pads a question that isn't ended yet to so many bytes at least, until its answer can't be longer.
pub fn pad(bytes: &mut Vec<u8>, least: usize) {
    if bytes.len() < least {
        let missing = least.saturating_sub(bytes.len() + wire::TLV_HEADER).max(1);
        let _ = wire::push(&Tlv::response(Value::Padding(missing as u16)), bytes);
    }
}

/// On which carriers this edge takes messages.
pub fn own_carriers<H: House>(house: &H) -> Carriers {
    match house.value(None, Code::CARRIERS) {
        Some(Value::Carriers(carriers)) => carriers,
        _ => Carriers::ALL,
    }
}

fn agree(
    half: Half,
    share: &[u8; 32],
    (question, answer): (&[u8], &[u8]),
    is_initiator: bool,
) -> Option<Keys> {
    // Each is told apart by its own length field.
    half.agree(share, digest(&SHA256, &[question, answer].concat()).as_ref(), is_initiator, 1)
}
