//! Virtual reassembly: which fragments belong together, and by which ports they are translated (RFC 4787 REQ-14).
//!
//! Fragments stay as they are. Only a datagram's first one shows ports; once it has been seen, all others go on at once, and
//! those that came before it follow it. The table hands out *places* for what must wait: who calls keeps the packets.
//!
//! What it guarantees:
//! - Fragments in order hold nothing, and no flood of others takes their room (REQ-14a): of the two kinds of datagrams, those
//!   that wait for their first fragment and those that don't, the more numerous gives way, its oldest first. One source
//!   (as the packets say) has so many datagrams and places at most, and then its own oldest give way.
//! - No byte of a datagram goes on twice: an overlap (RFC 1858 section 4, RFC 5722) spoils what is left of its datagram; an
//!   exact repetition is refused alone. A first fragment that was refused spoils its datagram, too.
//! - Whatever is kept is given up when it has waited for `lifetime`, or been followed for as long after its first fragment.
//!   Who has seen all of a datagram forgets it: its identification may come again (RFC 6864 section 4.2).
//! - Everything is preallocated. What is held leaves by [`Datagrams::next_loose`], with its fate.
//!
//! What it never does: put packets together, touch one, read a clock.
//!
//! | file | what it is |
//! |---|---|
//! | [`extent`] | which bytes of a datagram were seen |
//! | [`ages`] | datagrams in the order in which they are given up |
//! | [`identification`] | fresh identifications for what leaves in fragments |

pub mod ages;
pub mod extent;
pub mod identification;

use super::id_map::IdMap;
use crate::flow::hash::Hashed;
use crate::flow::key::ports;
use crate::flow::memory::Region;
use crate::flow::{HashKey, Key4, Realm};
use crate::packet::{self, DropReason, Ipv4};
use ages::{Link, Linked, List, NONE};
use extent::Extent;
pub use identification::Identifications;

/// A fragment, as its IPv4 header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its datagram: realm, addresses and protocol, with the identification for a source port.
    pub datagram: Key4,
    offset: u16,
    length: u16,
    more: bool,
}

impl Fragment {
    /// # Errors
    /// [`DropReason::Ipv4FragmentInvalid`], [`DropReason::Ipv4FragmentTooLong`], [`DropReason::Ipv4FragmentTiny`]: no fragment
    /// that anybody should see.
    pub fn of(ip: &Ipv4<'_>, realm: Realm) -> Result<Self, DropReason> {
        let protocol = ip.protocol();
        let (offset, more) = (ip.fragment_offset(), ip.more_fragments());
        let length = usize::from(ip.total_length()) - ip.header_length();
        if length == 0 || more && !length.is_multiple_of(8) {
            return Err(DropReason::Ipv4FragmentInvalid);
        }
        if ip.header_length() + usize::from(offset) + length > usize::from(u16::MAX) {
            return Err(DropReason::Ipv4FragmentTooLong);
        }
        // RFC 3128: it would lie over the flags of the first.
        if protocol == packet::Protocol::TCP && offset == 8 {
            return Err(DropReason::Ipv4FragmentTiny);
        }
        let ends = (ip.source(), ip.destination());
        let datagram = Key4::of_any_protocol(realm, protocol.0, ends, ports(ip.identification(), 0));
        Ok(Self { datagram, offset, length: length as u16, more })
    }

    /// Whether it has the transport header.
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }
}

/// What a datagram's first fragment has told, for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// Source and destination port as in [`Key4::from_words`]; the identifier of an echo, twice; 0 of what has none.
    pub ports: u32,
    /// What they are to leave with.
    pub identification: u16,
}

/// What to do with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It goes on.
    Forward(Head),
    /// Keep it at this place, until [`Datagrams::next_loose`] names that.
    Hold(u32),
}

/// What has become of a fragment that was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Forward(Head),
    Drop(DropReason),
}

/// How much there may be at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams that are followed, at least 1; and those of one source.
    pub datagrams: u32,
    pub datagrams_of_one: u32,
    /// Fragments held, at least 1; and those of one source.
    pub held: u32,
    pub held_of_one: u32,
    /// Milliseconds.
    pub lifetime: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its first fragment has not been seen, all others are held: at least one.
    Waiting,
    Known(Head),
    /// Nothing of it goes on any more.
    Spoilt(DropReason),
}

