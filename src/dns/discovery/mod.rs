//! Discovery: how a question of a host inside for another's name becomes a call, and how naming checks ask the DNS.
//!
//! ```text
//!  host asks A, AAAA or ANY
//!   ├─ a name of others: NAPTR first ── no edge there, or no answer ──► as without an edge
//!   │        └─ an edge is there ──┬─ AAAA ──► no data
//!   └─ a host of ours ─────────────┴─ A, ANY ──► call ── agreed ──► the proxy address
//!                                                  ├──── refused ──► NXDOMAIN, for 5 s
//!                                                  ├──── legacy ───► as without an edge
//!                                                  └──── busy, or nothing in time ──► SERVFAIL
//! ```
//!
//! That is so for hosts of realms that have proxy addresses, where calls are made at all; for others, and for other types, nothing of it
//! is. This edge is not among those that are called, whoever names it. An alias is followed: the NAPTR of its last name counts, that name is called, and the aliases are answered with what comes of
//! it. A host of ours is not called by itself, nor where the asker's realm is not told of it, or is told its private
//! addresses because the realms are routed to each other.
//!
//! | file | what it is |
//! |---|---|
//! | [`naptr`] | the edges that NAPTR records name |
//! | [`lookups`] | naming checks ask: a handle and a desk |
//! | [`waiting`] | questions of hosts that wait for NAPTR or for a call |
//! | `answers` | what a host is told |
//!
//! All of it is sans-IO. Guarantees: a question that was taken up is answered once, whatever comes, and be it by SERVFAIL; what waits is
//! bounded, altogether and of one asker. Never: waits, negotiates, or assigns an address.

mod answers;
pub mod lookups;
pub mod naptr;
pub mod waiting;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};

pub(super) use answers::domain;

use super::forward::chain;
use crate::edge::calls::Calls;

/// Who makes calls of hosts' questions, and who asks for naming checks. Default: nobody.
#[derive(Default)]
pub struct Callers {
    pub calls: Option<Box<dyn Calls>>,
    pub lookups: Option<lookups::Desk>,
}

/// What others' answer to a question of our own says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The aliases that lead from the name that was asked for to the last one.
    pub chain: Vec<Record>,
    pub target: Name,
    /// Of the type that was asked for, of whatever name.
    pub records: Vec<Record>,
}

impl Heard {
    /// Of the bytes of an answer to `query`; `None` where it is a failure.
    pub fn read(bytes: &[u8], query: &Query) -> Option<Heard> {
        let message = Message::from_vec(bytes).ok()?;
        if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return None;
        }
        let target = chain(&message.answers, query).pop()?;
        let (mut records, mut chain) = (vec![], vec![]);
        for record in message.answers {
            match record.record_type() {
                RecordType::CNAME | RecordType::DNAME => chain.push(record),
                kind if kind == query.query_type() => records.push(record),
                _ => {}
            }
        }
        Some(Heard { chain, target, records })
    }
}

#[cfg(test)]
mod bed;
#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod lookups_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod remote_tests;
#[cfg(test)]
mod resolver_tests;
