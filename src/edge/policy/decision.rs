//! Which rules decide about somebody, and what they ask and tell.
//!
//! Whoever asks for one service gets one part. Whoever asks for a host gets a part for each of the rules that are about some of its
//! services, in their order: what is agreed is then every part that the peer's answers suffice for, and no other.
//!
//! Guarantees: the first part that a service is in decides about it; at most [`PARTS_MAX`] are kept, the last
//! of which then refuses the rest. Never: allocates.

use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use super::demands::Demands;
use super::rules::{Fit, Rule, Rules};
use super::{Engine, Name};
use crate::config::{Attribute, Attributes, Direction, Kinds, Services};

/// Most parts of a decision.
pub const PARTS_MAX: usize = 16;

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The host behind this edge. `None`: an association of edges, which is about no host.
    pub host: Option<Name<'a>>,
    /// The host's group.
    pub group: Option<&'a str>,
    /// The way that the session is opened, seen from that host.
    pub direction: Direction,
    /// The other host. Outbound it is the name that was asked for; inbound a name that is proven, or `None`.
    pub peer: Option<Name<'a>>,
    /// The other host is one behind this edge, too, and of the same group.
    pub is_own_group: bool,
    /// The other host's edge, by a name that is proven.
    pub edge: Option<Name<'a>>,
    /// What is asked for of the host that is called.
    pub services: Services,
    /// The peer's reputation in hundredths, 0 to 100; 45 is somebody unknown.
    pub reputation: u8,
}

/// Who has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Operator,
    Edge,
    Host,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Operator, Level::Edge, Level::Host];

    pub fn name(self) -> &'static str {
        ["operator", "edge", "host"][self as usize]
    }
}

/// The rule of a level that decides.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    pub rule: &'a Rule,
    /// What has to be known first: until then it decides nothing.
    pub unsettled: Attributes,
}

/// Services that the same rules decide about.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub services: Services,
    /// By [`Level`].
    pub rulings: [Ruling<'a>; 3],
}

impl<'a> Part<'a> {
    /// The level and rule that refuse it, if any does.
    pub fn refusing(&self, direction: Direction) -> Option<(Level, &'a Rule)> {
        let mut rulings = Level::ALL.into_iter().zip(&self.rulings);
        let refuses =
            |ruling: &Ruling<'_>| ruling.unsettled.is_empty() && ruling.rule.demands(direction).is_none();
        rulings.find(|(_, ruling)| refuses(ruling)).map(|(level, ruling)| (level, ruling.rule))
    }

    /// What each level demands that decides.
    pub(super) fn demands(
        &self,
        direction: Direction,
    ) -> impl Iterator<Item = (Level, &'a Rule, &'a Demands)> {
        let settled = move |(level, ruling): (Level, Ruling<'a>)| {
            let demands = ruling.rule.demands(direction).filter(|_| ruling.unsettled.is_empty())?;
            Some((level, ruling.rule, demands))
        };
        Level::ALL.into_iter().zip(self.rulings).filter_map(settled)
    }

    /// What has to be known first.
    pub(super) fn unsettled(&self) -> Attributes {
        self.rulings.iter().fold(Attributes::NONE, |all, ruling| all.with(ruling.unsettled))
    }

    /// What is asked of the peer, what is required of it, and what of that reliably.
    pub(super) fn asks(&self, direction: Direction) -> [Attributes; 3] {
        let unsettled = self.unsettled();
        let mut asks = [unsettled, unsettled, Attributes::NONE];
        for (_, _, demands) in self.demands(direction) {
            let more = [demands.wanted, demands.mandatory, demands.reliable];
            asks.iter_mut().zip(more).for_each(|(all, more)| *all = all.with(more));
        }
        asks
    }
}

/// What a peer may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Without being asked.
    pub volunteered: Attributes,
    /// When it asks; what it asks beside is not available.
    pub on_query: Attributes,
    /// Of those, the ones to be told reliably (RR).
    pub reliable: Attributes,
    /// Types of ID that the host may show.
    pub ids: Kinds,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    pub(super) direction: Direction,
    pub(super) parts: ArrayVec<Part<'a>, PARTS_MAX>,
    legacy_fallback: bool,
}

