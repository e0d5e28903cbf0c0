//! Packets that mean no good, into tunnels and out of them, among many that do: the edge ends well, each of them is accounted for, and
//! nothing is allocated for any.
//!
//! Guarantees: the frames follow from the seed alone, and from the tags. Never: asks what became of one frame.

use std::net::Ipv4Addr;

use ces::packet::checksum::checksum;
use ces::packet::{Ipv4, Ipv6, Link, MacAddr, TcpFlags};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

use crate::bed::Bed;
use crate::between::{Carrier, carried, cuttable, payload};
use crate::capture;
use crate::edge::*;
use crate::packets::{Carried, End, Packet};

const FRAMES: usize = 30_000;

struct Hostile {
    random: StdRng,
}

impl Hostile {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).expect("some")
    }

    /// A packet between two addresses, whole or a piece of one.
    fn packet(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let flags = TcpFlags(self.one(&[0x02, 0x02, 0x10, 0x12, 0x04, 0x11, 0xff]));
        let carried = match self.random.random_range(0..10) {
            0..4 => Carried::Udp { unsummed: self.chance(30) },
            4..7 => Carried::Tcp { flags, options: self.one(&[&[2, 4, 5, 180][..], &[]]).to_vec() },
            7 => Carried::EchoRequest { sequence: 1 },
            8 => Carried::EchoReply { sequence: 1 },
            _ => Carried::Raw(self.one(&[1, 6, 17, 50, 132])),
        };
        let length = if self.chance(10) { 1800 } else { 100 };
        let mut bytes = vec![0; self.random.random_range(0..length)];
        self.random.fill_bytes(&mut bytes);
        let end = |address, port| -> End { (address, port) };
        let ports = [0; 2].map(|_| self.random.random_range(50..90));
        let mut packet = Packet::new(end(from, ports[0]), end(to, ports[1]), carried, &bytes);
        packet.ttl = self.one(&[64, 64, 64, 64, 64, 64, 64, 64, 255, 2, 1, 0]);
        packet.ip_options =
            self.one(&[&[][..], &[], &[], &[], &[], &[], &[148, 4, 0, 0], &[131, 3, 4, 0]]).to_vec();
        let frame = packet.frame(MacAddr::ZERO, MacAddr::ZERO);
        match self.random.random_range(0..10) {
            0..6 => frame,
            6 => cuttable(frame, 9, 0),
            _ => {
                let offset = self.one(&[0, 0, 1, 2, 12, 0x1fff]) | self.one(&[0, 0x2000]);
                cuttable(frame, self.random.random_range(0..4), offset)
            }
        }
    }

    fn of_a_host(&mut self) -> Vec<u8> {
        let to = self.one(&[PROXY4, PROXY4, PROXY6, PROXY_ETHERNET, PROXY_OF_B]);
        let from = self.one(&[A, A, A2]);
        let mut frame = self.packet(from, to);
        frame[..12].copy_from_slice(&[own(HOME), station(HOME, 2)].concat());
        self.spoil(&mut frame);
        frame
    }

    /// That a packet of a tunnel was too big, or of none.
    fn of_a_router(&mut self, tags: &Tags) -> Vec<u8> {
        let carrier = self.random.random_range(0..2);
        let own_tag = self.one(&[tags.outside[carrier], tags.outside[carrier], tags.outside[3], tags.of_a]);
        let inner = self.packet(Ipv4Addr::from_bits(own_tag), Ipv4Addr::from_bits(THEIRS[carrier]));
        let outer = carried(to_outside()[carrier], own(CORE), station(CORE, 9), 0, &payload(&inner, 0));
        let quoted = self.random.random_range(14..outer.len().min(600));
        let router = self.random.random_range(20..250);
        let mtu = self.random.random_range(0..1500);
        let mut frame = crate::script::of_a_router(carrier == 1, router, &outer[14..quoted], mtu);
        self.spoil(&mut frame);
        frame
    }

    fn of_an_edge(&mut self, tags: &Tags) -> Vec<u8> {
        if self.chance(5) {
            return self.of_a_router(tags);
        }
        let carrier = self.random.random_range(0..3);
        let mut own_tag = Ipv4Addr::from_bits(tags.outside[carrier]);
        if self.chance(5) {
            own_tag = Ipv4Addr::from_bits(self.one(&[tags.of_a, tags.of_b, tags.outside[3], 1, 0]));
        }
        let inner = self.packet(Ipv4Addr::from_bits(THEIRS[carrier]), own_tag);
        let mut rest = payload(&inner, u8::from(self.chance(2)));
        if self.chance(10) {
            let (at, bit) = (self.random.random_range(0..rest.len().min(30)), self.random.random_range(0..8));
            rest[at] ^= 1 << bit;
        }
        let carrier = match from_outside()[carrier] {
            Carrier::V4(_, to) if self.chance(3) => Carrier::V4(Ipv4Addr::new(203, 0, 113, 7), to),
            same => same,
        };
        let service = self.one(&[inner[15], 1, 3]);
        let mut frame = carried(carrier, station(CORE, 9), own(CORE), service, &rest);
        self.spoil(&mut frame);
        frame
    }

    /// Now and then some bits of its head are others, or it ends too early, or too late.
    fn spoil(&mut self, frame: &mut Vec<u8>) {
        match self.random.random_range(0..20) {
            0..3 => {
                for _ in 0..self.random.random_range(1..6) {
                    let at = self.random.random_range(0..frame.len().min(90));
                    frame[at] ^= 1 << self.random.random_range(0..8);
                }
                // With a right checksum it gets further in.
                if self.chance(80) && frame.len() >= 34 && frame[14] == 0x45 {
                    frame[24..26].fill(0);
                    let sum = checksum(&frame[14..34]);
                    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
                }
            }
            3 => frame.truncate(self.random.random_range(0..=frame.len())),
            4 => frame.extend([0xaa; 50]),
            _ => (),
        }
    }
}

