//! Floods of everything that is kept of calls, of other edges and of their hosts: each table holds what it says it does, what is beyond
//! that is answered clearly or takes the place of the oldest, and there is room again when it is over.

use super::apart::shown;
use super::lab::*;
use super::reports::{fqdn, is_refused, session};
use crate::config::DomainName;
use crate::edge::calls::Outcome;
use crate::edge::calls::apart::{Apart, Why};
use crate::edge::calls::called::Called;
use crate::edge::calls::claims::{Grounds, Known};
use crate::edge::calls::edges::Key;
use crate::edge::calls::house::Lent;
use crate::edge::calls::reports::{Asked, EDGES, HOSTS, OF_AN_EDGE, PAIRS, Reports};
use crate::edge::calls::service::{Now, Service};
use crate::edge::calls::waiting::{CALLS, For, PATIENCE};
use crate::edge::cetp::association::peer::REPORTS;
use crate::edge::cetp::io::Pair;
use crate::edge::cetp::message::{
    Backoff, Blocked, Filtering, Fqdn, Id, IdType, Misbehaviour, Reason, Rloc, Service as Wire,
};
use crate::edge::cetp::terms::{Ask, HostKey, Proved, Side};
use crate::edge::hosts::NameHash;

fn hash(number: usize) -> NameHash {
    (number as u128 + 1).to_be_bytes()
}

fn peer(number: usize) -> Key {
    Key::Named(edge_name(number).into())
}

/// As many calls as may wait; one more is told so at once, and what waits has its answer in time.
#[test]
fn calls_that_wait() {
    let mut lab = Lab::new(&["", ""], &[]);
    let name = DomainName::new("far.example").expect("a name");
    lab.at(0, |service, _, now| {
        for number in 0..CALLS - 1 {
            let pair = Pair { host: HostKey(u64::MAX), peer: hash(number) };
            let call = (1_000_000 + number as u64, asker(1));
            service.waits.begin(pair, name.clone(), vec![], call, now.ms);
            service.waits.wait(&pair, For::Answer, now.ms);
        }
    });
    lab.deaf = vec![1];
    let last = lab.call((0, 1), (1, 2));
    let [joined, other] = [2, 3].map(|to| lab.call((0, 1), (1, to)));
    assert_eq!(
        [last, joined, other].map(|call| lab.outcome(0, call)),
        [None, Some(Outcome::Busy), Some(Outcome::Busy)]
    );
    assert_eq!((lab.edges[0].service.counters().busy, lab.edges[0].service.population()[4]), (2, CALLS));
    lab.run(PATIENCE);
    assert_eq!(lab.edges[0].outcomes.len(), CALLS + 2, "each has had its answer, once");
    lab.deaf = vec![];
    let again = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, again);
    lab.assert_empty();
}

#[test]
fn hosts_whose_packets_are_counted() {
    let mut reports = Reports::default();
    let most = HOSTS.get();
    let mut packet = |number: usize, now: u64| reports.packet(&(peer(0), hash(number)), (6, 1), now);
    // Seven packets each are a mistake; those of the last are remembered, those of the first aren't.
    for number in 0..2 * most {
        (0..7).for_each(|_| assert_eq!(packet(number, 1_000), None));
    }
    assert!(packet(2 * most - 1, 1_001).is_some() && packet(most + 1, 1_001).is_some());
    assert!(packet(0, 1_001).is_none() && packet(most - 1, 1_001).is_none());
    assert_eq!(reports.len(1_001)[0], most);
}

/// So many hosts, whether their edge proves itself or not; who is kept away for longest, and so the shortest yet, gives way.
#[test]
fn hosts_that_are_kept_away() {
    let mut lab = Lab::new(&["", ""], &[]);
    let most = HOSTS.get();
    lab.at(1, |service, lent, now| {
        for number in 0..most + 9 {
            service.send_away(&peer(0), (hash(number), "some.e0.example"), Misbehaviour::SCAN, lent, now);
        }
    });
    let reports = &lab.edges[1].service.reports;
    let is_away = |number: usize| {
        [peer(0), Key::At(Rloc::V4(rloc(0)))]
            .map(|edge| reports.is_away(&edge, &hash(number), lab.now).is_some())
    };
    assert_eq!([0, 8, 9, most + 8].map(is_away), [[false; 2], [false; 2], [true; 2], [true; 2]]);
    assert_eq!(reports.len(lab.now)[1], 2 * most);
}

fn asks(edge: usize, domain: &str, seconds: u16) -> Asked {
    let blocked = Blocked::Domain(fqdn(domain));
    Asked::new(edge_name(edge).into(), &Filtering { blocked, seconds, reason: Reason::BLOCKED })
}