impl<'a> Decision<'a> {
    /// In their order; the first that a service is in decides about it.
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// The first part that nobody refuses: what a peer is asked for.
    pub(super) fn first_open(&self) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.refusing(self.direction).is_none())
    }

    /// What the first message asks; nothing where all is refused.
    pub fn asks(&self) -> Attributes {
        self.first_open().map_or(Attributes::NONE, |part| part.asks(self.direction)[0])
    }

    /// Of what is asked, that without which the peer is refused.
    pub fn requires(&self) -> Attributes {
        self.first_open().map_or(Attributes::NONE, |part| part.asks(self.direction)[1])
    }

    /// The types of ID that the peer may show.
    pub fn taken_ids(&self) -> Kinds {
        let demands = self.first_open().into_iter().flat_map(|part| part.demands(self.direction));
        demands.fold(Kinds::ALL, |ids, (_, _, demands)| ids.and(demands.ids))
    }

    /// Of what is asked, what is to be answered reliably (RR).
    pub fn asks_reliably(&self) -> Attributes {
        self.first_open().map_or(Attributes::NONE, |part| part.asks(self.direction)[2])
    }

    /// What the peer may be told: what every part allows that nobody refuses.
    pub fn told(&self) -> Told {
        let none = Told {
            volunteered: Attributes::NONE,
            on_query: Attributes::NONE,
            reliable: Attributes::NONE,
            ids: Kinds::NONE,
        };
        let open = self.parts.iter().filter(|part| part.refusing(self.direction).is_none());
        let told = open.map(|part| part.told(self.direction)).reduce(|one, other| Told {
            volunteered: one.volunteered.and(other.volunteered),
            on_query: one.on_query.and(other.on_query),
            reliable: one.reliable.with(other.reliable),
            ids: one.ids.and(other.ids),
        });
        told.map_or(none, |told| Told { reliable: told.reliable.and(told.on_query), ..told })
    }

    /// The number that this side states: its highest. `None` where none is told.
    pub fn states(&self, number: Attribute) -> Option<u32> {
        let part = self.first_open().filter(|_| self.told().on_query.has(number))?;
        let place = number.number()?;
        let most = part.demands(self.direction).map(|(_, _, demands)| demands.ranges[place].1).min()?;
        (most != u32::MAX).then_some(most)
    }

    /// Whether a peer that discovery finds and that does not answer may be called as one without an edge.
    pub fn allows_legacy_fallback(&self) -> bool {
        self.legacy_fallback
    }
}

impl Part<'_> {
    pub(super) fn told(&self, direction: Direction) -> Told {
        let (mut offered, mut on_query, mut reliable) =
            (Attributes::NONE, Attributes::NONE, Attributes::NONE);
        let (mut withheld, mut ids) = (Attributes::NONE, Kinds::ALL);
        for (_, _, demands) in self.demands(direction) {
            // What one level tells unasked is told unasked.
            let unasked = demands.offered.without(demands.on_query);
            on_query = on_query.with(demands.on_query.without(offered)).without(unasked);
            offered = offered.with(demands.offered);
            reliable = reliable.with(demands.offered_reliable);
            withheld = withheld.with(demands.withheld);
            ids = ids.and(demands.offered_ids);
        }
        let told = offered.without(withheld);
        Told { volunteered: told.without(on_query), on_query: told, reliable: reliable.and(told), ids }
    }
}

/// What the rules of a level say, in their order.
type Rulings<'a> = ArrayVec<(Services, Ruling<'a>), PARTS_MAX>;

