//! `ces`, a Customer Edge Switch: the box that a carrier puts in front of its gateway instead of a carrier-grade NAT.
//!
//! # The rooms
//!
//! | room | plane | what it is |
//! |---|---|---|
//! | [`packet`] | both | typed views over bytes; checksums; why a packet is dropped |
//! | [`flow`] | fast | **unsafe room 2**: keys, records, the lock-free index, quiescence; what threads share |
//! | [`dpdk`] | fast | **unsafe room 1**: the C shim, its bindings and their safe owners |
//! | [`route`], [`neigh`] | fast | longest-prefix routes; adjacencies and address resolution |
//! | [`nat`] | fast | sans-IO: mappings, filters, port blocks, session life times |
//! | [`firewall`] | fast | sans-IO: IPv6 sessions (RFC 6092), which ICMPv6 crosses (RFC 4890) |
//! | [`ring`] | fast | typed single-producer single-consumer messages between threads |
//! | [`dataplane`] | fast | the worker loop and its stages |
//! | [`edge`] | slow | the control state and the thread that owns it: the host register, policies and identities, the Private Realm Gateway's circular pool, proxy addresses, CETP |
//! | [`exception`] | slow | the kernel's share: taps in a network namespace, and a thread that carries frames to them and back |
//! | [`config`] | slow | TOML text to one validated, immutable `Config` |
//! | [`dns`] | slow | sans-IO: a question in, out its answer or what must be known first |
//! | [`doctor`] | slow | what is missing on this machine for line rate: reads `/proc` and `/sys` |
//! | [`manage`] | slow | the operator's socket: reads counters and tables |
//! | [`appliance`] | both | puts the rooms together and runs them: what `cesd` and the benches start |
//!
//! Who may use whom is held by `tests/layering.rs`.

pub mod flow;
pub mod packet;

// The models of what threads share (`--cfg ces_loom`) want the two above alone.
#[cfg(not(ces_loom))]
pub mod appliance;
#[cfg(not(ces_loom))]
pub mod config;
#[cfg(not(ces_loom))]
pub mod dataplane;
#[cfg(not(ces_loom))]
pub mod dns;
#[cfg(not(ces_loom))]
pub mod doctor;
#[cfg(not(ces_loom))]
pub mod dpdk;
#[cfg(not(ces_loom))]
pub mod edge;
#[cfg(not(ces_loom))]
pub mod exception;
#[cfg(not(ces_loom))]
pub mod firewall;
#[cfg(not(ces_loom))]
pub mod manage;
#[cfg(not(ces_loom))]
pub mod nat;
#[cfg(not(ces_loom))]
pub mod neigh;
#[cfg(not(ces_loom))]
pub mod ring;
#[cfg(not(ces_loom))]
pub mod route;
