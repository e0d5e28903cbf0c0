//! Neighbour discovery for IPv6 (RFC 4861): the four messages that resolve addresses and announce routers.
//!
//! Guaranteed: a parsed message has passed every check of RFC 4861 sections 6.1 and 7.1, so it came from the same link, sums up,
//! and its options are whole. Redirects are not read: the edge routes by its configuration.

use super::{Error, Icmpv6, Icmpv6Type, Ipv6, MacAddr, PseudoHeader, icmpv6};
use std::net::Ipv6Addr;

/// What no router has forwarded has all its hops left.
pub const HOP_LIMIT: u8 = 255;

/// A neighbour discovery message.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    RouterSolicitation(Options<'a>),
    RouterAdvertisement(RouterAdvertisement, Options<'a>),
    /// Who has `target`?
    NeighborSolicitation {
        target: Ipv6Addr,
        options: Options<'a>,
    },
    NeighborAdvertisement(NeighborAdvertisement, Options<'a>),
}

/// RFC 4861 section 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterAdvertisement {
    /// For the hosts' packets; 0 says nothing.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other configuration is.
    pub other: bool,
    /// Seconds for which the sender is a default router; 0 says that it is none.
    pub lifetime: u16,
    /// Milliseconds; 0 says nothing.
    pub reachable_time: u32,
    /// Milliseconds; 0 says nothing.
    pub retransmit_timer: u32,
}

/// RFC 4861 section 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NeighborAdvertisement {
    pub target: Ipv6Addr,
    /// The sender is a router.
    pub router: bool,
    /// The answer to a solicitation, which confirms that the way there and back works.
    pub solicited: bool,
    /// A known link-layer address is to be replaced.
    pub override_: bool,
}

impl<'a> Message<'a> {
    /// Reads the message of `icmp`, found in `ip`; none if its type is another.
    ///
    /// Errors: [`Error::L4HeaderInvalid`] if any check of RFC 4861 sections 6.1.1, 6.1.2, 7.1.1 or 7.1.2 fails.
    pub fn parse(ip: &Ipv6<'_>, icmp: &Icmpv6<'a>) -> Result<Option<Self>, Error> {
        let fixed = match icmp.kind() {
            Icmpv6Type::ROUTER_SOLICITATION => 0,
            Icmpv6Type::ROUTER_ADVERTISEMENT => 8,
            Icmpv6Type::NEIGHBOR_SOLICITATION | Icmpv6Type::NEIGHBOR_ADVERTISEMENT => 16,
            _ => return Ok(None),
        };
        let (body, options) = icmp.payload().split_at_checked(fixed).ok_or(Error::L4HeaderInvalid)?;
        let options = Options::parse(options)?;
        let on_link = ip.hop_limit() == HOP_LIMIT && icmp.code() == 0;
        if !on_link || !icmp.checksum_is_right(&ip.pseudo_header()) {
            return Err(Error::L4HeaderInvalid);
        }
        let message = Message::read(icmp, body, options)?;
        if message.fits(ip) { Ok(Some(message)) } else { Err(Error::L4HeaderInvalid) }
    }

    fn read(icmp: &Icmpv6<'_>, body: &[u8], options: Options<'a>) -> Result<Self, Error> {
        let target = || body.first_chunk().map(|o| Ipv6Addr::from_octets(*o)).ok_or(Error::L4HeaderInvalid);
        let [first, second, third, fourth] = icmp.parameter();
        Ok(match icmp.kind() {
            Icmpv6Type::NEIGHBOR_SOLICITATION => Message::NeighborSolicitation { target: target()?, options },
            Icmpv6Type::NEIGHBOR_ADVERTISEMENT => {
                let advertisement = NeighborAdvertisement {
                    target: target()?,
                    router: first & 0x80 != 0,
                    solicited: first & 0x40 != 0,
                    override_: first & 0x20 != 0,
                };
                Message::NeighborAdvertisement(advertisement, options)
            }
            Icmpv6Type::ROUTER_ADVERTISEMENT => {
                let &[a, b, c, d, e, f, g, h] = body.first_chunk().ok_or(Error::L4HeaderInvalid)?;
                let advertisement = RouterAdvertisement {
                    hop_limit: first,
                    managed: second & 0x80 != 0,
                    other: second & 0x40 != 0,
                    lifetime: u16::from_be_bytes([third, fourth]),
                    reachable_time: u32::from_be_bytes([a, b, c, d]),
                    retransmit_timer: u32::from_be_bytes([e, f, g, h]),
                };
                Message::RouterAdvertisement(advertisement, options)
            }
            _ => Message::RouterSolicitation(options),
        })
    }

