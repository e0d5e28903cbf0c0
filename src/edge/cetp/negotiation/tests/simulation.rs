//! Thousands of edges on a network that loses, doubles and delays: whatever comes of a negotiation, both sides have the same.

use super::lab::*;
use crate::edge::cetp::association::upkeep::{IDLE, KEEPALIVE};
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::Size;
use crate::edge::cetp::retry::PATIENCE;
use crate::edge::cetp::terms::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const EDGES: usize = 2000;
/// Seconds without a packet.
const TIMEOUT: u32 = 60;

/// Host 0 takes everybody, 1 is known by its name alone, and wants a name and a signature, 2 is reached inside an association only, 3 wants a CA's address of
/// whoever shows an assured ID.
fn rule(ask: &Ask<'_>) -> Result<Terms, Backoff> {
    let optional = CodeSet::of(&[Code::DOMAIN, Code::LIMITS]);
    let terms = Terms { timeout: TIMEOUT, own_ids: IdTypes::ANY, optional, ..lax(ask) };
    // The asker knows what the DNS says of the asked: here, by the name.
    let asked = match (ask.side, ask.peer_name) {
        (Side::Inbound, _) => ask.host.0,
        (Side::Outbound, Some(name)) => u64::from(name.as_str().as_bytes()[1] - b'0'),
        (Side::Outbound, None) => 0,
    };
    let is_inbound = ask.side == Side::Inbound;
    Ok(match asked {
        1 if is_inbound => Terms { required: CodeSet::of(&[Code::DOMAIN, Code::SIGNATURE]), ..terms },
        2 => Terms { needs_association: true, ..terms },
        3 if is_inbound => Terms {
            required: CodeSet::of(&[Code::CA_ADDRESS]),
            peer_ids: IdTypes::of(&[IdType::OperatorAssured]),
            ..terms
        },
        _ => terms,
    })
}

/// Sessions that one side has and the other hasn't.
fn one_sided(lab: &Lab) -> Vec<(usize, Tag)> {
    let pairs: std::collections::HashSet<(Tag, Tag)> =
        lab.edges.iter().flat_map(|edge| edge.live.iter().map(|(local, remote)| (*local, *remote))).collect();
    let is_alone = |local: &Tag, remote: &Tag| !pairs.contains(&(*remote, *local));
    lab.edges
        .iter()
        .enumerate()
        .flat_map(|(at, edge)| edge.live.iter().map(move |(local, remote)| (at, local, remote)))
        .filter(|(_, local, remote)| is_alone(local, remote))
        .map(|(at, local, _)| (at, *local))
        .collect()
}

/// Every host speaks by every session; what it says arrives where the other side has it too.
fn speak(lab: &mut Lab, span: u64) {
    let alone = one_sided(lab);
    let far = lab.now + span;
    for (at, edge) in lab.edges.iter_mut().enumerate() {
        edge.house.seen = edge
            .live
            .keys()
            .map(|tag| {
                let inbound = if alone.contains(&(at, *tag)) { 0 } else { far };
                (*tag, LastSeen { inbound, outbound: far })
            })
            .collect();
    }
    lab.run(span);
}

/// What was negotiated and what came of it.
#[derive(Debug, Default)]
struct Outcome {
    asked: usize,
    established: usize,
    one_sided: usize,
}

fn simulate(edges: usize, percent: u32, seed: u64) -> Outcome {
    let mut lab = Lab::sized(edges, seed, Size { sessions: 32, peers: 16, tokens: 16 });
    (lab.loss, lab.doubled, lab.late) = (percent, percent, percent);
    for edge in &mut lab.edges {
        edge.house.rule = Box::new(rule);
        edge.house.by_name = Some(HostKey(1));
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    for _ in 0..edges * 2 {
        let (from, to) = (rng.random_range(0..edges), rng.random_range(0..edges));
        let hosts: [u32; 2] = [rng.random_range(0..HOSTS), rng.random_range(0..HOSTS)];
        if from == to {
            continue;
        }
        lab.open((from, hosts[0]), (to, hosts[1]));
        outcome.asked += 1;
        // The other one as well, now and then, at about the same time.
        if rng.random_range(0..10) == 0 {
            lab.run(rng.random_range(0..30));
            lab.open((to, hosts[1]), (from, hosts[0]));
            outcome.asked += 1;
        }
        if rng.random_range(0..edges / 500 + 1) == 0 {
            lab.run(rng.random_range(0..8));
        }
    }
    lab.run(4 * PATIENCE);
    outcome.established = lab.edges.iter().map(|edge| edge.live.len()).sum::<usize>() / 2;
    outcome.one_sided = one_sided(&lab).len();
    // What the last message of all lost leaves on one side is found out by the packets of hosts.
    (lab.loss, lab.doubled, lab.late) = (0, 0, 0);
    speak(&mut lab, u64::from(TIMEOUT) * 1000);
    speak(&mut lab, u64::from(TIMEOUT) * 1000);
    assert_eq!(one_sided(&lab), [], "at {percent} %");
    // Nobody speaks any more.
    lab.edges.iter_mut().for_each(|edge| edge.house.seen.clear());
    lab.run(u64::from(TIMEOUT) * 1000 * 2 + IDLE + KEEPALIVE + 4 * PATIENCE);
    lab.assert_empty();
    outcome
}

#[test]
fn both_sides_have_the_same_whatever_is_lost() {
    for percent in [0, 10, 20, 30] {
        let outcome =
            simulate(if percent == 30 { EDGES } else { EDGES / 4 }, percent, 90 + u64::from(percent));
        println!("{percent} %: {outcome:?}");
        assert!(outcome.one_sided * 1000 <= outcome.asked, "{outcome:?}");
        assert!(outcome.established * 10 >= outcome.asked * if percent < 20 { 9 } else { 7 }, "{outcome:?}");
    }
}
