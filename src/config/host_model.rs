//! Hosts and their register, as the configuration has them, and the judgement that a host meets wherever it comes from: the
//! configuration, the operator, a file.
//!
//! Guarantees: a [`Host`] that [`Realms::judge`] gave has sound names and numbers, and addresses that a host of its realm can
//! have. Never: compares one host with another; that is the register's part.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::domain_name::{DomainName, domain_name};
use super::error::{Wrong, one_of};
use super::nat_model::PoolRange;
use super::values;

/// `[hosts]` and `[[host]]`: the register of the hosts that have names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Most hosts, 1 to 16,777,216. Default 65,536.
    pub capacity: u32,
    /// Absolute path of the file where hosts are kept that come while it runs. Default `None`: they go when it ends.
    pub store: Option<PathBuf>,
    /// Reservations that may wait for one host, where it says nothing else: 1 to 65,535. Default 16.
    pub pending_reservations: u16,
    /// Reservations a second for one host, where it says nothing else: 1 to 1,000,000. Default 50.
    pub reservations_per_second: u32,
    /// `[[host]]`, in file order. No name and no address of a realm stands twice.
    pub hosts: Vec<Host>,
    /// What hosts can be in.
    pub realms: Realms,
}

impl Hosts {
    /// Most hosts that a register may have room for.
    pub const CAPACITY_MAX: u32 = 1 << 24;
    /// Highest rate of reservations.
    pub const RATE_MAX: u32 = 1_000_000;
}

/// A host behind the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: DomainName,
    /// The realm that it is in, an inside one.
    pub realm: u16,
    /// In its realm, of either family, in the order in which they were given; none twice, at most [`Host::ADDRESSES_MAX`].
    pub addresses: Vec<IpAddr>,
    /// What policies may call it and others by: 1 to 32 of `a-z`, `0-9` and `-`.
    pub group: Option<String>,
    /// Names that mean a service of its; at most [`Host::SERVICES_MAX`].
    pub services: Vec<Service>,
    /// Reservations that may wait for it. `None`: [`Hosts::pending_reservations`].
    pub pending_reservations: Option<u16>,
    /// Reservations a second for it. `None`: [`Hosts::reservations_per_second`].
    pub reservations_per_second: Option<u32>,
    /// Whose the name is, by the DHCP server that has given it (RFC 4701). Never of the configuration.
    pub dhcid: Option<Dhcid>,
}

impl Host {
    pub const ADDRESSES_MAX: usize = 16;
    pub const SERVICES_MAX: usize = 32;
}

/// What tells the client of a DHCP server from others, without saying who it is: the data of a DHCID record (RFC 4701 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcid(Box<[u8]>);

impl Dhcid {
    /// Kind of identifier, of digest, and a byte of it; the digest of section 3.5.1, SHA-256, makes it 35.
    const LEAST: usize = 4;
    pub const MOST: usize = 64;

    /// `None` if it is no such length.
    pub fn new(data: &[u8]) -> Option<Dhcid> {
        (Dhcid::LEAST..=Dhcid::MOST).contains(&data.len()).then(|| Dhcid(data.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As master files have it (RFC 4701 section 3.2): base 64.
impl std::fmt::Display for Dhcid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::BASE64.encode(&self.0))
    }
}

/// A name that is bound to a port and a protocol (an SFQDN).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: DomainName,
    pub target: ServiceTarget,
}

/// What a service's name means at its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// A number of IANA's registry of protocols. `None`: any.
    pub protocol: Option<u8>,
    /// 1 to 65,535. `None`: any.
    pub port: Option<u16>,
}

/// The protocols that have names here.
const PROTOCOLS: [(&str, u8); 7] =
    [("tcp", 6), ("udp", 17), ("sctp", 132), ("dccp", 33), ("icmp", 1), ("icmpv6", 58), ("udplite", 136)];

/// A host as somebody has written it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostText {
    pub name: String,
    pub realm: String,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub services: Vec<ServiceText>,
    #[serde(default)]
    pub pending_reservations: Option<u64>,
    #[serde(default)]
    pub reservations_per_second: Option<u64>,
}

/// A service as somebody has written it: `protocol` and `port` are `any` where nothing stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceText {
    pub name: String,
    #[serde(default = "any", deserialize_with = "word_or_number")]
    pub protocol: String,
    #[serde(default = "any", deserialize_with = "word_or_number")]
    pub port: String,
}

