//! What routers, and other edges, say of how long packets may be.

use std::net::{IpAddr, Ipv4Addr};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::super::edges::ShownWay;
use super::super::path_mtu::{LIFETIME, Standing, WAYS};
use super::super::shown::Wanted;
use super::lab::{Lab, rloc};
use crate::edge::cetp::message::Rloc;
use crate::flow::tunnel::Ends;
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{IcmpType, MacAddr, Protocol, TooBig, icmp, ipv4};

const LAX: &str = "";
const WANTED: Wanted = Wanted { host: None, edge: None, limit: 10 };

/// The ways of the first edge, as an operator sees them; as workers do they are as long.
fn ways(lab: &mut Lab) -> Vec<ShownWay> {
    let shown = lab.at(0, |service, lent, now| service.show(&WANTED, lent, now));
    let table = &lab.edges[0].service.shared;
    for session in &shown.sessions {
        let record = table.find(session.tags.0.get()).expect("it lives");
        let of_workers = table.peer(record).and_then(|peer| table.active(peer)).expect("a way").mtu();
        let Rloc::V4(remote) = session.rloc else { panic!("of another family") };
        let ends = Ends::V4 { local: rloc(0), remote };
        let is_its = |way: &ShownWay| way.ends == ends && way.mtu == of_workers;
        assert!(shown.ways.iter().any(|(_, way)| is_its(way)), "{of_workers}: {:?}", shown.ways);
    }
    shown.ways.into_iter().map(|(_, way)| way).collect()
}

fn mtu(lab: &mut Lab) -> u16 {
    let ways = ways(lab);
    assert_eq!(ways.len(), 1);
    ways[0].mtu
}

/// The tags of the first edge's only session.
fn tags(lab: &mut Lab) -> (u32, u32) {
    let shown = lab.at(0, |service, lent, now| service.show(&WANTED, lent, now));
    let (own, theirs) = shown.sessions[0].tags;
    (own.get(), theirs.get())
}

/// A router's message comes to the first edge; whether it has lowered anything.
fn say(lab: &mut Lab, mtu: u16, tags: Option<(u32, u32)>, to: usize) -> bool {
    let [local, remote] = [0, to].map(|edge| IpAddr::V4(rloc(edge)));
    lab.at(0, |service, _, now| {
        let before = service.mtu_counters;
        service.too_big(&TooBig { local, remote, mtu, tags }, now);
        let after = service.mtu_counters;
        assert_eq!(after.lowered + after.ignored, before.lowered + before.ignored + 1);
        after.lowered > before.lowered
    })
}

#[test]
fn a_message_lowers_and_never_raises() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    let (own, theirs) = tags(&mut lab);
    assert_eq!(mtu(&mut lab), 1500);
    // Not of this session, not of this way, too little for any link, no less than there is.
    assert!(
        !say(&mut lab, 1400, Some((own, theirs ^ 1)), 1) && !say(&mut lab, 1400, Some((own ^ 1, theirs)), 1)
    );
    assert!(!say(&mut lab, 1400, Some((own, theirs)), 2) && !say(&mut lab, 1400, None, 2));
    assert!(!say(&mut lab, 575, Some((own, theirs)), 1) && !say(&mut lab, 1500, Some((own, theirs)), 1));
    assert_eq!(mtu(&mut lab), 1500);
    // Without tags so much and no more.
    assert!(!say(&mut lab, 1279, None, 1) && say(&mut lab, 1280, None, 1));
    assert_eq!(mtu(&mut lab), 1280);
    assert!(!say(&mut lab, 1280, Some((own, theirs)), 1) && !say(&mut lab, 1400, Some((own, theirs)), 1));
    assert!(say(&mut lab, 576, Some((own, theirs)), 1));
    assert_eq!(mtu(&mut lab), 576);
    lab.assert_empty();
}

#[test]
fn over_ipv6_nothing_is_less_than_what_every_link_takes() {
    let said = |mtu, tags| TooBig {
        local: "2001:db8::1".parse().expect("one"),
        remote: "2001:db8::9".parse().expect("one"),
        mtu,
        tags,
    };
    assert_eq!(super::super::path_mtu::least(&said(0, Some((1, 2)))), 1280);
}

