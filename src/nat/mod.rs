//! Network address and port translation, sans-IO: logic takes keys and `now`, and compiles sessions into [`crate::flow`].
//!
//! What it guarantees:
//! - Endpoint-independent mapping (RFC 4787 REQ-1): one inside endpoint has one public endpoint, whomever it talks to.
//! - No two live mappings share a public address, port and protocol.
//! - A subscriber uses one public address (REQ-2, paired pooling) and at most so many port blocks.
//! - A miss never waits for another thread; nothing grows after start.
//!
//! What it never does: touch a packet (but for ICMP errors, as bytes that it is given), read a clock, allocate after start.
//!
//! | file | what it is |
//! |---|---|
//! | [`pool`] | the public addresses, cut into port blocks that homes lease; shared by all workers |
//! | [`id_map`] | a bounded map from hashes to numbers, private to a worker |
//! | [`mapping`] | the mappings and subscribers of one home |
//! | [`nat44`] | what happens on a miss, from either side; when a session is over |
//! | [`icmp_error`] | errors about the packets of sessions, from either side |
//! | [`session`] | the life times of sessions: TCP state from both halves' flags |

pub mod icmp_error;
pub mod id_map;
pub mod mapping;
pub mod nat44;
pub mod pool;
pub mod session;

pub use nat44::{Filtering, Nat44, NatHome, NatOptions};
pub use pool::Pool;
pub use session::Timeouts;
