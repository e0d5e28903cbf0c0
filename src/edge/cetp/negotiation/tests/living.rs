//! Within a session, and its end.

use super::lab::*;
use crate::edge::cetp::association::Report;
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::Opened;
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::*;
use crate::packet::Protocol;

fn web(direction: Direction) -> Service {
    Service { protocol: Some(Protocol(6)), direction, ports: (80, 80) }
}

fn ssh() -> Service {
    Service { protocol: Some(Protocol(6)), direction: Direction::ToInbound, ports: (22, 22) }
}

fn services_of(lab: &mut Lab, edge: usize) -> Vec<(u16, Direction)> {
    let events = lab.take(edge);
    let Some(Event::Established { services, .. }) = events.last() else { panic!("{events:?}") };
    services.iter().map(|service| (service.ports.0, service.direction)).collect()
}

#[test]
fn a_packet_says_that_the_answer_has_come() {
    let mut lab = Lab::new(2, 50);
    lab.tamper = Some(Box::new({
        let mut seen = 0;
        move |_, _| {
            seen += 1;
            seen < 5
        }
    }));
    lab.open((0, 0), (1, 1));
    lab.run(60);
    let (local, _) = lab.only(1);
    lab.with(1, |cetp, house, now, out| cetp.heard(local, house, now, out));
    let sent = lab.sent.0;
    lab.run(PATIENCE);
    assert_eq!(lab.sent.0, sent, "nothing is sent again");
}

#[test]
fn without_an_acknowledgement_it_ends() {
    let mut lab = Lab::new(2, 51);
    lab.tamper = Some(Box::new({
        let mut seen = 0;
        move |to, _| {
            seen += 1;
            seen < 5 || to == 0
        }
    }));
    lab.open((0, 0), (1, 1));
    lab.run(3 * PATIENCE);
    assert_eq!((lab.ends(0), lab.ends(1)), (vec![Reason::SILENT], vec![Reason::SILENT]));
    lab.run(100_000);
    lab.assert_empty();
}

#[test]
fn both_end_it_when_nothing_crosses() {
    let mut lab = Lab::new(2, 52);
    let [a, b] = [[0; 2], [1; 2]].map(|[edge, _]| edge);
    lab.edges[b].house.rule = Box::new(|ask| Ok(Terms { timeout: 20, ..lax(ask) }));
    let (local, _) = lab.established();
    // Packets cross for ten seconds.
    let (last, peer) = (lab.now + 10_000, lab.only(b).0);
    for (edge, tag) in [(a, local), (b, peer)] {
        lab.edges[edge].house.seen.insert(tag, LastSeen { inbound: last, outbound: last });
    }
    lab.run(29_000);
    assert!(lab.is_agreed(a, b));
    lab.run(1_200);
    assert_eq!((lab.ends(a), lab.ends(b)), (vec![Reason::IDLE], vec![Reason::IDLE]));
    lab.run(100_000);
    lab.assert_empty();
}

/// The own host speaks and nothing comes back.
#[test]
fn who_hears_nothing_asks_whether_the_other_side_is_there() {
    for (is_lost, is_cut) in [(false, false), (true, false), (false, true)] {
        let mut lab = Lab::new(2, 53);
        let (local, _) = lab.established();
        let far = lab.now + 1_000_000;
        lab.edges[0].house.seen.insert(local, LastSeen { inbound: 0, outbound: far });
        if is_lost {
            lab.restart(1);
        }
        lab.edges[1].is_cut = is_cut;
        let sent = lab.sent.0;
        lab.run(32_000);
        assert!(lab.sent.0 > sent, "it has asked");
        lab.run(PATIENCE);
        match (is_lost, is_cut) {
            (false, false) => assert!(lab.is_agreed(0, 1)),
            (true, _) => assert_eq!(lab.ends(0), [Reason::LOST]),
            (_, true) => assert_eq!(lab.ends(0), [Reason::SILENT]),
        }
    }
}

#[test]
fn it_is_closed_on_both_sides_whatever_is_lost() {
    for lost in 0..4 {
        for edge in [0, 1] {
            let mut lab = Lab::new(2, 54);
            lab.established();
            let mut seen = 0;
            lab.tamper = Some(Box::new(move |_, _| {
                seen += 1;
                seen > lost
            }));
            let (local, _) = lab.only(edge);
            lab.with(edge, |cetp, _, now, out| cetp.close(local, Reason::CLOSED, now, out));
            lab.run(PATIENCE / 2);
            assert_eq!((lab.ends(0), lab.ends(1)), (vec![Reason::CLOSED], vec![Reason::CLOSED]), "{lost}");
            let sent = lab.sent.0;
            lab.run(100_000);
            assert_eq!(lab.sent.0, sent, "{lost}: both know");
            lab.assert_empty();
        }
    }
}

