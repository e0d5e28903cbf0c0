//! Answers laid out for people: aligned tables, human units.
//!
//! Guarantees: everything that the JSON form holds is there, unless the caller asks to leave out zero drops or stages at rest. Never
//! a promise to programs: those take the JSON form.

pub use super::dns_text::dns;
pub use super::host_text::{bad_lines, host_changed, hosts, import, import_progress, imported};
use std::fmt::{self, Display, Write};

use super::model::{
    Counters, Determined, Flows, NeighborStatus, PoolChanged, PoolStatus, PortStatus, RouteChanged,
    RouteStatus, Routes, Status, WorkerCounters,
};
use crate::packet::DropReason;

/// `show status`.
pub fn status(status: &Status) -> String {
    let mut facts = Table::new(&[LEFT, LEFT]);
    facts.row(["instance".into(), status.instance.clone()]);
    facts.row(["version".into(), format!("{} (protocol {})", status.ces_version, status.version)]);
    facts.row(["state".into(), if status.ready { "ready" } else { "not ready" }.into()]);
    facts.row(["up".into(), duration(status.uptime_ms)]);
    facts.row(["sessions".into(), share(status.sessions, status.sessions_capacity)]);
    facts.row(["mappings".into(), share(status.mappings, status.mappings_capacity)]);
    facts.row(["subscribers".into(), share(status.subscribers, status.subscribers_capacity)]);
    facts.row(["huge pages".into(), if status.huge_pages { "yes" } else { "no" }.into()]);

    let mut workers = Table::new(&[LEFT, RIGHT, LEFT, RIGHT]);
    workers.row(["worker", "core", "state", "last round"].map(str::to_owned));
    for worker in &status.workers {
        workers.row([
            worker.thread.clone(),
            worker.core.to_string(),
            worker.state.to_string(),
            format!("{} ago", duration(worker.heartbeat_age_ms)),
        ]);
    }
    let mut text = format!("{facts}\n{workers}");
    for note in &status.notes {
        let _ = write!(text, "\nnote: {note}\n");
    }
    text
}

/// `show ports`.
pub fn ports(ports: &[PortStatus]) -> String {
    let mut devices = Table::new(&[LEFT, LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, LEFT, LEFT, LEFT]);
    devices.row(
        ["port", "link", "MAC", "driver", "speed", "MTU", "queues", "descriptors", "device", "offloads"]
            .map(str::to_owned),
    );
    let mut traffic = Table::new(&[LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]);
    traffic.row(
        ["port", "received", "bytes", "missed", "broken", "no buffer", "sent", "bytes", "failed"]
            .map(str::to_owned),
    );
    for port in ports {
        devices.row([
            port.name.clone(),
            if port.link_up { "up" } else { "down" }.into(),
            port.mac.clone(),
            port.driver.clone(),
            port.speed_mbps.map_or("-".into(), speed),
            port.mtu.to_string(),
            format!("{} rx {} tx", port.rx_queues, port.tx_queues),
            format!("{} rx {} tx", port.rx_descriptors, port.tx_descriptors),
            port.device.clone(),
            if port.offloads.is_empty() { "-".into() } else { port.offloads.join(" ") },
        ]);
        traffic.row([
            port.name.clone(),
            count(port.rx_packets),
            bytes(port.rx_bytes),
            count(port.rx_missed),
            count(port.rx_errors),
            count(port.rx_nombuf),
            count(port.tx_packets),
            bytes(port.tx_bytes),
            count(port.tx_errors),
        ]);
    }
    format!("{devices}\n{traffic}")
}

/// What `show counters` says of the drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropDetail {
    /// Those at zero too.
    pub all: bool,
    /// A line of explanation each.
    pub explain: bool,
}

