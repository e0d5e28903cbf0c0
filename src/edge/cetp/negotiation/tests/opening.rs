//! From a question to a session, or to none, whatever is lost on the way.

use super::lab::*;
use crate::edge::cetp::cookie::COOKIE;
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::Opened;
use crate::edge::cetp::negotiation::session::State;
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::*;
use crate::edge::cetp::wire;
use crate::packet::Protocol;

#[test]
fn first_contact_takes_two_rounds_and_the_first_leaves_nothing() {
    let mut lab = Lab::new(2, 1);
    lab.edges[1].house.rule = Box::new(|ask| Ok(Terms { timeout: 30, ..lax(ask) }));
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Asked);
    lab.run(WAY);
    assert!(lab.edges[1].cetp.is_empty());
    assert_eq!((lab.edges[1].cetp.macs(), lab.edges[1].cetp.counters().cookies), (1, 1));
    lab.run(4 * WAY);
    assert!(lab.is_agreed(0, 1));
    for (edge, side) in [(0, Side::Outbound), (1, Side::Inbound)] {
        let events = lab.take(edge);
        let [Event::Established { side: told, timeout, services, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((*told, *timeout), (side, 30), "the minimum of both");
        assert_eq!(&services[..], &[Service::ANY]);
    }
    assert_eq!(lab.sent.0, 5, "two questions, two answers, an acknowledgement");
    lab.run(PATIENCE);
    assert_eq!(lab.sent.0, 5, "nothing is sent again");
    lab.run(100_000);
    lab.assert_empty();
}

#[test]
fn who_has_a_token_needs_one_round() {
    let mut lab = Lab::new(2, 2);
    lab.established();
    let before = lab.sent.0;
    lab.open((0, 2), (1, 3));
    lab.run(3 * WAY);
    assert_eq!((lab.edges[0].live.len(), lab.edges[1].live.len()), (2, 2));
    assert_eq!(lab.sent.0 - before, 3, "a question, an answer, an acknowledgement");
}

#[test]
fn a_token_that_counts_no_more_costs_a_round_and_no_failure() {
    let mut lab = Lab::new(2, 3);
    lab.established();
    lab.restart(1);
    lab.open((0, 2), (1, 3));
    lab.run(PATIENCE);
    assert!(lab.edges[1].cetp.counters().forged > 0);
    assert_eq!(lab.refusals(0), []);
    assert_eq!(lab.edges[1].live.len(), 1);
}

/// The token counted, and nothing came back: what is asked anew isn't taken for what has a session there.
#[test]
fn a_token_is_dropped_though_it_counted() {
    let mut lab = Lab::new(2, 19);
    lab.established();
    let mut first = None;
    lab.tamper = Some(Box::new(move |to, bytes| {
        let Ok(outline) = wire::outline(bytes) else { return false };
        to == 1 || outline.sst.is_none() || *first.get_or_insert(outline.sst) != outline.sst
    }));
    lab.open((0, 2), (1, 3));
    lab.run(1000);
    assert_eq!(lab.edges[0].live.len(), 2);
}

#[test]
fn the_answer_is_lost_or_the_acknowledgement() {
    for lost in 1..=5 {
        let mut lab = Lab::new(2, 4);
        let mut seen = 0;
        lab.tamper = Some(Box::new(move |_, _| {
            seen += 1;
            seen != lost
        }));
        lab.open((0, 0), (1, 1));
        lab.run(2000);
        assert!(lab.is_agreed(0, 1), "message {lost}");
        let sent = lab.sent.0;
        lab.run(PATIENCE);
        assert_eq!(lab.sent.0, sent, "message {lost}: both know");
        assert_eq!(lab.take(0).len() + lab.take(1).len(), 2, "each is told once");
    }
}

#[test]
fn everything_comes_twice() {
    let mut lab = Lab::new(2, 5);
    lab.doubled = 100;
    lab.established();
    lab.run(PATIENCE);
    assert!(lab.is_agreed(0, 1));
    let (local, _) = lab.only(0);
    lab.with(0, |cetp, _, now, out| cetp.close(local, Reason::CLOSED, now, out));
    lab.run(100_000);
    assert_eq!((lab.ends(0), lab.ends(1)), (vec![Reason::CLOSED], vec![Reason::CLOSED]));
    lab.assert_empty();
}

#[test]
fn a_late_copy_of_an_old_question_makes_no_session() {
    for closer in [0, 1] {
        late_copy(closer);
    }
}

fn late_copy(closer: usize) {
    use std::{cell::RefCell, rc::Rc};
    let mut lab = Lab::new(2, 6);
    let copies: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let kept = copies.clone();
    lab.tamper = Some(Box::new(move |to, bytes| {
        if to == 1 {
            kept.borrow_mut().push(bytes.clone());
        }
        true
    }));
    lab.established();
    let (local, _) = lab.only(closer);
    lab.with(closer, |cetp, _, now, out| cetp.close(local, Reason::CLOSED, now, out));
    lab.run(1000);
    assert!(lab.edges[0].cetp.is_empty());
    for copy in copies.borrow().iter() {
        lab.with(1, |cetp, house, now, out| cetp.receive(rloc(0, 0), copy, house, now, out));
    }
    lab.run(100);
    assert_eq!(lab.ends(1), [Reason::CLOSED]);
    assert!(lab.edges[1].live.is_empty());
    lab.run(100_000);
    for copy in copies.borrow().iter() {
        lab.with(1, |cetp, house, now, out| cetp.receive(rloc(0, 0), copy, house, now, out));
    }
    lab.run(100);
    lab.assert_empty();
}

#[test]
fn nobody_answers() {
    let mut lab = Lab::new(2, 7);
    lab.edges[1].is_cut = true;
    lab.open((0, 0), (1, 1));
    lab.run(PATIENCE - 1);
    assert_eq!((lab.take(0).len(), lab.sent.0), (0, 5));
    lab.run(1);
    assert_eq!(lab.refusals(0), [(Reason::SILENT, None, false)]);
    lab.assert_empty();
}

#[test]
fn the_next_rloc_is_tried() {
    let mut lab = Lab::new(2, 8);
    // What is said of the first session is lost: that stands for an RLOC from which nothing comes back.
    lab.tamper = Some(Box::new({
        let mut first = None;
        move |to, bytes| {
            let Ok(outline) = wire::outline(bytes) else { return false };
            to == 1 || outline.sst.is_none() || *first.get_or_insert(outline.sst) != outline.sst
        }
    }));
    lab.open_for((0, 0), (1, 1), &[Service::ANY], &[rloc(1, 0), rloc(1, 1)]);
    lab.run(3 * PATIENCE);
    assert!(lab.is_agreed(0, 1));
    lab.run(200_000);
    lab.assert_empty();
}

#[test]
fn no_rloc_that_can_be_reached() {
    let mut lab = Lab::new(2, 9);
    let none = [Rloc::V4([224, 0, 0, 1].into()), Rloc::V4([0, 0, 0, 0].into())];
    let Opened::Refused(refusal) = lab.open_for((0, 0), (1, 1), &[Service::ANY], &none) else { panic!() };
    assert_eq!(refusal.reason, Reason::NO_CARRIER);
    lab.edges[0]
        .house
        .own
        .insert(Code::CARRIERS, Value::Carriers(Carriers::default().with(Carrier::UdpIpv6)));
    let Opened::Refused(refusal) = lab.open((0, 0), (1, 1)) else { panic!() };
    assert_eq!(refusal.reason, Reason::NO_CARRIER);
    lab.assert_empty();
}

#[test]
fn both_ask_at_once() {
    for late in 0..=8 {
        let mut lab = Lab::new(2, 10);
        lab.open((0, 0), (1, 1));
        lab.run(late * 5);
        lab.open((1, 1), (0, 0));
        lab.run(3 * PATIENCE);
        assert!(lab.is_agreed(0, 1), "{late}");
        for edge in [0, 1] {
            let events = lab.take(edge);
            let is_made = |event: &Event| matches!(event, Event::Established { .. });
            let is_other = |event: &Event| {
                !is_made(event) && !matches!(event, Event::Ended { reason: Reason::SUPERSEDED, .. })
            };
            assert!(events.iter().any(is_made) && !events.iter().any(is_other), "{late}: {events:?}");
        }
        assert_eq!((lab.edges[0].cetp.len().0, lab.edges[1].cetp.len().0), (1, 1), "{late}: nothing waits");
        lab.run(200_000);
        lab.assert_empty();
    }
}

#[test]
fn both_ask_at_once_for_different_services() {
    let service = |port, direction| Service { protocol: Some(Protocol(6)), direction, ports: (port, port) };
    let mut lab = Lab::new(2, 11);
    lab.open_for((0, 0), (1, 1), &[service(80, Direction::ToInbound)], &[rloc(1, 0)]);
    lab.open_for((1, 1), (0, 0), &[service(22, Direction::ToInbound)], &[rloc(0, 0)]);
    lab.run(3 * PATIENCE);
    assert!(lab.is_agreed(0, 1));
    // Each side has both, one in each direction.
    for edge in [0, 1] {
        let events = lab.take(edge);
        let Some(Event::Established { services, .. }) = events.last() else { panic!("{events:?}") };
        let mut ports: Vec<_> = services.iter().map(|service| (service.ports.0, service.direction)).collect();
        ports.sort();
        let (there, back) = (Direction::ToInbound, Direction::ToOutbound);
        let expected = if edge == 0 { [(22, back), (80, there)] } else { [(22, there), (80, back)] };
        assert_eq!(ports, expected, "edge {edge}");
    }
}

/// The one whose question goes on is refused: the other's still counts.
#[test]
fn both_ask_at_once_and_one_is_refused() {
    for refuses in [0, 1] {
        let mut lab = Lab::new(2, 12);
        lab.edges[refuses].house.rule = Box::new(|ask| match ask.side {
            Side::Inbound => Err(Backoff { reason: Reason::REFUSED, code: None, retry_after: 0 }),
            Side::Outbound => Ok(lax(ask)),
        });
        lab.open((0, 0), (1, 1));
        lab.open((1, 1), (0, 0));
        lab.run(3 * PATIENCE);
        assert!(lab.is_agreed(0, 1), "{refuses}");
        assert_eq!(lab.refusals(1 - refuses), [(Reason::REFUSED, None, true)]);
    }
}

/// The one whose question goes on doesn't like the answer: the other's question, which waited, goes on then.
#[test]
fn both_ask_at_once_and_one_takes_no_answer() {
    let mut refused = Vec::new();
    for refuses in [0, 1] {
        let mut lab = Lab::new(2, 18);
        lab.edges[refuses].house.rule = Box::new(|ask| {
            let is_outbound = ask.side == Side::Outbound;
            let required = if is_outbound { CodeSet::of(&[Code::LIMITS]) } else { CodeSet::EMPTY };
            Ok(Terms { required, ..lax(ask) })
        });
        lab.open((0, 0), (1, 1));
        lab.open((1, 1), (0, 0));
        lab.run(1000);
        assert!(lab.is_agreed(0, 1), "{refuses}");
        refused.extend(lab.refusals(refuses));
    }
    // The other time its question is the one that waits, and that of the other host does as well.
    assert_eq!(refused, [(Reason::MISSING, Some(Code::LIMITS), false)]);
}

#[test]
fn what_is_asked_for_again_is_joined_or_reused() {
    let mut lab = Lab::new(2, 13);
    let web = Service { protocol: Some(Protocol(6)), direction: Direction::ToInbound, ports: (80, 80) };
    lab.open((0, 0), (1, 1));
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Joined);
    assert_eq!(lab.open_for((0, 0), (1, 1), &[web], &[rloc(1, 0)]), Opened::Joined);
    lab.run(100);
    let (local, _) = lab.only(0);
    let sent = lab.sent.0;
    assert_eq!(lab.open_for((0, 0), (1, 1), &[web], &[rloc(1, 0)]), Opened::Reused(local));
    // The other side has it as well.
    let (local, _) = lab.only(1);
    assert_eq!(lab.open((1, 1), (0, 0)), Opened::Reused(local));
    assert_eq!(lab.sent.0, sent);
}

