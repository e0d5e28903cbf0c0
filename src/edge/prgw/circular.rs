//! The circular pool as the DNS side sees it. Never: says how a reservation gets to the workers.

use super::{Decision, Question};

/// Who decides about questions, and lets time pass. One thread has it, and calls it with milliseconds that never go back.
pub trait CircularPool: Send {
    /// What workers bring ends the calling thread's naps from now on.
    fn wakes_me(&self) {}

    /// What becomes of a question. What is reserved is known to all workers when this returns: its answer may leave.
    fn question(&mut self, q: &Question, now_ms: u64) -> Decision;

    /// Lets time pass, and deals with what the workers have brought; returns how much that was. To be called in every round, and every
    /// few milliseconds at the least: what it takes is a client's set-up time.
    fn turn(&mut self, now_ms: u64) -> usize;
}
