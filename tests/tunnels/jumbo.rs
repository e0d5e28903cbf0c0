//! Frames of several segments, as devices make them of jumbo frames: through tunnels both ways, by all carriers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ces::dataplane::RxSide;
use ces::dpdk::{Burst, Mbuf, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue};
use ces::packet::build::{IcmpError, Path};
use ces::packet::cetp::{Inner, Payload};
use ces::packet::{Ipv4, MacAddr, Udp};

use crate::ONE;
use crate::bed::Bed;
use crate::between::{carried, cuttable, payload, plain};
use crate::edge::*;
use crate::packets::{Carried, Packet};

const UDP: Carried = Carried::Udp { unsummed: false };
/// Bytes of a segment: so many have room in a buffer.
const SEGMENT: usize = 2000;
const LONG: usize = 8000;
const UDP_HEADER: usize = 8;

/// What goes in by a port and what comes out by it.
pub struct Side {
    pool: Pool,
    into: TxQueue,
    out: RxQueue,
    came: VecDeque<Vec<u8>>,
    _port: Port,
}

impl Side {
    /// Of the edge's port, which is a ring whose other end the test has from now on; the worker gets what `ring` brings.
    pub fn new(edge: &mut Edge, port: usize, ring: &str) -> Side {
        let pool = Pool::new(&edge.eal, &PoolOptions::new(ring, 1023)).expect("a pool");
        let (_port, mut rx, mut tx) = Port::start(&edge.eal, &PortOptions::new(ring), &pool).expect("a ring");
        let sides = &mut edge.parts.workers[0].rx;
        let side = sides.iter_mut().find(|side| side.port == port).expect("it is configured");
        let own = std::mem::replace(side, RxSide { queue: rx.remove(0), port, rate: None });
        Side { pool, into: tx.remove(0), out: own.queue, came: VecDeque::new(), _port }
    }

    pub fn send(&mut self, frame: &[u8]) {
        let mut segments = frame.chunks(SEGMENT).map(|part| self.pool.alloc_copy(part).expect("a buffer"));
        let mut whole = segments.next().expect("a frame is not empty");
        segments.for_each(|segment| assert!(whole.chain(segment).is_ok()));
        assert_eq!(whole.is_contiguous(), frame.len() <= SEGMENT);
        let mut burst = Burst::new();
        burst.push(whole);
        assert_eq!(self.into.send(&mut burst), 1);
    }

    /// The one packet that comes.
    pub fn receive(&mut self, edge: &Edge) -> Vec<u8> {
        let frame = self.receive_first(edge);
        assert!(self.came.is_empty(), "another one");
        frame
    }

    /// The next packet; what the edge says to all on its link, of itself, is none.
    fn receive_first(&mut self, edge: &Edge) -> Vec<u8> {
        let start = Instant::now();
        loop {
            if let Some(frame) = self.came.pop_front() {
                return frame;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "nothing comes: {:?}", edge.drops());
            let mut burst = Burst::new();
            self.out.receive(&mut burst);
            let whole = |mbuf: Mbuf| mbuf.segments().collect::<Vec<_>>().concat();
            self.came.extend(burst.drain(..).map(whole).filter(|frame| frame[0] & 1 == 0));
        }
    }
}

