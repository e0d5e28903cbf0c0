//! Memory: huge pages, pages that the kernel moves or swaps out, and pages that a device may reach.

use super::machine::{HugePages, Machine, add_kernel_arguments};
use super::{Finding, Needs};
use crate::config;

const SIZES: &str = "sys/kernel/mm/hugepages";
const SMALL_KB: u64 = 2048;
const LARGE_KB: u64 = 1 << 20;
/// Packet memory from which 2 MB pages are more than a processor's second-level TLB holds (1,024 to 2,048 entries).
const LARGE_PAGES_FROM_MB: u64 = 2048;
/// `CAP_IPC_LOCK` in a capability mask (capabilities(7)).
const CAP_IPC_LOCK: u64 = 1 << 14;

fn reserved_mb(sizes: &[HugePages]) -> u64 {
    sizes.iter().map(|size| size.reserved.saturating_mul(size.page_kb) / 1024).fold(0, u64::saturating_add)
}

fn free_mb(sizes: &[HugePages]) -> u64 {
    sizes.iter().map(|size| size.free.saturating_mul(size.page_kb) / 1024).fold(0, u64::saturating_add)
}

fn of_size(sizes: &[HugePages], page_kb: u64) -> HugePages {
    sizes.iter().copied().find(|size| size.page_kb == page_kb).unwrap_or_default()
}

/// `sizes` as a sentence: `4 of 4 x 1024 MB and 512 of 512 x 2 MB free`.
fn described(sizes: &[HugePages]) -> String {
    let some = sizes.iter().filter(|size| size.reserved > 0);
    let parts: Vec<String> = some
        .map(|size| format!("{} of {} x {} MB free", size.free, size.reserved, size.page_kb / 1024))
        .collect();
    if parts.is_empty() { "no huge pages are reserved".into() } else { parts.join(", ") }
}

/// The command that reserves as many 2 MB pages below `directory` as make up `missing_mb` more.
fn reserve(directory: &str, sizes: &[HugePages], missing_mb: u64) -> String {
    let pages = of_size(sizes, SMALL_KB).reserved + (missing_mb * 1024).div_ceil(SMALL_KB);
    format!("echo {pages} >/{directory}/hugepages-{SMALL_KB}kB/nr_hugepages")
}

/// Whether the configuration leaves huge pages alone.
fn unused(machine: &Machine<'_>) -> bool {
    machine.config.is_some_and(|config| config.eal.huge_pages == config::HugePages::None)
}

/// Needs that are covered, with the pages that cover them; `None` when the check of the amount has said it already.
fn covered(machine: &Machine<'_>) -> Option<(Needs, Vec<HugePages>)> {
    let sizes = machine.huge_pages(SIZES);
    let needs = machine.needs.filter(|_| !unused(machine))?;
    (free_mb(&sizes) >= needs.packets_mb + needs.tables_mb).then_some((needs, sizes))
}

const NOT_COVERED: &str = "no configuration whose needs are covered by huge pages";

/// Enough of them, and free.
pub fn huge_pages(machine: &Machine<'_>) -> Vec<Finding> {
    let sizes = machine.huge_pages(SIZES);
    let (reserved, free) = (reserved_mb(&sizes), free_mb(&sizes));
    let have = described(&sizes);
    let finding = match machine.needs {
        _ if unused(machine) => Finding::not_applicable("eal.huge_pages is \"none\""),
        None if reserved == 0 => Finding::bad(have, reserve(SIZES, &sizes, 2048)),
        None => Finding::ok(have),
        Some(Needs { packets_mb, tables_mb }) => {
            let needed = packets_mb + tables_mb;
            let evidence =
                format!("{have}; needed are {packets_mb} MB for packets and {tables_mb} MB for tables");
            if free >= needed {
                Finding::ok(evidence)
            } else if reserved >= needed {
                let holders = "grep -ls 'huge' /proc/[0-9]*/numa_maps";
                Finding::warn(format!("{evidence}; others hold them, or this instance runs"), holders)
            } else {
                Finding::bad(evidence, reserve(SIZES, &sizes, needed - free))
            }
        }
    };
    vec![finding]
}