    /// Do the IPv6 addresses suit the message?
    fn fits(&self, ip: &Ipv6<'_>) -> bool {
        let from_nobody = ip.source().is_unspecified();
        let nameless = |options: &Options<'_>| options.source_link_layer_address().is_none();
        match self {
            Message::RouterSolicitation(options) => !from_nobody || nameless(options),
            Message::RouterAdvertisement(..) => ip.source().is_unicast_link_local(),
            Message::NeighborSolicitation { target, options } => {
                let for_probe = is_solicited_node(ip.destination()) && nameless(options);
                !target.is_multicast() && (!from_nobody || for_probe)
            }
            Message::NeighborAdvertisement(advertisement, _) => {
                let to_many = ip.destination().is_multicast();
                !(advertisement.target.is_multicast() || advertisement.solicited && to_many)
            }
        }
    }
}

const SOLICITED_NODE: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);

/// The group in which whoever has `address` listens (RFC 4291 section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.to_bits() & 0x00ff_ffff;
    Ipv6Addr::from_bits(SOLICITED_NODE.to_bits() | low)
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    address.to_bits() & !0x00ff_ffff == SOLICITED_NODE.to_bits()
}

/// An option of a message (RFC 4861 section 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpOption<'a> {
    /// The sender's, type 1.
    SourceLinkLayerAddress(MacAddr),
    /// The target's, type 2.
    TargetLinkLayerAddress(MacAddr),
    /// Type 3.
    PrefixInformation(Prefix),
    /// The link's, in bytes, type 5.
    Mtu(u32),
    /// Any other, or one of those above with a length of its own; `data` is what follows type and length.
    Other { kind: u8, data: &'a [u8] },
}

/// RFC 4861 section 4.6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub prefix: Ipv6Addr,
    /// Leading bits of `prefix` that count; over 128 is nonsense that the sender may still say.
    pub length: u8,
    /// Addresses with the prefix are on the link.
    pub on_link: bool,
    /// Hosts may make addresses with it (RFC 4862).
    pub autonomous: bool,
    /// Seconds; all ones is for ever.
    pub valid_lifetime: u32,
    /// Seconds; all ones is for ever.
    pub preferred_lifetime: u32,
}

impl<'a> NdpOption<'a> {
    const SOURCE: u8 = 1;
    const TARGET: u8 = 2;
    const PREFIX: u8 = 3;
    const MTU: u8 = 5;

    fn read(kind: u8, data: &'a [u8]) -> NdpOption<'a> {
        match (kind, data) {
            (Self::SOURCE, &[a, b, c, d, e, f]) => {
                NdpOption::SourceLinkLayerAddress(MacAddr([a, b, c, d, e, f]))
            }
            (Self::TARGET, &[a, b, c, d, e, f]) => {
                NdpOption::TargetLinkLayerAddress(MacAddr([a, b, c, d, e, f]))
            }
            (Self::MTU, &[_, _, a, b, c, d]) => NdpOption::Mtu(u32::from_be_bytes([a, b, c, d])),
            (Self::PREFIX, &[length, flags, va, vb, vc, vd, pa, pb, pc, pd, _, _, _, _, ref prefix @ ..]) => {
                let Some(prefix) = prefix.first_chunk().filter(|_| prefix.len() == 16) else {
                    return NdpOption::Other { kind, data };
                };
                NdpOption::PrefixInformation(Prefix {
                    prefix: Ipv6Addr::from_octets(*prefix),
                    length,
                    on_link: flags & 0x80 != 0,
                    autonomous: flags & 0x40 != 0,
                    valid_lifetime: u32::from_be_bytes([va, vb, vc, vd]),
                    preferred_lifetime: u32::from_be_bytes([pa, pb, pc, pd]),
                })
            }
            _ => NdpOption::Other { kind, data },
        }
    }
}

/// The options of a message: whole, each of at least 8 bytes.
#[derive(Clone, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// Errors: [`Error::L4HeaderInvalid`] if an option has length zero or runs out of the message (RFC 4861 section 4.6).
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = Options::split(rest).ok_or(Error::L4HeaderInvalid)?.1;
        }
        Ok(Options(bytes))
    }

    /// The first option, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(NdpOption<'a>, &'a [u8])> {
        let (&[kind, words], _) = bytes.split_first_chunk()?;
        let (option, rest) = bytes.split_at_checked(usize::from(words) * 8)?;
        Some((NdpOption::read(kind, option.get(2..)?), rest))
    }

    /// What the sender says its link-layer address is.
    pub fn source_link_layer_address(&self) -> Option<MacAddr> {
        self.clone().find_map(|option| match option {
            NdpOption::SourceLinkLayerAddress(address) => Some(address),
            _ => None,
        })
    }

    /// What the sender says the target's link-layer address is.
    pub fn target_link_layer_address(&self) -> Option<MacAddr> {
        self.clone().find_map(|option| match option {
            NdpOption::TargetLinkLayerAddress(address) => Some(address),
            _ => None,
        })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = NdpOption<'a>;

    fn next(&mut self) -> Option<NdpOption<'a>> {
        let (option, rest) = Options::split(self.0)?;
        self.0 = rest;
        Some(option)
    }
}

