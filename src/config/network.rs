//! The sections about the network's shape: `[[realm]]` and `[[interface]]`, on the ports of [`ports`](super::ports).
//!
//! Guarantees: names are unique and resolved to indices; every interface has a port, or a VLAN of one, of its own; no
//! realm has two interfaces with overlapping prefixes. Never: look at routes or translation.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::error::{Place, Report, one_of};
use super::interface::{self, InterfaceDraft};
use super::model::{Interface, Port, Realm, Side, SourceCheck};
use super::section::{Located, Section};
use super::{bogons, proxies, public, values};

pub(super) const REALMS_MAX: usize = 4095;
/// A realm each, and more than one port has of VLANs with one tag.
pub(super) const INTERFACES_MAX: usize = 4096;

/// Names of a kind of section, in file order: the index of a name is that of its section.
#[derive(Debug)]
pub(super) struct Names {
    kind: &'static str,
    list: Vec<String>,
    places: Vec<Place>,
    index: HashMap<String, usize>,
}

impl Names {
    pub fn new(kind: &'static str) -> Names {
        Names { kind, list: Vec::new(), places: Vec::new(), index: HashMap::new() }
    }

    /// Takes the name of the next section, refusing one that is taken. A section without a good name has none.
    pub fn take(&mut self, report: &Report<'_>, section: Place, name: Option<&Located<String>>) {
        let index = self.list.len();
        if let Some(name) = name {
            if self.index.contains_key(&name.value) {
                let message = format!("another {} is named \"{}\"", self.kind, name.value);
                report.refuse(name.place, message, "write another name");
            } else {
                self.index.insert(name.value.clone(), index);
            }
        }
        self.list.push(name.map(|name| name.value.clone()).unwrap_or_default());
        self.places.push(section);
    }

    /// Every section's name, empty where there is no good one, and its place.
    pub fn sections(&self) -> impl Iterator<Item = (&str, Place)> {
        self.list.iter().map(String::as_str).zip(self.places.iter().copied())
    }

    /// The index of the section that is called by `wanted`.
    pub fn resolve(&self, report: &Report<'_>, wanted: &Located<String>) -> Option<u16> {
        if let Some(&index) = self.index.get(&wanted.value) {
            return u16::try_from(index).ok();
        }
        let known: Vec<&str> = self.list.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let hint = match known.is_empty() {
            true => format!("write a [[{}]] with this name", self.kind),
            false => one_of(&format!("the {}s are", self.kind), &wanted.value, &known),
        };
        report.refuse(wanted.place, format!("no {} is named \"{}\"", self.kind, wanted.value), hint);
        None
    }
}

/// A realm as far as it could be read.
#[derive(Debug)]
struct RealmDraft {
    side: Option<Side>,
    source_check: Option<SourceCheck>,
    bogons: Vec<Located<IpNet>>,
    proxies: proxies::Draft,
    public: Vec<Located<IpNet>>,
    /// Indices of its interfaces.
    interfaces: Vec<u16>,
}

/// The network as far as it could be read: it is whole when nothing was refused.
#[derive(Debug)]
pub(super) struct Network {
    pub realm_names: Names,
    pub interface_names: Names,
    pub interfaces: Vec<InterfaceDraft>,
    realms: Vec<RealmDraft>,
}

impl Network {
    /// The name and the MTU of an interface, where that is less than `least`.
    pub fn short(&self, interface: u16, least: u16) -> Option<(&str, u16)> {
        self.interfaces.get(usize::from(interface))?.named_mtu().filter(|(_, mtu)| *mtu < least)
    }

