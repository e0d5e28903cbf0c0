//! The circular pool as the DNS side sees it. Never: says how a reservation gets to the workers.

use super::{Decision, Question};

/// Who decides about questions, and lets time pass. One thread calls it, with milliseconds that never go back.
pub trait CircularPool: Send {
    /// Decides a question. What is reserved is known to all workers when this returns: its answer may leave.
    fn question(&mut self, q: &Question, now_ms: u64) -> Decision;

    /// Does what else is due; returns how much there was, 0 for nothing. Called in every round.
    fn turn(&mut self, now_ms: u64) -> usize;
}
