//! Two workers never allocate after start, handing packets to each other. In a file of its own: DPDK starts once in a process.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/packets.rs"]
mod packets;

#[test]
fn two_workers() {
    allocations::none_after_start("[0, 1]");
}
