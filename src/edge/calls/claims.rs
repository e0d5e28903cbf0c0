//! A question as the policy engine weighs it: which rules decide, what they require and tell, and what the answers come to.
//!
//! A message may ask for several services: each is decided about by itself, and what is granted is what any of them comes to. What is
//! required is what the first needs that nobody refuses.
//!
//! Guarantees: what is granted is never more than the engine has agreed to, and never more services than fit: [`Reason::LIMIT`]
//! refuses then. Never: takes a word for proved.

use super::called::Called;
use super::codes;
use super::granted::{self, List, TooMany};
use super::house::{Rooms, direction};
use crate::config::{ATTRIBUTES, Attribute, Attributes, Direction, Kinds, NUMBERS, Services};
use crate::edge::cetp::message::value::SERVICES;
use crate::edge::cetp::message::{
    Backoff, Code, CodeSet, Direction as Way, Fqdn, Id, IdType, Message, Reason, Rloc, Service, Value,
};
use crate::edge::cetp::signing;
use crate::edge::cetp::terms::{Ask, HostKey, Proved, Side, Terms};
use crate::edge::hosts::HostRef;
use crate::edge::policy::{Claims, Decision, Judgement, Name, Query};

/// What is told by, and known of, somebody at another edge.
#[derive(Debug)]
pub struct Known {
    given: Attributes,
    unavailable: Attributes,
    id: Kinds,
    domain: Option<Box<str>>,
    authority: Option<Box<str>>,
    rlocs: Kinds,
    numbers: [u32; NUMBERS.len()],
}

/// Everybody who is listened to has come from somewhere, by some carrier, and has brought its cookie back.
const ALWAYS: Attributes = Attributes::of(Attribute::Cookie)
    .with(Attributes::of(Attribute::Rloc))
    .with(Attributes::of(Attribute::Encapsulation));

impl Known {
    /// An edge that has signed: that was checked before.
    pub fn edge(rooms: &Rooms<'_>, edge: Fqdn<'_>, rloc: Rloc) -> Known {
        let proofs = Attributes::of(Attribute::Signature)
            .with(Attributes::of(Attribute::Certificate))
            .with(Attributes::of(Attribute::Domain))
            .with(Attributes::of(Attribute::NamingCheck));
        let mut known = Known {
            given: ALWAYS.with(proofs),
            unavailable: Attributes::NONE,
            id: Kinds::NONE,
            domain: Some(edge.as_str().into()),
            authority: None,
            rlocs: codes::family(rloc),
            numbers: [u32::MAX; NUMBERS.len()],
        };
        known.certified(rooms, edge, &[]);
        known
    }

    /// What a host's message tells.
    fn told(rooms: &Rooms<'_>, ask: &Ask<'_>, message: &Message<'_>) -> Known {
        let id: Id<'_> = ask.peer;
        let domain = match message.value(Code::DOMAIN) {
            Some(Value::Domain(name)) => Some(*name),
            _ => id.name(),
        };
        let mut known = Known {
            given: ALWAYS.with(Attributes::of(Attribute::Id)),
            unavailable: codes::unavailable(message.unavailable()),
            id: codes::id_kinds(id.id_type),
            domain: domain.map(|name| name.as_str().into()),
            authority: None,
            rlocs: codes::family(ask.rloc),
            numbers: [u32::MAX; NUMBERS.len()],
        };
        let mut give = |attribute, is_given| {
            if is_given {
                known.given.insert(attribute);
            }
        };
        give(Attribute::Domain, domain.is_some());
        give(Attribute::NamingCheck, ask.proved.is_named && ask.peer_name.is_some());
        give(Attribute::Signature, ask.proved.is_signed);
        give(Attribute::Certificate, ask.proved.edge.is_some() || ask.proved.is_signed);
        if let Some(Value::Timeout(seconds)) = message.value(Code::TIMEOUT) {
            known.number(Attribute::Timeout, seconds.get());
        }
        if let Some(Value::Limits(limits)) = message.value(Code::LIMITS) {
            known.number(Attribute::Sessions, limits.sessions);
            known.number(Attribute::Negotiations, limits.negotiations);
        }
        if let Some(edge) = ask.proved.edge {
            known.certified(rooms, edge, &signing::certificates(message));
        }
        known
    }

    fn number(&mut self, number: Attribute, value: u32) {
        if let Some(place) = number.number() {
            self.given.insert(number);
            self.numbers[place] = value;
        }
    }

