//! Fragments through the whole appliance: what was cut, shuffled and translated arrives as the whole packet would have, and each
//! piece that does not is accounted for by name.
//!
//! Guarantees: the frames follow from their seeds. The oracle ([`pieces`]) builds each packet anew and puts what has arrived
//! together naively; it refuses to see a byte twice.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/packets.rs"]
mod packets;
#[path = "fragments/pieces.rs"]
mod pieces;
#[path = "support/running.rs"]
mod running;
#[path = "support/summary.rs"]
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::{DropReason, MacAddr, TcpFlags};
use nix::sys::signal::Signal;
use packets::{Carried, End, Packet};
use pieces::{Together, cut, may_be_cut, payload, piece, together};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use running::{Running, show};
use summary::Summary;

const WORKERS: [&str; 3] =
    ["cores = [0]", "cores = [0, 1]\ndistribute = \"rss\"", "cores = [0, 1]\ndistribute = \"software\""];
const PORTS: [&str; 4] = ["home", "lan", "outside", "beside"];
const HOME: usize = 0;
const LAN: usize = 1;
const OUTSIDE: usize = 2;
/// Another way into the outside's realm: where there are two workers, the other one reads it.
const BESIDE: usize = 3;
const UDP: Carried = Carried::Udp { unsummed: false };
const UNSUMMED: Carried = Carried::Udp { unsummed: true };
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const DNS: End = (SERVER, 53);
const STRANGER: End = (Ipv4Addr::new(198, 51, 100, 99), 9999);

const fn edge(port: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 1])
}

const fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// The neighbour that leads to an address.
fn next_hop(to: Ipv4Addr) -> MacAddr {
    let [a, .., last] = to.octets();
    MacAddr([2, 0, 0, 1, 0, if a == 10 { last } else { 254 }])
}

fn config(workers: &str, mtu: u16, pool: &str, others: &str) -> String {
    let mut text = format!("[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n");
    for (number, (port, address)) in
        PORTS.iter().zip(["10.0.0.1/24", "10.9.0.1/24", "203.0.113.1/24", "203.0.114.1/24"]).enumerate()
    {
        let (realm, side) = if number >= OUTSIDE { ("outside", "outside") } else { (*port, "inside") };
        if number != BESIDE {
            text += &format!("[[realm]]\nname = \"{realm}\"\nside = \"{side}\"\n");
        }
        text += &format!(
            "[[port]]\nname = \"{port}\"\nmtu = {mtu}\nmac = \"{}\"\n\
             device = \"net_pcap{number},rx_pcap={port}-in.pcap,tx_pcap={port}-out.pcap\"\n\
             [[interface]]\nport = \"{port}\"\nrealm = \"{realm}\"\naddresses = [\"{address}\"]\n",
            edge(number)
        );
    }
    for last in 2..10 {
        let (address, mac) = (host(last), next_hop(host(last)));
        text += &format!("[[neighbor]]\ninterface = \"home\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
    }
    let gateway = next_hop(SERVER);
    text += &format!(
        "[[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"{gateway}\"\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"198.51.100.0/24\"\nvia = \"203.0.113.254\"\n\
         [nat44]\ninside = [\"home\"]\noutside = \"outside\"\nrandom_seed = 3\npool = [\"{pool}\"]\n"
    );
    text + others
}

/// Of many addresses: then two workers choose as the seed says, too.
const MANY: &str = "203.0.113.64-203.0.113.191";
const ONE: &str = "203.0.113.64";
const TO_THE_END: &str = "stop = \"end-of-input\"\n";

type Frames = [Vec<Vec<u8>>; PORTS.len()];

fn write(bed: &Bed, inputs: &Frames) {
    for (port, frames) in PORTS.iter().zip(inputs) {
        capture::write(&bed.directory.join(format!("{port}-in.pcap")), frames);
    }
}

/// Runs `cesd` over these frames to their end; each port's are read when the one before is at its end.
fn run(config: &str, inputs: &Frames) -> (Frames, Summary) {
    let bed = Bed::new();
    write(&bed, inputs);
    bed.configure(&config.replacen("[workers]\n", &format!("[workers]\n{TO_THE_END}"), 1));
    let summary = Summary::of(&cesd::cesd(&bed).output().expect("cesd runs"));
    summary.balance();
    assert_eq!(summary.received, inputs.iter().map(|f| f.len() as u64).sum::<u64>());
    (PORTS.map(|port| captured::read(&bed.directory.join(format!("{port}-out.pcap")))), summary)
}

/// The frame in which a packet comes to the edge by a port, or leaves it.
fn coming(port: usize, packet: &Packet, identification: u16) -> Vec<u8> {
    may_be_cut(packet.frame(next_hop(packet.source.0), edge(port)), identification)
}

fn leaving(port: usize, packet: &Packet, source: End, destination: End, identification: u16) -> Vec<u8> {
    let packet = Packet { source, destination, ttl: packet.ttl - 1, ..packet.clone() };
    may_be_cut(packet.frame(edge(port), next_hop(packet.destination.0)), identification)
}

fn identification(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[18], frame[19]])
}

