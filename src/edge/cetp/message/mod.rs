//! What edges say to each other: a header with the IDs of both ends, and control TLVs.
//!
//! Guarantees: names no byte of an encoding, so that the JSON of the Aalto implementation can stand beside the binary one of
//! `wire`; texts and byte strings are borrowed from where the message was read, lists are bounded. Never: judges what it carries.

pub mod code;
pub mod id;
pub mod rloc;
pub mod value;

pub use code::{Code, CodeSet};
pub use id::{Fqdn, Id, IdType, IdTypes};
pub use rloc::{Carrier, Carriers, Ranked, Rloc, Rlocs};
pub use value::{
    Backoff, Blocked, Direction, Evidence, Filtering, KeyShare, Limits, Misbehaviour, Reason, Service,
    Services, Sessions, Signature, Termination, Unexpected, UnexpectedKind, Value,
};

use std::num::NonZeroU32;

/// This is version 1 of the binary protocol.
pub const VERSION: u8 = 1;
/// TLVs that one message may have.
pub const TLVS: usize = 32;

/// A session tag: who allocated it finds its session by it. On the wire 0 says that there is none, and that is never one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub NonZeroU32);

impl Tag {
    /// The tag that the wire writes so; `None` for 0.
    pub const fn new(tag: u32) -> Option<Tag> {
        match NonZeroU32::new(tag) {
            Some(tag) => Some(Tag(tag)),
            None => None,
        }
    }

    /// What the wire writes.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// Between whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Edge to edge: sets up, keeps, re-keys and ends an association; reports that name no session. The IDs are the edges'.
    Edges,
    /// Host to host: what two edges negotiate for two hosts. The IDs are the hosts'.
    Hosts,
}

/// What every message begins with (S0: source and destination ID, flags; S1: SST and DST).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub kind: Kind,
    /// Whether this answers the message of the other side that has the same `transaction`.
    pub is_answer: bool,
    /// Whether who sends this is the iCES of the negotiation, or answered when the association was set up.
    ///
    /// Both edges allocate tags, so that a tag alone doesn't say whose message a retransmission is.
    pub is_inbound: bool,
    /// Chosen by who asks, given back by who answers: a retransmission has that of its first copy.
    pub transaction: u16,
    /// SST: the sender's tag. `None` says "no state here yet".
    pub sst: Option<Tag>,
    /// DST: the receiver's tag, as far as the sender knows one.
    pub dst: Option<Tag>,
    /// Of the sender's host (or edge). [`Id::NONE`] where the tags or the transaction say it.
    pub source: Id<'a>,
    /// Of the receiver's host (or edge).
    pub destination: Id<'a>,
    /// The association under whose key the message is; its MAC is the encoding's affair.
    pub seal: Option<Seal>,
}

/// Under which key of which association a message is, and its place among all messages under that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seal {
    /// The receiver's tag of the association.
    pub association: Tag,
    /// Counts the keys of the association, and wraps.
    pub epoch: u8,
    /// Counts the sender's messages of an epoch from 1 on; at most [`Seal::LAST`]. A receiver takes each once.
    pub sequence: u64,
}

impl Seal {
    /// The wire has 56 bits.
    pub const LAST: u64 = (1 << 56) - 1;
}

/// The QR bits (S0): what a TLV is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Q, 00: asks for the value, and may tell the own one.
    Query,
    /// R, 01: tells the value. Without one: there is none to be told.
    Response,
    /// RR, 10: tells the value, and is sent again until its acknowledgement comes.
    ReliableResponse,
    /// A, 11: that RR has come. It has no value, but that of a cookie, which comes back by it.
    Ack,
}

impl Operation {
    /// Whether it tells a value that counts as the sender's answer.
    pub const fn is_response(self) -> bool {
        matches!(self, Operation::Response | Operation::ReliableResponse)
    }
}

/// The I and D bits (S0): what a receiver that doesn't know the TLV's type does. One that knows it never looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Compatibility {
    /// I: leaves the whole message alone, and not this TLV only.
    pub ignores_message: bool,
    /// D: says so in an answer, and isn't silent.
    pub is_reported: bool,
}

/// One control TLV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    pub code: Code,
    pub operation: Operation,
    pub compatibility: Compatibility,
    /// Of the kind that `code` says. `None` in a query that only asks, in a response that has none, and in an Ack but a cookie's.
    pub value: Option<Value<'a>>,
}

