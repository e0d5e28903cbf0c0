//! The control thread's watch: signals, links, the end of the input, stalled workers, and what is said when something breaks.

use super::source::Shown;
use crate::edge::identity::reload::Reload;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A worker that does not finish a round for so long has stalled: the process ends, and a supervisor starts it again.
const STALL: u64 = 10_000;
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at the links: what is gone for less is not missed.
const LINK_LOOK: Duration = Duration::from_millis(200);

/// Why the appliance is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Signal,
    Input,
}

/// SIGTERM, SIGINT and SIGHUP, blocked in every thread and read as a file. Made before any other thread is.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them in the calling thread, and so in all that it starts.
    pub fn block() -> Result<Self, nix::Error> {
        let mut set = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|s| set.add(s));
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits a little; whether a signal has come.
    fn look(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        matches!(poll(&mut fds, timeout), Ok(1..)) && matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

/// What was last seen of each port's link.
#[derive(Default)]
pub struct Links(Vec<Option<bool>>);

/// What has become of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Up,
    Down,
}

impl Links {
    /// That port's link is up or down now. The first look is no change.
    pub fn saw(&mut self, port: usize, up: bool) -> Option<Change> {
        if self.0.len() <= port {
            self.0.resize(port + 1, None);
        }
        let before = self.0[port].replace(up)?;
        match (before, up) {
            (false, true) => Some(Change::Up),
            (true, false) => Some(Change::Down),
            _ => None,
        }
    }
}

/// Waits for a signal or for `is_over`, with an eye on every worker.
pub fn wait(signals: &Signals, shown: &Shown, is_over: impl Fn() -> bool) -> Ended {
    let (mut links, mut looked) = (Links::default(), None::<Instant>);
    let (start, mut reload) = (Instant::now(), Reload::new(0));
    loop {
        let before = Instant::now();
        if looked.is_none_or(|then| before.duration_since(then) >= LINK_LOOK) {
            shown.look_at_links(&mut links);
            looked = Some(before);
        }
        if signals.look() {
            return Ended::Signal;
        }
        if is_over() {
            return Ended::Input;
        }
        shown.reload_authorities(&mut reload, before.duration_since(start).as_millis() as u64);
        shown.log_conflicts();
        // This thread was not run either: the process was stopped, or the machine is overloaded.
        if before.elapsed() > Duration::from_secs(1) {
            shown.forgive();
        }
        let (worker, silent) = shown.feel_pulse();
        if silent > STALL {
            eprintln!("worker {worker} has not finished a round for {silent} ms: the process ends");
            dump(shown);
            std::process::abort();
        }
    }
}

/// When any thread panics the figures are printed before the process ends. The hook stays for the life of the process, and
/// keeps nothing alive: the ports are to close.
pub fn dump_on_panic(shown: &Arc<Shown>) {
    let shown: Weak<Shown> = Arc::downgrade(shown);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        if let Some(shown) = shown.upgrade() {
            dump(&shown);
        }
    }));
}

fn dump(shown: &Shown) {
    eprintln!("-- the figures so far --\n{}", shown.summary());
    for (id, c) in shown.counters().iter().enumerate() {
        eprintln!(
            "worker {id}: {} rounds ({} empty), {} in, {} out, {} handed off, {} taken over{}",
            c.polls.get(),
            c.empty_polls.get(),
            c.rx_packets.get(),
            c.tx_packets.get(),
            c.handed_off.get(),
            c.received_handoff.get(),
            if c.sleeping.get() > 0 { ", asleep" } else { "" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_changes_when_it_changes() {
        let mut links = Links::default();
        let seen =
            [(1, false), (0, true), (1, false), (1, true), (0, true), (1, true), (0, false), (0, true)]
                .map(|(port, up)| links.saw(port, up));
        let (up, down) = (Some(Change::Up), Some(Change::Down));
        assert_eq!(seen, [None, None, None, up, None, None, down, up]);
    }
}