const ANY: &str = "any";

fn any() -> String {
    ANY.into()
}

fn word_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, or a word in quotes")]
    enum Either {
        Word(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Word(word) => word,
        Either::Number(number) => number.to_string(),
    })
}

/// Why a host is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}; {hint}")]
pub struct HostWrong {
    /// What is wrong, such as `services.port`.
    pub key: &'static str,
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// What hosts can be in, and what no host there can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realms {
    /// The inside ones by name.
    inside: HashMap<String, u16>,
    outside: HashSet<String>,
    /// The edge's own addresses.
    own: HashSet<(u16, IpAddr)>,
    /// Those that stand for remote hosts.
    proxies: Vec<(u16, PoolRange)>,
    /// `realm.public`, of all realms: prefixes without host bits, globally routable, in order, none within another, at most 1,024
    /// of each realm: whose hosts are reached from outside as they are. Default none.
    public: Vec<(IpNet, u16)>,
}

impl Realms {
    pub(super) fn new() -> Realms {
        Realms::default()
    }

    pub(super) fn insert(&mut self, name: &str, id: u16, is_inside: bool) {
        match is_inside {
            true => drop(self.inside.insert(name.into(), id)),
            false => drop(self.outside.insert(name.into())),
        }
    }

    pub(super) fn insert_own(&mut self, realm: u16, address: IpAddr) {
        self.own.insert((realm, address));
    }

    pub(super) fn insert_proxies(&mut self, realm: u16, range: PoolRange) {
        self.proxies.push((realm, range));
    }

    /// To be called once for each; [`Self::finish`] after all.
    pub(super) fn insert_public(&mut self, realm: u16, prefix: IpNet) {
        self.public.push((prefix, realm));
    }

    pub(super) fn finish(&mut self) {
        self.public.sort_unstable();
    }

    /// The inside realm whose hosts have that address outside, too.
    pub fn of_public(&self, address: IpAddr) -> Option<u16> {
        let after = self.public.partition_point(|(prefix, _)| prefix.network() <= address);
        let (prefix, realm) = self.public.get(after.checked_sub(1)?)?;
        prefix.contains(&address).then_some(*realm)
    }

    /// The inside realm of that name.
    pub fn id(&self, name: &str) -> Option<u16> {
        self.inside.get(name).copied()
    }

    /// The name of an inside realm.
    pub fn name(&self, id: u16) -> Option<&str> {
        self.inside.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }

    pub(super) fn realm(&self, name: &str) -> Result<u16, Wrong> {
        self.id(name).ok_or_else(|| {
            let mut known: Vec<&str> = self.inside.keys().map(String::as_str).collect();
            known.sort_unstable();
            match self.outside.contains(name) {
                true => Wrong::new(
                    format!("realm \"{name}\" is outside"),
                    one_of("the inside realms are", name, &known),
                ),
                false => Wrong::new(
                    format!("no realm is named \"{name}\""),
                    one_of("the inside realms are", name, &known),
                ),
            }
        })
    }

