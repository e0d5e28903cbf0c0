//! Associations: two edges prove once who they are, and agree on a key under which they negotiate for their hosts from then on.
//!
//! | file | what it is |
//! |---|---|
//! | [`handshake`] | from nothing to an association: cookie, certificates, key exchange |
//! | [`upkeep`] | keepalive, new keys, reports, the end |
//! | [`keys`], [`window`] | what seals a message, and which have come |
//! | [`peer`] | what is kept of another edge |
//!
//! Guarantees: nothing is kept for who hasn't given its cookie back; one MAC a message until then; a bounded number of edges; a
//! new association takes the place of the old one when the other side has used it, so that a replay can end nothing. Never: knows a
//! session.

pub mod handshake;
pub mod keys;
pub mod peer;
pub mod upkeep;
pub mod window;

use super::cookie::Cookies;
use super::deadlines::Deadlines;
use super::io::{Now, Out, Output, PeerId};
use super::message::id::HASH;
use super::message::{
    Evidence, Filtering, Fqdn, Header, Id, Kind, Message, Reason, Rloc, Seal, Tag, Termination, Tlv,
    Unexpected,
};
use super::rate::Rate;
use super::wire::{self, Outline};
use peer::{Association, Peer, RlocList};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::HashMap;

/// Shortest message, in bytes, that an edge answers whose RLOC it can't believe yet: no answer to such a one is longer.
pub const LEAST_UNPROVEN: usize = 128;
/// Tags of one edge that are kept: three are in use at most, and those that were are swept when there are so many.
pub const TAGS: usize = 8;
/// Signatures of strangers that are checked a second: each costs what thousands of MACs do.
const HANDSHAKES: u32 = 1000;

/// What the negotiations between hosts must know of an association.
#[derive(Debug)]
pub enum Notice {
    /// It is there.
    Up(PeerId),
    /// It is gone, or couldn't be had; so are its sessions.
    Down(PeerId, Reason),
    /// The other edge has lost all sessions.
    Lost(PeerId),
    /// The other edge ends sessions.
    Terminate(PeerId, Termination),
    /// The other edge knows nothing of a session.
    Unexpected(PeerId, Unexpected),
}

/// Why a sealed message isn't one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// No association has that tag.
    UnknownTag,
    /// The key isn't known any more, or not yet.
    UnknownEpoch,
    /// It comes from an RLOC that the other edge hasn't told.
    WrongRloc,
    /// It has come before.
    Repeated,
    /// Its MAC is wrong.
    Forged,
}

/// All other edges.
pub struct Peers {
    peers: Vec<Peer>,
    free: Vec<u32>,
    by_name: HashMap<Box<str>, u32>,
    /// The edge that told an RLOC last: whether it still has it is looked at where it is used.
    by_rloc: HashMap<Rloc, u32>,
    /// The tags of associations, and some that once were: each is looked for where it must be.
    tags: HashMap<Tag, u32>,
    deadlines: Deadlines,
    /// What [`Self::notice`] gives out; no event makes more than two for an edge.
    notices: Vec<Notice>,
    room: Vec<u8>,
    incarnation: u64,
    /// The hash of the own name, once it was asked for: who asks has proved nothing, and so it is not worked out each time.
    own: Option<[u8; HASH]>,
    handshakes: Rate,
    /// MACs that sealed messages have cost.
    macs: u64,
}

impl Peers {
    /// Room for so many.
    pub fn new(capacity: usize, rng: &mut StdRng, now: Now) -> Peers {
        Peers {
            peers: (0..capacity).map(|_| Peer::new("", 0)).collect(),
            free: (0..capacity as u32).rev().collect(),
            by_name: HashMap::with_capacity(capacity),
            by_rloc: HashMap::new(),
            tags: HashMap::new(),
            deadlines: Deadlines::new(capacity),
            notices: Vec::new(),
            room: Vec::with_capacity(wire::LONGEST),
            incarnation: rng.random(),
            own: None,
            handshakes: Rate::new(HANDSHAKES, HANDSHAKES / 10, now.ms),
            macs: 0,
        }
    }

    /// The next thing that has happened.
    pub fn notice(&mut self) -> Option<Notice> {
        if self.notices.is_empty() { None } else { Some(self.notices.remove(0)) }
    }