/// Writes "who has `target`?" with its sender's link-layer address; none asks whether an address is free (RFC 4862 section 5.4.2).
/// Returns the length of the ICMPv6 message; its packet needs [`HOP_LIMIT`]. Errors: [`Error::BufferTooSmall`].
pub fn emit_solicitation(
    buffer: &mut [u8],
    pseudo_header: &PseudoHeader,
    target: Ipv6Addr,
    sender: Option<MacAddr>,
) -> Result<usize, Error> {
    let header = icmpv6::Header { kind: Icmpv6Type::NEIGHBOR_SOLICITATION, code: 0, parameter: [0; 4] };
    emit(buffer, pseudo_header, header, target, sender.map(|mac| (NdpOption::SOURCE, mac)))
}

impl NeighborAdvertisement {
    /// Writes "`target` is at `mac`"; `None` leaves the address out, as an answer to a unicast question may.
    /// Returns the length of the ICMPv6 message; its packet needs [`HOP_LIMIT`]. Errors: [`Error::BufferTooSmall`].
    pub fn emit(
        &self,
        buffer: &mut [u8],
        pseudo_header: &PseudoHeader,
        mac: Option<MacAddr>,
    ) -> Result<usize, Error> {
        let flags =
            u8::from(self.router) << 7 | u8::from(self.solicited) << 6 | u8::from(self.override_) << 5;
        let kind = Icmpv6Type::NEIGHBOR_ADVERTISEMENT;
        let header = icmpv6::Header { kind, code: 0, parameter: [flags, 0, 0, 0] };
        emit(buffer, pseudo_header, header, self.target, mac.map(|mac| (NdpOption::TARGET, mac)))
    }
}

