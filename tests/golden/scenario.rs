//! Scenarios: frames that go in, and what must become of each: what goes out, or the name that it is dropped under.
//!
//! The oracle knows nothing of tables and deltas. It says which packet must leave by which port, and builds that in full; only
//! which public ports the NAT has chosen it learns from the run, by the first packet that shows each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use ces::packet::{DropReason, MacAddr};

use crate::bed::Bed;
use crate::capture;
use crate::captured;
use crate::cesd::cesd;
use crate::packets::{Carried, End, Packet};
use crate::summary::Summary;

/// The ports, in the order in which they are read.
pub const HOME: usize = 0;
/// Another realm with the very addresses of HOME.
pub const TWIN: usize = 1;
/// A realm that no NAT serves.
pub const LAN: usize = 2;
/// HOME's realm again, when all that has come in by HOME is done with.
pub const LATER: usize = 3;
pub const OUTSIDE: usize = 4;
pub const PORTS: [&str; 5] = ["home", "twin", "lan", "later", "outside"];

/// The edge's own MAC address on a port.
pub const fn edge(port: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 1])
}

/// A host on a port, by the last byte of its address.
pub const fn host(port: usize, last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 1, port as u8, last])
}

/// The neighbour that leads to an address: itself, or outside, beyond the connected prefix, the gateway.
pub fn next_hop(port: usize, to: Ipv4Addr) -> MacAddr {
    let far = port == OUTSIDE && to.octets()[..3] != [203, 0, 113];
    host(port, if far { 254 } else { to.octets()[3] })
}

/// Stands for the public end that the NAT chooses: of class E (RFC 1112 section 4), where no real end is.
pub const fn chosen(number: u16) -> End {
    let [high, low] = number.to_be_bytes();
    (Ipv4Addr::new(240, 0, high, low), 0)
}

/// The real ends of those that [`chosen`] stands for.
pub type Chosen = BTreeMap<Ipv4Addr, End>;

fn is_open(end: &End) -> bool {
    end.0.octets()[0] == 240
}

/// The packet with its open ends filled in; `None` when one is not known.
fn close(packet: &Packet, chosen: &Chosen) -> Option<Packet> {
    let fill = |end: End| if is_open(&end) { chosen.get(&end.0).copied() } else { Some(end) };
    let (source, destination) = (fill(packet.source)?, fill(packet.destination)?);
    Some(Packet { source, destination, ..packet.clone() })
}

/// A frame that goes in or out.
#[derive(Clone)]
enum Frame {
    Packet { packet: Packet, from: MacAddr },
    Bytes(Vec<u8>),
}

/// A frame, and what becomes of it.
pub struct Case {
    name: String,
    port: usize,
    input: Frame,
    output: Vec<(usize, Frame)>,
    drop: Option<DropReason>,
}

impl Case {
    /// It leaves by `port`, from and to these ends, its time to live one less.
    pub fn becomes(&mut self, port: usize, source: End, destination: End) -> &mut Case {
        let Frame::Packet { packet, .. } = &self.input else { panic!("{}: no packet", self.name) };
        let packet = Packet { source, destination, ttl: packet.ttl - 1, ..packet.clone() };
        self.output.push((port, Frame::Packet { packet, from: edge(port) }));
        self
    }

    /// What leaves last differs in this.
    pub fn but(&mut self, change: impl Fn(&mut Packet)) -> &mut Case {
        if let Some((_, Frame::Packet { packet, .. })) = self.output.last_mut() {
            change(packet);
        }
        self
    }

    /// The edge sends this frame of its own.
    pub fn makes(&mut self, port: usize, frame: Vec<u8>) -> &mut Case {
        self.output.push((port, Frame::Bytes(frame)));
        self
    }

    /// It is dropped under this name.
    pub fn drops(&mut self, why: DropReason) -> &mut Case {
        self.drop = Some(why);
        self
    }
}

/// See the module.
#[derive(Default)]
pub struct Scenario {
    cases: Vec<Case>,
}

impl Scenario {
    /// The identification that the next packet gets.
    pub fn next_identification(&self) -> u16 {
        self.cases.len() as u16 + 1
    }

    /// A packet to the edge. Its identification is set: it tells packets apart.
    pub fn packet(&mut self, name: &str, port: usize, packet: Packet) -> &mut Case {
        let identification = self.next_identification();
        let packet = Packet { identification, ..packet };
        // From outside, beyond the connected prefix, the gateway's.
        let from = next_hop(port, packet.source.0);
        self.add(name, port, Frame::Packet { packet, from })
    }

