//! The rules of users: each host's own, changed while the edge runs.
//!
//! Guarantees: bounded, by hosts and by rules of a host; a host without any is not in here. No rule stands behind one that leaves it
//! nothing. Never: writes to disk; that is the register's store.

use std::collections::HashMap;

use super::{Name, Rule};
use crate::config::{DomainName, Policy, UserRule, Who};

/// As many hosts have rules as there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} hosts have rules of their own already; remove some first, or raise hosts.capacity")]
pub struct Full(pub usize);

/// Why the rules of a host cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("rule {at}, \"{earlier}\", leaves nothing to \"{rule}\"")]
    Hidden { at: usize, earlier: String, rule: String },
    #[error("\"{rule}\" leaves nothing to rule {at}, \"{later}\"")]
    Hides { at: usize, later: String, rule: String },
    #[error("host \"{host}\" has {} rules already", UserRule::RULES_MAX)]
    ManyRules { host: String },
    #[error("host \"{host}\" has no rule {at}")]
    NoSuchRule { host: String, at: usize },
}

impl Conflict {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Conflict::Hidden { .. } => "the first rule that fits decides: say --at N, or remove that rule",
            Conflict::Hides { .. } => "the first rule that fits decides: leave out --at, or remove that rule",
            Conflict::ManyRules { .. } => "remove one of them first, or write more names into one",
            Conflict::NoSuchRule { .. } => "see which it has: cesctl policy show HOST",
        }
    }
}

/// A change of a host's rules, whose places are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a rule at a place, or at the end.
    Add {
        host: DomainName,
        rule: UserRule,
        at: Option<usize>,
    },
    Remove {
        host: DomainName,
        at: usize,
    },
}

impl Change {
    /// The host that it is of.
    pub fn host(&self) -> &DomainName {
        match self {
            Change::Add { host, .. } | Change::Remove { host, .. } => host,
        }
    }
}

/// What the rules of a host are after a change.
///
/// # Errors
/// What is in its way.
pub fn changed(rules: &[UserRule], change: &Change) -> Result<Vec<UserRule>, Conflict> {
    match change {
        Change::Add { host, rule, at } => added(host, rules, rule.clone(), *at),
        Change::Remove { host, at } => removed(host, rules, *at),
    }
}

/// What holds for a host whose rules cannot be read: nothing is let through that they may have forbidden.
pub fn closed() -> Vec<UserRule> {
    vec![UserRule { who: Who::Nobody, services: Vec::new(), direction: None }]
}

/// `rules` of `host` with one more, at a place counted from 1, or at the end.
///
/// # Errors
/// What is in its way.
fn added(
    host: &DomainName,
    rules: &[UserRule],
    rule: UserRule,
    at: Option<usize>,
) -> Result<Vec<UserRule>, Conflict> {
    let at = at.unwrap_or(rules.len() + 1);
    if rules.len() == UserRule::RULES_MAX {
        return Err(Conflict::ManyRules { host: host.to_string() });
    }
    if at == 0 || at > rules.len() + 1 {
        return Err(Conflict::NoSuchRule { host: host.to_string(), at });
    }
    let (before, behind) = rules.split_at(at - 1);
    if let Some(place) = before.iter().position(|earlier| earlier.hides(&rule)) {
        let earlier = before[place].to_string();
        return Err(Conflict::Hidden { at: place + 1, earlier, rule: rule.to_string() });
    }
    if let Some(place) = behind.iter().position(|later| rule.hides(later)) {
        let later = behind[place].to_string();
        return Err(Conflict::Hides { at: at + place, later, rule: rule.to_string() });
    }
    Ok([before, &[rule], behind].concat())
}

/// `rules` of `host` without the one at a place counted from 1.
///
/// # Errors
/// There is no such rule.
fn removed(host: &DomainName, rules: &[UserRule], at: usize) -> Result<Vec<UserRule>, Conflict> {
    let mut rules = rules.to_vec();
    if at == 0 || at > rules.len() {
        return Err(Conflict::NoSuchRule { host: host.to_string(), at });
    }
    rules.remove(at - 1);
    Ok(rules)
}

#[derive(Debug)]
struct Own {
    written: Vec<UserRule>,
    compiled: Box<[Rule]>,
}

/// See the module.
#[derive(Debug)]
pub struct UserRules {
    capacity: usize,
    hosts: HashMap<DomainName, Own>,
}

impl UserRules {
    pub(super) fn new(capacity: usize) -> UserRules {
        UserRules { capacity, hosts: HashMap::new() }
    }

    pub(super) fn set(
        &mut self,
        host: &DomainName,
        rules: Vec<UserRule>,
        policy: &Policy,
    ) -> Result<(), Full> {
        if rules.is_empty() {
            self.hosts.remove(host);
            return Ok(());
        }
        self.check_room(host)?;
        let compile = |(number, rule): (usize, &UserRule)| {
            rule.compile(&format!("user-{number}"), &policy.identified, &policy.offered)
        };
        let compiled = (1..).zip(&rules).flat_map(compile).map(|rule| Rule::new(&rule)).collect();
        self.hosts.insert(host.clone(), Own { written: rules, compiled });
        Ok(())
    }

    /// Whether a host can have rules.
    ///
    /// # Errors
    /// As many others have as there is room for.
    pub fn check_room(&self, host: &DomainName) -> Result<(), Full> {
        let is_there = self.hosts.contains_key(host) || self.hosts.len() < self.capacity;
        if is_there { Ok(()) } else { Err(Full(self.capacity)) }
    }

    /// What a user has written, in its order.
    pub fn of(&self, host: &DomainName) -> &[UserRule] {
        self.hosts.get(host).map_or(&[], |own| &own.written)
    }

    /// Every host that has rules, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&DomainName, &[UserRule])> {
        self.hosts.iter().map(|(host, own)| (host, &own.written[..]))
    }

    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    pub(super) fn compiled(&self, host: Name<'_>) -> &[Rule] {
        self.hosts.get(host.as_str()).map_or(&[], |own| &own.compiled)
    }
}
