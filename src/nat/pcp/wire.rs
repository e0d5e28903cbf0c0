//! PCP's messages (RFC 6887 sections 7, 11, 12 and 13).
//!
//! Guarantees: reads any bytes without a panic; an answer is never longer than its request, padded, or a header. Never: judges
//! what a request may have.

use arrayvec::ArrayVec;
use std::net::Ipv4Addr;

/// This is version 2.
pub const VERSION: u8 = 2;
/// Bytes of the longest message (section 7).
pub const LONGEST: usize = 1100;
/// Bytes of the common header.
pub const HEADER: usize = 24;
const MAP: usize = HEADER + 36;
const PEER: usize = HEADER + 56;
/// Of the operation's byte, what says that it is an answer.
const RESPONSE: u8 = 0x80;
/// From here on an option may be passed over (section 7.3).
const OPTIONAL: u8 = 0x80;
/// Filters that one mapping may have.
pub const FILTERS: usize = 8;

/// What an answer says (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Success = 0,
    UnsuppVersion = 1,
    NotAuthorized = 2,
    MalformedRequest = 3,
    UnsuppOpcode = 4,
    UnsuppOption = 5,
    MalformedOption = 6,
    NetworkFailure = 7,
    NoResources = 8,
    UnsuppProtocol = 9,
    UserExQuota = 10,
    CannotProvideExternal = 11,
    AddressMismatch = 12,
    ExcessiveRemotePeers = 13,
}

impl Code {
    /// Seconds for which the answer to the same request stays the same: those that may pass soon, and those that won't.
    const fn lifetime(self) -> u32 {
        match self {
            Self::NetworkFailure | Self::NoResources | Self::UserExQuota | Self::CannotProvideExternal => 30,
            _ => 1800,
        }
    }
}

/// Which public address a client would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Any,
    This(Ipv4Addr),
    /// One of another family.
    Other,
}

impl Wanted {
    /// Whether that address is one.
    pub fn allows(self, address: Ipv4Addr) -> bool {
        self == Self::Any || self == Self::This(address)
    }
}

/// Whom a mapping is open for (section 13.3): packets from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    address: u32,
    mask: u32,
    /// 0 for all.
    port: u16,
}

impl Filter {
    pub fn passes(&self, remote: Ipv4Addr, port: u16) -> bool {
        u32::from(remote) & self.mask == self.address && (self.port == 0 || self.port == port)
    }
}

/// What MAP and PEER have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub nonce: [u8; 12],
    /// Seconds; 0 to end it.
    pub lifetime: u32,
    /// By its IANA number; 0 for all.
    pub protocol: u8,
    /// 0 for all.
    pub internal_port: u16,
    /// 0 for any.
    pub external_port: u16,
    pub external_address: Wanted,
}

/// The options of a MAP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub prefer_failure: bool,
    /// Filters are none from here on, but for those that follow.
    pub clears_filters: bool,
    pub filters: ArrayVec<Filter, FILTERS>,
}

/// A request that is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Announce,
    Map(Asked, Options),
    Peer(Asked, (Ipv4Addr, u16)),
}

/// What a client has from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub lifetime: u32,
    /// As the client has asked where there is none.
    pub external: Option<(Ipv4Addr, u16)>,
}

