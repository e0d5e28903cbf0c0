//! The way to the NICs, and the configured ports.

use super::Finding;
use super::machine::{Machine, add_kernel_arguments, needs_config};
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

/// Rings that outlast a pause of the worker.
pub fn descriptors(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, _| {
        let Port { name, rx_descriptors: rx, tx_descriptors: tx, .. } = port;
        let evidence = format!("port \"{name}\": {rx} receive, {tx} transmit");
        if *rx.min(tx) >= DESCRIPTORS_MIN {
            return Finding::ok(evidence);
        }
        let mend = format!("[[port]] rx_descriptors = 2048 and tx_descriptors = 2048 of \"{name}\"");
        Finding::warn(format!("{evidence}: a pause of a tenth of a millisecond loses packets"), mend)
    })
}

/// A receive queue for each worker, where the NIC spreads the flows.
pub fn queues(machine: &Machine<'_>) -> Vec<Finding> {
    each_pci(machine, |port, _| {
        let Some(config) = machine.config else { return Finding::not_applicable(NO_PCI) };
        let workers = config.workers.cores.len();
        let evidence = format!("port \"{}\": {} for {workers} workers", port.name, port.queues);
        match config.workers.distribute {
            Distribute::Software if workers > 1 => {
                Finding::ok(format!("port \"{}\": one, spread by its worker", port.name))
            }
            _ if usize::from(port.queues) >= workers => Finding::ok(evidence),
            _ => Finding::warn(
                evidence,
                format!("[[port]] queues = {workers} of \"{}\", or without queues", port.name),
            ),
        }
    })
}
