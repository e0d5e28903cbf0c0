//! The hot records: a half-flow each, one direction of a session, one cache line (IPv4) or two (IPv6).
//!
//! A record is nothing but atomics, read and written relaxed: sharing it needs no unsafe code. What makes that right:
//! - **Key, rewrite, action, twin, generation** are written by the home worker while nobody else can reach the record, and
//!   are made visible by the release in [`super::Index::insert`]; they don't change until the record has left the index
//!   and every worker has been quiescent.
//! - **Packets, bytes, last seen, TCP flags, path** are written by whichever worker forwards this direction, by load and
//!   store: almost always one worker, so that a lost update is possible and harmless. The TCP flags are also written by a
//!   worker that forwards the other direction, where a reset or a SYN changes both ([`super::tcp`]).

use super::adjacency::{KeepsPath, Path};
use super::index::Ref;
use super::key::{Key4, Key6};
use super::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What is done with a packet of this half.
///
/// Layout of its bits: kind 4 | answered 1 (bit 5) | initiator 1 (bit 6) | outbound 1 (bit 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Action(pub u8);

impl Action {
    /// Nothing: the record is free.
    pub const NONE: Self = Self(0);
    /// Rewrite, then on its way along the path.
    pub const FORWARD: Self = Self(1);
    /// Rewrite, then once more through the look-up as if it came from the outside: its destination is a NAT address of
    /// this edge (RFC 4787 REQ-9: hairpinning with the external source address). No TTL is taken on this leg.
    pub const HAIRPIN: Self = Self(2);
    /// Rewrite, with session tags for addresses, then into the tunnel of the first of them. In the place of the new ports, which are
    /// the old ones, its half has the place of the session.
    pub const ENCAPSULATE: Self = Self(3);
    /// Of packets that have left a tunnel, whose addresses are session tags: rewrite, then on their way along the path. As above.
    pub const DECAPSULATE: Self = Self(4);
    /// Rewrite, then straight to the other host of the session, which is behind this edge, too. In the place of the new ports its half
    /// has the tag of the sender's session.
    pub const LOCAL: Self = Self(5);
    /// Of an initiator's half that comes from outside: packets from inside have answered it, and home has noticed.
    pub const ANSWERED: u8 = 1 << 5;
    /// The half whose packet created the session. Exactly one of the two has it.
    pub const INITIATOR: u8 = 1 << 6;
    /// From the inside to the outside. Exactly one of the two has it.
    pub const OUTBOUND: u8 = 1 << 7;

    /// Kind alone.
    #[inline(always)]
    pub const fn kind(self) -> Self {
        Self(self.0 & 15)
    }
    pub const fn with(self, flags: u8) -> Self {
        Self(self.0 | flags)
    }
    /// Whether it is a half of a flow of two hosts that have a session: between two edges, or behind this one.
    pub const fn is_tunnelled(self) -> bool {
        matches!(self.kind(), Self::ENCAPSULATE | Self::DECAPSULATE | Self::LOCAL)
    }
    pub const fn is_answered(self) -> bool {
        self.0 & Self::ANSWERED != 0
    }
    pub const fn is_initiator(self) -> bool {
        self.0 & Self::INITIATOR != 0
    }
    pub const fn is_outbound(self) -> bool {
        self.0 & Self::OUTBOUND != 0
    }
}

/// The compiled rewrite of an IPv4 half: what the header becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewrite4 {
    /// New source and destination address, wire order, read little-endian.
    pub addresses: u64,
    /// New source and destination port (ICMP: the new identifier, twice), wire order, read little-endian.
    pub ports: u32,
    /// RFC 1624 delta of the IPv4 header checksum, the TTL's decrement included where one is taken.
    pub ip_delta: u16,
    /// RFC 1624 delta of the TCP, UDP or ICMP checksum.
    pub l4_delta: u16,
}

/// What home writes when it makes a half.
#[derive(Clone, Copy, Debug)]
pub struct Half<K, W> {
    pub key: K,
    pub rewrite: W,
    pub action: Action,
}

/// A record of either family, as the tables and the sweep see it.
pub trait Record: Sized {
    /// The family's key.
    type Key: Copy + PartialEq + super::hash::Hashed + std::fmt::Debug;
    /// The family's rewrite.
    type Rewrite: Copy;

