//! Which routes the kernel is to have, and what must change for it to have them.
//!
//! Guarantees: sans-IO; the same wishes give the same routes; every route of the kernel's is of a realm's table or of the
//! main one, and under our own protocol number, so that nobody else's is touched. In the table of a realm something always
//! matches: what the realm doesn't reach is unreachable, and never leaves by another realm.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteProtocol,
    RouteScope, RouteType, RouteVia,
};

use super::MirrorInterface;

/// By which our routes and rules are told from others' (`ip route show proto 206`): a number that nobody has registered.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(206);

/// The kernel's main table.
pub(super) const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// The table of realm 0; the others' follow.
const FIRST_TABLE: u32 = 1_000;

/// The metric of our routes.
const METRIC: u32 = 20;

/// The metric of the route by which a table ends: behind every other.
const LAST_METRIC: u32 = u32::MAX - 1;

/// A route that a realm has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    pub realm: u16,
    pub prefix: IpNet,
    pub target: RouteTarget,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// By these interfaces, to the gateway or, without one, to the destination itself; several share the flows. Those by
    /// an interface that the kernel hasn't are left out; with none left it is [`RouteTarget::Unreachable`].
    NextHops(Vec<(u16, Option<IpAddr>)>),
    Blackhole,
    Unreachable,
    Prohibit,
}

/// What tells one route of the kernel's from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) table: u32,
    pub(super) prefix: IpNet,
    pub(super) metric: u32,
}

/// Routes as the kernel has them. A hop's interface is the edge's index.
pub(super) type Routes = BTreeMap<Key, RouteTarget>;

/// A step from the routes that are to those that shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Add, or replace what has the key.
    Put(Key, RouteTarget),
    Delete(Key),
}

/// The routing table of a realm.
pub(super) fn table(realm: u16) -> u32 {
    FIRST_TABLE + u32::from(realm)
}

/// The kernel's routes when the realms have the `routes`.
pub(super) fn wanted(interfaces: &[MirrorInterface], routes: &[KernelRoute]) -> Routes {
    let outside = interfaces.iter().find(|interface| interface.outside).map(|interface| interface.realm);
    let realms: BTreeSet<u16> = interfaces.iter().map(|interface| interface.realm).collect();
    let mut wanted = Routes::new();
    let mut put = |realm: u16, prefix: IpNet, target: &RouteTarget| {
        let main = (outside == Some(realm)).then_some(MAIN);
        for table in main.into_iter().chain([table(realm)]) {
            wanted.insert(Key { table, prefix: prefix.trunc(), metric: METRIC }, target.clone());
        }
    };
    for route in routes.iter().filter(|route| realms.contains(&route.realm)) {
        put(route.realm, route.prefix, &here(interfaces, &route.target));
    }
    // The links' own prefixes come last, the first interface's at the very end: they win.
    for interface in interfaces.iter().rev() {
        for prefix in
            interface.addresses.iter().filter(|prefix| prefix.prefix_len() < prefix.max_prefix_len())
        {
            put(interface.realm, *prefix, &RouteTarget::NextHops(vec![(interface.index, None)]));
        }
    }
    for realm in realms {
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            let prefix = IpNet::new_assert(any, 0);
            let key = Key { table: table(realm), prefix, metric: LAST_METRIC };
            wanted.insert(key, RouteTarget::Unreachable);
        }
    }
    wanted
}

/// The target without the hops that the kernel cannot take.
fn here(interfaces: &[MirrorInterface], target: &RouteTarget) -> RouteTarget {
    let RouteTarget::NextHops(hops) = target else {
        return target.clone();
    };
    let has = |index: u16| interfaces.iter().any(|interface| interface.index == index);
    let hops: Vec<_> = hops.iter().copied().filter(|&(interface, _)| has(interface)).collect();
    if hops.is_empty() { RouteTarget::Unreachable } else { RouteTarget::NextHops(hops) }
}

