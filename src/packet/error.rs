//! The one error of the room. It is a byte, so that the fast path returns it in a register.
//!
//! Guaranteed: every error of a received packet names the counter that its drop belongs to. Never carries packet bytes.

use super::DropReason;

/// Why bytes are not what a view was asked to make of them, or why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The bytes end before the header, or the length that a header announces, does.
    #[error("the packet ends before its header says so: drop it and suspect the sender or the link")]
    Truncated,
    /// Not an Ethernet/IPv4 request or reply (RFC 826).
    #[error("the ARP message is not an Ethernet/IPv4 request or reply: drop it")]
    ArpInvalid,
    /// Version, header length, total length or options contradict each other (RFC 791 section 3.1).
    #[error("the IPv4 header contradicts itself: drop it without an ICMP error")]
    Ipv4HeaderInvalid,
    /// Version or extension headers contradict RFC 8200.
    #[error("the IPv6 header or its extension headers contradict themselves: drop it")]
    Ipv6HeaderInvalid,
    /// A TCP, UDP, ICMP or neighbour discovery header that is cut short or contradicts itself.
    #[error("the transport header is cut short or contradicts itself: drop it")]
    L4HeaderInvalid,
    /// No payload TLV of CETP: see [`super::cetp`].
    #[error("the bytes are no tunnelled packet of this version: drop them and suspect the other edge")]
    CetpInvalid,
    /// `emit` was given a buffer that its message does not fit.
    #[error("the buffer is too small for this message: offer one as long as the interface's MTU")]
    BufferTooSmall,
    /// `emit` was asked for a message longer than its length field can say.
    #[error("the message is longer than its length field can say: send less at a time")]
    TooLong,
    /// `emit` was given options that are not whole 32-bit words, or more than 40 bytes of them.
    #[error("options must be whole 32-bit words and at most 40 bytes: pad them or leave some out")]
    OptionsLength,
}

impl Error {
    /// The counter under which a packet with this error is dropped.
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Error::Truncated => DropReason::Truncated,
            Error::ArpInvalid => DropReason::ArpInvalid,
            Error::Ipv4HeaderInvalid => DropReason::Ipv4HeaderInvalid,
            Error::Ipv6HeaderInvalid => DropReason::Ipv6HeaderInvalid,
            Error::L4HeaderInvalid => DropReason::L4HeaderInvalid,
            Error::CetpInvalid => DropReason::CetpInvalid,
            Error::BufferTooSmall => DropReason::NoBuffer,
            Error::TooLong | Error::OptionsLength => DropReason::TxTooBig,
        }
    }
}

impl From<Error> for DropReason {
    fn from(error: Error) -> DropReason {
        error.drop_reason()
    }
}
