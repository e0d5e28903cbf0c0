//! What a reservation is for: all of an address, or one service on it.
//!
//! Never: knows an address or a name.

/// A port and a protocol, either of which may be any. A packet without ports (ICMP) has port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// 0 is any.
    pub port: u16,
    /// IANA protocol number; 0, which no transport has on IPv4, is any.
    pub protocol: u8,
}

impl Service {
    /// Of a plain FQDN: whatever comes.
    pub const ALL: Self = Self { port: 0, protocol: 0 };

    /// Of a service FQDN.
    pub const fn new(port: u16, protocol: u8) -> Self {
        Self { port, protocol }
    }

    /// Whether there is a packet that is for both: then the two never wait on one address.
    ///
    /// The prototype lets (port, any protocol) wait beside (any port, protocol). A packet of that port and protocol is for
    /// either, and the order of the look-up would give it to one of two hosts by chance, so here those conflict as well.
    pub const fn overlaps(self, other: Self) -> bool {
        (self.port == 0 || other.port == 0 || self.port == other.port)
            && (self.protocol == 0 || other.protocol == 0 || self.protocol == other.protocol)
    }

    /// Where a first packet looks, in this order: its port and protocol, its port, its protocol, all of the address.
    pub const fn look_up_order(port: u16, protocol: u8) -> [Self; 4] {
        [Self::new(port, protocol), Self::new(port, 0), Self::new(0, protocol), Self::ALL]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_conflicts() {
        let (https, quic) = (Service::new(443, 6), Service::new(443, 17));
        let (ssh, port_443, tcp) = (Service::new(22, 6), Service::new(443, 0), Service::new(0, 6));
        for (a, b, expected) in [
            (Service::ALL, https, true),
            (Service::ALL, Service::ALL, true),
            (https, https, true),
            (https, port_443, true),
            (https, tcp, true),
            (port_443, tcp, true),
            (https, quic, false),
            (https, ssh, false),
            (quic, tcp, false),
            (ssh, port_443, false),
        ] {
            assert_eq!(a.overlaps(b), expected, "{a:?} and {b:?}");
            assert_eq!(b.overlaps(a), expected, "{b:?} and {a:?}");
        }
    }
}