fn is_sound(frame: &[u8]) -> bool {
    let Ok(link) = Link::parse(frame) else { return false };
    match link.ether_type.0 {
        0x0800 => Ipv4::parse(link.payload).is_ok_and(|ip| ip.checksum_is_right() && ip.ttl() > 0),
        0x86dd => Ipv6::parse(link.payload).is_ok(),
        0x88b5 => ces::packet::cetp::Payload::parse(link.payload).is_ok(),
        0x0806 => true,
        _ => false,
    }
}

pub fn run(workers: &str, seed: u64) {
    let bed = Bed::new();
    let device = |number: usize| {
        let (directory, port) = (bed.directory.display(), PORTS[number]);
        format!("net_pcap{number},rx_pcap={directory}/{port}-in.pcap,tx_pcap={directory}/{port}-out.pcap")
    };
    let write = |port: usize, frames: &[Vec<u8>]| {
        capture::write(&bed.directory.join(format!("{}-in.pcap", PORTS[port])), frames);
    };
    (0..PORTS.len()).for_each(|port| write(port, &[]));
    let config = load(&bed, &configuration(workers, crate::script::NAT, device, "end-of-input"));
    let mut edge = Edge::assemble(&config, &[]);
    let tags = install(&mut edge.tunnels);
    let mut hostile = Hostile { random: StdRng::seed_from_u64(seed) };
    write(HOME, &(0..FRAMES).map(|_| hostile.of_a_host()).collect::<Vec<_>>());
    write(CORE, &(0..FRAMES).map(|_| hostile.of_an_edge(&tags)).collect::<Vec<_>>());
    edge.start();
    let allocations = || {
        let stats = crate::COUNTING.stats();
        [stats.allocations, stats.reallocations, stats.deallocations]
    };
    edge.wait("a first round", |edge| edge.parts.counters.iter().all(|counters| counters.polls.get() > 0));
    let (before, read) = (allocations(), edge.sum(|c| c.rx_packets.get()));
    edge.wait("the end of input", |edge| edge.parts.control.input_is_over());
    let after = allocations();
    edge.stop();
    assert_eq!(after, before, "allocations, reallocations, deallocations");
    assert!(read < FRAMES as u64, "{read} of the packets were read before the count began");
    edge.balance();
    let (drops, forwarded) = (edge.drops(), edge.sum(|c| c.forwarded_packets.get()));
    assert_eq!(edge.sum(|c| c.rx_packets.get()), 2 * FRAMES as u64);
    let cetp = drops.iter().filter(|(name, _)| name.starts_with("cetp_")).count();
    assert!(forwarded > 10_000 && cetp >= 7 && drops.len() >= 20, "{forwarded} forwarded; {drops:?}");
    drop(edge);
    for (number, port) in PORTS.iter().enumerate() {
        let wrong = sent(&bed, number).into_iter().find(|frame| !is_sound(frame));
        assert!(wrong.is_none(), "seed {seed}, from {port}: {wrong:02x?}");
    }
}
