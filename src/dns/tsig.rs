//! Signatures of messages by a shared secret: TSIG (RFC 8945).
//!
//! Guarantees: in the order of RFC 8945 section 5.2 key, MAC and time are checked, MACs in constant time; what is answered to a bad
//! signature is itself signed if and only if section 5.3.2 has it so. Never: signs by an algorithm weaker than SHA-256, or takes a
//! MAC that was cut.

use hickory_proto::op::{Header, Message, Query};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};

use crate::config::{KeyAlgorithm, UpdateKey};

/// By how many seconds an answer's time may be off at its reader: RFC 8945 section 10.
const FUDGE: u16 = 300;
/// Shortest MAC that is none by its form: RFC 8945 section 5.2.2.1.
const MAC_MIN: usize = 10;

/// What a message's signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// There is none.
    Absent,
    /// The record is none by its form: FORMERR, unsigned.
    Malformed,
    /// By the key of that place.
    Good(Signer),
    /// NOTAUTH, and what the answer's TSIG is to say.
    Bad(Signer),
}

/// By what an answer is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Place of the key; `None`: none of ours, so the answer has no MAC.
    pub key: Option<usize>,
    /// As the asker wrote them.
    name: Name,
    algorithm: TsigAlgorithm,
    request_mac: Vec<u8>,
    /// Time that the answer is said to be of; `None`: now.
    time: Option<u64>,
    original_id: u16,
    error: Option<TsigError>,
    is_signed: bool,
}

/// What the signature of `message`, which `bytes` are, is at `now`, in seconds since 1970.
pub fn verify(bytes: &[u8], message: &Message, keys: &[UpdateKey], now: u64) -> Signature {
    let is_tsig = |record: &&Record| record.record_type() == RecordType::TSIG;
    let Some(record) = message.additionals.iter().find(is_tsig) else { return Signature::Absent };
    let is_last = message.additionals.last() == Some(record);
    let RData::TSIG(tsig) = &record.data else { return Signature::Malformed };
    if !is_last || record.dns_class != DNSClass::ANY || record.ttl != 0 {
        return Signature::Malformed;
    }
    let key = find_key(keys, record, tsig);
    let mut signer = Signer {
        key,
        name: record.name.clone(),
        algorithm: tsig.algorithm.clone(),
        request_mac: tsig.mac.clone(),
        time: None,
        original_id: tsig.oid,
        error: None,
        is_signed: true,
    };
    let Some(key) = key.and_then(|place| keys.get(place)) else {
        signer.refuse(TsigError::BadKey, false);
        return Signature::Bad(signer);
    };
    let length = output_length(key.algorithm);
    if tsig.mac.len() > length || tsig.mac.len() < MAC_MIN.max(length / 2) {
        return Signature::Malformed;
    }
    let Some(signed) = signed_bytes(bytes, tsig, &record.name) else { return Signature::Malformed };
    if !is_mac(key, &signed, &tsig.mac) {
        signer.refuse(TsigError::BadSig, false);
        return Signature::Bad(signer);
    }
    if now.abs_diff(tsig.time) > u64::from(tsig.fudge) {
        signer.time = Some(tsig.time);
        signer.refuse(TsigError::BadTime, true);
        return Signature::Bad(signer);
    }
    if tsig.mac.len() < length {
        signer.refuse(TsigError::BadTrunc, true);
        return Signature::Bad(signer);
    }
    Signature::Good(signer)
}

impl Signer {
    fn refuse(&mut self, error: TsigError, is_signed: bool) {
        self.error = Some(error);
        self.is_signed = is_signed;
    }

    /// Puts the signature of `message`, an answer that is whole, behind it.
    pub fn sign(&self, message: &mut Message, keys: &[UpdateKey], now: u64) -> Option<()> {
        let other = match self.error {
            // RFC 8945 section 5.2.3: the server's time in 48 bits.
            Some(TsigError::BadTime) => now.to_be_bytes()[2..].to_vec(),
            _ => Vec::new(),
        };
        let mut tsig = TSIG::new(
            self.algorithm.clone(),
            self.time.unwrap_or(now),
            FUDGE,
            Vec::new(),
            self.original_id,
            self.error,
            other,
        );
        if self.is_signed {
            let key = keys.get(self.key?)?;
            // RFC 8945 section 5.3.1: the request's MAC with its length, the answer, the variables.
            let mut signed = (self.request_mac.len() as u16).to_be_bytes().to_vec();
            signed.extend(&self.request_mac);
            signed.extend(message.to_vec().ok()?);
            signed.extend(variables(&tsig, &self.name)?);
            tsig.mac = mac(key, &signed);
        }
        let mut record = Record::from_rdata(self.name.clone(), 0, tsig);
        record.dns_class = DNSClass::ANY;
        message.signature = Some(Box::new(record));
        Some(())
    }
}

