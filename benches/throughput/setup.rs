//! The cases where sessions come and go. `nat44_setup`: every packet opens a session, and as many go as come, for ten
//! seconds. `nat44_mixed`: a part of the packets do, the others belong to sessions that live.

use crate::bed::{Case, Kind, Outcome};
use crate::capture::{self, Load, PORTS_PER_HOST};
use crate::churn::{self, Churn, Counts};
use crate::generator::{self, HOSTS, Traffic};
use crate::process::Asked;
use crate::quiet::{Look, Quiet, SLICE, Slices};
use crate::round;
use crate::turns::Spread;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Sessions that live during `nat44_setup`.
pub const LIVE: u64 = 1_000_000;
/// How far they may be from that, in per cent.
const LIVE_TOLERANCE: u64 = 5;
const SETUP_WINDOW: Duration = Duration::from_secs(10);
/// Idle times, in seconds: with the first by which a worker holds [`LIVE`] sessions. They bound the rate from above.
const TIMEOUTS: [u32; 4] = [1, 2, 4, 8];
/// Ports rest for as long as a pool of eight million allows, where each is used again every few seconds.
const COOL_DOWN: &str = "port_cool_down = 1\n";
/// How many sessions share a mapping.
const SHARED: [u32; 2] = [1, 8];
/// Of 100 packets, those that open a session.
const FRESH: [u32; 2] = [1, 10];
const MIXED_WINDOW: Duration = Duration::from_millis(700);
const MIXED_ROUNDS: usize = 5;
/// So often windows are taken until as many sessions have gone as came.
const MIXED_TRIES: usize = 5;
/// Sessions that stay: each has its next packet long before [`MIXED_TIMEOUT`] seconds, also while all are being opened.
const MIXED_HELD: u32 = HOSTS / 4 * PORTS_PER_HOST;
const MIXED_TIMEOUT: u32 = 2;
/// Room for the fresh sessions of `nat44_mixed` beside the held ones.
const MIXED_ROOM: u32 = 2_200_000;
/// Packets in the ring, in bursts and between two counters.
const IN_FLIGHT: u64 = 4096;
/// Frames of the generator that are translated into a capture, and checked there, first.
const CHECKED: u32 = 64 * 1024;

/// The most sessions that a case has room for.
pub const MOST: u32 = MIXED_HELD + MIXED_ROOM;

/// A directory and a core to run in.
pub struct Place<'a> {
    pub directory: &'a Path,
    pub core: usize,
    pub hertz: f64,
}

