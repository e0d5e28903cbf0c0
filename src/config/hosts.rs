//! The sections about the hosts that have names: `[hosts]` and `[[host]]`.
//!
//! Guarantees: no two hosts share a name, a service's name included, or an address of a realm. Never: opens the store.

use std::collections::HashMap;
use std::net::IpAddr;

use super::domain_name::domain_name;
use super::error::{Place, Report, Wrong};
use super::host_model::{
    Host, Hosts, Realms, Service, ServiceTarget, add_address, add_service, port, protocol,
};
use super::model::Side;
use super::network::Network;
use super::section::{Located, Section, or};
use super::values;

/// The register, if either section is there.
pub(super) fn read<'a>(report: &Report<'a>, document: &mut Section<'a>, network: &Network) -> Option<Hosts> {
    let is_written = document.contains("hosts") || document.contains("host");
    let mut section = document.table("hosts", "hosts");
    let capacity = or(section.integer("capacity", 1..=Hosts::CAPACITY_MAX), 65_536);
    let store = section.parse("store", values::absolute_path).map(|store| store.value);
    let pending_reservations = or(section.integer("pending_reservations", 1..=u16::MAX), 16);
    let reservations_per_second = or(section.integer("reservations_per_second", 1..=Hosts::RATE_MAX), 50);
    section.finish();
    let realms = realms(network);
    let sections = document.tables("host", capacity as usize).unwrap_or_default();
    let mut taken = Taken::default();
    let hosts = sections
        .into_iter()
        .filter_map(|section| {
            let host = read_host(report, section, network, &realms)?;
            taken.take(report, &host);
            Some(host.host)
        })
        .collect();
    let hosts = Hosts { capacity, store, pending_reservations, reservations_per_second, hosts, realms };
    is_written.then_some(hosts)
}

fn realms(network: &Network) -> Realms {
    let mut realms = Realms::new();
    for (id, (name, side)) in (1..).zip(network.realm_sides()) {
        realms.insert(name, id, side == Some(Side::Inside));
        network.addresses_in(id).for_each(|(_, own)| realms.insert_own(id, own.value.addr()));
        let proxies = network.proxies(id).map_or(&[][..], |proxies| &proxies.addresses);
        proxies.iter().for_each(|range| realms.insert_proxies(id, range.value));
        network.public(id).iter().for_each(|public| realms.insert_public(id, public.value));
    }
    realms.finish();
    realms
}

/// A host, and where its names and addresses are written.
struct HostDraft {
    host: Host,
    name: Place,
    addresses: Vec<Place>,
    services: Vec<Place>,
}

fn read_host<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    network: &Network,
    realms: &Realms,
) -> Option<HostDraft> {
    let name = section.require("name", domain_name, "write name = \"host.ces.example\"");
    let realm = section.require("realm", values::reference, "write realm = \"…\", the name of a [[realm]]");
    let addresses = section.strings("addresses", 0..=Host::ADDRESSES_MAX, values::address);
    let group = section.parse("group", values::name).map(|group| group.value);
    let pending = section.integer("pending_reservations", 1..=u16::MAX).map(|number| number.value);
    let rate = section.integer("reservations_per_second", 1..=Hosts::RATE_MAX).map(|number| number.value);
    let services: Vec<Located<Service>> = section
        .tables_at("services", "host.services", Host::SERVICES_MAX)
        .unwrap_or_default()
        .into_iter()
        .filter_map(read_service)
        .collect();
    section.finish();

    let (name, realm) = (name?, realm?);
    let refuse = |place, wrong: Wrong| report.refuse(place, wrong.message, wrong.hint);
    network.realm_names.resolve(report, &realm)?;
    let id = realms.realm(&realm.value).map_err(|wrong| refuse(realm.place, wrong)).ok()?;
    let (mut kept, mut address_places) = (Vec::new(), Vec::new());
    for address in addresses.unwrap_or_default() {
        let checked =
            realms.check_address(id, address.value).and_then(|()| add_address(&mut kept, address.value));
        match checked {
            Ok(()) => address_places.push(address.place),
            Err(wrong) => refuse(address.place, wrong),
        }
    }
    let (mut named, mut service_places) = (Vec::new(), Vec::new());
    for Located { value, place } in services {
        match add_service(&mut named, &name.value, value) {
            Ok(()) => service_places.push(place),
            Err(wrong) => refuse(place, wrong),
        }
    }
    let host = Host {
        name: name.value,
        realm: id,
        addresses: kept,
        group,
        services: named,
        pending_reservations: pending,
        reservations_per_second: rate,
        dhcid: None,
    };
    Some(HostDraft { host, name: name.place, addresses: address_places, services: service_places })
}

fn read_service(mut section: Section<'_>) -> Option<Located<Service>> {
    let hint = "write name = \"www.ces.example\", the name that means this service";
    let name = section.require("name", domain_name, hint);
    let protocol = match section.is_integer("protocol") {
        true => section.integer("protocol", 1..=255u8).map(|number| Some(number.value)),
        false => section.parse("protocol", protocol).map(|protocol| protocol.value),
    };
    let port = match section.is_integer("port") {
        true => section.integer("port", 1..=u16::MAX).map(|number| Some(number.value)),
        false => section.parse("port", port).map(|port| port.value),
    };
    section.finish();
    let Located { value: name, place } = name?;
    let target = ServiceTarget { protocol: protocol.flatten(), port: port.flatten() };
    Some(Located { value: Service { name, target }, place })
}

/// What hosts before have.
#[derive(Default)]
struct Taken {
    names: HashMap<String, String>,
    addresses: HashMap<(u16, IpAddr), String>,
}

impl Taken {
    fn take(&mut self, report: &Report<'_>, draft: &HostDraft) {
        let host = &draft.host;
        let named = std::iter::once((&host.name, draft.name));
        let services = host.services.iter().map(|service| &service.name).zip(draft.services.iter().copied());
        for (name, place) in named.chain(services) {
            if let Some(other) = self.names.insert(name.as_str().into(), host.name.as_str().into()) {
                let message = format!("\"{name}\" is a name of host \"{other}\" already");
                report.refuse(place, message, "write another name");
            }
        }
        for (&address, &place) in host.addresses.iter().zip(&draft.addresses) {
            let other = self.addresses.insert((host.realm, address), host.name.as_str().into());
            if let Some(other) = other {
                let message = format!("{address} is an address of host \"{other}\" already");
                report.refuse(place, message, "write another address: a realm has it once");
            }
        }
    }
}
