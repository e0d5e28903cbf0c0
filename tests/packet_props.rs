//! Properties of `packet/`: no input makes a view panic; build then parse is the identity; an incremental checksum equals a full one.

use ces::packet::{
    Arp, Delta, Error, EtherType, Ethernet, EthernetMut, Icmp, IcmpMut, IcmpType, Icmpv6, Icmpv6Type, Ipv4,
    Ipv4Mut, Ipv6, Link, MacAddr, Protocol, PseudoHeader, Tag, Tags, Tcp, TcpFlags, TcpMut, TcpOption, Udp,
    UdpMut, arp,
    build::{self, IcmpError, Ip, Path, Transport},
    checksum::{Sum, checksum},
    ethernet, icmp, icmpv6, ipv4, ipv6, ndp, tcp, udp, vlan,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::net::{Ipv4Addr, Ipv6Addr};

// ---- what frames can say ----

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn tag() -> impl Strategy<Value = Tag> {
    let ether_type = prop_oneof![Just(EtherType::VLAN), Just(EtherType::QINQ)];
    (ether_type, any::<u16>()).prop_map(|(ether_type, control)| Tag { ether_type, control })
}

fn path() -> impl Strategy<Value = Path> {
    let tags = prop_oneof![
        Just(Tags::NONE),
        tag().prop_map(Tags::one),
        (tag(), tag()).prop_map(|(outer, inner)| Tags::two(outer, inner)),
    ];
    (mac(), mac(), tags).prop_map(|(destination, source, tags)| Path { destination, source, tags })
}

/// Whole words, as options must be.
fn words() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 4]>(), 0..=10).prop_map(|words| words.concat())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..700)
}

fn v4() -> impl Strategy<Value = ipv4::Header<'static>> {
    let addresses = any::<(Ipv4Addr, Ipv4Addr)>();
    let fragment = (any::<(bool, bool)>(), (0..0x2000u16).prop_map(|units| units * 8));
    (0..64u8, 0..4u8, any::<(u16, u8, u8)>(), fragment, addresses).prop_map(
        |(
            dscp,
            ecn,
            (identification, ttl, protocol),
            ((dont_fragment, more_fragments), fragment_offset),
            addresses,
        )| {
            ipv4::Header {
                dscp,
                ecn,
                identification,
                dont_fragment,
                more_fragments,
                fragment_offset,
                ttl,
                protocol: Protocol(protocol),
                source: addresses.0,
                destination: addresses.1,
                options: &[],
            }
        },
    )
}

fn v6() -> impl Strategy<Value = ipv6::Header> {
    (any::<(u8, u8, u8)>(), 0..1u32 << 20, any::<(Ipv6Addr, Ipv6Addr)>()).prop_map(
        |((traffic_class, next_header, hop_limit), flow_label, (source, destination))| ipv6::Header {
            traffic_class,
            flow_label,
            next_header: Protocol(next_header),
            hop_limit,
            source,
            destination,
        },
    )
}

fn pseudo_header() -> impl Strategy<Value = PseudoHeader> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>()
            .prop_map(|(source, destination)| PseudoHeader::V4 { source, destination }),
        any::<(Ipv6Addr, Ipv6Addr)>()
            .prop_map(|(source, destination)| PseudoHeader::V6 { source, destination }),
    ]
}

fn segment() -> impl Strategy<Value = tcp::Header<'static>> {
    any::<(u16, u16, u32, u32, u8, u16, u16)>().prop_map(
        |(source, destination, sequence, ack, flags, window, urgent)| tcp::Header {
            source_port: source,
            destination_port: destination,
            sequence,
            acknowledgement: ack,
            flags: TcpFlags(flags),
            window,
            urgent_pointer: urgent,
            options: &[],
        },
    )
}

