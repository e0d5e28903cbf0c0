//! The key about addresses that no packet comes from: `realm.bogons`.
//!
//! Guarantees: no bogon cuts the edge off: none has an address of the edge or a gateway of its realm in it.
//! Never: looks at destinations.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::Report;
use super::model::Route;
use super::network::Network;
use super::section::{Located, Section};
use super::values;

const BOGONS_MAX: usize = 4096;

const fn v4(a: u8, b: u8, c: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), length))
}

const fn v6(bits: u128, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length))
}

/// The special-purpose ranges that are never a source on the Internet (RFC 6890 section 2.2, and fec0::/10 of RFC 3879).
/// Link-local IPv6 is not among them: neighbour discovery needs it, and no router forwards it.
const RFC6890: [IpNet; 21] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(127, 0, 0, 8),
    v4(169, 254, 0, 16),
    v4(172, 16, 0, 12),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 168, 0, 16),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(240, 0, 0, 4),
    v6(0, 128),
    v6(1, 128),
    v6(0xffff << 32, 96),
    v6(0x100 << 112, 64),
    v6(0x2001_0002 << 96, 48),
    v6(0x2001_0db8 << 96, 32),
    v6(0xfc00 << 112, 7),
    v6(0xfec0 << 112, 10),
];

/// Addresses that nobody outside reaches: RFC 1918, RFC 6598, RFC 3927, RFC 1122's loopback and this host, RFC 4193, RFC 4291's
/// loopback, unspecified and link-local ones, RFC 3879.
pub const PRIVATE: [IpNet; 11] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(127, 0, 0, 8),
    v4(169, 254, 0, 16),
    v4(172, 16, 0, 12),
    v4(192, 168, 0, 16),
    v6(0, 127),
    v6(0xfc00 << 112, 7),
    v6(0xfe80 << 112, 10),
    v6(0xfec0 << 112, 10),
];

/// `"rfc6890"` or a list of prefixes; those of `"rfc6890"` are all in its place.
pub(super) fn read(report: &Report<'_>, section: &mut Section<'_>) -> Vec<Located<IpNet>> {
    if section.contains("bogons") && !section.is_list("bogons") {
        let other = ", or a list of prefixes: [\"192.168.0.0/16\", \"fc00::/7\"]";
        let Some(named) = section.choice_or("bogons", &[("rfc6890", RFC6890)], other) else { return vec![] };
        return named.value.map(|value| Located { value, place: named.place }).into();
    }
    let bogons = section.strings("bogons", 0..=BOGONS_MAX, values::bogon).unwrap_or_default();
    let mut seen = HashSet::new();
    for twice in bogons.iter().filter(|bogon| !seen.insert(bogon.value)) {
        report.refuse(twice.place, format!("{} stands twice", twice.value), "remove one of the two");
    }
    bogons
}

/// Refuses bogons that would cut the edge off from its own networks, and warns of those that cut off a part of one.
pub(super) fn check(report: &Report<'_>, network: &Network, routes: &[Route]) {
    for realm in network.realms().filter(|&realm| !network.bogons(realm).is_empty()) {
        let mut needed: Vec<(IpAddr, &str)> = Vec::new();
        // An address stands for its connected prefix too: a bogon that covers the prefix has it.
        needed
            .extend(network.addresses_in(realm).map(|(_, own)| (own.value.addr(), "an address of the edge")));
        let its_routes = routes.iter().filter(|route| route.realm == realm);
        needed.extend(its_routes.flat_map(Route::gateways).map(|(_, address)| (address, "a gateway")));
        needed.sort_unstable_by_key(|(address, _)| *address);
        let mut refused = None;
        for bogon in network.bogons(realm) {
            // One refusal is enough for a whole list that is written as one word.
            if refused == Some(bogon.place.offset) {
                continue;
            }
            let above = needed.partition_point(|(address, _)| *address < bogon.value.network());
            if let Some((address, what)) =
                needed.get(above).filter(|(address, _)| bogon.value.contains(address))
            {
                let message = format!("{} has {address} in it, {what} in this realm", bogon.value);
                let hint = format!("write a list of prefixes without {}", bogon.value);
                report.refuse(bogon.place, message, hint);
                refused = Some(bogon.place.offset);
                continue;
            }
            let connected = network.addresses_in(realm).find(|(_, own)| own.value.contains(&bogon.value));
            if let Some((_, own)) = connected {
                report.warn(
                    bogon.place,
                    format_args!(
                        "{} is in {}: what those neighbours send is dropped",
                        bogon.value,
                        own.value.trunc()
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_are_those_that_are_documented() {
        let written = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 \
                       192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 ::/128 \
                       ::1/128 ::ffff:0:0/96 100::/64 2001:2::/48 2001:db8::/32 fc00::/7 fec0::/10";
        let expected: Vec<IpNet> =
            written.split_whitespace().map(|prefix| prefix.parse().expect("a prefix")).collect();
        assert_eq!(RFC6890.to_vec(), expected);
        assert!(RFC6890.iter().all(|prefix| *prefix == prefix.trunc()), "no host bits");
    }
}
