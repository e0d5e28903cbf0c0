//! What the parts of a packet's way cost by themselves: the look-up in batches as a worker makes it, a session's coming and
//! going, recognising a packet, rewriting it. `cargo bench --bench micro`; a filter behind `--` chooses: `-- look-up`.
//!
//! The look-ups at 8 M sessions take 1.4 GB of memory and some seconds of preparation. Everything else is small.

use ces::dataplane::classify::{self, HEADERS, Ingress, at};
use ces::dataplane::rewrite;
use ces::flow::slab::CHUNK;
use ces::flow::{
    Action, FlowHome, FlowTable, Half, HashKey, Key4, Lookup, Protocol, Realm, Record4, Reporter, Rewrite4,
};
use ces::nat::{Nat44, NatHome, NatOptions, Pool, PoolOptions, Sharing, Timeouts};
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{self, Delta, EtherType, Ipv4, Ipv4Mut, Link, MacAddr, Tcp, TcpFlags, TcpMut};
use ces::packet::{checksum, ipv4, tcp};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const INSIDE: Realm = Realm(1);
const OUTSIDE: Realm = Realm(2);
const SUBSCRIBER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const BATCH: usize = 64;

// ---- look-up ----

/// Both keys of session `n`: 64 ports of each subscriber, and of as many public addresses.
fn keys(n: u32) -> [Key4; 2] {
    let (nth, port) = (n / 64, 1024 + (n % 64) as u16);
    let end = |base: Ipv4Addr| (Ipv4Addr::from(u32::from(base) + nth), port);
    let out = Key4::new(INSIDE, Protocol::Udp, end(SUBSCRIBER), (SERVER, 443));
    let back = Key4::new(OUTSIDE, Protocol::Udp, (SERVER, 443), end(PUBLIC));
    [out, back]
}

/// A table with so many sessions, and one key of each, from either side by turns, in random order.
fn populated(sessions: u32) -> (Arc<FlowTable>, Vec<Key4>) {
    let mut random = StdRng::seed_from_u64(1);
    let table = Arc::new(FlowTable::new(sessions as usize, 0, 1, HashKey::new(|| random.random())));
    let mut home = FlowHome::new(table.clone());
    let half = |key, action| Half { key, rewrite: Rewrite4::default(), action };
    let mut chosen = Vec::with_capacity(sessions as usize);
    for n in 0..sessions {
        let [out, back] = keys(n);
        let outbound = half(out, Action::FORWARD.with(Action::OUTBOUND));
        home.create::<Record4>(&outbound, &half(back, Action::FORWARD), 0).expect("made for so many");
        chosen.push(if n % 2 == 0 { out } else { back });
    }
    chosen.shuffle(&mut random);
    let pages = if table.is_huge() { "reserved huge pages" } else { "ordinary pages" };
    println!("{sessions} sessions on {pages}");
    (table, chosen)
}

/// The look-up of a burst, pass by pass; returns how many were found.
fn look_up(table: &FlowTable, keys: &[Key4; BATCH], lookups: &mut [Lookup; BATCH]) -> usize {
    for (lookup, key) in lookups.iter_mut().zip(keys) {
        *lookup = table.begin::<Record4>(key);
    }
    let mut second = arrayvec::ArrayVec::<u8, BATCH>::new();
    for (i, lookup) in lookups.iter_mut().enumerate() {
        if table.locate::<Record4>(lookup) {
            second.push(i as u8);
        }
    }
    for i in second {
        table.locate_second::<Record4>(&mut lookups[usize::from(i) % BATCH]);
    }
    let found = |(lookup, key): (&Lookup, &Key4)| {
        table.confirm::<Record4>(lookup, key).or_else(|| table.find(lookup.hash, key).map(|f| f.1)).is_some()
    };
    lookups.iter().zip(keys).map(found).filter(|found| *found).count()
}

fn look_ups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up in batches of 64, shuffled");
    group.throughput(Throughput::Elements(BATCH as u64));
    for sessions in [1_000, 100_000, 1_000_000, 8_000_000] {
        let mut bed = None;
        group.bench_function(BenchmarkId::from_parameter(format!("{sessions} sessions")), |b| {
            // Only here is it known that no filter leaves this case out.
            let (table, keys) = bed.get_or_insert_with(|| populated(sessions));
            let mut batches = keys.as_chunks::<BATCH>().0.iter().cycle();
            let mut lookups = [Lookup::default(); BATCH];
            b.iter(|| {
                let batch = batches.next().expect("endless");
                assert_eq!(look_up(table, batch, &mut lookups), BATCH);
            });
        });
    }
}

// ---- sessions ----

/// One worker's home, and first packets of 64 subscribers.
struct Bed {
    flows: FlowHome,
    nat: NatHome,
    reporter: Reporter,
    firsts: Vec<Key4>,
    now: u32,
}