/// A whole frame of some transport, over IPv4 or IPv6, with options and tags.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let ip = (v4(), v6(), words(), any::<bool>());
    (path(), ip, 0..6u8, segment(), words(), payload(), any::<(u8, u8)>()).prop_map(
        |(
            path,
            (mut v4, mut v6, ip_options, four),
            which,
            mut segment,
            tcp_options,
            payload,
            (kind, code),
        )| {
            segment.options = &tcp_options;
            let datagram =
                udp::Header { source_port: segment.source_port, destination_port: segment.destination_port };
            let parameter = segment.sequence.to_be_bytes();
            let (protocol, transport) = match which {
                0 => (Protocol::UDP, Transport::Udp(datagram, &payload)),
                1 => (Protocol::TCP, Transport::Tcp(segment, &payload)),
                2 => (
                    Protocol::ICMP,
                    Transport::Icmp(icmp::Header { kind: IcmpType(kind), code, parameter }, &payload),
                ),
                3 => {
                    // Types around echo and neighbour discovery, more often than chance would have them.
                    let kind = Icmpv6Type(128 + kind % 10);
                    (Protocol::ICMPV6, Transport::Icmpv6(icmpv6::Header { kind, code, parameter }, &payload))
                }
                _ => (Protocol(kind), Transport::Raw(&payload)),
            };
            (v4.protocol, v6.next_header, v4.options) = (protocol, protocol, &ip_options);
            let ip = if four { Ip::V4(v4) } else { Ip::V6(v6) };
            let mut buffer = vec![0; 1024];
            let length = build::frame(&mut buffer, &path, &ip, &transport).unwrap();
            buffer.truncate(length);
            buffer
        },
    )
}

/// A frame that something damaged: cut short, and some bytes changed.
fn damaged_frame() -> impl Strategy<Value = Vec<u8>> {
    (frame(), vec(any::<(Index, u8)>(), 0..6), any::<Option<Index>>()).prop_map(
        |(mut frame, changes, cut)| {
            for (at, value) in changes {
                // Most of what can go wrong is decided in the first bytes.
                let at = at.index(frame.len().min(80));
                frame[at] = value;
            }
            let length = cut.map_or(frame.len(), |cut| cut.index(frame.len()));
            frame.truncate(length);
            frame
        },
    )
}

// ---- everything that can be asked of bytes ----

/// Asks `bytes` all there is, as whatever they may be taken for; the debug text calls every plain accessor through `header`.
fn ask_all(bytes: &[u8]) {
    if let Ok(link) = Link::parse(bytes) {
        assert_eq!(bytes[link.payload_offset..], *link.payload);
        std::hint::black_box((link.header(), link.ethernet.header()));
        ask_network(link.payload);
    }
    ask_network(bytes);
    ask_transport(bytes, &PseudoHeader::V4 { source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::BROADCAST });
}

fn ask_network(bytes: &[u8]) {
    std::hint::black_box(Arp::parse(bytes).map(|arp| (arp.is_probe(), arp.reply(MacAddr::ZERO))).ok());
    for packet in [Ipv4::parse(bytes), Ipv4::parse_quoted(bytes)].into_iter().flatten() {
        std::hint::black_box((packet.header(), packet.checksum_is_right(), packet.has_source_route()));
        assert!(packet.options().count() <= ipv4::MAX_OPTIONS);
        assert!(packet.header_length() + packet.payload().len() <= bytes.len());
        std::hint::black_box(icmp::may_generate_error(MacAddr::ZERO, &packet));
        let mut buffer = [0; 700];
        let path = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
        let error =
            build::icmp_error(&mut buffer, &path, Ipv4Addr::LOCALHOST, IcmpError::TimeExceeded, &packet);
        assert!(error.unwrap() <= 14 + build::MAX_ERROR_PACKET);
        std::hint::black_box(build::echo_reply(&mut buffer, &path, &packet).ok());
        ask_transport(packet.payload(), &packet.pseudo_header());
    }
    for packet in [Ipv6::parse(bytes), Ipv6::parse_quoted(bytes)].into_iter().flatten() {
        std::hint::black_box(packet.header());
        let mut buffer = [0; 700];
        let path = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
        std::hint::black_box(build::echo_reply_v6(&mut buffer, &path, Ipv6Addr::LOCALHOST, &packet).ok());
        if let Ok(upper) = packet.upper() {
            assert_eq!(bytes[upper.offset..].as_ptr(), upper.payload.as_ptr());
            ask_transport(upper.payload, &packet.pseudo_header());
            if let Ok(icmp) = Icmpv6::parse(upper.payload) {
                std::hint::black_box(ndp::Message::parse(&packet, &icmp).map(|m| format!("{m:?}")).ok());
            }
        }
    }
    let mut copy = bytes.to_vec();
    if let Ok(mut packet) = Ipv4Mut::parse(&mut copy) {
        let was_right = packet.view().checksum_is_right();
        packet.set_source(Ipv4Addr::new(1, 2, 3, 4));
        packet.set_destination(Ipv4Addr::new(5, 6, 7, 8));
        std::hint::black_box(packet.decrement_ttl());
        assert_eq!(packet.view().checksum_is_right(), was_right);
    }
    std::hint::black_box(Ipv4Mut::parse_quoted(&mut copy).is_ok());
}

