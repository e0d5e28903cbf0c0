//! The operator's view of the routes: from the configuration to a table, what is shown of it, and changes while it runs.
//!
//! Guarantees: a change is judged as the configuration judges a `[[route]]`, and is in force for every worker when it is
//! answered, unless one of them stands still. Never: keeps a change over a restart.

use super::Error;
use super::assemble::Parts;
use super::kernel;
use crate::config::{self, Config, RouteTarget};
use crate::dataplane::{Board, World};
use crate::exception::Service;
use crate::manage::model::{NextHopStatus, RouteAction, RouteKind, RouteOrigin, RouteStatus};
use crate::manage::protocol::{RouteAddition, RouteDeletion, RouteTo};
use crate::manage::{Refusal, RouteChange, RouteChanged, RouteFilter, Routes};
use crate::route::{NextHop, NextHops, Origin, Route, RouteError, RouteStore, RouteTable, RouteTableBuilder};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it looks, a millisecond each, whether every worker has taken a change up.
const LOOKS: u32 = 100;

/// The configured routes, and one for each connected prefix.
pub fn table(config: &Config) -> Result<RouteTable, Error> {
    let mut table = RouteTableBuilder::default();
    for (number, i) in config.interfaces.iter().enumerate() {
        for prefix in &i.addresses {
            let connected = NextHop { interface: number as u16, gateway: None };
            table.insert(i.realm, prefix.trunc(), connected, Origin::Connected)?;
        }
    }
    for r in &config.routes {
        let route = match &r.target {
            RouteTarget::NextHops(hops) => {
                let hop = |h: &config::NextHop| NextHop { interface: h.interface, gateway: h.gateway };
                NextHops::new(&hops.iter().map(hop).collect::<Vec<_>>())?.into()
            }
            RouteTarget::Blackhole => Route::Blackhole,
            RouteTarget::Unreachable => Route::Unreachable,
            RouteTarget::Prohibit => Route::Prohibit,
        };
        table.insert(r.realm, r.prefix, route, Origin::Static)?;
    }
    Ok(table.build())
}

/// The realm of that name.
pub fn realm(config: &Config, name: &str) -> Result<u16, Refusal> {
    config.realms.iter().find(|r| r.name == name).map(|r| r.id).ok_or_else(|| {
        let names: Vec<&str> = config.realms.iter().map(|r| r.name.as_str()).collect();
        Refusal::new(format!("no realm is named \"{name}\""), format!("the realms are {}", names.join(", ")))
    })
}

/// States of neighbours by interface and address.
type States = HashMap<(u16, IpAddr), &'static str>;

/// The owner of the changes. See the module.
pub struct RouteControl {
    config: Arc<Config>,
    world: Arc<World>,
    board: Arc<Board>,
    store: Mutex<RouteStore>,
    /// The kernel's interfaces, which are to have the same routes.
    kernel: Option<Arc<Service>>,
}

impl RouteControl {
    pub fn new(config: Arc<Config>, parts: &Parts, kernel: Option<Arc<Service>>) -> Self {
        let (world, board) = (parts.world.clone(), parts.board.clone());
        let connected: usize = config.interfaces.iter().map(|i| i.addresses.len()).sum();
        let quiescence = world.flows.quiescence().clone();
        let store = RouteStore::new(world.routes.clone(), quiescence, config::Route::MAX + connected);
        Self { config, world, board, store: Mutex::new(store), kernel }
    }

    /// Adds, replaces or deletes a route.
    pub fn command(&self, change: &RouteChange) -> Result<RouteChanged, Refusal> {
        let done = match change {
            RouteChange::Add(addition) => self.add(addition),
            RouteChange::Delete(deletion) => self.delete(deletion),
        }?;
        let RouteStatus { realm, prefix, .. } = &done.route;
        tracing::info!("route to {prefix} in realm \"{realm}\" {}", done.action);
        Ok(done)
    }

    /// The routes that match.
    pub fn show(&self, filter: &RouteFilter) -> Result<Routes, Refusal> {
        let wanted = filter.realm.as_deref().map(|name| realm(&self.config, name)).transpose()?;
        let states = self.states();
        // A table of its own to read, so that a long answer keeps no worker's look alive.
        let table = self.store.lock().unwrap_or_else(PoisonError::into_inner).table().clone();
        let (mut total, mut routes) = (0u64, vec![]);
        for (realm, prefix, route, origin) in table.iter() {
            if wanted.is_none_or(|wanted| wanted == realm) {
                total += 1;
                if routes.len() < filter.limit.get() {
                    routes.push(self.status(realm, prefix, route, origin, &states));
                }
            }
        }
        Ok(Routes { total_matched: total, truncated: total > routes.len() as u64, routes })
    }

