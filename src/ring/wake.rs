//! Naps, and what ends them early: who has put something into a ring or a channel wakes the thread that reads it, and so does a
//! descriptor that becomes readable, where the thread has one to wait for.
//!
//! Guarantees: a wake is never lost. It is a token: one that comes before the nap begins lets that nap end at once. So it is enough that
//! who pushes wakes *after* its push, and that who naps looks at everything again after each nap; what it looks at has been told
//! before by [`Waker::wakes_me`], before its first look. Whatever else comes, from workers that poll and wake nobody, waits for the
//! nap's end at most.
//! Never: enters the kernel for a thread that does not nap: that costs an atomic swap.

use crossbeam::channel::{Sender, TrySendError};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a thread naps on: its token, and the descriptor by which the kernel is told of it.
#[derive(Debug)]
struct Bed {
    state: AtomicU32,
    event: EventFd,
}

/// The states of a bed: nobody in it; its thread naps; it has been woken, or will be as soon as it lies down.
const EMPTY: u32 = 0;
const NAPPING: u32 = 1;
const WOKEN: u32 = 2;

thread_local! {
    /// Of this thread, made when it is first told of or napped on.
    static BED: Arc<Bed> = Arc::new(Bed::new());
}

impl Bed {
    fn new() -> Bed {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        Bed { state: AtomicU32::new(EMPTY), event: event.expect("the process may open one more descriptor") }
    }

    fn wake(&self) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == NAPPING {
            // Fails where it is readable already.
            let _ = self.event.write(1);
        }
    }

    /// Until it is woken, `also` is readable, or the time is over.
    fn nap(&self, time: Duration, also: Option<BorrowedFd<'_>>) {
        let lies_down = self.state.compare_exchange(EMPTY, NAPPING, Ordering::AcqRel, Ordering::Acquire);
        if lies_down.is_ok() {
            let own = self.event.as_fd();
            let mut both = [own, also.unwrap_or(own)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let waited = ppoll(&mut both[..1 + usize::from(also.is_some())], Some(time.into()), None);
            if waited.is_ok() && both[0].any().unwrap_or(true) {
                // Who wakes at the very end of a nap may write only now, or later: then the next one is short.
                let _ = self.event.read();
            }
        }
        self.state.swap(EMPTY, Ordering::AcqRel);
    }
}

/// Wakes one thread, once that has said that it wants to be. Clones wake the same one.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<OnceLock<Arc<Bed>>>);

impl Waker {
    /// The calling thread is the one that is woken, if there is none yet.
    pub fn wakes_me(&self) {
        self.0.get_or_init(|| BED.with(Arc::clone));
    }

    /// Ends its nap, or its next one.
    #[inline]
    pub fn wake(&self) {
        if let Some(bed) = self.0.get() {
            bed.wake();
        }
    }
}

/// The writing end of a channel whose reader naps: what is sent wakes it.
#[derive(Debug)]
pub struct Waking<T> {
    channel: Sender<T>,
    reader: Waker,
}

impl<T> Waking<T> {
    pub fn new(channel: Sender<T>, reader: &Waker) -> Waking<T> {
        Waking { channel, reader: reader.clone() }
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    /// The message, where there is no room or no reader.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send(message)?;
        self.reader.wake();
        Ok(())
    }

    /// Messages that have not been taken yet.
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    pub fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }
}

/// For so long, or until something wakes the calling thread, or for no reason shorter.
pub fn nap(time: Duration) {
    BED.with(|bed| bed.nap(time, None));
}

/// As [`nap`], or until `readable` is.
pub fn nap_until(readable: BorrowedFd<'_>, time: Duration) {
    BED.with(|bed| bed.nap(time, Some(readable)));
}

/// Has the calling thread's naps end on time: the kernel adds up to 50 µs to each, to have several timers expire together
/// (`prctl(2)`, PR_SET_TIMERSLACK), which is as much as a worker naps.
pub fn nap_on_time() {
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        tracing::warn!("naps take 50 µs more than they should: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Instant;

    /// Far longer than a test may take.
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_push_is_seen_long_before_the_nap_ends() {
        const PUSHES: u32 = 20_000;
        let (pushed, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (waker, start) = (Waker::default(), Instant::now());
        let reader = thread::spawn({
            let (pushed, seen, waker) = (pushed.clone(), seen.clone(), waker.clone());
            move || {
                waker.wakes_me();
                while seen.load(Ordering::Relaxed) < PUSHES {
                    let before = seen.swap(pushed.load(Ordering::Acquire), Ordering::Release);
                    if before == seen.load(Ordering::Relaxed) {
                        nap(MINUTE);
                    }
                }
            }
        });
        for push in 1..=PUSHES {
            pushed.store(push, Ordering::Release);
            waker.wake();
            // Now at the nap's beginning, now in the middle of a look, now well asleep.
            while push % 3 > 0 && seen.load(Ordering::Acquire) < push && start.elapsed() < MINUTE / 2 {
                thread::yield_now();
            }
        }
        while !reader.is_finished() && start.elapsed() < MINUTE / 2 {
            // Should it have looked before it said whom to wake.
            waker.wake();
            thread::yield_now();
        }
        assert!(reader.is_finished(), "asleep");
        reader.join().expect("the reader");
    }

    #[test]
    fn a_wake_before_the_nap_counts_and_one_of_nobody_does_no_harm() {
        let waker = Waker::default();
        waker.wake();
        waker.wakes_me();
        waker.clone().wake();
        let start = Instant::now();
        nap(MINUTE);
        assert!(start.elapsed() < MINUTE / 2);
    }

    #[test]
    fn what_becomes_readable_ends_a_nap_and_what_does_not_leaves_it_alone() {
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        let start = Instant::now();
        nap_until(reader.as_fd(), Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20), "nothing came");
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            nix::unistd::write(&writer, b"!").expect("written");
            thread::sleep(MINUTE / 60);
        });
        nap_until(reader.as_fd(), MINUTE);
        assert!(start.elapsed() < MINUTE / 2);
        // Woken beside it: by whichever comes.
        let waker = Waker::default();
        waker.wakes_me();
        let (quiet, _writer) = nix::unistd::pipe().expect("a pipe");
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        nap_until(quiet.as_fd(), MINUTE);
        assert!(start.elapsed() < MINUTE / 2);
    }

    #[test]
    fn a_wake_that_came_at_the_end_of_a_nap_shortens_no_more_than_one() {
        let waker = Waker::default();
        waker.wakes_me();
        waker.wake();
        nap(MINUTE);
        let start = Instant::now();
        nap(Duration::from_millis(20));
        nap(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn naps_are_on_time() {
        thread::spawn(|| {
            nap_on_time();
            assert_eq!(nix::sys::prctl::get_timerslack(), Ok(1));
        })
        .join()
        .expect("so they are");
    }
}
