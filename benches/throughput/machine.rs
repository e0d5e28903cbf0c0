//! `machine`: what the worker's core and its memory can do at all, without any packet: what the figures of the other cases are to be
//! judged by. A look-up and a record are two cache lines that a packet touches at places which nothing foretells.
//! And how long a thread that has the core to itself is kept from it: no packet waits for less.

#![allow(unsafe_code)]

use crate::bed::Outcome;
use crate::capture::PORTS_PER_HOST;
use crate::{HOSTS, round};
use ces::dpdk::cycles;
use ces::flow::memory::{Region, prefetch};
use std::hint::black_box;
use std::time::Duration;

/// A cache line with a count, as a record has one.
#[repr(align(64))]
struct Line(std::cell::Cell<u64>);

/// Lines that were asked for and are not used yet: as far ahead of their use as a look-up is; more than a core has on the way at once.
const ON_THE_WAY: [usize; 2] = [16, 64];
/// Lines a sample: short enough to fall between what disturbs.
const LINES: usize = 4_000;
const SAMPLES: usize = 1_000;
/// What a session takes of index and records: two lines, and twice 11.5 bytes.
const SESSION_BYTES: u32 = 151;
/// The sizes of tables beside those of sessions: of the first two levels of caches, and what a machine that others use may have of the third.
const SMALL: [u32; 3] = [16 << 10, 256 << 10, 2 << 20];
/// And the sessions of the largest, with `--full`.
pub const MOST: u32 = 131_072 * PORTS_PER_HOST;

/// How long the core is watched for what takes it away, and what counts as that: longer than a loop takes, and most interrupts.
const WATCHED: Duration = Duration::from_secs(3);
const AWAY_US: f64 = 2.0;

/// The quiet twentieth, and the median, of samples.
struct Samples([f64; 2]);

impl Samples {
    fn of(sample: impl FnMut() -> f64) -> Self {
        let mut taken: Vec<f64> = std::iter::repeat_with(sample).take(SAMPLES).collect();
        taken.sort_by(f64::total_cmp);
        Self([taken[SAMPLES / 20], taken[SAMPLES / 2]])
    }

    fn text(&self) -> String {
        format!("{:.1} (median {:.1})", self.0[0], self.0[1])
    }

    fn json(&self) -> [f64; 2] {
        self.0.map(round)
    }
}

/// Measures on that core.
pub fn machine(core: usize, hertz: f64, full: bool, json: bool) -> Outcome<()> {
    let work = std::thread::spawn(move || {
        let is_there = core_affinity::set_for_current(core_affinity::CoreId { id: core });
        is_there.then(|| measure(hertz, full, json)).ok_or("the core cannot be chosen")
    });
    Ok(work.join().map_err(|_| "the measuring thread panicked")??)
}

fn measure(hertz: f64, full: bool, json: bool) {
    let (name, product, sums) = (processor(), Samples::of(products), Samples::of(sums));
    if json {
        let row = serde_json::json!({
            "case": "machine", "processor": name, "tsc_ghz": round(hertz / 1e9), "cycles_a_dependent_product": product.json(),
            "cycles_a_sum": sums.json(),
        });
        println!("{row}");
    } else {
        println!(
            "machine: {name}, TSC {:.2} GHz; cycles for a product that waits for the one before {} (three of the core's \
             own), for a sum that does not {} (a quarter of one, if nobody shares the core)",
            hertz / 1e9,
            product.text(),
            sums.text()
        );
    }
    away(hertz, json);
    let sessions = HOSTS.map(|hosts| hosts * PORTS_PER_HOST * SESSION_BYTES);
    let most = full.then_some(MOST * SESSION_BYTES);
    for bytes in SMALL.into_iter().chain(sessions).chain(most) {
        let lines = Region::new(bytes as usize / 64, |i| Line(std::cell::Cell::new(i as u64)));
        let mut random = 0x9e37_79b9_7f4a_7c15;
        let waited = Samples::of(|| waited(&lines, &mut random));
        let [ahead, further] = [
            Samples::of(|| ahead::<{ ON_THE_WAY[0] }>(&lines, &mut random)),
            Samples::of(|| ahead::<{ ON_THE_WAY[1] }>(&lines, &mut random)),
        ];
        if json {
            let row = serde_json::json!({
                "case": "machine_line", "bytes": bytes, "huge_pages": lines.is_huge(), "cycles_waited_for": waited.json(),
                "cycles_asked_for_ahead": ahead.json(), "cycles_asked_for_64_ahead": further.json(),
            });
            println!("{row}");
        } else {
            println!(
                "machine: a line of {bytes:>11} bytes, anywhere: {} cycles if waited for, {} if asked for {} ahead and written, {} if {} ahead",
                waited.text(),
                ahead.text(),
                ON_THE_WAY[0],
                further.text(),
                ON_THE_WAY[1]
            );
        }
    }
}

