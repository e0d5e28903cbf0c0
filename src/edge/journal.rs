//! What has changed lately, so that who keeps something of it looks at that alone.
//!
//! Guarantees: as many changes are kept as [`KEPT`] says; a reader that is further behind is told so. Never: knows who reads.

use std::collections::VecDeque;

/// How many are kept.
pub const KEPT: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Journal<T> {
    recent: VecDeque<T>,
    count: u64,
}

impl<T> Default for Journal<T> {
    fn default() -> Journal<T> {
        Journal { recent: VecDeque::new(), count: 0 }
    }
}

impl<T> Journal<T> {
    /// That has changed.
    pub fn push(&mut self, what: T) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(what);
        self.count += 1;
    }

    /// All changes that there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What has changed since there were so many changes; `None`: more than is kept.
    pub fn since(&self, count: u64) -> Option<impl Iterator<Item = &T>> {
        let missed = usize::try_from(self.count.saturating_sub(count)).ok()?;
        let known = self.recent.len().checked_sub(missed)?;
        Some(self.recent.range(known..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_hears_what_it_has_missed_or_that_it_was_too_much() {
        let mut journal = Journal::default();
        let since =
            |journal: &Journal<u64>, count| journal.since(count).map(|all| all.copied().collect::<Vec<_>>());
        assert_eq!(since(&journal, 0), Some(vec![]));
        (0..3).for_each(|what| journal.push(what));
        assert_eq!((since(&journal, 1), since(&journal, 3)), (Some(vec![1, 2]), Some(vec![])));
        (3..=KEPT as u64).for_each(|what| journal.push(what));
        assert_eq!(since(&journal, 0), None, "one more than is kept");
        assert_eq!(since(&journal, 1).map(|all| all.len()), Some(KEPT));
    }
}
