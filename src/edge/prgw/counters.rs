//! How questions and first packets end, and reservations without one: each in exactly one named counter.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// See the module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        /// All of them, in order.
        pub const COUNTERS: &[Counter] = &[$(Counter::$variant,)*];

        impl Counter {
            /// Its name in the operator's tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// A question reserved an address that nothing waited at.
    Reserved = "reserved",
    /// A question reserved a service at an address that others wait at.
    ReservedShared = "reserved_shared",
    /// TC=1 or BADCOOKIE.
    DemandedReturnPath = "demanded_return_path",
    DemandedLabel = "demanded_label",
    DemandedLabelByTcp = "demanded_label_by_tcp",
    /// No place, asked by UDP: silence.
    ExhaustedUdp = "exhausted_udp",
    /// No place, asked by TCP: tried once more later.
    ExhaustedTcp = "exhausted_tcp",
    /// No place, asked by TCP, tried once more: empty answer.
    ExhaustedTcpAgain = "exhausted_tcp_again",
    /// As many wait for the host as may; answered as an exhausted pool.
    LimitedHost = "limited_host",
    /// As many were reserved for the host this second as may; answered as an exhausted pool.
    LimitedHostRate = "limited_host_rate",
    /// As many wait for the resolver as may; answered as an exhausted pool.
    LimitedResolver = "limited_resolver",
    /// The asker's reputation is too low for this load.
    RefusedReputation = "refused_reputation",
    /// A first packet came while its reservation waited.
    Claimed = "claimed",
    /// It came when its reservation was overdue, and nobody had needed the place.
    ClaimedLate = "claimed_late",
    /// TCP that is no pure SYN.
    RejectedNotSyn = "rejected_not_syn",
    /// Rejected before, less than 20 s ago.
    RejectedRemembered = "rejected_remembered",
    /// Nothing waits for such a packet.
    RejectedNothingWaits = "rejected_nothing_waits",
    /// What waits is for another subnet.
    RejectedSubnet = "rejected_subnet",
    /// The source's reputation is too low for this load.
    RejectedReputation = "rejected_reputation",
    /// Nobody claimed it, and who asked is unproven.
    ExpiredUnproven = "expired_unproven",
    ExpiredBlamedClient = "expired_blamed_client",
    ExpiredBlamedResolver = "expired_blamed_resolver",
}

/// Written by the gateway alone.
#[derive(Clone, Debug)]
pub struct Counters([u64; COUNTERS.len()]);

impl Counters {
    pub(super) const fn new() -> Self {
        Self([0; COUNTERS.len()])
    }

    pub(super) fn bump(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        COUNTERS.iter().map(|&counter| (counter.name(), self.get(counter)))
    }
}