/// A row of `show counters`: its name, its unit and where it stands.
type CounterRow = (&'static str, fn(u64) -> String, fn(&WorkerCounters) -> u64);

const COUNTER_ROWS: [CounterRow; 16] = [
    ("received packets", count, |w| w.rx_packets),
    ("received bytes", bytes, |w| w.rx_bytes),
    ("sent packets", count, |w| w.tx_packets),
    ("sent bytes", bytes, |w| w.tx_bytes),
    ("forwarded packets", count, |w| w.forwarded_packets),
    ("forwarded bytes", bytes, |w| w.forwarded_bytes),
    ("local packets", count, |w| w.local_packets),
    ("originated packets", count, |w| w.originated_packets),
    ("handed off", count, |w| w.handed_off),
    ("taken over", count, |w| w.received_handoff),
    ("sessions created", count, |w| w.sessions_created),
    ("sessions removed", count, |w| w.sessions_removed),
    ("requests for mappings", count, |w| w.control_requests),
    ("mappings asked for", count, |w| w.asked_mappings),
    ("polls", count, |w| w.polls),
    ("empty polls", count, |w| w.empty_polls),
];

/// `show counters`: a column a worker.
pub fn counters(counters: &Counters, detail: DropDetail) -> String {
    let names: Vec<String> = counters.workers.iter().map(|w| format!("worker {}", w.worker)).collect();
    let mut columns = vec![LEFT, RIGHT];
    columns.resize(2 + names.len(), RIGHT);
    let head = |what: &str| {
        [what.to_owned(), "total".to_owned()].into_iter().chain(names.clone()).collect::<Vec<_>>()
    };

    let mut work = Table::new(&columns);
    work.row(head("counter"));
    for (name, unit, of) in COUNTER_ROWS {
        let total = counters.workers.iter().map(of).sum();
        work.row([name.into(), unit(total)].into_iter().chain(counters.workers.iter().map(|w| unit(of(w)))));
    }

    if detail.explain {
        columns.push(LEFT);
    }
    let mut drops = Table::new(&columns);
    drops.row(head("drop reason").into_iter().chain(detail.explain.then(|| "explanation".into())));
    let mut hidden = 0;
    for (name, drop) in counters.drops.iter() {
        if drop.total == 0 && !detail.all {
            hidden += 1;
            continue;
        }
        let row = [name.into(), count(drop.total)].into_iter().chain(drop.workers.iter().map(|&n| count(n)));
        drops.row(row.chain(detail.explain.then(|| explanation(name))));
    }
    let mut text = format!("{work}\n{drops}");
    if hidden > 0 {
        let _ = writeln!(text, "{hidden} reasons at zero are not shown (--all shows them)");
    }
    text
}

/// The explanation of a drop reason; none for one that only a newer `cesd` knows.
fn explanation(name: &str) -> String {
    let reason = DropReason::ALL.iter().find(|reason| reason.name() == name);
    reason.map_or(String::new(), |reason| reason.explanation().trim().to_owned())
}

/// `show flows`.
pub fn flows(flows: &Flows) -> String {
    let mut table =
        Table::new(&[LEFT, LEFT, LEFT, LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]);
    table.row(
        ["realm", "proto", "inside", "outside", "remote", "state"]
            .into_iter()
            .chain(["out", "bytes out", "in", "bytes in", "idle", "worker"])
            .map(str::to_owned),
    );
    for flow in &flows.flows {
        table.row([
            flow.realm.clone(),
            flow.protocol.to_string(),
            flow.inside.to_string(),
            flow.outside.to_string(),
            flow.remote.to_string(),
            flow.state.clone(),
            count(flow.packets_out),
            bytes(flow.bytes_out),
            count(flow.packets_in),
            bytes(flow.bytes_in),
            duration(flow.idle_ms),
            flow.home_worker.to_string(),
        ]);
    }
    let (shown, total) = (count(flows.flows.len() as u64), count(flows.total_matched));
    let more = if flows.truncated { " (--limit shows more)" } else { "" };
    format!("{table}{shown} of {total} matching flows{more}\n")
}

/// `show neighbors`.
pub fn neighbors(neighbors: &[NeighborStatus]) -> String {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, LEFT, LEFT, RIGHT, RIGHT]);
    table.row(["interface", "address", "role", "MAC", "state", "age", "held"].map(str::to_owned));
    for neighbor in neighbors {
        table.row([
            neighbor.interface.clone(),
            neighbor.address.to_string(),
            if neighbor.gateway { "gateway" } else { "-" }.into(),
            neighbor.mac.clone().unwrap_or("-".into()),
            neighbor.state.clone(),
            duration(neighbor.age_ms),
            neighbor.held.to_string(),
        ]);
    }
    table.to_string()
}

