//! The outside of a tunnel: the headers before a payload TLV, written and read. UDP over IPv4 or IPv6, or Ethernet.
//!
//! - The source port is of the dynamic range (RFC 6335 section 6) and tells flows apart where next hops and queues are chosen, as
//!   RFC 7348 section 5 has it; over IPv6 the flow label does, too (RFC 6438). It says nothing of who the sender is.
//! - DSCP and ECN are the inner packet's (RFC 2983, and RFC 6040 section 4.1, normal mode). What becomes of them at the exit:
//!   the inner DSCP stays, for ECN see [`cetp::ecn_at_exit`].
//! - The outer packet is not to be fragmented (RFC 4459 section 3.2): what does not fit is told its sender, or is cut inside.
//! - There is no UDP checksum: the inner ones are whole from host to host and cover the tags, the outer IPv4 header has its own, and
//!   both tags and the RLOC must be right. Over IPv6 that is RFC 6935's case; a checksum that is there is checked.
//!
//! What it guarantees: any bytes are a tunnelled packet or not. What it never does: look for a session, allocate.

use crate::flow::tunnel::Ends;
use crate::packet::cetp::{self, Compressed4, Head4, Header, Kind, Payload};
use crate::packet::checksum::Sum;
use crate::packet::{EtherType, Ipv4, Ipv6, Protocol, Udp, ethernet, ipv4, ipv6, udp};

/// Bytes that encapsulation replaces: Ethernet's header, and IPv4's without options.
pub const INNER: usize = ethernet::HEADER_LENGTH + ipv4::HEADER_LENGTH;
/// Bytes of the longest head.
const LONGEST: usize =
    ethernet::HEADER_LENGTH + ipv6::HEADER_LENGTH + udp::HEADER_LENGTH + cetp::LONGEST_HEAD;
/// Hops that a packet between edges may make (RFC 1700, RFC 2003 section 3.1).
const HOPS: u8 = 64;
/// The dynamic ports begin here.
const DYNAMIC: u16 = 0xc000;

/// What stands before the options and the payload of a packet in a tunnel. Of the Ethernet addresses it has none.
pub struct Head {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Head {
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    #[inline(always)]
    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.length..self.length + N].copy_from_slice(&bytes);
        self.length += N;
    }
}

/// A packet whose addresses are session tags.
#[derive(Clone, Copy)]
pub struct Tagged<'p> {
    /// Its IPv4 header without options.
    pub header: &'p [u8; ipv4::HEADER_LENGTH],
}

impl Tagged<'_> {
    fn word(&self, at: usize) -> u32 {
        let h = self.header;
        u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]])
    }

    /// Of the side that it comes from.
    #[inline(always)]
    pub fn source(&self) -> u32 {
        self.word(12)
    }

    /// Of the side that it goes to.
    #[inline(always)]
    pub fn destination(&self) -> u32 {
        self.word(16)
    }

    /// Bytes of the packet, as its header says.
    #[inline(always)]
    pub fn total(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    /// The compressed header.
    #[inline(always)]
    fn head(&self) -> Head4 {
        Head4::of(self.header, (self.header[0] & 15).saturating_sub(5))
    }

    /// Whether routers may cut it.
    pub fn may_be_cut(&self) -> bool {
        self.header[6] & 0x40 == 0
    }

    /// Bytes of the packet between the edges, its outer headers included: what the MTU of an RLOC bounds. Over Ethernet: of the
    /// frame behind its header.
    #[inline(always)]
    pub fn length_outside(&self, ends: &Ends) -> usize {
        ends.headers()
            + cetp::HEADER_LENGTH
            + self.head().bytes().len()
            + self.total().saturating_sub(ipv4::HEADER_LENGTH)
    }
}

/// Bytes of the largest host's packet that fits an RLOC of that MTU: one that is not to be cut, and one that may be. 0: none does.
pub fn mtu_inside(ends: &Ends, mtu: u16) -> (u16, u16) {
    let room = usize::from(mtu).saturating_sub(ends.headers() + cetp::HEADER_LENGTH);
    let inside = |head: usize| match room.checked_sub(head) {
        Some(rest) => u16::try_from(rest + ipv4::HEADER_LENGTH).unwrap_or(u16::MAX),
        None => 0,
    };
    (inside(cetp::ATOMIC), inside(cetp::NOT_ATOMIC))
}

/// What takes the place of the first [`INNER`] bytes of a frame with a packet of [`Tagged`], on its way between those ends under that
/// key epoch; `port` is that of the protocol, `entropy` the flow's. `None` for what would be longer than a packet can be.
#[inline]
pub fn head(ends: &Ends, packet: Tagged<'_>, epoch: u8, port: u16, entropy: u16) -> Option<Head> {
    let compressed = packet.head();
    let rest = compressed.bytes().len() + packet.total().checked_sub(ipv4::HEADER_LENGTH)?;
    let datagram = u16::try_from(udp::HEADER_LENGTH + cetp::HEADER_LENGTH + rest).ok()?;
    let mut head = Head { bytes: [0; LONGEST], length: 12 };
    let service = packet.header[1];
    match *ends {
        Ends::V4 { local, remote } => {
            let total = u16::try_from(ipv4::HEADER_LENGTH + usize::from(datagram)).ok()?;
            let ([t0, t1], [a, b, c, d], [e, f, g, h]) =
                (total.to_be_bytes(), local.octets(), remote.octets());
            let [y0, y1] = EtherType::IPV4.0.to_be_bytes();
            // Whole and not to be cut: its identification means nothing (RFC 6864 section 4.1).
            let mut outer = [0x45, service, t0, t1, 0, 0, 0x40, 0, HOPS, 17, 0, 0, a, b, c, d, e, f, g, h];
            let sum = Sum::ZERO.and(&outer).checksum();
            outer[10..12].copy_from_slice(&sum.to_ne_bytes());
            head.push([y0, y1]);
            head.push(outer);
        }
        Ends::V6 { local, remote } => {
            head.push(EtherType::IPV6.0.to_be_bytes());
            let label = u32::from(entropy | 1);
            head.push((6 << 28 | u32::from(service) << 20 | label).to_be_bytes());
            head.push(datagram.to_be_bytes());
            head.push([17, HOPS]);
            head.push(local.octets());
            head.push(remote.octets());
        }
        Ends::Ethernet { .. } => head.push(EtherType::CETP.0.to_be_bytes()),
    }
    if !matches!(ends, Ends::Ethernet { .. }) {
        head.push((DYNAMIC | entropy).to_be_bytes());
        head.push(port.to_be_bytes());
        head.push(datagram.to_be_bytes());
        head.push([0, 0]);
    }
    let about = Header { epoch, ..Header::new(Kind::Ipv4, packet.source(), packet.destination()) };
    let at = head.length;
    head.length += about.emit(&mut head.bytes[at..], rest).ok()?;
    let at = head.length;
    let bytes = compressed.bytes();
    head.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    head.length += bytes.len();
    Some(head)
}