/// The other side would have used what it has: so it has it no more.
#[test]
fn a_session_that_the_other_side_has_lost_is_superseded() {
    let mut lab = Lab::new(2, 16);
    lab.established();
    lab.restart(1);
    lab.open((1, 1), (0, 0));
    lab.run(200);
    assert_eq!(lab.ends(0), [Reason::SUPERSEDED]);
    assert!(lab.is_agreed(0, 1));
    let (local, _) = lab.only(0);
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Reused(local));
}

/// Who was asked by somebody without a name can't know that it has a session with the one that it asks.
#[test]
fn a_session_of_an_anonymous_host_stays() {
    let mut lab = Lab::new(2, 17);
    lab.edges[0].house.rule = Box::new(|ask| {
        let own_ids = IdTypes::of(&[IdType::OperatorAssured]);
        Ok(if ask.side == Side::Outbound { Terms { own_ids, ..lax(ask) } } else { lax(ask) })
    });
    lab.established();
    lab.open((1, 1), (0, 0));
    lab.run(200);
    assert_eq!((lab.ends(0), lab.ends(1)), (vec![], vec![]));
    assert_eq!((lab.edges[0].live.len(), lab.edges[1].live.len()), (2, 2));
}

#[test]
fn there_is_no_more_room() {
    let mut lab = Lab::new(2, 14);
    lab.size.sessions = 1;
    lab.restart(1);
    lab.established();
    lab.open((0, 2), (1, 3));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::OVERLOADED, None, true)]);
    assert_eq!(lab.edges[1].cetp.counters().full, 1);
    let Opened::Refused(refusal) = lab.open((1, 2), (0, 3)) else { panic!() };
    assert_eq!(refusal.reason, Reason::OVERLOADED);
}

