//! Addresses by number: ranges, in ascending order, counted through from 0.
//!
//! Guarantees: a look-up takes a step for each doubling of the ranges. Never: changes.

use std::net::Ipv4Addr;

/// An inclusive range of addresses, and the number of its first.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    last: u32,
    number: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Ranges {
    /// Ascending and disjoint.
    spans: Box<[Span]>,
    count: u32,
}

impl Ranges {
    /// Of these inclusive ranges, which are disjoint.
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr)]) -> Self {
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        let mut count = 0;
        let span = |(first, last): (Ipv4Addr, Ipv4Addr)| {
            let span = Span { first: first.into(), last: last.into(), number: count };
            count += span.last - span.first + 1;
            span
        };
        let spans = ranges.into_iter().map(span).collect();
        Self { spans, count }
    }

    /// How many addresses there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of an address, if it is one of them.
    #[inline]
    pub fn number(&self, address: Ipv4Addr) -> Option<u32> {
        let a = u32::from(address);
        let span = self.spans.get(self.spans.partition_point(|span| span.last < a))?;
        (span.first <= a).then(|| span.number + (a - span.first))
    }

    /// The address of that number.
    pub fn address(&self, number: u32) -> Option<Ipv4Addr> {
        let at = self.spans.partition_point(|span| span.number <= number);
        let span = self.spans.get(at.checked_sub(1)?).filter(|_| number < self.count)?;
        Some(Ipv4Addr::from(span.first + (number - span.number)))
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, last)
    }

    #[test]
    fn numbers_and_addresses_are_each_others() {
        let ranges =
            Ranges::new(&[(address(40), address(40)), (address(8), address(15)), (address(16), address(17))]);
        let expected: Vec<u8> = (8..=17).chain([40]).collect();
        assert_eq!(ranges.count(), 11);
        for last in 0..=255 {
            let number = expected.iter().position(|own| *own == last).map(|n| n as u32);
            assert_eq!(ranges.number(address(last)), number, "{last}");
            assert_eq!(number.and_then(|n| ranges.address(n)), number.map(|_| address(last)));
        }
        assert_eq!((ranges.address(11), ranges.address(u32::MAX)), (None, None));
    }
}
