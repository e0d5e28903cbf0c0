//! What has become of questions for remote hosts, and of the addresses that stand for them.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A remote host got an address.
    Assigned,
    /// It had one, and has it for longer.
    Renewed,
    /// It got back the one that it had before.
    Returned,
    /// No address was left for it.
    Exhausted,
    /// The asker pays for as many as it may.
    Limited,
    /// No address can stand for it.
    NoRemote,
    /// An address stands for nobody any more.
    Released,
}

/// All of them, in order, by name.
pub const COUNTERS: [(Counter, &str); 7] = [
    (Counter::Assigned, "assigned"),
    (Counter::Renewed, "renewed"),
    (Counter::Returned, "returned"),
    (Counter::Exhausted, "exhausted"),
    (Counter::Limited, "limited"),
    (Counter::NoRemote, "no_remote"),
    (Counter::Released, "released"),
];

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; COUNTERS.len()]);

impl Counters {
    pub(super) fn bump(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        COUNTERS.iter().map(|&(counter, name)| (name, self.get(counter)))
    }
}
