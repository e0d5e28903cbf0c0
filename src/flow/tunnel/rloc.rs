//! Other edges, and the RLOCs between them and us.
//!
//! An RLOC remembers some next hops, one of which a flow takes by its entropy: where its route has several of equal cost, flows spread
//! over them, and each keeps to its own.

use crate::flow::adjacency::{KeepsPath, Path};
use crate::flow::key::Realm;
use crate::flow::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::packet::{ipv4, ipv6, udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RLOCs that one edge may have here.
pub const RLOCS_OF_A_PEER: usize = 14;

/// Next hops that an RLOC remembers, a power of two. Each is one of the route's by a hash of its own, so that of two next hops
/// each has 9 to 23 of them, but for one RLOC in a hundred.
const PATHS: usize = 32;

/// Where two edges meet: an address of ours and one of theirs, of one carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ends {
    /// UDP over IPv4.
    V4 { local: Ipv4Addr, remote: Ipv4Addr },
    /// UDP over IPv6.
    V6 { local: Ipv6Addr, remote: Ipv6Addr },
    /// Ethernet: MAC addresses on that interface.
    Ethernet { interface: u16, local: [u8; 6], remote: [u8; 6] },
}

impl Ends {
    /// Those of UDP; `None` of two families.
    pub fn udp(local: IpAddr, remote: IpAddr) -> Option<Ends> {
        match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => Some(Ends::V4 { local, remote }),
            (IpAddr::V6(local), IpAddr::V6(remote)) => Some(Ends::V6 { local, remote }),
            _ => None,
        }
    }

    /// Bytes of the headers before a payload TLV that an RLOC's MTU bounds: those of IP and UDP.
    pub const fn headers(&self) -> usize {
        match self {
            Ends::V4 { .. } => ipv4::HEADER_LENGTH + udp::HEADER_LENGTH,
            Ends::V6 { .. } => ipv6::HEADER_LENGTH + udp::HEADER_LENGTH,
            Ends::Ethernet { .. } => 0,
        }
    }
}

/// What an RLOC is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RlocOptions {
    pub ends: Ends,
    /// In which packets between the edges travel.
    pub realm: Realm,
    /// Bytes of the largest packet, outer headers included, that reaches the other edge.
    pub mtu: u16,
}

/// An RLOC pair: one cache line, and two of next hops, of which a packet needs one.
#[repr(C, align(64))]
pub struct Rloc {
    /// Ours then theirs, two words each, wire order: IPv4 as IPv4-mapped, a MAC address in the first six bytes of its words.
    addresses: [AtomicU64; 4],
    /// Carrier 8 | realm 16 | interface 16, from bit 0 on.
    about: AtomicU64,
    /// Over IPv4: both addresses again, ours first, as headers have them; else 0.
    ends4: AtomicU64,
    /// Written by the owner alone, also while it is published: what was told, by the other edge or by routers, may change.
    pub(super) mtu: AtomicU16,
    paths: Paths,
}

/// Written by any worker: the next hops, by a flow's entropy.
#[repr(C, align(64))]
struct Paths([AtomicU32; PATHS]);

#[cfg(not(ces_loom))]
const _: () = assert!(size_of::<Rloc>() == 192 && size_of::<Peer>() == 64 && PATHS.is_power_of_two());

const V4: u64 = 1;
const V6: u64 = 2;
const ETHERNET: u64 = 3;

fn words(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from_le_bytes(address.octets());
    [bits as u64, (bits >> 64) as u64]
}

fn mac_words(mac: [u8; 6]) -> [u64; 2] {
    let [a, b, c, d, e, f] = mac;
    [u64::from_le_bytes([a, b, c, d, e, f, 0, 0]), 0]
}

/// The words of an end, and the carrier with its interface as [`Rloc`] has them.
pub(super) fn compiled(ends: &Ends) -> ([u64; 4], u64) {
    let ([local, remote], about) = match *ends {
        Ends::V4 { local, remote } => ([local, remote].map(|a| words(a.to_ipv6_mapped())), V4),
        Ends::V6 { local, remote } => ([local, remote].map(words), V6),
        Ends::Ethernet { interface, local, remote } => {
            ([local, remote].map(mac_words), ETHERNET | u64::from(interface) << 24)
        }
    };
    ([local[0], local[1], remote[0], remote[1]], about)
}

impl Rloc {
    pub(super) fn free() -> Self {
        Self {
            addresses: std::array::from_fn(|_| AtomicU64::new(0)),
            about: AtomicU64::new(0),
            ends4: AtomicU64::new(0),
            mtu: AtomicU16::new(0),
            paths: Paths(std::array::from_fn(|_| AtomicU32::new(0))),
        }
    }

