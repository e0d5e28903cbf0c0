//! What is kept of another edge.

use super::keys::{Half, Keys};
use crate::edge::cetp::message::{Carriers, Code, Limits, Message, Rloc, Tag, Value};
use crate::edge::cetp::rate::Rate;
use crate::edge::cetp::retry::Sending;
use arrayvec::ArrayVec;

/// RLOCs that are kept of one edge.
pub const RLOCS: usize = 16;
/// Reports to one edge that may wait for their acknowledgement.
pub const REPORTS: usize = 4;

/// The RLOCs of an edge, best first.
pub type RlocList = ArrayVec<Rloc, RLOCS>;

/// Another edge.
pub struct Peer {
    /// Empty where the place is free.
    pub name: Box<str>,
    pub rlocs: RlocList,
    /// Which of them is used.
    pub at: usize,
    /// This edge asks for an association.
    pub asking: Option<Box<Asking>>,
    /// Messages go by this one.
    pub current: Option<Box<Association>>,
    /// This edge has answered; the first message by it makes it the current one.
    pub next: Option<Box<Next>>,
    /// Sessions of hosts that are in it.
    pub sessions: u32,
    /// When something was last sent for hosts, or something came by it, in milliseconds.
    pub used: u64,
    /// When something last came.
    pub heard: u64,
    /// Is it there? And how many RLOCs were asked.
    pub probe: Option<(Sending, usize)>,
    /// Of an association that this edge has asked for.
    pub rekey: Option<(Half, Sending)>,
    pub reports: ArrayVec<Sending, REPORTS>,
    /// The transactions of its last reports: a retransmission is acknowledged, and not told again.
    answered: [Option<u16>; ANSWERED],
    answered_at: usize,
    /// Its negotiations, by what was agreed on.
    pub negotiations: Rate,
    /// Reports of unexpected messages to it, under its MAC.
    pub unexpected: Rate,
    /// No new handshake of one's own before that time, in milliseconds.
    pub rest: u64,
}

/// A handshake of which this edge has asked.
pub struct Asking {
    pub local: Tag,
    pub half: Half,
    pub sending: Sending,
    /// RLOCs that were tried.
    pub tried: usize,
    /// The second question, with the cookie, was sent.
    pub is_proved: bool,
}

/// What two edges have agreed on.
pub struct Association {
    pub local: Tag,
    pub remote: Tag,
    /// This edge has asked for it: it changes the keys.
    pub is_initiator: bool,
    /// What is sent is under this.
    pub keys: Keys,
    /// The one before it, or the one that comes after it: taken, and not used until the other side does.
    pub other: Option<Keys>,
    pub is_other_newer: bool,
    /// The last answer that gave the other side a new key, and which question it was for.
    pub rekeyed: Option<(u16, Vec<u8>)>,
    /// What this edge takes of the other.
    pub granted: Limits,
    pub told: Told,
    /// When the current keys began, in milliseconds.
    pub since: u64,
}

/// An association that wasn't used yet.
pub struct Next {
    pub association: Association,
    pub reply: Vec<u8>,
    pub transaction: u16,
    /// Until when it waits, in milliseconds.
    pub until: u64,
}

/// What an edge has told of itself.
#[derive(Clone, Debug)]
pub struct Told {
    pub rlocs: RlocList,
    pub carriers: Carriers,
    pub mtu: u16,
    pub limits: Limits,
    pub incarnation: u64,
    /// By how many milliseconds its clock is ahead.
    pub clock: i64,
}

/// Where nothing was told: what IPv6 asks of every link (RFC 8200 section 5).
pub const MTU: u16 = 1280;
/// Where no limits were told.
pub const LIMITS: Limits = Limits { sessions: u32::MAX, negotiations: u32::MAX };