    /// When [`Self::tick`] is to be called next, in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// Edges of which anything is kept.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether nothing can be kept of another edge than those.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// MACs that were spent on sealed messages.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// Those of which anything is kept.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| !peer.is_free())
    }

    pub fn find(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(name).copied().map(PeerId)
    }

    pub fn get(&self, id: PeerId) -> &Peer {
        &self.peers[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: PeerId) -> &mut Peer {
        &mut self.peers[id.0 as usize]
    }

    /// Whether messages for hosts can be sealed.
    pub fn is_up(&self, id: PeerId) -> bool {
        self.get(id).current.is_some()
    }

    /// The name of an edge that is kept.
    pub fn name(&self, id: PeerId) -> Option<Fqdn<'_>> {
        Fqdn::new(&self.get(id).name)
    }

    /// The place of that edge, a new one if need be. `None`: there is no room.
    fn place(&mut self, name: Fqdn<'_>, now: Now) -> Option<PeerId> {
        if let Some(id) = self.find(name.as_str()) {
            return Some(id);
        }
        let id = self.free.pop()?;
        self.peers[id as usize] = Peer::new(name.as_str(), now.ms);
        self.by_name.insert(name.as_str().into(), id);
        Some(PeerId(id))
    }

    /// Forgets an edge: nothing of it is left.
    fn forget(&mut self, id: PeerId) {
        let old = std::mem::replace(self.get_mut(id), Peer::new("", 0));
        self.by_name.remove(&old.name);
        self.unlink_rlocs(id, old.current.as_deref());
        self.deadlines.clear(id.0);
        self.free.push(id.0);
    }

    /// Ends what there is with an edge, and says so.
    fn part(&mut self, id: PeerId, reason: Reason, out: &mut Out<'_>) {
        if let Some(edge) = self.name(id) {
            out(Output::Parted { peer: id, edge, reason });
        }
        self.notices.push(Notice::Down(id, reason));
        self.forget(id);
    }

    /// A tag for an association with that edge.
    fn fresh_tag(&mut self, id: PeerId, rng: &mut StdRng) -> Option<Tag> {
        if self.tags.len() >= TAGS * self.peers.len() {
            let mut tags = std::mem::take(&mut self.tags);
            tags.retain(|tag, id| self.has_tag(PeerId(*id), *tag));
            self.tags = tags;
        }
        let tag = std::iter::repeat_with(|| Tag::new(rng.random()))
            .flatten()
            .find(|tag| !self.tags.contains_key(tag))?;
        self.tags.insert(tag, id.0);
        Some(tag)
    }

    fn has_tag(&self, id: PeerId, tag: Tag) -> bool {
        let peer = self.get(id);
        let is_its = |association: &Association| association.local == tag;
        peer.current.as_deref().is_some_and(is_its)
            || peer.next.as_ref().is_some_and(|next| is_its(&next.association))
            || peer.asking.as_ref().is_some_and(|asking| asking.local == tag)
    }

    /// The edge of one of whose associations that is the tag.
    fn by_tag(&self, tag: Tag) -> Option<PeerId> {
        let id = PeerId(*self.tags.get(&tag)?);
        self.has_tag(id, tag).then_some(id)
    }

    /// The edge that has told that RLOC; the last one where several have.
    pub fn by_rloc(&self, rloc: Rloc) -> Option<PeerId> {
        self.by_rloc.get(&rloc).copied().map(PeerId)
    }

    /// Tags of associations that are kept, those that were among them.
    pub fn tags(&self) -> usize {
        self.tags.len()
    }

    /// RLOCs by which an edge is found: no more than the edges there are may tell.
    pub fn rlocs(&self) -> usize {
        self.by_rloc.len()
    }

    fn unlink_rlocs(&mut self, id: PeerId, association: Option<&Association>) {
        for rloc in association.iter().flat_map(|association| &association.told.rlocs) {
            if self.by_rloc.get(rloc) == Some(&id.0) {
                self.by_rloc.remove(rloc);
            }
        }
    }

    /// Seals a message whose room for it is filled with anything; says where it goes.
    pub fn seal(&mut self, id: PeerId, message: &mut [u8]) -> Option<Rloc> {
        let peer = self.get_mut(id);
        let rloc = peer.rloc()?;
        let association = peer.current.as_deref_mut()?;
        let seal = association.keys.next(association.remote);
        wire::seal_again(message, &seal, |covered| association.keys.mac(covered));
        self.macs += 1;
        Some(rloc)
    }

    /// Whose message it is. Nothing of it was read yet but where its seal is.
    ///
    /// # Errors
    /// Why it is nobody's. Only [`Unsealed::Forged`] has cost a MAC.
    pub fn unseal(
        &mut self,
        sealed: &wire::Sealed<'_>,
        from: Rloc,
        now: Now,
        out: &mut Out<'_>,
    ) -> Result<PeerId, Unsealed> {
        let tag = sealed.seal.association;
        let id = self.by_tag(tag).ok_or(Unsealed::UnknownTag)?;
        let peer = &mut self.peers[id.0 as usize];
        let is_next = peer.next.as_ref().is_some_and(|next| next.association.local == tag);
        let association = match (is_next, &mut peer.next, &mut peer.current) {
            (true, Some(next), _) => &mut next.association,
            (false, _, Some(current)) if current.local == tag => current,
            _ => return Err(Unsealed::UnknownTag),
        };
        if !association.told.rlocs.contains(&from) {
            return Err(Unsealed::WrongRloc);
        }
        let is_other = association.keys.epoch != sealed.seal.epoch;
        let keys = match (is_other, &mut association.other) {
            (false, _) => &mut association.keys,
            (true, Some(other)) if other.epoch == sealed.seal.epoch => other,
            _ => return Err(Unsealed::UnknownEpoch),
        };
        if !keys.is_open(sealed) {
            return Err(Unsealed::Repeated);
        }
        self.macs += 1;
        if !keys.open(sealed) {
            return Err(Unsealed::Forged);
        }
        if is_other && association.is_other_newer {
            association.use_newer(now.ms);
        }
        peer.heard = now.ms;
        // It speaks from there: so it is there.
        if let Some(at) = peer.rlocs.iter().position(|rloc| *rloc == from) {
            peer.at = at;
        }
        if is_next {
            self.promote(id, from, now, out);
        }
        Ok(id)
    }

    /// The other side has used the next association: it takes the place of the current one.
    fn promote(&mut self, id: PeerId, from: Rloc, now: Now, out: &mut Out<'_>) {
        let Some(next) = self.get_mut(id).next.take() else { return };
        self.install(id, next.association, from, now, out);
    }

    /// It is in use from now on; the other side speaks from there.
    fn install(&mut self, id: PeerId, association: Association, from: Rloc, now: Now, out: &mut Out<'_>) {
        let peer = self.get_mut(id);
        let is_new_life =
            peer.current.as_ref().is_some_and(|old| old.told.incarnation != association.told.incarnation);
        peer.rlocs = association.told.rlocs.clone();
        peer.at = peer.rlocs.iter().position(|rloc| *rloc == from).unwrap_or(0);
        peer.negotiations =
            Rate::new(association.granted.negotiations, association.granted.negotiations.max(1), now.ms);
        (peer.asking, peer.probe, peer.rekey) = (None, None, None);
        (peer.heard, peer.used) = (now.ms, now.ms);
        let clock = association.told.clock;
        let old = peer.current.replace(Box::new(association));
        self.unlink_rlocs(id, old.as_deref());
        for rloc in self.get(id).rlocs.clone() {
            self.by_rloc.insert(rloc, id.0);
        }
        if let (Some(edge), Some(rloc)) = (self.name(id), self.get(id).rloc()) {
            out(Output::Associated { peer: id, edge, rloc, clock });
        }
        if is_new_life {
            self.notices.push(Notice::Lost(id));
        }
        self.notices.push(Notice::Up(id));
        self.plan(id);
    }

    /// The header of a message to another edge, about the association.
    fn header(&self, id: PeerId, transaction: u16, is_answer: bool) -> Header<'static> {
        let association = self.get(id).current.as_deref();
        Header {
            kind: Kind::Edges,
            is_answer,
            is_inbound: association.is_some_and(|association| !association.is_initiator),
            transaction,
            sst: association.map(|association| association.local),
            dst: association.map(|association| association.remote),
            source: Id::NONE,
            destination: Id::NONE,
            seal: association.map(|association| placeholder(association.remote)),
        }
    }

    /// A message by the current association, sealed; empty if there is none.
    fn compose(&mut self, id: PeerId, transaction: u16, is_answer: bool, tlvs: Vec<Tlv<'_>>) -> Vec<u8> {
        let message = Message { header: self.header(id, transaction, is_answer), tlvs };
        let mut bytes = Vec::with_capacity(wire::FIXED + wire::SEAL + 64);
        if !self.is_up(id) || wire::encode(&message, &mut bytes).is_err() {
            return Vec::new();
        }
        wire::finish(&mut bytes, |_| [0; wire::MAC]);
        bytes
    }

    /// Seals it and sends it.
    fn emit(&mut self, id: PeerId, bytes: &mut [u8], out: &mut Out<'_>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(to) = self.seal(id, bytes) {
            out(Output::Send { to, message: bytes });
        }
    }
}

/// Stands where the seal will be.
pub fn placeholder(association: Tag) -> Seal {
    Seal { association, epoch: 0, sequence: 1 }
}

/// By what a message is judged.
pub struct Context<'e, H> {
    pub house: &'e H,
    pub cookies: &'e mut Cookies,
    pub rng: &'e mut StdRng,
    pub now: Now,
}

/// What a message to another edge reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    Evidence(Evidence),
    Filtering(Filtering<'a>),
    Terminate(Termination),
}

/// An edge as it is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub name: Fqdn<'a>,
    pub rlocs: &'a [Rloc],
}

impl Target<'_> {
    fn list(&self) -> RlocList {
        self.rlocs.iter().copied().filter(|rloc| peer::is_usable(*rloc)).take(peer::RLOCS).collect()
    }
}

/// The outline of a message, and what is known of where it is from.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    pub outline: Outline<'a>,
    pub bytes: &'a [u8],
    pub from: Rloc,
}
