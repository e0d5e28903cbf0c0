//! The way to the NICs, and the configured ports.

use super::machine::{Machine, add_kernel_arguments, needs_config};
use super::{Finding, NicLimits};
use crate::config::{Device, Distribute, Port};

const PCI: &str = "sys/bus/pci/devices";
/// Drivers that share their NIC with DPDK, and stay bound.
const SHARING: &[&str] = &["mlx5_core", "mlx4_core", "mana"];
/// Fewer descriptors are less than a tenth of a millisecond at 10 Gbit/s.
const DESCRIPTORS_MIN: u16 = 1024;
const NO_PCI: &str = "no PCI port";

fn driver_of(machine: &Machine<'_>, address: &str) -> Option<String> {
    machine.link_name(&format!("{PCI}/{address}/driver"))
}

/// Whether a port is to be reached through VFIO, as far as is known.
fn wants_vfio(machine: &Machine<'_>) -> bool {
    let ports = machine.pci_ports();
    let shares =
        |address: &str| driver_of(machine, address).is_some_and(|driver| SHARING.contains(&driver.as_str()));
    machine.config.is_none() || ports.iter().any(|(_, address)| !shares(address))
}

const NO_VFIO: &str = "no port that needs VFIO";

/// On: VFIO refuses a device without it.
pub fn iommu(machine: &Machine<'_>) -> Vec<Finding> {
    if !wants_vfio(machine) {
        return vec![Finding::not_applicable(NO_VFIO)];
    }
    let groups = machine.names("sys/kernel/iommu_groups").len();
    if groups > 0 {
        return vec![Finding::ok(format!("on, {groups} groups"))];
    }
    let is_amd = machine.read("proc/cpuinfo").is_some_and(|text| text.contains("AuthenticAMD"));
    let vendor = if is_amd { "amd" } else { "intel" };
    let asked = machine.kernel_argument(&format!("{vendor}_iommu"));
    let evidence = match asked {
        Some(value) => format!("off though {vendor}_iommu={value}: switch it on in the firmware as well"),
        None => "off: no groups".into(),
    };
    let arguments = format!("{vendor}_iommu=on iommu=pt");
    vec![Finding::bad(evidence, add_kernel_arguments("iommu", &arguments))]
}

/// The module is there.
pub fn vfio(machine: &Machine<'_>) -> Vec<Finding> {
    if !wants_vfio(machine) {
        return vec![Finding::not_applicable(NO_VFIO)];
    }
    let unsafe_mode = machine.read("sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    vec![if !machine.exists("sys/module/vfio_pci") {
        Finding::bad(
            "vfio-pci is not loaded",
            "modprobe vfio-pci && echo vfio-pci >/etc/modules-load.d/ces.conf",
        )
    } else if unsafe_mode.as_deref() == Some("Y") {
        Finding::warn(
            "VFIO works without an IOMMU: a NIC may write anywhere",
            "echo N >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        )
    } else {
        Finding::ok("vfio-pci is loaded")
    }]
}

/// A finding for each PCI port, by `judge`.
fn each_pci(machine: &Machine<'_>, judge: impl Fn(&Port, &str) -> Finding) -> Vec<Finding> {
    if machine.config.is_none() {
        return needs_config();
    }
    let ports = machine.pci_ports();
    if ports.is_empty() {
        return vec![Finding::not_applicable(NO_PCI)];
    }
    ports.into_iter().map(|(port, address)| judge(port, address)).collect()
}

fn is_there(machine: &Machine<'_>, address: &str) -> bool {
    machine.exists(&format!("{PCI}/{address}"))
}

fn absent(port: &Port, address: &str) -> Finding {
    Finding::not_applicable(format!("port \"{}\": {address} is not there", port.name))
}

/// Each PCI port is a device.
pub fn exists(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, address| {
        let evidence = format!("port \"{}\": {address}", port.name);
        if is_there(machine, address) {
            return Finding::ok(evidence);
        }
        let list = format!("dpdk-devbind.py --status   # then [[port]] device = \"…\" of \"{}\"", port.name);
        Finding::bad(format!("{evidence} is not there"), list)
    })
}

/// Its driver leaves it to DPDK.
pub fn driver(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, address| {
        if !is_there(machine, address) {
            return absent(port, address);
        }
        let driver = driver_of(machine, address);
        let name = driver.as_deref().unwrap_or("none");
        let evidence = format!("port \"{}\": {address}, driver {name}", port.name);
        let bind = format!("dpdk-devbind.py --bind=vfio-pci {address}");
        match name {
            "vfio-pci" => Finding::ok(evidence),
            sharing if SHARING.contains(&sharing) => {
                Finding::ok(format!("{evidence}, which shares it with DPDK"))
            }
            "igb_uio" | "uio_pci_generic" => {
                Finding::warn(format!("{evidence}: no IOMMU protects memory"), bind)
            }
            _ => Finding::bad(format!("{evidence}: not DPDK's"), bind),
        }
    })
}

