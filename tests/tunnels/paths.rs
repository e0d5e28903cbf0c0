//! An RLOC whose route has two next hops: flows spread over both, and each keeps to its own.

use std::collections::HashMap;

use ces::packet::MacAddr;

use crate::ONE;
use crate::bed::Bed;
use crate::edge::*;
use crate::jumbo::Side;
use crate::packets::{Carried, Packet};

/// The last bytes of the addresses of two routers in the core.
const ROUTERS: [u8; 2] = [20, 21];
const FLOWS: u16 = 64;

/// The configuration of routes to both ends of the tunnels, and of the routers.
fn routes() -> String {
    let mut text = String::new();
    for (network, bits) in [("203.0.113.", 32), ("2001:db8::", 128)] {
        let via = ROUTERS.map(|router| format!("{network}{router}"));
        text += &format!("[[route]]\nrealm = \"core\"\nprefix = \"{network}9/{bits}\"\nvia = {via:?}\n");
        for (router, address) in ROUTERS.iter().zip(via) {
            let mac = MacAddr(station(CORE, *router));
            text +=
                &format!("[[neighbor]]\ninterface = \"core\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
        }
    }
    text
}

pub fn spread() {
    let bed = Bed::new();
    let device = |number: usize| match number {
        HOME | CORE => format!("net_ring{}", 4 + number),
        _ => format!("net_null{number},no-rx=1"),
    };
    let text = configuration(ONE, crate::script::NAT, device, "signal") + &routes();
    let mut edge = Edge::assemble(&load(&bed, &text), &["net_ring0", "net_ring1"]);
    install(&mut edge.tunnels);
    let mut home = Side::new(&mut edge, HOME, "net_ring0");
    let mut core = Side::new(&mut edge, CORE, "net_ring1");
    edge.start();
    for (proxy, host) in [(PROXY4, A2), (PROXY6, A)] {
        let mut flows_of: HashMap<[u8; 6], u16> = HashMap::new();
        for port in 5000..5000 + FLOWS {
            let from = MacAddr(station(HOME, host.octets()[3]));
            let packet = Packet::new((host, port), (proxy, 53), Carried::Udp { unsummed: false }, b"x");
            // The first one goes the slow way, the others the fast one.
            let routers = [(); 4].map(|()| {
                home.send(&packet.frame(from, MacAddr(own(HOME))));
                core.receive(&edge).first_chunk().copied().expect("a frame")
            });
            assert_eq!(routers, [routers[0]; 4], "port {port} keeps to one");
            *flows_of.entry(routers[0]).or_default() += 1;
        }
        let taken = ROUTERS.map(|router| flows_of.remove(&station(CORE, router)).unwrap_or(0));
        assert!(taken.iter().all(|flows| *flows >= FLOWS / 8), "{taken:?}, {flows_of:?}");
        assert_eq!(taken.iter().sum::<u16>(), FLOWS, "{flows_of:?}");
    }
    edge.stop();
    edge.balance();
    assert_eq!(edge.drops(), []);
}