    /// Which authority answers for that edge.
    fn certified(&mut self, rooms: &Rooms<'_>, edge: Fqdn<'_>, told: &[&[u8]]) {
        let Some(certified) = rooms.certificate(edge, told) else { return };
        let authority = rooms.credentials.identities().authorities().get(certified.authority);
        let mut names = authority.addresses.iter().filter(|address| Name::new(address).is_some());
        if let Some(name) = names.next() {
            self.authority = Some(name.as_str().into());
            self.given.insert(Attribute::Ca);
        }
    }

    pub fn claims(&self) -> Claims<'_> {
        let name = |name: &'_ Option<Box<str>>| name.is_some();
        debug_assert!(name(&self.domain) || !self.given.has(Attribute::Domain));
        Claims {
            given: self.given,
            unavailable: self.unavailable,
            id: self.id,
            domain: self.domain.as_deref().and_then(Name::new),
            authority: self.authority.as_deref().and_then(Name::new),
            rlocs: self.rlocs,
            encapsulations: self.rlocs,
            numbers: self.numbers,
        }
    }
}

/// On what an agreement stands: so that it can be weighed again.
#[derive(Debug)]
pub struct Grounds {
    pub known: Known,
    id: (IdType, Box<[u8]>),
    name: Option<Box<str>>,
    edge: Option<Box<str>>,
    is_signed: bool,
    is_named: bool,
}

impl Grounds {
    pub fn new(ask: &Ask<'_>, known: Known) -> Grounds {
        let owned = |name: Option<Fqdn<'_>>| name.map(|name| Box::from(name.as_str()));
        Grounds {
            known,
            id: (ask.peer.id_type, ask.peer.value.into()),
            name: owned(ask.peer_name),
            edge: owned(ask.proved.edge),
            is_signed: ask.proved.is_signed,
            is_named: ask.proved.is_named,
        }
    }

    /// What was asked, for those services.
    pub fn ask<'a>(&'a self, side: Side, host: HostKey, rloc: Rloc, services: &'a [Service]) -> Ask<'a> {
        let (is_signed, is_named) = (self.is_signed, self.is_named);
        Ask {
            side,
            host,
            peer: Id::new(self.id.0, &self.id.1).unwrap_or(Id::NONE),
            peer_name: self.name.as_deref().and_then(Fqdn::new),
            proved: Proved { edge: self.edge.as_deref().and_then(Fqdn::new), is_signed, is_named },
            rloc,
            services,
        }
    }
}

/// See the module.
pub struct Case<'c> {
    rooms: &'c Rooms<'c>,
    ask: &'c Ask<'c>,
    direction: Direction,
    /// Of each service that is asked for, in their order.
    decisions: Vec<Decision<'c>>,
}

fn backoff(reason: Reason, code: Option<Code>) -> Backoff {
    Backoff { reason, code, retry_after: 0 }
}

