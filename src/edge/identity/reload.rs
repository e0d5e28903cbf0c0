//! The authorities' files, read anew from time to time: who is revoked meanwhile is not believed for long.
//!
//! Guarantees: a file that cannot be read changes nothing about who is believed; the caller is told why, and all are read again when it
//! is time. Never: reads a clock.

use super::load::{self, Error};
use super::{Authorities, REMEMBERED};
use crate::config::CetpIdentity;

/// Milliseconds between two readings: as long as a validated chain is remembered.
pub const PERIOD: u64 = REMEMBERED * 1000;

/// When they were read last.
pub struct Reload {
    last: u64,
}

impl Reload {
    /// They were read at `now`, in milliseconds.
    pub fn new(now: u64) -> Reload {
        Reload { last: now }
    }

    /// Who is believed from now on; `None` until it is time.
    ///
    /// # Errors
    /// Which file is wrong: whoever is believed stays so.
    pub fn turn(&mut self, config: &CetpIdentity, now: u64) -> Option<Result<Authorities, Error>> {
        if now.saturating_sub(self.last) < PERIOD {
            return None;
        }
        self.last = now;
        Some(load::authorities(config))
    }
}