fn emit(
    buffer: &mut [u8],
    pseudo_header: &PseudoHeader,
    header: icmpv6::Header,
    target: Ipv6Addr,
    address: Option<(u8, MacAddr)>,
) -> Result<usize, Error> {
    let mut body = [0; 24];
    body[..16].copy_from_slice(&target.octets());
    let Some((kind, mac)) = address else { return header.emit(buffer, pseudo_header, &body[..16]) };
    body[16..18].copy_from_slice(&[kind, 1]);
    body[18..].copy_from_slice(&mac.0);
    header.emit(buffer, pseudo_header, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Protocol, ipv6};

    const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const MANY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    /// What a message with this type, parameter and body says, when it arrives in a right packet with these addresses.
    fn read(
        from: Ipv6Addr,
        to: Ipv6Addr,
        kind: u8,
        parameter: [u8; 4],
        body: &[u8],
    ) -> Result<String, Error> {
        let header = ipv6::Header { hop_limit: HOP_LIMIT, ..ipv6::Header::new(from, to, Protocol::ICMPV6) };
        let message = icmpv6::Header { kind: Icmpv6Type(kind), code: 0, parameter };
        read_as(header, message, body, 0)
    }

    fn read_as(ip: ipv6::Header, message: icmpv6::Header, body: &[u8], damage: u8) -> Result<String, Error> {
        let mut bytes = [0; 200];
        let pseudo_header = PseudoHeader::V6 { source: ip.source, destination: ip.destination };
        let length = message.emit(&mut bytes[40..], &pseudo_header, body).unwrap();
        ip.emit(&mut bytes, length).unwrap();
        bytes[42] ^= damage;
        let packet = Ipv6::parse(&bytes).unwrap();
        let icmp = Icmpv6::parse(packet.payload()).unwrap();
        let read = Message::parse(&packet, &icmp)?;
        Ok(read.map_or_else(|| "another".into(), |message| format!("{message:?}")))
    }

    fn body(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        [&target.octets()[..], options].concat()
    }

    const INVALID: Result<String, Error> = Err(Error::L4HeaderInvalid);
    const SOURCE: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 1];

    #[test]
    fn solicited_node_groups() {
        let group: Ipv6Addr = "ff02::1:ff28:9c5a".parse().unwrap();
        assert_eq!(solicited_node("fe80::2aa:ff:fe28:9c5a".parse().unwrap()), group);
        assert!(is_solicited_node(group) && !is_solicited_node(MANY));
    }

    #[test]
    fn only_right_packets_from_the_link_are_read() {
        let ip = ipv6::Header { hop_limit: HOP_LIMIT, ..ipv6::Header::new(HOST, MANY, Protocol::ICMPV6) };
        let message = icmpv6::Header { kind: Icmpv6Type::NEIGHBOR_SOLICITATION, code: 0, parameter: [0; 4] };
        let body = body(HOST, &SOURCE);
        assert!(read_as(ip, message, &body, 0).is_ok());
        assert_eq!(read_as(ipv6::Header { hop_limit: 254, ..ip }, message, &body, 0), INVALID);
        assert_eq!(read_as(ip, icmpv6::Header { code: 1, ..message }, &body, 0), INVALID);
        assert_eq!(read_as(ip, message, &body, 1), INVALID, "checksum");
        assert_eq!(read_as(ip, message, &body[..15], 0), INVALID, "cut short");
        let echo = icmpv6::Header { kind: Icmpv6Type::ECHO_REQUEST, ..message };
        assert_eq!(read_as(ip, echo, &body, 0), Ok("another".into()));
    }

    #[test]
    fn addresses_must_suit_the_message() {
        let group = solicited_node(HOST);
        assert!(read(NOBODY, group, 135, [0; 4], &body(HOST, &[])).is_ok(), "is my address free?");
        assert_eq!(read(NOBODY, MANY, 135, [0; 4], &body(HOST, &[])), INVALID);
        assert_eq!(read(NOBODY, group, 135, [0; 4], &body(HOST, &SOURCE)), INVALID);
        assert_eq!(read(HOST, group, 135, [0; 4], &body(MANY, &[])), INVALID);
        assert_eq!(read(HOST, HOST, 136, [0; 4], &body(MANY, &[])), INVALID);
        assert!(read(HOST, MANY, 136, [0x20, 0, 0, 0], &body(HOST, &[])).is_ok());
        assert_eq!(read(HOST, MANY, 136, [0x40, 0, 0, 0], &body(HOST, &[])), INVALID, "solicited by all?");
        assert!(read(HOST, MANY, 133, [0; 4], &SOURCE).is_ok());
        assert_eq!(read(NOBODY, MANY, 133, [0; 4], &SOURCE), INVALID);
        let global = "2001:db8::1".parse().unwrap();
        assert_eq!(read(global, MANY, 134, [0; 4], &[0; 8]), INVALID);
    }

    #[test]
    fn options_are_whole_or_the_message_is_refused() {
        for options in
            [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[1, 2, 0, 0, 0, 0, 0, 0], &[1], &[9, 1, 0, 0, 0, 0, 0]]
        {
            assert_eq!(read(HOST, HOST, 135, [0; 4], &body(HOST, options)), INVALID, "{options:?}");
        }
    }

    #[test]
    fn a_router_advertisement_with_all_options() {
        let mut options = vec![0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8]; // reachable 30 s, retransmit 1 s
        options.extend([5, 1, 0, 0, 0, 0, 0x05, 0xdc]); // MTU 1500
        options.extend([3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0]);
        options.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets());
        options.extend(SOURCE);
        options.extend([14, 1, 1, 2, 3, 4, 5, 6]);
        let ip = ipv6::Header { hop_limit: HOP_LIMIT, ..ipv6::Header::new(HOST, MANY, Protocol::ICMPV6) };
        let kind = Icmpv6Type::ROUTER_ADVERTISEMENT;
        let message = icmpv6::Header { kind, code: 0, parameter: [64, 0x40, 0x07, 0x08] };
        let mut bytes = [0; 200];
        let pseudo_header = PseudoHeader::V6 { source: HOST, destination: MANY };
        let length = message.emit(&mut bytes[40..], &pseudo_header, &options).unwrap();
        ip.emit(&mut bytes, length).unwrap();
        let packet = Ipv6::parse(&bytes).unwrap();
        let icmp = Icmpv6::parse(packet.payload()).unwrap();
        let Ok(Some(Message::RouterAdvertisement(read, options))) = Message::parse(&packet, &icmp) else {
            panic!("no advertisement");
        };
        let expected = RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: true,
            lifetime: 1800,
            reachable_time: 30_000,
            retransmit_timer: 1000,
        };
        assert_eq!(read, expected);
        let prefix = Prefix {
            prefix: "2001:db8::".parse().unwrap(),
            length: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: 9,
            preferred_lifetime: 8,
        };
        let expected = [
            NdpOption::Mtu(1500),
            NdpOption::PrefixInformation(prefix),
            NdpOption::SourceLinkLayerAddress(MAC),
            NdpOption::Other { kind: 14, data: &[1, 2, 3, 4, 5, 6] },
        ];
        assert_eq!(options.collect::<Vec<_>>(), expected);
    }
}
