//! What a rule asks and tells in one role, compiled to sets of bits.
//!
//! Guarantees: of fixed size but for names. Never: decides for whom it is.

use super::names::NameSet;
use crate::config::{Attribute, Attributes, Direction, Kinds, Lists, NUMBERS, Value};

/// A number's least and most.
pub(super) type Range = (u32, u32);

/// See the module.
#[derive(Debug)]
pub(super) struct Demands {
    /// Asked of the peer.
    pub wanted: Attributes,
    /// Of those, the ones without which it is refused.
    pub mandatory: Attributes,
    /// To be answered reliably (RR).
    pub reliable: Attributes,
    /// Told to the peer, if only when it asks.
    pub offered: Attributes,
    /// Of those, the ones told when it asks only.
    pub on_query: Attributes,
    /// Of those, the ones told reliably (RR).
    pub offered_reliable: Attributes,
    /// Never told.
    pub withheld: Attributes,
    /// What is taken of the peer; all where nothing is said.
    pub ids: Kinds,
    pub rlocs: Kinds,
    pub encapsulations: Kinds,
    /// Types of ID that the host may show.
    pub offered_ids: Kinds,
    /// By [`NUMBERS`].
    pub ranges: [Range; NUMBERS.len()],
    /// `None`: any name.
    pub domains: Option<Box<NameSet>>,
    pub authorities: Option<Box<NameSet>>,
}

impl Demands {
    /// Nothing is asked and nothing told.
    pub fn none() -> Demands {
        Demands {
            wanted: Attributes::NONE,
            mandatory: Attributes::NONE,
            reliable: Attributes::NONE,
            offered: Attributes::NONE,
            on_query: Attributes::NONE,
            offered_reliable: Attributes::NONE,
            withheld: Attributes::NONE,
            ids: Kinds::ALL,
            rlocs: Kinds::ALL,
            encapsulations: Kinds::ALL,
            offered_ids: Kinds::ALL,
            ranges: [(0, u32::MAX); NUMBERS.len()],
            domains: None,
            authorities: None,
        }
    }

    /// What lists come to in the role that the host's edge has for sessions of that direction.
    pub fn new(lists: &Lists, direction: Direction) -> Demands {
        let mut demands = Demands::none();
        for item in &lists.required[direction as usize] {
            demands.wanted.insert(item.attribute);
            if !item.is_optional {
                demands.mandatory.insert(item.attribute);
            }
            if item.is_reliable {
                demands.reliable.insert(item.attribute);
            }
            if matches!((item.attribute, &item.value), (Attribute::Domain, Value::Names(_))) {
                // Nobody has a name because it says so.
                demands.wanted.insert(Attribute::NamingCheck);
                if !item.is_optional {
                    demands.mandatory.insert(Attribute::NamingCheck);
                }
            }
            demands.take(item.attribute, &item.value);
        }
        for item in &lists.offered[direction as usize] {
            demands.offered.insert(item.attribute);
            if item.is_on_query {
                demands.on_query.insert(item.attribute);
            }
            if item.is_reliable {
                demands.offered_reliable.insert(item.attribute);
            }
            match (item.attribute, &item.value) {
                (Attribute::Id, Value::Kinds(kinds)) => demands.offered_ids = *kinds,
                (number, value @ Value::Range { .. }) => demands.take(number, value),
                _ => {}
            }
        }
        lists.withheld.iter().for_each(|attribute| demands.withheld.insert(*attribute));
        demands
    }

    /// Narrows what is taken to that.
    fn take(&mut self, attribute: Attribute, value: &Value) {
        match (attribute, value) {
            (Attribute::Id, Value::Kinds(kinds)) => self.ids = *kinds,
            (Attribute::Rloc, Value::Kinds(kinds)) => self.rlocs = *kinds,
            (Attribute::Encapsulation, Value::Kinds(kinds)) => self.encapsulations = *kinds,
            (Attribute::Domain, Value::Names(names)) => self.domains = NameSet::of(names).map(Box::new),
            (Attribute::Ca, Value::Names(names)) => self.authorities = NameSet::of(names).map(Box::new),
            (number, Value::Range { least, most }) => {
                if let Some(range) = number.number().and_then(|place| self.ranges.get_mut(place)) {
                    *range = (range.0.max(*least), range.1.min(*most));
                }
            }
            _ => {}
        }
    }
}
