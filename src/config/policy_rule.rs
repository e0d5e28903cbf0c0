//! A rule of a policy: for whom it is and what it says; and the rules that users state for their hosts, in their words.
//!
//! Of each level the first rule that fits decides. The words of a user's rule are
//!
//! | words | what it says |
//! |---|---|
//! | `anyone` | everybody may, and need not say who they are |
//! | `identified` | only those whose name is proven |
//! | `own-devices [NAME…]` | only proven names of the host's own group, and those that are listed |
//! | `nobody` | nobody may |
//! | `allow NAME…` | these may, by proven names; about others the next rules say |
//! | `block NAME…` | these may not; about others the next rules say |
//!
//! each with `[service=tcp/443,…] [direction=inbound|outbound|both]` behind it; without a direction it is about inbound.
//!
//! Guarantees: what is parsed is printed as it is parsed again; no text makes it panic, and a rule is at most
//! [`UserRule::LONGEST`] bytes. Never: decides anything; [`crate::config`] only reads.

use std::fmt;
use std::ops::RangeInclusive;

use super::error::{Wrong, one_of};
use super::host_model::{ServiceTarget, protocol, protocol_name};
use super::policy_model::{Attribute, NamePattern, Offer, Requirement, Value};

/// Which way a session is opened, seen from the host that the policy is of. It says which role the host's edge has: the edge of
/// the host that is called is the iCES, the other one the oCES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

pub(super) const DIRECTIONS: [(&str, Direction); 2] =
    [("inbound", Direction::Inbound), ("outbound", Direction::Outbound)];

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

    pub fn name(self) -> &'static str {
        DIRECTIONS[self as usize].0
    }
}

/// Services: a protocol, and ports of the host that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    /// A number of IANA's registry of protocols. `None`: any.
    pub protocol: Option<u8>,
    /// 0 to 65,535 is any, and the only one that protocols without ports are in.
    pub first: u16,
    pub last: u16,
}

impl Services {
    /// Whatever there is.
    pub const ANY: Services = Services { protocol: None, first: 0, last: u16::MAX };

    /// One service. Port 0 is that of protocols without ports.
    pub const fn one(protocol: u8, port: u16) -> Services {
        Services { protocol: Some(protocol), first: port, last: port }
    }

    /// What the name of a service stands for. Nobody looks at the ports of other protocols than TCP and UDP: any of them is meant.
    pub fn of(target: ServiceTarget) -> Services {
        let ServiceTarget { protocol, port } = target;
        let port = port.filter(|_| matches!(protocol, None | Some(6 | 17)));
        Services { protocol, first: port.unwrap_or(0), last: port.unwrap_or(u16::MAX) }
    }

    /// What is in both.
    pub fn and(&self, other: &Services) -> Option<Services> {
        let protocol = match (self.protocol, other.protocol) {
            (Some(one), Some(another)) if one != another => return None,
            (one, another) => one.or(another),
        };
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Services { protocol, first, last })
    }

    /// Whether all of the other are in it.
    pub fn covers(&self, other: &Services) -> bool {
        self.and(other) == Some(*other)
    }

    /// `tcp/443`, `udp/5000-5100`, `icmp`, `tcp`, or `any`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Services, ServicesWrong> {
        let (name, ports) = text.split_once('/').map_or((text, None), |(name, ports)| (name, Some(ports)));
        let wrong = |wrong: Wrong| ServicesWrong { message: wrong.message, hint: wrong.hint };
        let protocol = protocol(name).map_err(wrong)?;
        let Some(ports) = ports else { return Ok(Services { protocol, ..Services::ANY }) };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number =
            |text: &str| text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Services { protocol, first, last }),
            _ => Err(ServicesWrong {
                message: format!("\"{}\" are no ports", ports.escape_debug()),
                hint: "write a number from 1 to 65535, or FIRST-LAST".into(),
            }),
        }
    }
}

/// Why a text is no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct ServicesWrong {
    pub message: String,
    pub hint: String,
}

