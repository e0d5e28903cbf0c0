//! What the protocol asks of this edge, answered from the register, the policies and the identities that are lent for a turn.
//!
//! The name of another host counts for policies only when it is proved: by the naming check, by a certificate of its own, or because
//! the own host has asked for it by that name and the DNS has said where it is. What is proved is decided about anew.
//!
//! Guarantees: answers depend on nothing but what is lent, and what edges have signed with; every own refusal is kept, with the
//! rule that has decided. Never: waits, or changes a host or a rule.

use std::cell::RefCell;
use std::collections::HashMap;

use arrayvec::ArrayVec;

use super::called::Called;
use super::claims::{Case, Grounds, Known};
use super::edges::Key;
use super::live::Live;
use super::own::{Credentials, Own};
use super::refusals::{Refusal, Refusals, Rule};
use super::reports::Reports;
use super::reputations::{self, Reputations};
use super::service::Now;
use crate::config::{Attribute, Direction};
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{
    Backoff, Code, Fqdn, Id, IdType, Limits, Message, Reason, Rloc, Signature, Tag, Value,
};
use crate::edge::cetp::signing::CERTIFICATES;
use crate::edge::cetp::terms::{Ask, HostKey, House, LastSeen, Side, SignedBy, Signer, Terms};
use crate::edge::hosts::names::Which;
use crate::edge::hosts::{HostRef, Register};
use crate::edge::identity::{Algorithm, Certified, PublicKey};
use crate::edge::policy::{self, Engine, Judgement, Name, Query};
use crate::flow::tunnel::TunnelTable;

/// On what agreements stand whose sessions aren't there yet.
pub type Judged = HashMap<(Pair, Side), Box<Grounds>>;

/// What belongs to somebody else, for a turn.
#[derive(Clone, Copy)]
pub struct Lent<'l> {
    pub register: &'l Register,
    pub policy: &'l Engine,
}

impl<'l> Lent<'l> {
    /// Whom behind this edge an ID means. Names of services are known as such, and not by their hashes.
    pub fn find(&self, id: &Id<'_>) -> Option<Called> {
        match id.id_type {
            IdType::FqdnHash => {
                self.register.by_hash(id.value.try_into().ok()?).map(|host| Called::host(host.id))
            }
            IdType::Fqdn => Called::by(&self.register.by_name(id.name()?.as_str())?),
            _ => None,
        }
    }

    /// The host of a key, if it is still there.
    pub fn host(&self, key: HostKey) -> Option<HostRef<'l>> {
        self.register.get(Called::from(key).host)
    }
}

/// See the module.
pub struct Rooms<'a> {
    pub(super) lent: Lent<'a>,
    pub(super) own: &'a Own,
    pub(super) credentials: &'a Credentials,
    live: &'a Live,
    table: &'a TunnelTable,
    reputations: &'a Reputations,
    reports: &'a Reports,
    refusals: &'a RefCell<Refusals>,
    judged: &'a RefCell<Judged>,
    /// Whatever is refused now is a session that there is.
    is_of_sessions: bool,
    pub(super) now: Now,
    chain: ArrayVec<&'a [u8], CERTIFICATES>,
}

/// What is asked, and looked up, for a turn.
pub struct Parts<'a> {
    pub own: &'a Own,
    pub credentials: &'a Credentials,
    pub live: &'a Live,
    pub reputations: &'a Reputations,
    pub reports: &'a Reports,
    pub table: &'a TunnelTable,
}

