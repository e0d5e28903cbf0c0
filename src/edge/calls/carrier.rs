//! Messages as frames carry them, to and from the workers' rings.
//!
//! Guarantees: any bytes are a message, the head of a tunnelled packet, or neither, without a panic; what is sent goes from the own RLOC
//! of its family, with right lengths and checksums. Never: looks into a message.

use super::own::{Own, OwnRloc};
use crate::config::Tunnels;
use crate::edge::cetp::message::{Rloc, Tag};
use crate::edge::cetp::wire;
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{Error, EtherType, Ipv4, Ipv6, Link, MacAddr, Protocol, Udp, cetp, ipv4, ipv6, udp};

/// Frames from workers with a message, and to workers: IP, to be routed.
pub const MESSAGES: u16 = 0;
/// Frames from workers with a tunnelled packet that no session is for.
pub const UNEXPECTED: u16 = 1;
/// Frames from workers with a router's message that a tunnelled packet was too big.
pub const TOO_BIG: u16 = 2;
/// Frames from workers with the beginning of a packet that has left a tunnel, and that no service of its session is for.
pub const TRESPASS: u16 = 3;
/// Frames to workers: Ethernet, complete.
pub const ETHERNET: u16 = 1;
/// Bytes of a frame before its message: Ethernet, IPv6 and UDP headers.
pub const HEADERS_MAX: usize = 14 + 40 + 8;
// A message is one packet of those that every way between edges takes.
const _: () = assert!(ipv6::HEADER_LENGTH + udp::HEADER_LENGTH + wire::LONGEST == Tunnels::MTU_MIN as usize);

/// Where a frame to that port is from, and the message that it carries, without the padding of its carrier.
pub fn read(frame: &[u8], port: u16) -> Option<(Rloc, &[u8])> {
    let link = Link::parse(frame).ok().filter(|link| link.tags.is_empty())?;
    match link.ether_type {
        EtherType::IPV4 => {
            let ip = Ipv4::parse(link.payload).ok()?;
            let is_whole = ip.protocol() == Protocol::UDP && !ip.is_fragment();
            let udp = is_whole.then(|| Udp::parse(ip.payload()).ok()).flatten()?;
            (udp.destination_port() == port).then(|| (Rloc::V4(ip.source()), udp.payload()))
        }
        EtherType::IPV6 => {
            let ip = Ipv6::parse(link.payload).ok()?;
            let upper = ip.upper().ok()?;
            let is_whole = upper.protocol == Protocol::UDP && upper.fragment.is_none();
            let udp = is_whole.then(|| Udp::parse(upper.payload).ok()).flatten()?;
            (udp.destination_port() == port).then(|| (Rloc::V6(ip.source()), udp.payload()))
        }
        EtherType::CETP => Some((Rloc::Ethernet(link.ethernet.source()), unpadded(link.payload)?)),
        _ => None,
    }
}

/// A message without the padding of an Ethernet frame: its length is in bytes 2 and 3. Any other payload as it is.
fn unpadded(payload: &[u8]) -> Option<&[u8]> {
    let [_, _, high, low, ..] = *payload else { return None };
    payload.get(..usize::from(u16::from_be_bytes([high, low])))
}

/// The tags of a tunnelled packet: who it is from, and its SST and DST.
pub fn read_tags(frame: &[u8]) -> Option<(Rloc, Tag, Tag)> {
    // Its head may be all that there is of it: so it is read by its place alone.
    let (from, payload) = read_head(frame)?;
    let word = |at: usize| payload.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let is_packet = payload.first()? & cetp::PAYLOAD != 0;
    let (source, destination) = (Tag::new(word(4)?)?, Tag::new(word(8)?)?);
    is_packet.then_some((from, source, destination))
}

