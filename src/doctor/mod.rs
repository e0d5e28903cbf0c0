//! What is missing on this machine for forwarding at line rate: `cesd --doctor`.
//!
//! Guarantees: every finding has a line of evidence, and every one that is not in order the command, or the line of the
//! configuration, that mends it. It works without privileges, and without a configuration checks what needs none. The
//! order of [`checks`] is the order in which a machine is set up; the comments of `configs/bare-metal.toml` follow it.
//! Never: changes anything, runs a command, or starts DPDK. It reads `/proc` and `/sys`, and asks
//! the kernel for the limits of the NICs that it has a driver for.
//!
//! | file | what it looks at |
//! |---|---|
//! | `memory` | huge pages, swap, locked memory |
//! | `cores` | isolation, hyper-threads, NUMA nodes, interrupts |
//! | `processor` | instruction set, clocks, frequency, sleep states |
//! | `devices` | IOMMU, VFIO, and the configured ports |
//! | `nic` | what a NIC can have at most |
//! | `settings` | what the configuration itself gives away |

mod core_set;
mod cores;
mod devices;
mod machine;
mod memory;
mod nic;
mod processor;
mod settings;

use std::fmt;
use std::path::Path;

use crate::config::Config;
use machine::Machine;
pub use nic::{NicLimits, ask_kernel};
use serde::Serialize;

/// Memory that an instance takes, in mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// For DPDK: the packet pool, queues and rings.
    pub packets_mb: u64,
    /// For the tables of sessions and mappings.
    pub tables_mb: u64,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing to be said here: the machine has no such thing, or the configuration does not use it.
    NotApplicable,
    /// As it should be.
    Ok,
    /// It costs throughput or makes it uneven.
    Warn,
    /// Line rate is out of reach, or `cesd` won't start.
    Bad,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check, one of [`checks`].
    check: &'static str,
    outcome: Outcome,
    evidence: String,
    /// There exactly when the outcome is [`Outcome::Warn`] or [`Outcome::Bad`].
    mend: Option<String>,
}

impl Finding {
    pub fn check(&self) -> &'static str {
        self.check
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    pub fn mend(&self) -> Option<&str> {
        self.mend.as_deref()
    }

    fn ok(evidence: impl Into<String>) -> Self {
        Self { check: "", outcome: Outcome::Ok, evidence: evidence.into(), mend: None }
    }

    fn not_applicable(why: impl Into<String>) -> Self {
        Self { check: "", outcome: Outcome::NotApplicable, evidence: why.into(), mend: None }
    }

    fn warn(evidence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: "", outcome: Outcome::Warn, evidence: evidence.into(), mend: Some(mend.into()) }
    }

    fn bad(evidence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: "", outcome: Outcome::Bad, evidence: evidence.into(), mend: Some(mend.into()) }
    }
}

/// A check: one finding, or one for each port.
type Check = fn(&Machine<'_>) -> Vec<Finding>;

/// All checks, by name.
const CHECKS: &[(&str, Check)] = &[
    ("instruction-set", processor::instruction_set),
    ("time-stamp-counter", processor::time_stamp_counter),
    ("clock-source", processor::clock_source),
    ("iommu", devices::iommu),
    ("vfio", devices::vfio),
    ("huge-pages", memory::huge_pages),
    ("huge-page-size", memory::huge_page_size),
    ("huge-pages-numa", memory::huge_pages_numa),
    ("transparent-huge-pages", memory::transparent_huge_pages),
    ("locked-memory", memory::locked_memory),
    ("swap", memory::swap),
    ("worker-cores", cores::exist),
    ("control-core", cores::control),
    ("isolated-cores", cores::isolated),
    ("tickless-cores", cores::tickless),
    ("hyper-threads", cores::hyper_threads),
    ("numa-node", cores::numa_node),
    ("interrupts", cores::interrupts),
    ("irqbalance", cores::irqbalance),
    ("frequency-governor", processor::frequency_governor),
    ("energy-preference", processor::energy_preference),
    ("turbo", processor::turbo),
    ("sleep-states", processor::sleep_states),
    ("mitigations", processor::mitigations),
    ("pci-device", devices::exists),
    ("pci-driver", devices::driver),
    ("pci-link", devices::link),
    ("virtual-devices", devices::virtual_devices),
    ("descriptors", devices::descriptors),
    ("queues", devices::queues),
    ("configured-huge-pages", settings::huge_pages),
    ("idle-workers", settings::idle),
];

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Diagnosis(Vec<Finding>);

/// Looks at the machine whose `/proc` and `/sys` are below `root`, for `config` and the memory that it needs. `nic_limits` knows
/// the limits of a network device of the kernel's: [`ask_kernel`] on a real machine.
pub fn examine(
    root: &Path,
    nic_limits: fn(&str) -> NicLimits,
    config: Option<(&Config, Needs)>,
) -> Diagnosis {
    let (config, needs) = config.unzip();
    let machine = Machine { root, nic_limits, config, needs };
    let run = |(name, check): &(&'static str, Check)| {
        check(&machine).into_iter().map(|finding| Finding { check: name, ..finding }).collect::<Vec<_>>()
    };
    Diagnosis(CHECKS.iter().flat_map(run).collect())
}

/// The names of all checks, in the order of the findings.
pub fn checks() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(name, _)| *name)
}

impl Diagnosis {
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Whether anything is [`Outcome::Bad`].
    pub fn is_bad(&self) -> bool {
        self.0.iter().any(|finding| finding.outcome == Outcome::Bad)
    }

    /// A JSON object a line: `check`, `outcome`, `evidence` and `mend`, which is null where nothing is to be mended.
    pub fn json_lines(&self) -> String {
        let line = |finding| serde_json::to_string(finding).unwrap_or_default() + "\n";
        self.0.iter().map(line).collect()
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

impl fmt::Display for Diagnosis {
    /// A line a finding, below it what mends it, and a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = checks().map(str::len).max().unwrap_or(0);
        for finding in &self.0 {
            writeln!(
                f,
                "{:<4}  {:<width$}  {}",
                finding.outcome.to_string(),
                finding.check,
                finding.evidence
            )?;
            if let Some(mend) = &finding.mend {
                writeln!(f, "{:<4}  {:<width$}  -> {mend}", "", "")?;
            }
        }
        let [ok, warn, bad, not] = [Outcome::Ok, Outcome::Warn, Outcome::Bad, Outcome::NotApplicable]
            .map(|outcome| self.count(outcome));
        let verdict = match (bad, warn) {
            (0, 0) => "nothing stands in the way of line rate",
            (0, _) => "it will forward, not as fast and as evenly as it could",
            _ => "line rate is out of reach until the bad ones are mended",
        };
        writeln!(f, "\n{ok} ok, {warn} warn, {bad} bad, {not} not applicable: {verdict}")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::NotApplicable => "n/a",
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Bad => "BAD",
        })
    }
}
