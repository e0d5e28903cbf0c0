//! The keys of `[cetp]` about tunnels: `port`, `sessions`, `edges` and `ethernet`.
//!
//! Guarantees: where there are tunnels the edge has a name, hosts, and RLOCs of its own that others can reach. A file that says no
//! more of `[cetp]` than who the edge is has tunnels where it can. Never: asks whether another edge is there.

use std::net::IpAddr;

use super::dns::{Dns, EdgeIdentity};
use super::error::{Place, Report};
use super::model::Side;
use super::network::{INTERFACES_MAX, Network};
use super::section::{Section, or};
use super::values;

/// Tunnels to other edges, and between hosts behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// `cetp.port`: UDP port of tunnels and messages, 1,024 to 65,535. Default 48,001.
    pub port: u16,
    /// `cetp.sessions`: pairs of hosts at a time, 1 to 4,194,304. Default 65,536.
    pub sessions: u32,
    /// `cetp.edges`: other edges at a time, 1 to 65,536. Default 1,024.
    pub edges: u32,
    /// `cetp.ethernet`: indices in [`Config::interfaces`](super::Config::interfaces) of those on which edges meet over Ethernet, each
    /// once. Default none.
    pub ethernet: Vec<u16>,
    /// Those of `dns.edge.rlocs`, in their order.
    pub rlocs: Vec<OwnRloc>,
}

/// An address of this edge at which tunnels end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRloc {
    pub address: IpAddr,
    /// Index in [`Config::interfaces`](super::Config::interfaces) of the interface that has it.
    pub interface: u16,
}

impl Tunnels {
    /// Least MTU of an interface with an RLOC, in bytes: what messages between edges need (PROTOCOL.md, "Carriers").
    pub const MTU_MIN: u16 = 1280;
}

/// The keys that only tunnels have.
const KEYS: [&str; 4] = ["port", "sessions", "edges", "ethernet"];
/// Ports that hosts ask the edge at for mappings (RFC 6886, RFC 6887).
const MAPPING_PORTS: [u16; 2] = [5350, 5351];

/// What tunnels are compared with.
pub(super) struct Others<'a> {
    pub network: &'a Network,
    /// Whether the file has `[dns]`, and what of it is right.
    pub dns: (bool, Option<&'a Dns>),
    pub has_hosts: bool,
}

/// Tunnels, if there are any and what is said of them is right.
pub(super) fn read(report: &Report<'_>, section: &mut Section<'_>, others: &Others<'_>) -> Option<Tunnels> {
    let place = section.place();
    let is_asked = KEYS.iter().any(|key| section.contains(key));
    let is_meant = is_asked || !section.contains("identity");
    let port = section.integer("port", 1024..=u16::MAX);
    let sessions = or(section.integer("sessions", 1..=1 << 22), 65_536);
    let edges = or(section.integer("edges", 1..=1 << 16), 1024);
    let ethernet = read_ethernet(report, section, others.network);
    if !section.is_written() {
        return None;
    }
    if let Some(port) = port.filter(|port| MAPPING_PORTS.contains(&port.value)) {
        let message = format!("at {} hosts ask for mappings", port.value);
        report.refuse(port.place, message, "write another port, such as 48001");
    }
    let refuse = |message: &str, hint: &str| {
        if is_meant {
            report.refuse(place, message, hint);
        }
    };
    let (has_dns, dns) = others.dns;
    let edge = dns.and_then(|dns| dns.edge.as_ref());
    // What is wrong with [dns] has been said.
    if edge.is_none() && (!has_dns || dns.is_some()) {
        refuse("there is no [dns.edge]", "write [dns.edge]: its rlocs are where tunnels end");
    }
    if !others.has_hosts {
        refuse("there is no [hosts]", "write [hosts]: those whose packets tunnels carry");
    }
    let rlocs = own_rlocs(report, place, edge?, others.network, is_meant)?;
    let all = rlocs.iter().map(|own| own.interface).chain(ethernet.iter().copied());
    if let Some((name, mtu)) = all.filter_map(|at| others.network.short(at, Tunnels::MTU_MIN)).next() {
        refuse(
            &format!(
                "interface \"{name}\", of an RLOC, has an MTU of {mtu}: messages between edges need {}",
                Tunnels::MTU_MIN
            ),
            "write interface.mtu = 1280 or more, or have edges meet at another interface",
        );
        return None;
    }
    let has_proxies = |realm| others.network.proxies(realm).is_some_and(|draft| !draft.addresses.is_empty());
    if is_meant && !others.network.realms().any(has_proxies) {
        report.warn(
            place,
            "no host can call or be called: write proxy_addresses into a [[realm]] of side inside",
        );
    }
    others.has_hosts.then_some(Tunnels { port: or(port, 48_001), sessions, edges, ethernet, rlocs })
}

fn read_ethernet(report: &Report<'_>, section: &mut Section<'_>, network: &Network) -> Vec<u16> {
    let mut interfaces = Vec::new();
    for wanted in section.strings("ethernet", 1..=INTERFACES_MAX, values::reference).unwrap_or_default() {
        let Some(index) = network.interface_names.resolve(report, &wanted) else { continue };
        if interfaces.contains(&index) {
            let message = format!("interface \"{}\" stands twice", wanted.value);
            report.refuse(wanted.place, message, "remove one of the two");
        }
        interfaces.push(index);
    }
    interfaces
}

/// The RLOCs with their interfaces; `None` if one of them is nobody's.
fn own_rlocs(
    report: &Report<'_>,
    place: Place,
    edge: &EdgeIdentity,
    network: &Network,
    is_meant: bool,
) -> Option<Vec<OwnRloc>> {
    let mut rlocs = Vec::new();
    for &address in &edge.rlocs {
        let interface = interface_of(network, address);
        if interface.is_none() && is_meant {
            let message =
                format!("{address}, of dns.edge.rlocs, is no address of the edge that others reach");
            let hint =
                "write it into interface.addresses, or the address of an interface into dns.edge.rlocs";
            report.refuse(place, message, hint);
        }
        rlocs.push(interface.map(|interface| OwnRloc { address, interface }));
    }
    rlocs.into_iter().collect()
}

/// The interface that has an address: one outside, if there is one, because two realms may have the same.
fn interface_of(network: &Network, address: IpAddr) -> Option<u16> {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let of = |side: Side| {
        let realms = network.realms().filter(move |&realm| network.side(realm) == Some(side));
        let mut own = realms.flat_map(|realm| network.addresses_in(realm));
        own.find(|(_, own)| own.value.addr() == address).map(|(interface, _)| interface)
    };
    if is_link_local { None } else { of(Side::Outside).or_else(|| of(Side::Inside)) }
}
