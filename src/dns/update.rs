//! DNS UPDATE (RFC 2136) as a DHCP server sends it: records of a host become changes of the register.
//!
//! A key's updates are of the hosts of its realm and of its zones. An address goes to the host of that name, which is made if there
//! is none; a PTR says the same from the other end. A host that an update has made goes with its last record; one that the
//! operator has given more than those stays.
//!
//! A DHCID (RFC 4701) stands with the host: that is how DHCP servers tell whose a name is, by prerequisites, before they change it
//! (RFC 4703 section 5). A host has one; a second one is refused. At a name of an address it is taken and not kept: no prerequisite
//! asks for it there (section 5.4).
//!
//! Guarantees: all of an update or nothing is in [`Update::changes`], one change a host, those that give up addresses first; what
//! is not signed by a key of the configuration changes nothing. Never: changes the register itself, or a host of the configuration.

use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::name::{Reverse, reverse, text};
use super::pending::{Pending, Sections, fit};
use super::tsig::{Signature, Signer, verify};
use super::zone::{Zone, find};
use super::{Outcome, Responder, Silence, answer};
use crate::config::{Dhcid, DomainName, Host, Realms};
use crate::edge::hosts::change::Change;
use crate::edge::hosts::{HostRef, Origin, Register};

/// DHCID.
pub(super) const DHCID: RecordType = RecordType::Unknown(49);

/// What has become of the changes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// They are done.
    Done,
    /// Something is in their way.
    Refused,
    /// They could not be tried, or not be written.
    Failed,
}

/// An update whose changes are to be done, all or none.
#[derive(Clone, Debug)]
pub struct Update {
    pub changes: Vec<Change>,
    pending: Pending,
    signer: Signer,
}

impl Responder {
    /// What becomes of an update.
    pub(super) fn update(
        &self,
        bytes: &[u8],
        message: &Message,
        pending: Pending,
        hosts: &Register,
        now: u64,
    ) -> Outcome {
        let signer = match verify(bytes, message, &self.config.keys, now) {
            Signature::Absent => return answer(&pending, Sections::code(ResponseCode::Refused)),
            Signature::Malformed => return answer(&pending, Sections::code(ResponseCode::FormErr)),
            Signature::Bad(signer) => return self.signed(&pending, &signer, ResponseCode::NotAuth, now),
            Signature::Good(signer) => signer,
        };
        match self.read_update(message, &signer, hosts) {
            Err(code) => self.signed(&pending, &signer, code, now),
            Ok(changes) if changes.is_empty() => self.signed(&pending, &signer, ResponseCode::NoError, now),
            Ok(changes) => Outcome::Update(Box::new(Update { changes, pending, signer })),
        }
    }

    /// The answer to an update of whose changes that has become.
    pub fn updated(&self, update: &Update, end: End, now: u64) -> Outcome {
        let code = match end {
            End::Done => ResponseCode::NoError,
            End::Refused => ResponseCode::Refused,
            End::Failed => ResponseCode::ServFail, // RFC 2136 section 3.4.2.6
        };
        self.signed(&update.pending, &update.signer, code, now)
    }

    fn signed(&self, pending: &Pending, signer: &Signer, code: ResponseCode, now: u64) -> Outcome {
        let mut message = pending.message(Sections::code(code));
        if signer.sign(&mut message, &self.config.keys, now).is_none() {
            return Outcome::Silence(Silence::TooLong);
        }
        fit(message, pending.limit()).map_or(Outcome::Silence(Silence::TooLong), Outcome::Answer)
    }

    /// RFC 2136 sections 3.1 to 3.4: the zone, the prerequisites, what is allowed, and the changes.
    fn read_update(
        &self,
        message: &Message,
        signer: &Signer,
        hosts: &Register,
    ) -> Result<Vec<Change>, ResponseCode> {
        let query = message.queries.first().ok_or(ResponseCode::FormErr)?;
        if query.query_type() != RecordType::SOA {
            return Err(ResponseCode::FormErr);
        }
        let key = signer.key.and_then(|key| self.config.keys.get(key)).ok_or(ResponseCode::NotAuth)?;
        let apex = text(query.name()).ok_or(ResponseCode::NotAuth)?;
        let zone = self.zones.iter().position(|zone| zone.apex() == &*apex);
        let zone = zone.filter(|_| query.query_class() == DNSClass::IN).ok_or(ResponseCode::NotAuth)?;
        let scope = Scope {
            zones: &self.zones,
            zone: &self.zones[zone],
            allowed: &key.zones,
            realm: key.realm,
            hosts,
        };
        scope.check_prerequisites(&message.answers)?;
        if !key.zones.contains(&zone) {
            return Err(ResponseCode::Refused);
        }
        for record in &message.authorities {
            scope.check_form(record)?;
        }
        let mut drafts = Drafts { scope: &scope, realms: &self.realms, drafts: Vec::new() };
        message.authorities.iter().try_for_each(|record| drafts.take(record))?;
        Ok(drafts.changes())
    }
}

