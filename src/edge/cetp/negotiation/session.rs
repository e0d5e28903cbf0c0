//! What is kept of two hosts that want something of each other, from the first question to the last packet.
//!
//! Guarantees: a bounded number, each found by its tag. Never: sends anything.

use crate::edge::cetp::association::peer::RlocList;
use crate::edge::cetp::cookie::COOKIE_LIFETIME;
use crate::edge::cetp::deadlines::Deadlines;
use crate::edge::cetp::io::{Pair, PeerId};
use crate::edge::cetp::message::value::LONGEST_COOKIE;
use crate::edge::cetp::message::{CodeSet, Direction, Fqdn, Id, IdType, Rloc, Service, Services, Tag};
use crate::edge::cetp::retry::Sending;
use crate::edge::cetp::terms::{HostKey, Side, Tags, Terms};
use arrayvec::ArrayVec;
use std::collections::HashMap;

/// Milliseconds for which a session that this edge didn't ask for is remembered after its end, so that a late copy of a question
/// with a cookie that still counts makes no new one.
pub const LINGER: u64 = COOKIE_LIFETIME as u64 * 1000;

/// A question of a host behind this edge, until it is answered.
pub struct Flight {
    /// The name that was asked for.
    pub target: Box<str>,
    /// It is asked for by that, because the other side doesn't know its hash: names of single services aren't known by theirs.
    pub is_by_name: bool,
    pub rlocs: RlocList,
    /// Which of them is asked.
    pub at: usize,
    pub terms: Terms,
    pub wanted: Services,
    /// As what the host shows itself.
    pub id_type: IdType,
    pub rounds: u8,
    /// What the inbound edge had instead of state, or a token; empty for none.
    pub cookie: ArrayVec<u8, LONGEST_COOKIE>,
    /// What the inbound edge wants to be told.
    pub asked: CodeSet,
    /// `None` while it waits for an association, or for a negotiation of the other side that does as well.
    pub sending: Option<Sending>,
}

impl Flight {
    /// A token was shown, and no answer has come twice: an edge that has lost its keys doesn't know its tokens.
    pub fn is_token_doubtful(&self) -> bool {
        self.rounds == 1
            && !self.cookie.is_empty()
            && self.sending.as_ref().is_some_and(|sending| sending.tries() == 2)
    }
}

/// A question for a host behind this edge, while something is found out.
pub struct Checking {
    /// The whole question, in place of which nothing else is kept.
    pub question: Vec<u8>,
    /// When it is given up, in milliseconds.
    pub until: u64,
}

/// What is said within a session until its answer comes.
pub struct Exchange {
    pub sending: Sending,
    pub purpose: Purpose,
}

/// What an [`Exchange`] is for.
pub enum Purpose {
    /// Asks to be told something.
    Query(CodeSet),
    /// Asks whether the other side is there.
    Keepalive,
    /// Reports something.
    Report,
    /// Asks for more services.
    Extend(Box<Flight>),
}

/// Where a session is.
pub enum State {
    Free,
    /// Its host's question is on its way.
    Opening(Box<Flight>),
    /// The other host's question waits for something to be found out.
    Checking(Box<Checking>),
    /// The question of the other side was answered; that this has come isn't known yet. Packets may cross.
    HalfOpen(Box<Sending>),
    /// Both sides know.
    Established(Option<Box<Exchange>>),
    /// The other side is told that it is over.
    Closing(Box<Sending>),
    /// It is over; see [`LINGER`].
    Lingering,
}

/// See the module.
pub struct Session {
    pub state: State,
    /// By which the other side calls it.
    pub local: Tag,
    /// Of this edge in the negotiation that made it.
    pub side: Side,
    pub pair: Pair,
    pub remote: Option<Tag>,
    pub rloc: Rloc,
    /// The association that it is in.
    pub peer: Option<PeerId>,
    /// Of the question that made it.
    pub transaction: u16,
    /// Of the last report from the other side.
    pub reported: Option<u16>,
    /// As if this edge had asked for them.
    pub services: Services,
    /// The other side knows the own host by its name, and finds the session by it.
    pub is_named: bool,
    /// What the other side is told when it asks.
    pub available: CodeSet,
    /// Seconds.
    pub timeout: u32,
    /// When it began, or changed, in milliseconds.
    pub since: u64,
    /// The type of the other host's ID, and the ID.
    pub peer_id: Box<[u8]>,
    pub peer_name: Option<Box<str>>,
    /// The DNS has said that this is its name.
    pub is_checked: bool,
    /// A question of the own host that waits for this.
    pub held: Option<Tag>,
    /// Where it stands among those of its association.
    at_peer: u32,
}

