//! What it costs that sessions end. `removal`: of sessions that nobody uses any more, or whose pool is removed, by the sweep, and nothing
//! else to do. `sweep`: beside
//! a load that goes on, with as many sessions more that only have to be looked at, and then expire all together.

use crate::bed::{Case, Direction, Kind, Measured, Outcome, Reading, Window};
use crate::capture::{self, Load, PORTS_PER_HOST};
use crate::generator::Traffic;
use crate::quiet::Slices;
use crate::setup::{Place, Running};
use crate::turns::Spread;
use crate::{ROUNDS, latency, load_average, round};
use ces::dataplane::account::Stage;
use std::path::Path;
use std::time::{Duration, Instant};

/// Sessions that end.
pub const REMOVED: [u32; 2] = [1024 * PORTS_PER_HOST, 16_384 * PORTS_PER_HOST];
/// Seconds without a packet after which they do, more than opening all takes where others use the core, too; and after which they would, had their pool not been removed before.
const IDLE: u32 = 4;
const LONG_IDLE: u32 = 20;
/// Sessions that the load is of, and those that are swept beside them.
const HELD: u32 = 1024 * PORTS_PER_HOST;
pub const SWEPT: u32 = 131_072 * PORTS_PER_HOST - HELD;
/// Seconds after which those expire: long after all have been opened and some windows are over.
const SWEPT_IDLE: u32 = 60;
const WINDOW: Window = Window::sliced(Duration::from_millis(400));
/// Windows in which sessions expire.
const EXPIRING: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// Opens `total` sessions, a million a second.
fn traffic(total: u32) -> Traffic {
    let fresh_total = u64::from(total);
    Traffic {
        held: 0,
        fresh_percent: 100,
        sessions_per_mapping: 1,
        fresh_live: fresh_total,
        fresh_per_second: 1_000_000,
        fresh_total,
    }
}