pub(super) fn services(text: &str) -> Result<Services, Wrong> {
    Services::parse(text).map_err(|wrong| Wrong::new(wrong.message, wrong.hint))
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol.map_or("any".into(), protocol_name))?;
        match (self.first, self.last) {
            (0, u16::MAX) => Ok(()),
            (first, last) if first == last => write!(f, "/{first}"),
            (first, last) => write!(f, "/{first}-{last}"),
        }
    }
}

/// The low level: what is required of a peer and what it is told, in each role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// By [`Direction`]: of the oCES where this edge is the iCES, and the other way round.
    pub required: [Vec<Requirement>; 2],
    /// By [`Direction`]: to the oCES where this edge is the iCES, and the other way round.
    pub offered: [Vec<Offer>; 2],
    /// Never told, whatever another level offers.
    pub withheld: Vec<Attribute>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Refuse,
    Ask(Lists),
}

/// A rule. It is for those who meet all of its conditions; an empty list is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What [`crate::config`] or the user calls it.
    pub name: String,
    /// Hosts of this edge.
    pub hosts: Vec<NamePattern>,
    /// Their groups, 1 to 32 of `a-z`, `0-9` and `-`.
    pub groups: Vec<String>,
    /// The peers' edges, by the names that they have proven.
    pub edges: Vec<NamePattern>,
    /// Hosts of the peer, by the names that it has proven.
    pub peers: Vec<NamePattern>,
    /// Hosts of this edge that are of the same group are peers of the rule, too; then `peers` may be empty.
    pub is_own_group: bool,
    pub services: Vec<Services>,
    /// `None`: either.
    pub direction: Option<Direction>,
    /// Reputations of the peer, in hundredths; 45 is somebody unknown.
    pub reputation: RangeInclusive<u8>,
    pub action: Action,
    /// Whether a peer that discovery finds and that does not answer is called as one without an edge. `None`: another level says.
    pub legacy_fallback: Option<bool>,
}

impl PolicyRule {
    /// One for everybody.
    pub fn new(name: impl Into<String>, action: Action) -> PolicyRule {
        PolicyRule {
            name: name.into(),
            hosts: Vec::new(),
            groups: Vec::new(),
            edges: Vec::new(),
            peers: Vec::new(),
            is_own_group: false,
            services: Vec::new(),
            direction: None,
            reputation: 0..=100,
            action,
            legacy_fallback: None,
        }
    }

    /// Whether it depends on who the peer is.
    pub fn is_of_peers(&self) -> bool {
        self.is_own_group || !self.peers.is_empty()
    }
}

/// Who may, in a user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Anyone,
    Identified,
    OwnDevices(Vec<NamePattern>),
    Nobody,
    Allow(Vec<NamePattern>),
    Block(Vec<NamePattern>),
}

/// A rule of a user's about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRule {
    pub who: Who,
    pub services: Vec<Services>,
    /// `None`: both.
    pub direction: Option<Direction>,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct RuleWrong {
    pub message: String,
    pub hint: String,
}

const WORDS: [&str; 6] = ["anyone", "identified", "own-devices", "nobody", "allow", "block"];

impl UserRule {
    /// Longest text in bytes.
    pub const LONGEST: usize = 1024;
    /// Most rules of a host.
    pub const RULES_MAX: usize = 32;
    const NAMES_MAX: usize = 16;
    const SERVICES_MAX: usize = 16;

    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<UserRule, RuleWrong> {
        parse_user_rule(text).map_err(|wrong| RuleWrong { message: wrong.message, hint: wrong.hint })
    }

    /// Whether nothing of what `later` is about is left to it.
    pub fn hides(&self, later: &UserRule) -> bool {
        let is_for_all = !matches!(self.who, Who::Allow(_) | Who::Block(_));
        let covers = |theirs: &Services| {
            self.services.is_empty() || self.services.iter().any(|own| own.covers(theirs))
        };
        let theirs = if later.services.is_empty() { &[Services::ANY][..] } else { &later.services };
        let is_of_direction = self.direction.is_none() || self.direction == later.direction;
        is_for_all && is_of_direction && theirs.iter().all(covers)
    }

