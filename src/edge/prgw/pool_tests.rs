//! Any interleaving of reserve, claim and time against a model that knows nothing of trees, lanes and rings.

use super::*;
use proptest::prelude::*;

const CEILING: u32 = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Clone, Debug)]
enum Event {
    Reserve(Service, u32),
    /// To any address, waiting or not.
    Packet(u32, u16, u8),
    Advance(u64),
}

/// What a reservation is to the model: the holder is its number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Modelled {
    holder: u32,
    address: u32,
    service: Service,
    since: u64,
    deadline: u64,
    overdue: bool,
}

#[derive(Default)]
struct Model(Vec<Modelled>);

impl Model {
    fn could_go(&self, address: u32, service: Service) -> bool {
        self.0.iter().all(|m| m.overdue || m.address != address || !m.service.overlaps(service))
    }

    fn is_busy(&self, address: u32) -> bool {
        self.0.iter().any(|m| m.address == address && !m.overdue)
    }

    /// By the order of the look-up, exactly as it is written down.
    fn look_up(&self, address: u32, port: u16, protocol: u8) -> Option<Modelled> {
        [(port, protocol), (port, 0), (0, protocol), (0, 0)].iter().find_map(|&(port, protocol)| {
            let is = |m: &&Modelled| m.address == address && m.service == Service { port, protocol };
            self.0.iter().find(is).copied()
        })
    }

    /// Who becomes overdue and who ends, each sorted.
    fn advance(&mut self, now: u64) -> (Vec<u32>, Vec<u32>) {
        let (mut overdue, mut ended) = (vec![], vec![]);
        for m in &mut self.0 {
            if !m.overdue && m.deadline <= now {
                m.overdue = true;
                overdue.push(m.holder);
            }
        }
        self.0.retain(|m| {
            let ends = m.since + u64::from(CEILING) <= now;
            if ends {
                ended.push(m.holder);
            }
            !ends
        });
        (overdue, ended)
    }
}

struct Bed {
    pool: Pool<u32>,
    model: Model,
    now: u64,
    next: u32,
}

impl Bed {
    fn new(addresses: u32) -> Self {
        let size = Size { addresses, reservations: 4096, ceiling: CEILING };
        Self { pool: Pool::new(size), model: Model::default(), now: 0, next: 0 }
    }

    fn reserve(&mut self, service: Service, timeout: u32) {
        let addresses = 0..self.pool.load().1;
        let could = addresses.into_iter().any(|address| self.model.could_go(address, service));
        let found = self.pool.find(self.pool.plan(service), |_| false);
        assert_eq!(found.is_some(), could, "{service:?}");
        let Some(place) = found else { return };
        assert!(self.model.could_go(place.address, service) && place.address < self.pool.load().1);
        assert_eq!(place.shares, self.model.is_busy(place.address));
        let (holder, mut displaced) = (self.next, vec![]);
        self.next += 1;
        self.pool
            .take(place, service, holder, timeout, self.now, |&holder| displaced.push(holder))
            .expect("there is room");
        let address = place.address;
        self.model.0.retain(|m| {
            let goes = m.address == address && m.service.overlaps(service);
            assert_eq!(goes, displaced.contains(&m.holder), "{m:?}");
            !goes
        });
        let deadline = self.now + u64::from(timeout.min(CEILING));
        // A time of none is over at the next tick.
        let deadline = deadline.max(self.now + 1);
        let (since, overdue) = (self.now, false);
        self.model.0.push(Modelled { holder, address, service, since, deadline, overdue });
    }

    fn packet(&mut self, address: u32, port: u16, protocol: u8) {
        let expected = self.model.look_up(address, port, protocol);
        let found = self.pool.look_up(address, port, protocol);
        assert_eq!(found.and_then(|id| self.pool.get(id)).map(|r| r.holder), expected.map(|m| m.holder));
        let Some(id) = found else { return };
        let claimed = self.pool.claim(id);
        assert_eq!(self.pool.get(id).map(|r| r.holder), None);
        self.model.0.retain(|m| m.holder != claimed.holder);
        let expected = expected.expect("compared above");
        assert_eq!((claimed.since, claimed.overdue), (expected.since, expected.overdue));
    }

    fn advance(&mut self, by: u64) {
        self.now += by;
        let (mut overdue, mut ended) = (vec![], vec![]);
        self.pool.advance(self.now, |r, change| match change {
            Change::Next => (),
            Change::Overdue => overdue.push(r.holder),
            Change::Ended => ended.push(r.holder),
        });
        overdue.sort_unstable();
        ended.sort_unstable();
        assert_eq!((overdue, ended), self.model.advance(self.now));
    }

    fn check(&self) {
        let addresses = 0..self.pool.load().1;
        let busy = addresses.clone().filter(|&address| self.model.is_busy(address)).count();
        assert_eq!((self.pool.load().0 as usize, self.pool.len()), (busy, self.model.0.len()));
        for address in addresses {
            let expects = self.model.0.iter().any(|m| m.address == address);
            assert_eq!(self.pool.expects(address), expects);
        }
        for (n, a) in self.model.0.iter().enumerate() {
            for b in &self.model.0[..n] {
                assert!(a.address != b.address || !a.service.overlaps(b.service), "{a:?} and {b:?}");
            }
        }
    }

    fn is_as_new(&self) -> bool {
        let fresh = (0..self.pool.load().1).all(|address| self.pool.tree.get(address as usize) == 0);
        self.pool.is_empty() && self.pool.lanes.is_empty() && fresh && self.pool.load().0 == 0
    }
}

