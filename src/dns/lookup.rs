//! What a question of a zone comes to.
//!
//! The order: the apex, the zone's name servers, addresses (PTR), hosts and their services, the names of SRV records, random labels
//! below a host. What is none of those is not there, but for what others of those are below of.
//!
//! Guarantees: constant time, however many hosts there are. From outside no private address is told: a host's address is a
//! [`Reserve`], but for one that the world reaches as it is (`realm.public`), which is told as any is. From inside a host of another realm is what the view says.
//! Never: reserves, or answers what the pool must decide.

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{PTR, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::cookie::Cookies;
use super::name::{Reverse, reverse};
use super::reserve::{Family, Proof, Reserve};
use super::update::DHCID;
use super::zone::{self, Zone, address_record, any_record, naptr_records};
use super::{Asker, Transport};
use crate::config::{DnsView, DomainName, EdgeIdentity, OtherRealms, Realms, ServiceTarget};
use crate::edge::hosts::{Found, HostId, HostRef, Register};
use crate::edge::prgw::HostLimits;

/// See the module.
pub(super) struct Lookup<'a> {
    pub zone: &'a Zone,
    pub edge: Option<&'a EdgeIdentity>,
    pub cookies: &'a Cookies,
    pub views: &'a [DnsView],
    pub hosts: &'a Register,
    pub realms: &'a Realms,
    pub asker: &'a Asker,
    pub query: &'a Query,
    /// The name of the question in lower case; it is of the zone.
    pub text: &'a str,
    /// Whether hosts of ours are called where their addresses are asked for.
    pub makes_calls: bool,
    pub now: u32,
}

/// What it comes to.
#[derive(Debug)]
pub(super) enum Finding {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    NoData,
    NoName,
    Reserve(Reserve),
    /// The host is to be called.
    Call(HostId, Option<ServiceTarget>),
}

impl Finding {
    fn answers(answers: Vec<Record>) -> Finding {
        match answers.is_empty() {
            true => Finding::NoData,
            false => Finding::Records { answers, additionals: Vec::new() },
        }
    }
}

