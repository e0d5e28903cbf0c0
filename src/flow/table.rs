//! The flow table of all workers: any worker looks up and forwards without a lock; a session's home alone creates and
//! removes it.
//!
//! Order of creation: both records, the answers' entry, the initiator's entry; the first packet is forwarded after that.
//! Removal reverses it, and the records are used again after every worker has been quiescent.

use super::hash::{Hash, HashKey, Hashed};
use super::index::{Index, Place, Ref};
use super::key::{Key4, Key6, Protocol};
use super::memory::{Region, prefetch};
use super::quiescence::Quiescence;
use super::record::{Action, Half, Record, Record4, Record6};
use super::slab::{Chunks, Slab};
use super::tcp::{self, Segment, Side, Window};
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Sessions that a worker may have removed and not yet reclaimed.
const RETIRED: usize = 4096;
/// Records that the sweep looks at before it removes what of them is over: as many as the first-level cache has room for,
/// with all that their removal touches.
pub const STRETCH: usize = 64;

/// How many records ahead of its use the sweep asks for one: some ten cycles each.
const SWEPT_AHEAD: usize = 32;

/// Why a session could not be made. Nothing of it is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No free record.
    Records,
    /// No room in the index for one of the two keys.
    Index,
}

/// A family of records and its table.
pub trait Family: Record {
    /// Its number in a [`Ref`].
    const TABLE: u8;
    #[doc(hidden)]
    fn slab(table: &FlowTable) -> &Slab<Self>;
    #[doc(hidden)]
    fn windows(table: &FlowTable) -> &Region<Window>;
    #[doc(hidden)]
    fn is_tcp(key: &Self::Key) -> bool;
    #[doc(hidden)]
    fn home(home: &mut FlowHome) -> (&FlowTable, &mut Chunks);
    #[doc(hidden)]
    fn chunks(home: &FlowHome) -> &Chunks;
}

impl Family for Record4 {
    const TABLE: u8 = 4;
    #[inline(always)]
    fn slab(table: &FlowTable) -> &Slab<Self> {
        &table.v4
    }
    #[inline(always)]
    fn windows(table: &FlowTable) -> &Region<Window> {
        &table.windows4
    }
    fn is_tcp(key: &Key4) -> bool {
        key.protocol() == Protocol::Tcp as u8
    }
    fn home(home: &mut FlowHome) -> (&FlowTable, &mut Chunks) {
        (&home.table, &mut home.chunks4)
    }
    fn chunks(home: &FlowHome) -> &Chunks {
        &home.chunks4
    }
}

impl Family for Record6 {
    const TABLE: u8 = 6;
    #[inline(always)]
    fn slab(table: &FlowTable) -> &Slab<Self> {
        &table.v6
    }
    #[inline(always)]
    fn windows(table: &FlowTable) -> &Region<Window> {
        &table.windows6
    }
    fn is_tcp(key: &Key6) -> bool {
        key.protocol() == Protocol::Tcp as u8
    }
    fn home(home: &mut FlowHome) -> (&FlowTable, &mut Chunks) {
        (&home.table, &mut home.chunks6)
    }
    fn chunks(home: &FlowHome) -> &Chunks {
        &home.chunks6
    }
}

/// The shared side. See the module.
pub struct FlowTable {
    hash: HashKey,
    index: Index,
    v4: Slab<Record4>,
    v6: Slab<Record6>,
    /// Each record's [`Window`], by its index.
    windows4: Region<Window>,
    windows6: Region<Window>,
    quiescence: Arc<Quiescence>,
}

/// What a look-up carries from one stage to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    pub hash: Hash,
    /// Of an entry with the right tag, its key not yet compared; nowhere before one is found.
    pub candidate: Place,
}