/// Whether this is a request at all, which has an answer; in which version it is.
pub fn version(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [version, operation, ..] if operation & RESPONSE == 0 => Some(*version),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An IPv4 address as IPv6 writes it (RFC 4291 section 2.5.5.2); `None` of another one.
fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    match bytes[at..at + 16] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

fn wanted(bytes: &[u8], at: usize) -> Wanted {
    match v4(bytes, at) {
        Some(Ipv4Addr::UNSPECIFIED) => Wanted::Any,
        Some(address) => Wanted::This(address),
        None if bytes[at..at + 16] == [0; 16] => Wanted::Any,
        None => Wanted::Other,
    }
}

/// Reads a request of version 2 that came from `source`.
///
/// # Errors
/// What the answer says.
pub fn parse(bytes: &[u8], source: Ipv4Addr) -> Result<Request, Code> {
    if bytes.first() != Some(&VERSION) {
        return Err(Code::UnsuppVersion);
    }
    if bytes.len() < HEADER || bytes.len() > LONGEST || !bytes.len().is_multiple_of(4) {
        return Err(Code::MalformedRequest);
    }
    let length = match bytes[1] {
        0 => HEADER,
        1 => MAP,
        2 => PEER,
        _ => return Err(Code::UnsuppOpcode),
    };
    let options = bytes.get(length..).ok_or(Code::MalformedRequest)?;
    // A NAT on the way has changed the one and not the other.
    if v4(bytes, 8) != Some(source) {
        return Err(Code::AddressMismatch);
    }
    let options = read_options(bytes[1], options)?;
    if bytes[1] == 0 {
        return Ok(Request::Announce);
    }
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&bytes[24..36]);
    let asked = Asked {
        nonce,
        lifetime: long(bytes, 4),
        protocol: bytes[36],
        internal_port: word(bytes, 40),
        external_port: word(bytes, 42),
        external_address: wanted(bytes, 44),
    };
    if bytes[1] == 1 {
        return Ok(Request::Map(asked, options));
    }
    let remote = v4(bytes, 64).ok_or(Code::MalformedRequest)?;
    Ok(Request::Peer(asked, (remote, word(bytes, 60))))
}

/// The options one by one: its code, its data, and where it ends. `None` once for one that is cut short.
fn each_option(bytes: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [code, _, high, low, data @ ..] = rest else {
            return if std::mem::take(&mut rest).is_empty() { None } else { Some(None) };
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(own) = data.get(..length) else {
            rest = &[];
            return Some(None);
        };
        rest = data.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Some((*code, own)))
    })
}

const PREFER_FAILURE: u8 = 2;
const FILTER: u8 = 3;

/// Whether an option of that code means something to a request of that operation.
const fn is_known(operation: u8, code: u8) -> bool {
    operation == 1 && (code == PREFER_FAILURE || code == FILTER)
}

/// In the order in which they come (section 7.3).
fn read_options(operation: u8, bytes: &[u8]) -> Result<Options, Code> {
    let mut options = Options::default();
    for option in each_option(bytes) {
        let (code, data) = option.ok_or(Code::MalformedOption)?;
        match code {
            // THIRD_PARTY, too: nobody may ask for somebody else (section 13.1).
            _ if !is_known(operation, code) && code < OPTIONAL => return Err(Code::UnsuppOption),
            PREFER_FAILURE if !data.is_empty() || options.prefer_failure => {
                return Err(Code::MalformedOption);
            }
            PREFER_FAILURE => options.prefer_failure = true,
            FILTER => read_filter(data, &mut options)?,
            _ => (),
        }
    }
    Ok(options)
}

fn read_filter(data: &[u8], options: &mut Options) -> Result<(), Code> {
    if data.len() != 20 {
        return Err(Code::MalformedOption);
    }
    let (length, port) = (data[1], word(data, 2));
    if length == 0 {
        options.clears_filters = true;
        options.filters.clear();
        return Ok(());
    }
    // Prefixes of IPv4 addresses as IPv6 writes them.
    let (Some(address), Some(length @ ..=32)) = (v4(data, 4), length.checked_sub(96)) else {
        return Err(Code::MalformedOption);
    };
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let filter = Filter { address: u32::from(address) & mask, mask, port };
    if !options.filters.contains(&filter) {
        options.filters.try_push(filter).map_err(|_| Code::ExcessiveRemotePeers)?;
    }
    Ok(())
}

fn write_header(answer: &mut [u8], operation: u8, code: Code, lifetime: u32, epoch: u32) {
    answer[..4].copy_from_slice(&[VERSION, operation | RESPONSE, 0, code as u8]);
    answer[4..8].copy_from_slice(&lifetime.to_be_bytes());
    answer[8..12].copy_from_slice(&epoch.to_be_bytes());
    answer[12..HEADER].fill(0);
}

/// Writes the answer that refuses a request: a copy of it, but for the header (section 8.2). Returns its length.
pub fn refuse(request: &[u8], code: Code, epoch: u32, answer: &mut [u8; LONGEST]) -> usize {
    let copied = request.len().min(LONGEST);
    let length = copied.next_multiple_of(4).max(HEADER);
    answer[..length].fill(0);
    answer[..copied].copy_from_slice(&request[..copied]);
    // Of another version nothing is known but its first two bytes.
    let length = if code == Code::UnsuppVersion { HEADER } else { length };
    write_header(answer, request.get(1).map_or(0, |operation| *operation), code, code.lifetime(), epoch);
    length
}