/// Of a packet that has left its tunnel: the tags that stand for its addresses, ours first; its protocol, and the port it is for, 0 where
/// it has none.
pub fn read_trespass(frame: &[u8]) -> Option<((Tag, Tag), (u8, u16))> {
    let packet = frame.get(14..)?;
    let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (theirs, own) = (Tag::new(word(12)?)?, Tag::new(word(16)?)?);
    let (length, protocol) = (usize::from(packet.first()? & 15) * 4, *packet.get(9)?);
    let port = match protocol {
        6 | 17 => u16::from_be_bytes(packet.get(length + 2..length + 4)?.try_into().ok()?),
        _ => 0,
    };
    Some(((own, theirs), (protocol, port)))
}

/// As [`read`], of a frame that is cut short.
fn read_head(frame: &[u8]) -> Option<(Rloc, &[u8])> {
    const ETHERNET_HEADER: usize = 14;
    let ether_type = EtherType(u16::from_be_bytes(frame.get(12..ETHERNET_HEADER)?.try_into().ok()?));
    let packet = &frame[ETHERNET_HEADER..];
    match ether_type {
        EtherType::IPV4 => {
            let length = usize::from(packet.first()? & 15) * 4;
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let is_udp = *packet.get(9)? == Protocol::UDP.0;
            let payload = packet.get(length.max(ipv4::HEADER_LENGTH) + 8..)?;
            is_udp.then_some((Rloc::V4(source.into()), payload))
        }
        EtherType::IPV6 => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let is_udp = *packet.get(6)? == Protocol::UDP.0;
            is_udp.then_some((Rloc::V6(source.into()), packet.get(ipv6::HEADER_LENGTH + 8..)?))
        }
        EtherType::CETP => {
            let source: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
            Some((Rloc::Ethernet(MacAddr(source)), packet))
        }
        _ => None,
    }
}

