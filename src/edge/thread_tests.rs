//! The thread, with the store behind it: rules of users come, go with their hosts, and outlive it.

use super::*;
use std::path::Path;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ces-thread-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("hosts")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hosts(store: Option<&Path>, capacity: u32) -> Hosts {
    let store = store.map(|store| format!("store = \"{}\"\n", store.display())).unwrap_or_default();
    let text = format!(
        "[instance]\nname = \"t\"\n[workers]\ncores = [1]\n[[port]]\nname = \"p\"\ndevice = \"net_null0\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"p\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [hosts]\ncapacity = {capacity}\n{store}[[host]]\nname = \"fixed.ces.example\"\nrealm = \"home\"\n"
    );
    crate::config::parse("test", &text).expect("a right text").hosts.expect("a register")
}

fn start(hosts: Hosts) -> Edge {
    Edge::start(hosts, Arc::default(), None).expect("it starts")
}

fn name(text: &str) -> DomainName {
    DomainName::new(text).expect(text)
}

fn add(edge: &Edge, host: &str, rule: &str, at: Option<usize>) -> Result<Vec<UserRule>, Refused> {
    let rule = UserRule::parse(rule).expect(rule);
    edge.change_rules(policy::hosts::Change::Add { host: name(host), rule, at })
}

fn rules(edge: &Edge, host: &str) -> Vec<String> {
    edge.reader().policy().users().of(&name(host)).iter().map(UserRule::to_string).collect()
}

fn add_host(edge: &Edge, host: &str, replace: bool) {
    let host = Host {
        name: name(host),
        realm: 1,
        addresses: vec![],
        group: None,
        services: vec![],
        pending_reservations: None,
        reservations_per_second: None,
        dhcid: None,
    };
    edge.change(Change::Add { host, replace }).expect("added");
}

#[test]
fn rules_outlive_the_thread_and_go_with_their_host() {
    let directory = Directory::new("rules");
    let hosts = || hosts(Some(&directory.store()), 10);
    let edge = start(hosts());
    add_host(&edge, "tv.ces.example", false);
    add(&edge, "tv.ces.example", "identified", None).expect("added");
    let both = add(&edge, "tv.ces.example", "block .spam.example", Some(1)).expect("added");
    assert_eq!(both.len(), 2);
    add(&edge, "fixed.ces.example", "nobody", None).expect("a host of the configuration has rules, too");
    assert!(matches!(add(&edge, "tv.ces.example", "nobody", None), Err(Refused::Rules(_))));
    assert!(matches!(
        add(&edge, "x.ces.example", "nobody", None),
        Err(Refused::Conflict(Conflict::Unknown(_)))
    ));
    drop(edge);

    let edge = start(hosts());
    let kept = ["block .spam.example", "identified"];
    assert_eq!(rules(&edge, "tv.ces.example"), kept);
    assert_eq!(rules(&edge, "fixed.ces.example"), ["nobody"]);
    add_host(&edge, "tv.ces.example", true);
    assert_eq!(rules(&edge, "tv.ces.example"), kept, "it is the same host");
    let remove = |at| policy::hosts::Change::Remove { host: name("fixed.ces.example"), at };
    assert!(matches!(edge.change_rules(remove(2)), Err(Refused::Rules(_))));
    assert_eq!(edge.change_rules(remove(1)).expect("removed"), []);
    edge.change(Change::Remove { name: name("tv.ces.example") }).expect("removed");
    add_host(&edge, "tv.ces.example", false);
    assert_eq!(rules(&edge, "tv.ces.example"), Vec::<String>::new(), "another of that name begins anew");
    drop(edge);

    let edge = start(hosts());
    assert!(edge.reader().policy().users().is_empty(), "so it is on disk");
}

#[test]
fn rules_that_cannot_be_read_close_their_host() {
    const POLICIES: redb::TableDefinition<&str, &str> = redb::TableDefinition::new("policies");
    let directory = Directory::new("unread");
    drop(start(hosts(Some(&directory.store()), 10)));
    let database = redb::Database::create(directory.store()).expect("the store");
    let transaction = database.begin_write().expect("begun");
    {
        let mut table = transaction.open_table(POLICIES).expect("its table");
        table.insert("tv.ces.example", "anyone\nwhoever I like").expect("written");
    }
    transaction.commit().expect("committed");
    drop(database);
    let edge = start(hosts(Some(&directory.store()), 10));
    assert_eq!(rules(&edge, "tv.ces.example"), ["nobody direction=both"]);
}

#[test]
fn rules_of_more_hosts_than_fit_are_refused_not_forgotten() {
    let directory = Directory::new("full");
    let edge = start(hosts(Some(&directory.store()), 2));
    add_host(&edge, "a.ces.example", false);
    for host in ["fixed.ces.example", "a.ces.example"] {
        add(&edge, host, "nobody", None).expect("added");
    }
    drop(edge);
    let error =
        Edge::start(hosts(Some(&directory.store()), 1), Arc::default(), None).err().expect("it is full");
    assert!(matches!(error, Error::Rules(1)), "{error}");
}
