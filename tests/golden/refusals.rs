//! Scenarios of refusal: a NAT with its strict options, and tables that are full. No captures are kept of them.

use std::net::Ipv4Addr;

use ces::packet::{Arp, DropReason, MacAddr};

use crate::nat44::{
    ALICE, BOB, EDGE_HOME, EDGE_OUTSIDE, OTHER_SERVER, SERVER, STRANGER, UDP, arp_frame, ip, unreachable,
};
use crate::packets::{End, Packet};
use crate::scenario::{HOME, OUTSIDE, Scenario, TWIN, chosen, edge};

fn udp(from: End, to: End) -> Packet {
    Packet::new(from, to, UDP, b"let me in")
}

/// The edge asks outside who has an address.
fn question(address: Ipv4Addr) -> Vec<u8> {
    let request = Arp::request(edge(OUTSIDE), EDGE_OUTSIDE, address);
    arp_frame(edge(OUTSIDE), MacAddr::BROADCAST, &request)
}

/// A packet that its subscriber has no share left for: it is dropped, and its sender told so (RFC 5508 REQ-8).
fn refused(s: &mut Scenario, name: &str, port: usize, packet: Packet, why: DropReason) {
    let packet = Packet { identification: s.next_identification(), ..packet };
    let told = unreachable(port, EDGE_HOME, 13, &packet);
    s.packet(name, port, packet).makes(port, told).drops(why);
}

/// Address-and-port-dependent filtering, no hairpins, one packet held for a neighbour.
pub fn strict() -> Scenario {
    let (alice, dns) = ((ALICE, 4000), (SERVER, 53));
    let public = chosen(1);
    let mut s = Scenario::default();
    s.packet("out", HOME, udp(alice, dns)).becomes(OUTSIDE, public, dns);
    s.packet("hairpin", HOME, udp((BOB, 4000), public)).drops(DropReason::HairpinOff);
    let unknown = (ip(203, 0, 113, 18), 53);
    s.packet("held", HOME, udp(alice, unknown))
        .makes(OUTSIDE, question(unknown.0))
        .drops(DropReason::Shutdown);
    s.packet("one more than is held", HOME, udp(alice, unknown)).drops(DropReason::NeighborQueueFull);
    s.packet("the answer", OUTSIDE, udp(dns, public)).becomes(HOME, dns, alice);
    let filtered = DropReason::NatFiltered;
    s.packet("another port of the one asked", OUTSIDE, udp((SERVER, 54), public)).drops(filtered);
    s.packet("somebody never asked", OUTSIDE, udp((STRANGER, 53), public)).drops(filtered);
    s
}

/// The options of [`strict`].
pub const STRICT: (&str, &str) = (
    "pool = [\"203.0.113.64-203.0.113.191\"]\nhairpin = false\nfiltering = \"address-and-port-dependent\"\n",
    "[limits]\nneighbor_hold = 1\n",
);

/// One block of 64 ports a subscriber, two subscribers, sixteen neighbours of which four are given.
pub fn full() -> Scenario {
    let dns = (SERVER, 53);
    let mut s = Scenario::default();
    for n in 0..64 {
        s.packet("a port of the block", HOME, udp((ALICE, 4000 + n), dns)).becomes(OUTSIDE, chosen(n), dns);
    }
    refused(&mut s, "a port too many", HOME, udp((ALICE, 5000), dns), DropReason::NatNoPort);
    s.packet("an endpoint that has its port", HOME, udp((ALICE, 4000), (OTHER_SERVER, 53))).becomes(
        OUTSIDE,
        chosen(0),
        (OTHER_SERVER, 53),
    );
    s.packet("the second subscriber", HOME, udp((BOB, 4000), dns)).becomes(OUTSIDE, chosen(100), dns);
    for last in 0..12 {
        let there = (ip(203, 0, 113, 20 + last), 53);
        s.packet("a neighbour", HOME, udp((BOB, 4000), there))
            .makes(OUTSIDE, question(there.0))
            .drops(DropReason::Shutdown);
    }
    s.packet("a neighbour too many", HOME, udp((BOB, 4000), (ip(203, 0, 113, 40), 53)))
        .drops(DropReason::NeighborsFull);
    refused(&mut s, "a subscriber too many", TWIN, udp((ALICE, 4000), dns), DropReason::NatSubscribersFull);
    s
}

/// The options of [`full`].
pub const FULL: (&str, &str) = (
    "pool = [\"203.0.113.64\"]\nports = \"1024-2047\"\nblocks_per_subscriber = 1\nsubscribers = 2\n",
    "[flow]\nneighbors = 16\n",
);

/// More sessions than fit, through one mapping. 1,024 are configured; a chunk of 256 records comes on top, because a worker
/// may have one open.
pub fn sessions() -> Scenario {
    let fit = 1024 + 256 / 2;
    let mut s = Scenario::default();
    for n in 0..=fit {
        let remote = (SERVER, 1000 + n);
        let packet = udp((ALICE, 4000), remote);
        if n < fit {
            s.packet("a session", HOME, packet).becomes(OUTSIDE, chosen(1), remote);
        } else {
            refused(&mut s, "a session too many", HOME, packet, DropReason::SessionsFull);
        }
    }
    s
}

/// The options of [`sessions`].
pub const SESSIONS: (&str, &str) =
    ("pool = [\"203.0.113.64\"]\nsessions_per_subscriber = 2048\n", "[flow]\nsessions = 1024\n");

/// More mappings than fit, with sessions left.
pub fn mappings() -> Scenario {
    let (fit, dns) = (1024, (SERVER, 53));
    let mut s = Scenario::default();
    for n in 0..=fit {
        let packet = udp((ALICE, 4000 + n), dns);
        if n < fit {
            s.packet("a mapping", HOME, packet).becomes(OUTSIDE, chosen(n), dns);
        } else {
            refused(&mut s, "a mapping too many", HOME, packet, DropReason::NatMappingsFull);
        }
    }
    s
}

/// The options of [`mappings`].
pub const MAPPINGS: (&str, &str) =
    ("pool = [\"203.0.113.64\"]\nmappings = 1024\nblocks_per_subscriber = 32\n", "");
