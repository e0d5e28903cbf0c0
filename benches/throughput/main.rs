//! `cargo bench --bench throughput [-- OPTION...]`, of which `--help` tells: the whole pipeline, as users run it.
//!
//! Every figure is of a worker seen from outside: packets from its counters, CPU time from its thread's `schedstat`. Where
//! sessions live ([`bed`]) it is a plain `cesd` process's, sources are `net_pcap` captures replayed from memory; where they come
//! and go ([`setup`]) the source is a ring that a generator fills. Sinks are `net_null`: a software path, without PCIe,
//! descriptors or DDIO. The floor (same devices, same bursts, forwarding only) and `cesd` share a core and run in turns, so
//! that what else the machine does hits both; and beside the medians of the turns stands what a packet cost while the
//! machine's neighbours were quiet ([`quiet`]). Sweep, mappings and timers are on. A run counts only if the session count is
//! right and nothing was dropped; the translation is checked frame by frame in a run into a capture before.

mod bed;
mod capture;
mod churn;
mod expiry;
mod floor;
mod generator;
mod installed;
mod interrupted;
mod latency;
mod machine;
mod misses;
mod pages;
mod prgw;
mod process;
mod quiet;
mod scaling;
mod setup;
#[path = "../support/template.rs"]
mod template;
mod tunnels;
mod turns;

use bed::{Case, Direction, Kind, Measured, Outcome, Window};
use capture::{Frames, Load};
use ces::dpdk::cycles;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use turns::{Above, Spread, Turns};

const ROUNDS: usize = 5;
const WINDOW: Window = Window::sliced(Duration::from_millis(500));
/// 16, 1,024 and 16,384 hosts of 63 flows each.
const HOSTS: [u32; 3] = [16, 1024, 16384];
const FRAME_BYTES: u32 = 64;
/// Flows of the cases beside plain NAT44.
const OTHERS: [u32; 1] = [1024 * capture::PORTS_PER_HOST];

struct Options {
    json: bool,
    /// Only make the captures that `configs/bench.toml` names, of so many flows.
    prepare: Option<u32>,
    flows: Vec<u32>,
    directions: Vec<Direction>,
    kinds: Vec<Kind>,
    /// Every kind at all sizes and in all directions: they were asked for by name.
    all: bool,
    setup: bool,
    mixed: bool,
    latency: bool,
    scaling: bool,
    removal: bool,
    sweep: bool,
    misses: bool,
    machine: bool,
    full: bool,
}

impl Options {
    /// Of plain NAT44: both at once, unless more, or something else, is asked for.
    fn by_default(&self) -> &[Direction] {
        if self.directions == Direction::ALL { &[Direction::Both] } else { &self.directions }
    }
}

const HELP: &str = "\
cargo bench --bench throughput -- [OPTION]...
  --json                  a JSON object a line
  --full                  frames of 512 and 1,500 bytes and IMIX, flows by Zipf's law, and eight million of them, too (8 GB of memory)
  --case LIST             of these, most by default, in less than five minutes:
      machine             what the core and its memory do without any packet: a line of a table of that size, waited for or not
      nat44               sessions that live, in three sizes; in each direction by itself, too, with --full or by name
      nat44_tcp           the same of TCP, whose windows are followed
      cetp_encap          packets of hosts into tunnels to another edge, in the same sizes
      cetp_decap          and out of them
      prgw_established    of connections that came in by the Realm Gateway, to their hosts and back; in more sizes with --full
      vlan, ecmp          what 802.1Q tags, and two next hops, add to it
      nat44_miss          packets from outside that are nobody's
      nat44_setup         every packet opens a session, as many go: sessions a second of CPU time
      nat44_mixed         1 % and 10 % of the packets open a session
      latency             how long packets stay, at 50, 90 and 99 % of what is reached
      scaling             two workers beside one, a second of CPU time; with --full, of a million flows, too, or by name
      removal             sessions that expire, and those of a pool that is removed, a second of CPU time; with --full or by name
      sweep               64,512 flows beside eight million sessions, and while they expire: cycles, and how long packets stay;
                          with --full or by name
  --flows N,N             sizes of those whose sessions live
  --direction out|in|both of those
  --prepare N             only make the captures that configs/bench.toml names";

