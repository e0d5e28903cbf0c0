//! The control side of the circular pool: brings the gateway its questions and first packets, and the workers what it decides.
//!
//! ```text
//! ces-dns ── question ─► Desk ── asks ─► Gateway
//!                         │ ▲
//!       commands, a ring  ▼ │ first packets and events, two rings each
//!                      worker 0..N-1
//! ```
//!
//! **What waits.** The bit of an address ([`Marks`]) is set if and only if a reservation is there that a first packet could find, or
//! a claim whose session has not begun yet. It is set before the answer to a question is given back.
//!
//! **A claim is remembered**, for as long as a copy of its packet may still be on the way: a second datagram, or a SYN that is
//! sent again, is that host's and cannot claim another's reservation. Where the command is lost (a full ring) or the worker
//! could not make the session, the next packet of that connection brings it again, for [`UNCONFIRMED`] at most. So the
//! fragments behind a first packet, which come by the same ring, go after it; by themselves they claim nothing.
//!
//! **Sessions** are counted by what the workers tell, each beginning and each end once.
//!
//! Guarantees: bounded, and made at the start; a turn takes a batch from each worker, so that none waits for another; any bytes are
//! a first packet or none. Never: waits, touches a packet buffer, or knows a name.

use super::claims::{Claim, Claims};
use super::gateway::Gateway;
use super::parse::{Parsed, parse};
use super::shown::{DeskCounter, Shown};
use super::{CircularPool, Decision, FirstPacket, Question, Verdict};
use crate::flow::circular::Circular;
use crate::flow::{Key4, Marks, Realm, SessionEvent};
use crate::ring::claims::{Command, DeskEnds, Entrance};
use crate::ring::frames::FRAME_MAX;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Milliseconds for which a claim whose session has begun is remembered: no copy of its packet is on the way for longer.
pub const CONFIRMED: u64 = 1_000;
/// And one whose session has not: SYNs are sent again after one, three and seven seconds (RFC 6298 section 2).
pub const UNCONFIRMED: u64 = 10_000;
/// First packets, and events, that a turn takes from each worker.
const BATCH: usize = 256;
const EVENTS: usize = 4096;

/// Where a host is; `None` of one that is gone, or has no IPv4 address.
pub type Find = Box<dyn Fn(u32) -> Option<(Realm, Ipv4Addr)> + Send>;
/// The worker that is the home of an inside address; `None` in a realm that nobody translates.
pub type Home = Box<dyn Fn(Realm, Ipv4Addr) -> Option<usize> + Send>;

/// What a desk is made of.
pub struct DeskParts {
    pub gateway: Gateway,
    pub marks: Marks,
    /// The realm of the pool.
    pub outside: Realm,
    pub find: Find,
    pub home: Home,
    /// By worker.
    pub workers: Vec<DeskEnds>,
    pub shown: Arc<Shown>,
}

/// See the module.
pub struct Desk {
    gateway: Gateway,
    marks: Marks,
    circular: Arc<Circular>,
    outside: Realm,
    find: Find,
    home: Home,
    workers: Vec<DeskEnds>,
    claims: Claims,
    /// By address: claims whose sessions have not begun.
    unconfirmed: Box<[u32]>,
    sessions: u64,
    shown: Arc<Shown>,
    frame: Box<[u8]>,
}

