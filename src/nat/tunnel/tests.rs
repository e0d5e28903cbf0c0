//! Two edges, each with a session's two tags: what one makes of a packet, and what the other makes of that.

use super::outer::{self, INNER, Outer, Tagged};
use super::*;
use crate::flow::Protocol;
use crate::flow::tunnel::Ends;
use crate::nat::icmp_error;
use crate::packet::cetp::Inner;
use crate::packet::checksum::Sum;
use crate::packet::{self, EtherType};
use crate::packet::{Delta, Ipv4, Ipv4Mut, MacAddr, PseudoHeader, TcpFlags, build, icmp, ipv4, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv6Addr;

/// Where the session of a flow is, which is nothing to its packets.
const PLACE: u32 = 0x1234_5678;
const PORT: u16 = 4600;
/// One host, and as it sees the other; the two have the very same private addresses.
pub(super) const A: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(172, 16, 0, 9));
pub(super) const B: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(172, 16, 0, 200));
pub(super) const REALM: Realm = Realm(3);

fn carriers() -> [Ends; 3] {
    [
        Ends::V4 { local: Ipv4Addr::new(192, 0, 2, 1), remote: Ipv4Addr::new(198, 51, 100, 1) },
        Ends::V6 { local: "2001:db8::1".parse().unwrap(), remote: "2001:db8:f::2".parse().unwrap() },
        Ends::Ethernet { interface: 4, local: [2, 0, 0, 0, 0, 1], remote: [2, 0, 0, 0, 0, 2] },
    ]
}

/// As the other edge has them.
fn mirrored(ends: Ends) -> Ends {
    match ends {
        Ends::V4 { local, remote } => Ends::V4 { local: remote, remote: local },
        Ends::V6 { local, remote } => Ends::V6 { local: remote, remote: local },
        Ends::Ethernet { interface, local, remote } => {
            Ends::Ethernet { interface, local: remote, remote: local }
        }
    }
}

/// What is behind an IPv4 header.
#[derive(Clone, Debug)]
enum Upper {
    Udp(u16, u16, Vec<u8>),
    Tcp(u16, u16, Vec<u8>),
    Echo(u16, Vec<u8>),
    Other(Vec<u8>),
}

impl Upper {
    fn protocol(&self) -> packet::Protocol {
        match self {
            Upper::Udp(..) => packet::Protocol::UDP,
            Upper::Tcp(..) => packet::Protocol::TCP,
            Upper::Echo(..) => packet::Protocol::ICMP,
            Upper::Other(_) => packet::Protocol::ESP,
        }
    }

    fn ports(&self) -> (u16, u16) {
        match self {
            Upper::Udp(from, to, _) | Upper::Tcp(from, to, _) => (*from, *to),
            Upper::Echo(id, _) => (*id, *id),
            Upper::Other(_) => (0, 0),
        }
    }

    fn key(&self, ends: (Ipv4Addr, Ipv4Addr)) -> Key4 {
        let (from, to) = self.ports();
        Key4::of_any_protocol(REALM, self.protocol().0, ends, crate::flow::key::ports(from, to))
    }

    fn emit(&self, pseudo: &PseudoHeader) -> Vec<u8> {
        let mut room = vec![0; 2000];
        let length = match self {
            Upper::Udp(source_port, destination_port, payload) => {
                let header = udp::Header { source_port: *source_port, destination_port: *destination_port };
                header.emit(&mut room, pseudo, payload).unwrap()
            }
            Upper::Tcp(from, to, payload) => {
                let header = tcp::Header { sequence: 77, ..tcp::Header::new(*from, *to, TcpFlags::ACK) };
                header.emit(&mut room, pseudo, payload).unwrap()
            }
            Upper::Echo(identifier, payload) => {
                let echo = icmp::Echo { identifier: *identifier, sequence: 3 };
                icmp::Header::echo(icmp::IcmpType::ECHO_REQUEST, echo).emit(&mut room, payload).unwrap()
            }
            Upper::Other(payload) => {
                room[..payload.len()].copy_from_slice(payload);
                payload.len()
            }
        };
        room.truncate(length);
        room
    }
}

