//! What hosts behind other edges do that was not agreed on: told to their edges (Evidence), and kept away where it goes on
//! (Filtering). And what other edges ask to be kept away of hosts behind this one. Whom rules keep apart: [`super::apart`].
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

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;

use arrayvec::ArrayVec;
use lru::LruCache;

use super::apart::Apart;
use super::called::Called;
use super::edges::Key;
use super::house::{self, Lent};
use super::live::Session;
use super::reputations::What;
use super::service::{Now, Service};
use super::shown::{ShownFilter, Told, Wanted};
use crate::edge::cetp::association::Report;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{
    Backoff, Blocked, Evidence, Filtering, Fqdn, Id, IdType, Misbehaviour, Reason, Sessions, Tag,
};
use crate::edge::cetp::rate::Rate;
use crate::edge::hosts::{HostId, NameHash, name_hash};

/// Hosts behind other edges whose packets are counted, and that are kept away.
pub(super) const HOSTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");
/// Under so many names is one kept away: as one behind its edge, and as one behind nobody's.
const NAMES: NonZeroUsize = NonZeroUsize::new(2).expect("not 0");
/// Pairs of hosts of which another edge is asked to keep its own away from this edge's.
pub(super) const PAIRS: NonZeroUsize = NonZeroUsize::new(256).expect("not 0");
/// What an edge may ask to have kept away at a time.
pub(super) const OF_AN_EDGE: usize = 64;
/// Edges that may have asked.
pub(super) const EDGES: usize = 256;
/// So many packets in so many milliseconds are more than a mistake, and so many different ports are a scan.
const TOO_MANY: u32 = 8;
const WINDOW: u64 = 10_000;
const PORTS: usize = 4;
/// Evidence of a host is told at most once in so many milliseconds; after so many times it is kept away, unless it was quiet for so long.
const PAUSE: u64 = 30_000;
const PATIENCE: u32 = 3;
const FORGIVEN: u64 = 600_000;
/// So often a second, and so often at once, an edge may ask: each time all sessions are looked through. To end it it may as often as it
/// likes, for which none are.
const ASKS: u32 = 1;
const ASKS_AT_ONCE: u32 = 8;
/// Seconds for which another edge is asked to keep a host away, and most that one may ask.
pub(super) const AWAY: u16 = 600;
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
    /// A host, from that one.
    Pair(HostId, NameHash),
}

