//! Properties of the encoding: what is written reads the same, what is read was the only way to write it, and nothing panics.

use super::*;
use crate::edge::cetp::message::value::LONGEST_COOKIE;
use crate::edge::cetp::message::*;
use crate::packet::{MacAddr, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;
use std::num::NonZeroU32;

/// Values of tests live as long as the test runs.
fn leak<T: ?Sized>(value: impl Into<Box<T>>) -> &'static T {
    Box::leak(value.into())
}

fn bytes(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), length).prop_map(leak::<[u8]>)
}

fn array<const N: usize>() -> impl Strategy<Value = &'static [u8; N]> {
    bytes(N..=N).prop_map(|bytes| bytes.first_chunk().expect("so many"))
}

fn fqdn() -> impl Strategy<Value = Fqdn<'static>> {
    "[a-z0-9_-]{1,20}(\\.[a-z0-9-]{1,20}){0,4}".prop_map(|name| Fqdn::new(leak::<str>(name)).expect("a name"))
}

fn id() -> impl Strategy<Value = Id<'static>> {
    let plain = (0..IdType::ALL.len(), bytes(1..=128)).prop_map(|(at, value)| {
        let id_type = IdType::ALL[at].0;
        let length = match id_type {
            IdType::FqdnHash => 16,
            IdType::Random => 8 + value.len() % 9,
            _ => value.len(),
        };
        Id::new(id_type, &leak::<[u8]>(value.repeat(16))[..length])
    });
    prop_oneof![Just(Id::NONE), fqdn().prop_map(Id::fqdn), plain.prop_map(|id| id.unwrap_or(Id::NONE))]
}

fn tag() -> impl Strategy<Value = Option<Tag>> {
    prop_oneof![Just(None), any::<u32>().prop_map(Tag::new)]
}

fn sessions(least: usize) -> impl Strategy<Value = Sessions> {
    vec(1..=u32::MAX, least..=value::SESSIONS)
        .prop_map(|tags| tags.into_iter().filter_map(Tag::new).collect())
}

fn rlocs<A: std::fmt::Debug + Clone>(address: impl Strategy<Value = A>) -> impl Strategy<Value = Rlocs<A>> {
    let rloc = (0..3u8, 0..3u8, address).prop_map(|(order, preference, address)| Ranked {
        order,
        preference,
        address,
    });
    vec(rloc, 1..=rloc::RLOCS).prop_map(|rlocs| rlocs.into_iter().collect())
}

fn service() -> impl Strategy<Value = Service> {
    (any::<Option<u8>>(), 1..=3u8, any::<(u16, u16)>()).prop_map(|(protocol, direction, (a, b))| Service {
        protocol: protocol.map(Protocol),
        direction: Direction::from_number(direction).expect("one of three"),
        ports: (a.min(b), a.max(b)),
    })
}

fn first_values() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        rlocs(any::<[u8; 4]>().prop_map(Into::into)).prop_map(Value::RlocIpv4),
        rlocs(any::<[u8; 16]>().prop_map(Into::into)).prop_map(Value::RlocIpv6),
        rlocs(any::<[u8; 6]>().prop_map(MacAddr)).prop_map(Value::RlocEthernet),
        (1..=u32::MAX).prop_map(|seconds| Value::Timeout(NonZeroU32::new(seconds).expect("not 0"))),
        bytes(1..=LONGEST_COOKIE).prop_map(Value::Cookie),
        (1..=255u16).prop_map(|bits| Value::IdType(IdTypes::from_bits(bits << 1).expect("known types"))),
        "[!-~]{1,255}".prop_map(|text| Value::CaAddress(leak::<str>(text))),
        fqdn().prop_map(Value::Domain),
        array().prop_map(|bytes| Value::Signature(Signature::Ed25519(bytes))),
        array().prop_map(|bytes| Value::Signature(Signature::EcdsaP256(bytes))),
        bytes(1..=300).prop_map(Value::Certificate),
    ]
}