#[test]
fn what_nobody_asked_for_is_left_alone() {
    let mut lab = Lab::new(3, 15);
    lab.open((0, 0), (1, 1));
    lab.run(2 * WAY - 1);
    // The answer in other hands: from elsewhere, and as an answer to something else.
    let cookie = lab.edges[0].tags.borrow().iter().copied().next().expect("a question");
    let answer = |transaction| {
        let header = Header {
            kind: Kind::Hosts,
            is_answer: true,
            is_inbound: true,
            transaction,
            sst: None,
            dst: Some(cookie),
            source: Id::NONE,
            destination: Id::NONE,
            seal: None,
        };
        let refusal = Backoff { reason: Reason::REFUSED, code: None, retry_after: 0 };
        let mut bytes = Vec::new();
        let message = Message { header, tlvs: vec![Tlv::response(Value::Backoff(refusal))] };
        wire::encode(&message, &mut bytes).expect("a message");
        bytes
    };
    for transaction in 0..=u16::MAX {
        let bytes = answer(transaction);
        lab.with(0, |cetp, house, now, out| cetp.receive(rloc(2, 0), &bytes, house, now, out));
    }
    assert_eq!(lab.refusals(0), [], "from elsewhere");
    lab.run(1000);
    assert!(lab.is_agreed(0, 1));
}

