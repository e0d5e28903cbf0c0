//! What two policies make of each other.

use std::cell::RefCell;
use std::rc::Rc;

use super::lab::*;
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::Opened;
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::*;
use crate::edge::cetp::wire;

fn refusal(reason: Reason) -> Backoff {
    Backoff { reason, code: None, retry_after: 0 }
}

/// Inbound, it wants to be told those.
fn strict(codes: &'static [Code]) -> Box<Rule> {
    Box::new(move |ask| {
        let required = if ask.side == Side::Inbound { CodeSet::of(codes) } else { CodeSet::EMPTY };
        Ok(Terms { required, ..lax(ask) })
    })
}

#[test]
fn what_is_required_is_asked_for_with_the_cookie() {
    let mut lab = Lab::new(2, 20);
    lab.edges[1].house.rule = strict(&[Code::DOMAIN, Code::CA_ADDRESS, Code::SIGNATURE]);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert!(lab.is_agreed(0, 1));
    assert_eq!(lab.sent.0, 5, "two rounds");
    let events = lab.take(1);
    let Some(Event::Established { name: Some(name), .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(name, host_name(0, 0));
}

#[test]
fn the_outbound_side_requires_too() {
    for (is_told, reason) in [(true, None), (false, Some(Reason::MISSING))] {
        let mut lab = Lab::new(2, 21);
        lab.edges[0].house.rule = Box::new(|ask| {
            let required = CodeSet::of(&[Code::DOMAIN, Code::SIGNATURE]);
            Ok(Terms { required, ..lax(ask) })
        });
        if !is_told {
            lab.edges[1].house.rule = Box::new(|ask| Ok(Terms { available: CodeSet::EMPTY, ..lax(ask) }));
        }
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        match reason {
            None => assert!(lab.is_agreed(0, 1)),
            Some(reason) => {
                assert_eq!(lab.refusals(0), [(reason, Some(Code::DOMAIN), false)]);
                assert_eq!(lab.ends(1), [reason], "the other side's session ends");
                lab.run(100_000);
                lab.assert_empty();
            }
        }
    }
}

#[test]
fn what_is_required_and_not_there_is_said_so_once() {
    let mut lab = Lab::new(2, 22);
    lab.edges[1].house.rule = strict(&[Code::DOMAIN, Code::LIMITS]);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::MISSING, Some(Code::LIMITS), true)]);
    assert_eq!(lab.sent.0, 4);
    lab.assert_empty();
}

/// What messages to an edge ask, tell, and say not to have, of those codes: a letter each, a word a message.
fn spy(lab: &mut Lab, edge: usize, codes: &'static [Code]) -> Rc<RefCell<Vec<String>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let seeing = seen.clone();
    lab.tamper = Some(Box::new(move |to, bytes| {
        if let (true, Ok(decoded)) = (to == edge, wire::decode(bytes)) {
            let message = &decoded.message;
            let letter = |code: &Code| match () {
                () if message.told().contains(*code) => 't',
                () if message.unavailable().contains(*code) => 'u',
                () if message.queries().contains(*code) => 'q',
                () => '-',
            };
            seeing.borrow_mut().push(codes.iter().map(letter).collect());
        }
        true
    }));
    seen
}

fn wishes(side: Side, required: &'static [Code], optional: &'static [Code]) -> Box<Rule> {
    Box::new(move |ask| {
        let terms = lax(ask);
        Ok(if ask.side == side {
            Terms { required: CodeSet::of(required), optional: CodeSet::of(optional), ..terms }
        } else {
            terms
        })
    })
}

/// Of three, one is there, one is not, and one comes to nothing: none costs a round, or the session.
#[test]
fn what_is_optional_is_asked_for_with_the_cookie_and_taken_as_it_comes() {
    const CODES: &[Code] = &[Code::DOMAIN, Code::LIMITS, Code::CA_ADDRESS];
    for required in [&[][..], &[Code::CA_ADDRESS]] {
        let mut lab = Lab::new(2, 26);
        lab.edges[1].house.rule = wishes(Side::Inbound, required, CODES);
        let told = spy(&mut lab, 1, CODES);
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        assert!(lab.is_agreed(0, 1));
        assert_eq!(lab.sent.0, 5, "two rounds");
        let told = told.borrow();
        assert_eq!(told[..2], ["---", "tut"], "{told:?}");
        let events = lab.take(1);
        let Some(Event::Established { name: Some(name), .. }) = events.first() else { panic!("{events:?}") };
        assert_eq!(name, host_name(0, 0));
    }
    let mut lab = Lab::new(2, 26);
    lab.edges[1].house.rule = wishes(Side::Inbound, &[], CODES);
    let asked = spy(&mut lab, 0, CODES);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(asked.borrow()[0], "qqq");
}

