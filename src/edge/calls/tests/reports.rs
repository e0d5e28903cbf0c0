//! What goes from edge to edge about hosts that do what was not agreed on.

use super::lab::*;
use crate::edge::calls::Outcome;
use crate::edge::calls::edges::Key;
use crate::edge::calls::live::Session;
use crate::edge::cetp::association::Report;
use crate::edge::cetp::message::{Blocked, Direction, Filtering, Fqdn, Id, IdType, Reason, Service, Tag};
use crate::edge::hosts::name_hash;

pub fn fqdn(name: &str) -> Fqdn<'_> {
    Fqdn::new(name).expect("a name")
}

/// Edge 0 has a session of host 1 with host 3 behind edge 1, within an association where both sign; its tags, edge 1's first.
pub fn session(signing: &[usize]) -> (Lab, (Tag, Tag)) {
    let mut lab = Lab::new(&["", "", ""], signing);
    lab.call((0, 4), (1, 4));
    lab.call((2, 4), (0, 4));
    lab.run(2_000);
    let call = lab.call((0, 1), (1, 3));
    lab.run(200);
    lab.reached(0, call);
    let tags = tags_of(&lab);
    (lab, tags)
}

pub fn tags_of(lab: &Lab) -> (Tag, Tag) {
    let found = lab.edges[1].service.live().iter().find(|(_, session)| session.host == address(3));
    let (local, session) = found.expect("a session");
    (local, session.remote)
}

/// Host 1 sends so many packets, a millisecond apart, each to the next of some ports.
pub fn trespass(lab: &mut Lab, tags: (Tag, Tag), packets: u16, ports: u16) {
    for number in 0..packets {
        lab.at(1, |service, lent, now| service.trespassed(tags, (6, 1000 + number % ports), lent, now));
        lab.run(1);
    }
}

fn worth(lab: &Lab) -> [u8; 2] {
    let hash = name_hash(&host_name(0, 1));
    let theirs = Key::Named(edge_name(0).into());
    [
        lab.edges[0].service.reputations.of_own(&hash, lab.now),
        lab.edges[1].service.reputations.of(&theirs, Some(&hash), lab.now),
    ]
}

#[test]
fn what_goes_on_is_told_and_then_kept_away_for_a_time() {
    let (mut lab, tags) = session(&[0, 1, 2]);
    trespass(&mut lab, tags, 7, 1);
    lab.run(100);
    assert_eq!(lab.edges[1].service.counters().evidence_sent, 0, "a mistake");
    trespass(&mut lab, tags, 50, 1);
    lab.run(100);
    let [own, theirs] = [0, 1].map(|edge| lab.edges[edge].service.counters());
    assert_eq!((theirs.evidence_sent, own.evidence), (1, 1), "once");
    assert!(worth(&lab).iter().all(|worth| *worth < 45), "{:?}", worth(&lab));
    assert_eq!(lab.edges[1].service.live().len(), 2);
    lab.run(30_000);
    trespass(&mut lab, tags, 8, 8);
    // Nothing of that counts as a packet: the session ends, and a new one is no clean slate.
    lab.run(60_000);
    let call = lab.call((0, 1), (1, 3));
    lab.run(200);
    lab.reached(0, call);
    let tags = tags_of(&lab);
    trespass(&mut lab, tags, 8, 8);
    lab.run(100);
    let [own, theirs] = [0, 1].map(|edge| lab.edges[edge].service.counters());
    assert_eq!((theirs.evidence_sent, theirs.filtering_sent, own.filtering_taken), (3, 1, 1));
    // Both know that it is over.
    let hosts =
        |lab: &Lab, edge: usize| lab.edges[edge].service.live().iter().any(|(_, s)| s.host == address(1));
    assert!(!hosts(&lab, 0) && lab.edges[1].service.live().iter().all(|(_, s)| s.host != address(3)));
    // Its own edge turns it away, without asking; nobody else, and for no other edge.
    let (messages, call) = (lab.messages, lab.call((0, 1), (1, 2)));
    lab.run(10);
    assert_eq!((lab.outcome(0, call), lab.messages), (Some(Outcome::Refused), messages));
    assert!(lab.last_refusal(0).ends_with("blocked"), "{}", lab.last_refusal(0));
    for (from, to) in [((0, 2), (1, 3)), ((0, 1), (2, 3))] {
        let call = lab.call(from, to);
        lab.run(200);
        lab.reached(from.0, call);
    }
    // An edge that has lost what it was asked finds the other one as firm, also before it has proved who it is.
    lab.restart(0);
    let call = lab.call((0, 1), (1, 2));
    lab.run(5_000);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    lab.run(600_000);
    let call = lab.call((0, 1), (1, 2));
    lab.run(200);
    lab.reached(0, call);
    lab.assert_empty();
}

