//! What is kept away between two edges, when one of them has begun anew: such an edge has forgotten what it was asked to keep away, and
//! what it has itself asked for.
//!
//! ```text
//!  an association begins ─► all that is to be kept away from this edge ─► told again, one thing a second
//!  it is with another life of the other edge ─► what that has asked for before counts no more: it tells it again, if it knows it
//! ```
//!
//! So is told what couldn't be at once, because too much waited.
//!
//! Guarantees: an edge is told what is listed and no more, for the time that is left, and not faster than one obeys. Never: sets up an
//! association: without one, what there is to tell waits for the next.

use super::apart::Apart;
use super::edges::Key;
use super::house::Lent;
use super::reports::{Reports, left};
use super::service::{Now, Service};
use crate::edge::cetp::association::Report;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{Blocked, Filtering, Fqdn, Id, IdType, Reason};
use crate::edge::hosts::NameHash;

/// Milliseconds between two things that one edge is told: it obeys one a second, and has room for eight at once, which is for what is new.
const PAUSE: u64 = 1_000;

/// What an edge isn't told yet.
#[derive(Clone, Copy, Debug)]
enum Untold {
    /// A host of its own that is kept away from all of this edge's.
    Host(NameHash),
    Pair(Pair),
}

impl Reports {
    /// An association with that edge begins, in that life of it.
    fn met(&mut self, edge: &str, life: Option<u64>) {
        self.forget_other_lives(edge, life);
        let is_its = |by: &Option<Key>| by.as_ref().and_then(Key::name) == Some(edge);
        let hosts = self.away.iter_mut().filter(|((by, _), _)| is_its(by)).map(|(_, away)| &mut away.is_told);
        let pairs = self.apart.iter_mut().filter(|(_, apart)| *apart.edge == *edge);
        let pairs = pairs.map(|(_, apart)| &mut apart.is_told);
        let mut is_any = false;
        hosts.chain(pairs).for_each(|is_told| (*is_told, is_any) = (false, true));
        if is_any {
            self.untold.insert(edge.into());
        }
    }

    /// The next thing for each edge that isn't told all yet. Edges for which there is nothing left are told all.
    fn next_untold(&mut self, now: u64) -> Vec<(Box<str>, Untold)> {
        let mut edges = std::mem::take(&mut self.untold);
        let hosts = self.away.iter().filter(|(_, away)| !away.is_told && away.until > now);
        let hosts = hosts.filter_map(|((by, peer), _)| Some((by.as_ref()?.name()?, Untold::Host(*peer))));
        let pairs = self.apart.iter().filter(|(_, apart)| !apart.is_told && apart.until > now);
        let pairs = pairs.map(|(pair, apart)| (&*apart.edge, Untold::Pair(*pair)));
        hosts.chain(pairs).filter_map(|(edge, what)| Some((edges.take(edge)?, what))).collect()
    }
}

impl Service {
    /// An association with that edge begins.
    pub(super) fn met(&mut self, edge: &str) {
        let life = self.life(edge);
        self.reports.met(edge, life);
    }

    /// Which life it is of an edge with which there is an association.
    pub(super) fn life(&self, edge: &str) -> Option<u64> {
        self.cetp.incarnation(Fqdn::new(edge)?)
    }

    /// Whether that edge can be told anything.
    pub(super) fn is_associated(&self, edge: &str) -> bool {
        Fqdn::new(edge).is_some_and(|edge| self.cetp.peer(edge).is_some())
    }

    /// Tells each edge one thing of what it isn't told yet, if it is time.
    pub(super) fn retell(&mut self, lent: Lent<'_>, now: Now) {
        if self.reports.untold.is_empty() || now.ms < self.reports.retold + PAUSE {
            return;
        }
        self.reports.retold = now.ms;
        // What is over meanwhile is ended, and not told.
        self.reunite(true, lent, now);
        for (edge, what) in self.reports.next_untold(now.ms) {
            if !self.is_associated(&edge) {
                continue;
            }
            // Whatever becomes of it: there may be more.
            let _is_told = match what {
                Untold::Host(peer) => self.tell_away(&edge, &peer, lent, now),
                Untold::Pair(pair) => self.tell_apart(&pair, lent, now),
            };
            self.reports.untold.insert(edge);
        }
    }

    /// Asks an edge to keep a host away that this one turns away; false where it can't be told now.
    pub(super) fn tell_away(&mut self, edge: &str, peer: &NameHash, lent: Lent<'_>, now: Now) -> bool {
        let key = (Some(Key::Named(edge.into())), *peer);
        let seconds = self.reports.away.peek(&key).and_then(|away| left(away.until, now.ms));
        let (Some(seconds), Some(id)) = (seconds, Id::new(IdType::FqdnHash, peer)) else { return true };
        let filtering = Filtering { blocked: Blocked::Host(id), seconds, reason: Reason::BLOCKED };
        let is_told = self.tell_filtering(edge, filtering, lent, now);
        self.reports.away.peek_mut(&key).into_iter().for_each(|away| away.is_told = is_told);
        is_told
    }

    /// Asks an edge to keep its host from another one; false where it can't be told now.
    pub(super) fn tell_apart(&mut self, pair: &Pair, lent: Lent<'_>, now: Now) -> bool {
        let Some(Apart { edge, called, until, .. }) = self.reports.apart.peek(pair) else { return true };
        let (edge, called, Some(seconds)) = (edge.clone(), *called, left(*until, now.ms)) else {
            return true;
        };
        let blocked = Blocked::Pair { host: &pair.peer, from: &called };
        let filtering = Filtering { blocked, seconds, reason: Reason::REFUSED };
        let is_told = self.tell_filtering(&edge, filtering, lent, now);
        self.reports.apart.peek_mut(pair).into_iter().for_each(|apart| apart.is_told = is_told);
        is_told
    }

    fn tell_filtering(&mut self, edge: &str, filtering: Filtering<'_>, lent: Lent<'_>, now: Now) -> bool {
        let is_told = self.tell(edge, &Report::Filtering(filtering), lent, now);
        self.counters.filtering_sent += u64::from(is_told);
        is_told
    }
}
