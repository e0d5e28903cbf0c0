//! The thread `ces-cetp`: from the workers' rings, the DNS and the operator to a [`Service`], and back.
//!
//! Guarantees: takes turns, a batch from each, so that none starves another; makes no system call while there is work. Frames that a
//! ring doesn't take are dropped and counted: the protocol sends again. Naps when there is nothing to do, until something comes.
//! Never: waits for a worker, for the DNS or for an operator; for who changes hosts or rules a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::carrier;
use super::house::Lent;
use super::service::{Now, Service};
use super::shown::{Shown, Wanted};
use super::waiting::CALLS;
use super::{Answer, Call, Calls, Lookups, Outcome};
use crate::edge::identity::Authorities;
use crate::edge::thread::Reader;
use crate::packet::TooBig;
use crate::ring::frames::{FRAME_MAX, FrameReceiver, FrameSender};
use crate::ring::wake::{self, Waker, Waking};

/// Frames, or calls, a turn.
const BATCH: usize = 64;
/// Commands that wait.
const COMMANDS: usize = 16;
/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the thread does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the thread ces-cetp: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
    #[error("the thread ces-cetp cannot run on core {core}: {source}; set workers.control_core")]
    Core { core: usize, source: nix::Error },
    #[error("the thread ces-cetp ended; see the log")]
    Ended,
}

/// It has ended, or takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread ces-cetp doesn't answer")]
pub struct Silent;

/// What the thread is to do.
pub struct Options {
    /// Makes the service, on the thread.
    pub service: Box<dyn FnOnce(Now) -> Service + Send>,
    pub hosts: Reader,
    /// From each worker, and to each.
    pub from_workers: Vec<FrameReceiver>,
    pub to_workers: Vec<FrameSender>,
    /// `None`: nobody asks the DNS, and no naming check is passed.
    pub lookups: Option<Box<dyn Lookups>>,
    /// The wrapping milliseconds of the workers.
    pub worker_clock: Box<dyn Fn() -> u32 + Send>,
    /// Between two looks when nothing wakes it, which workers that poll never do.
    pub nap: Duration,
    /// The core on which it runs; where the caller does by default.
    pub core: Option<usize>,
}

enum Command {
    Show(Wanted, Sender<Shown>),
    Terminate(Wanted, Sender<u64>),
    Pardon(Wanted, Sender<u64>),
    Believe(Box<Authorities>),
    Worth(Option<Box<str>>, Box<str>, Sender<u8>),
}

/// What is counted of the thread itself.
#[derive(Debug, Default)]
pub struct Traffic {
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// That a ring did not take, or that no own RLOC leads to.
    pub lost: AtomicU64,
    /// Frames that carry no message.
    pub malformed: AtomicU64,
}

impl Traffic {
    /// With their names.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("frames-received", &self.received),
            ("frames-sent", &self.sent),
            ("frames-lost", &self.lost),
            ("frames-malformed", &self.malformed),
        ];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// The running thread. Dropping it ends it.
pub struct Cetp {
    commands: Waking<Command>,
    calls: Option<Handle>,
    traffic: Arc<Traffic>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// The end of who has hosts called.
pub struct Handle {
    calls: Waking<(u64, Call)>,
    outcomes: Receiver<(u64, Outcome)>,
    /// Of who polls.
    waker: Waker,
}

impl Calls for Handle {
    fn call(&mut self, call: Call, number: u64) -> bool {
        self.calls.try_send((number, call)).is_ok()
    }

    fn poll(&mut self) -> Option<(u64, Outcome)> {
        self.outcomes.try_recv().ok()
    }

    fn wakes_me(&self) {
        self.waker.wakes_me();
    }
}

impl Cetp {
    /// Starts it on `core`, or where the caller runs.
    ///
    /// # Errors
    /// What is missing.
    pub fn start(options: Options) -> Result<Cetp, Error> {
        let (calls, called) = bounded(CALLS);
        // There is room for whatever was taken over: calls that wait in the ring and in the service.
        let (outcomes, outcome) = bounded(2 * CALLS);
        let (commands, commanded) = bounded(COMMANDS);
        let (ready, is_ready) = bounded(1);
        let (traffic, stop) = (Arc::new(Traffic::default()), Arc::new(AtomicBool::new(false)));
        let (counted, stopped, core) = (traffic.clone(), stop.clone(), options.core);
        let (waker, caller) = (Waker::default(), Waker::default());
        let (outcomes, awake) = (Waking::new(outcomes, &caller), waker.clone());
        let run = move || {
            let pinned = core.map_or(Ok(()), pin);
            let is_pinned = pinned.is_ok();
            // Before anybody can send anything.
            awake.wakes_me();
            let _ = ready.send(pinned);
            if is_pinned {
                Work::new(options, counted, called, outcomes, commanded).run(&stopped);
            }
        };
        let thread = thread::Builder::new().name("ces-cetp".into()).spawn(run).map_err(Error::Thread)?;
        let calls = Some(Handle { calls: Waking::new(calls, &waker), outcomes: outcome, waker: caller });
        let commands = Waking::new(commands, &waker);
        let cetp = Cetp { commands, calls, traffic, stop, waker, thread: Some(thread) };
        is_ready.recv().map_err(|_| Error::Ended)??;
        Ok(cetp)
    }

