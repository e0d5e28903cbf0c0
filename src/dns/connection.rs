//! One connection of DNS over TCP (RFC 7766): messages, each behind its length, and their answers.
//!
//! Guarantees: messages may come in any pieces, and many before the first answer (pipelining, section 6.2.1.1); what is kept of a
//! connection is bounded: it is not read while [`PIPELINED`] of its questions wait, and is over when nobody reads its answers. Who
//! says no more still gets its answers. Never: touches a socket or a clock.

/// Questions of one connection that wait for their answers.
pub const PIPELINED: usize = 16;
/// Longest message that is taken.
pub const MESSAGE_MAX: usize = 16_384;
/// Bytes of answers that nobody reads: more end the connection.
pub const UNREAD_MAX: usize = 256 * 1024;
/// Milliseconds without a whole message, while nothing waits for an answer.
pub const IDLE: u64 = 10_000;
/// Milliseconds in which nothing of what waits to be read was.
pub const SLOW: u64 = 5_000;
/// Bytes of a length: RFC 1035 section 4.2.2.
const LENGTH: usize = 2;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The other end said no more, and has all its answers.
    Done,
    /// Nobody asked, or nobody read, for too long.
    Idle,
    /// It sent what is no message of DNS.
    Bad,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Connection {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Of those, what has been sent.
    sent: usize,
    /// Questions that wait for their answers.
    asked: usize,
    /// When it was accepted, or a question of it last answered.
    active: u64,
    /// Since when nothing was read.
    unread_since: u64,
    is_ended: bool,
    is_bad: bool,
}

impl Connection {
    /// One that was accepted at `now`.
    pub fn new(now: u64) -> Connection {
        Connection { active: now, ..Connection::default() }
    }

    /// Whether more is wanted of the other end.
    pub fn wants_more(&self) -> bool {
        !self.is_ended && self.asked < PIPELINED && self.incoming.len() < LENGTH + MESSAGE_MAX
    }

    /// What waits to be sent.
    pub fn to_send(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The other end has taken so many bytes of that.
    pub fn sent(&mut self, bytes: usize, now: u64) {
        self.sent = (self.sent + bytes).min(self.outgoing.len());
        self.unread_since = now;
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    /// The other end has sent that; nothing: it says no more.
    pub fn received(&mut self, bytes: &[u8]) {
        self.is_ended |= bytes.is_empty();
        self.incoming.extend_from_slice(bytes);
    }

    /// Hands the next whole message to `take`, if there is one and it may be asked, and says whether it was taken: what is not is
    /// there the next time.
    pub fn next_message(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        if self.asked >= PIPELINED {
            return false;
        }
        let Some((length, rest)) = self.incoming.split_first_chunk() else { return false };
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > MESSAGE_MAX {
            self.is_bad = true;
            return false;
        }
        let is_taken = rest.get(..length).is_some_and(take);
        if is_taken {
            self.incoming.drain(..LENGTH + length);
            self.asked += 1;
        }
        is_taken
    }

    /// A question is answered, or will not be.
    pub fn answered(&mut self, message: Option<&[u8]>, now: u64) {
        self.asked = self.asked.saturating_sub(1);
        self.active = now;
        let Some(message) = message else { return };
        let Ok(length) = u16::try_from(message.len()) else { return };
        if self.to_send().is_empty() {
            self.unread_since = now;
        }
        if self.sent > UNREAD_MAX / 2 {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        self.outgoing.extend_from_slice(&length.to_be_bytes());
        self.outgoing.extend_from_slice(message);
    }

    /// Whether it is over, and why.
    pub fn is_over(&self, now: u64) -> Option<Over> {
        let unread = self.to_send().len();
        if self.is_bad {
            return Some(Over::Bad);
        }
        if unread > 0 {
            let is_slow = now.saturating_sub(self.unread_since) >= SLOW || unread > UNREAD_MAX;
            return is_slow.then_some(Over::Idle);
        }
        if self.asked > 0 {
            return None;
        }
        match self.is_ended {
            true => Some(Over::Done),
            false => (now.saturating_sub(self.active) >= IDLE).then_some(Over::Idle),
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
