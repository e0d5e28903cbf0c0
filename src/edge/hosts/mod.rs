//! The host register: who is behind the edge under which names, at which addresses, and with which limits.
//!
//! A [`Register`] is sans-IO and in memory; [`store`] keeps on disk what came at run time; [`change`] says what may become of a
//! host, [`import`] brings many in at once. [`crate::edge::thread`] owns all of it and lends the register to readers.
//!
//! A look-up is of a name ([`Register::by_name`]: the host, and for a service's name its port and protocol), or of an address of a
//! realm ([`Register::by_address`], for PTR and for the hosts' resolver). `tcp443.host.example` and its like need not be written:
//! they mean a port of `host.example` unless somebody has that very name. There are no wildcards.
//!
//! Guarantees: a name, and an address of a realm, is one host's; looking up, adding and removing take constant time however many
//! hosts there are; the tables are made at the start for `capacity` hosts and four times as many names and addresses, and what
//! does not fit is refused. Keys are hashed with a secret of the process: names come from strangers.
//! Never: changes a host of the configuration, or knows what is reserved for one.

pub mod change;
pub mod import;
pub mod names;
mod parents;
pub mod record;
pub mod store;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use hashbrown::HashTable;

use super::journal::Journal;
use crate::config::{DomainName, Host, Hosts, ServiceTarget};
use names::Which;
use parents::Parents;
use record::{Parts, Record};

/// Names, and addresses, that there is room for, for each host that there is room for.
const EACH: usize = 4;

/// A host of the register, for as long as it is there: its place, and how often that was given anew, modulo 256. So a number that
/// outlives its host names nobody, or only after 255 others had the place. Who comes in the place of the host of its name has its
/// number, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(u32);

impl HostId {
    fn new(place: u32, generation: u8) -> HostId {
        HostId(place | u32::from(generation) << 24)
    }

    /// Where it stands in the order in which hosts are shown.
    pub fn place(self) -> u32 {
        self.0 & (Hosts::CAPACITY_MAX - 1)
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// From that: of a host that may be gone.
    pub fn from_number(number: u32) -> HostId {
        HostId(number)
    }
}

/// Who a host is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration: not to be changed at run time.
    Config,
    /// Came at run time, now or before a restart.
    Runtime,
}

/// Why a host cannot come, go, or be as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("\"{name}\" is a name of host \"{holder}\"{}", of(*origin))]
    Name { name: String, holder: String, origin: Origin },
    #[error("{address} is an address of host \"{holder}\"{}", of(*origin))]
    Address { address: IpAddr, holder: String, origin: Origin },
    #[error("host \"{0}\" is of the configuration, which is not changed at run time")]
    Configured(String),
    #[error("no host is named \"{0}\"")]
    Unknown(String),
    #[error("{address} is no address of host \"{name}\"")]
    NoSuchAddress { name: String, address: IpAddr },
    #[error("host \"{name}\" has {} addresses already", Host::ADDRESSES_MAX)]
    ManyAddresses { name: String },
    #[error("host \"{0}\" is to be changed twice at once")]
    Twice(String),
    #[error("the register is full: {0} hosts")]
    Full(usize),
    #[error("the register is full: {0} names, those of services included")]
    NamesFull(usize),
    #[error("the register is full: {0} addresses")]
    AddressesFull(usize),
}

fn of(origin: Origin) -> &'static str {
    match origin {
        Origin::Config => " of the configuration",
        Origin::Runtime => "",
    }
}

impl Conflict {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Conflict::Name { origin: Origin::Runtime, .. } => {
                "choose another name, or say that the host may be replaced, or remove it first"
            }
            Conflict::Address { origin: Origin::Runtime, .. } => {
                "choose another address, or take it away from that host first"
            }
            Conflict::Name { .. } | Conflict::Address { .. } => {
                "choose another one: the configuration goes before what comes at run time"
            }
            Conflict::Configured(_) => "change its [[host]] and start cesd again",
            Conflict::Unknown(_) => "see who is there: cesctl host show",
            Conflict::NoSuchAddress { .. } => "see which it has: cesctl host show NAME",
            Conflict::Twice(_) => "change it once, to what it is to be",
            Conflict::ManyAddresses { .. } => "remove one of them first",
            Conflict::Full(_) | Conflict::NamesFull(_) | Conflict::AddressesFull(_) => {
                "raise hosts.capacity and start cesd again, or remove hosts that are gone"
            }
        }
    }
}

