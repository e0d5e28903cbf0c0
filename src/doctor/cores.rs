//! The workers' cores: there, and left alone by everything else.

use super::Finding;
use super::core_set::CoreSet;
use super::machine::{Machine, add_kernel_arguments, needs_config};

const CPUS: &str = "sys/devices/system/cpu";

fn online(machine: &Machine<'_>) -> CoreSet {
    machine.cores_in(&format!("{CPUS}/online")).unwrap_or_default()
}

/// They exist and are switched on.
pub fn exist(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let online = online(machine);
    let missing = workers.without(&online);
    if missing.is_empty() {
        return vec![Finding::ok(format!("{workers} of {online}"))];
    }
    let evidence = format!("workers.cores names {missing}, and online are {online}");
    let present = machine.cores_in(&format!("{CPUS}/present")).unwrap_or_default();
    vec![match missing.without(&present).is_empty() {
        true => Finding::bad(
            evidence,
            format!("for n in {}; do echo 1 >/{CPUS}/cpu$n/online; done", words(&missing)),
        ),
        false => {
            Finding::bad(evidence, format!("[workers] cores = [{}]", commas(&online, workers.iter().count())))
        }
    }]
}

/// ARP, the socket and the log run beside the workers, not among them.
pub fn control(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let others = online(machine).without(&workers);
    let first = others.iter().next().unwrap_or(0);
    vec![match machine.config.and_then(|config| config.workers.control_core) {
        Some(core) if workers.contains(core) => Finding::warn(
            format!("core {core} forwards, and is the control threads' too"),
            format!("[workers] control_core = {first}"),
        ),
        Some(core) => Finding::ok(format!("core {core}")),
        None if others.is_empty() => Finding::warn(
            "every core is a worker's",
            format!(
                "[workers] cores = [{}]",
                commas(&workers, workers.iter().count().saturating_sub(1).max(1))
            ),
        ),
        None => Finding::ok(format!("core {first}, the first without a worker")),
    }]
}

/// `isolcpus=`: the scheduler puts nothing else there.
pub fn isolated(machine: &Machine<'_>) -> Vec<Finding> {
    let isolated = machine.kernel_argument("isolcpus").map(|text| CoreSet::parse(&text));
    let (evidence, workers) = match (&isolated, machine.worker_cores()) {
        (Some(isolated), None) => return vec![Finding::ok(format!("isolcpus={isolated}"))],
        (Some(isolated), Some(workers)) => {
            let missing = workers.without(isolated);
            if missing.is_empty() {
                return vec![Finding::ok(format!("isolcpus={isolated}"))];
            }
            (format!("isolcpus={isolated} leaves out {missing}"), workers)
        }
        (None, workers) => {
            let workers = workers.unwrap_or_else(|| online(machine).iter().skip(1).collect());
            ("isolcpus= is not on the kernel's command line".into(), workers)
        }
    };
    vec![Finding::bad(evidence, isolate(&workers))]
}

fn isolate(workers: &CoreSet) -> String {
    add_kernel_arguments("cores", &format!("isolcpus={workers} nohz_full={workers} rcu_nocbs={workers}"))
}

/// `nohz_full=` and `rcu_nocbs=`: no timer tick a thousand times a second, no callbacks of others. The first implies the
/// second.
pub fn tickless(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let named = |key| machine.kernel_argument(key).map(|text| CoreSet::parse(&text)).unwrap_or_default();
    let (no_tick, no_callbacks) = (named("nohz_full"), named("rcu_nocbs"));
    let ticking = workers.without(&no_tick);
    let calling = ticking.without(&no_callbacks);
    if ticking.is_empty() {
        return vec![Finding::ok(format!("nohz_full={no_tick}"))];
    }
    let callbacks = if calling.is_empty() { String::new() } else { format!(", rcu_nocbs= {calling}") };
    vec![Finding::warn(format!("nohz_full= leaves out {ticking}{callbacks}"), isolate(&workers))]
}

/// No two workers on one physical core, and nothing else beside a worker.
pub fn hyper_threads(machine: &Machine<'_>) -> Vec<Finding> {
    let off = format!("echo off >/{CPUS}/smt/control");
    let Some(workers) = machine.worker_cores() else {
        return vec![match machine.number(&format!("{CPUS}/smt/active")) {
            Some(1) => Finding::warn("on: a worker's sibling takes half of its core", off),
            _ => Finding::ok("off"),
        }];
    };
    let siblings = |core: u16| {
        let path = format!("{CPUS}/cpu{core}/topology/thread_siblings_list");
        machine.cores_in(&path).unwrap_or_default().without(&CoreSet::from_iter([core]))
    };
    let beside: CoreSet = workers.iter().flat_map(|core| siblings(core).iter().collect::<Vec<_>>()).collect();
    let shared = beside.shared_with(&workers);
    let isolated = machine.kernel_argument("isolcpus").map(|text| CoreSet::parse(&text)).unwrap_or_default();
    let busy = beside.without(&workers).without(&isolated);
    vec![if !shared.is_empty() {
        Finding::bad(format!("workers {shared} are threads of the same physical cores"), off)
    } else if !busy.is_empty() {
        Finding::warn(format!("{busy} are threads of the workers' physical cores, and not isolated"), off)
    } else if beside.is_empty() {
        Finding::ok("no worker has a sibling")
    } else {
        Finding::ok(format!("the workers' siblings {beside} are isolated"))
    }]
}

