//! The rules of a level: which of them come into question for somebody, found by name, and which of them fits.
//!
//! A rule stands in the index under what tells most hosts apart from it: its hosts' names, else its peers', else its peers' edges',
//! else its groups; only rules of none of these are looked at for everybody. So a host costs nothing that has no rule of its own.
//!
//! Who a peer is may not be known yet. Then what a rule says that depends on it cannot be told, and neither can what any rule
//! behind it says: it is *unsettled*, and the peer has to prove its name first. The rules of one kind are then stood for by the
//! first of them, so that a list of thousands of names costs one look.
//!
//! Guarantees: rules come in their order; walking allocates nothing. Never: takes a name for known that is not proven.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use super::Query;
use super::demands::Demands;
use super::names::{NameMap, NameSet};
use crate::config::{Action, Attribute, Attributes, Direction, NamePattern, PolicyRule, Services};

/// What has to be known of a peer to know its name.
pub(super) const NAME: Attributes =
    Attributes::of(Attribute::Domain).with(Attributes::of(Attribute::NamingCheck));
/// What has to be known to know its edge's.
pub(super) const EDGE: Attributes =
    Attributes::of(Attribute::Certificate).with(Attributes::of(Attribute::Signature));

/// A rule as it is looked at.
#[derive(Debug)]
pub struct Rule {
    name: Box<str>,
    hosts: Option<NameSet>,
    groups: Vec<Box<str>>,
    edges: Option<NameSet>,
    peers: Option<NameSet>,
    is_own_group: bool,
    services: Box<[Services]>,
    direction: Option<Direction>,
    reputation: (u8, u8),
    pub(super) legacy_fallback: Option<bool>,
    /// By [`Direction`]; `None` refuses.
    demands: Option<Box<[Demands; 2]>>,
}

/// Whether a rule is for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    No,
    Yes,
    /// That depends on what these would say.
    Unsettled(Attributes),
}

impl Rule {
    pub(super) fn new(rule: &PolicyRule) -> Rule {
        let demands = match &rule.action {
            Action::Refuse => None,
            Action::Ask(lists) => {
                Some(Box::new(Direction::BOTH.map(|direction| Demands::new(lists, direction))))
            }
        };
        Rule {
            name: rule.name.as_str().into(),
            hosts: NameSet::of(&rule.hosts),
            groups: rule.groups.iter().map(|group| group.as_str().into()).collect(),
            edges: NameSet::of(&rule.edges),
            peers: NameSet::of(&rule.peers),
            is_own_group: rule.is_own_group,
            services: rule.services.clone().into(),
            direction: rule.direction,
            reputation: (*rule.reputation.start(), *rule.reputation.end()),
            legacy_fallback: rule.legacy_fallback,
            demands,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it asks and tells; `None` where it refuses.
    pub(super) fn demands(&self, direction: Direction) -> Option<&Demands> {
        self.demands.as_deref().map(|demands| &demands[direction as usize])
    }

    /// What it is about.
    pub(super) fn services(&self) -> &[Services] {
        if self.services.is_empty() { &[Services::ANY] } else { &self.services }
    }

    /// Whether it is for them, the service left aside.
    pub(super) fn fits(&self, query: &Query<'_>) -> Fit {
        let is_host = self.hosts.as_ref().is_none_or(|hosts| query.host.is_some_and(|host| hosts.has(host)));
        let is_group = self.groups.is_empty()
            || query.group.is_some_and(|group| self.groups.iter().any(|known| **known == *group));
        let is_direction = self.direction.is_none_or(|direction| direction == query.direction);
        let (least, most) = self.reputation;
        if !(is_host && is_group && is_direction && (least..=most).contains(&query.reputation)) {
            return Fit::No;
        }
        let mut unsettled = Attributes::NONE;
        if let Some(edges) = &self.edges {
            match query.edge {
                Some(edge) if !edges.has(edge) => return Fit::No,
                Some(_) => {}
                None => unsettled = unsettled.with(EDGE),
            }
        }
        if self.is_own_group || self.peers.is_some() {
            match query.peer {
                Some(peer) => {
                    let is_listed = self.peers.as_ref().is_some_and(|peers| peers.has(peer));
                    let is_own = self.is_own_group && query.is_own_group;
                    if !is_listed && !is_own {
                        return Fit::No;
                    }
                }
                None => unsettled = unsettled.with(NAME),
            }
        }
        if unsettled.is_empty() { Fit::Yes } else { Fit::Unsettled(unsettled) }
    }
}

/// Numbers of rules, rising.
type Numbers = Vec<u32>;

/// Most lists that one name can be in: of each of three names all ends, itself, and two that are no names'.
const LISTS_MAX: usize = 3 * 128 + 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    by_host: NameMap<Numbers>,
    by_peer: NameMap<Numbers>,
    by_edge: NameMap<Numbers>,
    by_group: HashMap<Box<str>, Numbers>,
    others: Numbers,
    /// The first of each kind of those in `by_peer`, and in `by_edge`.
    first_by_peer: Numbers,
    first_by_edge: Numbers,
}

impl Rules {
    pub fn new(rules: &[PolicyRule]) -> Rules {
        let mut index = Rules { rules: rules.iter().map(Rule::new).collect(), ..Rules::default() };
        let (mut kinds_by_peer, mut kinds_by_edge) = (HashSet::new(), HashSet::new());
        for (number, rule) in (0..).zip(rules) {
            let enter = |map: &mut NameMap<Numbers>, names: &[NamePattern]| {
                names.iter().for_each(|name| add(map.entry(name), number));
            };
            if !rule.hosts.is_empty() {
                enter(&mut index.by_host, &rule.hosts);
            } else if !rule.peers.is_empty() && !rule.is_own_group {
                enter(&mut index.by_peer, &rule.peers);
                if kinds_by_peer.insert(kind(PolicyRule { peers: Vec::new(), ..rule.clone() })) {
                    index.first_by_peer.push(number);
                }
            } else if !rule.edges.is_empty() {
                enter(&mut index.by_edge, &rule.edges);
                if kinds_by_edge.insert(kind(PolicyRule { edges: Vec::new(), ..rule.clone() })) {
                    index.first_by_edge.push(number);
                }
            } else if !rule.groups.is_empty() {
                let groups = &mut index.by_group;
                rule.groups
                    .iter()
                    .for_each(|group| add(groups.entry(group.as_str().into()).or_default(), number));
            } else {
                index.others.push(number);
            }
        }
        index
    }

