//! What a host is told of whom it calls, and what naming checks are told of names of ours.
//!
//! Guarantees: an answer has the aliases that led to who is called; a refusal may be remembered for [`REFUSED_TTL`], so that a policy
//! that has changed counts soon. Never: decides who is called.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};

use super::super::lookup::Finding;
use super::super::pending::{Pending, Sections};
use super::super::zone::{self, Zone, address_record};
use super::super::{Alias, Asker, Forward, Outcome, Responder, Transport, answer, name};
use crate::config::DomainName;
use crate::edge::hosts::Register;
use crate::edge::identity::naming::{Rloc, Speaker};
use crate::edge::proxies::Assigned;
use crate::flow::Realm;

/// Seconds for which it may be remembered that who was called doesn't answer this host, and that it has no IPv6 address.
pub(in crate::dns) const REFUSED_TTL: u32 = 5;

impl Forward {
    /// A question of the edge's own, which may be on behalf of `asker`.
    pub(in crate::dns) fn of_edge(name: Name, record_type: RecordType, asker: Asker) -> Forward {
        let query = Query::query(name, record_type);
        Forward { pending: Pending::of_edge(query.clone()), query, asker }
    }
}

impl Asker {
    /// The edge itself.
    pub(in crate::dns) const EDGE: Asker = Asker {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        transport: Transport::Tcp,
        realm: None,
    };
}

impl Responder {
    /// From now on questions of hosts become calls, where they have proxy addresses.
    pub(in crate::dns) fn make_calls(&mut self, makes_calls: bool) {
        self.makes_calls = makes_calls;
    }

    /// Whether questions of `asker` become calls.
    pub(in crate::dns) fn calls_for(&self, asker: &Asker) -> bool {
        let realm = asker.realm.filter(|_| self.makes_calls);
        let serves = |realm| self.proxies.as_ref().is_some_and(|proxies| proxies.serves(Realm(realm)));
        realm.is_some_and(serves)
    }

    /// Whether that question for others' names may become a call.
    pub(in crate::dns) fn discovers(&self, forward: &Forward) -> bool {
        let kind = forward.query.query_type();
        matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY)
            && self.calls_for(&forward.asker)
            && domain(forward.query.name()).is_some()
    }

    /// Those of `speakers` that are other edges, without RLOCs that are ours: whoever writes a record is not to have us call ourselves.
    pub(in crate::dns) fn others(&self, speakers: Vec<Speaker>) -> Vec<Speaker> {
        let Some(own) = &self.config.edge else { return speakers };
        let is_ours = |rloc: &Rloc| matches!(rloc, Rloc::Ip(address) if own.rlocs.contains(address));
        let other = |mut speaker: Speaker| {
            let names_none = speaker.rlocs.is_empty();
            speaker.rlocs.retain(|rloc| !is_ours(rloc));
            let is_reached = names_none || !speaker.rlocs.is_empty();
            (is_reached && speaker.edge.as_ref() != Some(&own.cesid)).then_some(speaker)
        };
        speakers.into_iter().filter_map(other).collect()
    }

    /// The address that stands for who was called.
    pub(in crate::dns) fn agreed(&self, alias: Alias, assigned: Assigned) -> Outcome {
        let is_authoritative = self.is_authority(&alias);
        let Alias { forward, chain: mut answers, target } = alias;
        answers.push(address_record(target, assigned.ttl, assigned.address.into()));
        answer(&forward.pending, Sections { answers, is_authoritative, ..Sections::default() })
    }

    /// There is no such name for the asker.
    pub(in crate::dns) fn refused(&self, alias: Alias) -> Outcome {
        self.negative(alias, ResponseCode::NXDomain)
    }

    /// Proxy addresses are of IPv4.
    pub(in crate::dns) fn has_no_ipv6(&self, alias: Alias) -> Outcome {
        self.negative(alias, ResponseCode::NoError)
    }

    /// It may be asked again.
    pub(in crate::dns) fn failed(&self, alias: &Alias) -> Outcome {
        answer(&alias.forward.pending, Sections::code(ResponseCode::ServFail))
    }

    fn negative(&self, alias: Alias, code: ResponseCode) -> Outcome {
        let is_authoritative = self.is_authority(&alias);
        let Alias { forward, chain: answers, target } = alias;
        let mut soa = match self.zone_of(&target) {
            Some(zone) => zone.negative_soa(&target),
            None => zone::local_soa(target.base_name(), REFUSED_TTL),
        };
        soa.ttl = soa.ttl.min(REFUSED_TTL);
        let authorities = vec![soa];
        answer(
            &forward.pending,
            Sections { code, answers, authorities, is_authoritative, ..Sections::default() },
        )
    }

    /// AA is about the name that was asked (RFC 1035 section 4.1.1).
    fn is_authority(&self, alias: &Alias) -> bool {
        alias.chain.is_empty() && self.zone_of(&alias.target).is_some()
    }

    fn zone_of(&self, name: &Name) -> Option<&Zone> {
        zone::find(&self.zones, &name::text(name)?)
    }

    /// The answer that [`Responder::complete`] would be if nobody made calls.
    pub(in crate::dns) fn without_calls(&self, alias: Alias, hosts: &Register, now: u64) -> Outcome {
        self.aliased(alias, hosts, now, false)
    }

    /// Records of a name of ours, as they are told outside; `None` if it is somebody else's. Nothing is reserved for it.
    pub(in crate::dns) fn look_up(
        &self,
        name: &Name,
        record_type: RecordType,
        hosts: &Register,
        now: u64,
    ) -> Option<Vec<Record>> {
        let text = name::text(name)?;
        let zone = zone::find(&self.zones, &text)?;
        if zone.config.inside_only {
            return Some(Vec::new());
        }
        let query = Query::query(name.clone(), record_type);
        let lookup = self.lookup(zone, &query, &text, &Asker::EDGE, hosts, now as u32);
        Some(match lookup.find() {
            Finding::Records { answers, .. } => answers,
            _ => Vec::new(),
        })
    }
}

/// The name, where it is one that a host can have.
pub(in crate::dns) fn domain(name: &Name) -> Option<DomainName> {
    DomainName::new(&name::text(name)?)
}