impl FlowTable {
    /// Room for `sessions4` IPv4 and `sessions6` IPv6 sessions, both directions of each.
    pub fn new(sessions4: usize, sessions6: usize, workers: usize, hash: HashKey) -> Self {
        let (v4, v6) = (Slab::new(sessions4 * 2, workers), Slab::new(sessions6 * 2, workers));
        Self {
            hash,
            index: Index::new((sessions4 + sessions6) * 2),
            windows4: Region::new(v4.len(), |_| Window::silent()),
            windows6: Region::new(v6.len(), |_| Window::silent()),
            v4,
            v6,
            quiescence: Arc::new(Quiescence::new(workers)),
        }
    }

    /// Sessions of both families that it was made for, at least.
    pub fn capacity(&self) -> usize {
        (self.v4.len() + self.v6.len()) / 2
    }

    /// Whether all of it lies on reserved huge pages.
    pub fn is_huge(&self) -> bool {
        let slabs_are =
            (self.v4.is_empty() || self.v4.is_huge()) && (self.v6.is_empty() || self.v6.is_huge());
        let windows_are = |windows: &Region<Window>| windows.is_empty() || windows.is_huge();
        self.index.is_huge() && slabs_are && windows_are(&self.windows4) && windows_are(&self.windows6)
    }

    /// Where workers report.
    pub fn quiescence(&self) -> &Arc<Quiescence> {
        &self.quiescence
    }

    /// First stage of a look-up: hash, and fetch the first bucket.
    #[inline(always)]
    pub fn begin<R: Family>(&self, key: &R::Key) -> Lookup {
        let hash = key.hash(&self.hash);
        self.index.prefetch(hash);
        Lookup { hash, candidate: Place::default() }
    }

    /// Asks for both places of a key, ahead of a session's creation.
    #[inline]
    pub fn foresee<R: Family>(&self, key: &R::Key) {
        let hash = key.hash(&self.hash);
        self.index.prefetch(hash);
        self.index.prefetch_second(hash);
        self.index.prefetch_overflow(hash);
    }

    /// Second stage: a candidate in the first bucket, its record fetched. Where there is none the second bucket is fetched:
    /// false, and [`Self::locate_second`] must follow.
    #[inline(always)]
    pub fn locate<R: Family>(&self, lookup: &mut Lookup) -> bool {
        match self.index.candidate_first(lookup.hash) {
            Some(place) => {
                R::slab(self).prefetch(place.within(R::TABLE));
                lookup.candidate = place;
                true
            }
            None => {
                self.index.prefetch_second(lookup.hash);
                false
            }
        }
    }

    /// Where the first bucket had none: a candidate in the second, its record fetched. False where there is none either.
    #[inline(always)]
    pub fn locate_second<R: Family>(&self, lookup: &mut Lookup) -> bool {
        let Some(place) = self.index.candidate_second(lookup.hash) else { return false };
        R::slab(self).prefetch(place.within(R::TABLE));
        lookup.candidate = place;
        true
    }

    /// Between them: the record of the candidate, which is on its way, whatever its key.
    #[inline(always)]
    pub fn candidate<R: Family>(&self, lookup: &Lookup) -> Option<&R> {
        R::slab(self).get(lookup.candidate.within(R::TABLE))
    }

    /// Last stage: the record of the candidate if it has this key.
    #[inline(always)]
    pub fn confirm<R: Family>(&self, lookup: &Lookup, key: &R::Key) -> Option<&R> {
        self.candidate::<R>(lookup).filter(|record| record.matches(key))
    }

    /// Beside [`Self::locate`], of a TCP segment: its half's window, fetched.
    #[inline(always)]
    pub fn prefetch_window<R: Family>(&self, place: Place) {
        if let Some(window) = R::windows(self).get(place.within(R::TABLE)) {
            prefetch(window);
        }
    }

    /// The window of the half that [`Self::confirm`] has found.
    #[inline(always)]
    pub fn window<R: Family>(&self, place: Place) -> Option<&Window> {
        R::windows(self).get(place.within(R::TABLE))
    }

