//! The table against a naive oracle without bounds; its bounds; and who gives way to whom.

use super::*;
use crate::packet::ipv4::Header;
use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::net::Ipv4Addr;

const REALM: Realm = Realm(2);
const LIFETIME: u32 = 15_000;
const WIDE: Limits =
    Limits { datagrams: 512, datagrams_of_one: 512, held: 512, held_of_one: 512, lifetime: LIFETIME };

/// The fragment of `source`'s datagram `identification` at `units` of eight bytes: as many units long as `length`.
fn piece(source: u8, identification: u16, units: u16, length: u16, more: bool) -> Fragment {
    let datagram = Key4::from_wire(
        [10, 0, 0, source, 192, 0, 2, 1],
        [(identification >> 8) as u8, identification as u8, 0, 0],
        REALM,
        17,
    );
    Fragment { datagram, offset: units * 8, length: length * 8, more }
}

/// What a first fragment tells: made up, and of the datagram alone.
fn head_of(fragment: &Fragment) -> Head {
    let id = fragment.datagram.source_port();
    Head { ports: u32::from(id) * 3 + 1, identification: !id }
}

/// A table with the packets that it holds: as numbers, in the order of their arrival.
struct Bed {
    table: Datagrams,
    held: Vec<Option<usize>>,
    arrived: usize,
    /// What has become of packets, by number.
    fates: HashMap<usize, Result<Head, DropReason>>,
    /// Numbers of the forwarded ones, in order.
    forwarded: Vec<usize>,
}

impl Bed {
    fn new(limits: Limits) -> Self {
        let mut random = StdRng::seed_from_u64(5);
        let table = Datagrams::new(limits, HashKey::new(|| random.random()));
        let held = vec![None; limits.held as usize];
        Self { table, held, arrived: 0, fates: HashMap::new(), forwarded: vec![] }
    }

    /// Its number.
    fn see(&mut self, fragment: &Fragment, bad: Option<DropReason>, now: u32) -> usize {
        let number = self.arrived;
        self.arrived += 1;
        let head = fragment.is_first().then(|| bad.map_or(Ok(head_of(fragment)), Err));
        match self.table.see(fragment, head, now) {
            Ok(Seen::Forward(head)) => self.end(number, Ok(head)),
            Ok(Seen::Hold(place)) => {
                assert!(self.held[place as usize].replace(number).is_none(), "a place given out twice");
            }
            Err(why) => self.end(number, Err(why)),
        }
        self.release();
        number
    }

    fn end(&mut self, number: usize, fate: Result<Head, DropReason>) {
        assert!(self.fates.insert(number, fate).is_none(), "packet {number} ended twice");
        if fate.is_ok() {
            self.forwarded.push(number);
        }
    }

    fn release(&mut self) {
        while let Some((place, fate)) = self.table.next_loose() {
            let number = self.held[place as usize].take().expect("a packet is held there");
            let fate = match fate {
                Fate::Forward(head) => Ok(head),
                Fate::Drop(why) => Err(why),
            };
            self.end(number, fate);
        }
    }

    fn expire(&mut self, now: u32) {
        self.table.expire(usize::MAX, now);
        self.release();
    }

    fn fate(&self, number: usize) -> Option<Result<Head, DropReason>> {
        self.fates.get(&number).copied()
    }

    fn waiting(&self) -> usize {
        self.held.iter().flatten().count()
    }

    /// Nothing is left behind anywhere.
    fn is_as_new(&self) -> bool {
        let Datagrams { limits, free_datagrams, free_sources, free_places, by_key, by_source, .. } =
            &self.table;
        free_datagrams.0.len() == limits.datagrams as usize
            && free_sources.0.len() == limits.datagrams as usize
            && free_places.0.len() == limits.held as usize
            && by_key.is_empty()
            && by_source.is_empty()
            && self.table.kinds.iter().all(|list| list.length == 0)
            && self.held.iter().all(Option::is_none)
    }
}

