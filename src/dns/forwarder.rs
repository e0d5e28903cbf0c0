//! The seam to whoever asks other servers for names that are not ours. Never: waits.

use super::forward::Resolver;
use super::{Alias, Forward};

/// What others have found.
#[derive(Debug)]
pub enum Found {
    /// The whole answer; no bytes where none fits what the asker allows.
    Answer(Vec<u8>),
    /// A name of ours.
    Alias(Box<Alias>),
}

/// Asks others. Called by the thread `ces-dns` alone, which is not to be made to wait.
pub trait Forwarder: Send {
    /// Takes a question over, under a number that its answer is to have; false if there are too many already. Whatever is taken over
    /// is answered in the end, and be it by SERVFAIL.
    fn ask(&mut self, forward: Forward, token: u64) -> bool;

    /// What has been found for the next question, if there is one, and its number.
    fn poll(&mut self) -> Option<(u64, Found)>;

    /// From now on what is found ends the calling thread's naps, where another thread finds it.
    fn wakes_me(&self) {}
}

impl Forwarder for Resolver {
    fn ask(&mut self, forward: Forward, token: u64) -> bool {
        Resolver::ask(self, Box::new(forward), token)
    }

    fn poll(&mut self) -> Option<(u64, Found)> {
        self.answers().try_recv().ok()
    }

    fn wakes_me(&self) {
        self.waker().wakes_me();
    }
}
