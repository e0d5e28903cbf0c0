//! What the operator's socket shows of the circular pool: a part of [`super::model`], with its promises; and laid out for people.

use super::text::{LEFT, RIGHT, Table, count};
use serde::{Deserialize, Serialize};

/// `show prgw`: the circular pool of the Realm Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrgwStatus {
    /// Addresses in the pool.
    pub addresses: u32,
    /// Of them, those at which something waits: the load.
    pub busy: u32,
    /// Reservations, of which several may wait at an address; those whose time is over and whose place nobody has needed, too.
    pub waiting: u32,
    /// The tier of the load, 0 to 3: which rules hold now.
    pub tier: u8,
    /// Sessions that reservations have led to, and that live.
    pub sessions: u64,
    /// How questions, reservations, first packets and claims have ended, since the start.
    pub counters: Vec<PrgwCounter>,
}

/// One of [`PrgwStatus::counters`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrgwCounter {
    pub name: String,
    pub count: u64,
}

/// For people.
pub fn text(prgw: &PrgwStatus) -> String {
    let mut table = Table::new(&[LEFT, RIGHT]);
    table.row(["counter", "count"].map(str::to_owned));
    prgw.counters.iter().for_each(|counter| table.row([counter.name.clone(), count(counter.count)]));
    let (busy, addresses) = (count(prgw.busy.into()), count(prgw.addresses.into()));
    let (waiting, sessions) = (count(prgw.waiting.into()), count(prgw.sessions));
    let tier = prgw.tier;
    format!(
        "{busy} of {addresses} addresses are waited at, by {waiting} reservations: tier {tier}; {sessions} sessions live\n{table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_told() {
        let counter = |name: &str, count| PrgwCounter { name: name.into(), count };
        let status = PrgwStatus {
            addresses: 1024,
            busy: 17,
            waiting: 19,
            tier: 1,
            sessions: 1_234_567,
            counters: vec![counter("reserved", 21), counter("claimed", 9)],
        };
        let text = text(&status);
        for told in ["17 of", "19 reservations", "tier 1", "reserved", "21", "claimed", "9"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<PrgwStatus>(&json).unwrap(), status);
    }
}
