//! The edge under test: assembled as `cesd` assembles it, with sessions that a test puts in.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use ces::appliance::assemble::{Parts, assemble};
use ces::appliance::{plan, tunnels::Rings};
use ces::config::{self, Config};
use ces::dataplane::{Stage, Worker, WorkerCounters};
use ces::dpdk::{Eal, Lcore};
use ces::flow::Realm;
use ces::flow::tunnel::{Ends, LOCAL, Opens, RlocOptions, Service, SessionOptions, Tunnels};
use ces::packet::{DropReason, MacAddr};

use crate::bed::Bed;
use crate::between::Carrier;

/// Ports, and realms of the same names; LATER is HOME's again.
pub const HOME: usize = 0;
pub const TWIN: usize = 1;
pub const CORE: usize = 2;
pub const LATER: usize = 3;
pub const PORTS: [&str; 4] = ["home", "twin", "core", "later"];
const ADDRESSES: [&str; 4] =
    ["\"10.0.0.1/24\"", "\"10.0.0.1/24\"", "\"203.0.113.1/24\", \"2001:db8::1/64\"", "\"10.0.1.1/24\""];

pub const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const A2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// Of the same address as A, in the realm TWIN.
pub const B: Ipv4Addr = A;
/// What stands for hosts behind other edges, by the carrier to those.
pub const PROXY4: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
pub const PROXY6: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 10);
pub const PROXY_ETHERNET: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
/// What stands for B with A, and for A with B.
pub const PROXY_OF_B: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 20);
pub const PROXY_OF_A: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 21);
/// Tags of the other edges.
pub const THEIRS: [u32; 4] = [0x0102_0304, 0xf102_0305, 0x7f00_0001, 0x0102_0307];

pub fn own(port: usize) -> [u8; 6] {
    [2, 0, 0, 0, port as u8, 1]
}

/// A host or another edge on a port, by the last byte of its address.
pub fn station(port: usize, last: u8) -> [u8; 6] {
    [2, 0, 0, 1, port as u8, last]
}

/// The carriers, as the other edge sends.
pub fn from_outside() -> [Carrier; 3] {
    [
        Carrier::V4("203.0.113.9".parse().expect("one"), "203.0.113.1".parse().expect("one")),
        Carrier::V6("2001:db8::9".parse().expect("one"), "2001:db8::1".parse().expect("one")),
        Carrier::Ethernet,
    ]
}

/// And as this one does.
pub fn to_outside() -> [Carrier; 3] {
    from_outside().map(|carrier| match carrier {
        Carrier::V4(a, b) => Carrier::V4(b, a),
        Carrier::V6(a, b) => Carrier::V6(b, a),
        Carrier::Ethernet => Carrier::Ethernet,
    })
}

pub fn configuration(workers: &str, nat: &str, devices: impl Fn(usize) -> String, stop: &str) -> String {
    let mut text =
        format!("[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\nstop = \"{stop}\"\n{workers}");
    for (number, (port, addresses)) in PORTS.iter().zip(ADDRESSES).enumerate() {
        let side = if number == CORE { "outside" } else { "inside" };
        if number != LATER {
            text += &format!("[[realm]]\nname = \"{port}\"\nside = \"{side}\"\nsource_check = \"loose\"\n");
        }
        let realm = if number == LATER { "home" } else { port };
        text += &format!(
            "[[port]]\nname = \"{port}\"\nmac = \"{}\"\ndevice = \"{}\"\n\
             [[interface]]\nport = \"{port}\"\nrealm = \"{realm}\"\naddresses = [{addresses}]\n",
            MacAddr(own(number)),
            devices(number)
        );
    }
    let neighbors: [(usize, &str, u8); 5] = [
        (HOME, "10.0.0.2", 2),
        (HOME, "10.0.0.3", 3),
        (TWIN, "10.0.0.2", 2),
        (CORE, "203.0.113.9", 9),
        (CORE, "2001:db8::9", 9),
    ];
    for (port, address, last) in neighbors {
        let mac = MacAddr(station(port, last));
        text += &format!(
            "[[neighbor]]\ninterface = \"{}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n",
            PORTS[port]
        );
    }
    text + nat
        + "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\", \"2001:db8::1\"]\n\
           [[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n\
           [cetp]\nsessions = 64\nedges = 8\nethernet = [\"core\"]\n"
}

/// The tags of the sessions, by the edge's own.
pub struct Tags {
    /// With the hosts behind other edges, by carrier; and A2's, over IPv4.
    pub outside: [u32; 4],
    pub of_a: u32,
    pub of_b: u32,
}

pub const ONLY: [Service; 3] = [
    Service { protocol: Some(17), ports: (53, 53), opens: Opens::Host },
    Service { protocol: Some(6), ports: (80, 80), opens: Opens::Either },
    Service { protocol: Some(1), ports: (0, u16::MAX), opens: Opens::Host },
];

/// The realms by number, as the configuration has them.
pub const REALMS: [Realm; 3] = [Realm(1), Realm(2), Realm(3)];

