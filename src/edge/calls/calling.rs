//! What becomes of calls, and of the sessions that they, or calls of others, come to.
//!
//! Guarantees: a session is in both tables, or in neither and over. Never: lets a call go unanswered.

use std::net::{IpAddr, Ipv4Addr};

use super::called::{self, Called};
use super::edges::{Key, Whereabouts, whereabouts};
use super::house::{Lent, direction};
use super::live::{self, Session};
use super::refusals::Refusal;
use super::reputations::{self, What};
use super::service::{Agreed, Declined, Lookup, Now, Service};
use super::waiting::For;
use super::{Answer, Call, Callee, Outcome};
use crate::config::Services;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{
    Backoff, Direction as Way, Evidence, Fqdn, Id, Reason, Rloc, Service as Wire, Tag,
};
use crate::edge::cetp::negotiation::{Opened, Question};
use crate::edge::cetp::terms::{HostKey, Side};
use crate::edge::identity::naming::{self, Speaker};
use crate::edge::proxies::{Asker, Assigned, TTL, TTL_IN_USE};
use crate::flow::tunnel::{Refused, Service as Tunnelled, SessionOptions};
use crate::packet::MacAddr;

/// What somebody unknown is held to be worth, in hundredths.
const UNKNOWN: u8 = 45;
/// So often a report counts at most, however often it says that it was.
const EVIDENCE: u32 = 5;

/// What a call by name is for: whatever the other host has.
const WANTED: [Wire; 1] = [Wire { protocol: None, direction: Way::ToInbound, ports: (0, u16::MAX) }];

fn rloc(rloc: &naming::Rloc) -> Rloc {
    match rloc {
        naming::Rloc::Ip(IpAddr::V4(address)) => Rloc::V4(*address),
        naming::Rloc::Ip(IpAddr::V6(address)) => Rloc::V6(*address),
        naming::Rloc::Ethernet(address) => Rloc::Ethernet(MacAddr(*address)),
    }
}

fn rlocs(speaker: &Speaker) -> Vec<Rloc> {
    speaker.rlocs.iter().map(rloc).collect()
}

impl Service {
    /// A host behind this edge calls another; false where too many wait.
    pub fn call(&mut self, call: Call, number: u64, lent: Lent<'_>, now: Now) -> bool {
        if self.waits.is_full() {
            self.counters.busy += 1;
            return false;
        }
        self.counters.calls += 1;
        let host = lent.register.by_address(call.asker.realm.0, call.asker.address);
        match (host, call.callee) {
            // Of whom nobody knows who it is no policy speaks.
            (None, _) => self.outcomes.push_back((number, Outcome::Refused)),
            (Some(host), Callee::Local(callee, service)) => {
                let outcome = self.call_local(host, (callee, service), &call.asker, lent, now);
                self.outcomes.push_back((number, outcome));
            }
            (Some(host), Callee::Remote(speakers)) => {
                let Some(name) = Fqdn::new(call.name.as_str()) else {
                    self.outcomes.push_back((number, Outcome::Refused));
                    return true;
                };
                let pair = Pair { host: Called::host(host.id).into(), peer: name.hash() };
                self.call_remote(pair, (number, call.asker), call.name, speakers, lent, now);
                self.settle(lent, now);
            }
        }
        true
    }

    fn call_remote(
        &mut self,
        pair: Pair,
        call: (u64, Asker),
        name: crate::config::DomainName,
        speakers: Vec<Speaker>,
        lent: Lent<'_>,
        now: Now,
    ) {
        if let Some((local, session)) = self.live.of(&pair) {
            if is_elsewhere(session, &speakers) {
                // It has the hash of that name, and is not where the DNS says that name is.
                self.close(local, Reason::SUPERSEDED, lent, now);
            } else if session.is_callers() {
                self.counters.reused += 1;
                let outcome = self.answer(local, TTL_IN_USE, now);
                return self.outcomes.push_back((call.0, outcome));
            }
        }
        if self.waits.join(&pair, call.0, call.1) {
            self.counters.joined += 1;
            return;
        }
        self.waits.begin(pair, name, speakers, call, now.ms);
        self.attempt(pair, lent, now);
    }