fn options() -> Outcome<Options> {
    let mut o = Options {
        json: false,
        prepare: None,
        flows: vec![],
        directions: Direction::ALL.to_vec(),
        kinds: Kind::ALL.to_vec(),
        all: false,
        setup: true,
        mixed: true,
        latency: true,
        scaling: false,
        removal: false,
        sweep: false,
        misses: true,
        machine: true,
        full: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        match a.as_str() {
            "--json" => o.json = true,
            "--full" => o.full = true,
            // What cargo itself passes.
            "--bench" => (),
            "--prepare" => {
                o.prepare = Some(arguments.next().ok_or("--prepare wants a number of flows")?.parse()?)
            }
            "--flows" => {
                let list = arguments.next().ok_or("--flows wants a list, such as 1008,64512")?;
                o.flows = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--direction" => {
                let name = arguments.next().unwrap_or_default();
                o.directions.retain(|d| d.name() == name);
            }
            "--case" => {
                let names = arguments.next().unwrap_or_default();
                let is_asked = |case: &str| names.split(',').any(|name| name == case);
                o.kinds.retain(|k| is_asked(k.name()));
                [o.setup, o.mixed, o.latency, o.scaling] =
                    ["nat44_setup", "nat44_mixed", "latency", "scaling"].map(is_asked);
                [o.removal, o.sweep] = ["removal", "sweep"].map(is_asked);
                [o.misses, o.machine] = ["nat44_miss", "machine"].map(is_asked);
                o.all = true;
            }
            "--help" | "-h" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            other => return Err(format!("{other} is not known:\n{HELP}").into()),
        }
    }
    if o.full && !o.all {
        (o.scaling, o.removal, o.sweep) = (true, true, true);
    }
    if o.flows.is_empty() {
        o.flows = HOSTS.iter().map(|h| h * capture::PORTS_PER_HOST).collect();
    }
    if o.kinds.is_empty()
        && ![o.setup, o.mixed, o.latency, o.scaling, o.removal, o.sweep, o.misses, o.machine].contains(&true)
    {
        return Err(format!("--case wants a list of these:\n{HELP}").into());
    }
    if o.directions.is_empty() {
        return Err("--direction wants out, in or both".into());
    }
    Ok(o)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--floor") => {
            return floor::run(
                floor::Floor::parse(arguments).ok_or("the floor is started by the bench itself")?,
            );
        }
        Some("--installed") => {
            return installed::run(
                installed::Installed::parse(arguments).ok_or("the bench itself starts it")?,
            );
        }
        Some("--latency") => {
            return latency::run(latency::Latency::parse(arguments).ok_or("the bench itself starts it")?);
        }
        Some("--churn") => {
            return churn::run(churn::Churn::parse(arguments).ok_or("it is started by the bench itself")?);
        }
        _ => (),
    }
    let options = options()?;
    interrupted::watch()?;
    let directory = Scratch::new()?;
    let cores = core_affinity::get_core_ids().ok_or("the cores of this machine cannot be read")?;
    // The last core works; this process sleeps nearly all the time.
    let core = cores.last().ok_or("no core")?.id;
    if let Some(flows) = options.prepare {
        let case = captures(&directory.0, Kind::Nat44, Load::SMALL, flows, core)?;
        std::fs::copy(case.file("inside"), "/tmp/ces-bench-in.pcap")?;
        std::fs::copy(case.file("answers"), "/tmp/ces-bench-out.pcap")?;
        return Ok(());
    }
    let most = if options.full { FULL.iter().map(|size| size.flows).max() } else { None };
    let scaled = &scaling::FLOWS[..if options.full { 2 } else { 1 }];
    let scaled = if options.scaling { scaled } else { &[] };
    let replayed =
        if options.kinds.is_empty() { None } else { options.flows.iter().copied().max().max(most) };
    // Three edges and three floors, with one capture each.
    let replayed = replayed.max(scaled.iter().map(|flows| 2 * flows).max());
    let fresh = [
        (options.machine && options.full, machine::MOST),
        (options.setup || options.mixed, setup::MOST),
        (options.removal, expiry::REMOVED[1]),
        (options.sweep, expiry::SWEPT + expiry::SWEPT / 10),
    ];
    let fresh = fresh.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, sessions)| sessions);
    let _pages = pages::reserve(replayed.unwrap_or(0), fresh.max().unwrap_or(0));
    let hertz = tsc_hertz();
    if options.machine {
        machine::machine(core, hertz, options.full, options.json)?;
    }
    replay(&options, &directory.0, core, hertz)?;
    let place = setup::Place { directory: &directory.0, core, hertz };
    if options.setup {
        setup::setup(&place, options.json)?;
    }
    if options.mixed {
        setup::mixed(&place, options.json)?;
    }
    if options.latency {
        latency::latency(&place, options.json)?;
    }
    if options.misses {
        misses::misses(&place, options.json)?;
    }
    if options.removal {
        expiry::removal(&place, options.json)?;
    }
    if options.sweep {
        expiry::sweep(&place, options.json)?;
    }
    let cores: Vec<usize> = cores.iter().map(|core| core.id).collect();
    for &flows in scaled {
        scaling::scaling(&directory.0, &cores, flows, options.json)?;
    }
    Ok(())
}

