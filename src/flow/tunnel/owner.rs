//! The one writer of tunnels: reserves tags, begins and ends sessions, knows edges and their RLOCs.

use super::rloc::{Peer, RLOCS_OF_A_PEER, Rloc, RlocOptions};
use super::services::{Service, Services};
use super::session::{Session, SessionOptions, pair_of, word_of};
use super::tag::TagKey;
use super::{LOCAL, SESSIONS_MAX, Sizes, TABLE, TunnelTable};
use crate::flow::hash::HashKey;
use crate::flow::index::{Index, Ref};
use crate::flow::memory::Region;
use crate::flow::quiescence::Quiescence;
use crate::flow::sync::Ordering;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Why something is refused. Nothing of it is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no place is free: raise the number of sessions, edges or RLOCs")]
    Full,
    #[error("that tag was not reserved here, or has a session already")]
    Tag,
    #[error("the host talks to that proxy address already, or more services than fit, or none, were given")]
    Session,
    #[error("there is no edge or RLOC of that number, or it is in use")]
    Number,
}

/// What waits for quiescence.
#[derive(Clone, Copy)]
enum Retired {
    Session(u32),
    Peer(u32),
    Rloc(u32),
}

/// The one writer. See the module.
pub struct Tunnels {
    shared: Arc<TunnelTable>,
    quiescence: Arc<Quiescence>,
    /// By place: how often it was used, and whether its tag is out.
    uses: Box<[Use]>,
    free: [VecDeque<u32>; 3],
    /// Sessions of each peer; peers that each RLOC is known to.
    held_peers: Box<[Option<u32>]>,
    held_rlocs: Box<[Option<u32>]>,
    /// Further addresses that sessions are found by: no more than there is room for sessions.
    others: usize,
    /// Each with the epoch that every worker must have reached, oldest first.
    retired: VecDeque<(u64, Retired)>,
}

#[derive(Clone, Copy, Default)]
struct Use {
    generation: u32,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// Its tag is known to the negotiation.
    Reserved,
    Published,
}

impl Tunnels {
    /// Nothing yet. `random` feeds the secrets; `quiescence` is where the workers report.
    ///
    /// # Panics
    /// For no session, or more than [`SESSIONS_MAX`]: a mistake of the caller's, at start.
    pub fn new(sizes: Sizes, quiescence: Arc<Quiescence>, mut random: impl FnMut() -> u64) -> Self {
        assert!((1..=SESSIONS_MAX).contains(&sizes.sessions));
        let shared = TunnelTable {
            key: TagKey::new(&mut random),
            place_bits: sizes.sessions.next_power_of_two().trailing_zeros(),
            sessions: Region::new(sizes.sessions, |_| Session::free()),
            peers: Region::new(sizes.peers, |_| Peer::free()),
            rlocs: Region::new(sizes.rlocs, |_| Rloc::free()),
            // One of each session, and as many of hosts' further addresses.
            pairs: Index::new(2 * sizes.sessions),
            hash: HashKey::new(&mut random),
        };
        let numbers = |count: usize| (0..count as u32).collect();
        Self {
            shared: Arc::new(shared),
            quiescence,
            uses: vec![Use::default(); sizes.sessions].into(),
            free: [sizes.sessions, sizes.peers, sizes.rlocs].map(numbers),
            held_peers: vec![None; sizes.peers].into(),
            held_rlocs: vec![None; sizes.rlocs].into(),
            others: 0,
            retired: VecDeque::with_capacity(sizes.sessions + sizes.peers + sizes.rlocs),
        }
    }

    /// The shared side.
    pub fn shared(&self) -> &Arc<TunnelTable> {
        &self.shared
    }

    /// Takes the oldest free number of that kind.
    fn take(&mut self, kind: usize) -> Result<u32, Refused> {
        self.reclaim();
        self.free[kind].pop_front().ok_or(Refused::Full)
    }

