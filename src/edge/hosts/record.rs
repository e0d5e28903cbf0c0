//! A host in as few bytes as it needs: what the register holds in memory, and, but for the realm, what its store holds.
//!
//! Layout, numbers in big-endian order: realm (2) · flags (1) · pending reservations (2, by flag) · reservations a second (4, by
//! flag) · name · group (by flag) · DHCID (by flag) · number of addresses (1), each its length (4 or 16) and its bytes · number of services (1), each
//! its name, flags (1), protocol (1), port (2). Text and a DHCID are their length (1) and their bytes.
//!
//! Guarantees: [`Record::host`] of [`Record::new`] is the same host; no bytes make a reader panic, and what is no host of sound
//! names and numbers is [`None`]. Never: allocates to look something up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Dhcid, DomainName, Host, Service, ServiceTarget};

const HAS_PENDING: u8 = 1;
const HAS_RATE: u8 = 2;
const HAS_GROUP: u8 = 4;
const HAS_DHCID: u8 = 8;
const HAS_PROTOCOL: u8 = 1;
const HAS_PORT: u8 = 2;

/// Bytes before everything else: the realm, which is not written into the store.
pub(super) const REALM: usize = 2;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Box<[u8]>);

/// What a record says, without copies.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub realm: u16,
    pub name: &'a str,
    pub group: Option<&'a str>,
    pub pending_reservations: Option<u16>,
    pub reservations_per_second: Option<u32>,
    pub dhcid: Option<&'a [u8]>,
    /// From the number of addresses on.
    lists: &'a [u8],
}

impl Record {
    pub fn new(host: &Host) -> Record {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(host.realm.to_be_bytes());
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        bytes.push(
            flag(host.pending_reservations.is_some(), HAS_PENDING)
                | flag(host.reservations_per_second.is_some(), HAS_RATE)
                | flag(host.group.is_some(), HAS_GROUP)
                | flag(host.dhcid.is_some(), HAS_DHCID),
        );
        bytes.extend(host.pending_reservations.into_iter().flat_map(u16::to_be_bytes));
        bytes.extend(host.reservations_per_second.into_iter().flat_map(u32::to_be_bytes));
        put(&mut bytes, host.name.as_str().as_bytes());
        host.group.iter().for_each(|group| put(&mut bytes, group.as_bytes()));
        host.dhcid.iter().for_each(|dhcid| put(&mut bytes, dhcid.as_bytes()));
        bytes.push(host.addresses.len() as u8);
        for address in &host.addresses {
            match address {
                IpAddr::V4(v4) => put(&mut bytes, &v4.octets()),
                IpAddr::V6(v6) => put(&mut bytes, &v6.octets()),
            }
        }
        bytes.push(host.services.len() as u8);
        for Service { name, target } in &host.services {
            put(&mut bytes, name.as_str().as_bytes());
            bytes.push(flag(target.protocol.is_some(), HAS_PROTOCOL) | flag(target.port.is_some(), HAS_PORT));
            bytes.push(target.protocol.unwrap_or(0));
            bytes.extend(target.port.unwrap_or(0).to_be_bytes());
        }
        Record(bytes.into_boxed_slice())
    }

    /// What the store keeps of it.
    pub fn stored(&self) -> &[u8] {
        &self.0[REALM..]
    }

    /// The host that was stored, now in `realm`.
    pub fn read_stored(realm: u16, stored: &[u8]) -> Option<Host> {
        Record([&realm.to_be_bytes(), stored].concat().into_boxed_slice()).host()
    }

    /// The host, whole and judged again.
    pub fn host(&self) -> Option<Host> {
        let parts = self.read()?;
        let name = DomainName::new(parts.name)?;
        let (addresses, services): (Vec<_>, Vec<_>) =
            (parts.addresses().collect(), parts.services().collect());
        let named: Option<Vec<Service>> = services
            .iter()
            .map(|&(name, target)| Some(Service { name: DomainName::new(name)?, target }))
            .collect();
        let host = Host {
            name,
            realm: parts.realm,
            addresses,
            group: parts.group.map(str::to_owned),
            services: named?,
            pending_reservations: parts.pending_reservations,
            reservations_per_second: parts.reservations_per_second,
            dhcid: parts.dhcid.and_then(Dhcid::new),
        };
        let fits = host.addresses.len() <= Host::ADDRESSES_MAX && host.services.len() <= Host::SERVICES_MAX;
        // Whatever was cut short, left over or written otherwise than by `new` is nobody's.
        (fits && Record::new(&host) == *self).then_some(host)
    }

    /// What it says; empty where it is no host, which no record of the register is.
    pub fn parts(&self) -> Parts<'_> {
        let none = Parts {
            realm: 0,
            name: "",
            group: None,
            pending_reservations: None,
            reservations_per_second: None,
            dhcid: None,
            lists: &[],
        };
        self.read().unwrap_or(none)
    }

    /// What it says; its lists are read by whoever wants them.
    fn read(&self) -> Option<Parts<'_>> {
        let mut rest = &*self.0;
        let realm = u16::from_be_bytes(take_array(&mut rest)?);
        let [flags] = take_array(&mut rest)?;
        let pending = match flags & HAS_PENDING {
            0 => None,
            _ => Some(u16::from_be_bytes(take_array(&mut rest)?)),
        };
        let rate = match flags & HAS_RATE {
            0 => None,
            _ => Some(u32::from_be_bytes(take_array(&mut rest)?)),
        };
        let name = take_text(&mut rest)?;
        let group = if flags & HAS_GROUP == 0 { None } else { Some(take_text(&mut rest)?) };
        let dhcid = if flags & HAS_DHCID == 0 { None } else { Some(take_bytes(&mut rest)?) };
        Some(Parts {
            realm,
            name,
            group,
            pending_reservations: pending,
            reservations_per_second: rate,
            dhcid,
            lists: rest,
        })
    }
}

impl<'a> Parts<'a> {
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let mut rest = self.lists;
        let count = take_count(&mut rest);
        std::iter::from_fn(move || take_address(&mut rest)).take(count)
    }

    pub fn services(&self) -> impl Iterator<Item = (&'a str, ServiceTarget)> + 'a {
        let mut rest = self.lists;
        for _ in 0..take_count(&mut rest) {
            let length = take_count(&mut rest);
            rest = rest.get(length..).unwrap_or_default();
        }
        let count = take_count(&mut rest);
        std::iter::from_fn(move || take_service(&mut rest)).take(count)
    }
}

/// A length and so many bytes.
fn put(bytes: &mut Vec<u8>, more: &[u8]) {
    bytes.push(more.len() as u8);
    bytes.extend(more);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

/// A number of items or of bytes; 0 where nothing is left.
fn take_count(rest: &mut &[u8]) -> usize {
    take_array(rest).map_or(0, |[count]| count.into())
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = take_array(rest)?;
    take(rest, length.into())
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_address(rest: &mut &[u8]) -> Option<IpAddr> {
    let [length] = take_array(rest)?;
    match length {
        4 => Some(IpAddr::V4(Ipv4Addr::from(take_array::<4>(rest)?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(take_array::<16>(rest)?))),
        _ => None,
    }
}

fn take_service<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, ServiceTarget)> {
    let name = take_text(rest)?;
    let [flags, protocol, high, low] = take_array(rest)?;
    let target = ServiceTarget {
        protocol: (flags & HAS_PROTOCOL != 0).then_some(protocol),
        port: (flags & HAS_PORT != 0).then_some(u16::from_be_bytes([high, low])),
    };
    Some((name, target))
}
