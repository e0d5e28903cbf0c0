//! The arrays of records, and who may allocate from which part.
//!
//! A slab is cut into chunks. A worker leases chunks (never waiting for another) and is then the only one to allocate, free
//! and sweep the records in them; an emptied chunk goes back, so that one worker's sessions can use all of the slab.

use super::lease::Leases;
use super::memory::{Region, prefetch_at};
use super::record::Record;

/// Records in a chunk.
pub const CHUNK: usize = if cfg!(ces_loom) { 2 } else { 256 };
/// Empty chunks that a worker keeps for its next sessions.
const SPARE: usize = 2;
/// "No record".
const NONE: u16 = u16::MAX;

/// The shared array. Read by all; see [`Chunks`] for the rest.
pub struct Slab<R> {
    records: Region<R>,
    free: Leases,
}

impl<R: Record> Slab<R> {
    /// Room for at least `capacity` records, and a chunk more for each of `workers`, because each may have one open.
    pub fn new(capacity: usize, workers: usize) -> Self {
        let chunks = if capacity == 0 { 0 } else { capacity.div_ceil(CHUNK) + workers };
        let numbers: Vec<u32> = (0..chunks as u32).collect();
        Self { records: Region::new(chunks * CHUNK, |_| R::free()), free: Leases::new(&numbers) }
    }

    /// Records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none: this family is not in use.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it lies on reserved huge pages.
    pub fn is_huge(&self) -> bool {
        self.records.is_huge()
    }

    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&R> {
        self.records.get(index)
    }

    /// Fetches a record ahead of its use. Any number is safe to give: nothing is read.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        prefetch_at(self.records.as_ptr().wrapping_add(index));
    }

    /// All records, for management.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.records.iter()
    }
}

/// What a worker knows of a chunk that it has leased.
#[derive(Clone, Copy)]
struct Chunk {
    /// The first record of the free list, or [`NONE`].
    free: u16,
    /// Records from here on were never used since the lease.
    fresh: u16,
    live: u16,
    /// Place in `owned`, and in `open` where it has free records.
    at_owned: u32,
    at_open: u32,
}

const CLOSED: u32 = u32::MAX;

/// A worker's leased chunks of one slab: the only way to allocate from it. Preallocated; never grows.
pub struct Chunks {
    /// By chunk number; only those in `owned` mean anything.
    about: Vec<Chunk>,
    owned: Vec<u32>,
    /// Those of `owned` with a free record.
    open: Vec<u32>,
    empty: usize,
    /// Where the sweep goes on: (place in `owned`, record in the chunk).
    cursor: (usize, usize),
}

impl Chunks {
    /// None leased yet.
    pub fn new<R: Record>(slab: &Slab<R>) -> Self {
        let chunks = slab.len() / CHUNK;
        let none = Chunk { free: NONE, fresh: 0, live: 0, at_owned: 0, at_open: CLOSED };
        Self {
            about: vec![none; chunks],
            owned: Vec::with_capacity(chunks),
            open: Vec::with_capacity(chunks),
            empty: 0,
            cursor: (0, 0),
        }
    }

    /// Takes a free record, or `None` when the slab is full.
    pub fn allocate<R: Record>(&mut self, slab: &Slab<R>) -> Option<u32> {
        let number = match self.open.last() {
            Some(&n) => n,
            None => self.lease(slab)?,
        };
        let chunk = &mut self.about[number as usize];
        let base = number as usize * CHUNK;
        let record = if chunk.free != NONE {
            let r = chunk.free;
            chunk.free = slab.records[base + r as usize].common().next_free();
            r
        } else {
            chunk.fresh += 1;
            chunk.fresh - 1
        };
        self.empty -= usize::from(chunk.live == 0);
        chunk.live += 1;
        if chunk.live as usize == CHUNK {
            self.close(number);
        }
        Some(base as u32 + u32::from(record))
    }

    fn lease<R: Record>(&mut self, slab: &Slab<R>) -> Option<u32> {
        let number = slab.free.take()?;
        self.about[number as usize] =
            Chunk { free: NONE, fresh: 0, live: 0, at_owned: self.owned.len() as u32, at_open: CLOSED };
        self.owned.push(number);
        self.open_up(number);
        self.empty += 1;
        Some(number)
    }

    fn open_up(&mut self, number: u32) {
        self.about[number as usize].at_open = self.open.len() as u32;
        self.open.push(number);
    }

    fn close(&mut self, number: u32) {
        let at = std::mem::replace(&mut self.about[number as usize].at_open, CLOSED);
        self.open.swap_remove(at as usize);
        if let Some(&moved) = self.open.get(at as usize) {
            self.about[moved as usize].at_open = at;
        }
    }

    /// Gives a record back: one that this worker allocated, no longer in the index, all workers quiescent since.
    pub fn free<R: Record>(&mut self, slab: &Slab<R>, index: u32) {
        let (number, record) = (index / CHUNK as u32, (index as usize % CHUNK) as u16);
        let chunk = &mut self.about[number as usize];
        slab.records[index as usize].common().release(chunk.free);
        chunk.free = record;
        let was_full = chunk.live as usize == CHUNK;
        chunk.live -= 1;
        let now_empty = chunk.live == 0;
        if was_full {
            self.open_up(number);
        }
        if now_empty {
            self.empty += 1;
            if self.empty > SPARE {
                self.give_back(slab, number);
            }
        }
    }

    fn give_back<R: Record>(&mut self, slab: &Slab<R>, number: u32) {
        self.close(number);
        self.disown(self.about[number as usize].at_owned as usize);
        self.empty -= 1;
        slab.free.give(number);
    }