    pub fn read<'a>(
        report: &Report<'a>,
        document: &mut Section<'a>,
        ports: &[Port],
        port_names: &Names,
    ) -> Network {
        let (realms, realm_names) = read_realms(report, document);
        let interface_names = Names::new("interface");
        let mut network = Network { realm_names, interface_names, interfaces: Vec::new(), realms };
        let mut taken = HashSet::new();
        for section in document.tables("interface", INTERFACES_MAX).unwrap_or_default() {
            let (name, draft) =
                interface::read(report, section, ports, port_names, &network.realm_names, &mut taken);
            network.interface_names.take(report, draft.place, name.as_ref());
            let realm = draft.realm.and_then(|realm| network.realms.get_mut(usize::from(realm) - 1));
            if let Some(realm) = realm {
                realm.interfaces.push(network.interfaces.len() as u16);
            }
            network.interfaces.push(draft);
        }
        network.check_addresses(report);
        network.warn_of_unused(report, port_names);
        network
    }

    /// Every realm's name and side, in the order of their ids.
    pub fn realm_sides(&self) -> impl Iterator<Item = (&str, Option<Side>)> {
        self.realm_names.sections().map(|(name, _)| name).zip(self.realms.iter().map(|realm| realm.side))
    }

    /// Every address with its interface's index, of the interfaces in `realm`.
    pub fn addresses_in(&self, realm: u16) -> impl Iterator<Item = (u16, &Located<IpNet>)> {
        let of = |&index: &u16| {
            let addresses = self.interfaces[usize::from(index)].addresses.iter();
            addresses.map(move |address| (index, address))
        };
        self.realm(realm).map_or(&[][..], |realm| &realm.interfaces).iter().flat_map(of)
    }

    fn realm(&self, id: u16) -> Option<&RealmDraft> {
        self.realms.get(usize::from(id).checked_sub(1)?)
    }

    /// What is no source in a realm.
    pub fn bogons(&self, realm: u16) -> &[Located<IpNet>] {
        self.realm(realm).map_or(&[], |realm| &realm.bogons)
    }

    /// What a realm says of proxy addresses.
    pub fn proxies(&self, realm: u16) -> Option<&proxies::Draft> {
        self.realm(realm).map(|realm| &realm.proxies)
    }

    /// What of a realm is reached from outside as it is.
    pub fn public(&self, realm: u16) -> &[Located<IpNet>] {
        self.realm(realm).map_or(&[], |realm| &realm.public)
    }

    /// The side of a realm, if it is known.
    pub fn side(&self, realm: u16) -> Option<Side> {
        self.realm(realm)?.side
    }

    /// Every realm's id.
    pub fn realms(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.realms.len() as u16
    }

    fn check_addresses(&self, report: &Report<'_>) {
        for realm in self.realms() {
            let mut seen = HashSet::new();
            let mut addresses = Vec::new();
            for (interface, address) in self.addresses_in(realm) {
                let host = address.value.addr();
                // Each link has link-local addresses of its own.
                let link = is_link_local(&address.value).then_some(interface);
                if seen.insert((host, link)) {
                    addresses.push((interface, address));
                    continue;
                }
                let message = format!("{host} is an address of this realm already");
                report.refuse(address.place, message, "write another address");
            }
            addresses.retain(|(_, address)| !is_link_local(&address.value));
            for (later, earlier) in overlaps(&addresses) {
                let message =
                    format!("{} overlaps {}, of another interface of this realm", later.value, earlier.value);
                let hint = "write disjoint prefixes, or put one of the interfaces into a realm of its own";
                report.refuse(later.place, message, hint);
            }
        }
    }

    fn warn_of_unused(&self, report: &Report<'_>, port_names: &Names) {
        for (index, (name, place)) in (0..).zip(port_names.list.iter().zip(&port_names.places)) {
            if !self.interfaces.iter().any(|interface| interface.port == Some(index)) {
                report.warn(*place, format_args!("\"{name}\" has no interface: what it receives is dropped"));
            }
        }
        let realms = self.realm_names.list.iter().zip(&self.realm_names.places);
        for (realm, (name, place)) in self.realms().zip(realms) {
            if !self.interfaces.iter().any(|interface| interface.realm == Some(realm)) {
                report.warn(*place, format_args!("\"{name}\" has no interface"));
            }
        }
    }

    /// Realms and interfaces; `None` if anything of them was refused.
    pub fn finish(self) -> Option<(Vec<Realm>, Vec<Interface>)> {
        let realm = |((id, name), draft): ((u16, String), RealmDraft)| {
            let side = draft.side?;
            let default = match side {
                Side::Inside => SourceCheck::Strict,
                Side::Outside => SourceCheck::Off,
            };
            Some(Realm {
                id,
                name,
                side,
                source_check: draft.source_check.unwrap_or(default),
                bogons: draft.bogons.into_iter().map(|bogon| bogon.value).collect(),
                remote: draft.proxies.remote(),
                proxies_per_host: draft.proxies.per_host(),
                proxy_addresses: draft.proxies.addresses.iter().map(|range| range.value).collect(),
            })
        };
        let realms: Option<_> = (1..).zip(self.realm_names.list).zip(self.realms).map(realm).collect();
        let interfaces: Option<_> = self.interfaces.into_iter().map(InterfaceDraft::finish).collect();
        Some((realms?, interfaces?))
    }
}

