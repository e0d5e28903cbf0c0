//! The register and its store against a naive model: whatever is added, replaced, removed, imported, looked up, and read again
//! after a restart.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::change::Change;
use super::record::Record;
use super::store::Store;
use super::{Origin, Register};
use crate::config::{Dhcid, DomainName, Host, Realms, Service, ServiceTarget};

pub(super) fn realms() -> Realms {
    let text = "[instance]\nname = \"t\"\n[workers]\ncores = [1]\n[[port]]\nname = \"p\"\ndevice = \"net_null0\"\n\
                [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"office\"\nside = \"inside\"\n\
                [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
                [[interface]]\nport = \"p\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n[hosts]\n";
    crate::config::parse("test", text).expect("a right text").hosts.expect("a register").realms
}

fn name(number: u8) -> DomainName {
    DomainName::new(&format!("h{number}.ces.example")).expect("a name")
}

fn address(number: u8) -> IpAddr {
    match number % 2 {
        0 => Ipv4Addr::new(10, 0, 0, number).into(),
        _ => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

/// Hosts of few names and addresses, so that they meet.
fn host() -> impl Strategy<Value = Host> {
    let target = (any::<Option<u8>>(), proptest::option::of(1..=u16::MAX))
        .prop_map(|(protocol, port)| ServiceTarget { protocol, port });
    let services = proptest::collection::btree_map(0..12u8, target, 0..3);
    let addresses = proptest::collection::btree_set(0..16u8, 0..4);
    let limits = (proptest::option::of(1..=u16::MAX), proptest::option::of(1..1_000_000u32));
    (0..12u8, 1..3u16, addresses, services, proptest::option::of("[a-z]{1,8}"), limits, dhcid()).prop_map(
        |(own, realm, addresses, services, group, limits, dhcid)| Host {
            name: name(own),
            realm,
            addresses: addresses.into_iter().map(address).collect(),
            group,
            services: services
                .into_iter()
                .filter(|(number, _)| *number != own)
                .map(|(number, target)| Service { name: name(number), target })
                .collect(),
            pending_reservations: limits.0,
            reservations_per_second: limits.1,
            dhcid,
        },
    )
}

fn dhcid() -> impl Strategy<Value = Option<Dhcid>> {
    let data = proptest::collection::vec(any::<u8>(), 4..=Dhcid::MOST);
    proptest::option::of(data.prop_map(|data| Dhcid::new(&data).expect("its length")))
}

#[derive(Clone, Debug)]
enum Deed {
    Change(Change),
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let change = prop_oneof![
        6 => (host(), any::<bool>()).prop_map(|(host, replace)| Change::Add { host, replace }),
        2 => (0..12u8).prop_map(|n| Change::Remove { name: name(n) }),
        2 => (0..12u8, 0..16u8).prop_map(|(n, a)| Change::AddAddress { name: name(n), address: address(a) }),
        1 => (0..12u8, 0..16u8).prop_map(|(n, a)| Change::RemoveAddress { name: name(n), address: address(a) }),
        1 => (0..12u8, proptest::collection::vec(0..16u8, 0..3), dhcid()).prop_map(|(n, a, dhcid)| {
            Change::ReplaceLease { name: name(n), addresses: a.into_iter().map(address).collect(), dhcid }
        }),
    ];
    prop_oneof![12 => change.prop_map(Deed::Change), 1 => Just(Deed::Restart)]
}

/// Hosts by name, and no index at all.
#[derive(Default)]
struct Model {
    hosts: BTreeMap<DomainName, Host>,
    capacity: usize,
}

impl Model {
    fn with(&self, host: Host, replace: bool) -> bool {
        let clash = |other: &&Host| {
            let names = |h: &Host| -> Vec<DomainName> {
                std::iter::once(h.name.clone()).chain(h.services.iter().map(|s| s.name.clone())).collect()
            };
            let mine = names(&host);
            names(other).iter().any(|name| mine.contains(name))
                || other.realm == host.realm && other.addresses.iter().any(|a| host.addresses.contains(a))
        };
        let others = self.hosts.values().filter(|other| !(replace && other.name == host.name));
        let is_new = !self.hosts.contains_key(&host.name);
        !others.clone().any(|other| clash(&other)) && (!is_new || self.hosts.len() < self.capacity)
    }

    /// Whether the change is made.
    fn change(&mut self, change: &Change) -> bool {
        let (host, replace) = match change {
            Change::Add { host, replace } => (Some(host.clone()), *replace),
            Change::Remove { name } => return self.hosts.remove(name).is_some(),
            Change::AddAddress { name, address } => (
                self.hosts.get(name).cloned().map(|mut host| {
                    if !host.addresses.contains(address) {
                        host.addresses.push(*address);
                    }
                    host
                }),
                true,
            ),
            Change::RemoveAddress { name, address } => {
                let Some(host) = self.hosts.get_mut(name) else { return false };
                let before = host.addresses.len();
                host.addresses.retain(|own| own != address);
                return host.addresses.len() < before;
            }
            Change::ReplaceLease { name, addresses, dhcid } => (
                self.hosts.get(name).cloned().map(|mut host| {
                    host.addresses = vec![];
                    host.dhcid = dhcid.clone();
                    for address in addresses {
                        if !host.addresses.contains(address) {
                            host.addresses.push(*address);
                        }
                    }
                    host
                }),
                true,
            ),
        };
        match host {
            Some(host) if self.with(host.clone(), replace) => {
                self.hosts.insert(host.name.clone(), host);
                true
            }
            _ => false,
        }
    }
}

fn same(register: &Register, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(register.len(), model.hosts.len());
    let shown: BTreeMap<DomainName, Host> =
        register.iter_from(0).map(|host| (host.host().name.clone(), host.host())).collect();
    prop_assert_eq!(&shown, &model.hosts);
    for number in 0..12 {
        let name = name(number);
        let of = |host: &Host| {
            let service = host.services.iter().find(|service| service.name == name);
            (host.name == name || service.is_some()).then(|| (host.clone(), service.map(|s| s.target)))
        };
        let expected = model.hosts.values().find_map(of);
        let found = register.by_name(&format!("{}.", name.as_str().to_uppercase()));
        prop_assert_eq!(found.map(|found| (found.host.host(), found.service)), expected);
    }
    for (realm, number) in (1..3u16).flat_map(|realm| (0..16).map(move |number| (realm, number))) {
        let address = address(number);
        let expected = model.hosts.values().find(|h| h.realm == realm && h.addresses.contains(&address));
        let found = register.by_address(realm, address).map(|host| host.host());
        prop_assert_eq!(found.as_ref(), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn register_and_store_do_what_a_list_does(deeds in proptest::collection::vec(deed(), 1..40)) {
        let directory = tempdir();
        let path = directory.0.join("hosts");
        let (realms, capacity) = (realms(), 6);
        let mut store = Store::open(&path).unwrap();
        let mut register = Register::new(capacity);
        let mut model = Model { capacity, ..Model::default() };
        for deed in deeds {
            match deed {
                Deed::Restart => {
                    drop(store);
                    store = Store::open(&path).unwrap();
                    register = Register::new(capacity);
                    let loaded = store.load(&mut register, &realms).unwrap();
                    prop_assert_eq!((loaded.hosts, loaded.left_out), (model.hosts.len() as u64, 0));
                }
                Deed::Change(change) => {
                    let done = match register.judge(&change) {
                        Ok(Some(edit)) => {
                            store.write(std::slice::from_ref(&edit), &realms).unwrap();
                            register.apply(&edit);
                            true
                        }
                        Ok(None) => true,
                        Err(_) => false,
                    };
                    prop_assert_eq!(done, model.change(&change), "{:?}", change);
                }
            }
            same(&register, &model)?;
        }
    }

    #[test]
    fn a_record_is_the_host_that_it_was_made_of(host in host()) {
        let record = Record::new(&host);
        prop_assert_eq!(record.host(), Some(host.clone()));
        prop_assert_eq!(Record::read_stored(host.realm, record.stored()), Some(host.clone()));
        // Whatever is cut off or put behind is no host.
        for length in 0..record.stored().len() {
            prop_assert_eq!(Record::read_stored(1, &record.stored()[..length]), None);
        }
        prop_assert_eq!(Record::read_stored(1, &[record.stored(), &[0]].concat()), None);
    }

    #[test]
    fn no_bytes_of_a_store_make_it_panic(bytes: Vec<u8>, at in 0usize..200, host in host(), byte: u8) {
        let _ = Record::read_stored(1, &bytes);
        let mut stored = Record::new(&host).stored().to_vec();
        let at = at % stored.len();
        stored[at] = byte;
        if let Some(read) = Record::read_stored(1, &stored) {
            // What passes is judged: it goes into the register and out of it again.
            let mut register = Register::new(1);
            if let Ok(id) = register.insert(&read, Origin::Runtime, false) {
                prop_assert_eq!(register.remove(id), Some(read));
            }
        }
    }
}

/// A directory that goes with the value.
pub(super) struct TemporaryDirectory(pub std::path::PathBuf);

pub(super) fn tempdir() -> TemporaryDirectory {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ces-hosts-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory for the test");
    TemporaryDirectory(path)
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
