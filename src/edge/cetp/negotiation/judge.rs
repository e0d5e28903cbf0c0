//! What the other side tells, against what the own policy requires.
//!
//! Guarantees: both sides judge by the same rules. Never: changes anything.

use super::backoff;
use super::draft::to_be_asked;
use super::session::{self, Flight};
use crate::edge::cetp::io::Now;
use crate::edge::cetp::message::{Backoff, Code, Fqdn, Id, IdType, Message, Reason, Rloc, Services, Value};
use crate::edge::cetp::signing;
use crate::edge::cetp::terms::{Ask, HostKey, House, Proved, Side, SignedBy, Terms};
use crate::edge::cetp::wire::Decoded;

/// What was agreed on.
pub(super) struct Accepted {
    pub services: Services,
    pub timeout: u32,
}

/// Whether the other side's answer tells what is required, and what it grants.
#[expect(clippy::too_many_arguments, reason = "an answer and its surroundings")]
pub(super) fn judge<H: House>(
    flight: &Flight,
    question: &[u8],
    host: HostKey,
    from: Rloc,
    edge: Option<Fqdn<'_>>,
    decoded: &Decoded<'_>,
    house: &H,
    now: Now,
) -> Result<Accepted, Backoff> {
    let (message, terms) = (&decoded.message, &flight.terms);
    let target = Fqdn::new(&flight.target);
    let source = message.header.source;
    let peer = if source.is_none() { target.map_or(Id::NONE, Id::fqdn) } else { source };
    // Who calls has its name, and where it is, from the DNS.
    let mut proved = Proved { edge, is_signed: false, is_named: true };
    let is_plain = terms.peer_ids.contains(IdType::Fqdn) || terms.peer_ids.contains(IdType::FqdnHash);
    if !(source.is_none() && is_plain || terms.peer_ids.contains(source.id_type)) {
        return Err(backoff(Reason::ID_TYPE, Some(Code::ID_TYPE)));
    }
    require(terms, message)?;
    // The DNS has said where that name is: so it must be the one that is told.
    if let (true, Some(Value::Domain(name))) = (terms.naming_check, message.value(Code::DOMAIN))
        && Some(*name) != target
    {
        return Err(backoff(Reason::NAMING_CHECK, Some(Code::DOMAIN)));
    }
    let signed = signed_by(terms, edge, peer, Some(unsealed(question, decoded)), decoded, house, now)?;
    if let Some(signed) = &signed {
        proved = by_signature(proved, signed);
    }
    let (side, rloc) = (Side::Outbound, from);
    let ask = Ask { side, host, peer, peer_name: target, proved, rloc, services: &flight.wanted };
    let terms = house.judge(&ask, terms, message)?;
    require(&terms, message)?;
    let Some(Value::Service(told)) = message.value(Code::SERVICE) else {
        return Err(backoff(Reason::MISSING, Some(Code::SERVICE)));
    };
    let services = session::granted(&session::granted(told, &flight.wanted), &terms.services);
    if services.is_empty() {
        return Err(backoff(Reason::UNACCEPTABLE, Some(Code::SERVICE)));
    }
    let timeout = match message.value(Code::TIMEOUT) {
        Some(Value::Timeout(told)) => told.get().min(terms.timeout),
        _ => terms.timeout,
    };
    Ok(Accepted { services, timeout })
}

/// Whether all that is required was told.
fn require(terms: &Terms, message: &Message<'_>) -> Result<(), Backoff> {
    let missing = to_be_asked(terms).minus(message.told());
    missing.iter().next().map_or(Ok(()), |code| Err(backoff(Reason::MISSING, Some(code))))
}

/// Who has signed, where that is asked for. What is optional and wrong is as none.
pub(super) fn signed_by<H: House>(
    terms: &Terms,
    edge: Option<Fqdn<'_>>,
    id: Id<'_>,
    question: Option<&[u8]>,
    decoded: &Decoded<'_>,
    house: &H,
    now: Now,
) -> Result<Option<SignedBy>, Backoff> {
    let message = &decoded.message;
    let is_required = terms.required.contains(Code::SIGNATURE);
    let is_told = terms.optional.contains(Code::SIGNATURE) && message.told().contains(Code::SIGNATURE);
    if !is_required && !is_told {
        return Ok(None);
    }
    match signing::verify(house, edge, id, question, (message, decoded.signed), now.unix) {
        Err(reason) if is_required => Err(backoff(reason, Some(Code::SIGNATURE))),
        verified => Ok(verified.ok()),
    }
}

/// What is proved when there is a signature, too.
pub(super) fn by_signature<'a>(proved: Proved<'a>, signed: &'a SignedBy) -> Proved<'a> {
    match signed {
        SignedBy::Host => Proved { is_signed: true, is_named: true, ..proved },
        SignedBy::Edge(name) => Proved { is_signed: true, edge: proved.edge.or(Fqdn::new(name)), ..proved },
    }
}

/// The bytes of a question that its answer's signature covers: all but the seal, which each copy has of its own.
pub(super) fn unsealed<'a>(question: &'a [u8], answer: &Decoded<'_>) -> &'a [u8] {
    let seal = if answer.message.header.seal.is_some() { crate::edge::cetp::wire::SEAL } else { 0 };
    &question[..question.len().saturating_sub(seal)]
}
