//! The machine as `/proc` and `/sys` show it, below a root.
//!
//! Guarantees: reads at most [`TEXT_MAX`] bytes of a file; what is missing or unreadable is `None` or empty, never an
//! error. Never: writes, or leaves the root but by the links that the kernel makes.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::core_set::CoreSet;
use super::{Finding, Needs, NicLimits};
use crate::config::{Config, Device, Port};

/// Bytes read of a file: one processor of `/proc/cpuinfo` is less than four thousand.
const TEXT_MAX: u64 = 64 << 10;

/// What the checks look at.
pub struct Machine<'a> {
    pub root: &'a Path,
    /// Of a network device of the kernel's.
    pub nic_limits: fn(&str) -> NicLimits,
    pub config: Option<&'a Config>,
    pub needs: Option<Needs>,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages {
    pub page_kb: u64,
    pub reserved: u64,
    pub free: u64,
}

impl Machine<'_> {
    /// The text of a file, without white space around it; `None` when it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        let mut text = Vec::new();
        File::open(self.path(path)).ok()?.take(TEXT_MAX).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The cores in a file of the kernel's list format.
    pub fn cores_in(&self, path: &str) -> Option<CoreSet> {
        self.read(path).map(|text| CoreSet::parse(&text))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub fn is_directory(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// The names in a directory, in order; none when it cannot be read.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of what a link points at: the name of a device's driver.
    pub fn link_name(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.path(path)).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// What follows `KEY=` on the kernel's command line; the last one counts, as for the kernel.
    pub fn kernel_argument(&self, key: &str) -> Option<String> {
        let line = self.read("proc/cmdline")?;
        let value = |word: &str| Some(word.strip_prefix(key)?.strip_prefix('=')?.to_owned());
        line.split_whitespace().rev().find_map(value)
    }

    /// The workers' cores; `None` without a configuration.
    pub fn worker_cores(&self) -> Option<CoreSet> {
        self.config.map(|config| config.workers.cores.iter().copied().collect())
    }

    /// The configured ports that are PCI devices, with their addresses.
    pub fn pci_ports(&self) -> Vec<(&Port, &str)> {
        let Some(config) = self.config else { return vec![] };
        let is_pci = |port: &&Port| matches!(port.device, Device::Pci(_));
        config.ports.iter().filter(is_pci).map(|port| (port, port.device.name())).collect()
    }

    /// Whether forwarding at line rate is meant at all: a PCI port, or nothing known yet.
    pub fn is_carrier(&self) -> bool {
        self.config.is_none() || !self.pci_ports().is_empty()
    }

    /// The NUMA nodes, with their cores; empty on a machine that has no such thing.
    pub fn nodes(&self) -> Vec<(u16, CoreSet)> {
        let node = |name: String| {
            let number = name.strip_prefix("node")?.parse().ok()?;
            Some((number, self.cores_in(&format!("sys/devices/system/node/{name}/cpulist"))?))
        };
        self.names("sys/devices/system/node").into_iter().filter_map(node).collect()
    }

    /// The huge pages of every size below `directory`, largest first.
    pub fn huge_pages(&self, directory: &str) -> Vec<HugePages> {
        let size = |name: String| {
            let page_kb = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = |file| self.number(&format!("{directory}/{name}/{file}")).unwrap_or(0);
            Some(HugePages { page_kb, reserved: count("nr_hugepages"), free: count("free_hugepages") })
        };
        let mut sizes: Vec<HugePages> = self.names(directory).into_iter().filter_map(size).collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(size.page_kb));
        sizes
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// The command that adds `arguments` to the kernel's command line from the next boot on.
pub fn add_kernel_arguments(topic: &str, arguments: &str) -> String {
    format!(
        "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {arguments}\"' >/etc/default/grub.d/ces-{topic}.cfg && \
         update-grub && reboot"
    )
}

/// What a check says that needs to know the workers' cores.
pub fn needs_config() -> Vec<Finding> {
    vec![Finding::not_applicable("add --config FILE: the answer depends on what it configures")]
}
