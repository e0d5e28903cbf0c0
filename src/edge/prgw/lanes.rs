//! The services that wait somewhere now, each with a lane: the bit that stands for it in the sets of all addresses.
//!
//! There are 63, so that one address carries up to 63 set-ups at once. A service that finds them taken, and a plain FQDN, reserve
//! all of an address, which is always right and only costs room. A service keeps its lane while it waits anywhere.

use super::service::Service;

const LANES: usize = 63;
/// Something waits at this address.
pub const BUSY: u64 = 1 << LANES;
/// All of an address is reserved.
pub const WHOLE: u64 = u64::MAX;

/// How a service is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its lane; [`Plan::WHOLE`] is all of an address.
    pub lane: u8,
    /// What the address must have none of.
    pub conflicts: u64,
}

impl Plan {
    /// The lane of what reserves all of an address.
    pub const WHOLE: u8 = LANES as u8;

    /// What the address has then.
    pub const fn occupied(self, before: u64) -> u64 {
        if self.lane == Self::WHOLE { WHOLE } else { before | BUSY | 1 << self.lane }
    }
}

/// What an address has left when that lane of it is given back.
pub const fn without(lanes: u64, lane: u8) -> u64 {
    if lane == Plan::WHOLE {
        return 0;
    }
    let left = lanes & !(1 << lane);
    if left == BUSY { 0 } else { left }
}

/// See the module.
pub struct Lanes {
    services: [Service; LANES],
    /// At how many addresses each waits.
    waiting: [u32; LANES],
}

impl Default for Lanes {
    fn default() -> Self {
        Self { services: [Service::ALL; LANES], waiting: [0; LANES] }
    }
}

impl Lanes {
    /// How to reserve that service now. Changes nothing.
    pub fn plan(&self, service: Service) -> Plan {
        let whole = Plan { lane: Plan::WHOLE, conflicts: BUSY };
        if service == Service::ALL {
            return whole;
        }
        let (mut own, mut free, mut conflicts) = (None, None, 0);
        for lane in 0..LANES {
            if self.waiting[lane] == 0 {
                free = free.or(Some(lane));
            } else if self.services[lane].overlaps(service) {
                conflicts |= 1 << lane;
                own = own.or((self.services[lane] == service).then_some(lane));
            }
        }
        // An address that is reserved as a whole has every lane, so that one of them shows it.
        own.or(free).map_or(whole, |lane| Plan { lane: lane as u8, conflicts: conflicts | 1 << lane })
    }

    /// One more waits in the lane that was planned for it.
    pub fn enter(&mut self, plan: Plan, service: Service) {
        if plan.lane != Plan::WHOLE {
            self.services[usize::from(plan.lane)] = service;
            self.waiting[usize::from(plan.lane)] += 1;
        }
    }

    /// One less.
    pub fn leave(&mut self, lane: u8) {
        if lane != Plan::WHOLE {
            self.waiting[usize::from(lane)] -= 1;
        }
    }

    /// Whether nothing waits in any.
    pub fn is_empty(&self) -> bool {
        self.waiting == [0; LANES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_64th_service_takes_an_address_of_its_own() {
        let mut lanes = Lanes::default();
        for port in 1..=63 {
            let service = Service::new(port, 6);
            let plan = lanes.plan(service);
            assert_eq!(plan.conflicts, 1 << plan.lane);
            lanes.enter(plan, service);
            assert_eq!(lanes.plan(service), plan, "it keeps its lane");
        }
        assert_eq!(lanes.plan(Service::new(64, 6)), Plan { lane: Plan::WHOLE, conflicts: BUSY });
        assert_eq!(lanes.plan(Service::new(0, 6)).lane, Plan::WHOLE);
        lanes.leave(7);
        assert_eq!(lanes.plan(Service::new(64, 6)).lane, 7);
        assert_eq!(lanes.plan(Service::new(0, 6)).conflicts, BUSY - 1, "any port conflicts with all of them");
    }
}
