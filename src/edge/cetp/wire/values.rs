//! The values of TLVs: `PROTOCOL.md`, "TLVs".
//!
//! Guarantees: what [`read`] takes, [`write()`] writes again, byte by byte.

use super::reader::Reader;
use crate::edge::cetp::message::value::{LONGEST_CA_ADDRESS, LONGEST_CERTIFICATE, LONGEST_COOKIE};
use crate::edge::cetp::message::{
    Backoff, Blocked, Carriers, Code, Direction, Evidence, Filtering, Fqdn, Id, IdType, IdTypes, KeyShare,
    Limits, Misbehaviour, Ranked, Reason, Rlocs, Service, Services, Sessions, Signature, Tag, Termination,
    Unexpected, UnexpectedKind, Value,
};
use crate::packet::{MacAddr, Protocol};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

/// Bytes of a signature.
pub const SIGNATURE: usize = 1 + 64;
/// Bytes of a service.
const SERVICE: usize = 6;
/// Of its first byte: that the protocol is given.
const HAS_PROTOCOL: u8 = 0x80;
/// Smallest MTU (RFC 791 section 3.2).
const SMALLEST_MTU: u16 = 576;

/// The value of a TLV of that type; `bytes` aren't empty.
pub fn read(code: Code, bytes: &[u8]) -> Option<Value<'_>> {
    let mut reader = Reader::new(bytes);
    let value = read_known(code, &mut reader)?;
    reader.is_empty().then_some(value)
}

fn read_known<'a>(code: Code, reader: &mut Reader<'a>) -> Option<Value<'a>> {
    Some(match code {
        Code::RLOC_IPV4 => Value::RlocIpv4(read_rlocs(reader, Ipv4Addr::from)?),
        Code::RLOC_IPV6 => Value::RlocIpv6(read_rlocs(reader, Ipv6Addr::from)?),
        Code::RLOC_ETHERNET => Value::RlocEthernet(read_rlocs(reader, MacAddr)?),
        Code::TIMEOUT => Value::Timeout(NonZeroU32::new(reader.u32()?)?),
        Code::COOKIE => Value::Cookie(limited(reader, LONGEST_COOKIE)?),
        Code::ID_TYPE => Value::IdType(IdTypes::from_bits(reader.u16()?)?),
        Code::CA_ADDRESS => Value::CaAddress(read_graphic(limited(reader, LONGEST_CA_ADDRESS)?)?),
        Code::DOMAIN => Value::Domain(Fqdn::from_bytes(reader.rest())?),
        Code::SIGNATURE => Value::Signature(read_signature(reader)?),
        Code::CERTIFICATE => Value::Certificate(limited(reader, LONGEST_CERTIFICATE)?),
        Code::UNEXPECTED => Value::Unexpected(read_unexpected(reader)?),
        Code::BACKOFF => Value::Backoff(read_backoff(reader)?),
        Code::KEEPALIVE => Value::Keepalive(reader.u32()?),
        Code::TERMINATE => Value::Terminate(read_termination(reader)?),
        Code::EVIDENCE => Value::Evidence(read_evidence(reader)?),
        Code::FILTERING => Value::Filtering(read_filtering(reader)?),
        Code::SERVICE => Value::Service(read_services(reader)?),
        Code::MTU => Value::Mtu(reader.u16().filter(|mtu| *mtu >= SMALLEST_MTU)?),
        Code::LIMITS => Value::Limits(Limits { sessions: reader.u32()?, negotiations: reader.u32()? }),
        Code::CARRIERS => Value::Carriers(Carriers::from_bits(reader.u8()?)?),
        Code::INCARNATION => Value::Incarnation(reader.u64()?),
        Code::KEY_SHARE => Value::KeyShare(read_key_share(reader)?),
        Code::EPOCH => Value::Epoch(reader.u8()?),
        Code::CLOCK => Value::Clock(reader.u64()?),
        Code::TOKEN => Value::Token(limited(reader, LONGEST_COOKIE)?),
        Code::PADDING => Value::Padding(read_padding(reader)?),
        _ => Value::Unknown(code, reader.rest()),
    })
}

fn limited<'a>(reader: &mut Reader<'a>, longest: usize) -> Option<&'a [u8]> {
    Some(reader.rest()).filter(|bytes| bytes.len() <= longest)
}

fn read_graphic(bytes: &[u8]) -> Option<&str> {
    bytes.iter().all(u8::is_ascii_graphic).then(|| std::str::from_utf8(bytes).ok()).flatten()
}