    pub(super) fn write(&self, options: &RlocOptions) {
        let (addresses, about) = compiled(&options.ends);
        self.addresses.iter().zip(addresses).for_each(|(cell, word)| cell.store(word, Ordering::Relaxed));
        self.about.store(about | u64::from(options.realm.0) << 8, Ordering::Relaxed);
        let ends4 = match options.ends {
            Ends::V4 { .. } => addresses[1] >> 32 | addresses[3] & 0xffff_ffff_0000_0000,
            _ => 0,
        };
        self.ends4.store(ends4, Ordering::Relaxed);
        self.paths.0.iter().for_each(|path| path.store(0, Ordering::Relaxed));
        self.mtu.store(options.mtu, Ordering::Relaxed);
    }

    fn word(&self, i: usize) -> u64 {
        self.addresses[i].load(Ordering::Relaxed)
    }

    /// Between which addresses.
    #[inline(always)]
    pub fn ends(&self) -> Ends {
        let about = self.about.load(Ordering::Relaxed);
        let v6 =
            |i| Ipv6Addr::from((u128::from(self.word(i)) | u128::from(self.word(i + 1)) << 64).to_le_bytes());
        let v4 = |i: usize| Ipv4Addr::from_octets(((self.word(i) >> 32) as u32).to_le_bytes());
        let mac = |i| {
            let [a, b, c, d, e, f, ..] = self.word(i).to_le_bytes();
            [a, b, c, d, e, f]
        };
        match about & 0xff {
            V4 => Ends::V4 { local: v4(1), remote: v4(3) },
            V6 => Ends::V6 { local: v6(0), remote: v6(2) },
            _ => Ends::Ethernet { interface: (about >> 24) as u16, local: mac(0), remote: mac(2) },
        }
    }

    /// Whether our end, and whether theirs, is that of the words and the carrier that [`compiled`] gives.
    pub(super) fn ends_are(&self, words: &[u64; 4], about: u64) -> (bool, bool) {
        // The realm stands between carrier and interface, and is no part of an end.
        let is_carrier = self.about.load(Ordering::Relaxed) & 0xff_ff00_00ff == about;
        let is = |i: usize| self.word(i) == words[i] && self.word(i + 1) == words[i + 1];
        (is_carrier && is(0), is_carrier && is(2))
    }

    /// Over IPv4: both addresses, ours first, as headers have them; 0 over another carrier.
    #[inline(always)]
    pub fn ends4(&self) -> u64 {
        self.ends4.load(Ordering::Relaxed)
    }

    /// In which packets between the edges travel.
    #[inline(always)]
    pub fn realm(&self) -> Realm {
        Realm((self.about.load(Ordering::Relaxed) >> 8) as u16)
    }

    /// See [`RlocOptions::mtu`].
    #[inline(always)]
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// The next hop of a flow to the other edge.
    #[inline(always)]
    pub fn path(&self, entropy: u16) -> Path {
        Path(self.paths.0[usize::from(entropy) % PATHS].load(Ordering::Relaxed))
    }

    /// What remembers it, for all flows that share it, and by what hash they choose among a route's.
    pub fn keeper(&self, entropy: u16) -> (FlowsPath<'_>, u64) {
        let place = usize::from(entropy) % PATHS;
        let of_edge = self.word(2) ^ self.word(3).rotate_left(32);
        (FlowsPath(&self.paths.0[place]), of_edge.wrapping_add(place as u64))
    }
}

/// The next hop of some flows to another edge.
pub struct FlowsPath<'r>(&'r AtomicU32);

impl KeepsPath for FlowsPath<'_> {
    fn set_path(&self, path: Path) {
        self.0.store(path.0, Ordering::Relaxed);
    }
}

/// Another edge: one cache line. RLOCs are numbers plus one; 0 is none.
#[repr(C, align(64))]
pub struct Peer {
    /// The RLOC that packets go to.
    pub(super) active: AtomicU32,
    /// Key epoch of packets that are sent 8 | of those that are still taken 8, from bit 0 on.
    pub(super) epochs: AtomicU32,
    /// The RLOCs that packets may come from.
    pub(super) accepted: [AtomicU32; RLOCS_OF_A_PEER],
}

impl Peer {
    pub(super) fn free() -> Self {
        let zero = || AtomicU32::new(0);
        Self { active: zero(), epochs: zero(), accepted: std::array::from_fn(|_| zero()) }
    }

    /// The key epoch of packets that are sent there.
    #[inline(always)]
    pub fn epoch(&self) -> u8 {
        self.epochs.load(Ordering::Relaxed) as u8
    }

    /// Whether packets under the key of that epoch are taken.
    #[inline(always)]
    pub fn takes_epoch(&self, epoch: u8) -> bool {
        let epochs = self.epochs.load(Ordering::Relaxed);
        epoch == epochs as u8 || epoch == (epochs >> 8) as u8
    }
}
