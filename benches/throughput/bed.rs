//! The cases, and what is under measurement: started, read from outside.

use crate::capture::{EDGE_MAC, Load};
use crate::floor::FloorProcess;
use crate::installed::{Installed, InstalledProcess};
use crate::process::{End, Process};
use crate::quiet::{Look, SLICE, Slices};
use crate::{prgw, tunnels};
use ces::manage::client::Client;
use ces::manage::protocol::Request;
use ces::manage::{Counters, Runtime, Status};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Which packets come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Out,
    In,
    Both,
}

impl Direction {
    pub const ALL: [Direction; 3] = [Direction::Out, Direction::In, Direction::Both];

    pub fn name(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
            Direction::Both => "both",
        }
    }
}

/// What is special about a case; the translation is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nat44,
    /// 802.1Q tags on both sides, taken off and put on in software.
    Vlan,
    /// Two next hops outside, by flow.
    Ecmp,
    /// TCP segments with ACK, of connections that a port of its own opens before.
    Tcp,
    /// Into tunnels to another edge.
    CetpEncap,
    /// Out of them.
    CetpDecap,
    /// Of connections that came in by the circular pool.
    PrgwEstablished,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Nat44,
        Kind::Vlan,
        Kind::Ecmp,
        Kind::Tcp,
        Kind::CetpEncap,
        Kind::CetpDecap,
        Kind::PrgwEstablished,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Nat44 => "nat44",
            Kind::Vlan => "vlan",
            Kind::Ecmp => "ecmp",
            Kind::Tcp => "nat44_tcp",
            Kind::CetpEncap => "cetp_encap",
            Kind::CetpDecap => "cetp_decap",
            Kind::PrgwEstablished => "prgw_established",
        }
    }

    pub fn is_tunnelled(self) -> bool {
        matches!(self, Kind::CetpEncap | Kind::CetpDecap)
    }

    /// Whether its sessions are put in before any packet comes.
    fn is_installed(self) -> bool {
        self.is_tunnelled() || self == Kind::PrgwEstablished
    }

    /// The directions that there are.
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Kind::CetpEncap => &[Direction::Out],
            Kind::CetpDecap => &[Direction::In],
            _ => &Direction::ALL,
        }
    }

    /// The tag inside, or outside.
    pub fn vlan(self, outside: bool) -> Option<u16> {
        (self == Kind::Vlan).then_some(if outside { 200 } else { 100 })
    }

    /// The last bytes of the gateways outside, of their addresses and their MAC addresses.
    pub fn gateways(self) -> &'static [u8] {
        if self == Kind::Ecmp { &[253, 254] } else { &[254] }
    }
}

/// One case's files and sizes.
pub struct Case {
    pub kind: Kind,
    pub load: Load,
    pub directory: PathBuf,
    pub flows: u32,
    /// One a worker.
    pub cores: Vec<usize>,
}

impl Case {
    pub fn file(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{what}-{}-{}-{}.pcap", self.kind.name(), self.load.name(), self.flows))
    }

    /// Its captures take more room than there may be for those of all.
    pub fn remove(&self) {
        for what in ["inside", "opening", "translated", "answers"] {
            let _ = std::fs::remove_file(self.file(what));
        }
    }

    fn source(&self, number: u8, what: &str, endless: bool) -> String {
        let file = self.file(what);
        let file = file.display();
        format!("net_pcap{number},rx_pcap={file}{}", if endless { ",infinite_rx=1" } else { "" })
    }

    /// `infinite_rx` keeps a buffer a packet; rings and caches need some more.
    pub fn mbufs(&self, direction: Direction) -> u32 {
        let captures = if direction == Direction::Both { 2 } else { 1 };
        captures * self.flows + 32_767
    }