/// Takes a whole packet out of what has arrived: the one that ends as `packet` does.
fn take(arrived: &mut Together, packet: &Packet) -> Vec<u8> {
    let tail = &packet.payload[packet.payload.len().saturating_sub(40)..];
    let at = arrived.whole.iter().position(|f| f.ends_with(tail)).expect("the packet has arrived whole");
    arrived.whole.swap_remove(at)
}

/// Where a packet says that it is from; of an echo, with its identifier.
fn source(frame: &[u8]) -> End {
    let l4 = 14 + usize::from(frame[14] & 15) * 4;
    let at = if frame[23] == 1 { l4 + 4 } else { l4 };
    let [a, b, c, d] = frame[26..30].try_into().expect("four bytes");
    (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([frame[at], frame[at + 1]]))
}

/// A datagram as long as there can be one.
fn longest(random: &mut StdRng, source: End, destination: End, carried: Carried) -> Packet {
    let mut bytes = vec![0; 65_535 - 20 - 8];
    random.fill_bytes(&mut bytes);
    Packet::new(source, destination, carried, &bytes)
}

/// What four hosts ask, each with as long a datagram as there can be.
fn questions(random: &mut StdRng) -> Vec<Packet> {
    let ping = Carried::EchoRequest { sequence: 9 };
    [(2, UDP, DNS), (3, UNSUMMED, DNS), (4, UDP, DNS), (5, ping, (SERVER, 0))]
        .map(|(last, carried, to)| longest(random, (host(last), 4000), to, carried))
        .into()
}

/// All fragments of these datagrams, of one identification, in no order.
fn shuffled(random: &mut StdRng, port: usize, packets: &[Packet]) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = packets.iter().flat_map(|p| cut(&coming(port, p, 7), 1480)).collect();
    assert_eq!(frames.len(), packets.len() * 45);
    frames.shuffle(random);
    frames
}

/// Sends the questions, which must arrive as the whole packets would have: from which ends, that is the NAT's choice.
fn ask(config: &str, mtu: u16, questions: &[Packet], out: &[Vec<u8>]) -> Vec<End> {
    let (frames, summary) = run(config, &[out.to_vec(), vec![], vec![], vec![]]);
    assert!(summary.drops.is_empty(), "{summary:#?}");
    assert_eq!(summary.forwarded, out.len() as u64);
    let mut arrived = together(&frames[OUTSIDE]);
    assert!(arrived.largest <= mtu.into() && arrived.lone == 0);
    let fresh: BTreeSet<u16> = arrived.cut.iter().copied().collect();
    assert_eq!(fresh.len(), questions.len(), "an identification for each datagram");
    let end = |question: &Packet| {
        let frame = take(&mut arrived, question);
        let (public, id) = (source(&frame), identification(&frame));
        assert!(
            frame == leaving(OUTSIDE, question, public, question.destination, id),
            "{:?}",
            question.carried
        );
        public
    };
    questions.iter().map(end).collect()
}

