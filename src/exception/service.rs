//! The thread `ces-exception`: frames between the workers' rings and the kernel's taps.
//!
//! Guarantees: takes turns, a batch from each ring and from each tap, so that no direction and no interface starves
//! another; never waits for a tap: what the kernel or the ring cannot take at once is dropped and counted; new routes
//! are made a batch a turn, beside the frames. Uses next to no processor time when there is nothing to do: it looks
//! into the rings up to every [`NAP_MIN`] while frames come, and every [`NAP_MAX`] after a quiet while; a tap wakes it.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use tun_rs::SyncDevice;

use super::mirror::Mirror;
use super::routes::KernelRoute;
use super::{Error, Options, tap};
use crate::ring::frames::{FRAME_MAX, FrameReceiver, FrameSender};

/// Frames of one ring or one tap a turn.
const BATCH: usize = 64;

/// Changes of routes a turn: about as long as a batch of frames takes.
const ROUTES_BATCH: usize = 64;

/// Between two looks into the rings after the last frame.
const NAP_MIN: Duration = Duration::from_micros(100);

/// Between two looks into the rings when it has long been quiet.
const NAP_MAX: Duration = Duration::from_millis(2);

/// The class of the frames from the kernel.
const CLASS: u16 = 0;

/// What has gone each way. Written by the thread `ces-exception`, read by anyone.
#[derive(Debug, Default)]
pub struct ExceptionCounters {
    /// Frames that the kernel took.
    pub to_kernel: AtomicU64,
    /// Frames of the kernel's that a worker will find in its ring.
    pub from_kernel: AtomicU64,
    /// Frames that the kernel did not take: too many at once, a tap that is down, or a tag that is no interface's.
    pub to_kernel_dropped: AtomicU64,
    /// Frames of the kernel's for which the worker's ring had no room.
    pub from_kernel_dropped: AtomicU64,
    /// Changes of routes that the kernel refused: the log says which, and why.
    pub routes_refused: AtomicU64,
}

/// What the thread shares with its [`Service`].
#[derive(Debug, Default)]
struct Shared {
    counters: ExceptionCounters,
    stop: AtomicBool,
    /// The routes that are wanted, until the thread has taken them over: only the last word counts.
    routes: Mutex<Option<Vec<KernelRoute>>>,
}

/// The running exception path. Dropping it stops it.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// From now on the realms have `routes`, all of them, and no others than those and their links' prefixes. Returns at
    /// once; the kernel follows within milliseconds, or seconds for a hundred thousand changes.
    pub fn set_routes(&self, routes: Vec<KernelRoute>) {
        *self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner) = Some(routes);
    }

    pub fn counters(&self) -> &ExceptionCounters {
        &self.shared.counters
    }

    /// Ends the thread; the taps, the rules and the routes go with it.
    pub fn stop(self) {}
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ces-exception panicked");
        }
    }
}

pub(super) fn start(
    options: Options,
    from_workers: Vec<FrameReceiver>,
    to_worker: FrameSender,
) -> Result<Service, Error> {
    let shared = Arc::new(Shared::default());
    let (ready, is_ready) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("ces-exception".into())
        .spawn({
            let shared = shared.clone();
            move || match raise(&options) {
                Ok((mirror, taps)) => {
                    let _ = ready.send(Ok(()));
                    let ways =
                        Ways { counters: &shared.counters, taps: by_index(&options, &taps), to_worker };
                    run(&shared, mirror, &taps, ways, from_workers, &options);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })
        .map_err(Error::Thread)?;
    let service = Service { shared, thread: Some(thread) };
    match is_ready.recv() {
        Ok(Ok(())) => Ok(service),
        Ok(Err(error)) => Err(error),
        Err(mpsc::RecvError) => Err(Error::ThreadEnded),
    }
}

/// What the thread does before it is ready.
fn raise(options: &Options) -> Result<(Mirror, Vec<SyncDevice>), Error> {
    pin(options.control_core)
        .map_err(|errno| Error::Core { core: options.control_core, source: errno.into() })?;
    tap::enter(&options.netns)?;
    Mirror::raise(options)
}

fn pin(core: usize) -> nix::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
}

/// The taps by the index of their interface.
fn by_index<'a>(options: &Options, taps: &'a [SyncDevice]) -> Vec<Option<&'a SyncDevice>> {
    let mut by_index = Vec::new();
    for (interface, tap) in options.interfaces.iter().zip(taps) {
        let at = usize::from(interface.index);
        by_index.resize(by_index.len().max(at + 1), None);
        by_index[at] = Some(tap);
    }
    by_index
}