/// What must change, in an order that the kernel accepts: links' prefixes before the routes by a gateway in them, and
/// what goes away at the end, so that a destination is never without any route that it keeps.
pub(super) fn changes(now: &Routes, wanted: &Routes) -> Vec<Change> {
    let by_gateway = |target: &RouteTarget| match target {
        RouteTarget::NextHops(hops) => hops.iter().any(|(_, gateway)| gateway.is_some()),
        _ => false,
    };
    let mut puts: Vec<_> = wanted.iter().filter(|(key, target)| now.get(key) != Some(target)).collect();
    puts.sort_by_key(|(_, target)| by_gateway(target));
    let puts = puts.into_iter().map(|(key, target)| Change::Put(*key, target.clone()));
    let deletes = now.keys().filter(|key| !wanted.contains_key(key)).map(|key| Change::Delete(*key));
    puts.chain(deletes).collect()
}

/// The message that adds or replaces a route; `kernel_index` tells the kernel's number of an interface of ours.
pub(super) fn put_message(
    key: &Key,
    target: &RouteTarget,
    kernel_index: impl Fn(u16) -> u32,
) -> RouteMessage {
    let mut message = message(key);
    message.header.kind = match target {
        RouteTarget::NextHops(_) => RouteType::Unicast,
        RouteTarget::Blackhole => RouteType::BlackHole,
        RouteTarget::Unreachable => RouteType::Unreachable,
        RouteTarget::Prohibit => RouteType::Prohibit,
    };
    let RouteTarget::NextHops(hops) = target else {
        return message;
    };
    let is_v4 = key.prefix.addr().is_ipv4();
    if is_v4 && hops.iter().all(|(_, gateway)| gateway.is_none()) {
        message.header.scope = RouteScope::Link;
    }
    // IPv4: on the link even where another table's prefixes say otherwise. IPv6 asks the route's own table first.
    let flags = |gateway: &Option<IpAddr>| {
        if is_v4 && gateway.is_some() { RouteNextHopFlags::Onlink } else { RouteNextHopFlags::empty() }
    };
    let gateway_attribute = |gateway: IpAddr| match gateway {
        IpAddr::V6(gateway) if is_v4 => RouteAttribute::Via(RouteVia::Inet6(gateway)), // RFC 8950
        gateway => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    };
    if let [(interface, gateway)] = &hops[..] {
        message.attributes.push(RouteAttribute::Oif(kernel_index(*interface)));
        message.attributes.extend(gateway.map(gateway_attribute));
        if !flags(gateway).is_empty() {
            message.header.flags = netlink_packet_route::route::RouteFlags::Onlink;
        }
    } else {
        let hops = hops.iter().map(|(interface, gateway)| {
            let mut hop = RouteNextHop::default();
            hop.flags = flags(gateway);
            hop.interface_index = kernel_index(*interface);
            hop.attributes = gateway.map(gateway_attribute).into_iter().collect();
            hop
        });
        message.attributes.push(RouteAttribute::MultiPath(hops.collect()));
    }
    message
}

/// The message that deletes a route, whatever its target.
pub(super) fn delete_message(key: &Key) -> RouteMessage {
    let mut message = message(key);
    message.header.scope = RouteScope::NoWhere;
    message
}