#[test]
fn what_is_optional_is_asked_for_by_who_calls_too() {
    const CODES: &[Code] = &[Code::DOMAIN, Code::LIMITS];
    let mut lab = Lab::new(2, 27);
    lab.edges[0].house.rule = wishes(Side::Outbound, &[], CODES);
    let told = spy(&mut lab, 0, CODES);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert!(lab.is_agreed(0, 1));
    assert_eq!((lab.sent.0, told.borrow().last().map(String::as_str)), (5, Some("tu")));
}

/// Inside an association one round does: what is optional is no reason for another.
#[test]
fn what_is_optional_costs_no_round() {
    const CODES: &[Code] = &[Code::DOMAIN];
    let mut lab = super::associated::associated(28);
    lab.edges[1].house.rule = wishes(Side::Inbound, &[], CODES);
    let sent = lab.sent.0;
    lab.open((0, 0), (1, 0));
    lab.run(100);
    assert_eq!((lab.edges[1].live.len(), lab.sent.0 - sent), (2, 3));
    // Where there must be another one, it is asked for with that.
    let told = spy(&mut lab, 1, CODES);
    lab.edges[1].house.rule = wishes(Side::Inbound, &[Code::CA_ADDRESS], CODES);
    let sent = lab.sent.0;
    lab.open((0, 1), (1, 0));
    lab.run(100);
    assert_eq!((lab.edges[1].live.len(), lab.sent.0 - sent), (3, 5));
    assert_eq!(told.borrow()[..2], ["-", "t"]);
}

/// One that is right counts; one that is wrong is as none, where it is not required.
#[test]
fn a_signature_may_be_optional() {
    for (required, is_agreed) in [(&[][..], true), (&[Code::SIGNATURE][..], false)] {
        let mut lab = Lab::new(2, 29);
        lab.edges[1].house.rule = wishes(Side::Inbound, required, &[Code::SIGNATURE]);
        let signed = spy(&mut lab, 1, &[Code::SIGNATURE]);
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        assert!(lab.is_agreed(0, 1));
        assert_eq!(signed.borrow()[1], "t");
        // Of another key.
        lab.tamper = None;
        lab.edges[0].house.mistake();
        lab.open((0, 1), (1, 0));
        lab.run(1000);
        let refused = lab.refusals(0);
        assert_eq!(refused.is_empty(), is_agreed, "{refused:?}");
        assert!(is_agreed || refused == [(Reason::BAD_SIGNATURE, Some(Code::SIGNATURE), true)]);
    }
}

#[test]
fn a_value_must_be_one_that_the_policy_takes() {
    let mut lab = Lab::new(2, 23);
    lab.edges[1].house.rule = strict(&[Code::DOMAIN]);
    lab.edges[1].house.judge = |_| Err(Reason::UNACCEPTABLE);
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::UNACCEPTABLE, Some(Code::DOMAIN), true)]);
    lab.assert_empty();
}

#[test]
fn a_refusal_says_why_and_leaves_nothing() {
    let mut lab = Lab::new(2, 24);
    lab.edges[1].house.rule = Box::new(|_| Err(refusal(Reason::BLOCKED)));
    lab.open((0, 0), (1, 1));
    lab.open((0, 0), (1, HOSTS));
    lab.run(1000);
    let mut refusals = lab.refusals(0);
    refusals.sort();
    assert_eq!(refusals, [(Reason::UNKNOWN_HOST, None, true), (Reason::BLOCKED, None, true)]);
    let counters = lab.edges[1].cetp.counters();
    assert_eq!((lab.sent.0, counters.refused, counters.unknown_hashes), (6, 2, 1));
    lab.edges[0].house.rule = Box::new(|_| Err(refusal(Reason::REFUSED)));
    assert_eq!(lab.open((0, 0), (1, 1)), Opened::Refused(refusal(Reason::REFUSED)));
    lab.assert_empty();
}

