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
//! Guarantees: as many are kept as [`super::reports`] says, each for a time. Never: says anything to who has proved nothing.

use super::claims::{Case, Grounds};
use super::house::Lent;
use super::reports::AWAY;
use super::service::{Now, Service};
use crate::edge::cetp::association::Report;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{Blocked, Filtering, Fqdn, Reason, Rloc, Service as Wire, Tag};
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
        };
        apart.why = self.refuses(&pair, &apart, lent, now)?;
        Some((pair, apart))
    }

    /// Asks the other edge to keep its host away from that one.
    pub(super) fn keep_apart(&mut self, pair: Pair, apart: Apart, lent: Lent<'_>, now: Now) {
        let blocked = Blocked::Pair { host: &pair.peer, from: &apart.called };
        let filtering = Filtering { blocked, seconds: AWAY, reason: Reason::REFUSED };
        if self.tell(&apart.edge, &Report::Filtering(filtering), lent, now) {
            self.counters.filtering_sent += 1;
            self.reports.apart.put(pair, apart);
        }
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
            let Some(apart) = self.reports.apart.pop(&pair) else { continue };
            let blocked = Blocked::Pair { host: &pair.peer, from: &apart.called };
            if self.lift(&apart.edge, blocked, lent, now) {
                continue;
            }
            // The association may have ended meanwhile, because nobody used it.
            if let Some(edge) = Fqdn::new(&apart.edge) {
                self.drive(lent, now, |cetp, rooms, out| {
                    cetp.associate(edge, &[apart.rloc], rooms, now.io(), out)
                });
            }
            self.reports.apart.put(pair, apart);
        }
    }
}
