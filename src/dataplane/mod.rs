//! **The fast path**: the worker loop and its stages. Dedicated lcores poll NIC queues in bursts:
//!
//! ```text
//! rx burst ─► classify ─► look up (in bulk, with prefetch) ─► act ─► tx burst ─► report quiescent
//!                │                 │                            │
//!                │ anything odd    │ no session                 │ next hop unknown
//!                └──────► slow ◄───┘                            └──► resolve ─► hold, ask
//!                          │ not ours: hand off to the home worker, in bursts
//! ```
//!
//! What it guarantees: a worker never blocks, and never allocates, locks or logs after start; it makes a system call only to
//! sleep when it was told to (`idle = "sleep"`) and has nothing to do. Every packet that comes in leaves by a port, is held
//! within a bound, or bumps exactly one [`DropReason`](crate::packet::DropReason) counter.
//!
//! | file | what it is |
//! |---|---|
//! | [`world`] | what all workers share: interfaces, routes, tables |
//! | [`classify`] | the common packet, recognised in a few loads |
//! | [`vlan`] | tags off at the door, on at the way out |
//! | [`rewrite`] | a record's compiled rewrite, executed |
//! | [`worker`] | the loop: bursts, stages, sweep, sleep |
//! | [`sweep`] | the pace at which sessions that are over are looked for |
//! | [`core`](mod@core) | what the stages of a worker work with |
//! | [`forward`] | a burst on its way |
//! | [`lanes`] | the stages that its packets go through together: look-up, with prefetch, and act |
//! | [`slow`] | one packet at a time: ARP, the edge's own addresses, options, echo, ICMP errors, misses |
//! | [`newcomers`] | the odd packets of a burst, and the sessions that they open together |
//! | [`slow6`] | the same for IPv6, stateful |
//! | [`police`] | how many packets a second one subscriber may send |
//! | [`sources`] | who a packet may say that it is from |
//! | [`depart`] | a session's packet on its way out: hairpin, MTU, fragments, segment size |
//! | [`pieces`] | packets that do not fit, cut; frames of several segments, looked at as one |
//! | [`fragments`] | IPv4 fragments: where they meet, what is held, how they go on |
//! | [`tcp`] | what a segment says of its connection |
//! | [`unsolicited`] | connections that strangers ask for, refused six seconds later |
//! | [`claims`] | first packets to the circular pool, and what becomes of them |
//! | [`local`] | to the edge's own addresses |
//! | [`pcp`] | what subscribers ask of the NAT, and that its state began anew |
//! | [`punt`] | the rings to and from the kernel's interfaces, and what is let through |
//! | [`dns`] | questions to the edge's DNS, up to its thread, and the answers |
//! | [`cetp`] | messages of other edges, up to who negotiates, and what that says |
//! | [`tunnels`] | flows between hosts that have a session |
//! | [`into_tunnels`] | their packets' fast way into a tunnel, or to a host behind this edge |
//! | [`out_of_tunnels`] | their way out of one, in bursts |
//! | [`encapsulate`], [`decapsulate`] | into a tunnel, one packet at a time; out of it |
//! | [`errors`] | ICMP errors of the edge's own |
//! | [`message`] | the edge's own packets: ARP, echo replies, ICMP errors |
//! | [`resolve`] | from a destination to a next hop; the neighbour owner |
//! | [`nd`] | neighbour discovery, heard and answered |
//! | [`announce`] | the edge's own addresses, told to their links and defended |
//! | [`world6`] | what the shared world says about IPv6 |
//! | [`conflicts`] | who else uses an address of ours |
//! | [`reroute`] | sessions follow the routes; which of several next hops a flow takes |
//! | [`output`] | transmit queues and drops |
//! | [`counters`] | what a worker counts |
//! | [`account`] | where its cycles go |
//! | [`board`] | where the neighbour owner shows its table |

pub mod account;
pub mod announce;
pub mod board;
pub mod cetp;
pub mod claims;
pub mod classify;
pub mod conflicts;
pub mod core;
pub mod counters;
pub mod decapsulate;
pub mod depart;
pub mod dns;
pub mod encapsulate;
pub mod errors;
pub mod forward;
pub mod fragments;
pub mod into_tunnels;
pub mod lanes;
pub mod limit;
pub mod local;
pub mod message;
pub mod nd;
pub mod newcomers;
pub mod out_of_tunnels;
pub mod output;
pub mod pcp;
pub mod pieces;
pub mod police;
pub mod punt;
pub mod reroute;
pub mod resolve;
pub mod rewrite;
pub mod slow;
pub mod slow6;
pub mod sources;
pub mod sweep;
pub mod tcp;
pub mod tunnels;
pub mod unsolicited;
pub mod vlan;
pub mod worker;
pub mod world;
pub mod world6;

pub use account::Stage;
pub use board::Board;
pub use counters::{Counter, WorkerCounters};
pub use worker::{Control, Idle, RxSide, Worker, WorkerParts};
pub use world::{Interface, World};