fn second_values() -> impl Strategy<Value = Value<'static>> {
    let blocked = prop_oneof![
        id().prop_filter("an ID", |id| !id.is_none()).prop_map(Blocked::Host),
        fqdn().prop_map(Blocked::Domain),
        service().prop_map(Blocked::Service),
        (array(), array()).prop_map(|(host, from)| Blocked::Pair { host, from }),
    ];
    let termination = prop_oneof![
        any::<u8>().prop_map(|reason| Termination::This(Reason(reason))),
        (any::<u8>(), sessions(1))
            .prop_map(|(reason, sessions)| Termination::These(Reason(reason), sessions)),
        any::<u8>().prop_map(|reason| Termination::All(Reason(reason))),
    ];
    prop_oneof![
        (any::<u8>(), tag(), tag()).prop_map(|(kind, sst, dst)| Value::Unexpected(Unexpected {
            kind: UnexpectedKind(kind),
            sst,
            dst
        })),
        any::<(u8, Option<u8>, u16)>().prop_map(|(reason, code, retry_after)| {
            let code = code.filter(|code| *code != 0).map(Code);
            Value::Backoff(Backoff { reason: Reason(reason), code, retry_after })
        }),
        any::<u32>().prop_map(Value::Keepalive),
        termination.prop_map(Value::Terminate),
        (any::<(u8, u32)>(), sessions(0)).prop_map(|((kind, count), sessions)| {
            Value::Evidence(Evidence { misbehaviour: Misbehaviour(kind), count, sessions })
        }),
        (blocked, any::<u16>(), any::<u8>()).prop_map(|(blocked, seconds, reason)| {
            Value::Filtering(Filtering { blocked, seconds, reason: Reason(reason) })
        }),
        vec(service(), 1..=value::SERVICES)
            .prop_map(|services| Value::Service(services.into_iter().collect())),
        (576..=u16::MAX).prop_map(Value::Mtu),
        any::<(u32, u32)>()
            .prop_map(|(sessions, negotiations)| Value::Limits(Limits { sessions, negotiations })),
        (1..=7u8).prop_map(|bits| Value::Carriers(Carriers::from_bits(bits).expect("known ones"))),
        any::<u64>().prop_map(Value::Incarnation),
        array().prop_map(|bytes| Value::KeyShare(KeyShare::X25519(bytes))),
        any::<u8>().prop_map(Value::Epoch),
        any::<u64>().prop_map(Value::Clock),
        bytes(1..=LONGEST_COOKIE).prop_map(Value::Token),
        (1..=300u16).prop_map(Value::Padding),
        (27..=255u8, bytes(1..=40)).prop_map(|(code, bytes)| Value::Unknown(Code(code), bytes)),
    ]
}

fn tlv() -> impl Strategy<Value = Tlv<'static>> {
    let value = prop_oneof![first_values(), second_values()];
    (value, 0..4u8, any::<(bool, bool, bool)>()).prop_map(
        |(value, operation, (is_asking, ignores_message, is_reported))| {
            let code = value.code();
            let (operation, value) = match operation {
                0 => (Operation::Query, Some(value).filter(|_| !is_asking)),
                1 => (Operation::Response, Some(value).filter(|_| !is_asking)),
                2 => (Operation::ReliableResponse, Some(value)),
                _ => (
                    Operation::Ack,
                    Some(value).filter(|value| matches!(value, Value::Cookie(_) | Value::Unknown(..))),
                ),
            };
            Tlv { code, operation, compatibility: Compatibility { ignores_message, is_reported }, value }
        },
    )
}

fn header() -> impl Strategy<Value = Header<'static>> {
    let seal = prop::option::of((1..=u32::MAX, any::<u8>(), 1..=Seal::LAST));
    (any::<(bool, bool, bool, u16)>(), (tag(), tag()), (id(), id()), seal).prop_map(
        |(flags, tags, ids, seal)| Header {
            kind: if flags.0 { Kind::Edges } else { Kind::Hosts },
            is_answer: flags.1,
            is_inbound: flags.2,
            transaction: flags.3,
            sst: tags.0,
            dst: tags.1,
            source: ids.0,
            destination: ids.1,
            seal: seal.map(|(tag, epoch, sequence)| Seal {
                association: Tag::new(tag).expect("not 0"),
                epoch,
                sequence,
            }),
        },
    )
}

fn is_signature(tlv: &Tlv<'_>) -> bool {
    tlv.code == Code::SIGNATURE && tlv.value.is_some()
}

