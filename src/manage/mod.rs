//! The operator's socket: what a running `cesd` shows of itself, what it lets be changed, and how `cesctl` asks for it.
//!
//! One Unix stream socket an instance, `{runtime_dir}/{instance}.sock`, mode 0600. One JSON object a line in each
//! direction ([`protocol`]); the answers are the types of [`model`]. [`serve`] answers questions from a [`Source`] and
//! passes commands to [`Commands`], both of which the appliance implements; [`client`] asks; [`text`] lays an answer out
//! for people.
//!
//! Guarantees: at most [`CLIENTS_MAX`] clients and [`protocol::REQUEST_MAX`] bytes a request; a client that is slow,
//! silent or sends rubbish never delays another, nor a worker; commands are carried out one after another, each whole or
//! not at all, and a question changes nothing. Never: judges a command, reads a packet, or knows what stands behind the
//! [`Source`] and the [`Commands`].

pub mod cetp_model;
mod connection;
mod dns_text;
mod host_text;
pub mod policy_model;
mod pool_model;
pub mod prgw_model;
pub mod proxy_model;
pub mod runtime_model;
mod server;

pub mod client;
pub mod dns_model;
pub mod host_model;
pub mod model;
pub mod protocol;
pub mod text;

use std::io;
use std::path::{Path, PathBuf};

pub use cetp_model::{CetpChange, CetpChanged, CetpFilter, CetpStatus};
pub use dns_model::DnsStatus;
pub use host_model::{HostChange, HostChanged, HostFilter, HostList, ImportShown};
pub use model::{
    Counters, Determined, Flows, NeighborStatus, PoolChanged, PoolStatus, PortStatus, RouteChanged, Routes,
    Status,
};
pub use policy_model::{ExplainQuestion, Explanation, PolicyChange, PolicyChanged, PolicyFilter, PolicyList};
pub use prgw_model::PrgwStatus;
pub use protocol::{FlowFilter, Nat44Question, PoolChange, ProxyFilter, Refusal, RouteChange, RouteFilter};
pub use proxy_model::ProxyList;
pub use runtime_model::Runtime;
pub use server::{CLIENTS_MAX, Error, Server, serve};

/// Where instances put their sockets unless told otherwise.
pub const RUNTIME_DIR: &str = "/run/ces";

/// What the socket shows. Called on the management thread, one request at a time: an answer is a snapshot, should
/// take milliseconds rather than seconds, and must not make a worker wait.
pub trait Source: Send + Sync {
    /// The process as a whole.
    fn status(&self) -> Status;
    /// Every configured port, in the config's order.
    fn ports(&self) -> Vec<PortStatus>;
    /// What the workers counted since the start.
    fn counters(&self) -> Counters;
    /// Where the workers' cycles went since the start.
    fn runtime(&self) -> Runtime;
    /// The sessions that match `filter`, at most `filter.limit` of them; a [`Refusal`] if the filter names a realm
    /// that does not exist.
    fn flows(&self, filter: &FlowFilter) -> Result<Flows, Refusal>;
    /// Every neighbour that is known or being resolved.
    fn neighbors(&self) -> Vec<NeighborStatus>;
    /// The routes that match `filter`, at most `filter.limit` of them; a [`Refusal`] if the filter names a realm that
    /// does not exist.
    fn routes(&self, filter: &RouteFilter) -> Result<Routes, Refusal>;
    /// Every pool of public addresses, in the config's order; none without translation.
    fn pools(&self) -> Vec<PoolStatus>;
    /// Who has what in the deterministic pools, in the order in which they are asked for a host: one or more; a
    /// [`Refusal`] where no formula says.
    fn determined(&self, question: &Nat44Question) -> Result<Vec<Determined>, Refusal>;
    /// The hosts that match `filter`, at most `filter.limit` of them; a [`Refusal`] if there is no register, or no such
    /// realm.
    fn hosts(&self, filter: &HostFilter) -> Result<HostList, Refusal>;
    /// What the DNS was asked and answered; a [`Refusal`] if none is served.
    fn dns(&self) -> Result<DnsStatus, Refusal>;
    /// How an import of hosts goes, or has gone; a [`Refusal`] if there is no register.
    fn import(&self) -> Result<ImportShown, Refusal>;
    /// How the circular pool does; a [`Refusal`] if there is none.
    fn prgw(&self) -> Result<PrgwStatus, Refusal>;
    /// The proxy addresses that match `filter`, at most `filter.limit` of them; a [`Refusal`] if no host sees any, or there is no
    /// such realm.
    fn proxies(&self, filter: &ProxyFilter) -> Result<ProxyList, Refusal>;
    /// Sessions with hosts behind edges, at most `filter.limit` of them, and what else there is of edges; a [`Refusal`] if there are
    /// no tunnels.
    fn cetp(&self, filter: &CetpFilter) -> Result<CetpStatus, Refusal>;
    /// The rules of users, of at most `filter.limit` hosts; a [`Refusal`] if there is no register, or no such host.
    fn policy(&self, filter: &PolicyFilter) -> Result<PolicyList, Refusal>;
    /// What would be decided about whom; a [`Refusal`] if there is no register, no such host, or no such service.
    fn explain(&self, question: &ExplainQuestion) -> Result<Explanation, Refusal>;
}

/// What the socket lets be changed. Called on the management thread, one command at a time; the answer is sent when the
/// change is in force, and must not take seconds, nor make a worker wait.
pub trait Commands: Send + Sync {
    /// Adds, replaces or deletes a route; a [`Refusal`], and nothing is changed, when it can't be.
    fn change_route(&self, change: &RouteChange) -> Result<RouteChanged, Refusal>;
    /// Drains, undrains or removes a pool; a [`Refusal`], and nothing is changed, when it can't be.
    fn change_pool(&self, change: &PoolChange) -> Result<PoolChanged, Refusal>;
    /// Adds or removes a host, or begins to import many; a [`Refusal`], and nothing is changed, when it can't be.
    fn change_host(&self, change: &HostChange) -> Result<HostChanged, Refusal>;
    /// Ends sessions with hosts behind edges; a [`Refusal`], and nothing is changed, when it can't.
    fn change_cetp(&self, change: &CetpChange) -> Result<CetpChanged, Refusal>;
    /// Adds or removes a rule of a host's user; a [`Refusal`], and nothing is changed, when it can't be.
    fn change_policy(&self, change: &PolicyChange) -> Result<PolicyChanged, Refusal>;
}

/// The socket of an instance.
pub fn socket_path(runtime_dir: &Path, instance: &str) -> PathBuf {
    runtime_dir.join(format!("{instance}.sock"))
}

/// The names of the instances with a socket in `runtime_dir`, sorted; none if the directory does not exist. A name
/// says that the instance was started, not that it still runs.
pub fn instances(runtime_dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(runtime_dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".sock")).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}
