//! Sessions between a host behind this edge and one behind another.

use super::LOCAL;
use super::services::{Service, Services};
use crate::flow::adjacency::{KeepsPath, Path};
use crate::flow::key::Realm;
use crate::flow::sync::{AtomicU32, AtomicU64, Ordering};
use std::net::Ipv4Addr;

/// What a session is made of.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions<'s> {
    /// The tag that the other edge gave it, not 0.
    pub peer_tag: u32,
    /// By the number that [`Tunnels::add_peer`](super::Tunnels::add_peer) gave, or [`LOCAL`]: then `peer_tag` is the own
    /// tag of the session that the other host has with this one.
    pub peer: u32,
    /// Of the host behind this edge.
    pub realm: Realm,
    /// To which packets go that are of no flow of another one of its addresses.
    pub host: Ipv4Addr,
    /// What stands there for the host behind the other edge.
    pub proxy: Ipv4Addr,
    /// What was negotiated. At most [`super::services::SERVICES`].
    pub services: &'s [Service],
}

/// A session: what workers need of it for each packet in one cache line, what they need for a new flow in the others.
#[repr(C, align(256))]
pub struct Session {
    /// Own tag 32 | the peer's tag 32, from bit 0 on. 0: there is no session. Published by it.
    pub(super) tags: AtomicU64,
    /// Host then proxy address, wire order, as packets from the host have them.
    pub(super) addresses: AtomicU64,
    /// Peer 32 | realm 16, from bit 0 on.
    about: AtomicU64,
    /// Written by workers: wrapping milliseconds of the last packet in either direction.
    last_seen: AtomicU32,
    /// Written by any worker: the next hop to the host, where the other host is behind this edge, too.
    path: AtomicU32,
    /// Written by workers: packets and bytes of hosts' packets into the tunnel, then out of it.
    counts: [AtomicU64; 4],
    services: Services,
    /// Further addresses of the host, as pairs have them; 0 for none. Written by the owner.
    pub(super) others: [AtomicU32; OTHERS],
}

/// Addresses of a host beside the first that its packets may be from.
pub const OTHERS: usize = 8;

#[cfg(not(ces_loom))]
const _: () = assert!(size_of::<Session>() == 256 && std::mem::offset_of!(Session, services) == 64);

/// What is counted of a session: packets and bytes of hosts' packets, as the hosts sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub packets_out: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
}

impl Session {
    pub(super) fn free() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            tags: zero(),
            addresses: zero(),
            about: zero(),
            last_seen: AtomicU32::new(0),
            path: AtomicU32::new(0),
            counts: std::array::from_fn(|_| zero()),
            services: Services::none(),
            others: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    pub(super) fn write(&self, options: &SessionOptions<'_>, own: u32, now: u32) {
        self.addresses.store(pair_of(options.host, options.proxy), Ordering::Relaxed);
        let about = u64::from(options.peer) | u64::from(options.realm.0) << 32;
        self.about.store(about, Ordering::Relaxed);
        self.last_seen.store(now, Ordering::Relaxed);
        self.path.store(0, Ordering::Relaxed);
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.services.write(options.services);
        self.others.iter().for_each(|other| other.store(0, Ordering::Relaxed));
        self.tags.store(u64::from(own) | u64::from(options.peer_tag) << 32, Ordering::Release);
    }

    /// Own tag and the peer's; 0 where there is no session.
    #[inline(always)]
    pub fn tags(&self) -> (u32, u32) {
        let tags = self.tags.load(Ordering::Acquire);
        (tags as u32, (tags >> 32) as u32)
    }

    /// The host's address and the proxy address.
    pub fn pair(&self) -> (Ipv4Addr, Ipv4Addr) {
        let [a, b, c, d, e, f, g, h] = self.addresses.load(Ordering::Relaxed).to_le_bytes();
        (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))
    }

    /// Whether packets of that pair are its host's.
    pub(super) fn has_pair(&self, pair: u64) -> bool {
        let own = self.addresses.load(Ordering::Relaxed);
        let host = pair as u32;
        let is_other = || self.others.iter().any(|other| other.load(Ordering::Relaxed) == host);
        own == pair || own >> 32 == pair >> 32 && host != 0 && is_other()
    }

    /// Of the host.
    pub fn realm(&self) -> Realm {
        Realm((self.about.load(Ordering::Relaxed) >> 32) as u16)
    }

    /// The number of the other edge.
    #[inline(always)]
    pub fn peer(&self) -> u32 {
        self.about.load(Ordering::Relaxed) as u32
    }

    /// Whether the other host is behind this edge, too.
    #[inline(always)]
    pub fn is_local(&self) -> bool {
        self.peer() == LOCAL
    }

    /// The next hop to the host of a local session.
    #[inline(always)]
    pub fn path(&self) -> Path {
        Path(self.path.load(Ordering::Relaxed))
    }

    /// What was negotiated.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// A worker sends a host's packet of `bytes` into the tunnel.
    #[inline(always)]
    pub fn count_out(&self, bytes: u32, now: u32) {
        self.count(0, bytes, now);
    }

    /// A worker has taken a host's packet of `bytes` out of it.
    #[inline(always)]
    pub fn count_in(&self, bytes: u32, now: u32) {
        self.count(2, bytes, now);
    }

    #[inline(always)]
    fn count(&self, at: usize, bytes: u32, now: u32) {
        let more = |cell: &AtomicU64, n: u64| cell.store(cell.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        more(&self.counts[at], 1);
        more(&self.counts[at + 1], bytes.into());
        self.last_seen.store(now, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        let [packets_out, bytes_out, packets_in, bytes_in] =
            std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed));
        Counts { packets_out, bytes_out, packets_in, bytes_in }
    }

    /// Wrapping milliseconds of the last packet in either direction; of its beginning before the first.
    pub fn last_seen(&self) -> u32 {
        self.last_seen.load(Ordering::Relaxed)
    }
}

/// Of a local session: packets to its host go that way.
impl KeepsPath for Session {
    fn set_path(&self, path: Path) {
        self.path.store(path.0, Ordering::Relaxed);
    }
}

/// An address as pairs have it.
pub(super) fn word_of(address: Ipv4Addr) -> u32 {
    u32::from_le_bytes(address.octets())
}

/// Host and proxy address as packets from the host have them.
pub(super) fn pair_of(host: Ipv4Addr, proxy: Ipv4Addr) -> u64 {
    u64::from(word_of(host)) | u64::from(word_of(proxy)) << 32
}
