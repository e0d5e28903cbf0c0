//! Calls by the names of single services.

use super::lab::*;
use crate::config::{DomainName, Host, Service, ServiceTarget};
use crate::edge::calls::{Callee, Outcome};
use crate::edge::hosts::names::Which;
use crate::edge::proxies::Known;
use crate::flow::tunnel::services::SERVICES;
use crate::flow::tunnel::{Opens, Session};
use std::net::Ipv4Addr;
use std::sync::Arc;

fn target(port: u16) -> ServiceTarget {
    ServiceTarget { protocol: Some(6), port: Some(port) }
}

/// A host with a service of each of these names.
fn serving(edge: usize, number: u8, services: &[(&str, u16)]) -> Host {
    let name =
        |label: &str| DomainName::new(&format!("{label}.{}", host_name(edge, number))).expect("a name");
    let service = |(label, port): &(&str, u16)| Service { name: name(label), target: target(*port) };
    Host { services: services.iter().map(service).collect(), ..host(edge, number) }
}

fn call(lab: &mut Lab, label: &str) -> u64 {
    let name = format!("{label}.{}", host_name(1, 2));
    let speakers = lab.speakers(&name);
    let name = DomainName::new(&name).expect("a name");
    let call = lab.call_at((0, 1), name, Callee::Remote(speakers));
    lab.run(500);
    call
}

