//! What of a call's delay is the bed's: as many wake-ups as a call has, from thread to thread, where nobody does anything.
//!
//! ```text
//!  bench ─► worker 0 ─► ces-dns ─► ces-cetp ─► worker 0 ─► worker 1 ─► ces-cetp ─► worker 1 ─┐
//!  bench ◄─ worker 0 ◄─ ces-dns ◄─ ces-cetp ◄─ worker 0 ◄────────────────────────────────────┘
//! ```

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::Pid;

/// Threads by number; the workers have a core each, the others any.
const BENCH: usize = 0;
const WORKERS: [usize; 2] = [1, 4];
const THREADS: usize = 6;
/// Who is woken after whom.
const WAY: [usize; 12] = [1, 2, 3, 1, 4, 5, 4, 1, 3, 2, 1, BENCH];
const CALLS: usize = 60;

/// Milliseconds a way, the median of those that begin after such a pause.
pub fn by_themselves(pause: Duration) -> f64 {
    let beds: Vec<EventFd> =
        (0..THREADS).map(|_| EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("a descriptor")).collect();
    let is_over = AtomicBool::new(false);
    let mut delays = std::thread::scope(|scope| {
        for own in 1..THREADS {
            let (beds, is_over) = (&beds, &is_over);
            scope.spawn(move || {
                keep_to_core(own);
                let mut turn =
                    WAY.iter().enumerate().filter(|(_, who)| **who == own).map(|(at, _)| WAY[at + 1]).cycle();
                while wait(&beds[own]) && !is_over.load(Ordering::Acquire) {
                    beds[turn.next().expect("without end")].write(1).expect("woken");
                }
            });
        }
        let delays: Vec<f64> = (0..CALLS)
            .map(|_| {
                std::thread::sleep(pause);
                let start = Instant::now();
                beds[WAY[0]].write(1).expect("woken");
                wait(&beds[BENCH]);
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        is_over.store(true, Ordering::Release);
        for bed in &beds {
            bed.write(1).expect("woken");
        }
        delays
    });
    delays.sort_by(f64::total_cmp);
    (delays[CALLS / 2] * 1000.0).round() / 1000.0
}

/// Until it is woken.
fn wait(bed: &EventFd) -> bool {
    poll(&mut [PollFd::new(bed.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).is_ok() && bed.read().is_ok()
}

fn keep_to_core(own: usize) {
    let Some(number) = WORKERS.iter().position(|worker| *worker == own) else { return };
    let myself = Pid::from_raw(0);
    let all = sched_getaffinity(myself).expect("own affinity");
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(cores[number.min(cores.len() - 1)]).expect("a core");
    sched_setaffinity(myself, &one).expect("the core is there");
}