    /// A TCP segment passes along `record`, where the fast way does not know it: what it changes, see [`tcp`]. True where it
    /// keeps the session alive.
    pub fn pass_segment<R: Family>(&self, record: &R, segment: &Segment) -> bool {
        let twin = record.common().twin();
        let Some(other) = self.get::<R>(twin) else { return false };
        let windows = R::windows(self);
        let own = windows.get(other.common().twin().index());
        let Some((own, others)) = own.zip(windows.get(twin.index())) else { return false };
        let sender = Side { about: record.common(), window: own };
        tcp::pass(sender, Side { about: other.common(), window: others }, segment)
    }

    /// A whole look-up: what [`Self::confirm`] may have missed (another entry with the same tag, or the overflow).
    pub fn find<R: Family>(&self, hash: Hash, key: &R::Key) -> Option<(Ref, &R)> {
        let r = self.index.find(hash, |r| {
            r.table() == R::TABLE && R::slab(self).get(r.index()).is_some_and(|rec| rec.matches(key))
        })?;
        R::slab(self).get(r.index()).map(|rec| (r, rec))
    }

    /// Hashes and looks up.
    pub fn lookup<R: Family>(&self, key: &R::Key) -> Option<(Ref, &R)> {
        self.find(key.hash(&self.hash), key)
    }

    /// The record behind a reference, if it still has that generation.
    pub fn get<R: Family>(&self, r: Ref) -> Option<&R> {
        let record = R::slab(self).get(r.index())?;
        (r.table() == R::TABLE && record.common().generation() == r.generation()).then_some(record)
    }

    /// The other half of a session.
    pub fn twin<R: Family>(&self, record: &R) -> Option<&R> {
        self.get(record.common().twin())
    }

    /// Gathers the sessions among these records of a home that `judge` calls over, and fetches the lines that their removal
    /// needs: so the waits for one overlap with those for the others.
    fn find_over<R: Family>(
        &self,
        records: Range<usize>,
        now: u32,
        judge: &mut impl Judge<R>,
        over: &mut ArrayVec<Over, STRETCH>,
    ) {
        for i in records {
            R::slab(self).prefetch(i + SWEPT_AHEAD);
            let Some(record) = R::slab(self).get(i) else { break };
            let common = record.common();
            if !common.action().is_initiator() || judge.is_young(record, now) {
                continue;
            }
            let Some(twin) = self.twin(record) else { continue };
            if judge.is_over(record, twin, now) {
                let hashes = [record.key().hash(&self.hash), twin.key().hash(&self.hash)];
                for hash in hashes {
                    self.index.prefetch(hash);
                    self.index.prefetch_second(hash);
                }
                let initiator = Ref::new(R::TABLE, i as u32, common.generation());
                over.push(Over { initiator, other: common.twin(), hashes });
            }
        }
    }

    /// Every session, as (initiator's half, other half), for management: a session that comes or goes meanwhile may be
    /// missed, or seen with counters of its successor.
    pub fn sessions<'a, R: Family + 'a>(&'a self) -> impl Iterator<Item = (&'a R, &'a R)> {
        R::slab(self)
            .iter()
            .filter(|r| r.common().action().is_initiator())
            .filter_map(|r| self.twin(r).map(|t| (r, t)))
    }
}

/// Steps of [`Judge::approach`].
pub const STEPS: usize = 3;

/// What decides about a session during the sweep, and hears of its removal: the NAT for IPv4, the firewall for IPv6.
pub trait Judge<R> {
    /// Whether the initiator's half alone shows that the session is not over: most are not, and are passed over so.
    fn is_young(&self, _initiator: &R, _now: u32) -> bool {
        false
    }
    /// Whether the session has been idle for too long. `initiator` and `other` are its halves, `now` wrapping milliseconds.
    /// Home may take notice of how the session stands.
    fn is_over(&mut self, initiator: &R, other: &R, now: u32) -> bool;
    /// Asks for what [`Self::removed`] will touch of this session, ahead of it: called with each step of [`STEPS`] in turn, for
    /// all sessions of a stretch before the next step, so that what one step asks for is there in the next.
    fn approach(&self, _step: usize, _initiator: &R, _other: &R) {}
    /// It has left the index: release what it held.
    fn removed(&mut self, initiator: &R, other: &R);
}

