//! What routers on the way to other edges say of packets that were too big for them (RFC 1191, RFC 8201).
//!
//! A way is an RLOC of ours and one of another edge's: whatever goes between these two is bounded by it, of whichever sessions.
//! Hosts learn of it as of any other bound: by the segment size that a SYN announces, or because they are told.
//!
//! How much a message is worth follows from what it quotes ([`TooBig`]). With the tags of a session between the two RLOCs it comes
//! from somebody who has seen a packet of that session: it may lower to what every host takes, 576 bytes (RFC 791 section 3.1; a link
//! of less, down to the 68 of a router, is between no two edges, and would let one message cut hosts' packets to nothing), and over
//! IPv6 to what every link takes, 1,280 (RFC 8200 section 5). Without tags anybody can have written it who knows two RLOCs: such a
//! one lowers no further than to 1,280, so that a forger costs some packets a tenth of their payload and can do no more.
//!
//! Guarantees: a message never raises anything; what it has lowered is back after ten minutes (RFC 1191 section 6.3, RFC 8201 section
//! 4), and outlives the sessions meanwhile; so many ways are kept, and no more. Never: believes a message about a way that no session
//! here has.

use std::collections::HashMap;

use super::service::{Now, Service};
use crate::flow::tunnel::Ends;
use crate::packet::TooBig;

/// How long a message counts, in milliseconds.
pub const LIFETIME: u64 = 600_000;
/// Ways that are kept.
const WAYS: usize = 4096;
/// What every host takes over IPv4 (RFC 791 section 3.1), and every link over IPv6 (RFC 8200 section 5).
const LEAST4: u16 = 576;
const LEAST6: u16 = 1280;
/// To what anybody may lower.
const UNPROVEN: u16 = 1280;

/// The least that a message may lower a way to.
pub(super) fn least(said: &TooBig) -> u16 {
    match said.tags {
        Some(_) if said.local.is_ipv4() => LEAST4,
        Some(_) => LEAST6,
        None => UNPROVEN,
    }
}

/// What has become of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub lowered: u64,
    /// That said nothing new, too little to be true, or of a way that nobody goes.
    pub ignored: u64,
    /// Ways that are back to what they were.
    pub restored: u64,
}

#[derive(Clone, Copy, Debug)]
struct Lowered {
    mtu: u16,
    /// In milliseconds.
    until: u64,
}

/// Ways that take less than their links say. See the module.
#[derive(Debug, Default)]
pub struct Ways(HashMap<Ends, Lowered>);

impl Ways {
    /// What a way takes, of that much where nobody has said anything.
    pub fn mtu(&self, ends: &Ends, most: u16) -> u16 {
        self.0.get(ends).map_or(most, |lowered| lowered.mtu.min(most))
    }

    /// Until when it takes less, in milliseconds.
    pub fn until(&self, ends: &Ends) -> Option<u64> {
        self.0.get(ends).map(|lowered| lowered.until)
    }

    /// It takes that much; false where there is no room.
    pub fn lower(&mut self, ends: Ends, mtu: u16, now: u64) -> bool {
        let has_room = self.0.len() < WAYS || self.0.contains_key(&ends);
        if has_room {
            self.0.insert(ends, Lowered { mtu, until: now + LIFETIME });
        }
        has_room
    }

    /// Takes out a way whose time is over.
    pub fn restore(&mut self, now: u64) -> Option<Ends> {
        let ends = *self.0.iter().find(|(_, lowered)| lowered.until <= now)?.0;
        self.0.remove(&ends);
        Some(ends)
    }
}

impl Service {
    /// A router says that a packet of a tunnel was too big for it.
    pub fn too_big(&mut self, said: &TooBig, now: Now) {
        let Service { edges, table, shared, mtu_counters, .. } = self;
        let ends = Ends::udp(said.local, said.remote);
        // A worker has looked, but sessions end.
        let is_proven = |ends: &Ends| said.tags.is_none_or(|tags| shared.may_have_sent(tags, ends));
        let is_lowered = ends.filter(is_proven).is_some_and(|ends| {
            said.mtu >= least(said) && edges.lower(&ends, said.mtu, now.ms, &mut table.lock())
        });
        *(if is_lowered { &mut mtu_counters.lowered } else { &mut mtu_counters.ignored }) += 1;
    }

    /// What was said long ago counts no more.
    pub(super) fn restore_ways(&mut self, now: Now) {
        self.mtu_counters.restored += self.edges.restore(now.ms, &mut self.table.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// One more than there is room for changes nothing; those that are known may still be lowered; and time makes room.
    #[test]
    fn as_many_ways_are_kept_as_there_is_room_for() {
        let ends = |number: usize| Ends::V4 {
            local: Ipv4Addr::new(192, 0, 2, 1),
            remote: Ipv4Addr::from(0xc633_0000 + number as u32),
        };
        let mut ways = Ways::default();
        assert!((0..WAYS).all(|number| ways.lower(ends(number), 1400, number as u64)));
        assert!(!ways.lower(ends(WAYS), 1400, 0) && ways.0.len() == WAYS);
        assert_eq!((ways.mtu(&ends(WAYS), 1500), ways.mtu(&ends(0), 1500)), (1500, 1400));
        assert!(ways.lower(ends(0), 1300, 5));
        assert_eq!((ways.mtu(&ends(0), 1500), ways.0.len()), (1300, WAYS));
        let restored = std::iter::from_fn(|| ways.restore(LIFETIME + 9)).count();
        assert_eq!(restored, 10, "those whose time is over");
        assert!(ways.lower(ends(WAYS), 1400, LIFETIME + 9));
    }
}