/// Of two edges, where the second one's host 2 has services.
fn lab(texts: &[&'static str], signing: &[usize]) -> Lab {
    let mut lab = Lab::new(texts, signing);
    lab.put(1, &serving(1, 2, &[("www", 443), ("shop", 443), ("ssh", 22)]));
    lab
}

fn may_open(lab: &Lab, proxy: Ipv4Addr, port: u16) -> bool {
    let table = lab.edges[0].service.shared.clone();
    let (_, record) = table.find_pair(REALM, address(1), proxy).expect("a session");
    record.services().allow(Opens::Host, 6, port)
}

/// What the called host's edge has of its sessions: the proxy address, and whether these ports are open.
fn called(lab: &Lab) -> Vec<(Ipv4Addr, [bool; 3])> {
    let table: Arc<_> = lab.edges[1].service.shared.clone();
    let open = |record: &Session| [22, 443, 80].map(|port| record.services().allow(Opens::Remote, 6, port));
    let live = lab.edges[1].service.live().iter();
    let mut all: Vec<_> =
        live.map(|(tag, s)| (s.proxy, open(table.find(tag.get()).expect("a record")))).collect();
    all.sort();
    all
}

#[test]
fn the_name_of_a_service_opens_that_service_alone() {
    for signing in [&[][..], &[0, 1]] {
        let mut lab = lab(&["", ""], signing);
        let (whole, www, port) = (lab.call((0, 1), (1, 2)), call(&mut lab, "www"), call(&mut lab, "ssh"));
        let [whole, www, port] = [whole, www, port].map(|call| lab.reached(0, call));
        assert!(whole != www && www != port && port != whole, "each has a session of its own");
        assert_eq!([22, 443, 80].map(|port| may_open(&lab, whole, port)), [true; 3]);
        assert_eq!([22, 443, 80].map(|port| may_open(&lab, www, port)), [false, true, false]);
        assert_eq!([22, 443, 80].map(|at| may_open(&lab, port, at)), [true, false, false]);
        // The edge of the called host sees to it, and whoever is called sees by whom, each time at another address.
        let mut open: Vec<_> = called(&lab);
        open.dedup_by_key(|(proxy, _)| *proxy);
        let mut open: Vec<_> = open.iter().map(|(_, open)| *open).collect();
        open.sort();
        assert_eq!(open, [[false, true, false], [true, false, false], [true, true, true]]);
        for (proxy, _) in called(&lab) {
            assert!(matches!(lab.edges[1].proxies.known(REALM, proxy), Known::Named(_)));
        }
        let name = format!("www.{}", host_name(1, 2));
        assert_eq!(lab.edges[0].proxies.known(REALM, www), Known::Named(vec![name.into()]));
        lab.assert_empty();
    }
}

#[test]
fn two_names_of_a_service_do_not_end_each_others_sessions() {
    let mut lab = lab(&["", ""], &[]);
    let (www, shop) = (call(&mut lab, "www"), call(&mut lab, "shop"));
    let [one, other] = [www, shop].map(|call| lab.reached(0, call));
    let again = call(&mut lab, "www");
    assert_eq!((lab.reached(0, again), lab.edges[0].service.counters().reused), (one, 1));
    assert!(one != other && called(&lab).len() == 2);
    lab.assert_empty();
}

#[test]
fn a_name_that_nobody_has_is_refused_by_name_and_no_hash_counts_against_who_asks() {
    let mut lab = lab(&["", ""], &[]);
    // Nor is the label of a port a name to call by: one host would have as many sessions as there are ports.
    for label in ["tcp22", "nobody"] {
        let nobody = call(&mut lab, label);
        assert_eq!(lab.outcome(0, nobody), Some(Outcome::Refused));
    }
    assert_eq!(
        lab.last_refusal(1),
        "own nobody.h2.e1.example fqdn-hash:".to_owned() + &hash_text(0, 1) + ": no such host"
    );
    let protocol = lab.edges[1].service.protocol().counters();
    assert_eq!((protocol.unknown_hashes, protocol.refused), (2, 2));
    let www = call(&mut lab, "www");
    lab.reached(0, www);
    let protocol = lab.edges[1].service.protocol().counters();
    assert_eq!((protocol.unknown_hashes, protocol.refused), (3, 2), "no refusal is kept of a hash");
    lab.assert_empty();
}

fn hash_text(edge: usize, number: u8) -> String {
    let hash = crate::edge::hosts::name_hash(&host_name(edge, number));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_a_policy_closes_no_name_opens() {
    let mut lab = lab(&["", ""], &[]);
    lab.user_rules(1, 2, &["anyone service=tcp/443", "nobody"]);
    let (www, ssh) = (call(&mut lab, "www"), call(&mut lab, "ssh"));
    lab.reached(0, www);
    assert_eq!(lab.outcome(0, ssh), Some(Outcome::Refused));
    let told = lab.last_refusal(1);
    assert!(told.contains(": refused by policy host user-2"), "{told}");
    lab.assert_empty();
}

#[test]
fn who_is_called_by_the_name_of_a_service_proves_that_name() {
    const SIGNS: &str = "[policy]\noffered_as_ices = [\"domain\", \"signature on-query\"]\n";
    const STRICT: &str =
        "[[policy.operator]]\nname = \"strict\"\nrequired_as_oces = [\"signature\", \"naming-check\"]\n";
    let mut lab = lab(&[STRICT, SIGNS], &[0, 1]);
    let (www, ssh) = (call(&mut lab, "www"), call(&mut lab, "ssh"));
    let [www, ssh] = [www, ssh].map(|call| lab.reached(0, call));
    assert!(may_open(&lab, www, 443) && may_open(&lab, ssh, 22));
    lab.assert_empty();
}

#[test]
fn a_service_that_is_given_up_takes_its_sessions_with_it() {
    let mut lab = lab(&["", ""], &[]);
    let calls = [call(&mut lab, "www"), call(&mut lab, "ssh"), lab.call((0, 1), (1, 2))];
    lab.run(500);
    calls.iter().for_each(|call| _ = lab.reached(0, *call));
    assert_eq!(called(&lab).len(), 3);
    lab.put(1, &serving(1, 2, &[("www", 443)]));
    lab.run(500);
    let open: Vec<_> = called(&lab).iter().map(|(_, open)| *open).collect();
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(!open.contains(&[true, false, false]), "ssh is over");
    assert_eq!(lab.edges[0].service.live().len(), 2);
    // The name means another port now.
    lab.put(1, &serving(1, 2, &[("www", 8443)]));
    lab.run(500);
    assert_eq!(called(&lab).iter().map(|(_, open)| *open).collect::<Vec<_>>(), [[true; 3]]);
    lab.assert_empty();
}

#[test]
fn within_an_edge_the_name_of_a_service_opens_that_service_alone_and_others_join_it() {
    let mut lab = Lab::new(&[""], &[]);
    let call = |lab: &mut Lab, port: Option<u16>| {
        let callee = lab.edges[0].register.host(&host(0, 2).name).expect("a host").id;
        let call = lab.call_at((0, 1), host(0, 2).name, Callee::Local(callee, port.map(target)));
        lab.reached(0, call)
    };
    let proxy = call(&mut lab, Some(443));
    let open = |lab: &Lab| [22, 443, 80].map(|port| may_open(lab, proxy, port));
    assert_eq!(open(&lab), [false, true, false]);
    assert_eq!((call(&mut lab, Some(443)), lab.edges[0].service.counters().reused), (proxy, 1));
    assert_eq!(call(&mut lab, Some(22)), proxy);
    assert_eq!(open(&lab), [true, true, false]);
    let back = lab.call_local(0, 2, 1);
    lab.reached(0, back);
    assert_eq!(open(&lab), [true, true, false], "who is called back has opened nothing");
    assert_eq!(call(&mut lab, None), proxy);
    assert_eq!((open(&lab), lab.edges[0].service.counters().reused), ([true; 3], 1));
    assert_eq!((call(&mut lab, Some(80)), lab.edges[0].service.counters().reused), (proxy, 2), "all is open");
    lab.assert_empty();
}

#[test]
fn within_an_edge_more_services_are_called_than_are_remembered() {
    let mut lab = Lab::new(&[""], &[]);
    let callee = lab.edges[0].register.host(&host(0, 2).name).expect("a host").id;
    for round in 0..2 {
        let mut call = |port| {
            let call = lab.call_at((0, 1), host(0, 2).name, Callee::Local(callee, Some(target(port))));
            lab.outcome(0, call)
        };
        let answered = (1..=SERVICES as u16).filter(|port| matches!(call(*port), Some(Outcome::Address(_))));
        assert_eq!(answered.count(), SERVICES, "round {round}");
        assert_eq!(call(1 + SERVICES as u16), Some(Outcome::Busy), "there is no room for more of a session");
    }
    lab.assert_empty();
}

#[test]
fn within_an_edge_a_service_that_is_closed_is_refused_by_its_name() {
    let mut lab = Lab::new(&[""], &[]);
    lab.user_rules(0, 2, &["anyone service=tcp/443", "nobody"]);
    let callee = lab.edges[0].register.host(&host(0, 2).name).expect("a host").id;
    for (port, is_open) in [(443, true), (22, false)] {
        let call = lab.call_at((0, 1), host(0, 2).name, Callee::Local(callee, Some(target(port))));
        assert_eq!(matches!(lab.outcome(0, call), Some(Outcome::Address(_))), is_open, "{port}");
    }
    lab.assert_empty();
}

#[test]
fn every_name_of_a_host_has_a_number_of_its_own() {
    let mut lab = lab(&["", ""], &[]);
    let register = &mut lab.edges[1].register;
    let names = ["h2", "www.h2", "shop.h2", "ssh.h2"].map(|label| format!("{label}.e1.example"));
    let mut seen: Vec<Which> = Vec::new();
    for name in names {
        let found = register.by_name(&name).expect(&name);
        let which = found.which.expect("it is written down");
        assert_eq!(found.host.named(which), Some((&*name, found.service)));
        assert!(!seen.contains(&which), "{name}");
        seen.push(which);
    }
    let host = register.by_name("h2.e1.example").expect("a host").host;
    assert_eq!(register.by_name("tcp22.h2.e1.example").expect("a port").which, None);
    for number in [4, 200, u32::MAX] {
        assert_eq!(host.named(Which::from_number(number)), None, "{number:#x}");
    }
}