fn message(key: &Key) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(key.prefix.addr());
    message.header.destination_prefix_length = key.prefix.prefix_len();
    message.header.protocol = PROTOCOL;
    message.header.table = u8::try_from(key.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes = vec![
        RouteAttribute::Table(key.table),
        RouteAttribute::Destination(RouteAddress::from(key.prefix.addr())),
        RouteAttribute::Priority(key.metric),
    ];
    message
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MacAddr;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    fn interface(index: u16, realm: u16, outside: bool, addresses: &[&str]) -> MirrorInterface {
        MirrorInterface {
            index,
            name: format!("i{index}"),
            mac: MacAddr([2, 0, 0, 0, 0, index as u8]),
            mtu: 1_500,
            addresses: addresses.iter().map(|text| net(text)).collect(),
            realm,
            outside,
        }
    }

    fn via(interface: u16, gateway: &str) -> RouteTarget {
        RouteTarget::NextHops(vec![(interface, Some(gateway.parse().expect("an address")))])
    }

    fn at(table: u32, prefix: &str, metric: u32) -> Key {
        Key { table, prefix: net(prefix), metric }
    }

    #[test]
    fn each_realm_has_a_table_and_the_outside_is_in_main_too() {
        let interfaces = [
            interface(3, 0, false, &["10.0.0.1/24"]),
            interface(5, 7, true, &["10.0.0.9/24", "fe80::1/128"]),
        ];
        let default = |realm, target| KernelRoute { realm, prefix: net("0.0.0.0/0"), target };
        let routes = [
            default(0, via(3, "10.0.0.254")),
            default(7, via(5, "10.0.0.253")),
            default(9, RouteTarget::Blackhole), // a realm that the kernel hasn't
            KernelRoute { realm: 7, prefix: net("10.9.9.9/16"), target: via(4, "10.8.0.1") },
            KernelRoute { realm: 0, prefix: net("10.0.0.0/24"), target: RouteTarget::Prohibit },
        ];
        let direct = |interface| RouteTarget::NextHops(vec![(interface, None)]);
        let expected: Routes = [
            (at(254, "0.0.0.0/0", METRIC), via(5, "10.0.0.253")),
            (at(254, "10.0.0.0/24", METRIC), direct(5)),
            (at(254, "10.9.0.0/16", METRIC), RouteTarget::Unreachable),
            (at(1000, "0.0.0.0/0", METRIC), via(3, "10.0.0.254")),
            (at(1000, "10.0.0.0/24", METRIC), direct(3)),
            (at(1000, "0.0.0.0/0", LAST_METRIC), RouteTarget::Unreachable),
            (at(1000, "::/0", LAST_METRIC), RouteTarget::Unreachable),
            (at(1007, "0.0.0.0/0", METRIC), via(5, "10.0.0.253")),
            (at(1007, "10.0.0.0/24", METRIC), direct(5)),
            (at(1007, "10.9.0.0/16", METRIC), RouteTarget::Unreachable),
            (at(1007, "0.0.0.0/0", LAST_METRIC), RouteTarget::Unreachable),
            (at(1007, "::/0", LAST_METRIC), RouteTarget::Unreachable),
        ]
        .into();
        assert_eq!(wanted(&interfaces, &routes), expected);
    }

    #[test]
    fn links_come_before_the_gateways_in_them_and_deletions_last() {
        let now: Routes = [(at(1000, "10.1.0.0/16", 20), RouteTarget::Blackhole)].into();
        let wanted: Routes = [
            (at(1000, "0.0.0.0/0", 20), via(1, "10.0.0.1")),
            (at(1000, "10.0.0.0/24", 20), RouteTarget::NextHops(vec![(1, None)])),
        ]
        .into();
        let changes = changes(&now, &wanted);
        let prefixes: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Put(key, _) => format!("+{}", key.prefix),
                Change::Delete(key) => format!("-{}", key.prefix),
            })
            .collect();
        assert_eq!(prefixes, ["+10.0.0.0/24", "+0.0.0.0/0", "-10.1.0.0/16"]);
    }

    fn any_routes() -> impl Strategy<Value = Routes> {
        let target = prop_oneof![
            Just(RouteTarget::Blackhole),
            Just(RouteTarget::Unreachable),
            (0..3u16).prop_map(|interface| RouteTarget::NextHops(vec![(interface, None)])),
            (0..3u16).prop_map(|interface| via(interface, "10.0.0.1")),
        ];
        let key = (1000..1003u32, 0..4u8).prop_map(|(table, n)| at(table, &format!("10.{n}.0.0/16"), METRIC));
        prop::collection::btree_map(key, target, 0..12)
    }

    proptest! {
        #[test]
        fn the_changes_lead_to_what_is_wanted_and_touch_nothing_else(now in any_routes(), wanted in any_routes()) {
            let steps = changes(&now, &wanted);
            let mut routes = now.clone();
            for step in &steps {
                match step {
                    Change::Put(key, target) => {
                        prop_assert_ne!(now.get(key), Some(target));
                        routes.insert(*key, target.clone());
                    }
                    Change::Delete(key) => prop_assert!(routes.remove(key).is_some()),
                }
            }
            prop_assert_eq!(routes, wanted);
        }
    }
}
