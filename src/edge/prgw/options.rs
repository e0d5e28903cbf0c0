//! What the operator decides about a pool.

use super::Proof;

/// What is asked for while so much of the pool is taken.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// The least that an asker must have shown. Whose reputation is [`Options::good`] shows what the tier below asks for, in the last
    /// two.
    pub proof: Proof,
    /// The least reputation of an asker. Without proof it is the middle (0.45) at best.
    pub asker: f32,
    /// The least reputation of a first packet's source, where no trusted resolver says who may claim.
    pub source: f32,
}

/// See the module. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses in the pool, 1 to 65,536.
    pub addresses: u32,
    /// Reservations at once, overdue ones included.
    pub reservations: usize,
    /// No reservation waits longer: 2 s.
    pub ceiling: u32,
    /// None waits less.
    pub floor: u32,
    /// The time follows the measured delays; otherwise it is the ceiling.
    pub adaptive: bool,
    /// Reservations that may wait for one host that has no limit of its own; half of them for unproven askers.
    pub per_host: u32,
    /// Reservations a second for one host that has no limit of its own, 1 to 1,000,000; for unproven askers what is left of half
    /// of them.
    pub per_host_per_second: u32,
    /// Reservations that may wait for one resolver.
    pub per_resolver: u32,
    /// By load: up to 33, 66 and 99 % of the addresses, and above. A reservation that takes no address away, because it shares
    /// one, is judged as one tier lower.
    pub tiers: [Tier; 4],
    /// From this reputation on an asker is known as good.
    pub good: f32,
    /// Resolvers, and client networks, of which a reputation is remembered.
    pub remembered: usize,
    /// Rejected first packets that are remembered.
    pub rejects: usize,
    /// Pairs of client network and pool address between which there are sessions, that are remembered.
    pub sessions: usize,
}

impl Options {
    /// The defaults for a pool of so many addresses.
    ///
    /// Somebody unknown, at the middle, has the first two tiers: a third of the pool is kept for the known.
    pub fn new(addresses: u32) -> Self {
        let tier = |proof, asker, source| Tier { proof, asker, source };
        Self {
            addresses,
            reservations: 4096 + 2 * addresses as usize,
            ceiling: 2000,
            floor: 200,
            adaptive: true,
            per_host: 16,
            per_host_per_second: 50,
            per_resolver: (addresses / 2).max(4),
            tiers: [
                tier(Proof::Nothing, 0.10, 0.10),
                tier(Proof::ReturnPath, 0.30, 0.20),
                tier(Proof::Label, 0.50, 0.30),
                tier(Proof::LabelByTcp, 0.70, 0.40),
            ],
            good: 0.70,
            remembered: 65_536,
            rejects: 65_536,
            sessions: 65_536,
        }
    }

    /// As the prototypes were: everybody may have an address for the whole time. To compare with.
    pub fn without_defences(addresses: u32) -> Self {
        let open = Tier { proof: Proof::Nothing, asker: 0.0, source: 0.0 };
        Self {
            adaptive: false,
            per_host: u32::MAX,
            per_host_per_second: 1_000_000,
            per_resolver: u32::MAX,
            tiers: [open; 4],
            ..Self::new(addresses)
        }
    }
}
