//! The seam to whoever asks other servers for names that are not ours. Never: waits.

use super::Forward;
use super::forward::Resolver;

/// Asks others. Called by the thread `ces-dns` alone, which is not to be made to wait.
pub trait Forwarder: Send {
    /// Takes a question over, under a number that its answer is to have; false if there are too many already. Whatever is taken over
    /// is answered in the end, and be it by SERVFAIL.
    fn ask(&mut self, forward: Forward, token: u64) -> bool;

    /// The next answer, if there is one: its question's number, and the whole message; no bytes where none fits what the asker allows.
    fn poll(&mut self) -> Option<(u64, Vec<u8>)>;
}

impl Forwarder for Resolver {
    fn ask(&mut self, forward: Forward, token: u64) -> bool {
        Resolver::ask(self, Box::new(forward), token)
    }

    fn poll(&mut self) -> Option<(u64, Vec<u8>)> {
        self.answers().try_recv().ok()
    }
}
