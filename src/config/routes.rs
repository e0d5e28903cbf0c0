//! The sections about ways out: `[[route]]` and `[[neighbor]]`.
//!
//! Guarantees: every gateway is on an interface of its route's realm; prefixes are unique in a realm, neighbours on an
//! interface. Never: derive the connected routes; those are the interfaces'.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::error::{Place, Report};
use super::model::{Flow, Neighbor, NextHop, Route, RouteTarget};
use super::network::Network;
use super::section::{Located, Section};
use super::values;

/// Reads every route; those that are refused are left out.
pub(super) fn routes<'a>(report: &Report<'a>, document: &mut Section<'a>, network: &Network) -> Vec<Route> {
    let mut seen: HashSet<(u16, IpNet)> = HashSet::new();
    let sections = document.tables("route", Route::MAX).unwrap_or_default();
    let routes = sections.into_iter().filter_map(|section| {
        let (route, place) = read_route(report, section, network)?;
        let is_connected = |(_, address): (u16, &Located<IpNet>)| address.value.trunc() == route.prefix;
        if network.addresses_in(route.realm).any(is_connected) {
            let message = format!("{} is the prefix of an interface", route.prefix);
            report.refuse(place, message, "remove the route: connected routes are made by themselves");
        } else if !seen.insert((route.realm, route.prefix)) {
            let message = format!("there is a route to {} in this realm already", route.prefix);
            report.refuse(place, message, "remove one of the two");
        }
        Some(route)
    });
    routes.collect()
}

/// A route, and where its prefix is written.
fn read_route(report: &Report<'_>, mut section: Section<'_>, network: &Network) -> Option<(Route, Place)> {
    let place = section.place();
    let realm = section.require("realm", values::reference, "write realm = \"…\", the name of a [[realm]]");
    let prefix =
        section.require("prefix", values::prefix, "write prefix = \"0.0.0.0/0\" for a default route");
    let has_target =
        ["via", "interface", "blackhole", "unreachable", "prohibit"].map(|key| section.contains(key));
    let via = section.string_or_strings("via", 1..=RouteTarget::NEXT_HOPS_MAX, values::address);
    let interface = section.parse("interface", values::reference);
    let drops = [
        ("blackhole", RouteTarget::Blackhole),
        ("unreachable", RouteTarget::Unreachable),
        ("prohibit", RouteTarget::Prohibit),
    ]
    .map(|(key, target)| {
        let place = section.boolean(key).filter(|drops| drops.value)?.place;
        Some((key, target, place))
    });
    section.finish();

    let realm = realm.and_then(|realm| network.realm_names.resolve(report, &realm)).map(|index| index + 1);
    let interface = match interface {
        None => None,
        Some(interface) => Some((network.interface_names.resolve(report, &interface)?, interface.place)),
    };
    if let (Some((index, place)), Some(realm)) = (interface, realm) {
        let its_realm = network.interfaces.get(usize::from(index))?.realm?;
        if its_realm != realm {
            report.refuse(
                place,
                "the interface is in another realm",
                "write an interface of the route's realm",
            );
            return None;
        }
    }
    let prefix = prefix?;
    let mut drops = drops.into_iter().flatten();
    let drop = drops.next();
    if let (Some((first, ..)), Some((second, _, place))) = (&drop, drops.next()) {
        report.refuse(place, format!("the route has {first} too"), format!("remove {first}, or {second}"));
        return None;
    }
    let target = match (via, interface, drop) {
        (None, None, None) if has_target.contains(&true) => return None,
        (None, None, None) => {
            let hint = "write via = \"…\", interface = \"…\", blackhole = true, unreachable = true or prohibit = true";
            report.refuse(place, "leads nowhere", hint);
            return None;
        }
        (None, None, Some((_, target, _))) => target,
        (_, _, Some((key, _, place))) => {
            report.refuse(place, "the route has a via or an interface too", format!("remove it, or {key}"));
            return None;
        }
        (None, Some((interface, _)), None) => {
            RouteTarget::NextHops(vec![NextHop { interface, gateway: None }])
        }
        (Some(via), interface, None) => {
            gateways(report, network, realm?, &prefix, &via, interface.map(|(index, _)| index))?
        }
    };
    Some((Route { realm: realm?, prefix: prefix.value, target }, prefix.place))
}

