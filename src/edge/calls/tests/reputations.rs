//! What others are held to be worth, and what it does.

use super::lab::*;
use crate::edge::calls::Outcome;
use crate::edge::calls::edges::Key;
use crate::edge::calls::reputations::{EDGES, HOSTS, Reputations, What};
use crate::edge::cetp::association::Report;
use crate::edge::cetp::message::{Evidence, Fqdn, Misbehaviour, Sessions};
use crate::edge::hosts::name_hash;

/// Who is worth little is refused.
const PICKY: &str = "[[policy.operator]]\nname = \"bad\"\nreputation_below = 30\nrefuse = true\n";

fn named(edge: usize) -> Key {
    Key::Named(edge_name(edge).into())
}

/// What edge 1 holds of a host behind edge `of`.
fn worth(lab: &Lab, of: usize, host: u8) -> u8 {
    lab.edges[1].service.reputations.of(&named(of), Some(&name_hash(&host_name(of, host))), lab.now)
}

/// Calls that are refused.
fn annoy(lab: &mut Lab, host: u8, times: usize) {
    for _ in 0..times {
        let call = lab.call((0, host), (1, 2));
        lab.run(10);
        assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    }
}

/// Edges 0 and 2 have associations with edge 1, whose host 2 takes no calls.
fn associated() -> Lab {
    let mut lab = Lab::new(&["", PICKY, ""], &[0, 1, 2]);
    let calls = [(0, lab.call((0, 4), (1, 4))), (2, lab.call((2, 4), (1, 4)))];
    lab.run(2_000);
    calls.iter().for_each(|(edge, call)| _ = lab.reached(*edge, *call));
    for other in [0, 2].map(edge_name) {
        assert!(lab.edges[1].service.protocol().peer(Fqdn::new(&other).expect("a name")).is_some());
    }
    lab.user_rules(1, 2, &["nobody"]);
    lab
}

/// Edge 1 refuses whoever is worth little, and its host 2 everybody; hosts 1 and 4 behind edge 0 have sessions with its hosts 3 and 4.
pub fn session_with_a_picky_edge() -> Lab {
    let mut lab = associated();
    let call = lab.call((0, 1), (1, 3));
    lab.run(100);
    lab.reached(0, call);
    lab
}

#[test]
fn who_is_refused_again_and_again_is_worth_less_until_time_heals() {
    let mut lab = associated();
    annoy(&mut lab, 1, 12);
    assert!(worth(&lab, 0, 1) < 30, "{}", worth(&lab, 0, 1));
    // As an operator asks for it.
    let told = |edge: Option<usize>, host: u8| {
        let name = edge.map(edge_name);
        lab.edges[1].service.worth(name.as_deref(), &host_name(edge.unwrap_or(1), host), lab.now())
    };
    assert_eq!([told(Some(0), 1), told(Some(2), 1), told(None, 2)], [worth(&lab, 0, 1), 45, 45]);
    let call = lab.call((0, 1), (1, 3));
    lab.run(10);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    let told = lab.last_refusal(1);
    assert!(
        told.starts_with("own h3.e1.example ") && told.contains("refused by policy operator bad"),
        "{told}"
    );
    // It isn't the fault of its neighbours, nor of others.
    let calls = [(0, lab.call((0, 3), (1, 3))), (2, lab.call((2, 1), (1, 3)))];
    lab.run(100);
    calls.iter().for_each(|(edge, call)| _ = lab.reached(*edge, *call));
    lab.run(480_000);
    let call = lab.call((0, 1), (1, 3));
    lab.run(1_000);
    lab.reached(0, call);
    lab.assert_empty();
}

#[test]
fn what_anybody_can_send_in_another_s_name_counts_for_nothing() {
    let mut lab = Lab::new(&["", PICKY], &[]);
    lab.user_rules(1, 2, &["nobody"]);
    annoy(&mut lab, 1, 12);
    assert!(lab.edges[1].service.reputations.is_empty());
    lab.assert_empty();
}

#[test]
fn a_name_that_is_elsewhere_is_its_edge_s_fault_too() {
    let text = "[policy]\noffered_as_oces = [\"domain\"]\n[[policy.operator]]\nname = \"strict\"\n\
        required_as_ices = [\"naming-check\"]\n";
    let mut lab = Lab::new(&[text, text], &[]);
    lab.elsewhere.insert(host_name(0, 3), std::net::Ipv4Addr::new(192, 0, 2, 99));
    let call = lab.call((0, 3), (1, 2));
    lab.run(1_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    let shown = lab.edges[1].service.reputations.worst(9, lab.now);
    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|shown| shown.value < 45 && shown.edge.as_deref() == Some("192.0.2.1")));
    assert!(shown.iter().any(|shown| shown.host.as_deref() == Some("h3.e0.example")), "{shown:?}");
    lab.assert_empty();
}