/// A place for a host.
#[derive(Debug, Default)]
struct Slot {
    record: Option<Record>,
    generation: u8,
    is_config: bool,
    /// That of its host's name: what other edges call it by.
    hash: NameHash,
}

/// The first 16 bytes of the SHA-256 of a host's own name: CETP's ID of type 1.
pub type NameHash = [u8; 16];

/// The hash of a name in lower case.
pub fn name_hash(name: &str) -> NameHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let mut hash = NameHash::default();
    hash.copy_from_slice(&digest.as_ref()[..size_of::<NameHash>()]);
    hash
}

/// A host of the register, without copies.
#[derive(Clone, Copy, Debug)]
pub struct HostRef<'a> {
    pub id: HostId,
    pub origin: Origin,
    record: &'a Record,
    hash: &'a NameHash,
}

impl<'a> HostRef<'a> {
    /// What is known of it.
    pub fn parts(&self) -> Parts<'a> {
        self.record.parts()
    }

    /// That of its name.
    pub fn hash(&self) -> &'a NameHash {
        self.hash
    }

    /// A copy of it.
    pub fn host(&self) -> Host {
        self.record.host().expect("a record of the register was made of a host")
    }
}

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub host: HostRef<'a>,
    /// For the name of a service (an SFQDN), its protocol and port; `None` for the host's own name.
    pub service: Option<ServiceTarget>,
    /// By which of its names it was found; `None` where that is its own below the label of a port.
    pub which: Option<Which>,
}

/// What an index has of a name or an address: the place of its host, and which of that host's it is. Of names, 0 is the host's
/// own, and services follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u32);

impl Entry {
    fn new(place: u32, which: usize) -> Entry {
        Entry(place | (which as u32) << 24)
    }

    fn place(self) -> u32 {
        self.0 & (Hosts::CAPACITY_MAX - 1)
    }

    fn which(self) -> usize {
        (self.0 >> 24) as usize
    }
}

/// What hosts take of the register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub hosts: usize,
    pub names: usize,
    pub addresses: usize,
}

impl Size {
    fn of(parts: &Parts<'_>) -> Size {
        Size { hosts: 1, names: 1 + parts.services().count(), addresses: parts.addresses().count() }
    }

    pub fn of_host(host: &Host) -> Size {
        Size { hosts: 1, names: 1 + host.services.len(), addresses: host.addresses.len() }
    }
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        self.hosts += other.hosts;
        self.names += other.names;
        self.addresses += other.addresses;
    }
}

/// Hosts on their way into another register.
#[derive(Debug)]
pub struct Adoption {
    records: std::vec::IntoIter<Record>,
}

/// See the module.
#[derive(Debug)]
pub struct Register {
    capacity: usize,
    slots: Vec<Slot>,
    /// Places that were given up, the oldest first.
    free: VecDeque<u32>,
    names: HashTable<Entry>,
    addresses: HashTable<Entry>,
    /// Places by the hash of the host's name: with the hash itself about 25 bytes a host.
    hashes: HashTable<u32>,
    parents: Parents,
    secret: RandomState,
    /// Who came, went or was changed.
    journal: Journal<HostId>,
}