/// A question that has had its cookie, and has waited then for one of the other side that came to nothing, begins anew: if there is a
/// token by then it shows that, and no cookie before it.
#[test]
fn a_question_that_has_waited_shows_a_token_alone() {
    let mut lab = Lab::new(2, 41);
    lab.open((0, 0), (1, 1));
    lab.run(2 * WAY);
    lab.edges[1].is_cut = true;
    let token = [7; COOKIE];
    let now = lab.now;
    let cetp = &mut lab.edges[0].cetp;
    let slot = *cetp.sessions.by_pair.values().next().expect("it is under way");
    let State::Opening(flight) = &mut cetp.sessions.get_mut(slot).state else { panic!("it is answered") };
    assert_eq!(flight.cookie.len(), COOKIE);
    flight.sending = None;
    cetp.tokens.put(rloc(1, 0), (token, u32::MAX));
    cetp.sessions.deadlines.set(slot, now);
    lab.with(0, |cetp, house, now, out| cetp.tick(house, now, out));
    let State::Opening(flight) = &lab.edges[0].cetp.sessions.get(slot).state else { panic!("it goes on") };
    assert_eq!(flight.cookie[..], token);
    let sent = &flight.sending.as_ref().expect("it was sent").bytes;
    let decoded = wire::decode(sent).expect("a message");
    assert_eq!(decoded.message.value(Code::COOKIE), Some(&Value::Cookie(&token)));
}
