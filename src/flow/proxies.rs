//! Proxy addresses as all threads see them: private addresses, each of which stands for a remote host inside its realm.
//!
//! Of each address there is one word: whom it stands for, and how many sessions go there. One thread, the owner of
//! [`Bindings`], says whom; the homes of sessions count them, and read it where a packet has no session. The way back, from a remote
//! host to the address that stands for it, is a hint: which address it is, its word says.
//!
//! Guarantees: whom an address stands for does not change while a session goes there, nor between a look at it and the beginning of
//! a session, which says whom it has seen ([`Proxies::enter`]). A look-up takes a step for each doubling of the realms and of a
//! realm's ranges, or of eight numbers on the way back; nothing grows. The same address in two realms is two.
//! Never: knows why an address stands for somebody, or for how long.

use super::hash::{HashKey, Hashed};
use super::key::{Key4, Realm};
use super::ranges::Ranges;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses of all realms together, at most.
pub const ADDRESSES_MAX: u32 = 1 << 20;
/// Numbers of remote hosts that a hash throws together, and places for each address. One in some thousand finds none when all are in
/// use: that one is found by its address alone.
const TOGETHER: usize = 8;
const PLACES: usize = 4;

/// The addresses of one realm.
#[derive(Debug)]
struct Pool {
    realm: Realm,
    ranges: Ranges,
    /// Number of its first.
    first: u32,
}

/// The shared side. See the module.
pub struct Proxies {
    /// Ascending by realm, and by number.
    pools: Box<[Pool]>,
    /// Of each number: the remote address 32, 0 for none | sessions 32.
    states: Box<[AtomicU64]>,
    /// Numbers and one, 0 for none, by realm and remote address.
    back: Box<[[AtomicU32; TOGETHER]]>,
    hash: HashKey,
}

/// The one who says whom addresses stand for.
pub struct Bindings(Arc<Proxies>);

const fn remote_in(state: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits((state >> 32) as u32)
}

const fn sessions_in(state: u64) -> u32 {
    state as u32
}

const fn bound_to(remote: Ipv4Addr) -> u64 {
    (remote.to_bits() as u64) << 32
}

impl Proxies {
    /// Of these realms, each once, with their inclusive ranges, which are disjoint within a realm; at most [`ADDRESSES_MAX`]
    /// addresses. None stands for anybody.
    pub fn new(mut realms: Vec<(Realm, Vec<(Ipv4Addr, Ipv4Addr)>)>, hash: HashKey) -> (Arc<Self>, Bindings) {
        realms.sort_unstable();
        let mut count = 0;
        let pool = |(realm, ranges): (Realm, Vec<_>)| {
            let pool = Pool { realm, ranges: Ranges::new(&ranges), first: count };
            count += pool.ranges.count();
            pool
        };
        let pools = realms.into_iter().map(pool).collect();
        assert!(count <= ADDRESSES_MAX, "{count} addresses");
        let states = (0..count).map(|_| AtomicU64::new(0)).collect();
        let together = (PLACES * count as usize).div_ceil(TOGETHER).next_power_of_two();
        let back = (0..together).map(|_| std::array::from_fn(|_| AtomicU32::new(0))).collect();
        let shared = Arc::new(Self { pools, states, back, hash });
        (shared.clone(), Bindings(shared))
    }

    /// How many addresses there are.
    pub fn count(&self) -> u32 {
        self.states.len() as u32
    }

    /// The realms that have any, in the order of their numbers, each with its first number and the one after its last.
    pub fn realms(&self) -> impl Iterator<Item = (Realm, std::ops::Range<u32>)> {
        self.pools.iter().map(|pool| (pool.realm, pool.first..pool.first + pool.ranges.count()))
    }

    #[inline]
    fn pool(&self, realm: Realm) -> Option<&Pool> {
        let at = self.pools.binary_search_by_key(&realm, |pool| pool.realm).ok()?;
        self.pools.get(at)
    }

    /// Whether that realm has any.
    #[inline]
    pub fn serves(&self, realm: Realm) -> bool {
        self.pool(realm).is_some()
    }

    /// The number of an address, if it is a proxy address of that realm.
    #[inline]
    pub fn number(&self, realm: Realm, address: Ipv4Addr) -> Option<u32> {
        let pool = self.pool(realm)?;
        pool.ranges.number(address).map(|number| pool.first + number)
    }

    /// The realm and the address of that number.
    pub fn address(&self, number: u32) -> Option<(Realm, Ipv4Addr)> {
        let at = self.pools.partition_point(|pool| pool.first <= number);
        let pool = self.pools.get(at.checked_sub(1)?)?;
        Some((pool.realm, pool.ranges.address(number - pool.first)?))
    }

    fn state(&self, number: u32) -> Option<u64> {
        self.states.get(number as usize).map(|state| state.load(Ordering::Acquire))
    }