/// The oracle: everything is remembered, and looked for from the beginning.
#[derive(Default)]
struct Naive {
    datagrams: HashMap<Key4, NaiveDatagram>,
    fates: HashMap<usize, Result<Head, DropReason>>,
    arrived: usize,
}

#[derive(Default)]
struct NaiveDatagram {
    since: u32,
    pieces: Vec<(u16, u16, bool)>,
    head: Option<Head>,
    spoilt: Option<DropReason>,
    held: Vec<usize>,
}

impl Naive {
    fn see(&mut self, f: &Fragment, bad: Option<DropReason>, now: u32) {
        let number = self.arrived;
        self.arrived += 1;
        let d =
            self.datagrams.entry(f.datagram).or_insert(NaiveDatagram { since: now, ..Default::default() });
        let (from, to) = (f.offset, f.offset + f.length);
        let overlaps =
            |&(a, b, more): &(u16, u16, bool)| from < b && a < to || !more && to >= b || !f.more && b >= to;
        let why = if let Some(why) = d.spoilt {
            Some(why)
        } else if let Some(why) = bad.filter(|_| from == 0) {
            (d.spoilt, d.since) = (Some(why), now);
            Some(why)
        } else if d.pieces.contains(&(from, to, f.more)) {
            Some(DropReason::Ipv4FragmentDuplicate)
        } else if d.pieces.iter().any(overlaps) {
            (d.spoilt, d.since) = (Some(DropReason::Ipv4FragmentOverlap), now);
            d.spoilt
        } else {
            None
        };
        if let Some(why) = why {
            if d.spoilt.is_some() {
                self.fates.extend(d.held.drain(..).map(|held| (held, Err(why))));
            }
            self.fates.insert(number, Err(why));
            return;
        }
        d.pieces.push((from, to, f.more));
        if from == 0 {
            (d.head, d.since) = (Some(head_of(f)), now);
        }
        match d.head {
            Some(head) => {
                self.fates.insert(number, Ok(head));
                for held in d.held.drain(..) {
                    self.fates.insert(held, Ok(head));
                }
                let seen: u16 = d.pieces.iter().map(|p| p.1 - p.0).sum();
                if d.pieces.iter().any(|p| !p.2 && p.1 == seen) {
                    self.datagrams.remove(&f.datagram);
                }
            }
            None => d.held.push(number),
        }
    }

    fn expire(&mut self, now: u32) {
        let fates = &mut self.fates;
        self.datagrams.retain(|_, d| {
            let lives = now.wrapping_sub(d.since) < LIFETIME;
            if !lives {
                fates.extend(d.held.iter().map(|&n| (n, Err(DropReason::Ipv4FragmentTimeout))));
            }
            lives
        });
    }
}

/// A datagram: who sends it, its identification, where it is cut, and the order of what leaves.
#[derive(Clone, Debug)]
struct Sent {
    source: u8,
    identification: u16,
    /// Units of eight bytes of each piece.
    cuts: Vec<u16>,
}