/// 1 GB pages for much packet memory; 2 MB pages, as the kernel's default, for the tables.
pub fn huge_page_size(machine: &Machine<'_>) -> Vec<Finding> {
    let Some((needs, sizes)) = covered(machine) else { return vec![Finding::not_applicable(NOT_COVERED)] };
    let (small, large) = (of_size(&sizes, SMALL_KB), of_size(&sizes, LARGE_KB));
    let large_mb = large.free * (LARGE_KB / 1024);
    // DPDK takes the largest first; the tables get what is left of the default size.
    let left_mb = (small.free * (SMALL_KB / 1024)).saturating_sub(needs.packets_mb.saturating_sub(large_mb));
    let gigabytes = needs.packets_mb.div_ceil(1024);
    let default_kb = machine.read("proc/meminfo").and_then(|text| {
        text.lines().find_map(|line| {
            line.strip_prefix("Hugepagesize:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
    });
    let finding = if default_kb.is_some_and(|default| default != SMALL_KB) || left_mb < needs.tables_mb {
        let mend = match default_kb {
            Some(SMALL_KB) | None => reserve(SIZES, &sizes, needs.tables_mb.saturating_sub(left_mb)),
            Some(_) => add_kernel_arguments(
                "huge-pages",
                &format!(
                    "default_hugepagesz=2M hugepagesz=1G hugepages={gigabytes} hugepagesz=2M hugepages={}",
                    needs.tables_mb.div_ceil(2)
                ),
            ),
        };
        let default = default_kb.map_or_else(|| "unknown".into(), |kb| format!("{} MB", kb / 1024));
        let evidence = format!(
            "{left_mb} MB of 2 MB pages for {} MB of tables; the kernel's default size is {default}",
            needs.tables_mb
        );
        Finding::warn(evidence, mend)
    } else if needs.packets_mb >= LARGE_PAGES_FROM_MB && large_mb < needs.packets_mb {
        let evidence = format!("{large_mb} MB of 1 GB pages for {} MB of packets", needs.packets_mb);
        let arguments = format!("hugepagesz=1G hugepages={gigabytes}");
        Finding::warn(evidence, add_kernel_arguments("huge-pages", &arguments))
    } else {
        Finding::ok(format!(
            "packets on {} MB pages, tables on 2 MB pages",
            if large_mb > 0 { 1024 } else { 2 }
        ))
    };
    vec![finding]
}

/// They lie on the nodes of the workers.
pub fn huge_pages_numa(machine: &Machine<'_>) -> Vec<Finding> {
    let (Some((needs, _)), Some(workers)) = (covered(machine), machine.worker_cores()) else {
        return vec![Finding::not_applicable(NOT_COVERED)];
    };
    let nodes = machine.nodes();
    let used: Vec<u16> = nodes
        .iter()
        .filter(|(_, cores)| !cores.shared_with(&workers).is_empty())
        .map(|(node, _)| *node)
        .collect();
    if used.is_empty() || nodes.len() < 2 {
        return vec![Finding::not_applicable("the machine has one NUMA node")];
    }
    let needed = (needs.packets_mb + needs.tables_mb).div_ceil(used.len() as u64);
    let on = |node: u16| {
        let directory = format!("sys/devices/system/node/node{node}/hugepages");
        let sizes = machine.huge_pages(&directory);
        let free = free_mb(&sizes);
        let evidence = format!("node {node}: {free} MB free, {needed} MB needed by its workers");
        if free >= needed {
            Finding::ok(evidence)
        } else {
            Finding::warn(evidence, reserve(&directory, &sizes, needed - free))
        }
    };
    used.into_iter().map(on).collect()
}

/// Not forced upon everybody: making them moves pages, which stops threads.
pub fn transparent_huge_pages(machine: &Machine<'_>) -> Vec<Finding> {
    const FILE: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    let Some(text) = machine.read(FILE) else {
        return vec![Finding::not_applicable("the kernel has none")];
    };
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    if chosen == "always" {
        return vec![Finding::warn(
            "for every process: the kernel moves pages about to make them",
            format!("echo madvise >/{FILE}"),
        )];
    }
    vec![Finding::ok(format!("\"{chosen}\""))]
}

/// VFIO locks what a device may reach (mlock(2), `RLIMIT_MEMLOCK`).
pub fn locked_memory(machine: &Machine<'_>) -> Vec<Finding> {
    if !machine.is_carrier() {
        return vec![Finding::not_applicable("no PCI port")];
    }
    let status = machine.read("proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let limits = machine.read("proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| {
        line.strip_prefix("Max locked memory")?.split_whitespace().next().map(str::to_owned)
    });
    let needed = machine.needs.map_or(64, |needs| needs.packets_mb);
    let finding = match limit {
        _ if mask & CAP_IPC_LOCK != 0 => Finding::ok("CAP_IPC_LOCK: without a limit"),
        None => Finding::not_applicable("/proc/self/limits does not say"),
        Some(limit) if limit == "unlimited" => Finding::ok("unlimited"),
        Some(limit) => {
            let megabytes = limit.parse::<u64>().unwrap_or(0) >> 20;
            let evidence = format!("{megabytes} MB may be locked, {needed} MB are to be");
            if megabytes >= needed {
                Finding::ok(evidence)
            } else {
                Finding::bad(
                    evidence,
                    "prlimit --pid $$ --memlock=unlimited   # systemd: LimitMEMLOCK=infinity",
                )
            }
        }
    };
    vec![finding]
}

/// None: a page that comes back from a disk takes milliseconds.
pub fn swap(machine: &Machine<'_>) -> Vec<Finding> {
    let devices = machine.read("proc/swaps").map_or(0, |text| text.lines().skip(1).count());
    if devices == 0 {
        return vec![Finding::ok("off")];
    }
    vec![Finding::warn(
        format!("{devices} swap device(s) in use"),
        "swapoff -a && sed -i '/\\sswap\\s/s/^/#/' /etc/fstab",
    )]
}
