//! The section about who may talk to whom, and on what terms: `[policy]`, with the rules of three levels.
//!
//! Guarantees: no rule contradicts itself or stands behind one that is for everybody. Never: knows which hosts there are; a name
//! that nobody has yet may come.

use super::error::{Place, Report, Wrong};
use super::policy_model::{Attribute, Attributes, NamePattern, Offer, Requirement, attribute};
use super::policy_rule::{
    Action, DIRECTIONS, Direction, Lists, Policy, PolicyRule, UserRule, Who, services, user_rule,
};
use super::section::{Located, Section, or};
use super::values;

/// Most entries of a list of a rule.
const LIST_MAX: usize = 16_384;
const GROUPS_MAX: usize = 256;
const SERVICES_MAX: usize = 64;
const ITEMS_MAX: usize = 64;

const DEFAULTS: [(&str, Who); 3] =
    [("anyone", Who::Anyone), ("identified", Who::Identified), ("nobody", Who::Nobody)];

/// The policy; what holds without one where the section is not there.
pub(super) fn read(report: &Report<'_>, mut section: Section<'_>) -> Policy {
    let mut policy = Policy::default();
    if !section.is_written() {
        return policy;
    }
    let words = DEFAULTS.map(|(word, _)| (word, word));
    if let Some(word) = section.choice("default", &words).map(|word| word.value) {
        let who = DEFAULTS.iter().find(|(known, _)| *known == word).map(|(_, who)| who.clone());
        policy.default.who = who.unwrap_or(Who::Nobody);
    }
    if let Some(identified) = required(report, &mut section, "identified", of_a_host) {
        policy.identified = identified;
    }
    for (key, direction) in &AS[2..] {
        if let Some(offers) = offered(report, &mut section, key) {
            policy.offered[*direction as usize] = offers;
        }
    }
    policy.legacy_fallback = or(section.boolean("legacy_fallback"), false);
    for (key, path, level) in LEVELS {
        let sections = section.tables_at(key, path, Policy::RULES_MAX).unwrap_or_default();
        let rules = read_level(report, sections, level, &policy);
        match level {
            Level::Operator => policy.operator = rules,
            Level::Edge => policy.edge = rules,
            Level::Host => policy.host = rules,
        }
    }
    section.finish();
    policy
}

fn plain<T>(located: Vec<Located<T>>) -> Vec<T> {
    located.into_iter().map(|item| item.value).collect()
}

/// The items of a list in which no attribute stands twice.
fn distinct<T>(report: &Report<'_>, items: Vec<Located<T>>, of: fn(&T) -> Attribute) -> Vec<T> {
    let mut known = Attributes::NONE;
    for Located { value, place } in &items {
        let attribute = of(value);
        if known.has(attribute) {
            let message = format!("\"{}\" stands twice", attribute.name());
            report.refuse(*place, message, "write it once, with all of its values");
        }
        known.insert(attribute);
    }
    plain(items)
}

/// A list of requirements, where it is written.
fn required(
    report: &Report<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    parse: fn(&str) -> Result<Requirement, Wrong>,
) -> Option<Vec<Requirement>> {
    let items = section.strings(key, 0..=ITEMS_MAX, parse)?;
    Some(distinct(report, items, |requirement| requirement.attribute))
}

/// A list of offers, where it is written.
fn offered(report: &Report<'_>, section: &mut Section<'_>, key: &'static str) -> Option<Vec<Offer>> {
    let items = section.strings(key, 0..=ITEMS_MAX, Offer::parse)?;
    Some(distinct(report, items, |offer| offer.attribute))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Operator,
    Edge,
    Host,
}

const LEVELS: [(&str, &str, Level); 3] = [
    ("operator", "policy.operator", Level::Operator),
    ("edge", "policy.edge", Level::Edge),
    ("host", "policy.host", Level::Host),
];

/// The rules of a level, in file order.
fn read_level(
    report: &Report<'_>,
    sections: Vec<Section<'_>>,
    level: Level,
    policy: &Policy,
) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let mut for_all: Option<String> = None;
    let mut names = std::collections::HashSet::new();
    for section in sections {
        let place = section.place();
        let Some(read) = read_rule(report, section, level, policy) else { continue };
        let Some(name) = read.first().map(|rule| rule.name.clone()) else { continue };
        if let Some(earlier) = &for_all {
            let message = format!("never decides: rule \"{earlier}\" before it is for everybody");
            report.refuse(place, message, "put it first, or remove one of the two");
        }
        if !names.insert(name.clone()) {
            let message = format!("\"{name}\" is a rule of this level already");
            report.refuse(place, message, "write another name");
        }
        for_all = for_all.or(read.iter().any(is_for_everybody).then_some(name));
        rules.extend(read);
    }
    rules
}

fn is_for_everybody(rule: &PolicyRule) -> bool {
    PolicyRule {
        name: rule.name.clone(),
        action: rule.action.clone(),
        legacy_fallback: rule.legacy_fallback,
        ..PolicyRule::new("", Action::Refuse)
    } == *rule
}

