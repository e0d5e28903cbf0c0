//! Other edges, and where they are reached, as the table of tunnels has them.
//!
//! Guarantees: an edge is in the table while a session leads to it, and its RLOCs with it; packets are taken from those only that its
//! association has told, or from the one that a session without was made with. Never: decides where an edge is.

use std::collections::HashMap;

use super::own::Own;
use crate::edge::cetp::message::Rloc;
use crate::flow::tunnel::{Ends, RLOCS_OF_A_PEER, Refused, RlocOptions, Tunnels};
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

/// One of them.
#[derive(Debug)]
struct Edge {
    number: u32,
    sessions: u32,
    /// Where packets go, and all where they may come from.
    active: Rloc,
    told: Vec<Rloc>,
    /// The numbers of what the table has of those, and the other edge's end of each.
    rlocs: ArrayVec<(Rloc, u32), RLOCS_OF_A_PEER>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Edges(HashMap<Key, Edge>);

/// The pairs of ends between this edge and those RLOCs: the own RLOC that comes first of each family with each of them; and every
/// other own one with the first of its family, because packets may come there.
fn pairs(own: &Own, active: Rloc, told: &[Rloc]) -> ArrayVec<(Rloc, RlocOptions), RLOCS_OF_A_PEER> {
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
        let _ = pairs.try_push((rloc, RlocOptions { ends, realm: mine.realm, mtu: mine.mtu }));
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
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more session leads there; the number of the edge in the table.
    ///
    /// # Errors
    /// There is no room, or no own RLOC of its family; nothing is left behind.
    pub fn enter(
        &mut self,
        key: &Key,
        (active, told): (Rloc, &[Rloc]),
        own: &Own,
        tunnels: &mut Tunnels,
    ) -> Result<u32, Refused> {
        if let Some(edge) = self.0.get_mut(key) {
            edge.sessions += 1;
            return Ok(edge.number);
        }
        let number = tunnels.add_peer()?;
        let mut edge = Edge { number, sessions: 1, active, told: told.to_vec(), rlocs: ArrayVec::new() };
        match edge.fill(own, tunnels) {
            Ok(()) => {
                self.0.insert(key.clone(), edge);
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
        let Some(edge) = self.0.get_mut(key) else { return };
        edge.sessions -= 1;
        if edge.sessions == 0
            && let Some(edge) = self.0.remove(key)
        {
            edge.empty(tunnels);
        }
    }

    /// Those that an association has proved.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(Key::name)
    }

    /// That is where it is now. What doesn't fit leaves it where it was.
    pub fn moved(&mut self, key: &Key, (active, told): (Rloc, &[Rloc]), own: &Own, tunnels: &mut Tunnels) {
        let Some(edge) = self.0.get_mut(key) else { return };
        if edge.told != told {
            let before = Edge { told: told.to_vec(), active, rlocs: ArrayVec::new(), ..*edge };
            let old = std::mem::replace(edge, before);
            match edge.fill(own, tunnels) {
                Ok(()) => drop_rlocs(&old.rlocs, tunnels),
                Err(_) => {
                    drop_rlocs(&edge.rlocs, tunnels);
                    *edge = old;
                }
            }
        } else if edge.active != active
            && let Some((_, rloc)) = edge.rlocs.iter().find(|(rloc, _)| *rloc == active)
            && tunnels.activate(edge.number, *rloc).is_ok()
        {
            edge.active = active;
        }
    }

    /// Where packets to that edge go.
    pub fn active(&self, key: &Key) -> Option<Rloc> {
        self.0.get(key).map(|edge| edge.active)
    }
}

impl Edge {
    /// Makes its RLOCs, and gives them to it.
    fn fill(&mut self, own: &Own, tunnels: &mut Tunnels) -> Result<(), Refused> {
        for (rloc, options) in pairs(own, self.active, &self.told) {
            self.rlocs.push((rloc, tunnels.add_rloc(&options)?));
        }
        if self.rlocs.is_empty() {
            return Err(Refused::Number);
        }
        let numbers: ArrayVec<u32, RLOCS_OF_A_PEER> = self.rlocs.iter().map(|(_, number)| *number).collect();
        tunnels.set_rlocs(self.number, &numbers)
    }

    fn empty(self, tunnels: &mut Tunnels) {
        let removed = tunnels.remove_peer(self.number);
        debug_assert!(removed.is_ok(), "an edge without sessions");
        drop_rlocs(&self.rlocs, tunnels);
    }
}

/// Takes out RLOCs that no edge has any more.
fn drop_rlocs(rlocs: &[(Rloc, u32)], tunnels: &mut Tunnels) {
    for (_, rloc) in rlocs {
        let removed = tunnels.remove_rloc(*rloc);
        debug_assert!(removed.is_ok(), "an RLOC that an edge has");
    }
}