/// What an update may see and change.
struct Scope<'a> {
    zones: &'a [Zone],
    zone: &'a Zone,
    /// Places of the zones whose hosts the key may change, from whichever end.
    allowed: &'a [usize],
    realm: u16,
    hosts: &'a Register,
}

impl<'a> Scope<'a> {
    /// The text of a name of the zone.
    fn owner(&self, name: &Name) -> Result<String, ResponseCode> {
        let text = text(name).ok_or(ResponseCode::NotZone)?;
        let zone = find(self.zones, &text).filter(|zone| zone.apex() == self.zone.apex());
        zone.map(|_| text.as_str().to_owned()).ok_or(ResponseCode::NotZone)
    }

    /// The records of that name that come from the register, and whether there are others.
    fn records(&self, owner: &str) -> (Vec<RData>, bool) {
        if let Some(reverse) = reverse(owner) {
            let host = match reverse {
                Reverse::Address(address) => self.hosts.by_address(self.realm, address),
                _ => None,
            };
            let target = host.and_then(|host| DomainName::new(host.parts().name));
            let data =
                target.map(|target| RData::PTR(hickory_proto::rr::rdata::PTR(super::zone::name(&target))));
            return (data.into_iter().collect(), owner == self.zone.apex());
        }
        let is_fixed = owner == self.zone.apex() || self.zone.name_server(owner).is_some();
        let Some(found) = self.hosts.by_name(owner) else { return (Vec::new(), is_fixed) };
        let parts = found.host.parts();
        if found.service.is_some() || parts.realm != self.realm {
            return (Vec::new(), true);
        }
        let data: Vec<RData> =
            parts.addresses().map(data_of).chain(parts.dhcid.map(super::zone::dhcid)).collect();
        let has_others = is_fixed || data.is_empty();
        (data, has_others)
    }

    /// RFC 2136 section 3.2.
    fn check_prerequisites(&self, records: &[Record]) -> Result<(), ResponseCode> {
        for record in records {
            if record.ttl != 0 {
                return Err(ResponseCode::FormErr);
            }
            let owner = self.owner(&record.name)?;
            let (data, has_others) = self.records(&owner);
            let record_type = record.record_type();
            let is_used = has_others || !data.is_empty();
            let has_set = data.iter().any(|data| data.record_type() == record_type);
            let is_empty = matches!(record.data, RData::Update0(_));
            let unmet = match (record.dns_class, record_type) {
                (DNSClass::ANY | DNSClass::NONE, _) if !is_empty => Some(ResponseCode::FormErr),
                (DNSClass::ANY, RecordType::ANY) => (!is_used).then_some(ResponseCode::NXDomain),
                (DNSClass::ANY, _) => (!has_set).then_some(ResponseCode::NXRRSet),
                (DNSClass::NONE, RecordType::ANY) => is_used.then_some(ResponseCode::YXDomain),
                (DNSClass::NONE, _) => has_set.then_some(ResponseCode::YXRRSet),
                (DNSClass::IN, RecordType::ANY) => Some(ResponseCode::FormErr),
                (DNSClass::IN, _) => {
                    let wanted = |other: &&Record| {
                        other.dns_class == DNSClass::IN
                            && other.name == record.name
                            && other.record_type() == record_type
                    };
                    let wanted: Vec<&RData> =
                        records.iter().filter(wanted).map(|record| &record.data).collect();
                    let set: Vec<&RData> =
                        data.iter().filter(|data| data.record_type() == record_type).collect();
                    let is_same = set.iter().all(|data| wanted.contains(data))
                        && wanted.iter().all(|data| set.contains(data));
                    (!is_same).then_some(ResponseCode::NXRRSet)
                }
                _ => Some(ResponseCode::FormErr),
            };
            if let Some(code) = unmet {
                return Err(code);
            }
        }
        Ok(())
    }

