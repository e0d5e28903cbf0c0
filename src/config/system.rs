//! The sections about the process: `[instance]`, `[eal]`, `[workers]`, `[flow]`, `[limits]` and `[manage]`.
//!
//! Guarantees: each section by itself is free of contradictions. Never: look at ports, realms or translation.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::error::{Place, Report};
use super::model::{Distribute, Eal, Flow, Fragments, HugePages, Idle, Instance, Limits, Stop, Workers};
use super::section::{Located, Section, or};
use super::values;

pub(super) const SESSIONS_MAX: u32 = 1 << 26;
pub(super) const SESSIONS_MIN: u32 = 1024;
/// Longest path of a Unix socket: `sun_path` without its NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// Highest rate a second of what the edge itself sends, hears or answers.
const RATE_MAX: u32 = 1_000_000;
const CORE_MAX: u16 = 1023;
const WORKERS_MAX: usize = 64;
const EAL_ARGS_MAX: usize = 128;
/// Bytes of the packet pool that an mbuf takes beside its data room: a `rte_mbuf` and the pool's header of it.
const MBUF_OVERHEAD: u64 = 192;

/// The instance, and the path of its socket.
pub(super) fn instance(report: &Report<'_>, mut section: Section<'_>) -> Option<(Instance, PathBuf)> {
    if !section.is_written() {
        report.refuse(
            section.place(),
            "the section is missing",
            "write [instance] and name = \"…\" below it",
        );
    }
    let name = section.require(
        "name",
        values::name,
        "write name = \"…\": the file prefix, the socket and the lock are named by it",
    );
    let runtime_dir = section.parse("runtime_dir", values::absolute_path);
    let place = section.place();
    section.finish();
    let name = name?;
    let socket_place = runtime_dir.as_ref().map_or(place, |runtime_dir| runtime_dir.place);
    let runtime_dir = or(runtime_dir, PathBuf::from("/run/ces"));
    let socket = runtime_dir.join(format!("{}.sock", name.value));
    let length = socket.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        let hint = format!("write a directory that is {} bytes shorter", length - SOCKET_PATH_MAX);
        report.refuse(socket_place, "the path of the socket in it is too long for Unix", hint);
    }
    Some((Instance { name: name.value, runtime_dir }, socket))
}

/// The environment, and where the size of its packet pool is written.
pub(super) fn eal(report: &Report<'_>, mut section: Section<'_>) -> (Eal, Option<Place>) {
    let choices = [("auto", HugePages::Auto), ("required", HugePages::Required), ("none", HugePages::None)];
    let huge_pages = or(section.choice("huge_pages", &choices), HugePages::Auto);
    let memory_mb = section.integer("memory_mb", 64..=1_048_576u32);
    let args = section.strings("args", 0..=EAL_ARGS_MAX, values::eal_arg).unwrap_or_default();
    let mbufs = section.integer("mbufs", 1024..=1u32 << 26);
    let mbuf_data_room = or(section.integer("mbuf_data_room", 192..=16_384u16), 2176);
    section.finish();
    if let (Some(mbufs), Some(memory)) = (&mbufs, &memory_mb) {
        let pool_mb = (u64::from(mbufs.value) * (u64::from(mbuf_data_room) + MBUF_OVERHEAD)) >> 20;
        if pool_mb >= u64::from(memory.value) {
            let message =
                format!("{} mbufs take {pool_mb} MiB, and eal.memory_mb is {}", mbufs.value, memory.value);
            report.refuse(
                mbufs.place,
                message,
                "write fewer mbufs, a smaller mbuf_data_room or more memory_mb",
            );
        }
    }
    let eal = Eal {
        huge_pages,
        memory_mb: memory_mb.map(|memory| memory.value),
        args: args.into_iter().map(|arg| arg.value).collect(),
        mbufs: mbufs.map(|mbufs| mbufs.value),
        mbuf_data_room,
    };
    (eal, mbufs.map(|mbufs| mbufs.place))
}

/// The workers, and where `stop` is written.
pub(super) fn workers(report: &Report<'_>, mut section: Section<'_>) -> Option<(Workers, Located<Stop>)> {
    let section_place = section.place();
    if !section.is_written() {
        report.refuse(section_place, "the section is missing", "write [workers] and cores = [1] below it");
    }
    let cores = section.integers("cores", 1..=WORKERS_MAX, 0..=CORE_MAX, "1");
    section.missing("cores", "write cores = [1]: a core for each worker");
    let control_core = section.integer("control_core", 0..=CORE_MAX);
    let distribute = [("rss", Distribute::Rss), ("software", Distribute::Software)];
    let distribute = or(section.choice("distribute", &distribute), Distribute::Rss);
    let idle = section.choice("idle", &[("poll", Idle::Poll), ("sleep", Idle::Sleep)]);
    let stop = section.choice("stop", &[("signal", Stop::Signal), ("end-of-input", Stop::EndOfInput)]);
    section.finish();

    let (cores, idle) = (cores?, or(idle, Idle::Poll));
    let mut seen = HashSet::new();
    for core in &cores {
        if idle == Idle::Poll && !seen.insert(core.value) {
            let message =
                format!("core {} stands twice, and a worker that polls needs a core of its own", core.value);
            report.refuse(core.place, message, "write another core, or idle = \"sleep\"");
        }
    }
    if let Some(control) = control_core.filter(|control| idle == Idle::Poll && seen.contains(&control.value))
    {
        report.warn(
            control.place,
            format_args!("core {} is a polling worker's too: control will be slow", control.value),
        );
    }
    if cores.is_empty() {
        return None;
    }
    let workers = Workers {
        cores: cores.into_iter().map(|core| core.value).collect(),
        control_core: control_core.map(|control| control.value),
        distribute,
        idle,
        stop: or(stop, Stop::Signal),
    };
    Some((workers, stop.unwrap_or(Located { value: Stop::Signal, place: section_place })))
}

