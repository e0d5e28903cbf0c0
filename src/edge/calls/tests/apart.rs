//! Hosts that rules keep apart; and what an operator sees of all that is kept away.

use super::lab::*;
use super::reports::{fqdn, is_refused, session, tags_of, trespass};
use crate::edge::calls::shown::{ShownFilter, Wanted};

/// What an edge shows, in words.
pub fn shown(lab: &mut Lab, edge: usize) -> Vec<String> {
    let wanted = Wanted { limit: 9, ..Wanted::default() };
    let filters = lab.at(edge, |service, lent, now| service.show(&wanted, lent, now).filters);
    let text = |filter: &ShownFilter| {
        let ShownFilter { edge, told, what, from, why, left } = filter;
        format!("{told:?} {edge} {what} from {}: {why}, {left} s", from.as_deref().unwrap_or("all"))
    };
    filters.iter().map(text).collect()
}

/// A host as it is known whose name nobody has told.
fn id(edge: usize, host: u8) -> String {
    let hash = fqdn(&host_name(edge, host)).hash();
    format!("fqdn-hash:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// How often edge 1 has asked, and ended it early, and edge 0 has done so.
fn asked(lab: &Lab) -> [u64; 3] {
    let [own, theirs] = [0, 1].map(|edge| lab.edges[edge].service.counters());
    assert_eq!(own.filtering_ignored, 0);
    [theirs.filtering_sent, theirs.filtering_lifted, own.filtering_taken]
}

#[test]
fn whom_new_rules_refuse_is_kept_from_that_host_until_they_are_taken_back() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    assert_eq!(asked(&lab), [1, 0, 1]);
    // Neither was told the other's name.
    let [first, third] = [id(0, 1), id(1, 3)];
    let sent = format!("Sent ces.e0.example {first} from h3.e1.example: rules, 600 s");
    let received = format!("Received ces.e1.example h1.e0.example from {third}: refused by policy, 600 s");
    assert_eq!([shown(&mut lab, 1), shown(&mut lab, 0)], [[sent], [received]]);
    // But who knows a name finds it.
    for (edge, host, count) in
        [(1, (0, 1), 1), (1, (1, 3), 1), (1, (0, 2), 0), (0, (1, 3), 1), (0, (1, 1), 0)]
    {
        let wanted = Wanted { host: Some(host_name(host.0, host.1).into()), edge: None, limit: 9 };
        let found = lab.at(edge, |service, lent, now| service.show(&wanted, lent, now).filters.len());
        assert_eq!(found, count, "{host:?} at {edge}");
    }
    // Its own edge knows, and doesn't ask; of no others.
    let messages = lab.messages;
    assert!(is_refused(&mut lab, (0, 1), (1, 3)) && lab.messages == messages);
    assert!(lab.last_refusal(0).ends_with("refused by policy"), "{}", lab.last_refusal(0));
    assert!(!is_refused(&mut lab, (0, 1), (1, 2)) && !is_refused(&mut lab, (0, 1), (2, 3)));
    assert!(
        is_refused(&mut lab, (0, 2), (1, 3)) && lab.messages > messages,
        "that one is told so when it asks"
    );
    assert_eq!(asked(&lab), [1, 0, 1]);
    // A rule of another host has nothing to do with it; that of this one ends it at once.
    lab.user_rules(1, 4, &["nobody"]);
    lab.run(100);
    assert!(is_refused(&mut lab, (0, 1), (1, 3)));
    lab.user_rules(1, 3, &[]);
    lab.run(100);
    assert_eq!([shown(&mut lab, 0), shown(&mut lab, 1)], [Vec::<String>::new(), vec![]]);
    assert_eq!(asked(&lab)[1], 1);
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    lab.assert_empty();
}

#[test]
fn it_ends_by_itself_and_with_the_host_that_it_was_for() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(599_000);
    assert_eq!((shown(&mut lab, 0).len(), shown(&mut lab, 1).len()), (1, 1));
    lab.run(2_000);
    assert_eq!((shown(&mut lab, 0).len(), shown(&mut lab, 1).len(), asked(&lab)), (0, 0, [1, 0, 1]));
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    lab.take_away(1, 3);
    lab.run(100);
    assert_eq!((shown(&mut lab, 0).len(), shown(&mut lab, 1).len(), asked(&lab)), (0, 0, [1, 1, 2]));
    lab.assert_empty();
}

