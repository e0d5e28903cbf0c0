//! What the operator's socket takes and shows of policies: a part of [`super::protocol`] and of [`super::model`], with their
//! promises.

use serde::{Deserialize, Serialize};

use super::protocol::FlowLimit;
use super::text::{LEFT, RIGHT, Table, count};

/// A change of the rules of a host's user: `{"policy":"add","host":"tv.ces.example","rule":"block .spam.example","at":1}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "lowercase", deny_unknown_fields)]
pub enum PolicyChange {
    Add {
        host: String,
        /// In a user's words.
        rule: String,
        /// Before the rule that is at this place, counted from 1; by default behind all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u32>,
    },
    Remove {
        host: String,
        /// Its place, counted from 1.
        at: u32,
    },
}

/// Whose rules to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFilter {
    /// By default of all hosts that have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How many hosts to show.
    #[serde(default)]
    pub limit: FlowLimit,
}

/// `show policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyList {
    /// Hosts that have rules.
    pub total: u64,
    pub hosts: Vec<HostRules>,
}

/// The rules of a host's user, in the order in which they decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRules {
    pub host: String,
    pub rules: Vec<String>,
}

/// `policy add` and `remove`: what the rules of the host are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChanged {
    #[serde(flatten)]
    pub rules: HostRules,
    /// They outlive cesd: there is a store.
    pub kept: bool,
}

/// What would be decided about whom: `{"show":"explain","host":"tv.ces.example","peer":"pc.far.example","service":"tcp/443"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuestion {
    /// A host of the register.
    pub host: String,
    /// The other host, by a name that it has proven, or `unknown`.
    pub peer: String,
    /// `tcp/443`, `icmp` or `any`.
    pub service: String,
    /// The other host's edge, by a name that it has proven. By default it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// Who opens the session: `inbound`, the other host, or `outbound`, the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Of the other host, in hundredths. By default what this edge knows of it, where its edge is given or it is a host of this one, else that
    /// of somebody unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reputation: Option<u8>,
}

/// `show explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub lines: Vec<String>,
}

/// `show policy` for people.
pub fn list(list: &PolicyList) -> String {
    let shown = count(list.hosts.len() as u64);
    format!("{}{shown} shown, {} hosts with rules of their own\n", table(&list.hosts), count(list.total))
}

fn table(hosts: &[HostRules]) -> Table {
    let mut table = Table::new(&[LEFT, RIGHT, LEFT]);
    table.row(["host", "at", "rule"].map(str::to_owned));
    for HostRules { host, rules } in hosts {
        for (place, rule) in (1..).zip(rules) {
            let host = if place == 1 { host.clone() } else { String::new() };
            table.row([host, u64::to_string(&place), rule.clone()]);
        }
    }
    table
}

/// `policy add` and `remove` for people.
pub fn changed(changed: &PolicyChanged) -> String {
    let until = if changed.kept { "" } else { ", until cesd ends: hosts.store is not configured" };
    match changed.rules.rules.is_empty() {
        true => format!("{} has no rules of its own{until}\n", changed.rules.host),
        false => format!("in force{until}:\n{}", table(std::slice::from_ref(&changed.rules))),
    }
}

/// `show explain` for people.
pub fn explanation(explanation: &Explanation) -> String {
    explanation.lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_with_their_places() {
        let rules = HostRules {
            host: "tv.ces.example".into(),
            rules: vec!["block .spam.example".into(), "identified".into()],
        };
        let text = list(&PolicyList { total: 1234, hosts: vec![rules.clone()] });
        for told in ["tv.ces.example", "1  block .spam.example", "2  identified", "1 shown, 1,234 hosts"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        let changed = |rules, kept| changed(&PolicyChanged { rules, kept });
        assert!(changed(rules.clone(), false).starts_with("in force, until cesd ends"));
        assert!(changed(rules.clone(), true).starts_with("in force:\n"));
        assert_eq!(
            changed(HostRules { rules: vec![], ..rules }, true),
            "tv.ces.example has no rules of its own\n"
        );
    }
}