/// A tunnelled packet, as its frame shows: nobody has looked for its session yet.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    pub ends: Ends,
    pub ecn: u8,
    /// DST, where the frame is long enough to have one.
    pub destination: u32,
    /// Whether its UDP checksum, if there is one, is right.
    pub is_whole: bool,
    /// Where the payload TLV begins, and where its carrier ends.
    at: usize,
    end: usize,
}

impl Outer {
    /// What the frame of an untagged packet that came in by `interface` shows; `None` for any other packet, a message of the protocol
    /// included. `port` is the protocol's.
    #[inline]
    pub fn of(frame: &[u8], interface: u16, port: u16) -> Option<Outer> {
        let (link, rest) = frame.split_first_chunk::<{ ethernet::HEADER_LENGTH }>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, y0, y1] = *link;
        let (ends, ecn, upper, is_whole) = match EtherType(u16::from_be_bytes([y0, y1])) {
            EtherType::IPV4 => {
                // The first look is at what most other packets differ in.
                if rest.get(22..24)? != port.to_be_bytes() && rest[0] == 0x45 {
                    return None;
                }
                let ip = Ipv4::parse(rest)
                    .ok()
                    .filter(|ip| ip.protocol() == Protocol::UDP && !ip.is_fragment())?;
                let udp = Udp::parse(ip.payload()).ok().filter(|udp| udp.destination_port() == port)?;
                let is_whole = ip.checksum_is_right() && udp.checksum_is_right(&ip.pseudo_header());
                let at = ip.header_length() + udp::HEADER_LENGTH;
                let ends = Ends::V4 { local: ip.destination(), remote: ip.source() };
                (ends, ip.ecn(), at..at + udp.payload().len(), is_whole)
            }
            EtherType::IPV6 => {
                let ip = Ipv6::parse(rest).ok().filter(|ip| ip.next_header() == Protocol::UDP)?;
                let udp = Udp::parse(ip.payload()).ok().filter(|udp| udp.destination_port() == port)?;
                // None at all is right for a tunnel (RFC 6935 section 5).
                let is_whole = udp.checksum() == 0 || udp.checksum_is_right(&ip.pseudo_header());
                let at = ipv6::HEADER_LENGTH + udp::HEADER_LENGTH;
                let ends = Ends::V6 { local: ip.destination(), remote: ip.source() };
                (ends, ip.traffic_class() & 3, at..at + udp.payload().len(), is_whole)
            }
            EtherType::CETP => {
                let (local, remote) = ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]);
                // Nobody marks congestion on a link without an IP header.
                (Ends::Ethernet { interface, local, remote }, 0, 0..rest.len(), true)
            }
            _ => return None,
        };
        let tlv =
            rest.get(upper.clone()).filter(|tlv| tlv.first().is_some_and(|b| b & cetp::PAYLOAD != 0))?;
        let destination = tlv.get(8..12).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_be_bytes(*b));
        let start = ethernet::HEADER_LENGTH;
        Some(Outer { ends, ecn, destination, is_whole, at: start + upper.start, end: start + upper.end })
    }

    /// The payload TLV of that very frame.
    #[inline]
    pub fn payload<'f>(&self, frame: &'f [u8]) -> Option<Payload<'f>> {
        frame.get(self.at..self.end).and_then(|tlv| Payload::parse(tlv).ok())
    }

    /// What becomes of that frame, of whose payload TLV `inner` is; `None` where it is dropped for its ECN field.
    #[inline]
    pub fn exit(&self, header: &Header, inner: &Compressed4<'_>) -> Option<Exit> {
        // Over Ethernet nothing outside says anything of congestion.
        let ecn = match self.ends {
            Ends::Ethernet { .. } => inner.ecn(),
            _ => cetp::ecn_at_exit(inner.ecn(), self.ecn)?,
        };
        let restored = inner.restore(inner.dscp() << 2 | ecn, header.tag_addresses());
        let mut bytes = [0; INNER];
        bytes[12..14].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        bytes[ethernet::HEADER_LENGTH..].copy_from_slice(&restored);
        let replaced = self.at + header.length() + inner.head_length();
        Some(Exit { bytes, replaced, length: INNER + inner.rest() })
    }
}

/// How a frame becomes one with a packet of [`Tagged`], untagged and without Ethernet addresses.
pub struct Exit {
    /// What takes the place of its first `replaced` bytes.
    pub bytes: [u8; INNER],
    pub replaced: usize,
    /// Bytes of the frame then: what follows is padding.
    pub length: usize,
}
