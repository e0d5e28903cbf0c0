//! The section about the kernel's part: `[exception]`.
//!
//! Guarantees: every interface named or meant can have its like in the kernel: it has an address, and a name that fits; and the
//! kernel can tell by an address of the edge in which realm it is asked.
//! Never: asks whether the namespace exists.

use std::collections::HashMap;
use std::net::IpAddr;

use super::error::{Place, Report};
use super::model::Exception;
use super::network::{INTERFACES_MAX, Network};
use super::section::{Located, Section};
use super::values;

/// The kernel's `IFNAMSIZ` without its NUL.
const NAME_MAX: usize = 15;
/// The interface that every namespace has.
const LOOPBACK: &str = "lo";

/// The exception path, if the section is there and is right.
pub(super) fn read(report: &Report<'_>, mut section: Section<'_>, network: &Network) -> Option<Exception> {
    if !section.is_written() {
        return None;
    }
    let hint = "write netns = \"…\", a namespace that `ip netns add NAME` made";
    let netns = section.require("netns", values::netns, hint);
    let is_chosen = section.contains("interfaces");
    let chosen = section.strings("interfaces", 1..=INTERFACES_MAX, values::reference);
    let place = section.place();
    section.finish();

    let mut interfaces: Vec<u16> = Vec::new();
    if is_chosen {
        for wanted in chosen? {
            let Some(index) = network.interface_names.resolve(report, &wanted) else { continue };
            if interfaces.contains(&index) {
                let message = format!("interface \"{}\" stands twice", wanted.value);
                report.refuse(wanted.place, message, "remove one of the two");
            } else if !has_address(network, index) {
                let message = format!("interface \"{}\" has no address", wanted.value);
                let hint = "remove it, or write its addresses: only packets to them go to the kernel";
                report.refuse(wanted.place, message, hint);
            } else {
                check_name(report, wanted.place, &wanted.value);
            }
            interfaces.push(index);
        }
    } else {
        for (index, (name, place)) in (0..).zip(network.interface_names.sections()) {
            if has_address(network, index) {
                check_name(report, Place { key: "name", ..place }, name);
                interfaces.push(index);
            }
        }
        if interfaces.is_empty() {
            let hint = "write addresses = [\"…\"] in an [[interface]], or remove the section";
            report.refuse(place, "no interface has an address for packets to the kernel", hint);
        }
    }
    check_addresses(report, network, &interfaces);
    Some(Exception { netns: netns?.value, interfaces })
}

/// Refuses addresses that are the edge's in two realms of which the kernel has interfaces. Link-local ones tell nothing anyway.
fn check_addresses(report: &Report<'_>, network: &Network, interfaces: &[u16]) {
    let mut realms: HashMap<IpAddr, u16> = HashMap::new();
    for realm in network.realms() {
        let own = network.addresses_in(realm).filter(|(interface, _)| interfaces.contains(interface));
        for (_, Located { value, place }) in own.filter(|(_, own)| !is_link_local(own.value.addr())) {
            let address = value.addr();
            let Some(other) = realms.insert(address, realm).filter(|other| *other != realm) else { continue };
            let other =
                network.realm_names.sections().nth(usize::from(other) - 1).map_or("", |(name, _)| name);
            let message = format!(
                "{address} is the edge's address in realm \"{other}\" too: the kernel could not tell in which it is asked"
            );
            let hint = "write another address, or exception.interfaces without one of the two interfaces";
            report.refuse(*place, message, hint);
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn has_address(network: &Network, index: u16) -> bool {
    network.interfaces.get(usize::from(index)).is_some_and(|interface| !interface.addresses.is_empty())
}

/// Refuses, at `place`, the name of an interface that the kernel cannot have.
fn check_name(report: &Report<'_>, place: Place, name: &str) {
    if name.len() > NAME_MAX {
        let message = format!("\"{name}\" is longer than the {NAME_MAX} bytes of a kernel interface's name");
        let hint = "write a shorter interface.name, or exception.interfaces without this one";
        report.refuse(place, message, hint);
    } else if name == LOOPBACK {
        let hint = "write another interface.name, or exception.interfaces without this one";
        report.refuse(place, "the kernel has its loopback interface by this name", hint);
    }
}