fn uppers() -> impl Strategy<Value = Upper> {
    let payload = || vec(any::<u8>(), 0..64);
    prop_oneof![
        (any::<u16>(), any::<u16>(), payload()).prop_map(|(a, b, p)| Upper::Udp(a, b, p)),
        (any::<u16>(), any::<u16>(), payload()).prop_map(|(a, b, p)| Upper::Tcp(a, b, p)),
        (any::<u16>(), payload()).prop_map(|(id, p)| Upper::Echo(id, p)),
        payload().prop_map(Upper::Other),
    ]
}

/// What of an IPv4 header crosses.
#[derive(Clone, Debug)]
struct Fields {
    dscp: u8,
    ecn: u8,
    ttl: u8,
    id: u16,
    dont_fragment: bool,
    options: Vec<u8>,
}

fn fields() -> impl Strategy<Value = Fields> {
    let options = (0usize..=10).prop_flat_map(|words| vec(any::<u8>(), words * 4));
    (0..64u8, 0..4u8, 3..=255u8, any::<u16>(), any::<bool>(), options).prop_map(
        |(dscp, ecn, ttl, id, dont_fragment, options)| Fields { dscp, ecn, ttl, id, dont_fragment, options },
    )
}

/// The frame of a host's packet, built in full.
fn frame(fields: &Fields, ttl: u8, ends: (Ipv4Addr, Ipv4Addr), upper: &Upper) -> Vec<u8> {
    let header = ipv4::Header {
        dscp: fields.dscp,
        ecn: fields.ecn,
        identification: fields.id,
        dont_fragment: fields.dont_fragment,
        ttl,
        options: &fields.options,
        ..ipv4::Header::new(ends.0, ends.1, upper.protocol())
    };
    let payload = upper.emit(&PseudoHeader::V4 { source: ends.0, destination: ends.1 });
    let path = build::Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    let mut room = vec![0; 2100];
    let length =
        build::frame(&mut room, &path, &build::Ip::V4(header), &build::Transport::Raw(&payload)).unwrap();
    room.truncate(length);
    room
}

/// Carries out a half's rewrite, field by field.
fn rewritten(mut frame: Vec<u8>, half: &Half<Key4, Rewrite4>) -> Vec<u8> {
    let to = Key4 { addresses: half.rewrite.addresses, tail: half.rewrite.ports.into() };
    let mut ip = Ipv4Mut::parse(&mut frame[14..]).unwrap();
    assert!(ip.decrement_ttl());
    ip.set_source(to.source());
    ip.set_destination(to.destination());
    let protocol = Protocol::from_number(half.key.protocol());
    let delta = Delta(half.rewrite.l4_delta);
    let l4 = ip.payload_mut();
    let change = |l4: &mut [u8], at: usize, is_udp: bool| {
        let sum = u16::from_ne_bytes([l4[at], l4[at + 1]]);
        let sum = if is_udp { delta.apply_udp(sum) } else { delta.apply(sum) };
        l4[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    };
    match protocol {
        Some(Protocol::Tcp) => change(l4, 16, false),
        Some(Protocol::Udp) => change(l4, 6, true),
        Some(Protocol::Icmp) => assert_eq!(delta, Delta::ZERO, "no pseudo header, and no port changes"),
        _ => (),
    }
    frame
}

fn tagged(frame: &[u8]) -> Tagged<'_> {
    Tagged { header: frame[14..].first_chunk().unwrap() }
}

/// Into the tunnel.
fn encapsulated(frame: &[u8], ends: &Ends, epoch: u8) -> Vec<u8> {
    let head = outer::head(ends, tagged(frame), epoch, PORT, 0x1234).unwrap();
    let mut sent = [head.bytes(), &frame[INNER..]].concat();
    // The outer MAC addresses are those of the next hop; over Ethernet they are the RLOCs.
    let (to, from) = match ends {
        Ends::Ethernet { local, remote, .. } => (*remote, *local),
        _ => ([2; 6], [4; 6]),
    };
    sent[..6].copy_from_slice(&to);
    sent[6..12].copy_from_slice(&from);
    sent
}

/// Out of it, whatever the session.
fn decapsulated(frame: &[u8], outer: &Outer) -> Option<Vec<u8>> {
    let payload = outer.payload(frame).unwrap();
    let Inner::Ipv4(inner) = payload.inner() else { panic!() };
    let exit = outer.exit(&payload.header(), &inner)?;
    let mut left = [&exit.bytes[..], &frame[exit.replaced..]].concat();
    left.truncate(exit.length);
    Some(left)
}