impl Register {
    /// An empty one, with room for so many hosts.
    pub fn new(capacity: usize) -> Register {
        Register {
            capacity,
            slots: Vec::with_capacity(capacity),
            free: VecDeque::new(),
            names: HashTable::with_capacity(EACH * capacity),
            addresses: HashTable::with_capacity(EACH * capacity),
            hashes: HashTable::with_capacity(capacity),
            parents: Parents::new(EACH * capacity),
            secret: RandomState::new(),
            journal: Journal::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who came, went or was changed.
    pub fn changes(&self) -> &Journal<HostId> {
        &self.journal
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What a name means, in any case and with or without the dot of the root.
    pub fn by_name(&self, name: &str) -> Option<Found<'_>> {
        let mut buffer = [0; DomainName::MAX];
        let name = lower_case(name, &mut buffer)?;
        if let Some(entry) = self.entry(name) {
            let host = self.at(entry.place())?;
            let service = entry.which().checked_sub(1);
            let service = service.and_then(|number| host.parts().services().nth(number));
            let which = Some(Which::of_entry(entry.which()));
            return Some(Found { host, service: service.map(|(_, target)| target), which });
        }
        let (label, rest) = name.split_once('.')?;
        let target = names::port_label(label)?;
        let entry = self.entry(rest).filter(|entry| entry.which() == 0)?;
        Some(Found { host: self.at(entry.place())?, service: Some(target), which: None })
    }

    /// Whether names of hosts, of that realm or of any, are below `name`, which is in lower case.
    pub fn has_below(&self, realm: Option<u16>, name: &str) -> bool {
        self.parents.has(&self.secret, realm, name)
    }

    /// The host of that very name; not of a service's.
    pub fn host(&self, name: &DomainName) -> Option<HostRef<'_>> {
        let entry = self.entry(name.as_str()).filter(|entry| entry.which() == 0)?;
        self.at(entry.place())
    }

    /// The host whose own name has that hash.
    pub fn by_hash(&self, hash: &NameHash) -> Option<HostRef<'_>> {
        let is = |place: &u32| self.slots[*place as usize].hash == *hash;
        let found = self.hashes.find(self.secret.hash_one(hash), is)?;
        self.at(*found)
    }

