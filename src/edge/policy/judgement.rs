//! What a peer's answers come to: whether they suffice, what they lack, or why it is refused.
//!
//! Guarantees: a function of its arguments; both sides of a negotiation come to the same numbers. A mandatory value that does not
//! fit refuses, an optional one is absorbed. Never: takes for told what is not in [`Claims::given`].

use super::decision::{Decision, Level, Part};
use super::demands::Demands;
use super::{Name, NameSet, Rule};
use crate::config::{Attribute, Attributes, Direction, Kinds, NUMBERS, Services};
use crate::flow::filter::{Entry, Filter, Opener};

/// What a peer has told so far, and what of it was found true.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// What is known: told, and, where it can be checked, found true. A signature or a certificate that is wrong is not given, nor is
    /// [`Attribute::NamingCheck`] before the name is proven, nor [`Attribute::Cookie`] before it came back.
    pub given: Attributes,
    /// What it was asked for and has not, or does not tell.
    pub unavailable: Attributes,
    /// The type of its ID.
    pub id: Kinds,
    pub domain: Option<Name<'a>>,
    /// The authority of its certificate, by its address.
    pub authority: Option<Name<'a>>,
    pub rlocs: Kinds,
    pub encapsulations: Kinds,
    /// The highest that it states, by [`NUMBERS`].
    pub numbers: [u32; NUMBERS.len()],
}

impl Claims<'_> {
    /// Nothing is known.
    pub const NONE: Claims<'static> = Claims {
        given: Attributes::NONE,
        unavailable: Attributes::NONE,
        id: Kinds::NONE,
        domain: None,
        authority: None,
        rlocs: Kinds::NONE,
        encapsulations: Kinds::NONE,
        numbers: [0; NUMBERS.len()],
    };
}

/// What this edge has of what both need.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub rlocs: Kinds,
    pub encapsulations: Kinds,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum Judgement<'a> {
    Agreed(Agreement),
    Lacks {
        /// What to ask for: all that is required and not known, and what is optional and was not asked for. A name that all of it is
        /// known of belongs into [`super::Query`].
        asks: Attributes,
        /// Of those, what is to be answered reliably (RR).
        reliable: Attributes,
        /// If it is an ID: of these types.
        ids: Kinds,
    },
    Refused(Refusal<'a>),
}

/// Why a peer is refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub level: Level,
    pub rule: &'a Rule,
    /// What does not fit, or is not available; `None` where the rule refuses whoever it is for.
    pub attribute: Option<Attribute>,
}

/// What two edges have agreed on, as one of them has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What is let through.
    pub filter: Filter,
    /// By [`NUMBERS`]: the smaller one of what the two state. `None` where the peer states none.
    pub numbers: [Option<u32>; NUMBERS.len()],
    /// Families that both have.
    pub rlocs: Kinds,
    pub encapsulations: Kinds,
    /// What was optional and has not fitted.
    pub absorbed: Attributes,
}

/// What both need some of in common.
const COMMON: Attributes = Attributes::of(Attribute::Rloc).with(Attributes::of(Attribute::Encapsulation));

/// What a part comes to.
enum Outcome<'a> {
    Fits(Terms),
    Lacks { asks: Attributes, reliable: Attributes, ids: Kinds },
    Refused(Refusal<'a>),
}

/// The terms of a part that fits.
#[derive(Clone, Copy)]
struct Terms {
    numbers: [Option<u32>; NUMBERS.len()],
    rlocs: Kinds,
    encapsulations: Kinds,
    absorbed: Attributes,
}

impl<'a> Decision<'a> {
    /// What a peer's answers come to.
    pub fn judge(&self, claims: &Claims<'_>, own: &Own) -> Judgement<'a> {
        let opener = match self.direction {
            Direction::Inbound => Opener::Remote,
            Direction::Outbound => Opener::Local,
        };
        let mut filter = Filter::new(opener);
        let (mut agreed, mut lacks, mut refused): (Option<Terms>, _, _) = (None, None, None);
        for part in &self.parts {
            let outcome = match &agreed {
                None => part.judge(self.direction, claims, own),
                // Whatever is let through is so on one set of terms: those of the first part that fits.
                Some(first) => part.judge(self.direction, &first.claimed(claims), own),
            };
            let is_open = match outcome {
                Outcome::Fits(terms) => agreed.get_or_insert(terms).numbers == terms.numbers,
                Outcome::Lacks { asks, reliable, ids } => {
                    lacks = lacks.or(Some(Judgement::Lacks { asks, reliable, ids }));
                    false
                }
                Outcome::Refused(refusal) => {
                    refused = refused.or(Some(Judgement::Refused(refusal)));
                    false
                }
            };
            let Services { protocol, first, last } = part.services;
            filter.push(Entry { protocol, first, last, is_open });
        }
        match agreed {
            Some(Terms { numbers, rlocs, encapsulations, absorbed }) => {
                Judgement::Agreed(Agreement { filter, numbers, rlocs, encapsulations, absorbed })
            }
            None => lacks.or(refused).expect("there is a part, and it was judged"),
        }
    }
}

impl Terms {
    /// The claims of a peer that states these numbers.
    fn claimed<'c>(&self, claims: &Claims<'c>) -> Claims<'c> {
        let numbers = std::array::from_fn(|place| self.numbers[place].unwrap_or(claims.numbers[place]));
        Claims { numbers, ..*claims }
    }
}

