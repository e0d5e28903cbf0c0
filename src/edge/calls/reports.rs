//! What hosts behind other edges do that was not agreed on: told to their edges (Evidence), and kept away where it goes on
//! (Filtering). And what other edges ask to be kept away of hosts behind this one.
//!
//! ```text
//!  packets that no service of their session is for ─► evidence, once in a while ─► the session ends, its host is kept away
//!                                                          │ the other edge, if there is an association
//!                                                          └─► its host is worth less ─► its calls are refused for a time
//! ```
//!
//! Only within an association is anything told or believed, and an edge keeps away from itself alone: what hosts behind this one do
//! with others is not its business. What anybody can write (addresses of the outer header) is evidence of nothing: packets count
//! whose tags and RLOCs are a session's.
//!
//! Guarantees: all that is kept is bounded, in number and in time; who was not heard of for longest gives way, of what an edge
//! asks only its own. Never: reads a packet, or believes who has proved nothing.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use arrayvec::ArrayVec;
use lru::LruCache;

use super::called::Called;
use super::edges::Key;
use super::house::Lent;
use super::live::Session;
use super::reputations::What;
use super::service::{Now, Service};
use crate::edge::cetp::association::Report;
use crate::edge::cetp::message::{
    Blocked, Evidence, Filtering, Fqdn, Id, IdType, Misbehaviour, Reason, Sessions, Tag,
};
use crate::edge::cetp::rate::Rate;
use crate::edge::cetp::terms::HostKey;
use crate::edge::hosts::{HostId, NameHash};

/// Hosts behind other edges whose packets are counted, and that are kept away.
const HOSTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");
/// What an edge may ask to have kept away at a time.
const OF_AN_EDGE: usize = 64;
/// Edges that may have asked.
const EDGES: usize = 256;
/// So many packets in so many milliseconds are more than a mistake, and so many different ports are a scan.
const TOO_MANY: u32 = 8;
const WINDOW: u64 = 10_000;
const PORTS: usize = 4;
/// Evidence of a host is told at most once in so many milliseconds; after so many times it is kept away, unless it was quiet for so long.
const PAUSE: u64 = 30_000;
const PATIENCE: u32 = 3;
const FORGIVEN: u64 = 600_000;
/// So often a second, and so often at once, an edge may ask: each time all sessions are looked through.
const ASKS: u32 = 1;
const ASKS_AT_ONCE: u32 = 8;
/// Seconds for which another edge is asked to keep a host away, and most that one may ask.
const AWAY: u16 = 600;
const AWAY_MOST: u16 = 3600;

/// What was seen of a host.
#[derive(Debug, Default)]
struct Seen {
    since: u64,
    count: u32,
    ports: ArrayVec<(u8, u16), PORTS>,
    told: Option<u64>,
    times: u32,
}

impl Seen {
    /// One more packet; what it all comes to, if that is to be told now.
    fn packet(&mut self, protocol: u8, port: u16, now: u64) -> Option<(Misbehaviour, u32)> {
        if now.saturating_sub(self.since) > WINDOW {
            (self.since, self.count) = (now, 0);
            self.ports.clear();
        }
        if self.told.is_some_and(|told| now.saturating_sub(told) > FORGIVEN) {
            (self.told, self.times) = (None, 0);
        }
        self.count += 1;
        if !self.ports.contains(&(protocol, port)) {
            // More than there is room for are as many.
            let _ = self.ports.try_push((protocol, port));
        }
        if self.count < TOO_MANY || self.told.is_some_and(|told| now.saturating_sub(told) < PAUSE) {
            return None;
        }
        Some((
            if self.ports.is_full() { Misbehaviour::SCAN } else { Misbehaviour::NOT_NEGOTIATED },
            self.count,
        ))
    }

    fn told(&mut self, now: u64) {
        (self.told, self.count, self.times) = (Some(now), 0, self.times + 1);
    }
}

/// What of hosts behind this edge is kept away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Host(HostId),
    /// Every host whose name is this or ends in it.
    Domain(Box<str>),
}