impl<'c> Case<'c> {
    /// # Errors
    /// There is no such host any more, or nothing is asked for that the other side may open, or that the name stands for by which it
    /// calls.
    pub fn new(rooms: &'c Rooms<'c>, ask: &'c Ask<'c>) -> Result<Case<'c>, Backoff> {
        Case::of_worth(rooms, ask, rooms.reputation(ask))
    }

    /// The same, if the other host were worth that, in hundredths.
    ///
    /// # Errors
    /// As [`Case::new`].
    pub fn of_worth(rooms: &'c Rooms<'c>, ask: &'c Ask<'c>, worth: u8) -> Result<Case<'c>, Backoff> {
        let unknown = backoff(Reason::UNKNOWN_HOST, None);
        let host = rooms.host(ask.host).ok_or(unknown)?;
        let named = Called::from(ask.host).services(&host).ok_or(unknown)?;
        let direction = direction(ask.side);
        // Who asks opens: what the one who is asked may open is asked for by its own question.
        let wanted = ask.services.iter().filter(|service| service.direction != Way::ToOutbound);
        let decide = |service: &Service| {
            let services = granted::from_the_wire(service).and(&named)?;
            Some(rooms.lent.policy.decide(&query(&host, ask, direction, services, worth)))
        };
        let decisions: Vec<_> = wanted.take(SERVICES).filter_map(decide).collect();
        if decisions.is_empty() {
            return Err(backoff(Reason::UNACCEPTABLE, Some(Code::SERVICE)));
        }
        Ok(Case { rooms, ask, direction, decisions })
    }

    /// What nobody refuses of a decision.
    fn open(&self, decision: &Decision<'_>) -> Result<List, TooMany> {
        let part =
            |part: &crate::edge::policy::Part<'_>| (part.services, part.refusing(self.direction).is_none());
        granted::opened(decision.parts().iter().map(part))
    }

    fn too_many(&self) -> Backoff {
        let refusal = backoff(Reason::LIMIT, Some(Code::SERVICE));
        self.rooms.keep(self.ask, refusal, None);
        refusal
    }

    /// # Errors
    /// Everything is refused, or more is open than fits.
    pub fn terms(&self) -> Result<Terms, Backoff> {
        let (mut list, mut first) = (List::new(), None);
        for decision in &self.decisions {
            let open = self.open(decision).map_err(|_| self.too_many())?;
            if !open.is_empty() {
                first = first.or(Some(decision));
            }
            open.into_iter()
                .try_for_each(|services| granted::add(&mut list, services))
                .map_err(|_| self.too_many())?;
        }
        match first {
            Some(decision) => Ok(self.terms_of(decision, &list)),
            None => Err(self.refused()),
        }
    }

    /// Whether some rule refuses each part, whatever else was told.
    pub fn is_refused(&self) -> bool {
        let mut parts = self.decisions.iter().flat_map(|decision| decision.parts());
        parts.all(|part| part.refusing(self.direction).is_some())
    }

    /// Every part is refused by some rule: the first that is in its way.
    fn refused(&self) -> Backoff {
        let mut parts = self.decisions.iter().flat_map(|decision| decision.parts());
        let refusing = parts.find_map(|part| part.refusing(self.direction));
        match refusing {
            Some((level, rule)) => {
                let refusal = crate::edge::policy::Refusal { level, rule, attribute: None };
                self.rooms.record(self.ask, &refusal)
            }
            None => {
                let refusal = backoff(Reason::REFUSED, None);
                self.rooms.keep(self.ask, refusal, None);
                refusal
            }
        }
    }

    fn terms_of(&self, decision: &Decision<'_>, list: &[Services]) -> Terms {
        let requires = decision.requires();
        let (told, has_keys) = (decision.told(), self.rooms.credentials.keys.is_some());
        let is_edge_proved = self.ask.proved.edge.is_some();
        let mut required = codes::required(requires, is_edge_proved);
        // An association shows the certificate once for all; who may have one needs no signature for it.
        let needs_association = requires.has(Attribute::Certificate)
            && !requires.has(Attribute::Signature)
            && !is_edge_proved
            && has_keys
            && self.direction == Direction::Outbound;
        if needs_association {
            required = required.without(Code::SIGNATURE);
        }
        let optional = codes::required(decision.asks().without(requires), is_edge_proved).minus(required);
        let mine = |attributes| {
            let codes = codes::told(attributes);
            let signing = CodeSet::of(&[Code::SIGNATURE, Code::CERTIFICATE]);
            if has_keys { codes } else { codes.minus(signing) }
        };
        let shows =
            if told.on_query.with(told.volunteered).has(Attribute::Id) { told.ids } else { Kinds::one(0) };
        Terms {
            required,
            optional,
            offered: mine(told.volunteered),
            available: mine(told.on_query),
            reliable: mine(told.reliable),
            peer_ids: codes::id_types(decision.taken_ids()),
            own_ids: codes::id_types(shows),
            services: list.iter().map(|services| granted::on_the_wire(services, Way::ToInbound)).collect(),
            timeout: decision.states(Attribute::Timeout).unwrap_or(self.rooms.own.timeout).max(1),
            naming_check: requires.has(Attribute::NamingCheck),
            needs_association,
        }
    }

    /// What the answers come to.
    ///
    /// # Errors
    /// They are refused, or more is agreed on than fits.
    pub fn judge(&self, terms: &Terms, told: &Message<'_>) -> Result<Terms, Backoff> {
        let known = Known::told(self.rooms, self.ask, told);
        let (mut list, mut timeout) = (List::new(), terms.timeout);
        let (mut lacks, mut refused) = (None, None);
        for decision in &self.decisions {
            match decision.judge(&known.claims(), &self.rooms.has()) {
                Judgement::Agreed(agreement) => {
                    let open = granted::agreed(&agreement.filter);
                    let added = open.and_then(|open| {
                        open.into_iter().try_for_each(|services| granted::add(&mut list, services))
                    });
                    added.map_err(|_| self.too_many())?;
                    let place = Attribute::Timeout.number().unwrap_or_default();
                    timeout = agreement.numbers[place].map_or(timeout, |agreed| timeout.min(agreed));
                }
                Judgement::Lacks { asks, ids, .. } => lacks = lacks.or(Some((decision, asks, ids))),
                Judgement::Refused(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        if !list.is_empty() {
            let services = list.iter().map(|services| granted::on_the_wire(services, Way::ToInbound));
            self.rooms.agree(self.ask, known);
            // What was agreed needs nothing more.
            let naming_check = false;
            return Ok(Terms {
                services: services.collect(),
                timeout: timeout.max(1),
                naming_check,
                ..terms.clone()
            });
        }
        match (lacks, refused) {
            (Some((decision, asks, ids)), _) => self.lacking(decision, asks, ids, told),
            (None, Some(refusal)) => Err(self.rooms.record(self.ask, &refusal)),
            (None, None) => Err(self.refused()),
        }
    }

    /// Whether all that is asked for is agreed to, by what is known already.
    ///
    /// # Errors
    /// Something of it is refused, or needs more than is known.
    pub fn confirm(&self, known: &Known) -> Result<(), Backoff> {
        let wanted = self.ask.services.iter().filter(|service| service.direction != Way::ToOutbound);
        if wanted.clone().count() > self.decisions.len() {
            // The name by which it is called stands for something else by now.
            return Err(self.refused());
        }
        for (service, decision) in wanted.zip(&self.decisions) {
            match decision.judge(&known.claims(), &self.rooms.has()) {
                Judgement::Agreed(agreement) => {
                    let list = granted::agreed(&agreement.filter).map_err(|TooMany| self.too_many())?;
                    if !granted::is_within(granted::from_the_wire(service), &list) {
                        return Err(self.refused());
                    }
                }
                Judgement::Lacks { asks, .. } => {
                    let refusal = backoff(Reason::MISSING, asks.iter().find_map(codes::about));
                    self.rooms.keep(self.ask, refusal, None);
                    return Err(refusal);
                }
                Judgement::Refused(refusal) => return Err(self.rooms.record(self.ask, &refusal)),
            }
        }
        Ok(())
    }

    /// More is to be told; or nothing that can be asked for would do.
    fn lacking(
        &self,
        decision: &Decision<'_>,
        asks: Attributes,
        ids: Kinds,
        told: &Message<'_>,
    ) -> Result<Terms, Backoff> {
        let must =
            if asks.and(decision.requires()).is_empty() { asks } else { asks.and(decision.requires()) };
        let required = codes::required(must, self.ask.proved.edge.is_some());
        let naming_check = must.has(Attribute::NamingCheck) && !self.ask.proved.is_named;
        let is_other_id = codes::id_kinds(self.ask.peer.id_type).and(ids).is_empty();
        let missing = required.minus(told.told());
        if missing.is_empty() && !naming_check && !is_other_id {
            let refusal = backoff(Reason::MISSING, required.iter().next());
            self.rooms.keep(self.ask, refusal, None);
            return Err(refusal);
        }
        let list = self.open(decision).map_err(|_| self.too_many())?;
        Ok(Terms { required, naming_check, peer_ids: codes::id_types(ids), ..self.terms_of(decision, &list) })
    }
}

fn query<'q>(
    host: &HostRef<'q>,
    ask: &Ask<'q>,
    direction: Direction,
    services: Services,
    reputation: u8,
) -> Query<'q> {
    let parts = host.parts();
    let name = ask.peer_name.filter(|_| ask.proved.is_named);
    Query {
        host: Name::new(parts.name),
        group: parts.group,
        direction,
        peer: name.and_then(|name| Name::new(name.as_str())),
        is_own_group: false,
        edge: ask.proved.edge.and_then(|edge| Name::new(edge.as_str())),
        services,
        reputation,
    }
}

