//! Proxy addresses: out of a realm's pool of private addresses, one for each remote host that its hosts are to see by such an address
//! and not by its own: a host of the Internet whose name a host has asked for, or one behind an edge, with which a host of the realm
//! has sessions. Of the latter the workers' words know nothing: its packets go by their sessions alone.
//!
//! A [`Book`] is sans-IO: it says who gets which address and for how long. [`Proxies`] lends it to the threads that ask, a moment
//! each.
//!
//! ```text
//!           asked for                no answer lives, no session goes there       nobody may remember it
//!   free ─────────────► assigned ──────────────────────────────────────► resting ───────────────────────► free
//!                        ▲   └─ asked for again, or a session goes there: longer     │
//!                        └────────────────── the same remote host ───────────────────┘
//! ```
//!
//! Guarantees: an address stands for one remote host of its realm, and a remote host has one there; an answer that was given holds
//! for its TTL and [`GRACE`] longer, and while a session goes there, or is held; then the address is nobody's for [`REST`], unless the same host
//! is asked for again, which gets it back until another needs it. A host pays for what it was the last to ask for, and pays for so many
//! at most. Everything is made at the start but names, of which an address has [`NAMES`] at most; asking takes constant time.
//! Never: reads a clock, touches a packet, or knows what else a remote host is.
//!
//! | file | what it is |
//! |---|---|
//! | [`book`] | who has which |
//! | [`counters`] | what has become of questions |

pub mod book;
pub mod counters;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use book::Book;
pub use counters::{Counter, Counters};

use crate::flow::{self, Bindings, Realm};

/// The longest TTL of an answer, in seconds.
pub const TTL: u32 = 30;
/// That of an answer with an address that sessions go to.
pub const TTL_IN_USE: u32 = 120;
/// Milliseconds for which an answer holds beyond its TTL: for who looks before it connects.
pub const GRACE: u64 = 60_000;
/// Milliseconds for which an address is nobody's before another remote host gets it: for who remembers for too long.
pub const REST: u64 = 120_000;
/// Names of an address that are remembered, those asked for last.
pub const NAMES: usize = 4;

/// Who asks for a remote host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub realm: Realm,
    pub address: IpAddr,
}

/// For whom an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// A host of the Internet.
    Address(Ipv4Addr),
    /// A host behind an edge, another or this one, by the hash of its name or of its ID.
    Host([u8; 16]),
}

/// An address that stands for a remote host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub address: Ipv4Addr,
    /// Of the answer, in seconds.
    pub ttl: u32,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No address can stand for that one: its own is a proxy address of the realm, or none.
    NoRemote,
    /// All addresses of the realm stand for others, or rest.
    Exhausted,
    /// The asker pays for as many as it may.
    Limited,
}

/// What an address is in a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// No proxy address.
    Else,
    /// One that stands for nobody.
    Nobody,
    /// One that stands for a host of these names, the one asked for last first.
    Named(Vec<Box<str>>),
}

/// An assignment, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub realm: Realm,
    pub address: Ipv4Addr,
    pub remote: Remote,
    /// The one asked for last first.
    pub names: Vec<Box<str>>,
    pub sessions: u32,
    /// Milliseconds since it was assigned.
    pub age: u64,
}

/// How much of a realm's pool is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub realm: Realm,
    pub addresses: u32,
    pub assigned: u32,
    pub resting: u32,
}

/// The book, lent to whoever asks. See the module.
pub struct Proxies {
    shared: Arc<flow::Proxies>,
    book: Mutex<Book>,
    /// From here on the book counts its milliseconds.
    epoch: Instant,
    /// Realms where strangers are seen by their own addresses, and hosts behind edges by proxy addresses.
    real: Vec<Realm>,
}

/// Numbers that are looked at for [`Proxies::show`] while nobody else can ask.
const AT_ONCE: u32 = 4096;

impl Proxies {
    /// Nobody has any; a host pays for as many as `per_host` says of its realm.
    pub fn new(bindings: Bindings, per_host: impl Fn(Realm) -> u32, epoch: Instant) -> Self {
        Self {
            shared: bindings.shared().clone(),
            book: Mutex::new(Book::new(bindings, per_host)),
            epoch,
            real: vec![],
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// The same, where hosts of these realms see hosts of the Internet by their own addresses.
    pub fn with_real_strangers(self, realms: Vec<Realm>) -> Self {
        Self { real: realms, ..self }
    }

    /// Whether hosts of that realm see hosts of the Internet by proxy addresses.
    pub fn hides_strangers(&self, realm: Realm) -> bool {
        self.serves(realm) && !self.real.contains(&realm)
    }

    /// Whether hosts of that realm see proxy addresses.
    pub fn serves(&self, realm: Realm) -> bool {
        self.shared.serves(realm)
    }

    /// See [`Book::assign`].
    ///
    /// # Errors
    /// As that.
    pub fn assign(
        &self,
        asker: &Asker,
        remote: Ipv4Addr,
        name: &str,
        ttl: u32,
        now: Instant,
    ) -> Result<Assigned, Refused> {
        let now = self.milliseconds(now);
        self.book().assign(asker, remote, name, ttl, now)
    }

    /// See [`Book::hold`].
    ///
    /// # Errors
    /// As that.
    pub fn hold(&self, asker: &Asker, host: [u8; 16], name: &str, now: Instant) -> Result<Ipv4Addr, Refused> {
        let now = self.milliseconds(now);
        self.book().hold(asker, host, name, now)
    }

    /// See [`Book::let_go`].
    pub fn let_go(&self, realm: Realm, address: Ipv4Addr, now: Instant) {
        let now = self.milliseconds(now);
        self.book().let_go(realm, address, now);
    }

    /// See [`Book::told`].
    pub fn told(&self, realm: Realm, address: Ipv4Addr, name: &str, ttl: u32, now: Instant) {
        let now = self.milliseconds(now);
        self.book().told(realm, address, name, ttl, now);
    }

    /// What an address is in a realm.
    pub fn known(&self, realm: Realm, address: Ipv4Addr) -> Known {
        self.shared.number(realm, address).map_or(Known::Else, |number| self.book().known(number))
    }

    /// Lets time pass: to be called some times a second.
    pub fn turn(&self, now: Instant) {
        let now = self.milliseconds(now);
        self.book().turn(now);
    }

    /// How much is in use, and what has become of questions.
    pub fn figures(&self) -> (Vec<Use>, Counters) {
        let book = self.book();
        (book.in_use().collect(), book.counters().clone())
    }

    /// Calls `take` with every assignment, of one realm or of all, in the order of their addresses; what comes or goes meanwhile may be
    /// missed.
    pub fn show(&self, realm: Option<Realm>, now: Instant, mut take: impl FnMut(Assignment)) {
        let now = self.milliseconds(now);
        let numbers = self.book().numbers(realm);
        let mut next = numbers.start;
        while next < numbers.end {
            let book = self.book();
            let some: Range<u32> = next..numbers.end.min(next + AT_ONCE);
            next = some.end;
            let found: Vec<Assignment> = some.filter_map(|number| book.shown(number, now)).collect();
            drop(book);
            found.into_iter().for_each(&mut take);
        }
    }
}