#[test]
fn who_may_still_have_something_asks_anew_and_nobody_is_told_without_an_association() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.user_rules(1, 3, &["anyone service=tcp/443", "nobody"]);
    lab.run(100);
    assert_eq!((tags_left(&lab), asked(&lab)), (0, [0; 3]));
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    let (mut lab, _) = session(&[]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    assert_eq!((tags_left(&lab), asked(&lab)), (0, [0; 3]));
    lab.assert_empty();
}

/// Sessions of host 3 behind edge 1.
fn tags_left(lab: &Lab) -> usize {
    lab.edges[1].service.live().iter().filter(|(_, session)| session.host == address(3)).count()
}

#[test]
fn who_comes_to_be_worth_too_little_loses_its_sessions_and_is_kept_away_until_time_heals() {
    let mut lab = super::reputations::session_with_a_picky_edge();
    for _ in 0..12 {
        assert!(is_refused(&mut lab, (0, 1), (1, 2)));
    }
    assert_eq!((tags_left(&lab), asked(&lab)), (0, [1, 0, 1]));
    let told = &shown(&mut lab, 1)[0];
    let expected = format!("Sent ces.e0.example {} from h3.e1.example: reputation, ", id(0, 1));
    assert!(told.starts_with(&expected), "{told}");
    assert!(lab.last_refusal(1).starts_with("own "), "{}", lab.last_refusal(1));
    // Those of others go on.
    assert_eq!(lab.edges[1].service.live().len(), 2);
    let messages = lab.messages;
    assert!(is_refused(&mut lab, (0, 1), (1, 3)) && lab.messages == messages);
    lab.run(200_000);
    assert_eq!((shown(&mut lab, 0).len(), asked(&lab)), (0, [1, 1, 2]));
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    lab.assert_empty();
}

#[test]
fn where_the_association_has_ended_another_is_set_up_to_end_it() {
    let (mut lab, _) = session(&[0, 1]);
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(450_000);
    let peer = |lab: &Lab| lab.edges[1].service.protocol().peer(fqdn(&edge_name(0)));
    assert_eq!((peer(&lab), shown(&mut lab, 0).len()), (None, 1));
    lab.user_rules(1, 3, &[]);
    lab.run(5_000);
    assert_eq!((shown(&mut lab, 0).len(), asked(&lab)), (0, [1, 1, 2]));
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    lab.assert_empty();
}

#[test]
fn what_was_lost_is_not_asked_for_again_after_it_was_ended() {
    let (mut lab, _) = session(&[0, 1, 2]);
    lab.deaf = vec![0];
    lab.user_rules(1, 3, &["nobody"]);
    lab.run(100);
    assert_eq!((asked(&lab), shown(&mut lab, 0).len()), ([1, 0, 0], 0));
    lab.deaf.clear();
    lab.user_rules(1, 3, &[]);
    for _ in 0..100 {
        lab.run(100);
        assert_eq!(shown(&mut lab, 0), Vec::<String>::new(), "{} ms", lab.now);
    }
    assert_eq!(asked(&lab), [1, 1, 1]);
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    lab.assert_empty();
}

#[test]
fn an_operator_sees_who_is_kept_away_for_what_and_may_let_it_come_again() {
    let (mut lab, mut tags) = session(&[0, 1, 2]);
    for round in 0..3 {
        trespass(&mut lab, tags, 8, 8);
        lab.run(if round < 2 { 30_000 } else { 100 });
        if round < 2 {
            is_refused(&mut lab, (0, 1), (1, 3));
            tags = tags_of(&lab);
        }
    }
    assert_eq!(shown(&mut lab, 1), [format!("Sent ces.e0.example {} from all: scan, 600 s", id(0, 1))]);
    assert_eq!(shown(&mut lab, 0), ["Received ces.e1.example h1.e0.example from all: blocked, 600 s"]);
    assert!(is_refused(&mut lab, (0, 1), (1, 2)));
    for (host, edge, pardoned) in [(Some((0, 2)), None, 0), (None, Some(2), 0), (Some((0, 1)), Some(0), 1)] {
        let host = host.map(|(edge, host)| host_name(edge, host).into());
        let wanted = Wanted { host, edge: edge.map(|edge| edge_name(edge).into()), limit: 0 };
        assert_eq!(lab.at(1, |service, lent, now| service.pardon(&wanted, lent, now)), pardoned);
    }
    lab.run(100);
    assert_eq!((shown(&mut lab, 0).len(), shown(&mut lab, 1).len(), asked(&lab)), (0, 0, [1, 1, 2]));
    assert!(!is_refused(&mut lab, (0, 1), (1, 2)));
    lab.assert_empty();
}

