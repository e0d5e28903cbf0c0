//! Equal-cost next hops, and the choice among them by the hash of a flow (RFC 2992; the scoring is rendezvous hashing).
//!
//! Guarantees: the choice depends on the flow and on the set alone, never on the order in which it was written; a next hop
//! that is removed, or is not usable, moves its own flows only; one that comes back gets back the same flows. A choice
//! neither allocates nor locks. Never: weighs next hops, or knows why one is not usable.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// The index of the interface that it leaves by.
    pub interface: u16,
    /// The router on that link; `None` where the prefix is connected, so that the destination itself is the next hop.
    pub gateway: Option<IpAddr>,
}

impl NextHop {
    /// The address whose link-layer address the packet needs: the gateway's, or else the destination's own.
    pub fn neighbor(&self, destination: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(destination)
    }

    /// A number of its own, the same in every process.
    fn identity(&self) -> u64 {
        let (family, octets) = match self.gateway {
            None => (0, [0; 16]),
            Some(IpAddr::V4(gateway)) => (4, gateway.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(gateway)) => (6, gateway.octets()),
        };
        let address = u128::from_be_bytes(octets);
        let link = mix(u64::from(self.interface) << 8 | family);
        mix(mix(link ^ address as u64) ^ (address >> 64) as u64)
    }

    /// Its score for a flow: the highest one wins.
    fn score(&self, flow_hash: u64) -> u64 {
        mix(flow_hash ^ self.identity())
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gateway {
            Some(gateway) => write!(f, "via {gateway} on interface {}", self.interface),
            None => write!(f, "connected to interface {}", self.interface),
        }
    }
}

/// A permutation of 64 bits in which every bit of the input moves about half of the output: two rounds of multiply and
/// shift by odd constants.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 32).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let value = (value ^ value >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    value ^ value >> 32
}

/// Why a set of next hops is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopsError {
    /// A route leads somewhere, and its choice is bounded.
    #[error("a route has 1 to {max} next hops, not {0}: remove some", max = NextHops::MAX)]
    Count(usize),
    /// Twice the same would get twice the flows.
    #[error("the next hop {0} is given twice: remove one of the two")]
    Duplicate(NextHop),
}

/// 1 to [`NextHops::MAX`] distinct next hops of equal cost. Cheap to clone: clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHops(Arc<[NextHop]>);

impl NextHops {
    /// The most next hops of a route.
    pub const MAX: usize = 16;

    /// In whatever order.
    ///
    /// # Errors
    /// [`NextHopsError`] when there are none, too many, or the same twice.
    pub fn new(next_hops: &[NextHop]) -> Result<Self, NextHopsError> {
        if !(1..=Self::MAX).contains(&next_hops.len()) {
            return Err(NextHopsError::Count(next_hops.len()));
        }
        let mut sorted: Arc<[NextHop]> = next_hops.into();
        Arc::make_mut(&mut sorted).sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(NextHopsError::Duplicate(pair[0])),
            None => Ok(Self(sorted)),
        }
    }

    /// All of them, sorted.
    pub fn as_slice(&self) -> &[NextHop] {
        &self.0
    }

    /// The next hop of a flow: the one with the highest score among the usable ones, or, where none is, among all. A single
    /// next hop is not asked whether it is usable.
    pub fn choose(&self, flow_hash: u64, usable: impl Fn(&NextHop) -> bool) -> &NextHop {
        // Scores may be equal, next hops are not.
        let rank = |hop: &&NextHop| (hop.score(flow_hash), **hop);
        let Some((first, rest)) = self.0.split_first() else {
            unreachable!("a set of next hops is never empty")
        };
        if rest.is_empty() {
            return first;
        }
        let best = rest.iter().chain([first]).max_by_key(rank).unwrap_or(first);
        if usable(best) {
            return best;
        }
        self.0.iter().filter(|hop| usable(hop)).max_by_key(rank).unwrap_or(best)
    }
}

impl From<NextHop> for NextHops {
    fn from(next_hop: NextHop) -> Self {
        Self([next_hop].into())
    }
}

