//! The routes as they change: one side publishes tables, the other side reads the latest.
//!
//! The order of a change matters. First the new table is published; then an epoch is drawn from [`Quiescence`], and only
//! then is that epoch announced ([`Routes::epoch`]). Once every worker has reported it, no worker can still look up the old
//! table, nor be between a look-up in it and the use of what it found. Two things wait for that: the old table is freed, and
//! the neighbour owner makes the paths that sessions remember void. Were they made void before, a worker in the middle of a
//! burst could take a next hop from the old table, find the renewed path to it, and give it to a session, which would then
//! keep to the old route for ever.
//!
//! Guarantees: a reader never waits, and never allocates or frees after its first look; a table is freed by the
//! [`RouteStore`]'s thread alone; at most [`RouteStore::RETIRED`] replaced tables are kept.
//! Never: waits for the workers; whoever owns the store does, by asking [`RouteStore::reclaim`] again.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache, Guard};
use ipnet::IpNet;

use super::table::Entry;
use super::{Origin, Route, RouteError, RouteTable};
use crate::flow::Quiescence;

/// The published routes. Written by the [`RouteStore`]; read by every worker and by management.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<RouteTable>,
    /// The epoch of the last change. 0: there was none.
    epoch: AtomicU64,
}

/// A look at the published table. Held no longer than a burst: what keeps it keeps the store from freeing tables.
pub type Look = Guard<Arc<RouteTable>>;

impl Routes {
    /// The first table.
    pub fn new(table: RouteTable) -> Self {
        Self { table: ArcSwap::from_pointee(table), epoch: AtomicU64::new(0) }
    }

    /// The table as it is now. Lock-free; a thread's first look may allocate, so that a worker takes one before it starts.
    #[inline]
    pub fn look(&self) -> Look {
        self.table.load()
    }

    /// The quiescence epoch of the last change; 0 before the first one. Once every worker has reported it, all of them see
    /// that change or a later one.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// The published table as a worker reads it: it keeps the latest, and looks whether that still is the latest by comparing a
/// pointer. To be renewed at the start of every round: until then the store can't free what it keeps.
pub struct Reader(Cache<Published, Arc<RouteTable>>);

struct Published(Arc<Routes>);

impl Deref for Published {
    type Target = ArcSwap<RouteTable>;

    fn deref(&self) -> &Self::Target {
        &self.0.table
    }
}

impl Reader {
    pub fn new(routes: Arc<Routes>) -> Self {
        Self(Cache::new(Published(routes)))
    }

    /// The table as it is now. Lock-free; never allocates, and never frees a table.
    #[inline(always)]
    pub fn now(&mut self) -> &RouteTable {
        self.0.load()
    }
}

/// The one who changes routes. See the module.
pub struct RouteStore {
    routes: Arc<Routes>,
    quiescence: Arc<Quiescence>,
    capacity: usize,
    current: Arc<RouteTable>,
    /// Replaced tables, and the epoch until which a worker may read each. Holding them here keeps a worker's reference from
    /// being the last.
    retired: VecDeque<(u64, Arc<RouteTable>)>,
}

impl RouteStore {
    /// The most replaced tables that are kept for workers that may still read them.
    pub const RETIRED: usize = 8;

    /// Of what `routes` publishes, for readers that report to `quiescence`; at most `capacity` routes, the connected ones
    /// included. There must be one store for it.
    pub fn new(routes: Arc<Routes>, quiescence: Arc<Quiescence>, capacity: usize) -> Self {
        let current = routes.table.load_full();
        Self { routes, quiescence, capacity, current, retired: VecDeque::with_capacity(Self::RETIRED) }
    }

    /// The table that is published.
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.current
    }

    /// Adds a route, and publishes it. With `replace` the prefix may have one, which is answered. Host bits are ignored.
    ///
    /// # Errors
    /// [`RouteError::Connected`], [`RouteError::Duplicate`] without `replace`, [`RouteError::Full`], [`RouteError::Busy`].
    /// Nothing has changed then.
    pub fn add(
        &mut self,
        realm: u16,
        prefix: IpNet,
        route: Route,
        replace: bool,
    ) -> Result<Option<Route>, RouteError> {
        let prefix = prefix.trunc();
        let known = self.current.get(realm, prefix).map(|(route, origin)| (route.clone(), origin));
        match &known {
            Some((_, Origin::Connected)) => return Err(RouteError::Connected { realm, prefix }),
            Some((first, _)) if !replace => {
                return Err(RouteError::Duplicate { realm, prefix, first: first.clone(), second: route });
            }
            None if self.current.len() >= self.capacity => return Err(RouteError::Full(self.capacity)),
            _ => {}
        }
        self.make_room()?;
        self.publish(self.current.with(realm, prefix, Some(Entry { route, origin: Origin::Runtime })));
        Ok(known.map(|(route, _)| route))
    }