    /// The configuration of a `cesd` that takes these ports.
    pub fn config(&self, name: &str, mbufs: u32, ports: &[(&str, String)], more: &str) -> String {
        let mut text = format!(
            "[instance]\nname = \"{name}\"\nruntime_dir = \"{}\"\n[eal]\nmbufs = {mbufs}\nmbuf_data_room = {}\n\
             [manage]\nlog = \"error\"\n[workers]\ncores = {:?}\n{more}",
            self.directory.display(),
            self.load.frames.data_room(),
            self.cores
        );
        for side in ["inside", "outside"] {
            // What comes in by one port is routed to another: the sinks are ports of their own.
            text += &format!("[[realm]]\nname = \"{side}\"\nside = \"{side}\"\nsource_check = \"off\"\n");
        }
        for (port, device) in ports {
            let realm = if port.starts_with("in") { "inside" } else { "outside" };
            text += &format!(
                "[[port]]\nname = \"{port}\"\ndevice = \"{device}\"\nmac = \"{EDGE_MAC}\"\n\
                 [[interface]]\nname = \"{port}\"\nport = \"{port}\"\nrealm = \"{realm}\"\n"
            );
            let rloc_port =
                if ports.iter().any(|(port, _)| *port == "out-source") { "out-source" } else { "out-sink" };
            if self.kind.is_tunnelled() && *port == rloc_port {
                text += &format!("addresses = [\"{}/32\"]\n", tunnels::OWN);
            }
            if let Some(vlan) = self.kind.vlan(realm == "outside") {
                text += &format!("vlan = {vlan}\n");
            }
        }
        let outside: Vec<String> = self.kind.gateways().iter().map(|g| format!("198.51.100.{g}")).collect();
        for (realm, prefix, via, sink) in [
            ("inside", "10.0.0.0/8", &["10.255.255.254".to_owned()][..], "in-sink"),
            ("outside", "0.0.0.0/0", &outside, "out-sink"),
        ] {
            text += &format!(
                "[[route]]\nrealm = \"{realm}\"\nprefix = \"{prefix}\"\nvia = {via:?}\ninterface = \"{sink}\"\n"
            );
            for via in via {
                let last = via.parse::<std::net::Ipv4Addr>().map_or(0, |a| a.octets()[3]);
                text += &format!(
                    "[[neighbor]]\ninterface = \"{sink}\"\naddress = \"{via}\"\nmac = \"02:00:00:00:00:{last:02x}\"\n"
                );
            }
        }
        if self.kind.is_tunnelled() {
            text += &tunnels::sections(self.hosts());
        }
        if self.kind == Kind::PrgwEstablished {
            text += prgw::SECTIONS;
        }
        // The flows are 95 % of the sessions that fit; of several workers one may have more than its part of them.
        let sessions = (self.flows / 95 * 100 + 100) / 4 * if self.cores.len() > 1 { 5 } else { 4 };
        text + &format!(
            "[flow]\nsessions = {}\n[nat44]\ninside = [\"inside\"]\noutside = \"outside\"\npool = [\"198.18.0.0/{}\"]\n\
             block_size = 64\nrandom_seed = 1\n",
            sessions.max(2048),
            // 128 addresses have ports for eight million, and some are at rest.
            if self.flows > 4_000_000 { 24 } else { 25 }
        )
    }

