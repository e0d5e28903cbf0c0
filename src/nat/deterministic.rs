//! Deterministic blocks (RFC 7422): who has which public address and ports follows from the configuration alone, both ways,
//! so that nobody has to log it.
//!
//! The subscribers, numbered in the order of the realms and prefixes that the pool names, are laid out address by address:
//! with `ratio = ⌈subscribers / addresses⌉` to an address, subscriber `n` has the block `n mod ratio` of the address
//! `⌊n / ratio⌋`, each of `⌊ports / ratio⌋` ports.

use super::ports::Layout;
use crate::flow::Realm;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Ports of the smallest block that is worth having (RFC 7422 section 2: the operator weighs the ratio).
pub const LEAST_PORTS: u32 = 64;

/// Who the subscribers of a deterministic pool are.
#[derive(Clone, Debug)]
pub struct Formula {
    realms: Vec<Realm>,
    prefixes: Vec<Ipv4Net>,
    /// Addresses of all prefixes.
    each: u32,
    /// Subscribers that share an address.
    ratio: u32,
}

impl Formula {
    /// For that many public `addresses`, each of `ports` ports; `None` when a subscriber would have fewer than
    /// [`LEAST_PORTS`] of them, or there is none.
    pub fn new(realms: &[Realm], prefixes: &[Ipv4Net], addresses: u32, ports: u32) -> Option<Self> {
        let each: u64 = prefixes.iter().map(|p| 1u64 << (32 - p.prefix_len())).sum();
        let ratio = (each * realms.len() as u64).div_ceil(addresses.max(1).into());
        let fits = ratio > 0 && ratio <= u64::from(ports / LEAST_PORTS);
        fits.then(|| Self {
            realms: realms.to_vec(),
            prefixes: prefixes.to_vec(),
            each: each as u32,
            ratio: ratio as u32,
        })
    }

    /// Subscribers that share an address.
    pub fn ratio(&self) -> u32 {
        self.ratio
    }

    /// How the ports of an address are cut.
    pub fn layout(&self, first_port: u32, ports: u32) -> Layout {
        Layout::even(first_port, ports / self.ratio, self.ratio)
    }

    /// The block of a subscriber, numbered address by address.
    pub fn block(&self, realm: Realm, address: Ipv4Addr) -> Option<u32> {
        let of_realm = self.realms.iter().position(|r| *r == realm)? as u32 * self.each;
        let mut before = 0;
        for prefix in &self.prefixes {
            if prefix.contains(&address) {
                return Some(of_realm + before + (u32::from(address) - u32::from(prefix.network())));
            }
            before += 1 << (32 - prefix.prefix_len());
        }
        None
    }

    /// The subscriber of a block.
    pub fn subscriber(&self, block: u32) -> Option<(Realm, Ipv4Addr)> {
        let realm = *self.realms.get((block / self.each) as usize)?;
        let mut rest = block % self.each;
        for prefix in &self.prefixes {
            let size = 1 << (32 - prefix.prefix_len());
            if rest < size {
                return Some((realm, Ipv4Addr::from(u32::from(prefix.network()) + rest)));
            }
            rest -= size;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_in_the_rfc() {
        // RFC 7422 section 2.2 has 1,024 subscribers on 4 addresses; with ports from 1024 on that makes 252 each.
        let prefixes = ["198.51.100.0/22".parse::<Ipv4Net>().unwrap().trunc()];
        let f = Formula::new(&[Realm(1)], &prefixes, 4, 64512).unwrap();
        let layout = f.layout(1024, 64512);
        assert_eq!((f.ratio(), layout.large), (256, 252));
        let last = f.block(Realm(1), Ipv4Addr::new(198, 51, 103, 255)).unwrap();
        assert_eq!(last, 1023);
        assert_eq!(layout.ports_of(last % 256), (1024 + 255 * 252, 252));
        assert_eq!(f.block(Realm(2), Ipv4Addr::new(198, 51, 100, 0)), None);
        assert!(Formula::new(&[Realm(1)], &prefixes, 1, 64512).is_none(), "63 ports each");
    }

    proptest! {
        /// Every subscriber has a block of its own, which leads back to it.
        #[test]
        fn inverts(lengths in prop::collection::vec(24u8..=32, 1..5), realms in 1u16..4, addresses in 1u32..40) {
            let prefixes: Vec<Ipv4Net> = lengths
                .iter()
                .enumerate()
                .map(|(i, l)| Ipv4Net::new(Ipv4Addr::new(10, i as u8, 0, 0), *l).unwrap())
                .collect();
            let realms: Vec<Realm> = (1..=realms).map(Realm).collect();
            let Some(f) = Formula::new(&realms, &prefixes, addresses, 64512) else { return Ok(()) };
            let mut blocks = std::collections::HashSet::new();
            for realm in &realms {
                for address in prefixes.iter().flat_map(|p| u32::from(p.network())..=u32::from(p.broadcast())) {
                    let address = Ipv4Addr::from(address);
                    let block = f.block(*realm, address).unwrap();
                    prop_assert!(block < addresses * f.ratio());
                    prop_assert_eq!(f.subscriber(block), Some((*realm, address)));
                    prop_assert!(blocks.insert(block));
                }
            }
            prop_assert_eq!(f.subscriber(blocks.len() as u32), None);
        }
    }
}