    /// Who has hosts called: once.
    pub fn take_calls(&mut self) -> Option<Handle> {
        self.calls.take()
    }

    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// # Errors
    /// [`Silent`].
    pub fn show(&self, wanted: Wanted) -> Result<Shown, Silent> {
        self.ask(|answer| Command::Show(wanted, answer))
    }

    /// What a host behind that edge, or behind this one, is held to be worth, in hundredths.
    ///
    /// # Errors
    /// [`Silent`].
    pub fn worth(&self, edge: Option<&str>, host: &str) -> Result<u8, Silent> {
        self.ask(|answer| Command::Worth(edge.map(Box::from), host.into(), answer))
    }

    /// Ends sessions; how many.
    ///
    /// # Errors
    /// [`Silent`]: it may end them yet.
    pub fn terminate(&self, wanted: Wanted) -> Result<u64, Silent> {
        self.ask(|answer| Command::Terminate(wanted, answer))
    }

    /// Lets hosts come again that are kept away for what they have done; how many.
    ///
    /// # Errors
    /// [`Silent`]: it may do so yet.
    pub fn pardon(&self, wanted: Wanted) -> Result<u64, Silent> {
        self.ask(|answer| Command::Pardon(wanted, answer))
    }

    /// From now on those are believed: their revocation lists were read anew.
    ///
    /// # Errors
    /// [`Silent`].
    pub fn believe(&self, authorities: Authorities) -> Result<(), Silent> {
        self.commands.try_send(Command::Believe(Box::new(authorities))).map_err(|_| Silent)
    }

    fn ask<R>(&self, command: impl FnOnce(Sender<R>) -> Command) -> Result<R, Silent> {
        let (answer, answered) = bounded(1);
        self.commands.try_send(command(answer)).map_err(|_| Silent)?;
        answered.recv_timeout(PATIENCE).map_err(|_| Silent)
    }
}

impl Drop for Cetp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ces-cetp panicked");
        }
    }
}

fn pin(core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    pinned.map_err(|source| Error::Core { core, source })
}

/// What the thread has.
struct Work {
    service: Service,
    hosts: Reader,
    from_workers: Vec<FrameReceiver>,
    to_workers: Vec<FrameSender>,
    /// The worker that the next message goes by.
    turn: usize,
    lookups: Option<Box<dyn Lookups>>,
    calls: Receiver<(u64, Call)>,
    outcomes: Waking<(u64, Outcome)>,
    commands: Receiver<Command>,
    traffic: Arc<Traffic>,
    clock: Clock,
    nap: Duration,
    frame: Vec<u8>,
    /// The frame that goes out.
    room: Vec<u8>,
}

struct Clock {
    start: Instant,
    worker: Box<dyn Fn() -> u32 + Send>,
}

impl Clock {
    fn now(&self) -> Now {
        let at = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { ms: at.duration_since(self.start).as_millis() as u64, unix, worker: (self.worker)(), at }
    }
}

impl Work {
    fn new(
        options: Options,
        traffic: Arc<Traffic>,
        calls: Receiver<(u64, Call)>,
        outcomes: Waking<(u64, Outcome)>,
        commands: Receiver<Command>,
    ) -> Work {
        let Options { service, hosts, from_workers, to_workers, lookups, worker_clock, nap, core: _ } =
            options;
        let clock = Clock { start: Instant::now(), worker: worker_clock };
        Work {
            service: service(clock.now()),
            hosts,
            from_workers,
            to_workers,
            turn: 0,
            lookups,
            calls,
            outcomes,
            commands,
            traffic,
            clock,
            nap,
            frame: vec![0; FRAME_MAX],
            room: vec![0; FRAME_MAX],
        }
    }

    fn run(mut self, stop: &AtomicBool) {
        wake::nap_on_time();
        self.from_workers.iter().for_each(FrameReceiver::wakes_me);
        if let Some(lookups) = &self.lookups {
            lookups.wakes_me();
        }
        while !stop.load(Ordering::Acquire) {
            if !self.work() {
                wake::nap(self.nap);
            }
        }
    }

