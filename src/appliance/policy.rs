//! The operator's view of policies: the rules of users, shown and changed, and what would be decided about whom.
//!
//! Guarantees: whatever it explains is decided by the engine that decides. Never: changes anything itself.

use super::hosts::{HostControl, refused, unknown};
use crate::config::{Direction, DomainName, RuleWrong, Services, ServicesWrong, UserRule};
use crate::edge::policy::hosts::Change;
use crate::edge::policy::{Name, Query};
use crate::manage::Refusal;
use crate::manage::policy_model::{
    ExplainQuestion, Explanation, HostRules, PolicyChange, PolicyChanged, PolicyFilter, PolicyList,
};

/// The reputation of somebody unknown, in hundredths.
const UNKNOWN: u8 = 45;

impl HostControl {
    /// Adds or removes a rule of a host's user.
    pub fn change_policy(&self, change: &PolicyChange) -> Result<PolicyChanged, Refusal> {
        let edge = self.edge()?;
        let change = match change {
            PolicyChange::Add { host, rule, at } => Change::Add {
                host: name(host)?,
                rule: UserRule::parse(rule)
                    .map_err(|RuleWrong { message, hint }| Refusal::new(format!("rule: {message}"), hint))?,
                at: at.map(|at| at as usize),
            },
            PolicyChange::Remove { host, at } => Change::Remove { host: name(host)?, at: *at as usize },
        };
        let host = change.host().clone();
        let rules = edge.change_rules(change).map_err(refused)?;
        tracing::info!("host \"{host}\" has {} rules of its user", rules.len());
        let kept = edge.reader().config().store.is_some();
        Ok(PolicyChanged { rules: shown(&host, &rules), kept })
    }

    /// The rules of users.
    pub fn policy(&self, filter: &PolicyFilter) -> Result<PolicyList, Refusal> {
        let reader = self.edge()?.reader();
        let mut hosts = match &filter.host {
            Some(host) => {
                let host = name(host)?;
                reader.register().host(&host).ok_or_else(|| unknown(host.as_str()))?;
                vec![shown(&host, reader.policy().users().of(&host))]
            }
            None => {
                let policy = reader.policy();
                policy
                    .users()
                    .iter()
                    .take(filter.limit.get())
                    .map(|(host, rules)| shown(host, rules))
                    .collect()
            }
        };
        hosts.sort_unstable_by(|one, other| one.host.cmp(&other.host));
        let total = reader.policy().users().len() as u64;
        Ok(PolicyList { total, hosts })
    }

    /// What would be decided about whom, and by which rules. `worth` tells what a host behind an edge, or behind this one, is held to be
    /// worth, in hundredths; `None` where nobody knows.
    pub fn explain(
        &self,
        question: &ExplainQuestion,
        worth: impl FnOnce(Option<&str>, &str) -> Option<u8>,
    ) -> Result<Explanation, Refusal> {
        let reader = self.edge()?.reader();
        let host = name(&question.host)?;
        let mut buffers = [[0; DomainName::MAX]; 2];
        let [peer_buffer, edge_buffer] = &mut buffers;
        let peer = match question.peer.as_str() {
            "unknown" => None,
            peer => Some(fold(peer, peer_buffer, "peer")?),
        };
        let edge = question.edge.as_deref().map(|edge| fold(edge, edge_buffer, "edge")).transpose()?;
        let services = Services::parse(&question.service)
            .map_err(|ServicesWrong { message, hint }| Refusal::new(format!("service: {message}"), hint))?;
        let direction = direction(question.direction.as_deref())?;
        let register = reader.register();
        let known = register.host(&host).ok_or_else(|| unknown(host.as_str()))?;
        let group = known.parts().group;
        let other = peer.and_then(|peer| register.host(&DomainName::new(peer.as_str())?));
        let is_own_group = group.is_some() && other.is_some_and(|other| other.parts().group == group);
        // Who is behind no edge that is known, and is no host of this one, is somebody unknown.
        let is_known = peer.filter(|_| edge.is_some() || other.is_some());
        let known_worth = || worth(edge.as_ref().map(|edge| edge.as_str()), is_known?.as_str());
        let (reputation, whose) = match question.reputation {
            Some(stated) => (stated.min(100), "as asked"),
            None => match known_worth() {
                Some(worth) => (worth, "by what this edge knows of it"),
                None => (UNKNOWN, "of somebody unknown"),
            },
        };
        let host = Some(Name::from(&host));
        let policy = reader.policy();
        let query = Query { host, group, direction, peer, is_own_group, edge, services, reputation };
        let first = format!("reputation {reputation}, {whose}");
        let decided = policy.decide(&query).to_string();
        let lines = std::iter::once(first).chain(decided.lines().map(str::to_owned)).collect();
        Ok(Explanation { lines })
    }
}

fn name(text: &str) -> Result<DomainName, Refusal> {
    DomainName::new(text).ok_or_else(|| unknown(text))
}

fn fold<'a>(text: &str, buffer: &'a mut [u8; DomainName::MAX], what: &str) -> Result<Name<'a>, Refusal> {
    let wrong = || {
        Refusal::new(format!("{what}: \"{text}\" is no name"), "write a full name, such as pc.far.example")
    };
    Name::fold(text, buffer).ok_or_else(wrong)
}

fn direction(word: Option<&str>) -> Result<Direction, Refusal> {
    let word = word.unwrap_or("inbound");
    let mut both = Direction::BOTH.into_iter();
    let wrong = || Refusal::new(format!("\"{word}\" is no direction"), "write inbound or outbound");
    both.find(|direction| direction.name() == word).ok_or_else(wrong)
}

fn shown(host: &DomainName, rules: &[UserRule]) -> HostRules {
    HostRules { host: host.to_string(), rules: rules.iter().map(UserRule::to_string).collect() }
}