    /// Deletes a route, publishes that, and answers it and where it came from. A static one is back after a restart.
    ///
    /// # Errors
    /// [`RouteError::Absent`], [`RouteError::Connected`], [`RouteError::Busy`]. Nothing has changed then.
    pub fn delete(&mut self, realm: u16, prefix: IpNet) -> Result<(Route, Origin), RouteError> {
        let prefix = prefix.trunc();
        let (route, origin) = match self.current.get(realm, prefix) {
            None => return Err(RouteError::Absent { realm, prefix }),
            Some((_, Origin::Connected)) => return Err(RouteError::Connected { realm, prefix }),
            Some((route, origin)) => (route.clone(), origin),
        };
        self.make_room()?;
        self.publish(self.current.with(realm, prefix, None));
        Ok((route, origin))
    }

    /// Frees the replaced tables that no worker reads or keeps any more; true when there are no others.
    pub fn reclaim(&mut self) -> bool {
        let is_over = |(epoch, table): &mut (u64, Arc<RouteTable>)| {
            self.quiescence.reached(*epoch) && Arc::strong_count(table) == 1
        };
        while self.retired.pop_front_if(is_over).is_some() {}
        self.retired.is_empty()
    }

    fn make_room(&mut self) -> Result<(), RouteError> {
        self.reclaim();
        if self.retired.len() < Self::RETIRED { Ok(()) } else { Err(RouteError::Busy(Self::RETIRED)) }
    }

