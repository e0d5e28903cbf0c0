//! The verbs of `cesctl` about sessions with hosts behind edges.

use ces::manage::protocol::{FlowLimit, Request};
use ces::manage::{CetpChange, CetpFilter};
use clap::{Args, Subcommand};

/// What is shown.
#[derive(Args)]
pub struct Which {
    /// Only sessions of, or with, this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only those with this edge
    #[arg(long, value_name = "NAME")]
    edge: Option<String>,
    /// How many of each to show, 0 to 10000 (0 only counts) [default: 100]
    #[arg(long, value_name = "N")]
    limit: Option<FlowLimit>,
}

impl Which {
    pub fn request(&self) -> Request {
        let (host, edge) = (self.host.clone(), self.edge.clone());
        Request::Cetp(CetpFilter { host, edge, limit: self.limit.unwrap_or_default() })
    }
}

#[derive(Subcommand)]
pub enum Change {
    /// End sessions; the other edges are told
    #[command(arg_required_else_help = true)]
    Terminate {
        /// Those of, or with, this host
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Those with this edge
        #[arg(long, value_name = "NAME")]
        edge: Option<String>,
        /// All that there are
        #[arg(long, conflicts_with_all = ["host", "edge"])]
        all: bool,
    },
    /// Let hosts behind other edges come again that are kept away for what they have done; their edges are told
    #[command(arg_required_else_help = true)]
    Pardon {
        /// This host
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Those behind this edge
        #[arg(long, value_name = "NAME")]
        edge: Option<String>,
        /// All that there are
        #[arg(long, conflicts_with_all = ["host", "edge"])]
        all: bool,
    },
}

impl From<Change> for CetpChange {
    fn from(change: Change) -> CetpChange {
        match change {
            Change::Terminate { host, edge, all } => CetpChange::Terminate { host, edge, all },
            Change::Pardon { host, edge, all } => CetpChange::Pardon { host, edge, all },
        }
    }
}
