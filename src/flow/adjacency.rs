//! Next hops as the fast path needs them: the twelve bytes of Ethernet addresses and the port to leave by.
//!
//! What many sessions share is an index, never a copy: a session stores a [`Path`], and one write here moves every session
//! that uses it. Written by the neighbour owner alone; read by every worker and by management.

use super::hash::{Hash, HashKey, Hashed};
use super::index::{Index, Ref};
use super::key::{Key6, Protocol, Realm};
use super::memory::Region;
use super::sync::{AtomicU64, Ordering};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which adjacency, and the generation it must still have. 0 is "not resolved yet".
///
/// Layout of its bits: id 16 | generation 16. A generation is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Path(pub u32);

/// What many packets share, and remembers where they go: a half of a session, an RLOC.
pub trait KeepsPath {
    /// Any worker: from now on they go that way.
    fn set_path(&self, path: Path);
}

/// The number of an adjacency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdjacencyId(pub u16);

/// A resolved next hop: what is written over the head of a frame, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Destination and source MAC address.
    pub macs: [u8; 12],
    /// The DPDK port that it leaves by, as the dataplane numbers ports.
    pub port: u16,
    /// Bytes of the largest frame on that link, its tags not counted.
    pub limit: u16,
    /// Its VLAN tags: outer identifier 16 | inner identifier 16, 0 for none.
    pub vlan: u32,
}

/// A resolved next hop as it lies in the table: the hot loop reads of it what it needs, when it needs it.
#[derive(Clone, Copy)]
pub struct Live<'t> {
    cell: &'t Cell,
    rest: u64,
}

impl Live<'_> {
    /// See [`Hop::limit`].
    #[inline(always)]
    pub fn limit(self) -> u16 {
        (self.cell.link.load(Ordering::Relaxed) >> 32) as u16
    }

    /// See [`Hop::vlan`].
    #[inline(always)]
    pub fn vlan(self) -> u32 {
        self.cell.link.load(Ordering::Relaxed) as u32
    }

    /// See [`Hop::port`].
    #[inline(always)]
    pub fn port(self) -> u16 {
        (self.rest >> 32) as u16
    }

    /// See [`Hop::macs`].
    #[inline(always)]
    pub fn macs(self) -> [u8; 12] {
        let mut macs = [0; 12];
        macs[..8].copy_from_slice(&self.cell.macs.load(Ordering::Relaxed).to_le_bytes());
        macs[8..].copy_from_slice(&(self.rest as u32).to_le_bytes());
        macs
    }
}

#[repr(C, align(64))]
struct Cell {
    /// Destination MAC 48 | first two bytes of the source MAC 16.
    macs: AtomicU64,
    /// Last four bytes of the source MAC 32 | port 16 | generation 16 (0: nothing here).
    rest: AtomicU64,
    /// VLAN tags 32 | largest frame 16.
    link: AtomicU64,
    /// The next hop's address, two words, wire order; IPv4 as IPv4-mapped (RFC 4291 section 2.5.5.2).
    address: [AtomicU64; 2],
    /// Interface 16 | the last generation used 16.
    about: AtomicU64,
}

/// The table of next hops. See the module.
pub struct Adjacencies {
    cells: Region<Cell>,
    index: Index,
    hash: HashKey,
}

/// The table number of adjacencies within the index.
const TABLE: u8 = 1;

impl Adjacencies {
    /// For ids `0..capacity` (at most 65,536).
    pub fn new(capacity: usize, hash: HashKey) -> Self {
        assert!(capacity <= 1 << 16);
        let zero = || AtomicU64::new(0);
        Self {
            cells: Region::new(capacity, |_| Cell {
                macs: zero(),
                rest: zero(),
                link: zero(),
                address: [zero(), zero()],
                about: zero(),
            }),
            index: Index::new(capacity * 2),
            hash,
        }
    }