    /// Whether a host of `realm` can have `address`.
    pub(super) fn check_address(&self, realm: u16, address: IpAddr) -> Result<(), Wrong> {
        if self.own.contains(&(realm, address)) {
            let message = format!("{address} is the edge's own address");
            return Err(Wrong::new(message, "write the host's address"));
        }
        let is_proxy = |(of, range): &(u16, PoolRange)| {
            *of == realm && matches!(address, IpAddr::V4(address) if range.contains(address))
        };
        if self.proxies.iter().any(is_proxy) {
            let message = format!("{address} is a proxy address of its realm");
            return Err(Wrong::new(message, "write another address, or other realm.proxy_addresses"));
        }
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            let message = format!("{address} is an address of one link only");
            return Err(Wrong::new(message, "write a global or unique local address"));
        }
        Ok(())
    }

    /// The address that `text` is, if a host of `realm` can have it.
    pub fn address(&self, realm: u16, text: &str) -> Result<IpAddr, HostWrong> {
        let parse = || {
            let address = values::address(text)?;
            self.check_address(realm, address).map(|()| address)
        };
        parse().map_err(|wrong| wrong.at("addresses"))
    }

    /// The host that `text` is.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn judge(&self, text: &HostText) -> Result<Host, HostWrong> {
        let name = domain_name(&text.name).map_err(|wrong| wrong.at("name"))?;
        let realm = self.realm(&text.realm).map_err(|wrong| wrong.at("realm"))?;
        let mut addresses = Vec::with_capacity(text.addresses.len().min(Host::ADDRESSES_MAX));
        for address in &text.addresses {
            let address = self.address(realm, address)?;
            add_address(&mut addresses, address).map_err(|wrong| wrong.at("addresses"))?;
        }
        let group = text.group.as_deref().map(values::name).transpose().map_err(|wrong| wrong.at("group"))?;
        let mut services = Vec::new();
        for service in &text.services {
            let target = ServiceTarget {
                protocol: protocol(&service.protocol).map_err(|wrong| wrong.at("services.protocol"))?,
                port: port(&service.port).map_err(|wrong| wrong.at("services.port"))?,
            };
            let service_name = domain_name(&service.name).map_err(|wrong| wrong.at("services.name"))?;
            add_service(&mut services, &name, Service { name: service_name, target })
                .map_err(|wrong| wrong.at("services"))?;
        }
        let number = |key, value: Option<u64>, most: u64| match value {
            Some(wrong) if !(1..=most).contains(&wrong) => {
                let hint = format!("write a whole number from 1 to {most}");
                Err(Wrong::new(format!("{wrong} is out of range"), hint).at(key))
            }
            right => Ok(right.map(|number| number as u32)),
        };
        let pending = number("pending_reservations", text.pending_reservations, u16::MAX.into())?;
        let rate = number("reservations_per_second", text.reservations_per_second, Hosts::RATE_MAX.into())?;
        Ok(Host {
            name,
            realm,
            addresses,
            group,
            services,
            pending_reservations: pending.map(|number| number as u16),
            reservations_per_second: rate,
            dhcid: None,
        })
    }
}

impl Wrong {
    fn at(self, key: &'static str) -> HostWrong {
        HostWrong { key, message: self.message, hint: self.hint }
    }
}

/// Adds a further address of a host's.
pub(super) fn add_address(addresses: &mut Vec<IpAddr>, address: IpAddr) -> Result<(), Wrong> {
    if addresses.contains(&address) {
        return Err(Wrong::new(format!("{address} is listed twice"), "remove one of the two"));
    }
    if addresses.len() == Host::ADDRESSES_MAX {
        return Err(Wrong::new(format!("more than {} addresses", Host::ADDRESSES_MAX), "remove the rest"));
    }
    addresses.push(address);
    Ok(())
}

/// Adds a further service of a host's.
pub(super) fn add_service(
    services: &mut Vec<Service>,
    host: &DomainName,
    service: Service,
) -> Result<(), Wrong> {
    if service.name == *host {
        let message = format!("\"{host}\" is the host itself");
        return Err(Wrong::new(message, "write a name of the service's own"));
    }
    if services.iter().any(|known| known.name == service.name) {
        return Err(Wrong::new(format!("\"{}\" stands twice", service.name), "remove one of the two"));
    }
    if services.len() == Host::SERVICES_MAX {
        return Err(Wrong::new(format!("more than {} services", Host::SERVICES_MAX), "remove the rest"));
    }
    services.push(service);
    Ok(())
}

/// `tcp`, a number, or `any`.
pub(super) fn protocol(text: &str) -> Result<Option<u8>, Wrong> {
    if text == ANY {
        return Ok(None);
    }
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok().filter(|number| *number > 0)).map(Some).ok_or_else(|| {
        let names = PROTOCOLS.map(|(name, _)| name);
        let hint = format!("{}, a number from 1 to 255, or \"any\"", one_of("write one of", text, &names));
        Wrong::new(format!("\"{text}\" is no protocol"), hint)
    })
}

/// A number, or `any`.
pub(super) fn port(text: &str) -> Result<Option<u16>, Wrong> {
    if text == ANY {
        return Ok(None);
    }
    text.parse().ok().filter(|number| *number > 0).map(Some).ok_or_else(|| {
        Wrong::new(format!("\"{text}\" is no port"), "write a number from 1 to 65535, or \"any\"")
    })
}

/// What a protocol is called: `tcp`, or its number.
pub fn protocol_name(protocol: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, number)| *number == protocol);
    named.map_or_else(|| protocol.to_string(), |(name, _)| (*name).into())
}
