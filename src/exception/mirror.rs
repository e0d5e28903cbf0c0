//! The edge's interfaces, addresses, neighbours and routes as the kernel has them in the namespace.
//!
//! Guarantees: [`Mirror::raise`] leaves a namespace that is ready, or says what is wrong and leaves none of its own in it;
//! a dropped mirror takes its rules and routes along. What an earlier process left, killed before it could, goes first.
//! Never waits for others: IPv6 addresses are there at once, without duplicate address detection, which the edge's own
//! interfaces answer for; and the kernel takes nothing from routers' advertisements or redirects.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use tun_rs::SyncDevice;

use super::netlink::Netlink;
use super::routes::{self, Change, KernelRoute, Key, PROTOCOL, Routes};
use super::{Error, KernelNeighbor, MirrorInterface, Options, tap};
use crate::ring::frames::FRAME_MAX;

/// The longest IP packet whose frame, with a VLAN tag, the rings take.
const MTU_MAX: u16 = FRAME_MAX as u16 - 18;

/// Where our rules stand: after the kernel's own addresses, before its main table.
const RULE_PRIORITY: u32 = 1_000;

/// What the namespace is set to, under /proc/sys/net.
const NAMESPACE: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "0"), // a host, whatever the machine is
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv6/conf/all/forwarding", "0"),
];

/// What each tap is set to, by family under /proc/sys/net.
const INTERFACE: &[(&str, &str, &str)] = &[
    ("ipv4", "rp_filter", "0"), // the edge has checked sources, per realm
    ("ipv4", "arp_filter", "0"),
    ("ipv4", "arp_ignore", "8"),   // workers answer
    ("ipv4", "arp_announce", "2"), // asks from the link's own address
    ("ipv4", "accept_redirects", "0"),
    ("ipv6", "disable_ipv6", "0"),
    ("ipv6", "addr_gen_mode", "0"), // EUI-64, as the edge's own link-local addresses
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "autoconf", "0"),
    ("ipv6", "router_solicitations", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv6", "accept_dad", "0"),
    ("ipv6", "dad_transmits", "0"),
];

/// What we have put into the namespace of the thread that raised it.
pub(super) struct Mirror {
    netlink: Netlink,
    interfaces: Vec<MirrorInterface>,
    /// The kernel's number of each interface of ours.
    kernel_index: BTreeMap<u16, u32>,
    installed: Routes,
    pending: VecDeque<Change>,
}

impl Mirror {
    /// Makes taps and all that belongs to them in the namespace of the calling thread; the taps are in the order of the
    /// interfaces.
    pub(super) fn raise(options: &Options) -> Result<(Mirror, Vec<SyncDevice>), Error> {
        let sources = check(&options.interfaces)?;
        let mut netlink = Netlink::open().map_err(Error::Netlink)?;
        let mut taps = Vec::new();
        let mut kernel_index = BTreeMap::new();
        for interface in &options.interfaces {
            let name = &interface.name;
            if netlink.index_of(name)?.is_some() {
                return Err(Error::InterfaceExists { name: name.clone(), netns: options.netns.clone() });
            }
            taps.push(tap::open(name)?);
            let index = netlink.index_of(name)?;
            kernel_index.insert(interface.index, index.ok_or_else(|| no_such_interface(name))?);
        }
        // The taps are ours, so nobody else works here: from now on this is ours to clear up.
        let interfaces = options.interfaces.clone();
        let installed = Routes::new();
        let mut mirror = Mirror { netlink, interfaces, kernel_index, installed, pending: VecDeque::new() };
        mirror.clear().map_err(refused("clearing up what an earlier process left"))?;
        mirror.prepare_namespace()?;
        for interface in &options.interfaces {
            mirror.raise_interface(interface)?;
        }
        for neighbor in &options.neighbors {
            mirror.add_neighbor(neighbor)?;
        }
        for (address, realm) in sources {
            mirror.add_rule(address, realm)?;
        }
        mirror.want(&options.routes);
        while let Some(change) = mirror.pending.pop_front() {
            mirror.apply(&change).map_err(|source| Error::Refused { what: format!("{change:?}"), source })?;
        }
        Ok((mirror, taps))
    }

