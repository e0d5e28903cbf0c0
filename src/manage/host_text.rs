//! The host register for people: a part of [`super::text`], with its promises.

use super::host_model::{BadLine, HostChanged, HostList, HostStatus, ImportPhase, ImportShown};
use super::text::{LEFT, Table, count, list};

/// `show hosts`.
pub fn hosts(hosts: &HostList) -> String {
    let table = table(&hosts.hosts);
    let shown = count(hosts.hosts.len() as u64);
    let more = hosts.next.map_or_else(String::new, |next| format!(" (--from {next} shows the next)"));
    let (matched, total) = (count(hosts.total_matched), count(hosts.total));
    let capacity = count(hosts.capacity);
    format!("{table}{shown} of {matched} matching hosts, {total} in all, room for {capacity}{more}\n")
}

fn table(hosts: &[HostStatus]) -> Table {
    let mut table = Table::new(&[LEFT; 8]);
    let names = ["name", "realm", "addresses", "group", "services", "pending", "per second", "origin"];
    table.row(names.map(str::to_owned));
    for HostStatus { origin, entry } in hosts {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        table.row([
            entry.name.clone(),
            entry.realm.clone(),
            or_none(list(&entry.addresses)),
            entry.group.clone().unwrap_or("-".into()),
            or_none(list(&entry.services)),
            count(entry.pending_reservations),
            count(entry.reservations_per_second),
            origin.to_string(),
        ]);
    }
    table
}

/// `host add` and `host remove`.
pub fn host_changed(changed: &HostChanged) -> String {
    let (what, host, kept) = match changed {
        HostChanged::Added { host, kept } => ("added", host, kept),
        HostChanged::Replaced { host, kept } => ("replaced", host, kept),
        HostChanged::Removed { host, kept } => ("removed", host, kept),
        HostChanged::Importing { number } => return format!("import {number} has begun\n"),
    };
    let until = if *kept { "" } else { ", until cesd ends: hosts.store is not configured" };
    format!("{what}{until}:\n{}", table(std::slice::from_ref(host)))
}

/// How an import goes, on a line.
pub fn import_progress(import: &ImportShown) -> String {
    let percent = (import.bytes_read * 100).checked_div(import.bytes).unwrap_or(100);
    format!("{percent:>3} % read, {} lines, {} hosts", count(import.lines), count(import.hosts))
}

/// `show import`.
pub fn import(import: &ImportShown) -> String {
    match (import.state, &import.refusal) {
        (ImportPhase::None, _) => "no import since the start\n".into(),
        (ImportPhase::Done, _) => format!("import {}: {}", import.number, imported(import)),
        (_, Some(why)) => {
            format!("import {} came to nothing: {why}\n{}", import.number, bad_lines("line", import))
        }
        _ => format!("import {} is under way: {}\n", import.number, import_progress(import)),
    }
}

/// What an import that is done has done.
pub fn imported(import: &ImportShown) -> String {
    format!("{} hosts imported, of {} lines\n", count(import.hosts), count(import.lines))
}

/// The bad lines of an import, as a compiler tells them.
pub fn bad_lines(file: &str, import: &ImportShown) -> String {
    let line = |bad: &BadLine| {
        let key = if bad.key.is_empty() { String::new() } else { format!("{}: ", bad.key) };
        format!("{file}:{}: {key}{}\n  hint: {}\n", bad.line, bad.message, bad.hint)
    };
    import.bad_lines.iter().map(line).collect()
}
