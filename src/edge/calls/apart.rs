//! Two hosts that rules keep apart: a session of theirs has ended because rules, or what the other host is held to be worth, have
//! changed. Its edge is asked not to let it call again for a time (Filtering), so that it isn't refused again and again, and is told
//! so early when that is over.
//!
//! ```text
//!  rules change ──┐                     ┌─ refused whatever it asks for ─► Filtering of the two, for a time
//!  worth falls  ──┴► the session ends ──┤
//!                                       └─ something is left ────────────► nothing: it asks anew
//!                     rules change, worth heals ──► not refused any more ──► Filtering, 0 s
//! ```
//!
//! It spares work and blame, and nothing rests on it: who asks nevertheless is refused by the rules. So it is of those two hosts and no
//! others, and where it can't be told it isn't.
//!
//! Guarantees: as many are kept as [`super::reports`] says, each for a time, and no more of one edge than an edge obeys. The oldest give way,
//! and their edge is told that it is over: what it keeps and what is listed here is the same. Where it can't be told, it is the new
//! one of which nothing is said. Never: says anything to who has proved nothing.

use super::claims::{Case, Grounds};
use super::house::Lent;
use super::reports::{AWAY, OF_AN_EDGE};
use super::service::{Now, Service};
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{Blocked, Fqdn, Rloc, Service as Wire, Tag};
use crate::edge::cetp::terms::Side;
use crate::edge::hosts::NameHash;

/// How often, in milliseconds, it is looked at whether it is over by what the other host is worth: time heals that in steps of seconds.
const LOOK: u64 = 1_000;
/// What somebody unknown is held to be worth, in hundredths.
const UNKNOWN: u8 = 45;

/// What keeps two hosts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rules of the operator, or of the host behind this edge.
    Rules,
    /// What the other host is worth: somebody unknown would not be refused.
    Reputation,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::Rules => "rules",
            Why::Reputation => "reputation",
        }
    }
}

/// Two hosts that are kept apart, by the edge of the other one.
#[derive(Debug)]
pub struct Apart {
    pub edge: Box<str>,
    pub(super) rloc: Rloc,
    /// On what their session stood.
    pub(super) grounds: Box<Grounds>,
    /// By which name the host behind this edge was called.
    pub(super) called: NameHash,
    pub host_name: Box<str>,
    /// The other host's, where it was told.
    pub name: Box<str>,
    pub why: Why,
    /// In milliseconds.
    pub until: u64,
    /// Its edge was asked to keep it away.
    pub(super) is_told: bool,
}

impl Service {
    /// Takes out of a session that rules are about to end what is needed to keep its hosts apart; nothing where the other host may still
    /// have some service, or its edge has proved nothing.
    pub(super) fn take_apart(&mut self, local: Tag, lent: Lent<'_>, now: Now) -> Option<(Pair, Apart)> {
        let session = self.live.get_mut(local)?;
        let edge = Box::from(session.edge.name()?);
        let grounds = session.grounds[Side::Inbound as usize].take()?;
        let pair = session.pair;
        let (name, _) = lent.host(pair.host)?.named(super::called::Called::from(pair.host).which)?;
        let mut apart = Apart {
            edge,
            rloc: session.rloc,
            grounds,
            called: Fqdn::new(name)?.hash(),
            host_name: name.into(),
            name: session.name.clone(),
            why: Why::Rules,
            until: now.ms + u64::from(AWAY) * 1000,
            is_told: false,
        };
        apart.why = self.refuses(&pair, &apart, lent, now)?;
        Some((pair, apart))
    }

    /// Asks the other edge to keep its host away from that one.
    pub(super) fn keep_apart(&mut self, pair: Pair, apart: Apart, lent: Lent<'_>, now: Now) {
        let edge = apart.edge.clone();
        if !self.is_associated(&edge) || !self.make_room(&pair, &edge, lent, now) {
            return;
        }
        self.reports.apart.put(pair, Apart { is_told: false, ..apart });
        // Where too much waits it is told in its turn.
        if self.reports.untold.contains(&edge) || !self.tell_apart(&pair, lent, now) {
            self.reports.untold.insert(edge);
        }
    }

    /// Makes room for two more hosts, of that edge. False: whose time has come would have to be told so, and can't be.
    fn make_room(&mut self, pair: &Pair, edge: &str, lent: Lent<'_>, now: Now) -> bool {
        let all = &self.reports.apart;
        let is_much = all.iter().filter(|(_, apart)| *apart.edge == *edge).count() >= OF_AN_EDGE;
        if all.contains(pair) || !is_much && all.len() < all.cap().get() {
            return true;
        }
        let may_go = all.iter().rev().filter(|(_, apart)| !is_much || *apart.edge == *edge);
        let oldest_first: Vec<Pair> = may_go.map(|(pair, _)| *pair).collect();
        oldest_first.iter().any(|pair| self.let_go(pair, lent, now))
    }

    /// Nobody need keep those two apart any more, and their edge is told so. False: it can't be now, and nothing has changed.
    fn let_go(&mut self, pair: &Pair, lent: Lent<'_>, now: Now) -> bool {
        let Some(apart) = self.reports.apart.peek(pair) else { return false };
        let (edge, called) = (apart.edge.clone(), apart.called);
        let is_told = self.lift(&edge, Blocked::Pair { host: &pair.peer, from: &called }, lent, now);
        if is_told {
            self.reports.apart.pop(pair);
        }
        is_told
    }

    /// Whether all that the other host could ask for is refused, and why.
    fn refuses(&self, pair: &Pair, apart: &Apart, lent: Lent<'_>, now: Now) -> Option<Why> {
        let rooms = self.rooms(lent, now);
        let ask = apart.grounds.ask(Side::Inbound, pair.host, apart.rloc, &[Wire::ANY]);
        if !Case::new(&rooms, &ask).ok()?.is_refused() {
            return None;
        }
        let is_unknown_refused = Case::of_worth(&rooms, &ask, UNKNOWN).ok()?.is_refused();
        Some(if is_unknown_refused { Why::Rules } else { Why::Reputation })
    }

    /// Ends what is over: at once where rules have changed, else when it is time to look. Who can't be told now is told later.
    pub(super) fn reunite(&mut self, has_changed: bool, lent: Lent<'_>, now: Now) {
        if self.reports.apart.is_empty() || !has_changed && now.ms < self.reports.looked + LOOK {
            return;
        }
        self.reports.looked = now.ms;
        let is_old = |(pair, apart): (&Pair, &Apart)| (apart.until <= now.ms).then_some(*pair);
        let old: Vec<Pair> = self.reports.apart.iter().filter_map(is_old).collect();
        old.iter().for_each(|pair| _ = self.reports.apart.pop(pair));
        let is_over = |(pair, apart): (&Pair, &Apart)| self.refuses(pair, apart, lent, now).is_none();
        let over: Vec<Pair> =
            self.reports.apart.iter().filter(|entry| is_over(*entry)).map(|(pair, _)| *pair).collect();
        for pair in over {
            if self.let_go(&pair, lent, now) {
                continue;
            }
            let Some(apart) = self.reports.apart.peek(&pair) else { continue };
            let (edge, rloc) = (apart.edge.clone(), apart.rloc);
            // The association may have ended meanwhile, because nobody used it.
            if let Some(edge) = Fqdn::new(&edge) {
                self.drive(lent, now, |cetp, rooms, out| {
                    cetp.associate(edge, &[rloc], rooms, now.io(), out);
                });
            }
        }
    }
}