impl Sent {
    fn pieces(&self) -> Vec<Fragment> {
        let (mut at, last) = (0, self.cuts.len() - 1);
        let one = |(i, &length): (usize, &u16)| {
            let piece = piece(self.source, self.identification, at, length, i < last);
            at += length;
            piece
        };
        self.cuts.iter().enumerate().map(one).collect()
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    (0u8..3, 0u16..6, vec(1u16..5, 2..7)).prop_map(|(source, identification, cuts)| Sent {
        source,
        identification,
        cuts,
    })
}

/// What happens: mostly pieces of datagrams in any order, some of them again, and some that belong nowhere.
fn events() -> impl Strategy<Value = Vec<(Fragment, Option<DropReason>, u32)>> {
    let pause = prop_oneof![9 => 0u32..300, 1 => 5000u32..20_000];
    let odd =
        (0u8..3, 0u16..6, 0u16..14, 1u16..5, any::<bool>()).prop_map(|(s, i, u, l, m)| piece(s, i, u, l, m));
    (vec(sent(), 1..12), vec(odd, 0..4), vec(any::<prop::sample::Index>(), 0..6))
        .prop_flat_map(move |(sent, odd, again)| {
            let mut pieces: Vec<Fragment> = sent.iter().flat_map(Sent::pieces).collect();
            let repeated: Vec<_> = again.iter().map(|i| *i.get(&pieces)).collect();
            pieces.extend(repeated.into_iter().chain(odd));
            (Just(pieces).prop_shuffle(), vec((pause.clone(), prop::bool::weighted(0.05)), 60))
        })
        .prop_map(|(pieces, times)| {
            let times = times.into_iter().cycle();
            let bad = |bad: bool| bad.then_some(DropReason::Ipv4FragmentTiny);
            pieces.into_iter().zip(times).map(|(p, (pause, b))| (p, bad(b), pause)).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// With room for all, each packet ends as the oracle says; none is left after the last one's time.
    #[test]
    fn like_an_oracle_that_remembers_everything(events in events(), start: u32) {
        let (mut bed, mut naive, mut now) = (Bed::new(WIDE), Naive::default(), start);
        for (fragment, bad, pause) in events {
            now = now.wrapping_add(pause);
            bed.expire(now);
            naive.expire(now);
            bed.see(&fragment, bad, now);
            naive.see(&fragment, bad, now);
            prop_assert_eq!(&bed.fates, &naive.fates);
            prop_assert_eq!(bed.table.len(), naive.datagrams.len());
        }
        bed.expire(now.wrapping_add(LIFETIME));
        naive.expire(now.wrapping_add(LIFETIME));
        prop_assert_eq!(&bed.fates, &naive.fates);
        prop_assert!(bed.fates.len() == bed.arrived && bed.is_as_new());
    }

    /// With little room: the bounds hold at every moment, no byte goes on twice, none before the first fragment, and all room
    /// is given back.
    #[test]
    fn within_bounds_whatever_comes(
        events in events(),
        (datagrams, of_one, held, held_of_one) in (1u32..6, 1u32..6, 1u32..8, 1u32..8),
    ) {
        let limits = Limits { datagrams, datagrams_of_one: of_one, held, held_of_one, lifetime: LIFETIME };
        let (mut bed, mut now, mut seen) = (Bed::new(limits), 0, vec![]);
        for (fragment, bad, pause) in events {
            now += pause;
            bed.expire(now);
            let before = bed.forwarded.len();
            bed.see(&fragment, bad, now);
            seen.push(fragment);
            prop_assert!(bed.table.len() <= datagrams as usize && bed.waiting() <= held as usize);
            for source in 0..3 {
                let is_of = |f: &Fragment| f.datagram.source() == Ipv4Addr::new(10, 0, 0, source);
                let waiting = bed.held.iter().flatten().filter(|&&n| is_of(&seen[n])).count();
                prop_assert!(waiting <= held_of_one as usize);
                let of_source = bed.table.find_source(&source_of(&piece(source, 0, 0, 1, true).datagram));
                let kinds = of_source.map(|n| bed.table.sources[n as usize].kinds);
                prop_assert!(kinds.is_none_or(|k| k[WAITING].length + k[SETTLED].length <= of_one));
            }
            // What goes on at once is this datagram's, the arrived one first, the others in their order.
            let at_once = &bed.forwarded[before..];
            prop_assert!(at_once.iter().all(|&n| seen[n].datagram == fragment.datagram));
            prop_assert!(at_once.is_empty() || at_once[0] == bed.arrived - 1);
            prop_assert!(at_once.get(1..).is_none_or(|rest| rest.is_sorted()));
            prop_assert!(at_once.len() < 2 || fragment.is_first());
        }
        bed.expire(now + LIFETIME);
        prop_assert!(bed.fates.len() == bed.arrived && bed.is_as_new());
    }

    /// Anything that is an IPv4 header is a fragment or refused; the table takes it.
    #[test]
    fn any_bytes(packets in vec(vec(any::<u8>(), 20..100), 1..40)) {
        let mut bed = Bed::new(Limits { datagrams: 4, datagrams_of_one: 2, held: 4, held_of_one: 2, lifetime: 9 });
        for (now, mut bytes) in packets.into_iter().enumerate() {
            bytes[0] = 0x45 | bytes[0] & 1;
            bytes[9] = [1, 6, 17, 47][usize::from(bytes[9] % 4)];
            // Few datagrams, so that they meet.
            let address = bytes[12] % 2;
            bytes[12..20].fill(address);
            bytes[4..6].fill(0);
            if let Ok(ip) = Ipv4::parse_quoted(&bytes)
                && let Ok(fragment) = Fragment::of(&ip, REALM)
            {
                bed.see(&fragment, None, now as u32);
            }
        }
        bed.expire(1000);
        prop_assert!(bed.is_as_new());
    }
}

fn header(protocol: packet::Protocol, offset: u16, more: bool) -> Header<'static> {
    Header {
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: offset,
        ..Header::new(Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(192, 0, 2, 1), protocol)
    }
}

#[test]
fn what_is_no_fragment_to_be_seen() {
    use DropReason::*;
    let of = |protocol, offset, more, length| {
        let mut bytes = vec![0; 20 + length];
        header(protocol, offset, more).emit(&mut bytes, length).expect("fits");
        Fragment::of(&Ipv4::parse(&bytes).expect("a packet"), REALM).map(|f| (f.offset, f.length, f.more))
    };
    use packet::Protocol as P;
    assert_eq!(of(P::UDP, 0, true, 1480), Ok((0, 1480, true)));
    assert_eq!(of(P::UDP, 1480, false, 3), Ok((1480, 3, false)));
    assert_eq!(of(P::UDP, 1480, true, 0), Err(Ipv4FragmentInvalid));
    assert_eq!(of(P::UDP, 1480, true, 1477), Err(Ipv4FragmentInvalid));
    assert_eq!(of(P::UDP, 65_512, false, 3), Ok((65_512, 3, false)));
    assert_eq!(of(P::UDP, 65_512, false, 4), Err(Ipv4FragmentTooLong), "with its header 65,536 bytes");
    assert_eq!(of(P::UDP, 65_528, false, 1480), Err(Ipv4FragmentTooLong));
    assert_eq!(of(P::TCP, 8, true, 16), Err(Ipv4FragmentTiny));
    assert_eq!(of(P::UDP, 8, true, 16), Ok((8, 16, true)));
}

/// A datagram in two pieces, the first one first.
fn in_order(
    bed: &mut Bed,
    source: u8,
    identification: u16,
    now: u32,
) -> [Option<Result<Head, DropReason>>; 2] {
    let numbers = [piece(source, identification, 0, 4, true), piece(source, identification, 4, 4, false)]
        .map(|p| bed.see(&p, None, now));
    numbers.map(|n| bed.fate(n))
}

#[test]
fn an_overlap_spoils_its_datagram_and_a_repetition_does_not() {
    use DropReason::*;
    let mut bed = Bed::new(WIDE);
    let first = piece(1, 7, 0, 4, true);
    let head = Ok(head_of(&first));
    let mut see = |units, length, more| {
        let n = bed.see(&piece(1, 7, units, length, more), None, 0);
        bed.fate(n)
    };
    assert_eq!(see(0, 4, true), Some(head));
    assert_eq!(see(0, 4, true), Some(Err(Ipv4FragmentDuplicate)));
    assert_eq!(see(4, 4, true), Some(head), "goes on behind the repetition");
    assert_eq!(see(5, 2, true), Some(Err(Ipv4FragmentOverlap)), "within another");
    assert_eq!(see(8, 4, false), Some(Err(Ipv4FragmentOverlap)), "what would have been the rest");
    bed.expire(LIFETIME - 1);
    assert_eq!(bed.table.len(), 1);
    bed.expire(LIFETIME);
    assert!(bed.is_as_new());
}

#[test]
fn a_first_fragment_that_is_refused_takes_the_others_along() {
    let mut bed = Bed::new(WIDE);
    let before = bed.see(&piece(1, 7, 4, 4, true), None, 0);
    assert_eq!(bed.fate(before), None, "held");
    let first = bed.see(&piece(1, 7, 0, 4, true), Some(DropReason::Ipv4FragmentTiny), 0);
    let behind = bed.see(&piece(1, 7, 8, 4, false), None, 0);
    for n in [before, first, behind] {
        assert_eq!(bed.fate(n), Some(Err(DropReason::Ipv4FragmentTiny)));
    }
}

/// RFC 4787 REQ-14a: what comes out of order, from any number of sources, stops nothing that comes in order.
#[test]
fn a_flood_out_of_order_leaves_what_is_in_order_alone() {
    let limits = Limits { datagrams: 64, datagrams_of_one: 8, held: 32, held_of_one: 8, lifetime: LIFETIME };
    for sources in [1u8, 200] {
        let mut bed = Bed::new(limits);
        for round in 0..1000u16 {
            let first = bed.see(&piece(250, round, 0, 4, true), None, 0);
            assert!(matches!(bed.fate(first), Some(Ok(_))));
            // Between the two pieces, more strangers than there are places for.
            for flood in 0..100u16 {
                let source = (flood % u16::from(sources)) as u8;
                bed.see(&piece(source, round.wrapping_mul(100).wrapping_add(flood), 4, 4, true), None, 0);
                // The very source that we look at does it, too.
                bed.see(&piece(250, 10_000 + flood, 4, 4, true), None, 0);
            }
            let second = bed.see(&piece(250, round, 4, 4, false), None, 0);
            assert!(matches!(bed.fate(second), Some(Ok(_))), "round {round}, {sources} sources");
        }
    }
}

/// Nor does one source that opens datagrams, or sends their rests, take another's place.
#[test]
fn one_source_starves_no_other() {
    let limits = Limits { datagrams: 64, datagrams_of_one: 8, held: 32, held_of_one: 8, lifetime: LIFETIME };
    for first in [true, false] {
        let mut bed = Bed::new(limits);
        let rest = bed.see(&piece(2, 1, 4, 4, false), None, 0);
        for flood in 0..10_000u16 {
            let at = if first { 0 } else { 4 };
            bed.see(&piece(1, flood, at, 4, true), None, 0);
        }
        assert_eq!(bed.fate(rest), None, "still held");
        let head = bed.see(&piece(2, 1, 0, 4, true), None, 0);
        assert!([head, rest].iter().all(|&n| matches!(bed.fate(n), Some(Ok(_)))));
        assert!(in_order(&mut bed, 3, 1, 0).iter().all(|fate| matches!(fate, Some(Ok(_)))));
        let lost = bed.fates.values().filter(|f| **f == Err(DropReason::Ipv4FragmentSourceLimit)).count();
        assert_eq!(lost, if first { 0 } else { 10_000 - 8 });
    }
}

#[test]
fn many_sources_give_way_by_age() {
    let limits = Limits { datagrams: 64, datagrams_of_one: 8, held: 32, held_of_one: 8, lifetime: LIFETIME };
    let mut bed = Bed::new(limits);
    for flood in 0..200u16 {
        bed.see(&piece(flood as u8, flood, 4, 4, true), None, 0);
    }
    let full = bed.fates.values().filter(|f| **f == Err(DropReason::Ipv4FragmentsFull)).count();
    assert_eq!(full + bed.waiting(), 200);
    assert_eq!(bed.waiting(), 31, "a place is always free");
    let youngest = bed.see(&piece(199, 199, 0, 4, true), None, 0);
    assert_eq!(bed.forwarded, [youngest, 199]);
}

/// A datagram that came whole leaves nothing behind: the next may have its identification.
#[test]
fn an_identification_comes_again() {
    let mut bed = Bed::new(WIDE);
    for _ in 0..100_000 {
        assert!(in_order(&mut bed, 1, 7, 0).iter().all(|fate| matches!(fate, Some(Ok(_)))));
        assert!(bed.is_as_new());
    }
}
