//! Who a packet may say that it is from: source checks by the routes (BCP 38, BCP 84 as RFC 3704 names its kinds) and ranges
//! that a realm never has. Asked where a session is made and where the edge itself is spoken to: what has a session was asked
//! when that was made.

use super::core::Core;
use super::slow::Arrival;
use super::world::World;
use crate::flow::Realm;
use crate::packet::DropReason;
use crate::route::{Route, RouteTable};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a source is checked against the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Check {
    /// There is a route back, by the interface that the packet came in by (strict reverse path, RFC 3704 section 2.2; of
    /// several next hops any will do, section 2.3).
    Strict,
    /// There is a route back that leads somewhere, not counting the default route (section 2.5).
    Loose,
    #[default]
    Off,
}

/// The rules of one realm.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    check: Check,
    bogons4: Box<[Ipv4Net]>,
    bogons6: Box<[Ipv6Net]>,
}

impl Rules {
    pub fn new(check: Check, bogons: &[IpNet]) -> Self {
        let (mut bogons4, mut bogons6) = (vec![], vec![]);
        for net in bogons {
            match net {
                IpNet::V4(net) => bogons4.push(*net),
                IpNet::V6(net) => bogons6.push(*net),
            }
        }
        Self { check, bogons4: bogons4.into(), bogons6: bogons6.into() }
    }

    fn is_bogon(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => self.bogons4.iter().any(|net| net.contains(&source)),
            IpAddr::V6(source) => self.bogons6.iter().any(|net| net.contains(&source)),
        }
    }
}

/// Judges the source of a packet that has just come in.
///
/// # Errors
/// [`DropReason::SourceBogon`], [`DropReason::SourceSpoofed`].
pub fn check(core: &mut Core, world: &World, arrival: Arrival, source: IpAddr) -> Result<(), DropReason> {
    // The second leg of a hairpin has passed as a first, and is translated since.
    if arrival.hairpin {
        return Ok(());
    }
    let Some(rules) = world.sources.get(usize::from(arrival.realm.0)) else { return Ok(()) };
    if rules.is_bogon(source) {
        return Err(DropReason::SourceBogon);
    }
    let ours = match source {
        IpAddr::V4(source) => is_translated(world, arrival.realm, source),
        IpAddr::V6(_) => false,
    };
    let routed = match rules.check {
        Check::Off => true,
        // A link-local source is on its link, and needs no route.
        _ if is_link_local(source) => true,
        Check::Strict => leads_back(core.routes.now(), arrival.realm, source, Some(arrival.interface)),
        Check::Loose => leads_back(core.routes.now(), arrival.realm, source, None),
    };
    if ours || !routed { Err(DropReason::SourceSpoofed) } else { Ok(()) }
}

/// A public address of the NAT comes in by a hairpin only.
fn is_translated(world: &World, realm: Realm, source: Ipv4Addr) -> bool {
    world.nat.as_deref().is_some_and(|nat| nat.is_outside(realm) && nat.contains(source))
}

fn is_link_local(source: IpAddr) -> bool {
    matches!(source, IpAddr::V6(source) if source.is_unicast_link_local())
}

fn leads_back(routes: &RouteTable, realm: Realm, source: IpAddr, by: Option<u16>) -> bool {
    let Some(route @ Route::Via(hops)) = routes.lookup(realm.0, source) else { return false };
    match by {
        Some(interface) => hops.as_slice().iter().any(|hop| hop.interface == interface),
        None => {
            let everything = match source {
                IpAddr::V4(_) => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
                IpAddr::V6(_) => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
            };
            routes.get(realm.0, everything).is_none_or(|(default, _)| !std::ptr::eq(default, route))
        }
    }
}
