//! Inside an association.

use super::lab::*;
use crate::edge::cetp::association::Report;
use crate::edge::cetp::association::handshake::{REST, room_for_certificates};
use crate::edge::cetp::association::upkeep::{IDLE, KEEPALIVE, REKEY};
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::Opened;
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::*;
use crate::edge::cetp::wire;

fn closed(ask: &Ask<'_>) -> Result<Terms, Backoff> {
    Ok(Terms { needs_association: true, ..lax(ask) })
}

/// Two edges that negotiate inside an association only, and one session.
pub fn associated(seed: u64) -> Lab {
    let mut lab = closed_edges(seed, [0, 1]);
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Asked);
    lab.run(200);
    assert!(lab.is_agreed(0, 1));
    lab
}

/// Two such edges, which tell their RLOCs in that order.
fn closed_edges(seed: u64, orders: [u8; 2]) -> Lab {
    let mut lab = Lab::new(2, seed);
    for edge in [0, 1] {
        lab.edges[edge].house.rule = Box::new(closed);
        let told = [
            Value::Mtu(1400),
            Value::RlocIpv4(
                [0, 1]
                    .map(|which: u8| Ranked {
                        order: orders[usize::from(which)],
                        preference: 0,
                        address: match rloc(edge, which) {
                            Rloc::V4(address) => address,
                            _ => unreachable!(),
                        },
                    })
                    .into_iter()
                    .collect(),
            ),
        ];
        lab.edges[edge].house.own.extend(told.map(|value| (value.code(), value)));
    }
    lab
}

/// It has nothing to do with a question for another edge, which costs it nothing.
#[test]
fn an_edge_is_asked_for_by_the_hash_of_its_name_alone() {
    let mut lab = closed_edges(92, [0, 1]);
    let own = Fqdn::new(edge_name(1)).expect("a name").hash();
    // After the fixed part and the name of who asks.
    let at = wire::FIXED + 2 + edge_name(0).len() + 2;
    lab.tamper = Some(Box::new(move |to, message| {
        assert_eq!((to, &message[at - 2..at]), (1, &[1, 16][..]), "only this one says anything");
        assert_eq!(message[at..at + own.len()], own);
        message[at] ^= 1;
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(1_000);
    assert_eq!((lab.edges[1].cetp.macs(), lab.edges[1].cetp.len()), (0, (0, 0)));
    lab.tamper = None;
    lab.run(1_000);
    assert!(lab.is_agreed(0, 1));
}

#[test]
fn certificates_for_which_there_is_room_make_an_association() {
    let house = |lab: &Lab| lab.edges[0].house.own.values().cloned().collect::<Vec<_>>();
    let room =
        room_for_certificates(Fqdn::new(edge_name(0)).expect("a name"), &house(&closed_edges(91, [0, 1])));
    assert!((918 + wire::TLV_HEADER..1000).contains(&room), "{room} bytes");
    // The cookie is a short one: what is left for a longer one is there, too.
    for (certificates, is_up) in [(1, true), (2, false)] {
        let mut lab = closed_edges(91, [0, 1]);
        // What is longer than the least that every link takes comes in pieces, or not at all.
        lab.tamper = Some(Box::new(|_, message| message.len() + 40 + 8 <= 1280));
        lab.edges[0].house.show(room - wire::TLV_HEADER, certificates);
        lab.open((0, 0), (1, 1));
        lab.run(200);
        assert_eq!(!lab.edges[0].live.is_empty(), is_up, "{certificates} of {room} bytes");
    }
}

#[test]
fn an_answer_goes_to_where_the_question_came_from_whatever_is_told_to_be_first() {
    let mut lab = closed_edges(90, [1, 0]);
    // Both speak from the other one, and nothing comes by this.
    lab.dead = Some(1);
    lab.open((0, 0), (1, 1));
    lab.run(150);
    assert!(lab.is_agreed(0, 1));
    let sent = lab.sent;
    lab.run(500);
    assert_eq!(lab.sent, sent, "nothing has to be sent again");
}

fn is_associated(lab: &Lab) -> bool {
    [(0, 1), (1, 0)].iter().all(|(edge, other)| {
        lab.edges[*edge].cetp.peer(Fqdn::new(edge_name(*other)).expect("a name")).is_some()
    })
}

#[test]
fn the_first_negotiation_sets_it_up_and_the_second_takes_one_round() {
    let mut lab = associated(70);
    assert!(is_associated(&lab));
    assert!(matches!(lab.take(0)[..], [Event::Associated { .. }, Event::Established { .. }]));
    let (sent, bytes) = lab.sent;
    lab.open((0, 2), (1, 3));
    lab.open((1, 0), (0, 3));
    lab.run(100);
    assert_eq!((lab.edges[0].live.len(), lab.edges[1].live.len()), (3, 3));
    assert_eq!(lab.sent.0 - sent, 6);
    assert!((lab.sent.1 - bytes) / 2 < 600);
}

/// The aim: two rounds at most 900 bytes on Ethernet, with all headers (14 + 20 + 8 each, and the acknowledgement).
#[test]
fn a_strict_negotiation_is_short() {
    let mut lab = associated(71);
    lab.edges[1].house.rule = Box::new(|ask| {
        let required = CodeSet::of(&[Code::DOMAIN, Code::CA_ADDRESS, Code::SIGNATURE]);
        Ok(Terms { required, needs_association: true, ..lax(ask) })
    });
    lab.edges[0].house.rule = Box::new(|ask| {
        let required = CodeSet::of(&[Code::DOMAIN, Code::SIGNATURE]);
        Ok(Terms { required, needs_association: true, ..lax(ask) })
    });
    let (sent, bytes) = lab.sent;
    lab.open((0, 2), (1, 3));
    lab.run(100);
    assert_eq!(lab.edges[0].live.len(), 2);
    let (sent, bytes) = (lab.sent.0 - sent, lab.sent.1 - bytes);
    assert_eq!(sent, 5);
    let on_wire = bytes + sent * (14 + 20 + 8);
    println!("strict, inside an association: {bytes} bytes in {sent} messages, {on_wire} on Ethernet");
    assert!(on_wire <= 900, "{on_wire}");
}

#[test]
fn without_one_nothing_is_negotiated() {
    let mut lab = Lab::new(2, 72);
    lab.edges[1].house.rule = Box::new(closed);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::ASSOCIATION, None, true)]);
    lab.assert_empty();
}

