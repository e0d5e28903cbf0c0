//! **Unsafe room 2**: where threads share flow state. Keys, records, the lock-free index, leases and quiescence.
//!
//! What it guarantees:
//! - A reader never blocks and never misses a live entry: entries are published, replaced and cleared by compare-and-swap
//!   and are never moved.
//! - A record is only reused after every worker has reported a quiescent state since it left the index.
//! - Everything is preallocated at start; when something is full the caller is refused, nothing grows.
//!
//! What it never does: interpret policy, read a clock, look at packets, log.
//!
//! | file | what threads share in it | who writes | who reads |
//! |---|---|---|---|
//! | [`index`] | slots of the hash index | home workers, by CAS | every worker, the management thread |
//! | [`record`] | the half-flows | home (before publication); the forwarding worker (counters, last seen, path) | every worker, management |
//! | [`adjacency`] | next hops | the neighbour owner | every worker, management |
//! | [`lease`] | free chunks of records, free port blocks | any worker, by CAS | any worker |
//! | [`quiescence`] | a counter a worker | that worker | home workers |
//! | [`tcp`] | what each direction of a connection last acknowledged | the forwarding worker; home (before publication) | whichever worker sees a reset |
//! | [`tunnel`] | sessions with hosts behind other edges, those edges and their RLOCs | the owner (before publication); any worker (counters, last seen, next hops) | every worker |
//! | [`circular`] | a bit for each address of the circular pool | the pool's owner | every worker |
//! | [`proxies`] | whom each proxy address stands for, and its sessions | who assigns them; homes, by CAS | every worker, management |
//! | [`ranges`] | nothing: addresses by number | | |
//! | [`filter`] | nothing: which flows a policy lets through a tunnel | | |
//! | [`lifetime`] | nothing: what both halves tell together, TCP's state and idle times | | |
//!
//! The unsafe code is in [`memory`] (huge pages) and in two functions of [`index`] (eight tags compared at once, a
//! bucket chosen without a check).
#![allow(unsafe_code)]

pub mod adjacency;
pub mod circular;
pub mod filter;
pub mod hash;
pub mod index;
pub mod key;
pub mod lease;
pub mod lifetime;
pub mod memory;
pub mod proxies;
pub mod quiescence;
pub mod ranges;
pub mod record;
pub mod slab;
mod sync;
pub mod table;
pub mod tcp;
pub mod tunnel;

pub use adjacency::{Adjacencies, AdjacencyId, Hop, KeepsPath, Live, Path};
pub use circular::{Circular, Marks, SessionEvent};
pub use hash::{Hash, HashKey};
pub use index::{Index, Place, Ref};
pub use key::{Key4, Key6, Protocol, Realm};
pub use proxies::{Bindings, Proxies};
pub use quiescence::{Quiescence, Reporter};
pub use record::{Action, Half, Record, Record4, Record6, Rewrite4};
pub use slab::{Chunks, Slab};
pub use table::{FlowHome, FlowTable, Full, Judge, Lookup};
