//! From a frame with a question to the question, and from its answer to the frame that goes back.
//!
//! Guarantees: any bytes are a question or none, without a panic; an answer goes to whoever asked, from the address and the port that
//! was asked, with right lengths and checksums. Never: looks into the message.

use std::net::{IpAddr, SocketAddr};

use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{Error, EtherType, Ipv4, Ipv6, Link, MacAddr, Protocol, Udp, ipv4, ipv6, udp};

/// Bytes of Ethernet, IPv6 and UDP headers: what an answer's frame has before the message.
pub const HEADERS_MAX: usize = 14 + 40 + 8;

/// Who asked what of us, on which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    remote_mac: MacAddr,
    local_mac: MacAddr,
}

/// The ends of an untagged frame, and the message in it; `None` if it is no whole UDP datagram, or a fragment of one.
pub fn read(frame: &[u8]) -> Option<(Ends, &[u8])> {
    let link = Link::parse(frame).ok().filter(|link| link.tags.is_empty())?;
    let (source, destination, udp): (IpAddr, IpAddr, Udp<'_>) = match link.ether_type {
        EtherType::IPV4 => {
            let ip = Ipv4::parse(link.payload).ok()?;
            let is_whole = ip.protocol() == Protocol::UDP && !ip.is_fragment();
            let udp = is_whole.then(|| Udp::parse(ip.payload()).ok()).flatten()?;
            (ip.source().into(), ip.destination().into(), udp)
        }
        EtherType::IPV6 => {
            let ip = Ipv6::parse(link.payload).ok()?;
            let upper = ip.upper().ok()?;
            let is_whole = upper.protocol == Protocol::UDP && upper.fragment.is_none();
            let udp = is_whole.then(|| Udp::parse(upper.payload).ok()).flatten()?;
            (ip.source().into(), ip.destination().into(), udp)
        }
        _ => return None,
    };
    let ends = Ends {
        remote: SocketAddr::new(source, udp.source_port()),
        local: SocketAddr::new(destination, udp.destination_port()),
        remote_mac: link.ethernet.source(),
        local_mac: link.ethernet.destination(),
    };
    Some((ends, udp.payload()))
}

/// Writes the frame that takes `message` back; returns its length.
///
/// # Errors
/// [`Error::BufferTooSmall`], [`Error::TooLong`].
pub fn write(buffer: &mut [u8], ends: &Ends, message: &[u8]) -> Result<usize, Error> {
    let path = Path::untagged(ends.local_mac, ends.remote_mac);
    let ip = match (ends.local.ip(), ends.remote.ip()) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => Ip::V4(ipv4::Header::new(local, remote, Protocol::UDP)),
        (IpAddr::V6(local), IpAddr::V6(remote)) => Ip::V6(ipv6::Header::new(local, remote, Protocol::UDP)),
        // They are of one packet.
        _ => return Err(Error::BufferTooSmall),
    };
    let ports = udp::Header { source_port: ends.local.port(), destination_port: ends.remote.port() };
    build::frame(buffer, &path, &ip, &Transport::Udp(ports, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PseudoHeader;
    use proptest::prelude::*;

    fn ends(remote: &str, local: &str) -> Ends {
        Ends {
            remote: remote.parse().expect("a socket address"),
            local: local.parse().expect("a socket address"),
            remote_mac: MacAddr([2, 0, 0, 0, 1, 1]),
            local_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        }
    }

    #[test]
    fn an_answer_goes_back_where_its_question_came_from() {
        for (remote, local) in [("192.0.2.9:4000", "192.0.2.1:53"), ("[fd00::9]:4000", "[fd00::1]:53")] {
            let ends = ends(remote, local);
            let mut frame = [0; 200];
            let length = write(&mut frame, &ends, b"answer").expect("fits");
            let (back, message) = read(&frame[..length]).expect("a datagram");
            assert_eq!(message, b"answer");
            assert_eq!((back.remote, back.local), (ends.local, ends.remote));
            assert_eq!((back.remote_mac, back.local_mac), (ends.local_mac, ends.remote_mac));
            let link = Link::parse(&frame[..length]).expect("a frame");
            let (pseudo_header, payload): (PseudoHeader, &[u8]) = match link.ether_type {
                EtherType::IPV4 => {
                    let ip = Ipv4::parse(link.payload).expect("IPv4");
                    assert!(ip.checksum_is_right());
                    (ip.pseudo_header(), ip.payload())
                }
                _ => {
                    let ip = Ipv6::parse(link.payload).expect("IPv6");
                    (ip.pseudo_header(), ip.payload())
                }
            };
            assert!(Udp::parse(payload).expect("UDP").checksum_is_right(&pseudo_header));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_question_or_none(bytes: Vec<u8>, at: prop::sample::Index, byte: u8, is_v6: bool) {
            read(&bytes);
            let ends = match is_v6 {
                true => ends("[fd00::9]:4000", "[fd00::1]:53"),
                false => ends("192.0.2.9:4000", "192.0.2.1:53"),
            };
            let mut frame = vec![0; HEADERS_MAX + bytes.len()];
            let length = write(&mut frame, &ends, &bytes).expect("fits");
            frame.truncate(length);
            let place = at.index(frame.len());
            frame[place] = byte;
            read(&frame);
            frame.truncate(place);
            prop_assert_eq!(read(&frame), None);
        }
    }
}
