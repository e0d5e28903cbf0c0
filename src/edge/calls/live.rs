//! Sessions that packets cross by: what this room keeps of each beside the protocol and the table of the workers.
//!
//! Guarantees: as many as there are tags; each is found by its tag, by its two hosts, and among those of a host. Never: reads a packet.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::ops::Bound;

use super::claims::Grounds;
use super::edges::Key;
use super::service::Now;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{Direction, Rloc, Service, Services, Tag};
use crate::edge::cetp::terms::{HostKey, LastSeen, Side};
use crate::flow::Realm;
use crate::flow::tunnel::Session as Record;

/// How long a session is looked at for the first packet of the other side, in milliseconds: so long the protocol asks for its
/// acknowledgement.
pub const UNHEARD: u64 = 6_500;

/// A session.
#[derive(Debug)]
pub struct Session {
    pub pair: Pair,
    pub side: Side,
    pub remote: Tag,
    /// Of the host behind this edge.
    pub realm: Realm,
    pub host: Ipv4Addr,
    pub host_name: Box<str>,
    pub proxy: Ipv4Addr,
    /// The other edge, as the table of tunnels knows it.
    pub edge: Key,
    pub rloc: Rloc,
    pub name: Box<str>,
    pub services: Services,
    pub timeout: u32,
    /// When it began, in milliseconds.
    pub since: u64,
    /// On what it stands what its host may open, and what the other may.
    pub grounds: [Option<Box<Grounds>>; 2],
    /// What was seen of it when it was last looked at.
    seen: Cell<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    packets: [u64; 2],
    at: [u64; 2],
}

impl Session {
    #[expect(clippy::too_many_arguments, reason = "a session is of as many parts")]
    pub fn new(
        pair: Pair,
        side: Side,
        remote: Tag,
        (realm, host, proxy): (Realm, Ipv4Addr, Ipv4Addr),
        host_name: &str,
        (edge, rloc): (Key, Rloc),
        name: &str,
        (services, timeout): (&[Service], u32),
        since: u64,
    ) -> Session {
        Session {
            pair,
            side,
            remote,
            realm,
            host,
            host_name: host_name.into(),
            proxy,
            edge,
            rloc,
            name: name.into(),
            services: services.iter().copied().collect(),
            timeout,
            since,
            grounds: [None, None],
            seen: Cell::new(Seen { packets: [0; 2], at: [since; 2] }),
        }
    }

    /// What was agreed on where this edge was on that side, as who asked for it called it.
    pub fn services_of(&self, side: Side) -> Services {
        let way = if side == Side::Outbound { Direction::ToInbound } else { Direction::ToOutbound };
        let agreed = self
            .services
            .iter()
            .filter(|service| matches!(service.direction, Direction::Both) || service.direction == way);
        agreed.map(|service| Service { direction: Direction::ToInbound, ..*service }).collect()
    }

    /// The host behind this edge may open flows.
    pub fn is_callers(&self) -> bool {
        calls(&self.services)
    }
}

/// Whether the host behind this edge may open flows by those.
pub fn calls(services: &[Service]) -> bool {
    services.iter().any(|service| service.direction != Direction::ToOutbound)
}

/// When a packet was last seen in milliseconds of the own clock, by the wrapping ones of workers.
pub fn own_time(record: &Record, now: Now) -> u64 {
    let age = (now.worker.wrapping_sub(record.last_seen()) as i32).max(0);
    now.ms.saturating_sub(age as u64)
}

/// All of them. See the module.
#[derive(Debug, Default)]
pub struct Live {
    sessions: HashMap<Tag, Session>,
    /// In the order of the hosts behind this edge.
    by_pair: BTreeMap<Pair, Tag>,
}

impl Live {
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.by_pair.is_empty()
    }

    pub fn get(&self, local: Tag) -> Option<&Session> {
        self.sessions.get(&local)
    }

    pub fn get_mut(&mut self, local: Tag) -> Option<&mut Session> {
        self.sessions.get_mut(&local)
    }

    /// The next two hosts that have a session, up to those of `last`.
    pub fn next(&self, from: Bound<Pair>, last: HostKey) -> Option<(Pair, Tag)> {
        let end = Bound::Included(Pair { host: last, peer: [u8::MAX; 16] });
        self.by_pair.range((from, end)).next().map(|(pair, local)| (*pair, *local))
    }

    /// The session of two hosts that began last.
    pub fn of(&self, pair: &Pair) -> Option<(Tag, &Session)> {
        let local = *self.by_pair.get(pair)?;
        Some((local, self.sessions.get(&local)?))
    }

    pub fn insert(&mut self, local: Tag, session: Session) {
        self.by_pair.insert(session.pair, local);
        self.sessions.insert(local, session);
    }

    pub fn remove(&mut self, local: Tag) -> Option<Session> {
        let session = self.sessions.remove(&local)?;
        if self.by_pair.get(&session.pair) == Some(&local) {
            self.by_pair.remove(&session.pair);
        }
        Some(session)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Tag, &Session)> {
        self.sessions.iter().map(|(local, session)| (*local, session))
    }

    /// When packets of a session were seen in each direction. A direction whose count has grown since the last look was seen at
    /// the latest when any was.
    pub fn last_seen(&self, local: Tag, record: &Record, now: Now) -> LastSeen {
        let at = own_time(record, now);
        let Some(session) = self.sessions.get(&local) else { return LastSeen { inbound: at, outbound: at } };
        let counts = record.counts();
        let mut seen = session.seen.get();
        for (place, packets) in [counts.packets_in, counts.packets_out].into_iter().enumerate() {
            if packets != seen.packets[place] {
                (seen.packets[place], seen.at[place]) = (packets, at);
            }
        }
        session.seen.set(seen);
        LastSeen { inbound: seen.at[0], outbound: seen.at[1] }
    }
}