/// Hosts 1 to 4 behind edge 0 have sessions with hosts 2 and 3 behind edge 1, whose rules refuse everybody then. As a report has to be
/// acknowledged before there is room for many more, it takes some seconds until all is told.
fn eight_pairs() -> Lab {
    let (mut lab, _) = session(&[0, 1, 2]);
    for (host, to) in (1..=4).flat_map(|host| [(host, 2), (host, 3)]) {
        assert!(!is_refused(&mut lab, (0, host), (1, to)));
    }
    [2, 3].iter().for_each(|host| lab.user_rules(1, *host, &["nobody"]));
    lab.run(100);
    assert_eq!(told(&mut lab, 1, "Sent").len() + told(&mut lab, 1, "Nobody").len(), 8);
    assert!(told(&mut lab, 1, "Nobody").len() < 8);
    lab.run(8_000);
    assert_eq!(asked(&lab), [8, 0, 8]);
    lab
}

/// What an edge shows of that kind, seconds cut off.
fn told(lab: &mut Lab, edge: usize, kind: &str) -> Vec<String> {
    let all = shown(lab, edge).into_iter().filter(|text| text.starts_with(kind));
    all.map(|text| text.split_once(": ").expect("a reason").0.to_owned()).collect()
}

#[test]
fn an_edge_that_begins_anew_is_told_again_for_the_time_that_is_left() {
    let mut lab = eight_pairs();
    let before = [(0, "Received"), (1, "Sent")].map(|(edge, kind)| told(&mut lab, edge, kind));
    assert_eq!(before.each_ref().map(Vec::len), [8, 8]);
    lab.run(100_000);
    lab.restart(0);
    assert_eq!(shown(&mut lab, 0), Vec::<String>::new());
    assert!(!is_refused(&mut lab, (0, 4), (1, 4)));
    // One a second, which is what an edge obeys.
    lab.run(2_000);
    let few = told(&mut lab, 0, "Received").len();
    assert!((1..=4).contains(&few), "{few}");
    lab.run(8_000);
    let mut after = [(0, "Received"), (1, "Sent")].map(|(edge, kind)| told(&mut lab, edge, kind));
    let mut before = before;
    before.iter_mut().chain(&mut after).for_each(|list| list.sort());
    assert_eq!(after, before);
    assert_eq!(asked(&lab), [16, 0, 8]);
    let messages = lab.messages;
    assert!(is_refused(&mut lab, (0, 1), (1, 3)) && lab.messages == messages);
    // Its time is what it was: ten minutes from the first time on.
    lab.run(470_000);
    assert_eq!([shown(&mut lab, 0).len(), shown(&mut lab, 1).len()], [8, 8]);
    lab.run(15_000);
    assert_eq!([shown(&mut lab, 0), shown(&mut lab, 1)], [Vec::<String>::new(), vec![]]);
    lab.assert_empty();
}

#[test]
fn what_an_edge_has_asked_for_before_it_began_anew_counts_no_more() {
    let mut lab = eight_pairs();
    assert_eq!(told(&mut lab, 0, "Received").len(), 8);
    // Of the same life it is as it was, though the association is another one.
    lab.run(380_000);
    assert_eq!(lab.edges[0].service.protocol().peer(fqdn(&edge_name(1))), None);
    assert!(!is_refused(&mut lab, (0, 4), (1, 4)));
    assert_eq!(told(&mut lab, 0, "Received").len(), 8);
    lab.restart(1);
    lab.call((0, 2), (1, 1));
    lab.run(10_000);
    assert_eq!(shown(&mut lab, 0), Vec::<String>::new());
    assert!(!is_refused(&mut lab, (0, 1), (1, 3)));
    lab.assert_empty();
}

#[test]
fn a_host_that_is_kept_away_for_what_it_has_done_is_told_again_too() {
    let (mut lab, mut tags) = session(&[0, 1, 2]);
    for _ in 0..2 {
        trespass(&mut lab, tags, 8, 8);
        lab.run(30_000);
        is_refused(&mut lab, (0, 1), (1, 3));
        tags = tags_of(&lab);
    }
    trespass(&mut lab, tags, 8, 8);
    lab.run(100);
    assert_eq!(told(&mut lab, 0, "Received"), ["Received ces.e1.example h1.e0.example from all"]);
    lab.restart(0);
    lab.call((0, 4), (1, 4));
    lab.run(5_000);
    assert_eq!(told(&mut lab, 0, "Received"), ["Received ces.e1.example h1.e0.example from all"]);
    assert_eq!(asked(&lab), [2, 0, 1]);
}