fn ask_transport(bytes: &[u8], pseudo_header: &PseudoHeader) {
    if let Ok(udp) = Udp::parse(bytes) {
        assert!(udp.length() <= bytes.len());
        std::hint::black_box((udp.header(), udp.checksum_is_right(pseudo_header)));
    }
    if let Ok(tcp) = Tcp::parse(bytes) {
        std::hint::black_box((tcp.header(), tcp.checksum_is_right(pseudo_header)));
        assert!(tcp.options().count() <= tcp::MAX_OPTIONS);
    }
    if let Ok(icmp) = Icmp::parse(bytes) {
        std::hint::black_box((icmp.header(), icmp.echo(), icmp.quoted(), icmp.checksum_is_right()));
        std::hint::black_box(icmp::QuotedTransport::parse(icmp.payload()).map(|q| q.echo_identifier()).ok());
    }
    if let Ok(icmp) = Icmpv6::parse(bytes) {
        std::hint::black_box((
            icmp.header(),
            icmp.echo(),
            icmp.quoted(),
            icmp.checksum_is_right(pseudo_header),
        ));
    }
    let mut copy = bytes.to_vec();
    if let Ok(mut tcp) = TcpMut::parse(&mut copy) {
        let was_right = tcp.view().checksum_is_right(pseudo_header);
        tcp.set_source_port(1);
        std::hint::black_box(tcp.set_mss(1400));
        assert_eq!(tcp.view().checksum_is_right(pseudo_header), was_right);
    }
    if let Ok(mut udp) = UdpMut::parse(&mut copy) {
        udp.set_destination_port(53);
    }
    if let Ok(mut icmp) = IcmpMut::parse(&mut copy) {
        icmp.set_echo_identifier(7);
    }
}