/// Messages, nearly all of which have an encoding.
fn message() -> impl Strategy<Value = Message<'static>> {
    (header(), vec(tlv(), 0..12)).prop_map(|(header, mut tlvs)| {
        let mut seen = std::collections::HashSet::new();
        tlvs.retain(|tlv| seen.insert((tlv.code, tlv.operation)));
        let signature = tlvs.iter().find(|tlv| is_signature(tlv)).cloned();
        tlvs.retain(|tlv| !is_signature(tlv));
        tlvs.extend(signature);
        Message { header, tlvs }
    })
}

/// Its encoding, with a MAC of `0x4d` bytes where it is sealed.
fn encoded(message: &Message<'_>) -> Option<Vec<u8>> {
    let mut room = Vec::new();
    encode(message, &mut room).ok()?;
    if message.header.seal.is_some() {
        finish(&mut room, |_| [0x4d; MAC]);
    }
    Some(room)
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(message in message()) {
        let Some(bytes) = encoded(&message) else {
            // The only reason why one of these has none.
            let mut room = Vec::new();
            prop_assert_eq!(encode(&message, &mut room), Err(Error::Length));
            return Ok(());
        };
        prop_assert!(bytes.len() <= LONGEST);
        let decoded = decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&decoded.message, &message);
        let signed = decoded.signed.len();
        let tail = if message.header.seal.is_some() { SEAL } else { 0 };
        let signature = if message.tlvs.iter().any(is_signature) { TLV_HEADER + values::SIGNATURE } else { 0 };
        prop_assert_eq!(signed + signature + tail, bytes.len());
    }

    /// Any bytes, and messages in which something was changed: an error, or a message that is written just so.
    #[test]
    fn what_is_read_has_one_encoding(
        message in message(),
        noise in vec(any::<u8>(), 0..200),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 0..60usize,
    ) {
        for bytes in [Some(noise.clone()), encoded(&message)].into_iter().flatten() {
            let mut bytes = bytes;
            for (at, byte) in &changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            if cut < 20 {
                bytes.truncate(bytes.len().saturating_sub(cut));
                bytes.extend(&noise[..noise.len().min(cut)]);
                // Else nearly all fail at the first look.
                if bytes.len() >= 4 {
                    let length = bytes.len() as u16;
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                }
            }
            if let Ok(decoded) = decode(&bytes) {
                let mut again = Vec::new();
                prop_assert_eq!(encode(&decoded.message, &mut again), Ok(()));
                if let Some(sealed) = outline(&bytes).expect("it was read").sealed {
                    prop_assert_eq!(&again, sealed.covered);
                    finish(&mut again, |_| *sealed.mac);
                }
                prop_assert_eq!(&again, &bytes);
                let _ = decoded.message.demands();
            }
        }
    }

    /// The I and D bits of TLVs that nobody knows, wherever they stand; the others are read as if those weren't there.
    #[test]
    fn unknown_tlvs_obey_their_bits(
        message in message(),
        strangers in vec((27..=255u8, 0..4u8, any::<(bool, bool)>(), vec(any::<u8>(), 0..5), any::<prop::sample::Index>()), 0..6),
    ) {
        let mut message = message;
        message.tlvs.retain(|tlv| tlv.code.is_known() && tlv.code != Code::CERTIFICATE && !is_signature(tlv));
        let known = message.tlvs.clone();
        let (mut ignores_message, mut reported) = (false, Vec::new());
        for (code, operation, (ignores, is_reported), bytes, at) in strangers {
            let operation = [Operation::Query, Operation::Response, Operation::ReliableResponse, Operation::Ack][usize::from(operation)];
            let value = Some(leak::<[u8]>(bytes)).filter(|bytes| !bytes.is_empty());
            let operation = if value.is_none() && operation == Operation::ReliableResponse { Operation::Query } else { operation };
            let demands = match operation {
                Operation::Ack => false,
                Operation::Response => value.is_some(),
                _ => true,
            };
            ignores_message |= demands && ignores;
            if demands && is_reported {
                reported.push(Code(code));
            }
            message.tlvs.insert(at.index(message.tlvs.len() + 1), Tlv {
                code: Code(code),
                operation,
                compatibility: Compatibility { ignores_message: ignores, is_reported },
                value: value.map(|bytes| Value::Unknown(Code(code), bytes)),
            });
        }
        let Some(bytes) = encoded(&message) else { return Ok(()) };
        let read = decode(&bytes).expect("it was written").message;
        let demands = read.demands();
        prop_assert_eq!(demands.ignores_message, ignores_message);
        prop_assert!(demands.reported.iter().all(|code| reported.contains(code)));
        let distinct = reported.iter().collect::<std::collections::HashSet<_>>().len();
        prop_assert_eq!(demands.reported.len(), distinct.min(4));
        let left: Vec<_> = read.tlvs.iter().filter(|tlv| tlv.code.is_known()).cloned().collect();
        prop_assert_eq!(left, known);
    }
}