/// The sizes, for so many workers.
pub(super) fn flow(report: &Report<'_>, mut section: Section<'_>, workers: Option<usize>) -> Flow {
    let sessions = sessions(report, &mut section, workers);
    let neighbors = or(section.integer("neighbors", 16..=32_768u16), 1024);
    section.finish();
    Flow { sessions: or(sessions, 65_536), neighbors }
}

/// `sessions` of a section, if it is written: enough of them for so many workers.
pub(super) fn sessions(
    report: &Report<'_>,
    section: &mut Section<'_>,
    workers: Option<usize>,
) -> Option<Located<u32>> {
    let sessions = section.integer("sessions", SESSIONS_MIN..=SESSIONS_MAX)?;
    let least = sessions_least(workers);
    if sessions.value < least {
        let message = format!("{} sessions are fewer than {SESSIONS_MIN} for each worker", sessions.value);
        report.refuse(sessions.place, message, format!("write {least} or more, or fewer workers.cores"));
    }
    Some(sessions)
}

/// The fewest sessions that so many workers can share.
pub(super) fn sessions_least(workers: Option<usize>) -> u32 {
    SESSIONS_MIN * workers.unwrap_or(1) as u32
}

/// The rates and the numbers of held packets.
pub(super) fn limits(report: &Report<'_>, mut section: Section<'_>) -> Limits {
    let mut rate = |key, least, default| or(section.integer(key, least..=RATE_MAX), default);
    let icmp_errors_per_second = rate("icmp_errors_per_second", 0, 1000);
    let echo_per_second = rate("echo_per_second", 0, 10_000);
    let arp_per_second = rate("arp_per_second", 1, 1000);
    let neighbor_messages_per_second = rate("neighbor_messages_per_second", 1, 20_000);
    let exception_per_second = rate("exception_per_second", 0, 20_000);
    let dns_per_second = rate("dns_per_second", 0, 200_000);
    let per_source = section.integer("exception_per_source_per_second", 1..=RATE_MAX);
    let dns_per_source = section.integer("dns_per_source_per_second", 1..=RATE_MAX);
    let subscriber = section.integer("subscriber_packets_per_second", 100..=100_000_000u32);
    let hold = section.integer("neighbor_hold", 1..=64u16);
    let hold_total = section.integer("neighbor_hold_total", 1..=u16::MAX);
    let fragments = fragments(report, &mut section);
    section.finish();
    let (neighbor_hold, neighbor_hold_total) = (or(hold, 8), or(hold_total, 1024));
    if let Some(total) = hold_total.filter(|total| total.value < neighbor_hold) {
        let message = format!("{} is less than neighbor_hold, {neighbor_hold}", total.value);
        report.refuse(total.place, message, format!("write {neighbor_hold} or more"));
    }
    for (one, all, key) in [
        (per_source, exception_per_second, "exception_per_second"),
        (dns_per_source, dns_per_second, "dns_per_second"),
    ] {
        if let Some(more) = one.filter(|source| source.value > all) {
            report.warn(more.place, format_args!("without effect: {key} is {all}"));
        }
    }
    Limits {
        icmp_errors_per_second,
        echo_per_second,
        arp_per_second,
        neighbor_messages_per_second,
        exception_per_second,
        exception_per_source_per_second: or(per_source, 2000),
        dns_per_second,
        dns_per_source_per_second: or(dns_per_source, 5000),
        subscriber_packets_per_second: subscriber.map(|rate| rate.value),
        neighbor_hold,
        neighbor_hold_total,
        fragments,
    }
}

/// What is followed and held of fragments.
fn fragments(report: &Report<'_>, section: &mut Section<'_>) -> Fragments {
    let datagrams = or(section.integer("fragment_datagrams", 64..=1 << 20), 4096);
    let of_one = section.integer("fragment_datagrams_per_source", 1..=1 << 20);
    let hold = or(section.integer("fragment_hold", 64..=u16::MAX), 1024);
    let held_of_one = section.integer("fragment_hold_per_source", 1..=u16::MAX);
    let timeout = or(section.integer("fragment_timeout", 1..=120), 15);
    let refuse = |place, more: u32, key, all: u32| {
        report.refuse(place, format!("{more} is more than {key}, {all}"), format!("write {all} or less"));
    };
    if let Some(more) = of_one.filter(|of_one| of_one.value > datagrams) {
        refuse(more.place, more.value, "fragment_datagrams", datagrams);
    }
    if let Some(more) = held_of_one.filter(|of_one| of_one.value > hold) {
        refuse(more.place, more.value.into(), "fragment_hold", hold.into());
    }
    Fragments {
        datagrams,
        datagrams_per_source: of_one.map_or(64.min(datagrams), |n| n.value),
        hold,
        hold_per_source: held_of_one.map_or(128.min(hold), |n| n.value),
        timeout,
    }
}

/// The directives of the log.
pub(super) fn manage(mut section: Section<'_>) -> String {
    let log = or(section.parse("log", values::log_filter), "info".into());
    section.finish();
    log
}