/// What a host behind this edge tells another one behind it, by its own policy; what it doesn't tell is not available.
pub fn known_here<'n>(theirs: &Decision<'_>, name: &'n str, timeout: u32, has_keys: bool) -> Claims<'n> {
    let told = theirs.told();
    let tells = told.volunteered.with(told.on_query);
    // The edge signs for it, and its certificate is the edge's.
    let signing = Attributes::of(Attribute::Signature).with(Attributes::of(Attribute::Certificate));
    let tells = if has_keys { tells } else { tells.without(signing) };
    let mut given =
        super::local::KNOWN.with(Attributes::of(Attribute::Id)).with(Attributes::of(Attribute::Timeout));
    let may_tell = signing.with(Attributes::of(Attribute::Domain));
    given = given.with(tells.and(may_tell));
    let all = ATTRIBUTES.iter().fold(Attributes::NONE, |all, (_, one)| all.with(Attributes::of(*one)));
    let mut numbers = [u32::MAX; NUMBERS.len()];
    if let Some(place) = Attribute::Timeout.number() {
        numbers[place] = theirs.states(Attribute::Timeout).unwrap_or(timeout);
    }
    let shows = if tells.has(Attribute::Id) { told.ids } else { Kinds::one(0) };
    Claims {
        given,
        unavailable: all.without(given),
        // The edge knows of no other types.
        id: shows.and(Kinds(0b11)),
        domain: Name::new(name),
        authority: None,
        rlocs: Kinds::ALL,
        encapsulations: Kinds::ALL,
        numbers,
    }
}