fn header_of(kind: Kind) -> Header<'static> {
    Header {
        kind,
        is_answer: false,
        is_inbound: false,
        transaction: 1,
        sst: Tag::new(2),
        dst: None,
        source: Id::NONE,
        destination: Id::NONE,
        seal: None,
    }
}

fn with(tlvs: Vec<Tlv<'static>>) -> Result<Vec<u8>, Error> {
    let mut room = Vec::new();
    encode(&Message { header: header_of(Kind::Hosts), tlvs }, &mut room).map(|()| room)
}

/// The fixed header of a message with such TLVs.
fn raw(tlvs: &[u8]) -> Vec<u8> {
    let mut bytes = with(Vec::new()).expect("a message");
    bytes.extend(tlvs);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn what_no_message_has_is_refused() {
    let whole = with(vec![Tlv::response(Value::Epoch(1))]).expect("a message");
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        decode(&bytes).map(|_| ())
    };
    assert_eq!(changed(0, 0x80), Err(Error::Payload));
    assert_eq!(changed(0, 0x20), Err(Error::Version(2)));
    assert_eq!(changed(1, 1), Err(Error::Header));
    assert_eq!(changed(3, 1), Err(Error::Length));
    assert_eq!(changed(14, 9), Err(Error::Header), "no such type of ID");
    assert_eq!(decode(&[]).map(|_| ()), Err(Error::Length));
    // A seal without a message before it, of number 0, and of no association.
    let mut sealed = vec![0x11, 0, 0, 41];
    sealed.resize(41, 1);
    assert_eq!(outline(&sealed).map(|_| ()), Err(Error::Length));
    for zeros in [18..22, 23..30] {
        let mut bytes = raw(&[0; 28]);
        bytes[0] |= 1;
        bytes[18..].fill(1);
        assert!(outline(&bytes).is_ok());
        bytes[zeros].fill(0);
        assert_eq!(outline(&bytes).map(|_| ()), Err(Error::Header));
    }
    for (tlvs, error) in [
        (&[23, 0x10][..], Error::Length),
        (&[23, 0x10, 2, 1], Error::Length),
        (&[0, 0, 0], Error::Tlv(Code(0))),
        (&[23, 0x30, 1, 1], Error::Tlv(Code::EPOCH)), // an Ack has no value
        (&[23, 0x20, 0], Error::Tlv(Code::EPOCH)),    // an RR has one
        (&[5, 0x30, 0], Error::Tlv(Code::COOKIE)),    // the Ack of a cookie has it
        (&[23, 0x10, 1, 1, 23, 0x10, 1, 2], Error::Tlv(Code::EPOCH)),
        (&[1, 0x10, 3, 0, 0, 0], Error::Tlv(Code::RLOC_IPV4)),
        (&[1, 0x10, 14, 0, 0, 1, 9, 9, 9, 9, 0, 0, 1, 9, 9, 9, 9], Error::Tlv(Code::RLOC_IPV4)), // one group written as two
        (&[4, 0x10, 4, 0, 0, 0, 0], Error::Tlv(Code::TIMEOUT)),
        (&[8, 0x10, 1, b'A'], Error::Tlv(Code::DOMAIN)),
        (&[14, 0x10, 2, 1, 1], Error::Tlv(Code::TERMINATE)),
        (&[17, 0x10, 6, 3, 6, 0, 1, 0, 2], Error::Tlv(Code::SERVICE)), // a protocol that isn't given
        (&[17, 0x10, 6, 0x83, 6, 0, 2, 0, 1], Error::Tlv(Code::SERVICE)),
        (&[26, 0x10, 1, 1], Error::Tlv(Code::PADDING)),
    ] {
        assert_eq!(decode(&raw(tlvs)).map(|_| ()), Err(error), "{tlvs:02x?}");
    }
    let signature = [&[9, 0x10, 65, 1][..], &[7; 64]].concat();
    assert!(decode(&raw(&signature)).is_ok());
    let followed = [&signature[..], &[23, 0x10, 1, 1]].concat();
    assert_eq!(decode(&raw(&followed)).map(|_| ()), Err(Error::Tlv(Code::SIGNATURE)));
    let many = |count: usize| [200, 0x10, 0].repeat(count);
    assert!(decode(&raw(&many(TLVS))).is_ok());
    assert_eq!(decode(&raw(&many(TLVS + 1))).map(|_| ()), Err(Error::TooMany));
}