#[test]
fn a_word_counts_for_ten_minutes_whatever_becomes_of_sessions() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    let proxy = lab.reached(0, call);
    let tags = tags(&mut lab);
    assert!(say(&mut lab, 1300, Some(tags), 1));
    let begin = lab.now;
    // Nobody talks any more: the session ends, its edge with it.
    lab.run(LIFETIME / 2);
    assert_eq!(ways(&mut lab), []);
    assert!(!lab.packet(0, 1, proxy));
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    let proxy = lab.reached(0, call);
    while lab.now + 20_000 < begin + LIFETIME {
        assert_eq!(mtu(&mut lab), 1300);
        assert!(lab.packet(0, 1, proxy), "the session lives");
        lab.run(10_000);
    }
    let left = ways(&mut lab)[0].until.expect("it is known");
    assert_eq!(left, begin + LIFETIME - lab.now);
    lab.run(left - 1);
    assert_eq!(mtu(&mut lab), 1300);
    lab.run(200);
    assert_eq!((mtu(&mut lab), ways(&mut lab)[0].until), (1500, None));
    assert_eq!(lab.edges[0].service.mtu_counters.restored, 1);
    lab.assert_empty();
}

#[test]
fn what_the_other_edge_takes_is_the_most() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    lab.edges[1].service.own.mtu = 1400;
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    let call = lab.call((0, 2), (1, 3));
    lab.run(1_000);
    lab.reached(0, call);
    // IPv4, UDP, payload TLV and a compressed header with its fragment fields in the place of an IPv4 header.
    let shown = lab.at(0, |service, lent, now| service.show(&WANTED, lent, now));
    let associated = shown.ways.iter().find(|(name, _)| name.is_some()).expect("an association").1;
    assert_eq!((associated.mtu, associated.most), (1428, 1428));
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    lab.edges[1].service.own.mtu = 1400;
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    assert_eq!(mtu(&mut lab), 1500, "without an association nobody has told");
    lab.assert_empty();
}

/// As many ways as there may be, and as many again, of edges that nobody knows, and of which packets were seen.
fn flood(lab: &mut Lab) {
    lab.at(0, |service, _, now| {
        for number in 0..2 * WAYS as u32 {
            let remote = Ipv4Addr::from(0x0a00_0000 + number);
            let ends = Ends::V4 { local: rloc(0), remote };
            assert!(service.edges.ways.lower(ends, 1400, Standing::Seen, now.ms).is_some());
        }
    });
}

#[test]
fn the_way_to_an_edge_that_has_proved_itself_keeps_its_place() {
    let mut lab = Lab::new(&[LAX, LAX], &[0, 1]);
    // The first call is for nobody certain yet.
    for host in [1, 2] {
        let call = lab.call((0, host), (1, 3));
        lab.run(1_000);
        lab.reached(0, call);
    }
    let all = |lab: &mut Lab| ways(lab).iter().map(|way| way.mtu).collect::<Vec<_>>();
    let tags = tags(&mut lab);
    assert!(say(&mut lab, 1300, Some(tags), 1));
    flood(&mut lab);
    assert_eq!(all(&mut lab), [1300; 2]);
    // And nobody who has seen nothing takes it that.
    assert!(say(&mut lab, 1280, None, 1));
    flood(&mut lab);
    assert_eq!(all(&mut lab), [1280; 2]);
    lab.assert_empty();
}

#[test]
fn a_way_that_gives_place_to_another_takes_again_what_its_link_does() {
    let mut lab = Lab::new(&[LAX, LAX, LAX], &[]);
    let calls = [1, 2].map(|edge| lab.call((0, 1), (edge, 2)));
    lab.run(1_000);
    calls.iter().for_each(|call| _ = lab.reached(0, *call));
    let of = |lab: &mut Lab| {
        let mut ways = ways(lab);
        ways.sort_by_key(|way| format!("{:?}", way.ends));
        ways.iter().map(|way| way.mtu).collect::<Vec<_>>()
    };
    assert!(say(&mut lab, 1300, None, 1));
    lab.run(1);
    lab.at(0, |service, _, now| {
        for number in 1..WAYS as u32 {
            let ends = Ends::V4 { local: rloc(0), remote: Ipv4Addr::from(0x0a00_0000 + number) };
            assert_eq!(service.edges.ways.lower(ends, 1400, Standing::Said, now.ms), Some(None));
        }
    });
    assert_eq!(of(&mut lab), [1300, 1500]);
    assert!(say(&mut lab, 1300, None, 2));
    assert_eq!(of(&mut lab), [1500, 1300]);
    // What is said of it is believed as before.
    assert!(say(&mut lab, 1300, None, 1));
    assert_eq!(of(&mut lab), [1300, 1300]);
    lab.assert_empty();
}