/// Datagrams of 64 KiB, all their fragments shuffled together: out, the answers, a stranger's that makes a session from
/// outside, and a hairpin.
fn longest_datagrams_arrive(workers: &str, mtu: u16) {
    let config = config(workers, mtu, MANY, "[limits]\nfragment_hold_per_source = 256\n");
    let mut random = StdRng::seed_from_u64(8);
    let questions = questions(&mut random);
    let out = shuffled(&mut random, HOME, &questions);
    let public = ask(&config, mtu, &questions, &out);

    // Two at once, the first fragments last: what they release is more than a burst.
    let hairpins = [(); 2].map(|()| longest(&mut random, questions[1].source, public[0], UDP));
    let mut late: Vec<_> = cut(&coming(HOME, &hairpins[0], 8), 1480)
        .into_iter()
        .zip(cut(&coming(HOME, &hairpins[1], 9), 1480))
        .flat_map(<[_; 2]>::from)
        .collect();
    late.reverse();
    let mut back: Vec<Packet> = questions
        .iter()
        .zip(&public)
        .map(|(question, &to)| {
            let echo = matches!(question.carried, Carried::EchoRequest { .. });
            let carried = if echo { Carried::EchoReply { sequence: 9 } } else { UDP };
            longest(&mut random, question.destination, to, carried)
        })
        .collect();
    back.push(longest(&mut random, STRANGER, public[2], UNSUMMED));
    let from_outside = shuffled(&mut random, OUTSIDE, &back);
    let (some, others) = from_outside.split_at(from_outside.len() / 2);
    let mut others = others.to_vec();
    others.iter_mut().for_each(|frame| frame[..6].copy_from_slice(&edge(BESIDE).0));
    let (frames, summary) = run(&config, &[[out, late].concat(), vec![], some.to_vec(), others]);
    assert!(summary.drops.is_empty(), "{summary:#?}");
    let mut arrived = together(&frames[HOME]);
    assert!(arrived.largest <= mtu.into() && arrived.lone == 0);
    for (answer, to) in back.iter().zip([0, 1, 2, 3, 2].map(|host| questions[host].source)) {
        let frame = take(&mut arrived, answer);
        assert!(frame == leaving(HOME, answer, answer.source, to, 7), "{:?} to {to:?}", answer.carried);
    }
    for hairpin in &hairpins {
        let frame = take(&mut arrived, hairpin);
        let id = identification(&frame);
        assert!(frame == leaving(HOME, hairpin, public[1], questions[0].source, id), "a hairpin");
    }
    assert!(arrived.whole.is_empty() && together(&frames[OUTSIDE]).whole.len() == questions.len());
}

#[test]
fn datagrams_of_64_kib_arrive_with_one_worker() {
    longest_datagrams_arrive(WORKERS[0], 1500);
}

#[test]
fn datagrams_of_64_kib_arrive_with_two_workers() {
    longest_datagrams_arrive(WORKERS[1], 1500);
    longest_datagrams_arrive(WORKERS[2], 1500);
}

/// Fragments that are too big for the next link are cut again.
#[test]
fn datagrams_of_64_kib_arrive_over_smaller_links() {
    longest_datagrams_arrive(WORKERS[0], 1400);
    longest_datagrams_arrive(WORKERS[2], 576);
}

/// One datagram of a storm, and what happens to it on its way to the edge.
struct Sent {
    packet: Packet,
    frames: Vec<Vec<u8>>,
    duplicates: u64,
    /// Of an overlap: dropped ones.
    spoilt: u64,
}

/// A packet of a host with a payload that is like no other's.
fn any_packet(random: &mut StdRng, number: u16) -> Packet {
    let from = (host(random.random_range(2..8)), 4000 + number % 50);
    let syn = Carried::Tcp { flags: TcpFlags::SYN, options: vec![1, 1, 1, 0] };
    let (carried, to) = match random.random_range(0..5) {
        0 => (syn, (SERVER, 443)),
        1 => (Carried::EchoRequest { sequence: number }, (SERVER, 0)),
        2 => (UNSUMMED, DNS),
        _ => (UDP, DNS),
    };
    let mut bytes = vec![0; random.random_range(60..4000)];
    random.fill_bytes(&mut bytes);
    let ip_options = if random.random_ratio(1, 8) { vec![148, 4, 0, 0] } else { vec![] };
    Packet { ip_options, ..Packet::new(from, to, carried, &bytes) }
}

