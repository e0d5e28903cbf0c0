//! Look-ups, conflicts, imports and the store, case by case.

use std::net::IpAddr;

use super::import::{self, Import, Step};
use super::model_tests::{realms, tempdir};
use super::store::Store;
use super::{Conflict, Origin, Register};
use crate::config::{DomainName, Host, HostText, ServiceTarget};

fn host(json: &str) -> Host {
    let text: HostText = serde_json::from_str(json).expect("a host");
    realms().judge(&text).expect("a right host")
}

fn plain(name: &str, address: &str) -> Host {
    host(&format!(r#"{{"name":"{name}","realm":"home","addresses":["{address}"]}}"#))
}

const WITH_SERVICES: &str = r#"{"name":"A.Ces.Example","realm":"home","addresses":["10.0.0.2","fd00::2"],"group":"staff",
    "services":[{"name":"www.ces.example","protocol":"tcp","port":443},{"name":"any.ces.example"},
    {"name":"esp.ces.example","protocol":50}],"pending_reservations":4,"reservations_per_second":9}"#;

#[test]
fn a_name_means_a_host_or_a_port_and_a_protocol_of_it() {
    let mut register = Register::new(4);
    let id = register.insert(&host(WITH_SERVICES), Origin::Runtime, false).unwrap();
    let means = |name: &str| {
        let found = register.by_name(name)?;
        assert_eq!(found.host.id, id);
        Some(found.service)
    };
    let target = |protocol, port| Some(Some(ServiceTarget { protocol, port }));
    assert_eq!(means("a.ces.example"), Some(None));
    assert_eq!(means("a.CES.example."), Some(None));
    assert_eq!(means("www.ces.example"), target(Some(6), Some(443)));
    assert_eq!(means("any.ces.example"), target(None, None));
    assert_eq!(means("esp.ces.example"), target(Some(50), None));
    assert_eq!(means("tcp8080.a.ces.example"), target(Some(6), Some(8080)));
    assert_eq!(means("UDP53.a.ces.example"), target(Some(17), Some(53)));
    for none in [
        "ces.example",
        "b.ces.example",
        "tcp.a.ces.example",
        "tcp0.a.ces.example",
        "tcp080.a.ces.example",
        "tcp+80.a.ces.example",
        "tcp65536.a.ces.example",
        "tcp80.www.ces.example",
        "tcp80.tcp80.a.ces.example",
        "",
        ".",
        &"a.".repeat(200),
    ] {
        assert_eq!(means(none), None, "{none}");
    }
    // Somebody's very own name goes before a port of somebody else's.
    let other = register.insert(&plain("tcp80.a.ces.example", "10.0.0.9"), Origin::Runtime, false).unwrap();
    let found = register.by_name("tcp80.a.ces.example").unwrap();
    assert_eq!((found.host.id, found.service), (other, None));
    let parts = register.get(id).unwrap().parts();
    assert_eq!((parts.pending_reservations, parts.reservations_per_second), (Some(4), Some(9)));
    assert_eq!(parts.group, Some("staff"));
}

#[test]
fn an_address_is_of_a_realm() {
    let mut register = Register::new(4);
    let home = register.insert(&plain("a.ces.example", "10.0.0.2"), Origin::Runtime, false).unwrap();
    let text = r#"{"name":"b.ces.example","realm":"office","addresses":["10.0.0.2"]}"#;
    let office = register.insert(&host(text), Origin::Runtime, false).unwrap();
    let address: IpAddr = "10.0.0.2".parse().unwrap();
    assert_eq!(register.by_address(1, address).map(|host| host.id), Some(home));
    assert_eq!(register.by_address(2, address).map(|host| host.id), Some(office));
    assert!(register.by_address(3, address).is_none());
    assert!(register.by_address(1, "10.0.0.3".parse().unwrap()).is_none());
}

#[test]
fn a_number_does_not_outlive_its_host() {
    let mut register = Register::new(1);
    let first = register.insert(&plain("a.ces.example", "10.0.0.2"), Origin::Runtime, false).unwrap();
    register.remove(first).unwrap();
    let second = register.insert(&plain("b.ces.example", "10.0.0.2"), Origin::Runtime, false).unwrap();
    assert_eq!(first.place(), second.place());
    assert!(register.get(first).is_none() && register.remove(first).is_none());
    assert!(register.get(second).is_some());
}

#[test]
fn conflicts_say_who_is_in_the_way() {
    let mut register = Register::new(2);
    register.insert(&host(WITH_SERVICES), Origin::Config, false).unwrap();
    let refused = |host: &Host, replace| register.check(host, replace).unwrap_err().to_string();
    let told = refused(&plain("www.ces.example", "10.0.0.3"), false);
    assert_eq!(told, r#""www.ces.example" is a name of host "a.ces.example" of the configuration"#);
    let told = refused(&plain("b.ces.example", "10.0.0.2"), false);
    assert_eq!(told, r#"10.0.0.2 is an address of host "a.ces.example" of the configuration"#);
    let told = refused(&plain("a.ces.example", "10.0.0.2"), true);
    assert!(told.contains("of the configuration, which is not changed"), "{told}");
    let name = DomainName::new("a.ces.example").unwrap();
    let removal = register.judge(&super::change::Change::Remove { name });
    assert_eq!(removal, Err(Conflict::Configured("a.ces.example".into())));

    register.insert(&plain("b.ces.example", "10.0.0.3"), Origin::Runtime, false).unwrap();
    let full = register.check(&plain("c.ces.example", "10.0.0.4"), false);
    assert_eq!(full, Err(Conflict::Full(2)));
    assert!(register.check(&plain("b.ces.example", "10.0.0.4"), true).is_ok(), "in the place of one");
    assert!(register.check(&plain("b.ces.example", "10.0.0.4"), false).is_err());
}

#[test]
fn names_and_addresses_are_bounded_too() {
    let mut register = Register::new(1);
    let many = |count: usize| {
        let addresses: Vec<String> = (0..count).map(|n| format!("\"10.0.1.{n}\"")).collect();
        host(&format!(r#"{{"name":"a.ces.example","realm":"home","addresses":[{}]}}"#, addresses.join(",")))
    };
    assert_eq!(register.check(&many(5), false), Err(Conflict::AddressesFull(4)));
    let services: Vec<String> = (0..4).map(|n| format!(r#"{{"name":"s{n}.ces.example"}}"#)).collect();
    let text = format!(r#"{{"name":"a.ces.example","realm":"home","services":[{}]}}"#, services.join(","));
    assert_eq!(register.check(&host(&text), false), Err(Conflict::NamesFull(4)));
    let id = register.insert(&many(4), Origin::Runtime, false).unwrap();
    let again = register.insert(&many(4), Origin::Runtime, true);
    assert_eq!(again, Ok(id), "what goes makes room, and who comes for it has its number");
    assert!(register.changes().since(0).is_some_and(|changed| changed.eq(&[id, id])));
}

/// A register of one configured host and one that came, a store, and what an import of `text` comes to.
fn import_of(text: &str, replace: bool) -> (Register, Store, Result<(), import::Error>) {
    let directory = tempdir();
    let store = Store::open(&directory.0.join("hosts")).unwrap();
    let mut register = Register::new(2000);
    register.insert(&plain("config.ces.example", "10.0.0.2"), Origin::Config, false).unwrap();
    let change = super::change::Change::Add { host: plain("old.ces.example", "10.0.0.3"), replace: false };
    let edit = register.judge(&change).unwrap().unwrap();
    store.write(std::slice::from_ref(&edit), &realms()).unwrap();
    register.apply(&edit);
    let path = directory.0.join("file");
    std::fs::write(&path, text).unwrap();
    let mut import = Import::open(&path, replace, &register, Some(&store)).unwrap();
    let done = loop {
        match import.step(&register, &realms()) {
            Ok(Step::More) => {}
            Ok(Step::Ready(mut adoption)) => {
                while register.adopt(&mut adoption, 100) {}
                break Ok(());
            }
            Err(error) => break Err(error),
        }
    };
    (register, store, done)
}

/// Names of the hosts that a restart would bring, but for the one of the configuration.
fn kept(store: &Store) -> Vec<String> {
    let mut register = Register::new(2000);
    store.load(&mut register, &realms()).unwrap();
    register.iter_from(0).map(|host| host.host().name.to_string()).collect()
}

fn line(number: usize) -> String {
    let [high, low] = [number / 250, number % 250 + 1];
    format!(r#"{{"name":"h{number}.ces.example","realm":"home","addresses":["10.1.{high}.{low}"]}}"#) + "\n"
}

#[test]
fn an_import_brings_every_line() {
    // More than a step, and the last line without its end.
    let text: String = (0..1500).map(line).collect::<String>() + "\n" + line(1500).trim_end();
    let (register, store, done) = import_of(&text, false);
    done.unwrap();
    assert_eq!((register.len(), kept(&store).len()), (1503, 1502));
    assert_eq!(register.by_name("h1500.ces.example").unwrap().host.origin, Origin::Runtime);
}

#[test]
fn an_import_with_a_bad_line_brings_nothing() {
    let many: String = (0..1500).map(line).collect();
    for (bad, key, message) in [
        ("{", "", "EOF"),
        (r#"{"name":"x.ces.example"}"#, "", "missing field `realm`"),
        (r#"{"name":"x.ces.example","realm":"home","adresses":[]}"#, "", "unknown field `adresses`"),
        (r#"{"name":"x","realm":"home"}"#, "name", "only one label"),
        (r#"{"name":"x.ces.example","realm":"internet"}"#, "realm", "is outside"),
        (r#"{"name":"x.ces.example","realm":"homes"}"#, "realm", "no realm is named"),
        (r#"{"name":"x.ces.example","realm":"home","addresses":["10.0.0.1"]}"#, "addresses", "edge's own"),
        (r#"{"name":"x.ces.example","realm":"home","addresses":["10.0.0.2"]}"#, "addresses", "config.ces"),
        (r#"{"name":"x.ces.example","realm":"home","addresses":["10.1.0.1"]}"#, "addresses", "a line before"),
        (r#"{"name":"h3.ces.example","realm":"home"}"#, "name", "on a line before"),
        (r#"{"name":"old.ces.example","realm":"home"}"#, "name", "\"old.ces.example\" is a name of host"),
        (
            r#"{"name":"x.ces.example","realm":"home","pending_reservations":0}"#,
            "pending_reservations",
            "0 is",
        ),
        (
            r#"{"name":"x.ces.example","realm":"home","services":[{"name":"y.ces.example","port":"http"}]}"#,
            "services.port",
            "\"http\" is no port",
        ),
        (
            r#"{"name":"x.ces.example","realm":"home","services":[{"name":"h3.ces.example"}]}"#,
            "services.name",
            "a line before",
        ),
    ] {
        let (register, store, done) = import_of(&format!("{many}{bad}\n"), false);
        let Err(import::Error::Lines(lines)) = done else { panic!("{bad}: {done:?}") };
        assert_eq!((lines.len(), lines[0].line, lines[0].key.as_str()), (1, 1501, key), "{bad}: {lines:?}");
        assert!(lines[0].message.contains(message) && !lines[0].hint.is_empty(), "{bad}: {lines:?}");
        assert_eq!((register.len(), kept(&store)), (2, vec!["old.ces.example".to_owned()]), "{bad}");
    }
    let long = format!("{}\n{}", "x".repeat(2 * import::LINE_MAX), "{\n".repeat(20));
    let (.., done) = import_of(&long, false);
    let Err(import::Error::Lines(lines)) = done else { panic!("{done:?}") };
    assert!(lines[0].message.contains("longer than") && lines[1].line == 2, "{lines:?}");
    assert_eq!(lines.len(), import::REFUSALS_MAX);
    let full: String = (0..1999).map(line).collect();
    let (register, _, done) = import_of(&full, false);
    let Err(import::Error::Lines(lines)) = done else { panic!("{done:?}") };
    assert!(lines[0].message.contains("the register is full") && lines[0].line == 1999, "{lines:?}");
    assert_eq!(register.len(), 2);
}

#[test]
fn an_import_may_replace_what_came_at_run_time() {
    let old = r#"{"name":"old.ces.example","realm":"home","addresses":["10.0.0.9"]}"#;
    let full: String = (0..1998).map(line).collect::<String>() + old;
    let (register, store, done) = import_of(&full, true);
    done.unwrap();
    assert_eq!((register.len(), kept(&store).len()), (2000, 1999), "what is replaced makes room");
    assert_eq!(register.by_name("old.ces.example").unwrap().host.host().addresses.len(), 1);
    assert!(register.by_address(1, "10.0.0.3".parse().unwrap()).is_none());
    assert!(register.by_address(1, "10.0.0.9".parse().unwrap()).is_some());
    let (_, _, done) = import_of(r#"{"name":"config.ces.example","realm":"home"}"#, true);
    let Err(import::Error::Lines(lines)) = done else { panic!("{done:?}") };
    assert!(lines[0].message.contains("of the configuration"), "{lines:?}");
}

#[test]
fn what_does_not_fit_into_this_configuration_stays_in_the_store() {
    let directory = tempdir();
    let store = Store::open(&directory.0.join("hosts")).unwrap();
    let mut register = Register::new(10);
    for new in [
        plain("a.ces.example", "10.0.0.2"),
        plain("b.ces.example", "10.0.0.3"),
        host(r#"{"name":"c.ces.example","realm":"office"}"#),
    ] {
        let edit =
            register.judge(&super::change::Change::Add { host: new, replace: false }).unwrap().unwrap();
        store.write(std::slice::from_ref(&edit), &realms()).unwrap();
        register.apply(&edit);
    }
    let mut register = Register::new(10);
    register.insert(&plain("new.ces.example", "10.0.0.2"), Origin::Config, false).unwrap();
    let loaded = store.load(&mut register, &realms()).unwrap();
    assert_eq!((loaded.hosts, loaded.left_out), (2, 1));
    assert!(register.by_name("a.ces.example").is_none());
    assert_eq!(register.by_address(1, "10.0.0.2".parse().unwrap()).unwrap().origin, Origin::Config);
    // Without what was in the way it is back; without its realm another is not.
    assert_eq!(kept(&store).len(), 3);
    let loaded = store.load(&mut Register::new(10), &crate::config::Realms::default()).unwrap();
    assert_eq!((loaded.hosts, loaded.left_out), (0, 3));
}

#[test]
fn what_is_not_committed_never_was() {
    let directory = tempdir();
    let path = directory.0.join("hosts");
    let store = Store::open(&path).unwrap();
    let mut batch = store.begin().unwrap();
    let a = plain("a.ces.example", "10.0.0.2");
    batch.insert(&[("a.ces.example", super::record::Record::new(&a))], &realms()).unwrap();
    drop(batch);
    assert_eq!(kept(&store), Vec::<String>::new());
    let mut batch = store.begin().unwrap();
    batch.insert(&[("a.ces.example", super::record::Record::new(&a))], &realms()).unwrap();
    batch.commit().unwrap();
    drop(store);
    assert_eq!(kept(&Store::open(&path).unwrap()), ["a.ces.example"]);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let directory = tempdir();
    let path = directory.0.join("hosts");
    std::fs::write(&path, "not a store, but somebody's letters\n".repeat(300)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(&path).err().unwrap().to_string();
    assert!(refused.contains("hosts.store"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let store = Store::open(&directory.0.join("other")).unwrap();
    let twice = Store::open(&directory.0.join("other")).err().unwrap().to_string();
    assert!(twice.contains("another process may have it open"), "{twice}");
    drop(store);
}

/// Other edges call a host by the hash of its own name.
#[test]
fn a_host_is_found_by_the_hash_of_its_name_as_long_as_it_is_there() {
    let mut register = Register::new(4);
    let first = register.insert(&plain("a.ces.example", "10.0.0.9"), Origin::Runtime, false).unwrap();
    let second =
        register.insert(&host(WITH_SERVICES.replace("A.Ces", "b.Ces").as_str()), Origin::Runtime, false);
    let (a, b) = (super::name_hash("a.ces.example"), super::name_hash("b.ces.example"));
    fn found(register: &Register, hash: &super::NameHash) -> Option<(super::HostId, super::NameHash)> {
        register.by_hash(hash).map(|host| (host.id, *host.hash()))
    }
    assert_eq!(found(&register, &a), Some((first, a)));
    assert_eq!(found(&register, &b), Some((second.unwrap(), b)));
    assert_eq!(found(&register, &super::name_hash("www.ces.example")), None, "a service's");
    register.remove(first);
    assert_eq!(found(&register, &a), None);
    let again = register.insert(&plain("c.ces.example", "10.0.0.9"), Origin::Runtime, false).unwrap();
    assert_eq!((found(&register, &a), again.place()), (None, first.place()));
    assert_eq!(register.hashes.len(), register.len(), "nothing of who is gone is kept");
}