/// How much of the time the core does something else, and how long who comes at any moment waits until it is back: what the host, other
/// guests and interrupts take.
fn away(hertz: f64, json: bool) {
    let micros = |cycles: u64| cycles as f64 * 1e6 / hertz;
    let mut gaps = Vec::with_capacity(1 << 20);
    let (start, length) = (cycles(), (WATCHED.as_secs_f64() * hertz) as u64);
    let mut last = start;
    while last - start < length {
        let now = cycles();
        if micros(now - last) > AWAY_US && gaps.len() < gaps.capacity() {
            gaps.push(micros(now - last));
        }
        last = now;
    }
    let all = micros(last - start);
    // Of those who come at any moment, the part that waits for longer than so many microseconds.
    let waiting = |wait: f64| gaps.iter().map(|gap| (gap - wait).max(0.0)).sum::<f64>() / all;
    let most = gaps.iter().copied().fold(0.0, f64::max);
    let percentile = |part: f64| {
        let (mut low, mut high) = (0.0, most);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if waiting(middle) > part { low = middle } else { high = middle }
        }
        high
    };
    let [p99, p999] = [0.01, 0.001].map(percentile);
    let percent = 100.0 * waiting(0.0);
    if json {
        let row = serde_json::json!({
            "case": "machine_away", "percent": round(percent), "times_a_second": round(gaps.len() as f64 * 1e6 / all),
            "wait_us_p99": round(p99), "wait_us_p99_9": round(p999), "wait_us_max": round(most),
        });
        println!("{row}");
    } else {
        println!(
            "machine: the core is away {percent:.2} % of the time; who comes at any moment waits for {p99:.0} µs (p99), {p999:.0} \
             (p99.9), {most:.0} at most, if nobody comes before"
        );
    }
}

/// "AMD EPYC, family 25, model 1", as far as the kernel says.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().filter_map(|line| line.split_once(':'));
        value
            .map(|(key, value)| (key.trim(), value.trim()))
            .find(|(key, _)| *key == name)
            .map_or("?", |f| f.1)
    };
    format!("{}, family {}, model {}", field("model name"), field("cpu family"), field("model"))
}

/// A chain of products: the clock of the core itself, whoever shares it.
#[cfg(target_arch = "x86_64")]
fn products() -> f64 {
    let mut product = 3_u64;
    let start = cycles();
    for _ in 0..LINES {
        // SAFETY: reads and writes that register alone.
        unsafe {
            std::arch::asm!("imul {0}, {0}", inout(reg) product, options(pure, nomem, nostack));
        }
    }
    black_box(product);
    (cycles() - start) as f64 / LINES as f64
}

/// Sums that don't wait for each other, sixteen at a time: how much of the core is this thread's.
#[cfg(target_arch = "x86_64")]
fn sums() -> f64 {
    let [mut a, mut b, mut c, mut d] = [1_u64, 2, 3, 4];
    let start = cycles();
    for _ in 0..LINES {
        // SAFETY: reads and writes these registers alone.
        unsafe {
            std::arch::asm!(
                "add {0}, 1", "add {1}, 1", "add {2}, 1", "add {3}, 1",
                "add {0}, 1", "add {1}, 1", "add {2}, 1", "add {3}, 1",
                "add {0}, 1", "add {1}, 1", "add {2}, 1", "add {3}, 1",
                "add {0}, 1", "add {1}, 1", "add {2}, 1", "add {3}, 1",
                inout(reg) a, inout(reg) b, inout(reg) c, inout(reg) d, options(pure, nomem, nostack)
            );
        }
    }
    black_box([a, b, c, d]);
    (cycles() - start) as f64 / (16 * LINES) as f64
}

#[cfg(not(target_arch = "x86_64"))]
fn products() -> f64 {
    f64::NAN
}

#[cfg(not(target_arch = "x86_64"))]
fn sums() -> f64 {
    f64::NAN
}

/// A xorshift generator's next line.
#[inline(always)]
fn anywhere<'l>(lines: &'l [Line], random: &mut u64) -> &'l Line {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    &lines[(((*random >> 32) * lines.len() as u64) >> 32) as usize]
}

/// Cycles a line where each says which is next.
fn waited(lines: &[Line], random: &mut u64) -> f64 {
    let start = cycles();
    for _ in 0..LINES {
        // A count is never so large; the compiler does not know.
        *random ^= anywhere(lines, random).0.get() >> 63;
    }
    (cycles() - start) as f64 / LINES as f64
}

/// Cycles a line where each is asked for a while before it is written.
fn ahead<const ON_THE_WAY: usize>(lines: &[Line], random: &mut u64) -> f64 {
    let mut asked = [&lines[0]; ON_THE_WAY];
    let start = cycles();
    for i in 0..LINES {
        let next = anywhere(lines, random);
        prefetch(next);
        let here = std::mem::replace(&mut asked[i % ON_THE_WAY], next);
        here.0.set(here.0.get() + 1);
    }
    (cycles() - start) as f64 / LINES as f64
}