#[test]
fn none_can_be_had() {
    let mut lab = Lab::new(2, 73);
    lab.edges[0].house.rule = Box::new(closed);
    lab.edges[1].is_cut = true;
    lab.open((0, 0), (1, 1));
    lab.run(PATIENCE);
    let events = lab.take(0);
    let silent = Event::Refused { reason: Reason::SILENT, code: None, by_peer: false };
    assert_eq!(events, [Event::Parted { reason: Reason::SILENT }, silent]);
    // It is left alone for a while.
    let Opened::Refused(refusal) = lab.open((0, 0), (1, 1)) else { panic!() };
    assert_eq!(refusal.reason, Reason::SILENT);
    lab.run(REST);
    lab.assert_empty();
    lab.edges[1].is_cut = false;
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Asked);
    lab.run(200);
    assert!(lab.is_agreed(0, 1));
}

#[test]
fn both_ask_for_one_at_once() {
    for late in 0..12 {
        let mut lab = Lab::new(2, 74);
        for edge in [0, 1] {
            lab.edges[edge].house.rule = Box::new(closed);
        }
        lab.open((0, 0), (1, 1));
        lab.run(late * 5);
        lab.open((1, 2), (0, 3));
        lab.run(2 * PATIENCE);
        assert!(is_associated(&lab), "{late}");
        assert_eq!((lab.edges[0].live.len(), lab.edges[1].live.len()), (2, 2), "{late}");
    }
}

#[test]
fn an_edge_that_has_lost_everything_is_found_out() {
    for speaks_first in [0, 1] {
        let mut lab = associated(75);
        lab.restart(1);
        lab.take(0);
        // Either side wants something anew.
        let is_asked = if speaks_first == 0 { lab.open((0, 2), (1, 3)) } else { lab.open((1, 3), (0, 2)) };
        assert_eq!(is_asked, Opened::Asked);
        lab.run(2 * PATIENCE);
        assert!(is_associated(&lab), "{speaks_first}");
        assert_eq!(lab.ends(0), [Reason::LOST], "{speaks_first}");
        assert!(lab.is_agreed(0, 1), "{speaks_first}: the new one");
    }
}

#[test]
fn a_silent_edge_is_given_up_with_all_that_was_in_it() {
    let mut lab = associated(76);
    lab.take(0);
    let (local, _) = lab.only(0);
    let far = lab.now + 1_000_000;
    lab.edges[0].house.seen.insert(local, LastSeen { inbound: far, outbound: far });
    lab.edges[1].is_cut = true;
    // Both of its RLOCs are asked.
    lab.run(KEEPALIVE + 2 * PATIENCE + 100);
    let events = lab.take(0);
    assert!(
        matches!(
            events[..],
            [Event::Parted { reason: Reason::SILENT }, Event::Ended { reason: Reason::SILENT, .. }]
        ),
        "{events:?}"
    );
    assert_eq!(lab.edges[0].cetp.len(), (0, 0));
}