/// Cut anywhere, in any order, some pieces twice, and now and then one that overlaps others.
fn any_way(random: &mut StdRng, packet: Packet, id: u16) -> Sent {
    let whole = coming(HOME, &packet, id);
    let all = payload(&whole);
    // The first holds the longest transport header of these.
    let mut places: BTreeSet<usize> =
        (0..random.random_range(1..12)).map(|_| random.random_range(3..all / 8) * 8).collect();
    places.extend([0, all]);
    let places: Vec<_> = places.into_iter().collect();
    let mut pieces: Vec<_> = places.windows(2).map(|w| (w[0], w[1])).collect();
    pieces.shuffle(random);
    let mut duplicates = 0;
    // Never after the last: the datagram would be done with.
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..pieces.len());
        if at + 1 < pieces.len() {
            pieces.insert(at + 1, pieces[at]);
            duplicates += 1;
        }
    }
    let mut spoilt = 0;
    if random.random_ratio(1, 10) {
        let at = random.random_range(1..pieces.len());
        let (from, to) = pieces[at - 1];
        // Longer by a unit than the one before it, or, at the end, shorter by one in front.
        let overlap = if to + 8 < all { (from, to + 8) } else { (from.max(8) - 8, all) };
        // Not a whole packet, nor what TCP never sees.
        if overlap != (0, all) && overlap.0 != 8 {
            pieces.insert(at, overlap);
            let known = pieces[..at].iter().any(|p| p.0 == 0);
            duplicates = repeated(&pieces[..at]);
            let held = if known { 0 } else { at as u64 - duplicates };
            spoilt = held + (pieces.len() - at) as u64;
        }
    }
    let frames = pieces.iter().map(|&(from, to)| piece(&whole, from, to)).collect();
    Sent { packet, frames, duplicates, spoilt }
}

/// How many of these have been before.
fn repeated(pieces: &[(usize, usize)]) -> u64 {
    (pieces.len() - pieces.iter().collect::<BTreeSet<_>>().len()) as u64
}

/// A storm from inside: behind one public address hosts use the same identifications towards the same server at the same
/// time, and nothing is mixed up.
fn storm(workers: &str, mtu: u16, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut used = BTreeMap::new();
    let mut sent = vec![];
    for number in 0..150 {
        let packet = any_packet(&mut random, number);
        let id = used.entry(packet.source.0).or_insert(0);
        *id += 1;
        sent.push(any_way(&mut random, packet, *id));
    }
    // All interleaved, each datagram in its own order.
    let mut queues: Vec<_> = sent.iter().map(|s| s.frames.iter()).collect();
    let mut order: Vec<usize> = (0..sent.len()).flat_map(|i| vec![i; sent[i].frames.len()]).collect();
    order.shuffle(&mut random);
    let frames: Vec<_> = order.iter().map(|&i| queues[i].next().expect("as many").clone()).collect();
    // What is cut again must lie in one buffer.
    let config =
        config(workers, mtu, ONE, "[limits]\nfragment_hold = 4096\nfragment_hold_per_source = 1000\n")
            .replacen("[eal]\n", "[eal]\nmbuf_data_room = 5000\n", 1);
    let (outputs, summary) = run(&config, &[frames, vec![], vec![], vec![]]);

    let count = |of: fn(&Sent) -> u64| sent.iter().map(of).sum::<u64>();
    let dropped = |why: DropReason| summary.drops.get(why.name()).copied().unwrap_or(0);
    assert_eq!(dropped(DropReason::Ipv4FragmentDuplicate), count(|s| s.duplicates), "seed {seed}");
    assert_eq!(dropped(DropReason::Ipv4FragmentOverlap), count(|s| s.spoilt), "seed {seed}");
    assert_eq!(summary.drops.values().sum::<u64>(), count(|s| s.duplicates + s.spoilt), "{summary:#?}");
    let mut arrived = together(&outputs[OUTSIDE]);
    assert!(arrived.largest <= mtu.into());
    for s in sent.iter().filter(|s| s.spoilt == 0) {
        let frame = take(&mut arrived, &s.packet);
        let from = source(&frame);
        assert_eq!(from.0, Ipv4Addr::new(203, 0, 113, 64));
        let wanted = leaving(OUTSIDE, &s.packet, from, s.packet.destination, identification(&frame));
        assert!(frame == wanted, "seed {seed}: {:?} is not translated as a whole", s.packet.carried);
    }
    assert!(arrived.whole.is_empty(), "a datagram that was spoilt arrives");
    assert!(count(|s| s.duplicates) > 20 && sent.iter().filter(|s| s.spoilt > 0).count() > 5);
}

