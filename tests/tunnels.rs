//! Tunnels to other edges through the workers, byte by byte: what hosts send and what edges send goes in by captures, and what comes out
//! is compared with packets that are built in full ([`between`]). The appliance runs in a process of its own for each test, because
//! DPDK starts once in a process; its parts are those that `cesd` assembles, with sessions put in before the workers run.

#[path = "support/alone.rs"]
mod alone;
#[path = "support/bed.rs"]
mod bed;
#[path = "tunnels/between.rs"]
mod between;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "tunnels/edge.rs"]
mod edge;
#[path = "tunnels/hostile.rs"]
mod hostile;
#[path = "tunnels/jumbo.rs"]
mod jumbo;
#[path = "tunnels/live.rs"]
mod live;
#[path = "support/packets.rs"]
mod packets;
#[path = "tunnels/paths.rs"]
mod paths;
#[path = "tunnels/script.rs"]
mod script;

use std::alloc::System;

use alone::alone;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ONE: &str = "cores = [0]\n";
const TWO_RSS: &str = "cores = [0, 1]\ndistribute = \"rss\"\n";
const TWO_SOFTWARE: &str = "cores = [0, 1]\ndistribute = \"software\"\n";

#[test]
fn one_worker() {
    alone("one_worker", || script::run(ONE, script::NAT));
}

#[test]
fn two_workers_by_rss() {
    alone("two_workers_by_rss", || script::run(TWO_RSS, script::NAT));
}

#[test]
fn two_workers_by_software() {
    alone("two_workers_by_software", || script::run(TWO_SOFTWARE, script::NAT));
}

#[test]
fn without_translation() {
    alone("without_translation", || script::run(TWO_SOFTWARE, ""));
}

#[test]
fn nothing_passes_after_its_session() {
    alone("nothing_passes_after_its_session", live::sessions_come_and_go);
}

#[test]
fn jumbo_frames_pass() {
    alone("jumbo_frames_pass", jumbo::pass);
}

#[test]
fn flows_spread_over_next_hops() {
    alone("flows_spread_over_next_hops", paths::spread);
}

#[test]
fn whatever_comes_is_accounted_for() {
    alone("whatever_comes_is_accounted_for", || hostile::run(ONE, 1));
}

#[test]
fn whatever_comes_to_two_workers_is_accounted_for() {
    alone("whatever_comes_to_two_workers_is_accounted_for", || hostile::run(TWO_SOFTWARE, 2));
}