/// Its link to the processor is as fast and as wide as it can be.
pub fn link(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, address| {
        if !is_there(machine, address) {
            return absent(port, address);
        }
        let attribute = |name: &str| machine.read(&format!("{PCI}/{address}/{name}"));
        let first = |name| {
            attribute(name)?.split_whitespace().next()?.parse::<f64>().ok().filter(|value| *value > 0.0)
        };
        let [speed, fastest] = ["current_link_speed", "max_link_speed"].map(first);
        let [width, widest] = ["current_link_width", "max_link_width"].map(first);
        let (Some(speed), Some(fastest), Some(width), Some(widest)) = (speed, fastest, width, widest) else {
            return Finding::not_applicable(format!(
                "port \"{}\": {address} has no PCI Express link",
                port.name
            ));
        };
        let evidence = format!("port \"{}\": {speed} GT/s x{width} of {fastest} GT/s x{widest}", port.name);
        if speed >= fastest && width >= widest {
            return Finding::ok(evidence);
        }
        let slot =
            format!("lspci -vv -s {address} | grep Lnk   # then a slot that has x{widest} at {fastest} GT/s");
        Finding::warn(evidence, slot)
    })
}

/// None: they are for labs.
pub fn virtual_devices(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(config) = machine.config else { return needs_config() };
    let mut findings = vec![];
    for port in &config.ports {
        if let Device::Vdev { name, .. } = &port.device {
            let mend = format!("[[port]] device = \"0000:03:00.0\" of \"{}\", by its PCI address", port.name);
            findings
                .push(Finding::warn(format!("port \"{}\": {name} is not for line rate", port.name), mend));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("none"));
    }
    findings
}

/// What the kernel's driver says that a NIC can have; unknown where none has it, or it does not say.
fn limits(machine: &Machine<'_>, address: &str) -> NicLimits {
    let device = format!("{PCI}/{address}");
    // A virtio NIC's network device is that of a device below.
    let below = machine.names(&device).into_iter().filter(|name| name.starts_with("virtio"));
    let places = std::iter::once(device.clone()).chain(below.map(|name| format!("{device}/{name}")));
    let mut names = places.flat_map(|place| machine.names(&format!("{place}/net")));
    names.next().map_or_else(NicLimits::default, |name| (machine.nic_limits)(&name))
}

/// What is said of limits that nobody tells here.
const LIMITS_UNKNOWN: &str = "the NIC's limits are not to be read here, as no kernel driver tells them: start cesd, \
                              which keeps to them; cesctl show status says where the NIC gives less";

fn at_most(rx: Option<u32>, tx: Option<u32>) -> String {
    let word = |limit: Option<u32>| limit.map_or("?".into(), |limit| limit.to_string());
    match (rx, tx) {
        (None, None) => LIMITS_UNKNOWN.into(),
        _ => format!("the NIC has at most {} and {}", word(rx), word(tx)),
    }
}

/// Rings that outlast a pause of the worker, as long as the NIC can have them.
pub fn descriptors(machine: &Machine<'_>) -> Vec<Finding> {
    const GOOD: u32 = 2048;
    each_pci(machine, |port, address| {
        let Port { name, rx_descriptors: rx, tx_descriptors: tx, .. } = port;
        let NicLimits { rx_descriptors: rx_most, tx_descriptors: tx_most, .. } = limits(machine, address);
        let evidence = format!("port \"{name}\": {rx} receive, {tx} transmit; {}", at_most(rx_most, tx_most));
        let most = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
        let is_short = |have: u16, limit| have < DESCRIPTORS_MIN && u32::from(have) < most(limit);
        let cost = if u32::from(*rx) > most(rx_most) || u32::from(*tx) > most(tx_most) {
            "cesd will start with less"
        } else if is_short(*rx, rx_most) || is_short(*tx, tx_most) {
            "a pause of a tenth of a millisecond loses packets"
        } else {
            return Finding::ok(evidence);
        };
        let (rx, tx) = (GOOD.min(most(rx_most)), GOOD.min(most(tx_most)));
        let mend = format!("[[port]] rx_descriptors = {rx} and tx_descriptors = {tx} of \"{name}\"");
        Finding::warn(format!("{evidence}: {cost}"), mend)
    })
}

/// A receive queue for each worker, where the NIC spreads the flows and has as many.
pub fn queues(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, address| {
        let Some(config) = machine.config else { return Finding::not_applicable(NO_PCI) };
        let (name, workers) = (&port.name, config.workers.cores.len());
        let NicLimits { rx_queues, tx_queues, .. } = limits(machine, address);
        let limit = at_most(rx_queues, tx_queues);
        let evidence = format!("port \"{name}\": {} for {workers} workers; {limit}", port.queues);
        match config.workers.distribute {
            Distribute::Software if workers > 1 => {
                Finding::ok(format!("port \"{name}\": one, spread by its worker"))
            }
            _ if rx_queues.is_some_and(|most| u32::from(port.queues) > most) => Finding::warn(
                format!("{evidence}: one worker reads them all"),
                "[workers] distribute = \"software\", or a core for each of the NIC's queues",
            ),
            _ if usize::from(port.queues) >= workers => Finding::ok(evidence),
            _ => Finding::warn(
                evidence,
                format!("[[port]] queues = {workers} of \"{name}\", or without queues"),
            ),
        }
    })
}