    /// RFC 2136 section 3.4.1.
    fn check_form(&self, record: &Record) -> Result<(), ResponseCode> {
        self.owner(&record.name)?;
        let is_meta = matches!(
            record.record_type(),
            RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG
        );
        let is_any = record.record_type() == RecordType::ANY;
        let is_empty = matches!(record.data, RData::Update0(_));
        let is_right = !is_meta
            && match record.dns_class {
                DNSClass::IN => !is_any && !is_empty,
                DNSClass::ANY => record.ttl == 0 && is_empty,
                DNSClass::NONE => record.ttl == 0 && !is_any && !is_empty,
                _ => false,
            };
        if is_right { Ok(()) } else { Err(ResponseCode::FormErr) }
    }
}

/// The DHCID that a record has, if it is one.
///
/// # Errors
/// [`ResponseCode::Refused`] if it has no length that is kept.
fn dhcid_of(data: &RData) -> Result<Option<Dhcid>, ResponseCode> {
    match data {
        RData::Unknown { code: DHCID, rdata } => {
            Dhcid::new(&rdata.anything).map(Some).ok_or(ResponseCode::Refused)
        }
        _ => Ok(None),
    }
}

fn data_of(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    }
}

/// What of a host an update can give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lease {
    addresses: Vec<IpAddr>,
    dhcid: Option<Dhcid>,
}

/// What a host is to be.
#[derive(Debug)]
struct Draft {
    name: DomainName,
    /// `None` if it is new.
    before: Option<Lease>,
    lease: Lease,
    /// Whether it has what an update cannot give.
    is_operators: bool,
}

struct Drafts<'a> {
    scope: &'a Scope<'a>,
    realms: &'a Realms,
    drafts: Vec<Draft>,
}