    /// A batch of each; whether there was any.
    fn work(&mut self) -> bool {
        let now = self.clock.now();
        let mut busy = false;
        {
            // Let go after each turn: its owner may be waiting to change it.
            let (hosts, service) = (self.hosts.clone(), &mut self.service);
            let (register, policy) = (hosts.register(), hosts.policy());
            let lent = Lent { register: &register, policy: &policy };
            for ring in &mut self.from_workers {
                for _ in 0..BATCH {
                    let Some((_, class, length)) = ring.pop(&mut self.frame) else { break };
                    busy = true;
                    let frame = &self.frame[..length.min(FRAME_MAX)];
                    take(service, class, frame, &self.traffic, lent, now);
                }
            }
            // What was taken over finds room for its outcome.
            let has_room = self.outcomes.len() < CALLS;
            for _ in 0..if has_room { BATCH } else { 0 } {
                let Ok((number, call)) = self.calls.try_recv() else { break };
                busy = true;
                if !service.call(call, number, lent, now) {
                    let _ = self.outcomes.try_send((number, Outcome::Busy));
                }
            }
            for _ in 0..BATCH {
                let Some((number, answer)) = self.lookups.as_mut().and_then(|lookups| lookups.poll()) else {
                    break;
                };
                busy = true;
                service.looked_up(number, &answer, lent, now);
            }
            busy |= service.review(lent, now);
            if service.next_deadline().is_some_and(|due| due <= now.ms) {
                busy = true;
                service.tick(lent, now);
            }
            while let Ok(command) = self.commands.try_recv() {
                busy = true;
                match command {
                    // Who asked may have gone.
                    Command::Show(wanted, answer) => {
                        let _ = answer.try_send(service.show(&wanted, lent, now));
                    }
                    Command::Terminate(wanted, answer) => {
                        let _ = answer.try_send(service.terminate(&wanted, lent, now));
                    }
                    Command::Pardon(wanted, answer) => {
                        let _ = answer.try_send(service.pardon(&wanted, lent, now));
                    }
                    Command::Worth(edge, host, answer) => {
                        let _ = answer.try_send(service.worth(edge.as_deref(), &host, now));
                    }
                    Command::Believe(authorities) => {
                        service.credentials_mut().identities_mut().replace(*authorities);
                    }
                }
            }
            while let Some((number, question)) = service.next_question() {
                busy = true;
                let is_taken = self.lookups.as_mut().is_some_and(|lookups| lookups.ask(question, number));
                if !is_taken {
                    service.looked_up(number, &Answer::Failed, lent, now);
                }
            }
        }
        busy | self.give_out()
    }

    /// What the service has put out.
    fn give_out(&mut self) -> bool {
        let mut busy = false;
        while let Some((to, message)) = self.service.next_message() {
            busy = true;
            let written = carrier::write(&mut self.room, &self.service.own, to, &message);
            let count = self.to_workers.len();
            let ring = self.to_workers.get_mut(self.turn);
            self.turn = (self.turn + 1) % count.max(1);
            let is_sent = written.ok().zip(ring).is_some_and(|((class, length, from), ring)| {
                ring.push(from.interface, class, &[&self.room[..length]])
            });
            let counter = if is_sent { &self.traffic.sent } else { &self.traffic.lost };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        for ring in &mut self.to_workers {
            ring.wake();
        }
        while let Some(outcome) = self.service.next_outcome() {
            busy = true;
            // Who asked may have gone.
            let _ = self.outcomes.try_send(outcome);
        }
        busy
    }
}

/// A frame of a worker's.
fn take(service: &mut Service, class: u16, frame: &[u8], traffic: &Traffic, lent: Lent<'_>, now: Now) {
    traffic.received.fetch_add(1, Ordering::Relaxed);
    match class {
        carrier::MESSAGES => {
            if let Some((from, message)) = carrier::read(frame, service.own.port) {
                return service.received(from, message, lent, now);
            }
        }
        carrier::UNEXPECTED => {
            if let Some((from, source, destination)) = carrier::read_tags(frame) {
                return service.unexpected(from, source, destination, lent, now);
            }
        }
        carrier::TRESPASS => {
            if let Some((tags, what)) = carrier::read_trespass(frame) {
                return service.trespassed(tags, what, lent, now);
            }
        }
        carrier::TOO_BIG => {
            if let Some(said) = TooBig::of_frame(frame, service.own.port) {
                return service.too_big(&said, now);
            }
        }
        _ => {}
    }
    traffic.malformed.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
