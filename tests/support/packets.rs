//! IPv4 packets as values: what a test sends, and what it must see after translation, built in full by `packet::build`.

use std::net::Ipv4Addr;

use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{IcmpType, MacAddr, Protocol, TcpFlags, icmp, ipv4, tcp, udp};

/// An address with its port; of an echo, with its identifier.
pub type End = (Ipv4Addr, u16);

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    Udp {
        /// Sent without a checksum (RFC 768).
        unsummed: bool,
    },
    Tcp {
        flags: TcpFlags,
        options: Vec<u8>,
    },
    /// Of an echo one end has the identifier, and the other 0.
    EchoRequest {
        sequence: u16,
    },
    EchoReply {
        sequence: u16,
    },
    /// Any protocol, as it is.
    Raw(u8),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: End,
    pub destination: End,
    pub carried: Carried,
    pub payload: Vec<u8>,
    pub ttl: u8,
    /// Survives translation, so it tells which packet this was.
    pub identification: u16,
    pub ip_options: Vec<u8>,
    /// What follows the packet in its frame.
    pub trailer: Vec<u8>,
}

impl Packet {
    pub fn new(source: End, destination: End, carried: Carried, payload: &[u8]) -> Packet {
        Packet {
            source,
            destination,
            carried,
            payload: payload.to_vec(),
            ttl: 64,
            identification: 0,
            ip_options: vec![],
            trailer: vec![],
        }
    }

    /// The frame, its lengths and checksums computed from nothing.
    pub fn frame(&self, from: MacAddr, to: MacAddr) -> Vec<u8> {
        let (protocol, payload) = (self.protocol(), &self.payload[..]);
        let echo = |kind, sequence| {
            let identifier = self.source.1 | self.destination.1;
            Transport::Icmp(icmp::Header::echo(kind, icmp::Echo { identifier, sequence }), payload)
        };
        let transport = match &self.carried {
            Carried::Udp { .. } => Transport::Udp(
                udp::Header { source_port: self.source.1, destination_port: self.destination.1 },
                payload,
            ),
            Carried::Tcp { flags, options } => Transport::Tcp(
                tcp::Header {
                    sequence: 0x1234_5678,
                    options,
                    ..tcp::Header::new(self.source.1, self.destination.1, *flags)
                },
                payload,
            ),
            Carried::EchoRequest { sequence } => echo(IcmpType::ECHO_REQUEST, *sequence),
            Carried::EchoReply { sequence } => echo(IcmpType::ECHO_REPLY, *sequence),
            Carried::Raw(_) => Transport::Raw(payload),
        };
        let header = ipv4::Header {
            ttl: self.ttl,
            identification: self.identification,
            options: &self.ip_options,
            ..ipv4::Header::new(self.source.0, self.destination.0, protocol)
        };
        let mut frame = vec![0; 200 + payload.len()];
        let length = build::frame(&mut frame, &Path::untagged(from, to), &Ip::V4(header), &transport)
            .expect("a packet that fits");
        frame.truncate(length);
        if self.carried == (Carried::Udp { unsummed: true }) {
            let at = 14 + header.length() + 6;
            frame[at..at + 2].fill(0);
        }
        frame.extend(&self.trailer);
        frame
    }

    fn protocol(&self) -> Protocol {
        match self.carried {
            Carried::Udp { .. } => Protocol::UDP,
            Carried::Tcp { .. } => Protocol::TCP,
            Carried::EchoRequest { .. } | Carried::EchoReply { .. } => Protocol::ICMP,
            Carried::Raw(number) => Protocol(number),
        }
    }
}
