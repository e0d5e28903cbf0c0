//! From the configuration to the kernel's interfaces (the exception path), and the routes that they are to have.
//!
//! Guarantees: whatever the routes become while it runs, the kernel's are told.

use super::assemble::KernelRings;
use crate::config::{self, Config};
use crate::dataplane::World;
use crate::exception::{self, KernelNeighbor, KernelRoute, MirrorInterface, Options, RouteTarget, Service};
use crate::packet::MacAddr;
use crate::route::{Origin, Route, RouteTable};

/// Starts the thread that serves the kernel's interfaces, where the configuration asks for it.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn start(
    config: &Config,
    world: &World,
    rings: Option<KernelRings>,
    control_core: usize,
) -> Result<Option<Service>, exception::Error> {
    let (Some(exception), Some(rings)) = (&config.exception, rings) else { return Ok(None) };
    let neighbor = |n: &config::Neighbor| KernelNeighbor {
        interface: n.interface,
        address: n.address,
        mac: MacAddr(n.mac),
    };
    let is_mirrored = |interface: &u16| exception.interfaces.contains(interface);
    let options = Options {
        netns: exception.netns.clone(),
        interfaces: exception.interfaces.iter().map(|&index| mirrored(config, world, index)).collect(),
        routes: routes(&world.routes()),
        neighbors: config.neighbors.iter().filter(|n| is_mirrored(&n.interface)).map(neighbor).collect(),
        control_core,
    };
    exception::start(options, rings.up, rings.down).map(Some)
}

fn mirrored(config: &Config, world: &World, index: u16) -> MirrorInterface {
    let interface = &world.interfaces[usize::from(index)];
    let realm = config.realms.iter().find(|r| r.id == interface.realm.0);
    MirrorInterface {
        index,
        name: interface.name.clone(),
        mac: interface.mac,
        mtu: interface.mtu,
        addresses: interface.addresses.clone(),
        realm: interface.realm.0,
        outside: realm.is_some_and(|r| r.side == config::Side::Outside),
    }
}

/// What the kernel is to know of the routes: connected ones it has by its addresses.
pub fn routes(table: &RouteTable) -> Vec<KernelRoute> {
    let target = |route: &Route| match route {
        Route::Via(hops) => {
            RouteTarget::NextHops(hops.as_slice().iter().map(|hop| (hop.interface, hop.gateway)).collect())
        }
        Route::Blackhole => RouteTarget::Blackhole,
        Route::Unreachable => RouteTarget::Unreachable,
        Route::Prohibit => RouteTarget::Prohibit,
    };
    table
        .iter()
        .filter(|(_, _, _, origin)| *origin != Origin::Connected)
        .map(|(realm, prefix, route, _)| KernelRoute { realm, prefix, target: target(route) })
        .collect()
}
