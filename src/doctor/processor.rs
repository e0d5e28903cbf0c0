//! The processor: what it can do, its clocks, and what slows it down.

use super::Finding;
use super::core_set::CoreSet;
use super::machine::{Machine, add_kernel_arguments, needs_config};

const CPUS: &str = "sys/devices/system/cpu";
/// The flags of x86-64-v3 in `/proc/cpuinfo`, for which the fast path is built.
const NEEDED: &[&str] = &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"];
/// Longest way out of a sleep state that is not worth a word, in microseconds.
const WAKE_MAX: u64 = 10;

/// The flags of the first processor that are not there; `None` where `/proc/cpuinfo` has no flags.
fn missing(machine: &Machine<'_>, wanted: &[&'static str]) -> Option<Vec<&'static str>> {
    let text = machine.read("proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("flags"))?;
    let flags: Vec<&str> = line.split_whitespace().collect();
    Some(wanted.iter().copied().filter(|flag| !flags.contains(flag)).collect())
}

/// x86-64-v3: `cesd` is built for it.
pub fn instruction_set(machine: &Machine<'_>) -> Vec<Finding> {
    vec![match missing(machine, NEEDED) {
        None => Finding::not_applicable("/proc/cpuinfo has no flags"),
        Some(missing) if missing.is_empty() => Finding::ok("x86-64-v3"),
        Some(missing) => Finding::bad(
            format!("not x86-64-v3: {} missing", missing.join(", ")),
            "RUSTFLAGS='-C target-cpu=native' cargo build --release   # or a guest with -cpu host",
        ),
    }]
}

/// It has one speed and never stops: the workers' only clock.
pub fn time_stamp_counter(machine: &Machine<'_>) -> Vec<Finding> {
    vec![match missing(machine, &["constant_tsc", "nonstop_tsc"]) {
        None => Finding::not_applicable("/proc/cpuinfo has no flags"),
        Some(missing) if missing.is_empty() => Finding::ok("constant and never stopping"),
        Some(missing) => Finding::bad(
            format!("{} missing: timers would run at a changing speed", missing.join(", ")),
            "start the guest with -cpu host,+invtsc, or take a processor that has them",
        ),
    }]
}

/// The kernel trusts it too.
pub fn clock_source(machine: &Machine<'_>) -> Vec<Finding> {
    let current = machine.read("sys/devices/system/clocksource/clocksource0/current_clocksource");
    vec![match current.as_deref() {
        Some("tsc") => Finding::ok("tsc"),
        Some(other) => Finding::warn(
            format!("{other}: the kernel does not trust the time stamp counter"),
            add_kernel_arguments("clock", "clocksource=tsc tsc=reliable"),
        ),
        None => Finding::not_applicable("the kernel does not say"),
    }]
}

/// The value of `cpufreq/FILE` of each worker's core, where there is one.
fn frequency(machine: &Machine<'_>, workers: &CoreSet, file: &str) -> Vec<(u16, String)> {
    let value = |core| Some((core, machine.read(&format!("{CPUS}/cpu{core}/cpufreq/{file}"))?));
    workers.iter().filter_map(value).collect()
}

/// A finding about a `cpufreq` file that should say `performance` for every worker.
fn performance(machine: &Machine<'_>, file: &str) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let found = frequency(machine, &workers, file);
    if found.is_empty() {
        return vec![Finding::not_applicable("the frequency is not this system's to set")];
    }
    let wrong: CoreSet =
        found.iter().filter(|(_, value)| value != "performance").map(|(core, _)| *core).collect();
    let Some((_, value)) = found.iter().find(|(_, value)| value != "performance") else {
        return vec![Finding::ok("performance")];
    };
    let cores = wrong.iter().map(|core| core.to_string()).collect::<Vec<_>>().join(" ");
    vec![Finding::warn(
        format!("\"{value}\" on {wrong}"),
        format!("for n in {cores}; do echo performance >/{CPUS}/cpu$n/cpufreq/{file}; done"),
    )]
}

/// Full speed, not by load.
pub fn frequency_governor(machine: &Machine<'_>) -> Vec<Finding> {
    performance(machine, "scaling_governor")
}

/// The processor's own idea of it.
pub fn energy_preference(machine: &Machine<'_>) -> Vec<Finding> {
    performance(machine, "energy_performance_preference")
}

/// The frequency above the nominal one.
pub fn turbo(machine: &Machine<'_>) -> Vec<Finding> {
    for (file, on) in [("intel_pstate/no_turbo", 0), ("cpufreq/boost", 1)] {
        let path = format!("{CPUS}/{file}");
        match machine.number(&path) {
            Some(value) if value == on => return vec![Finding::ok("on")],
            Some(_) => return vec![Finding::warn("off", format!("echo {on} >/{path}"))],
            None => {}
        }
    }
    vec![Finding::not_applicable("not this system's to set")]
}

/// None that takes long to leave.
pub fn sleep_states(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(workers) = machine.worker_cores() else { return needs_config() };
    let mut slow: Vec<(u16, String, u64)> = vec![];
    let mut any = false;
    for core in workers.iter() {
        let directory = format!("{CPUS}/cpu{core}/cpuidle");
        for state in machine.names(&directory) {
            any = true;
            let state = format!("{directory}/{state}");
            let latency = machine.number(&format!("{state}/latency")).unwrap_or(0);
            if latency > WAKE_MAX && machine.number(&format!("{state}/disable")) != Some(1) {
                slow.push((core, machine.read(&format!("{state}/name")).unwrap_or_default(), latency));
            }
        }
    }
    let Some((core, name, latency)) = slow.iter().max_by_key(|(_, _, latency)| *latency) else {
        return vec![match any {
            true => Finding::ok("none takes long to leave"),
            false => Finding::not_applicable("the kernel knows none"),
        }];
    };
    vec![Finding::warn(
        format!("{name} of core {core} takes {latency} µs to leave"),
        add_kernel_arguments("sleep-states", "intel_idle.max_cstate=1 processor.max_cstate=1"),
    )]
}

/// Against speculation: they cost what enters the kernel, which workers don't.
pub fn mitigations(machine: &Machine<'_>) -> Vec<Finding> {
    vec![match machine.kernel_argument("mitigations") {
        Some(value) => {
            Finding::ok(format!("mitigations={value}; workers make no system calls, so it is your choice"))
        }
        None => Finding::ok("the kernel's default; workers make no system calls, so they cost little"),
    }]
}
