//! What control TLVs carry.
//!
//! Guarantees: a value that the wire could not carry has no place in a field, but for lengths, which the encoding checks.

use super::{Carriers, Code, Fqdn, Id, IdTypes, Rlocs, Tag};
use crate::packet::{MacAddr, Protocol};
use arrayvec::ArrayVec;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

/// Longest cookie and token, in bytes.
pub const LONGEST_COOKIE: usize = 32;
/// Longest address of a CA, in bytes.
pub const LONGEST_CA_ADDRESS: usize = 255;
/// Longest certificate, in bytes of DER: with the rest of its message it fits into one packet.
pub const LONGEST_CERTIFICATE: usize = 1000;
/// Services that one negotiation may be for.
pub const SERVICES: usize = 8;
/// Sessions that one report or termination may name.
pub const SESSIONS: usize = 16;

/// The services that are asked for, or granted. Never empty on the wire.
pub type Services = ArrayVec<Service, SERVICES>;
/// Sessions, by the receiver's tags.
pub type Sessions = ArrayVec<Tag, SESSIONS>;

/// The value of a control TLV; which one a type has is [`Value::code`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Never empty.
    RlocIpv4(Rlocs<Ipv4Addr>),
    /// Never empty.
    RlocIpv6(Rlocs<Ipv6Addr>),
    /// Never empty.
    RlocEthernet(Rlocs<MacAddr>),
    /// Seconds.
    Timeout(NonZeroU32),
    /// 1 to [`LONGEST_COOKIE`] bytes.
    Cookie(&'a [u8]),
    IdType(IdTypes),
    /// A URI, a name or an address in printable ASCII; 1 to [`LONGEST_CA_ADDRESS`] bytes.
    CaAddress(&'a str),
    Domain(Fqdn<'a>),
    Signature(Signature<'a>),
    /// DER (RFC 5280); 1 to [`LONGEST_CERTIFICATE`] bytes.
    Certificate(&'a [u8]),
    Unexpected(Unexpected),
    Backoff(Backoff),
    /// Anything: the answer gives it back.
    Keepalive(u32),
    Terminate(Termination),
    Evidence(Evidence),
    Filtering(Filtering<'a>),
    Service(Services),
    /// Bytes of an IP packet of a host, its header included; at least 576 (RFC 791).
    Mtu(u16),
    Limits(Limits),
    Carriers(Carriers),
    Incarnation(u64),
    KeyShare(KeyShare<'a>),
    Epoch(u8),
    /// Milliseconds since 1970-01-01 UTC.
    Clock(u64),
    /// 1 to [`LONGEST_COOKIE`] bytes.
    Token(&'a [u8]),
    /// So many zeros.
    Padding(u16),
    /// Of a type that isn't known here.
    Unknown(Code, &'a [u8]),
}

impl Value<'_> {
    /// Of which type of TLV this is the value.
    pub const fn code(&self) -> Code {
        match self {
            Value::RlocIpv4(_) => Code::RLOC_IPV4,
            Value::RlocIpv6(_) => Code::RLOC_IPV6,
            Value::RlocEthernet(_) => Code::RLOC_ETHERNET,
            Value::Timeout(_) => Code::TIMEOUT,
            Value::Cookie(_) => Code::COOKIE,
            Value::IdType(_) => Code::ID_TYPE,
            Value::CaAddress(_) => Code::CA_ADDRESS,
            Value::Domain(_) => Code::DOMAIN,
            Value::Signature(_) => Code::SIGNATURE,
            Value::Certificate(_) => Code::CERTIFICATE,
            Value::Unexpected(_) => Code::UNEXPECTED,
            Value::Backoff(_) => Code::BACKOFF,
            Value::Keepalive(_) => Code::KEEPALIVE,
            Value::Terminate(_) => Code::TERMINATE,
            Value::Evidence(_) => Code::EVIDENCE,
            Value::Filtering(_) => Code::FILTERING,
            Value::Service(_) => Code::SERVICE,
            Value::Mtu(_) => Code::MTU,
            Value::Limits(_) => Code::LIMITS,
            Value::Carriers(_) => Code::CARRIERS,
            Value::Incarnation(_) => Code::INCARNATION,
            Value::KeyShare(_) => Code::KEY_SHARE,
            Value::Epoch(_) => Code::EPOCH,
            Value::Clock(_) => Code::CLOCK,
            Value::Token(_) => Code::TOKEN,
            Value::Padding(_) => Code::PADDING,
            Value::Unknown(code, _) => *code,
        }
    }
}

/// Declares a number of which any byte is one, and names for those that are known: a peer of tomorrow may say more.
macro_rules! numbers {
    ($(#[$outer:meta])* $type:ident; $($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub u8);

        impl $type {
            $($(#[$doc])* pub const $name: $type = $type($number);)*
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.0 {
                    $($number => f.write_str($text),)*
                    other => write!(f, "number {other}"),
                }
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

numbers! {
    /// Why something is refused or ends.
    Reason;
    /// The policy of the host or its edge says no, and says no more.
    REFUSED = 1, "refused by policy";
    /// No host of that ID is behind this edge.
    UNKNOWN_HOST = 2, "no such host";
    /// A TLV is required and wasn't told.
    MISSING = 3, "a required value is missing";
    /// The value of a TLV isn't one that the policy takes.
    UNACCEPTABLE = 4, "a value is not acceptable";
    /// An ID of another type is required.
    ID_TYPE = 5, "another type of ID is required";
    /// By the DNS, the FQDN isn't behind that RLOC.
    NAMING_CHECK = 6, "the name is not behind that edge";
    /// The signature is wrong.
    BAD_SIGNATURE = 7, "bad signature";
    /// The certificate is no one that is trusted here: expired, revoked, of another name or an unknown CA.
    BAD_CERTIFICATE = 8, "bad certificate";
    /// Too much is asked at the moment.
    OVERLOADED = 9, "overloaded";
    /// As many sessions as the two edges have agreed on.
    LIMIT = 10, "limit reached";
    /// Who asks is kept away for a while.
    BLOCKED = 11, "blocked";
    /// Something without which the message makes no sense isn't known here.
    UNSUPPORTED = 12, "not supported";
    /// No carrier, or no RLOC, is common to both.
    NO_CARRIER = 13, "no common carrier";
    /// The two policies don't meet within three rounds.
    ROUNDS = 14, "too many rounds";
    /// The other side doesn't answer. Never on the wire.
    SILENT = 15, "no answer";
    /// It isn't needed any more.
    CLOSED = 16, "closed";
    /// No packet for the timeout that was negotiated.
    IDLE = 17, "idle";
    /// The state is gone.
    LOST = 18, "state lost";
    /// A newer one takes its place.
    SUPERSEDED = 19, "superseded";
    /// Hosts behind this edge are negotiated for inside an association only.
    ASSOCIATION = 20, "an association is required";
}

numbers! {
    /// What a host is said to have done.
    Misbehaviour;
    /// Packets with source addresses that aren't its own.
    SPOOFING = 1, "spoofing";
    /// Looks for open services.
    SCAN = 2, "scan";
    /// More packets than anybody can want.
    FLOOD = 3, "flood";
    /// Packets for services that weren't negotiated.
    NOT_NEGOTIATED = 4, "service not negotiated";
    /// Calls or messages that nobody wants.
    SPAM = 5, "spam";
    /// What an intrusion detection calls an attack.
    INTRUSION = 6, "intrusion";
}

numbers! {
    /// What is unexpected of a message or packet.
    UnexpectedKind;
    /// No session, or no association, has that tag.
    UNKNOWN_TAG = 1, "unknown tag";
    /// The tags are there, and the message comes from an RLOC that they don't belong to.
    WRONG_RLOC = 2, "wrong RLOC";
    /// An answer that nobody asked for.
    NO_QUESTION = 3, "answer without a question";
    /// A key that this side doesn't have.
    UNKNOWN_EPOCH = 4, "unknown epoch";
}

/// Who may open flows of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// The host behind the oCES, towards the one behind the iCES: ports are the latter's.
    ToInbound = 1,
    /// The host behind the iCES, towards the one behind the oCES: ports are the latter's.
    ToOutbound = 2,
    /// Either.
    Both = 3,
}

impl Direction {
    pub const fn from_number(number: u8) -> Option<Direction> {
        match number {
            1 => Some(Direction::ToInbound),
            2 => Some(Direction::ToOutbound),
            3 => Some(Direction::Both),
            _ => None,
        }
    }
}

/// A service that hosts use of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// By its IANA number; `None` for any.
    pub protocol: Option<Protocol>,
    pub direction: Direction,
    /// First and last port of the host that is called; 0 to 65,535 for all, and where the protocol has none.
    pub ports: (u16, u16),
}

impl Service {
    /// Everything that either host wants of the other.
    pub const ANY: Service = Service { protocol: None, direction: Direction::Both, ports: (0, u16::MAX) };
}

/// Signs everything of a message that stands before it, together with what the message answers: see `PROTOCOL.md`, "Signatures".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signature<'a> {
    /// RFC 8032.
    Ed25519(&'a [u8; 64]),
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5): r and s, 32 bytes each.
    EcdsaP256(&'a [u8; 64]),
}

/// Half a key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyShare<'a> {
    /// RFC 7748.
    X25519(&'a [u8; 32]),
}

/// What came, and was not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unexpected {
    pub kind: UnexpectedKind,
    /// As the message had them: the first is the tag of who gets this report.
    pub sst: Option<Tag>,
    pub dst: Option<Tag>,
}

/// Why this is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    pub reason: Reason,
    /// The TLV that it is about.
    pub code: Option<Code>,
    /// Seconds for which asking again makes no sense; 0 for as long as nothing changes that is asked for.
    pub retry_after: u16,
}

/// Which sessions end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// The session of the header's tags; edge to edge: the association, and all that is in it.
    This(Reason),
    /// Those. Never empty.
    These(Reason, Sessions),
    /// All sessions between the two edges.
    All(Reason),
}

/// What hosts behind the receiver have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub misbehaviour: Misbehaviour,
    /// How often it was seen.
    pub count: u32,
    /// In which sessions, by the receiver's tags; those of the header where there are none.
    pub sessions: Sessions,
}

/// What is to be kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked<'a> {
    /// A host behind the receiver.
    Host(Id<'a>),
    /// Every host behind the receiver whose name is this or ends in it.
    Domain(Fqdn<'a>),
    /// A service towards hosts of the sender.
    Service(Service),
    /// A host behind the receiver, from one behind the sender, each by the hash of its name: other hosts aren't concerned.
    Pair { host: &'a [u8; 16], from: &'a [u8; 16] },
}

/// Asks the receiver to keep its own side away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filtering<'a> {
    pub blocked: Blocked<'a>,
    /// Seconds, from now on; 0 ends it, whatever its reason was.
    pub seconds: u16,
    /// What the host is told that asks nevertheless.
    pub reason: Reason,
}

/// What an edge takes of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: u32,
    /// Negotiations a second.
    pub negotiations: u32,
}