/// The gateways `via`, all of them on `interface`, or each where it is connected.
fn gateways(
    report: &Report<'_>,
    network: &Network,
    realm: u16,
    prefix: &Located<IpNet>,
    via: &[Located<IpAddr>],
    interface: Option<u16>,
) -> Option<RouteTarget> {
    let mut seen = HashSet::new();
    let next_hop = |via: &Located<IpAddr>| {
        if !seen.insert(via.value) {
            let message = format!("{} is listed twice", via.value);
            report.refuse(via.place, message, "remove one of the two: next hops are of equal cost");
            return None;
        }
        gateway(report, network, realm, prefix, via, interface)
    };
    let next_hops: Vec<Option<NextHop>> = via.iter().map(next_hop).collect();
    // Refused ones have been said; a list whose every entry was refused is empty here.
    let next_hops: Vec<NextHop> = next_hops.into_iter().collect::<Option<_>>()?;
    (!next_hops.is_empty()).then_some(RouteTarget::NextHops(next_hops))
}

/// The gateway `via`, on `interface` or where it is connected.
fn gateway(
    report: &Report<'_>,
    network: &Network,
    realm: u16,
    prefix: &Located<IpNet>,
    via: &Located<IpAddr>,
    interface: Option<u16>,
) -> Option<NextHop> {
    let address = via.value;
    if address.is_ipv4() != matches!(prefix.value, IpNet::V4(_)) {
        let message = format!("{address} is not of the address family of {}", prefix.value);
        report.refuse(via.place, message, "write a gateway of the prefix's family");
        return None;
    }
    if network.addresses_in(realm).any(|(_, own)| own.value.addr() == address) {
        report.refuse(
            via.place,
            format!("{address} is the edge's own address"),
            "write the next router's address",
        );
        return None;
    }
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let connected = network.addresses_in(realm).find(|(_, own)| own.value.contains(&address));
    if let Some((name, own)) =
        connected.and_then(|(_, own)| Some((values::reserved_in(&own.value, address)?, own)))
    {
        let message = format!("{address} is the {name} address of {}", own.value.trunc());
        report.refuse(via.place, message, "write the next router's address");
        return None;
    }
    let interface = match (interface, connected) {
        (Some(given), _) => given,
        (None, Some((connected, _))) if !is_link_local => connected,
        _ => {
            let hint = "write an address within an interface's prefix, or interface = \"…\" beside it";
            report.refuse(via.place, format!("no interface of this realm has {address} in its prefix"), hint);
            return None;
        }
    };
    Some(NextHop { interface, gateway: Some(address) })
}

/// Reads every static neighbour; those that are refused are left out.
pub(super) fn neighbors<'a>(
    report: &Report<'a>,
    document: &mut Section<'a>,
    network: &Network,
    routes: &[Route],
    flow: &Flow,
) -> Vec<Located<Neighbor>> {
    let mut seen = HashSet::new();
    let gateways: HashSet<(u16, IpAddr)> = routes.iter().flat_map(Route::gateways).collect();
    let sections = document.tables("neighbor", usize::from(flow.neighbors)).unwrap_or_default();
    let neighbors = sections.into_iter().filter_map(|mut section| {
        let hint = "write interface = \"…\", the name of an [[interface]]";
        let interface = section.require("interface", values::reference, hint);
        let address = section.require("address", values::address, "write address = \"…\"");
        let mac = section.require("mac", values::mac, "write mac = \"02:00:00:00:00:01\"");
        section.finish();
        let interface = network.interface_names.resolve(report, &interface?)?;
        let (address, mac) = (address?, mac?.value);
        check_neighbor(report, network, &gateways, interface, &address);
        if !seen.insert((interface, address.value)) {
            let message = format!("{} is a neighbour of this interface already", address.value);
            report.refuse(address.place, message, "remove one of the two");
        }
        let neighbor = Neighbor { interface, address: address.value, mac };
        Some(Located { value: neighbor, place: address.place })
    });
    neighbors.collect()
}

fn check_neighbor(
    report: &Report<'_>,
    network: &Network,
    gateways: &HashSet<(u16, IpAddr)>,
    interface: u16,
    address: &Located<IpAddr>,
) {
    let addresses = network.interfaces.get(usize::from(interface)).map_or(&[][..], |draft| &draft.addresses);
    if addresses.iter().any(|own| own.value.addr() == address.value) {
        report.refuse(
            address.place,
            format!("{} is the edge's own address", address.value),
            "write a neighbour's",
        );
        return;
    }
    let connected = addresses.iter().find(|own| own.value.contains(&address.value));
    let reserved = connected.and_then(|own| Some((values::reserved_in(&own.value, address.value)?, own)));
    if let Some((name, own)) = reserved {
        let message = format!("{} is the {name} address of {}", address.value, own.value.trunc());
        report.refuse(address.place, message, "write a neighbour's address");
        return;
    }
    let is_link_local = matches!(address.value, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let is_gateway = gateways.contains(&(interface, address.value));
    if connected.is_none() && !is_link_local && !is_gateway {
        let message =
            format!("{} is neither in a prefix of this interface nor a gateway on it", address.value);
        report.refuse(
            address.place,
            message,
            "write another address or interface, or a [[route]] via it there",
        );
    }
}
