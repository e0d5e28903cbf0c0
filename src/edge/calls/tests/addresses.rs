//! Hosts with several addresses: a session is its host's, whichever it uses.

use super::lab::*;
use crate::config::Host;
use std::net::Ipv4Addr;

/// A host with these addresses.
fn at(edge: usize, number: u8, addresses: &[u8]) -> Host {
    Host { addresses: addresses.iter().map(|last| address(*last).into()).collect(), ..host(edge, number) }
}

/// By which addresses an edge finds sessions with that proxy address.
fn found(lab: &Lab, edge: usize, proxy: Ipv4Addr) -> Vec<u8> {
    let table = lab.edges[edge].service.shared.clone();
    (1..30).filter(|last| table.find_pair(REALM, address(*last), proxy).is_some()).collect()
}

#[test]
fn a_session_is_found_by_each_address_that_its_host_has() {
    let mut lab = Lab::new(&["", ""], &[]);
    lab.put(0, &at(0, 1, &[1, 21]));
    lab.put(1, &at(1, 2, &[2, 22]));
    let call = lab.call((0, 1), (1, 2));
    lab.run(500);
    let proxy = lab.reached(0, call);
    assert_eq!(found(&lab, 0, proxy), [1, 21]);
    let theirs = lab.edges[1].service.live().iter().next().expect("a session").1.proxy;
    assert_eq!(found(&lab, 1, theirs), [2, 22], "who is called has all of its, too");
    // One comes, one goes; the one that it was made with stays.
    lab.put(0, &at(0, 1, &[23, 1]));
    lab.run(500);
    assert_eq!(found(&lab, 0, proxy), [1, 23]);
    assert!(lab.packet(0, 23, proxy), "it is used from there");
    // It goes: so does the session, and the next one is made with what is left.
    lab.put(0, &at(0, 1, &[23]));
    lab.run(500);
    assert_eq!((found(&lab, 0, proxy), lab.edges[0].service.live().len()), (vec![], 0));
    assert_eq!(lab.edges[0].service.counters().addresses_left_out, 0);
    lab.assert_empty();
}

#[test]
fn who_calls_from_a_further_address_is_called_back_there() {
    let mut lab = Lab::new(&["", ""], &[]);
    lab.put(0, &at(0, 1, &[21, 1]));
    let call = lab.call((0, 1), (1, 2));
    lab.run(500);
    let proxy = lab.reached(0, call);
    let session = lab.edges[0].service.live().iter().next().expect("a session").1.host;
    assert_eq!((session, found(&lab, 0, proxy)), (address(1), vec![1, 21]));
    lab.assert_empty();
}

#[test]
fn an_address_that_another_host_has_now_is_in_its_sessions_alone() {
    let mut lab = Lab::new(&["", ""], &[]);
    lab.put(0, &at(0, 1, &[1, 21]));
    let calls = [1, 3].map(|host| lab.call((0, host), (1, 2)));
    lab.run(500);
    let [proxy, same] = calls.map(|call| lab.reached(0, call));
    assert_eq!((proxy, found(&lab, 0, proxy)), (same, vec![1, 3, 21]), "of both hosts");
    let of = |lab: &Lab, last: u8| {
        let table = lab.edges[0].service.shared.clone();
        table.find_pair(REALM, address(last), proxy).map(|(_, session)| session.pair().0)
    };
    assert_eq!(of(&lab, 21), Some(address(1)));
    lab.put(0, &at(0, 1, &[1]));
    lab.put(0, &at(0, 3, &[3, 21]));
    lab.run(500);
    assert_eq!((of(&lab, 21), of(&lab, 1)), (Some(address(3)), Some(address(1))));
    lab.assert_empty();
}

#[test]
fn within_an_edge_as_well() {
    let mut lab = Lab::new(&[""], &[]);
    lab.put(0, &at(0, 1, &[1, 21]));
    let call = lab.call_local(0, 1, 2);
    let proxy = lab.reached(0, call);
    assert_eq!(found(&lab, 0, proxy), [1, 21]);
    lab.put(0, &at(0, 2, &[2, 22]));
    lab.run(500);
    let twins = lab.edges[0].service.locals().iter().next().expect("a pair").halves.clone();
    assert_eq!(found(&lab, 0, twins[1].proxy), [2, 22]);
    lab.assert_empty();
}
