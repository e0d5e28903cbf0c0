//! Sessions that come and go while packets do: what is sent goes by a ring, step by step.

use std::net::Ipv4Addr;

use ces::appliance::flows::matching;
use ces::dataplane::RxSide;
use ces::dpdk::{Burst, Pool, PoolOptions, Port, PortOptions, TxQueue};
use ces::flow::tunnel::{Service, SessionOptions};
use ces::manage::model::Flow;
use ces::manage::protocol::{FlowFilter, FlowLimit};
use ces::packet::MacAddr;

use crate::ONE;
use crate::bed::Bed;
use crate::edge::*;
use crate::packets::{Carried, Packet};

const RING: &str = "net_ring0";

struct Sender {
    pool: Pool,
    queue: TxQueue,
}

impl Sender {
    /// A datagram of A's to that address.
    fn send(&mut self, to: Ipv4Addr, port: u16) {
        self.send_long(to, port, 20);
    }

    /// The same with so many bytes.
    fn send_long(&mut self, to: Ipv4Addr, port: u16, length: usize) {
        let carried = Carried::Udp { unsummed: false };
        let packet = Packet::new((A, 5000), (to, port), carried, &vec![0; length]);
        let frame = packet.frame(MacAddr(station(HOME, 2)), MacAddr(own(HOME)));
        let mut burst = Burst::new();
        burst.push(self.pool.alloc_copy(&frame).expect("a buffer"));
        assert_eq!(self.queue.send(&mut burst), 1);
    }
}

/// How many were sent, and dropped for want of a tunnel.
fn counts(edge: &Edge) -> (u64, u64) {
    let lost = edge.drops().iter().find(|(name, _)| *name == "cetp_no_tunnel").map_or(0, |(_, count)| *count);
    (edge.sum(|c| c.forwarded_packets.get()), lost)
}

pub fn sessions_come_and_go() {
    let bed = Bed::new();
    let device = |number: usize| format!("net_null{number},no-rx=1");
    let nat = crate::script::NAT;
    let config = load(&bed, &configuration(ONE, nat, device, "signal"));
    let mut edge = Edge::assemble(&config, &[RING]);
    let tags = install(&mut edge.tunnels);
    let pool = Pool::new(&edge.eal, &PoolOptions::new("sender", 1023)).expect("a pool");
    let (_port, mut rx, mut tx) = Port::start(&edge.eal, &PortOptions::new(RING), &pool).expect("a ring");
    let source =
        edge.parts.workers[0].rx.iter_mut().find(|side| side.port == HOME).expect("it is configured");
    *source = RxSide { queue: rx.remove(0), port: HOME, rate: None };
    edge.start();
    let mut sender = Sender { pool, queue: tx.remove(0) };
    let mut expected = (0, 0);
    let mut step = |edge: &Edge, to, port, sent: bool| {
        sender.send(to, port);
        if sent {
            expected.0 += 1
        } else {
            expected.1 += 1
        }
        edge.wait("a packet", |edge| counts(edge) == expected);
    };
    for _ in 0..3 {
        step(&edge, PROXY4, 53, true);
        step(&edge, PROXY_OF_B, 53, true);
    }
    let filter = FlowFilter { host: None, realm: None, limit: FlowLimit::default() };
    let shown = matching(&config, &edge.parts.world, &filter, None, 0).flows;
    let ends = |flow: &Flow| [flow.inside, flow.outside, flow.remote].map(|end| end.to_string());
    let shown: Vec<_> = shown.iter().map(|flow| (ends(flow), flow.packets_out)).collect();
    let line = |ends: [&str; 3]| (ends.map(str::to_owned), 3);
    for expected in [
        line(["10.0.0.2:5000", "10.0.0.2:5000", "172.16.0.9:53"]),
        line(["10.0.0.2:5000", "172.16.0.21:5000", "10.0.0.2:53"]),
    ] {
        assert!(shown.len() == 2 && shown.contains(&expected), "{shown:?}");
    }
    let before = edge.tunnels.shared().find(tags.outside[0]).expect("it lives").counts();
    assert_eq!((before.packets_out, before.bytes_out), (3, 3 * 62), "as hosts have sent them");
    let of = |tag| edge.tunnels.shared().find(tag).expect("it lives").counts();
    assert_eq!((of(tags.of_a).packets_out, of(tags.of_b).packets_in), (3, 3));
    // From the moment on that it is gone, nothing passes: of two local ones, whichever goes.
    assert!(edge.tunnels.remove(tags.outside[0]) && edge.tunnels.remove(tags.of_b));
    for _ in 0..2 {
        step(&edge, PROXY4, 53, false);
        step(&edge, PROXY_OF_B, 53, false);
    }
    // A successor's flow takes the place of the old one, at once.
    let tag = edge.tunnels.reserve().expect("there is room");
    let services = [Service::ANY];
    let peer_tag = THEIRS[0] + 10;
    let (realm, host, proxy) = (REALMS[HOME], A, PROXY4);
    let options = SessionOptions { peer_tag, peer: 0, realm, host, proxy, services: &services };
    edge.tunnels.install(tag, &options, 0).expect("the pair is free");
    for _ in 0..2 {
        step(&edge, PROXY4, 53, true);
    }
    assert_eq!(edge.tunnels.shared().find(tag).expect("it lives").counts().packets_out, 2);
    let (made, gone) = (edge.sum(|c| c.sessions_created.get()), edge.sum(|c| c.sessions_removed.get()));
    assert!(made == 3 && (1..=2).contains(&gone), "{made} made, {gone} gone");
    // Its way takes less from now on: all sessions' packets are judged by it.
    let too_big =
        |edge: &Edge| edge.drops().iter().find(|(name, _)| *name == "packet_too_big").map_or(0, |d| d.1);
    sender.send_long(PROXY4, 53, 1300 - 24 - 28);
    expected.0 += 1;
    edge.wait("a packet", |edge| counts(edge) == expected);
    edge.tunnels.set_mtu(0, 1299).expect("the RLOC is there");
    sender.send_long(PROXY4, 53, 1300 - 24 - 28);
    edge.wait("its refusal", |edge| too_big(edge) == 1);
    sender.send_long(PROXY4, 53, 1299 - 24 - 28);
    expected.0 += 1;
    edge.wait("one byte less", |edge| counts(edge) == expected);
    edge.stop();
    edge.balance();
}