impl Desk {
    pub fn new(parts: DeskParts) -> Self {
        let DeskParts { gateway, marks, outside, find, home, workers, shown } = parts;
        let circular = marks.shared().clone();
        let desk = Self {
            unconfirmed: vec![0; circular.count() as usize].into(),
            claims: Claims::default(),
            sessions: 0,
            frame: vec![0; FRAME_MAX].into(),
            gateway,
            marks,
            circular,
            outside,
            find,
            home,
            workers,
            shown,
        };
        desk.show();
        desk
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Sessions that live.
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    fn show(&self) {
        self.shown.write(&self.gateway, self.sessions);
    }

    /// Brings the bit of an address up to date.
    fn mark(&mut self, number: u32) {
        let unconfirmed = self.unconfirmed.get(number as usize).is_some_and(|n| *n > 0);
        self.marks.set(number, unconfirmed || self.gateway.expects(number));
    }

    /// After whatever the gateway has done.
    fn settle(&mut self) {
        while let Some(number) = self.gateway.left() {
            self.mark(number);
        }
    }

    // ---- first packets ----

    fn first_packets(&mut self, worker: usize, now: u64) -> usize {
        let mut frame = std::mem::take(&mut self.frame);
        let mut taken = 0;
        while taken < BATCH
            && let Some((entrance, ports, length)) = self.workers[worker].first_packets.pop(&mut frame)
        {
            taken += 1;
            self.first_packet(worker, entrance, (ports, &frame[..length]), now);
        }
        self.frame = frame;
        taken
    }

    fn first_packet(&mut self, worker: usize, entrance: Entrance, (ports, frame): (u32, &[u8]), now: u64) {
        let parsed = parse(frame, ports, self.outside);
        let number = parsed.and_then(|parsed| self.circular.number(parsed.key.destination()));
        let Some((parsed, number)) = parsed.zip(number) else {
            return self.shown.bump(DeskCounter::Unreadable);
        };
        match self.claims.get(&parsed.key) {
            // What is closing was that claim's session: this is another connection.
            Some(claim) if claim.began && entrance.closing => self.claims.remove(&parsed.key),
            Some(claim) => {
                self.shown.bump(if parsed.follows { DeskCounter::Followed } else { DeskCounter::Repeated });
                return self.install(worker, entrance, &parsed.key, claim, frame);
            }
            None if parsed.follows => return self.command(worker, Command::Reject, entrance, frame),
            None => (),
        }
        match self.gateway.first_packet(&first_packet(&parsed, number), now) {
            Verdict::Claimed { host, .. } => {
                self.claimed(worker, entrance, (&parsed, number), host, frame, now)
            }
            // By a connection that is not quite over it goes on, if by no other.
            Verdict::Rejected { .. } if entrance.closing => {
                self.command(worker, Command::Pass, entrance, frame)
            }
            Verdict::Rejected { .. } => self.command(worker, Command::Reject, entrance, frame),
        }
        self.settle();
    }

    fn claimed(
        &mut self,
        worker: usize,
        entrance: Entrance,
        (parsed, number): (&Parsed, u32),
        host: u32,
        frame: &[u8],
        now: u64,
    ) {
        let found = (self.find)(host).and_then(|(realm, address)| {
            let home = (self.home)(realm, address).filter(|home| *home < self.workers.len())?;
            Some(Claim { realm, host: address, home: home as u16, number, since: now, began: false })
        });
        let Some(claim) = found else {
            self.shown.bump(DeskCounter::NoHost);
            self.gateway.session_ended(parsed.key.source().into(), number);
            return self.command(worker, Command::Reject, entrance, frame);
        };
        if let Some((key, oldest)) = self.claims.insert(parsed.key, claim) {
            self.forgotten(&key, &oldest);
        }
        self.unconfirmed[number as usize] += 1;
        self.install(worker, entrance, &parsed.key, claim, frame);
    }

    /// A claim is remembered no longer.
    fn forgotten(&mut self, key: &Key4, claim: &Claim) {
        if !claim.began {
            self.shown.bump(DeskCounter::Unconfirmed);
            self.gateway.session_ended(key.source().into(), claim.number);
            self.confirmed(claim.number);
        }
    }

    /// One claim fewer waits for its session.
    fn confirmed(&mut self, number: u32) {
        if let Some(n) = self.unconfirmed.get_mut(number as usize) {
            *n = n.saturating_sub(1);
        }
        self.mark(number);
    }

    fn install(&mut self, worker: usize, entrance: Entrance, key: &Key4, claim: Claim, frame: &[u8]) {
        let home = usize::from(claim.home);
        if entrance.closing && home != worker {
            self.command(worker, Command::Release { key: *key }, entrance, &[]);
        }
        let install = Command::Install { key: *key, realm: claim.realm, host: claim.host };
        self.command(home, install, entrance, frame);
    }

    fn command(&mut self, worker: usize, command: Command, entrance: Entrance, frame: &[u8]) {
        if !self.workers[worker].commands.push(command, entrance, frame) {
            self.shown.bump(DeskCounter::CommandsLost);
        }
    }

    // ---- sessions ----

    fn events(&mut self, worker: usize) -> usize {
        let mut taken = 0;
        while taken < EVENTS
            && let Ok(event) = self.workers[worker].events.pop()
        {
            taken += 1;
            match event {
                SessionEvent::Began(key) => self.began(&key),
                SessionEvent::Ended(key) => self.ended(&key),
            }
        }
        taken
    }

    fn began(&mut self, key: &Key4) {
        self.sessions += 1;
        match self.claims.begin(key) {
            Some(claim) => self.confirmed(claim.number),
            // It was given up, and its count with it.
            None => {
                if let Some(number) = self.circular.number(key.destination()) {
                    self.gateway.session_began(key.source().into(), number);
                }
            }
        }
    }

    fn ended(&mut self, key: &Key4) {
        self.sessions = self.sessions.saturating_sub(1);
        if let Some(number) = self.circular.number(key.destination()) {
            self.gateway.session_ended(key.source().into(), number);
        }
        if self.claims.get(key).is_some_and(|claim| claim.began) {
            self.claims.remove(key);
        }
    }
}

fn first_packet(parsed: &Parsed, number: u32) -> FirstPacket {
    let key = &parsed.key;
    // An echo's identifier is no service, but tells its sender's attempts apart.
    let has_ports = matches!(key.protocol(), 6 | 17);
    FirstPacket {
        address: number,
        port: if has_ports { key.destination_port() } else { 0 },
        protocol: key.protocol(),
        source: IpAddr::V4(key.source()),
        source_port: key.source_port(),
        pure_syn: parsed.pure_syn,
    }
}

impl CircularPool for Desk {
    fn wakes_me(&self) {
        self.workers.iter().for_each(|worker| worker.first_packets.wakes_me());
    }

    fn question(&mut self, q: &Question, now_ms: u64) -> Decision {
        let decision = self.gateway.question(q, now_ms);
        if let Decision::Reserved { address, .. } = decision {
            self.mark(address);
        }
        self.settle();
        decision
    }

    fn turn(&mut self, now_ms: u64) -> usize {
        self.gateway.advance(now_ms);
        self.settle();
        while let Some((key, claim)) = self.claims.expire(now_ms) {
            self.forgotten(&key, &claim);
        }
        let mut done = 0;
        for worker in 0..self.workers.len() {
            done += self.events(worker) + self.first_packets(worker, now_ms);
        }
        for worker in &mut self.workers {
            worker.commands.wake();
        }
        self.show();
        done
    }
}