    /// Shows the rules that may be for them, in their order, until `visit` breaks.
    pub fn walk<'a>(&'a self, query: &Query<'_>, mut visit: impl FnMut(&'a Rule) -> ControlFlow<()>) {
        if self.rules.is_empty() {
            return;
        }
        let mut lists = ArrayVec::new();
        self.find(query, &mut lists);
        loop {
            let next = lists.iter().filter_map(|list| list.first().copied()).min();
            let Some(next) = next else { return };
            for list in &mut lists {
                if list.first() == Some(&next) {
                    *list = &list[1..];
                }
            }
            if visit(&self.rules[next as usize]).is_break() {
                return;
            }
        }
    }

    /// Finds the lists that have every rule which may be for them.
    fn find<'a>(&'a self, query: &Query<'_>, lists: &mut ArrayVec<&'a [u32], LISTS_MAX>) {
        let mut take = |list: &'a [u32]| {
            if !list.is_empty() {
                // They fit: a name has at most 127 ends.
                let _ = lists.try_push(list);
            }
        };
        take(&self.others[..]);
        query.host.into_iter().flat_map(|host| self.by_host.get(host)).for_each(|list| take(list));
        query.group.and_then(|group| self.by_group.get(group)).into_iter().for_each(|list| take(list));
        match query.peer {
            Some(peer) => self.by_peer.get(peer).for_each(|list| take(list)),
            None => take(&self.first_by_peer),
        }
        match query.edge {
            Some(edge) => self.by_edge.get(edge).for_each(|list| take(list)),
            None => take(&self.first_by_edge),
        }
    }
}

/// A rule may name one thing twice.
fn add(numbers: &mut Numbers, number: u32) {
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

/// What rules have in common that are for the same, but for the names taken out of them: what they say is no part of it.
fn kind(rule: PolicyRule) -> String {
    let rule = PolicyRule { name: String::new(), action: Action::Refuse, legacy_fallback: None, ..rule };
    format!("{rule:?}")
}
