//! NAT-PMP's messages (RFC 6886 section 3), whose version is 0 where PCP's is 2 (RFC 6887 appendix A).
//!
//! Guarantees: as [`super::wire`]. Never: judges what a request may have.

use std::net::Ipv4Addr;

/// What an answer says (section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    Success = 0,
    NotAuthorized = 2,
    NetworkFailure = 3,
    OutOfResources = 4,
    UnsupportedOpcode = 5,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which public address is mine?
    Address,
    Map {
        /// By its IANA number: UDP or TCP.
        protocol: u8,
        internal_port: u16,
        external_port: u16,
        lifetime: u32,
    },
    Unknown,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    pub address: Ipv4Addr,
    pub external_port: u16,
    pub lifetime: u32,
}

impl Answer {
    pub fn refusal(code: Code) -> Self {
        Self { code, address: Ipv4Addr::UNSPECIFIED, external_port: 0, lifetime: 0 }
    }
}

/// Reads a request of version 0; `None` of one that is cut short.
pub fn parse(bytes: &[u8]) -> Option<Request> {
    let protocol = match bytes.get(1)? {
        0 => return Some(Request::Address),
        1 => 17,
        2 => 6,
        _ => return Some(Request::Unknown),
    };
    let [_, _, _, _, i, n, e, x, a, b, c, d] = *bytes.first_chunk::<12>()?;
    let (internal_port, external_port) = (u16::from_be_bytes([i, n]), u16::from_be_bytes([e, x]));
    Some(Request::Map { protocol, internal_port, external_port, lifetime: u32::from_be_bytes([a, b, c, d]) })
}

/// Writes the answer to a request. Returns its length.
pub fn write(request: &[u8], answer: &Answer, epoch: u32, room: &mut [u8]) -> usize {
    let operation = request[1];
    room[..16].fill(0);
    room[1] = operation | 0x80;
    room[2..4].copy_from_slice(&(answer.code as u16).to_be_bytes());
    room[4..8].copy_from_slice(&epoch.to_be_bytes());
    match operation {
        0 => {
            room[8..12].copy_from_slice(&answer.address.octets());
            12
        }
        1 | 2 => {
            room[8..10].copy_from_slice(&request[4..6]);
            room[10..12].copy_from_slice(&answer.external_port.to_be_bytes());
            room[12..16].copy_from_slice(&answer.lifetime.to_be_bytes());
            16
        }
        _ => 8,
    }
}