/// The key of that name and algorithm.
fn find_key(keys: &[UpdateKey], record: &Record, tsig: &TSIG) -> Option<usize> {
    let name = super::name::text(&record.name)?;
    let algorithm = super::name::text(&tsig.algorithm.to_name())?;
    keys.iter().position(|key| key.name == *name && algorithm_name(key.algorithm) == &*algorithm)
}

fn algorithm_name(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::HmacSha256 => "hmac-sha256",
        KeyAlgorithm::HmacSha384 => "hmac-sha384",
        KeyAlgorithm::HmacSha512 => "hmac-sha512",
    }
}

fn output_length(algorithm: KeyAlgorithm) -> usize {
    match algorithm {
        KeyAlgorithm::HmacSha256 => 32,
        KeyAlgorithm::HmacSha384 => 48,
        KeyAlgorithm::HmacSha512 => 64,
    }
}

/// What a request's MAC is of (RFC 8945 section 4.3): the message as it was before the TSIG was put behind it, and the variables.
fn signed_bytes(bytes: &[u8], tsig: &TSIG, name: &Name) -> Option<Vec<u8>> {
    let end = start_of_last_record(bytes)?;
    let mut signed = bytes.get(..end)?.to_vec();
    let additionals = u16::from_be_bytes([*bytes.get(10)?, *bytes.get(11)?]).checked_sub(1)?;
    signed[..2].copy_from_slice(&tsig.oid.to_be_bytes());
    signed[10..12].copy_from_slice(&additionals.to_be_bytes());
    signed.extend(variables(tsig, name)?);
    Some(signed)
}

fn start_of_last_record(bytes: &[u8]) -> Option<usize> {
    let mut decoder = BinDecoder::new(bytes);
    let counts = Header::read(&mut decoder).ok()?.counts;
    for _ in 0..counts.queries {
        Query::read(&mut decoder).ok()?;
    }
    let records = [counts.answers, counts.authorities, counts.additionals].map(usize::from);
    for _ in 1..records.iter().sum() {
        Record::read(&mut decoder).ok()?;
    }
    Some(decoder.index())
}

/// RFC 8945 section 4.3.3.
pub(super) fn variables(tsig: &TSIG, name: &Name) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut bytes), name).ok()?;
    Some(bytes)
}

pub(super) fn mac(key: &UpdateKey, message: &[u8]) -> Vec<u8> {
    match key.algorithm {
        KeyAlgorithm::HmacSha256 => with::<Hmac<Sha256>>(key, message).finalize().into_bytes().to_vec(),
        KeyAlgorithm::HmacSha384 => with::<Hmac<Sha384>>(key, message).finalize().into_bytes().to_vec(),
        KeyAlgorithm::HmacSha512 => with::<Hmac<Sha512>>(key, message).finalize().into_bytes().to_vec(),
    }
}

/// Whether `shown`, perhaps cut, is the MAC; in a time that says nothing of it.
fn is_mac(key: &UpdateKey, message: &[u8], shown: &[u8]) -> bool {
    match key.algorithm {
        KeyAlgorithm::HmacSha256 => with::<Hmac<Sha256>>(key, message).verify_truncated_left(shown).is_ok(),
        KeyAlgorithm::HmacSha384 => with::<Hmac<Sha384>>(key, message).verify_truncated_left(shown).is_ok(),
        KeyAlgorithm::HmacSha512 => with::<Hmac<Sha512>>(key, message).verify_truncated_left(shown).is_ok(),
    }
}

fn with<M: Mac + KeyInit>(key: &UpdateKey, message: &[u8]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(&key.secret).expect("HMAC takes a key of any length");
    mac.update(message);
    mac
}
