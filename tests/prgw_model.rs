//! The circular pool's desk, with the real tables of two workers, against an oracle of lists: whatever the order in which questions,
//! first packets, commands, ends of sessions and time come, nothing that waits could be two hosts', nothing leaks, no live session is
//! overwritten, and the bit of an address says just whether something waits there.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ces::edge::prgw::desk::{CONFIRMED, Desk, DeskParts, UNCONFIRMED};
use ces::edge::prgw::shown::{DeskCounter, Shown};
use ces::edge::prgw::{
    Carrier, CircularPool, Counter, Decision, Gateway, HostLimits, Options, Proof, Question, Secret, Service,
};
use ces::flow::record::Record;
use ces::flow::{
    Circular, FlowHome, FlowTable, HashKey, Key4, Protocol, Realm, Record4, Reporter, SessionEvent,
};
use ces::nat::claims::closing;
use ces::nat::{Nat44, NatHome, NatOptions, Pool, PoolOptions, Timeouts};
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{self, MacAddr, TcpFlags, ipv4, tcp, udp};
use ces::ring::claims::{Command, Entrance, WorkerEnds, rings};
use proptest::collection::vec;
use proptest::prelude::*;

const OUTSIDE: Realm = Realm(9);
const ADDRESSES: u32 = 4;
const WORKERS: usize = 2;
/// Milliseconds that a reservation waits.
const CEILING: u64 = 2000;
const REJECTED: u64 = 20_000;
/// Idle times of all sessions.
const IDLE: u32 = 30_000;

fn pool(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 64)) + number)
}

/// By its number: two share an address, in two realms.
fn host(number: u32) -> (Realm, Ipv4Addr) {
    (Realm(1 + (number % 2) as u16), Ipv4Addr::new(10, 0, 0, 2 + (number / 2) as u8))
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        host: u32,
        service: usize,
        resolver: u8,
    },
    /// A first packet, or another of a connection.
    Packet {
        client: u8,
        client_port: u16,
        address: u32,
        service: usize,
        worker: usize,
    },
    /// A worker carries out what it has been told.
    Commands(usize),
    /// What a worker has been told is lost.
    Lose(usize),
    /// A worker tells of its sessions.
    Tell(usize),
    Turn,
    Sleep(u32),
    /// Both sides of one of the connections close it.
    Close(usize),
    Sweep,
}

/// What is reserved, and to which port of which protocol packets go.
const SERVICES: [Service; 4] =
    [Service::ALL, Service::new(443, 6), Service::new(53, 17), Service::new(443, 17)];
const PACKETS: [(u16, Protocol); 3] = [(443, Protocol::Tcp), (53, Protocol::Udp), (443, Protocol::Udp)];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u32, 0..4usize, 0..4u8)
            .prop_map(|(host, service, resolver)| Step::Ask { host, service, resolver }),
        8 => (0..2u8, 0..2u16, 0..ADDRESSES, 0..3usize, 0..WORKERS).prop_map(
            |(client, client_port, address, service, worker)| {
                Step::Packet { client, client_port, address, service, worker }
            }
        ),
        5 => (0..WORKERS).prop_map(Step::Commands),
        1 => (0..WORKERS).prop_map(Step::Lose),
        4 => (0..WORKERS).prop_map(Step::Tell),
        6 => Just(Step::Turn),
        2 => prop_oneof![1..300u32, Just(CEILING as u32), Just(UNCONFIRMED as u32)].prop_map(Step::Sleep),
        2 => (0..8usize).prop_map(Step::Close),
        1 => Just(Step::Sweep),
    ]
}

/// A reservation, as the oracle has it.
#[derive(Clone, Debug)]
struct Reservation {
    address: u32,
    service: Service,
    host: u32,
    until: u64,
}

/// A claim that is remembered.
#[derive(Clone, Debug)]
struct Remembered {
    address: u32,
    since: u64,
    began: bool,
}

#[derive(Default)]
struct Oracle {
    reservations: Vec<Reservation>,
    claims: HashMap<Key4, Remembered>,
    rejected: HashMap<Key4, u64>,
    claimed: u64,
    /// Whose a key has ever been.
    ever: HashSet<(Key4, (Realm, Ipv4Addr))>,
    /// Sessions that the desk has heard of.
    sessions: i64,
}

