//! A worker never allocates after start. In a file of its own: DPDK starts once in a process.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/packets.rs"]
mod packets;

#[test]
fn one_worker() {
    allocations::none_after_start("[0]");
}