#[test]
fn both_close_it_at_once() {
    let mut lab = Lab::new(2, 55);
    lab.established();
    for edge in [0, 1] {
        let (local, _) = lab.only(edge);
        lab.with(edge, |cetp, _, now, out| cetp.close(local, Reason::CLOSED, now, out));
    }
    lab.run(100);
    assert_eq!((lab.ends(0), lab.ends(1)), (vec![Reason::CLOSED], vec![Reason::CLOSED]));
    lab.run(100_000);
    lab.assert_empty();
}

#[test]
fn the_fqdn_is_told_on_demand() {
    for is_told in [true, false] {
        let mut lab = Lab::new(2, 56);
        if !is_told {
            lab.edges[0].house.rule = Box::new(|ask| Ok(Terms { available: CodeSet::EMPTY, ..lax(ask) }));
        }
        lab.established();
        let (local, _) = lab.only(1);
        assert!(lab.with(1, |cetp, _, now, out| cetp.query(local, Code::DOMAIN, now, out)));
        assert!(!lab.with(1, |cetp, _, now, out| cetp.query(local, Code::DOMAIN, now, out)), "one at a time");
        assert!(!lab.with(1, |cetp, _, now, out| cetp.query(local, Code::COOKIE, now, out)));
        lab.run(100);
        let domain = is_told.then(|| host_name(0, 0).to_string());
        assert_eq!(lab.take(1), [Event::Told { domain }]);
    }
    let mut lab = Lab::new(2, 57);
    lab.established();
    let (local, _) = lab.only(1);
    lab.edges[0].is_cut = true;
    lab.with(1, |cetp, _, now, out| cetp.query(local, Code::DOMAIN, now, out));
    lab.run(PATIENCE);
    assert_eq!(lab.take(1), [Event::Told { domain: None }], "nobody answers");
}

#[test]
fn reports_come_once_and_are_acknowledged() {
    let mut lab = Lab::new(2, 58);
    lab.established();
    lab.doubled = 100;
    for (edge, other) in [(0, 1), (1, 0)] {
        let (local, remote) = lab.only(edge);
        let evidence = Evidence { misbehaviour: Misbehaviour::SCAN, count: 9, sessions: Default::default() };
        let report = Report::Evidence(evidence);
        assert!(lab.with(edge, |cetp, _, now, out| cetp.report_session(local, &report, now, out)));
        lab.run(100);
        assert_eq!(lab.take(other), [Event::Evidence { local: Some(remote), count: 9 }]);
        let blocked = Blocked::Domain(Fqdn::new("bad.example").expect("a name"));
        let report = Report::Filtering(Filtering { blocked, seconds: 30, reason: Reason::BLOCKED });
        assert!(lab.with(edge, |cetp, _, now, out| cetp.report_session(local, &report, now, out)));
        lab.run(100);
        assert_eq!(lab.take(other), [Event::Filtering { local: Some(remote), seconds: 30 }]);
        let sent = lab.sent.0;
        lab.run(PATIENCE);
        assert_eq!(lab.sent.0, sent, "acknowledged");
    }
}

#[test]
fn more_services_from_either_side() {
    let mut lab = Lab::new(2, 59);
    lab.open_for((0, 0), (1, 1), &[web(Direction::ToInbound)], &[rloc(1, 0)]);
    lab.run(200);
    let pair = lab.only(0);
    assert_eq!(lab.open_for((0, 0), (1, 1), &[ssh()], &[rloc(1, 0)]), Opened::Asked);
    assert_eq!(lab.open_for((0, 0), (1, 1), &[ssh()], &[rloc(1, 0)]), Opened::Busy);
    lab.run(200);
    assert_eq!(lab.open_for((1, 1), (0, 0), &[web(Direction::ToInbound)], &[rloc(0, 0)]), Opened::Asked);
    lab.run(200);
    let (to, from) = (Direction::ToInbound, Direction::ToOutbound);
    assert_eq!(services_of(&mut lab, 0), [(80, to), (22, to), (80, from)]);
    assert_eq!(services_of(&mut lab, 1), [(80, from), (22, from), (80, to)]);
    assert_eq!(lab.only(0), pair, "one session");
    assert!(lab.is_agreed(0, 1));
}