fn service() -> impl Strategy<Value = Service> {
    let exact = (1u16..5, prop_oneof![Just(TCP), Just(UDP)]).prop_map(|(port, p)| Service::new(port, p));
    prop_oneof![
        2 => Just(Service::ALL),
        6 => exact,
        1 => (1u16..5).prop_map(|port| Service::new(port, 0)),
        1 => prop_oneof![Just(TCP), Just(UDP), Just(1)].prop_map(|protocol| Service::new(0, protocol)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let packet = (0u32..7, 0u16..6, prop_oneof![Just(TCP), Just(UDP), Just(1)]);
    prop_oneof![
        4 => (service(), 0u32..60).prop_map(|(service, timeout)| Event::Reserve(service, timeout)),
        3 => packet.prop_map(|(address, port, protocol)| Event::Packet(address, port, protocol)),
        2 => (0u64..12).prop_map(Event::Advance),
        // Longer than the wheel is round.
        1 => prop_oneof![Just(63u64), Just(64), Just(65), Just(1000)].prop_map(Event::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn like_the_model(addresses in 1u32..7, events in prop::collection::vec(event(), 1..200)) {
        let mut bed = Bed::new(addresses);
        bed.advance(0);
        for event in events {
            match event {
                Event::Reserve(service, timeout) => bed.reserve(service, timeout),
                Event::Packet(address, port, protocol) => bed.packet(address, port, protocol),
                Event::Advance(by) => bed.advance(by),
            }
            bed.check();
        }
        bed.advance(u64::from(CEILING));
        bed.check();
        prop_assert!(bed.is_as_new(), "something leaked");
    }
}

#[test]
fn addresses_come_in_a_circle() {
    let mut bed = Bed::new(8);
    let mut order = vec![];
    for _ in 0..16 {
        bed.advance(1);
        let place = bed.pool.find(bed.pool.plan(Service::ALL), |_| false).unwrap();
        order.push(place.address);
        let id = bed.pool.take(place, Service::ALL, 0, CEILING, bed.now, |_| {}).unwrap();
        bed.pool.claim(id);
    }
    // The first quarter is for services as long as there is room elsewhere.
    assert_eq!(order, [2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5]);
}

#[test]
fn services_share_and_leave_whole_addresses_alone() {
    let mut bed = Bed::new(8);
    for port in 1..=40 {
        bed.reserve(Service::new(port, TCP), CEILING);
    }
    assert!(bed.model.0.iter().all(|m| m.address < 2), "they stay in the first quarter");
    assert_eq!(bed.pool.load(), (1, 8));
    // One service needs an address for each of its set-ups.
    for _ in 0..8 {
        assert!(bed.pool.find(bed.pool.plan(Service::new(443, TCP)), |_| false).is_some());
        bed.reserve(Service::new(443, TCP), CEILING);
    }
    assert_eq!(bed.pool.find(bed.pool.plan(Service::new(443, TCP)), |_| false), None);
    assert_eq!(bed.pool.find(bed.pool.plan(Service::ALL), |_| false), None);
    assert!(bed.pool.find(bed.pool.plan(Service::new(443, UDP)), |_| false).is_some());
}

#[test]
fn what_the_asker_avoids_comes_last() {
    let mut bed = Bed::new(4);
    let find = |bed: &Bed, avoided: u32| {
        bed.pool.find(bed.pool.plan(Service::ALL), move |address| address != avoided)
    };
    assert_eq!(find(&bed, 3).map(|p| (p.address, p.avoided)), Some((3, false)));
    for _ in 0..3 {
        bed.reserve(Service::ALL, CEILING);
    }
    assert_eq!(find(&bed, 3).map(|p| (p.address, p.avoided)), Some((0, true)), "better than nothing");
}

#[test]
fn overdue_ones_make_room_and_no_waiting_one_does() {
    let size = Size { addresses: 4, reservations: 3, ceiling: CEILING };
    let mut pool = Pool::new(size);
    let mut ended = vec![];
    let mut reserve = |pool: &mut Pool<u32>, holder, timeout, now| {
        let place = pool.find(pool.plan(Service::ALL), |_| false)?;
        pool.take(place, Service::ALL, holder, timeout, now, |&holder| ended.push(holder))
    };
    assert!(reserve(&mut pool, 0, CEILING, 0).is_some());
    assert!(reserve(&mut pool, 1, 5, 0).is_some());
    assert!(reserve(&mut pool, 2, CEILING, 0).is_some());
    assert!(reserve(&mut pool, 3, CEILING, 0).is_none(), "there is an address, and no reservation");
    pool.advance(5, |_, _| {});
    assert!(reserve(&mut pool, 4, CEILING, 5).is_some());
    assert_eq!(ended, [1]);
}

#[test]
fn an_address_keeps_so_many_overdue_ones_and_no_more() {
    let size = Size { addresses: 1, reservations: 4096, ceiling: 2000 };
    let mut pool = Pool::new(size);
    let (mut ended, mut now) = (0, 0);
    for port in 1..=200 {
        let service = Service::new(port, TCP);
        let place =
            pool.find(pool.plan(service), |_| false).expect("nothing waits longer than a millisecond");
        pool.take(place, service, port, 1, now, |_| ended += 1).expect("there is room");
        now += 1;
        pool.advance(now, |_, _| {});
    }
    assert_eq!((pool.len(), ended), (usize::from(AT_ONE_ADDRESS), 200 - usize::from(AT_ONE_ADDRESS)));
    let found = |port| pool.look_up(0, port, TCP).and_then(|id| pool.get(id)).map(|r| r.holder);
    assert_eq!((found(136), found(137), found(200)), (None, Some(137), Some(200)), "the oldest go first");
}
