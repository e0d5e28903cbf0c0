//! Calls within an edge.

use super::lab::*;
use crate::edge::calls::Outcome;
use crate::edge::proxies::Known;
use crate::flow::tunnel::{LOCAL, Opens};

#[test]
fn two_hosts_of_an_edge_see_each_other_by_proxy_addresses() {
    let mut lab = Lab::new(&[""], &[]);
    let call = lab.call_local(0, 1, 2);
    let proxy = lab.reached(0, call);
    assert_eq!(lab.messages, 0, "nobody else is asked");
    assert_eq!(lab.edges[0].proxies.known(REALM, proxy), Known::Named(vec![host_name(0, 2).into()]));
    let table = lab.edges[0].service.shared.clone();
    let (_, own) = table.find_pair(REALM, address(1), proxy).expect("the caller's");
    let twin = table.find(own.tags().1).expect("its twin");
    assert_eq!((own.peer(), twin.peer(), twin.tags().1), (LOCAL, LOCAL, own.tags().0));
    assert_eq!(twin.pair().0, address(2));
    assert!(own.services().allow(Opens::Host, 6, 22) && twin.services().allow(Opens::Remote, 6, 22));
    assert!(!own.services().allow(Opens::Remote, 6, 22) && !twin.services().allow(Opens::Host, 6, 22));
    // The other way round it is the same pair.
    let back = lab.call_local(0, 2, 1);
    assert_eq!(lab.reached(0, back), twin.pair().1);
    assert!(own.services().allow(Opens::Remote, 6, 22) && twin.services().allow(Opens::Host, 6, 22));
    assert_eq!((lab.edges[0].service.locals().len(), table.sessions().count()), (1, 2));
    let again = lab.call_local(0, 1, 2);
    assert_eq!(lab.reached(0, again), proxy);
    assert_eq!(lab.edges[0].service.counters().reused, 1);
    lab.assert_empty();
}

#[test]
fn twins_end_together_when_neither_is_used() {
    let mut lab = Lab::new(&[""], &[]);
    let call = lab.call_local(0, 1, 2);
    let proxy = lab.reached(0, call);
    for _ in 0..10 {
        lab.run(50_000);
        assert!(lab.packet(0, 1, proxy), "it is used");
    }
    lab.run(59_000);
    assert_eq!(lab.edges[0].service.locals().len(), 1);
    lab.run(2_000);
    assert_eq!(lab.edges[0].service.locals().len(), 0);
    assert!(!lab.packet(0, 1, proxy));
    lab.assert_empty();
}

#[test]
fn either_policy_can_refuse_and_its_rule_is_told() {
    let mut lab = Lab::new(&[""], &[]);
    lab.user_rules(0, 2, &["nobody"]);
    let call = lab.call_local(0, 1, 2);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    let told = lab.last_refusal(0);
    assert!(told.starts_with("own h1.e0.example h2.e0.example: refused by policy host "), "{told}");
    let outbound = "[[policy.operator]]\nname = \"inmates\"\nhosts = [\"h1.e0.example\"]\ndirection = \"outbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[outbound], &[]);
    let call = lab.call_local(0, 1, 2);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert!(lab.last_refusal(0).contains("operator inmates"), "{}", lab.last_refusal(0));
    assert_eq!(lab.edges[0].service.population(), [0; 8]);
}

#[test]
fn only_my_own_devices() {
    let mut lab = Lab::new(&["", ""], &[]);
    lab.user_rules(0, 2, &["own-devices"]);
    // Host 1 is of the same group, host 3 is of none.
    let own = lab.call_local(0, 1, 2);
    lab.reached(0, own);
    let other = lab.call_local(0, 3, 2);
    assert_eq!(lab.outcome(0, other), Some(Outcome::Refused));
    // And nobody behind another edge is.
    let remote = lab.call((1, 1), (0, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(1, remote), Some(Outcome::Refused));
    lab.assert_empty();
}

#[test]
fn services_are_cut_to_what_both_grant() {
    let text = "[[policy.host]]\nname = \"web\"\ndirection = \"inbound\"\nhosts = [\"h2.e0.example\"]\nservices = [\"tcp/443\"]\n\
        required_as_ices = []\n[[policy.host]]\nname = \"rest\"\nhosts = [\"h2.e0.example\"]\ndirection = \"inbound\"\nrefuse = true\n";
    let mut lab = Lab::new(&[text], &[]);
    let call = lab.call_local(0, 1, 2);
    let proxy = lab.reached(0, call);
    let table = &lab.edges[0].service.shared;
    let (_, own) = table.find_pair(REALM, address(1), proxy).expect("a session");
    assert!(own.services().allow(Opens::Host, 6, 443) && !own.services().allow(Opens::Host, 6, 80));
    lab.assert_empty();
}