/// A session whose time is over, on its way out: what removes it is being fetched.
struct Over {
    initiator: Ref,
    other: Ref,
    hashes: [Hash; 2],
}

/// The home side: the one worker that creates, sweeps and removes the sessions made through it.
pub struct FlowHome {
    table: Arc<FlowTable>,
    chunks4: Chunks,
    chunks6: Chunks,
    /// Removed halves, oldest first, two a session.
    retired: VecDeque<Ref>,
    /// (epoch that must be reached, halves of `retired` that wait for it), oldest first.
    batches: VecDeque<(u64, usize)>,
}

impl FlowHome {
    /// A home without sessions.
    pub fn new(table: Arc<FlowTable>) -> Self {
        Self {
            chunks4: Chunks::new(&table.v4),
            chunks6: Chunks::new(&table.v6),
            retired: VecDeque::with_capacity(2 * RETIRED),
            batches: VecDeque::with_capacity(2 * RETIRED),
            table,
        }
    }

    /// The shared side.
    pub fn table(&self) -> &Arc<FlowTable> {
        &self.table
    }

    /// Makes a session. Its keys are not in the index yet: the caller, the home of both, has looked.
    ///
    /// # Errors
    /// [`Full`]; nothing is left behind.
    pub fn create<R: Family>(
        &mut self,
        initiator: &Half<R::Key, R::Rewrite>,
        other: &Half<R::Key, R::Rewrite>,
        now: u32,
    ) -> Result<Ref, Full> {
        // Should it come to nothing after others may have seen it, it needs a place among the retired.
        if !self.may_retire() {
            self.reclaim();
            if !self.may_retire() {
                return Err(Full::Records);
            }
        }
        let (table, chunks) = R::home(self);
        let slab = R::slab(table);
        let (hash_a, hash_b) = (initiator.key.hash(&table.hash), other.key.hash(&table.hash));
        // The initiator's was looked at just now; this one comes while the records are written.
        table.index.prefetch(hash_b);
        let a = chunks.allocate(slab).ok_or(Full::Records)?;
        let Some(b) = chunks.allocate(slab) else {
            chunks.free(slab, a);
            return Err(Full::Records);
        };
        let record = |i: u32| slab.get(i as usize).expect("allocated from this slab");
        let (ra, rb) = (record(a), record(b));
        if R::is_tcp(&initiator.key) {
            [a, b].iter().filter_map(|&i| R::windows(table).get(i as usize)).for_each(Window::clear);
        }
        let generation = ra.common().generation().max(rb.common().generation()).wrapping_add(1);
        let (ref_a, ref_b) = (Ref::new(R::TABLE, a, generation), Ref::new(R::TABLE, b, generation));
        ra.write(initiator, ref_b, generation, now);
        ra.common().set(Action::INITIATOR);
        rb.write(other, ref_a, generation, now);
        let published = table.index.insert(hash_b, ref_b).is_ok();
        if published && table.index.insert(hash_a, ref_a).is_ok() {
            return Ok(ref_a);
        }
        if published {
            // Others may have found the answers' entry meanwhile: its records wait for quiescence like any.
            table.index.remove(hash_b, ref_b);
            ra.common().retire();
            self.retire(ref_a, ref_b);
            self.seal();
        } else {
            chunks.free(slab, a);
            chunks.free(slab, b);
        }
        Err(Full::Index)
    }

    /// Takes a session of this home out of the index, given its initiator's half. Its records follow after quiescence.
    /// False when that reference is no longer valid.
    pub fn remove<R: Family>(&mut self, initiator: Ref) -> bool {
        let (table, _) = R::home(self);
        let Some((twin, keys)) = table.get::<R>(initiator).and_then(|a| {
            let twin = a.common().twin();
            table.get::<R>(twin).map(|b| (twin, (a.key(), b.key())))
        }) else {
            return false;
        };
        let removed = table.index.remove(keys.0.hash(&table.hash), initiator);
        table.index.remove(keys.1.hash(&table.hash), twin);
        if removed {
            if let Some(record) = table.get::<R>(initiator) {
                record.common().retire();
            }
            self.retire(initiator, twin);
        }
        removed
    }

