//! Which bytes of a datagram have been seen, and how they were cut.
//!
//! A bit for each unit of eight bytes, in which offsets count (RFC 791 section 3.1), and one for each unit that begins a
//! fragment: so overlaps and exact repetitions are told apart, and no number of fragments, in no order, takes more room.

use crate::packet::DropReason;

const WORDS: usize = 65_536 / 8 / 64;

/// See the module.
#[derive(Clone)]
pub struct Extent {
    seen: [u64; WORDS],
    starts: [u64; WORDS],
    /// Units seen.
    count: u32,
    /// Bytes of the whole payload, once the last fragment has been seen; 0 before.
    end: u32,
}

/// The words that hold the units from `from` up to `to`, each with the mask of those units in it.
fn words(from: u32, to: u32) -> impl Iterator<Item = (usize, u64)> {
    (from / 64..to.div_ceil(64)).map(move |word| {
        let low = from.saturating_sub(word * 64);
        let high = (to - word * 64).min(64);
        (word as usize, u64::MAX << low & u64::MAX >> (64 - high))
    })
}

fn any(bits: &[u64; WORDS], from: u32, to: u32) -> bool {
    words(from, to).any(|(word, mask)| bits[word] & mask != 0)
}

fn all(bits: &[u64; WORDS], from: u32, to: u32) -> bool {
    words(from, to).all(|(word, mask)| bits[word] & mask == mask)
}

const UNITS: u32 = WORDS as u32 * 64;

impl Extent {
    /// Nothing seen.
    pub const EMPTY: Extent = Extent { seen: [0; WORDS], starts: [0; WORDS], count: 0, end: 0 };

    /// Another fragment: `length` bytes, not 0, from `offset`, a multiple of eight; both together at most 65,535. With `more`
    /// to follow the length is a multiple of eight too.
    ///
    /// # Errors
    /// [`DropReason::Ipv4FragmentDuplicate`] for one that was taken before; [`DropReason::Ipv4FragmentOverlap`] for one that
    /// shares bytes with others, lies behind the datagram's end, or says that it ends elsewhere. Nothing has changed then.
    pub fn take(&mut self, offset: u16, length: u16, more: bool) -> Result<(), DropReason> {
        let end = u32::from(offset) + u32::from(length);
        let (from, to) = (u32::from(offset) / 8, end.div_ceil(8));
        if any(&self.seen, from, to) {
            let is_last = self.end != 0 && self.end.div_ceil(8) == to;
            let same = self.is_one(from, to)
                && (end, more) == if is_last { (self.end, false) } else { (to * 8, true) };
            return Err(if same {
                DropReason::Ipv4FragmentDuplicate
            } else {
                DropReason::Ipv4FragmentOverlap
            });
        }
        let contradicts =
            if more { self.end != 0 && end >= self.end } else { self.end != 0 || any(&self.seen, to, UNITS) };
        if contradicts {
            return Err(DropReason::Ipv4FragmentOverlap);
        }
        words(from, to).for_each(|(word, mask)| self.seen[word] |= mask);
        self.starts[from as usize / 64] |= 1 << (from % 64);
        self.count += to - from;
        if !more {
            self.end = end;
        }
        Ok(())
    }

    /// Whether one fragment has brought exactly these units.
    fn is_one(&self, from: u32, to: u32) -> bool {
        let ends_there = to == UNITS || !any(&self.seen, to, to + 1) || any(&self.starts, to, to + 1);
        any(&self.starts, from, from + 1)
            && !any(&self.starts, from + 1, to)
            && all(&self.seen, from, to)
            && ends_there
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.end != 0 && self.count == self.end.div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A naive oracle: the list of what was taken.
    fn naive(
        taken: &mut Vec<(u32, u32, bool)>,
        offset: u32,
        length: u32,
        more: bool,
    ) -> Result<(), DropReason> {
        let new = (offset, offset + length, more);
        if taken.contains(&new) {
            return Err(DropReason::Ipv4FragmentDuplicate);
        }
        let conflict = |&(from, to, other_more): &(u32, u32, bool)| {
            new.0 < to && from < new.1
                || !other_more && (new.1 >= to || !more)
                || !more && (to >= new.1 || !other_more)
        };
        if taken.iter().any(conflict) {
            return Err(DropReason::Ipv4FragmentOverlap);
        }
        taken.push(new);
        Ok(())
    }

    proptest! {
        /// Few places, so that every kind of conflict is met; at both ends of the longest datagram.
        #[test]
        fn like_a_list(
            base in prop::sample::select(vec![0u32, 61, 120, 8192 - 20 - 2]),
            pieces in prop::collection::vec((0u32..18, 1u32..4, 1u32..8, prop::bool::weighted(0.9)), 1..60),
        ) {
            let (mut extent, mut taken) = (Extent::EMPTY, vec![]);
            for (from, units, odd, more) in pieces {
                let length = if more { units * 8 } else { units * 8 - odd };
                let offset = (base + from) * 8;
                let found = extent.take(offset as u16, length as u16, more);
                prop_assert_eq!(found, naive(&mut taken, offset, length, more), "{:?}", (offset, length, more));
            }
            let covered: u32 = taken.iter().map(|(from, to, _)| to - from).sum();
            let end = taken.iter().find(|t| !t.2).map(|t| t.1);
            prop_assert_eq!(extent.is_complete(), end == Some(covered));
        }
    }

    /// The last fragment again, as if more were to follow: the same units, and not the same fragment.
    #[test]
    fn an_end_that_is_none() {
        let mut extent = Extent::EMPTY;
        assert_eq!(extent.take(128, 15, false), Ok(()));
        assert_eq!(extent.take(128, 15, false), Err(DropReason::Ipv4FragmentDuplicate));
        assert_eq!(extent.take(128, 16, true), Err(DropReason::Ipv4FragmentOverlap));
    }

    #[test]
    fn the_longest_datagram_in_the_smallest_pieces() {
        let mut extent = Extent::EMPTY;
        for unit in (0..8189u16).rev() {
            assert!(!extent.is_complete());
            assert_eq!(extent.take(unit * 8, 8, true), Ok(()));
        }
        assert_eq!(extent.take(8189 * 8, 3, false), Ok(()));
        assert!(extent.is_complete());
    }
}
