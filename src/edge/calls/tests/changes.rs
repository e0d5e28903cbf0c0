//! Hosts and rules that change under sessions.

use super::lab::*;
use crate::config::Host;
use crate::edge::calls::Outcome;
use crate::edge::calls::review::TURN;
use crate::edge::journal;
use crate::flow::tunnel::Opens;

fn sessions(lab: &Lab) -> [usize; 2] {
    [0, 1].map(|edge| lab.edges[edge].service.live().len())
}

/// Two edges; host 1 of the first has called host 2 of the second, and host 3 of the first has.
fn called() -> Lab {
    let mut lab = Lab::new(&["", ""], &[]);
    let calls = [1, 3].map(|host| lab.call((0, host), (1, 2)));
    lab.run(1_000);
    calls.iter().for_each(|call| _ = lab.reached(0, *call));
    assert_eq!(sessions(&lab), [2, 2]);
    lab
}

#[test]
fn sessions_of_a_host_that_is_removed_end_and_no_others() {
    let mut lab = called();
    lab.take_away(0, 1);
    lab.run(100);
    assert_eq!(sessions(&lab), [1, 1]);
    assert_eq!(lab.last_refusal(0), "own h1.e0.example h2.e1.example: ended: no such host");
    assert!(lab.last_refusal(1).starts_with("peer h2.e1.example "), "{}", lab.last_refusal(1));
    assert!(lab.last_refusal(1).ends_with("ended: no such host"), "{}", lab.last_refusal(1));
    assert_eq!(lab.edges[0].service.counters().withdrawn, 1);
    // The one that is called goes too.
    lab.take_away(1, 2);
    lab.run(100);
    assert_eq!(sessions(&lab), [0, 0]);
    lab.assert_empty();
}

#[test]
fn a_rule_that_refuses_ends_what_it_would_not_agree_to() {
    let mut lab = called();
    let messages = lab.messages;
    lab.user_rules(1, 2, &["anyone"]);
    lab.run(100);
    assert_eq!((sessions(&lab), lab.messages), ([2, 2], messages), "nothing has changed for them");
    lab.user_rules(1, 2, &["nobody"]);
    lab.run(100);
    assert_eq!(sessions(&lab), [0, 0]);
    let told = lab.last_refusal(1);
    assert!(
        told.starts_with("own h2.e1.example ") && told.contains(": ended: refused by policy host user-1"),
        "{told}"
    );
    assert!(lab.last_refusal(0).starts_with("peer h"), "{}", lab.last_refusal(0));
    assert!(
        lab.last_refusal(0).ends_with(" h2.e1.example: ended: refused by policy"),
        "{}",
        lab.last_refusal(0)
    );
    lab.assert_empty();
}

#[test]
fn a_rule_that_asks_for_more_than_was_told_ends_the_session() {
    let mut lab = called();
    lab.user_rules(1, 2, &["identified"]);
    lab.run(100);
    assert_eq!(sessions(&lab), [0, 0]);
    assert!(lab.last_refusal(1).contains("ended: "), "{}", lab.last_refusal(1));
    lab.assert_empty();
}

#[test]
fn a_service_that_is_not_allowed_any_more_ends_the_session_and_the_rest_is_negotiated_anew() {
    let mut lab = called();
    lab.user_rules(1, 2, &["anyone service=tcp/443", "nobody"]);
    lab.run(100);
    assert_eq!(sessions(&lab), [0, 0]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(100);
    let proxy = lab.reached(0, call);
    let table = lab.edges[0].service.shared.clone();
    let (_, record) = table.find_pair(REALM, address(1), proxy).expect("a session");
    assert!(record.services().allow(Opens::Host, 6, 443) && !record.services().allow(Opens::Host, 6, 80));
    // What is left of it is all that there is: so it stays.
    lab.user_rules(1, 2, &["anyone service=tcp/443", "anyone service=udp/53", "nobody"]);
    lab.run(100);
    assert_eq!(sessions(&lab), [1, 1]);
    lab.assert_empty();
}

#[test]
fn an_address_that_is_gone_ends_the_session_and_one_more_does_not() {
    let mut lab = called();
    let with = |addresses: &[u8]| Host {
        addresses: addresses.iter().map(|last| address(*last).into()).collect(),
        ..host(0, 1)
    };
    lab.put(0, &with(&[1, 77]));
    lab.run(100);
    assert_eq!(sessions(&lab), [2, 2]);
    lab.put(0, &with(&[77]));
    lab.run(100);
    assert_eq!(sessions(&lab), [1, 1]);
    assert_eq!(lab.last_refusal(0), "own h1.e0.example h2.e1.example: ended: closed");
    lab.assert_empty();
}

#[test]
fn twins_end_with_a_host_of_theirs_its_address_or_its_consent() {
    type Change = fn(&mut Lab);
    let changes: [(Change, &str); 4] = [
        (|lab| lab.take_away(0, 2), "own h2.e0.example h1.e0.example: ended: no such host"),
        (
            |lab| lab.put(0, &Host { addresses: vec![address(77).into()], ..host(0, 1) }),
            "own h1.e0.example h2.e0.example: ended: closed",
        ),
        (
            |lab| lab.user_rules(0, 2, &["nobody"]),
            "own h1.e0.example h2.e0.example: ended: refused by policy host user-1",
        ),
        (
            |lab| lab.user_rules(0, 2, &["anyone service=tcp/443", "nobody"]),
            "own h1.e0.example h2.e0.example: ended: refused by policy",
        ),
    ];
    for (change, told) in changes {
        let mut lab = Lab::new(&[""], &[]);
        let calls = [lab.call_local(0, 1, 2), lab.call_local(0, 3, 4)];
        calls.iter().for_each(|call| _ = lab.reached(0, *call));
        lab.user_rules(0, 1, &["anyone"]);
        lab.run(100);
        assert_eq!(lab.edges[0].service.locals().len(), 2, "nothing has changed for them");
        change(&mut lab);
        lab.run(100);
        assert_eq!(lab.edges[0].service.locals().len(), 1);
        assert!(lab.last_refusal(0).starts_with(told), "{}", lab.last_refusal(0));
        lab.assert_empty();
    }
}

#[test]
fn a_turn_looks_at_few_and_more_changes_than_are_kept_are_not_missed() {
    let mut lab = called();
    for round in [2 * TURN, 2 * journal::KEPT] {
        let busy = |lab: &mut Lab| lab.at(0, |service, lent, now| service.review(lent, now));
        (0..round).for_each(|_| lab.put(0, &host(0, 4)));
        lab.take_away(0, if round == 2 * TURN { 1 } else { 3 });
        let before = sessions(&lab)[0];
        let mut turns = 0;
        while busy(&mut lab) {
            turns += 1;
            assert!(turns > 1 || round > journal::KEPT || sessions(&lab)[0] == before, "a turn is short");
        }
        assert_eq!(sessions(&lab)[0], before - 1);
    }
    let call = lab.call((0, 1), (1, 2));
    assert_eq!(lab.outcome(0, call), Some(Outcome::Refused), "nobody is there");
    lab.assert_empty();
}
