//! The operator's view of the pools: what is shown of them, what they may do from now on, and who has what by formula.
//!
//! Guarantees: shows without looking through blocks or making a worker wait; a change is in force for every worker's next
//! packet when it is answered. Never: keeps a change over a restart, or brings a removed pool back.

use super::routes::realm;
use crate::config::Config;
use crate::dataplane::World;
use crate::flow::Realm;
use crate::manage::model::{
    AddressRange, Dependence, Determined, InUse, PoolState, PoolStatus, PortRange, PortSelection, Sharing,
};
use crate::manage::{Nat44Question, PoolChange, PoolChanged, Refusal};
use crate::nat::{self, Endpoint, Pool};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the module.
pub struct PoolControl {
    config: Arc<Config>,
    world: Arc<World>,
}

impl PoolControl {
    pub fn new(config: Arc<Config>, world: Arc<World>) -> Self {
        Self { config, world }
    }

    fn pools(&self) -> &[Pool] {
        self.world.nat.as_deref().map_or(&[], |nat| nat.pools())
    }

    /// Every pool.
    pub fn show(&self) -> Vec<PoolStatus> {
        self.pools().iter().map(|pool| self.status(pool)).collect()
    }

    fn status(&self, pool: &Pool) -> PoolStatus {
        let (options, usage) = (pool.options(), pool.blocks().usage());
        PoolStatus {
            name: options.name.clone(),
            state: state(pool),
            realms: options.realms.iter().map(|realm| self.realm_name(*realm)).collect(),
            subscribers: options.subscribers.clone(),
            addresses: options.ranges.iter().map(|&(first, last)| AddressRange { first, last }).collect(),
            mapping: dependence(options.mapping),
            filtering: dependence(options.filtering),
            port_selection: match options.selection {
                nat::PortSelection::Random => PortSelection::Random,
                nat::PortSelection::Preserve => PortSelection::Preserve,
                nat::PortSelection::PreserveParity => PortSelection::PreserveParity,
            },
            sharing: sharing(pool),
            ports: if pool.is_whole() { port_range(&(0..=u16::MAX)) } else { port_range(&options.ports) },
            blocks: pool.blocks().count() as u64,
            blocks_leased: usage.leased.into(),
            blocks_resting: usage.resting.into(),
            in_use: InUse {
                tcp: usage.tcp.into(),
                udp: usage.udp.into(),
                icmp: usage.icmp.into(),
                other: usage.other.into(),
            },
        }
    }

    /// Drains, undrains or removes a pool.
    pub fn change(&self, change: &PoolChange) -> Result<PoolChanged, Refusal> {
        let (name, wanted) = match change {
            PoolChange::Drain { name } => (name, nat::PoolState::Draining),
            PoolChange::Undrain { name } => (name, nat::PoolState::Active),
            PoolChange::Remove { name } => (name, nat::PoolState::Removed),
        };
        let pool = self.find(name)?;
        let changed = pool.state() != wanted;
        if changed && !pool.set_state(wanted) {
            let hint = "start cesd again to have it back, or write it out of the configuration";
            return Err(Refusal::new(format!("pool \"{name}\" is removed"), hint));
        }
        if changed {
            tracing::info!("pool \"{name}\" is {}", state(pool));
        }
        Ok(PoolChanged { changed, pool: self.status(pool) })
    }

    fn find(&self, name: &str) -> Result<&Pool, Refusal> {
        self.pools().iter().find(|pool| pool.options().name == name).ok_or_else(|| {
            let names: Vec<&str> = self.pools().iter().map(|pool| pool.options().name.as_str()).collect();
            let hint = match names.is_empty() {
                true => "the configuration has no [nat44]".into(),
                false => format!("the pools are {}", names.join(", ")),
            };
            Refusal::new(format!("no pool is named \"{name}\""), hint)
        })
    }

