//! CETP's payload form: a packet between two hosts in the tunnel of their session (`src/edge/cetp/PROTOCOL.md`, "Payload").
//!
//! The header of an inner IP packet is left out but for what the session doesn't say: an IPv4 packet without options that must not
//! be fragmented costs 12 bytes.

use super::{Error, Protocol};

/// The UDP port to which messages and payload go, over IPv4 and IPv6.
pub const UDP_PORT: u16 = 48010;
/// On Ethernet: IEEE 802's local experimental EtherType 1.
pub const ETHER_TYPE: u16 = 0x88b5;
/// Bytes of a header without any extension.
pub const HEADER_LENGTH: usize = 12;
/// Bytes of the longest header, with all extensions and 40 bytes of IPv4 options.
pub const LONGEST_HEADER: usize = HEADER_LENGTH + 4 + 8 + 4 + 4 + 40;

const PAYLOAD: u8 = 0x80;
const INNER_SHIFT: u32 = 5;
const LENGTH: u8 = 0x10;
const SEQUENCE: u8 = 0x08;
const FRAGMENT: u8 = 0x04;
const OPTIONS: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// What the tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Inner {
    Ipv4 = 0,
    Ipv6 = 1,
    /// A whole frame, without its FCS.
    Ethernet = 2,
}

/// Room for authenticated encryption: which key, and a number that no other packet under it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub epoch: u8,
    /// The sending worker: each counts for itself.
    pub worker: u8,
    /// 48 bits.
    pub number: u64,
}

/// What precedes the inner payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub inner: Inner,
    /// TOS or traffic class with its ECN bits; 0 for a frame.
    pub traffic_class: u8,
    /// TTL or hop limit; 0 for a frame.
    pub hop_limit: u8,
    /// Protocol or next header; 0 for a frame.
    pub protocol: Protocol,
    /// SST: of the session, the sender's tag.
    pub sst: u32,
    /// DST: the receiver's, by which it finds its record.
    pub dst: u32,
    /// Bytes of the whole payload message, where the carrier may have padded it: on Ethernet.
    pub length: Option<u16>,
    /// Not sent yet.
    pub sequence: Option<Sequence>,
    /// IPv4: identification, then flags and fragment offset, of what isn't just "don't fragment, the only one"; IPv6: the flow
    /// label, where it isn't 0. Never for a frame.
    pub fragment: Option<u32>,
}

/// The flags and offset of an IPv4 packet whose header has no [`Header::fragment`]: an atomic datagram's (RFC 6864 section 4),
/// whose identification says nothing.
pub const ATOMIC: u16 = 0x4000;

/// A packet in the payload form.
#[derive(Clone, Copy, Debug)]
pub struct CetpPayload<'a> {
    header: Header,
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> CetpPayload<'a> {
    /// Reads what a carrier brought. Bytes beyond the length that the header says are left out.
    ///
    /// # Errors
    /// [`Error::Truncated`] if it ends too early, [`Error::L4HeaderInvalid`] for a message, and for what no payload has.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (&[flags, traffic_class, hop_limit, protocol, a, b, c, d, e, f, g, h], mut rest) =
            bytes.split_first_chunk::<HEADER_LENGTH>().ok_or(Error::Truncated)?;
        let inner = match (flags & PAYLOAD != 0, flags >> INNER_SHIFT & 3) {
            (true, 0) => Inner::Ipv4,
            (true, 1) => Inner::Ipv6,
            (true, 2) => Inner::Ethernet,
            _ => return Err(Error::L4HeaderInvalid),
        };
        let mut header = Header {
            inner,
            traffic_class,
            hop_limit,
            protocol: Protocol(protocol),
            sst: u32::from_be_bytes([a, b, c, d]),
            dst: u32::from_be_bytes([e, f, g, h]),
            length: None,
            sequence: None,
            fragment: None,
        };
        if flags & LENGTH != 0 {
            let length = u32::from_be_bytes(*take(&mut rest)?);
            let without = (length as usize).checked_sub(HEADER_LENGTH + 4).ok_or(Error::L4HeaderInvalid)?;
            rest = rest.get(..without).ok_or(Error::Truncated)?;
            header.length = Some(u16::try_from(length).map_err(|_| Error::L4HeaderInvalid)?);
        }
        if flags & SEQUENCE != 0 {
            let [epoch, worker, number @ ..] = *take::<8>(&mut rest)?;
            let mut bytes = [0; 8];
            bytes[2..].copy_from_slice(&number);
            header.sequence = Some(Sequence { epoch, worker, number: u64::from_be_bytes(bytes) });
        }
        if flags & FRAGMENT != 0 {
            header.fragment = Some(u32::from_be_bytes(*take(&mut rest)?));
        }
        let options = if flags & OPTIONS != 0 { take_options(&mut rest)? } else { &[] };
        if flags & RESERVED != 0 || !is_possible(&header, options) {
            return Err(Error::L4HeaderInvalid);
        }
        Ok(CetpPayload { header, options, payload: rest })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// The options of an IPv4 header, padded to whole words.
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// What followed the inner header; the whole of a frame.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Error> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(Error::Truncated)?;
    *rest = behind;
    Ok(bytes)
}