#[test]
fn what_would_be_refused_is_not_written() {
    let cookie = |length| Value::Cookie(leak::<[u8]>(vec![1; length]));
    for (tlvs, error) in [
        (vec![Tlv::response(cookie(65))], Error::Tlv(Code::COOKIE)),
        (vec![Tlv::ack(Code::COOKIE)], Error::Tlv(Code::COOKIE)),
        (vec![Tlv::response(Value::Padding(0))], Error::Tlv(Code::PADDING)),
        (vec![Tlv::response(Value::Padding(1400))], Error::Length),
        (vec![Tlv::response(Value::RlocIpv4(Rlocs::new()))], Error::Tlv(Code::RLOC_IPV4)),
        (vec![Tlv::response(Value::Unknown(Code::EPOCH, &[1]))], Error::Tlv(Code::EPOCH)),
        (vec![Tlv { value: Some(Value::Epoch(1)), ..Tlv::query(Code::MTU) }], Error::Tlv(Code::MTU)),
        (vec![Tlv::query(Code::MTU); 2], Error::Tlv(Code::MTU)),
        (vec![Tlv::query(Code(99)); 33], Error::TooMany),
    ] {
        assert_eq!(with(tlvs), Err(error));
    }
    let header = Header { source: Id { id_type: IdType::FqdnHash, value: &[1] }, ..header_of(Kind::Hosts) };
    assert_eq!(encode(&Message { header, tlvs: Vec::new() }, &mut Vec::new()), Err(Error::Header));
    for sequence in [0, Seal::LAST + 1] {
        let seal = Some(Seal { association: Tag::new(1).expect("not 0"), epoch: 0, sequence });
        let header = Header { seal, ..header_of(Kind::Hosts) };
        assert_eq!(encode(&Message { header, tlvs: Vec::new() }, &mut Vec::new()), Err(Error::Header));
    }
}

#[test]
fn a_message_is_sealed_anew_under_another_number() {
    let seal = |sequence| Seal { association: Tag::new(7).expect("not 0"), epoch: 3, sequence };
    let header = Header { seal: Some(seal(1)), ..header_of(Kind::Edges) };
    let mut message = Message { header, tlvs: vec![Tlv::response(Value::Epoch(1))] };
    let mut bytes = encoded(&message).expect("a message");
    seal_again(&mut bytes, &seal(0x00ff_eedd_ccbb_aa99), |covered| {
        assert_eq!(covered.len(), FIXED + 4 + 4 + 12);
        [9; MAC]
    });
    message.header.seal = Some(seal(0x00ff_eedd_ccbb_aa99));
    assert_eq!(decode(&bytes).expect("a message").message, message);
    assert_eq!(outline(&bytes).expect("a message").sealed.expect("sealed").mac, &[9; MAC]);
}

/// What is signed says how long the message is with its signature.
#[test]
fn a_signature_covers_the_length() {
    let mut room = Vec::new();
    begin(&header_of(Kind::Hosts), &mut room).expect("a header");
    push(&Tlv::response(Value::Epoch(1)), &mut room).expect("a TLV");
    announce_signature(false, &mut room).expect("short enough");
    let signed = room.clone();
    push(&Tlv::response(Value::Signature(Signature::Ed25519(&[5; 64]))), &mut room).expect("a TLV");
    end(None, &mut room).expect("short enough");
    assert_eq!(decode(&room).expect("a message").signed, signed);
}