/// Groups of {order, preference, count, addresses}; a group that could be part of the one before it isn't canonical.
fn read_rlocs<A: Copy, const N: usize>(
    reader: &mut Reader<'_>,
    address: impl Fn([u8; N]) -> A,
) -> Option<Rlocs<A>> {
    let mut rlocs: Rlocs<A> = Rlocs::new();
    while !reader.is_empty() {
        let [order, preference, count] = *reader.array()?;
        let is_new = rlocs.last().is_none_or(|last| (last.order, last.preference) != (order, preference));
        if count == 0 || !is_new {
            return None;
        }
        for _ in 0..count {
            rlocs.try_push(Ranked { order, preference, address: address(*reader.array()?) }).ok()?;
        }
    }
    Some(rlocs)
}

fn write_rlocs<A: Copy, const N: usize>(rlocs: &Rlocs<A>, room: &mut Vec<u8>, octets: impl Fn(A) -> [u8; N]) {
    for group in rlocs.chunk_by(|a, b| (a.order, a.preference) == (b.order, b.preference)) {
        room.extend([group[0].order, group[0].preference, group.len() as u8]);
        group.iter().for_each(|rloc| room.extend(octets(rloc.address)));
    }
}

fn read_signature<'a>(reader: &mut Reader<'a>) -> Option<Signature<'a>> {
    match reader.u8()? {
        1 => Some(Signature::Ed25519(reader.array()?)),
        2 => Some(Signature::EcdsaP256(reader.array()?)),
        _ => None,
    }
}

fn read_key_share<'a>(reader: &mut Reader<'a>) -> Option<KeyShare<'a>> {
    match reader.u8()? {
        1 => Some(KeyShare::X25519(reader.array()?)),
        _ => None,
    }
}

fn read_unexpected(reader: &mut Reader<'_>) -> Option<Unexpected> {
    let kind = UnexpectedKind(reader.u8()?);
    Some(Unexpected { kind, sst: Tag::new(reader.u32()?), dst: Tag::new(reader.u32()?) })
}

fn read_backoff(reader: &mut Reader<'_>) -> Option<Backoff> {
    let reason = Reason(reader.u8()?);
    let code = Some(Code(reader.u8()?)).filter(|code| code.0 != 0);
    Some(Backoff { reason, code, retry_after: reader.u16()? })
}

fn read_sessions(reader: &mut Reader<'_>) -> Option<Sessions> {
    let mut sessions = Sessions::new();
    while !reader.is_empty() {
        sessions.try_push(Tag::new(reader.u32()?)?).ok()?;
    }
    Some(sessions)
}

fn read_termination(reader: &mut Reader<'_>) -> Option<Termination> {
    let scope = reader.u8()?;
    let reason = Reason(reader.u8()?);
    let sessions = read_sessions(reader)?;
    match (scope, sessions.is_empty()) {
        (0, true) => Some(Termination::This(reason)),
        (1, false) => Some(Termination::These(reason, sessions)),
        (2, true) => Some(Termination::All(reason)),
        _ => None,
    }
}

fn read_evidence(reader: &mut Reader<'_>) -> Option<Evidence> {
    let misbehaviour = Misbehaviour(reader.u8()?);
    Some(Evidence { misbehaviour, count: reader.u32()?, sessions: read_sessions(reader)? })
}

fn read_filtering<'a>(reader: &mut Reader<'a>) -> Option<Filtering<'a>> {
    let (seconds, reason) = (reader.u16()?, Reason(reader.u8()?));
    let blocked = match reader.u8()? {
        1 => {
            let id_type = IdType::from_number(reader.u8()?).filter(|id_type| *id_type != IdType::None)?;
            Blocked::Host(Id::new(id_type, reader.rest())?)
        }
        2 => Blocked::Domain(Fqdn::from_bytes(reader.rest())?),
        3 => Blocked::Service(read_service(reader)?),
        4 => Blocked::Pair { host: reader.array()?, from: reader.array()? },
        _ => return None,
    };
    Some(Filtering { blocked, seconds, reason })
}

fn read_service(reader: &mut Reader<'_>) -> Option<Service> {
    let [flags, protocol, a, b, c, d] = *reader.array::<SERVICE>()?;
    let direction = Direction::from_number(flags & !HAS_PROTOCOL)?;
    let protocol = match (flags & HAS_PROTOCOL != 0, protocol) {
        (true, number) => Some(Protocol(number)),
        (false, 0) => None,
        (false, _) => return None,
    };
    let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (ports.0 <= ports.1).then_some(Service { protocol, direction, ports })
}

fn write_service(service: &Service, room: &mut Vec<u8>) {
    let has_protocol = if service.protocol.is_some() { HAS_PROTOCOL } else { 0 };
    room.extend([service.direction as u8 | has_protocol, service.protocol.map_or(0, |protocol| protocol.0)]);
    room.extend(service.ports.0.to_be_bytes());
    room.extend(service.ports.1.to_be_bytes());
}