#[test]
fn another_type_of_id_is_asked_for() {
    let wanted = IdTypes::of(&[IdType::OperatorAssured]);
    for (own, is_agreed) in [
        (IdTypes::ANY, true),
        (IdTypes::of(&[IdType::FqdnHash, IdType::OperatorAssured]), true),
        (IdTypes::of(&[IdType::FqdnHash]), false),
    ] {
        let mut lab = Lab::new(2, 25);
        lab.edges[0].house.rule = Box::new(move |ask| Ok(Terms { own_ids: own, ..lax(ask) }));
        lab.edges[1].house.rule = Box::new(move |ask| Ok(Terms { peer_ids: wanted, ..lax(ask) }));
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        if is_agreed {
            assert!(lab.is_agreed(0, 1));
            assert_eq!(lab.sent.0, 5);
        } else {
            assert_eq!(lab.refusals(0), [(Reason::ID_TYPE, Some(Code::ID_TYPE), false)]);
            lab.assert_empty();
        }
    }
}

/// The cookie, then an ID of another type, then what the policy wants to know of who has it.
#[test]
fn three_rounds_and_no_more() {
    for (rounds, is_agreed) in [(3, true), (4, false)] {
        let mut lab = Lab::new(2, 26);
        lab.edges[0].house.rule = Box::new(|ask| {
            let available = CodeSet::of(&[Code::DOMAIN, Code::CA_ADDRESS, Code::MTU]);
            Ok(Terms { available, own_ids: IdTypes::ANY, ..lax(ask) })
        });
        lab.edges[0].house.own.insert(Code::MTU, Value::Mtu(1400));
        lab.edges[1].house.rule = Box::new(move |ask| {
            let wanted = IdTypes::of(&[IdType::OperatorAssured]);
            let is_assured = ask.peer.id_type == IdType::OperatorAssured;
            let mut required = if is_assured { CodeSet::of(&[Code::CA_ADDRESS]) } else { CodeSet::EMPTY };
            // Who says so much is asked for more.
            if rounds == 4 && ask.peer_name.is_some() {
                required = required.with(Code::MTU);
            } else if rounds == 4 && is_assured {
                required = required.with(Code::DOMAIN);
            }
            Ok(Terms { peer_ids: wanted, required, ..lax(ask) })
        });
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        if is_agreed {
            assert_eq!(lab.refusals(0), []);
            assert!(lab.is_agreed(0, 1));
            assert_eq!(lab.sent.0, 7);
        } else {
            assert_eq!(lab.refusals(0), [(Reason::ROUNDS, Some(Code::MTU), false)]);
            lab.assert_empty();
        }
    }
}

#[test]
fn the_name_is_checked_before_there_is_a_session() {
    for answer in [Some(true), Some(false), None] {
        let mut lab = Lab::new(2, 27);
        lab.edges[1].house.rule =
            Box::new(|ask| Ok(Terms { naming_check: ask.side == Side::Inbound, ..lax(ask) }));
        lab.doubled = 100;
        lab.open((0, 0), (1, 1));
        lab.run(100);
        let events = lab.take(1);
        let [Event::Check { local, name, rloc: from }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&name[..], *from), (host_name(0, 0), rloc(0, 0)));
        if let Some(is_right) = answer {
            lab.with(1, |cetp, house, now, out| cetp.checked(*local, is_right, house, now, out));
        }
        lab.run(PATIENCE);
        if answer == Some(true) {
            assert!(lab.is_agreed(0, 1));
        } else {
            let (reason, code, by_peer) = lab.refusals(0)[0];
            assert_eq!(
                (reason, code, by_peer),
                if answer.is_none() && reason == Reason::SILENT {
                    (Reason::SILENT, None, false)
                } else {
                    (Reason::NAMING_CHECK, Some(Code::DOMAIN), true)
                }
            );
            lab.run(PATIENCE);
            lab.assert_empty();
        }
    }
}