/// RFC 1071's definition, taken at its word: big-endian words, carries added at the end.
fn naive_sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    // ---- no input makes anything panic ----

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        ask_all(&bytes);
    }

    #[test]
    fn damaged_frames_never_panic(frame in damaged_frame()) {
        ask_all(&frame);
    }

    #[test]
    fn every_prefix_of_a_frame_is_refused_or_read(frame in frame()) {
        for length in 0..frame.len().min(120) {
            ask_all(&frame[..length]);
        }
    }

    // ---- build, then parse: the identity ----

    #[test]
    fn mac_address_text(mac in mac()) {
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn mac_address_syntax_never_panics(text in "\\PC{0,20}") {
        std::hint::black_box(text.parse::<MacAddr>().ok());
    }

    #[test]
    fn ethernet_identity(destination in mac(), source in mac(), ether_type: u16, new in mac()) {
        let header = ethernet::Header { destination, source, ether_type: EtherType(ether_type) };
        let mut buffer = [0; 15];
        prop_assert_eq!(header.emit(&mut buffer), Ok(14));
        prop_assert_eq!(Ethernet::parse(&buffer).unwrap().header(), header);
        let mut frame = EthernetMut::parse(&mut buffer).unwrap();
        frame.set_source(new);
        prop_assert_eq!(frame.view().header(), ethernet::Header { source: new, ..header });
        frame.set_destination(new);
        prop_assert_eq!(frame.view().header(), ethernet::Header { source: new, destination: new, ..header });
    }

    #[test]
    fn vlan_identity(path in path(), payload in payload()) {
        let Path { destination, source, tags } = path;
        let header = vlan::Header { destination, source, tags, ether_type: EtherType::IPV4 };
        let mut buffer = [0; 22 + 700];
        let length = header.emit(&mut buffer).unwrap();
        prop_assert_eq!(length, header.length());
        buffer[length..length + payload.len()].copy_from_slice(&payload);
        let link = Link::parse(&buffer[..length + payload.len()]).unwrap();
        prop_assert_eq!(link.header(), header);
        prop_assert_eq!((link.payload_offset, link.payload), (length, &payload[..]));
    }

    #[test]
    fn arp_identity(reply: bool, macs in (mac(), mac()), ips: (Ipv4Addr, Ipv4Addr), padding in 0..20usize) {
        let operation = if reply { arp::Operation::Reply } else { arp::Operation::Request };
        let message = Arp { operation, sender_mac: macs.0, sender_ip: ips.0, target_mac: macs.1, target_ip: ips.1 };
        let mut buffer = vec![0xee; arp::LENGTH + padding];
        prop_assert_eq!(message.emit(&mut buffer), Ok(arp::LENGTH));
        prop_assert_eq!(Arp::parse(&buffer), Ok(message));
    }

    #[test]
    fn ipv4_identity(mut header in v4(), options in words(), payload in payload(), padding in 0..50usize) {
        header.options = &options;
        let mut buffer = vec![0xee; header.length() + payload.len() + padding];
        let length = header.emit(&mut buffer, payload.len()).unwrap();
        buffer[length..length + payload.len()].copy_from_slice(&payload);
        let packet = Ipv4::parse(&buffer).unwrap();
        prop_assert_eq!(packet.header(), header);
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!(usize::from(packet.total_length()), length + payload.len());
        prop_assert_eq!(packet.is_fragment(), header.more_fragments || header.fragment_offset != 0);
        prop_assert!(packet.checksum_is_right());
        prop_assert_eq!(naive_sum(&buffer[..length]), 0xffff);
    }

    #[test]
    fn ipv6_identity(header in v6(), payload in payload(), padding in 0..50usize) {
        let mut buffer = vec![0xee; 40 + payload.len() + padding];
        prop_assert_eq!(header.emit(&mut buffer, payload.len()), Ok(40));
        buffer[40..40 + payload.len()].copy_from_slice(&payload);
        let packet = Ipv6::parse(&buffer).unwrap();
        prop_assert_eq!(packet.header(), header);
        prop_assert_eq!(packet.payload(), &payload[..]);
    }

    #[test]
    fn ipv6_extension_headers_lead_to_the_transport(
        chain in vec((prop_oneof![Just(43u8), Just(60), Just(51), Just(44), Just(135)], 0..4u8), 0..=ipv6::MAX_EXTENSIONS),
        payload in payload(), identification: u32, header in v6(),
    ) {
        let mut extensions = Vec::new();
        let mut kinds = chain.iter().map(|(kind, _)| *kind).chain([17]);
        let first = kinds.next().unwrap();
        for ((kind, size), next) in chain.iter().zip(kinds) {
            let (length, size) = match kind {
                44 => (8, 0),
                51 => ((usize::from(*size) + 2) * 4, *size),
                _ => ((usize::from(*size) + 1) * 8, *size),
            };
            let mut extension = vec![0; length];
            extension[..2].copy_from_slice(&[next, size]);
            if *kind == 44 {
                extension[3] = 1; // the first fragment of several
                extension[4..8].copy_from_slice(&identification.to_be_bytes());
            }
            extensions.extend(extension);
        }
        let mut bytes = vec![0; 40];
        let announced = extensions.len() + payload.len();
        ipv6::Header { next_header: Protocol(first), ..header }.emit(&mut bytes, announced).unwrap();
        let offset = bytes.len() + extensions.len();
        bytes.extend(extensions.iter().chain(&payload));
        let upper = Ipv6::parse(&bytes).unwrap().upper().unwrap();
        prop_assert_eq!((upper.protocol, upper.offset, upper.payload), (Protocol::UDP, offset, &payload[..]));
        let fragment = ipv6::Fragment { identification, offset: 0, more: true };
        prop_assert_eq!(upper.fragment, chain.iter().any(|(kind, _)| *kind == 44).then_some(fragment));
        prop_assert_eq!(upper.has_routing, chain.iter().any(|(kind, _)| *kind == 43));
    }

    #[test]
    fn udp_identity(ports: (u16, u16), pseudo in pseudo_header(), payload in payload(), padding in 0..20usize) {
        let header = udp::Header { source_port: ports.0, destination_port: ports.1 };
        let mut buffer = vec![0xee; 8 + payload.len() + padding];
        prop_assert_eq!(header.emit(&mut buffer, &pseudo, &payload), Ok(8 + payload.len()));
        let datagram = Udp::parse(&buffer).unwrap();
        prop_assert_eq!(datagram.header(), header);
        prop_assert_eq!(datagram.payload(), &payload[..]);
        prop_assert!(datagram.checksum() != 0 && datagram.checksum_is_right(&pseudo));
    }

    #[test]
    fn tcp_identity(mut header in segment(), options in words(), pseudo in pseudo_header(), payload in payload()) {
        header.options = &options;
        let mut buffer = vec![0xee; header.length() + payload.len()];
        prop_assert_eq!(header.emit(&mut buffer, &pseudo, &payload), Ok(buffer.len()));
        let segment = Tcp::parse(&buffer).unwrap();
        prop_assert_eq!(segment.header(), header);
        prop_assert_eq!(segment.payload(), &payload[..]);
        prop_assert!(segment.checksum_is_right(&pseudo));
    }

    #[test]
    fn tcp_options_identity(mss: u16, shift: u8, times: (u32, u32), kind in 9u8.., data in vec(any::<u8>(), 0..10), pads in vec(0..3usize, 5)) {
        let options = [
            TcpOption::MaximumSegmentSize(mss),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: times.0, echo_reply: times.1 },
            TcpOption::WindowScale(shift),
            TcpOption::Other { kind, data: &data },
        ];
        let mut list = [1; 48];
        let mut at = 0;
        for (option, pad) in options.iter().zip(pads) {
            at += pad;
            at += option.emit(&mut list[at..]).unwrap();
        }
        prop_assume!(at <= tcp::MAX_OPTIONS);
        let header = tcp::Header { options: &list[..40], ..tcp::Header::new(1, 2, TcpFlags::SYN) };
        let pseudo = PseudoHeader::V4 { source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::LOCALHOST };
        let mut buffer = [0; 60];
        header.emit(&mut buffer, &pseudo, &[]).unwrap();
        let read: Result<Vec<_>, _> = Tcp::parse(&buffer).unwrap().options().collect();
        prop_assert_eq!(read, Ok(options.to_vec()));
    }

    #[test]
    fn icmp_identity(kind: u8, code: u8, parameter: [u8; 4], payload in payload()) {
        let header = icmp::Header { kind: IcmpType(kind), code, parameter };
        let mut buffer = vec![0xee; 8 + payload.len()];
        prop_assert_eq!(header.emit(&mut buffer, &payload), Ok(buffer.len()));
        let message = Icmp::parse(&buffer).unwrap();
        prop_assert_eq!(message.header(), header);
        prop_assert_eq!(message.payload(), &payload[..]);
        prop_assert!(message.checksum_is_right());
        prop_assert_eq!(message.echo().map(|echo| icmp::Header { code, ..icmp::Header::echo(IcmpType(kind), echo) }),
            matches!(kind, 0 | 8).then_some(header));
    }

    #[test]
    fn icmpv6_identity(kind: u8, code: u8, parameter: [u8; 4], pseudo in pseudo_header(), payload in payload()) {
        let header = icmpv6::Header { kind: Icmpv6Type(kind), code, parameter };
        let mut buffer = vec![0xee; 8 + payload.len()];
        prop_assert_eq!(header.emit(&mut buffer, &pseudo, &payload), Ok(buffer.len()));
        let message = Icmpv6::parse(&buffer).unwrap();
        prop_assert_eq!(message.header(), header);
        prop_assert_eq!(message.payload(), &payload[..]);
        prop_assert!(message.checksum_is_right(&pseudo));
    }

    #[test]
    fn neighbor_solicitation_identity(path in path(), source: Ipv6Addr, target: Ipv6Addr, known in proptest::option::of(mac())) {
        prop_assume!(!source.is_unspecified() && !target.is_multicast());
        let mut buffer = [0; 128];
        let length = build::neighbor_solicitation(&mut buffer, &path, source, target, known).unwrap();
        let link = Link::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(link.ethernet.destination(), known.unwrap_or(MacAddr::for_ipv6_multicast(ndp::solicited_node(target))));
        let packet = Ipv6::parse(link.payload).unwrap();
        let icmp = Icmpv6::parse(packet.upper().unwrap().payload).unwrap();
        let Ok(Some(ndp::Message::NeighborSolicitation { target: asked, options })) = ndp::Message::parse(&packet, &icmp) else {
            return Err(TestCaseError::fail("no solicitation"));
        };
        prop_assert_eq!(asked, target);
        prop_assert_eq!(options.collect::<Vec<_>>(), vec![ndp::NdpOption::SourceLinkLayerAddress(path.source)]);
    }

    #[test]
    fn neighbor_advertisement_identity(path in path(), source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, flags: (bool, bool, bool)) {
        prop_assume!(!destination.is_multicast() && !target.is_multicast());
        let advertisement = ndp::NeighborAdvertisement { target, router: flags.0, solicited: flags.1, override_: flags.2 };
        let mut buffer = [0; 128];
        let length = build::neighbor_advertisement(&mut buffer, &path, source, destination, &advertisement).unwrap();
        let packet = Ipv6::parse(Link::parse(&buffer[..length]).unwrap().payload).unwrap();
        let icmp = Icmpv6::parse(packet.upper().unwrap().payload).unwrap();
        let Ok(Some(ndp::Message::NeighborAdvertisement(read, options))) = ndp::Message::parse(&packet, &icmp) else {
            return Err(TestCaseError::fail("no advertisement"));
        };
        prop_assert_eq!(read, advertisement);
        prop_assert_eq!(options.target_link_layer_address(), Some(path.source));
    }

    #[test]
    fn frames_fit_or_are_refused_and_nothing_behind_them_changes(
        path in path(), header in v4(), segment in segment(), payload in payload(), room in 0..900usize,
    ) {
        let (ip, transport) = (Ip::V4(header), Transport::Tcp(segment, &payload));
        let mut whole = [0; 900];
        let length = build::frame(&mut whole, &path, &ip, &transport).unwrap();
        let mut buffer = vec![0xee; room];
        match build::frame(&mut buffer, &path, &ip, &transport) {
            Ok(written) => {
                prop_assert!(written == length && length <= room);
                prop_assert_eq!(&buffer[..length], &whole[..length]);
                prop_assert!(buffer[length..].iter().all(|byte| *byte == 0xee));
            }
            Err(error) => prop_assert!(error == Error::BufferTooSmall && room < length),
        }
    }

    // ---- checksums ----

    #[test]
    fn a_sum_in_parts_is_the_sum_of_the_whole(parts in vec(vec(any::<u8>(), 0..40), 0..6)) {
        let sum = parts.iter().fold(Sum::ZERO, |sum, part| sum.and(part));
        prop_assert_eq!(sum.checksum().to_ne_bytes(), (!naive_sum(&parts.concat())).to_be_bytes());
        prop_assert_eq!(checksum(&parts.concat()), sum.checksum());
    }

    #[test]
    fn incremental_equals_full(mut bytes in vec(any::<u8>(), 1..200), new in vec(any::<u8>(), 1..40), at: Index) {
        let at = at.index(bytes.len());
        let length = new.len().min(bytes.len() - at);
        let before = checksum(&bytes);
        let delta = Delta::between(&bytes[at..at + length], &new[..length]);
        bytes[at..at + length].copy_from_slice(&new[..length]);
        let delta = if at % 2 == 0 { delta } else { delta.at_odd_offset() };
        // Only zeros alone have the other of one's complement's two zeros for a full checksum.
        let full = if bytes.iter().all(|byte| *byte == 0) { 0 } else { checksum(&bytes) };
        let all_zero_before = before == 0xffff;
        let incremental = delta.apply(before);
        prop_assert!(incremental == full || all_zero_before && delta == Delta::ZERO);
    }

    #[test]
    fn deltas_combine(a: [u8; 4], b: [u8; 4], c: [u8; 4], d: [u8; 4], checksum: u16) {
        let (first, second) = (Delta::between(&a, &b), Delta::between(&c, &d));
        let (joined, stepwise) = (first.combine(second).apply(checksum), second.apply(first.apply(checksum)));
        prop_assert!(joined == stepwise || (joined ^ stepwise == 0xffff && (joined == 0 || stepwise == 0)));
        prop_assert_eq!(Delta::between(&a, &a), Delta::ZERO);
        prop_assert_eq!(first.combine(Delta::between(&b, &a)), Delta::ZERO);
        prop_assert_eq!(Delta::ZERO.apply(checksum), checksum);
    }

    /// What a NAT does, in both ways: rewriting a frame in place gives, byte for byte, the frame built with the new addresses and ports.
    #[test]
    fn a_rewritten_frame_is_the_frame_built_so(
        path in path(), old in v4(), new: (Ipv4Addr, Ipv4Addr, u16, u16), segment in segment(), udp: bool,
        mss in proptest::option::of((0..4usize, any::<u16>(), any::<u16>())), payload in payload(),
    ) {
        prop_assume!(old.ttl > 0);
        let mut lists = [[1u8; 8]; 2];
        if let Some((at, old_mss, new_mss)) = mss {
            TcpOption::MaximumSegmentSize(old_mss).emit(&mut lists[0][at..]).unwrap();
            TcpOption::MaximumSegmentSize(new_mss).emit(&mut lists[1][at..]).unwrap();
        }
        let protocol = if udp { Protocol::UDP } else { Protocol::TCP };
        let write = |header: ipv4::Header<'_>, segment: tcp::Header<'_>| {
            let datagram = udp::Header { source_port: segment.source_port, destination_port: segment.destination_port };
            let transport = if udp { Transport::Udp(datagram, &payload) } else { Transport::Tcp(segment, &payload) };
            let mut buffer = vec![0; 900];
            let length = build::frame(&mut buffer, &path, &Ip::V4(ipv4::Header { protocol, ..header }), &transport).unwrap();
            buffer.truncate(length);
            buffer
        };
        let mut rewritten = write(old, tcp::Header { options: &lists[0], ..segment });
        let (source, destination, source_port, destination_port) = new;
        let expected = write(
            ipv4::Header { source, destination, ttl: old.ttl - 1, ..old },
            tcp::Header { source_port, destination_port, options: &lists[1], ..segment },
        );

        let offset = Link::parse(&rewritten).unwrap().payload_offset;
        let mut packet = Ipv4Mut::parse(&mut rewritten[offset..]).unwrap();
        let moved = Delta::between(&old.source.octets(), &source.octets())
            .combine(Delta::between(&old.destination.octets(), &destination.octets()));
        packet.set_source(source);
        packet.set_destination(destination);
        prop_assert!(packet.decrement_ttl());
        if udp {
            let mut datagram = UdpMut::parse(packet.payload_mut()).unwrap();
            datagram.set_source_port(source_port);
            datagram.set_destination_port(destination_port);
            datagram.adjust_checksum(moved);
        } else {
            let mut segment = TcpMut::parse(packet.payload_mut()).unwrap();
            segment.set_source_port(source_port);
            segment.set_destination_port(destination_port);
            prop_assert_eq!(mss.is_some_and(|(_, _, new)| segment.set_mss(new)), mss.is_some());
            segment.adjust_checksum(moved);
        }
        prop_assert_eq!(rewritten, expected);
    }

    #[test]
    fn an_icmp_rewrite_is_the_message_built_so(old: (u16, u16), identifier: u16, payload in payload()) {
        let echo = |identifier| icmp::Echo { identifier, sequence: old.1 };
        let (mut rewritten, mut expected) = ([0; 708], [0; 708]);
        icmp::Header::echo(IcmpType::ECHO_REQUEST, echo(old.0)).emit(&mut rewritten, &payload).unwrap();
        icmp::Header::echo(IcmpType::ECHO_REPLY, echo(identifier)).emit(&mut expected, &payload).unwrap();
        let mut message = IcmpMut::parse(&mut rewritten[..8 + payload.len()]).unwrap();
        message.set_echo_identifier(identifier);
        message.set_kind(IcmpType::ECHO_REPLY, 0);
        // A reply whose every byte is zero has the other zero for a checksum.
        if expected[..2].iter().chain(&expected[4..]).any(|byte| *byte != 0) {
            prop_assert_eq!(rewritten, expected);
        }
    }

    // ---- what the edge says itself ----

    #[test]
    fn icmp_errors_quote_the_packet(path in path(), mut header in v4(), options in words(), payload in payload(), edge: Ipv4Addr) {
        header.options = &options;
        let mut buffer = [0; 800];
        let length = build::frame(&mut buffer, &path, &Ip::V4(header), &Transport::Raw(&payload)).unwrap();
        let frame = Link::parse(&buffer[..length]).unwrap();
        let packet = Ipv4::parse(frame.payload).unwrap();
        let mut answer = [0; 700];
        let back = Path::back(&frame, path.destination);
        let written = build::icmp_error(&mut answer, &back, edge, IcmpError::FragmentationNeeded { mtu: 1400 }, &packet).unwrap();

        let answer = Link::parse(&answer[..written]).unwrap();
        prop_assert_eq!(answer.ethernet.destination(), path.source);
        prop_assert_eq!(answer.tags, path.tags);
        let error = Ipv4::parse(answer.payload).unwrap();
        prop_assert_eq!((error.source(), error.destination()), (edge, header.source));
        prop_assert!(error.checksum_is_right() && usize::from(error.total_length()) <= build::MAX_ERROR_PACKET);
        let icmp = Icmp::parse(error.payload()).unwrap();
        prop_assert!(icmp.checksum_is_right());
        prop_assert_eq!((icmp.kind(), icmp.code(), icmp.parameter()), (IcmpType::DESTINATION_UNREACHABLE, 4, [0, 0, 5, 0x78]));
        let quote = icmp.quoted().unwrap();
        prop_assert_eq!(quote, &frame.payload[..frame.payload.len().min(548)]);
        prop_assert_eq!(Ipv4::parse_quoted(quote).unwrap().header(), header);
    }

    #[test]
    fn echo_replies_mirror_requests(path in path(), header in v4(), echo: (u16, u16), payload in payload(), damage: bool) {
        let header = ipv4::Header { protocol: Protocol::ICMP, more_fragments: false, fragment_offset: 0, ..header };
        let echo = icmp::Echo { identifier: echo.0, sequence: echo.1 };
        let request = icmp::Header::echo(IcmpType::ECHO_REQUEST, echo);
        let mut buffer = [0; 800];
        let length = build::frame(&mut buffer, &path, &Ip::V4(header), &Transport::Icmp(request, &payload)).unwrap();
        if damage {
            buffer[length - 1] ^= 0x10;
        }
        let frame = Link::parse(&buffer[..length]).unwrap();
        let packet = Ipv4::parse(frame.payload).unwrap();
        let mut answer = [0; 800];
        let written = build::echo_reply(&mut answer, &Path::back(&frame, path.destination), &packet).unwrap();
        prop_assert_eq!(written, (!damage).then_some(length));
        if let Some(written) = written {
            let reply = Ipv4::parse(Link::parse(&answer[..written]).unwrap().payload).unwrap();
            prop_assert_eq!((reply.source(), reply.destination()), (header.destination, header.source));
            let icmp = Icmp::parse(reply.payload()).unwrap();
            prop_assert!(icmp.checksum_is_right() && icmp.kind() == IcmpType::ECHO_REPLY);
            prop_assert_eq!((icmp.echo(), icmp.payload()), (Some(echo), &payload[..]));
        }
    }
}
