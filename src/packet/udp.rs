//! UDP (RFC 768).

use super::{
    Error, Protocol, PseudoHeader,
    checksum::{Delta, udp_on_wire},
};

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 8;

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads a whole datagram from an IP payload; what follows its length is left out.
    ///
    /// Errors: [`Error::L4HeaderInvalid`] if the header is cut short, or its length is under 8 or beyond the end.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::L4HeaderInvalid)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let payload = bytes.get(HEADER_LENGTH..length).ok_or(Error::L4HeaderInvalid)?;
        Ok(Udp { header, payload })
    }

    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Bytes of the datagram, its header included.
    pub fn length(&self) -> usize {
        HEADER_LENGTH + self.payload.len()
    }

    /// In the order of memory: see [`super::checksum`]. 0 says that there is none.
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.header[6], self.header[7]])
    }

    /// Does the datagram sum up? A missing checksum is right over IPv4, and wrong over IPv6 (RFC 8200 section 8.1).
    pub fn checksum_is_right(&self, pseudo_header: &PseudoHeader) -> bool {
        if self.checksum() == 0 {
            return matches!(pseudo_header, PseudoHeader::V4 { .. });
        }
        pseudo_header.sum(Protocol::UDP, self.length()).and(self.header).and(self.payload).is_right()
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub fn header(&self) -> Header {
        Header { source_port: self.source_port(), destination_port: self.destination_port() }
    }
}

/// A UDP header to change in place. Every setter keeps the checksum right if it was, and absent if it was.
#[derive(Debug)]
pub struct UdpMut<'a> {
    header: &'a mut [u8; HEADER_LENGTH],
    payload: &'a mut [u8],
}

impl<'a> UdpMut<'a> {
    /// Errors: as [`Udp::parse`].
    #[inline]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let length = Udp::parse(bytes)?.length();
        let datagram = bytes.get_mut(..length).ok_or(Error::L4HeaderInvalid)?;
        let (header, payload) = datagram.split_first_chunk_mut().ok_or(Error::L4HeaderInvalid)?;
        Ok(UdpMut { header, payload })
    }

    pub fn view(&self) -> Udp<'_> {
        Udp { header: self.header, payload: self.payload }
    }

    pub fn set_source_port(&mut self, port: u16) {
        self.replace(0, port);
    }

    pub fn set_destination_port(&mut self, port: u16) {
        self.replace(2, port);
    }

    /// For a change elsewhere in what the checksum covers: an address, or the payload.
    pub fn adjust_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply_udp(self.view().checksum());
        self.header[6..8].copy_from_slice(&checksum.to_ne_bytes());
    }

    fn replace(&mut self, at: usize, new: u16) {
        let field = &mut self.header[at..at + 2];
        let delta = Delta::between(field, &new.to_be_bytes());
        field.copy_from_slice(&new.to_be_bytes());
        self.adjust_checksum(delta);
    }
}

/// A UDP header as a value; its length and checksum follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub source_port: u16,
    pub destination_port: u16,
}

impl Header {
    /// Writes a datagram, checksum included, at the start of `buffer`; returns its length.
    ///
    /// Errors: [`Error::BufferTooSmall`], [`Error::TooLong`] over 65,535 bytes.
    pub fn emit(
        &self,
        buffer: &mut [u8],
        pseudo_header: &PseudoHeader,
        payload: &[u8],
    ) -> Result<usize, Error> {
        let length = HEADER_LENGTH + payload.len();
        let announced = u16::try_from(length).map_err(|_| Error::TooLong)?;
        let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let (header, rest) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        header[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..6].copy_from_slice(&announced.to_be_bytes());
        header[6..8].fill(0);
        rest.copy_from_slice(payload);
        let checksum = pseudo_header.sum(Protocol::UDP, length).and(header).and(payload).checksum();
        header[6..8].copy_from_slice(&udp_on_wire(checksum).to_ne_bytes());
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn lengths_that_contradict_are_refused() {
        let datagram = |length| [0, 1, 0, 2, 0, length, 0, 0, 0xaa, 0xbb];
        assert_eq!(Udp::parse(&datagram(7)).err(), Some(Error::L4HeaderInvalid));
        assert_eq!(Udp::parse(&datagram(11)).err(), Some(Error::L4HeaderInvalid));
        assert_eq!(Udp::parse(&datagram(8)).unwrap().payload(), [0u8; 0]);
        assert_eq!(Udp::parse(&datagram(9)).unwrap().payload(), [0xaa], "what follows is padding");
    }

    #[test]
    fn a_missing_checksum_is_right_over_ipv4_and_stays_missing() {
        let (four, six) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let mut datagram = [0, 1, 0, 2, 0, 8, 0, 0];
        let mut view = UdpMut::parse(&mut datagram).unwrap();
        view.set_source_port(9);
        assert_eq!(view.view().header(), Header { source_port: 9, destination_port: 2 });
        assert!(view.view().checksum_is_right(&PseudoHeader::V4 { source: four, destination: four }));
        assert!(!view.view().checksum_is_right(&PseudoHeader::V6 { source: six, destination: six }));
    }
}