    /// Whom that number stands for.
    #[inline]
    pub fn remote(&self, number: u32) -> Option<Ipv4Addr> {
        self.state(number).map(remote_in).filter(|remote| !remote.is_unspecified())
    }

    /// The number that stands for `remote` in that realm, if it is found.
    pub fn standing_for(&self, realm: Realm, remote: Ipv4Addr) -> Option<u32> {
        let pool = self.pool(realm)?;
        let own = pool.first..pool.first + pool.ranges.count();
        let number = |place: &AtomicU32| place.load(Ordering::Acquire).checked_sub(1);
        let mut numbers = self.together(realm, remote).iter().filter_map(number);
        numbers.find(|number| own.contains(number) && self.remote(*number) == Some(remote))
    }

    fn together(&self, realm: Realm, remote: Ipv4Addr) -> &[AtomicU32; TOGETHER] {
        let [a, b, c, d] = remote.octets();
        let key = Key4::from_wire([a, b, c, d, 0, 0, 0, 0], [0; 4], realm, 0);
        &self.back[key.hash(&self.hash).buckets as usize & (self.back.len() - 1)]
    }

    /// Sessions that go there.
    pub fn sessions(&self, number: u32) -> u32 {
        self.state(number).map_or(0, sessions_in)
    }

    /// A home: one more session goes to that number, as `remote`. False where it does not stand for that one.
    pub fn enter(&self, number: u32, remote: Ipv4Addr) -> bool {
        let is_his = |state: u64| remote_in(state) == remote && sessions_in(state) < u32::MAX;
        self.change(number, |state| (is_his(state) && !remote.is_unspecified()).then_some(state + 1))
    }

    /// A home: one fewer.
    pub fn leave(&self, number: u32) {
        let left = self.change(number, |state| (sessions_in(state) > 0).then(|| state - 1));
        debug_assert!(left, "a session that never came has left {number}");
    }

    fn change(&self, number: u32, to: impl FnMut(u64) -> Option<u64>) -> bool {
        let state = self.states.get(number as usize);
        state.is_some_and(|state| state.fetch_update(Ordering::AcqRel, Ordering::Acquire, to).is_ok())
    }
}

impl Bindings {
    /// The shared side.
    pub fn shared(&self) -> &Arc<Proxies> {
        &self.0
    }

    /// From now on that number stands for `remote`; false where it stands for somebody already.
    pub fn bind(&mut self, number: u32, remote: Ipv4Addr) -> bool {
        let is_bound = self.0.change(number, |state| (state == 0).then(|| bound_to(remote)));
        if is_bound {
            self.replace(number, remote, 0, number + 1);
        }
        is_bound
    }

    /// From now on it stands for nobody; false where sessions go there.
    pub fn unbind(&mut self, number: u32) -> bool {
        let remote = self.0.remote(number);
        let is_unbound = self.0.change(number, |state| (sessions_in(state) == 0).then_some(0));
        if let Some(remote) = remote.filter(|_| is_unbound) {
            self.replace(number, remote, number + 1, 0);
        }
        is_unbound
    }