impl Session {
    pub fn peer_id(&self) -> Id<'_> {
        let id = self.peer_id.split_first().and_then(|(id_type, value)| {
            IdType::from_number(*id_type).and_then(|id_type| Id::new(id_type, value))
        });
        id.unwrap_or(Id::NONE)
    }

    pub fn peer_name(&self) -> Option<Fqdn<'_>> {
        self.peer_name.as_deref().and_then(Fqdn::new)
    }

    /// Packets may cross.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::HalfOpen(_) | State::Established(_))
    }

    /// Whose messages it takes.
    pub fn origin(&self) -> Origin {
        self.peer.map_or(Origin::Rloc(self.rloc), Origin::Peer)
    }
}

/// An ID as it is kept.
pub fn keep_id(id: &Id<'_>) -> Box<[u8]> {
    std::iter::once(id.id_type as u8).chain(id.value.iter().copied()).collect()
}

/// Where messages of a session come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// They aren't sealed.
    Rloc(Rloc),
    /// Of an association, from whichever of its RLOCs.
    Peer(PeerId),
}

/// All sessions.
pub struct Sessions {
    slots: Vec<Session>,
    free: Vec<u32>,
    tags: Box<dyn Tags>,
    by_tag: HashMap<Tag, u32>,
    capacity: usize,
    pub deadlines: Deadlines,
    /// The session, or the question, of two hosts.
    pub by_pair: HashMap<Pair, u32>,
    /// What the other side has asked for, by where it is from and by its tag.
    pub by_origin: HashMap<(Origin, Tag), u32>,
    /// The places of all that are in an association.
    by_peer: HashMap<PeerId, Vec<u32>>,
    used: usize,
}

/// A new session, before anything is known of it.
pub struct Opening {
    pub state: State,
    pub side: Side,
    pub pair: Pair,
    pub rloc: Rloc,
    pub peer: Option<PeerId>,
}

impl Sessions {
    /// Room for so many.
    pub fn new(capacity: usize, tags: Box<dyn Tags>) -> Sessions {
        Sessions {
            slots: Vec::with_capacity(capacity),
            free: Vec::new(),
            tags,
            by_tag: HashMap::new(),
            capacity,
            deadlines: Deadlines::new(capacity),
            by_pair: HashMap::new(),
            by_origin: HashMap::new(),
            by_peer: HashMap::new(),
            used: 0,
        }
    }

    /// Sessions of which anything is kept.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The session of a tag that was given out and not taken back.
    pub fn find(&self, tag: Tag) -> Option<u32> {
        self.by_tag.get(&tag).copied()
    }

    /// Gives it another tag, so that the other side doesn't take what comes now for what came before.
    pub fn retag(&mut self, slot: u32) {
        let Some(tag) = self.tags.reserve() else { return };
        let old = std::mem::replace(&mut self.get_mut(slot).local, tag);
        self.by_tag.remove(&old);
        self.tags.release(old);
        self.by_tag.insert(tag, slot);
    }

    pub fn get(&self, slot: u32) -> &Session {
        &self.slots[slot as usize]
    }

    pub fn get_mut(&mut self, slot: u32) -> &mut Session {
        &mut self.slots[slot as usize]
    }

