//! The loop of one worker: bursts in, stages, bursts out, quiescent; now and then the sweep and the timers.

use super::account::{Account, Stage};
use super::claims::{self, Claims};
use super::core::Core;
use super::counters::WorkerCounters;
use super::forward::{self, Lanes};
use super::fragments::{self, Fragments};
use super::limit::{Answers, TokenBucket};
use super::output::Output;
use super::pcp::{self, Announcing};
use super::punt::{self, Punts};
use super::resolve::{self, NeighborOwner};
use super::slow::{self, Arrival};
use super::sweep::Pace;
use super::unsolicited::{self, Unsolicited};
use super::world::World;
use crate::dpdk::{BURST, Burst, Interrupts, Pool, RxQueue, cycles_hz, pause};
use crate::firewall;
use crate::flow::{FlowHome, Record4, Record6, Reporter};
use crate::nat::{NatHome, Timeouts, tunnel};
use crate::packet::DropReason;
use crate::ring::wake::{self, Waker};
use crate::ring::{Handoff, Task};
use crate::route;
use arrayvec::ArrayVec;
use rtrb::Consumer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::Duration;

/// A full round of the sweep takes about this long, in milliseconds, or a quarter of the shortest idle time where that is less:
/// sessions live that much longer at most.
const SWEEP_ROUND: u32 = 10_000;
/// The families of records, as the sweep's pace numbers them.
const V4: usize = 0;
const V6: usize = 1;
/// Empty rounds before a worker that may sleep does.
const EMPTY_ROUNDS: u32 = 200;
/// Of a worker that has to look for packets.
const NAP: Duration = Duration::from_micros(50);
/// And of one that packets wake: its timers are late by so much.
const LONG_NAP: Duration = Duration::from_millis(2);
/// Silence, in milliseconds, that ends a port's input where input can end.
const END_OF_INPUT: u32 = 50;

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Poll,
    /// Naps after some empty rounds, quiescence-wise offline, until another thread has something for it, a packet comes (where all its
    /// queues have interrupts), or the nap is over; and wakes those that it has given something.
    Sleep,
}

/// What the control thread says to all workers, and how they end together. Written by it, but for the input's progress, which
/// the worker that polls a port's first queue writes, and for the count of those that have finished.
pub struct Control {
    stop: AtomicBool,
    /// The place among the inputs of the one that is being read, where they are read one after another.
    input: AtomicUsize,
    inputs: usize,
    /// Workers that will hand nothing over any more.
    finished: AtomicUsize,
    /// Of all workers.
    counters: Vec<Arc<WorkerCounters>>,
}

impl Control {
    /// `inputs` ports are read one after another to their end; with `None` all are polled for ever. `counters` are those of
    /// every worker.
    pub fn new(inputs: Option<usize>, counters: Vec<Arc<WorkerCounters>>) -> Self {
        Self {
            stop: AtomicBool::new(false),
            input: AtomicUsize::new(0),
            inputs: inputs.unwrap_or(0),
            finished: AtomicUsize::new(0),
            counters,
        }
    }

    /// Every worker finishes its round and returns.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether all input has been read, where input can end.
    pub fn input_is_over(&self) -> bool {
        self.inputs > 0 && self.input.load(Ordering::Acquire) >= self.inputs
    }

    /// Whether every packet that was handed to another worker has been dealt with there.
    fn nothing_is_between_workers(&self) -> bool {
        let sum = |of: fn(&WorkerCounters) -> u64| self.counters.iter().map(|c| of(c)).sum::<u64>();
        let received = sum(|c| c.received_handoff.get());
        // In this order: both only grow, the one never over the other, so that they were equal at the moment between.
        fence(Ordering::SeqCst);
        received == sum(|c| c.handed_off.get())
    }

    /// A worker that has stopped reading: true once all have, so that nothing comes any more.
    fn all_have_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire) == self.counters.len()
    }

    #[inline(always)]
    fn may_read(&self, input: usize) -> bool {
        self.inputs == 0 || self.input.load(Ordering::Relaxed) == input
    }
}