#[test]
fn an_edge_that_asks_for_more_than_was_granted_is_worth_less() {
    let mut lab = Lab::new(&["", ""], &[0, 1]);
    lab.edges[1].service.own.limits.negotiations = 2;
    lab.call((0, 4), (1, 4));
    lab.run(2_000);
    for (host, to) in (1..=4).flat_map(|host| (1..=3).map(move |to| (host, to))) {
        lab.call((0, host), (1, to));
    }
    lab.run(500);
    let worth = lab.edges[1].service.reputations.of(&named(0), None, lab.now);
    assert!(worth < 30, "{worth}");
    lab.assert_empty();
}

#[test]
fn a_session_that_both_have_used_speaks_for_them() {
    let mut lab = associated();
    let call = lab.call((0, 1), (1, 3));
    lab.run(100);
    let proxy = lab.reached(0, call);
    let (_, theirs) =
        lab.edges[1].service.live().iter().find(|(_, s)| s.host == address(3)).expect("a session");
    let theirs = theirs.proxy;
    assert!(lab.packet(0, 1, proxy) && lab.packet(1, 3, theirs));
    lab.run(70_000);
    assert!(worth(&lab, 0, 1) > 45, "{}", worth(&lab, 0, 1));
    assert_eq!(worth(&lab, 2, 1), 45);
    lab.assert_empty();
}

/// Edge 1 has evidence, so often, of so much, of the host behind edge 0 that has a session with its host 3.
fn accuse(lab: &mut Lab, times: usize, count: u32) {
    let of_third = lab.edges[1].service.live().iter().find(|(_, session)| session.host == address(3));
    let local = of_third.expect("a session").0;
    for _ in 0..times {
        let sessions = Sessions::default();
        let report = Report::Evidence(Evidence { misbehaviour: Misbehaviour::SCAN, count, sessions });
        let is_sent = lab.at(1, |service, lent, now| {
            service.drive(lent, now, |cetp, _, out| cetp.report_session(local, &report, now.io(), out))
        });
        assert!(is_sent);
        lab.run(100);
    }
}

#[test]
fn an_own_host_that_comes_to_be_worth_too_little_loses_its_sessions_within_the_edge() {
    let mut lab = Lab::new(&[PICKY, ""], &[0, 1]);
    lab.call((0, 4), (1, 4));
    lab.run(2_000);
    let call = lab.call((0, 1), (1, 3));
    lab.run(7_000);
    lab.reached(0, call);
    // It calls, and is called; others have nothing to do with it.
    let proxies = [(1, 2), (4, 1), (3, 4)].map(|(host, to)| {
        let call = lab.call_local(0, host, to);
        (host, lab.reached(0, call))
    });
    let left = |lab: &Lab| proxies.map(|(host, proxy)| lab.packet(0, host, proxy));
    assert_eq!(left(&lab), [true; 3]);
    accuse(&mut lab, 1, 1);
    assert_eq!((left(&lab), lab.edges[0].service.counters().withdrawn), ([true; 3], 0), "not yet");
    accuse(&mut lab, 1, 1000);
    assert_eq!(left(&lab), [false, false, true]);
    assert_eq!(lab.edges[0].service.counters().withdrawn, 2);
    let told = lab.last_refusal(0);
    assert!(told.contains("ended: refused by policy operator bad"), "{told}");
    lab.assert_empty();
}

#[test]
fn evidence_of_an_edge_that_has_proved_itself_moves_the_own_host_and_no_other_does() {
    for is_signing in [true, false] {
        let mut lab = Lab::new(&[PICKY, ""], if is_signing { &[0, 1] } else { &[] });
        lab.call((0, 4), (1, 4));
        lab.run(2_000);
        let call = lab.call((0, 1), (1, 3));
        lab.run(7_000);
        lab.reached(0, call);
        accuse(&mut lab, 3, 1000);
        let counters = lab.edges[0].service.counters();
        assert_eq!((counters.reports, counters.evidence), (3, if is_signing { 3 } else { 0 }));
        let [first, third] = [1, 3]
            .map(|host| lab.edges[0].service.reputations.of_own(&name_hash(&host_name(0, host)), lab.now));
        assert_eq!((first < 30, third), (is_signing, 45), "{first}");
        // Hosts behind the same edge mind it as well.
        let call = lab.call_local(0, 1, 3);
        assert_eq!(lab.outcome(0, call) == Some(Outcome::Refused), is_signing);
        lab.assert_empty();
    }
}

#[test]
fn as_many_are_kept_as_there_is_room_for_and_hosts_take_no_place_of_edges() {
    let mut reputations = Reputations::default();
    reputations.record(&named(1), ([0; 16], "first"), What::EdgesFault, 0);
    for number in 0..2 * HOSTS as u128 {
        reputations.record(&named(2), (number.to_be_bytes(), "some"), What::Fault, 0);
    }
    assert_eq!(reputations.len(), HOSTS + 2);
    assert!(reputations.of(&named(1), None, 0) < 45);
    assert!(reputations.of(&named(2), None, 0) < 20, "new hosts hide nobody");
    (0..2 * EDGES).for_each(|edge| reputations.record(&named(edge + 9), ([0; 16], "x"), What::Fault, 0));
    assert_eq!(reputations.len(), HOSTS + EDGES);
    assert_eq!(reputations.worst(3, 0).len(), 3);
}