/// Also where its edge hears of nothing.
#[test]
fn all_sessions_of_who_is_kept_away_end() {
    let (mut lab, tags) = session(&[0, 1, 2]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(200);
    lab.reached(0, call);
    let of_it = |lab: &Lab| {
        let hash = name_hash(&host_name(0, 1));
        lab.edges[1].service.live().iter().filter(|(_, session)| session.pair.peer == hash).count()
    };
    assert_eq!(of_it(&lab), 2);
    for is_last in [false, false, true] {
        trespass(&mut lab, tags, 7, 1);
        if is_last {
            lab.deaf = vec![0];
        }
        trespass(&mut lab, tags, 1, 1);
        for edge in [0, 1] {
            let ends: Vec<_> =
                lab.edges[edge].service.live().iter().map(|(_, s)| (s.host, s.proxy)).collect();
            ends.iter().for_each(|(host, proxy)| assert!(lab.packet(edge, host.octets()[3], *proxy)));
        }
        lab.run(if is_last { 0 } else { 30_000 });
    }
    assert_eq!((of_it(&lab), lab.edges[1].service.counters().filtering_sent), (0, 1));
    // The packets that it has sent before don't make up for it.
    assert!(worth(&lab)[1] < 36, "{:?}", worth(&lab));
}

#[test]
fn ten_minutes_of_quiet_are_forgiven() {
    let (mut lab, mut tags) = session(&[0, 1, 2]);
    for _ in 0..4 {
        trespass(&mut lab, tags, 8, 1);
        lab.run(620_000);
        let call = lab.call((0, 4), (1, 4));
        lab.run(2_000);
        lab.reached(0, call);
        let call = lab.call((0, 1), (1, 3));
        lab.run(200);
        lab.reached(0, call);
        tags = tags_of(&lab);
    }
    let counters = lab.edges[1].service.counters();
    assert_eq!((counters.evidence_sent, counters.filtering_sent), (4, 0));
}

#[test]
fn what_is_under_way_comes_to_nothing_where_it_is_to_be_kept_away() {
    let (mut lab, _) = session(&[0, 1, 2]);
    let report = Report::Filtering(Filtering {
        blocked: Blocked::Domain(fqdn("e0.example")),
        seconds: 60,
        reason: Reason::BLOCKED,
    });
    let call = lab.call((0, 2), (1, 2));
    lab.at(1, |service, lent, now| {
        service.drive(lent, now, |cetp, _, out| {
            let peer = cetp.peer(fqdn(&edge_name(0))).expect("an association");
            cetp.report(peer, &report, now.io(), out)
        })
    });
    lab.run(200);
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused));
    assert!(lab.edges[0].service.live().iter().all(|(_, s)| s.edge.name() != Some(&edge_name(1))));
    lab.assert_empty();
}

#[test]
fn a_few_packets_now_and_then_are_nothing() {
    let (mut lab, tags) = session(&[0, 1, 2]);
    for _ in 0..5 {
        trespass(&mut lab, tags, 7, 1);
        lab.run(10_001);
    }
    let counters = lab.edges[1].service.counters();
    assert_eq!((counters.trespasses, counters.evidence_sent), (35, 0));
    // Of tags that aren't a session's nothing is kept.
    trespass(&mut lab, (tags.0, tags.0), 50, 1);
    assert_eq!(lab.edges[1].service.counters().trespasses, 35);
    lab.assert_empty();
}

#[test]
fn without_an_association_nobody_is_told() {
    let (mut lab, tags) = session(&[]);
    trespass(&mut lab, tags, 50, 1);
    lab.run(100);
    let counters = lab.edges[1].service.counters();
    assert_eq!((counters.trespasses, counters.evidence_sent), (50, 0));
    assert_eq!(worth(&lab), [45, 45], "nor believed");
    lab.assert_empty();
}

fn ask(lab: &mut Lab, edge: usize, blocked: Blocked<'_>, seconds: u16) {
    let report = Report::Filtering(Filtering { blocked, seconds, reason: Reason::BLOCKED });
    let is_sent = lab.at(edge, |service, lent, now| {
        service.drive(lent, now, |cetp, _, out| {
            let peer = cetp.peer(fqdn(&edge_name(0))).expect("an association");
            cetp.report(peer, &report, now.io(), out)
        })
    });
    assert!(is_sent);
    lab.run(100);
}