/// Writes the frame that takes a message there: its class, its length, and the own RLOC that it is from.
///
/// # Errors
/// [`Error::BufferTooSmall`], [`Error::TooLong`]; the former also where there is no own RLOC of that family.
pub fn write<'o>(
    buffer: &mut [u8],
    own: &'o Own,
    to: Rloc,
    message: &[u8],
) -> Result<(u16, usize, &'o OwnRloc), Error> {
    let from = own.facing(to).ok_or(Error::BufferTooSmall)?;
    let ip = match (from.rloc, to) {
        (Rloc::V4(local), Rloc::V4(remote)) => Ip::V4(ipv4::Header::new(local, remote, Protocol::UDP)),
        (Rloc::V6(local), Rloc::V6(remote)) => Ip::V6(ipv6::Header::new(local, remote, Protocol::UDP)),
        (Rloc::Ethernet(local), Rloc::Ethernet(remote)) => {
            let length = 14 + message.len();
            let frame = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
            frame[..6].copy_from_slice(&remote.0);
            frame[6..12].copy_from_slice(&local.0);
            frame[12..14].copy_from_slice(&EtherType::CETP.0.to_be_bytes());
            frame[14..].copy_from_slice(message);
            return Ok((ETHERNET, length, from));
        }
        _ => return Err(Error::BufferTooSmall),
    };
    // Who routes it writes the link's addresses.
    let path = Path::untagged(MacAddr([0; 6]), MacAddr([0; 6]));
    let ports = udp::Header { source_port: own.port, destination_port: own.port };
    let length = build::frame(buffer, &path, &ip, &Transport::Udp(ports, message))?;
    Ok((MESSAGES, length, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DomainName;
    use crate::edge::cetp::message::Limits;
    use crate::flow::Realm;
    use crate::packet::cetp::{Header, Kind, emit_ethernet};
    use proptest::prelude::*;

    const RLOCS: [&str; 3] = ["192.0.2.1", "fd00::1", "ethernet"];

    fn rloc(text: &str, last: u8) -> Rloc {
        match text.parse() {
            Ok(std::net::IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                Rloc::V4([a, b, c, last].into())
            }
            Ok(std::net::IpAddr::V6(_)) => Rloc::V6(format!("fd00::{last}").parse().expect("an address")),
            Err(_) => Rloc::Ethernet(MacAddr([2, 0, 0, 0, 0, last])),
        }
    }

    fn own() -> Own {
        let of = |text: &&str| OwnRloc { rloc: rloc(text, 1), realm: Realm(9), interface: 3, mtu: 1500 };
        Own {
            name: DomainName::new("ces.example.org").expect("a name"),
            port: 48_001,
            rlocs: RLOCS.iter().map(of).collect(),
            mtu: 1500,
            limits: Limits { sessions: 1, negotiations: 1 },
            timeout: 60,
        }
    }

    #[test]
    fn a_message_comes_out_as_it_went_in_by_each_carrier() {
        let own = own();
        for (at, text) in RLOCS.iter().enumerate() {
            // Its length is where the protocol has it.
            let message = [0x10, 0, 0, 8, 1, 2, 3, 4];
            let mut buffer = [0; 200];
            let (class, length, from) = write(&mut buffer, &own, rloc(text, 2), &message).expect("fits");
            assert_eq!((from.rloc, class), (own.rlocs[at].rloc, u16::from(at == 2)));
            assert_eq!(read(&buffer[..length], 48_001), Some((own.rlocs[at].rloc, &message[..])), "{text}");
            if at == 2 {
                assert_eq!(
                    read(&buffer[..60], 48_001).map(|(_, message)| message.len()),
                    Some(8),
                    "without padding"
                );
            }
        }
    }

    /// And no router cuts it.
    #[test]
    fn the_longest_message_is_one_packet_of_what_every_way_takes() {
        let own = own();
        let mut message = vec![0; wire::LONGEST];
        message[2..4].copy_from_slice(&(wire::LONGEST as u16).to_be_bytes());
        let mut buffer = [0; 2000];
        let lengths = RLOCS.map(|text| {
            let (_, length, _) = write(&mut buffer, &own, rloc(text, 2), &message).expect("fits");
            let frame = &buffer[..length];
            assert_eq!(read(frame, 48_001).map(|(_, read)| read), Some(&message[..]), "{text}");
            if let Ok(ip) = Ipv4::parse(&frame[14..]) {
                assert!(ip.dont_fragment());
            }
            length - 14
        });
        assert_eq!(lengths, [1260, 1280, 1232]);
    }

    #[test]
    fn the_tags_of_a_packet_are_read_from_its_head_alone() {
        let own = own();
        let mut packet = [0; 100];
        let header = Header::new(Kind::Ethernet, 0x0102_0304, 0xa1b2_c3d4);
        let length = emit_ethernet(&mut packet, &header, &[7; 60]).expect("fits");
        let tags = [0x0102_0304, 0xa1b2_c3d4].map(|tag| Tag::new(tag).expect("a tag"));
        for (at, text) in RLOCS.iter().enumerate() {
            let mut buffer = [0; 200];
            write(&mut buffer, &own, rloc(text, 2), &packet[..length]).expect("fits");
            let head = [14 + 28, 14 + 48, 14][at] + 12;
            assert_eq!(read_tags(&buffer[..head]), Some((own.rlocs[at].rloc, tags[0], tags[1])), "{text}");
            assert_eq!(read_tags(&buffer[..head - 1]), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes: Vec<u8>, at in 0..RLOCS.len(), place: prop::sample::Index, byte: u8) {
            read(&bytes, 48_001);
            read_tags(&bytes);
            read_trespass(&bytes);
            let mut frame = vec![0; HEADERS_MAX + bytes.len()];
            let (_, length, _) = write(&mut frame, &own(), rloc(RLOCS[at], 2), &bytes).expect("fits");
            frame.truncate(length);
            let place = place.index(frame.len());
            frame[place] = byte;
            read(&frame, 48_001);
            read_tags(&frame);
            frame.truncate(place);
            read(&frame, 48_001);
            read_tags(&frame);
            read_trespass(&frame);
        }
    }
}