/// What edges ask for: no edge takes another one's room, and who asks for nothing any more leaves its place.
#[test]
fn edges_that_have_asked_for_something() {
    let mut lab = Lab::new(&["", ""], &[]);
    for edge in 10..10 + EDGES + 9 {
        lab.at(0, |service, lent, now| service.keep_away(&asks(edge, "x.example", 60), lent, now));
    }
    let figures = |lab: &Lab| {
        let service = &lab.edges[0].service;
        let counters = service.counters();
        [service.reports.edges(), counters.filtering_taken as usize, counters.filtering_ignored as usize]
    };
    assert_eq!(figures(&lab), [EDGES, EDGES, 9]);
    // The first goes on as before: it may ask for more, and end it.
    for domain in ["y.example", "z.example"] {
        lab.at(0, |service, lent, now| service.keep_away(&asks(10, domain, 60), lent, now));
    }
    lab.at(0, |service, lent, now| service.keep_away(&asks(10, "y.example", 0), lent, now));
    assert_eq!(figures(&lab), [EDGES, EDGES + 3, 9]);
    assert_eq!(lab.edges[0].service.reports.len(lab.now)[2], EDGES + 1);
    lab.run(60_000);
    lab.at(0, |service, lent, now| service.keep_away(&asks(9, "x.example", 60), lent, now));
    assert_eq!(figures(&lab), [1, EDGES + 4, 9]);
    // To end what was never asked for leaves nothing.
    lab.at(0, |service, lent, now| service.keep_away(&asks(8, "x.example", 0), lent, now));
    assert_eq!(lab.edges[0].service.reports.edges(), 1);
}

/// Two hosts that rules keep apart, the other one behind that edge.
fn apart(service: &Service, (number, of): (usize, usize), lent: Lent<'_>, now: Now) -> (Pair, Apart) {
    let third = lent.register.host(&host(1, 3).name).expect("it is there").id;
    let pair = Pair { host: Called::host(third).into(), peer: hash(number) };
    let rloc = Rloc::V4(rloc(of));
    let rooms = service.rooms(lent, now);
    let edge = edge_name(of);
    let proved = Proved { edge: Fqdn::new(&edge), is_signed: true, is_named: false };
    let ask = Ask {
        side: Side::Inbound,
        host: pair.host,
        peer: Id::new(IdType::FqdnHash, &pair.peer).expect("an ID"),
        peer_name: None,
        proved,
        rloc,
        services: &[Wire::ANY],
    };
    let grounds = Box::new(Grounds::new(&ask, Known::edge(&rooms, fqdn(&edge), rloc)));
    let apart = Apart {
        edge: edge.clone().into(),
        rloc,
        grounds,
        called: fqdn(&host_name(1, 3)).hash(),
        host_name: host_name(1, 3).into(),
        name: "".into(),
        why: Why::Rules,
        until: now.ms + 600_000,
        is_told: true,
    };
    (pair, apart)
}

/// In the place of as many as there may be.
fn put_apart(lab: &mut Lab, number: usize, of: usize) {
    lab.at(1, |service, lent, now| {
        let (pair, apart) = apart(service, (number, of), lent, now);
        service.reports.apart.put(pair, apart);
    });
}

/// As when a session has ended; whether it is listed.
fn keep_apart(lab: &mut Lab, number: usize, of: usize) -> bool {
    let is_listed = lab.at(1, |service, lent, now| {
        let (pair, apart) = apart(service, (number, of), lent, now);
        service.keep_apart(pair, apart, lent, now);
        service.reports.apart.contains(&pair)
    });
    lab.run(10);
    is_listed
}

