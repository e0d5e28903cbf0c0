//! The Customer Edge Traversal Protocol: two edges agree, by the policies of both, on what crosses between two hosts, and under
//! which pair of session tags. `PROTOCOL.md` beside this file is its specification.
//!
//! | room | what it is |
//! |---|---|
//! | [`message`] | what edges say to each other, whatever the encoding |
//! | [`wire`] | the binary encoding of what they say |
//! | [`association`] | two edges prove who they are and agree on keys |
//! | [`negotiation`] | two edges agree for two hosts: [`negotiation::Cetp`] is a whole edge's part |
//! | [`terms`] | what a negotiation asks of hosts, policies and identities behind it |
//! | [`io`] | what goes in and comes out |
//! | [`cookie`], [`signing`] | what proves who speaks |
//! | [`retry`], [`deadlines`], [`rate`] | when, and how often |
//!
//! Guarantees: sans-IO; nothing from the wire panics, blocks or grows memory. Never: reads a clock, opens a socket, or touches a
//! packet of a host.

pub mod association;
pub mod cookie;
pub mod deadlines;
pub mod io;
pub mod message;
pub mod negotiation;
pub mod rate;
pub mod retry;
pub mod signing;
pub mod terms;
pub mod wire;
