//! The binary encoding of messages: `PROTOCOL.md`, "Messages".
//!
//! Guarantees: any bytes are a message or an error, without a panic; a message has one encoding, and whatever else would mean the
//! same is refused; what is read borrows from the bytes, but for a list of at most 32 TLVs. Never: checks a MAC or a signature: it
//! says what they cover.

mod reader;
mod values;

use super::message::{
    Code, Header, Id, IdType, Kind, Message, Operation, Seal, TLVS, Tag, Tlv, VERSION, Value,
};
use reader::Reader;

/// Longest message in bytes, its seal included: with the headers of IPv6 and UDP it is the 1,280 bytes that every link of IPv6 takes whole
/// (RFC 8200 section 5). So it needs no path MTU to be known, as none is before the first message.
pub const LONGEST: usize = 1280 - 40 - 8;
/// The UDP port of messages and tunnelled packets: that of the prototypes, whose NAPTR records name it.
pub const PORT: u16 = 48_001;
/// Bytes before the source ID.
pub const FIXED: usize = 14;
/// Bytes of a MAC.
pub const MAC: usize = 16;
/// Bytes of a seal: which key, which number, MAC.
pub const SEAL: usize = 12 + MAC;
/// Bytes of a TLV before its value.
pub const TLV_HEADER: usize = 3;
/// Longest value.
const LONGEST_VALUE: usize = 0xfff;

/// Of the first byte: that it is a tunnelled packet and no message.
pub const PAYLOAD: u8 = 0x80;
const VERSION_SHIFT: u32 = 4;
const VERSION_BITS: u8 = 0x70;
const EDGES: u8 = 0x08;
const ANSWER: u8 = 0x04;
const INBOUND: u8 = 0x02;
const SEALED: u8 = 0x01;

const IGNORES_MESSAGE: u16 = 0x8000;
const REPORTED: u16 = 0x4000;
const OPERATION_SHIFT: u32 = 12;

/// Why bytes are no message, or a message has no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first bit says that it is a tunnelled packet.
    #[error("a tunnelled packet, and no message")]
    Payload,
    /// A version of the protocol that isn't known here.
    #[error("version {0} of the protocol isn't known here")]
    Version(u8),
    /// It ends too early, says another length than it has, or is longer than [`LONGEST`].
    #[error("its length is wrong")]
    Length,
    /// The header has what no header has.
    #[error("its header has what none may have")]
    Header,
    /// More TLVs than [`TLVS`].
    #[error("it has more than {TLVS} TLVs")]
    TooMany,
    /// That TLV has a value, an operation or a place that it can't have.
    #[error("its TLV {0} is malformed")]
    Tlv(Code),
}

/// A message, and what of its bytes stands for what.
#[derive(Debug)]
pub struct Decoded<'a> {
    pub message: Message<'a>,
    /// What a signature covers: everything before the TLV [`Code::SIGNATURE`]; all before the seal where there is none.
    pub signed: &'a [u8],
}

/// What stands at the end of a sealed message. It is read before anything else is: a forgery costs one MAC and no more.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    pub seal: Seal,
    /// What the MAC covers.
    pub covered: &'a [u8],
    pub mac: &'a [u8; MAC],
}

/// What the first bytes say, which are checked for their version and length only.
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    pub kind: Kind,
    pub is_answer: bool,
    pub is_inbound: bool,
    pub transaction: u16,
    pub sst: Option<Tag>,
    pub dst: Option<Tag>,
    pub sealed: Option<Sealed<'a>>,
}

/// Reads what is needed to know whose a message is. The bytes are the message and nothing else.
///
/// # Errors
/// [`Error::Payload`], [`Error::Version`], [`Error::Length`] or [`Error::Header`].
pub fn outline(bytes: &[u8]) -> Result<Outline<'_>, Error> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8().ok_or(Error::Length)?;
    if first & PAYLOAD != 0 {
        return Err(Error::Payload);
    }
    let version = (first & VERSION_BITS) >> VERSION_SHIFT;
    if version != VERSION {
        return Err(Error::Version(version));
    }
    let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or(Error::Length)?;
    if bytes.len() > LONGEST || usize::from(u16::from_be_bytes([fixed[2], fixed[3]])) != bytes.len() {
        return Err(Error::Length);
    }
    if fixed[1] != 0 {
        return Err(Error::Header);
    }
    let tag =
        |at: usize| Tag::new(u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]));
    Ok(Outline {
        kind: if first & EDGES != 0 { Kind::Edges } else { Kind::Hosts },
        is_answer: first & ANSWER != 0,
        is_inbound: first & INBOUND != 0,
        transaction: u16::from_be_bytes([fixed[12], fixed[13]]),
        sst: tag(4),
        dst: tag(8),
        sealed: if first & SEALED != 0 { Some(read_seal(bytes)?) } else { None },
    })
}

