//! Session tags, out of the table in which workers find sessions by them.
//!
//! Guarantees: what was reserved is released, or has a session. Never: gives out a tag twice while somebody may still know it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::edge::cetp::message::Tag;
use crate::edge::cetp::terms::Tags;
use crate::flow::tunnel::Tunnels;

/// The one writer of tunnels, lent to the protocol for its tags: one thread has both, so that nobody ever waits.
#[derive(Clone)]
pub struct Table(Arc<Mutex<Tunnels>>);

impl Table {
    pub fn new(tunnels: Tunnels) -> Table {
        Table(Arc::new(Mutex::new(tunnels)))
    }

    pub fn lock(&self) -> MutexGuard<'_, Tunnels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tags for Table {
    fn reserve(&mut self) -> Option<Tag> {
        self.lock().reserve().ok().and_then(Tag::new)
    }

    /// Where it has a session that is taken out by whoever hears of its end.
    fn release(&mut self, tag: Tag) {
        self.lock().release(tag.get());
    }
}