#[test]
fn a_storm_of_fragments_is_not_mixed_up() {
    for seed in 0..4 {
        storm(WORKERS[0], 1500, seed);
    }
}

#[test]
fn nor_by_two_workers() {
    for seed in 10..13 {
        storm(WORKERS[1], 1500, seed);
        storm(WORKERS[2], 9000, seed);
    }
}

/// Two hosts send packets of the same identification that the edge itself must cut: theirs are told apart. Those that forbid
/// it, and those that need not be cut, keep their own.
#[test]
fn what_the_edge_cuts_has_its_identification() {
    let packet = |last, length: usize| Packet::new((host(last), 4000), DNS, UDP, &vec![last; length]);
    let (a, b) = (packet(2, 1400), packet(3, 1400));
    let whole = Packet { identification: 77, ..packet(4, 500) };
    let inputs = vec![
        coming(HOME, &a, 7),
        coming(HOME, &b, 7),
        whole.frame(next_hop(host(4)), edge(HOME)),
        coming(HOME, &packet(5, 300), 78),
    ];
    let (outputs, _) = run(&config(WORKERS[0], 1400, ONE, ""), &[inputs, vec![], vec![], vec![]]);
    let mut arrived = together(&outputs[OUTSIDE]);
    let cut: BTreeSet<u16> = arrived.cut.iter().copied().collect();
    assert!(cut.len() == 2 && !cut.contains(&7), "fresh ones: {cut:?}");
    for packet in [&a, &b] {
        let frame = take(&mut arrived, packet);
        assert!(frame == leaving(OUTSIDE, packet, source(&frame), DNS, identification(&frame)));
    }
    assert_eq!(identification(&take(&mut arrived, &whole)), 77);
    assert_eq!(identification(&take(&mut arrived, &packet(5, 300))), 78);
}

/// Of two next hops a session has one, whichever packet comes first.
#[test]
fn fragments_take_their_sessions_next_hop() {
    let two = config(
        WORKERS[0],
        1500,
        ONE,
        "[[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.253\"\nmac = \"02:00:00:00:00:fd\"\n",
    )
    .replacen("via = \"203.0.113.254\"", "via = [\"203.0.113.253\", \"203.0.113.254\"]", 1);
    let packet = |n: u16, length| {
        Packet::new((host(2 + (n % 8) as u8), 4000 + n / 8), DNS, UDP, &vec![n as u8; length])
    };
    let hops = |length: usize| {
        let whole = |n| coming(HOME, &packet(n, length), n);
        let frames = (0..40).flat_map(|n| cut(&whole(n), 1480)).collect();
        let (outputs, summary) = run(&two, &[frames, vec![], vec![], vec![]]);
        assert!(summary.drops.is_empty());
        // By what every byte of the payload is.
        let hop = |f: &Vec<u8>| (*f.last().expect("a frame"), f[..6].to_vec());
        outputs[OUTSIDE].iter().map(hop).collect::<BTreeSet<_>>()
    };
    let (whole, cut) = (hops(1000), hops(2900));
    assert_eq!(whole.len(), 40, "one next hop each");
    assert_eq!(whole, cut);
    assert_eq!(whole.iter().map(|(_, mac)| mac).collect::<BTreeSet<_>>().len(), 2, "and both are used");
}

