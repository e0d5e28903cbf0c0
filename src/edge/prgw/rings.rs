//! Doubly linked rings through the elements of a slab: each element is in one ring at most, and leaves it in constant time.
//!
//! Never: owns what it links, allocates after start.

use crate::flow::memory::Region;

/// The neighbours of an element, or the first and last element of a ring.
#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
}

/// See the module. The heads of the rings are numbered after the elements.
pub struct Rings {
    links: Region<Link>,
    elements: u32,
}

impl Rings {
    pub fn new(elements: usize, rings: usize) -> Self {
        let alone = |n: usize| Link { next: n as u32, previous: n as u32 };
        Self { links: Region::new(elements + rings, alone), elements: elements as u32 }
    }

    /// Links an element that is in no ring at the end of one.
    pub fn push(&mut self, ring: usize, element: u32) {
        debug_assert!(!self.is_linked(element));
        let head = self.elements + ring as u32;
        let last = self.links[head as usize].previous;
        self.links[element as usize] = Link { next: head, previous: last };
        self.links[last as usize].next = element;
        self.links[head as usize].previous = element;
    }

    /// Takes an element out of whatever ring it is in; nothing happens when it is in none.
    pub fn remove(&mut self, element: u32) {
        let Link { next, previous } = self.links[element as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
        self.links[element as usize] = Link { next: element, previous: element };
    }

    pub fn is_linked(&self, element: u32) -> bool {
        self.links[element as usize].next != element
    }

    pub fn first(&self, ring: usize) -> Option<u32> {
        self.after(self.elements + ring as u32)
    }

    /// The one after that element in its ring.
    pub fn after(&self, element: u32) -> Option<u32> {
        let next = self.links[element as usize].next;
        (next < self.elements).then_some(next)
    }

    /// The elements of a ring in the order in which they came.
    pub fn iter(&self, ring: usize) -> impl Iterator<Item = u32> {
        std::iter::successors(self.first(ring), |&element| self.after(element))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_and_go() {
        let mut rings = Rings::new(4, 2);
        for element in 0..4 {
            rings.push(usize::from(element == 2), element);
        }
        rings.remove(1);
        rings.remove(1);
        assert_eq!(rings.iter(0).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(rings.iter(1).collect::<Vec<_>>(), [2]);
        assert!(rings.is_linked(2) && !rings.is_linked(1));
        rings.remove(2);
        rings.push(0, 1);
        assert_eq!((rings.first(1), rings.iter(0).collect()), (None, vec![0, 3, 1]));
    }
}