/// `show routes`.
pub fn routes(routes: &Routes) -> String {
    let mut table = routes_table();
    routes.routes.iter().for_each(|route| route_rows(&mut table, route));
    let (shown, total) = (count(routes.routes.len() as u64), count(routes.total_matched));
    let more = if routes.truncated { " (--realm and --limit show others)" } else { "" };
    format!("{table}{shown} of {total} matching routes{more}\n")
}

/// `route add` and `route del`.
pub fn route_changed(changed: &RouteChanged) -> String {
    let mut table = routes_table();
    route_rows(&mut table, &changed.route);
    format!("{}:\n{table}", changed.action)
}

fn routes_table() -> Table {
    let mut table = Table::new(&[LEFT; 7]);
    table.row(["realm", "prefix", "kind", "gateway", "interface", "neighbor", "origin"].map(str::to_owned));
    table
}

/// A row a next hop; one for a route that has none.
fn route_rows(table: &mut Table, route: &RouteStatus) {
    let hops = route.next_hops.iter().map(|hop| {
        let gateway = hop.gateway.map_or("on-link".into(), |gateway| gateway.to_string());
        [gateway, hop.interface.clone(), hop.neighbor.clone().unwrap_or("-".into())]
    });
    let none = route.next_hops.is_empty().then(|| ["-", "-", "-"].map(str::to_owned));
    for (number, [gateway, interface, neighbor]) in hops.chain(none).enumerate() {
        let once = |text: String| if number == 0 { text } else { String::new() };
        table.row([
            once(route.realm.clone()),
            once(route.prefix.to_string()),
            once(route.kind.to_string()),
            gateway,
            interface,
            neighbor,
            once(route.origin.to_string()),
        ]);
    }
}

/// `show pools`.
pub fn pools(pools: &[PoolStatus]) -> String {
    let mut behaviours = Table::new(&[LEFT; 6]);
    behaviours.row(["pool", "state", "mapping", "filtering", "ports", "sharing"].map(str::to_owned));
    let mut use_ = Table::new(&[LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]);
    use_.row(["pool", "blocks leased", "resting", "TCP", "UDP", "ICMP", "other"].map(str::to_owned));
    let mut members = Table::new(&[LEFT; 4]);
    members.row(["pool", "realms", "subscribers", "addresses"].map(str::to_owned));
    for pool in pools {
        behaviours.row([
            pool.name.clone(),
            pool.state.to_string(),
            pool.mapping.to_string(),
            pool.filtering.to_string(),
            format!("{} {}", pool.ports, pool.port_selection),
            pool.sharing.to_string(),
        ]);
        let numbers = [pool.in_use.tcp, pool.in_use.udp, pool.in_use.icmp, pool.in_use.other];
        let leased = share(pool.blocks_leased, pool.blocks);
        let counts = [pool.blocks_resting].into_iter().chain(numbers).map(count);
        use_.row([pool.name.clone(), leased].into_iter().chain(counts));
        let all = pool.subscribers.is_empty().then(|| "all".to_owned());
        members.row([
            pool.name.clone(),
            pool.realms.join(","),
            all.unwrap_or_else(|| list(&pool.subscribers)),
            list(&pool.addresses),
        ]);
    }
    format!("{behaviours}\n{use_}\n{members}")
}

pub(super) fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `pool drain`, `undrain` and `remove`.
pub fn pool_changed(changed: &PoolChanged) -> String {
    let PoolStatus { name, state, blocks_leased, .. } = &changed.pool;
    let (when, blocks) = (if changed.changed { "now" } else { "already" }, count(*blocks_leased));
    format!("pool {name} is {state} {when}; {blocks} blocks are leased\n")
}