impl<'a> Rooms<'a> {
    pub fn new(
        parts: Parts<'a>,
        refusals: &'a RefCell<Refusals>,
        judged: &'a RefCell<Judged>,
        lent: Lent<'a>,
        now: Now,
    ) -> Rooms<'a> {
        let Parts { own, credentials, live, reputations, reports, table } = parts;
        let chain = credentials.keys.iter().flat_map(|keys| &keys.chain);
        let chain = chain.take(CERTIFICATES).map(|certificate| &certificate[..]).collect();
        let is_of_sessions = false;
        Rooms {
            lent,
            own,
            credentials,
            live,
            table,
            reputations,
            reports,
            refusals,
            judged,
            is_of_sessions,
            now,
            chain,
        }
    }

    /// What is asked is whether sessions that there are would be agreed on.
    pub(super) fn of_sessions(self) -> Rooms<'a> {
        Rooms { is_of_sessions: true, ..self }
    }

    /// By which name a host behind this edge is called.
    fn name_of(&self, host: HostKey) -> Option<Fqdn<'a>> {
        let (name, _) = self.host(host)?.named(Called::from(host).which)?;
        Fqdn::new(name)
    }

    /// What the other host is held to be worth, in hundredths.
    pub(super) fn reputation(&self, ask: &Ask<'_>) -> u8 {
        self.reputations.of(&reputations::edge(ask), Some(&reputations::host(ask)), self.now.ms)
    }

    /// Keeps on what an agreement stands, until the session is there.
    pub(super) fn agree(&self, ask: &Ask<'_>, known: Known) {
        let pair = Pair { host: ask.host, peer: reputations::host(ask) };
        self.judged.borrow_mut().insert((pair, ask.side), Box::new(Grounds::new(ask, known)));
    }

    /// A host behind this edge that is still there.
    pub(super) fn host(&self, host: HostKey) -> Option<HostRef<'a>> {
        self.lent.host(host)
    }

    /// The certificate of who is at the other side, where an association or a signature has shown it.
    pub(super) fn certificate(&self, edge: Fqdn<'_>, told: &[&[u8]]) -> Option<std::sync::Arc<Certified>> {
        let now = self.now.unix / 1000;
        let name = Name::new(edge.as_str())?;
        let known = self.credentials.of_edge(name, now);
        known.or_else(|| self.credentials.identities().identify(told, name, None, now).ok())
    }

    /// Keeps a refusal of this edge's.
    pub(super) fn record(&self, ask: &Ask<'_>, refusal: &policy::Refusal<'_>) -> Backoff {
        let code = refusal.attribute.and_then(super::codes::about);
        let reason = match refusal.attribute {
            None => Reason::REFUSED,
            Some(Attribute::Id) => Reason::ID_TYPE,
            Some(Attribute::Rloc | Attribute::Encapsulation) => Reason::NO_CARRIER,
            Some(_) => Reason::UNACCEPTABLE,
        };
        let backoff = Backoff { reason, code, retry_after: 0 };
        let rule = Rule {
            level: refusal.level,
            name: refusal.rule.name().into(),
            attribute: refusal.attribute.map(Attribute::name),
        };
        self.keep(ask, backoff, Some(rule));
        backoff
    }

    pub(super) fn keep(&self, ask: &Ask<'_>, backoff: Backoff, rule: Option<Rule>) {
        let host = self.host(ask.host).map_or("", |host| host.parts().name);
        self.keep_of(host, ask, backoff, rule);
    }

    pub(super) fn keep_of(&self, host: &str, ask: &Ask<'_>, backoff: Backoff, rule: Option<Rule>) {
        self.refusals.borrow_mut().push(Refusal {
            at: self.now.unix,
            direction: direction(ask.side),
            host: host.into(),
            peer: peer_text(&ask.peer, ask.peer_name),
            edge: ask.proved.edge.map(|edge| edge.as_str().into()),
            rloc: Some(ask.rloc),
            backoff,
            by_peer: false,
            has_ended: self.is_of_sessions,
            rule,
        });
    }
}

/// The other host, as an operator knows it.
pub(super) fn peer_text(peer: &Id<'_>, name: Option<Fqdn<'_>>) -> Box<str> {
    match name {
        Some(name) => name.as_str().into(),
        None => {
            let value: String = peer.value.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("{}:{value}", peer.id_type.name()).into()
        }
    }
}

pub(super) fn direction(side: Side) -> Direction {
    match side {
        Side::Outbound => Direction::Outbound,
        Side::Inbound => Direction::Inbound,
    }
}