/// The two kinds of datagrams, by which they lie in lists.
const WAITING: usize = 0;
const SETTLED: usize = 1;

/// Links of a datagram: in the list of all of its kind, and in that of its source's.
const OF_ALL: usize = 0;
const OF_SOURCE: usize = 1;

struct Datagram {
    key: Key4,
    state: State,
    /// When it came into its list.
    since: u32,
    source: u32,
    links: [Link; 2],
    /// What it holds, in the order of arrival, by place.
    first_held: u32,
    last_held: u32,
    held: u32,
}

impl Datagram {
    fn kind(&self) -> usize {
        if self.state == State::Waiting { WAITING } else { SETTLED }
    }
}

impl Linked for Datagram {
    fn link(&mut self, which: usize) -> &mut Link {
        &mut self.links[which]
    }
}

/// Who sends fragments: an address in a realm.
#[derive(Clone, Copy)]
struct Source {
    key: Key4,
    held: u32,
    kinds: [List; 2],
}

struct Place {
    after: u32,
    fate: Fate,
}

/// Free numbers of an array, all of them at first.
struct Free(Vec<u32>);

impl Free {
    fn new(count: u32) -> Self {
        Self((0..count).rev().collect())
    }
}

/// The datagrams whose fragments one worker follows. See the module.
pub struct Datagrams {
    limits: Limits,
    hash: HashKey,
    datagrams: Region<Datagram>,
    /// By the same number.
    extents: Region<Extent>,
    free_datagrams: Free,
    by_key: IdMap,
    sources: Region<Source>,
    free_sources: Free,
    by_source: IdMap,
    kinds: [List; 2],
    places: Region<Place>,
    free_places: Free,
    first_loose: u32,
    last_loose: u32,
}

fn hash(key: &HashKey, of: &Key4) -> u32 {
    of.hash(key).buckets as u32
}

/// The key of a datagram's source.
fn source_of(datagram: &Key4) -> Key4 {
    let [a, b, c, d] = datagram.source().octets();
    Key4::from_wire([a, b, c, d, 0, 0, 0, 0], [0; 4], datagram.realm(), 0)
}

impl Datagrams {
    pub fn new(limits: Limits, hash: HashKey) -> Self {
        let Limits { datagrams, held, .. } = limits;
        assert!(datagrams > 0 && held > 0);
        let nobody = Key4::default();
        Self {
            limits,
            hash,
            datagrams: Region::new(datagrams as usize, |_| Datagram {
                key: nobody,
                state: State::Waiting,
                since: 0,
                source: NONE,
                links: [Link::NONE; 2],
                first_held: NONE,
                last_held: NONE,
                held: 0,
            }),
            extents: Region::new(datagrams as usize, |_| Extent::EMPTY),
            free_datagrams: Free::new(datagrams),
            by_key: IdMap::new(datagrams as usize),
            sources: Region::new(datagrams as usize, |_| Source {
                key: nobody,
                held: 0,
                kinds: [List::EMPTY; 2],
            }),
            free_sources: Free::new(datagrams),
            by_source: IdMap::new(datagrams as usize),
            kinds: [List::EMPTY; 2],
            places: Region::new(held as usize, |_| Place {
                after: NONE,
                fate: Fate::Drop(DropReason::Shutdown),
            }),
            free_places: Free::new(held),
            first_loose: NONE,
            last_loose: NONE,
        }
    }

