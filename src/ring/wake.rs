//! Naps, and what ends them early: who has put something into a ring or a channel wakes the thread that reads it.
//!
//! Guarantees: a wake is never lost. It is the token of [`std::thread::park`]: one that comes before the nap begins lets that nap end at
//! once. So it is enough that who pushes wakes *after* its push, and that who naps looks at everything again after each nap; what it
//! looks at has been told before by [`Waker::wakes_me`], before its first look. Whatever else comes, from workers that poll and wake
//! nobody, waits for the nap's end at most.
//! Never: enters the kernel for a thread that does not nap: that costs an atomic swap.

use crossbeam::channel::{Sender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes one thread, once that has said that it wants to be. Clones wake the same one.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<OnceLock<Thread>>);

impl Waker {
    /// The calling thread is the one that is woken, if there is none yet.
    pub fn wakes_me(&self) {
        self.0.get_or_init(thread::current);
    }

    /// Ends its nap, or its next one.
    #[inline]
    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
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
    thread::park_timeout(time);
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
    use std::sync::atomic::{AtomicU32, Ordering};
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
    fn naps_are_on_time() {
        thread::spawn(|| {
            nap_on_time();
            assert_eq!(nix::sys::prctl::get_timerslack(), Ok(1));
        })
        .join()
        .expect("so they are");
    }
}