    /// What it comes to in the low level: one rule or two, of which `identified` is what is required of the identified and
    /// `offered` what the host tells in each role.
    pub fn compile(
        &self,
        name: &str,
        identified: &[Requirement],
        offered: &[Vec<Offer>; 2],
    ) -> Vec<PolicyRule> {
        let rule = |action| {
            let mut rule = PolicyRule::new(name, action);
            rule.services = self.services.clone();
            rule.direction = self.direction;
            rule
        };
        let ask = |required: &[Requirement]| {
            Action::Ask(Lists {
                // Who is called is known by the name that was asked for.
                required: [required.to_vec(), Vec::new()],
                offered: offered.clone(),
                withheld: Vec::new(),
            })
        };
        match &self.who {
            Who::Anyone => vec![rule(ask(&[]))],
            Who::Identified => vec![rule(ask(identified))],
            Who::Nobody => vec![rule(Action::Refuse)],
            Who::Allow(names) => vec![PolicyRule { peers: names.clone(), ..rule(ask(identified)) }],
            Who::Block(names) => vec![PolicyRule { peers: names.clone(), ..rule(Action::Refuse) }],
            Who::OwnDevices(names) => {
                let own = rule(ask(identified));
                vec![PolicyRule { peers: names.clone(), is_own_group: true, ..own }, rule(Action::Refuse)]
            }
        }
    }
}

fn parse_user_rule(text: &str) -> Result<UserRule, Wrong> {
    if text.len() > UserRule::LONGEST {
        let message = format!("is longer than {} bytes", UserRule::LONGEST);
        return Err(Wrong::new(message, "write more than one rule"));
    }
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let (mut names, mut services, mut direction) = (Vec::new(), None, None);
    for word in words {
        if let Some(list) = word.strip_prefix("service=") {
            once(services.replace(services_list(list)?).is_some(), "service")?;
        } else if let Some(word) = word.strip_prefix("direction=") {
            once(direction.replace(direction_word(word)?).is_some(), "direction")?;
        } else {
            names.push(NamePattern::parse(word)?);
        }
    }
    if names.len() > UserRule::NAMES_MAX {
        let message = format!("has more than {} names", UserRule::NAMES_MAX);
        return Err(Wrong::new(message, "write more than one rule"));
    }
    let who = who(first, names)?;
    let direction = direction.unwrap_or(Some(Direction::Inbound));
    Ok(UserRule { who, services: services.unwrap_or_default(), direction })
}

fn who(word: &str, names: Vec<NamePattern>) -> Result<Who, Wrong> {
    match (word, names.is_empty()) {
        ("anyone", true) => Ok(Who::Anyone),
        ("identified", true) => Ok(Who::Identified),
        ("nobody", true) => Ok(Who::Nobody),
        ("own-devices", _) => Ok(Who::OwnDevices(names)),
        ("allow", false) => Ok(Who::Allow(names)),
        ("block", false) => Ok(Who::Block(names)),
        ("allow" | "block", true) => Err(Wrong::new(
            format!("\"{word}\" of whom?"),
            format!("write {word} NAME…, such as {word} .other.example"),
        )),
        ("anyone" | "identified" | "nobody", false) => {
            Err(Wrong::new(format!("\"{word}\" has no names"), "write them behind \"allow\" or \"block\""))
        }
        _ => {
            let message = format!("\"{}\" is no rule", word.escape_debug());
            Err(Wrong::new(message, one_of("begin it with one of", word, &WORDS)))
        }
    }
}

fn once(is_again: bool, key: &str) -> Result<(), Wrong> {
    match is_again {
        true => Err(Wrong::new(format!("{key}= stands twice"), "write it once")),
        false => Ok(()),
    }
}

fn services_list(text: &str) -> Result<Vec<Services>, Wrong> {
    let list: Vec<Services> = text.split(',').map(services).collect::<Result<_, _>>()?;
    if list.len() > UserRule::SERVICES_MAX {
        let message = format!("has more than {} services", UserRule::SERVICES_MAX);
        return Err(Wrong::new(message, "write more than one rule"));
    }
    Ok(list)
}