impl<'a> Part<'a> {
    fn judge(&self, direction: Direction, claims: &Claims<'_>, own: &Own) -> Outcome<'a> {
        if let Some((level, rule)) = self.refusing(direction) {
            return Outcome::Refused(Refusal { level, rule, attribute: None });
        }
        let unsettled = self.unsettled();
        let unknown = unsettled.without(claims.given);
        if let Some(refusal) = self.never_settled(unknown.and(claims.unavailable)) {
            return Outcome::Refused(refusal);
        }
        // With all of that told it is decided anew: until then it stays open, whatever the claims are.
        let mut lacking = if unknown.is_empty() { unsettled } else { unknown };
        let (mut ids, mut absorbed) = (Kinds::ALL, Attributes::NONE);
        for (level, rule, demands) in self.demands(direction) {
            let found = demands.compare(claims);
            if let Some(attribute) = found.wrong.and(demands.mandatory).iter().next() {
                return Outcome::Refused(Refusal { level, rule, attribute: Some(attribute) });
            }
            absorbed = absorbed.with(found.wrong).with(demands.wanted.and(claims.unavailable));
            lacking = lacking.with(found.missing.and(demands.mandatory));
            ids = ids.and(demands.ids);
        }
        let [wanted, _, reliable] = self.asks(direction);
        lacking = lacking.with(COMMON.without(claims.given).without(claims.unavailable));
        if !lacking.is_empty() {
            let open = wanted.without(claims.given).without(claims.unavailable);
            return Outcome::Lacks { asks: lacking.with(open), reliable, ids };
        }
        match self.terms(direction, claims, own) {
            Ok(terms) => Outcome::Fits(Terms { absorbed: absorbed.with(terms.absorbed), ..terms }),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// The refusal of a rule that would have to know what cannot be known.
    fn never_settled(&self, unknown: Attributes) -> Option<Refusal<'a>> {
        let attribute = unknown.iter().next()?;
        let mut rulings = Level::ALL.into_iter().zip(&self.rulings);
        let (level, ruling) = rulings.find(|(_, ruling)| ruling.unsettled.has(attribute))?;
        Some(Refusal { level, rule: ruling.rule, attribute: Some(attribute) })
    }

    /// What both have in common.
    fn terms(&self, direction: Direction, claims: &Claims<'_>, own: &Own) -> Result<Terms, Refusal<'a>> {
        let given = |attribute, kinds| if claims.given.has(attribute) { kinds } else { Kinds::NONE };
        let rlocs = own.rlocs.and(given(Attribute::Rloc, claims.rlocs));
        let rlocs = self.common(direction, Attribute::Rloc, rlocs, |demands| demands.rlocs)?;
        let ways = own.encapsulations.and(given(Attribute::Encapsulation, claims.encapsulations));
        let ways =
            self.common(direction, Attribute::Encapsulation, ways, |demands| demands.encapsulations)?;
        let (mut numbers, mut absorbed) = ([None; NUMBERS.len()], Attributes::NONE);
        for (place, number) in NUMBERS.into_iter().enumerate().filter(|(_, number)| claims.given.has(*number))
        {
            let most = self.demands(direction).map(|(_, _, demands)| demands.ranges[place].1);
            let agreed = most.fold(claims.numbers[place], u32::min);
            for (level, rule, demands) in self.demands(direction) {
                if agreed >= demands.ranges[place].0 {
                    continue;
                } else if demands.mandatory.has(number) {
                    return Err(Refusal { level, rule, attribute: Some(number) });
                }
                absorbed.insert(number);
            }
            numbers[place] = Some(agreed);
        }
        Ok(Terms { numbers, rlocs, encapsulations: ways, absorbed })
    }

    /// The kinds that both have and every level takes; one that is optional is passed over where nothing would be left.
    fn common(
        &self,
        direction: Direction,
        attribute: Attribute,
        both: Kinds,
        taken: fn(&Demands) -> Kinds,
    ) -> Result<Kinds, Refusal<'a>> {
        let refusal = |level, rule| Refusal { level, rule, attribute: Some(attribute) };
        if both.is_empty() {
            return Err(refusal(Level::Edge, self.rulings[Level::Edge as usize].rule));
        }
        let mut left = both;
        for (level, rule, demands) in self.demands(direction) {
            let narrowed = left.and(taken(demands));
            if narrowed.is_empty() && demands.mandatory.has(attribute) {
                return Err(refusal(level, rule));
            }
            left = if narrowed.is_empty() { left } else { narrowed };
        }
        Ok(left)
    }
}

/// What claims lack of demands.
struct Comparison {
    /// Not known yet.
    missing: Attributes,
    /// Known not to fit, or known not to come.
    wrong: Attributes,
}

impl Demands {
    fn compare(&self, claims: &Claims<'_>) -> Comparison {
        let absent = self.wanted.without(claims.given);
        let mut found = Comparison { missing: absent, wrong: absent.and(claims.unavailable) };
        let given = self.wanted.and(claims.given);
        if given.has(Attribute::Id) && claims.id.and(self.ids).is_empty() {
            // Another type may be asked for, once.
            let is_final = claims.unavailable.has(Attribute::Id);
            let set = if is_final { &mut found.wrong } else { &mut found.missing };
            set.insert(Attribute::Id);
        }
        let is_in = |set: &Option<Box<NameSet>>, name: Option<Name<'_>>| {
            set.as_ref().is_none_or(|set| name.is_some_and(|name| set.has(name)))
        };
        if given.has(Attribute::Domain) && !is_in(&self.domains, claims.domain) {
            found.wrong.insert(Attribute::Domain);
        }
        if given.has(Attribute::Ca) && !is_in(&self.authorities, claims.authority) {
            found.wrong.insert(Attribute::Ca);
        }
        found
    }
}