    /// From now on the realms have these routes; [`Mirror::step`] sees to it.
    pub(super) fn want(&mut self, routes: &[KernelRoute]) {
        self.pending = routes::changes(&self.installed, &routes::wanted(&self.interfaces, routes)).into();
    }

    /// Makes up to `most` of the changes that are due. Those that the kernel refuses come up again when other routes are
    /// wanted; returns how many those are, and logs the first.
    pub(super) fn step(&mut self, most: usize) -> u64 {
        let mut refused = 0;
        for _ in 0..most {
            let Some(change) = self.pending.pop_front() else { break };
            if let Err(error) = self.apply(&change) {
                if refused == 0 {
                    tracing::warn!("exception path: the kernel refuses {change:?}: {error}");
                }
                refused += 1;
            }
        }
        refused
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    fn apply(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Put(key, target) => {
                let of = &self.kernel_index;
                let message = routes::put_message(key, target, |index| of.get(&index).copied().unwrap_or(0));
                self.netlink.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)?;
                self.installed.insert(*key, target.clone());
            }
            Change::Delete(key) => {
                self.delete(key)?;
                self.installed.remove(key);
            }
        }
        Ok(())
    }

    /// Deletes a route; one that is gone, with its interface, is as good as deleted.
    fn delete(&mut self, key: &Key) -> io::Result<()> {
        gone_is_fine(self.netlink.request(RouteNetlinkMessage::DelRoute(routes::delete_message(key)), 0))
    }

    /// Takes away every rule and route that bears our protocol number.
    fn clear(&mut self) -> io::Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            for found in self.netlink.dump(RouteNetlinkMessage::GetRule(rules))? {
                if let RouteNetlinkMessage::NewRule(mut rule) = found
                    && rule.attributes.contains(&RuleAttribute::Protocol(PROTOCOL))
                {
                    rule.attributes.retain(|attribute| {
                        use RuleAttribute::{Priority, Protocol, Source, Table};
                        matches!(attribute, Source(_) | Table(_) | Priority(_) | Protocol(_))
                    });
                    gone_is_fine(self.netlink.request(RouteNetlinkMessage::DelRule(rule), 0))?;
                }
            }
            let mut routes = RouteMessage::default();
            routes.header.address_family = family;
            for found in self.netlink.dump(RouteNetlinkMessage::GetRoute(routes))? {
                if let RouteNetlinkMessage::NewRoute(route) = found
                    && route.header.protocol == PROTOCOL
                    && let Some(key) = key_of(&route)
                {
                    self.delete(&key)?;
                }
            }
        }
        Ok(())
    }

    fn prepare_namespace(&mut self) -> Result<(), Error> {
        for (path, value) in NAMESPACE {
            set(path, value)?;
        }
        // An own address is reached by the loopback interface, which is down in a new namespace.
        if let Some(index) = self.netlink.index_of("lo")? {
            self.netlink.set_link(index, Vec::new(), true).map_err(refused("lo up"))?;
        }
        Ok(())
    }

    fn raise_interface(&mut self, interface: &MirrorInterface) -> Result<(), Error> {
        let name = &interface.name;
        for (family, setting, value) in INTERFACE {
            set(&format!("{family}/conf/{name}/{setting}"), value)?;
        }
        let index = self.kernel_index[&interface.index];
        // The MAC address comes before the link is up: the link-local address is made of it.
        let attributes = vec![
            LinkAttribute::Address(interface.mac.0.to_vec()),
            LinkAttribute::Mtu(u32::from(interface.mtu)),
        ];
        self.netlink.set_link(index, attributes, false).map_err(refused(format!(
            "{name} with MAC address {} and MTU {}",
            interface.mac, interface.mtu
        )))?;
        self.netlink.set_link(index, Vec::new(), true).map_err(refused(format!("{name} up")))?;
        for address in &interface.addresses {
            let mut message = AddressMessage::default();
            message.header.family = routes::family(address.addr());
            message.header.prefix_len = address.prefix_len();
            message.header.index = index;
            message.attributes = vec![
                AddressAttribute::Local(address.addr()),
                AddressAttribute::Address(address.addr()),
                // The link's prefix goes into the realm's table, not where the kernel would put it.
                AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute),
            ];
            self.netlink
                .request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
                .map_err(refused(format!("the address {address} of {name}")))?;
        }
        Ok(())
    }

    fn add_neighbor(&mut self, neighbor: &KernelNeighbor) -> Result<(), Error> {
        // One of an interface that the kernel hasn't is none of its neighbours.
        let Some(&index) = self.kernel_index.get(&neighbor.interface) else {
            return Ok(());
        };
        let mut message = NeighbourMessage::default();
        message.header.family = routes::family(neighbor.address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(match neighbor.address {
                IpAddr::V4(address) => NeighbourAddress::Inet(address),
                IpAddr::V6(address) => NeighbourAddress::Inet6(address),
            }),
            NeighbourAttribute::LinkLayerAddress(neighbor.mac.0.to_vec()),
        ];
        self.netlink
            .request(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(refused(format!("the neighbour {} with {}", neighbor.address, neighbor.mac)))
    }

    /// What leaves from `address` asks the table of `realm`.
    fn add_rule(&mut self, address: IpAddr, realm: u16) -> Result<(), Error> {
        let mut message = RuleMessage::default();
        message.header.family = routes::family(address);
        message.header.src_len = IpNet::from(address).max_prefix_len();
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![
            RuleAttribute::Source(address),
            RuleAttribute::Table(routes::table(realm)),
            RuleAttribute::Priority(RULE_PRIORITY),
            RuleAttribute::Protocol(PROTOCOL),
        ];
        self.netlink
            .request(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(refused(format!("the rule from {address} to table {}", routes::table(realm))))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!("exception path: rules and routes stay behind in the namespace: {error}");
        }
    }
}

