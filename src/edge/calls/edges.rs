//! Other edges, and where they are reached, as the table of tunnels has them.
//!
//! Guarantees: an edge is in the table while a session leads to it, and its RLOCs with it; packets are taken from those only that its
//! association has told, or from the one that a session without was made with. An RLOC's MTU is the least of what its link takes, what
//! the other edge has told, and what routers say ([`super::path_mtu`]). Never: decides where an edge is.

use std::collections::HashMap;

use super::own::Own;
use super::path_mtu::{Standing, Ways};
use crate::edge::cetp::message::{Fqdn, Rloc};
use crate::edge::cetp::negotiation::Cetp;
use crate::flow::tunnel::{Ends, RLOCS_OF_A_PEER, Refused, RlocOptions, Tunnels};
use crate::packet::{cetp, ipv4};
use arrayvec::ArrayVec;

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An association has proved its name.
    Named(Box<str>),
    /// Nobody has: it is whoever is there.
    At(Rloc),
}

impl Key {
    /// Its name, where that is proved.
    pub fn name(&self) -> Option<&str> {
        if let Key::Named(name) = self { Some(name) } else { None }
    }
}

/// What is known of where it is.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts<'a> {
    /// Where packets go, and all where they may come from.
    pub active: Rloc,
    pub told: &'a [Rloc],
    /// The longest packet of a host that it takes out of a tunnel, if its association has told.
    pub mtu: Option<u16>,
}

/// What the association with an edge of that name has told, if there is one.
pub fn whereabouts<'a>(cetp: &'a Cetp, name: &str) -> Option<Whereabouts<'a>> {
    let edge = Fqdn::new(name)?;
    let (active, told) = cetp.rlocs(edge)?;
    Some(Whereabouts { active, told, mtu: cetp.mtu(edge) })
}

/// One of them.
#[derive(Debug)]
struct Edge {
    number: u32,
    sessions: u32,
    /// As [`Whereabouts`] has them.
    active: Rloc,
    told: Vec<Rloc>,
    mtu: Option<u16>,
    rlocs: ArrayVec<Way, RLOCS_OF_A_PEER>,
}

/// What the table has of an RLOC.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The other edge's end.
    rloc: Rloc,
    ends: Ends,
    /// What it takes where no router says less.
    mtu: u16,
    number: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Edges {
    all: HashMap<Key, Edge>,
    pub(super) ways: Ways,
}

/// A way to an edge, for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownWay {
    pub ends: Ends,
    /// What it takes, outer headers included; and would, if no router had said less.
    pub mtu: u16,
    pub most: u16,
    /// Until when a router's word counts, in milliseconds.
    pub until: Option<u64>,
}

/// Bytes of the longest packet between those ends whose host's packet the other edge takes. One that routers may cut fills it; of
/// others, which are carried in less, four bytes more fit than were told: they are the other edge's to refuse.
fn told_mtu(ends: &Ends, inside: u16) -> u16 {
    let more = ends.headers() + cetp::HEADER_LENGTH + cetp::NOT_ATOMIC;
    u16::try_from((usize::from(inside) + more).saturating_sub(ipv4::HEADER_LENGTH)).unwrap_or(u16::MAX)
}