impl House for Rooms<'_> {
    fn name(&self) -> Fqdn<'_> {
        Fqdn::new(self.own.name.as_str()).unwrap_or_else(|| unreachable!("names of hosts are FQDNs"))
    }

    fn admit(&self, edge: Fqdn<'_>, rloc: Rloc) -> Result<Limits, Backoff> {
        let query = Query {
            host: None,
            group: None,
            direction: Direction::Inbound,
            peer: None,
            is_own_group: false,
            edge: Name::new(edge.as_str()),
            services: crate::config::Services::ANY,
            reputation: self.reputations.of(&Key::Named(edge.as_str().into()), None, self.now.ms),
        };
        let decision = self.lent.policy.decide(&query);
        let known = Known::edge(self, edge, rloc);
        match decision.judge(&known.claims(), &self.has()) {
            Judgement::Agreed(_) => {
                let says = |number, default| decision.states(number).unwrap_or(default);
                Ok(Limits {
                    sessions: says(Attribute::Sessions, self.own.limits.sessions),
                    negotiations: says(Attribute::Negotiations, self.own.limits.negotiations),
                })
            }
            Judgement::Refused(refusal) => Err(self.record_edge(edge, rloc, Some(&refusal))),
            Judgement::Lacks { .. } => Err(self.record_edge(edge, rloc, None)),
        }
    }

    /// Of both directions workers know one time alone: which of them it is of, the counts tell.
    fn last_seen(&self, local: Tag) -> Option<LastSeen> {
        let session = self.table.find(local.get())?;
        Some(self.live.last_seen(local, session, self.now))
    }

    fn find(&self, id: &Id<'_>) -> Option<HostKey> {
        self.lent.find(id).map(HostKey::from)
    }

    fn id(&self, host: HostKey, id_type: IdType) -> Option<Id<'_>> {
        match id_type {
            IdType::FqdnHash if Called::from(host).which == Which::OWN => {
                Id::new(id_type, self.host(host)?.hash())
            }
            IdType::Fqdn => self.name_of(host).map(Id::fqdn),
            _ => None,
        }
    }

    fn terms(&self, ask: &Ask<'_>) -> Result<Terms, Backoff> {
        self.admits(ask)?;
        Case::new(self, ask)?.terms()
    }

    fn judge(&self, ask: &Ask<'_>, terms: &Terms, told: &Message<'_>) -> Result<Terms, Backoff> {
        Case::new(self, ask)?.judge(terms, told)
    }

    fn value(&self, host: Option<HostKey>, code: Code) -> Option<Value<'_>> {
        match code {
            Code::DOMAIN => self.name_of(host?).map(Value::Domain),
            Code::RLOC_IPV4 => self.own.told_v4(),
            Code::RLOC_IPV6 => self.own.told_v6(),
            Code::RLOC_ETHERNET => self.own.told_ethernet(),
            Code::CARRIERS => Some(Value::Carriers(self.own.carriers())),
            Code::MTU => Some(Value::Mtu(self.own.mtu)),
            Code::LIMITS => Some(Value::Limits(self.own.limits)),
            // The edge answers for its hosts.
            Code::CA_ADDRESS => self.credentials.keys.as_ref()?.ca_address.as_deref().map(Value::CaAddress),
            _ => None,
        }
    }

    fn certificates(&self, _: Option<HostKey>) -> &[&[u8]] {
        &self.chain
    }

    /// The edge signs for its hosts.
    fn sign<'s>(&self, _: Option<HostKey>, text: &[u8], room: &'s mut [u8; 64]) -> Option<Signature<'s>> {
        let (algorithm, signature) = self.credentials.keys.as_ref()?.key.sign(text)?;
        *room = signature;
        Some(match algorithm {
            Algorithm::Ed25519 => Signature::Ed25519(room),
            Algorithm::EcdsaP256 => Signature::EcdsaP256(room),
        })
    }

    fn verify(
        &self,
        signer: &Signer<'_>,
        text: &[u8],
        signature: &Signature<'_>,
        clock: u64,
    ) -> Result<SignedBy, Reason> {
        let (now, identities) = (clock / 1000, self.credentials.identities());
        let check = |key: &PublicKey| {
            let (algorithm, bytes) = match signature {
                Signature::Ed25519(bytes) => (Algorithm::Ed25519, *bytes),
                Signature::EcdsaP256(bytes) => (Algorithm::EcdsaP256, *bytes),
            };
            key.verify(algorithm, text, bytes).map_err(|_| Reason::BAD_SIGNATURE)
        };
        let name = signer.name.and_then(|name| Name::new(name.as_str()));
        // A certificate of the host's own goes before its edge's word.
        if let Some(name) = name
            && let Ok(certified) = identities.identify(signer.certificates, name, None, now)
        {
            check(&certified.key)?;
            if signer.is_edge {
                self.credentials.keep(name, signer.certificates);
            }
            return Ok(SignedBy::Host);
        }
        if let Some(edge) = signer.edge {
            let certified = Name::new(edge.as_str()).and_then(|edge| self.credentials.of_edge(edge, now));
            check(&certified.ok_or(Reason::BAD_CERTIFICATE)?.key)?;
            return Ok(SignedBy::Edge(edge.as_str().into()));
        }
        let bearer = identities.bearer(signer.certificates, now);
        let (certified, name) = bearer.map_err(|_| Reason::BAD_CERTIFICATE)?;
        check(&certified.key)?;
        Ok(SignedBy::Edge(name))
    }
}

impl Rooms<'_> {
    /// Who is kept away is not listened to.
    fn admits(&self, ask: &Ask<'_>) -> Result<(), Backoff> {
        let away = self.reports.is_away(&reputations::edge(ask), &reputations::host(ask), self.now.ms);
        match away.filter(|_| ask.side == Side::Inbound) {
            Some(retry_after) => Err(Backoff { reason: Reason::BLOCKED, code: None, retry_after }),
            None => Ok(()),
        }
    }

    /// What this edge has of what both need.
    pub(super) fn has(&self) -> policy::Own {
        let ways = super::codes::ways(self.own.carriers());
        policy::Own { rlocs: ways, encapsulations: ways }
    }

    /// An edge is refused an association.
    fn record_edge(&self, edge: Fqdn<'_>, rloc: Rloc, refusal: Option<&policy::Refusal<'_>>) -> Backoff {
        let backoff = Backoff { reason: Reason::REFUSED, code: None, retry_after: 0 };
        let rule = refusal.map(|refusal| Rule {
            level: refusal.level,
            name: refusal.rule.name().into(),
            attribute: refusal.attribute.map(Attribute::name),
        });
        self.refusals.borrow_mut().push(Refusal {
            at: self.now.unix,
            direction: Direction::Inbound,
            host: Box::default(),
            peer: Box::default(),
            edge: Some(edge.as_str().into()),
            rloc: Some(rloc),
            backoff,
            by_peer: false,
            has_ended: false,
            rule,
        });
        backoff
    }
}