pub(super) fn is_link_local(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

/// Addresses, each with its owner, whose prefixes overlap one of another owner: each such address once, with one that
/// stands before it. In the order of the prefixes, an enclosing prefix comes before what it encloses.
pub(super) fn overlaps<'a>(
    addresses: &[(u16, &'a Located<IpNet>)],
) -> Vec<(&'a Located<IpNet>, &'a Located<IpNet>)> {
    let mut sorted = addresses.to_vec();
    sorted.sort_by_key(|(_, address)| (address.value.network(), address.value.prefix_len()));
    let mut refused = HashSet::new();
    let mut overlapping = Vec::new();
    // What encloses the current prefix, outermost first: of two owners at most, so that one of them is another.
    let mut enclosing: Vec<(u16, &Located<IpNet>)> = Vec::new();
    for (owner, address) in sorted {
        while enclosing.last().is_some_and(|(_, last)| !last.value.contains(&address.value.network())) {
            enclosing.pop();
        }
        if let Some((_, other)) = enclosing.iter().find(|(other, _)| *other != owner) {
            let is_later = address.place.offset > other.place.offset;
            let (later, earlier) = if is_later { (address, *other) } else { (*other, address) };
            if refused.insert(later.place.offset) {
                overlapping.push((later, earlier));
            }
        }
        if enclosing.len() < 2 && enclosing.iter().all(|(other, _)| *other != owner) {
            enclosing.push((owner, address));
        }
    }
    overlapping
}

fn read_realms<'a>(report: &Report<'a>, document: &mut Section<'a>) -> (Vec<RealmDraft>, Names) {
    let checks = [("strict", SourceCheck::Strict), ("loose", SourceCheck::Loose), ("off", SourceCheck::Off)];
    let mut names = Names::new("realm");
    let mut realms = Vec::new();
    for mut section in document.tables("realm", REALMS_MAX).unwrap_or_default() {
        let name = section.require("name", values::name, "write name = \"…\"");
        let side = section.choice("side", &[("inside", Side::Inside), ("outside", Side::Outside)]);
        section.missing(
            "side",
            "write side = \"inside\" for private hosts or \"outside\" for the public network",
        );
        let source_check = section.choice("source_check", &checks);
        let bogons = bogons::read(report, &mut section);
        let proxies = proxies::Draft::read(&mut section);
        let public = public::read(report, &mut section);
        let place = section.place();
        section.finish();
        names.take(report, place, name.as_ref());
        realms.push(RealmDraft {
            side: side.map(|side| side.value),
            source_check: source_check.map(|check| check.value),
            bogons,
            proxies,
            public,
            interfaces: Vec::new(),
        });
    }
    (realms, names)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    /// Addresses of four owners, near enough to each other that prefixes nest; their offsets are their positions.
    fn addresses() -> impl Strategy<Value = Vec<(u16, Located<IpNet>)>> {
        let address = (0..4u16, any::<u8>(), 24..=32u8).prop_map(|(owner, host, length)| {
            let net = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, host), length).expect("a length of at most 32");
            (owner, IpNet::V4(net))
        });
        prop::collection::vec(address, 0..12).prop_map(|list| {
            let place = |offset| Place { section: "interface", key: "addresses", offset };
            let locate = |(offset, (owner, value))| (owner, Located { value, place: place(offset) });
            list.into_iter().enumerate().map(locate).collect()
        })
    }

    proptest! {
        /// Against all pairs: what is found overlaps, each address is found once, and none only if no pair overlaps.
        #[test]
        fn overlaps_are_those_of_all_pairs(addresses in addresses()) {
            let list: Vec<_> = addresses.iter().map(|(owner, address)| (*owner, address)).collect();
            let found = overlaps(&list);
            let clash = |a: &(u16, &Located<IpNet>), b: &(u16, &Located<IpNet>)| {
                let (a_net, b_net) = (&a.1.value, &b.1.value);
                a.0 != b.0 && (a_net.contains(&b_net.network()) || b_net.contains(&a_net.network()))
            };
            for (later, earlier) in &found {
                let (later, earlier) = (later.place.offset, earlier.place.offset);
                prop_assert!(later > earlier && clash(&list[later], &list[earlier]));
            }
            let refused: HashSet<usize> = found.iter().map(|(later, _)| later.place.offset).collect();
            prop_assert_eq!(refused.len(), found.len());
            let is_any = (0..list.len()).any(|at| list[..at].iter().any(|other| clash(other, &list[at])));
            prop_assert_eq!(is_any, !found.is_empty());
        }
    }
}