    /// Datagrams that are followed.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A fragment has come. Of a first one `head` says what its transport header tells, or why it is refused. What was held may
    /// be loose afterwards, and is to be taken by [`Datagrams::next_loose`] before the next call, but after this fragment has
    /// gone where it is told to.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn see(
        &mut self,
        fragment: &Fragment,
        head: Option<Result<Head, DropReason>>,
        now: u32,
    ) -> Result<Seen, DropReason> {
        let n = match self.find(&fragment.datagram) {
            Some(n) => n,
            None => self.enter(&fragment.datagram, now),
        };
        if let State::Spoilt(why) = self.datagrams[n as usize].state {
            return Err(why);
        }
        if let Some(Err(why)) = head {
            return Err(self.spoil(n, why, now));
        }
        let Fragment { offset, length, more, .. } = *fragment;
        match self.extents[n as usize].take(offset, length, more) {
            Ok(()) => {}
            Err(why @ DropReason::Ipv4FragmentOverlap) => return Err(self.spoil(n, why, now)),
            Err(why) => return Err(why),
        }
        if let Some(Ok(head)) = head {
            self.settle(n, State::Known(head), Fate::Forward(head), now);
        }
        let State::Known(head) = self.datagrams[n as usize].state else {
            // What can't be held leaves a gap for good.
            return self.hold(n).map_err(|why| self.spoil(n, why, now));
        };
        if self.extents[n as usize].is_complete() {
            self.leave(n);
        }
        Ok(Seen::Forward(head))
    }

    /// The next of those that are held no longer: its place, which is free from now on.
    pub fn next_loose(&mut self) -> Option<(u32, Fate)> {
        let place = self.first_loose;
        let Place { after, fate } = *self.places.get(place as usize)?;
        self.first_loose = after;
        if after == NONE {
            self.last_loose = NONE;
        }
        self.free_places.0.push(place);
        Some((place, fate))
    }

    /// Gives up datagrams whose time is over, `most` of each kind.
    pub fn expire(&mut self, most: usize, now: u32) {
        for kind in [WAITING, SETTLED] {
            for _ in 0..most {
                let oldest = self.kinds[kind].first;
                let Some(datagram) = self.datagrams.get(oldest as usize) else { break };
                if now.wrapping_sub(datagram.since) < self.limits.lifetime {
                    break;
                }
                self.give_up(oldest, DropReason::Ipv4FragmentTimeout);
            }
        }
    }

    /// Gives up everything, held packets by this name.
    pub fn clear(&mut self, why: DropReason) {
        for kind in [WAITING, SETTLED] {
            while self.kinds[kind].first != NONE {
                self.give_up(self.kinds[kind].first, why);
            }
        }
    }

    fn find(&self, key: &Key4) -> Option<u32> {
        self.by_key.find(hash(&self.hash, key), |n| self.datagrams[n as usize].key == *key)
    }

    fn find_source(&self, key: &Key4) -> Option<u32> {
        self.by_source.find(hash(&self.hash, key), |n| self.sources[n as usize].key == *key)
    }

    /// Makes a datagram that nothing is known of yet; others give way if they must.
    fn enter(&mut self, key: &Key4, now: u32) -> u32 {
        let from = source_of(key);
        if let Some(source) = self.find_source(&from) {
            let kinds = self.sources[source as usize].kinds;
            if kinds[WAITING].length + kinds[SETTLED].length >= self.limits.datagrams_of_one {
                self.give_up(next_to_go(&kinds), DropReason::Ipv4FragmentSourceLimit);
            }
        }
        if self.free_datagrams.0.is_empty() {
            self.give_up(next_to_go(&self.kinds), DropReason::Ipv4FragmentsFull);
        }
        // Its source may have gone with its last datagram.
        let source = self.find_source(&from).unwrap_or_else(|| self.enter_source(&from));
        let n = self.free_datagrams.0.pop().expect("one has given way");
        self.by_key.insert(hash(&self.hash, key), n);
        self.extents[n as usize].clone_from(&Extent::EMPTY);
        let datagram = &mut self.datagrams[n as usize];
        (datagram.key, datagram.state, datagram.source) = (*key, State::Waiting, source);
        self.link(n, now);
        n
    }

    fn enter_source(&mut self, key: &Key4) -> u32 {
        let n = self.free_sources.0.pop().expect("as many as datagrams");
        self.by_source.insert(hash(&self.hash, key), n);
        self.sources[n as usize] = Source { key: *key, held: 0, kinds: [List::EMPTY; 2] };
        n
    }

    /// Puts a datagram at the young end of its lists.
    fn link(&mut self, n: u32, now: u32) {
        let datagram = &mut self.datagrams[n as usize];
        datagram.since = now;
        let (kind, source) = (datagram.kind(), datagram.source);
        ages::append(&mut self.kinds[kind], &mut self.datagrams, OF_ALL, n);
        let list = &mut self.sources[source as usize].kinds[kind];
        ages::append(list, &mut self.datagrams, OF_SOURCE, n);
    }

    fn unlink(&mut self, n: u32) {
        let datagram = &self.datagrams[n as usize];
        let (kind, source) = (datagram.kind(), datagram.source);
        ages::remove(&mut self.kinds[kind], &mut self.datagrams, OF_ALL, n);
        let list = &mut self.sources[source as usize].kinds[kind];
        ages::remove(list, &mut self.datagrams, OF_SOURCE, n);
    }

    /// From now on it is known what becomes of a datagram's fragments: of those that are held, too.
    fn settle(&mut self, n: u32, state: State, fate: Fate, now: u32) {
        self.loosen(n, fate);
        self.unlink(n);
        self.datagrams[n as usize].state = state;
        self.link(n, now);
    }

    fn spoil(&mut self, n: u32, why: DropReason, now: u32) -> DropReason {
        self.settle(n, State::Spoilt(why), Fate::Drop(why), now);
        why
    }

    /// A place for a fragment of a waiting datagram. There is one: when the last is taken, the oldest waiting datagram goes.
    fn hold(&mut self, n: u32) -> Result<Seen, DropReason> {
        let source = self.datagrams[n as usize].source;
        if self.sources[source as usize].held >= self.limits.held_of_one {
            let mut oldest = self.sources[source as usize].kinds[WAITING].first;
            if oldest == n {
                oldest = ages::after(&mut self.datagrams, OF_SOURCE, n);
            }
            if oldest == NONE {
                return Err(DropReason::Ipv4FragmentSourceLimit);
            }
            self.give_up(oldest, DropReason::Ipv4FragmentSourceLimit);
        }
        let place = self.free_places.0.pop().ok_or(DropReason::Ipv4FragmentsFull)?;
        self.places[place as usize].after = NONE;
        let datagram = &mut self.datagrams[n as usize];
        match datagram.last_held {
            NONE => datagram.first_held = place,
            last => self.places[last as usize].after = place,
        }
        datagram.last_held = place;
        datagram.held += 1;
        self.sources[source as usize].held += 1;
        if self.free_places.0.is_empty() && self.first_loose == NONE {
            self.give_up(self.kinds[WAITING].first, DropReason::Ipv4FragmentsFull);
        }
        Ok(Seen::Hold(place))
    }

    /// What a datagram holds is held no longer.
    fn loosen(&mut self, n: u32, fate: Fate) {
        let datagram = &mut self.datagrams[n as usize];
        let (first, last) = (datagram.first_held, datagram.last_held);
        if first == NONE {
            return;
        }
        self.sources[datagram.source as usize].held -= datagram.held;
        (datagram.first_held, datagram.last_held, datagram.held) = (NONE, NONE, 0);
        let mut place = first;
        while place != NONE {
            self.places[place as usize].fate = fate;
            place = self.places[place as usize].after;
        }
        match self.last_loose {
            NONE => self.first_loose = first,
            end => self.places[end as usize].after = first,
        }
        self.last_loose = last;
    }

    fn give_up(&mut self, n: u32, why: DropReason) {
        self.loosen(n, Fate::Drop(why));
        self.leave(n);
    }

    /// Forgets a datagram, which holds nothing, and its source with its last one.
    fn leave(&mut self, n: u32) {
        self.unlink(n);
        let Datagram { key, source, .. } = self.datagrams[n as usize];
        self.by_key.remove(hash(&self.hash, &key), n);
        self.free_datagrams.0.push(n);
        let Source { key, kinds, .. } = self.sources[source as usize];
        if kinds.iter().all(|list| list.length == 0) {
            self.by_source.remove(hash(&self.hash, &key), source);
            self.free_sources.0.push(source);
        }
    }
}

/// Of the more numerous kind the oldest. There is one.
fn next_to_go(kinds: &[List; 2]) -> u32 {
    let kind = if kinds[WAITING].length >= kinds[SETTLED].length { WAITING } else { SETTLED };
    kinds[kind].first
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