    fn states(&self) -> States {
        self.board.read().into_iter().map(|n| ((n.interface, n.address), n.state)).collect()
    }

    fn status(
        &self,
        realm: u16,
        prefix: IpNet,
        route: &Route,
        origin: Origin,
        states: &States,
    ) -> RouteStatus {
        let next_hop = |hop: &NextHop| NextHopStatus {
            interface: self.interface_name(hop.interface),
            gateway: hop.gateway,
            neighbor: hop.gateway.and_then(|g| states.get(&(hop.interface, g))).map(|&s| s.to_owned()),
        };
        RouteStatus {
            realm: self.realm_name(realm),
            prefix,
            kind: match route {
                Route::Via(_) => RouteKind::Via,
                Route::Blackhole => RouteKind::Blackhole,
                Route::Unreachable => RouteKind::Unreachable,
                Route::Prohibit => RouteKind::Prohibit,
            },
            next_hops: route.next_hops().iter().map(next_hop).collect(),
            origin: match origin {
                Origin::Connected => RouteOrigin::Connected,
                Origin::Static => RouteOrigin::Static,
                Origin::Runtime => RouteOrigin::Runtime,
            },
        }
    }

    fn interface_name(&self, number: u16) -> String {
        self.config.interfaces.get(usize::from(number)).map_or_else(String::new, |i| i.name.clone())
    }

    fn realm_name(&self, id: u16) -> String {
        self.config.realms.iter().find(|r| r.id == id).map_or_else(|| id.to_string(), |r| r.name.clone())
    }

    fn add(&self, addition: &RouteAddition) -> Result<RouteChanged, Refusal> {
        let (realm, prefix) = (realm(&self.config, &addition.realm)?, without_host_bits(addition.prefix)?);
        let route = self.route(realm, &prefix, &addition.to)?;
        let replaced =
            self.change(realm, |store| store.add(realm, prefix, route.clone(), addition.replace))?;
        let action = if replaced.is_some() { RouteAction::Replaced } else { RouteAction::Added };
        let route = self.status(realm, prefix, &route, Origin::Runtime, &self.states());
        Ok(RouteChanged { action, route })
    }

    fn delete(&self, deletion: &RouteDeletion) -> Result<RouteChanged, Refusal> {
        let (realm, prefix) = (realm(&self.config, &deletion.realm)?, without_host_bits(deletion.prefix)?);
        let (route, origin) = self.change(realm, |store| store.delete(realm, prefix))?;
        let route = self.status(realm, prefix, &route, origin, &self.states());
        Ok(RouteChanged { action: RouteAction::Deleted, route })
    }