/// The halves of edge A, whose tag is the first, and of edge B. `key` is of A's host's packets.
fn edges(tags: (u32, u32), upper: &Upper) -> [(Half<Key4, Rewrite4>, Half<Key4, Rewrite4>); 2] {
    let back = upper.key((B.1, B.0)).reversed(REALM);
    [halves(tags, PLACE, &upper.key(A)), halves((tags.1, tags.0), PLACE, &back)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any packet of A's host arrives at B's as if it had been sent there: from the address that stands for A's host, two hops
    /// less, right in every checksum. And so do B's.
    #[test]
    fn a_packet_crosses_with_the_addresses_of_each_side(
        upper in uppers(), fields in fields(), tags in (1..=u32::MAX, 1..=u32::MAX), carrier in 0usize..3,
        padding in vec(any::<u8>(), 0..30), epoch: u8,
    ) {
        let ends = carriers()[carrier];
        let [(out, back), (out_b, back_b)] = edges(tags, &upper);
        prop_assert_eq!((out.key.realm(), back.key.realm()), (REALM, Realm::TUNNEL));
        let sent = frame(&fields, fields.ttl, A, &upper);
        let total = sent.len() - 14;
        let inside = rewritten(sent, &out);
        prop_assert_eq!((tagged(&inside).source(), tagged(&inside).destination()), tags);
        let mut between = encapsulated(&inside, &ends, epoch);
        // What it costs, to the byte.
        let carried = if fields.dont_fragment { 24 } else { 28 };
        let expected = total + carried - [0, 0, 28][carrier] + [0, 20, 0][carrier];
        prop_assert_eq!(between.len() - 14, expected);
        prop_assert_eq!(tagged(&inside).length_outside(&ends), expected);
        let (whole, cut) = outer::mtu_inside(&ends, expected as u16);
        prop_assert_eq!(usize::from(if fields.dont_fragment { whole } else { cut }), total);
        between.extend(&padding);
        let seen = Outer::of(&between, 4, PORT).unwrap();
        prop_assert!(seen.is_whole);
        prop_assert_eq!((seen.ends, seen.destination), (mirrored(ends), tags.1));
        prop_assert_eq!(seen.payload(&between).unwrap().header().epoch, epoch);
        let arrived = decapsulated(&between, &seen).unwrap();
        // What B's worker looks up is the key of B's half.
        let ip = Ipv4::parse(&arrived[14..]).unwrap();
        prop_assert!(ip.checksum_is_right());
        let within = upper.key((ip.source(), ip.destination()));
        prop_assert_eq!(Key4 { tail: within.reversed(Realm::TUNNEL).reversed(Realm::TUNNEL).tail, ..within }, back_b.key);
        let received = rewritten(arrived, &back_b);
        let expected = Fields { id: if fields.dont_fragment { 0 } else { fields.id }, ..fields.clone() };
        prop_assert_eq!(received, frame(&expected, fields.ttl - 2, (B.1, B.0), &upper));
        // The answer, along the other halves.
        let answer = match &upper {
            Upper::Udp(a, b, p) => Upper::Udp(*b, *a, p.clone()),
            Upper::Tcp(a, b, p) => Upper::Tcp(*b, *a, p.clone()),
            other => other.clone(),
        };
        prop_assert_eq!(out_b.key, answer.key(B));
        let between = encapsulated(&rewritten(frame(&fields, 64, B, &answer), &out_b), &mirrored(ends), 0);
        let seen = Outer::of(&between, 4, PORT).unwrap();
        let received = rewritten(decapsulated(&between, &seen).unwrap(), &back);
        prop_assert_eq!(received, frame(&expected, 62, (A.1, A.0), &answer));
    }

    /// What the common packet becomes, and what of a frame is one, is what the general way makes of it.
    #[test]
    fn the_common_way_is_the_general_one(
        upper in uppers(), fields in fields(), tags in (1..=u32::MAX, 1..=u32::MAX), epoch: u8, outer_ecn in 0..4u8,
        flip in proptest::option::of((0usize..60, 0..8u8)), padding in vec(any::<u8>(), 0..30),
    ) {
        let fields = Fields { options: vec![], ..fields };
        let (ends, [(out, _), _]) = (carriers()[0], edges(tags, &upper));
        let inside = rewritten(frame(&fields, fields.ttl, A, &upper), &out);
        let mut between = encapsulated(&inside, &ends, epoch);
        let Ends::V4 { local, remote } = ends else { panic!() };
        let word = |octets: [u8; 8]| u64::from_le_bytes(octets);
        let pair = |a: Ipv4Addr, b: Ipv4Addr| u64::from(u32::from_le_bytes(a.octets())) | u64::from(u32::from_le_bytes(b.octets())) << 32;
        let header: &[u8; 20] = inside[14..].first_chunk().unwrap();
        let brief = common::Header {
            total: u16::from_be_bytes([header[2], header[3]]), service: header[1], ttl: header[8], protocol: header[9],
            addresses: word(*header[12..].first_chunk().unwrap()),
        };
        let outside = common::Outside { ends: pair(local, remote), epoch, port: PORT, entropy: 0x1234 };
        let mut head = [0xee; common::HEAD];
        common::wrap(&mut head, &brief, &outside);
        prop_assert_eq!(&head[..12], [0xee; 12]);
        if fields.dont_fragment {
            prop_assert_eq!(&between[12..common::HEAD], &head[12..]);
        }
        between[15] = between[15] & !3 | outer_ecn;
        between[24..26].fill(0);
        let sum = Sum::ZERO.and(&between[14..34]).checksum();
        between[24..26].copy_from_slice(&sum.to_ne_bytes());
        between.extend(&padding);
        let mac = word([between[0], between[1], between[2], between[3], between[4], between[5], 0, 0]);
        if let Some((at, bit)) = flip {
            let at = at.min(between.len() - 1);
            between[at] ^= 1 << bit;
        }
        let start: &[u8; common::HEAD] = between.first_chunk().unwrap();
        let seen = common::Wrapped::parse(start, between.len(), mac, PORT, false);
        if flip.is_none() {
            prop_assert_eq!(seen.is_some(), fields.dont_fragment);
        }
        prop_assert!(!flip.is_some_and(|(at, _)| at < 6 && seen.is_some()), "to another MAC address");
        if let Some(seen) = seen {
            let outer = Outer::of(&between, 4, PORT).unwrap();
            let payload = outer.payload(&between).unwrap();
            prop_assert!(outer.is_whole);
            let Ends::V4 { local, remote } = outer.ends else { panic!() };
            prop_assert_eq!(pair(local, remote), seen.ends());
            let (about, within) = (payload.header(), seen.inside());
            let tags = pair(Ipv4Addr::from_bits(about.source), Ipv4Addr::from_bits(about.destination));
            prop_assert_eq!((tags, about.epoch), (within.addresses, seen.epoch()));
            let Inner::Ipv4(inner) = payload.inner() else { panic!() };
            let exit = outer.exit(&about, &inner);
            prop_assert_eq!(exit.is_some(), seen.service_at_exit().is_some());
            if let Some((exit, service)) = exit.zip(seen.service_at_exit()) {
                let mut bytes = [0; INNER];
                common::Header { service, ..within }.write(&mut bytes, 12);
                prop_assert_eq!(exit.bytes, bytes);
                prop_assert_eq!((exit.replaced - INNER, exit.length), (common::REMOVED, 14 + usize::from(within.total)));
            }
        }
    }

    #[test]
    fn any_frame_is_a_tunnelled_packet_or_not(mut frame in vec(any::<u8>(), 0..120), likely in 0u8..4) {
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(room) = frame.get_mut(at..at + bytes.len()) { room.copy_from_slice(bytes); }
        };
        match likely {
            1 => { put(12, &[8, 0, 0x45, 0, 0, 90, 0, 0, 0, 0, 64, 17]); put(36, &[0x11, 0xf8, 0, 60, 0, 0, 0x94, 0, 0, 40]); }
            2 => { put(12, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 50, 17]); put(56, &[0x11, 0xf8, 0, 50, 0, 0, 0x94, 0, 0, 40]); }
            3 => put(12, &[0x88, 0xb5, 0x94, 0, 0, 50]),
            _ => (),
        }
        if let Some(outer) = Outer::of(&frame, 1, PORT)
            && let Some(payload) = outer.payload(&frame)
            && let Inner::Ipv4(inner) = payload.inner()
            && let Some(exit) = outer.exit(&payload.header(), &inner)
        {
            prop_assert!(exit.replaced <= frame.len() && exit.length - INNER <= frame.len() - exit.replaced);
        }
    }
}