impl fmt::Display for NextHops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, next_hop) in self.0.iter().enumerate() {
            write!(f, "{}{next_hop}", if number > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn next_hop() -> impl Strategy<Value = NextHop> {
        let gateway = prop_oneof![
            1 => Just(None),
            4 => (0..64u32).prop_map(|n| Some(Ipv4Addr::from_bits(0xcb00_7100 | n).into())),
            2 => (0..64u128).prop_map(|n| Some(Ipv6Addr::from_bits(0xfe80 << 112 | n).into())),
        ];
        (0..4u16, gateway).prop_map(|(interface, gateway)| NextHop { interface, gateway })
    }

    /// 2 to 16 of them, in a random order.
    fn several() -> impl Strategy<Value = Vec<NextHop>> {
        let set = btree_set(next_hop(), 2..=NextHops::MAX);
        set.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let hop = |n: u8| NextHop { interface: 0, gateway: Some(IpAddr::from([192, 0, 2, n])) };
        let many: Vec<NextHop> = (0..17).map(hop).collect();
        assert_eq!(NextHops::new(&[]), Err(NextHopsError::Count(0)));
        assert_eq!(NextHops::new(&many), Err(NextHopsError::Count(17)));
        assert_eq!(NextHops::new(&[hop(1), hop(2), hop(1)]), Err(NextHopsError::Duplicate(hop(1))));
        assert_eq!(NextHops::new(&many[..16]).unwrap().as_slice().len(), 16);
    }

    #[test]
    fn a_single_next_hop_is_chosen_unasked() {
        let hop = NextHop { interface: 3, gateway: None };
        assert_eq!(*NextHops::from(hop).choose(7, |_| panic!("asked")), hop);
    }

    /// Chi-square of 64,000 consecutive flow hashes over the next hops: far beyond what chance gives only if it is uneven.
    #[test]
    fn flows_spread_evenly() {
        for count in 2..=NextHops::MAX {
            let hop = |n| NextHop { interface: 0, gateway: Some(IpAddr::from([192, 0, 2, n as u8])) };
            let hops = NextHops::new(&(0..count).map(hop).collect::<Vec<_>>()).unwrap();
            let mut flows = vec![0f64; count];
            for flow in 0..64_000 {
                let chosen = hops.choose(flow, |_| true);
                flows[hops.as_slice().iter().position(|hop| hop == chosen).unwrap()] += 1.0;
            }
            let expected = 64_000.0 / count as f64;
            let chi_square: f64 = flows.iter().map(|n| (n - expected).powi(2) / expected).sum();
            // Mean count - 1, variance twice that; seven standard deviations.
            let freedom = (count - 1) as f64;
            assert!(chi_square < freedom + 7.0 * (2.0 * freedom).sqrt(), "{count}: {flows:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(hops in several(), flow: u64) {
            let mut other = hops.clone();
            other.reverse();
            let (a, b) = (NextHops::new(&hops).unwrap(), NextHops::new(&other).unwrap());
            prop_assert_eq!(&a, &b);
            prop_assert_eq!(a.choose(flow, |_| true), b.choose(flow, |_| true));
        }

        /// Whether it is taken out of the set or is only not usable, its own flows move and no other; and they move to
        /// the same places.
        #[test]
        fn a_lost_next_hop_moves_its_own_flows_only(hops in several(), gone: prop::sample::Index, flows: [u64; 32]) {
            let gone = *gone.get(&hops);
            let all = NextHops::new(&hops).unwrap();
            let left: Vec<NextHop> = hops.iter().copied().filter(|hop| *hop != gone).collect();
            let left = NextHops::new(&left).unwrap();
            for flow in flows {
                let before = *all.choose(flow, |_| true);
                let without = *left.choose(flow, |_| true);
                let unusable = *all.choose(flow, |hop| *hop != gone);
                prop_assert_eq!(without, unusable);
                prop_assert_ne!(without, gone);
                prop_assert!(before == gone || without == before);
            }
        }

        #[test]
        fn where_none_is_usable_the_best_is_asked_for(hops in several(), flow: u64, usable: u16) {
            let hops = NextHops::new(&hops).unwrap();
            let is_usable = |hop: &NextHop| {
                let at = hops.as_slice().iter().position(|h| h == hop).unwrap();
                usable >> at & 1 == 1
            };
            let chosen = hops.choose(flow, is_usable);
            if hops.as_slice().iter().any(is_usable) {
                prop_assert!(is_usable(chosen));
            } else {
                prop_assert_eq!(chosen, hops.choose(flow, |_| true));
            }
        }
    }
}