fn read_services(reader: &mut Reader<'_>) -> Option<Services> {
    let mut services = Services::new();
    while !reader.is_empty() {
        services.try_push(read_service(reader)?).ok()?;
    }
    Some(services)
}

fn read_padding(reader: &mut Reader<'_>) -> Option<u16> {
    let bytes = reader.rest();
    bytes.iter().all(|byte| *byte == 0).then_some(bytes.len() as u16)
}

fn write_tag(tag: Option<Tag>, room: &mut Vec<u8>) {
    room.extend(tag.map_or(0, Tag::get).to_be_bytes());
}

/// Appends a value. One that can't be is written as something that [`read`] doesn't give back.
pub fn write(value: &Value<'_>, room: &mut Vec<u8>) {
    match value {
        Value::RlocIpv4(rlocs) => write_rlocs(rlocs, room, |address: Ipv4Addr| address.octets()),
        Value::RlocIpv6(rlocs) => write_rlocs(rlocs, room, |address: Ipv6Addr| address.octets()),
        Value::RlocEthernet(rlocs) => write_rlocs(rlocs, room, |address: MacAddr| address.0),
        Value::Timeout(seconds) => room.extend(seconds.get().to_be_bytes()),
        Value::IdType(types) => room.extend(types.bits().to_be_bytes()),
        Value::CaAddress(text) => room.extend(text.as_bytes()),
        Value::Domain(name) => room.extend(name.as_str().as_bytes()),
        Value::Signature(Signature::Ed25519(bytes)) => write_numbered(1, *bytes, room),
        Value::Signature(Signature::EcdsaP256(bytes)) => write_numbered(2, *bytes, room),
        Value::KeyShare(KeyShare::X25519(bytes)) => write_numbered(1, *bytes, room),
        Value::Cookie(bytes) | Value::Token(bytes) | Value::Certificate(bytes) | Value::Unknown(_, bytes) => {
            room.extend(*bytes)
        }
        Value::Unexpected(unexpected) => {
            room.push(unexpected.kind.0);
            write_tag(unexpected.sst, room);
            write_tag(unexpected.dst, room);
        }
        Value::Backoff(backoff) => {
            room.extend([backoff.reason.0, backoff.code.map_or(0, |code| code.0)]);
            room.extend(backoff.retry_after.to_be_bytes());
        }
        Value::Keepalive(number) => room.extend(number.to_be_bytes()),
        Value::Terminate(termination) => write_termination(termination, room),
        Value::Evidence(evidence) => {
            room.push(evidence.misbehaviour.0);
            room.extend(evidence.count.to_be_bytes());
            evidence.sessions.iter().for_each(|tag| write_tag(Some(*tag), room));
        }
        Value::Filtering(filtering) => write_filtering(filtering, room),
        Value::Service(services) => services.iter().for_each(|service| write_service(service, room)),
        Value::Mtu(mtu) => room.extend(mtu.to_be_bytes()),
        Value::Limits(limits) => {
            room.extend(limits.sessions.to_be_bytes());
            room.extend(limits.negotiations.to_be_bytes());
        }
        Value::Carriers(carriers) => room.push(carriers.bits()),
        Value::Incarnation(number) => room.extend(number.to_be_bytes()),
        Value::Epoch(epoch) => room.push(*epoch),
        Value::Clock(clock) => room.extend(clock.to_be_bytes()),
        Value::Padding(length) => room.resize(room.len() + usize::from(*length), 0),
    }
}

fn write_numbered(number: u8, bytes: &[u8], room: &mut Vec<u8>) {
    room.push(number);
    room.extend(bytes);
}

fn write_termination(termination: &Termination, room: &mut Vec<u8>) {
    let (scope, reason, sessions): (_, _, &[Tag]) = match termination {
        Termination::This(reason) => (0, reason, &[]),
        Termination::These(reason, sessions) => (1, reason, sessions),
        Termination::All(reason) => (2, reason, &[]),
    };
    room.extend([scope, reason.0]);
    sessions.iter().for_each(|tag| write_tag(Some(*tag), room));
}

fn write_filtering(filtering: &Filtering<'_>, room: &mut Vec<u8>) {
    room.extend(filtering.seconds.to_be_bytes());
    room.push(filtering.reason.0);
    match &filtering.blocked {
        Blocked::Host(id) => {
            room.extend([1, id.id_type as u8]);
            room.extend(id.value);
        }
        Blocked::Domain(name) => {
            room.push(2);
            room.extend(name.as_str().as_bytes());
        }
        Blocked::Service(service) => {
            room.push(3);
            write_service(service, room);
        }
        Blocked::Pair { host, from } => {
            room.push(4);
            room.extend(*host);
            room.extend(*from);
        }
    }
}
