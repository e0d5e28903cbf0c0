//! Messages of routers that a tunnelled packet was too big for the link behind them: "fragmentation needed" (RFC 792, RFC 1191) and
//! "packet too big" (RFC 4443 section 3.2).
//!
//! Anybody can write one. What speaks for it is what it quotes of a packet that only its sender and those on its way have seen (RFC
//! 5927 section 4, RFC 8899 section 4.6.1): here the two session tags, 64 bits behind the outer headers. A router quotes as much as
//! fits 576 bytes (RFC 1812 section 4.3.2.3), and all that fits 1,280 over IPv6; but over IPv4 many quote no more than the eight bytes
//! behind the IPv4 header that RFC 792 asks for, which anybody can guess who knows two RLOCs. So the tags are told where they are
//! quoted, and whoever acts on a message must know how much less one without is worth.
//!
//! Guarantees: any bytes are such a message or none; the packet quoted is one that an edge could have sent, and longer than the link
//! is said to take. Never: knows which tags there are.

use super::cetp::{self, PAYLOAD};
use super::{EtherType, Icmp, IcmpType, Icmpv6, Icmpv6Type, Ipv4, Ipv6, Link, Protocol, ipv4, ipv6, udp};
use std::net::IpAddr;

/// "Fragmentation needed and don't fragment set" (RFC 792).
const FRAGMENTATION_NEEDED: u8 = 4;
/// The dynamic ports (RFC 6335 section 6) begin here: tunnelled packets come from one.
const DYNAMIC: u16 = 0xc000;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooBig {
    /// The RLOCs that the packet was from and to.
    pub local: IpAddr,
    pub remote: IpAddr,
    /// Bytes of the longest packet that the link takes.
    pub mtu: u16,
    /// SST and DST of the packet, as far as both are quoted. Over IPv6 they always are.
    pub tags: Option<(u32, u32)>,
}

impl TooBig {
    /// What an IPv4 packet says; `None` where it says anything else. `port` is that of tunnels.
    pub fn of4(ip: &Ipv4<'_>, port: u16) -> Option<TooBig> {
        if ip.protocol() != Protocol::ICMP || ip.is_fragment() {
            return None;
        }
        let icmp = Icmp::parse(ip.payload()).ok()?;
        let is_it = icmp.kind() == IcmpType::DESTINATION_UNREACHABLE && icmp.code() == FRAGMENTATION_NEEDED;
        let quote = Ipv4::parse_quoted(icmp.quoted().filter(|_| is_it)?).ok()?;
        let is_ours = quote.source() == ip.destination()
            && quote.protocol() == Protocol::UDP
            && quote.dont_fragment()
            && !quote.is_fragment()
            && quote.header_length() == ipv4::HEADER_LENGTH;
        let length = quote.total_length();
        let tags = outside(quote.payload(), length.checked_sub(ipv4::HEADER_LENGTH as u16)?, port)?;
        // An MTU of 0 is what routers say that are older than RFC 1191.
        let [_, _, high, low] = icmp.parameter();
        let mtu = u16::from_be_bytes([high, low]);
        let is_told = is_ours && mtu > 0 && mtu < length && icmp.checksum_is_right();
        let (local, remote) = (quote.source().into(), quote.destination().into());
        is_told.then_some(TooBig { local, remote, mtu, tags })
    }

    /// What an IPv6 packet says. What is too short to show the tags is no such message: nobody may quote so little.
    pub fn of6(ip: &Ipv6<'_>, port: u16) -> Option<TooBig> {
        let upper = ip.upper().ok()?;
        if upper.protocol != Protocol::ICMPV6 || upper.fragment.is_some() {
            return None;
        }
        let icmp = Icmpv6::parse(upper.payload).ok()?;
        let quoted = icmp.quoted().filter(|_| icmp.kind() == Icmpv6Type::PACKET_TOO_BIG)?;
        let quote = Ipv6::parse_quoted(quoted).ok()?;
        let is_ours = quote.source() == ip.destination() && quote.next_header() == Protocol::UDP;
        let tags = outside(quote.payload(), quote.payload_length(), port)?;
        let mtu = u16::try_from(u32::from_be_bytes(icmp.parameter())).ok()?;
        let length = ipv6::HEADER_LENGTH + usize::from(quote.payload_length());
        let is_told = is_ours && usize::from(mtu) < length && icmp.checksum_is_right(&ip.pseudo_header());
        let (local, remote) = (quote.source().into(), quote.destination().into());
        (is_told && tags.is_some()).then_some(TooBig { local, remote, mtu, tags })
    }