pub fn pass() {
    let bed = Bed::new();
    let device = |number: usize| match number {
        HOME | CORE => format!("net_ring{}", 4 + number),
        _ => format!("net_null{number},no-rx=1"),
    };
    let text = configuration(ONE, crate::script::NAT, device, "signal");
    let config = load(&bed, &text.replace("device = ", "mtu = 9000\ndevice = "));
    let mut edge = Edge::assemble(&config, &["net_ring0", "net_ring1"]);
    let tags = install(&mut edge.tunnels);
    (0..3).for_each(|rloc| edge.tunnels.set_mtu(rloc, 9000).expect("an RLOC"));
    let mut home = Side::new(&mut edge, HOME, "net_ring0");
    let mut core = Side::new(&mut edge, CORE, "net_ring1");
    edge.start();
    let tag = std::net::Ipv4Addr::from_bits;
    let bare = |packet: &Packet| packet.frame(MacAddr::ZERO, MacAddr::ZERO);
    let of = |from, to, ttl| {
        let text: Vec<u8> = (0..LONG).map(|i| i as u8).collect();
        Packet { ttl, ..Packet::new(from, to, UDP, &text) }
    };
    let mac = |port, last| MacAddr(station(port, last));
    // The first packet of a flow goes the slow way, the next one the fast one.
    for (carrier, (proxy, session, host)) in
        [(PROXY4, 3, A2), (PROXY6, 1, A), (PROXY_ETHERNET, 2, A)].into_iter().enumerate()
    {
        let (own_tag, theirs) = (tag(tags.outside[session]), tag(THEIRS[session]));
        for _ in 0..2 {
            let inner = bare(&of((theirs, 53), (own_tag, 5000), 61));
            core.send(&carried(from_outside()[carrier], station(CORE, 9), own(CORE), 0, &payload(&inner, 0)));
            let last = host.octets()[3];
            let expected = of((proxy, 53), (host, 5000), 60).frame(MacAddr(own(HOME)), mac(HOME, last));
            assert!(home.receive(&edge) == expected, "out of the tunnel by carrier {carrier}");
        }
        for _ in 0..2 {
            let last = host.octets()[3];
            home.send(&of((host, 5000), (proxy, 53), 64).frame(mac(HOME, last), MacAddr(own(HOME))));
            let inner = bare(&of((own_tag, 5000), (theirs, 53), 63));
            let expected =
                carried(to_outside()[carrier], own(CORE), station(CORE, 9), 0, &payload(&inner, 0));
            assert!(plain(core.receive(&edge)) == expected, "into the tunnel by carrier {carrier}");
        }
    }
    // One that does not fit: its sender is told, as of any other.
    edge.tunnels.set_mtu(0, 5000).expect("an RLOC");
    let frame = of((A2, 5000), (PROXY4, 53), 64).frame(mac(HOME, 3), MacAddr(own(HOME)));
    home.send(&frame);
    let mut expected = vec![0; 1500];
    let back = Path::untagged(MacAddr(own(HOME)), mac(HOME, 3));
    let packet = Ipv4::parse_quoted(&frame[14..]).expect("a packet");
    let needed = IcmpError::FragmentationNeeded { mtu: 5000 - 24 };
    let length = ces::packet::build::icmp_error(&mut expected, &back, [10, 0, 0, 1].into(), needed, &packet);
    expected.truncate(length.expect("it fits"));
    assert!(home.receive(&edge) == expected, "what its sender is told");
    // One that may be cut goes in pieces, each as long as a buffer has room for.
    let cut = cuttable(of((A2, 5000), (PROXY4, 53), 64).frame(mac(HOME, 3), MacAddr(own(HOME))), 77, 0);
    home.send(&cut);
    let (mut text, mut pieces) = (Vec::new(), 0);
    while text.len() < LONG + UDP_HEADER {
        let frame = core.receive_first(&edge);
        let ip = Ipv4::parse(&frame[14..]).expect("a packet");
        assert!(ip.checksum_is_right() && usize::from(ip.total_length()) <= 5000);
        let payload =
            Payload::parse(Udp::parse(ip.payload()).expect("a datagram").payload()).expect("a payload");
        let Inner::Ipv4(inner) = payload.inner() else { panic!("an IPv4 packet") };
        let piece = [&inner.restore(0, payload.header().tag_addresses())[..], inner.payload()].concat();
        let piece = Ipv4::parse(&piece).expect("a fragment");
        assert_eq!((piece.identification(), piece.ttl()), (77, 63));
        assert_eq!(usize::from(piece.fragment_offset()), text.len(), "in order");
        text.extend_from_slice(piece.payload());
        assert_eq!(piece.more_fragments(), text.len() < LONG + UDP_HEADER);
        pieces += 1;
    }
    let whole: Vec<u8> = (0..LONG).map(|i| i as u8).collect();
    assert!(text[UDP_HEADER..] == whole && pieces >= LONG / SEGMENT, "{pieces} pieces");
    // And one that is cut short on its way is none.
    let inner = bare(&of((tag(THEIRS[3]), 53), (tag(tags.outside[3]), 5000), 61));
    let mut short = carried(from_outside()[0], station(CORE, 9), own(CORE), 0, &payload(&inner, 0));
    short.truncate(short.len() - 1);
    core.send(&short);
    edge.wait("its refusal", |edge| edge.drops().iter().any(|(name, _)| *name == "truncated"));
    edge.stop();
    edge.balance();
    let drops: Vec<_> = edge.drops();
    assert_eq!(drops, [("truncated", 1), ("packet_too_big", 1)], "{drops:?}");
}