/// Every worker on the node of every NIC: another node's memory is twice as far.
pub fn numa_node(machine: &Machine<'_>) -> Vec<Finding> {
    let (Some(workers), nodes) = (machine.worker_cores(), machine.nodes()) else { return needs_config() };
    if nodes.len() < 2 {
        return vec![Finding::not_applicable("the machine has one NUMA node")];
    }
    let mut findings = vec![];
    for (port, address) in machine.pci_ports() {
        // -1, and nothing for a device that isn't there: no node is known.
        let Some(node) = machine.number(&format!("sys/bus/pci/devices/{address}/numa_node")) else {
            continue;
        };
        let Some((_, near)) = nodes.iter().find(|(number, _)| u64::from(*number) == node) else { continue };
        let far = workers.without(near);
        findings.push(if far.is_empty() {
            Finding::ok(format!("port \"{}\" and the workers: node {node}", port.name))
        } else {
            let cores = commas(near, workers.iter().count());
            Finding::warn(
                format!("port \"{}\" is on node {node}, workers {far} are not", port.name),
                format!("[workers] cores = [{cores}]"),
            )
        });
    }
    if findings.is_empty() {
        findings.push(Finding::not_applicable("no PCI port with a known node"));
    }
    findings
}

/// No device interrupts a worker.
pub fn interrupts(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let on_workers = |irq: &String| {
        let directory = format!("proc/irq/{irq}");
        // One that nobody handles never comes; the kernel names the handler by a directory.
        let is_handled =
            machine.names(&directory).iter().any(|name| machine.is_directory(&format!("{directory}/{name}")));
        let allowed = machine.cores_in(&format!("{directory}/smp_affinity_list")).unwrap_or_default();
        is_handled && !allowed.shared_with(&workers).is_empty()
    };
    let all = machine.names("proc/irq");
    let found: Vec<&str> = all
        .iter()
        .filter(|irq| irq.parse::<u32>().is_ok())
        .filter(|irq| on_workers(irq))
        .map(String::as_str)
        .collect();
    if found.is_empty() {
        return vec![Finding::ok(format!("none of {} may come to workers", all.len().saturating_sub(1)))];
    }
    let some = found.iter().take(8).copied().collect::<Vec<_>>().join(" ");
    let dots = if found.len() > 8 { " …" } else { "" };
    let others = online(machine).without(&workers);
    if others.is_empty() {
        return vec![Finding::warn(
            format!("{} may come to workers ({some}{dots}), and no core is without one", found.len()),
            format!(
                "[workers] cores = [{}]",
                commas(&workers, workers.iter().count().saturating_sub(1).max(1))
            ),
        )];
    }
    vec![Finding::warn(
        format!("{} may come to workers: {some}{dots}", found.len()),
        format!("for f in /proc/irq/[0-9]*/smp_affinity_list; do echo {others} >$f; done 2>/dev/null"),
    )]
}

/// The daemon that moves interrupts keeps off isolated cores only.
pub fn irqbalance(machine: &Machine<'_>) -> Vec<Finding> {
    let processes = machine.names("proc");
    let mut numbers = processes.iter().filter(|name| name.parse::<u32>().is_ok());
    let runs =
        numbers.any(|pid| machine.read(&format!("proc/{pid}/comm")).is_some_and(|name| name == "irqbalance"));
    let isolated = machine.cores_in(&format!("{CPUS}/isolated")).unwrap_or_default();
    let open = machine.worker_cores().unwrap_or_default().without(&isolated);
    vec![match (runs, open.is_empty()) {
        (false, _) => Finding::ok("does not run"),
        (true, true) => Finding::ok("runs, and keeps off isolated cores"),
        (true, false) => Finding::warn(
            format!("runs, and may move interrupts to {open}"),
            "systemctl disable --now irqbalance",
        ),
    }]
}

/// The first `count` of them, as a list of the configuration.
fn commas(cores: &CoreSet, count: usize) -> String {
    cores.iter().take(count).map(|core| core.to_string()).collect::<Vec<_>>().join(", ")
}

fn words(cores: &CoreSet) -> String {
    cores.iter().map(|core| core.to_string()).collect::<Vec<_>>().join(" ")
}
