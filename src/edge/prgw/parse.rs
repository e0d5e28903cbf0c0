//! A first packet's bytes, read for what the gateway is asked. The worker has judged them already; here nothing is taken on trust.
//!
//! Never: panics, whatever the bytes.

use crate::flow::key::ports;
use crate::flow::{Key4, Realm};
use crate::packet::icmp::{Icmp, IcmpType};
use crate::packet::{EtherType, Ipv4, Link, Protocol, Tcp};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// As the workers make it: an echo has its identifier for both ports, a protocol without ports zeros.
    pub key: Key4,
    /// TCP's SYN alone, of the flags that open and close.
    pub pure_syn: bool,
    /// A fragment behind the first of its datagram: it claims nothing.
    pub follows: bool,
}

/// Reads a frame that came in by `outside`. `datagram_ports` are for a fragment that has none itself.
pub fn parse(frame: &[u8], datagram_ports: u32, outside: Realm) -> Option<Parsed> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    let ip = Ipv4::parse_quoted(link.payload).ok()?;
    let (transport, follows) = (ip.payload(), ip.fragment_offset() > 0);
    let (both, pure_syn) = match ip.protocol() {
        _ if follows => (datagram_ports, false),
        Protocol::TCP => {
            let tcp = Tcp::parse(transport).ok()?;
            (ports(tcp.source_port(), tcp.destination_port()), tcp.flags().starts_connection())
        }
        Protocol::UDP => {
            let [a, b, c, d, ..] = *transport.first_chunk::<8>()?;
            (u32::from_le_bytes([a, b, c, d]), false)
        }
        Protocol::ICMP => {
            let icmp = Icmp::parse(transport).ok().filter(|icmp| icmp.kind() == IcmpType::ECHO_REQUEST)?;
            let identifier = icmp.echo()?.identifier;
            (ports(identifier, identifier), false)
        }
        _ => (0, false),
    };
    let ends = (ip.source(), ip.destination());
    Some(Parsed { key: Key4::of_any_protocol(outside, ip.protocol().0, ends, both), pure_syn, follows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), likely: bool) {
            // Half of them far enough to be looked at.
            if likely && bytes.len() > 24 {
                bytes[12..14].copy_from_slice(&[8, 0]);
                bytes[14] = 0x40 | bytes[14] & 15;
                bytes[23] = [6, 17, 1, 47][usize::from(bytes[23] & 3)];
            }
            if let Some(parsed) = parse(&bytes, 0x0102_0304, Realm(9)) {
                prop_assert_eq!(parsed.key.realm(), Realm(9));
                let offset = u16::from_be_bytes([bytes[20], bytes[21]]) & 0x1fff;
                prop_assert_eq!(parsed.follows, offset > 0);
                prop_assert!(!parsed.follows || !parsed.pure_syn && parsed.key.tail as u32 == 0x0102_0304);
                prop_assert_eq!(parsed.key.source().octets(), <[u8; 4]>::try_from(&bytes[26..30]).unwrap());
            }
        }
    }
}