/// Puts the sessions in.
pub fn install(tunnels: &mut Tunnels) -> Tags {
    let v4 = |a: &str| match a.parse() {
        Ok(IpAddr::V4(a)) => a,
        _ => panic!("{a}"),
    };
    let v6 = |a: &str| match a.parse() {
        Ok(IpAddr::V6(a)) => a,
        _ => panic!("{a}"),
    };
    let ends = [
        Ends::V4 { local: v4("203.0.113.1"), remote: v4("203.0.113.9") },
        Ends::V6 { local: v6("2001:db8::1"), remote: v6("2001:db8::9") },
        Ends::Ethernet { interface: CORE as u16, local: own(CORE), remote: station(CORE, 9) },
    ];
    let peers = ends.map(|ends| {
        let peer = tunnels.add_peer().expect("there is room");
        let rloc = tunnels.add_rloc(&RlocOptions { ends, realm: REALMS[CORE], mtu: 1500 });
        tunnels.set_rlocs(peer, &[rloc.expect("there is room")]).expect("it is there");
        peer
    });
    let mut session = |peer: usize, host, proxy, services: &[Service], theirs| {
        let tag = tunnels.reserve().expect("there is room");
        let peer = peers[peer];
        let options = SessionOptions { peer_tag: theirs, peer, realm: REALMS[HOME], host, proxy, services };
        tunnels.install(tag, &options, 0).expect("it is new");
        tag
    };
    let any = [Service::ANY];
    let outside = [
        session(0, A, PROXY4, &ONLY, THEIRS[0]),
        session(1, A, PROXY6, &any, THEIRS[1]),
        session(2, A, PROXY_ETHERNET, &any, THEIRS[2]),
        session(0, A2, PROXY4, &any, THEIRS[3]),
    ];
    let (of_a, of_b) = local(tunnels);
    Tags { outside, of_a, of_b }
}

/// Puts the two sessions of A and B in.
pub fn local(tunnels: &mut Tunnels) -> (u32, u32) {
    let [of_a, of_b] = [(); 2].map(|()| tunnels.reserve().expect("there is room"));
    let ends = [(of_a, of_b, HOME, A, PROXY_OF_B), (of_b, of_a, TWIN, B, PROXY_OF_A)];
    for (tag, peer_tag, realm, host, proxy) in ends {
        let services = [Service::ANY];
        let options =
            SessionOptions { peer_tag, peer: LOCAL, realm: REALMS[realm], host, proxy, services: &services };
        tunnels.install(tag, &options, 0).expect("it is new");
    }
    (of_a, of_b)
}

/// A running edge.
pub struct Edge {
    pub eal: Eal,
    pub parts: Parts,
    pub tunnels: Tunnels,
    pub rings: Rings,
    lcores: Vec<Lcore<()>>,
}

pub fn load(bed: &Bed, text: &str) -> Config {
    let path = bed.configure(text);
    config::load(&path).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Edge {
    /// Ready to run. `more` devices are started beside those of the configuration.
    pub fn assemble(config: &Config, more: &[&str]) -> Edge {
        let layout = plan::cores(&config.workers).expect("the cores are there");
        let mut options = plan::eal(config, &layout);
        options.vdevs.extend(more.iter().map(|device| (*device).to_owned()));
        let eal = Eal::init(options).expect("DPDK starts");
        let mut parts = assemble(config, &eal).unwrap_or_else(|error| panic!("{error}"));
        let (tunnels, rings) = parts.tunnels.take().expect("[cetp] is written");
        Edge { eal, parts, tunnels, rings, lcores: vec![] }
    }

    pub fn start(&mut self) {
        for (id, worker) in self.parts.workers.drain(..).enumerate() {
            let run = move || Worker::new(worker).run();
            let lcore = self.eal.launch(plan::lcore(id), &plan::thread_name(id), run).expect("a core");
            self.lcores.push(lcore);
        }
    }

    pub fn wait(&self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_done(self) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "still waiting for {what}: {:?}",
                self.drops()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn sum(&self, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.parts.counters.iter().map(|counters| of(counters)).sum()
    }

    /// Every name with a count.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let count = |why: &DropReason| (why.name(), self.sum(|c| c.drops[*why as usize].get()));
        DropReason::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    pub fn stop(&mut self) {
        self.parts.control.stop();
        self.lcores.drain(..).for_each(|lcore| lcore.join());
    }

    /// Every packet that came in, or was made here, is accounted for.
    pub fn balance(&self) {
        let dropped: u64 = self.drops().iter().map(|(_, count)| count).sum();
        let came = self.sum(|c| c.rx_packets.get()) + self.sum(|c| c.originated_packets.get());
        let went = self.sum(|c| c.tx_packets.get()) + self.sum(|c| c.local_packets.get()) + dropped;
        assert_eq!(came, went, "{:?}", self.drops());
        let packets = [Stage::Receive, Stage::TakeOver].map(|stage| self.packets_of(stage));
        let counted = [self.sum(|c| c.rx_packets.get()), self.sum(|c| c.received_handoff.get())];
        assert_eq!(packets, counted, "and comes to its stages");
    }

    /// What came to a stage.
    pub fn packets_of(&self, stage: Stage) -> u64 {
        self.sum(|counters| counters.stages[stage as usize].packets.get())
    }
}

/// What went out by a port, once the edge is gone.
pub fn sent(bed: &Bed, port: usize) -> Vec<Vec<u8>> {
    crate::captured::read(Path::new(&bed.directory).join(format!("{}-out.pcap", PORTS[port])).as_path())
}