/// A word that says how many follow, and these.
fn take_options<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let words = match take(rest)? {
        [words @ 1..=10, 0, 0, 0] => usize::from(*words),
        _ => return Err(Error::L4HeaderInvalid),
    };
    let (options, behind) = rest.split_at_checked(words * 4).ok_or(Error::Truncated)?;
    *rest = behind;
    Ok(options)
}

/// What is left out when it says nothing is never there to say it: a packet has one form.
fn is_possible(header: &Header, options: &[u8]) -> bool {
    let has_tags = header.sst != 0 && header.dst != 0;
    has_tags
        && match header.inner {
            Inner::Ipv4 => {
                header.fragment.is_none_or(|word| word as u16 & 0x8000 == 0 && word as u16 != ATOMIC)
            }
            Inner::Ipv6 => {
                options.is_empty() && header.fragment.is_none_or(|word| word != 0 && word < 1 << 20)
            }
            Inner::Ethernet => {
                options.is_empty()
                    && header.fragment.is_none()
                    && (header.traffic_class, header.hop_limit, header.protocol.0) == (0, 0, 0)
            }
        }
}

impl Header {
    /// Bytes that [`Self::emit`] writes for so many bytes of IPv4 options.
    pub const fn emitted(&self, options: usize) -> usize {
        HEADER_LENGTH
            + if self.length.is_some() { 4 } else { 0 }
            + if self.sequence.is_some() { 8 } else { 0 }
            + if self.fragment.is_some() { 4 } else { 0 }
            + if options > 0 { 4 + options } else { 0 }
    }

