//! What signatures cover: `PROTOCOL.md`, "Signatures".
//!
//! Guarantees: a question's signature is never an answer's, and an answer's counts for its question only: what either side has heard
//! is what the other has said, or the signature is wrong.

use super::message::{Code, Id, Message, Reason, Tlv, Value};
use super::terms::{HostKey, House, SignedBy, Signer};
use super::wire;
use arrayvec::ArrayVec;
use ring::digest::{SHA256, digest};

/// Certificates that one message may bring: a leaf and what lies between it and a CA that is known.
pub const CERTIFICATES: usize = 4;

/// What is signed: which of both it is, the hash of the question that is answered, and the message before its signature.
fn text(question: Option<&[u8]>, signed: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(signed.len() + 48);
    match question {
        None => text.extend(b"CETP/1 question\0"),
        Some(question) => {
            text.extend(b"CETP/1 answer\0");
            text.extend(digest(&SHA256, question).as_ref());
        }
    }
    text.extend(signed);
    text
}

/// Whether an edge has signed itself: another edge's word proves nothing of it.
///
/// # Errors
/// As [`verify`]; [`Reason::BAD_CERTIFICATE`] where the certificate is of another name.
pub fn verify_edge<H: House>(
    house: &H,
    id: Id<'_>,
    question: Option<&[u8]>,
    checked: (&Message<'_>, &[u8]),
    clock: u64,
) -> Result<(), Reason> {
    match verify_as(true, house, None, id, question, checked, clock)? {
        SignedBy::Host => Ok(()),
        SignedBy::Edge(_) => Err(Reason::BAD_CERTIFICATE),
    }
}

/// Puts a signature behind the TLVs of a message that isn't ended yet. `None`: there is no key, or no room.
pub fn sign<H: House>(
    house: &H,
    host: Option<HostKey>,
    question: Option<&[u8]>,
    is_sealed: bool,
    room: &mut Vec<u8>,
) -> Option<()> {
    wire::announce_signature(is_sealed, room).ok()?;
    let mut bytes = [0; 64];
    let signature = house.sign(host, &text(question, room), &mut bytes)?;
    wire::push(&Tlv::response(Value::Signature(signature)), room).ok()
}

/// The certificates of a message, leaf first.
pub fn certificates<'a>(message: &Message<'a>) -> ArrayVec<&'a [u8], CERTIFICATES> {
    let each = message.tlvs.iter().filter_map(|tlv| match tlv.value {
        Some(Value::Certificate(bytes)) => Some(bytes),
        _ => None,
    });
    each.take(CERTIFICATES).collect()
}

/// Whether the message is signed by who it says it is from.
///
/// # Errors
/// [`Reason::MISSING`] if it isn't signed, else as [`House::verify`].
pub fn verify<H: House>(
    house: &H,
    edge: Option<super::message::Fqdn<'_>>,
    id: Id<'_>,
    question: Option<&[u8]>,
    checked: (&Message<'_>, &[u8]),
    clock: u64,
) -> Result<SignedBy, Reason> {
    verify_as(false, house, edge, id, question, checked, clock)
}

fn verify_as<H: House>(
    is_edge: bool,
    house: &H,
    edge: Option<super::message::Fqdn<'_>>,
    id: Id<'_>,
    question: Option<&[u8]>,
    (message, signed): (&Message<'_>, &[u8]),
    clock: u64,
) -> Result<SignedBy, Reason> {
    let Some(Value::Signature(signature)) = message.value(Code::SIGNATURE) else {
        return Err(Reason::MISSING);
    };
    let certificates = certificates(message);
    let name = match message.value(Code::DOMAIN) {
        Some(Value::Domain(name)) => Some(*name),
        _ => id.name(),
    };
    let signer = Signer { edge, id, is_edge, name, certificates: &certificates };
    house.verify(&signer, &text(question, signed), signature, clock)
}