impl Told {
    /// `from` has proved that it is one of its RLOCs; `unix` is the own clock.
    pub fn read(message: &Message<'_>, from: Rloc, unix: u64) -> Told {
        let mut rlocs = read_rlocs(message);
        if !rlocs.contains(&from) {
            rlocs.truncate(RLOCS - 1);
            rlocs.insert(0, from);
        }
        let carriers = match message.value(Code::CARRIERS) {
            Some(Value::Carriers(carriers)) => *carriers,
            _ => Carriers::default().with(from.carrier()),
        };
        let mtu = if let Some(Value::Mtu(mtu)) = message.value(Code::MTU) { *mtu } else { MTU };
        let limits =
            if let Some(Value::Limits(limits)) = message.value(Code::LIMITS) { *limits } else { LIMITS };
        let incarnation =
            if let Some(Value::Incarnation(number)) = message.value(Code::INCARNATION) { *number } else { 0 };
        let clock = match message.value(Code::CLOCK) {
            Some(Value::Clock(clock)) => clock.wrapping_sub(unix) as i64,
            _ => 0,
        };
        Told { rlocs, carriers, mtu, limits, incarnation, clock }
    }
}

/// The RLOCs that a message tells: by order, among equals by preference, among those by carrier.
pub fn read_rlocs(message: &Message<'_>) -> RlocList {
    let mut ranked: ArrayVec<(u8, u8, Rloc), 24> = ArrayVec::new();
    for tlv in &message.tlvs {
        // A query and a response of each could be more than there is room for: what is told last is left out.
        let room = ranked.remaining_capacity();
        match &tlv.value {
            Some(Value::RlocIpv4(rlocs)) => {
                ranked.extend(rlocs.iter().map(|r| (r.order, r.preference, Rloc::V4(r.address))).take(room));
            }
            Some(Value::RlocIpv6(rlocs)) => {
                ranked.extend(rlocs.iter().map(|r| (r.order, r.preference, Rloc::V6(r.address))).take(room));
            }
            Some(Value::RlocEthernet(rlocs)) => {
                ranked.extend(
                    rlocs.iter().map(|r| (r.order, r.preference, Rloc::Ethernet(r.address))).take(room),
                );
            }
            _ => (),
        }
    }
    ranked.sort();
    let mut list = RlocList::new();
    for (_, _, rloc) in ranked {
        if is_usable(rloc) && !list.contains(&rloc) {
            let _ = list.try_push(rloc);
        }
    }
    list
}

/// Whether a message may be sent there: what a peer tells is never a group, or this machine itself.
pub fn is_usable(rloc: Rloc) -> bool {
    match rloc {
        Rloc::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast() || a.octets()[0] == 0),
        Rloc::V6(a) => !(a.is_unspecified() || a.is_multicast() || a.is_unicast_link_local()),
        Rloc::Ethernet(a) => a.is_unicast(),
    }
}

/// The carrier of each RLOC must be one that this edge has.
pub fn keep_carriers(rlocs: &mut RlocList, carriers: Carriers) {
    rlocs.retain(|rloc| carriers.contains(rloc.carrier()));
}

impl Peer {
    /// A free place where `name` is empty.
    pub fn new(name: &str, now: u64) -> Peer {
        Peer {
            name: name.into(),
            rlocs: RlocList::new(),
            at: 0,
            asking: None,
            current: None,
            next: None,
            sessions: 0,
            used: now,
            heard: 0,
            probe: None,
            rekey: None,
            reports: ArrayVec::new(),
            answered: [None; ANSWERED],
            answered_at: 0,
            negotiations: Rate::new(0, 0, 0),
            unexpected: Rate::new(UNEXPECTED, UNEXPECTED, 0),
            rest: 0,
        }
    }

    pub fn is_free(&self) -> bool {
        self.name.is_empty()
    }

    /// Where messages go.
    pub fn rloc(&self) -> Option<Rloc> {
        self.rlocs.get(self.at).copied()
    }

    /// Whether a report of that transaction has come; from now on it has.
    pub fn has_answered(&mut self, transaction: u16) -> bool {
        if self.answered.contains(&Some(transaction)) {
            return true;
        }
        self.answered[self.answered_at] = Some(transaction);
        self.answered_at = (self.answered_at + 1) % ANSWERED;
        false
    }

    /// Goes on to the next RLOC.
    pub fn next_rloc(&mut self) {
        self.at = if self.at + 1 < self.rlocs.len() { self.at + 1 } else { 0 };
    }
}

/// Reports that are remembered: twice as many as may wait on the other side.
const ANSWERED: usize = 2 * REPORTS;
/// Reports of unexpected messages a second to one edge.
const UNEXPECTED: u32 = 10;
