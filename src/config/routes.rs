//! The sections about ways out: `[[route]]` and `[[neighbor]]`.
//!
//! Guarantees: every gateway is on an interface of its route's realm; prefixes are unique in a realm, neighbours on an
//! interface. Never: derive the connected routes; those are the interfaces'.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::error::{Place, Report};
use super::model::{Flow, Neighbor, Route, RouteTarget};
use super::network::Network;
use super::section::{Located, Section};
use super::values;

/// More than the Internet's table has (about a million IPv4 prefixes).
const ROUTES_MAX: usize = 2_000_000;

/// Reads every route; those that are refused are left out.
pub(super) fn routes<'a>(report: &Report<'a>, document: &mut Section<'a>, network: &Network) -> Vec<Route> {
    let mut seen: HashSet<(u16, IpNet)> = HashSet::new();
    let sections = document.tables("route", ROUTES_MAX).unwrap_or_default();
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
    let has_target = ["via", "interface", "blackhole"].map(|key| section.contains(key)).contains(&true);
    let via = section.parse("via", values::address);
    let interface = section.parse("interface", values::reference);
    let blackhole = section.boolean("blackhole").filter(|blackhole| blackhole.value);
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
    let target = match (via, interface, blackhole) {
        (None, None, None) if has_target => return None,
        (None, None, None) => {
            report.refuse(place, "leads nowhere", "write via = \"…\", interface = \"…\" or blackhole = true");
            return None;
        }
        (None, None, Some(_)) => RouteTarget::Blackhole,
        (_, _, Some(blackhole)) => {
            report.refuse(
                blackhole.place,
                "the route has a via or an interface too",
                "remove it, or blackhole",
            );
            return None;
        }
        (None, Some((interface, _)), None) => RouteTarget::OnLink { interface },
        (Some(via), interface, None) => {
            gateway(report, network, realm?, &prefix, &via, interface.map(|(index, _)| index))?
        }
    };
    Some((Route { realm: realm?, prefix: prefix.value, target }, prefix.place))
}

/// The gateway `via`, on `interface` or where it is connected.
fn gateway(
    report: &Report<'_>,
    network: &Network,
    realm: u16,
    prefix: &Located<IpNet>,
    via: &Located<IpAddr>,
    interface: Option<u16>,
) -> Option<RouteTarget> {
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
    Some(RouteTarget::Gateway { address, interface })
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
    let sections = document.tables("neighbor", usize::from(flow.neighbors)).unwrap_or_default();
    let neighbors = sections.into_iter().filter_map(|mut section| {
        let hint = "write interface = \"…\", the name of an [[interface]]";
        let interface = section.require("interface", values::reference, hint);
        let address = section.require("address", values::address, "write address = \"…\"");
        let mac = section.require("mac", values::mac, "write mac = \"02:00:00:00:00:01\"");
        section.finish();
        let interface = network.interface_names.resolve(report, &interface?)?;
        let (address, mac) = (address?, mac?.value);
        check_neighbor(report, network, routes, interface, &address);
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
    routes: &[Route],
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
    let gateway = RouteTarget::Gateway { address: address.value, interface };
    if connected.is_none() && !is_link_local && !routes.iter().any(|route| route.target == gateway) {
        let message =
            format!("{} is neither in a prefix of this interface nor a gateway on it", address.value);
        report.refuse(
            address.place,
            message,
            "write another address or interface, or a [[route]] via it there",
        );
    }
}
