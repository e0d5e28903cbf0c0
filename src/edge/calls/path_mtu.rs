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
//! 4), and outlives the sessions meanwhile; so many ways are kept, and no more: the oldest gives way, of those of which least is proved
//! ([`Standing`]). Never: believes a message about a way that no session here has.

use std::collections::HashMap;

use super::service::{Now, Service};
use crate::flow::tunnel::Ends;
use crate::packet::TooBig;

/// How long a message counts, in milliseconds.
pub const LIFETIME: u64 = 600_000;
/// Ways that are kept.
pub(super) const WAYS: usize = 4096;
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

/// What is proved of a way, and of what was said of it. Whoever has many addresses may have sessions at all of them, and say of each what
/// it likes: so what has less standing takes no place of what has more. What gives way is learnt anew by the next packet that is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: who has said it need only know two RLOCs.
    Said,
    /// It has seen a packet of a session on that way, of an edge that is nobody for certain.
    Seen,
    /// And an association has proved the edge at its end.
    Proved,
}

#[derive(Clone, Copy, Debug)]
struct Lowered {
    standing: Standing,
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

    /// It takes that much; the way that has given place to it, if one has. `None`: there is no room for anything of that standing.
    pub fn lower(&mut self, ends: Ends, mtu: u16, standing: Standing, now: u64) -> Option<Option<Ends>> {
        let known = self.0.get(&ends).map(|lowered| lowered.standing);
        let mut gone = None;
        if known.is_none() && self.0.len() >= WAYS {
            let (first, least) =
                self.0.iter().min_by_key(|(_, lowered)| (lowered.standing, lowered.until))?;
            if least.standing > standing {
                return None;
            }
            let first = *first;
            self.0.remove(&first);
            gone = Some(first);
        }
        // What was proved of it remains so, whoever lowers it further.
        let standing = known.map_or(standing, |known| known.max(standing));
        self.0.insert(ends, Lowered { standing, mtu, until: now + LIFETIME });
        Some(gone)
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
            said.mtu >= least(said)
                && edges.lower(&ends, said.mtu, said.tags.is_some(), now.ms, &mut table.lock())
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

    fn ends(number: usize) -> Ends {
        Ends::V4 { local: Ipv4Addr::new(192, 0, 2, 1), remote: Ipv4Addr::from(0xc633_0000 + number as u32) }
    }

    /// One more than there is room for takes the place of the oldest; what was lowered since is none of those; and time makes room.
    #[test]
    fn as_many_ways_are_kept_as_there_is_room_for() {
        let mut ways = Ways::default();
        let lower = |ways: &mut Ways, number: usize, mtu: u16, now: usize| {
            ways.lower(ends(number), mtu, Standing::Said, now as u64)
        };
        for number in 0..WAYS {
            assert_eq!(lower(&mut ways, number, 1400, number), Some(None));
        }
        assert_eq!(lower(&mut ways, 0, 1300, WAYS), Some(None));
        assert_eq!(lower(&mut ways, WAYS, 1400, WAYS), Some(Some(ends(1))));
        assert_eq!(ways.0.len(), WAYS);
        assert_eq!([WAYS, 0, 1, 2].map(|number| ways.mtu(&ends(number), 1500)), [1400, 1300, 1500, 1400]);
        for number in WAYS + 1..3 * WAYS {
            assert!(lower(&mut ways, number, 1400, number).is_some_and(|gone| gone.is_some()));
            assert_eq!(ways.0.len(), WAYS);
        }
        let restored = std::iter::from_fn(|| ways.restore(LIFETIME + 2 * WAYS as u64 + 9)).count();
        assert_eq!(restored, 10, "those whose time is over");
        assert_eq!(lower(&mut ways, 0, 1400, 3 * WAYS), Some(None));
    }

    /// However much is said of which less is proved.
    #[test]
    fn nothing_gives_way_to_what_has_less_standing() {
        let all = [Standing::Said, Standing::Seen, Standing::Proved];
        let mut ways = Ways::default();
        for (number, standing) in all.into_iter().enumerate() {
            ways.lower(ends(number), 1400, standing, 0);
        }
        // A message of less standing lowers it, and takes it none.
        ways.lower(ends(2), 1300, Standing::Said, 0);
        let mut next = 10;
        let mut flood = |ways: &mut Ways, standing| {
            for _ in 0..2 * WAYS {
                next += 1;
                ways.lower(ends(next), 1400, standing, 10);
                assert!(ways.0.len() <= WAYS);
            }
            [0, 1, 2].map(|number| ways.mtu(&ends(number), 1500))
        };
        assert_eq!(flood(&mut ways, Standing::Said), [1500, 1400, 1300]);
        assert_eq!(flood(&mut ways, Standing::Seen), [1500, 1500, 1300]);
        assert_eq!(flood(&mut ways, Standing::Proved), [1500; 3]);
        assert_eq!([Standing::Said, Standing::Seen].map(|of| ways.lower(ends(0), 1400, of, 99)), [None; 2]);
        assert!(ways.lower(ends(0), 1400, Standing::Proved, 99).is_some());
    }
}