    /// Of the numbers that are found by `remote`.
    fn replace(&mut self, number: u32, remote: Ipv4Addr, old: u32, new: u32) {
        let Some((realm, _)) = self.0.address(number) else { return };
        let together = self.0.together(realm, remote);
        if let Some(place) = together.iter().find(|place| place.load(Ordering::Relaxed) == old) {
            place.store(new, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);

    fn proxies(realms: Vec<(Realm, Vec<(Ipv4Addr, Ipv4Addr)>)>) -> (Arc<Proxies>, Bindings) {
        let mut n = 7u64;
        Proxies::new(
            realms,
            HashKey::new(|| {
                n = n.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                n
            }),
        )
    }

    fn range(third: u8, first: u8, last: u8) -> (Ipv4Addr, Ipv4Addr) {
        (Ipv4Addr::new(172, 16, third, first), Ipv4Addr::new(172, 16, third, last))
    }

    #[test]
    fn the_same_address_in_two_realms_is_two() {
        let of = |realm, ranges: &[_]| (Realm(realm), ranges.to_vec());
        let pools = vec![of(7, &[range(64, 0, 3)]), of(2, &[range(65, 0, 1), range(64, 2, 3)])];
        let (proxies, mut bindings) = proxies(pools);
        assert_eq!(proxies.count(), 8);
        let realms: Vec<_> = proxies.realms().collect();
        assert_eq!(realms, [(Realm(2), 0..4), (Realm(7), 4..8)]);
        let mut seen = std::collections::HashSet::new();
        for (realm, third, last) in
            (0..9).flat_map(|r| [64, 65].map(|t| (r, t))).flat_map(|(r, t)| (0..5).map(move |l| (r, t, l)))
        {
            let address = Ipv4Addr::new(172, 16, third, last);
            let is_one = realm == 7 && third == 64 && last < 4
                || realm == 2 && (third == 65 && last < 2 || third == 64 && (2..4).contains(&last));
            let number = proxies.number(Realm(realm), address);
            assert_eq!(number.is_some(), is_one, "{realm} {address}");
            if let Some(number) = number {
                assert!(seen.insert(number));
                assert_eq!(proxies.address(number), Some((Realm(realm), address)));
            }
        }
        assert_eq!((seen.len(), proxies.address(8)), (8, None));
        let [one, two] =
            [2, 7].map(|realm| proxies.number(Realm(realm), range(64, 2, 2).0).expect("of both"));
        assert!(bindings.bind(one, REMOTE));
        assert_eq!((proxies.remote(one), proxies.remote(two)), (Some(REMOTE), None));
        let standing = |realm| proxies.standing_for(Realm(realm), REMOTE);
        assert_eq!((standing(2), standing(7), standing(3)), (Some(one), None, None));
        assert!(bindings.bind(two, REMOTE));
        assert_eq!((standing(2), standing(7)), (Some(one), Some(two)));
        assert!(bindings.unbind(one));
        assert_eq!((standing(2), standing(7)), (None, Some(two)));
    }

    #[test]
    fn whom_it_stands_for_stays_while_a_session_goes_there() {
        let (proxies, mut bindings) = proxies(vec![(Realm(1), vec![range(64, 0, 3)])]);
        assert!(!proxies.enter(1, REMOTE) && !proxies.enter(1, Ipv4Addr::UNSPECIFIED), "nobody");
        assert!(bindings.bind(1, REMOTE) && !bindings.bind(1, OTHER), "one at a time");
        assert!(!proxies.enter(1, OTHER) && proxies.enter(1, REMOTE) && proxies.enter(1, REMOTE));
        assert_eq!(proxies.sessions(1), 2);
        assert!(!bindings.unbind(1));
        proxies.leave(1);
        assert!(!bindings.unbind(1));
        proxies.leave(1);
        assert!(bindings.unbind(1) && bindings.bind(1, OTHER));
        assert!(!proxies.enter(1, REMOTE), "who has seen the one before does not reach this one");
        assert_eq!((proxies.remote(1), proxies.sessions(1)), (Some(OTHER), 0));
        assert!(!bindings.bind(4, REMOTE) && !proxies.enter(4, REMOTE), "none of them");
    }

    /// All of a large pool, twice over: the way back finds nearly all, never a wrong one, and forgets what is gone.
    #[test]
    fn the_way_back_is_found() {
        let (first, last) = (Ipv4Addr::new(172, 16, 0, 0), Ipv4Addr::new(172, 16, 63, 255));
        let (proxies, mut bindings) = proxies(vec![(Realm(1), vec![(first, last)])]);
        for round in [0u32, 1] {
            let remote = |n: u32| Ipv4Addr::from_bits(0xc633_0000 + (round << 20) + n);
            assert!((0..proxies.count()).all(|n| bindings.bind(n, remote(n))));
            let found = (0..proxies.count()).filter(|n| {
                let back = proxies.standing_for(Realm(1), remote(*n));
                assert!(back.is_none_or(|back| back == *n));
                back.is_some()
            });
            let missed = proxies.count() as usize - found.count();
            assert!(missed * 1000 < proxies.count() as usize, "{missed}");
            assert!((0..proxies.count()).all(|n| bindings.unbind(n)));
            assert!((0..proxies.count()).all(|n| proxies.standing_for(Realm(1), remote(n)).is_none()));
        }
        assert!(proxies.back.iter().flatten().all(|place| place.load(Ordering::Relaxed) == 0));
    }
}

#[cfg(all(test, ces_loom))]
mod model {
    use super::*;

    /// A home begins a session as the one it has seen, while that one gives way to another: either it goes to that one, who
    /// then stays as long as it lives, or there is none.
    #[test]
    fn loom_a_session_goes_to_whom_it_has_seen() {
        loom::model(|| {
            let remotes = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(198, 51, 100, 8)];
            let first = Ipv4Addr::new(172, 16, 0, 0);
            let (proxies, mut bindings) =
                Proxies::new(vec![(Realm(1), vec![(first, first)])], HashKey::new(|| 7));
            bindings.bind(0, remotes[0]);
            let t = loom::thread::spawn(move || {
                if let Some(seen) = proxies.remote(0)
                    && proxies.enter(0, seen)
                {
                    assert_eq!(proxies.remote(0), Some(seen), "a stranger");
                    proxies.leave(0);
                }
            });
            if bindings.unbind(0) {
                assert!(bindings.bind(0, remotes[1]));
            }
            t.join().unwrap();
            assert_eq!(bindings.shared().sessions(0), 0);
        });
    }
}