    /// A free record.
    fn free() -> Self;
    /// Whether it holds this key.
    fn matches(&self, key: &Self::Key) -> bool;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// Home, before publication: writes the constant part and clears the counters.
    fn write(&self, half: &Half<Self::Key, Self::Rewrite>, twin: Ref, generation: u16, now: u32);
    /// The part that both families share.
    fn common(&self) -> &Common;
}

/// The last 32 bytes of every record.
#[repr(C)]
pub struct Common {
    /// Packets forwarded.
    packets: AtomicU64,
    /// Bytes of those packets, Ethernet header included, frame check sequence not.
    bytes: AtomicU64,
    /// Milliseconds, wrapping, of the last packet; of creation before the first.
    last_seen: AtomicU32,
    /// See [`Path`].
    path: AtomicU32,
    /// Index 28 | table 4 of the other half; its generation is this record's own.
    twin: AtomicU32,
    /// Counts the uses of this record; both halves of a session have the same.
    generation: AtomicU16,
    /// See [`Action`].
    action: AtomicU8,
    /// All TCP flags seen in this direction since it began, or-ed; ACK since the last reset. See [`super::tcp`].
    tcp_flags: AtomicU8,
}

impl Common {
    fn free() -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_seen: AtomicU32::new(0),
            path: AtomicU32::new(0),
            twin: AtomicU32::new(0),
            generation: AtomicU16::new(0),
            action: AtomicU8::new(0),
            tcp_flags: AtomicU8::new(0),
        }
    }

    fn write(&self, action: Action, twin: Ref, generation: u16, now: u32) {
        self.packets.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.last_seen.store(now, Ordering::Relaxed);
        self.path.store(0, Ordering::Relaxed);
        self.twin.store(twin.index() as u32 | u32::from(twin.table()) << 28, Ordering::Relaxed);
        self.tcp_flags.store(0, Ordering::Relaxed);
        self.generation.store(generation, Ordering::Relaxed);
        self.action.store(action.0, Ordering::Relaxed);
    }

    /// Home: see the flags of [`Action`].
    pub fn set(&self, flags: u8) {
        let action = self.action.load(Ordering::Relaxed);
        self.action.store(action | flags, Ordering::Relaxed);
    }

    /// Home, when the session has left the index: it no longer counts as one, but whoever holds the record may act on it.
    pub(super) fn retire(&self) {
        let action = self.action.load(Ordering::Relaxed);
        self.action.store(action & !Action::INITIATOR, Ordering::Relaxed);
    }

    /// Home, once every worker has been quiescent: the record is free, and `next` follows it in its chunk's free list.
    pub(super) fn release(&self, next: u16) {
        self.action.store(Action::NONE.0, Ordering::Relaxed);
        self.twin.store(u32::from(next), Ordering::Relaxed);
    }

    /// Home: what [`Self::release`] was told. Only of a free record.
    pub(super) fn next_free(&self) -> u16 {
        self.twin.load(Ordering::Relaxed) as u16
    }

    /// A worker forwards one packet of `bytes` at `now`.
    #[inline(always)]
    pub fn count(&self, bytes: u32, now: u32) {
        self.count_quietly(bytes);
        self.last_seen.store(now, Ordering::Relaxed);
    }

    /// The same, of a packet that does not keep the session alive.
    #[inline(always)]
    pub fn count_quietly(&self, bytes: u32) {
        self.packets.store(self.packets.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + u64::from(bytes), Ordering::Relaxed);
    }

    /// A worker saw a segment with these TCP flags.
    #[inline(always)]
    pub fn saw_tcp(&self, flags: u8) {
        let seen = self.tcp_flags.load(Ordering::Relaxed);
        if seen | flags != seen {
            self.tcp_flags.store(seen | flags, Ordering::Relaxed);
        }
    }

    /// A worker saw a segment after which this direction's flags are others.
    pub(super) fn set_tcp(&self, flags: u8) {
        self.tcp_flags.store(flags, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn path(&self) -> Path {
        Path(self.path.load(Ordering::Relaxed))
    }
    #[inline(always)]
    pub fn action(&self) -> Action {
        Action(self.action.load(Ordering::Relaxed))
    }
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    pub fn last_seen(&self) -> u32 {
        self.last_seen.load(Ordering::Relaxed)
    }
    pub fn tcp_flags(&self) -> u8 {
        self.tcp_flags.load(Ordering::Relaxed)
    }
    pub fn generation(&self) -> u16 {
        self.generation.load(Ordering::Relaxed)
    }
    /// The other half of the session.
    pub fn twin(&self) -> Ref {
        let t = self.twin.load(Ordering::Relaxed);
        Ref::new((t >> 28) as u8, t & Ref::MAX_INDEX, self.generation())
    }
}

impl KeepsPath for Common {
    fn set_path(&self, path: Path) {
        self.path.store(path.0, Ordering::Relaxed);
    }
}

/// An IPv4 half-flow: one cache line.
#[repr(C, align(64))]
pub struct Record4 {
    addresses: AtomicU64,
    tail: AtomicU64,
    new_addresses: AtomicU64,
    /// New ports 32 | delta of the IPv4 checksum 16 | delta of the transport checksum 16.
    new_rest: AtomicU64,
    common: Common,
}

#[cfg(not(ces_loom))]
const _: () = assert!(size_of::<Record4>() == 64 && align_of::<Record4>() == 64);

impl Record4 {
    /// The compiled rewrite.
    #[inline(always)]
    pub fn rewrite(&self) -> Rewrite4 {
        let rest = self.new_rest.load(Ordering::Relaxed);
        Rewrite4 {
            addresses: self.new_addresses.load(Ordering::Relaxed),
            ports: rest as u32,
            ip_delta: (rest >> 32) as u16,
            l4_delta: (rest >> 48) as u16,
        }
    }
}

impl Record for Record4 {
    type Key = Key4;
    type Rewrite = Rewrite4;

    fn free() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            addresses: zero(),
            tail: zero(),
            new_addresses: zero(),
            new_rest: zero(),
            common: Common::free(),
        }
    }

    #[inline(always)]
    fn matches(&self, key: &Key4) -> bool {
        self.addresses.load(Ordering::Relaxed) == key.addresses
            && self.tail.load(Ordering::Relaxed) == key.tail
    }

    fn key(&self) -> Key4 {
        Key4 { addresses: self.addresses.load(Ordering::Relaxed), tail: self.tail.load(Ordering::Relaxed) }
    }

    fn write(&self, half: &Half<Key4, Rewrite4>, twin: Ref, generation: u16, now: u32) {
        let w = &half.rewrite;
        self.addresses.store(half.key.addresses, Ordering::Relaxed);
        self.tail.store(half.key.tail, Ordering::Relaxed);
        self.new_addresses.store(w.addresses, Ordering::Relaxed);
        let rest = u64::from(w.ports) | u64::from(w.ip_delta) << 32 | u64::from(w.l4_delta) << 48;
        self.new_rest.store(rest, Ordering::Relaxed);
        self.common.write(half.action, twin, generation, now);
    }

    #[inline(always)]
    fn common(&self) -> &Common {
        &self.common
    }
}