/// Writes the answer that grants a request, which [`parse`] has accepted. Returns its length.
pub fn grant(request: &[u8], granted: &Granted, epoch: u32, answer: &mut [u8; LONGEST]) -> usize {
    let operation = request[1];
    let fixed = [HEADER, MAP, PEER][usize::from(operation)];
    answer[..fixed].copy_from_slice(&request[..fixed]);
    write_header(answer, operation, Code::Success, granted.lifetime, epoch);
    if operation > 0 {
        answer[37..40].fill(0);
        if let Some((address, port)) = granted.external {
            answer[42..44].copy_from_slice(&port.to_be_bytes());
            answer[44..60].copy_from_slice(&address.to_ipv6_mapped().octets());
        }
    }
    if operation == 2 {
        answer[62..64].fill(0);
    }
    // Options that were processed come back, in their order (section 7.3).
    let mut at = fixed;
    for (code, data) in
        each_option(&request[fixed..]).flatten().filter(|(code, _)| is_known(operation, *code))
    {
        let end = at + 4 + data.len().next_multiple_of(4);
        answer[at..end].fill(0);
        answer[at] = code;
        answer[at + 2..at + 4].copy_from_slice(&(data.len() as u16).to_be_bytes());
        answer[at + 4..at + 4 + data.len()].copy_from_slice(data);
        at = end;
    }
    at
}

/// Writes the announcement to all that there is a new epoch (section 14.1.2). Returns its length.
pub fn announce(epoch: u32, answer: &mut [u8; LONGEST]) -> usize {
    write_header(answer, 0, Code::Success, 0, epoch);
    HEADER
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// The bytes of something like a request: what is random is not refused at the first look.
    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let option = (prop_oneof![1..5u8, any::<u8>()], prop::collection::vec(any::<u8>(), 0..30));
        let options = prop::collection::vec((option, any::<bool>()), 0..50);
        (0..4u8, prop::collection::vec(any::<u8>(), 100), options, 0..40usize).prop_map(
            |(op, body, options, cut)| {
                let mut bytes = vec![VERSION, op, 0, 0, 0, 0, 1, 0];
                bytes.extend(CLIENT.to_ipv6_mapped().octets());
                bytes.extend(&body[..[0, 36, 56, 0][usize::from(op)]]);
                for ((code, data), filter) in options {
                    let data = if filter {
                        [&[0, 120, 0, 9][..], &CLIENT.to_ipv6_mapped().octets()].concat()
                    } else {
                        data
                    };
                    bytes.extend([if filter { FILTER } else { code }, 0, 0, data.len() as u8]);
                    bytes.extend(&data);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                bytes.truncate(bytes.len() - if cut < 30 { 0 } else { cut.min(bytes.len()) });
                bytes
            },
        )
    }

    proptest! {
        /// Any bytes have an answer or none, which is a message of its own: whole words, no longer than there may be.
        #[test]
        fn no_bytes_panic(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..1300), likely()]) {
            let mut answer = [0; LONGEST];
            if version(&bytes).is_none() {
                return Ok(());
            }
            let (length, code) = match parse(&bytes, CLIENT) {
                Ok(request) => {
                    let granted = Granted { lifetime: 7, external: Some((CLIENT, 9)) };
                    let filters = matches!(&request, Request::Map(_, o) if !o.filters.is_empty());
                    let length = grant(&bytes, &granted, 1, &mut answer);
                    prop_assert!(length <= bytes.len() && (!filters || length >= MAP + 24));
                    (length, Code::Success)
                }
                Err(code) => (refuse(&bytes, code, 1, &mut answer), code),
            };
            prop_assert!(length.is_multiple_of(4) && (HEADER..=LONGEST).contains(&length));
            prop_assert_eq!(&answer[..2], &[VERSION, bytes[1] | RESPONSE]);
            prop_assert_eq!(answer[3], code as u8);
        }
    }
}