impl Lookup<'_> {
    pub fn find(&self) -> Finding {
        if self.text == self.zone.apex() {
            return self.apex();
        }
        if let Some(addresses) = self.zone.name_server(self.text) {
            return match self.record_type() {
                RecordType::ANY => self.any(),
                _ => self.addresses(addresses.iter().copied()),
            };
        }
        if let Some(reverse) = reverse(self.text) {
            return self.pointer(reverse);
        }
        if let Some(found) = self.hosts.by_name(self.text) {
            return self.host(found, None);
        }
        if self.text.starts_with('_') {
            return self.service_record();
        }
        self.random_label().unwrap_or_else(|| self.between())
    }

    /// A name that is nobody's, and may have others below it (RFC 8020).
    fn between(&self) -> Finding {
        // Who is not told of other realms' hosts is not told of their names' parents.
        let realm = self.asker.realm.filter(|realm| self.other_realms(*realm) == OtherRealms::Hide);
        let is_parent = self.hosts.has_below(realm, self.text) || self.zone.has_server_below(self.text);
        if is_parent { Finding::NoData } else { Finding::NoName }
    }

    fn record_type(&self) -> RecordType {
        self.query.query_type()
    }

    fn owner(&self) -> Name {
        self.query.name().clone()
    }

    fn ttl(&self) -> u32 {
        self.zone.config.ttl
    }

    fn any(&self) -> Finding {
        Finding::answers(vec![any_record(self.owner(), self.ttl())])
    }

    fn apex(&self) -> Finding {
        let answers = self.zone.apex_records(self.query.name(), self.record_type());
        match self.record_type() {
            RecordType::NS => Finding::Records { answers, additionals: self.zone.glue().collect() },
            RecordType::ANY => self.any(),
            _ if !answers.is_empty() => Finding::answers(answers),
            // The apex may be the name of a host, too.
            _ => self.hosts.by_name(self.text).map_or(Finding::NoData, |found| {
                match self.is_seen(&found.host) {
                    true => self.host(found, None),
                    false => Finding::NoData,
                }
            }),
        }
    }

    fn addresses(&self, addresses: impl Iterator<Item = std::net::IpAddr>) -> Finding {
        let is_asked = |address: &std::net::IpAddr| match self.record_type() {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => false,
        };
        let record = |address| address_record(self.owner(), self.ttl(), address);
        Finding::answers(addresses.filter(is_asked).map(record).collect())
    }

    /// The name of the host at an address of the asker's realm. Outside nobody has a private address, but perhaps a public one.
    fn pointer(&self, reverse: Reverse) -> Finding {
        let address = match reverse {
            Reverse::Address(address) => address,
            Reverse::Part => return Finding::NoData,
            Reverse::Nothing => return Finding::NoName,
        };
        let realm = self.asker.realm.or_else(|| self.realms.of_public(address));
        let host = realm.and_then(|realm| self.hosts.by_address(realm, address));
        let Some(target) = host.and_then(|host| DomainName::new(host.parts().name)) else {
            return Finding::NoName;
        };
        match self.record_type() {
            RecordType::PTR => {
                let data = RData::PTR(PTR(zone::name(&target)));
                Finding::answers(vec![Record::from_rdata(self.owner(), self.ttl(), data)])
            }
            RecordType::ANY => self.any(),
            _ => Finding::NoData,
        }
    }

    /// What the asker is told of hosts of other realms.
    fn other_realms(&self, realm: u16) -> OtherRealms {
        let view = self.views.iter().find(|view| view.realm == realm);
        view.map(|view| view.other_realms).unwrap_or_default()
    }

    /// Whether the asker is told that there is such a host.
    fn is_seen(&self, host: &HostRef<'_>) -> bool {
        self.asker
            .realm
            .is_none_or(|realm| realm == host.parts().realm || self.other_realms(realm) != OtherRealms::Hide)
    }

    fn host(&self, found: Found<'_>, label: Option<std::net::IpAddr>) -> Finding {
        if !self.is_seen(&found.host) {
            return Finding::NoName;
        }
        if let Some(called) = self.called(&found) {
            return called;
        }
        let parts = found.host.parts();
        let is_private = self
            .asker
            .realm
            .is_some_and(|realm| realm == parts.realm || self.other_realms(realm) == OtherRealms::Private);
        let family = match self.record_type() {
            RecordType::A => Family::V4,
            RecordType::AAAA => Family::V6,
            RecordType::ANY => return self.any(),
            // By the label of a port nobody calls: whoever is behind an edge comes as one who isn't.
            RecordType::NAPTR if found.which.is_none() => return Finding::NoData,
            RecordType::NAPTR => {
                let owner = self.query.name();
                return Finding::answers(self.edge.map_or(Vec::new(), |edge| naptr_records(owner, edge)));
            }
            RecordType::SRV => {
                let port = found.service.and_then(|service| service.port);
                return port.map_or(Finding::NoData, |port| self.srv(vec![(port, self.owner())]));
            }
            // Whoever sees the addresses sees whose they are: outside it would tell one client from others (RFC 4701 section 7).
            DHCID if is_private && found.service.is_none() => {
                let record = |data| Record::from_rdata(self.owner(), self.ttl(), zone::dhcid(data));
                return Finding::answers(parts.dhcid.map(record).into_iter().collect());
            }
            _ => return Finding::NoData,
        };
        if is_private {
            return self.addresses(parts.addresses());
        }
        let is_public = |address: &std::net::IpAddr| self.realms.of_public(*address) == Some(parts.realm);
        if let told @ Finding::Records { .. } = self.addresses(parts.addresses().filter(is_public)) {
            return told;
        }
        let tcp = self.asker.transport == Transport::Tcp;
        Finding::Reserve(Reserve {
            host: found.host.id,
            limits: HostLimits {
                waiting: parts.pending_reservations,
                per_second: parts.reservations_per_second,
            },
            service: found.service,
            family,
            resolver: self.asker.address,
            realm: self.asker.realm,
            subnet: None,
            proof: Proof { tcp, cookie: false, label },
        })
    }

    /// What becomes of a question for the addresses of a host that is called; `None` where none is made of it: where hosts make none,
    /// of the host itself, and where its realm is routed to the asker's.
    fn called(&self, found: &Found<'_>) -> Option<Finding> {
        let realm = self.asker.realm.filter(|_| self.makes_calls)?;
        let parts = found.host.parts();
        let is_reached = match realm == parts.realm {
            true => parts.addresses().any(|address| address == self.asker.address),
            false => self.other_realms(realm) == OtherRealms::Private,
        };
        match self.record_type() {
            _ if is_reached => None,
            RecordType::A | RecordType::ANY => Some(Finding::Call(found.host.id, found.service)),
            // Proxy addresses are of IPv4.
            RecordType::AAAA => Some(Finding::NoData),
            _ => None,
        }
    }

    /// `_label._protocol.host`: the services of the host whose names begin with that label (RFC 2782).
    fn service_record(&self) -> Finding {
        let mut labels = self.text.splitn(3, '.');
        let (Some(first), Some(second), Some(third)) = (labels.next(), labels.next(), labels.next()) else {
            return Finding::NoName;
        };
        let (service, protocol, host) = match second.strip_prefix('_') {
            Some(protocol) => (first.strip_prefix('_'), protocol, third.to_owned()),
            None => (None, &first[1..], format!("{second}.{third}")),
        };
        let number = match protocol {
            "tcp" => 6,
            "udp" => 17,
            "sctp" => 132,
            "dccp" => 33,
            _ => return Finding::NoName,
        };
        let found = self.hosts.by_name(&host).filter(|found| found.service.is_none());
        let Some(found) = found.filter(|found| self.is_seen(&found.host)) else { return Finding::NoName };
        let is_asked = |name: &str, target: &ServiceTarget| {
            let label = name.split('.').next();
            target.protocol.is_none_or(|known| known == number)
                && service.is_none_or(|service| label == Some(service))
        };
        let mut targets = Vec::new();
        for (name, target) in found.host.parts().services().filter(|(name, target)| is_asked(name, target)) {
            if let (Some(port), Some(name)) = (target.port, DomainName::new(name)) {
                targets.push((port, zone::name(&name)));
            }
        }
        match (service, targets.is_empty()) {
            (_, true) => Finding::NoName,
            // There are names below.
            (None, false) => Finding::NoData,
            (Some(_), false) => match self.record_type() {
                RecordType::SRV => self.srv(targets),
                RecordType::ANY => self.any(),
                _ => Finding::NoData,
            },
        }
    }

    fn srv(&self, targets: Vec<(u16, Name)>) -> Finding {
        let record = |(port, target)| {
            Record::from_rdata(self.owner(), self.ttl(), RData::SRV(SRV::new(0, 0, port, target)))
        };
        Finding::answers(targets.into_iter().map(record).collect())
    }

    /// A name under which somebody was told to ask.
    fn random_label(&self) -> Option<Finding> {
        let (label, rest) = self.text.split_once('.')?;
        let found = self.hosts.by_name(rest)?;
        let resolver = self.cookies.read_label(label, rest, self.now)?;
        Some(self.host(found, Some(resolver)))
    }
}