impl Place<'_> {
    fn case(&self, sessions: u32) -> Case {
        let load = Load::SMALL;
        Case {
            kind: Kind::Nat44,
            load,
            directory: self.directory.into(),
            flows: sessions,
            cores: vec![self.core],
        }
    }

    /// Each frame of the generator is translated rightly, and every one has a public endpoint of its own.
    pub fn check(&self) -> Outcome<()> {
        let case = self.case(CHECKED);
        let traffic = only_fresh(1, 1);
        capture::write(&case.file("opening"), generator::first_frames(traffic, CHECKED))?;
        case.translate()?;
        capture::check(&case.file("translated"), CHECKED, Kind::Nat44, Load::SMALL).map(|_| ())
    }

    /// Starts a worker with room for so many sessions, of an idle time in seconds, and the generator.
    pub fn start(&self, sessions: u32, timeout: u32, traffic: Traffic) -> Outcome<Running> {
        let case = self.case(sessions);
        let config = self.directory.join("churn.toml");
        let ports = [
            ("in-source", "net_null2,no-rx=1".to_owned()),
            ("in-sink", "net_null0,no-rx=1".into()),
            ("out-sink", "net_null1,no-rx=1".into()),
        ];
        // A worker that is faster than sessions may come is not to count as busy meanwhile.
        let text = case.config("bench-churn", 8191, &ports, "idle = \"sleep\"\n");
        std::fs::write(&config, format!("{text}{COOL_DOWN}[nat44.timeouts]\nudp = {timeout}\n"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--churn").args(Churn { config, traffic }.arguments());
        Ok(Running(Asked::start(command)?))
    }
}

/// A worker and its generator.
pub struct Running(Asked);

pub struct Reading {
    pub at: Instant,
    pub cpu_ns: u64,
    pub counts: Counts,
}

impl Running {
    pub fn read(&mut self) -> Outcome<Reading> {
        let (cpu_ns, line) = self.0.ask("ces-worker-0")?;
        Ok(Reading { at: Instant::now(), cpu_ns, counts: Counts::parse(&line)? })
    }

    /// Has the operator's word said that the pool is removed.
    pub fn remove_pool(&mut self) -> Outcome<()> {
        self.0.tell(churn::REMOVE_POOL).map(|_| ())
    }

    /// What is read before and after so long, and the slices of what is looked at meanwhile.
    fn sliced<const N: usize>(
        &mut self,
        length: Duration,
        look: fn(&Counts) -> [Look; N],
    ) -> Outcome<((Reading, Reading), [Slices; N])> {
        let mut looks: [Vec<Look>; N] = std::array::from_fn(|_| vec![]);
        let readings = self.during(|running| {
            let end = Instant::now() + length;
            while Instant::now() < end {
                let counts = Counts::parse(&running.0.tell("")?)?;
                looks.iter_mut().zip(look(&counts)).for_each(|(looks, look)| looks.push(look));
                std::thread::sleep(SLICE);
            }
            Ok(())
        })?;
        Ok((readings, looks.each_ref().map(|looks| Slices::between(looks))))
    }

    /// What is read before and after some time, in which nothing may be dropped.
    fn during(&mut self, pass: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<(Reading, Reading)> {
        let before = self.read()?;
        pass(self)?;
        let after = self.read()?;
        let drops = (before.counts.drops, after.counts.drops);
        if drops != (0, 0) {
            return Err(format!("drops before and after a window: {drops:?}").into());
        }
        Ok((before, after))
    }

    /// Waits until [`LIVE`] sessions have lived for some seconds, with sessions that go; false if that does not happen.
    fn is_steady(&mut self, timeout: u32) -> Outcome<bool> {
        let (mut good, wanted) = (0, 6 + 2 * timeout);
        for _ in 0..wanted + 6 + 6 * timeout {
            std::thread::sleep(Duration::from_millis(500));
            let counts = self.read()?.counts;
            good = if is_live(&counts) && counts.removed > 0 { good + 1 } else { 0 };
            if good == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_live(counts: &Counts) -> bool {
    counts.live().abs_diff(LIVE) * 100 <= LIVE * LIVE_TOLERANCE
}

/// [`LIVE`] sessions, made evenly over their idle time, that are replaced as they go.
fn only_fresh(sessions_per_mapping: u32, timeout: u32) -> Traffic {
    let fresh_per_second = LIVE / u64::from(timeout);
    let (fresh_live, fresh_total) = (LIVE, u64::MAX);
    Traffic { held: 0, fresh_percent: 100, sessions_per_mapping, fresh_live, fresh_per_second, fresh_total }
}

/// `nat44_setup`, once for every way of sharing mappings.
pub fn setup(place: &Place<'_>, json: bool) -> Outcome<()> {
    place.check()?;
    for sessions_per_mapping in SHARED {
        let mut steady = None;
        for timeout in TIMEOUTS {
            let traffic = only_fresh(sessions_per_mapping, timeout);
            let mut running = place.start(LIVE as u32, timeout, traffic)?;
            if running.is_steady(timeout)? {
                steady = Some((timeout, running));
                break;
            }
        }
        let (timeout, mut running) = steady.ok_or("this worker cannot hold a million sessions that go")?;
        let ((before, after), slices) = running.sliced(SETUP_WINDOW, Counts::looks)?;
        let mut row = SetupRow::of(sessions_per_mapping, timeout, &before, &after, place.hertz)?;
        let [opening, removal] = slices.map(|slices| slices.quiet());
        row.quiet = opening.zip(removal);
        println!("{}", if json { row.json() } else { row.text() });
    }
    Ok(())
}

struct SetupRow {
    sessions_per_mapping: u32,
    timeout: u32,
    created: u64,
    removed: u64,
    live: [u64; 2],
    wall: f64,
    cpu: f64,
    hertz: f64,
    /// What a session takes while the host is quiet, to come to be, and to go.
    quiet: Option<(Quiet, Quiet)>,
}

impl SetupRow {
    fn of(sessions_per_mapping: u32, timeout: u32, a: &Reading, b: &Reading, hertz: f64) -> Outcome<Self> {
        let (created, removed) = (b.counts.created - a.counts.created, b.counts.removed - a.counts.removed);
        let forwarded = (b.counts.forwarded - a.counts.forwarded).min(b.counts.tx - a.counts.tx);
        // Every session is one packet that was translated and sent.
        if created.abs_diff(forwarded) > IN_FLIGHT || !is_live(&a.counts) || !is_live(&b.counts) {
            return Err(format!("no steady state: from {:?} to {:?}", a.counts, b.counts).into());
        }
        Ok(Self {
            sessions_per_mapping,
            timeout,
            created,
            removed,
            live: [a.counts.live(), b.counts.live()],
            wall: (b.at - a.at).as_secs_f64(),
            cpu: (b.cpu_ns - a.cpu_ns) as f64 / 1e9,
            hertz,
            quiet: None,
        })
    }

    fn per_second(&self) -> f64 {
        self.created as f64 / self.cpu
    }

    fn text(&self) -> String {
        format!(
            "nat44_setup, {} a mapping: {:.0} sessions a second of CPU time ({:.0} cycles each); {:.1} s: {} made, {} removed, \
             {} to {} live (idle time {} s), {:.0} a second, {:.0} % CPU, none dropped; cycles each while quiet: {}",
            self.sessions_per_mapping,
            self.per_second(),
            self.hertz / self.per_second(),
            self.wall,
            self.created,
            self.removed,
            self.live[0],
            self.live[1],
            self.timeout,
            self.created as f64 / self.wall,
            100.0 * self.cpu / self.wall,
            self.quiet.as_ref().map_or_else(
                || "-".into(),
                |(opening, removal)| format!("{:.0} and {:.0} to go", opening.cycles, removal.cycles)
            )
        )
    }

    fn json(&self) -> String {
        serde_json::json!({
            "case": "nat44_setup",
            "sessions_per_mapping": self.sessions_per_mapping,
            "sessions_per_second": self.per_second().round(),
            "cycles_per_session": round(self.hertz / self.per_second()),
            "sessions_per_second_wall_clock": (self.created as f64 / self.wall).round(),
            "seconds": round(self.wall),
            "worker_cpu_seconds": round(self.cpu),
            "created": self.created,
            "removed": self.removed,
            "live": self.live,
            "dropped": 0,
            "udp_timeout_s": self.timeout,
            "quiet": self.quiet.as_ref().map(|(opening, removal)| serde_json::json!({
                "cycles_per_session": round(opening.cycles + removal.cycles),
                "opening": round(opening.cycles),
                "removal": round(removal.cycles),
                "stages": opening.stages_json(),
                "slices": [opening.of, removal.of],
            })),
        })
        .to_string()
    }
}

/// `nat44_mixed`, once for every share of fresh sessions. Without a floor: sessions time out while a process is stopped for another.
pub fn mixed(place: &Place<'_>, json: bool) -> Outcome<()> {
    place.check()?;
    let held = MIXED_HELD;
    for fresh_percent in FRESH {
        let fresh_live = u64::from(MIXED_ROOM);
        let fresh_per_second = u64::from(u32::MAX);
        let (sessions_per_mapping, fresh_total) = (1, u64::MAX);
        let traffic =
            Traffic { held, fresh_percent, sessions_per_mapping, fresh_live, fresh_per_second, fresh_total };
        let mut running = place.start(MOST, MIXED_TIMEOUT, traffic)?;
        std::thread::sleep(Duration::from_secs(6));
        let mut tries = 0;
        let mixed = loop {
            let mut mixed = Mixed::default();
            (0..MIXED_ROUNDS).try_for_each(|_| mixed.window(&mut running))?;
            if mixed.is_steady(fresh_percent) {
                break mixed;
            }
            tries += 1;
            if tries == MIXED_TRIES {
                return Err(
                    format!("no steady state: {} made, {} removed", mixed.created, mixed.removed).into()
                );
            }
        };
        let Mixed { created, removed, live, .. } = mixed;
        let (cycles, quiet) = (Spread::of(mixed.cycles), mixed.slices.quiet());
        let mpps = place.hertz / 1e6 / cycles.0;
        if json {
            let row = serde_json::json!({
                "case": "nat44_mixed",
                "new_percent": fresh_percent,
                "held_flows": held,
                "mpps": round(mpps),
                "cycles_per_packet": round(cycles.0),
                "cycles_per_packet_range": [round(cycles.1), round(cycles.2)],
                "created": created,
                "removed": removed,
                "live": live,
                "dropped": 0,
                "rounds": MIXED_ROUNDS,
                "quiet": quiet.as_ref().map(|quiet| serde_json::json!({
                    "cycles_per_packet": round(quiet.cycles), "stages": quiet.stages_json(), "slices": quiet.of,
                })),
            });
            println!("{row}");
        } else {
            println!(
                "nat44_mixed, {fresh_percent} % new, {held} held: {mpps:.2} Mpps, {} cycles a packet, \
                 {} while quiet; {created} made, {removed} removed, {live} live, none dropped",
                cycles.text(),
                quiet.map_or_else(|| "-".into(), |quiet| format!("{:.0}", quiet.cycles))
            );
        }
    }
    Ok(())
}

/// What became of some windows' packets.
#[derive(Default)]
struct Mixed {
    created: u64,
    removed: u64,
    sent: u64,
    live: u64,
    /// Cycles a packet, of each.
    cycles: Vec<f64>,
    slices: Slices,
}

impl Mixed {
    /// One more window. What counts is what the worker was at work: it is faster than the generator.
    fn window(&mut self, running: &mut Running) -> Outcome<()> {
        let ((a, b), [slices]) = running.sliced(MIXED_WINDOW, |counts| [counts.busy()])?;
        let packets = (b.counts.forwarded - a.counts.forwarded).min(b.counts.tx - a.counts.tx);
        let [from, to] = [&a, &b].map(|reading| reading.counts.busy().cycles.iter().sum::<u64>());
        self.created += b.counts.created - a.counts.created;
        self.removed += b.counts.removed - a.counts.removed;
        self.sent += packets;
        self.live = b.counts.live();
        self.cycles.push((to - from) as f64 / packets as f64);
        self.slices.append(slices);
        Ok(())
    }

    /// The share that is asked for, and as many go as come. Those that go came two seconds ago: where others had more, or less, of the core
    /// then, as many don't.
    fn is_steady(&self, fresh_percent: u32) -> bool {
        let percent = 100.0 * self.created as f64 / self.sent as f64;
        let off = (percent / f64::from(fresh_percent) - 1.0).abs();
        off <= 0.05 && self.created.abs_diff(self.removed) * 10 <= self.created
    }
}