/// A queue that a worker polls.
pub struct RxSide {
    pub queue: RxQueue,
    /// The number of the configured port, its place in [`World::links`] and among the inputs.
    pub port: usize,
    /// Packets that this queue may bring in, where there is a limit.
    pub rate: Option<TokenBucket>,
}

/// What a full round of the sweep is to take: a part of the shortest idle time, so that sessions live a little longer at most.
fn round_of(idle_times: impl IntoIterator<Item = u32>) -> u32 {
    let shortest = idle_times.into_iter().min().unwrap_or(u32::MAX);
    (shortest / 4).clamp(1, SWEEP_ROUND)
}

/// The rounds of IPv4 and IPv6.
fn sweep_rounds(world: &World) -> [u32; 2] {
    let v4 = world.nat.as_deref().map(|nat| &nat.options().timeouts);
    let v4 = v4.or(world.tunnels.as_ref().map(|tunnels| &tunnels.timeouts));
    let v6 = world.firewall.as_deref().map(|firewall| &firewall.options().timeouts);
    [
        round_of(v4.into_iter().flat_map(Timeouts::each)),
        round_of(v6.into_iter().flat_map(|t| [t.udp, t.tcp_established, t.tcp_transitory, t.icmp, t.other])),
    ]
}

/// Everything that a worker is made of.
pub struct WorkerParts {
    pub id: usize,
    pub world: Arc<World>,
    pub control: Arc<Control>,
    pub rx: Vec<RxSide>,
    pub out: Output,
    pub from_peers: Vec<Consumer<Handoff>>,
    /// Of this worker, which its peers have as well.
    pub waker: Waker,
    pub flows: FlowHome,
    pub nat: Option<NatHome>,
    pub firewall: Option<firewall::Home>,
    pub fragments: Option<Fragments>,
    pub neighbors: Option<NeighborOwner>,
    pub pool: Pool,
    pub icmp_errors: Answers,
    pub punts: Punts,
    pub claims: Option<Claims>,
    pub idle: Idle,
}

/// Wrapping milliseconds from the time stamp counter.
struct Clock {
    start: u64,
    /// Milliseconds a cycle, as a fraction of 2^64.
    scale: u64,
}

impl Clock {
    /// That begins when the cycle counter stood so.
    fn new(start: u64) -> Self {
        let scale = (1000u128 << 64) / u128::from(cycles_hz().max(1_000_000));
        Self { start, scale: scale as u64 }
    }

    /// When the cycle counter stands so, later.
    #[inline(always)]
    fn at(&self, stamp: u64) -> u32 {
        ((u128::from(stamp.wrapping_sub(self.start)) * u128::from(self.scale)) >> 64) as u32
    }
}

/// One worker. See the module.
pub struct Worker {
    core: Core,
    world: Arc<World>,
    control: Arc<Control>,
    rx: Vec<RxSide>,
    from_peers: Vec<Consumer<Handoff>>,
    waker: Waker,
    idle: Idle,
    /// Where every queue of a worker that may sleep has them.
    interrupts: Option<Interrupts>,
    /// One comes for the next packet.
    is_armed: bool,
    clock: Clock,
    /// Milliseconds that a full round of the sweep takes: of IPv4, of IPv6.
    sweep_rounds: [u32; 2],
    ticked: u32,
    pace: Pace,
    silence: Silence,
    empty: u32,
}

/// Since when an input that can end has brought nothing.
#[derive(Clone, Copy, Default)]
struct Silence {
    input: usize,
    since: u32,
}

impl Silence {
    /// Something came.
    fn broken(&mut self, now: u32) {
        self.since = now;
    }

    /// Whether `input`, the one that is read now, is over. One that another worker has just gone on to begins now, however long this
    /// one has been idle.
    fn is_over(&mut self, input: usize, now: u32) -> bool {
        if self.input != input {
            *self = Silence { input, since: now };
        }
        now.wrapping_sub(self.since) >= END_OF_INPUT
    }
}