impl Kept {
    fn has(&self, host: HostId, name: &str, peer: &NameHash) -> bool {
        match self {
            Kept::Host(kept) => *kept == host,
            Kept::Pair(kept, from) => *kept == host && from == peer,
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
    reason: Reason,
}

#[derive(Debug)]
enum AskedOf {
    Host(IdType, Box<[u8]>),
    Domain(Box<str>),
    Pair(NameHash, NameHash),
}

impl Asked {
    pub fn new(edge: Box<str>, filtering: &Filtering<'_>) -> Asked {
        let blocked = match filtering.blocked {
            Blocked::Host(id) => Some(AskedOf::Host(id.id_type, id.value.into())),
            Blocked::Domain(name) => Some(AskedOf::Domain(name.as_str().into())),
            Blocked::Pair { host, from } => Some(AskedOf::Pair(*host, *from)),
            // A session is for all that was agreed on: single services are not taken out of it.
            Blocked::Service(_) => None,
        };
        Asked { edge, blocked, seconds: filtering.seconds, reason: filtering.reason }
    }
}

/// A host behind another edge that is turned away.
#[derive(Debug)]
pub(super) struct Away {
    /// In milliseconds.
    pub until: u64,
    name: Box<str>,
    why: Misbehaviour,
    /// Its edge was asked to keep it away.
    pub is_told: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Reports {
    /// Hosts behind other edges: a session anew is no clean slate.
    seen: LruCache<(Key, NameHash), Seen>,
    /// Hosts behind other edges, and behind edges that have proved nothing.
    pub(super) away: LruCache<(Option<Key>, NameHash), Away>,
    /// Of which the other edge was asked to keep its host from this one's.
    pub(super) apart: LruCache<Pair, Apart>,
    /// When those were last looked at, in milliseconds.
    pub(super) looked: u64,
    /// Edges that aren't told all of that yet, or may have forgotten it; and when some of it was last told, in milliseconds.
    pub(super) untold: BTreeSet<Box<str>>,
    pub(super) retold: u64,
    /// By edge.
    kept: HashMap<Box<str>, Asks>,
}

/// What an edge has asked for.
#[derive(Debug)]
struct Asks {
    rate: Rate,
    /// In which life of it; `None`: its association has ended since.
    life: Option<u64>,
    kept: ArrayVec<Keeping, OF_AN_EDGE>,
}

/// One thing that it has asked for.
#[derive(Debug)]
struct Keeping {
    kept: Kept,
    /// In milliseconds.
    until: u64,
    reason: Reason,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports {
            seen: LruCache::new(HOSTS),
            away: LruCache::new(HOSTS.saturating_mul(NAMES)),
            apart: LruCache::new(PAIRS),
            looked: 0,
            untold: BTreeSet::new(),
            retold: 0,
            kept: HashMap::new(),
        }
    }
}

impl Reports {
    /// One more packet of a host that no service is for, to that port; what it all comes to, if that is to be told now.
    pub(super) fn packet(
        &mut self,
        host: &(Key, NameHash),
        (protocol, port): (u8, u16),
        now: u64,
    ) -> Option<(Misbehaviour, u32)> {
        self.seen.get_or_insert_mut(host.clone(), Seen::default).packet(protocol, port, now)
    }

    /// For how many seconds more a host behind another edge is kept away. Who has proved nothing and bears its name is taken for it.
    pub fn is_away(&self, edge: &Key, host: &NameHash, now: u64) -> Option<u16> {
        let proved = edge.name().is_some().then(|| edge.clone());
        left(self.away.peek(&(proved, *host))?.until, now)
    }

    /// For how many seconds more a host behind this edge is kept away from that one behind another edge, by its word, and why.
    pub fn is_kept(
        &self,
        edge: &str,
        (host, name): (HostId, &str),
        peer: &NameHash,
        now: u64,
    ) -> Option<(u16, Reason)> {
        let kept = self.kept.get(edge)?.kept.iter().filter(|of| of.kept.has(host, name, peer));
        kept.filter_map(|of| Some((left(of.until, now)?, of.reason))).max_by_key(|(left, _)| *left)
    }

    /// That edge wants it, for so many seconds or no more; false where it asks too often, or there is no room.
    fn keep(&mut self, edge: &str, kept: Kept, (seconds, reason): (u16, Reason), now: u64) -> bool {
        if seconds == 0 {
            let asks = self.kept.get_mut(edge);
            asks.into_iter().for_each(|asks| asks.kept.retain(|known| known.kept != kept));
            return true;
        }
        if !self.kept.contains_key(edge) && self.kept.len() >= EDGES {
            // Who asked for nothing that still counts gives way.
            self.kept.retain(|_, asks| asks.kept.iter().any(|of| of.until > now));
            if self.kept.len() >= EDGES {
                return false;
            }
        }
        let rate = Rate::new(ASKS, ASKS_AT_ONCE, now);
        let new = || Asks { rate, life: None, kept: ArrayVec::new() };
        let asks = self.kept.entry(edge.into()).or_insert_with(new);
        if !asks.rate.allow(now) {
            return false;
        }
        asks.kept.retain(|known| known.until > now && known.kept != kept);
        let until = now + u64::from(seconds.min(AWAY_MOST)) * 1000;
        asks.kept.try_push(Keeping { kept, until, reason }).is_ok()
    }

    /// What that edge has asked for in another life than this it knows nothing of any more.
    pub(super) fn forget_other_lives(&mut self, edge: &str, life: Option<u64>) {
        if let Some(asks) = self.kept.get_mut(edge).filter(|asks| asks.life != life) {
            asks.kept.clear();
            asks.life = life;
        }
    }

    /// Whether nothing is to be done as time passes.
    pub(super) fn is_at_rest(&self) -> bool {
        self.apart.is_empty() && self.untold.is_empty()
    }

    /// How much is kept: hosts that are counted, hosts that are kept away, and what edges have asked for.
    pub fn len(&self, now: u64) -> [usize; 3] {
        let kept = self.kept.values().flat_map(|asks| &asks.kept);
        [self.seen.len(), self.away.len(), kept.filter(|of| of.until > now).count()]
    }

    /// Edges that something is kept of which they have asked for.
    pub fn edges(&self) -> usize {
        self.kept.len()
    }
}

pub(super) fn left(until: u64, now: u64) -> Option<u16> {
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
        let Some((misbehaviour, count)) = self.reports.packet(&host, (protocol, port), now.ms) else {
            return;
        };
        let evidence = Evidence { misbehaviour, count, sessions: Sessions::from_iter([theirs]) };
        if !self.tell(edge_name, &Report::Evidence(evidence), lent, now) {
            return;
        }
        self.counters.evidence_sent += 1;
        self.blame(&edge, (peer, &name), What::Fault, lent, now);
        let seen = self.reports.seen.get_or_insert_mut(host, Seen::default);
        seen.told(now.ms);
        if seen.times >= PATIENCE {
            self.send_away(&edge, (peer, &name), misbehaviour, lent, now);
        }
        self.settle(lent, now);
    }

    /// Reports to an edge; false where there is no association, or too much waits.
    pub(super) fn tell(&mut self, edge: &str, report: &Report<'_>, lent: Lent<'_>, now: Now) -> bool {
        let Some(edge) = Fqdn::new(edge) else { return false };
        self.drive(lent, now, |cetp, _, out| {
            cetp.peer(edge).is_some_and(|peer| cetp.report(peer, report, now.io(), out))
        })
    }

    /// It has gone on: the other edge is asked to keep that host away, and this one turns it away meanwhile.
    pub(super) fn send_away(
        &mut self,
        edge: &Key,
        (peer, name): (NameHash, &str),
        why: Misbehaviour,
        lent: Lent<'_>,
        now: Now,
    ) {
        let Some(edge_name) = edge.name() else { return };
        for by in [Some(edge.clone()), None] {
            let until = now.ms + u64::from(AWAY) * 1000;
            self.reports.away.put((by, peer), Away { until, name: name.into(), why, is_told: false });
        }
        if !self.tell_away(edge_name, &peer, lent, now) {
            self.reports.untold.insert(edge_name.into());
        }
        self.reports.seen.pop(&(edge.clone(), peer));
        let is_meant = |session: &Session| session.edge == *edge && session.pair.peer == peer;
        self.end_all(is_meant, Reason::BLOCKED, lent, now);
        // Sessions that were used speak for it, and end now.
        self.blame(edge, (peer, name), What::Fault, lent, now);
    }

    /// An operator has looked at what hosts have done, and lets them come again; how many.
    pub fn pardon(&mut self, wanted: &Wanted, lent: Lent<'_>, now: Now) -> u64 {
        let all = self.reports.away.iter().filter(|((edge, peer), away)| {
            let edge = edge.as_ref().and_then(Key::name);
            edge.is_some_and(|edge| wanted.edge.as_deref().is_none_or(|wanted| wanted == edge))
                && is_host(wanted, &away.name, peer)
                && away.until > now.ms
        });
        let pardoned: Vec<(Key, NameHash)> =
            all.filter_map(|((edge, peer), _)| Some((edge.clone()?, *peer))).collect();
        for (edge, peer) in &pardoned {
            for by in [Some(edge.clone()), None] {
                self.reports.away.pop(&(by, *peer));
            }
            self.reports.seen.pop(&(edge.clone(), *peer));
            if let (Some(edge), Some(id)) = (edge.name(), Id::new(IdType::FqdnHash, peer)) {
                self.lift(edge, Blocked::Host(id), lent, now);
            }
        }
        self.settle(lent, now);
        pardoned.len() as u64
    }

    /// What an edge was asked to keep away it need not any more; false where it can't be told.
    pub(super) fn lift(&mut self, edge: &str, blocked: Blocked<'_>, lent: Lent<'_>, now: Now) -> bool {
        let filtering = Filtering { blocked, seconds: 0, reason: Reason::CLOSED };
        let is_told = self.tell(edge, &Report::Filtering(filtering), lent, now);
        self.counters.filtering_lifted += u64::from(is_told);
        is_told
    }

    /// Ends sessions because of what was reported.
    fn end_all(&mut self, is_meant: impl Fn(&Session) -> bool, reason: Reason, lent: Lent<'_>, now: Now) {
        let all = self.live.iter().filter(|(_, session)| is_meant(session));
        let ended: Vec<Tag> = all.map(|(local, _)| local).collect();
        ended.into_iter().for_each(|local| self.close(local, reason, lent, now));
    }

    /// Another edge, which has proved who it is, asks to have something of this side kept away from it.
    pub(super) fn keep_away(&mut self, asked: &Asked, lent: Lent<'_>, now: Now) {
        let find = |id: Option<Id<'_>>| id.and_then(|id| lent.find(&id)).map(|called| called.host);
        let kept = match &asked.blocked {
            Some(AskedOf::Host(id_type, value)) => find(Id::new(*id_type, value)).map(Kept::Host),
            Some(AskedOf::Domain(name)) => Some(Kept::Domain(name.clone())),
            Some(AskedOf::Pair(host, from)) => {
                find(Id::new(IdType::FqdnHash, host)).map(|host| Kept::Pair(host, *from))
            }
            None => None,
        };
        let what = (asked.seconds, asked.reason);
        let is_taken = kept.clone().is_some_and(|kept| self.reports.keep(&asked.edge, kept, what, now.ms));
        let Some(kept) = kept.filter(|_| is_taken) else {
            self.counters.filtering_ignored += 1;
            return;
        };
        let life = self.life(&asked.edge);
        self.reports.kept.get_mut(&asked.edge).into_iter().for_each(|asks| asks.life = life);
        self.counters.filtering_taken += 1;
        if asked.seconds == 0 {
            return;
        }
        let is_meant = |session: &Session| {
            let host = Called::from(session.pair.host).host;
            session.edge.name() == Some(&*asked.edge)
                && kept.has(host, &session.host_name, &session.pair.peer)
        };
        self.end_all(is_meant, asked.reason, lent, now);
    }

    /// Whether, for how long and why a host behind this edge is kept away from one that it calls.
    pub(super) fn is_kept_from(
        &self,
        pair: &Pair,
        edge: Option<&str>,
        lent: Lent<'_>,
        now: Now,
    ) -> Option<Backoff> {
        let known = lent.host(pair.host)?;
        let host = (known.id, known.parts().name);
        let (retry_after, reason) = self.reports.is_kept(edge?, host, &pair.peer, now.ms)?;
        Some(Backoff { reason, code: None, retry_after })
    }

    /// What is kept away, by this edge's word and by others'.
    pub(super) fn shown_filters(&self, wanted: &Wanted, lent: Lent<'_>, now: Now) -> Vec<ShownFilter> {
        let reports = &self.reports;
        let away = reports.away.iter().filter(|((_, peer), away)| is_host(wanted, &away.name, peer));
        let away = away.filter_map(|((edge, peer), away)| {
            Some(ShownFilter {
                edge: edge.as_ref()?.name()?.into(),
                told: if away.is_told { Told::Sent } else { Told::Nobody },
                what: named(&away.name, peer),
                from: None,
                why: away.why.to_string(),
                left: left(away.until, now.ms)?,
            })
        });
        let is_meant = |(pair, apart): &(&Pair, &Apart)| {
            is_host(wanted, &apart.name, &pair.peer) || is_host(wanted, &apart.host_name, &apart.called)
        };
        let apart = reports.apart.iter().filter(is_meant).filter_map(|(pair, apart)| {
            Some(ShownFilter {
                edge: apart.edge.clone(),
                told: if apart.is_told { Told::Sent } else { Told::Nobody },
                what: named(&apart.name, &pair.peer),
                from: Some(apart.host_name.clone()),
                why: apart.why.name().into(),
                left: left(apart.until, now.ms)?,
            })
        });
        let kept = reports.kept.iter().flat_map(|(edge, asks)| asks.kept.iter().map(move |of| (edge, of)));
        let received = kept.filter_map(|(edge, of)| {
            let known =
                |host| lent.register.get(host).map(|host| (Box::from(host.parts().name), *host.hash()));
            let ((what, hash), from) = match &of.kept {
                Kept::Host(host) => (known(*host)?, None),
                Kept::Pair(host, from) => (known(*host)?, Some(from)),
                Kept::Domain(domain) => ((format!(".{domain}").into(), name_hash(domain)), None),
            };
            let is_meant =
                is_host(wanted, &what, &hash) || from.is_some_and(|from| is_host(wanted, "", from));
            let from = from.map(|from| named("", from));
            let (why, left) = (of.reason.to_string(), left(of.until, now.ms)?);
            is_meant.then(|| ShownFilter { edge: edge.clone(), told: Told::Received, what, from, why, left })
        });
        let is_wanted = |shown: &ShownFilter| wanted.edge.as_deref().is_none_or(|edge| edge == &*shown.edge);
        away.chain(apart).chain(received).filter(is_wanted).take(wanted.limit).collect()
    }
}

/// Whether that is the host that is asked for, if one is: by its name, which not every session tells, or by the hash of it.
fn is_host(wanted: &Wanted, name: &str, hash: &NameHash) -> bool {
    wanted.host.as_deref().is_none_or(|wanted| wanted == name || name_hash(wanted) == *hash)
}

/// A host behind another edge, as an operator knows it: by its hash where nobody has told its name.
fn named(name: &str, hash: &NameHash) -> Box<str> {
    let id = || Id::new(IdType::FqdnHash, hash).unwrap_or(Id::NONE);
    if name.is_empty() { house::peer_text(&id(), None) } else { name.into() }
}
