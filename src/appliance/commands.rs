//! What the operator's socket lets be changed: each command goes to the owner of what it changes.

use super::dns::DnsControl;
use super::hosts::HostControl;
use super::pools::PoolControl;
use super::routes::RouteControl;
use crate::edge::calls::thread::Cetp;
use crate::edge::proxies::Proxies;
use crate::manage::{
    CetpChange, CetpChanged, Commands, HostChange, HostChanged, PolicyChange, PolicyChanged, PoolChange,
    PoolChanged, Refusal, RouteChange, RouteChanged,
};
use std::sync::Arc;

/// See the module.
pub struct Owners {
    /// Where the edge serves DNS.
    pub dns: Option<DnsControl>,
    /// Where there are tunnels to other edges.
    pub cetp: Option<Cetp>,
    pub routes: Arc<RouteControl>,
    pub pools: Arc<PoolControl>,
    pub hosts: Arc<HostControl>,
    /// Where hosts see proxy addresses.
    pub proxies: Option<Arc<Proxies>>,
}

impl Commands for Owners {
    fn change_route(&self, change: &RouteChange) -> Result<RouteChanged, Refusal> {
        self.routes.command(change)
    }

    fn change_pool(&self, change: &PoolChange) -> Result<PoolChanged, Refusal> {
        self.pools.change(change)
    }

    fn change_host(&self, change: &HostChange) -> Result<HostChanged, Refusal> {
        self.hosts.change(change)
    }

    fn change_cetp(&self, change: &CetpChange) -> Result<CetpChanged, Refusal> {
        super::cetp::change(self.cetp.as_ref(), change)
    }

    fn change_policy(&self, change: &PolicyChange) -> Result<PolicyChanged, Refusal> {
        self.hosts.change_policy(change)
    }
}