    /// Translates the inside capture once, into a capture: the public ports that the measured run will choose too.
    pub fn translate(&self) -> Outcome<()> {
        let sink = format!("net_pcap1,tx_pcap={}", self.file("translated").display());
        let ports = [
            ("in-source", self.source(0, "opening", false)),
            ("out-sink", sink),
            ("in-sink", "net_null0,no-rx=1".into()),
        ];
        let text = self.config("bench-translate", 32_767, &ports, "stop = \"end-of-input\"\n");
        let path = self.directory.join("translate.toml");
        std::fs::write(&path, text)?;
        let mut command = if self.kind.is_installed() { self.installed(path, 0)? } else { cesd(&path) };
        let status = command.stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("cesd ended with {status}").into()) }
    }

    fn hosts(&self) -> u32 {
        self.flows / crate::capture::PORTS_PER_HOST
    }

    fn installed(&self, config: PathBuf, flows: u64) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--installed").args(Installed { config, hosts: self.hosts(), flows }.arguments());
        Ok(command)
    }

    /// Starts what is to be measured and waits until every session lives. It is left paused.
    pub fn start(&self, direction: Direction) -> Outcome<Box<dyn Measured>> {
        Ok(match self.kind.is_installed() {
            true => Box::new(self.start_installed(direction)?),
            false => Box::new(self.start_edge(direction)?),
        })
    }

    fn start_installed(&self, direction: Direction) -> Outcome<InstalledProcess> {
        let name = format!("bench-{}-{}", self.kind.name().replace('_', "-"), self.flows);
        let mut ports =
            vec![("in-sink", "net_null0,no-rx=1".into()), ("out-sink", "net_null1,no-rx=1".into())];
        if direction != Direction::In {
            ports.push(("in-source", self.source(0, "inside", true)));
        }
        if direction != Direction::Out {
            ports.push(("out-source", self.source(1, "answers", true)));
        }
        let path = self.directory.join(format!("{name}.toml"));
        std::fs::write(&path, self.config(&name, self.mbufs(direction), &ports, ""))?;
        let flows = self.flows.into();
        InstalledProcess::start(self.installed(path, flows)?, flows)
    }

    fn start_edge(&self, direction: Direction) -> Outcome<Edge> {
        let kind = self.kind.name().replace('_', "-");
        let name = format!("bench-{kind}-{}-{}-{}", self.load.name(), direction.name(), self.flows);
        let mut ports = vec![
            ("in-source", self.source(0, "inside", direction != Direction::In)),
            ("in-sink", "net_null0,no-rx=1".into()),
        ];
        // By Zipf's law some flows have no frame.
        if self.kind == Kind::Tcp || self.load.is_zipf {
            // Read once: what comes in by the others before that is no session's, and dropped in the first turn.
            ports.push(("in-opening", self.source(2, "opening", false)));
        }
        if direction != Direction::Out {
            ports.push(("out-source", self.source(1, "answers", true)));
        }
        ports.push(("out-sink", "net_null1,no-rx=1".into()));
        self.start_of(&name, self.config(&name, self.mbufs(direction), &ports, ""), self.flows)
    }

    /// Starts a `cesd` of that configuration, whose ports open so many sessions, and waits until they live. It is left paused.
    pub fn start_of(&self, name: &str, config: String, sessions: u32) -> Outcome<Edge> {
        let path = self.directory.join(format!("{name}.toml"));
        std::fs::write(&path, config)?;
        let child = cesd(&path).spawn()?;
        let edge = Edge {
            socket: self.directory.join(format!("{name}.sock")),
            process: Process::new(child, End::Signal),
            workers: self.cores.len(),
            asking: None,
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while edge.sessions().map_or(true, |live| live < u64::from(sessions)) {
            if Instant::now() > deadline {
                return Err(format!("{name}: not all sessions were made within two minutes").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        edge.process.pause()?;
        Ok(edge)
    }

    /// Starts the floor on the same devices. It is left paused.
    pub fn start_floor(&self, direction: Direction) -> Outcome<FloorProcess> {
        let mut pairs = vec![];
        if direction != Direction::In {
            pairs.push((self.source(0, "inside", true), "net_null0,no-rx=1".to_owned()));
        }
        if direction != Direction::Out {
            pairs.push((self.source(1, "answers", true), "net_null1,no-rx=1".to_owned()));
        }
        let name = format!("floor-{}-{}-{}", self.kind.name(), direction.name(), self.flows);
        self.start_floor_on(&name, &pairs, self.mbufs(direction))
    }

    /// Starts the floor on these (source, sink) devices, which its workers take turns with. It is left paused.
    pub fn start_floor_on(
        &self,
        name: &str,
        pairs: &[(String, String)],
        mbufs: u32,
    ) -> Outcome<FloorProcess> {
        let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--floor", name, &cores.join(",")]);
        command.args([mbufs.to_string(), self.load.frames.data_room().to_string()]);
        command.args(pairs.iter().flat_map(|(a, b)| [a, b]));
        FloorProcess::start(command, self.cores.len())
    }
}

fn cesd(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesd"));
    command.arg("--config").arg(config);
    command
}

/// Packets and the CPU time that they took.
pub struct Reading {
    pub packets: u64,
    pub cpu_ns: u64,
    /// A worker's or a floor's thread each.
    pub slices: Vec<Slices>,
}

impl Reading {
    /// Cycles a packet.
    pub fn cycles(&self, hertz: f64) -> f64 {
        self.cpu_ns as f64 * hertz / 1e9 / self.packets as f64
    }
}

/// How long something is measured, and whether it is looked at meanwhile: what looks needs a core of its own.
#[derive(Clone, Copy)]
pub struct Window {
    length: Duration,
    is_sliced: bool,
}

impl Window {
    pub const fn sliced(length: Duration) -> Self {
        Self { length, is_sliced: true }
    }

    pub const fn whole(length: Duration) -> Self {
        Self { length, is_sliced: false }
    }
}

/// Something to measure.
pub trait Measured {
    /// Lets it run for `window` and reads what it did meanwhile; paused before and after.
    fn measure(&mut self, window: Window) -> Outcome<Reading>;
    /// Lets it run until so many packets more have come in; paused before and after.
    fn warm_up(&mut self, packets: u64) -> Outcome<()>;
}

/// Something that runs, read from outside.
pub trait Watched {
    /// (packets, CPU time in nanoseconds) so far.
    fn totals(&mut self) -> Outcome<(u64, u64)>;
    /// The counts of each of its threads.
    fn look(&mut self) -> Outcome<Vec<Look>>;
}

/// Time to warm caches up after a pause.
const SETTLE: Duration = Duration::from_millis(150);

/// Returns once so many packets more have come in, of something that runs.
pub fn run_packets(packets: u64, watched: &mut dyn Watched) -> Outcome<()> {
    let (end, deadline) = (watched.totals()?.0 + packets, Instant::now() + Duration::from_secs(120));
    while watched.totals()?.0 < end {
        if Instant::now() > deadline {
            return Err(format!("{packets} packets did not come within two minutes").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What it did in `window`, after a while.
pub fn run_window(window: Window, watched: &mut dyn Watched) -> Outcome<Reading> {
    std::thread::sleep(SETTLE);
    let before = watched.totals()?;
    let end = Instant::now() + window.length;
    let mut looks: Vec<Vec<Look>> = vec![];
    if !window.is_sliced {
        std::thread::sleep(window.length);
    }
    while Instant::now() < end {
        for (thread, look) in watched.look()?.into_iter().enumerate() {
            looks.resize_with(looks.len().max(thread + 1), Vec::new);
            looks[thread].push(look);
        }
        std::thread::sleep(SLICE);
    }
    let after = watched.totals()?;
    let slices = looks.iter().map(|looks| Slices::between(looks)).collect();
    Ok(Reading { packets: after.0 - before.0, cpu_ns: after.1 - before.1, slices })
}

/// A running `cesd`.
pub struct Edge {
    socket: PathBuf,
    process: Process,
    workers: usize,
    /// For looks, which follow each other too soon to connect for each.
    asking: Option<Client>,
}

impl Edge {
    fn ask<T: serde::de::DeserializeOwned>(&self, what: &Request) -> Outcome<T> {
        Ok(serde_json::from_value(Client::connect(&self.socket)?.ask(what)?)?)
    }

    pub fn sessions(&self) -> Outcome<u64> {
        Ok(self.ask::<Status>(&Request::Status {})?.sessions)
    }

    /// In nanoseconds, of its workers so far.
    fn cpu_ns(&self) -> Outcome<u64> {
        (0..self.workers).map(|n| self.process.cpu_time(&format!("ces-worker-{n}"))).sum()
    }

    /// Drops of the run so far, under all names.
    fn drops(&self) -> Outcome<u64> {
        let counters: Counters = self.ask(&Request::Counters {})?;
        Ok(counters.drops.iter().map(|(_, d)| d.total).sum())
    }

    /// Lets it run for `window`: packets that were dropped under that name, if nothing else has become of any.
    pub fn measure_drops(&mut self, window: Window, name: &str) -> Outcome<Reading> {
        // (sent, dropped under other names), dropped under it
        let of = |edge: &Edge| -> Outcome<((u64, u64), u64)> {
            let counters: Counters = edge.ask(&Request::Counters {})?;
            let dropped = |is_it: bool| -> u64 {
                let drops = counters.drops.iter().filter(|(reason, _)| (*reason == name) == is_it);
                drops.map(|(_, drop)| drop.total).sum()
            };
            Ok(((counters.workers.iter().map(|w| w.tx_packets).sum(), dropped(false)), dropped(true)))
        };
        self.process.go_on()?;
        let before = of(self)?;
        let reading = run_window(window, self)?;
        let after = of(self)?;
        self.process.pause()?;
        if before.0 != after.0 || after.1 - before.1 < reading.packets {
            let dropped = after.1 - before.1;
            return Err(format!(
                "(sent, dropped otherwise) from {:?} to {:?}, {dropped} {name}",
                before.0, after.0
            )
            .into());
        }
        Ok(reading)
    }
}

impl Watched for Edge {
    /// Those that came in: where nothing is dropped, as many as went out.
    fn totals(&mut self) -> Outcome<(u64, u64)> {
        let counters: Counters = self.ask(&Request::Counters {})?;
        Ok((counters.workers.iter().map(|w| w.rx_packets).sum(), self.cpu_ns()?))
    }

    fn look(&mut self) -> Outcome<Vec<Look>> {
        if self.asking.is_none() {
            self.asking = Some(Client::connect(&self.socket)?);
        }
        let client = self.asking.as_mut().ok_or("no connection")?;
        let runtime: Runtime = serde_json::from_value(client.ask(&Request::Runtime {})?)?;
        Ok(Look::of_workers(&runtime))
    }
}

impl Edge {
    /// As [`Measured::measure`], with as many sessions before and after as `is_so` says; and how many after. Nothing may be dropped: each
    /// packet is translated and sent, or this is no result.
    pub fn measure_while(
        &mut self,
        window: Window,
        is_so: impl Fn(u64, u64) -> bool,
    ) -> Outcome<(Reading, u64)> {
        self.process.go_on()?;
        let before = (self.drops()?, self.sessions()?);
        let reading = run_window(window, self)?;
        let after = (self.drops()?, self.sessions()?);
        self.process.pause()?;
        if before.0 != after.0 || !is_so(before.1, after.1) {
            return Err(format!("(drops, sessions) went from {before:?} to {after:?} during a window").into());
        }
        Ok((reading, after.1))
    }

    /// Lets it run until it has as many sessions as `is_so` says; how many. It is left paused.
    pub fn run_until(&mut self, is_so: impl Fn(u64) -> bool) -> Outcome<u64> {
        self.process.go_on()?;
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let sessions = self.sessions()?;
            if is_so(sessions) {
                self.process.pause()?;
                return Ok(sessions);
            }
            if Instant::now() > deadline {
                return Err(format!("{sessions} sessions after two minutes").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Measured for Edge {
    fn measure(&mut self, window: Window) -> Outcome<Reading> {
        // Sessions only went into the first window.
        self.measure_while(window, |before, after| before == after).map(|(reading, _)| reading)
    }

    fn warm_up(&mut self, packets: u64) -> Outcome<()> {
        self.process.go_on()?;
        run_packets(packets, self)?;
        self.process.pause()
    }
}
