//! What the configuration itself gives away.

use super::Finding;
use super::machine::{Machine, needs_config};
use crate::config::{HugePages, Idle};

const LAB: &str = "no PCI port: a lab";

/// Not `"none"` beside a NIC.
pub fn huge_pages(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(config) = machine.config else { return needs_config() };
    vec![match config.eal.huge_pages {
        _ if !machine.is_carrier() => Finding::not_applicable(LAB),
        HugePages::None => Finding::bad("eal.huge_pages = \"none\"", "[eal] huge_pages = \"required\""),
        HugePages::Auto => Finding::ok("\"auto\": a start without them is possible, and slow"),
        HugePages::Required => Finding::ok("\"required\""),
    }]
}

/// Not `"sleep"` beside a NIC: until a worker is awake, 50 µs without interrupts, a 10 Gbit/s port takes 740 packets.
pub fn idle(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(config) = machine.config else { return needs_config() };
    vec![match config.workers.idle {
        _ if !machine.is_carrier() => Finding::not_applicable(LAB),
        Idle::Sleep => Finding::warn(
            "workers.idle = \"sleep\": a worker that wakes finds a full ring",
            "[workers] idle = \"poll\"",
        ),
        Idle::Poll => Finding::ok("workers poll"),
    }]
}
