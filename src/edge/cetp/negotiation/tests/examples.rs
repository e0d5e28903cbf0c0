//! The examples of `PROTOCOL.md`: each is a message, the only one of its meaning, and says what it is.

use super::lab::*;
use crate::edge::cetp::message::*;
use crate::edge::cetp::wire;
use std::fmt::Write;

const SPECIFICATION: &str = include_str!("../../PROTOCOL.md");
/// Bytes of a line.
const LINE: usize = 16;

fn hex(bytes: &[u8], says: &str, text: &mut String) {
    for (at, line) in bytes.chunks(LINE).enumerate() {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let says = if at == 0 { says } else { "" };
        let written = format!("{:<48}; {says}", line.join(" "));
        let _ = writeln!(text, "{}", written.trim_end_matches("; ").trim_end());
    }
}

fn id(id: &Id<'_>) -> String {
    id.name().map_or_else(|| id.id_type.name().into(), |name| format!("{} {name}", id.id_type.name()))
}

/// A message, part by part, with what each is.
pub fn render(bytes: &[u8]) -> String {
    let decoded = wire::decode(bytes).expect("a message");
    let Message { header, tlvs } = &decoded.message;
    let mut text = String::new();
    let kind = if header.kind == Kind::Edges { "edges" } else { "hosts" };
    let role = if header.is_answer { "answer" } else { "question" };
    let side = if header.is_inbound { "inbound" } else { "outbound" };
    let sealed = if header.seal.is_some() { ", sealed" } else { "" };
    hex(&bytes[..4], &format!("version 1, {kind}, {role}, {side}{sealed}; {} bytes", bytes.len()), &mut text);
    hex(&bytes[4..8], "SST", &mut text);
    hex(&bytes[8..12], "DST", &mut text);
    hex(&bytes[12..14], "transaction", &mut text);
    let mut at = wire::FIXED;
    for (name, value) in [("source", &header.source), ("destination", &header.destination)] {
        let end = at + 2 + value.value.len();
        hex(&bytes[at..end], &format!("{name}: {}", id(value)), &mut text);
        at = end;
    }
    for tlv in tlvs {
        let mut room = Vec::new();
        wire::push(tlv, &mut room).expect("it was read");
        assert_eq!(room, bytes[at..at + room.len()]);
        let value = match &tlv.value {
            Some(Value::Cookie(_) | Value::Token(_) | Value::Certificate(_)) | None => String::new(),
            Some(Value::Signature(Signature::Ed25519(_))) => " (Ed25519)".into(),
            Some(Value::Signature(Signature::EcdsaP256(_))) => " (ECDSA P-256)".into(),
            Some(Value::KeyShare(_)) => " (X25519)".into(),
            Some(Value::Service(services)) => services.iter().fold(String::new(), |text, service| {
                let protocol = service.protocol.map_or("any".into(), |protocol| protocol.0.to_string());
                format!("{text} {protocol} {}-{} {:?}", service.ports.0, service.ports.1, service.direction)
            }),
            Some(Value::Timeout(seconds)) => format!(" {seconds} s"),
            Some(Value::Domain(name)) => format!(" {name}"),
            Some(Value::Backoff(backoff)) => format!(" {}", backoff.reason),
            Some(Value::Filtering(filtering)) => format!(" {} s, {}", filtering.seconds, filtering.reason),
            Some(Value::Unexpected(unexpected)) => format!(" {}", unexpected.kind),
            Some(other) => {
                let text = format!("{other:?}");
                format!(" {}", text.split_once('(').map_or(&text[..], |(_, rest)| rest.trim_end_matches(')')))
            }
        };
        let operation = match tlv.operation {
            Operation::Query => "Q",
            Operation::Response => "R",
            Operation::ReliableResponse => "RR",
            Operation::Ack => "A",
        };
        hex(&bytes[at..at + room.len()], &format!("{operation} {}{value}", tlv.code), &mut text);
        at += room.len();
    }
    if header.seal.is_some() {
        hex(&bytes[at..at + 4], "seal: association", &mut text);
        hex(&bytes[at + 4..at + 5], "epoch", &mut text);
        hex(&bytes[at + 5..at + 12], "number", &mut text);
        hex(&bytes[at + 12..], "MAC", &mut text);
    }
    text
}

fn examples() -> impl Iterator<Item = &'static str> {
    SPECIFICATION.split("```cetp\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
}

fn bytes_of(example: &str) -> Vec<u8> {
    let hex: String =
        example.lines().flat_map(|line| line.split(';').next().unwrap_or_default().chars()).collect();
    let hex: String = hex.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("pairs of hexadecimal digits")
}

#[test]
fn each_is_a_message_and_says_what_it_is() {
    let mut number = 0;
    for example in examples() {
        let bytes = bytes_of(example);
        let decoded = wire::decode(&bytes).unwrap_or_else(|error| panic!("{error}:\n{example}"));
        let mut again = Vec::new();
        wire::encode(&decoded.message, &mut again).expect("it was read");
        if let Some(sealed) = wire::outline(&bytes).expect("it was read").sealed {
            wire::finish(&mut again, |_| *sealed.mac);
        }
        assert_eq!(again, bytes, "{example}");
        assert_eq!(render(&bytes), example);
        number += 1;
    }
    assert_eq!(number, EXAMPLES);
}

const EXAMPLES: usize = 13;

/// The first examples are what two edges say: the same kinds of messages with the same TLVs.
#[test]
fn the_examples_of_first_contact_are_a_negotiation() {
    let shape = |bytes: &Vec<u8>| {
        let Message { header, tlvs } = wire::decode(bytes).expect("a message").message;
        let tlvs: Vec<_> = tlvs.iter().map(|tlv| (tlv.code, tlv.operation, tlv.value.is_some())).collect();
        (header.is_answer, header.is_inbound, header.sst.is_some(), header.dst.is_some(), tlvs)
    };
    let said: Vec<_> = first_contact().iter().map(shape).collect();
    let examples: Vec<_> = examples().map(|example| shape(&bytes_of(example))).collect();
    assert_eq!(said, examples[..said.len()]);
}

/// What two edges say whose inbound policy wants to know the name and a signature.
fn first_contact() -> Vec<Vec<u8>> {
    use crate::edge::cetp::terms::{Side, Terms};
    use std::{cell::RefCell, rc::Rc};
    let mut lab = Lab::new(2, 6);
    lab.edges[1].house.rule = Box::new(|ask| {
        let wanted = if ask.side == Side::Inbound { &[Code::DOMAIN, Code::SIGNATURE][..] } else { &[] };
        Ok(Terms { required: CodeSet::of(wanted), ..lax(ask) })
    });
    let said: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let kept = said.clone();
    lab.tamper = Some(Box::new(move |_, bytes| {
        kept.borrow_mut().push(bytes.clone());
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(100);
    assert!(lab.is_agreed(0, 1));
    said.take()
}
