//! The section about who may talk to whom, and on what terms: `[policy]`, with the rules of three levels.
//!
//! Guarantees: no rule contradicts itself or stands behind one that is for everybody. Never: knows which hosts there are; a name
//! that nobody has yet may come.

use super::error::{Report, Wrong};
use super::policy_model::{Attribute, NamePattern, Offer, Requirement, attribute};
use super::policy_rule::{
    Action, DIRECTIONS, Direction, Lists, Policy, PolicyRule, Services, UserRule, Who, services, user_rule,
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
    if let Some(identified) = section.strings("identified", 1..=ITEMS_MAX, Requirement::parse) {
        policy.identified = plain(identified);
    }
    for (key, direction) in
        [("offered_as_ices", Direction::Inbound), ("offered_as_oces", Direction::Outbound)]
    {
        if let Some(offers) = section.strings(key, 0..=ITEMS_MAX, Offer::parse) {
            policy.offered[direction as usize] = plain(offers);
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
    let place = section.place();
    let name = section.require("name", values::name, "write name = \"…\", by which it is shown");
    let mut rule = PolicyRule::new("", Action::Refuse);
    let names = |section: &mut Section<'_>, key| {
        plain(section.strings(key, 1..=LIST_MAX, NamePattern::parse).unwrap_or_default())
    };
    if level != Level::Host {
        rule.edges = names(&mut section, "edges");
    }
    if level != Level::Edge {
        rule.hosts = names(&mut section, "hosts");
        rule.groups = plain(section.strings("groups", 1..=GROUPS_MAX, values::name).unwrap_or_default());
        rule.peers = names(&mut section, "peers");
        rule.is_own_group = or(section.boolean("own_group"), false);
        let listed: Option<Vec<Located<Services>>> = section.strings("services", 1..=SERVICES_MAX, services);
        rule.services = plain(listed.unwrap_or_default());
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
    let high = if level == Level::Host { section.parse("rule", user_rule) } else { None };
    let written: Vec<&'static str> = ACTIONS.into_iter().filter(|key| section.contains(key)).collect();
    let lists = read_lists(&mut section, level, policy);
    let refuse = section.boolean("refuse");
    section.finish();
    rule.name = name?.value;
    let contradiction = |key: &'static str, message: String, hint: &str| {
        report.refuse(super::error::Place { key, ..place }, message, hint);
    };
    if let Some(high) = high {
        let low: Vec<&str> = written;
        if let Some(key) = low.first() {
            contradiction("rule", format!("{key} stands beside it"), "write the rule in one way");
        }
        if rule.is_of_peers() || !rule.services.is_empty() || rule.direction.is_some() {
            let hint = "write names, service= and direction= into the rule";
            contradiction("rule", "peers, services or direction stand beside it".into(), hint);
        }
        return Some(of_users_words(&rule, &high.value, policy));
    }
    if refuse.is_some_and(|refuse| refuse.value) {
        if let Some(key) = written.iter().find(|key| **key != "refuse") {
            contradiction("refuse", format!("{key} stands beside it"), "remove one of the two");
        }
        return Some(vec![rule]);
    }
    for (key, direction) in AS {
        if written.contains(&key) && rule.direction.is_some_and(|only| only != direction) {
            let message = format!("the rule is about {} only", other(direction).name());
            contradiction(key, message, "remove it, or the direction");
        }
    }
    rule.action = Action::Ask(lists);
    Some(vec![rule])
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

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}

/// The lists of a rule. What hosts tell is what `[policy]` says, where their rule says nothing.
fn read_lists(section: &mut Section<'_>, level: Level, policy: &Policy) -> Lists {
    let mut lists = Lists::default();
    if level == Level::Host {
        lists.offered = policy.offered.clone();
    }
    for (key, direction) in &AS[..2] {
        let required = section.strings(key, 0..=ITEMS_MAX, requirement_of(level));
        lists.required[*direction as usize] = plain(required.unwrap_or_default());
    }
    for (key, direction) in &AS[2..] {
        if let Some(offers) = section.strings(key, 0..=ITEMS_MAX, Offer::parse) {
            lists.offered[*direction as usize] = plain(offers);
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
