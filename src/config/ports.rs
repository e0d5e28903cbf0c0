//! The section about devices: `[[port]]`.
//!
//! Guarantees: names and devices are unique, queues and owners fit the workers, and a run to the end of input has
//! devices that end. Never: ask whether a device exists.

use std::collections::HashSet;

use super::error::{Place, Report};
use super::model::{Device, Eal, Limits, Port, Stop, Workers};
use super::network::Names;
use super::section::{Located, Section, or};
use super::values;

/// DPDK's `RTE_MAX_ETHPORTS`.
pub(super) const PORTS_MAX: usize = 32;
/// What every IPv4 link carries (RFC 791 section 3.2).
pub(super) const MTU_MIN: u16 = 68;
pub(super) const MTU_MAX: u16 = 9600;

/// Every port that could be read, and the names of all.
pub(super) fn read<'a>(
    report: &Report<'a>,
    document: &mut Section<'a>,
    workers: Option<&(Workers, Located<Stop>)>,
) -> (Vec<Port>, Names) {
    let mut names = Names::new("port");
    let mut devices = HashSet::new();
    let sections = document.tables("port", PORTS_MAX);
    if sections.as_ref().is_some_and(Vec::is_empty) {
        let place = Place { key: "port", ..document.place() };
        report.refuse(place, "there is no port", "write [[port]] with name and device, once or more");
    }
    let ports = sections
        .unwrap_or_default()
        .into_iter()
        .filter_map(|section| read_port(report, section, workers, &mut names, &mut devices))
        .collect();
    (ports, names)
}

fn read_port(
    report: &Report<'_>,
    mut section: Section<'_>,
    workers: Option<&(Workers, Located<Stop>)>,
    names: &mut Names,
    devices: &mut HashSet<String>,
) -> Option<Port> {
    let name = section.require("name", values::name, "write name = \"…\"");
    names.take(report, section.place(), name.as_ref());
    let hint = "write device = \"…\": a PCI address, or a virtual device such as \"net_tap0,iface=ces-in\"";
    let device = section.require("device", values::device, hint);
    let mtu = or(section.integer("mtu", MTU_MIN..=MTU_MAX), 1500);
    let rx_descriptors = or(section.integer("rx_descriptors", 64..=32_768u16), 1024);
    let tx_descriptors = or(section.integer("tx_descriptors", 64..=32_768u16), 1024);
    let queues = section.integer("queues", 1..=u16::MAX);
    let owner = section.integer("owner", 0..=u16::MAX);
    let mac = section.parse("mac", values::mac);
    let rx_packets_per_second = section.integer("rx_packets_per_second", 1000..=1_000_000_000u32);
    let vlan_offload = or(section.boolean("vlan_offload"), true);
    section.finish();

    if let Some((workers, _)) = workers {
        check_queues(report, workers.cores.len(), queues, owner);
    }
    if let Some(device) = &device {
        if !devices.insert(device.value.name().into()) {
            let message = format!("{} is another port's device already", device.value.name());
            report.refuse(
                device.place,
                message,
                "write another device, or another number behind its driver's name",
            );
        }
        if let Some(reason) =
            workers.filter(|(_, stop)| stop.value == Stop::EndOfInput).and_then(|_| endless(&device.value))
        {
            let hint = format!("{reason}, or write workers.stop = \"signal\"");
            report.refuse(device.place, "never ends, and workers.stop is \"end-of-input\"", hint);
        }
    }
    Some(Port {
        name: name?.value,
        device: device?.value,
        mtu,
        rx_descriptors,
        tx_descriptors,
        queues: or(queues, workers?.0.cores.len() as u16),
        owner: owner.map(|owner| owner.value),
        mac: mac.map(|mac| mac.value),
        rx_packets_per_second: rx_packets_per_second.map(|rate| rate.value),
        vlan_offload,
    })
}

fn check_queues(
    report: &Report<'_>,
    workers: usize,
    queues: Option<Located<u16>>,
    owner: Option<Located<u16>>,
) {
    if let Some(queues) = queues.filter(|queues| usize::from(queues.value) > workers) {
        let message = format!("{} queues are more than the {workers} worker(s) that poll them", queues.value);
        report.refuse(queues.place, message, format!("write {workers} or less, or more workers.cores"));
    }
    let Some(owner) = owner else { return };
    if usize::from(owner.value) >= workers {
        let message = format!("there is no worker {}", owner.value);
        report.refuse(
            owner.place,
            message,
            format!("the {workers} worker(s) are counted from 0: write {} or less", workers - 1),
        );
    } else if workers > 1 && queues.is_some_and(|queues| usize::from(queues.value) == workers) {
        report.warn(owner.place, "without effect: the port has a queue for each worker");
    }
}

/// What to write instead of a device that never comes to an end; `None` if it does.
fn endless(device: &Device) -> Option<&'static str> {
    let Device::Vdev { name, args } = device else {
        return Some("write a net_pcap, net_null or net_ring device");
    };
    let has = |wanted: &str| args.split(',').any(|arg| arg.split('=').next() == Some(wanted));
    let is_on = |wanted: &str| args.split(',').any(|arg| arg == format!("{wanted}=1"));
    let driver = name.trim_end_matches(|last: char| last.is_ascii_digit());
    match driver.trim_start_matches("net_").trim_start_matches("eth_") {
        "pcap" if is_on("infinite_rx") => Some("remove infinite_rx"),
        "pcap" if has("iface") || has("rx_iface") || has("rx_iface_in") => Some("write rx_pcap=FILE"),
        "null" if !is_on("no-rx") => Some("add no-rx=1"),
        "pcap" | "null" | "ring" => None,
        _ => Some("write a net_pcap, net_null or net_ring device"),
    }
}

/// Refuses a packet pool, sized at `place`, that cannot fill the receive rings and the held packets.
pub(super) fn check_pool(
    report: &Report<'_>,
    place: Option<Place>,
    eal: &Eal,
    ports: &[Port],
    limits: &Limits,
) {
    let (Some(place), Some(mbufs)) = (place, eal.mbufs) else { return };
    let rings: u64 = ports.iter().map(|port| u64::from(port.queues) * u64::from(port.rx_descriptors)).sum();
    let (neighbors, fragments) = (limits.neighbor_hold_total, limits.fragments.hold);
    let least = rings + u64::from(neighbors) + u64::from(fragments);
    if u64::from(mbufs) <= least {
        let message = format!(
            "{mbufs} mbufs cannot fill the receive rings ({rings}), limits.neighbor_hold_total ({neighbors}) and \
             limits.fragment_hold ({fragments})"
        );
        report.refuse(place, message, format!("write more than {least}, or smaller rings"));
    }
}