    /// See the module for the order.
    fn publish(&mut self, table: RouteTable) {
        let table = Arc::new(table);
        self.routes.table.store(table.clone());
        let epoch = self.quiescence.retire();
        self.routes.epoch.store(epoch, Ordering::Release);
        let old = std::mem::replace(&mut self.current, table);
        self.retired.push_back((epoch, old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Reporter;
    use crate::route::{NextHop, RouteTableBuilder};
    use std::net::Ipv4Addr;

    const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn via(last: u8) -> Route {
        NextHop { interface: 0, gateway: Some([192, 0, 2, last].into()) }.into()
    }

    fn store(workers: usize, capacity: usize) -> (Arc<Routes>, Arc<Quiescence>, RouteStore) {
        let mut table = RouteTableBuilder::default();
        let connected = NextHop { interface: 0, gateway: None };
        table.insert(1, net("192.0.2.0/24"), connected, Origin::Connected).unwrap();
        table.insert(1, net("0.0.0.0/0"), via(1), Origin::Static).unwrap();
        let routes = Arc::new(Routes::new(table.build()));
        let quiescence = Arc::new(Quiescence::new(workers));
        let store = RouteStore::new(routes.clone(), quiescence.clone(), capacity);
        (routes, quiescence, store)
    }

    #[test]
    fn a_change_is_seen_at_once_and_undone_by_its_reverse() {
        let (routes, _, mut store) = store(1, 10);
        assert_eq!(routes.epoch(), 0);
        assert_eq!(store.add(1, net("198.51.100.9/24"), Route::Prohibit, false), Ok(None));
        assert_eq!(routes.look().lookup4(1, SOMEWHERE), Some(&Route::Prohibit));
        let first = routes.epoch();
        assert!(first > 0);
        assert_eq!(store.add(1, net("198.51.100.0/24"), via(2), true), Ok(Some(Route::Prohibit)));
        assert_eq!(routes.look().lookup4(1, SOMEWHERE), Some(&via(2)));
        assert!(routes.epoch() > first);
        assert_eq!(store.delete(1, net("198.51.100.0/24")), Ok((via(2), Origin::Runtime)));
        assert_eq!(routes.look().lookup4(1, SOMEWHERE), Some(&via(1)));
        assert_eq!(store.delete(1, net("0.0.0.0/0")), Ok((via(1), Origin::Static)));
        assert_eq!(routes.look().lookup4(1, SOMEWHERE), None);
        assert_eq!(store.table().len(), 1);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (routes, _, mut store) = store(1, 3);
        let (default, connected) = (net("0.0.0.0/0"), net("192.0.2.0/24"));
        let first = via(1);
        let duplicate = RouteError::Duplicate { realm: 1, prefix: default, first, second: via(2) };
        assert_eq!(store.add(1, default, via(2), false), Err(duplicate));
        let is_connected = RouteError::Connected { realm: 1, prefix: connected };
        assert_eq!(store.add(1, connected, via(2), true), Err(is_connected.clone()));
        assert_eq!(store.delete(1, connected), Err(is_connected));
        for (realm, prefix) in [(1, net("0.0.0.0/1")), (2, default), (1, net("::/0"))] {
            assert_eq!(store.delete(realm, prefix), Err(RouteError::Absent { realm, prefix }));
        }
        assert_eq!(routes.epoch(), 0, "nothing was published");
        store.add(2, default, Route::Blackhole, false).unwrap();
        assert_eq!(store.add(3, default, Route::Blackhole, false), Err(RouteError::Full(3)));
        store.add(2, default, Route::Unreachable, true).expect("a replaced one takes no more room");
    }

    #[test]
    fn a_replaced_table_lives_until_every_worker_has_been_quiescent() {
        let (routes, quiescence, mut store) = store(2, 100);
        let workers = [0, 1].map(|id| Reporter::new(quiescence.clone(), id));
        workers.iter().for_each(Reporter::online);
        let look = routes.look();
        let old = Arc::downgrade(store.table());
        store.add(1, net("198.51.100.0/24"), Route::Blackhole, false).unwrap();
        assert_eq!(look.lookup4(1, SOMEWHERE), Some(&via(1)), "the look that was taken stays as it is");
        workers[0].quiescent();
        assert!(!store.reclaim() && old.upgrade().is_some());
        drop(look);
        assert!(old.upgrade().is_some(), "the worker's reference was not the last one");
        workers[1].quiescent();
        assert!(store.reclaim());
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn what_a_reader_keeps_is_freed_by_the_store_once_the_reader_has_the_next() {
        let (routes, quiescence, mut store) = store(1, 100);
        let worker = Reporter::new(quiescence, 0);
        worker.online();
        let mut reader = Reader::new(routes);
        let old = Arc::downgrade(store.table());
        store.add(1, net("198.51.100.0/24"), Route::Blackhole, false).unwrap();
        worker.quiescent();
        assert!(!store.reclaim(), "the reader has not looked since");
        assert_eq!(reader.now().lookup4(1, SOMEWHERE), Some(&Route::Blackhole));
        assert!(old.upgrade().is_some(), "the reader's reference was not the last one");
        assert!(store.reclaim());
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn workers_that_stand_still_bound_the_changes() {
        let (_, quiescence, mut store) = store(1, 100);
        let worker = Reporter::new(quiescence, 0);
        worker.online();
        let prefix = net("198.51.100.0/24");
        for _ in 0..RouteStore::RETIRED {
            store.add(1, prefix, Route::Blackhole, true).unwrap();
        }
        assert_eq!(store.delete(1, prefix), Err(RouteError::Busy(RouteStore::RETIRED)));
        worker.quiescent();
        store.delete(1, prefix).unwrap();
    }

    /// Readers on threads of their own, while the routes change under them: every answer is of one table or the next.
    #[test]
    fn readers_never_see_half_a_change() {
        let (routes, quiescence, mut store) = store(2, 100);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for id in 0..2 {
                let (routes, quiescence, stop) = (&routes, quiescence.clone(), &stop);
                scope.spawn(move || {
                    let worker = Reporter::new(quiescence, id);
                    worker.online();
                    while !stop.load(Ordering::Relaxed) {
                        let look = routes.look();
                        let pair = [1, 2].map(|realm| look.lookup4(realm, SOMEWHERE).cloned());
                        drop(look);
                        assert!(
                            pair == [Some(via(1)), None] || pair == [Some(via(1)), Some(via(2))],
                            "{pair:?}"
                        );
                        worker.quiescent();
                    }
                });
            }
            for _ in 0..200 {
                while !store.reclaim() {
                    std::thread::yield_now();
                }
                store.add(2, net("198.51.100.0/24"), via(2), false).unwrap();
                store.delete(2, net("198.51.100.0/24")).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