/// The compiled rewrite of an IPv6 half. A stateful firewall (RFC 6092) rewrites nothing but the hop limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewrite6;

/// An IPv6 half-flow: two cache lines.
#[repr(C, align(128))]
pub struct Record6 {
    addresses: [AtomicU64; 4],
    tail: AtomicU64,
    /// Places the part that workers write on the second line.
    _room: [AtomicU64; 3],
    common: Common,
}

#[cfg(not(ces_loom))]
const _: () = assert!(size_of::<Record6>() == 128 && align_of::<Record6>() == 128);

impl Record for Record6 {
    type Key = Key6;
    type Rewrite = Rewrite6;

    fn free() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            addresses: [zero(), zero(), zero(), zero()],
            tail: zero(),
            _room: [zero(), zero(), zero()],
            common: Common::free(),
        }
    }

    #[inline(always)]
    fn matches(&self, key: &Key6) -> bool {
        self.tail.load(Ordering::Relaxed) == key.tail
            && self.addresses.iter().zip(&key.addresses).all(|(a, k)| a.load(Ordering::Relaxed) == *k)
    }

    fn key(&self) -> Key6 {
        Key6 {
            addresses: std::array::from_fn(|i| self.addresses[i].load(Ordering::Relaxed)),
            tail: self.tail.load(Ordering::Relaxed),
        }
    }

    fn write(&self, half: &Half<Key6, Rewrite6>, twin: Ref, generation: u16, now: u32) {
        for (cell, word) in self.addresses.iter().zip(&half.key.addresses) {
            cell.store(*word, Ordering::Relaxed);
        }
        self.tail.store(half.key.tail, Ordering::Relaxed);
        self.common.write(half.action, twin, generation, now);
    }

    #[inline(always)]
    fn common(&self) -> &Common {
        &self.common
    }
}