    /// The next hop behind a path, or `None` when it must be resolved (again).
    #[inline(always)]
    pub fn live(&self, path: Path) -> Option<Live<'_>> {
        // The id is 16 bits wide and may lie past the table: `get` is the check.
        let cell = self.cells.get((path.0 & 0xffff) as usize)?;
        let rest = cell.rest.load(Ordering::Acquire);
        ((rest >> 48) as u32 == path.0 >> 16 && path.0 >> 16 != 0).then_some(Live { cell, rest })
    }

    /// All of [`Self::live`] at once.
    pub fn hop(&self, path: Path) -> Option<Hop> {
        let live = self.live(path)?;
        Some(Hop { macs: live.macs(), port: live.port(), limit: live.limit(), vlan: live.vlan() })
    }

    /// The interface that a live path leaves by.
    pub fn interface(&self, path: Path) -> Option<u16> {
        let cell = self.cells.get((path.0 & 0xffff) as usize)?;
        self.hop(path).map(|_| cell.about.load(Ordering::Relaxed) as u16)
    }

    fn key(interface: u16, address: IpAddr) -> Key6 {
        let a = match address {
            IpAddr::V4(a) => a.to_ipv6_mapped(),
            IpAddr::V6(a) => a,
        };
        Key6::new(Realm(interface), Protocol::Icmp, (a, 0), (Ipv6Addr::UNSPECIFIED, 0))
    }

    fn hashed(&self, interface: u16, address: IpAddr) -> (Hash, [u64; 2]) {
        let k = Self::key(interface, address);
        (k.hash(&self.hash), [k.addresses[0], k.addresses[1]])
    }

    /// The path to a resolved neighbour, or `None`.
    pub fn lookup(&self, interface: u16, address: IpAddr) -> Option<Path> {
        let (hash, words) = self.hashed(interface, address);
        let found = self.index.find(hash, |r| {
            let c = &self.cells[r.index()];
            c.address[0].load(Ordering::Relaxed) == words[0]
                && c.address[1].load(Ordering::Relaxed) == words[1]
                && c.about.load(Ordering::Relaxed) as u16 == interface
        })?;
        // The cell's own generation, which a renewal writes before the index entry's: between the two the path found is
        // the live one already.
        let generation = (self.cells[found.index()].rest.load(Ordering::Acquire) >> 48) as u32;
        (generation != 0).then_some(Path(found.index() as u32 | generation << 16))
    }

    /// Neighbour owner: `id` now is `address` on `interface`, reached by `hop`. The id was free, and no worker can still
    /// hold a path of its former use (see [`super::Quiescence`]). `None` when the index has no room.
    pub fn resolved(&self, id: AdjacencyId, interface: u16, address: IpAddr, hop: Hop) -> Option<Path> {
        let cell = &self.cells[id.0 as usize];
        let generation = (cell.about.load(Ordering::Relaxed) >> 16) as u16;
        let generation = generation.wrapping_add(1).max(1);
        let (hash, words) = self.hashed(interface, address);
        cell.address[0].store(words[0], Ordering::Relaxed);
        cell.address[1].store(words[1], Ordering::Relaxed);
        cell.about.store(u64::from(interface) | u64::from(generation) << 16, Ordering::Relaxed);
        self.write(cell, hop, generation);
        self.index.insert(hash, Ref::new(TABLE, id.0.into(), generation)).ok()?;
        Some(Path(u32::from(id.0) | u32::from(generation) << 16))
    }

    /// Neighbour owner: `id` stays what it is, under the next generation, so that every session that remembers a path to it
    /// looks its route up again, at its next packet; looking the neighbour up answers the new path, which is returned.
    /// `None`, and nothing happens, where nothing is resolved.
    ///
    /// To be called after routes have changed, when no worker can still look the old ones up (see [`super::Quiescence`]):
    /// else a worker could find the new path by an old route.
    pub fn renew(&self, id: AdjacencyId) -> Option<Path> {
        let cell = self.cells.get(usize::from(id.0))?;
        let rest = cell.rest.load(Ordering::Relaxed);
        let old = (rest >> 48) as u16;
        if old == 0 {
            return None;
        }
        let (interface, address) = self.owner_of(id);
        let new = old.wrapping_add(1).max(1);
        cell.about.store(u64::from(interface) | u64::from(new) << 16, Ordering::Relaxed);
        cell.rest.store(rest & 0xffff_ffff_ffff | u64::from(new) << 48, Ordering::Release);
        let (hash, _) = self.hashed(interface, address);
        self.index.replace(hash, Ref::new(TABLE, id.0.into(), old), Ref::new(TABLE, id.0.into(), new));
        Some(Path(u32::from(id.0) | u32::from(new) << 16))
    }

    /// How many ids there may be.
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Neighbour owner: the same neighbour has another MAC address. Every session follows at once.
    pub fn changed_mac(&self, id: AdjacencyId, mac: [u8; 6]) {
        let cell = &self.cells[id.0 as usize];
        let mut macs = cell.macs.load(Ordering::Relaxed).to_le_bytes();
        macs[..6].copy_from_slice(&mac);
        cell.macs.store(u64::from_le_bytes(macs), Ordering::Relaxed);
    }

    fn write(&self, cell: &Cell, hop: Hop, generation: u16) {
        let mut low = [0; 8];
        low.copy_from_slice(&hop.macs[..8]);
        let mut high = [0; 8];
        high[..4].copy_from_slice(&hop.macs[8..]);
        cell.macs.store(u64::from_le_bytes(low), Ordering::Relaxed);
        cell.link.store(u64::from(hop.vlan) | u64::from(hop.limit) << 32, Ordering::Relaxed);
        let rest = u64::from_le_bytes(high) | u64::from(hop.port) << 32 | u64::from(generation) << 48;
        cell.rest.store(rest, Ordering::Release);
    }

    /// Neighbour owner: nobody answers there any more. Every session that used it resolves its path again. Of an id that is not
    /// resolved: nothing happens.
    pub fn lost(&self, id: AdjacencyId) {
        let cell = &self.cells[id.0 as usize];
        if cell.rest.load(Ordering::Relaxed) == 0 {
            return;
        }
        cell.rest.store(0, Ordering::Release);
        let (about, (interface, address)) = (cell.about.load(Ordering::Relaxed), self.owner_of(id));
        let (hash, _) = self.hashed(interface, address);
        self.index.remove(hash, Ref::new(TABLE, id.0.into(), (about >> 16) as u16));
    }

    /// Interface and address of an id, as last written.
    fn owner_of(&self, id: AdjacencyId) -> (u16, IpAddr) {
        let cell = &self.cells[id.0 as usize];
        let word = |i: usize| cell.address[i].load(Ordering::Relaxed) as u128;
        let a = Ipv6Addr::from((word(0) | word(1) << 64).to_le_bytes());
        let a = a.to_ipv4_mapped().map_or(IpAddr::V6(a), |v4: Ipv4Addr| IpAddr::V4(v4));
        (cell.about.load(Ordering::Relaxed) as u16, a)
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    fn hop(n: u8) -> Hop {
        Hop {
            macs: std::array::from_fn(|i| n + i as u8),
            port: n.into(),
            limit: 1514 + u16::from(n),
            vlan: n.into(),
        }
    }

    #[test]
    fn one_write_moves_every_path_and_loss_forces_resolution() {
        let mut seed = 0u64;
        let a = Adjacencies::new(
            8,
            HashKey::new(|| {
                seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                seed
            }),
        );
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap());
        assert_eq!(a.hop(Path::default()), None);
        let p = a.resolved(AdjacencyId(3), 1, v4, hop(1)).unwrap();
        let q = a.resolved(AdjacencyId(4), 1, v6, hop(2)).unwrap();
        assert_eq!((a.lookup(1, v4), a.lookup(1, v6), a.lookup(2, v4)), (Some(p), Some(q), None));
        assert_eq!((a.hop(p), a.hop(q)), (Some(hop(1)), Some(hop(2))));
        a.changed_mac(AdjacencyId(3), [9; 6]);
        let mut moved = hop(1);
        moved.macs[..6].fill(9);
        assert_eq!((a.hop(p), a.lookup(1, v4)), (Some(moved), Some(p)));
        a.lost(AdjacencyId(3));
        assert_eq!((a.hop(p), a.lookup(1, v4)), (None, None));
        // The id comes back for somebody else: the old path stays dead.
        let r = a.resolved(AdjacencyId(3), 2, v6, hop(9)).unwrap();
        assert_eq!((a.hop(p), a.hop(r), a.lookup(2, v6)), (None, Some(hop(9)), Some(r)));
        assert_eq!(a.hop(Path(0xffff_ffff)), None, "an id past the table");
    }

    #[test]
    fn renewal_voids_the_path_and_keeps_the_hop() {
        let a = Adjacencies::new(8, HashKey::new(|| 0x9e37_79b9_7f4a_7c15));
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let (id, other) = (AdjacencyId(3), AdjacencyId(4));
        assert_eq!((a.renew(id), a.renew(AdjacencyId(u16::MAX))), (None, None), "nothing is there");
        let first = a.resolved(id, 1, v4, hop(1)).unwrap();
        let q = a.resolved(other, 1, v6, hop(2)).unwrap();
        let mut path = first;
        // Through the wrap of the generation, which skips 0.
        for _ in 0..0x1_0000 {
            let new = a.renew(id).unwrap();
            assert_eq!((a.hop(path), a.hop(new), a.lookup(1, v4)), (None, Some(hop(1)), Some(new)));
            path = new;
        }
        assert_ne!(path, first);
        assert_eq!((a.hop(q), a.lookup(1, v6)), (Some(hop(2)), Some(q)), "the other one is untouched");
        assert_eq!(a.index.census().0, 2, "an entry each");
        // It changes and goes as any other.
        a.changed_mac(id, [9; 6]);
        assert_eq!(a.hop(path).map(|hop| hop.macs[..6] == [9; 6]), Some(true));
        a.lost(id);
        assert_eq!((a.hop(path), a.lookup(1, v4), a.renew(id)), (None, None, None));
        let again = a.resolved(id, 1, v4, hop(5)).unwrap();
        assert_eq!((a.hop(again), a.lookup(1, v4)), (Some(hop(5)), Some(again)));
        assert_eq!((a.hop(path), a.index.census().0), (None, 2));
    }
}