/// A router's message to the first edge about a packet of that session, so much of it quoted.
pub fn message(tags: (u32, u32), mtu: u16, quoted: usize) -> Vec<u8> {
    let total = 1400u16;
    let be = |n: u16| n.to_be_bytes();
    let [local, remote] = [0, 1].map(rloc);
    let mut quote = [&[0x45, 0][..], &be(total), &[0, 0, 0x40, 0, 60, 17, 0, 0]].concat();
    quote.extend([local.octets(), remote.octets()].concat());
    quote.extend([&be(0xc123)[..], &be(48_001), &be(total - 20), &[0, 0]].concat());
    quote.extend([&[0x94, 0][..], &be(total - 28), &tags.0.to_be_bytes(), &tags.1.to_be_bytes()].concat());
    quote.resize(quote.len().max(quoted), 7);
    let [high, low] = be(mtu);
    let (kind, parameter) = (IcmpType::DESTINATION_UNREACHABLE, [0, 0, high, low]);
    let icmp = Transport::Icmp(icmp::Header { kind, code: 4, parameter }, &quote[..quoted]);
    let ip = Ip::V4(ipv4::Header::new(Ipv4Addr::new(198, 51, 100, 1), local, Protocol::ICMP));
    let mut frame = vec![0; 200];
    let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
    let length = build::frame(&mut frame, &path, &ip, &icmp).expect("it fits");
    frame.truncate(length);
    frame
}

/// Some bits of its quote are others, and its checksum is right all the same.
fn spoil(frame: &mut [u8], random: &mut StdRng) {
    const ICMP: usize = 14 + 20;
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(ICMP..frame.len());
        frame[at] ^= 1 << random.random_range(0..8);
    }
    frame[ICMP + 2..ICMP + 4].fill(0);
    let sum = crate::packet::checksum::checksum(&frame[ICMP..]);
    frame[ICMP + 2..ICMP + 4].copy_from_slice(&sum.to_ne_bytes());
}

#[test]
fn nothing_is_lowered_without_a_quote_that_is_right() {
    let mut lab = Lab::new(&[LAX, LAX], &[]);
    let call = lab.call((0, 1), (1, 2));
    lab.run(1_000);
    lab.reached(0, call);
    let (tags, mut random) = (tags(&mut lab), StdRng::seed_from_u64(3));
    let (mut lowered, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let now = mtu(&mut lab);
        let quoted = [28, 39, 40, 40, 60, 100][random.random_range(0..6)];
        let mut frame = message(tags, random.random_range(500..=1500), quoted);
        spoil(&mut frame, &mut random);
        if random.random_range(0..10) == 0 {
            frame.resize(random.random_range(0..200), 0);
            random.fill_bytes(&mut frame);
        }
        let said = TooBig::of_frame(&frame, 48_001);
        if let Some(said) = said {
            lab.at(0, |service, _, now| service.too_big(&said, now));
        }
        let after = mtu(&mut lab);
        if after == now {
            refused += 1;
            continue;
        }
        lowered += 1;
        let said = said.expect("something was said");
        let least = if said.tags.is_some() { 576 } else { 1280 };
        assert!(said.tags.is_none_or(|quoted| quoted == tags), "{said:?}");
        assert_eq!((said.local, said.remote), (rloc(0).into(), rloc(1).into()));
        assert!(after == said.mtu && after < now && after >= least, "{now} {after} {said:?}");
        // As if ten minutes had passed.
        if after < 1_000 {
            let later = crate::edge::calls::service::Now { ms: lab.now + LIFETIME, ..lab.now() };
            lab.edges[0].service.restore_ways(later);
        }
    }
    assert!(lowered > 500 && refused > 500, "{lowered} lowered, {refused} refused");
    lab.assert_empty();
}
