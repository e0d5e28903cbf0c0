//! A source of packets that a capture cannot be: each may open a session that there never was. Runs on a core of its own and
//! writes into a ring that the worker under measurement polls.

use crate::capture::{self, PORTS_PER_HOST};
use crate::template::{Template, Tuple};
use ces::dpdk::{Burst, Pool, TxQueue};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The subscribers, a power of two: as many as in the largest of the other cases. They stay; what is fresh is their ports,
/// and whom they talk to.
pub const HOSTS: u32 = 16_384;
/// Fresh inside ports, from here to 65,535 and round again: after minutes, when nothing is left of their last use.
const FIRST_FRESH_PORT: u32 = 2048;
const FRESH_PORTS: u32 = 65_536 - FIRST_FRESH_PORT;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Sessions, [`PORTS_PER_HOST`] of each host, that are kept alive by packet after packet.
    pub held: u32,
    /// Of 100 packets, those that open a session.
    pub fresh_percent: u32,
    /// How many fresh sessions share an inside endpoint, and so a mapping.
    pub sessions_per_mapping: u32,
    /// Fresh sessions that may live at a time: a new one is sent for one that was removed.
    pub fresh_live: u64,
    /// And how many are sent in a second at most: else what came in a wave goes in one, again and again.
    pub fresh_per_second: u64,
    /// And how many in all.
    pub fresh_total: u64,
}

impl Traffic {
    /// The packet of the `n`th fresh session. Host after host, in an order that no prefetcher knows; each time all have had
    /// their turn with one port as often as it is shared, the next port.
    fn fresh(&self, n: u64) -> Tuple {
        let turn = (n / u64::from(HOSTS)) as u32 / self.sessions_per_mapping;
        let port = FIRST_FRESH_PORT + turn % FRESH_PORTS;
        ((host(shuffled(n as u32)), port as u16), (remote(n as u32), 443))
    }

    /// A packet of the `n`th held session.
    pub fn held(&self, n: u32) -> Tuple {
        let port = 1024 + (n % PORTS_PER_HOST) as u16;
        ((host(n / PORTS_PER_HOST), port), (remote(n), port))
    }
}

/// An odd factor permutes the numbers below a power of two.
fn shuffled(n: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b1) % HOSTS
}

fn host(n: u32) -> u32 {
    u32::from(Ipv4Addr::new(10, 0, 1, 0)) + n
}

/// 2^22 remote addresses.
fn remote(n: u32) -> u32 {
    u32::from(Ipv4Addr::new(20, 0, 0, 0)) + (n.wrapping_mul(0x85eb_ca6b) >> 10)
}

/// The frames of the first `count` fresh sessions, for the check of their translation.
pub fn first_frames(traffic: Traffic, count: u32) -> impl Iterator<Item = Vec<u8>> {
    let template =
        Template::new(capture::datagram((Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::UNSPECIFIED, 0), None));
    (0..u64::from(count)).map(move |n| {
        let mut frame = template.frame.clone();
        template.fill(&mut frame, traffic.fresh(n));
        frame
    })
}

/// Sends until it is told to stop: as fast as the ring takes it, and a fresh session only while fewer than wanted live.
/// `removed` tells how many sessions are gone by now, `sent` is told what was sent.
pub fn run(
    traffic: Traffic,
    pool: &Pool,
    ring: &mut TxQueue,
    stop: &AtomicBool,
    sent: &AtomicU64,
    removed: impl Fn() -> u64,
) {
    let template =
        Template::new(capture::datagram((Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::UNSPECIFIED, 0), None));
    let mut burst = Burst::new();
    let (mut fresh, mut held, mut random) = (0u64, 0u32, 1u64);
    let start = Instant::now();
    let (mut wave, mut may_be) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let now = start.elapsed().as_millis() as u64 / WAVE_MS;
        // Asked once a wave: the worker would wait at each of its counters for the line to come back from here.
        if now != wave {
            wave = now;
            let in_time = wave * WAVE_MS * traffic.fresh_per_second / 1000;
            may_be = in_time.min(traffic.fresh_live + removed()).min(traffic.fresh_total);
        }
        while !burst.is_full() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let is_fresh = ((random >> 32) * 100) >> 32 < u64::from(traffic.fresh_percent);
            let tuple = if is_fresh && fresh < may_be {
                fresh += 1;
                traffic.fresh(fresh - 1)
            } else if traffic.held > 0 {
                // A stride that visits all of them, no two neighbours in turn.
                held = (held + STRIDE) % traffic.held;
                traffic.held(held)
            } else {
                break;
            };
            let Some(mut mbuf) = pool.alloc_copy(&template.frame) else { break };
            template.fill(mbuf.data_mut(), tuple);
            burst.push(mbuf);
        }
        let n = ring.send(&mut burst);
        sent.store(sent.load(Ordering::Relaxed) + n as u64, Ordering::Relaxed);
        if !burst.is_empty() || n == 0 {
            std::hint::spin_loop();
        }
    }
}

/// What is due is sent in waves of so many milliseconds: in full bursts, and in between the worker may sleep.
const WAVE_MS: u64 = 2;
/// A prime that divides no number of held sessions.
const STRIDE: u32 = 611_953;
