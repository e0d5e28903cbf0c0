//! Floods of everything that is kept of other edges: each table holds what it says it does, and what is beyond that is refused clearly.

use super::lab::*;
use crate::edge::cetp::association::peer::REPORTS;
use crate::edge::cetp::association::upkeep::IDLE;
use crate::edge::cetp::association::{Report, TAGS};
use crate::edge::cetp::cookie::COOKIE;
use crate::edge::cetp::message::{
    Blocked, Filtering, Fqdn, Header, Id, Kind, Message, Reason, Tag, Tlv, Value,
};
use crate::edge::cetp::negotiation::{Opened, Size};
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::{Ask, Terms};
use crate::edge::cetp::wire;

fn closed(ask: &Ask<'_>) -> Terms {
    Terms { needs_association: true, ..lax(ask) }
}

/// Edges that negotiate inside an association only, and have so much room.
fn closed_edges(edges: usize, peers: usize) -> Lab {
    let mut lab = Lab::sized(edges, 97, Size { sessions: 64, peers, tokens: 2 });
    lab.edges.iter_mut().for_each(|edge| edge.house.rule = Box::new(|ask| Ok(closed(ask))));
    lab
}

#[test]
fn associations() {
    let mut lab = closed_edges(6, 2);
    for edge in 1..6 {
        lab.open((edge, 0), (0, 1));
        lab.run(200);
    }
    assert_eq!(lab.edges[0].cetp.edges().count(), 2);
    assert_eq!([1, 2].map(|edge| lab.edges[edge].live.len()), [1, 1]);
    for edge in 3..6 {
        assert_eq!(lab.refusals(edge), [(Reason::OVERLOADED, None, false)], "edge {edge}");
    }
    // It can ask nobody else, and says so; with those that it has it goes on.
    let Opened::Refused(refusal) = lab.open((0, 2), (4, 1)) else { panic!() };
    assert_eq!(refusal.reason, Reason::OVERLOADED);
    assert_eq!(lab.open((0, 2), (1, 1)), Opened::Asked);
    // And there is room again when nobody uses one.
    lab.run(61_000 + IDLE + 2 * PATIENCE);
    lab.open((5, 0), (0, 1));
    lab.run(200);
    assert_eq!(lab.edges[5].live.len(), 1);
}

/// A table of tags holds those that are in use, and is swept of those that were.
#[test]
fn tags_of_associations() {
    let mut lab = closed_edges(2, 2);
    for round in 0..3 * TAGS {
        lab.open((round % 2, 0), (1 - round % 2, 1));
        lab.run(61_000 + IDLE + PATIENCE);
        for edge in [0, 1] {
            assert!(lab.edges[edge].cetp.peers.tags() <= 2 * TAGS, "round {round}");
        }
        assert_eq!(lab.take(0).iter().filter(|event| matches!(event, Event::Associated { .. })).count(), 1);
    }
    lab.assert_empty();
}

#[test]
fn reports_that_wait() {
    let mut lab = closed_edges(2, 2);
    lab.open((0, 0), (1, 1));
    lab.run(200);
    let peer = lab.edges[0].cetp.peer(Fqdn::new(edge_name(1)).expect("a name")).expect("an association");
    let send = |lab: &mut Lab, n: usize| {
        let name = format!("bad{n}.example");
        let blocked = Blocked::Domain(Fqdn::new(&name).expect("a name"));
        let report = Report::Filtering(Filtering { blocked, seconds: 30, reason: Reason::BLOCKED });
        lab.with(0, |cetp, _, now, out| cetp.report(peer, &report, now, out))
    };
    lab.edges[1].is_cut = true;
    let sent: Vec<bool> = (0..2 * REPORTS).map(|n| send(&mut lab, n)).collect();
    assert_eq!(sent, [[true; REPORTS], [false; REPORTS]].concat());
    // But what is said of the same again takes its place.
    assert!(send(&mut lab, REPORTS - 1) && !send(&mut lab, REPORTS));
    lab.run(100);
    // They are acknowledged, or given up: there is room again.
    lab.edges[1].is_cut = false;
    lab.run(1_000);
    assert!(send(&mut lab, REPORTS));
    lab.run(1_000);
    let come = lab.take(1).iter().filter(|event| matches!(event, Event::Filtering { .. })).count();
    assert_eq!(come, REPORTS + 1);
}

/// What wasn't used for longest makes room: its next negotiation takes a round more, and comes to the same.
#[test]
fn tokens() {
    let mut lab = Lab::sized(5, 98, Size { sessions: 64, peers: 64, tokens: 2 });
    let messages = |lab: &mut Lab, host: u32, edge: usize| {
        let sent = lab.sent.0;
        lab.open((0, host), (edge, 1));
        lab.run(200);
        assert!(lab.edges[0].cetp.tokens.len() <= 2);
        lab.sent.0 - sent
    };
    assert_eq!([1, 2, 3, 4].map(|edge| messages(&mut lab, 0, edge)), [5; 4]);
    // The first of those two is used, and so the other one gives way to the next.
    let rounds = [(1, 3), (1, 2), (2, 3), (1, 4)].map(|(host, edge)| messages(&mut lab, host, edge));
    assert_eq!(rounds, [3, 5, 3, 5]);
    assert_eq!(lab.edges[0].live.len(), 8);
    // Tokens that nobody has asked for are none, however many.
    for number in 0..100u16 {
        let header = Header {
            kind: Kind::Hosts,
            is_answer: true,
            is_inbound: true,
            transaction: number,
            sst: Tag::new(u32::from(number) + 1),
            dst: Tag::new(u32::from(number) + 9),
            source: Id::NONE,
            destination: Id::NONE,
            seal: None,
        };
        let tlvs = vec![Tlv::response(Value::Token(&[7; COOKIE]))];
        let mut bytes = Vec::new();
        wire::encode(&Message { header, tlvs }, &mut bytes).expect("it fits");
        let from = rloc(1 + usize::from(number), 0);
        lab.with(0, |cetp, house, now, out| cetp.receive(from, &bytes, house, now, out));
    }
    assert_eq!([3, 4].map(|edge| messages(&mut lab, 3, edge)), [3; 2]);
}

/// Where none may be kept each negotiation is as the first.
#[test]
fn no_tokens() {
    let mut lab = Lab::sized(2, 99, Size { sessions: 64, peers: 64, tokens: 0 });
    for host in [0, 2] {
        let sent = lab.sent.0;
        lab.open((0, host), (1, 1));
        lab.run(200);
        assert_eq!((lab.sent.0 - sent, lab.edges[0].cetp.tokens.len()), (5, 0));
    }
}