impl Worker {
    pub fn new(parts: WorkerParts) -> Self {
        let account = Account::new(parts.out.counters.clone());
        let clock = Clock::new(account.stamp());
        Self {
            core: Core {
                id: parts.id,
                out: parts.out,
                account,
                flows: parts.flows,
                nat: parts.nat,
                firewall: parts.firewall,
                fragments: parts.fragments,
                neighbors: parts.neighbors,
                pool: parts.pool,
                routes: route::Reader::new(parts.world.routes.clone()),
                icmp_errors: parts.icmp_errors,
                unsolicited: Unsolicited::default(),
                announcing: Announcing::default(),
                punts: parts.punts,
                claims: parts.claims,
                second_legs: ArrayVec::new(),
                now: 0,
            },
            interrupts: match parts.idle {
                Idle::Poll => None,
                Idle::Sleep => Interrupts::of(parts.rx.iter().map(|rx| &rx.queue)),
            },
            is_armed: false,
            rx: parts.rx,
            sweep_rounds: sweep_rounds(&parts.world),
            world: parts.world,
            control: parts.control,
            from_peers: parts.from_peers,
            waker: parts.waker,
            idle: parts.idle,
            clock,
            ticked: 0,
            pace: Pace::new(cycles_hz()),
            silence: Silence::default(),
            empty: 0,
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        let world = self.world.clone();
        let reporter = Reporter::new(world.flows.quiescence().clone(), self.core.id);
        let mut lanes = Lanes::default();
        let mut packets = Burst::new();
        if self.idle == Idle::Sleep {
            wake::nap_on_time();
            self.waker.wakes_me();
            self.core.punts.wakes_me();
            if let Some(claims) = &self.core.claims {
                claims.wakes_me();
            }
        }
        reporter.online();
        while !self.control.stop.load(Ordering::Relaxed) {
            let got = self.round(&world, &mut lanes, &mut packets);
            reporter.quiescent();
            self.rest(got, &reporter);
        }
        resolve::shut_down(&mut self.core);
        fragments::shut_down(&mut self.core, &world);
        self.core.flush();
        self.leave(&reporter);
    }

    /// What others still hand over is dropped by name, until nobody does.
    fn leave(&mut self, reporter: &Reporter) {
        reporter.offline();
        self.control.finished.fetch_add(1, Ordering::AcqRel);
        loop {
            let last = self.control.all_have_finished();
            for consumer in &mut self.from_peers {
                while let Ok(handoff) = consumer.pop() {
                    self.core.out.drop(handoff.mbuf, DropReason::Shutdown);
                }
            }
            if last {
                self.core.out.flush();
                return;
            }
            std::thread::sleep(NAP);
        }
    }

    /// One round over all queues and rings. Returns the packets taken.
    #[inline(always)]
    fn round(&mut self, world: &World, lanes: &mut Lanes, packets: &mut Burst) -> usize {
        // The round before has ended with a lap, whatever it was: no need to read the cycle counter again.
        self.core.now = self.clock.at(self.core.account.stamp());
        self.core.routes.now();
        let mut got = 0;
        for rx in &mut self.rx {
            if !self.control.may_read(rx.port) {
                continue;
            }
            let received = rx.queue.receive(packets);
            if received > 0 {
                got += received;
                let counters = &self.core.out.counters;
                counters.rx_packets.add(received as u64);
                counters.rx_bytes.add(packets.iter().map(|m| m.len() as u64).sum());
                if let Some(rate) = &mut rx.rate {
                    let allowed = rate.take(received as u32, self.core.now) as usize;
                    for mbuf in packets.drain(allowed.min(received)..) {
                        self.core.out.drop(mbuf, DropReason::PortRate);
                    }
                }
                self.core.account.lap(Stage::Receive, received);
                let links = &world.links[rx.port];
                if links.is_tagged() {
                    forward::burst::<true>(&mut self.core, world, lanes, packets, links);
                } else {
                    forward::burst::<false>(&mut self.core, world, lanes, packets, links);
                }
            }
        }
        got += self.take_over(world);
        got += self.take_from_control(world);
        if self.core.now != self.ticked {
            self.tick(world);
        }
        if self.pace.may(got == 0) {
            self.sweep(world, got == 0);
        }
        let counters = &self.core.out.counters;
        counters.polls.add(1);
        if got == 0 {
            counters.empty_polls.add(1);
        }
        got
    }

    /// What the kernel sends by its interfaces, the DNS's answers, what other edges are told, and what becomes of first packets.
    fn take_from_control(&mut self, world: &World) -> usize {
        let got = punt::down(&mut self.core, world) + claims::take(&mut self.core, world);
        if got > 0 {
            self.core.account.lap(Stage::Control, got);
            self.core.flush();
        }
        got
    }

    /// What other workers have handed over: at most a burst from each.
    fn take_over(&mut self, world: &World) -> usize {
        let mut got = 0;
        for consumer in &mut self.from_peers {
            let Ok(chunk) = consumer.read_chunk(consumer.slots().min(BURST)) else { continue };
            for Handoff { mbuf, task, hops } in chunk {
                got += 1;
                match task {
                    Task::Receive { interface, realm, hairpin } => {
                        let arrival = Arrival { interface, realm, hairpin, hops };
                        slow::receive(&mut self.core, world, mbuf, arrival);
                    }
                    Task::Fragment { interface, realm, hairpin, ports } => {
                        let arrival = Arrival { interface, realm, hairpin, hops };
                        fragments::onward(&mut self.core, world, mbuf, ports, arrival);
                    }
                    Task::Resolve { realm } => {
                        resolve::towards(&mut self.core, world, mbuf, realm, None, hops);
                    }
                    Task::Send { port } => self.core.out.send(port, mbuf),
                }
            }
            slow::second_legs(&mut self.core, world);
        }
        if got > 0 {
            self.core.account.lap(Stage::TakeOver, got);
            self.core.flush();
            // Counted last: until then the packets are still between workers.
            self.core.out.counters.received_handoff.add(got as u64);
        }
        got
    }

    /// A millisecond or more has passed: what the sweep owes, the neighbours' timers, the levels.
    fn tick(&mut self, world: &World) {
        let core = &mut self.core;
        let elapsed = core.now.wrapping_sub(self.ticked).min(SWEEP_ROUND);
        self.ticked = core.now;
        core.out.counters.now_ms.set(u64::from(core.now));
        self.pace.tick(elapsed, core.out.counters.sessions_created.get());
        self.pace.owe(V4, core.flows.owned_records_of::<Record4>(), elapsed, self.sweep_rounds[V4]);
        if core.firewall.is_some() {
            self.pace.owe(V6, core.flows.owned_records_of::<Record6>(), elapsed, self.sweep_rounds[V6]);
        }
        if let Some(nat) = &mut core.nat {
            let (mappings, subscribers) = nat.population();
            core.out.counters.mappings.set(mappings as u64);
            core.out.counters.subscribers.set(subscribers as u64);
            core.out.counters.asked_mappings.set(nat.asked_for() as u64);
        }
        claims::tell(core);
        unsolicited::tick(core, world);
        pcp::tick(core, world);
        resolve::tick(core, world);
        fragments::tick(core, world);
        core.account.lap(Stage::Timers, 0);
        core.flush();
    }

    /// A slice of the sweep, after a round in which packets came, or none.
    #[inline(never)]
    fn sweep(&mut self, world: &World, is_idle: bool) {
        let (family, records) = self.pace.slice();
        let core = &mut self.core;
        let start = core.account.stamp();
        let removed = match (family, &mut core.nat, &mut core.firewall, &world.tunnels) {
            (V4, Some(nat), ..) => nat.sweep(&mut core.flows, records, core.now),
            (V4, None, _, Some(tunnels)) => {
                let mut judge = tunnel::Flows { table: &tunnels.table, timeouts: &tunnels.timeouts };
                core.flows.sweep::<Record4>(records, core.now, &mut judge)
            }
            (V6, _, Some(firewall), _) => firewall.sweep(&mut core.flows, records, core.now),
            _ => 0,
        };
        core.out.counters.sessions_removed.add(removed as u64);
        core.account.lap(Stage::Sweep, 0);
        let spent = core.account.stamp().wrapping_sub(start);
        self.pace.done(removed, (!is_idle).then_some(spent));
    }

    /// After an empty round: the end of an input, a nap, or just the next round.
    fn rest(&mut self, got: usize, reporter: &Reporter) {
        if got > 0 {
            self.empty = 0;
            self.silence.broken(self.core.now);
            self.disarm();
            return;
        }
        self.end_input();
        self.empty = self.empty.saturating_add(1);
        if self.idle == Idle::Sleep && self.core.wake_others() {
            // Whoever is woken may have something for this worker in no time, and wakes it then.
            self.empty = self.empty.max(EMPTY_ROUNDS);
        }
        if self.idle == Idle::Poll || self.empty < EMPTY_ROUNDS || self.pace.owes() {
            pause();
            self.core.account.lap(Stage::Idle, 0);
        } else if self.arm() {
            // A packet may have come just before: one more look.
            self.core.account.lap(Stage::Idle, 0);
        } else {
            self.nap(reporter);
        }
    }

    /// Whether the next packet interrupts, as it did not before.
    fn arm(&mut self) -> bool {
        let armed = !self.is_armed && self.interrupts.as_ref().is_some_and(Interrupts::arm);
        self.is_armed |= armed;
        armed
    }

    fn disarm(&mut self) {
        if std::mem::take(&mut self.is_armed)
            && let Some(interrupts) = &self.interrupts
        {
            interrupts.disarm();
        }
    }

    fn nap(&mut self, reporter: &Reporter) {
        self.core.account.lap(Stage::Idle, 0);
        reporter.offline();
        self.core.out.counters.sleeping.set(1);
        match &self.interrupts {
            Some(interrupts) if self.is_armed => wake::nap_until(interrupts.readable(), LONG_NAP),
            _ => wake::nap(NAP),
        }
        self.disarm();
        self.core.out.counters.sleeping.set(0);
        reporter.online();
        self.core.account.lap(Stage::Asleep, 0);
    }

    /// Where inputs end: the worker that polls an input's first queue passes on to the next after some silence.
    fn end_input(&mut self) {
        if self.control.inputs == 0 {
            return;
        }
        let current = self.control.input.load(Ordering::Relaxed);
        if !self.silence.is_over(current, self.core.now) {
            return;
        }
        let mine = self.rx.iter().any(|rx| rx.port == current && rx.queue.queue() == 0);
        // A worker that is slow to be scheduled may not have seen the last of this input yet.
        if mine && self.control.nothing_is_between_workers() {
            self.control.input.store(current + 1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_as_old_as_its_turn() {
        let mut silence = Silence::default();
        silence.broken(1000);
        assert!(!silence.is_over(0, 1000 + END_OF_INPUT - 1));
        assert!(silence.is_over(0, 1000 + END_OF_INPUT));
        // Another worker went on meanwhile: this one has not looked at the next input yet.
        assert!(!silence.is_over(1, 5000));
        assert!(!silence.is_over(1, 5000 + END_OF_INPUT - 1));
        assert!(silence.is_over(1, 5000 + END_OF_INPUT));
    }

    #[test]
    fn the_sweep_keeps_up_with_short_idle_times() {
        assert_eq!(round_of([300_000, 7_440_000, 240_000, 60_000]), SWEEP_ROUND);
        assert_eq!(round_of([1_000, 240_000]), 250);
        assert_eq!(round_of([0]), 1);
        assert_eq!(round_of([]), SWEEP_ROUND);
    }
}