impl Netlink {
    /// The kernel's number of the interface `name`, if there is one.
    fn index_of(&mut self, name: &str) -> Result<Option<u32>, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.get(RouteNetlinkMessage::GetLink(message)) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link.header.index)),
            Ok(_) => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(None),
            Err(error) => Err(Error::Netlink(error)),
        }
    }

    fn set_link(&mut self, index: u32, attributes: Vec<LinkAttribute>, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message.attributes = attributes;
        self.request(RouteNetlinkMessage::SetLink(message), 0)
    }
}

/// Refuses what the kernel could not mirror; returns of which realm each own address is. Link-local addresses are of no
/// realm: the interface tells.
fn check(interfaces: &[MirrorInterface]) -> Result<BTreeMap<IpAddr, u16>, Error> {
    let mut sources = BTreeMap::new();
    for (position, interface) in interfaces.iter().enumerate() {
        let MirrorInterface { index, name, mtu, .. } = interface;
        if !tap::is_name(name) {
            return Err(Error::InterfaceName(name.clone()));
        }
        if interfaces[..position].iter().any(|other| other.index == *index || other.name == *name) {
            return Err(Error::InterfaceTwice(name.clone()));
        }
        if *mtu > MTU_MAX {
            return Err(Error::Mtu { name: name.clone(), mtu: *mtu, most: MTU_MAX });
        }
        for address in interface.addresses.iter().map(IpNet::addr) {
            let link_local = match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            if !link_local {
                sources.insert(address, interface.realm);
            }
        }
    }
    Ok(sources)
}

/// Writes a setting of the namespace, unless it has the value: some reset others when they are written. Those of a
/// kernel without IPv6 are not there, and not needed.
fn set(setting: &str, value: &'static str) -> Result<(), Error> {
    if setting.starts_with("ipv6/") && !Path::new("/proc/sys/net/ipv6").exists() {
        return Ok(());
    }
    let path = format!("/proc/sys/net/{setting}");
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| Error::Sysctl { path, value, source })
}

fn key_of(route: &RouteMessage) -> Option<Key> {
    let mut table = u32::from(route.header.table);
    let mut metric = 0;
    let mut address = match route.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => address = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => address = (*v6).into(),
            _ => {}
        }
    }
    let prefix = IpNet::new(address, route.header.destination_prefix_length).ok()?;
    Some(Key { table, prefix, metric })
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if [Errno::ESRCH, Errno::ENOENT].iter().any(|&e| error.raw_os_error() == Some(e as i32)) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn refused(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Refused { what, source }
}

fn no_such_interface(name: &str) -> Error {
    Error::Tap { name: name.to_owned(), source: io::ErrorKind::NotFound.into() }
}