fn small() -> (Fields, Upper) {
    let fields = Fields { dscp: 46, ecn: 2, ttl: 64, id: 9, dont_fragment: true, options: vec![] };
    (fields, Upper::Udp(1000, 53, b"question".to_vec()))
}

/// RFC 6040 in both directions, over both carriers that have the field; over Ethernet nothing marks it.
#[test]
fn dscp_and_ecn_cross_as_rfc_6040_says() {
    let (fields, upper) = small();
    for (carrier, ends) in carriers().into_iter().enumerate() {
        for (inner, outer) in (0..4u8).flat_map(|i| (0..4u8).map(move |o| (i, o))) {
            let fields = Fields { ecn: inner, ..fields.clone() };
            let [(out, _), _] = edges((5, 6), &upper);
            let mut between = encapsulated(&rewritten(frame(&fields, 64, A, &upper), &out), &ends, 0);
            let expected = match carrier {
                0 => {
                    assert_eq!(between[15], 46 << 2 | inner, "a copy on the way in");
                    between[15] = between[15] & !3 | outer;
                    between[24..26].fill(0);
                    let sum = Sum::ZERO.and(&between[14..34]).checksum();
                    between[24..26].copy_from_slice(&sum.to_ne_bytes());
                    packet::cetp::ecn_at_exit(inner, outer)
                }
                1 => {
                    let class = between[14] << 4 | between[15] >> 4;
                    assert_eq!(class, 46 << 2 | inner);
                    between[15] = between[15] & !0x30 | outer << 4;
                    packet::cetp::ecn_at_exit(inner, outer)
                }
                _ => Some(inner),
            };
            let seen = Outer::of(&between, 4, PORT).unwrap();
            let left = decapsulated(&between, &seen);
            assert_eq!(
                left.map(|left| left[15]),
                expected.map(|ecn| 46 << 2 | ecn),
                "{carrier} {inner} {outer}"
            );
        }
    }
}

