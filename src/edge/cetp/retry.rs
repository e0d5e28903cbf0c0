//! A message that is sent until its answer comes.

use super::message::Reason;

/// Milliseconds until the first retransmission; each further one takes twice as long.
pub const FIRST: u64 = 200;
/// How often a message is sent.
pub const TRIES: u8 = 5;
/// Milliseconds after which a message that was sent [`TRIES`] times is given up.
pub const PATIENCE: u64 = FIRST * ((1 << TRIES) - 1);

/// See the module.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The whole message; a sealed one is sealed anew each time.
    pub bytes: Vec<u8>,
    pub transaction: u16,
    /// When it is to be sent again, in milliseconds.
    pub due: u64,
    tries: u8,
}

impl Sending {
    /// It was sent just now.
    pub fn new(bytes: Vec<u8>, transaction: u16, now: u64) -> Sending {
        Sending { bytes, transaction, due: now + FIRST, tries: 1 }
    }

    /// How often it was sent.
    pub const fn tries(&self) -> u8 {
        self.tries
    }

    /// It is due: whether it is to be sent again.
    ///
    /// # Errors
    /// [`Reason::SILENT`]: it was sent often enough.
    pub fn again(&mut self, now: u64) -> Result<(), Reason> {
        if self.tries == TRIES {
            return Err(Reason::SILENT);
        }
        self.due = now + (FIRST << self.tries);
        self.tries += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_after_its_patience() {
        let mut sending = Sending::new(Vec::new(), 1, 1000);
        let mut sent = 1;
        while sending.again(sending.due).is_ok() {
            sent += 1;
        }
        assert_eq!((sent, sending.due), (TRIES, 1000 + PATIENCE));
    }
}