impl Bed {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(2);
        let options = NatOptions {
            inside: vec![INSIDE],
            outside: OUTSIDE,
            untranslated: vec![],
            hairpin: true,
            inbound_sessions_per_mapping: 64,
            sessions_per_subscriber: u32::MAX,
            new_sessions_per_second: 0,
            timeouts: Timeouts::default(),
            pcp: None,
            mappings: 4096,
            subscribers: 4096,
        };
        let last = Ipv4Addr::from(u32::from(PUBLIC) + 15);
        let pool = PoolOptions {
            sharing: Sharing::Blocks { first: 512, block: 512, per_subscriber: 4 },
            ..PoolOptions::new("bench", vec![(PUBLIC, last)], vec![INSIDE])
        };
        let pool = Pool::new(pool, || random.random());
        let table = Arc::new(FlowTable::new(4096, 0, 1, HashKey::new(|| random.random())));
        let nat = Arc::new(Nat44::new(options, vec![pool], HashKey::new(|| random.random()), 1));
        let reporter = Reporter::new(table.quiescence().clone(), 0);
        reporter.online();
        let firsts = (0..BATCH as u32).map(|n| keys(n * 64)[0]).collect();
        Self { flows: FlowHome::new(table), nat: NatHome::new(nat, 0, [5; 32]), reporter, firsts, now: 0 }
    }

    /// A batch of sessions comes, and is swept when its time is over; returns how many went.
    fn come_and_go(&mut self) -> usize {
        for key in &self.firsts {
            self.nat.outbound(&mut self.flows, key, 0, self.now).expect("room");
        }
        self.now = self.now.wrapping_add(Timeouts::default().udp + 1);
        let steps = 2 * self.flows.owned_records() / CHUNK + 1;
        let removed = (0..steps).map(|_| self.nat.sweep(&mut self.flows, CHUNK, self.now)).sum();
        self.reporter.quiescent();
        removed
    }
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut bed = None;
    group.bench_function("NAT44: made for a first packet, swept when idle", |b| {
        let bed = bed.get_or_insert_with(Bed::new);
        b.iter(|| assert_eq!(bed.come_and_go(), BATCH));
    });
}

// ---- one packet, in the first-level cache ----

fn frame() -> [u8; 64] {
    let mut frame = [0; 64];
    let ip = Ip::V4(ipv4::Header::new(SUBSCRIBER, SERVER, packet::Protocol::TCP));
    let segment = Transport::Tcp(tcp::Header::new(40_000, 443, TcpFlags::ACK), &[]);
    build::frame(&mut frame, &Path::untagged(GATEWAY, EDGE), &ip, &segment).expect("54 bytes fit 64");
    frame
}

/// The five-tuple and the flags of a TCP frame, by the views of `packet/`.
fn parse(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u16, u16, TcpFlags)> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    let packet = Ipv4::parse(link.payload).ok().filter(|packet| !packet.is_fragment())?;
    let segment = Tcp::parse(packet.payload()).ok()?;
    let ports = (segment.source_port(), segment.destination_port());
    Some((packet.source(), packet.destination(), ports.0, ports.1, segment.flags()))
}

fn parses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let frame = frame();
    let [a, b, c, d, e, f] = EDGE.0;
    let ingress = Ingress { interface: 0, realm: INSIDE, mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) };
    let common = |frame: &[u8]| classify::common4(frame, frame.len(), &ingress, false);
    assert!(common(&frame).is_some() && parse(&frame).is_some());
    group.bench_function("the fast way: key, flags, header checksum", |b| {
        b.iter(|| common(black_box(&frame)))
    });
    group.bench_function("by the views: five-tuple and flags", |b| b.iter(|| parse(black_box(&frame))));
    let bytes = [0x5a; 1460];
    group.bench_function("checksum of 1,460 bytes", |b| b.iter(|| checksum::checksum(black_box(&bytes))));
}

/// The compiled rewrite of a subscriber's first packet.
fn compiled(frame: &[u8; 64]) -> Rewrite4 {
    let (from, ports, _) = parse(frame).map(|p| ((p.0, p.2), (p.1, p.3), p.4)).expect("a TCP segment");
    let mut bed = Bed::new();
    let key = Key4::new(INSIDE, Protocol::Tcp, from, ports);
    let made = bed.nat.outbound(&mut bed.flows, &key, TcpFlags::SYN.0, 0).expect("room");
    bed.flows.table().get::<Record4>(made).map(Record4::rewrite).expect("just made")
}

fn checksums_are_right(frame: &[u8]) -> bool {
    let ip = Ipv4::parse(&frame[at::IPV4..]).expect("a packet");
    let segment = Tcp::parse(ip.payload()).expect("a segment");
    ip.checksum_is_right() && segment.checksum_is_right(&ip.pseudo_header())
}

/// A source NAT by the setters, which work out each change as they go.
fn rewrite_by_setters(frame: &mut [u8], moved: Delta) -> Option<()> {
    let mut packet = Ipv4Mut::parse(frame.get_mut(at::IPV4..)?).ok()?;
    packet.set_source(PUBLIC);
    let _alive = packet.decrement_ttl();
    let mut segment = TcpMut::parse(packet.payload_mut()).ok()?;
    segment.set_source_port(50_000);
    segment.adjust_checksum(moved);
    Some(())
}

fn rewrites(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rewrite");
    let original = frame();
    let w = compiled(&original);
    let fast = |frame: &mut [u8; 64]| {
        let headers = frame.first_chunk_mut::<HEADERS>().expect("64 bytes");
        rewrite::common4(headers, black_box(&w), true);
    };
    let moved = Delta::between(&SUBSCRIBER.octets(), &PUBLIC.octets());
    let (mut one, mut other) = (original, original);
    fast(&mut one);
    rewrite_by_setters(&mut other, moved).expect("a TCP segment");
    assert!(checksums_are_right(&one) && checksums_are_right(&other));
    // A fresh copy a time: a TTL ends.
    group.bench_function("the fast way: compiled", |b| {
        b.iter(|| {
            let mut frame = black_box(original);
            fast(&mut frame);
            frame
        });
    });
    group.bench_function("by the setters", |b| {
        b.iter(|| {
            let mut frame = black_box(original);
            rewrite_by_setters(&mut frame, black_box(moved));
            frame
        });
    });
}

criterion_group! {
    name = group;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = look_ups, sessions, parses, rewrites
}
criterion_main!(group);