    /// What was removed is free again, as far as no worker can see it.
    pub fn reclaim(&mut self) {
        while let Some(&(epoch, retired)) = self.retired.front()
            && self.quiescence.reached(epoch)
        {
            self.retired.pop_front();
            match retired {
                Retired::Session(place) => self.free[0].push_back(place),
                Retired::Peer(number) => self.free[1].push_back(number),
                Retired::Rloc(number) => self.free[2].push_back(number),
            }
        }
    }

    fn retire(&mut self, what: Retired) {
        let epoch = self.quiescence.retire();
        self.retired.push_back((epoch, what));
    }

    /// A tag for a session that is being negotiated: nobody finds anything by it before [`Self::install`]. Every tag that is reserved is
    /// installed or released.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn reserve(&mut self) -> Result<u32, Refused> {
        let place = self.take(0)?;
        let own = &mut self.uses[place as usize];
        loop {
            own.generation = own.generation.wrapping_add(1);
            // Of the generation the upper bits that have no room are lost.
            let tag = self.shared.key.tag(own.generation << self.shared.place_bits | place);
            if tag != 0 {
                own.state = State::Reserved;
                return Ok(tag);
            }
        }
    }

    /// The place of a tag, if it is in that state.
    fn place(&self, tag: u32, state: State) -> Option<u32> {
        let place = self.shared.place_of(tag);
        let own = self.uses.get(place as usize)?;
        let current = self.shared.key.tag(own.generation << self.shared.place_bits | place);
        (own.state == state && current == tag).then_some(place)
    }

    /// Nothing has come of that negotiation. False where the tag was not reserved.
    pub fn release(&mut self, tag: u32) -> bool {
        let Some(place) = self.place(tag, State::Reserved) else { return false };
        self.uses[place as usize].state = State::Free;
        // No worker has seen it.
        self.free[0].push_back(place);
        true
    }

    /// The session of a reserved tag begins at `now`, wrapping milliseconds of the workers. Of two local ones both tags are reserved
    /// before the first is installed; no packet passes before both are, nor after either was removed.
    ///
    /// # Errors
    /// [`Refused`]; the tag stays reserved.
    pub fn install(&mut self, tag: u32, options: &SessionOptions<'_>, now: u32) -> Result<(), Refused> {
        let place = self.place(tag, State::Reserved).ok_or(Refused::Tag)?;
        let table = &*self.shared;
        let taken = table.find_pair(options.realm, options.host, options.proxy).is_some();
        if taken || options.peer_tag == 0 || !Services::fits(options.services) {
            return Err(Refused::Session);
        }
        if options.peer == LOCAL {
            let is_own = |state| self.place(options.peer_tag, state).is_some_and(|other| other != place);
            if !is_own(State::Reserved) && !is_own(State::Published) {
                return Err(Refused::Tag);
            }
        } else {
            self.known_peer(options.peer)?;
        }
        let session = &table.sessions[place as usize];
        session.write(options, tag, now);
        let hash = table.hash_of(options.realm, pair_of(options.host, options.proxy));
        if table.pairs.insert(hash, reference(place)).is_err() {
            session.tags.store(0, Ordering::Release);
            // Who has guessed the tag may have seen it: it waits as any, and the tag is spent.
            self.uses[place as usize].state = State::Free;
            self.retire(Retired::Session(place));
            return Err(Refused::Full);
        }
        if let Some(Some(held)) = self.held_peers.get_mut(options.peer as usize) {
            *held += 1;
        }
        self.uses[place as usize].state = State::Published;
        Ok(())
    }

    /// A session has these services from now on, which are what it had and more.
    ///
    /// # Errors
    /// [`Refused::Tag`] where that tag has no session, [`Refused::Session`] for more services than fit, or less than there were.
    pub fn grow(&mut self, tag: u32, services: &[Service]) -> Result<(), Refused> {
        let place = self.place(tag, State::Published).ok_or(Refused::Tag)?;
        let session = &self.shared.sessions[place as usize];
        if !session.services().grow(services) {
            return Err(Refused::Session);
        }
        Ok(())
    }

    /// The host of a session has these addresses beside that which the session was installed with: packets from each of them find
    /// it, and none from others that it had before. Returns how many are left out: for which there is no room, or which have a session
    /// with that proxy address already.
    ///
    /// # Errors
    /// [`Refused::Tag`] where that tag has no session.
    pub fn set_others(&mut self, tag: u32, addresses: &[Ipv4Addr]) -> Result<usize, Refused> {
        let place = self.place(tag, State::Published).ok_or(Refused::Tag)?;
        self.keep_others(place, addresses);
        let (session, mut left_out) = (&self.shared.sessions[place as usize], 0);
        let (host, proxy) = session.pair();
        for &address in addresses.iter().filter(|address| **address != host && !address.is_unspecified()) {
            let (word, pair) = (word_of(address), pair_of(address, proxy));
            if session.has_pair(pair) {
                continue;
            }
            let free = session.others.iter().find(|other| other.load(Ordering::Relaxed) == 0);
            let is_taken = self.shared.find_pair(session.realm(), address, proxy).is_some();
            let free = free.filter(|_| !is_taken && self.others < self.shared.sessions.len());
            let Some(free) = free else {
                left_out += 1;
                continue;
            };
            free.store(word, Ordering::Release);
            let hash = self.shared.hash_of(session.realm(), pair);
            if self.shared.pairs.insert(hash, reference(place)).is_err() {
                free.store(0, Ordering::Relaxed);
                left_out += 1;
                continue;
            }
            self.others += 1;
        }
        Ok(left_out)
    }

    /// By others than these addresses the session at a place is found no more.
    fn keep_others(&mut self, place: u32, kept: &[Ipv4Addr]) {
        let session = &self.shared.sessions[place as usize];
        let (_, proxy) = session.pair();
        for other in &session.others {
            let word = other.load(Ordering::Relaxed);
            let address = Ipv4Addr::from(word.to_le_bytes());
            if word != 0 && !kept.contains(&address) {
                let hash = self.shared.hash_of(session.realm(), pair_of(address, proxy));
                self.shared.pairs.remove(hash, reference(place));
                other.store(0, Ordering::Relaxed);
                self.others -= 1;
            }
        }
    }

    /// How many sessions, edges and RLOCs are in use, those included whose tag is only reserved.
    pub fn used(&mut self) -> [usize; 3] {
        self.reclaim();
        let sizes = [self.shared.sessions.len(), self.shared.peers.len(), self.shared.rlocs.len()];
        std::array::from_fn(|kind| sizes[kind] - self.free[kind].len())
    }

    /// A session is over. False where that tag has none.
    pub fn remove(&mut self, tag: u32) -> bool {
        let Some(place) = self.place(tag, State::Published) else { return false };
        self.keep_others(place, &[]);
        let table = &*self.shared;
        let session = &table.sessions[place as usize];
        let (host, proxy) = session.pair();
        table.pairs.remove(table.hash_of(session.realm(), pair_of(host, proxy)), reference(place));
        session.tags.store(0, Ordering::Release);
        if let Some(Some(held)) = self.held_peers.get_mut(session.peer() as usize) {
            *held -= 1;
        }
        self.uses[place as usize].state = State::Free;
        self.retire(Retired::Session(place));
        true
    }

    /// Another edge, without RLOCs; returns its number.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn add_peer(&mut self) -> Result<u32, Refused> {
        let number = self.take(1)?;
        let peer = &self.shared.peers[number as usize];
        peer.epochs.store(0, Ordering::Relaxed);
        self.held_peers[number as usize] = Some(0);
        Ok(number)
    }

    /// An edge without sessions is gone.
    ///
    /// # Errors
    /// [`Refused::Number`] where it still has sessions, or there is none.
    pub fn remove_peer(&mut self, number: u32) -> Result<(), Refused> {
        if self.held_peers.get(number as usize) != Some(&Some(0)) {
            return Err(Refused::Number);
        }
        self.set_rlocs(number, &[])?;
        self.held_peers[number as usize] = None;
        self.retire(Retired::Peer(number));
        Ok(())
    }

    /// An RLOC, which is nobody's yet; returns its number.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn add_rloc(&mut self, options: &RlocOptions) -> Result<u32, Refused> {
        let number = self.take(2)?;
        self.shared.rlocs[number as usize].write(options);
        self.held_rlocs[number as usize] = Some(0);
        Ok(number)
    }

    /// An RLOC that is no edge's any more is gone.
    ///
    /// # Errors
    /// [`Refused::Number`] where some edge still has it, or there is none.
    pub fn remove_rloc(&mut self, number: u32) -> Result<(), Refused> {
        if self.held_rlocs.get(number as usize) != Some(&Some(0)) {
            return Err(Refused::Number);
        }
        self.held_rlocs[number as usize] = None;
        self.retire(Retired::Rloc(number));
        Ok(())
    }

    fn known_peer(&self, number: u32) -> Result<&Peer, Refused> {
        self.held_peers.get(number as usize).copied().flatten().ok_or(Refused::Number)?;
        self.shared.peers.get(number as usize).ok_or(Refused::Number)
    }

    /// The RLOCs of an edge, in place of those that it had: packets go to the first, and may come from all.
    ///
    /// # Errors
    /// [`Refused::Full`] for more than [`RLOCS_OF_A_PEER`], [`Refused::Number`] for one that there is not; nothing changes.
    pub fn set_rlocs(&mut self, peer: u32, rlocs: &[u32]) -> Result<(), Refused> {
        let is_known = |n: &u32| self.held_rlocs.get(*n as usize).copied().flatten().is_some();
        let cells = self.known_peer(peer)?;
        if rlocs.len() > RLOCS_OF_A_PEER {
            return Err(Refused::Full);
        }
        if !rlocs.iter().all(is_known) {
            return Err(Refused::Number);
        }
        cells.active.store(rlocs.first().map_or(0, |n| n + 1), Ordering::Release);
        let mut before = [0; RLOCS_OF_A_PEER];
        for (i, cell) in cells.accepted.iter().enumerate() {
            before[i] = cell.load(Ordering::Relaxed);
            cell.store(rlocs.get(i).map_or(0, |n| n + 1), Ordering::Release);
        }
        for number in before.into_iter().filter(|n| *n > 0) {
            self.hold(number - 1, |held| held - 1);
        }
        rlocs.iter().for_each(|number| self.hold(*number, |held| held + 1));
        Ok(())
    }

    fn hold(&mut self, rloc: u32, change: impl FnOnce(u32) -> u32) {
        if let Some(Some(held)) = self.held_rlocs.get_mut(rloc as usize) {
            *held = change(*held);
        }
    }

    /// From now on packets go to that RLOC of the edge's: every session follows at once.
    ///
    /// # Errors
    /// [`Refused::Number`] for one that it has not.
    pub fn activate(&mut self, peer: u32, rloc: u32) -> Result<(), Refused> {
        let cells = self.known_peer(peer)?;
        if !cells.accepted.iter().any(|cell| cell.load(Ordering::Relaxed) == rloc.wrapping_add(1)) {
            return Err(Refused::Number);
        }
        cells.active.store(rloc + 1, Ordering::Release);
        Ok(())
    }

    /// From now on packets go under the key of `sent`; those under `taken` are taken, too.
    ///
    /// # Errors
    /// [`Refused::Number`] for an edge that there is not.
    pub fn set_epochs(&mut self, peer: u32, sent: u8, taken: u8) -> Result<(), Refused> {
        let epochs = u32::from(sent) | u32::from(taken) << 8;
        self.known_peer(peer)?.epochs.store(epochs, Ordering::Relaxed);
        Ok(())
    }

    /// The path to an RLOC takes packets of that many bytes.
    ///
    /// # Errors
    /// [`Refused::Number`] for one that there is not.
    pub fn set_mtu(&mut self, rloc: u32, mtu: u16) -> Result<(), Refused> {
        self.held_rlocs.get(rloc as usize).copied().flatten().ok_or(Refused::Number)?;
        self.shared.rlocs[rloc as usize].mtu.store(mtu, Ordering::Relaxed);
        Ok(())
    }
}

fn reference(place: u32) -> Ref {
    Ref::new(TABLE, place, 1)
}
