//! Which numbers of a key's messages have come: each counts once, in whatever order they come (RFC 6479).
//!
//! Guarantees: constant time, 144 bytes. Never: takes a number that lies more than [`WIDTH`] behind the highest.

/// Numbers behind the highest that may still come.
pub const WIDTH: u64 = 64 * (WORDS - 1);
const WORDS: u64 = 17;

/// See the module.
#[derive(Clone, Default)]
pub struct Window {
    highest: u64,
    /// A ring of bits; a word is emptied when the highest number enters it.
    seen: [u64; WORDS as usize],
}

impl Window {
    fn place(number: u64) -> (usize, u64) {
        ((number / 64 % WORDS) as usize, 1 << (number % 64))
    }

    /// Whether it may still come: asked before a MAC is spent on it. Number 0 is never one.
    pub fn is_open(&self, number: u64) -> bool {
        let (word, bit) = Window::place(number);
        number > self.highest || number > 0 && self.highest - number < WIDTH && self.seen[word] & bit == 0
    }

    /// It has come, and its MAC was right.
    pub fn close(&mut self, number: u64) {
        if number > self.highest {
            let (from, to) = (self.highest / 64, number / 64);
            for word in (from + 1..=to).take(WORDS as usize) {
                self.seen[(word % WORDS) as usize] = 0;
            }
            if to - from > WORDS {
                self.seen = [0; WORDS as usize];
            }
            self.highest = number;
        }
        let (word, bit) = Window::place(number);
        self.seen[word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// Against a set.
        #[test]
        fn each_number_once(steps in prop::collection::vec((0..4u8, 0..3000u64), 1..400)) {
            let mut window = Window::default();
            let (mut seen, mut highest) = (HashSet::new(), 0u64);
            for (kind, step) in steps {
                let number = match kind {
                    0 => highest + step % 3,
                    1 => highest + step,
                    2 => highest.saturating_sub(step % 70),
                    _ => highest.saturating_sub(step),
                };
                let is_open = number > 0 && !seen.contains(&number) && number + WIDTH > highest;
                prop_assert_eq!(window.is_open(number), is_open, "{} after {}", number, highest);
                if is_open {
                    window.close(number);
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