/// Waits until `is_so` of what was (created, removed).
fn wait(running: &mut Running, what: &str, is_so: impl Fn(u64, u64) -> bool) -> Outcome<()> {
    let start = Instant::now();
    loop {
        let counts = running.read()?.counts;
        if is_so(counts.created, counts.removed) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{what}: {counts:?} after {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What ends all sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody uses them.
    Idle,
    /// Their pool is removed.
    Pool,
}

/// At each size, in each way.
pub fn removal(place: &Place<'_>, json: bool) -> Outcome<()> {
    for end in [End::Idle, End::Pool] {
        REMOVED.iter().try_for_each(|&sessions| removal_of(place, sessions, end, json))?;
    }
    Ok(())
}

/// By the worker's own account of its sweep: it naps in between, which is none of it.
fn removal_of(place: &Place<'_>, sessions: u32, end: End, json: bool) -> Outcome<()> {
    let total = u64::from(sessions);
    let (idle, by) = if end == End::Idle { (IDLE, "idle") } else { (LONG_IDLE, "pool_removed") };
    let mut running = place.start(sessions, idle, traffic(sessions))?;
    let start = Instant::now();
    wait(&mut running, "to be opened", |created, _| created == total)?;
    let before = running.read()?;
    if end == End::Pool {
        if before.counts.removed != 0 {
            return Err(format!("some went by themselves: {:?}", before.counts).into());
        }
        running.remove_pool()?;
    }
    wait(&mut running, "the last to go", |_, removed| removed > total / 100 * 99)?;
    let after = running.read()?;
    let removed = after.counts.removed - before.counts.removed;
    let is_in_time = end == End::Idle || start.elapsed() < Duration::from_secs(LONG_IDLE.into());
    if removed < total / 100 * 98 || after.counts.created != total || after.counts.drops != 0 || !is_in_time {
        return Err(
            format!("{by}, {:?}: from {:?} to {:?}", start.elapsed(), before.counts, after.counts).into()
        );
    }
    let cycles = (after.counts.sweep_cycles() - before.counts.sweep_cycles()) as f64 / removed as f64;
    let (rate, wall) = (place.hertz / cycles, (after.at - before.at).as_secs_f64());
    if json {
        let row = serde_json::json!({
            "case": "removal", "by": by, "sessions": sessions, "removed": removed, "cycles_per_session": round(cycles),
            "sessions_per_second": rate.round(), "seconds": round(wall), "load_average": load_average()?,
        });
        println!("{row}");
    } else {
        let what = if end == End::Idle { "that expire" } else { "whose pool is removed" };
        println!(
            "removal of {removed} sessions of {sessions} {what}: {cycles:.0} cycles each, the sweep included: {rate:.0} a second of CPU \
             time ({wall:.1} s)"
        );
    }
    Ok(())
}

/// The load alone, beside sessions that live, and while they expire: two edges in turns, of which one has those sessions.
pub fn sweep(place: &Place<'_>, json: bool) -> Outcome<()> {
    let case = |flows| Case {
        kind: Kind::Nat44,
        load: Load::SMALL,
        directory: place.directory.into(),
        flows,
        cores: vec![place.core],
    };
    // With room for a quarter more.
    let (small, large) = (case(HELD), case((HELD + SWEPT) / 4 * 5));
    let [load, opening] = ["load", "opening"].map(|what| large.file(what));
    let held_hosts = HELD / PORTS_PER_HOST;
    capture::part(&load, held_hosts, |_| true)?;
    capture::part(&opening, (HELD + SWEPT) / PORTS_PER_HOST, |host| host >= held_hosts)?;
    let sink = |n: u32| format!("net_null{n},no-rx=1");
    // Both read a capture to its end, and look at that port ever after.
    let ports = |opening: &Path| {
        [
            ("in-source", format!("net_pcap0,rx_pcap={},infinite_rx=1", load.display())),
            ("in-sink", sink(0)),
            ("out-sink", sink(1)),
            ("in-opening", format!("net_pcap1,rx_pcap={}", opening.display())),
        ]
    };
    let mbufs = small.mbufs(Direction::Out);
    let text = small.config("bench-sweep-alone", mbufs, &ports(&load), "");
    let mut alone = small.start_of("bench-sweep-alone", text, HELD)?;
    let text = large.config("bench-sweep", mbufs, &ports(&opening), "");
    let text = format!("{text}[nat44.timeouts]\nudp = {SWEPT_IDLE}\n");
    let mut swept = large.start_of("bench-sweep", text, HELD + SWEPT)?;
    std::fs::remove_file(&opening)?;
    let per_packet = |reading: Reading| reading.cycles(place.hertz);
    let [mut by_itself, mut beside, mut during] = [vec![], vec![], vec![]];
    let [mut live, mut expiring] = [Slices::default(), Slices::default()];
    let add = |all: &mut Slices, reading: &Reading| {
        reading.slices.iter().for_each(|slices| all.append(slices.clone()));
    };
    let (all, held) = (u64::from(HELD + SWEPT), u64::from(HELD));
    for turn in 0..=ROUNDS {
        let cycles = per_packet(alone.measure(WINDOW)?);
        let (reading, _) = swept.measure_while(WINDOW, |before, after| (before, after) == (all, all))?;
        // The first turn warms up.
        if turn > 0 {
            by_itself.push(cycles);
            add(&mut live, &reading);
            beside.push(per_packet(reading) / cycles);
        }
    }
    let first = swept.run_until(|sessions| sessions < all - all / 100)?;
    let (mut left, mut ran) = (first, Duration::ZERO);
    // A worker that is as busy as it can be takes its time over them.
    for _ in 0..EXPIRING {
        let cycles = per_packet(alone.measure(WINDOW)?);
        let goes_on = Instant::now();
        let (reading, after) =
            swept.measure_while(WINDOW, |before, after| before >= after && after >= held)?;
        // Not while those that are left are not due yet.
        if after < left {
            add(&mut expiring, &reading);
            during.push(per_packet(reading) / cycles);
            (left, ran) = (after, ran + goes_on.elapsed());
        }
    }
    if during.len() < EXPIRING / 2 {
        return Err(format!("sessions expired in {} windows of {EXPIRING}", during.len()).into());
    }
    let rate = (first - left) as f64 / ran.as_secs_f64();
    let windows = during.len();
    let slower = |ratios: Vec<f64>| {
        let Spread(median, least, most) = Spread::of(ratios);
        [median, least, most].map(|ratio| round(100.0 * (ratio - 1.0)))
    };
    let (by_itself, beside, during) = (Spread::of(by_itself), slower(beside), slower(during));
    let shares = [&live, &expiring].map(|slices| slices.share(Stage::Sweep));
    // What is left of a quiet packet without the sweep, and how much longer the worker needs for as many.
    let quiet = live.quiet().zip(expiring.quiet()).map(|(live, expiring)| {
        let hits = [live, expiring].map(|quiet| quiet.cycles - quiet.stages[Stage::Sweep as usize]);
        (hits, 100.0 * (hits[1] / hits[0] * (1.0 - shares[0]) / (1.0 - shares[1]) - 1.0))
    });
    let shares = shares.map(|share| round(100.0 * share));
    if json {
        let row = serde_json::json!({
            "case": "sweep", "flows": HELD, "beside": SWEPT, "cycles_per_packet": round(by_itself.0),
            "live_slower_percent": beside[0], "live_slower_range": beside[1..], "expiring_slower_percent": during[0],
            "expiring_slower_range": during[1..], "sweep_percent_live": shares[0], "sweep_percent_expiring": shares[1],
            "quiet": quiet.map(|(hits, slower)| serde_json::json!({
                "cycles_per_packet_live": round(hits[0]), "cycles_per_packet_expiring": round(hits[1]),
                "expiring_slower_than_live_percent": round(slower),
            })), "expired_per_second": rate.round(), "windows": windows,
            "load_average": load_average()?,
        });
        println!("{row}");
    } else {
        println!(
            "sweep, {HELD} flows: {} cycles a packet; slower by {} % ({} to {}) beside {SWEPT} sessions that live, by {} % ({} to {}) \
             while they expire, {rate:.0} a second; the sweep itself has {} and {} % of the worker; quiet, slower than beside those that \
             live: {}",
            by_itself.text(),
            beside[0],
            beside[1],
            beside[2],
            during[0],
            during[1],
            during[2],
            shares[0],
            shares[1],
            quiet.map_or_else(|| "-".into(), |(_, slower)| format!("{slower:.1} %"))
        );
    }
    // Their memory is wanted for the next.
    drop((alone, swept));
    latency::beside(place, SWEPT, SWEPT_IDLE, json)
}