    /// Asks the edge whose turn it is.
    fn attempt(&mut self, pair: Pair, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair) else { return };
        let Some(speaker) = waiting.speakers.get(waiting.at).cloned() else {
            return self.finish(&pair, Outcome::Refused);
        };
        let (name, has_associated) = (waiting.name.clone(), waiting.has_associated);
        let rlocs = rlocs(&speaker);
        if rlocs.is_empty() {
            match speaker.edge {
                Some(edge) => {
                    self.waits.wait(&pair, For::Addresses, now.ms);
                    self.ask(Lookup::Addresses(pair), naming::Question::Addresses(edge));
                }
                None => self.next_speaker(
                    pair,
                    Backoff { reason: Reason::SILENT, code: None, retry_after: 0 },
                    lent,
                    now,
                ),
            }
            return;
        }
        let edge = speaker.edge.as_ref().and_then(|edge| Fqdn::new(edge.as_str()));
        let Some(name) = Fqdn::new(name.as_str()) else { return };
        if let Some(backoff) = self.is_kept_from(&pair, edge.map(|edge| edge.as_str()), lent, now) {
            return self.refused(pair, backoff, true, lent, now);
        }
        let has_keys = self.credentials.keys.is_some();
        // The first negotiation doesn't wait for it, unless it must.
        let associated = edge.filter(|_| has_keys || has_associated);
        let question = Question { host: pair.host, name, services: &WANTED, edge, rlocs: &rlocs };
        self.waits.wait(&pair, For::Answer, now.ms);
        let opened = self.drive(lent, now, |cetp, rooms, out| {
            let opened = cetp.open(&question, rooms, now.io(), out);
            if let (Opened::Asked, Some(edge)) = (&opened, associated) {
                cetp.associate(edge, &rlocs, rooms, now.io(), out);
            }
            opened
        });
        match opened {
            Opened::Asked | Opened::Joined => {}
            Opened::Reused(local) => {
                let outcome = self.answer(local, TTL_IN_USE, now);
                self.finish(&pair, outcome);
            }
            Opened::Busy => self.waits.wait(&pair, For::Turn, now.ms),
            Opened::Refused(backoff) => self.refused(pair, backoff, false, lent, now),
        }
    }

    /// Its time has come: its turn, or its end.
    pub(super) fn again(&mut self, pair: Pair, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair) else { return };
        if now.ms >= waiting.until {
            return self.finish(&pair, Outcome::Busy);
        }
        self.attempt(pair, lent, now);
    }

    /// Where an edge is.
    pub(super) fn found(&mut self, pair: Pair, answer: &Answer, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair).filter(|waiting| waiting.waits_for == For::Addresses) else {
            return;
        };
        let at = waiting.at;
        match (answer, waiting.speakers.get_mut(at)) {
            (Answer::Addresses(addresses), Some(speaker)) if !addresses.is_empty() => {
                speaker.rlocs = addresses.iter().map(|address| naming::Rloc::Ip(*address)).collect();
                self.attempt(pair, lent, now);
            }
            _ => self.next_speaker(
                pair,
                Backoff { reason: Reason::SILENT, code: None, retry_after: 0 },
                lent,
                now,
            ),
        }
    }

    /// Nobody is there: another edge may be; else it is over, or there is another way.
    fn next_speaker(&mut self, pair: Pair, backoff: Backoff, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair) else { return };
        waiting.at += 1;
        waiting.has_associated = false;
        if waiting.at < waiting.speakers.len() {
            return self.attempt(pair, lent, now);
        }
        let name = waiting.name.clone();
        self.keep_refusal(pair, name.as_str(), backoff, false, lent, now);
        let is_legacy = self.falls_back(pair.host, &name, lent);
        self.finish(&pair, if is_legacy { Outcome::Legacy } else { Outcome::Refused });
    }

    /// A question of a host behind this edge has come to nothing.
    pub(super) fn refused(&mut self, pair: Pair, backoff: Backoff, by_peer: bool, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair) else { return };
        let edge = waiting.speakers.get(waiting.at).and_then(|speaker| speaker.edge.clone());
        match (backoff.reason, edge) {
            (Reason::SILENT | Reason::NO_CARRIER, _) if !by_peer => {
                return self.next_speaker(pair, backoff, lent, now);
            }
            (Reason::ASSOCIATION, Some(edge)) if by_peer && !waiting.has_associated => {
                waiting.has_associated = true;
                return self.associate_for(pair, &edge, lent, now);
            }
            _ => {}
        }
        let name = waiting.name.clone();
        if by_peer {
            self.keep_refusal(pair, name.as_str(), backoff, true, lent, now);
        }
        if !by_peer && !self.is_kept(backoff, now) {
            self.keep_refusal(pair, name.as_str(), backoff, false, lent, now);
        }
        let is_busy = matches!(backoff.reason, Reason::OVERLOADED | Reason::LIMIT);
        self.finish(&pair, if is_busy { Outcome::Busy } else { Outcome::Refused });
    }

    /// The other side wants an association first.
    fn associate_for(&mut self, pair: Pair, edge: &crate::config::DomainName, lent: Lent<'_>, now: Now) {
        let Some(waiting) = self.waiting(&pair) else { return };
        let rlocs = waiting.speakers.get(waiting.at).map(rlocs).unwrap_or_default();
        self.waits.wait(&pair, For::Association(edge.as_str().into()), now.ms);
        let Some(name) = Fqdn::new(edge.as_str()) else { return };
        let (has_room, is_under_way, is_up) = self.drive(lent, now, |cetp, rooms, out| {
            let has_room = cetp.has_room(name);
            let is_under_way = cetp.associate(name, &rlocs, rooms, now.io(), out);
            (has_room, is_under_way, cetp.peer(name).is_some())
        });
        if is_up {
            self.waits.associated(edge.as_str(), now.ms);
        } else if !has_room {
            // It is not that nobody is there: so nothing else may be tried in its place.
            let backoff = Backoff { reason: Reason::OVERLOADED, code: None, retry_after: 0 };
            self.refused(pair, backoff, false, lent, now);
        } else if !is_under_way {
            let backoff = Backoff { reason: Reason::ASSOCIATION, code: None, retry_after: 0 };
            self.next_speaker(pair, backoff, lent, now);
        }
    }

    /// Whether the policy lets a host be called as one without an edge.
    fn falls_back(&self, host: HostKey, name: &crate::config::DomainName, lent: Lent<'_>) -> bool {
        let Some(host) = lent.host(host) else { return false };
        // Nobody has answered: nothing is known of who is there.
        let query = super::local::outbound(&host, name.as_str(), false, None, Services::ANY, UNKNOWN);
        lent.policy.decide(&query).allows_legacy_fallback()
    }

    fn finish(&mut self, pair: &Pair, outcome: Outcome) {
        let calls = self.waits.end(pair).map(|waiting| waiting.calls).unwrap_or_default();
        self.outcomes.extend(calls.into_iter().map(|(number, _)| (number, outcome)));
    }

    /// What a session answers to a call.
    fn answer(&mut self, local: Tag, ttl: u32, now: Now) -> Outcome {
        let Some(session) = self.live.get(local) else { return Outcome::Busy };
        // The session may go as soon as that.
        let ttl = ttl.min(session.timeout);
        self.proxies.told(session.realm, session.proxy, &session.name, ttl, now.at);
        Outcome::Address(Assigned { address: session.proxy, ttl })
    }

    // ---- sessions ----

    /// There is a session, or there is more of it.
    pub(super) fn established(&mut self, agreed: Agreed, lent: Lent<'_>, now: Now) {
        let (pair, local) = (agreed.pair, agreed.local);
        let is_callers = live::calls(&agreed.services);
        // It was asked for while it was under way, or before it was known whose edge that is.
        let kept = self.is_kept_from(&pair, agreed.edge.as_deref(), lent, now).filter(|_| is_callers);
        if let Some(Backoff { reason, .. }) = kept {
            self.close(local, reason, lent, now);
            return self.finish(&pair, Outcome::Refused);
        }
        let taken = match self.live.get_mut(local) {
            Some(session) => {
                let services: Vec<Tunnelled> =
                    agreed.services.iter().map(super::granted::in_a_tunnel).collect();
                session.services = agreed.services;
                session.timeout = agreed.timeout;
                self.table.lock().grow(local.get(), &services)
            }
            None => self.install(&agreed, lent, now),
        };
        if let Err(_refused) = taken {
            self.counters.untaken += 1;
            self.close(local, Reason::LIMIT, lent, now);
            return self.finish(&pair, Outcome::Busy);
        }
        if let Some(session) = self.live.get_mut(local) {
            let mut judged = self.judged.borrow_mut();
            for side in [Side::Outbound, Side::Inbound] {
                let grounds = judged.remove(&(pair, side));
                session.grounds[side as usize] = grounds.or(session.grounds[side as usize].take());
            }
        }
        if is_callers {
            let outcome = self.answer(local, TTL, now);
            self.finish(&pair, outcome);
        }
    }

    fn install(&mut self, agreed: &Agreed, lent: Lent<'_>, now: Now) -> Result<(), Refused> {
        let host = lent.host(agreed.pair.host).ok_or(Refused::Session)?;
        let realm = crate::flow::Realm(host.parts().realm);
        let caller = self.waiting(&agreed.pair).and_then(|waiting| waiting.calls.first().copied());
        let addresses = called::addresses(&host);
        let address = match caller {
            Some((_, Asker { address: IpAddr::V4(address), .. })) => Some(address),
            _ => addresses.first().copied(),
        };
        // Who has called may have another one by now.
        let address = address.filter(|address| addresses.contains(address)).ok_or(Refused::Session)?;
        // Of two sessions between the same hosts the later one counts.
        if let Some((old, _)) = self.live.of(&agreed.pair) {
            self.ended(old, now);
            self.close(old, Reason::SUPERSEDED, lent, now);
        }
        let name = agreed.name.as_deref().unwrap_or_default();
        let asker = Asker { realm, address: address.into() };
        let seen = Called::from(agreed.pair.host).sees(agreed.pair.peer);
        let held = self.proxies.hold(&asker, seen, name, now.at);
        let proxy = held.map_err(|_| Refused::Full)?;
        let key = agreed.edge.clone().map_or(Key::At(agreed.rloc), Key::Named);
        let taken = self.enter(agreed, &key, (realm, address, proxy), now);
        if taken.is_err() {
            self.proxies.let_go(realm, proxy, now.at);
            return taken;
        }
        let session = Session::new(
            agreed.pair,
            agreed.side,
            agreed.remote,
            (realm, address, proxy),
            host.parts().name,
            (key, agreed.rloc),
            name,
            (&agreed.services, agreed.timeout),
            now.ms,
        );
        self.live.insert(agreed.local, session);
        self.counters.installed += 1;
        self.has_addresses(agreed.local, &addresses);
        if agreed.side == Side::Inbound {
            self.listen(agreed.local, now);
        }
        Ok(())
    }

    /// A session is its host's, whichever of its addresses that uses.
    pub(super) fn has_addresses(&mut self, local: Tag, addresses: &[Ipv4Addr]) {
        let left_out = self.table.lock().set_others(local.get(), addresses).unwrap_or_default();
        self.counters.addresses_left_out += left_out as u64;
    }

    /// Puts a session into the table of tunnels, and its edge.
    fn enter(
        &mut self,
        agreed: &Agreed,
        key: &Key,
        (realm, host, proxy): (crate::flow::Realm, Ipv4Addr, Ipv4Addr),
        now: Now,
    ) -> Result<(), Refused> {
        let Service { cetp, edges, table, own, .. } = self;
        let told = agreed.edge.as_deref().and_then(|edge| whereabouts(cetp, edge));
        let cold = Whereabouts { active: agreed.rloc, told: std::slice::from_ref(&agreed.rloc), mtu: None };
        let mut tunnels = table.lock();
        let peer = edges.enter(key, &told.unwrap_or(cold), own, &mut tunnels)?;
        let services: Vec<Tunnelled> = agreed.services.iter().map(super::granted::in_a_tunnel).collect();
        let options =
            SessionOptions { peer_tag: agreed.remote.get(), peer, realm, host, proxy, services: &services };
        let installed = tunnels.install(agreed.local.get(), &options, now.worker);
        if installed.is_err() {
            edges.leave(key, &mut tunnels);
        }
        installed
    }

    /// The other side, or time, has ended a session: what its policy has to do with is kept.
    pub(super) fn told_ended(&mut self, local: Tag, reason: Reason, now: Now) {
        let is_withdrawn = !matches!(
            reason,
            Reason::CLOSED | Reason::IDLE | Reason::LOST | Reason::SUPERSEDED | Reason::SILENT
        );
        if let Some(session) = self.live.get(local).filter(|_| is_withdrawn) {
            self.refusals.borrow_mut().push(Refusal {
                at: now.unix,
                direction: direction(session.side),
                host: session.host_name.clone(),
                peer: session.name.clone(),
                edge: session.edge.name().map(Box::from),
                rloc: Some(session.rloc),
                backoff: Backoff { reason, code: None, retry_after: 0 },
                by_peer: true,
                has_ended: true,
                rule: None,
            });
        }
        self.ended(local, now);
    }

    /// A session is over: nothing of it is left.
    pub(super) fn ended(&mut self, local: Tag, now: Now) {
        let Some(session) = self.live.remove(local) else { return };
        let record = self.shared.find(local.get());
        if record.is_some_and(|record| record.counts().packets_in > 0 && record.counts().packets_out > 0) {
            let peer = (session.pair.peer, &*session.name);
            self.reputations.record(&session.edge, peer, What::Well, now.ms);
        }
        let mut tunnels = self.table.lock();
        let was_there = tunnels.remove(local.get());
        debug_assert!(was_there, "a session that no worker knew");
        self.edges.leave(&session.edge, &mut tunnels);
        drop(tunnels);
        self.proxies.let_go(session.realm, session.proxy, now.at);
        self.counters.removed += 1;
    }

    /// Ends a session, and tells the other side.
    pub(super) fn close(&mut self, local: Tag, reason: Reason, lent: Lent<'_>, now: Now) {
        self.drive(lent, now, |cetp, _, out| cetp.close(local, reason, now.io(), out));
        self.ended(local, now);
    }

    /// Another edge, which has proved who it is, has evidence of what hosts behind this one do: of those in sessions with it.
    pub(super) fn believe(
        &mut self,
        edge: &str,
        local: Option<Tag>,
        evidence: &Evidence,
        lent: Lent<'_>,
        now: Now,
    ) {
        let of_header = local.filter(|_| evidence.sessions.is_empty());
        for local in evidence.sessions.iter().copied().chain(of_header) {
            let session = self.live.get(local).filter(|session| session.edge.name() == Some(edge));
            let Some(session) = session else { continue };
            let Some(host) = lent.host(session.pair.host) else { continue };
            let before = self.reputations.of_own(host.hash(), now.ms);
            for _ in 0..evidence.count.clamp(1, EVIDENCE) {
                self.reputations.record_own(*host.hash(), host.parts().name, false, now.ms);
            }
            if lent.policy.tells_apart(before, self.reputations.of_own(host.hash(), now.ms)) {
                self.review.add_local(host.id);
            }
            self.counters.evidence += 1;
        }
    }

    /// A question of another edge was refused.
    pub(super) fn declined(&mut self, declined: Declined, lent: Lent<'_>, now: Now) {
        let Declined { peer, hash, edge, is_proved, is_flood, host, rloc, backoff } = declined;
        if let Some(fault) = reputations::fault(backoff, is_flood).filter(|_| is_proved) {
            let by = edge.clone().map_or(Key::At(rloc), Key::Named);
            self.blame(&by, (hash, &peer), fault, lent, now);
        }
        if self.is_kept(backoff, now) {
            return;
        }
        let called = Id::new(host.0, &host.1).unwrap_or(Id::NONE);
        let host = lent.find(&called).and_then(|called| lent.register.get(called.host));
        let told = called.name().map_or("", |name| name.as_str());
        self.refusals.borrow_mut().push(Refusal {
            at: now.unix,
            direction: direction(Side::Inbound),
            host: host.map_or(told, |host| host.parts().name).into(),
            peer,
            edge,
            rloc: Some(rloc),
            backoff,
            by_peer: false,
            has_ended: false,
            rule: None,
        });
    }

    /// Whether the policy has kept it already, with its rule, when it was made.
    fn is_kept(&self, backoff: Backoff, now: Now) -> bool {
        let last = self.refusals.borrow();
        let last = last.iter().next();
        last.is_some_and(|last| last.at == now.unix && last.backoff == backoff && !last.by_peer)
    }

    fn keep_refusal(
        &self,
        pair: Pair,
        peer: &str,
        backoff: Backoff,
        by_peer: bool,
        lent: Lent<'_>,
        now: Now,
    ) {
        let host = lent.host(pair.host);
        self.refusals.borrow_mut().push(Refusal {
            at: now.unix,
            direction: direction(Side::Outbound),
            host: host.map_or("", |host| host.parts().name).into(),
            peer: peer.into(),
            edge: None,
            rloc: None,
            backoff,
            by_peer,
            has_ended: false,
            rule: None,
        });
    }
}

/// Whether a session leads elsewhere than the DNS says the other host is.
fn is_elsewhere(session: &Session, speakers: &[Speaker]) -> bool {
    let is_there = |speaker: &Speaker| match (&session.edge, &speaker.edge) {
        (Key::Named(name), Some(edge)) => **name == *edge.as_str(),
        _ => speaker.rlocs.is_empty() || speaker.rlocs.iter().any(|told| rloc(told) == session.rloc),
    };
    !speakers.iter().any(is_there)
}
