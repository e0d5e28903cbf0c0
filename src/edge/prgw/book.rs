//! What is remembered of those outside, and who is to be credited or blamed for what became of a reservation.
//!
//! Guarantees: only a claim, or the end of what a proven asker reserved, is an event; so spoofed questions change nothing here.

use super::counters::{Counter, Counters};
use super::counts::Counts;
use super::delay::Delays;
use super::rate::Rates;
use super::reputation::{MIDDLE, Reputation};
use super::table::{Secret, Table};
use ipnet::IpNet;
use std::net::IpAddr;

/// An address, or the network that stands for it: of IPv6 the upper half. IPv4 lies in 0:ffff::/32, which is reserved (RFC 4291
/// section 4) and so nobody else's.
pub type Party = u64;

fn party(address: IpAddr, v4_bits: u32, v6_bits: u32) -> Party {
    match address {
        IpAddr::V4(a) => {
            let network = a.to_bits() & (u32::MAX << (32 - v4_bits));
            0xffff_0000_0000 | Party::from(network)
        }
        IpAddr::V6(a) => (a.to_bits() >> 64) as Party & (Party::MAX << (64 - v6_bits)),
    }
}

/// Whoever has an IPv6 address has its /64. Inside each realm has addresses of its own, so its number is mixed in: no two IPv4
/// addresses become the same by it, and of IPv6 no two networks that are near to each other.
pub fn resolver(address: IpAddr, realm: Option<u16>) -> Party {
    party(address, 32, 64) ^ Party::from(realm.unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// As coarse as RFC 7871 section 11.1 lets a resolver name it.
pub fn client(address: IpAddr) -> Party {
    party(address, 24, 56)
}

/// The client network that a subnet names; `None` where it names more than one.
fn named(subnet: &IpNet) -> Option<Party> {
    let bits = if subnet.addr().is_ipv4() { 24 } else { 56 };
    (subnet.prefix_len() >= bits).then(|| client(subnet.addr()))
}

/// What the gateway keeps with a reservation.
#[derive(Clone, Copy)]
pub struct Waiting {
    pub host: u32,
    pub resolver: Party,
    pub proven: bool,
    /// Who may claim.
    pub subnet: Option<IpNet>,
    /// That it is this subnet's is a trusted resolver's word.
    pub subnet_is_known: bool,
}

impl Waiting {
    /// The network whose it is, where that is known.
    fn client(&self) -> Option<Party> {
        self.subnet.as_ref().filter(|_| self.subnet_is_known).and_then(named)
    }
}

/// What is known of a resolver.
#[derive(Clone, Copy)]
pub struct Known {
    pub reputation: Reputation,
    pub delays: Delays,
}

/// What is remembered of those outside, and what waits for whom.
pub struct Book {
    pub resolvers: Table<Party, Known>,
    pub clients: Table<Party, Reputation>,
    /// Of all resolvers that are no worse than the middle.
    pub delays: Delays,
    /// Reservations that wait for a host, and by resolver and whether it has shown something.
    pub(super) by_host: Counts<u32>,
    pub(super) by_resolver: Counts<(Party, bool)>,
    /// Of hosts.
    pub rates: Rates,
    pub counters: Counters,
}

impl Book {
    /// Remembers so many resolvers, and as many client networks; counts up to so many reservations.
    pub fn new(remembered: usize, reservations: usize, secret: Secret) -> Self {
        Self {
            resolvers: Table::new(remembered, secret),
            clients: Table::new(remembered, secret),
            delays: Delays::default(),
            by_host: Counts::new(reservations, secret),
            by_resolver: Counts::new(reservations, secret),
            rates: Rates::new(2 * reservations, secret),
            counters: Counters::new(),
        }
    }

    /// What a client's network is worth.
    pub fn client_reputation(&self, client: Party, now: u64) -> f32 {
        self.clients.get(&client).map_or(MIDDLE, |reputation| reputation.value(now))
    }

    /// Reservations that wait for that host, and for that resolver.
    pub fn waiting(&self, waiting: &Waiting) -> (u32, u32) {
        (self.by_host.get(&waiting.host), self.by_resolver.get(&(waiting.resolver, waiting.proven)))
    }

    /// That one will be counted soon, or no longer.
    pub fn prefetch(&self, waiting: &Waiting) {
        self.by_host.prefetch(&waiting.host);
        self.by_resolver.prefetch(&(waiting.resolver, waiting.proven));
    }

    pub fn counts(&mut self, waiting: &Waiting) {
        self.by_host.add(waiting.host);
        self.by_resolver.add((waiting.resolver, waiting.proven));
    }

    pub fn counts_no_longer(&mut self, waiting: &Waiting) {
        self.by_host.subtract(&waiting.host);
        self.by_resolver.subtract(&(waiting.resolver, waiting.proven));
    }

    /// Nobody claimed it.
    pub fn blame(&mut self, waiting: &Waiting, now: u64) {
        let counter = match (waiting.proven, waiting.client()) {
            (false, _) => Counter::ExpiredUnproven,
            (true, Some(client)) => {
                self.record_client(client, false, now);
                Counter::ExpiredBlamedClient
            }
            (true, None) => {
                self.record_resolver(waiting.resolver, None, now);
                Counter::ExpiredBlamedResolver
            }
        };
        self.counters.bump(counter);
    }

    /// Somebody claimed it after so many milliseconds.
    pub fn credit(&mut self, waiting: &Waiting, waited: u64, now: u64) {
        self.record_resolver(waiting.resolver, Some(waited), now);
        if let Some(client) = waiting.client() {
            self.record_client(client, true, now);
        }
    }

    fn record_resolver(&mut self, resolver: Party, waited: Option<u64>, now: u64) {
        let event = |known: &mut Known| {
            known.reputation.record(waited.is_some(), now);
            waited.iter().for_each(|&waited| known.delays.add(waited));
            known.reputation.value(now)
        };
        let reputation = match self.resolvers.get_mut(&resolver) {
            Some(known) => event(known),
            None => {
                let mut known = Known { reputation: Reputation::new(now), delays: Delays::default() };
                let reputation = event(&mut known);
                self.resolvers.put(resolver, known, |known| known.reputation.worth(now));
                reputation
            }
        };
        if let Some(waited) = waited.filter(|_| reputation >= MIDDLE) {
            self.delays.add(waited);
        }
    }

    pub fn record_client(&mut self, client: Party, well: bool, now: u64) {
        if let Some(reputation) = self.clients.get_mut(&client) {
            return reputation.record(well, now);
        }
        let mut reputation = Reputation::new(now);
        reputation.record(well, now);
        self.clients.put(client, reputation, |reputation| reputation.worth(now));
    }
}