    /// Writes it with the options of an IPv4 header, whole words of them; returns how many bytes it took. `None` if `room` is too
    /// short, or [`CetpPayload::parse`] would refuse it.
    pub fn emit(&self, options: &[u8], room: &mut [u8]) -> Option<usize> {
        let words = options.len() / 4;
        if !is_possible(self, options) || words > 10 || !options.len().is_multiple_of(4) {
            return None;
        }
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = PAYLOAD
            | (self.inner as u8) << INNER_SHIFT
            | flag(self.length.is_some(), LENGTH)
            | flag(self.sequence.is_some(), SEQUENCE)
            | flag(self.fragment.is_some(), FRAGMENT)
            | flag(words > 0, OPTIONS);
        let mut at = 0;
        let mut write = |bytes: &[u8]| -> Option<()> {
            room.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
            at += bytes.len();
            Some(())
        };
        write(&[flags, self.traffic_class, self.hop_limit, self.protocol.0])?;
        write(&self.sst.to_be_bytes())?;
        write(&self.dst.to_be_bytes())?;
        if let Some(length) = self.length {
            write(&u32::from(length).to_be_bytes())?;
        }
        if let Some(Sequence { epoch, worker, number }) = self.sequence {
            let [_, _, number @ ..] = number.to_be_bytes();
            write(&[epoch, worker])?;
            write(&number)?;
        }
        if let Some(word) = self.fragment {
            write(&word.to_be_bytes())?;
        }
        if words > 0 {
            write(&[words as u8, 0, 0, 0])?;
            write(options)?;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = (Header, Vec<u8>)> {
        let extensions =
            (any::<bool>(), prop::option::of((any::<(u8, u8)>(), 0..1u64 << 48)), any::<Option<u32>>());
        (
            0..3u8,
            any::<(u8, u8, u8)>(),
            (1..=u32::MAX, 1..=u32::MAX),
            extensions,
            prop::collection::vec(any::<[u8; 4]>(), 0..=10),
        )
            .prop_map(
                |(
                    inner,
                    (traffic_class, hop_limit, protocol),
                    (sst, dst),
                    (length, sequence, fragment),
                    options,
                )| {
                    let inner = [Inner::Ipv4, Inner::Ipv6, Inner::Ethernet][usize::from(inner)];
                    let options = if inner == Inner::Ipv4 { options.concat() } else { Vec::new() };
                    let is_ip = inner != Inner::Ethernet;
                    let fragment = fragment.map(|word| match inner {
                        Inner::Ipv4 => word & 0xffff_3fff,
                        _ => word >> 12 | 1,
                    });
                    let sequence =
                        sequence.map(|((epoch, worker), number)| Sequence { epoch, worker, number });
                    let header = Header {
                        inner,
                        traffic_class: if is_ip { traffic_class } else { 0 },
                        hop_limit: if is_ip { hop_limit } else { 0 },
                        protocol: Protocol(if is_ip { protocol } else { 0 }),
                        sst,
                        dst,
                        length: length.then_some(0),
                        sequence,
                        fragment: fragment.filter(|_| is_ip),
                    };
                    (header, options)
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed((header, options) in header(), payload in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut room = [0; LONGEST_HEADER];
            let length = header.emitted(options.len()) + payload.len();
            let header = Header { length: header.length.map(|_| length as u16), ..header };
            let emitted = header.emit(&options, &mut room).expect("it fits");
            prop_assert_eq!(emitted, header.emitted(options.len()));
            prop_assert_eq!(header.emit(&options, &mut room[..emitted - 1]), None);
            let padding = if header.length.is_some() { 7 } else { 0 };
            let bytes = [&room[..emitted], &payload, &vec![9; padding]].concat();
            let parsed = CetpPayload::parse(&bytes).expect("it is one");
            prop_assert_eq!(parsed.header(), header);
            prop_assert_eq!(parsed.options(), &options[..]);
            prop_assert_eq!(parsed.payload(), &payload[..]);
        }

        /// What is parsed was emitted just so, but for padding of the carrier.
        #[test]
        fn no_bytes_panic((header, options) in header(), noise in prop::collection::vec(any::<u8>(), 0..90), at in 0..30usize, cut in 0..90usize) {
            let mut room = [0; LONGEST_HEADER];
            let header = Header { length: header.length.map(|_| 60), ..header };
            let emitted = header.emit(&options, &mut room).expect("it fits");
            let mut likely = [&room[..emitted], &noise].concat();
            likely[at.min(emitted - 1)] ^= noise.first().copied().unwrap_or(0);
            likely.truncate(likely.len().saturating_sub(cut));
            for bytes in [noise, likely] {
                if let Ok(parsed) = CetpPayload::parse(&bytes) {
                    let emitted = parsed.header().emit(parsed.options(), &mut room).expect("it is one");
                    let again = [&room[..emitted], parsed.payload()].concat();
                    prop_assert_eq!(&again, &bytes[..again.len()]);
                    prop_assert!(again.len() == bytes.len() || parsed.header().length == Some(again.len() as u16));
                }
            }
        }
    }

    /// What a packet grows by between Ethernet headers: the figures of `PROTOCOL.md`.
    #[test]
    fn what_a_packet_costs() {
        let plain = Header {
            inner: Inner::Ipv4,
            traffic_class: 0,
            hop_limit: 64,
            protocol: Protocol::TCP,
            sst: 1,
            dst: 2,
            length: None,
            sequence: None,
            fragment: None,
        };
        let (udp4, udp6) = (20 + 8, 40 + 8);
        assert_eq!(udp4 + plain.emitted(0) - 20, 20);
        let fragment = Header { fragment: Some(7 << 16), ..plain };
        assert_eq!(udp4 + fragment.emitted(0) - 20, 24);
        assert_eq!(udp4 + fragment.emitted(40) - 60, 28);
        assert_eq!(udp6 + plain.emitted(0) - 20, 40);
        let v6 = Header { inner: Inner::Ipv6, fragment: Some(1), ..plain };
        assert_eq!(udp6 + v6.emitted(0) - 40, 24);
        let ethernet = Header { length: Some(0), ..plain };
        assert_eq!(ethernet.emitted(0) as i32 - 20, -4);
    }
}