#[test]
fn what_is_refused_has_a_name() {
    use DropReason::*;
    let packet = |destination, carried| Packet::new((host(2), 4000), destination, carried, &[9; 3000]);
    let whole = coming(HOME, &packet(DNS, UDP), 1);
    let tcp = coming(HOME, &packet(DNS, Carried::Tcp { flags: TcpFlags::SYN, options: vec![] }), 2);
    let other = coming(HOME, &packet(DNS, Carried::Raw(47)), 3);
    let lan = Packet::new((Ipv4Addr::new(10, 9, 0, 2), 1), DNS, UDP, &[9; 3000]);
    let with = |frame: &[u8], offset: u16, length: u16| {
        let mut frame = piece(frame, 0, 1480);
        frame.truncate(34 + usize::from(length));
        frame[16..18].copy_from_slice(&(20 + length).to_be_bytes());
        frame[20..22].copy_from_slice(&(0x2000 | (offset / 8)).to_be_bytes());
        frame[24..26].fill(0);
        let sum = ces::packet::checksum::checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_ne_bytes());
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let outside = |destination| Packet::new(STRANGER, destination, UDP, &[9; 3000]);
    let nobodys = coming(OUTSIDE, &outside((Ipv4Addr::new(203, 0, 113, 64), 5000)), 4);
    let not_ours = coming(OUTSIDE, &outside((Ipv4Addr::new(203, 0, 113, 33), 5000)), 5);
    let inputs = [
        vec![
            with(&whole, 1480, 0),
            with(&whole, 1480, 1001),
            with(&whole, 65_528, 1480),
            piece(&tcp, 0, 8),
            piece(&tcp, 16, 1600),
            with(&tcp, 8, 800),
            piece(&other, 0, 800),
            // Without the first there is nothing to do.
            piece(&whole, 1480, 2960),
        ],
        vec![piece(&coming(LAN, &lan, 6), 0, 1480)],
        vec![
            piece(&nobodys, 1480, 2960),
            piece(&nobodys, 0, 1480),
            piece(&nobodys, 2960, 3008),
            piece(&not_ours, 0, 1480),
        ],
        vec![],
    ];
    for workers in WORKERS {
        let (outputs, summary) = run(&config(workers, 1500, ONE, ""), &inputs);
        let wanted = [
            (Ipv4FragmentInvalid, 2),
            (Ipv4FragmentTooLong, 1),
            (Ipv4FragmentTiny, 3),
            (ProtocolUnsupported, 1),
            (Shutdown, 1),
            (Ipv4Fragment, 1),
            (NatNoMapping, 3),
            (NoSession, 1),
        ];
        let wanted: BTreeMap<String, u64> = wanted.map(|(why, n)| (why.name().to_owned(), n)).into();
        assert_eq!(summary.drops, wanted, "{workers}");
        assert!(outputs.iter().all(Vec::is_empty));
    }
}

/// What is never completed is given up in its time, and its room with it.
#[test]
fn what_waits_in_vain_is_given_up() {
    for workers in WORKERS {
        let bed = Bed::new();
        let whole = |id| coming(HOME, &Packet::new((host(2), 4000), DNS, UDP, &[9; 3000]), id);
        let rests: Vec<_> = (0..50).map(|id| piece(&whole(id), 1480, 2960)).collect();
        write(&bed, &[rests, vec![], vec![], vec![]]);
        bed.configure(&config(workers, 1500, ONE, "[limits]\nfragment_timeout = 1\n"));
        let start = Instant::now();
        let running = Running::start(&bed);
        let dropped =
            || show(&bed, &["counters"])["drops"][DropReason::Ipv4FragmentTimeout.name()]["total"].as_u64();
        while dropped() != Some(50) {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?} of 50 are given up", dropped());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(start.elapsed() >= Duration::from_secs(1), "not before their time");
        running.signal(Signal::SIGTERM);
        assert!(running.end(Duration::from_secs(5)).success());
    }
}