    /// Who has that address of that realm.
    pub fn by_address(&self, realm: u16, address: IpAddr) -> Option<HostRef<'_>> {
        let is = |entry: &Entry| address_of(&self.slots, *entry) == Some((realm, address));
        let found = self.addresses.find(self.secret.hash_one(Some((realm, address))), is)?;
        self.at(found.place())
    }

    /// The host that the number was given to, if it is still there.
    pub fn get(&self, id: HostId) -> Option<HostRef<'_>> {
        self.at(id.place()).filter(|host| host.id == id)
    }

    /// Every host from a place on, in the order of their places.
    pub fn iter_from(&self, place: u32) -> impl Iterator<Item = HostRef<'_>> {
        (place..self.slots.len() as u32).filter_map(|place| self.at(place))
    }

    /// One more than the last place that a host has had.
    pub fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Whether `host` may come; in the place of the host of its name where `replace` says so: that one is the answer.
    ///
    /// # Errors
    /// What is in its way. Nothing is changed.
    pub fn check(&self, host: &Host, replace: bool) -> Result<Option<HostId>, Conflict> {
        self.check_after(host, replace, &[])
    }

    /// As [`Register::check`], when `earlier` edits, of other hosts, are done.
    fn check_after(
        &self,
        host: &Host,
        replace: bool,
        earlier: &[change::Edit],
    ) -> Result<Option<HostId>, Conflict> {
        let old = self.host(&host.name).filter(|_| replace);
        if let Some(old) = old.filter(|old| old.origin == Origin::Config) {
            return Err(Conflict::Configured(old.parts().name.into()));
        }
        // Whoever an earlier edit changes has what that gives it.
        let is_going = |id| earlier.iter().any(|e| e.old.as_ref().is_some_and(|(old, _)| *old == id));
        let is_other =
            |holder: &HostRef<'_>| Some(holder.id) != old.map(|old| old.id) && !is_going(holder.id);
        earlier.iter().filter_map(|edit| edit.new.as_ref()).try_for_each(|new| apart(host, new))?;
        let services = host.services.iter().map(|service| &service.name);
        for name in std::iter::once(&host.name).chain(services) {
            let holder = self.entry(name.as_str()).and_then(|entry| self.at(entry.place()));
            if let Some(holder) = holder.filter(is_other) {
                let (name, origin) = (name.to_string(), holder.origin);
                return Err(Conflict::Name { name, holder: holder.parts().name.into(), origin });
            }
        }
        for &address in &host.addresses {
            if let Some(holder) = self.by_address(host.realm, address).filter(is_other) {
                let (holder, origin) = (holder.parts().name.into(), holder.origin);
                return Err(Conflict::Address { address, holder, origin });
            }
        }
        let mut going = old.map_or(Size::default(), |old| Size::of(&old.parts()));
        let mut coming = Size::of_host(host);
        for edit in earlier {
            let leaves = edit.old.as_ref().and_then(|(id, _)| self.get(*id));
            going += leaves.map_or(Size::default(), |host| Size::of(&host.parts()));
            coming += edit.new.as_ref().map_or(Size::default(), Size::of_host);
        }
        self.check_room(coming, going)?;
        Ok(old.map(|old| old.id))
    }

    /// Whether so much has room when so much is gone.
    ///
    /// # Errors
    /// What is full.
    pub fn check_room(&self, coming: Size, going: Size) -> Result<(), Conflict> {
        let most = EACH * self.capacity;
        let fits = |now: usize, coming: usize, going: usize, most: usize| {
            (now + coming).saturating_sub(going) <= most
        };
        if !fits(self.len(), coming.hosts, going.hosts, self.capacity) {
            Err(Conflict::Full(self.capacity))
        } else if !fits(self.names.len(), coming.names, going.names, most) {
            Err(Conflict::NamesFull(most))
        } else if !fits(self.addresses.len(), coming.addresses, going.addresses, most) {
            Err(Conflict::AddressesFull(most))
        } else {
            Ok(())
        }
    }

    /// What it holds.
    pub fn size(&self) -> Size {
        Size { hosts: self.len(), names: self.names.len(), addresses: self.addresses.len() }
    }

    /// Takes a host in, in the place of the one of its name where `replace` says so.
    ///
    /// # Errors
    /// As [`Register::check`].
    pub fn insert(&mut self, host: &Host, origin: Origin, replace: bool) -> Result<HostId, Conflict> {
        let old = self.check(host, replace)?;
        Ok(self.put_for(old, Record::new(host), origin))
    }

    /// Takes over the next hosts of `other`, at most so many, each in the place of the one of its name; false when there are no
    /// more. They are known to have no other conflict.
    pub fn adopt(&mut self, other: &mut Adoption, most: usize) -> bool {
        for record in other.records.by_ref().take(most) {
            let old = self.entry(record.parts().name).and_then(|entry| self.at(entry.place()));
            self.put_for(old.map(|old| old.id), record, Origin::Runtime);
        }
        other.records.len() > 0
    }

    /// Its hosts, to be adopted.
    pub fn into_adoption(self) -> Adoption {
        let records: Vec<Record> = self.slots.into_iter().filter_map(|slot| slot.record).collect();
        Adoption { records: records.into_iter() }
    }

    /// Takes in what was checked, in the place of who has that number.
    fn put_for(&mut self, old: Option<HostId>, record: Record, origin: Origin) -> HostId {
        let place = match old.filter(|old| self.take_out(*old).is_some()) {
            Some(old) => old.place(),
            None => self.free.pop_front().unwrap_or_else(|| {
                self.slots.push(Slot::default());
                (self.slots.len() - 1) as u32
            }),
        };
        let id = self.put(place, record, origin);
        self.journal.push(id);
        id
    }

    fn put(&mut self, place: u32, record: Record, origin: Origin) -> HostId {
        let slot = &mut self.slots[place as usize];
        slot.record = Some(record);
        slot.is_config = origin == Origin::Config;
        slot.hash = slot.record.as_ref().map_or(NameHash::default(), |record| name_hash(record.parts().name));
        let id = HostId::new(place, slot.generation);
        let Register { slots, names, addresses, hashes, parents, secret, .. } = self;
        let rehash = |place: &u32| secret.hash_one(slots[*place as usize].hash);
        hashes.insert_unique(rehash(&place), place, rehash);
        let Some(record) = &slots[place as usize].record else { return id };
        let parts = record.parts();
        let services = parts.services().map(|(name, _)| name);
        for (which, name) in std::iter::once(parts.name).chain(services).enumerate() {
            let rehash = |entry: &Entry| secret.hash_one(name_of(slots, *entry));
            names.insert_unique(secret.hash_one(name), Entry::new(place, which), rehash);
            parents.add(secret, parts.realm, name);
        }
        for (which, address) in parts.addresses().enumerate() {
            let rehash = |entry: &Entry| secret.hash_one(address_of(slots, *entry));
            let hash = secret.hash_one(Some((parts.realm, address)));
            addresses.insert_unique(hash, Entry::new(place, which), rehash);
        }
        id
    }

    /// Takes a host out; `None` if it is gone already.
    pub fn remove(&mut self, id: HostId) -> Option<Host> {
        let host = self.take_out(id)?;
        let slot = &mut self.slots[id.place() as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push_back(id.place());
        self.journal.push(id);
        Some(host)
    }

    /// Leaves its place empty, which is still its own.
    fn take_out(&mut self, id: HostId) -> Option<Host> {
        let host = self.get(id)?.host();
        let place = id.place();
        let services = host.services.iter().map(|service| &service.name);
        for (which, name) in std::iter::once(&host.name).chain(services).enumerate() {
            let entry = Entry::new(place, which);
            let found = self.names.find_entry(self.secret.hash_one(name.as_str()), |known| *known == entry);
            found.expect("each name of a host is in the index").remove();
            self.parents.remove(&self.secret, host.realm, name.as_str());
        }
        for (which, &address) in host.addresses.iter().enumerate() {
            let hash = self.secret.hash_one(Some((host.realm, address)));
            let found = self.addresses.find_entry(hash, |known| *known == Entry::new(place, which));
            found.expect("each address of a host is in the index").remove();
        }
        let slot = &mut self.slots[place as usize];
        let found = self.hashes.find_entry(self.secret.hash_one(slot.hash), |known| *known == place);
        found.expect("the hash of a host's name is in the index").remove();
        slot.record = None;
        Some(host)
    }

    fn at(&self, place: u32) -> Option<HostRef<'_>> {
        let slot = self.slots.get(place as usize)?;
        let origin = if slot.is_config { Origin::Config } else { Origin::Runtime };
        let (id, hash) = (HostId::new(place, slot.generation), &slot.hash);
        Some(HostRef { id, origin, record: slot.record.as_ref()?, hash })
    }

    /// The entry of a name in lower case.
    fn entry(&self, name: &str) -> Option<Entry> {
        let is = |entry: &Entry| name_of(&self.slots, *entry) == name;
        self.names.find(self.secret.hash_one(name), is).copied()
    }
}