    /// Takes the chunk at a place out of `owned`. Where the sweep has been in its round stays in front of its cursor, and where it has not,
    /// behind: none is left out because others go.
    fn disown(&mut self, at: usize) {
        let (cursor, last) = (self.cursor.0, self.owned.len() - 1);
        let mut hole = at;
        if at < cursor {
            // The last that it has been in, the one that it is in, and the end: each moves up.
            self.put(hole, cursor - 1);
            hole = cursor - 1;
            if cursor <= last {
                self.put(hole, cursor);
                hole = cursor;
            }
            self.cursor.0 -= 1;
        } else if at == cursor {
            self.cursor.1 = 0;
        }
        if hole < last {
            self.put(hole, last);
        }
        self.owned.pop();
    }

    /// What `owned` has at `from` stands at `to` as well.
    fn put(&mut self, to: usize, from: usize) {
        let number = self.owned[from];
        self.owned[to] = number;
        self.about[number as usize].at_owned = to as u32;
    }

    /// Records in this worker's chunks: what a full sweep looks at.
    pub fn owned_records(&self) -> usize {
        self.owned.len() * CHUNK
    }

    /// Records allocated.
    pub fn live(&self) -> usize {
        self.owned.iter().map(|&n| self.about[n as usize].live as usize).sum()
    }

    /// The next stretch of at most `budget` records for the sweep: a range of record numbers within one chunk, going round
    /// all leased chunks in turn. Empty when nothing is leased.
    pub fn next_stretch(&mut self, budget: usize) -> std::ops::Range<usize> {
        if self.owned.is_empty() {
            return 0..0;
        }
        let (mut place, mut record) = self.cursor;
        if place >= self.owned.len() {
            (place, record) = (0, 0);
        }
        let number = self.owned[place] as usize;
        let used = self.about[number].fresh as usize;
        let end = used.min(record + budget);
        let range = number * CHUNK + record.min(end)..number * CHUNK + end;
        self.cursor = if end >= used { (place + 1, 0) } else { (place, end) };
        range
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;
    use crate::flow::record::Record4;
    use proptest::prelude::*;

    #[test]
    fn one_worker_can_use_all_of_it_after_another() {
        let slab = Slab::<Record4>::new(CHUNK * 8, 2);
        let (mut a, mut b) = (Chunks::new(&slab), Chunks::new(&slab));
        let all: Vec<u32> = std::iter::from_fn(|| a.allocate(&slab)).collect();
        assert_eq!(all.len(), CHUNK * 10);
        assert_eq!(b.allocate(&slab), None);
        all.iter().for_each(|&r| a.free(&slab, r));
        assert_eq!(a.live(), 0);
        let again = std::iter::from_fn(|| b.allocate(&slab)).count();
        assert_eq!(again, CHUNK * (10 - SPARE));
    }

    proptest! {
        /// What lives during a whole round of the sweep is seen in it once, whatever goes meanwhile, whole chunks too.
        #[test]
        fn a_round_leaves_nothing_out(
            gone in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..400), 1..40), stretch in 1..80usize
        ) {
            let slab = Slab::<Record4>::new(CHUNK * 12, 1);
            let mut chunks = Chunks::new(&slab);
            let mut held: Vec<u32> = std::iter::from_fn(|| chunks.allocate(&slab)).collect();
            let mut seen = std::collections::HashMap::<usize, u32>::new();
            let mut turns = gone.iter().cycle();
            while chunks.cursor.0 < chunks.owned.len() {
                chunks.next_stretch(stretch).for_each(|record| *seen.entry(record).or_default() += 1);
                for pick in turns.next().into_iter().flatten() {
                    if !held.is_empty() {
                        // Neighbours go together, so that chunks become empty.
                        let at = usize::from(*pick) % held.len() / 64 * 64;
                        let record = held.remove(at.min(held.len() - 1));
                        chunks.free(&slab, record);
                    }
                }
                for (place, number) in chunks.owned.iter().enumerate() {
                    prop_assert_eq!(chunks.about[*number as usize].at_owned as usize, place);
                }
            }
            for record in held {
                prop_assert_eq!(seen.get(&(record as usize)), Some(&1));
            }
        }

        /// Two workers, random allocate and free: no record is held twice, a full sweep sees each live record once.
        #[test]
        fn exclusive_and_swept(ops in prop::collection::vec((0usize..2, any::<bool>(), any::<u16>()), 1..3000)) {
            let slab = Slab::<Record4>::new(CHUNK * 4, 2);
            let mut chunks = [Chunks::new(&slab), Chunks::new(&slab)];
            let mut held: [Vec<u32>; 2] = Default::default();
            let mut all = std::collections::HashSet::new();
            for (w, allocate, pick) in ops {
                if allocate {
                    if let Some(r) = chunks[w].allocate(&slab) {
                        prop_assert!(all.insert(r), "held twice");
                        held[w].push(r);
                    }
                } else if !held[w].is_empty() {
                    let at = pick as usize % held[w].len();
                    let r = held[w].swap_remove(at);
                    all.remove(&r);
                    chunks[w].free(&slab, r);
                }
            }
            for w in 0..2 {
                prop_assert_eq!(chunks[w].live(), held[w].len());
                let mut seen = std::collections::HashMap::<usize, u32>::new();
                chunks[w].cursor = (0, 0);
                for _ in 0..chunks[w].owned.len() * CHUNK.div_ceil(100) + 1 {
                    for r in chunks[w].next_stretch(100) { *seen.entry(r).or_default() += 1; }
                    if chunks[w].cursor.0 >= chunks[w].owned.len() { break }
                }
                for r in &held[w] {
                    prop_assert_eq!(seen.get(&(*r as usize)), Some(&1));
                }
            }
        }
    }
}