#[test]
fn an_edge_that_is_gone_leaves_one_place() {
    let mut lab = Lab::new(4, 87);
    for edge in 0..4 {
        lab.edges[edge].house.rule = Box::new(closed);
    }
    lab.open((0, 0), (1, 1));
    lab.run(200);
    let (local, _) = lab.only(0);
    let far = lab.now + 1_000_000;
    lab.edges[0].house.seen.insert(local, LastSeen { inbound: far, outbound: far });
    lab.edges[1].is_cut = true;
    lab.run(KEEPALIVE + 2 * PATIENCE + 100);
    assert_eq!(lab.edges[0].cetp.len(), (0, 0));
    lab.open((0, 0), (2, 1));
    lab.open((0, 0), (3, 1));
    lab.run(200);
    let peer = |edge| lab.edges[0].cetp.peer(Fqdn::new(edge_name(edge)).expect("a name"));
    assert!(peer(2).is_some() && peer(3).is_some() && peer(2) != peer(3));
}

#[test]
fn its_other_rloc_is_found() {
    let mut lab = associated(77);
    lab.take(0);
    lab.take(1);
    let (local, remote) = lab.only(0);
    let far = lab.now + 1_000_000;
    for (edge, tag) in [(0, local), (1, remote)] {
        lab.edges[edge].house.seen.insert(tag, LastSeen { inbound: far, outbound: far });
    }
    // What goes to, or comes from, the first ones is lost: the lab answers from where it was asked.
    lab.dead = Some(0);
    lab.run(KEEPALIVE + 2 * PATIENCE);
    assert_eq!((lab.take(0), lab.take(1)), (vec![], vec![]));
    lab.open((0, 2), (1, 3));
    lab.run(100);
    assert_eq!(lab.edges[0].live.len(), 2);
}

#[test]
fn keys_are_replaced_and_nothing_is_noticed() {
    let mut lab = associated(78);
    let (local, remote) = lab.only(0);
    let far = lab.now + 3 * REKEY;
    for (edge, tag) in [(0, local), (1, remote)] {
        lab.edges[edge].house.seen.insert(tag, LastSeen { inbound: far, outbound: far });
    }
    lab.loss = 20;
    lab.run(2 * REKEY + REKEY / 2);
    lab.loss = 0;
    let peer = lab.edges[0].cetp.peer(Fqdn::new(edge_name(1)).expect("a name")).expect("an association");
    let epoch = lab.edges[0].cetp.peers.get(peer).current.as_ref().expect("one").keys.epoch;
    assert!(epoch >= 2, "{epoch}");
    assert!(lab.is_agreed(0, 1));
    lab.open((0, 2), (1, 3));
    lab.run(1000);
    assert_eq!(lab.edges[0].live.len(), 2);
}

#[test]
fn an_association_that_nobody_uses_ends() {
    let mut lab = associated(79);
    lab.run(61_000 + IDLE + PATIENCE);
    lab.assert_empty();
}

#[test]
fn a_clock_that_is_wrong_is_known() {
    let mut lab = Lab::new(2, 80);
    lab.edges[0].house.rule = Box::new(closed);
    lab.edges[1].ahead = 3_600_000;
    lab.open((0, 0), (1, 1));
    lab.run(200);
    let events = lab.take(0);
    let Some(Event::Associated { clock, .. }) = events.first() else { panic!("{events:?}") };
    assert!((3_599_000..3_601_000).contains(clock), "{clock}");
}

#[test]
fn its_limits_hold() {
    let mut lab = Lab::new(2, 81);
    for edge in [0, 1] {
        lab.edges[edge].house.rule = Box::new(closed);
    }
    lab.edges[1].house.limits = Limits { sessions: 1, negotiations: 2 };
    lab.open((0, 0), (1, 1));
    lab.run(2000);
    // What was told is known here: it isn't asked.
    let Opened::Refused(refusal) = lab.open((0, 2), (1, 3)) else { panic!() };
    assert_eq!(refusal.reason, Reason::LIMIT);
}

#[test]
fn a_rate_holds_for_who_does_not_keep_it() {
    let mut lab = Lab::new(2, 82);
    for edge in [0, 1] {
        lab.edges[edge].house.rule = Box::new(closed);
    }
    lab.edges[1].house.limits = Limits { sessions: 100, negotiations: 2 };
    lab.open((0, 0), (1, 1));
    lab.run(5000);
    lab.take(0);
    for host in 0..HOSTS {
        lab.open((0, 2), (1, host));
    }
    lab.run(100);
    assert_eq!(lab.refusals(0), [(Reason::OVERLOADED, None, true); 2]);
}