fn run(
    shared: &Shared,
    mut mirror: Mirror,
    taps: &[SyncDevice],
    mut ways: Ways<'_>,
    mut from_workers: Vec<FrameReceiver>,
    options: &Options,
) {
    let mut buffer = vec![0; FRAME_MAX];
    let mut watched: Vec<_> = options.interfaces.iter().zip(taps).collect();
    let mut fds: Vec<PollFd> = taps.iter().map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN)).collect();
    let mut nap = NAP_MIN;
    while !shared.stop.load(Ordering::Acquire) {
        let mut busy = false;
        for receiver in &mut from_workers {
            busy |= ways.drain_ring(receiver);
        }
        let wished = shared.routes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(routes) = wished {
            mirror.want(&routes);
        }
        if !mirror.is_settled() {
            let refused = mirror.step(ROUTES_BATCH);
            shared.counters.routes_refused.fetch_add(refused, Ordering::Relaxed);
            busy = true;
        }
        let wait = if busy { Duration::ZERO } else { nap };
        let ready = match ppoll(&mut fds, Some(TimeSpec::from(wait)), None) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                tracing::warn!("exception path: the taps cannot be polled: {error}");
                thread::sleep(NAP_MAX);
                0
            }
        };
        let mut at = 0;
        while ready > 0 && at < fds.len() {
            let found = fds[at].revents().unwrap_or(PollFlags::empty());
            let (interface, tap) = watched[at];
            if found.contains(PollFlags::POLLIN) {
                busy |= ways.drain_tap(interface.index, tap, &mut buffer);
            }
            if found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
                // Someone has deleted it: watched on, it would wake us for ever.
                tracing::error!(
                    "exception path: the tap {} is gone: restart to have it back",
                    interface.name
                );
                fds.remove(at);
                watched.remove(at);
            } else {
                at += 1;
            }
        }
        nap = if busy { NAP_MIN } else { (nap * 2).min(NAP_MAX) };
    }
}

/// The two directions.
struct Ways<'a> {
    counters: &'a ExceptionCounters,
    taps: Vec<Option<&'a SyncDevice>>,
    to_worker: FrameSender,
}

impl Ways<'_> {
    /// A batch from a worker's ring to the taps; whether there was any.
    fn drain_ring(&mut self, receiver: &mut FrameReceiver) -> bool {
        for at in 0..BATCH {
            let taken = receiver.pop_with(|header, first, second| {
                let tap = self.taps.get(usize::from(header.tag)).copied().flatten();
                tap.is_some_and(|tap| tap.send_vectored(&[IoSlice::new(first), IoSlice::new(second)]).is_ok())
            });
            let counter = match taken {
                Some(true) => &self.counters.to_kernel,
                Some(false) => &self.counters.to_kernel_dropped,
                None => return at > 0,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// A batch from a tap to the worker's ring; whether there was any.
    fn drain_tap(&mut self, interface: u16, tap: &SyncDevice, buffer: &mut [u8]) -> bool {
        for at in 0..BATCH {
            let length = match tap.recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return at > 0,
            };
            let taken = self.to_worker.push(interface, CLASS, &[&buffer[..length]]);
            self.to_worker.wake();
            let counter = if taken { &self.counters.from_kernel } else { &self.counters.from_kernel_dropped };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}