#[test]
fn the_name_that_is_told_is_the_one_that_was_asked_for() {
    let mut lab = Lab::new(2, 28);
    lab.edges[0].house.rule = Box::new(|ask| Ok(Terms { naming_check: true, ..lax(ask) }));
    lab.tamper = Some(Box::new(|to, bytes| {
        if to == 0
            && let Some(at) = bytes.windows(5).position(|part| part == b"h1.e1")
        {
            bytes[at + 1] = b'2';
        }
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::NAMING_CHECK, Some(Code::DOMAIN), false)]);
}

/// What is proved of a name would hold for the hash of another.
#[test]
fn a_name_and_a_hash_that_are_not_of_one_host_are_refused() {
    let mut lab = Lab::new(2, 35);
    lab.edges[1].house.rule = strict(&[Code::DOMAIN]);
    lab.tamper = Some(Box::new(|to, bytes| {
        let name = b"h0.e0.example";
        if to == 1
            && let Some(at) = bytes.windows(name.len()).position(|part| part == name)
        {
            bytes[at + 1] = b'3';
        }
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::UNACCEPTABLE, Some(Code::DOMAIN), true)]);
}

/// Nobody between the two takes anything out of what is signed, or puts anything in.
#[test]
fn a_signature_covers_both_the_question_and_the_answer() {
    for (at_edge, reason, by_peer) in [(1, Reason::BAD_SIGNATURE, true), (0, Reason::BAD_SIGNATURE, false)] {
        let mut lab = Lab::new(2, 29);
        for edge in [0, 1] {
            lab.edges[edge].house.rule =
                Box::new(|ask| Ok(Terms { required: CodeSet::of(&[Code::SIGNATURE]), ..lax(ask) }));
        }
        lab.tamper = Some(Box::new(move |to, bytes| {
            // The timeout's last byte: 60 seconds become 61.
            let timeout = [4, 0, 0, 0, 60];
            if to == at_edge
                && wire::decode(bytes).is_ok_and(|decoded| decoded.message.told().contains(Code::SIGNATURE))
                && let Some(at) = bytes.windows(5).position(|part| part == timeout)
            {
                bytes[at + 4] = 61;
            }
            true
        }));
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        assert_eq!(lab.refusals(0), [(reason, Some(Code::SIGNATURE), by_peer)], "at edge {at_edge}");
        assert!(lab.edges[0].live.is_empty() && lab.edges[1].live.is_empty());
    }
}

#[test]
fn an_answer_counts_for_its_question_only() {
    // The question is changed where nothing of it is checked: the answer to it is signed, and the asker doesn't take it.
    let mut lab = Lab::new(2, 30);
    lab.edges[0].house.rule =
        Box::new(|ask| Ok(Terms { required: CodeSet::of(&[Code::SIGNATURE]), ..lax(ask) }));
    lab.tamper = Some(Box::new(|to, bytes| {
        if to == 1
            && let Some(at) = bytes.windows(5).position(|part| part == [4, 0, 0, 0, 60])
        {
            bytes[at + 4] = 59;
        }
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert_eq!(lab.refusals(0), [(Reason::BAD_SIGNATURE, Some(Code::SIGNATURE), false)]);
}

#[test]
fn an_unknown_tlv_without_which_nothing_makes_sense() {
    for (at_edge, by_peer) in [(1, true), (0, false)] {
        let mut lab = Lab::new(2, 31);
        lab.tamper = Some(Box::new(move |to, bytes| {
            // Query, I and D: 0b1100.
            if to == at_edge {
                bytes.extend([200, 0xc0, 1, 7]);
                let length = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
            true
        }));
        lab.open((0, 0), (1, 1));
        lab.run(1000);
        let code = if by_peer { Some(Code(200)) } else { None };
        assert_eq!(lab.refusals(0), [(Reason::UNSUPPORTED, code, by_peer)]);
        lab.run(100_000);
        lab.assert_empty();
    }
}

#[test]
fn an_unknown_tlv_that_matters_to_nobody() {
    let mut lab = Lab::new(2, 32);
    lab.tamper = Some(Box::new(move |_, bytes| {
        bytes.extend([200, 0x50, 1, 7]);
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        true
    }));
    lab.open((0, 0), (1, 1));
    lab.run(1000);
    assert!(lab.is_agreed(0, 1));
}
