//! `cesctl policy`: the rules of users, and what would be decided about whom.

use ces::manage::policy_model::{ExplainQuestion, PolicyChange, PolicyFilter};
use ces::manage::protocol::{FlowLimit, Request};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand)]
pub enum Policy {
    /// Add a rule of a host's user; the first that fits decides
    ///
    /// It stays if hosts.store is configured, else until cesd ends. RULE is one of: anyone, identified, own-devices [NAME…], nobody,
    /// allow NAME…, block NAME…; behind it may stand service=tcp/443,… and direction=inbound, outbound or both. A name with a dot
    /// before it is a domain and all names below it.
    Add {
        /// A host of the register
        host: String,
        #[arg(required = true, value_name = "RULE")]
        rule: Vec<String>,
        /// Before the rule that is at this place [default: behind all]
        #[arg(long, value_name = "N")]
        at: Option<u32>,
    },
    /// Remove a rule of a host's user
    Remove {
        host: String,
        /// The place of the rule, as `policy show` tells it
        at: u32,
    },
    /// The rules of users
    Show {
        /// Only those of this host
        host: Option<String>,
        /// Of how many hosts to show them, 0 to 10000 [default: 100]
        #[arg(long, value_name = "N")]
        limit: Option<FlowLimit>,
    },
    /// Which rules decide about somebody, and what they would be asked and told
    Explain(Explain),
}

#[derive(Args)]
pub struct Explain {
    /// A host of the register
    host: String,
    /// The other host, by a name that it has proven; or: unknown
    peer: String,
    /// What is wanted of the host that is called: tcp/443, icmp, any
    service: String,
    /// The other host's edge, by a name that it has proven
    #[arg(long, value_name = "NAME")]
    edge: Option<String>,
    /// Who opens the session, seen from the host [default: inbound]
    #[arg(long, value_name = "DIRECTION")]
    direction: Option<Direction>,
    /// The other host's reputation, 0 to 100 [default: 45, somebody unknown]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    reputation: Option<u8>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Direction {
    Inbound,
    Outbound,
}

/// What a command line asks for or commands.
pub enum Wanted {
    Change(PolicyChange),
    Show(Request),
    Explain(Request),
}

impl From<Policy> for Wanted {
    fn from(policy: Policy) -> Wanted {
        match policy {
            Policy::Add { host, rule, at } => {
                Wanted::Change(PolicyChange::Add { host, rule: rule.join(" "), at })
            }
            Policy::Remove { host, at } => Wanted::Change(PolicyChange::Remove { host, at }),
            Policy::Show { host, limit } => {
                Wanted::Show(Request::Policy(PolicyFilter { host, limit: limit.unwrap_or_default() }))
            }
            Policy::Explain(Explain { host, peer, service, edge, direction, reputation }) => {
                let word = |direction| match direction {
                    Direction::Inbound => "inbound".to_owned(),
                    Direction::Outbound => "outbound".to_owned(),
                };
                let direction = direction.map(word);
                let question = ExplainQuestion { host, peer, service, edge, direction, reputation };
                Wanted::Explain(Request::Explain(question))
            }
        }
    }
}