impl Kept {
    fn has(&self, host: HostId, name: &str) -> bool {
        match self {
            Kept::Host(kept) => *kept == host,
            Kept::Domain(kept) => {
                name.strip_suffix(&**kept).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

/// What another edge asks: an output of the protocol that outlives its message.
#[derive(Debug)]
pub(super) struct Asked {
    pub edge: Box<str>,
    blocked: Option<AskedOf>,
    seconds: u16,
}

#[derive(Debug)]
enum AskedOf {
    Host(IdType, Box<[u8]>),
    Domain(Box<str>),
}

impl Asked {
    pub fn new(edge: Box<str>, filtering: &Filtering<'_>) -> Asked {
        let blocked = match filtering.blocked {
            Blocked::Host(id) => Some(AskedOf::Host(id.id_type, id.value.into())),
            Blocked::Domain(name) => Some(AskedOf::Domain(name.as_str().into())),
            // A session is for all that was agreed on: single services are not taken out of it.
            Blocked::Service(_) => None,
        };
        Asked { edge, blocked, seconds: filtering.seconds }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Reports {
    /// Hosts behind other edges: a session anew is no clean slate.
    seen: LruCache<(Key, NameHash), Seen>,
    /// Hosts behind other edges, and behind edges that have proved nothing, and until when, in milliseconds.
    away: LruCache<(Option<Key>, NameHash), u64>,
    /// By edge.
    kept: HashMap<Box<str>, Asks>,
}

/// What an edge has asked for.
#[derive(Debug)]
struct Asks {
    rate: Rate,
    /// Each until then.
    kept: ArrayVec<(Kept, u64), OF_AN_EDGE>,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { seen: LruCache::new(HOSTS), away: LruCache::new(HOSTS), kept: HashMap::new() }
    }
}

impl Reports {
    /// For how many seconds more a host behind another edge is kept away. Who has proved nothing and bears its name is taken for it.
    pub fn is_away(&self, edge: &Key, host: &NameHash, now: u64) -> Option<u16> {
        let proved = edge.name().is_some().then(|| edge.clone());
        left(*self.away.peek(&(proved, *host))?, now)
    }

    /// For how many seconds more a host behind this edge is kept away from another edge, by its word.
    pub fn is_kept(&self, edge: &str, host: HostId, name: &str, now: u64) -> Option<u16> {
        let kept = self.kept.get(edge)?.kept.iter().filter(|(kept, _)| kept.has(host, name));
        kept.filter_map(|(_, until)| left(*until, now)).max()
    }

    /// That edge wants it, for so many seconds or no more; false where it asks too often, or there is no room.
    fn keep(&mut self, edge: &str, kept: Kept, seconds: u16, now: u64) -> bool {
        if !self.kept.contains_key(edge) && self.kept.len() >= EDGES {
            // Who asked for nothing that still counts gives way.
            self.kept.retain(|_, asks| asks.kept.iter().any(|(_, until)| *until > now));
            if self.kept.len() >= EDGES {
                return false;
            }
        }
        let new = || Asks { rate: Rate::new(ASKS, ASKS_AT_ONCE, now), kept: ArrayVec::new() };
        let asks = self.kept.entry(edge.into()).or_insert_with(new);
        if !asks.rate.allow(now) {
            return false;
        }
        asks.kept.retain(|(known, until)| *until > now && *known != kept);
        let until = now + u64::from(seconds.min(AWAY_MOST)) * 1000;
        seconds == 0 || asks.kept.try_push((kept, until)).is_ok()
    }

    /// How much is kept: hosts that are counted, hosts that are kept away, and what edges have asked for.
    pub fn len(&self, now: u64) -> [usize; 3] {
        let kept = self.kept.values().flat_map(|asks| &asks.kept);
        [self.seen.len(), self.away.len(), kept.filter(|(_, until)| *until > now).count()]
    }
}

fn left(until: u64, now: u64) -> Option<u16> {
    let seconds = until.checked_sub(now).filter(|left| *left > 0)?.div_ceil(1000);
    Some(u16::try_from(seconds).unwrap_or(u16::MAX))
}

impl Service {
    /// A host behind another edge has sent what no service of its session is for, to that port.
    pub fn trespassed(
        &mut self,
        (own, theirs): (Tag, Tag),
        (protocol, port): (u8, u16),
        lent: Lent<'_>,
        now: Now,
    ) {
        let Some(session) = self.live.get(own).filter(|session| session.remote == theirs) else { return };
        let (edge, peer, name) = (session.edge.clone(), session.pair.peer, session.name.clone());
        let host = (edge.clone(), peer);
        self.counters.trespasses += 1;
        // Of whom nobody knows who it is nobody would be told.
        let Some(edge_name) = edge.name() else { return };
        let seen = self.reports.seen.get_or_insert_mut(host.clone(), Seen::default);
        let Some((misbehaviour, count)) = seen.packet(protocol, port, now.ms) else { return };
        let evidence = Evidence { misbehaviour, count, sessions: Sessions::from_iter([theirs]) };
        if !self.tell(edge_name, &Report::Evidence(evidence), lent, now) {
            return;
        }
        self.counters.evidence_sent += 1;
        self.reputations.record(&edge, (peer, &name), What::Fault, now.ms);
        let seen = self.reports.seen.get_or_insert_mut(host, Seen::default);
        seen.told(now.ms);
        if seen.times >= PATIENCE {
            self.send_away(&edge, (peer, &name), lent, now);
        }
        self.settle(lent, now);
    }

    /// Reports to an edge; false where there is no association, or too much waits.
    fn tell(&mut self, edge: &str, report: &Report<'_>, lent: Lent<'_>, now: Now) -> bool {
        let Some(edge) = Fqdn::new(edge) else { return false };
        self.drive(lent, now, |cetp, _, out| {
            cetp.peer(edge).is_some_and(|peer| cetp.report(peer, report, now.io(), out))
        })
    }

    /// It has gone on: the other edge is asked to keep that host away, and this one turns it away meanwhile.
    fn send_away(&mut self, edge: &Key, (peer, name): (NameHash, &str), lent: Lent<'_>, now: Now) {
        let (Some(edge_name), Some(id)) = (edge.name(), Id::new(IdType::FqdnHash, &peer)) else { return };
        let filtering = Filtering { blocked: Blocked::Host(id), seconds: AWAY };
        if self.tell(edge_name, &Report::Filtering(filtering), lent, now) {
            self.counters.filtering_sent += 1;
        }
        for by in [Some(edge.clone()), None] {
            self.reports.away.put((by, peer), now.ms + u64::from(AWAY) * 1000);
        }
        self.reports.seen.pop(&(edge.clone(), peer));
        self.end_all(|session| session.edge == *edge && session.pair.peer == peer, lent, now);
        // Sessions that were used speak for it, and end now.
        self.reputations.record(edge, (peer, name), What::Fault, now.ms);
    }

    /// Ends sessions because of what was reported.
    fn end_all(&mut self, is_meant: impl Fn(&Session) -> bool, lent: Lent<'_>, now: Now) {
        let all = self.live.iter().filter(|(_, session)| is_meant(session));
        let ended: Vec<Tag> = all.map(|(local, _)| local).collect();
        ended.into_iter().for_each(|local| self.close(local, Reason::BLOCKED, lent, now));
    }

    /// Another edge, which has proved who it is, asks to have something of this side kept away from it.
    pub(super) fn keep_away(&mut self, asked: &Asked, lent: Lent<'_>, now: Now) {
        let kept = match &asked.blocked {
            Some(AskedOf::Host(id_type, value)) => {
                Id::new(*id_type, value).and_then(|id| lent.find(&id)).map(|called| Kept::Host(called.host))
            }
            Some(AskedOf::Domain(name)) => Some(Kept::Domain(name.clone())),
            None => None,
        };
        let is_taken =
            kept.clone().is_some_and(|kept| self.reports.keep(&asked.edge, kept, asked.seconds, now.ms));
        let Some(kept) = kept.filter(|_| is_taken) else {
            self.counters.filtering_ignored += 1;
            return;
        };
        self.counters.filtering_taken += 1;
        if asked.seconds == 0 {
            return;
        }
        let is_meant = |session: &Session| {
            session.edge.name() == Some(&*asked.edge)
                && kept.has(Called::from(session.pair.host).host, &session.host_name)
        };
        self.end_all(is_meant, lent, now);
    }

    /// For how long a host behind this edge is kept away from one that it calls.
    pub(super) fn is_kept_from(
        &self,
        host: HostKey,
        edge: Option<&str>,
        lent: Lent<'_>,
        now: Now,
    ) -> Option<u16> {
        let known = lent.host(host)?;
        self.reports.is_kept(edge?, known.id, known.parts().name, now.ms)
    }
}