fn read_seal(bytes: &[u8]) -> Result<Sealed<'_>, Error> {
    let (covered, mac) = bytes.split_last_chunk::<MAC>().ok_or(Error::Length)?;
    let (rest, fields) = covered.split_last_chunk::<{ SEAL - MAC }>().ok_or(Error::Length)?;
    if rest.len() < FIXED {
        return Err(Error::Length);
    }
    let [a, b, c, d, epoch, sequence @ ..] = *fields;
    let association = Tag::new(u32::from_be_bytes([a, b, c, d])).ok_or(Error::Header)?;
    let mut number = [0; 8];
    number[1..].copy_from_slice(&sequence);
    let sequence = u64::from_be_bytes(number);
    if sequence == 0 {
        return Err(Error::Header);
    }
    Ok(Sealed { seal: Seal { association, epoch, sequence }, covered, mac })
}

/// Reads a message. The bytes are the message and nothing else.
///
/// # Errors
/// Any but [`Error::TooMany`] for fewer TLVs than that.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Error> {
    let outline = outline(bytes)?;
    let end = bytes.len() - if outline.sealed.is_some() { SEAL } else { 0 };
    let mut reader = Reader::new(&bytes[FIXED..end]);
    let source = read_id(&mut reader)?;
    let destination = read_id(&mut reader)?;
    let header = Header {
        kind: outline.kind,
        is_answer: outline.is_answer,
        is_inbound: outline.is_inbound,
        transaction: outline.transaction,
        sst: outline.sst,
        dst: outline.dst,
        source,
        destination,
        seal: outline.sealed.map(|sealed| sealed.seal),
    };
    let mut tlvs = Vec::with_capacity(reader.left().div_ceil(8).min(TLVS));
    let mut signed = end;
    while !reader.is_empty() {
        let at = end - reader.left();
        let tlv = read_tlv(&mut reader)?;
        if signed != end || tlvs.len() == TLVS {
            return Err(if signed != end { Error::Tlv(Code::SIGNATURE) } else { Error::TooMany });
        }
        if is_repeated(&tlvs, &tlv) {
            return Err(Error::Tlv(tlv.code));
        }
        if tlv.code == Code::SIGNATURE && tlv.value.is_some() {
            signed = at;
        }
        tlvs.push(tlv);
    }
    Ok(Decoded { message: Message { header, tlvs }, signed: &bytes[..signed] })
}

/// Of one type and operation there is one TLV, but for certificates and for what isn't known here.
fn is_repeated(before: &[Tlv<'_>], tlv: &Tlv<'_>) -> bool {
    tlv.code.is_known()
        && tlv.code != Code::CERTIFICATE
        && before.iter().any(|other| other.code == tlv.code && other.operation == tlv.operation)
}

fn read_id<'a>(reader: &mut Reader<'a>) -> Result<Id<'a>, Error> {
    let id_type = reader.u8().ok_or(Error::Length)?;
    let length = reader.u8().ok_or(Error::Length)?;
    let value = reader.bytes(usize::from(length)).ok_or(Error::Length)?;
    IdType::from_number(id_type).and_then(|id_type| Id::new(id_type, value)).ok_or(Error::Header)
}

fn read_tlv<'a>(reader: &mut Reader<'a>) -> Result<Tlv<'a>, Error> {
    let code = Code(reader.u8().ok_or(Error::Length)?);
    let word = reader.u16().ok_or(Error::Length)?;
    let bytes = reader.bytes(usize::from(word) & LONGEST_VALUE).ok_or(Error::Length)?;
    let operation = match word >> OPERATION_SHIFT & 3 {
        0 => Operation::Query,
        1 => Operation::Response,
        2 => Operation::ReliableResponse,
        _ => Operation::Ack,
    };
    let value =
        if bytes.is_empty() { None } else { Some(values::read(code, bytes).ok_or(Error::Tlv(code))?) };
    let compatibility = super::message::Compatibility {
        ignores_message: word & IGNORES_MESSAGE != 0,
        is_reported: word & REPORTED != 0,
    };
    let tlv = Tlv { code, operation, compatibility, value };
    if is_meaningless(&tlv) { Err(Error::Tlv(code)) } else { Ok(tlv) }
}

/// Code 0 is none. An Ack has no value, but that of a cookie, which comes back by it; and an RR has one.
fn is_meaningless(tlv: &Tlv<'_>) -> bool {
    let has_value = tlv.value.is_some();
    tlv.code == Code(0)
        || match tlv.operation {
            Operation::Ack if tlv.code.is_known() => has_value != (tlv.code == Code::COOKIE),
            Operation::ReliableResponse => !has_value,
            _ => false,
        }
}

/// Writes a message into `room`, in place of what is there. A sealed one lacks its MAC, which [`finish`] puts behind it.
///
/// # Errors
/// What the message has that no encoding could: [`decode`] would refuse it.
pub fn encode(message: &Message<'_>, room: &mut Vec<u8>) -> Result<(), Error> {
    begin(&message.header, room)?;
    for (at, tlv) in message.tlvs.iter().enumerate() {
        let is_signature = tlv.code == Code::SIGNATURE && tlv.value.is_some();
        if at == TLVS {
            return Err(Error::TooMany);
        }
        if is_repeated(&message.tlvs[..at], tlv) || is_signature && at + 1 != message.tlvs.len() {
            return Err(Error::Tlv(tlv.code));
        }
        push(tlv, room)?;
    }
    end(message.header.seal.as_ref(), room)
}