#[test]
fn what_is_no_tunnelled_packet_is_left_alone() {
    let (fields, upper) = small();
    let [(out, _), _] = edges((5, 6), &upper);
    let inside = rewritten(frame(&fields, 64, A, &upper), &out);
    let [v4, v6, ethernet] = carriers().map(|ends| encapsulated(&inside, &ends, 0));
    let is_one = |frame: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = frame.to_vec();
        change(&mut frame);
        Outer::of(&frame, 4, PORT).map(|outer| outer.is_whole)
    };
    for frame in [&v4, &v6, &ethernet] {
        assert_eq!(is_one(frame, &|_| ()), Some(true));
        assert_eq!(is_one(frame, &|f| f.truncate(14)), None);
    }
    assert_eq!(is_one(&v4, &|f| f[37] += 1), None, "another port");
    assert_eq!(is_one(&v4, &|f| f[23] = 6), None, "another protocol");
    assert_eq!(is_one(&v4, &|f| f[21] = 1), None, "a fragment");
    assert_eq!(is_one(&v4, &|f| f[42] &= 0x7f), None, "a message");
    assert_eq!(is_one(&v4, &|f| f[24] ^= 1), Some(false), "a wrong IPv4 checksum");
    assert_eq!(is_one(&v4, &|f| f[40] ^= 1), Some(false), "a UDP checksum, and wrong");
    assert_eq!(is_one(&v6, &|f| f[57] += 1), None, "another port");
    assert_eq!(is_one(&v6, &|f| f[61] = 1), Some(false), "a UDP checksum, and wrong");
    assert_eq!(is_one(&v6, &|f| f[62] &= 0x7f), None, "a message");
    assert_eq!(is_one(&ethernet, &|f| f[14] &= 0x7f), None, "a message");
    assert_eq!(is_one(&ethernet, &|f| f[12] = 8), None, "another type");
    // What a flow is told by is in the port and the label; the rest is as it must be.
    assert_eq!(v4[34..36], [0xd2, 0x34]);
    assert_eq!((v6[16], v6[17], v6[54], v6[55]), (0x12, 0x35, 0xd2, 0x34));
    assert_eq!((v4[22], v6[21], v4[20] & 0x40), (64, 64, 0x40));
    assert_eq!(EtherType::CETP.0.to_be_bytes(), ethernet[12..14]);
    assert_eq!(
        Outer::of(&v6, 4, PORT)
            .map(|o| matches!(o.ends, Ends::V6 { remote, .. } if remote != Ipv6Addr::LOCALHOST)),
        Some(true)
    );
}