/// Edge `by` asks the other one to keep all of its hosts away, if they have an association.
pub fn keep_all(lab: &mut Lab, by: usize, seconds: u16) {
    let (other, domain) = (edge_name(1 - by), format!("e{}.example", 1 - by));
    let report = Report::Filtering(Filtering {
        blocked: Blocked::Domain(fqdn(&domain)),
        seconds,
        reason: Reason::BLOCKED,
    });
    lab.at(by, |service, lent, now| {
        service.drive(lent, now, |cetp, _, out| {
            let peer = cetp.peer(fqdn(&other));
            peer.is_some_and(|peer| cetp.report(peer, &report, now.io(), out))
        })
    });
}

pub fn is_refused(lab: &mut Lab, from: (usize, u8), to: (usize, u8)) -> bool {
    let call = lab.call(from, to);
    lab.run(200);
    lab.outcome(from.0, call) == Some(Outcome::Refused)
}

#[test]
fn an_edge_may_have_hosts_and_domains_kept_away_from_itself_for_as_long_as_it_says() {
    let (mut lab, _) = session(&[0, 1, 2]);
    let second = host_name(0, 2);
    ask(&mut lab, 1, Blocked::Host(Id::fqdn(fqdn(&second))), 60);
    assert!(is_refused(&mut lab, (0, 2), (1, 3)) && !is_refused(&mut lab, (0, 3), (1, 3)));
    assert_eq!(lab.edges[0].service.live().iter().filter(|(_, s)| s.host == address(1)).count(), 1);
    ask(&mut lab, 1, Blocked::Host(Id::fqdn(fqdn(&second))), 0);
    assert!(!is_refused(&mut lab, (0, 2), (1, 3)), "it has ended it");
    // All of a domain, whose sessions end; of a longer one that ends in the same letters, none.
    ask(&mut lab, 1, Blocked::Domain(fqdn("0.example")), 60);
    assert!(!is_refused(&mut lab, (0, 1), (1, 2)));
    assert!(!is_refused(&mut lab, (0, 1), (2, 3)));
    ask(&mut lab, 1, Blocked::Domain(fqdn("e0.example")), u16::MAX);
    let edges = |lab: &Lab, of: usize| {
        let is_its = |session: &&Session| session.edge.name() == Some(&edge_name(of));
        lab.edges[0].service.live().iter().map(|(_, session)| session).filter(is_its).count()
    };
    assert!(edges(&lab, 1) == 0 && edges(&lab, 2) > 0, "with others they go on");
    assert!(is_refused(&mut lab, (0, 1), (1, 2)) && is_refused(&mut lab, (0, 3), (1, 3)));
    assert!(!is_refused(&mut lab, (0, 3), (2, 3)), "from another edge");
    lab.run(3_600_000);
    assert!(!is_refused(&mut lab, (0, 1), (1, 2)), "an hour at most");
    // What is not done is counted.
    let web = Service {
        protocol: Some(crate::packet::Protocol(6)),
        direction: Direction::ToInbound,
        ports: (80, 80),
    };
    let ignored = lab.edges[0].service.counters().filtering_ignored;
    for blocked in [Blocked::Service(web), Blocked::Host(Id::new(IdType::FqdnHash, &[7; 16]).expect("an ID"))]
    {
        ask(&mut lab, 1, blocked, 60);
    }
    assert_eq!(lab.edges[0].service.counters().filtering_ignored, ignored + 2);
    lab.assert_empty();
}

#[test]
fn an_edge_finds_room_for_so_much_and_takes_it_from_no_other() {
    let (mut lab, _) = session(&[0, 1, 2]);
    for number in 0..100 {
        ask(&mut lab, 1, Blocked::Domain(fqdn(&format!("x{number}.example"))), 600);
        lab.run(900);
    }
    let service = &lab.edges[0].service;
    assert_eq!((service.reports.len(lab.now)[2], service.counters().filtering_ignored), (64, 36));
    ask(&mut lab, 2, Blocked::Domain(fqdn("y.example")), 600);
    assert_eq!(lab.edges[0].service.reports.len(lab.now)[2], 65);
    // Five a second are more than it may ask; to end it is never too often.
    for number in 0..40 {
        ask(&mut lab, 2, Blocked::Domain(fqdn("y.example")), 600 * (number % 2));
    }
    let ignored = lab.edges[0].service.counters().filtering_ignored - 36;
    assert!((7..=9).contains(&ignored), "{ignored}");
    lab.run(600_000);
    lab.call((2, 4), (0, 4));
    lab.run(2_000);
    ask(&mut lab, 2, Blocked::Domain(fqdn("z.example")), 600);
    assert_eq!(lab.edges[0].service.reports.len(lab.now)[2], 1, "what is over leaves its place");
}