/// A direction, or `None` for both.
fn direction_word(word: &str) -> Result<Option<Direction>, Wrong> {
    let known = DIRECTIONS.iter().find(|(name, _)| *name == word).map(|(_, direction)| Some(*direction));
    known.or((word == "both").then_some(None)).ok_or_else(|| {
        let message = format!("\"{}\" is no direction", word.escape_debug());
        Wrong::new(message, one_of("write one of", word, &["inbound", "outbound", "both"]))
    })
}

pub(super) fn user_rule(text: &str) -> Result<UserRule, Wrong> {
    parse_user_rule(text)
}

impl fmt::Display for UserRule {
    /// As it is parsed; what goes without saying is not said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, names): (&str, &[NamePattern]) = match &self.who {
            Who::Anyone => ("anyone", &[]),
            Who::Identified => ("identified", &[]),
            Who::Nobody => ("nobody", &[]),
            Who::OwnDevices(names) => ("own-devices", names),
            Who::Allow(names) => ("allow", names),
            Who::Block(names) => ("block", names),
        };
        f.write_str(word)?;
        names.iter().try_for_each(|name| write!(f, " {name}"))?;
        for (place, service) in self.services.iter().enumerate() {
            write!(f, "{}{service}", if place == 0 { " service=" } else { "," })?;
        }
        match self.direction {
            Some(Direction::Inbound) => Ok(()),
            Some(Direction::Outbound) => f.write_str(" direction=outbound"),
            None => f.write_str(" direction=both"),
        }
    }
}

/// `[policy]`: the rules of all levels, and what holds where none fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `[[policy.operator]]`, in file order: their demands are met whatever the other levels say.
    pub operator: Vec<PolicyRule>,
    /// `[[policy.edge]]`, in file order: about the edges of peers, associations with them included.
    pub edge: Vec<PolicyRule>,
    /// `[[policy.host]]`, in file order: about hosts whose users have no rule that fits.
    pub host: Vec<PolicyRule>,
    /// `default`: what holds for hosts inbound where none fits. Default [`Who::Anyone`]; outbound it is always that.
    pub default: UserRule,
    /// `identified`: what is required of the identified. Default the domain and its naming check.
    pub identified: Vec<Requirement>,
    /// `offered_as_ices` and `offered_as_oces`: what hosts tell where a rule lists nothing of its own.
    pub offered: [Vec<Offer>; 2],
    /// `legacy_fallback`, where no rule says. Default false.
    pub legacy_fallback: bool,
}

impl Policy {
    /// Most rules of a level.
    pub const RULES_MAX: usize = 16_384;
}

impl Default for Policy {
    /// What holds without the section.
    fn default() -> Self {
        let item = |attribute| Offer { attribute, value: Value::Any, is_reliable: false, is_on_query: false };
        let asked = |attribute| Offer { is_on_query: true, ..item(attribute) };
        let require = |attribute, is_reliable| Requirement {
            attribute,
            value: Value::Any,
            is_reliable,
            is_optional: false,
        };
        let offered = vec![
            item(Attribute::Id),
            asked(Attribute::Domain),
            asked(Attribute::Signature),
            asked(Attribute::Certificate),
            asked(Attribute::Ca),
            item(Attribute::Rloc),
            item(Attribute::Encapsulation),
            item(Attribute::Timeout),
            item(Attribute::Sessions),
            item(Attribute::Negotiations),
        ];
        Policy {
            operator: Vec::new(),
            edge: Vec::new(),
            host: Vec::new(),
            default: UserRule { who: Who::Anyone, services: Vec::new(), direction: Some(Direction::Inbound) },
            identified: vec![require(Attribute::Domain, true), require(Attribute::NamingCheck, false)],
            offered: [offered.clone(), offered],
            legacy_fallback: false,
        }
    }
}

#[cfg(test)]
#[path = "policy_rule_tests.rs"]
mod tests;