impl Oracle {
    fn pass(&mut self, now: u64) {
        self.reservations.retain(|r| r.until > now);
    }

    fn forget(&mut self, now: u64) {
        self.claims.retain(|_, c| {
            let most = if c.began { CONFIRMED } else { UNCONFIRMED };
            c.since + most > now
        });
    }

    fn waits(&self, address: u32) -> bool {
        self.reservations.iter().any(|r| r.address == address)
            || self.claims.values().any(|c| !c.began && c.address == address)
    }

    /// A packet that the desk takes from the ring.
    fn first_packet(&mut self, key: &Key4, is_closing: bool, now: u64) {
        if self.claims.get(key).is_some_and(|c| c.began && is_closing) {
            self.claims.remove(key);
        }
        if self.claims.contains_key(key) {
            return;
        }
        self.pass(now);
        if self.rejected.get(key).is_some_and(|since| since + REJECTED > now) {
            return;
        }
        let address = u32::from(key.destination()) - u32::from(pool(0));
        let order = Service::look_up_order(key.destination_port(), key.protocol());
        let found = order.iter().find_map(|service| {
            self.reservations.iter().position(|r| r.address == address && r.service == *service)
        });
        match found {
            Some(at) => {
                let Reservation { host, .. } = self.reservations.remove(at);
                self.claimed += 1;
                self.ever.insert((*key, crate::host(host)));
                self.claims.insert(*key, Remembered { address, since: now, began: false });
            }
            None => drop(self.rejected.insert(*key, now)),
        }
    }

    fn hear(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Began(key) => {
                self.sessions += 1;
                if let Some(claim) = self.claims.get_mut(&key) {
                    claim.began = true;
                }
            }
            SessionEvent::Ended(key) => {
                self.sessions -= 1;
                if self.claims.get(&key).is_some_and(|c| c.began) {
                    self.claims.remove(&key);
                }
            }
        }
    }
}

struct Worker {
    ends: WorkerEnds,
    flows: FlowHome,
    nat: NatHome,
    reporter: Reporter,
    /// What it has sent up and told, in order, and the desk has not taken yet.
    sent: Vec<(Key4, bool)>,
    told: Vec<SessionEvent>,
}

struct Bed {
    desk: Desk,
    workers: Vec<Worker>,
    table: Arc<FlowTable>,
    nat: Arc<Nat44>,
    circular: Arc<Circular>,
    shown: Arc<Shown>,
    oracle: Oracle,
    /// Whose the live sessions are.
    live: HashMap<Key4, (Realm, Ipv4Addr)>,
    now: u64,
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut n = seed;
    move || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n ^ n >> 31
    }
}

fn bed() -> Bed {
    let timeouts = Timeouts {
        udp: IDLE,
        tcp_established: IDLE,
        tcp_transitory: IDLE,
        tcp_opening: IDLE,
        icmp: IDLE,
        ..Timeouts::default()
    };
    let options = NatOptions {
        inside: vec![Realm(1), Realm(2)],
        outside: OUTSIDE,
        untranslated: vec![],
        hairpin: true,
        inbound_sessions_per_mapping: 3,
        sessions_per_subscriber: 1000,
        new_sessions_per_second: 0,
        timeouts,
        pcp: None,
        mappings: 1024,
        subscribers: 64,
    };
    let public = Ipv4Addr::new(203, 0, 113, 16);
    let realms = options.inside.clone();
    let translated = Pool::new(PoolOptions::new("p", vec![(public, public)], realms), random(3));
    let table = Arc::new(FlowTable::new(1024, 0, WORKERS, HashKey::new(random(1))));
    let (circular, marks) = Circular::new(&[(pool(0), pool(ADDRESSES - 1))]);
    let nat = Nat44::new(options, vec![translated], HashKey::new(random(2)), WORKERS);
    let nat = Arc::new(nat.with_circular(circular.clone()));
    // The rings are short: some of what is sent is lost.
    let (own, others): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| rings(0, 4)).unzip();
    let worker = |(id, ends)| Worker {
        ends,
        flows: FlowHome::new(table.clone()),
        nat: NatHome::new(nat.clone(), id, [id as u8; 32]),
        reporter: Reporter::new(table.quiescence().clone(), id),
        sent: vec![],
        told: vec![],
    };
    let workers = own.into_iter().enumerate().map(worker).collect();
    let small =
        Options { remembered: 64, rejects: 4096, sessions: 4096, ..Options::without_defences(ADDRESSES) };
    let shown = Arc::new(Shown::default());
    let home = nat.clone();
    let desk = Desk::new(DeskParts {
        gateway: Gateway::new(
            Options { reservations: 256, ceiling: CEILING as u32, ..small },
            Secret::new([1, 2]),
        ),
        marks,
        outside: OUTSIDE,
        find: Box::new(|number| Some(host(number))),
        home: Box::new(move |realm, address| Some(home.home_of_inside(realm, address))),
        workers: others,
        shown: shown.clone(),
    });
    Bed {
        desk,
        workers,
        table,
        nat,
        circular,
        shown,
        oracle: Oracle::default(),
        live: HashMap::new(),
        now: 0,
    }
}

