//! CES–Local: a host behind this edge calls another one behind it. Both policies are matched here, by the engine that matches those of
//! other edges: what each host tells is what its policy lets it tell of what the edge knows of it.
//!
//! Guarantees: two sessions, each the other's twin, or none; both end together, when no packet has crossed by either for the shorter of
//! both timeouts. Each host sees the other as a proxy address of its own realm. Never: sends a message.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;

use super::Outcome;
use super::called;
use super::claims::known_here;
use super::granted::{self, List, TooMany};
use super::house::Lent;
use super::live;
use super::refusals::{Refusal, Rule};
use super::service::{Now, Service};
use crate::config::{Attribute, Attributes, Direction, ServiceTarget, Services};
use crate::edge::cetp::message::{Backoff, Direction as Way, Reason, Tag};
use crate::edge::hosts::{HostId, HostRef};
use crate::edge::policy::{self, Decision, Judgement, Name, Query};
use crate::edge::proxies::{Asker, Assigned, TTL, TTL_IN_USE};
use crate::flow::Realm;
use crate::flow::tunnel::services::SERVICES;
use crate::flow::tunnel::{LOCAL, Opens, Refused, Service as Tunnelled, SessionOptions, Tunnels};

/// One side of a pair of twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    pub host: HostId,
    pub tag: Tag,
    pub realm: Realm,
    pub address: Ipv4Addr,
    /// What stands for the other host there.
    pub proxy: Ipv4Addr,
    pub name: Box<str>,
    /// What the host may open, in the words of messages; what the other may open of it, too.
    services: Vec<Tunnelled>,
    /// What it has called the other for, by its own name or by those of services: that is negotiated.
    pub(super) wanted: List,
}

/// Two hosts behind this edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twins {
    pub halves: [Half; 2],
    pub timeout: u32,
    /// When it is looked at, in milliseconds.
    due: u64,
}

type Pair = [HostId; 2];