impl<'a> Tlv<'a> {
    /// Asks, and tells nothing.
    pub const fn query(code: Code) -> Tlv<'a> {
        Tlv { code, operation: Operation::Query, compatibility: code.compatibility(), value: None }
    }

    /// Asks, and tells the own value.
    pub fn exchange(value: Value<'a>) -> Tlv<'a> {
        Tlv::with(Operation::Query, value)
    }

    /// Tells.
    pub fn response(value: Value<'a>) -> Tlv<'a> {
        Tlv::with(Operation::Response, value)
    }

    /// Tells, and wants to know that it has come.
    pub fn reliable(value: Value<'a>) -> Tlv<'a> {
        Tlv::with(Operation::ReliableResponse, value)
    }

    /// There is no such value here (v2: `notAvailable`), or that type of TLV isn't known.
    pub const fn unavailable(code: Code) -> Tlv<'a> {
        Tlv { code, operation: Operation::Response, compatibility: code.compatibility(), value: None }
    }

    /// Gives a cookie back, or a token in its place.
    pub fn cookie(cookie: &'a [u8]) -> Tlv<'a> {
        Tlv::with(Operation::Ack, Value::Cookie(cookie))
    }

    /// It has come.
    pub const fn ack(code: Code) -> Tlv<'a> {
        Tlv { code, operation: Operation::Ack, compatibility: code.compatibility(), value: None }
    }

    fn with(operation: Operation, value: Value<'a>) -> Tlv<'a> {
        let code = value.code();
        Tlv { code, operation, compatibility: code.compatibility(), value: Some(value) }
    }
}

/// A whole message.
///
/// Of one code there may be several TLVs where the operations differ, and several responses where its table in `PROTOCOL.md`
/// says "repeats".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub header: Header<'a>,
    /// At most [`TLVS`], in the order of the wire. A signature comes last.
    pub tlvs: Vec<Tlv<'a>>,
}

/// What the I and D bits of the TLVs that aren't known here demand together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Demands {
    /// The message counts for nothing but its report.
    pub ignores_message: bool,
    /// What the answer says isn't known.
    pub reported: arrayvec::ArrayVec<Code, REPORTED>,
}

/// Types of TLV that one answer says aren't known: no message makes its answer longer than this.
pub const REPORTED: usize = 4;

impl<'a> Message<'a> {
    /// The value that the sender tells of itself by that code, in a response or beside its query.
    pub fn value(&self, code: Code) -> Option<&Value<'a>> {
        self.tlvs.iter().filter(|tlv| tlv.code == code).find_map(|tlv| tlv.value.as_ref())
    }

    /// What is asked for.
    pub fn queries(&self) -> CodeSet {
        self.codes(|tlv| tlv.operation == Operation::Query)
    }

    /// What is told, in a response or beside a query.
    pub fn told(&self) -> CodeSet {
        self.codes(|tlv| tlv.value.is_some())
    }

    /// What there is not, as an answer to a query.
    pub fn unavailable(&self) -> CodeSet {
        self.codes(|tlv| tlv.operation.is_response() && tlv.value.is_none())
    }

    /// What must be acknowledged.
    pub fn reliable(&self) -> CodeSet {
        self.codes(|tlv| tlv.operation == Operation::ReliableResponse)
    }

    /// What is acknowledged.
    pub fn acks(&self) -> CodeSet {
        self.codes(|tlv| tlv.operation == Operation::Ack)
    }

    fn codes(&self, of: impl Fn(&Tlv) -> bool) -> CodeSet {
        self.tlvs.iter().filter(|tlv| of(tlv)).map(|tlv| tlv.code).collect()
    }

    /// What the TLVs that aren't known here demand of who reads this. An Ack or an answer to what was never asked demands
    /// nothing: two edges that don't know each other's types would else report to each other for ever.
    pub fn demands(&self) -> Demands {
        let mut demands = Demands::default();
        for tlv in self
            .tlvs
            .iter()
            .filter(|tlv| matches!(tlv.value, Some(Value::Unknown(..))) || !tlv.code.is_known())
        {
            let is_report = tlv.operation.is_response() && tlv.value.is_none();
            if is_report || tlv.operation == Operation::Ack {
                continue;
            }
            demands.ignores_message |= tlv.compatibility.ignores_message;
            if tlv.compatibility.is_reported && !demands.reported.contains(&tlv.code) {
                // More than fit are not said.
                let _ = demands.reported.try_push(tlv.code);
            }
        }
        demands
    }
}