/// A frame of that key.
fn frame(key: &Key4) -> Vec<u8> {
    let ip = ipv4::Header::new(key.source(), key.destination(), packet::Protocol(key.protocol()));
    let (source_port, destination_port) = (key.source_port(), key.destination_port());
    let transport = match key.protocol() {
        6 => Transport::Tcp(tcp::Header::new(source_port, destination_port, TcpFlags::SYN), &[]),
        _ => Transport::Udp(udp::Header { source_port, destination_port }, &[1; 20]),
    };
    let mut frame = vec![0; 100];
    let path = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    let length = build::frame(&mut frame, &path, &Ip::V4(ip), &transport).expect("100 bytes");
    frame.truncate(length);
    frame
}

impl Bed {
    fn clock(&self) -> u32 {
        self.now as u32
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { host, service, resolver } => self.ask(host, SERVICES[service], resolver),
            Step::Packet { client, client_port, address, service, worker } => {
                let (port, protocol) = PACKETS[service];
                let client = (Ipv4Addr::new(198, 51, 100, client), 5000 + client_port);
                self.packet(Key4::new(OUTSIDE, protocol, client, (pool(address), port)), worker);
            }
            Step::Commands(worker) => self.commands(worker),
            Step::Lose(worker) => while self.workers[worker].ends.commands.pop(&mut []).is_some() {},
            Step::Tell(worker) => self.tell(worker),
            Step::Turn => self.turn(),
            Step::Sleep(milliseconds) => {
                self.now += u64::from(milliseconds);
                self.turn();
            }
            Step::Close(nth) => self.close(nth),
            Step::Sweep => self.sweep(),
        }
        self.check();
    }

    fn ask(&mut self, host: u32, service: Service, resolver: u8) {
        let question = Question {
            host,
            limits: HostLimits::default(),
            service,
            resolver: IpAddr::V4(Ipv4Addr::new(192, 0, 2, resolver)),
            realm: None,
            subnet: None,
            subnet_is_trusted: false,
            proof: Proof::Nothing,
            carrier: Carrier::Udp,
        };
        self.oracle.pass(self.now);
        let overlaps = |r: &Reservation, at| r.address == at && r.service.overlaps(service);
        match self.desk.question(&question, self.now) {
            Decision::Reserved { address, timeout } => {
                assert_eq!(u64::from(timeout), CEILING);
                assert!(self.circular.waits(address), "before the answer leaves");
                assert!(!self.oracle.reservations.iter().any(|r| overlaps(r, address)), "{question:?}");
                let until = self.now + CEILING;
                self.oracle.reservations.push(Reservation { address, service, host, until });
            }
            other => {
                assert_eq!(other, Decision::Silence);
                let is_full =
                    (0..ADDRESSES).all(|at| self.oracle.reservations.iter().any(|r| overlaps(r, at)));
                assert!(is_full, "there was room for {question:?}");
            }
        }
    }

    /// What the slow path does with it.
    fn packet(&mut self, key: Key4, mut worker: usize) {
        let found = self.table.lookup::<Record4>(&key).map(|(_, record)| closing(&self.table, record));
        let waits = self.nat.waits(key.destination());
        let is_closing = match found {
            None => false,
            Some(Some(out)) if waits && key.protocol() == 6 => {
                worker = self.nat.home_of_inside(out.realm(), out.source());
                true
            }
            Some(_) => return,
        };
        if waits {
            let entrance = Entrance { interface: worker as u16, hairpin: false, closing: is_closing };
            if self.workers[worker].ends.first_packets.push(entrance, 0, [&frame(&key)[..]]) {
                self.workers[worker].sent.push((key, is_closing));
            }
        }
    }

    fn commands(&mut self, number: usize) {
        let (now, table) = (self.clock(), self.table.clone());
        let worker = &mut self.workers[number];
        let mut room = [0; 200];
        while let Some(length) = worker.ends.commands.peek() {
            let popped = worker.ends.commands.pop(&mut room[..length]);
            let (Some(command), _) = popped.expect("it was seen") else { panic!("no command") };
            match command {
                Command::Install { key, realm, host } => {
                    assert_eq!(room[..length], frame(&key), "the packet that it is about");
                    assert!(self.oracle.ever.contains(&(key, (realm, host))), "whose it never was");
                    let before = table.lookup::<Record4>(&key).map(|(_, r)| closing(&table, r).is_some());
                    let claimed = worker.nat.claim(&mut worker.flows, &key, (realm, host), now);
                    if claimed.is_ok_and(|claimed| claimed.is_new) {
                        assert_ne!(before, Some(false), "a live session was overwritten");
                        self.live.insert(key, (realm, host));
                    }
                }
                Command::Release { key } => {
                    if worker.nat.release(&mut worker.flows, &key, now) {
                        self.live.remove(&key);
                    }
                }
                Command::Reject | Command::Pass => (),
            }
        }
    }

    fn tell(&mut self, number: usize) {
        let Worker { nat, ends, told, .. } = &mut self.workers[number];
        nat.tell_of_claims(|event| {
            let fits = ends.events.push(event).is_ok();
            told.extend(fits.then_some(event));
            fits
        });
    }

    /// The desk takes from each worker what it has told, then what it has sent.
    fn turn(&mut self) {
        self.desk.turn(self.now);
        self.oracle.pass(self.now);
        self.oracle.forget(self.now);
        for worker in &mut self.workers {
            worker.told.drain(..).for_each(|event| self.oracle.hear(event));
            for (key, is_closing) in worker.sent.drain(..) {
                self.oracle.first_packet(&key, is_closing, self.now);
            }
        }
    }

    fn close(&mut self, nth: usize) {
        let mut keys: Vec<&Key4> = self.live.keys().collect();
        keys.sort_by_key(|key| (key.addresses, key.tail));
        let Some(key) = keys.get(nth) else { return };
        if let Some((_, back)) = self.table.lookup::<Record4>(key) {
            let both = [Some(back), self.table.twin(back)];
            both.into_iter().flatten().for_each(|half| half.common().saw_tcp(1));
        }
    }

    fn sweep(&mut self) {
        let now = self.clock();
        self.workers.iter().for_each(|worker| worker.reporter.quiescent());
        for worker in &mut self.workers {
            worker.nat.sweep(&mut worker.flows, 1 << 14, now);
        }
        let table = &self.table;
        self.live.retain(|key, _| table.lookup::<Record4>(key).is_some());
    }

    fn check(&self) {
        for address in 0..ADDRESSES {
            let expected = self.oracle.waits(address);
            assert_eq!(
                self.circular.waits(address),
                expected,
                "at {address}, {:?}",
                self.oracle.reservations
            );
        }
        assert_eq!(self.desk.gateway().reservations(), self.oracle.reservations.len());
        assert_eq!(self.desk.gateway().counters().get(Counter::Claimed), self.oracle.claimed);
        assert_eq!(i64::try_from(self.desk.sessions()), Ok(self.oracle.sessions));
        // Whoever lives has both halves, and they lead to whom it was made for.
        for (key, (realm, host)) in &self.live {
            let (_, back) = self.table.lookup::<Record4>(key).expect("it lives");
            let out = self.table.twin(back).expect("it lives").key();
            assert_eq!((out.realm(), out.source()), (*realm, *host), "{key:?}");
            assert!(self.table.lookup::<Record4>(&out).is_some());
        }
    }

    /// When nobody asks or sends any more, nothing is left of it all.
    fn ends(&mut self) {
        for _ in 0..40 {
            for worker in 0..WORKERS {
                self.commands(worker);
                self.tell(worker);
            }
            self.turn();
        }
        let live = self.table.sessions::<Record4>().count();
        assert_eq!((self.desk.sessions(), self.live.len()), (live as u64, live));
        self.now += UNCONFIRMED + u64::from(IDLE) + 1;
        for _ in 0..40 {
            self.sweep();
            (0..WORKERS).for_each(|worker| self.tell(worker));
            self.turn();
            self.check();
        }
        assert_eq!((self.desk.sessions(), self.desk.gateway().reservations()), (0, 0));
        assert!((0..ADDRESSES).all(|address| !self.circular.waits(address)));
        assert_eq!(self.shown.get(DeskCounter::Unreadable) + self.shown.get(DeskCounter::NoHost), 0);
        // No pair of client and address is avoided for sessions that are gone.
        for client in 0..2 {
            let network = IpAddr::V4(Ipv4Addr::new(198, 51, 100, client));
            assert!((0..ADDRESSES).all(|address| self.desk.gateway().sessions_of(network, address) == 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_order(steps in vec(step(), 1..150)) {
        let mut bed = bed();
        for step in &steps {
            bed.step(step);
        }
        bed.ends();
    }

    /// What a worker might send by mistake is nobody's first packet, and harms nothing.
    #[test]
    fn any_bytes_as_a_first_packet(frames in vec(vec(any::<u8>(), 0..200), 1..20), flags in any::<u8>()) {
        let mut bed = bed();
        bed.ask(0, Service::ALL, 0);
        for mut frame in frames {
            // Some of them nearly packets, to an address where something waits.
            if flags & 1 != 0 && frame.len() > 40 {
                frame[12..14].copy_from_slice(&[8, 0]);
                frame[14] = 0x45;
                frame[20..22].copy_from_slice(&[0, flags >> 3 & 1]);
                frame[23] = [6, 17, 1, 47][usize::from(frame[23] & 3)];
                frame[30..34].copy_from_slice(&pool(0).octets());
            }
            let entrance = Entrance { interface: 0, hairpin: flags & 2 != 0, closing: flags & 4 != 0 };
            if bed.workers[0].ends.first_packets.push(entrance, 0, [&frame[..]]) {
                bed.desk.turn(bed.now);
            }
        }
        prop_assert!(bed.desk.gateway().reservations() <= 1);
    }
}

/// Behind its first packet a fragment goes where that does; alone, and where that was refused, nowhere.
#[test]
fn a_fragment_goes_after_the_first_of_its_datagram_and_claims_nothing() {
    let mut bed = bed();
    bed.ask(0, Service::ALL, 0);
    let address = bed.oracle.reservations[0].address;
    let client = (Ipv4Addr::new(198, 51, 100, 1), 5000);
    let key = Key4::new(OUTSIDE, Protocol::Udp, client, (pool(address), 53));
    let (realm, private) = host(0);
    let home = bed.nat.home_of_inside(realm, private);
    let (first, mut later) = (frame(&key), frame(&key));
    // Eight bytes behind the start of its datagram.
    later[21] = 1;
    let send = |bed: &mut Bed, frame: &[u8]| {
        assert!(bed.workers[0].ends.first_packets.push(Entrance::default(), key.tail as u32, [frame]));
    };
    let told = |bed: &mut Bed, worker: usize| {
        bed.workers[worker].ends.commands.pop(&mut [0; 200]).and_then(|(command, _)| command)
    };
    send(&mut bed, &later);
    bed.desk.turn(bed.now);
    assert_eq!((told(&mut bed, 0), bed.desk.gateway().reservations()), (Some(Command::Reject), 1));
    for frame in [&first, &later] {
        send(&mut bed, frame);
    }
    bed.desk.turn(bed.now);
    let install = Some(Command::Install { key, realm, host: private });
    assert_eq!([(); 3].map(|()| told(&mut bed, home)), [install, install, None]);
    assert_eq!([DeskCounter::Repeated, DeskCounter::Followed].map(|c| bed.shown.get(c)), [0, 1]);
}

/// The oracle's own steps are worth something: claims, collisions, replacements and losses do come about.
#[test]
fn a_claim_whose_command_is_lost_is_repeated_by_the_next_packet() {
    let mut bed = bed();
    bed.ask(0, Service::ALL, 0);
    let address = bed.oracle.reservations[0].address;
    let client = (Ipv4Addr::new(198, 51, 100, 1), 5000);
    let key = Key4::new(OUTSIDE, Protocol::Tcp, client, (pool(address), 443));
    let (realm, private) = host(0);
    let home = bed.nat.home_of_inside(realm, private);
    bed.packet(key, 0);
    bed.turn();
    // The worker never sees it.
    bed.workers[home].ends.commands.pop(&mut [0; 200]).expect("a command");
    bed.check();
    assert!(bed.circular.waits(address), "for the session");
    bed.now += 1000;
    bed.packet(key, 1);
    bed.turn();
    bed.commands(home);
    bed.tell(home);
    bed.turn();
    bed.check();
    assert_eq!((bed.desk.sessions(), bed.shown.get(DeskCounter::Repeated)), (1, 1));
    assert!(!bed.circular.waits(address));
    bed.ends();

    // And one that never begins is given up.
    bed.ask(0, Service::ALL, 0);
    let address = bed.oracle.reservations[0].address;
    let key = Key4::new(OUTSIDE, Protocol::Tcp, client, (pool(address), 443));
    bed.packet(key, 0);
    bed.turn();
    bed.workers[home].ends.commands.pop(&mut [0; 200]).expect("a command");
    bed.now += UNCONFIRMED;
    bed.turn();
    bed.check();
    assert_eq!(bed.shown.get(DeskCounter::Unconfirmed), 1);
    bed.ends();
}

/// What is over at one worker gives way to a host of the other's, with the next of its packets at the latest.
#[test]
fn a_closing_connection_gives_way_to_a_host_of_another_worker() {
    let mut bed = bed();
    let home = |bed: &Bed, number| bed.nat.home_of_inside(host(number).0, host(number).1);
    let other = (1..100).find(|&number| home(&bed, number) != home(&bed, 0)).expect("one elsewhere");
    let client = (Ipv4Addr::new(198, 51, 100, 1), 5000);
    bed.ask(0, Service::ALL, 0);
    let address = bed.oracle.reservations[0].address;
    let key = Key4::new(OUTSIDE, Protocol::Tcp, client, (pool(address), 443));
    let round = |bed: &mut Bed| {
        bed.packet(key, 0);
        bed.turn();
        for worker in 0..WORKERS {
            // The new home first: it does not know yet that the old one has let go.
            bed.commands(if worker == 0 { home(bed, other) } else { home(bed, 0) });
        }
        (0..WORKERS).for_each(|worker| bed.tell(worker));
        bed.turn();
        bed.check();
    };
    round(&mut bed);
    assert_eq!(bed.live.get(&key), Some(&host(0)));
    bed.close(0);
    bed.now += 100;
    // Each question takes another address, until it is that one's turn.
    while !bed.oracle.reservations.iter().any(|r| r.address == address) {
        bed.ask(other, Service::new(443, 6), 1);
    }
    round(&mut bed);
    assert_eq!((bed.live.get(&key), bed.desk.sessions()), (None, 0), "the old one has gone");
    bed.now += 1000;
    round(&mut bed);
    assert_eq!((bed.live.get(&key), bed.desk.sessions()), (Some(&host(other)), 1));
    bed.ends();
}