impl Drafts<'_> {
    /// RFC 2136 section 3.4.2, a record.
    fn take(&mut self, record: &Record) -> Result<(), ResponseCode> {
        let owner = self.scope.owner(&record.name)?;
        match (reverse(&owner), record.record_type()) {
            (Some(Reverse::Address(_)), DHCID) => Ok(()),
            (Some(Reverse::Address(address)), RecordType::PTR | RecordType::ANY) => {
                self.take_pointer(record, address)
            }
            (None, RecordType::A | RecordType::AAAA | RecordType::ANY | DHCID) => {
                self.take_own(record, &owner)
            }
            _ => Err(ResponseCode::Refused),
        }
    }

    /// A record of a host's name.
    fn take_own(&mut self, record: &Record, owner: &str) -> Result<(), ResponseCode> {
        let record_type = record.record_type();
        let is_added = record.dns_class == DNSClass::IN;
        let Some(place) = self.draft(owner, is_added)? else { return Ok(()) };
        let data = dhcid_of(&record.data)?;
        let lease = &mut self.drafts[place].lease;
        match (record.dns_class, record.data.ip_addr(), data) {
            (DNSClass::IN, Some(address), _) => return self.add(place, address),
            (DNSClass::IN, _, Some(dhcid)) => {
                if lease.dhcid.get_or_insert_with(|| dhcid.clone()) != &dhcid {
                    return Err(ResponseCode::Refused);
                }
            }
            (DNSClass::NONE, Some(address), _) => lease.addresses.retain(|own| *own != address),
            (DNSClass::NONE, _, dhcid) => {
                lease.dhcid = lease.dhcid.take().filter(|own| Some(own) != dhcid.as_ref())
            }
            (DNSClass::ANY, ..) => {
                let goes = |address: &IpAddr| match record_type {
                    RecordType::A => address.is_ipv4(),
                    RecordType::AAAA => address.is_ipv6(),
                    other => other == RecordType::ANY,
                };
                lease.addresses.retain(|address| !goes(address));
                if matches!(record_type, DHCID | RecordType::ANY) {
                    lease.dhcid = None;
                }
            }
            _ => return Err(ResponseCode::FormErr),
        }
        Ok(())
    }

    fn take_pointer(&mut self, record: &Record, address: IpAddr) -> Result<(), ResponseCode> {
        let target = match &record.data {
            RData::PTR(target) => Some(text(&target.0).ok_or(ResponseCode::Refused)?),
            _ => None,
        };
        if record.dns_class == DNSClass::IN {
            let target = target.ok_or(ResponseCode::FormErr)?;
            let place = self.draft(&target, true)?.ok_or(ResponseCode::Refused)?;
            return self.add(place, address);
        }
        // It goes from whoever has it, or from that one alone.
        if let Some(holder) = self.scope.hosts.by_address(self.scope.realm, address) {
            self.draft_of(&holder)?;
        }
        for draft in &mut self.drafts {
            if target.as_ref().is_none_or(|target| draft.name.as_str() == &**target) {
                draft.lease.addresses.retain(|own| *own != address);
            }
        }
        Ok(())
    }

    /// A host's name is of a zone that the key may change, and not of the zone's own.
    fn check_name(&self, name: &str) -> Result<(), ResponseCode> {
        let Scope { zones, allowed, .. } = self.scope;
        let zone = find(zones, name).filter(|zone| {
            allowed.iter().any(|&place| zones.get(place).is_some_and(|known| known.apex() == zone.apex()))
        });
        let is_free = |zone: &Zone| zone.apex() != name && zone.name_server(name).is_none();
        if zone.is_some_and(is_free) && reverse(name).is_none() { Ok(()) } else { Err(ResponseCode::Refused) }
    }

    fn add(&mut self, place: usize, address: IpAddr) -> Result<(), ResponseCode> {
        let judged = self.realms.address(self.scope.realm, &address.to_string());
        judged.map_err(|_| ResponseCode::Refused)?;
        let addresses = &mut self.drafts[place].lease.addresses;
        if !addresses.contains(&address) {
            if addresses.len() == Host::ADDRESSES_MAX {
                return Err(ResponseCode::Refused);
            }
            addresses.push(address);
        }
        Ok(())
    }

    /// The draft of the host of that name; `None` if there is none and none `is_made`.
    fn draft(&mut self, owner: &str, is_made: bool) -> Result<Option<usize>, ResponseCode> {
        if let Some(place) = self.drafts.iter().position(|draft| draft.name.as_str() == owner) {
            return Ok(Some(place));
        }
        self.check_name(owner)?;
        match self.scope.hosts.by_name(owner) {
            Some(found) if found.service.is_some() => Err(ResponseCode::Refused),
            Some(found) => self.draft_of(&found.host).map(Some),
            None if !is_made => Ok(None),
            None => {
                let name = DomainName::new(owner).ok_or(ResponseCode::Refused)?;
                self.drafts.push(Draft { name, before: None, lease: Lease::default(), is_operators: false });
                Ok(Some(self.drafts.len() - 1))
            }
        }
    }

    fn draft_of(&mut self, host: &HostRef<'_>) -> Result<usize, ResponseCode> {
        let parts = host.parts();
        self.check_name(parts.name)?;
        if host.origin == Origin::Config || parts.realm != self.scope.realm {
            return Err(ResponseCode::Refused);
        }
        if let Some(place) = self.drafts.iter().position(|draft| draft.name.as_str() == parts.name) {
            return Ok(place);
        }
        let name = DomainName::new(parts.name).ok_or(ResponseCode::ServFail)?;
        let lease = Lease { addresses: parts.addresses().collect(), dhcid: parts.dhcid.and_then(Dhcid::new) };
        let is_operators = parts.group.is_some()
            || parts.services().next().is_some()
            || parts.pending_reservations.is_some()
            || parts.reservations_per_second.is_some();
        self.drafts.push(Draft { name, before: Some(lease.clone()), lease, is_operators });
        Ok(self.drafts.len() - 1)
    }

    /// What is to be done, the hosts that give addresses up first.
    fn changes(self) -> Vec<Change> {
        let realm = self.scope.realm;
        let changed = |draft: &Draft| draft.before.clone().unwrap_or_default() != draft.lease;
        let mut drafts: Vec<Draft> = self.drafts.into_iter().filter(changed).collect();
        let gives = |draft: &Draft| {
            let before = draft.before.iter().flat_map(|before| &before.addresses);
            before.into_iter().any(|address| !draft.lease.addresses.contains(address))
        };
        drafts.sort_by_key(|draft| !gives(draft));
        drafts.into_iter().map(|draft| change(draft, realm)).collect()
    }
}

fn change(draft: Draft, realm: u16) -> Change {
    let Draft { name, before, lease: Lease { addresses, dhcid }, is_operators } = draft;
    match before {
        None => Change::Add {
            host: Host {
                name,
                realm,
                addresses,
                group: None,
                services: Vec::new(),
                pending_reservations: None,
                reservations_per_second: None,
                dhcid,
            },
            replace: false,
        },
        Some(_) if addresses.is_empty() && dhcid.is_none() && !is_operators => Change::Remove { name },
        Some(_) => Change::ReplaceLease { name, addresses, dhcid },
    }
}
