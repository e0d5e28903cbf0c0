//! When something is due: a heap of deadlines, at most one for each number.
//!
//! Guarantees: setting, moving and taking out cost the logarithm of how many there are; there is room for every number from the
//! start. Never: reads a clock.

/// No place in the heap.
const NOWHERE: u32 = u32::MAX;

/// See the module.
pub struct Deadlines {
    /// A binary heap of (milliseconds, number).
    heap: Vec<(u64, u32)>,
    /// Where in the heap a number is.
    places: Vec<u32>,
}

impl Deadlines {
    /// For the numbers under `capacity`.
    pub fn new(capacity: usize) -> Deadlines {
        Deadlines { heap: Vec::with_capacity(capacity), places: vec![NOWHERE; capacity] }
    }

    /// Sets, or moves, the deadline of a number.
    pub fn set(&mut self, number: u32, at: u64) {
        let place = self.places[number as usize];
        let place = if place == NOWHERE {
            self.heap.push((at, number));
            self.heap.len() - 1
        } else {
            self.heap[place as usize].0 = at;
            place as usize
        };
        let place = self.rise(place);
        self.sink(place);
    }

    /// Takes it away.
    pub fn clear(&mut self, number: u32) {
        let place = std::mem::replace(&mut self.places[number as usize], NOWHERE);
        if place == NOWHERE {
            return;
        }
        let last = self.heap.len() - 1;
        self.heap.swap(place as usize, last);
        self.heap.pop();
        if (place as usize) < last {
            let place = self.rise(place as usize);
            self.sink(place);
        }
    }

    /// The earliest, in milliseconds.
    pub fn next(&self) -> Option<u64> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes out a number that is due.
    pub fn due(&mut self, now: u64) -> Option<u32> {
        let (at, number) = *self.heap.first()?;
        (at <= now).then(|| {
            self.clear(number);
            number
        })
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.heap.swap(place, (place - 1) / 2);
            self.note(place);
            place = (place - 1) / 2;
        }
        self.note(place);
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.heap.swap(place, least);
            self.note(place);
            self.note(least);
            place = least;
        }
    }

    fn note(&mut self, place: usize) {
        self.places[self.heap[place].1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list that is looked through.
        #[test]
        fn like_a_list(steps in prop::collection::vec((0..20u32, prop::option::of(0..50u64), 0..60u64), 1..200)) {
            let mut deadlines = Deadlines::new(20);
            let mut list: Vec<Option<u64>> = vec![None; 20];
            for (number, at, now) in steps {
                list[number as usize] = at;
                match at {
                    Some(at) => deadlines.set(number, at),
                    None => deadlines.clear(number),
                }
                prop_assert_eq!(deadlines.next(), list.iter().flatten().min().copied());
                let due = deadlines.due(now);
                prop_assert_eq!(due.and_then(|number| list[number as usize]), list.iter().flatten().min().copied().filter(|at| *at <= now));
                if let Some(number) = due {
                    list[number as usize] = None;
                }
            }
        }
    }
}