    /// Any frame.
    pub fn frame(&mut self, name: &str, port: usize, frame: Vec<u8>) -> &mut Case {
        self.add(name, port, Frame::Bytes(frame))
    }

    fn add(&mut self, name: &str, port: usize, input: Frame) -> &mut Case {
        self.cases.push(Case { name: name.into(), port, input, output: vec![], drop: None });
        self.cases.last_mut().expect("just pushed")
    }

    /// What goes in by each port, as far as it is known.
    pub fn inputs(&self, chosen: &Chosen) -> Frames {
        let mut frames = Frames::default();
        for case in &self.cases {
            let bytes = match &case.input {
                Frame::Packet { packet, from } => {
                    close(packet, chosen).map(|p| p.frame(*from, edge(case.port)))
                }
                Frame::Bytes(bytes) => Some(bytes.clone()),
            };
            frames.0[case.port].extend(bytes);
        }
        frames
    }

    /// What must come out of each port, with the case that it belongs to.
    fn outputs(&self, chosen: &Chosen) -> [Vec<(Vec<u8>, &str)>; PORTS.len()] {
        let mut frames: [Vec<_>; PORTS.len()] = Default::default();
        for case in &self.cases {
            for (port, frame) in &case.output {
                let bytes = match frame {
                    Frame::Packet { packet, from } => {
                        // An end that was never chosen: a frame that nobody sends.
                        let packet = close(packet, chosen).unwrap_or_else(|| packet.clone());
                        packet.frame(*from, next_hop(*port, packet.destination.0))
                    }
                    Frame::Bytes(bytes) => bytes.clone(),
                };
                frames[*port].push((bytes, case.name.as_str()));
            }
        }
        frames
    }

    /// Which ends the NAT has chosen, seen in what came out.
    pub fn learn(&self, seen: &Frames) -> Chosen {
        let mut chosen = Chosen::new();
        for (port, frame) in self.cases.iter().flat_map(|c| &c.output) {
            let Frame::Packet { packet, .. } = frame else { continue };
            if is_open(&packet.source)
                && let Some(bytes) = seen.0[*port].iter().find(|f| is_of(f, packet))
            {
                chosen.entry(packet.source.0).or_insert_with(|| source_of(bytes, packet));
            }
        }
        chosen
    }

    /// Compares a run with what the oracle says.
    ///
    /// # Panics
    /// With the names of all cases that went wrong.
    pub fn judge(&self, seen: &Frames, summary: &Summary) {
        let mut wrong = String::new();
        for (port, wanted) in self.outputs(&self.learn(seen)).iter().enumerate() {
            let mut left: HashMap<&[u8], i32> = HashMap::new();
            seen.0[port].iter().for_each(|f| *left.entry(f).or_default() += 1);
            for (bytes, name) in wanted {
                let count = left.entry(bytes).or_default();
                *count -= 1;
                if *count < 0 {
                    writeln!(wrong, "{name}: {} lacks {}", PORTS[port], hex(bytes)).expect("a string");
                }
            }
            for (bytes, _) in left.iter().filter(|l| *l.1 > 0) {
                writeln!(wrong, "nobody expects from {}: {}", PORTS[port], hex(bytes)).expect("a string");
            }
        }
        let drops = self.drops();
        for name in drops.keys().chain(summary.drops.keys()).collect::<BTreeSet<_>>() {
            let (want, have) = (drops.get(name).unwrap_or(&0), summary.drops.get(name).unwrap_or(&0));
            let cases: Vec<&str> = self
                .cases
                .iter()
                .filter(|c| c.drop.is_some_and(|d| d.name() == name))
                .map(|c| &*c.name)
                .collect();
            if want != have {
                writeln!(wrong, "dropped as {name}: {have} instead of {want} {cases:?}").expect("a string");
            }
        }
        assert!(wrong.is_empty(), "{wrong}\n{summary:#?}");
        self.count(seen, summary);
    }

    /// The figures beside the drops.
    fn count(&self, seen: &Frames, summary: &Summary) {
        summary.balance();
        assert_eq!(summary.received, self.cases.len() as u64);
        assert_eq!(summary.sent, seen.0.iter().map(|f| f.len() as u64).sum::<u64>());
        let outputs = || self.cases.iter().flat_map(|c| &c.output);
        let own = outputs().filter(|o| matches!(o.1, Frame::Bytes(_))).count();
        assert_eq!(summary.originated, own as u64, "answers, questions and errors");
        let forwarded = |c: &Case| c.output.iter().any(|o| matches!(o.1, Frame::Packet { .. }));
        let local = self.cases.iter().filter(|c| c.drop.is_none() && !forwarded(c)).count();
        assert_eq!(summary.local, local as u64, "answered or taken note of");
        // Translated, and then lost on its way.
        use DropReason::{NeighborQueueFull, NeighborsFull, Shutdown};
        let lost = [Shutdown, NeighborQueueFull, NeighborsFull];
        let lost = self.cases.iter().filter(|c| c.drop.is_some_and(|d| lost.contains(&d))).count();
        let translated = outputs().count() - own + lost;
        assert_eq!(summary.forwarded, translated as u64, "a hairpin counts once");
    }

