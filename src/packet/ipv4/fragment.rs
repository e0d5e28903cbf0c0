//! Cutting an IPv4 packet into fragments (RFC 791 section 3.2, RFC 1812 section 4.2.2.7).
//!
//! Guaranteed: every fragment fits the MTU and has a right header checksum; all but the last carry a multiple of 8 bytes; put
//! together again they are the packet, which may have been a fragment itself. A packet that fits is its own only fragment.
//! Never: verifies the packet's header checksum, which the caller has done; cuts a packet that forbids it.

use super::{Header, Ipv4, MAX_OPTIONS};
use crate::packet::{DropReason, Error};

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the packet says \"don't fragment\": drop it and tell its sender the MTU (RFC 1191)")]
    DontFragment,
    #[error(
        "the MTU has no room for this header and 8 bytes: give the interface one of 68 or more (RFC 791)"
    )]
    MtuTooSmall,
    #[error("the options contradict themselves, so which to copy is not known: drop the packet")]
    OptionsMalformed,
    #[error("the fragment ends beyond the longest packet there is: drop it as hostile")]
    TooLong,
}

impl Refused {
    /// The counter under which such a packet is dropped.
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Refused::DontFragment => DropReason::PacketTooBig,
            Refused::OptionsMalformed => DropReason::Ipv4HeaderInvalid,
            Refused::MtuTooSmall | Refused::TooLong => DropReason::FragmentationFailed,
        }
    }
}

/// The fragments of a packet, written one after the other.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    packet: Ipv4<'a>,
    mtu: usize,
    /// Bytes of the payload that have been written.
    written: usize,
    is_done: bool,
    /// The options that every fragment has (RFC 791: those with the copied flag), padded.
    copied: [u8; MAX_OPTIONS],
    copied_length: usize,
}

impl<'a> Fragments<'a> {
    /// Prepares to cut `packet` to at most `mtu` bytes each, headers included.
    ///
    /// # Errors
    /// [`Refused`]; never for a packet that fits.
    pub fn new(packet: &Ipv4<'a>, mtu: usize) -> Result<Self, Refused> {
        let mut fragments = Self {
            packet: *packet,
            mtu,
            written: 0,
            is_done: false,
            copied: [0; MAX_OPTIONS],
            copied_length: 0,
        };
        let (header, payload) = (packet.header_length(), packet.payload().len());
        if header + payload <= mtu {
            return Ok(fragments);
        }
        if packet.dont_fragment() {
            return Err(Refused::DontFragment);
        }
        if header + 8 > mtu {
            return Err(Refused::MtuTooSmall);
        }
        if usize::from(packet.fragment_offset()) + payload > usize::from(u16::MAX) {
            return Err(Refused::TooLong);
        }
        fragments.copy_options()?;
        Ok(fragments)
    }

    fn copy_options(&mut self) -> Result<(), Refused> {
        const COPIED: u8 = 0x80;
        let mut at = 0;
        for option in self.packet.options() {
            let option = option.map_err(|_| Refused::OptionsMalformed)?;
            if option.kind & COPIED == 0 {
                continue;
            }
            let length = option.data.len() + 2;
            // Those copied are among the header's options: they fit as those do.
            let room = self.copied.get_mut(at..at + length).ok_or(Refused::OptionsMalformed)?;
            room[0] = option.kind;
            room[1] = length as u8;
            room[2..].copy_from_slice(option.data);
            at += length;
        }
        self.copied_length = at.next_multiple_of(4);
        Ok(())
    }

    /// Writes the next fragment at the start of `buffer`; returns its length, or none when all have been written. After an
    /// error the same fragment is the next again.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`]: one of `mtu` bytes never is.
    pub fn write_next(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let whole = self.packet.header();
        let is_first = self.written == 0;
        let options = if is_first { whole.options } else { &self.copied[..self.copied_length] };
        let rest = self.packet.payload().get(self.written..).unwrap_or(&[]);
        let room = self.mtu.saturating_sub(super::HEADER_LENGTH + options.len());
        let is_last = rest.len() <= room;
        let part = if is_last { rest } else { &rest[..room & !7] };
        let header = Header {
            options,
            more_fragments: whole.more_fragments || !is_last,
            fragment_offset: whole.fragment_offset.wrapping_add(self.written as u16),
            ..whole
        };
        let length = header.length() + part.len();
        let fragment = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let at = header.emit(fragment, part.len())?;
        fragment[at..].copy_from_slice(part);
        self.written += part.len();
        self.is_done = is_last;
        Ok(Some(length))
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