    /// What an untagged frame says.
    pub fn of_frame(frame: &[u8], port: u16) -> Option<TooBig> {
        let link = Link::parse(frame).ok().filter(|link| link.tags.is_empty())?;
        match link.ether_type {
            EtherType::IPV4 => Self::of4(&Ipv4::parse(link.payload).ok()?, port),
            EtherType::IPV6 => Self::of6(&Ipv6::parse(link.payload).ok()?, port),
            _ => None,
        }
    }
}

/// The tags of what an edge has put before a host's packet, UDP header and payload TLV of together `length` bytes, as far as that is
/// quoted; `None` where it is something else.
fn outside(quoted: &[u8], length: u16, port: u16) -> Option<Option<(u32, u32)>> {
    let (udp, tlv) = quoted.split_first_chunk::<{ udp::HEADER_LENGTH }>()?;
    let word = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (source, destination) = (word(udp, 0)?, word(udp, 2)?);
    let is_ours = source >= DYNAMIC && destination == port && word(udp, 4)? == length && word(udp, 6)? == 0;
    // Each only as far as it is quoted.
    let is_payload = tlv.first().is_none_or(|first| first & PAYLOAD != 0);
    let rest = length.checked_sub(udp::HEADER_LENGTH as u16)?;
    let is_whole = word(tlv, 2).is_none_or(|said| said == rest);
    let tags = tlv.first_chunk::<{ cetp::HEADER_LENGTH }>().map(|header| {
        let tag =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        (tag(4), tag(8))
    });
    (is_ours && is_payload && is_whole).then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{self, Ip, Path, Transport};
    use crate::packet::{MacAddr, icmp, icmpv6};
    use proptest::prelude::*;

    const PORT: u16 = 48_001;
    const TAGS: (u32, u32) = (0x0102_0304, 0xa1b2_c3d4);

    /// A tunnelled packet of so many bytes, from its IP header on.
    fn outer(is_v6: bool, length: usize) -> Vec<u8> {
        let udp = if is_v6 { length - 40 } else { length - 20 };
        let be = |n: usize| (n as u16).to_be_bytes();
        let mut packet = match is_v6 {
            false => {
                let [a, b] = be(length);
                vec![0x45, 0, a, b, 0, 0, 0x40, 0, 60, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9]
            }
            true => {
                let [a, b] = be(udp);
                let ends =
                    ["2001:db8::1", "2001:db8::9"].map(|end| end.parse::<std::net::Ipv6Addr>().unwrap());
                [&[0x60, 0, 0, 1, a, b, 17, 60][..], &ends[0].octets(), &ends[1].octets()].concat()
            }
        };
        packet.extend([&[0xc1, 7][..], &be(PORT.into()), &be(udp), &[0, 0]].concat());
        packet.extend([&[0x94, 0][..], &be(udp - 8), &TAGS.0.to_be_bytes(), &TAGS.1.to_be_bytes()].concat());
        packet.resize(length, 7);
        packet
    }

    /// A router's message about `quote`.
    fn message(is_v6: bool, quote: &[u8], mtu: u16) -> Vec<u8> {
        let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
        let [high, low] = mtu.to_be_bytes();
        let parameter = [0, 0, high, low];
        let mut frame = vec![0; 1600];
        let length = if is_v6 {
            let [from, to] = ["2001:db8::77", "2001:db8::1"].map(|end| end.parse().unwrap());
            let header = icmpv6::Header { kind: Icmpv6Type::PACKET_TOO_BIG, code: 0, parameter };
            let ip = Ip::V6(ipv6::Header::new(from, to, Protocol::ICMPV6));
            build::frame(&mut frame, &path, &ip, &Transport::Icmpv6(header, quote))
        } else {
            let header = icmp::Header { kind: IcmpType::DESTINATION_UNREACHABLE, code: 4, parameter };
            let ip = Ip::V4(ipv4::Header::new([192, 0, 2, 77].into(), [192, 0, 2, 1].into(), Protocol::ICMP));
            build::frame(&mut frame, &path, &ip, &Transport::Icmp(header, quote))
        };
        frame.truncate(length.unwrap());
        frame
    }

    #[test]
    fn what_is_said_is_read() {
        for is_v6 in [false, true] {
            let quote = outer(is_v6, 1400);
            let said = TooBig::of_frame(&message(is_v6, &quote[..500], 1380), PORT).expect("it is one");
            let end = |last: u8| -> IpAddr {
                if is_v6 {
                    format!("2001:db8::{last}").parse().unwrap()
                } else {
                    IpAddr::V4([192, 0, 2, last].into())
                }
            };
            assert_eq!(said, TooBig { local: end(1), remote: end(9), mtu: 1380, tags: Some(TAGS) });
        }
    }

    #[test]
    fn over_ipv4_ports_may_be_all_that_is_quoted() {
        let of = |is_v6, quoted: usize| {
            TooBig::of_frame(&message(is_v6, &outer(is_v6, 1400)[..quoted], 1380), PORT).map(|said| said.tags)
        };
        assert_eq!((of(false, 27), of(false, 28), of(false, 39)), (None, Some(None), Some(None)));
        assert_eq!(of(false, 40), Some(Some(TAGS)));
        assert_eq!((of(true, 48), of(true, 59), of(true, 60)), (None, None, Some(Some(TAGS))));
    }

    #[test]
    fn nothing_else_is_one() {
        for is_v6 in [false, true] {
            let quote = outer(is_v6, 1400);
            let ip = if is_v6 { 40 } else { 20 };
            let reads = |frame: &[u8]| TooBig::of_frame(frame, PORT).is_some();
            let changed = |at: usize, byte: u8| {
                let mut quote = quote.clone();
                quote[at] = byte;
                reads(&message(is_v6, &quote[..ip + 20], 1380))
            };
            assert!(changed(0, quote[0]), "as it is");
            assert!(!changed(ip, 0x80), "from a port of no tunnel");
            assert!(!changed(ip + 3, 0), "to another port");
            assert!(!changed(ip + 5, 0), "of another length");
            assert!(!changed(ip + 7, 1), "with a checksum");
            assert!(!changed(ip + 8, 0x14), "a message of the protocol");
            assert!(!changed(ip + 11, 0), "the payload of another length");
            assert!(!changed(if is_v6 { 23 } else { 15 }, 99), "from somebody else");
            assert!(!changed(if is_v6 { 6 } else { 9 }, 6), "of another protocol");
            assert!(is_v6 || !changed(6, 0), "it could have been cut");
            assert!(is_v6 || !changed(7, 9), "a fragment");
            assert!(!reads(&message(is_v6, &quote[..ip + 20], 1400)), "it fits");
            assert!(is_v6 || !reads(&message(is_v6, &quote[..ip + 20], 0)), "of before RFC 1191");
            let mut frame = message(is_v6, &quote[..ip + 20], 1380);
            let icmp = 14 + ip;
            frame[icmp + 2] ^= 1;
            assert!(!reads(&frame), "a wrong checksum");
            let mut frame = message(is_v6, &quote[..ip + 20], 1380);
            frame[icmp] = 1;
            assert!(!reads(&frame), "another type");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_or_none(is_v6: bool, bytes: Vec<u8>, cut: prop::sample::Index, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), mtu: u16) {
            TooBig::of_frame(&bytes, PORT);
            let quote = outer(is_v6, 1400);
            let mut frame = message(is_v6, &quote[..=cut.index(quote.len())].iter().copied().take(1200).collect::<Vec<_>>(), mtu);
            for (at, byte) in flips {
                let at = at.index(frame.len());
                frame[at] ^= byte;
            }
            if let Some(said) = TooBig::of_frame(&frame, PORT) {
                // Whatever was done to it: less than what was sent, and tags as they stand there.
                prop_assert!(said.mtu > 0 || is_v6);
                prop_assert!(said.tags.is_some() || !is_v6);
            }
            TooBig::of_frame(&frame[..cut.index(frame.len())], PORT);
        }
    }
}