/// The pairs of ends between this edge and those RLOCs: the own RLOC that comes first of each family with each of them; and every
/// other own one with the first of its family, because packets may come there.
fn pairs(own: &Own, of: &Whereabouts<'_>) -> ArrayVec<(Rloc, RlocOptions), RLOCS_OF_A_PEER> {
    let Whereabouts { active, told, mtu } = *of;
    let mut pairs = ArrayVec::new();
    let theirs: ArrayVec<Rloc, 32> =
        std::iter::once(active).chain(told.iter().copied().filter(|rloc| *rloc != active)).take(32).collect();
    let mut add = |mine: &super::own::OwnRloc, rloc: Rloc| {
        let ends = match (mine.rloc, rloc) {
            (Rloc::V4(local), Rloc::V4(remote)) => Ends::V4 { local, remote },
            (Rloc::V6(local), Rloc::V6(remote)) => Ends::V6 { local, remote },
            (Rloc::Ethernet(local), Rloc::Ethernet(remote)) => {
                Ends::Ethernet { interface: mine.interface, local: local.0, remote: remote.0 }
            }
            _ => return,
        };
        let mtu = mtu.map_or(mine.mtu, |inside| mine.mtu.min(told_mtu(&ends, inside)));
        let _ = pairs.try_push((rloc, RlocOptions { ends, realm: mine.realm, mtu }));
    };
    for rloc in &theirs {
        own.facing(*rloc).into_iter().for_each(|mine| add(mine, *rloc));
    }
    for mine in &own.rlocs {
        let is_first = own.facing(mine.rloc) == Some(mine);
        let first = theirs.iter().find(|rloc| rloc.carrier() == mine.rloc.carrier());
        first.filter(|_| !is_first).into_iter().for_each(|rloc| add(mine, *rloc));
    }
    pairs
}

impl Edges {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One more session leads there; the number of the edge in the table.
    ///
    /// # Errors
    /// There is no room, or no own RLOC of its family; nothing is left behind.
    pub fn enter(
        &mut self,
        key: &Key,
        at: &Whereabouts<'_>,
        own: &Own,
        tunnels: &mut Tunnels,
    ) -> Result<u32, Refused> {
        if let Some(edge) = self.all.get_mut(key) {
            edge.sessions += 1;
            return Ok(edge.number);
        }
        let number = tunnels.add_peer()?;
        let mut edge = Edge::new(number, 1, at);
        match edge.fill(own, &self.ways, tunnels) {
            Ok(()) => {
                self.all.insert(key.clone(), edge);
                Ok(number)
            }
            Err(refused) => {
                edge.empty(tunnels);
                Err(refused)
            }
        }
    }

    /// One fewer; the last takes the edge with it.
    pub fn leave(&mut self, key: &Key, tunnels: &mut Tunnels) {
        let Some(edge) = self.all.get_mut(key) else { return };
        edge.sessions -= 1;
        if edge.sessions == 0
            && let Some(edge) = self.all.remove(key)
        {
            edge.empty(tunnels);
        }
    }