/// Writes a header in place of what is in `room`, for [`push`] and [`end`] to follow.
///
/// # Errors
/// [`Error::Header`] for an ID that is none.
pub fn begin(header: &Header<'_>, room: &mut Vec<u8>) -> Result<(), Error> {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let first = VERSION << VERSION_SHIFT
        | flag(header.kind == Kind::Edges, EDGES)
        | flag(header.is_answer, ANSWER)
        | flag(header.is_inbound, INBOUND)
        | flag(header.seal.is_some(), SEALED);
    room.clear();
    room.extend([first, 0, 0, 0]);
    room.extend(header.sst.map_or(0, Tag::get).to_be_bytes());
    room.extend(header.dst.map_or(0, Tag::get).to_be_bytes());
    room.extend(header.transaction.to_be_bytes());
    for id in [&header.source, &header.destination] {
        if Id::new(id.id_type, id.value).is_none() {
            return Err(Error::Header);
        }
        room.extend([id.id_type as u8, id.value.len() as u8]);
        room.extend(id.value);
    }
    Ok(())
}

/// Writes one more TLV.
///
/// # Errors
/// [`Error::Tlv`] for one that can't be.
pub fn push(tlv: &Tlv<'_>, room: &mut Vec<u8>) -> Result<(), Error> {
    let error = Error::Tlv(tlv.code);
    let at = room.len();
    room.extend([tlv.code.0, 0, 0]);
    if let Some(value) = &tlv.value {
        if value.code() != tlv.code || matches!(value, Value::Unknown(code, _) if code.is_known()) {
            return Err(error);
        }
        values::write(value, room);
    }
    let written = &room[at + TLV_HEADER..];
    // What can't be read back isn't written: so both have one set of rules.
    let is_readable = match &tlv.value {
        None => true,
        Some(value) => {
            !written.is_empty()
                && written.len() <= LONGEST_VALUE
                && values::read(tlv.code, written).as_ref() == Some(value)
        }
    };
    if !is_readable || is_meaningless(tlv) {
        return Err(error);
    }
    let word = written.len() as u16
        | (tlv.operation as u16) << OPERATION_SHIFT
        | if tlv.compatibility.ignores_message { IGNORES_MESSAGE } else { 0 }
        | if tlv.compatibility.is_reported { REPORTED } else { 0 };
    room[at + 1..at + TLV_HEADER].copy_from_slice(&word.to_be_bytes());
    Ok(())
}

/// Ends a message: its length, and its seal but for the MAC.
///
/// # Errors
/// [`Error::Length`] if it is longer than [`LONGEST`], [`Error::Header`] for a number that a seal can't have.
pub fn end(seal: Option<&Seal>, room: &mut Vec<u8>) -> Result<(), Error> {
    if let Some(seal) = seal {
        if seal.sequence == 0 || seal.sequence > Seal::LAST {
            return Err(Error::Header);
        }
        room.extend(seal_fields(seal));
    }
    set_length(room, seal.is_some())
}

/// Makes room for the longest signature that there is: says how long the message will be, because that is signed too.
///
/// # Errors
/// [`Error::Length`] if it is longer than [`LONGEST`].
pub fn announce_signature(is_sealed: bool, room: &mut Vec<u8>) -> Result<(), Error> {
    let unsigned = room.len();
    room.resize(unsigned + TLV_HEADER + values::SIGNATURE + if is_sealed { SEAL - MAC } else { 0 }, 0);
    let result = set_length(room, is_sealed);
    room.truncate(unsigned);
    result
}

fn set_length(room: &mut [u8], is_sealed: bool) -> Result<(), Error> {
    let length = room.len() + if is_sealed { MAC } else { 0 };
    if length > LONGEST {
        return Err(Error::Length);
    }
    room[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    Ok(())
}

fn seal_fields(seal: &Seal) -> [u8; SEAL - MAC] {
    let mut fields = [0; SEAL - MAC];
    fields[..4].copy_from_slice(&seal.association.get().to_be_bytes());
    // The epoch takes the place of the uppermost byte, which no sequence number has.
    fields[4..].copy_from_slice(&seal.sequence.to_be_bytes());
    fields[4] = seal.epoch;
    fields
}

/// Puts its MAC behind a sealed message; `mac` is given what it covers.
pub fn finish(room: &mut Vec<u8>, mac: impl FnOnce(&[u8]) -> [u8; MAC]) {
    let mac = mac(room);
    room.extend(mac);
}

/// Seals a finished message anew: a retransmission has a number of its own.
pub fn seal_again(message: &mut [u8], seal: &Seal, mac: impl FnOnce(&[u8]) -> [u8; MAC]) {
    let (Some(covered), Some(start)) = (message.len().checked_sub(MAC), message.len().checked_sub(SEAL))
    else {
        return;
    };
    message[start..covered].copy_from_slice(&seal_fields(seal));
    let mac = mac(&message[..covered]);
    message[covered..].copy_from_slice(&mac);
}

#[cfg(test)]
mod tests;