/// The cases whose sessions live: captures replayed from memory.
fn replay(options: &Options, directory: &std::path::Path, core: usize, hertz: f64) -> Outcome<()> {
    if !options.json && !options.kinds.is_empty() {
        println!(
            "One worker on core {core}, TSC {:.2} GHz, medians of {ROUNDS} (range)\n\
             {:>16}  {:>9}  {:>4}  {:>7}  {:>20}  {:>20}  {:>20}  {:>16}  {:>9}  load",
            hertz / 1e9,
            "case",
            "flows",
            "dir",
            "Mpps",
            "cycles a packet",
            "floor",
            "above the floor",
            "while quiet",
            "frames"
        );
    }
    let show = |size: &Size, directions: &[Direction]| -> Outcome<()> {
        let case = captures(directory, size.kind, size.load, size.flows, core)?;
        let has = |direction: &&Direction| size.kind.directions().contains(direction);
        for &direction in directions.iter().filter(has) {
            let row = measure(&case, direction, hertz)?;
            println!("{}", if options.json { row.json() } else { row.text() });
        }
        case.remove();
        Ok(())
    };
    for &kind in &options.kinds {
        for &flows in &options.flows {
            // The others are about what they add: one size, both directions, unless more is asked for.
            let (sizes, directions) = match (kind, options.all) {
                (Kind::CetpEncap | Kind::CetpDecap, _) | (_, true) => {
                    (&options.flows[..], &options.directions[..])
                }
                (Kind::Nat44 | Kind::PrgwEstablished, _) if options.full => {
                    (&options.flows[..], &options.directions[..])
                }
                (Kind::Nat44, _) => (&options.flows[..], options.by_default()),
                _ => (&OTHERS[..], &[Direction::Both][..]),
            };
            if !sizes.contains(&flows) {
                continue;
            }
            show(&Size { kind, load: Load::SMALL, flows }, directions)?;
        }
    }
    if options.full {
        for size in FULL.iter().filter(|size| options.kinds.contains(&size.kind)) {
            let directions = match () {
                // Whose first packet is the first is another one there: answers to the other capture would be nobody's.
                () if size.load.is_zipf => &[Direction::Out][..],
                () if size.flows > HOSTS[2] * capture::PORTS_PER_HOST => &[Direction::Both],
                () => &options.directions,
            };
            show(size, directions)?;
        }
    }
    Ok(())
}

/// A kind of case in one size.
struct Size {
    kind: Kind,
    load: Load,
    flows: u32,
}

/// What `--full` adds: other frames, flows by Zipf's law, and eight million of them.
const FULL: [Size; 11] = {
    const FLOWS: [u32; 3] =
        [1024 * capture::PORTS_PER_HOST, 16_384 * capture::PORTS_PER_HOST, 131_072 * capture::PORTS_PER_HOST];
    const fn of(kind: Kind, frames: Frames, is_zipf: bool, flows: u32) -> Size {
        Size { kind, load: Load { frames, is_zipf }, flows }
    }
    const SMALL: Frames = Frames::Of(64);
    [
        of(Kind::Nat44, Frames::Of(512), false, FLOWS[0]),
        of(Kind::Nat44, Frames::Of(1500), false, FLOWS[0]),
        of(Kind::Nat44, Frames::Imix, false, FLOWS[0]),
        of(Kind::CetpEncap, Frames::Of(512), false, FLOWS[0]),
        of(Kind::CetpEncap, Frames::Of(1400), false, FLOWS[0]),
        of(Kind::CetpDecap, Frames::Of(512), false, FLOWS[0]),
        of(Kind::CetpDecap, Frames::Of(1400), false, FLOWS[0]),
        of(Kind::Nat44, SMALL, true, FLOWS[0]),
        of(Kind::Nat44, SMALL, true, FLOWS[1]),
        of(Kind::Nat44, SMALL, true, FLOWS[2]),
        of(Kind::Nat44, SMALL, false, FLOWS[2]),
    ]
};