#[test]
fn what_does_not_fit_is_known_before() {
    let [v4, v6, ethernet] = carriers();
    assert_eq!(outer::mtu_inside(&v4, 1500), (1476, 1472));
    assert_eq!(outer::mtu_inside(&v6, 1500), (1456, 1452));
    assert_eq!(outer::mtu_inside(&ethernet, 1500), (1504, 1500));
    assert_eq!(outer::mtu_inside(&v4, 40), (0, 0));
    let mut header = [0; 20];
    header[..8].copy_from_slice(&[0x45, 0, 0xff, 0xff, 0, 0, 0x40, 0]);
    assert!(outer::head(&v4, Tagged { header: &header }, 0, PORT, 0).is_none(), "longer than any packet");
    header[2..4].fill(0);
    assert!(outer::head(&v4, Tagged { header: &header }, 0, PORT, 0).is_none(), "shorter than its header");
}

/// A router behind B reports on a packet of A's host: A's host gets an error from the address that stands for B's, which quotes what
/// it has sent.
#[test]
fn an_icmp_error_crosses_translated() {
    let (fields, upper) = small();
    let tags = (0x0a00_0002, 0xcb00_7105);
    let [(_, back), (out_b, back_b)] = edges(tags, &upper);
    let received = frame(&fields, 62, (B.1, B.0), &upper);
    let quoted = Ipv4::parse(&received[14..]).unwrap();
    let path = build::Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    let mut error = vec![0; 700];
    let router = Ipv4Addr::new(10, 9, 9, 9);
    let length =
        build::icmp_error(&mut error, &path, router, build::IcmpError::HostUnreachable, &quoted).unwrap();
    error.truncate(length);
    // B's worker finds the half by the quote, and translates along it into the tunnel.
    let key = icmp_error::key(&Ipv4::parse(&error[14..]).unwrap(), REALM).unwrap();
    assert_eq!(key, Some(out_b.key));
    // As `rewrite_of` says.
    let rewrite = Rewrite4 { ports: out_b.key.tail as u32, ..out_b.rewrite };
    icmp_error::translate(&mut error[14..], &out_b.key, &rewrite, out_b.action).unwrap();
    assert_eq!(
        (tagged(&error).source(), tagged(&error).destination()),
        (tags.1, tags.0),
        "no word of the router"
    );
    let between = encapsulated(&error, &mirrored(carriers()[0]), 0);
    let seen = Outer::of(&between, 4, PORT).unwrap();
    let mut arrived = decapsulated(&between, &seen).unwrap();
    let key = icmp_error::key(&Ipv4::parse(&arrived[14..]).unwrap(), Realm::TUNNEL).unwrap();
    assert_eq!(key, Some(back.key));
    let rewrite = Rewrite4 { ports: back.key.tail as u32, ..back.rewrite };
    icmp_error::translate(&mut arrived[14..], &back.key, &rewrite, back.action).unwrap();
    let ip = Ipv4::parse(&arrived[14..]).unwrap();
    assert_eq!((ip.source(), ip.destination()), (A.1, A.0));
    let message = icmp::Icmp::parse(ip.payload()).unwrap();
    assert!(ip.checksum_is_right() && message.checksum_is_right());
    let quote = Ipv4::parse_quoted(message.quoted().unwrap()).unwrap();
    assert_eq!((quote.source(), quote.destination()), A);
    let datagram = packet::Udp::parse(quote.payload()).unwrap();
    assert!(quote.checksum_is_right() && datagram.checksum_is_right(&quote.pseudo_header()));
    assert_eq!(back_b.key.destination().to_bits(), tags.1);
}