    fn drops(&self) -> BTreeMap<String, u64> {
        let mut drops = BTreeMap::new();
        self.cases
            .iter()
            .filter_map(|c| c.drop)
            .for_each(|d| *drops.entry(d.name().to_owned()).or_default() += 1);
        drops
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, b| text + &format!("{b:02x}"))
}

/// Whether this frame is that packet, translated.
fn is_of(frame: &[u8], packet: &Packet) -> bool {
    frame.len() > 34 && frame[12..14] == [8, 0] && frame[18..20] == packet.identification.to_be_bytes()
}

/// The source of a frame that [`is_of`] a packet: of an echo request, with its identifier.
fn source_of(frame: &[u8], packet: &Packet) -> End {
    let echo = matches!(packet.carried, Carried::EchoRequest { .. });
    let at = 34 + packet.ip_options.len() + if echo { 4 } else { 0 };
    let address: [u8; 4] = frame[26..30].try_into().expect("four bytes");
    (address.into(), u16::from_be_bytes([frame[at], frame[at + 1]]))
}

/// The frames of each port, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(pub [Vec<Vec<u8>>; PORTS.len()]);

impl Frames {
    /// Reads `PORT-in.pcap` or `PORT-out.pcap` of each port.
    pub fn read(directory: &Path, direction: &str) -> Frames {
        Frames(PORTS.map(|port| captured::read(&directory.join(format!("{port}-{direction}.pcap")))))
    }

    pub fn write(&self, directory: &Path, direction: &str) {
        for (port, frames) in PORTS.iter().zip(&self.0) {
            capture::write(&directory.join(format!("{port}-{direction}.pcap")), frames);
        }
    }

    /// An ARP request is asked again after a second: on a busy machine a run takes so long. Returns how many were.
    fn forget_repeated_questions(&mut self) -> u64 {
        let mut repeated = 0;
        for frames in &mut self.0 {
            let mut asked = HashSet::new();
            frames.retain(|f| {
                let first = f[12..14] != [8, 6] || f[20..22] != [0, 1] || asked.insert(f.clone());
                repeated += u64::from(!first);
                first
            });
        }
        repeated
    }

    /// Each port's frames, in no order.
    pub fn sorted(&self) -> Frames {
        let mut sorted = self.clone();
        sorted.0.iter_mut().for_each(|frames| frames.sort());
        sorted
    }

    /// The ordinary TCP and UDP frames by flow, in order within each.
    pub fn by_flow(&self) -> BTreeMap<(usize, &[u8]), Vec<&[u8]>> {
        let mut flows: BTreeMap<_, Vec<&[u8]>> = BTreeMap::new();
        for (port, frames) in self.0.iter().enumerate() {
            let ordinary =
                |f: &&Vec<u8>| f.len() >= 54 && f[12..15] == [8, 0, 0x45] && [6, 17].contains(&f[23]);
            for frame in frames.iter().filter(ordinary) {
                flows.entry((port, &frame[26..38])).or_default().push(frame);
            }
        }
        flows
    }
}

/// Runs `cesd` over these frames to their end.
pub fn run(config: &str, inputs: &Frames) -> (Frames, Summary) {
    let bed = Bed::new();
    inputs.write(&bed.directory, "in");
    bed.configure(config);
    let output = cesd(&bed).output().expect("cesd runs");
    let (mut outputs, mut summary) = (Frames::read(&bed.directory, "out"), Summary::of(&output));
    let repeated = outputs.forget_repeated_questions();
    summary.sent -= repeated;
    summary.originated -= repeated;
    (outputs, summary)
}

/// Runs a scenario whose inputs depend on the ports that the NAT chooses in the run: again and again, until they are the same as
/// the time before.
pub fn settle(scenario: &Scenario, config: &str) -> (Frames, Frames, Summary) {
    let mut chosen = Chosen::new();
    for _ in 0..6 {
        let inputs = scenario.inputs(&chosen);
        let (outputs, summary) = run(config, &inputs);
        let learnt = scenario.learn(&outputs);
        if learnt == chosen {
            return (inputs, outputs, summary);
        }
        chosen = learnt;
    }
    panic!("the NAT chooses other ports in every run, for all its seed");
}
