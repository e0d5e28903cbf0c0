//! The section about stateful forwarding of IPv6: `[ipv6]`.
//!
//! Guarantees: inside and outside realms are on their sides, and no address is in two of them: nothing is translated,
//! so an address must say which realm it is in. Never: looks at IPv4.

use ipnet::IpNet;

use super::error::Report;
use super::model::{Flow, Ipv6, Timeouts6};
use super::network::{Network, is_link_local, overlaps};
use super::section::{Section, or};
use super::{sides, system};

/// The stateful forwarding, if the section is there and is right.
pub(super) fn read(
    report: &Report<'_>,
    mut section: Section<'_>,
    network: &Network,
    flow: &Flow,
    workers: Option<usize>,
) -> Option<Ipv6> {
    if !section.is_written() {
        return None;
    }
    let hint = "write inside = [\"…\"]: the realms whose hosts open sessions";
    let inside = sides::inside(report, &mut section, network, hint);
    let hint = "write outside = \"…\": the realm that they open sessions to";
    let outside = sides::outside(report, &mut section, network, hint);
    let sessions = system::sessions(report, &mut section, workers);
    let allow_ipsec = or(section.boolean("allow_ipsec"), true);
    let timeouts = read_timeouts(report, section.table("timeouts", "ipv6.timeouts"));
    section.finish();

    let (inside, outside) = (inside?, outside?);
    check_prefixes(report, network, &inside, outside);
    let sessions = or(sessions, (flow.sessions / 4).max(system::sessions_least(workers)));
    Some(Ipv6 { inside, outside, sessions, allow_ipsec, timeouts })
}

fn read_timeouts(report: &Report<'_>, mut section: Section<'_>) -> Timeouts6 {
    let mut timeout = |key, default, least| sides::timeout(report, &mut section, key, default, least);
    let timeouts = Timeouts6 {
        udp: timeout("udp", 300, (120, "RFC 6092 REC-14")),
        tcp_established: timeout("tcp_established", 7440, (7440, "RFC 6092 REC-35")),
        tcp_transitory: timeout("tcp_transitory", 240, (240, "RFC 6092 REC-35")),
        icmp: timeout("icmp", 60, (60, "RFC 5508 REQ-2")),
        other: timeout("other", 300, (0, "")),
    };
    section.finish();
    timeouts
}

/// Refuses connected prefixes that two of the realms share.
fn check_prefixes(report: &Report<'_>, network: &Network, inside: &[u16], outside: u16) {
    let mut realms = inside.to_vec();
    realms.push(outside);
    realms.sort_unstable();
    realms.dedup();
    let in_realm = |realm| network.addresses_in(realm).map(move |(_, address)| (realm, address));
    let is_routed = |(_, address): &(u16, _)| matches!(address, &&IpNet::V6(_)) && !is_link_local(address);
    let addresses: Vec<_> = realms
        .into_iter()
        .flat_map(in_realm)
        .filter(|(realm, address)| is_routed(&(*realm, &address.value)))
        .collect();
    for (later, earlier) in overlaps(&addresses) {
        let message = format!(
            "{} overlaps {}, of another realm of [ipv6], and IPv6 is not translated",
            later.value, earlier.value
        );
        let hint = "write disjoint IPv6 prefixes, or leave one of the realms out of ipv6.inside";
        report.refuse(later.place, message, hint);
    }
}
