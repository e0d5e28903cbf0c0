//! Elements of a fixed number, taken and given back: private to a home, preallocated.

use super::pool::NONE;
use crate::flow::memory::Region;

/// Elements with a free list through one of their fields, which the caller reads and writes.
pub struct Store<T> {
    elements: Region<T>,
    /// The first free one that was used before, or [`NONE`].
    free: u32,
    /// Elements from here on were never used.
    fresh: u32,
}

impl<T: Copy + Default> Store<T> {
    pub fn new(capacity: usize) -> Self {
        Self { elements: Region::new(capacity, |_| T::default()), free: NONE, fresh: 0 }
    }

    /// Takes a free element; `link` reads its link.
    pub fn take(&mut self, link: impl Fn(&T) -> u32) -> Option<u32> {
        if self.free != NONE {
            let n = self.free;
            self.free = link(&self.elements[n as usize]);
            return Some(n);
        }
        let n = self.fresh;
        (n < self.elements.len() as u32).then(|| self.fresh += 1)?;
        Some(n)
    }

    /// Gives an element back; `set_link` writes its link.
    pub fn give(&mut self, n: u32, set_link: impl Fn(&mut T, u32)) {
        set_link(&mut self.elements[n as usize], self.free);
        self.free = n;
    }
}

impl<T> std::ops::Index<u32> for Store<T> {
    type Output = T;
    fn index(&self, n: u32) -> &T {
        &self.elements[n as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Store<T> {
    fn index_mut(&mut self, n: u32) -> &mut T {
        &mut self.elements[n as usize]
    }
}
