//! The sections about the network's shape: `[[realm]]` and `[[interface]]`, on the ports of [`ports`](super::ports).
//!
//! Guarantees: names are unique and resolved to indices; every interface has a port of its own; no realm has two
//! interfaces with overlapping prefixes. Never: look at routes or translation.

use std::collections::HashMap;

use ipnet::IpNet;

use super::error::{Place, Report, one_of};
use super::model::{Interface, Realm, Side};
use super::ports::PORTS_MAX;
use super::section::{Located, Section};
use super::values;

pub(super) const REALMS_MAX: usize = 4095;
const ADDRESSES_MAX: usize = 64;

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
                let message = format!("there is a {} named \"{}\" already", self.kind, name.value);
                report.refuse(name.place, message, "write another name");
            } else {
                self.index.insert(name.value.clone(), index);
            }
        }
        self.list.push(name.map(|name| name.value.clone()).unwrap_or_default());
        self.places.push(section);
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

/// An interface as far as it could be read.
#[derive(Debug)]
pub(super) struct InterfaceDraft {
    name: Option<String>,
    port: Option<Located<u16>>,
    /// [`Realm::id`].
    pub realm: Option<u16>,
    pub addresses: Vec<Located<IpNet>>,
}

/// The network as far as it could be read: it is whole when nothing was refused.
#[derive(Debug)]
pub(super) struct Network {
    pub realm_names: Names,
    pub interface_names: Names,
    pub interfaces: Vec<InterfaceDraft>,
    sides: Vec<Option<Side>>,
}

impl Network {
    pub fn read<'a>(report: &Report<'a>, document: &mut Section<'a>, port_names: &Names) -> Network {
        let (sides, realm_names) = read_realms(report, document);
        let interface_names = Names::new("interface");
        let mut network = Network { realm_names, interface_names, interfaces: Vec::new(), sides };
        for section in document.tables("interface", PORTS_MAX).unwrap_or_default() {
            network.read_interface(report, section, port_names);
        }
        network.check_addresses(report);
        network.warn_of_unused(report, port_names);
        network
    }

    fn read_interface(&mut self, report: &Report<'_>, mut section: Section<'_>, port_names: &Names) {
        let written = section.parse("name", values::name);
        let port = section.require("port", values::reference, "write port = \"…\", the name of a [[port]]");
        let realm =
            section.require("realm", values::reference, "write realm = \"…\", the name of a [[realm]]");
        let addresses =
            section.strings("addresses", 0..=ADDRESSES_MAX, values::host_prefix).unwrap_or_default();
        let place = section.place();
        section.finish();
        let name = written.or_else(|| port.clone());
        self.interface_names.take(report, place, name.as_ref());
        let port = port.and_then(|port| {
            let index = port_names.resolve(report, &port)?;
            let is_taken = |other: &InterfaceDraft| other.port.is_some_and(|other| other.value == index);
            if self.interfaces.iter().any(is_taken) {
                let message = format!("port \"{}\" has an interface already", port.value);
                report.refuse(port.place, message, "write another port: a port has one interface");
            }
            Some(Located { value: index, place: port.place })
        });
        let realm = realm.and_then(|realm| self.realm_names.resolve(report, &realm)).map(|index| index + 1);
        self.interfaces.push(InterfaceDraft { name: name.map(|name| name.value), port, realm, addresses });
    }

    /// Every address with its interface's index, of the interfaces in `realm`.
    pub fn addresses_in(&self, realm: u16) -> impl Iterator<Item = (u16, &Located<IpNet>)> {
        (0..)
            .zip(&self.interfaces)
            .filter(move |(_, interface)| interface.realm == Some(realm))
            .flat_map(|(index, interface)| interface.addresses.iter().map(move |address| (index, address)))
    }

    /// The side of a realm, if it is known.
    pub fn side(&self, realm: u16) -> Option<Side> {
        *self.sides.get(usize::from(realm).checked_sub(1)?)?
    }

    /// Every realm's id.
    pub fn realms(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.sides.len() as u16
    }

    fn check_addresses(&self, report: &Report<'_>) {
        for realm in self.realms() {
            let addresses: Vec<_> = self.addresses_in(realm).collect();
            for (at, (interface, address)) in addresses.iter().enumerate() {
                let clash = addresses[..at].iter().find(|(other_interface, other)| {
                    other.value.addr() == address.value.addr()
                        && (other_interface == interface || !is_link_local(&address.value))
                        || other_interface != interface && overlap(&other.value, &address.value)
                });
                let Some((_, other)) = clash else { continue };
                let (message, hint) = if other.value.addr() == address.value.addr() {
                    (
                        format!("{} is an address of this realm already", address.value.addr()),
                        "write another address",
                    )
                } else {
                    let message = format!(
                        "{} overlaps {}, of another interface of this realm",
                        address.value, other.value
                    );
                    (message, "write disjoint prefixes, or put one of the interfaces into a realm of its own")
                };
                report.refuse(address.place, message, hint);
            }
        }
    }

    fn warn_of_unused(&self, report: &Report<'_>, port_names: &Names) {
        for (index, (name, place)) in (0..).zip(port_names.list.iter().zip(&port_names.places)) {
            let is_here = |interface: &InterfaceDraft| interface.port.is_some_and(|port| port.value == index);
            if !self.interfaces.iter().any(is_here) {
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
        let realm = |((id, name), side)| Some(Realm { id, name, side: side? });
        let realms: Option<_> = (1..).zip(self.realm_names.list).zip(self.sides).map(realm).collect();
        let interface = |draft: InterfaceDraft| {
            Some(Interface {
                name: draft.name?,
                port: draft.port?.value,
                realm: draft.realm?,
                addresses: draft.addresses.into_iter().map(|address| address.value).collect(),
            })
        };
        let interfaces: Option<_> = self.interfaces.into_iter().map(interface).collect();
        Some((realms?, interfaces?))
    }
}

fn is_link_local(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

/// Whether two prefixes share an address. Link-local ones are every link's own (RFC 4291 section 2.5.6).
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    !(is_link_local(a) && is_link_local(b)) && (a.contains(&b.network()) || b.contains(&a.network()))
}

fn read_realms<'a>(report: &Report<'a>, document: &mut Section<'a>) -> (Vec<Option<Side>>, Names) {
    let mut names = Names::new("realm");
    let mut sides = Vec::new();
    for mut section in document.tables("realm", REALMS_MAX).unwrap_or_default() {
        let name = section.require("name", values::name, "write name = \"…\"");
        let side = section.choice("side", &[("inside", Side::Inside), ("outside", Side::Outside)]);
        section.missing(
            "side",
            "write side = \"inside\" for private hosts or \"outside\" for the public network",
        );
        let place = section.place();
        section.finish();
        names.take(report, place, name.as_ref());
        sides.push(side.map(|side| side.value));
    }
    (sides, names)
}