/// `nat44 inside` and `nat44 public`.
pub fn determined(determined: &[Determined]) -> String {
    let mut table = Table::new(&[LEFT; 6]);
    table.row(["pool", "state", "realm", "inside", "public", "ports"].map(str::to_owned));
    for d in determined {
        table.row([
            d.pool.clone(),
            d.state.to_string(),
            d.realm.clone(),
            d.inside.to_string(),
            d.public.to_string(),
            d.ports.to_string(),
        ]);
    }
    table.to_string()
}

/// `1,032,192`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.50 GB`, in powers of 1000 as line rates are.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut scaled = n as f64 / 1000.0;
    let mut unit = 0;
    while scaled >= 999.995 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.2} {}", UNITS[unit])
}

/// `10 Gb/s`.
fn speed(mbps: u32) -> String {
    match mbps {
        0..1000 => format!("{mbps} Mb/s"),
        _ => format!("{} Gb/s", f64::from(mbps) / 1000.0),
    }
}

/// `12 ms`, `1.5 s`, `3m05s`, `2h03m`, `4d05h`.
pub(super) fn duration(ms: u64) -> String {
    let (s, m, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{s}.{} s", ms % 1000 / 100),
        60_000..3_600_000 => format!("{m}m{:02}s", s % 60),
        3_600_000..86_400_000 => format!("{h}h{:02}m", m % 60),
        _ => format!("{}d{:02}h", h / 24, h % 24),
    }
}

/// `12 of 1,000 (1.2 %)`.
pub(super) fn share(used: u64, capacity: u64) -> String {
    let percent = if capacity == 0 { 0.0 } else { used as f64 * 100.0 / capacity as f64 };
    format!("{} of {} ({percent:.1} %)", count(used), count(capacity))
}

#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}
pub(super) const LEFT: Align = Align::Left;
pub(super) const RIGHT: Align = Align::Right;

/// Rows of cells, laid out so that columns line up two spaces apart.
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[Align]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), align) in row.iter().zip(&widths).zip(&self.columns) {
                match align {
                    Align::Left => write!(line, "{cell:<width$}  ")?,
                    Align::Right => write!(line, "{cell:>width$}  ")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::model::Drops;
    use crate::packet::DROP_REASONS;

    #[test]
    fn units() {
        assert_eq!([0, 999, 1000, 1_032_192].map(count), ["0", "999", "1,000", "1,032,192"]);
        assert_eq!(
            [0, 999, 1000, 999_995, 1_500_000_000].map(bytes),
            ["0 B", "999 B", "1.00 kB", "1.00 MB", "1.50 GB"]
        );
        assert_eq!(bytes(u64::MAX), "18.45 EB");
        assert_eq!([0, 100, 2500, 10_000].map(speed), ["0 Mb/s", "100 Mb/s", "2.5 Gb/s", "10 Gb/s"]);
        assert_eq!(
            [0, 1500, 59_999, 185_000, 7_380_000, 363_600_000].map(duration),
            ["0 ms", "1.5 s", "59.9 s", "3m05s", "2h03m", "4d05h"]
        );
        assert_eq!(share(12, 1000), "12 of 1,000 (1.2 %)");
        assert_eq!(share(0, 0), "0 of 0 (0.0 %)");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[LEFT, RIGHT]);
        table.row(["name", "n"].map(str::to_owned));
        table.row(["é", "1,000"].map(str::to_owned));
        assert_eq!(table.to_string(), "name      n\né     1,000\n");
    }

    #[test]
    fn drops_at_zero_are_hidden_until_asked_for() {
        let mut drops = [0; DROP_REASONS];
        drops[DropReason::NoRoute as usize] = 1234;
        let all = Counters { workers: vec![WorkerCounters::default()], drops: Drops::new(&[drops]) };
        let text = counters(&all, DropDetail::default());
        assert!(text.contains("no_route") && text.contains("1,234") && !text.contains("tx_full"), "{text}");
        assert!(text.contains(&format!("{} reasons at zero", DROP_REASONS - 1)), "{text}");
        let text = counters(&all, DropDetail { all: true, explain: true });
        for reason in DropReason::ALL {
            assert!(text.contains(reason.name()) && text.contains(reason.explanation().trim()), "{text}");
        }
        assert!(!text.contains("at zero"), "{text}");
    }
}