/// Whether two hosts that come together have nothing in common.
fn apart(host: &Host, other: &Host) -> Result<(), Conflict> {
    let names = |host: &Host| {
        let services: Vec<_> = host.services.iter().map(|service| service.name.clone()).collect();
        std::iter::once(host.name.clone()).chain(services)
    };
    let (holder, origin) = (other.name.to_string(), Origin::Runtime);
    if let Some(name) = names(host).find(|name| names(other).any(|theirs| theirs == *name)) {
        return Err(Conflict::Name { name: name.to_string(), holder, origin });
    }
    let mut shared = host.addresses.iter().filter(|address| other.addresses.contains(address));
    match shared.next() {
        Some(&address) if host.realm == other.realm => Err(Conflict::Address { address, holder, origin }),
        _ => Ok(()),
    }
}

/// The name that an entry stands for.
fn name_of(slots: &[Slot], entry: Entry) -> &str {
    let Some(record) = slots.get(entry.place() as usize).and_then(|slot| slot.record.as_ref()) else {
        return "";
    };
    let parts = record.parts();
    match entry.which().checked_sub(1) {
        None => parts.name,
        Some(number) => parts.services().nth(number).map_or("", |(name, _)| name),
    }
}

/// The address that an entry stands for, and its realm.
fn address_of(slots: &[Slot], entry: Entry) -> Option<(u16, IpAddr)> {
    let parts = slots.get(entry.place() as usize)?.record.as_ref()?.parts();
    Some((parts.realm, parts.addresses().nth(entry.which())?))
}

/// `name` in lower case and without the dot of the root; `None` if it is too long to be anybody's.
fn lower_case<'a>(name: &str, buffer: &'a mut [u8; DomainName::MAX]) -> Option<&'a str> {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let buffer = buffer.get_mut(..name.len())?;
    buffer.copy_from_slice(name);
    buffer.make_ascii_lowercase();
    std::str::from_utf8(buffer).ok()
}