/// Far more come to their end at once than reports may wait: all of it is told, a few at a time.
#[test]
fn hosts_that_rules_keep_apart() {
    let (mut lab, _) = session(&[0, 1]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    (0..PAIRS.get() + 9).for_each(|number| put_apart(&mut lab, number, 0));
    let apart = |lab: &Lab| lab.edges[1].service.reports.apart.len();
    assert_eq!(apart(&lab), PAIRS.get());
    lab.run(10_000);
    assert_eq!(apart(&lab), PAIRS.get(), "nothing has changed");
    lab.user_rules(1, 3, &[]);
    lab.run(90_000);
    assert_eq!((apart(&lab), lab.edges[1].service.counters().filtering_lifted), (0, PAIRS.get() as u64));
    assert_eq!(shown(&mut lab, 1), Vec::<String>::new());
    assert!(!is_refused(&mut lab, (0, 2), (1, 3)));
    lab.assert_empty();
}

/// More than may wait at once is told when it may, one thing a second; and what is new goes behind it.
#[test]
fn reports_of_hosts_that_are_kept_away_and_apart() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    let sent = |lab: &Lab| lab.edges[1].service.counters().filtering_sent as usize;
    assert_eq!(sent(&lab), 1);
    lab.at(1, |service, lent, now| {
        for number in 0..REPORTS + 2 {
            service.send_away(&peer(0), (hash(number), "some.e0.example"), Misbehaviour::SCAN, lent, now);
        }
    });
    assert_eq!(sent(&lab), 1 + REPORTS);
    lab.run(500);
    assert!(keep_apart(&mut lab, 100, 0));
    assert_eq!(sent(&lab), 1 + REPORTS + 1);
    lab.run(2_500);
    assert_eq!(sent(&lab), 1 + REPORTS + 3);
}

/// What gives way is told to be over; what is beyond that isn't asked for. An edge's own go first where it has as many as it obeys.
#[test]
fn hosts_that_give_way_to_others() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.call((2, 4), (1, 4));
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(1_000);
    // The one whose session has just ended, one of another edge's, and these.
    put_apart(&mut lab, 1_000, 2);
    for number in 1..OF_AN_EDGE {
        assert!(keep_apart(&mut lab, number, 0));
    }
    let figures = |lab: &Lab| {
        let service = &lab.edges[1].service;
        (service.reports.apart.len(), service.counters().filtering_lifted)
    };
    let is_listed = |lab: &Lab, number: usize| {
        lab.edges[1].service.reports.apart.iter().any(|(pair, _)| pair.peer == hash(number))
    };
    assert_eq!(figures(&lab), (OF_AN_EDGE + 1, 0));
    assert!(keep_apart(&mut lab, OF_AN_EDGE, 0) && keep_apart(&mut lab, OF_AN_EDGE + 1, 0));
    assert_eq!(figures(&lab), (OF_AN_EDGE + 1, 2));
    assert!(!is_listed(&lab, 1) && is_listed(&lab, 2) && is_listed(&lab, 1_000));
    // What is there already takes nobody's place.
    assert!(keep_apart(&mut lab, 2, 0));
    assert_eq!(figures(&lab), (OF_AN_EDGE + 1, 2));
    // All are listed that may be, most of them of an edge with which there is no association: they can't be told.
    (0..PAIRS.get()).for_each(|number| put_apart(&mut lab, 2_000 + number, 9));
    assert!(!keep_apart(&mut lab, 1, 0));
    assert_eq!(figures(&lab), (PAIRS.get(), 2));
    // The oldest that can be told gives way, of whichever edge.
    [1_001, 1_002].iter().for_each(|number| put_apart(&mut lab, *number, 2));
    assert!(keep_apart(&mut lab, 1, 0) && !is_listed(&lab, 1_001) && is_listed(&lab, 1_002));
    assert_eq!(figures(&lab), (PAIRS.get(), 3));
}

/// A call that finds no room for another edge may be made again. It isn't said that nobody is there, else the host would be called as one
/// without an edge.
#[test]
fn associations() {
    let text = "[policy]\nlegacy_fallback = true\n[[policy.operator]]\nname = \"known\"\nhosts = [\"h1.e0.example\"]\n\
        required_as_oces = [\"certificate\"]\n";
    let mut lab = Lab::new(&[text, "", "", "", "", ""], &[0, 1, 2, 3, 4, 5]);
    for edge in 1..=4 {
        let call = lab.call((0, 1), (edge, 1));
        lab.run(1_000);
        lab.reached(0, call);
    }
    let call = lab.call((0, 1), (5, 1));
    assert_eq!(lab.outcome(0, call), Some(Outcome::Busy));
    assert!(lab.last_refusal(0).ends_with("overloaded"), "{}", lab.last_refusal(0));
    // The same where the other edge wants one.
    lab.deaf = vec![5];
    let call = lab.call((0, 2), (5, 1));
    let host = lab.edges[0].register.host(&host(0, 2).name).expect("it is there").id;
    let pair = Pair { host: Called::host(host).into(), peer: fqdn(&host_name(5, 1)).hash() };
    let backoff = Backoff { reason: Reason::ASSOCIATION, code: None, retry_after: 0 };
    lab.at(0, |service, lent, now| service.refused(pair, backoff, true, lent, now));
    assert_eq!(lab.outcome(0, call), Some(Outcome::Busy));
    lab.assert_empty();
}
