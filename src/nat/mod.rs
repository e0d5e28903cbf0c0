//! Network address and port translation, sans-IO: logic takes keys and `now`, and compiles sessions into [`crate::flow`].
//!
//! What it guarantees:
//! - Mapping and filtering of the three classes of RFC 4787, each chosen by itself for each pool.
//! - No two live mappings share a public address, port and protocol.
//! - A subscriber uses one public address (REQ-2, paired pooling), at most so many port blocks, and no more sessions than it
//!   may; what it takes is never a neighbour's.
//! - A port rests before it is used again, and a block before somebody else has it (RFC 6888 REQ-8).
//! - A miss never waits for another thread; nothing grows after start.
//!
//! What it never does: touch a packet (but for ICMP errors, as bytes that it is given), read a clock, allocate after start.
//!
//! | file | what it is |
//! |---|---|
//! | [`options`] | what the operator decides |
//! | [`pool`] | public addresses, and how subscribers share them |
//! | [`ports`] | the port blocks of a pool: in use, resting, free; shared by all workers |
//! | [`deterministic`] | who has which block by formula (RFC 7422) |
//! | [`id_map`], [`store`] | a bounded map from hashes to numbers, and numbered elements; private to a worker |
//! | [`subscriber`] | the subscribers of one home |
//! | [`mapping`] | the mappings of one home |
//! | [`permits`] | to whom a mapping has sent, where the filter asks |
//! | [`nat44`] | what happens on a miss from outside; when a session is over |
//! | [`opening`] | what happens on a miss from inside, for one packet or the newcomers of a burst |
//! | [`claims`] | sessions at addresses of the circular pool |
//! | [`proxies`] | sessions to proxy addresses |
//! | [`tunnel`] | flows between hosts behind two edges, and the outside of the tunnel between these |
//! | [`fragments`] | fragments that belong together, and the ports of those that show none |
//! | [`icmp_error`] | errors about the packets of sessions, from either side |
//! | [`pcp`] | what subscribers ask for themselves: PCP and NAT-PMP |
//! | [`requirements`] | what the RFCs ask of a NAT, and which test holds it |
//! | [`session`] | the life times of sessions: TCP state from both halves' flags |

pub mod claims;
pub mod deterministic;
pub mod fragments;
pub mod icmp_error;
pub mod id_map;
pub mod mapping;
pub mod nat44;
pub mod opening;
pub mod options;
pub mod pcp;
pub mod permits;
pub mod pool;
pub mod ports;
pub mod proxies;
pub mod requirements;
pub mod session;
pub mod store;
pub mod subscriber;
pub mod tunnel;

pub use claims::Claimed;
pub use nat44::{Nat44, NatHome};
pub use opening::{Opened, Opening};
pub use options::{Dependence, NatOptions, PoolOptions, PortSelection, Sharing, Untranslated};
pub use pcp::PcpOptions;
pub use pool::{Endpoint, Pool, PoolState};
pub use ports::Usage;
pub use session::Timeouts;