    /// Who has what by the formulas of the deterministic pools (RFC 7422 section 2).
    pub fn determined(&self, question: &Nat44Question) -> Result<Vec<Determined>, Refusal> {
        match question {
            Nat44Question::Inside { realm: name, address } => {
                let realm = Realm(realm(&self.config, name)?);
                let of = |pool: &Pool| {
                    let (public, ports) = pool.determined(realm, *address)?;
                    Some(self.said(pool, (realm, *address), public, &ports))
                };
                let found: Vec<Determined> = self.pools().iter().filter_map(of).collect();
                if found.is_empty() {
                    let message = format!("no deterministic pool counts {address} of realm \"{name}\"");
                    return Err(Refusal::new(message, self.hint(*address)));
                }
                Ok(found)
            }
            Nat44Question::Public { address, port } => self.owner(*address, *port).map(|owner| vec![owner]),
        }
    }

    fn owner(&self, address: Ipv4Addr, port: u16) -> Result<Determined, Refusal> {
        let pool = self.pools().iter().find(|pool| pool.contains(address)).ok_or_else(|| {
            Refusal::new(format!("{address} is in no pool"), "see what there is: show pools")
        })?;
        let options = pool.options();
        let name = &options.name;
        if pool.ratio().is_none() {
            let message = format!("pool \"{name}\" is not deterministic");
            return Err(Refusal::new(message, self.hint(address)));
        }
        let (subscriber, ports) =
            pool.determined_subscriber(Endpoint { address, port }).ok_or_else(|| {
                let PortRange { first, last } = port_range(&options.ports);
                Refusal::new(
                    format!("the formula of pool \"{name}\" gives port {port} of {address} to nobody"),
                    format!("its ports are {first}-{last}, in whole blocks; the last addresses may have subscribers to spare"),
                )
            })?;
        Ok(self.said(pool, subscriber, address, &ports))
    }

    fn said(
        &self,
        pool: &Pool,
        (realm, inside): (Realm, Ipv4Addr),
        public: Ipv4Addr,
        ports: &RangeInclusive<u16>,
    ) -> Determined {
        let (name, realm) = (pool.options().name.clone(), self.realm_name(realm));
        Determined { pool: name, state: state(pool), realm, inside, public, ports: port_range(ports) }
    }

    /// Where to look instead.
    fn hint(&self, address: Ipv4Addr) -> String {
        let deterministic = self.pools().iter().filter(|pool| pool.ratio().is_some());
        let names: Vec<&str> = deterministic.map(|pool| pool.options().name.as_str()).collect();
        let now = format!("who has what at the moment: show flows --host {address}");
        match names.is_empty() {
            true => format!("no pool is deterministic; {now}"),
            false => format!("the deterministic pools are {}; {now}", names.join(", ")),
        }
    }

    fn realm_name(&self, realm: Realm) -> String {
        let found = self.config.realms.iter().find(|r| r.id == realm.0);
        found.map_or_else(|| realm.0.to_string(), |r| r.name.clone())
    }
}

fn state(pool: &Pool) -> PoolState {
    match pool.state() {
        nat::PoolState::Active => PoolState::Active,
        nat::PoolState::Draining => PoolState::Draining,
        nat::PoolState::Removed => PoolState::Removed,
    }
}

fn dependence(dependence: nat::Dependence) -> Dependence {
    match dependence {
        nat::Dependence::Endpoint => Dependence::EndpointIndependent,
        nat::Dependence::Address => Dependence::AddressDependent,
        nat::Dependence::AddressAndPort => Dependence::AddressAndPortDependent,
    }
}

fn sharing(pool: &Pool) -> Sharing {
    match pool.options().sharing {
        nat::Sharing::Blocks { first, block, per_subscriber } => Sharing::Blocks {
            first_block_size: first,
            block_size: block,
            blocks_per_subscriber: per_subscriber,
        },
        nat::Sharing::Deterministic => Sharing::Deterministic {
            ratio: pool.ratio().unwrap_or(0),
            ports_each: pool.blocks().layout().large,
        },
        nat::Sharing::WholeAddress => Sharing::WholeAddress,
    }
}

fn port_range(ports: &RangeInclusive<u16>) -> PortRange {
    PortRange { first: *ports.start(), last: *ports.end() }
}
