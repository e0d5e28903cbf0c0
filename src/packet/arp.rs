//! ARP for IPv4 over Ethernet (RFC 826). A message is 28 bytes, so it is parsed into a value.

use super::{Error, MacAddr};
use std::net::Ipv4Addr;

/// Bytes of a message.
pub const LENGTH: usize = 28;
/// Hardware type Ethernet, protocol type IPv4, and their address lengths.
const FIXED: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Request,
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp {
    pub operation: Operation,
    pub sender_mac: MacAddr,
    pub sender_ip: Ipv4Addr,
    /// Means nothing in a request.
    pub target_mac: MacAddr,
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads a message; padding may follow it.
    ///
    /// Errors: [`Error::Truncated`] under 28 bytes; [`Error::ArpInvalid`] for other hardware, protocols or operations.
    pub fn parse(payload: &[u8]) -> Result<Arp, Error> {
        let message: &[u8; LENGTH] = payload.first_chunk().ok_or(Error::Truncated)?;
        let [fixed @ .., _, _] = *message.first_chunk::<8>().ok_or(Error::Truncated)?;
        if fixed != FIXED {
            return Err(Error::ArpInvalid);
        }
        let operation = match [message[6], message[7]] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(Error::ArpInvalid),
        };
        let mac = |at: usize| MacAddr(std::array::from_fn(|i| message[at + i]));
        let ip = |at: usize| Ipv4Addr::from_octets(std::array::from_fn(|i| message[at + i]));
        Ok(Arp { operation, sender_mac: mac(8), sender_ip: ip(14), target_mac: mac(18), target_ip: ip(24) })
    }

    /// Who has `target_ip`? Asked by all stations' address, or by the station's own to confirm that it still has it.
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Arp {
        Arp { operation: Operation::Request, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip }
    }

    /// The answer to this request: `mac` has the address that it asks for.
    #[must_use]
    pub const fn reply(&self, mac: MacAddr) -> Arp {
        Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// A probe asks before its sender has an address (RFC 5227 section 2.1.1): there is nothing to learn from it.
    pub const fn is_probe(&self) -> bool {
        matches!(self.operation, Operation::Request) && self.sender_ip.is_unspecified()
    }

    /// Writes the message at the start of `buffer`; returns its length. Errors: [`Error::BufferTooSmall`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let message: &mut [u8; LENGTH] = buffer.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
        message[0..6].copy_from_slice(&FIXED);
        message[6..8].copy_from_slice(match self.operation {
            Operation::Request => &[0, 1],
            Operation::Reply => &[0, 2],
        });
        message[8..14].copy_from_slice(&self.sender_mac.0);
        message[14..18].copy_from_slice(&self.sender_ip.octets());
        message[18..24].copy_from_slice(&self.target_mac.0);
        message[24..28].copy_from_slice(&self.target_ip.octets());
        Ok(LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hardware_protocols_and_operations_are_refused() {
        let mut message = [0; LENGTH];
        let asker = MacAddr([2, 0, 0, 0, 0, 1]);
        let request = Arp::request(asker, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        request.emit(&mut message).unwrap();
        assert_eq!(Arp::parse(&message), Ok(request));
        for at in 0..8 {
            let mut wrong = message;
            wrong[at] ^= 0x40;
            assert_eq!(Arp::parse(&wrong), Err(Error::ArpInvalid), "byte {at}");
        }
        assert_eq!(Arp::parse(&message[..27]), Err(Error::Truncated));
    }

    #[test]
    fn a_reply_goes_back_and_a_probe_teaches_nothing() {
        let (asker, owner) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let request = Arp::request(asker, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 0, 0, 2));
        let reply = request.reply(owner);
        assert!(request.is_probe() && !reply.is_probe());
        assert_eq!((reply.sender_mac, reply.sender_ip), (owner, request.target_ip));
        assert_eq!((reply.target_mac, reply.target_ip), (asker, request.sender_ip));
    }
}