impl Engine {
    /// Which rules decide about that.
    pub fn decide<'a>(&'a self, query: &Query<'_>) -> Decision<'a> {
        // Filled where they are: they are large.
        let [mut operator, mut edge, mut host] = [const { Rulings::new_const() }; 3];
        self.rule(Level::Operator, query, &mut operator);
        self.rule(Level::Edge, query, &mut edge);
        self.rule(Level::Host, query, &mut host);
        let mut decision =
            Decision { direction: query.direction, parts: ArrayVec::new(), legacy_fallback: false };
        let parts = &mut decision.parts;
        let pairs = operator.iter().flat_map(|one| edge.iter().map(move |two| (one, two)));
        for ((of_operator, one), (of_edge, two)) in pairs {
            let Some(common) = of_operator.and(of_edge) else { continue };
            for (of_host, three) in &host {
                let Some(services) = common.and(of_host) else { continue };
                if parts.try_push(Part { services, rulings: [*one, *two, *three] }).is_err() {
                    let rest = Ruling { rule: &self.rest, unsettled: Attributes::NONE };
                    parts.pop();
                    parts.push(Part { services: query.services, rulings: [rest; 3] });
                }
            }
        }
        decision.legacy_fallback = self.legacy_fallback(&decision.parts);
        decision
    }

    /// The operator's word goes before the user's.
    fn legacy_fallback(&self, parts: &[Part<'_>]) -> bool {
        let said = parts.first().and_then(|part| {
            let settled = part.rulings.iter().filter(|ruling| ruling.unsettled.is_empty());
            settled.filter_map(|ruling| ruling.rule.legacy_fallback).next()
        });
        said.unwrap_or(self.policy.legacy_fallback)
    }

    /// Adds what a level says to that, up to the first rule that is about all of it.
    fn rule<'a>(&'a self, level: Level, query: &Query<'_>, rulings: &mut Rulings<'a>) {
        let mut walk = Walk { query, rest: &self.rest, rulings };
        let silent = std::slice::from_ref(&self.silent);
        let done = match level {
            // Between edges the others have no say.
            Level::Operator | Level::Host if query.host.is_none() => walk.all(silent),
            Level::Operator => walk.index(&self.operator).and_then(|()| walk.all(silent)),
            Level::Edge => walk.index(&self.edge).and_then(|()| walk.all(silent)),
            Level::Host => {
                let own = query.host.map_or(&[][..], |host| self.users.compiled(host));
                walk.all(own).and_then(|()| walk.index(&self.host)).and_then(|()| walk.all(&self.default))
            }
        };
        debug_assert!(done.is_err(), "the last rule is about everything");
    }
}

/// A walk through the rules of a level.
struct Walk<'q, 'a> {
    query: &'q Query<'q>,
    /// Stands for all that do not fit.
    rest: &'a Rule,
    rulings: &'q mut Rulings<'a>,
}

/// All is decided.
struct Done;

impl<'a> Walk<'_, 'a> {
    fn all(&mut self, rules: &'a [Rule]) -> Result<(), Done> {
        rules.iter().try_for_each(|rule| self.visit(rule))
    }

    fn index(&mut self, rules: &'a Rules) -> Result<(), Done> {
        let mut done = Ok(());
        rules.walk(self.query, |rule| match self.visit(rule) {
            Ok(()) => ControlFlow::Continue(()),
            Err(all) => {
                done = Err(all);
                ControlFlow::Break(())
            }
        });
        done
    }

    fn visit(&mut self, rule: &'a Rule) -> Result<(), Done> {
        let unsettled = match rule.fits(self.query) {
            Fit::No => return Ok(()),
            Fit::Yes => Attributes::NONE,
            Fit::Unsettled(unsettled) => unsettled,
        };
        let asked = &self.query.services;
        for services in rule.services() {
            let Some(common) = services.and(asked) else { continue };
            if self.rulings.try_push((common, Ruling { rule, unsettled })).is_err() {
                self.rulings.pop();
                self.rulings.push((*asked, Ruling { rule: self.rest, unsettled: Attributes::NONE }));
                return Err(Done);
            }
            if services.covers(asked) {
                return Err(Done);
            }
        }
        Ok(())
    }
}