#[test]
fn what_is_sealed_counts_once_and_from_its_own_rlocs() {
    use std::{cell::RefCell, rc::Rc};
    let mut lab = associated(83);
    let copies: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let kept = copies.clone();
    lab.tamper = Some(Box::new(move |to, bytes| {
        if to == 1 {
            kept.borrow_mut().push(bytes.clone());
        }
        true
    }));
    lab.open((0, 2), (1, 3));
    lab.run(100);
    let macs = lab.edges[1].cetp.macs();
    for copy in copies.borrow().iter() {
        for from in [rloc(0, 0), rloc(9, 0)] {
            lab.with(1, |cetp, house, now, out| cetp.receive(from, copy, house, now, out));
        }
    }
    assert_eq!(lab.edges[1].cetp.macs(), macs, "no MAC is spent on what has come");
    // What has not come yet, from elsewhere.
    let kept = copies.clone();
    lab.tamper = Some(Box::new(move |to, bytes| {
        if to == 1 {
            kept.borrow_mut().push(bytes.clone());
        }
        to != 1
    }));
    lab.open((0, 1), (1, 3));
    lab.run(2 * WAY);
    let fresh = copies.borrow().last().cloned().expect("a question");
    let sessions = lab.edges[1].live.len();
    for (from, more) in [(rloc(9, 0), 0), (rloc(0, 0), 1)] {
        lab.with(1, |cetp, house, now, out| cetp.receive(from, &fresh, house, now, out));
        assert_eq!(lab.edges[1].live.len(), sessions + more);
    }
    // A bit is changed: the MAC is wrong, and that is all.
    let macs = lab.edges[1].cetp.macs();
    let mut last = copies.borrow().last().cloned().expect("one");
    let number = last.len() - wire::MAC - 1;
    last[number] = last[number].wrapping_add(100);
    lab.with(1, |cetp, house, now, out| cetp.receive(rloc(0, 0), &last, house, now, out));
    assert_eq!(lab.edges[1].cetp.macs(), macs + 1);
    assert!(lab.edges[1].cetp.counters().unsealed > 0);
}

#[test]
fn reports_and_ends_of_many_sessions() {
    let mut lab = associated(84);
    lab.open((0, 2), (1, 3));
    lab.run(100);
    let peer = lab.edges[0].cetp.peer(Fqdn::new(edge_name(1)).expect("a name")).expect("an association");
    let remote: Vec<Tag> = lab.edges[0].live.values().copied().collect();
    lab.take(1);
    lab.doubled = 100;
    let evidence =
        Evidence { misbehaviour: Misbehaviour::FLOOD, count: 5, sessions: remote.iter().copied().collect() };
    for report in [
        Report::Evidence(evidence),
        Report::Filtering(Filtering {
            blocked: Blocked::Service(Service::ANY),
            seconds: 30,
            reason: Reason::BLOCKED,
        }),
        Report::Terminate(Termination::These(Reason::CLOSED, remote[..1].iter().copied().collect())),
        Report::Terminate(Termination::All(Reason::CLOSED)),
    ] {
        assert!(lab.with(0, |cetp, _, now, out| cetp.report(peer, &report, now, out)));
        lab.run(100);
    }
    let events = lab.take(1);
    assert!(
        matches!(
            events[..],
            [
                Event::Evidence { local: None, count: 5 },
                Event::Filtering { local: None, seconds: 30 },
                Event::Ended { .. },
                Event::Ended { .. }
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn the_end_of_what_is_forgotten_is_not_said_again() {
    for is_cold in [false, true] {
        let mut lab = if is_cold { Lab::new(2, 86) } else { associated(86) };
        if is_cold {
            lab.established();
        }
        let (local, remote) = lab.only(0);
        let slot = lab.edges[1].cetp.sessions.find(remote).expect("a session");
        lab.edges[1].cetp.sessions.free(slot);
        let sent = lab.sent.0;
        lab.with(0, |cetp, _, now, out| cetp.close(local, Reason::CLOSED, now, out));
        lab.run(1000);
        assert_eq!((lab.sent.0 - sent, lab.edges[0].cetp.len().0), (2, 0), "it is told so");
    }
}

#[test]
fn an_unknown_packet_is_reported_under_the_mac_and_ends_the_session_there() {
    let mut lab = associated(85);
    let (local, remote) = lab.only(1);
    lab.take(0);
    // Edge 1 knows nothing of it any more; edge 0's packets go on.
    let slot = lab.edges[1].cetp.sessions.find(local).expect("a session");
    lab.with(1, |cetp, _, now, out| cetp.remove(slot, Reason::LOST, now, out));
    lab.with(1, |cetp, _, now, out| cetp.unknown_packet(rloc(0, 0), remote, local, now, out));
    lab.run(100);
    assert_eq!(lab.ends(0), [Reason::LOST]);
    let sent = lab.sent.0;
    for _ in 0..1000 {
        lab.with(1, |cetp, _, now, out| cetp.unknown_packet(rloc(0, 0), remote, local, now, out));
    }
    assert_eq!(lab.sent.0 - sent, 10, "within a rate");
    lab.with(1, |cetp, _, now, out| cetp.unknown_packet(rloc(7, 0), remote, local, now, out));
    assert_eq!(lab.sent.0 - sent, 10, "else silence");
}