/// One rule of the file: one or two of ours.
fn read_rule(
    report: &Report<'_>,
    mut section: Section<'_>,
    level: Level,
    policy: &Policy,
) -> Option<Vec<PolicyRule>> {
    let name = section.require("name", values::name, "write name = \"…\", by which it is shown");
    let rule = read_conditions(report, &mut section, level);
    let words = if level == Level::Host { section.parse("rule", user_rule) } else { None };
    let written: Vec<&'static str> = ACTIONS.into_iter().filter(|key| section.contains(key)).collect();
    let lists = read_lists(report, &mut section, level, policy);
    let refuse = section.boolean("refuse").is_some_and(|refuse| refuse.value);
    let place = section.place();
    section.finish();
    let rule = PolicyRule { name: name?.value, ..rule };
    let contradiction = |key: &'static str, message: String, hint: &str| {
        report.refuse(Place { key, ..place }, message, hint);
    };
    if let Some(words) = words {
        if let Some(key) = written.first() {
            contradiction("rule", format!("{key} stands beside it"), "write the rule in one way");
        }
        if rule.is_of_peers() || !rule.services.is_empty() || rule.direction.is_some() {
            let hint = "write names, service= and direction= into the rule";
            contradiction("rule", "peers, services or direction stand beside it".into(), hint);
        }
        return Some(of_users_words(&rule, &words.value, policy));
    }
    if refuse {
        if let Some(key) = written.iter().find(|key| **key != "refuse") {
            contradiction("refuse", format!("{key} stands beside it"), "remove one of the two");
        }
        return Some(vec![rule]);
    }
    for (key, direction) in AS.into_iter().filter(|(key, _)| written.contains(key)) {
        if let Some(only) = rule.direction.filter(|only| *only != direction) {
            let message = format!("the rule is about {} only", only.name());
            contradiction(key, message, "remove it, or the direction");
        }
    }
    Some(vec![PolicyRule { action: Action::Ask(lists), ..rule }])
}

/// For whom a rule is.
fn read_conditions(report: &Report<'_>, section: &mut Section<'_>, level: Level) -> PolicyRule {
    let mut rule = PolicyRule::new("", Action::Refuse);
    let names = |section: &mut Section<'_>, key| {
        plain(section.strings(key, 1..=LIST_MAX, NamePattern::parse).unwrap_or_default())
    };
    if level != Level::Host {
        rule.edges = names(section, "edges");
    }
    if level != Level::Edge {
        rule.hosts = names(section, "hosts");
        rule.groups = plain(section.strings("groups", 1..=GROUPS_MAX, values::name).unwrap_or_default());
        rule.peers = names(section, "peers");
        rule.is_own_group = or(section.boolean("own_group"), false);
        rule.services = plain(section.strings("services", 1..=SERVICES_MAX, services).unwrap_or_default());
        rule.direction = section.choice("direction", &DIRECTIONS).map(|direction| direction.value);
    }
    let least = section.integer("reputation_at_least", 0..=100_u8);
    let below = section.integer("reputation_below", 1..=100_u8);
    rule.reputation = or(least, 0)..=below.map_or(100, |below| below.value - 1);
    if let Some(below) = below.filter(|_| rule.reputation.is_empty()) {
        let hint = "write reputation_at_least less than reputation_below";
        report.refuse(below.place, "no reputation is both", hint);
    }
    rule.legacy_fallback = section.boolean("legacy_fallback").map(|fallback| fallback.value);
    rule
}

/// Keys that say what a rule does.
const ACTIONS: [&str; 6] =
    ["refuse", "required_as_ices", "required_as_oces", "offered_as_ices", "offered_as_oces", "withheld"];
/// The direction that each list is of.
const AS: [(&str, Direction); 4] = [
    ("required_as_ices", Direction::Inbound),
    ("required_as_oces", Direction::Outbound),
    ("offered_as_ices", Direction::Inbound),
    ("offered_as_oces", Direction::Outbound),
];

/// The lists of a rule. What hosts tell is what `[policy]` says, where their rule says nothing.
fn read_lists(report: &Report<'_>, section: &mut Section<'_>, level: Level, policy: &Policy) -> Lists {
    let mut lists = Lists::default();
    if level == Level::Host {
        lists.offered = policy.offered.clone();
    }
    for (key, direction) in &AS[..2] {
        let items = required(report, section, key, requirement_of(level));
        lists.required[*direction as usize] = items.unwrap_or_default();
    }
    for (key, direction) in &AS[2..] {
        if let Some(offers) = offered(report, section, key) {
            lists.offered[*direction as usize] = offers;
        }
    }
    lists.withheld = plain(section.strings("withheld", 1..=ITEMS_MAX, attribute).unwrap_or_default());
    lists
}

/// How a requirement of that level is read.
fn requirement_of(level: Level) -> fn(&str) -> Result<Requirement, Wrong> {
    match level {
        Level::Edge => of_an_edge,
        Level::Operator | Level::Host => of_a_host,
    }
}

fn of_an_edge(text: &str) -> Result<Requirement, Wrong> {
    let requirement = Requirement::parse(text)?;
    match requirement.attribute {
        Attribute::Domain => Err(Wrong::new(
            "an edge has no domain to tell",
            "write it into [[policy.operator]] or [[policy.host]]",
        )),
        _ => Ok(requirement),
    }
}

fn of_a_host(text: &str) -> Result<Requirement, Wrong> {
    let requirement = Requirement::parse(text)?;
    match requirement.attribute {
        Attribute::Sessions | Attribute::Negotiations => {
            Err(Wrong::new("is agreed between edges", "write it into [[policy.edge]]"))
        }
        _ => Ok(requirement),
    }
}

/// A rule of a host that is written in a user's words.
fn of_users_words(rule: &PolicyRule, words: &UserRule, policy: &Policy) -> Vec<PolicyRule> {
    let compiled = words.compile(&rule.name, &policy.identified, &policy.offered);
    let of = |compiled: PolicyRule| PolicyRule {
        hosts: rule.hosts.clone(),
        groups: rule.groups.clone(),
        reputation: rule.reputation.clone(),
        legacy_fallback: rule.legacy_fallback,
        ..compiled
    };
    compiled.into_iter().map(of).collect()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
