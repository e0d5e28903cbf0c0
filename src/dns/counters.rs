//! What the DNS counts. Written by its two threads, read by management.
//!
//! Every message that is taken is a question, and every question ends as an answer or in silence, but for those that still wait; what
//! is no message is counted as malformed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Silence;

/// Codes that an answer may have: RFC 6895 section 2.3, those of TSIG and cookies included.
pub const CODES: usize = 24;

/// Bytes of a header.
const HEADER: usize = 12;

/// A count, written by one thread.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the pool decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEnd {
    Reserved,
    /// A proof is asked for.
    Demanded,
    Silence,
    /// By TCP, and tried again later.
    TryAgain,
    Empty,
    /// There is no pool, or none of that family or side.
    NoAddress,
}

/// The ends of [`PoolEnd`], in order.
pub const POOL_ENDS: [&str; 6] = ["reserved", "demanded", "silence", "try_again", "empty", "no_address"];

/// What became of looking for another edge before a question of a host is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryEnd {
    /// An edge speaks for the name.
    Edge,
    /// Its last name is one of ours.
    Own,
    NoEdge,
    /// There was no answer.
    Failed,
    /// There was none in time.
    Late,
    /// Too many wait already, altogether or of that asker.
    Limited,
}

/// The ends of [`DiscoveryEnd`], in order.
pub const DISCOVERY_ENDS: [&str; 6] = ["edge", "own", "no_edge", "failed", "late", "limited"];

/// What became of questions that called somebody. [`CallEnd::Local`], [`CallEnd::Remote`] and [`CallEnd::Joined`] are how they began;
/// all of these together are as many as those from [`CallEnd::Address`] to [`CallEnd::Expired`], but for those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// A host of ours is called.
    Local,
    /// One behind another edge.
    Remote,
    /// Somebody whom the asker calls already.
    Joined,
    Address,
    Refused,
    Legacy,
    /// There was no room for the call.
    Busy,
    /// Nothing has come of it in time.
    Expired,
    /// Not made: too many wait already, altogether or of that asker.
    Limited,
    /// A call, not a question: it came to something when nobody waited any more.
    Late,
}

/// The ends of [`CallEnd`], in order.
pub const CALL_ENDS: [&str; 10] =
    ["local", "remote", "joined", "address", "refused", "legacy", "busy", "expired", "limited", "late"];

/// What became of questions of naming checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupEnd {
    Speakers,
    Addresses,
    Nothing,
    Failed,
}

/// The ends of [`LookupEnd`], in order.
pub const LOOKUP_ENDS: [&str; 4] = ["speakers", "addresses", "nothing", "failed"];

/// The reasons of [`Silence`], in order.
pub const SILENCES: [&str; 6] = ["short", "response", "foreign", "exhausted", "too_long", "overload"];

/// Why a question gets no answer that could have one: too many wait for the register, the pool or other servers.
const OVERLOAD: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages by UDP.
    pub udp: Count,
    /// Messages by TCP.
    pub tcp: Count,
    /// Frames that are no datagram.
    pub malformed: Count,
    /// Answers by their code, whether or not they could be sent.
    pub answers: [Count; CODES],
    /// Of those, the ones with TC set.
    pub truncated: Count,
    /// Answers for which a worker's ring had no room, or whose connection is gone.
    pub lost: Count,
    pub silences: [Count; SILENCES.len()],
    pub pool: [Count; POOL_ENDS.len()],
    /// Updates that changed the register.
    pub updates_done: Count,
    /// Updates whose changes the register refused.
    pub updates_refused: Count,
    /// Updates whose changes the register's owner could not make: the disk, an import under way, too many.
    pub updates_failed: Count,
    /// A level: updates that wait for the register.
    pub updates_waiting: Count,
    /// Questions that were taken to other servers.
    pub forwarded: Count,
    pub discovery: [Count; DISCOVERY_ENDS.len()],
    pub calls: [Count; CALL_ENDS.len()],
    /// A level: questions of hosts that wait for NAPTR or for a call.
    pub calls_waiting: Count,
    pub lookups: [Count; LOOKUP_ENDS.len()],
    /// Connections that were accepted.
    pub connections: Count,
    /// A level: those that are open.
    pub connections_open: Count,
    /// Connections that were closed at once: too many in all, or of one source.
    pub connections_refused: Count,
    /// Connections that were closed because nobody asked, or nobody read, for too long.
    pub connections_idle: Count,
    /// Connections that were closed because of what came by them.
    pub connections_bad: Count,
}

impl Counters {
    pub(super) fn silence(&self, why: Silence) {
        self.silences[why as usize].add(1);
    }

    pub(super) fn overload(&self) {
        self.silences[OVERLOAD].add(1);
    }

    pub(super) fn pool_end(&self, end: PoolEnd) {
        self.pool[end as usize].add(1);
    }

    pub(super) fn discovery(&self, end: DiscoveryEnd) {
        self.discovery[end as usize].add(1);
    }

    pub(super) fn call(&self, end: CallEnd) {
        self.calls[end as usize].add(1);
    }

    pub(super) fn lookup(&self, end: LookupEnd) {
        self.lookups[end as usize].add(1);
    }

    pub(super) fn answer(&self, message: &[u8]) {
        if let Some(code) = code(message).and_then(|code| self.answers.get(code)) {
            code.add(1);
        }
        if message.get(2).is_some_and(|flags| flags & 2 != 0) {
            self.truncated.add(1);
        }
    }
}

/// The code of an answer of ours: that of its header, and what its OPT adds where it is the one record (RFC 6891 section 6.1.3):
/// answers with such a code have no others.
fn code(message: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER] = message.first_chunk()?;
    let low = usize::from(header[3] & 15);
    if header[6..] != [0, 0, 0, 0, 0, 1] {
        return Some(low);
    }
    let mut at = HEADER;
    if header[4..6] == [0, 1] {
        while let Some(&length) = message.get(at).filter(|length| **length > 0) {
            at += 1 + usize::from(length);
        }
        at += 1 + 4;
    }
    match message.get(at..at + 6) {
        Some([0, 0, 41, _, _, high]) => Some(usize::from(*high) << 4 | low),
        _ => Some(low),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Transport, tests};
    use super::*;
    use hickory_proto::op::{Edns, ResponseCode};
    use hickory_proto::rr::RecordType;

    #[test]
    fn answers_are_counted_by_their_whole_code() {
        let (responder, register) = tests::fixture();
        let mut bad_version = tests::question("a.ces.example", RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(1);
        bad_version.edns = Some(edns);
        for (message, code, is_known) in [
            (tests::question("ces.example", RecordType::SOA), ResponseCode::NoError, true),
            (tests::question("nobody.ces.example", RecordType::A), ResponseCode::NXDomain, true),
            (bad_version, ResponseCode::BADVERS, false),
        ] {
            let bytes = message.to_vec().expect("sound");
            let asker = tests::outside(Transport::Udp);
            let Outcome::Answer(answer) = responder.ask(&bytes, &asker, &register, tests::NOW) else {
                panic!("an answer")
            };
            assert_eq!(super::code(&answer), Some(usize::from(u16::from(code))), "{is_known}");
        }
        assert_eq!(super::code(&[0; 11]), None);
        let mut cut = [0; HEADER + 3];
        cut[4..].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1, 9, 9, 9]);
        assert_eq!(super::code(&cut), Some(0));
    }
}