    /// Makes a change, and waits a little for the workers to take it up.
    fn change<T>(
        &self,
        realm: u16,
        change: impl FnOnce(&mut RouteStore) -> Result<T, RouteError>,
    ) -> Result<T, Refusal> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut store).map_err(|error| self.refusal(realm, error))?;
        if let Some(kernel) = &self.kernel {
            kernel.set_routes(kernel::routes(store.table()));
        }
        for _ in 0..LOOKS {
            if store.reclaim() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(done)
    }

    fn refusal(&self, realm: u16, error: RouteError) -> Refusal {
        let realm = self.realm_name(realm);
        match error {
            RouteError::Duplicate { prefix, first, .. } => Refusal::new(
                format!("realm \"{realm}\" has a route to {prefix} already: {}", self.describe(&first)),
                "replace it (--replace), or delete it first",
            ),
            RouteError::Connected { prefix, .. } => Refusal::new(
                format!("{prefix} is the prefix of an interface in realm \"{realm}\""),
                "connected routes come and go with the interfaces in the configuration",
            ),
            RouteError::Absent { prefix, .. } => Refusal::new(
                format!("realm \"{realm}\" has no route to exactly {prefix}"),
                format!("see what there is: show routes --realm {realm}"),
            ),
            RouteError::Full(most) => {
                Refusal::new(format!("there are {most} routes, as many as may be"), "delete one first")
            }
            RouteError::Busy(changes) => Refusal::new(
                format!("the workers have not taken up the last {changes} changes yet"),
                "try again, or see why they stand still: show status",
            ),
        }
    }

    fn describe(&self, route: &Route) -> String {
        let next_hop = |hop: &NextHop| {
            let interface = self.interface_name(hop.interface);
            match hop.gateway {
                Some(gateway) => format!("via {gateway} on \"{interface}\""),
                None => format!("on \"{interface}\""),
            }
        };
        match route {
            Route::Via(hops) => hops.as_slice().iter().map(next_hop).collect::<Vec<_>>().join(" and "),
            other => other.to_string(),
        }
    }

    fn route(&self, realm: u16, prefix: &IpNet, to: &RouteTo) -> Result<Route, Refusal> {
        let next_hops = match to {
            RouteTo::Blackhole => return Ok(Route::Blackhole),
            RouteTo::Unreachable => return Ok(Route::Unreachable),
            RouteTo::Prohibit => return Ok(Route::Prohibit),
            RouteTo::OnLink { interface } => {
                vec![NextHop { interface: self.interface(realm, interface)?, gateway: None }]
            }
            RouteTo::Via { gateways, interface } => {
                let given = interface.as_deref().map(|name| self.interface(realm, name)).transpose()?;
                let hop = |&gateway: &IpAddr| {
                    let interface = self.judge_gateway(realm, prefix, gateway, given)?;
                    Ok(NextHop { interface, gateway: Some(gateway) })
                };
                gateways.iter().map(hop).collect::<Result<_, Refusal>>()?
            }
        };
        NextHops::new(&next_hops).map(Route::Via).map_err(|error| {
            Refusal::new(error.to_string(), format!("give 1 to {} different gateways", NextHops::MAX))
        })
    }

    /// The interface of that name, if it is in the realm.
    fn interface(&self, realm: u16, name: &str) -> Result<u16, Refusal> {
        let of_realm = || {
            let names = self.config.interfaces.iter().filter(|i| i.realm == realm).map(|i| i.name.as_str());
            let names: Vec<&str> = names.collect();
            format!("the interfaces of realm \"{}\" are {}", self.realm_name(realm), names.join(", "))
        };
        match self.config.interfaces.iter().position(|i| i.name == name) {
            None => Err(Refusal::new(format!("no interface is named \"{name}\""), of_realm())),
            Some(number) if self.config.interfaces[number].realm != realm => {
                Err(Refusal::new(format!("interface \"{name}\" is in another realm"), of_realm()))
            }
            Some(number) => Ok(number as u16),
        }
    }

    /// The interface of a gateway: the given one, or where it is connected.
    fn judge_gateway(
        &self,
        realm: u16,
        prefix: &IpNet,
        gateway: IpAddr,
        given: Option<u16>,
    ) -> Result<u16, Refusal> {
        let next_router = "give the next router's address";
        if gateway.is_ipv4() != prefix.addr().is_ipv4() {
            let message = format!("{gateway} is not of the address family of {prefix}");
            return Err(Refusal::new(message, "give a gateway of the prefix's family"));
        }
        let interfaces = || self.config.interfaces.iter().enumerate().filter(|(_, i)| i.realm == realm);
        let mut own = interfaces().flat_map(|(number, i)| i.addresses.iter().map(move |a| (number, a)));
        if own.clone().any(|(_, own)| own.addr() == gateway) {
            return Err(Refusal::new(format!("{gateway} is the edge's own address"), next_router));
        }
        let connected = own.find(|(_, own)| own.contains(&gateway));
        if gateway.is_unspecified()
            || gateway.is_multicast()
            || connected.is_some_and(|c| is_reserved(c.1, gateway))
        {
            return Err(Refusal::new(format!("{gateway} is no router's address"), next_router));
        }
        if let (IpAddr::V4(address), Some(nat)) = (gateway, self.world.nat.as_deref())
            && nat.options().outside.0 == realm
            && nat.contains(address)
        {
            return Err(Refusal::new(format!("{gateway} is in the NAT pool"), next_router));
        }
        let is_link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let connected = connected.filter(|_| !is_link_local).map(|(number, _)| number as u16);
        given.or(connected).ok_or_else(|| {
            let realm = self.realm_name(realm);
            Refusal::new(
                format!("no interface of realm \"{realm}\" has {gateway} in its prefix"),
                "give a connected gateway, or the interface that it is on (--interface)",
            )
        })
    }
}

fn without_host_bits(prefix: IpNet) -> Result<IpNet, Refusal> {
    if prefix == prefix.trunc() {
        Ok(prefix)
    } else {
        Err(Refusal::new(format!("{prefix} has host bits"), format!("give {}", prefix.trunc())))
    }
}

/// Whether no host can have `address` in `prefix`: its network, subnet-router anycast or broadcast address.
fn is_reserved(prefix: &IpNet, address: IpAddr) -> bool {
    prefix.max_prefix_len() - prefix.prefix_len() >= 2
        && (address == prefix.network() || address.is_ipv4() && address == prefix.broadcast())
}
