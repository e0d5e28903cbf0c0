//! Messages as they are written.
//!
//! Guarantees: what is sealed later has room for its seal. Never: sends anything.

use super::OWN;
use crate::edge::cetp::message::{Code, CodeSet, Header, Id, IdType, Kind, Seal, Tag, Tlv, Value};
use crate::edge::cetp::signing;
use crate::edge::cetp::terms::{HostKey, House, Terms};
use crate::edge::cetp::wire::{self, Outline};

/// A message that isn't ended yet. A TLV that can't be written is left out, but what was left out is known at the end.
pub struct Draft {
    bytes: Vec<u8>,
    is_sealed: bool,
    is_whole: bool,
}

impl Draft {
    /// `is_sealed`: it will be, which the header needn't say.
    pub fn new(header: &Header<'_>, is_sealed: bool) -> Draft {
        let header = Header { seal: is_sealed.then_some(PLACEHOLDER), ..header.clone() };
        let mut bytes = Vec::with_capacity(256);
        let is_whole = wire::begin(&header, &mut bytes).is_ok();
        Draft { bytes, is_sealed, is_whole }
    }

    pub fn push(&mut self, tlv: &Tlv<'_>) {
        self.is_whole &= wire::push(tlv, &mut self.bytes).is_ok();
    }

    /// Tells what the house says of a host, reliably if the terms say so. False: there is no such value.
    pub fn tell(&mut self, value: Option<Value<'_>>, code: Code, terms: &Terms) -> bool {
        if OWN.contains(code) {
            return true;
        }
        let Some(value) = value.filter(|value| value.code() == code) else { return false };
        let is_reliable = terms.reliable.contains(code);
        self.push(&if is_reliable { Tlv::reliable(value) } else { Tlv::response(value) });
        true
    }

    /// Tells the certificates of a host.
    pub fn certify<H: House>(&mut self, house: &H, host: HostKey) {
        for certificate in house.certificates(Some(host)).iter().take(signing::CERTIFICATES) {
            self.push(&Tlv::response(Value::Certificate(certificate)));
        }
    }

    /// Signs it, as an answer to `question` if it is one. Nothing but its end may follow.
    pub fn sign<H: House>(&mut self, house: &H, host: HostKey, question: Option<&[u8]>) {
        self.is_whole &=
            signing::sign(house, Some(host), question, self.is_sealed, &mut self.bytes).is_some();
    }

    /// See [`handshake::pad`](crate::edge::cetp::association::handshake::pad).
    pub fn pad(&mut self, least: usize) {
        crate::edge::cetp::association::handshake::pad(&mut self.bytes, least);
    }

    /// The message. `None`: something of it couldn't be written, or it is too long.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let seal = self.is_sealed.then_some(PLACEHOLDER);
        if !self.is_whole || wire::end(seal.as_ref(), &mut self.bytes).is_err() {
            return None;
        }
        if self.is_sealed {
            wire::finish(&mut self.bytes, |_| [0; wire::MAC]);
        }
        Some(self.bytes)
    }
}

/// Bytes of the report that a message is unexpected: what is asked without a seal is no shorter, or it could not be reported.
pub const REPORT: usize = wire::FIXED + 4 + wire::TLV_HEADER + 9;

/// Stands where the seal will be.
const PLACEHOLDER: Seal = Seal { association: Tag(std::num::NonZeroU32::MIN), epoch: 0, sequence: 1 };

/// The header of an answer to what has that outline.
pub fn answer(outline: &Outline<'_>, sst: Option<Tag>) -> Header<'static> {
    Header {
        kind: outline.kind,
        is_answer: true,
        is_inbound: !outline.is_inbound,
        transaction: outline.transaction,
        sst,
        dst: outline.sst,
        source: Id::NONE,
        destination: Id::NONE,
        seal: None,
    }
}

/// An answer that makes no state; `sst` where there is some. Empty if it can't be written.
pub fn brief(
    kind: Kind,
    outline: &Outline<'_>,
    sst: Option<Tag>,
    tlvs: &[Tlv<'_>],
    is_sealed: bool,
) -> Vec<u8> {
    let mut draft = Draft::new(&Header { kind, ..answer(outline, sst) }, is_sealed);
    tlvs.iter().for_each(|tlv| draft.push(tlv));
    draft.finish().unwrap_or_default()
}

/// A message within a session.
pub fn within(
    local: Tag,
    remote: Tag,
    transaction: u16,
    (is_answer, is_inbound): (bool, bool),
) -> Header<'static> {
    Header {
        kind: Kind::Hosts,
        is_answer,
        is_inbound,
        transaction,
        sst: Some(local),
        dst: Some(remote),
        source: Id::NONE,
        destination: Id::NONE,
        seal: None,
    }
}

/// The own ID of one of those types, the plainest that will do.
pub fn own_id<'h, H: House>(house: &'h H, host: HostKey, types: impl Fn(IdType) -> bool) -> Option<Id<'h>> {
    IdType::ALL
        .iter()
        .filter(|(id_type, _)| types(*id_type))
        .find_map(|(id_type, _)| house.id(host, *id_type))
}

/// What must be asked of the other side besides what goes both ways anyway.
pub fn to_be_asked(terms: &Terms) -> CodeSet {
    askable(if terms.naming_check { terms.required.with(Code::DOMAIN) } else { terms.required })
}

/// What a query can be about.
pub fn askable(codes: CodeSet) -> CodeSet {
    codes.minus(OWN).union(codes.intersection(CodeSet::of(&[Code::SIGNATURE])))
}