/// Makes the captures of a case: inside, translated (and checked), answers.
fn captures(directory: &std::path::Path, kind: Kind, load: Load, flows: u32, core: usize) -> Outcome<Case> {
    let case = Case { kind, load, directory: directory.into(), flows, cores: vec![core] };
    let hosts = flows / capture::PORTS_PER_HOST;
    capture::inside(&case.file("inside"), hosts, kind, load)?;
    capture::opening(&case.file("opening"), hosts, kind, load)?;
    case.translate()?;
    if kind.is_tunnelled() {
        tunnels::check(&case.file("translated"), flows, &case.file("answers"))?;
        return Ok(case);
    }
    capture::check(&case.file("translated"), flows, kind, load)?.answers(&case.file("answers"))?;
    Ok(case)
}

struct Row {
    kind: Kind,
    load: Load,
    direction: Direction,
    flows: u32,
    cycles: Spread,
    floor: Spread,
    above: Spread,
    quiet: Option<Above>,
    mpps: f64,
    load_average: f64,
}

/// Floor and edge in turns, and the difference of each turn.
fn measure(case: &Case, direction: Direction, hertz: f64) -> Outcome<Row> {
    let mut edge = case.start(direction)?;
    let mut floor = case.start_floor(direction)?;
    // A packet of each flow, and a turn, warm up: answers that overtook their session's first packet are dropped before it, and the first one
    // of a session goes another way than those after it.
    let packets = u64::from(case.flows) * if direction == Direction::Both { 2 } else { 1 };
    floor.warm_up(packets)?;
    floor.measure(WINDOW)?;
    edge.warm_up(2 * packets)?;
    let _ = edge.measure(WINDOW);
    let mut turns = Turns::default();
    for _ in 0..ROUNDS {
        turns.add(floor.measure(WINDOW)?, edge.measure(WINDOW)?, hertz);
    }
    let quiet = turns.quiet();
    let cycles = Spread::of(turns.cycles);
    let mpps = hertz / 1e6 / cycles.0;
    Ok(Row {
        kind: case.kind,
        load: case.load,
        direction,
        flows: case.flows,
        cycles,
        floor: Spread::of(turns.floors),
        above: Spread::of(turns.above),
        quiet,
        mpps,
        load_average: load_average()?,
    })
}

impl Row {
    fn text(&self) -> String {
        format!(
            "{:>16}  {:>9}  {:>4}  {:>7.2}  {:>20}  {:>20}  {:>20}  {:>16}  {:>9}  {:.1}",
            self.kind.name(),
            self.flows,
            self.direction.name(),
            self.mpps,
            self.cycles.text(),
            self.floor.text(),
            self.above.text(),
            self.quiet.as_ref().map_or_else(|| "-".into(), Above::text),
            self.load.name(),
            self.load_average
        )
    }

    /// The length, or the name of a mixture.
    fn frame_bytes(&self) -> serde_json::Value {
        match self.load.frames {
            Frames::Of(length) => (length + if self.kind == Kind::Vlan { 4 } else { 0 }).into(),
            Frames::Imix => "imix".into(),
        }
    }

    fn json(&self) -> String {
        serde_json::json!({
            "case": self.kind.name(),
            "direction": self.direction.name(),
            "flows": self.flows,
            "frame_bytes": self.frame_bytes(),
            "flows_by": if self.load.is_zipf { "zipf" } else { "turns" },
            "mpps": round(self.mpps),
            "cycles_per_packet": round(self.cycles.0),
            "floor_cycles_per_packet": round(self.floor.0),
            "cycles_above_floor": round(self.above.0),
            "cycles_above_floor_range": [round(self.above.1), round(self.above.2)],
            "quiet": self.quiet.as_ref().map(Above::json),
            "rounds": ROUNDS,
            "load_average": self.load_average,
        })
        .to_string()
    }
}

/// Of the last minute.
fn load_average() -> Outcome<f64> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or("0").parse()?)
}

fn round(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// The rate of the time stamp counter, against the system's clock.
fn tsc_hertz() -> f64 {
    let (start, t) = (Instant::now(), cycles());
    std::thread::sleep(Duration::from_millis(200));
    (cycles() - t) as f64 / start.elapsed().as_secs_f64()
}

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        std::fs::create_dir_all(Self::path())?;
        Ok(Self(Self::path()))
    }

    fn path() -> PathBuf {
        std::env::temp_dir().join(format!("ces-bench-{}", std::process::id()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