impl Half {
    /// It has called the other.
    pub(super) fn is_caller(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether all that its host may open of the other is in that list.
    pub(super) fn is_within(&self, list: &[Services]) -> bool {
        let mut open = self.services.iter().filter(|service| service.opens != Opens::Remote);
        open.all(|Tunnelled { protocol, ports: (first, last), .. }| {
            granted::is_within(Services { protocol: *protocol, first: *first, last: *last }, list)
        })
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Locals {
    pairs: HashMap<Pair, Twins>,
    /// With whom each host is in one.
    by_host: BTreeSet<(HostId, HostId)>,
    due: BTreeSet<(u64, Pair)>,
}

impl Locals {
    /// Pairs of twins.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Twins> {
        self.pairs.values()
    }

    pub fn get(&self, pair: &[HostId; 2]) -> Option<&Twins> {
        self.pairs.get(pair)
    }

    /// The next host, up to `last`, and with whom it is.
    pub fn next(&self, from: Bound<(HostId, HostId)>, last: HostId) -> Option<(HostId, HostId)> {
        let end = Bound::Included((last, HostId::from_number(u32::MAX)));
        self.by_host.range((from, end)).next().copied()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// In which order two hosts stand.
pub(super) fn pair(one: HostId, other: HostId) -> Pair {
    if one < other { [one, other] } else { [other, one] }
}

/// That a host calls another by that name, for those services.
pub(super) fn outbound<'q>(
    host: &HostRef<'q>,
    peer: &'q str,
    is_own_group: bool,
    edge: Option<Name<'q>>,
    services: Services,
    reputation: u8,
) -> Query<'q> {
    let parts = host.parts();
    Query {
        host: Name::new(parts.name),
        group: parts.group,
        direction: Direction::Outbound,
        peer: Name::new(peer),
        is_own_group,
        edge,
        services,
        reputation,
    }
}

/// What both sides agree on, and for how long.
pub(super) struct Terms {
    pub(super) services: List,
    timeout: u32,
}

fn backoff(reason: Reason) -> Backoff {
    Backoff { reason, code: None, retry_after: 0 }
}

impl Service {
    /// One host behind this edge calls another, for a single service if it has called it by the name of one.
    pub(super) fn call_local(
        &mut self,
        caller: HostRef<'_>,
        (callee, service): (HostId, Option<ServiceTarget>),
        asker: &Asker,
        lent: Lent<'_>,
        now: Now,
    ) -> Outcome {
        let Some(called) = lent.register.get(callee).filter(|called| called.id != caller.id) else {
            return Outcome::Refused;
        };
        let (key, wanted) = (pair(caller.id, callee), service.map_or(Services::ANY, Services::of));
        let has_called = |half: &Half| half.host == caller.id && granted::is_within(wanted, &half.wanted);
        if let Some(twins) = self.locals.pairs.get(&key)
            && let Some(half) = twins.halves.iter().find(|half| has_called(half))
        {
            self.counters.reused += 1;
            let ttl = TTL_IN_USE.min(twins.timeout);
            self.proxies.told(half.realm, half.proxy, called.parts().name, ttl, now.at);
            return Outcome::Address(Assigned { address: half.proxy, ttl });
        }
        let terms = match self.match_policies(&caller, &called, wanted, lent, now) {
            Ok(terms) => terms,
            Err((refusal, rule)) => {
                let names = [&caller, &called].map(|host| host.parts().name.into());
                self.keep_local(names, refusal, rule, false, now);
                let is_busy = refusal.reason == Reason::LIMIT;
                return if is_busy { Outcome::Busy } else { Outcome::Refused };
            }
        };
        let made = match self.locals.pairs.contains_key(&key) {
            true => self.grow_twins(key, caller.id, wanted, &terms),
            false => self.make_twins([&caller, &called], asker, wanted, &terms, now),
        };
        match made {
            Ok(address) => {
                let ttl = TTL.min(terms.timeout);
                self.proxies.told(asker.realm, address, called.parts().name, ttl, now.at);
                Outcome::Address(Assigned { address, ttl })
            }
            Err(_refused) => {
                self.counters.untaken += 1;
                Outcome::Busy
            }
        }
    }

    /// Caller outbound against callee inbound, for those services.
    pub(super) fn match_policies(
        &self,
        caller: &HostRef<'_>,
        called: &HostRef<'_>,
        wanted: Services,
        lent: Lent<'_>,
        now: Now,
    ) -> Result<Terms, (Backoff, Option<Rule>)> {
        let (one, other) = (caller.parts(), called.parts());
        let is_own_group = one.group.is_some() && one.group == other.group;
        let edge = Name::new(self.own.name.as_str());
        // Of its own hosts the edge knows what other edges have evidence of.
        let [worth, others] = [caller, called].map(|host| self.reputations.of_own(host.hash(), now.ms));
        let outbound = outbound(caller, other.name, is_own_group, edge, wanted, others);
        let inbound = self::outbound(called, one.name, is_own_group, edge, wanted, worth);
        let inbound = Query { direction: Direction::Inbound, ..inbound };
        let decisions = [&outbound, &inbound].map(|query| lent.policy.decide(query));
        let mut lists: [List; 2] = Default::default();
        let mut timeout = self.own.timeout;
        for (at, list) in lists.iter_mut().enumerate() {
            let (own, theirs) = (&decisions[at], &decisions[1 - at]);
            let name = [other.name, one.name][at];
            let agreement = self.weigh_local(own, theirs, name)?;
            *list = granted::agreed(&agreement.filter).map_err(|TooMany| (backoff(Reason::LIMIT), None))?;
            let place = Attribute::Timeout.number().unwrap_or_default();
            timeout = agreement.numbers[place].map_or(timeout, |agreed| timeout.min(agreed));
        }
        let services = granted::common(&lists[0], &lists[1]);
        let services = services.map_err(|TooMany| (backoff(Reason::LIMIT), None))?;
        if services.is_empty() {
            return Err((backoff(Reason::REFUSED), None));
        }
        Ok(Terms { services, timeout: timeout.max(1) })
    }

    /// What one host's policy makes of what the other's lets it tell.
    fn weigh_local(
        &self,
        own: &Decision<'_>,
        theirs: &Decision<'_>,
        name: &str,
    ) -> Result<policy::Agreement, (Backoff, Option<Rule>)> {
        let claims = known_here(theirs, name, self.own.timeout, self.credentials.keys.is_some());
        let all = policy::Own { rlocs: crate::config::Kinds::ALL, encapsulations: crate::config::Kinds::ALL };
        match own.judge(&claims, &all) {
            Judgement::Agreed(agreement) => Ok(agreement),
            Judgement::Refused(refusal) => {
                let rule = Rule {
                    level: refusal.level,
                    name: refusal.rule.name().into(),
                    attribute: refusal.attribute.map(Attribute::name),
                };
                Err((backoff(Reason::REFUSED), Some(rule)))
            }
            Judgement::Lacks { asks, .. } => {
                let code = asks.iter().find_map(super::codes::about);
                Err((Backoff { code, ..backoff(Reason::MISSING) }, None))
            }
        }
    }

    pub(super) fn keep_local(
        &self,
        [caller, called]: [Box<str>; 2],
        backoff: Backoff,
        rule: Option<Rule>,
        has_ended: bool,
        now: Now,
    ) {
        self.refusals.borrow_mut().push(Refusal {
            at: now.unix,
            direction: Direction::Outbound,
            host: caller,
            peer: called,
            edge: Some(self.own.name.as_str().into()),
            rloc: None,
            backoff,
            by_peer: false,
            has_ended,
            rule,
        });
    }

    /// Both sessions, in the table; the address of the callee for the caller.
    fn make_twins(
        &mut self,
        hosts: [&HostRef<'_>; 2],
        asker: &Asker,
        wanted: Services,
        terms: &Terms,
        now: Now,
    ) -> Result<Ipv4Addr, Refused> {
        let addresses = hosts.map(called::addresses);
        let asker_has = addresses[0].iter().find(|address| IpAddr::V4(**address) == asker.address);
        let firsts = [asker_has.or(addresses[0].first()), addresses[1].first()];
        let [Some(&one), Some(&other)] = firsts else { return Err(Refused::Session) };
        let mut held: Vec<(Realm, Ipv4Addr)> = Vec::new();
        for (host, address, peer) in [(hosts[0], one, hosts[1]), (hosts[1], other, hosts[0])] {
            let asker = Asker { realm: Realm(host.parts().realm), address: address.into() };
            match self.proxies.hold(&asker, *peer.hash(), peer.parts().name, now.at) {
                Ok(proxy) => held.push((asker.realm, proxy)),
                Err(_) => {
                    held.iter().for_each(|(realm, proxy)| self.proxies.let_go(*realm, *proxy, now.at));
                    return Err(Refused::Full);
                }
            }
        }
        let services = [Way::ToInbound, Way::ToOutbound].map(|way| tunnelled(&terms.services, way));
        let mut halves = [0, 1].map(|at| Half {
            host: hosts[at].id,
            tag: Tag(std::num::NonZeroU32::MIN),
            realm: held[at].0,
            address: [one, other][at],
            proxy: held[at].1,
            name: hosts[at].parts().name.into(),
            services: services[at].clone(),
            wanted: [wanted].into_iter().take(1 - at).collect(),
        });
        let mut tunnels = self.table.lock();
        if let Err(refused) = install(&mut halves, &mut tunnels, now) {
            held.iter().for_each(|(realm, proxy)| self.proxies.let_go(*realm, *proxy, now.at));
            return Err(refused);
        }
        drop(tunnels);
        self.counters.local += 1;
        let address = halves[0].proxy;
        let key = pair(hosts[0].id, hosts[1].id);
        let due = now.ms + u64::from(terms.timeout) * 1000;
        self.locals.due.insert((due, key));
        self.locals.by_host.extend([(key[0], key[1]), (key[1], key[0])]);
        let tags = halves.each_ref().map(|half| half.tag);
        self.locals.pairs.insert(key, Twins { halves, timeout: terms.timeout, due });
        tags.iter().zip(&addresses).for_each(|(tag, addresses)| self.has_addresses(*tag, addresses));
        Ok(address)
    }

    /// The other one calls, too, or one of them for something more.
    fn grow_twins(
        &mut self,
        key: Pair,
        caller: HostId,
        wanted: Services,
        terms: &Terms,
    ) -> Result<Ipv4Addr, Refused> {
        let twins = self.locals.pairs.get_mut(&key).ok_or(Refused::Tag)?;
        let more = |half: &Half| {
            let way = if half.host == caller { Way::ToInbound } else { Way::ToOutbound };
            let mut more = tunnelled(&terms.services, way);
            more.retain(|service| !half.services.contains(service));
            [half.services.clone(), more].concat()
        };
        if twins.halves.iter().any(|half| more(half).len() > SERVICES) {
            return Err(Refused::Session);
        }
        let mut tunnels = self.table.lock();
        let mut address = None;
        for half in &mut twins.halves {
            let is_caller = half.host == caller;
            let services = more(half);
            tunnels.grow(half.tag.get(), &services)?;
            half.services = services;
            if is_caller {
                // What there is no room to remember is matched anew when it is called again.
                let _ = granted::add(&mut half.wanted, wanted);
            }
            address = address.or(is_caller.then_some(half.proxy));
        }
        twins.timeout = twins.timeout.min(terms.timeout);
        address.ok_or(Refused::Tag)
    }

    /// Those that no packet has crossed by for long enough are over.
    pub(super) fn tick_locals(&mut self, now: Now) {
        while let Some((due, key)) = self.locals.due.first().copied().filter(|(due, _)| *due <= now.ms) {
            self.locals.due.remove(&(due, key));
            let Some(twins) = self.locals.pairs.get_mut(&key) else { continue };
            let records = twins.halves.iter().filter_map(|half| self.shared.find(half.tag.get()));
            let seen = records.map(|record| live::own_time(record, now)).max().unwrap_or_default();
            let end = seen + u64::from(twins.timeout) * 1000;
            if end > now.ms {
                twins.due = end;
                self.locals.due.insert((end, key));
            } else {
                self.end_twins(key, now);
            }
        }
    }

    /// Ends those of a host, or all where none is named; how many. They are with no other edge.
    pub(super) fn terminate_locals(&mut self, wanted: &super::shown::Wanted, now: Now) -> u64 {
        let is_wanted = |twins: &Twins| {
            let has = |name: &str| twins.halves.iter().any(|half| *half.name == *name);
            wanted.edge.is_none() && wanted.host.as_deref().is_none_or(has)
        };
        let ending = self.locals.pairs.iter().filter(|(_, twins)| is_wanted(twins));
        let pairs: Vec<Pair> = ending.map(|(pair, _)| *pair).collect();
        pairs.iter().for_each(|pair| self.end_twins(*pair, now));
        pairs.len() as u64
    }

    /// Nothing is left of them.
    pub(super) fn end_twins(&mut self, key: Pair, now: Now) {
        let Some(twins) = self.locals.pairs.remove(&key) else { return };
        let [one, other] = key;
        [(one, other), (other, one)].iter().for_each(|both| _ = self.locals.by_host.remove(both));
        self.locals.due.remove(&(twins.due, key));
        let mut tunnels = self.table.lock();
        for half in &twins.halves {
            tunnels.remove(half.tag.get());
            self.proxies.let_go(half.realm, half.proxy, now.at);
        }
    }
}

fn tunnelled(services: &[Services], way: Way) -> Vec<Tunnelled> {
    services.iter().map(|services| granted::in_a_tunnel(&granted::on_the_wire(services, way))).collect()
}

/// Both, or none.
fn install(halves: &mut [Half; 2], tunnels: &mut Tunnels, now: Now) -> Result<(), Refused> {
    let first = tunnels.reserve()?;
    let second = match tunnels.reserve() {
        Ok(second) => second,
        Err(refused) => {
            tunnels.release(first);
            return Err(refused);
        }
    };
    let tags = [first, second];
    for at in 0..2 {
        let half = &mut halves[at];
        half.tag = Tag::new(tags[at]).ok_or(Refused::Tag)?;
        let Half { realm, address, proxy, .. } = *half;
        let options = SessionOptions {
            peer_tag: tags[1 - at],
            peer: LOCAL,
            realm,
            host: address,
            proxy,
            services: &half.services,
        };
        if let Err(refused) = tunnels.install(tags[at], &options, now.worker) {
            tags.iter().for_each(|tag| {
                let _ = tunnels.remove(*tag) || tunnels.release(*tag);
            });
            return Err(refused);
        }
    }
    Ok(())
}

/// What the edge knows of its own hosts without their telling.
pub(super) const KNOWN: Attributes = Attributes::of(Attribute::Cookie)
    .with(Attributes::of(Attribute::Rloc))
    .with(Attributes::of(Attribute::Encapsulation))
    .with(Attributes::of(Attribute::NamingCheck));
