//! Calls: a host behind this edge asks, by name, for a host behind an edge, another or this one; what is agreed becomes a proxy
//! address that it can send to.
//!
//! Whoever hears the question (the DNS) hands a [`Call`] to [`Calls`] and takes what it has come to, later. Guarantees: whatever is
//! taken over is answered, once. Never: waits.
//!
//! | file | what it is |
//! |---|---|
//! | [`service`] | the sans-IO whole: calls, messages, time in; messages, outcomes, tables out |
//! | `calling` | calls to other edges, and their sessions |
//! | [`local`] | calls within this edge (CES–Local) |
//! | `called` | hosts behind this edge by their names, those of single services, too |
//! | `waiting` | calls that wait for something |
//! | [`house`], `claims`, `codes` | what the protocol asks, answered by register, policies and identities |
//! | [`own`] | what the edge knows of itself, and by which certificates it knows others |
//! | [`granted`] | what two hosts may use of each other, as lists |
//! | [`live`], [`edges`], [`tags`] | sessions, edges and tags in the table of tunnels |
//! | [`path_mtu`] | what routers between the edges say of packets too big for them |
//! | [`review`] | sessions whose hosts or rules have changed |
//! | [`reports`], [`apart`], `retold` | who is kept away, and what is told of it; whom rules keep apart; what is told again |
//! | [`reputations`] | what others are held to be worth |
//! | [`refusals`], [`shown`] | what was refused lately, and why; what an operator sees |
//! | [`carrier`], [`thread`] | messages as frames carry them; the thread `ces-cetp` |

pub mod apart;
mod called;
mod calling;
pub mod carrier;
mod claims;
mod codes;
pub mod edges;
pub mod granted;
pub mod house;
pub mod live;
pub mod local;
pub mod own;
pub mod path_mtu;
pub mod refusals;
pub mod reports;
pub mod reputations;
mod retold;
pub mod review;
pub mod service;
pub mod shown;
pub mod tags;
pub mod thread;
mod waiting;

use super::hosts::HostId;
use super::identity::naming::{Question, Speaker};
use super::proxies::{Asker, Assigned};
use crate::config::{DomainName, ServiceTarget};
use std::net::IpAddr;

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A host behind other edges, which NAPTR names, the preferred one first.
    Remote(Vec<Speaker>),
    /// A host behind this edge (CES–Local), and where it is called by the name of a single service, that one.
    Local(HostId, Option<ServiceTarget>),
}

/// A host asks for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub asker: Asker,
    /// The name that was asked for, or to which its aliases lead: the one that the other edge knows.
    pub name: DomainName,
    pub callee: Callee,
}

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Agreed: the address that stands for the other host in the asker's realm.
    Address(Assigned),
    /// Refused, by either side, or nobody answers: there is no such name for the asker.
    Refused,
    /// No edge answers, and the policy lets it be called as one without.
    Legacy,
    /// There is no room now: it may ask again.
    Busy,
}

/// Takes calls. See the module.
pub trait Calls: Send {
    /// Takes a call over, under a number that its outcome is to have; false where too many wait.
    fn call(&mut self, call: Call, number: u64) -> bool;

    /// What has come of the next call, if of any, and its number.
    fn poll(&mut self) -> Option<(u64, Outcome)>;

    /// From now on outcomes end the calling thread's naps, where another thread has them.
    fn wakes_me(&self) {}
}

/// What the DNS has said of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Speakers(Vec<Speaker>),
    Addresses(Vec<IpAddr>),
    /// There is nothing of that name and type.
    Nothing,
    /// There was no answer.
    Failed,
}

/// Asks the DNS what a naming-level check asks. Whatever is taken over is answered, once. Never: waits.
pub trait Lookups: Send {
    /// Takes a question over, under a number that its answer is to have; false where too many wait.
    fn ask(&mut self, question: Question, number: u64) -> bool;

    /// What has been found for the next question, if for any, and its number.
    fn poll(&mut self) -> Option<(u64, Answer)>;

    /// From now on answers end the calling thread's naps, where another thread has them.
    fn wakes_me(&self) {}
}

#[cfg(test)]
mod tests;
