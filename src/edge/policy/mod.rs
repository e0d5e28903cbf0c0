//! The policy engine: whether two hosts may talk, what their edges ask of and tell each other for it, and what was agreed.
//!
//! Three levels have a say, and of each the first rule that fits decides: the operator's, the peer's edge's, and the host's, which
//! is its user's rules ([`hosts`]), then those of the configuration, then the default. What any level requires is required, what
//! any level withholds is withheld, what any level refuses is refused: so a user can tighten what the operator says and never
//! loosen it. Reputation is a condition of rules, so that it selects a stricter or a laxer one.
//!
//! | file | what it is |
//! |---|---|
//! | `names` | names and sets of them, by label |
//! | `rules` | the rules of a level: indexed by name, in their order |
//! | `demands` | what a rule asks and tells in one role, compiled |
//! | `decision` | which rules decide about somebody: [`Engine::decide`] |
//! | `judgement` | what a peer's answers come to: [`Decision::judge`] |
//! | [`hosts`] | the rules of users |
//! | `explain` | all of that in words |
//!
//! The shape of the prototype's second version maps onto it: `request` is what is required in a role, with `cmp: "optional"` as
//! `optional`; `offer` is what is offered, and `available` what is offered `on-query`; a list of values is a set, `{min, max}` a
//! range, a string one name, no value presence. `id.*` is `id`, `id.fqdn` and `control.fqdn` are `domain`, `control.certificate`
//! and `ces.certificate` are `certificate`, `ces.headersignature` is `signature`, `control.caep` and `ces.caces` are `ca`, `rloc.*`
//! is `rloc`, `payload.*` is `encapsulation`, `control.idle_ttl` is `timeout`, `ces.session_limit` is `sessions`.
//!
//! Guarantees: deciding and judging are functions of their arguments and allocate nothing; hosts without rules of their own cost
//! nothing, however many there are. Never: believes a name that is not proven, or matches a part of one.

mod decision;
mod demands;
mod explain;
pub mod hosts;
mod judgement;
mod names;
mod rules;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Level, PARTS_MAX, Part, Query, Ruling, Told};
pub use judgement::{Agreement, Claims, Judgement, Own, Refusal};
pub use names::{Name, NameSet};
pub use rules::Rule;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::journal::Journal;
use crate::config::{Action, DomainName, Lists, Policy, PolicyRule, UserRule, Who};
use hosts::UserRules;
use rules::Rules;

/// The rules of all levels, compiled.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<Policy>,
    operator: Rules,
    edge: Rules,
    host: Rules,
    /// What holds at a level without a rule that fits: nothing is asked, and nothing told.
    silent: Rule,
    /// What holds for services in the parts of a decision that do not fit.
    rest: Rule,
    /// What holds for a host without a rule that fits.
    default: Vec<Rule>,
    users: UserRules,
    /// Hosts whose users' rules were changed.
    journal: Journal<DomainName>,
    /// From which reputations on another rule may decide.
    bounds: BTreeSet<u8>,
}

impl Engine {
    /// With no users' rules; those of at most `capacity` hosts fit.
    pub fn new(policy: Arc<Policy>, capacity: usize) -> Engine {
        let silent = PolicyRule::new("none", Action::Ask(Lists::default()));
        let rest = PolicyRule::new("too-many-services", Action::Refuse);
        // The default is about inbound; outbound anyone may be called.
        let anyone = UserRule { who: Who::Anyone, services: Vec::new(), direction: None };
        let default = [&policy.default, &anyone]
            .map(|rule| rule.compile("default", &policy.identified, &policy.offered));
        Engine {
            operator: Rules::new(&policy.operator),
            edge: Rules::new(&policy.edge),
            host: Rules::new(&policy.host),
            silent: Rule::new(&silent),
            rest: Rule::new(&rest),
            default: default.iter().flatten().map(Rule::new).collect(),
            users: UserRules::new(capacity),
            journal: Journal::default(),
            bounds: [&policy.operator, &policy.edge, &policy.host]
                .into_iter()
                .flatten()
                .flat_map(|rule| [*rule.reputation.start(), rule.reputation.end().saturating_add(1)])
                .collect(),
            policy,
        }
    }

    /// The rules of users.
    pub fn users(&self) -> &UserRules {
        &self.users
    }

    /// Gives a host these rules of its user's in the place of those that it has; none takes them away.
    ///
    /// # Errors
    /// As many hosts have rules as there is room for.
    pub fn set_user_rules(&mut self, host: &DomainName, rules: Vec<UserRule>) -> Result<(), hosts::Full> {
        self.users.set(host, rules, &self.policy)?;
        self.journal.push(host.clone());
        Ok(())
    }

    /// Whether somebody of the one reputation and somebody of the other, in hundredths, may find other rules.
    pub fn tells_apart(&self, one: u8, other: u8) -> bool {
        let between = (Bound::Excluded(one.min(other)), Bound::Included(one.max(other)));
        one != other && self.bounds.range(between).next().is_some()
    }

    /// Hosts whose users' rules were changed.
    pub fn changes(&self) -> &Journal<DomainName> {
        &self.journal
    }
}