#[test]
fn more_services_are_refused_or_not_answered() {
    for is_cut in [false, true] {
        let mut lab = Lab::new(2, 60);
        lab.edges[1].house.rule = Box::new(|ask| match ask.services[0].ports.0 {
            22 => Err(Backoff { reason: Reason::REFUSED, code: None, retry_after: 0 }),
            _ => Ok(lax(ask)),
        });
        lab.open_for((0, 0), (1, 1), &[web(Direction::ToInbound)], &[rloc(1, 0)]);
        lab.run(200);
        lab.take(0);
        lab.edges[1].is_cut = is_cut;
        lab.open_for((0, 0), (1, 1), &[ssh()], &[rloc(1, 0)]);
        lab.run(PATIENCE);
        let expected = if is_cut { (Reason::SILENT, None, false) } else { (Reason::REFUSED, None, true) };
        assert_eq!(lab.refusals(0), [expected]);
        assert!(lab.is_agreed(0, 1), "what there was stays");
    }
}

#[test]
fn more_services_are_for_the_same_id() {
    let mut lab = Lab::new(2, 63);
    lab.edges[0].house.rule = Box::new(|ask| {
        let is_ssh = ask.services[0].ports.0 == 22;
        let own_ids = if is_ssh { IdTypes::of(&[IdType::OperatorAssured]) } else { lax(ask).own_ids };
        Ok(Terms { own_ids, ..lax(ask) })
    });
    lab.open_for((0, 0), (1, 1), &[web(Direction::ToInbound)], &[rloc(1, 0)]);
    lab.run(200);
    lab.open_for((0, 0), (1, 1), &[ssh()], &[rloc(1, 0)]);
    lab.run(200);
    assert_eq!(lab.refusals(0), [(Reason::ID_TYPE, Some(Code::ID_TYPE), true)]);
}

#[test]
fn more_services_may_need_more_to_be_told() {
    let mut lab = Lab::new(2, 61);
    lab.edges[1].house.rule = Box::new(|ask| {
        let is_ssh = ask.services[0].ports.0 == 22;
        let required = if is_ssh { CodeSet::of(&[Code::DOMAIN, Code::SIGNATURE]) } else { CodeSet::EMPTY };
        Ok(Terms { required, ..lax(ask) })
    });
    lab.open_for((0, 0), (1, 1), &[web(Direction::ToInbound)], &[rloc(1, 0)]);
    lab.run(200);
    lab.open_for((0, 0), (1, 1), &[ssh()], &[rloc(1, 0)]);
    lab.run(200);
    let to = Direction::ToInbound;
    assert_eq!(services_of(&mut lab, 0), [(80, to), (22, to)]);
}

/// Who isn't where the session is ends nothing.
#[test]
fn a_report_that_it_is_unknown_must_come_from_the_other_side() {
    let mut lab = Lab::new(3, 62);
    let (local, remote) = lab.established();
    let report = |sst: Tag, dst: Tag| {
        let header = Header {
            kind: Kind::Hosts,
            is_answer: true,
            is_inbound: true,
            transaction: 9,
            sst: None,
            dst: Some(sst),
            source: Id::NONE,
            destination: Id::NONE,
            seal: None,
        };
        let unexpected = Unexpected { kind: UnexpectedKind::UNKNOWN_TAG, sst: Some(sst), dst: Some(dst) };
        let mut bytes = Vec::new();
        let tlvs = vec![Tlv::response(Value::Unexpected(unexpected))];
        crate::edge::cetp::wire::encode(&Message { header, tlvs }, &mut bytes).expect("a message");
        bytes
    };
    let wrong = Tag::new(remote.get() ^ 1).expect("not 0");
    for (from, bytes, is_ended) in [
        (rloc(2, 0), report(local, remote), false),
        (rloc(1, 0), report(local, wrong), false),
        (rloc(1, 0), report(local, remote), true),
    ] {
        lab.with(0, |cetp, house, now, out| cetp.receive(from, &bytes, house, now, out));
        assert_eq!(lab.ends(0), if is_ended { vec![Reason::LOST] } else { vec![] });
    }
}