    /// Whether [`Self::remove`] may be called: what it removes needs a place to wait for quiescence.
    pub fn may_remove(&mut self) -> bool {
        self.reclaim();
        self.may_retire()
    }

    fn may_retire(&self) -> bool {
        self.retired.len() + 2 <= 2 * RETIRED
    }

    fn retire(&mut self, a: Ref, b: Ref) {
        self.retired.push_back(a);
        self.retired.push_back(b);
    }

    /// Closes the batch of what was retired since the last one.
    fn seal(&mut self) {
        let waiting: usize = self.batches.iter().map(|b| b.1).sum();
        if self.retired.len() > waiting {
            self.batches.push_back((self.table.quiescence.retire(), self.retired.len() - waiting));
        }
    }

    /// Frees the records of batches whose grace has passed.
    pub fn reclaim(&mut self) {
        while let Some(&(epoch, halves)) = self.batches.front()
            && self.table.quiescence.reached(epoch)
        {
            self.batches.pop_front();
            for _ in 0..halves {
                let Some(r) = self.retired.pop_front() else { break };
                if r.table() == Record4::TABLE {
                    self.chunks4.free(&self.table.v4, r.index() as u32);
                } else {
                    self.chunks6.free(&self.table.v6, r.index() as u32);
                }
            }
        }
    }

    /// Looks at up to `budget` of this home's records of one family and removes the sessions that `judge` calls over. Call it
    /// a little at a time; [`Self::owned_records_of`] tells what a full round is. Returns the number of sessions removed.
    pub fn sweep<R: Family>(&mut self, budget: usize, now: u32, judge: &mut impl Judge<R>) -> usize {
        self.reclaim();
        let table = self.table.clone();
        let (mut over, mut removed, mut budget) = (ArrayVec::new(), 0, budget);
        // A removal needs a place among the retired: without one for all of a stretch the sweep goes on later.
        while budget > 0 && self.retired.len() + 2 * STRETCH <= 2 * RETIRED {
            let stretch = R::home(self).1.next_stretch(budget.min(STRETCH));
            // A stretch may be empty: it counts too, so that this ends.
            budget -= stretch.len().max(1);
            table.find_over(stretch, now, judge, &mut over);
            for step in 0..STEPS {
                for Over { initiator, other, .. } in &over {
                    if let (Some(a), Some(b)) = (table.get::<R>(*initiator), table.get::<R>(*other)) {
                        judge.approach(step, a, b);
                    }
                }
            }
            for session in over.drain(..) {
                removed += usize::from(self.remove_over(&table, &session, judge));
            }
        }
        if removed > 0 {
            self.seal();
        }
        removed
    }

    /// Takes a session that the sweep has found over out of the index.
    fn remove_over<R: Family>(&mut self, table: &FlowTable, over: &Over, judge: &mut impl Judge<R>) -> bool {
        let (Some(a), Some(b)) = (table.get::<R>(over.initiator), table.get::<R>(over.other)) else {
            return false;
        };
        if !table.index.remove(over.hashes[0], over.initiator) {
            return false;
        }
        table.index.remove(over.hashes[1], over.other);
        a.common().retire();
        self.retire(over.initiator, over.other);
        judge.removed(a, b);
        true
    }

    /// What a full round of [`Self::sweep`] looks at, for one family.
    pub fn owned_records_of<R: Family>(&self) -> usize {
        R::chunks(self).owned_records()
    }

    /// What a full round of [`Self::sweep`] looks at, for both families together.
    pub fn owned_records(&self) -> usize {
        self.owned_records_of::<Record4>() + self.owned_records_of::<Record6>()
    }

    /// Records in use, retired ones included.
    pub fn live_records(&self) -> usize {
        self.chunks4.live() + self.chunks6.live()
    }
}

#[cfg(all(test, not(ces_loom)))]
#[path = "table_tests.rs"]
mod tests;

#[cfg(all(test, ces_loom))]
#[path = "table_loom.rs"]
mod loom_models;