    /// A place for a new one. `None`: there is no room.
    pub fn open(&mut self, opening: Opening) -> Option<u32> {
        if self.used == self.capacity {
            return None;
        }
        let local = self.tags.reserve()?;
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.by_tag.insert(local, slot);
        let Opening { state, side, pair, rloc, peer } = opening;
        let session = Session {
            state,
            local,
            side,
            pair,
            remote: None,
            rloc,
            peer,
            transaction: 0,
            reported: None,
            services: Services::new(),
            is_named: true,
            available: CodeSet::EMPTY,
            timeout: 0,
            since: 0,
            peer_id: Box::default(),
            peer_name: None,
            is_checked: false,
            held: None,
            at_peer: self.link_peer(slot, peer),
        };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = session,
            None => self.slots.push(session),
        }
        self.used += 1;
        Some(slot)
    }

    fn link_peer(&mut self, slot: u32, peer: Option<PeerId>) -> u32 {
        let Some(peer) = peer else { return 0 };
        let all = self.by_peer.entry(peer).or_default();
        all.push(slot);
        all.len() as u32 - 1
    }

    fn unlink_peer(&mut self, slot: u32) {
        let session = self.get(slot);
        let (Some(peer), at) = (session.peer, session.at_peer) else { return };
        let Some(all) = self.by_peer.get_mut(&peer) else { return };
        all.swap_remove(at as usize);
        match all.get(at as usize).copied() {
            Some(moved) => self.get_mut(moved).at_peer = at,
            None if all.is_empty() => drop(self.by_peer.remove(&peer)),
            None => (),
        }
    }

    /// Takes it out of what is found by pair.
    pub fn unlink_pair(&mut self, slot: u32) {
        let pair = self.get(slot).pair;
        if self.by_pair.get(&pair) == Some(&slot) {
            self.by_pair.remove(&pair);
        }
    }

    /// Nothing of it is left.
    pub fn free(&mut self, slot: u32) {
        self.unlink_pair(slot);
        self.unlink_peer(slot);
        let session = self.get_mut(slot);
        let (origin, remote, local) = (session.origin(), session.remote, session.local);
        session.state = State::Free;
        session.peer = None;
        (session.peer_id, session.peer_name, session.held) = (Box::default(), None, None);
        if let Some(remote) = remote
            && self.by_origin.get(&(origin, remote)) == Some(&slot)
        {
            self.by_origin.remove(&(origin, remote));
        }
        self.by_tag.remove(&local);
        self.tags.release(local);
        self.deadlines.clear(slot);
        self.free.push(slot);
        self.used -= 1;
    }

    /// The places of all that are in that association, in their order.
    pub fn of_peer(&self, peer: PeerId) -> Vec<u32> {
        let mut places = self.by_peer.get(&peer).cloned().unwrap_or_default();
        places.sort_unstable();
        places
    }
}

/// The two hosts, as an ID of the other one tells them.
pub fn pair(host: HostKey, peer: &Id<'_>) -> Pair {
    let hash = match (peer.id_type, peer.name()) {
        (IdType::FqdnHash, _) => peer.value.try_into().unwrap_or([0; 16]),
        (_, Some(name)) => name.hash(),
        _ => hash_of(peer),
    };
    Pair { host, peer: hash }
}

fn hash_of(id: &Id<'_>) -> [u8; 16] {
    let digest = ring::digest::digest(&ring::digest::SHA256, &keep_id(id));
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest.as_ref()[..16]);
    hash
}

/// A service as the other side calls it.
pub fn turned(service: &Service) -> Service {
    let direction = match service.direction {
        Direction::ToInbound => Direction::ToOutbound,
        Direction::ToOutbound => Direction::ToInbound,
        Direction::Both => Direction::Both,
    };
    Service { direction, ..*service }
}

/// Whether all that is wanted is granted. Each wanted service must lie in one that is granted.
pub fn covers(granted: &[Service], wanted: &[Service]) -> bool {
    wanted.iter().all(|wanted| granted.iter().any(|granted| lies_in(granted, wanted)))
}

fn lies_in(granted: &Service, wanted: &Service) -> bool {
    (granted.protocol.is_none() || granted.protocol == wanted.protocol)
        && (granted.direction == Direction::Both || granted.direction == wanted.direction)
        && granted.ports.0 <= wanted.ports.0
        && wanted.ports.1 <= granted.ports.1
}

/// What was granted of what was wanted: what nobody asked for doesn't count.
pub fn granted(told: &[Service], wanted: &[Service]) -> Services {
    told.iter().filter(|told| wanted.iter().any(|wanted| lies_in(wanted, told))).copied().collect()
}

/// Adds services to those that there are, as far as there is room.
pub fn merge(services: &mut Services, more: &[Service]) {
    for service in more {
        if !covers(services, std::slice::from_ref(service)) {
            let _ = services.try_push(*service);
        }
    }
}
