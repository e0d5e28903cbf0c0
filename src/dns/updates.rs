//! Updates on their way into the register: its owner makes the changes, on disk where there is a store, and then the signed answer
//! leaves. Nobody waits for that but who asked.
//!
//! Guarantees: one is under way at a time, and the next is judged when that is done, so that a prerequisite holds when its changes are
//! made (RFC 2136 section 3.7: updates are serial); only what is signed by a key waits here, at most [`WAITING_MAX`]. Never: blocks.

use std::collections::VecDeque;

use crossbeam::channel::{Receiver, TryRecvError, bounded};

use super::server::ReplyTo;
use super::update::End;
use super::{Asker, Update};
use crate::edge::thread::{Changer, Refused};

/// Updates that wait for the one that is under way.
pub const WAITING_MAX: usize = 64;

/// An update that waits, as it came.
pub(super) struct Waiting {
    pub message: Vec<u8>,
    pub asker: Asker,
    pub to: ReplyTo,
}

/// An update, and what has become of it.
pub(super) struct Done {
    pub update: Box<Update>,
    pub to: ReplyTo,
    pub end: End,
}

/// The one that is under way.
struct Running {
    update: Box<Update>,
    to: ReplyTo,
    answered: Receiver<Result<(), Refused>>,
}

/// See the module.
pub(super) struct Updates {
    /// `None` where there is no register.
    changer: Option<Changer>,
    running: Option<Running>,
    waiting: VecDeque<Waiting>,
}

impl Updates {
    pub fn new(changer: Option<Changer>) -> Updates {
        Updates { changer, running: None, waiting: VecDeque::new() }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Those that are under way or wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.is_running())
    }

    /// Lets one wait; false if too many do.
    #[must_use]
    pub fn wait(&mut self, waiting: Waiting) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push_back(waiting);
        }
        has_room
    }

    /// Begins one while none is under way; it comes back at once where the register does not take it.
    pub fn begin(&mut self, mut update: Box<Update>, to: ReplyTo) -> Option<Done> {
        let (answer, answered) = bounded(1);
        let changes = std::mem::take(&mut update.changes);
        let begun = self.changer.as_ref().map(|changer| changer.change_all(changes, answer));
        match begun {
            Some(Ok(())) => {
                self.running = Some(Running { update, to, answered });
                None
            }
            Some(Err(why)) => Some(Done { update, to, end: ended(&why) }),
            None => Some(Done { update, to, end: End::Refused }),
        }
    }

    /// What has become of the one that is under way.
    pub fn poll(&mut self) -> Option<Done> {
        let end = match self.running.as_ref()?.answered.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(Ok(())) => End::Done,
            Ok(Err(why)) => ended(&why),
            Err(TryRecvError::Disconnected) => End::Failed,
        };
        let Running { update, to, .. } = self.running.take()?;
        Some(Done { update, to, end })
    }

    /// The next one that waits, if none is under way.
    pub fn next(&mut self) -> Option<Waiting> {
        if self.is_running() { None } else { self.waiting.pop_front() }
    }
}

/// What an update has come to that the register's owner has not done. A disk may be mended, and what waits may be done.
fn ended(why: &Refused) -> End {
    match why {
        Refused::Conflict(_) | Refused::Rules(_) | Refused::RulesFull(_) => {
            tracing::warn!("a DNS UPDATE is refused: {why}");
            End::Refused
        }
        Refused::Store(_) | Refused::Import(_) | Refused::Busy(_) | Refused::Waiting | Refused::Ending => {
            tracing::error!("a DNS UPDATE has failed: {why}");
            End::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::hosts::{Conflict, store};

    #[test]
    fn a_disk_that_fails_is_no_refusal() {
        let store = store::Error::Format { path: "/var/lib/ces/hosts".into(), found: 2 };
        for (why, end) in [
            (Refused::Conflict(Conflict::Full(1)), End::Refused),
            (Refused::Store(store), End::Failed),
            (Refused::Busy(7), End::Failed),
            (Refused::Waiting, End::Failed),
            (Refused::Ending, End::Failed),
        ] {
            assert_eq!(ended(&why), end, "{why}");
        }
    }
}