    /// Those that an association has proved.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.all.keys().filter_map(Key::name)
    }

    /// That is where it is now. What doesn't fit leaves it where it was.
    pub fn moved(&mut self, key: &Key, at: &Whereabouts<'_>, own: &Own, tunnels: &mut Tunnels) {
        let Edges { all, ways } = self;
        let Some(edge) = all.get_mut(key) else { return };
        if edge.told != at.told || edge.mtu != at.mtu {
            let old = std::mem::replace(edge, Edge::new(edge.number, edge.sessions, at));
            match edge.fill(own, ways, tunnels) {
                Ok(()) => drop_rlocs(&old.rlocs, tunnels),
                Err(_) => {
                    drop_rlocs(&edge.rlocs, tunnels);
                    *edge = old;
                }
            }
        } else if edge.active != at.active
            && let Some(way) = edge.rlocs.iter().find(|way| way.rloc == at.active)
            && tunnels.activate(edge.number, way.number).is_ok()
        {
            edge.active = at.active;
        }
    }

    /// A router on the way between those ends, which has seen a packet of a session or hasn't, takes no more than that; false where nobody
    /// goes there, or knew as much, or there is no room.
    pub fn lower(&mut self, ends: &Ends, mtu: u16, has_seen: bool, now: u64, tunnels: &mut Tunnels) -> bool {
        let Edges { all, ways } = self;
        let of = |way: &Way| way.ends == *ends && mtu < ways.mtu(ends, way.mtu);
        let mut standing = None;
        let mut lowered: Vec<u32> = Vec::new();
        for (key, edge) in all.iter() {
            for way in edge.rlocs.iter().filter(|way| of(way)) {
                let of_this = match (has_seen, key) {
                    (false, _) => Standing::Said,
                    (true, Key::At(_)) => Standing::Seen,
                    (true, Key::Named(_)) => Standing::Proved,
                };
                standing = standing.max(Some(of_this));
                lowered.push(way.number);
            }
        }
        let Some(gone) = standing.and_then(|standing| ways.lower(*ends, mtu, standing, now)) else {
            return false;
        };
        gone.iter().for_each(|gone| self.raise(gone, tunnels));
        for number in lowered {
            let set = tunnels.set_mtu(number, mtu);
            debug_assert!(set.is_ok(), "an RLOC that an edge has");
        }
        true
    }

    /// Nothing is known any more of that way: it takes what it did before a router's word.
    fn raise(&self, ends: &Ends, tunnels: &mut Tunnels) {
        for way in self.all.values().flat_map(|edge| &edge.rlocs).filter(|way| way.ends == *ends) {
            let set = tunnels.set_mtu(way.number, way.mtu);
            debug_assert!(set.is_ok(), "an RLOC that an edge has");
        }
    }

    /// Ways take again what they did before a router's word, whose time is over; how many.
    pub fn restore(&mut self, now: u64, tunnels: &mut Tunnels) -> u64 {
        let mut restored = 0;
        while let Some(ends) = self.ways.restore(now) {
            restored += 1;
            self.raise(&ends, tunnels);
        }
        restored
    }

    /// The ways on which packets to edges go, and whose edge each leads to.
    pub fn ways(&self) -> impl Iterator<Item = (&Key, ShownWay)> {
        self.all.iter().filter_map(|(key, edge)| {
            let way = edge.rlocs.iter().find(|way| way.rloc == edge.active)?;
            let (mtu, until) = (self.ways.mtu(&way.ends, way.mtu), self.ways.until(&way.ends));
            Some((key, ShownWay { ends: way.ends, mtu, most: way.mtu, until }))
        })
    }

    /// Where packets to that edge go.
    pub fn active(&self, key: &Key) -> Option<Rloc> {
        self.all.get(key).map(|edge| edge.active)
    }
}

impl Edge {
    /// Without RLOCs.
    fn new(number: u32, sessions: u32, at: &Whereabouts<'_>) -> Edge {
        let Whereabouts { active, told, mtu } = *at;
        Edge { number, sessions, active, told: told.to_vec(), mtu, rlocs: ArrayVec::new() }
    }

    /// Makes its RLOCs, and gives them to it.
    fn fill(&mut self, own: &Own, ways: &Ways, tunnels: &mut Tunnels) -> Result<(), Refused> {
        let at = Whereabouts { active: self.active, told: &self.told, mtu: self.mtu };
        for (rloc, options) in pairs(own, &at) {
            let RlocOptions { ends, mtu, .. } = options;
            let number = tunnels.add_rloc(&RlocOptions { mtu: ways.mtu(&ends, mtu), ..options })?;
            self.rlocs.push(Way { rloc, ends, mtu, number });
        }
        if self.rlocs.is_empty() {
            return Err(Refused::Number);
        }
        let numbers: ArrayVec<u32, RLOCS_OF_A_PEER> = self.rlocs.iter().map(|way| way.number).collect();
        tunnels.set_rlocs(self.number, &numbers)
    }

    fn empty(self, tunnels: &mut Tunnels) {
        let removed = tunnels.remove_peer(self.number);
        debug_assert!(removed.is_ok(), "an edge without sessions");
        drop_rlocs(&self.rlocs, tunnels);
    }
}

/// Takes out RLOCs that no edge has any more.
fn drop_rlocs(ways: &[Way], tunnels: &mut Tunnels) {
    for way in ways {
        let removed = tunnels.remove_rloc(way.number);
        debug_assert!(removed.is_ok(), "an RLOC that an edge has");
    }
}
