//! Multicast listener discovery for IPv6, as far as a node's own groups need it (MLDv2, RFC 3810): reports out, queries told
//! apart. Switches that snoop deliver a solicited-node group only to those who have reported it (RFC 4861 section 7.2.1).
//!
//! Guaranteed: a report has the hop limit of 1 and the router alert (RFC 2711) that RFC 3810 section 5 asks for.
//! Never: keeps group state, or forwards multicast.

use super::build::{self, Ip, Path, Transport};
use super::{Error, Icmpv6, Icmpv6Type, Ipv6, MacAddr, Protocol, PseudoHeader, icmpv6, ipv6};
use std::net::Ipv6Addr;

/// All routers that speak MLDv2: where reports go (RFC 3810 section 5.2.14).
pub const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// RFC 3810 section 5.1.
pub const QUERY: Icmpv6Type = Icmpv6Type(130);
/// RFC 3810 section 5.2.
pub const REPORT: Icmpv6Type = Icmpv6Type(143);

/// A query's fixed part behind its ICMPv6 header: the group, all that MLDv1 has too.
const QUERY_LENGTH: usize = 16;
/// Hop-by-hop options: the next header, no more than 8 bytes, router alert with value 0 (MLD, RFC 2711), PadN of none.
const ROUTER_ALERT: [u8; 8] = [Protocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0];
/// A record: type, no auxiliary data, no sources, the group.
const RECORD_LENGTH: usize = 20;
/// "I listen, whoever sends": CHANGE_TO_EXCLUDE_MODE without sources (RFC 3810 section 5.2.12).
const CHANGE_TO_EXCLUDE_MODE: u8 = 4;

/// Is this a right query of a router on the link (RFC 3810 sections 5.1.14 and 6.2)?
pub fn is_query(ip: &Ipv6<'_>, icmp: &Icmpv6<'_>) -> bool {
    icmp.kind() == QUERY
        && ip.source().is_unicast_link_local()
        && ip.hop_limit() == 1
        && ip.next_header() == Protocol::HOP_BY_HOP
        && icmp.payload().len() >= QUERY_LENGTH
        && icmp.checksum_is_right(&ip.pseudo_header())
}

/// Writes the frame that says "I listen to `group`"; returns its length. Of `path` the destination is not used.
///
/// Errors: [`Error::BufferTooSmall`].
pub fn report(buffer: &mut [u8], path: &Path, source: Ipv6Addr, group: Ipv6Addr) -> Result<usize, Error> {
    const LENGTH: usize = ROUTER_ALERT.len() + icmpv6::HEADER_LENGTH + RECORD_LENGTH;
    let mut record = [0; RECORD_LENGTH];
    record[0] = CHANGE_TO_EXCLUDE_MODE;
    record[4..].copy_from_slice(&group.octets());
    let mut payload = [0; LENGTH];
    payload[..8].copy_from_slice(&ROUTER_ALERT);
    let message = icmpv6::Header { kind: REPORT, code: 0, parameter: [0, 0, 0, 1] };
    let pseudo_header = PseudoHeader::V6 { source, destination: ALL_MLDV2_ROUTERS };
    message.emit(&mut payload[8..], &pseudo_header, &record)?;
    let header =
        ipv6::Header { hop_limit: 1, ..ipv6::Header::new(source, ALL_MLDV2_ROUTERS, Protocol::HOP_BY_HOP) };
    let path = Path { destination: MacAddr::for_ipv6_multicast(ALL_MLDV2_ROUTERS), ..*path };
    build::frame(buffer, &path, &Ip::V6(header), &Transport::Raw(&payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Link;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

    #[test]
    fn a_report_is_what_the_rfc_says() {
        let mut buffer = [0; 128];
        let path = Path::untagged(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::ZERO);
        let length = report(&mut buffer, &path, ROUTER, GROUP).unwrap();
        assert_eq!(length, 14 + 40 + 8 + 8 + 20);
        let link = Link::parse(&buffer[..length]).unwrap();
        assert_eq!(link.ethernet.destination().to_string(), "33:33:00:00:00:16");
        let ip = Ipv6::parse(link.payload).unwrap();
        assert_eq!((ip.hop_limit(), ip.destination()), (1, "ff02::16".parse().unwrap()));
        assert_eq!(ip.next_header(), Protocol::HOP_BY_HOP);
        assert_eq!(ip.payload()[..8], [58, 0, 5, 2, 0, 0, 1, 0]);
        let upper = ip.upper().unwrap();
        let icmp = Icmpv6::parse(upper.payload).unwrap();
        assert_eq!((icmp.kind().0, icmp.code(), icmp.parameter()), (143, 0, [0, 0, 0, 1]));
        assert!(icmp.checksum_is_right(&ip.pseudo_header()));
        assert_eq!(icmp.payload()[..4], [4, 0, 0, 0]);
        assert_eq!(icmp.payload()[4..], GROUP.octets());
        assert_eq!(report(&mut buffer[..60], &path, ROUTER, GROUP), Err(Error::BufferTooSmall));
    }

    #[test]
    fn only_right_queries_are_queries() {
        let query = |source, hop_limit, body: &[u8], damage: u8| {
            let mut bytes = [0; 200];
            let to = "ff02::1".parse().unwrap();
            let message = icmpv6::Header { kind: QUERY, code: 0, parameter: [0x27, 0x10, 0, 0] };
            let length =
                message.emit(&mut bytes[48..], &PseudoHeader::V6 { source, destination: to }, body).unwrap();
            bytes[40..48].copy_from_slice(&ROUTER_ALERT);
            let header = ipv6::Header { hop_limit, ..ipv6::Header::new(source, to, Protocol::HOP_BY_HOP) };
            header.emit(&mut bytes, 8 + length).unwrap();
            bytes[52] ^= damage;
            let ip = Ipv6::parse(&bytes).unwrap();
            is_query(&ip, &Icmpv6::parse(ip.upper().unwrap().payload).unwrap())
        };
        assert!(query(ROUTER, 1, &[0; 20], 0), "MLDv2");
        assert!(query(ROUTER, 1, &[0; 16], 0), "MLDv1");
        assert!(!query(ROUTER, 255, &[0; 20], 0));
        assert!(!query("2001:db8::1".parse().unwrap(), 1, &[0; 20], 0));
        assert!(!query(ROUTER, 1, &[0; 15], 0));
        assert!(!query(ROUTER, 1, &[0; 20], 1), "checksum");
    }
}
