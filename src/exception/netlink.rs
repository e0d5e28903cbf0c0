//! The kernel's routing socket: a request and its answer at a time (RFC 3549).
//!
//! Guarantees: a request returns when the kernel has carried it out or refused it. Belongs to the network namespace of the
//! thread that opens it, wherever it is used. Never sends anything to other than the kernel.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::constants::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// The kernel's dumps come in datagrams of at most 32 KiB.
const DATAGRAM_MAX: usize = 32_768;

/// The length field of a message, with which it begins.
const LENGTH_BYTES: usize = 4;

/// What a datagram said about the request at hand.
enum Progress {
    More,
    Done,
}

pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket, sequence: 0, received: vec![0; DATAGRAM_MAX] })
    }

    /// Has the kernel carry out `message`.
    pub(super) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, flags | NLM_F_ACK, &mut |_| {})
    }

    /// All that the kernel has of what `message` asks for.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut found = Vec::new();
        self.exchange(message, NLM_F_DUMP, &mut |answer| found.push(answer))?;
        Ok(found)
    }

    /// The one thing that `message` asks for.
    pub(super) fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut found = None;
        self.exchange(message, NLM_F_ACK, &mut |answer| found = Some(answer))?;
        Ok(found)
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        answer: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let length = match self.socket.recv(&mut &mut self.received[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?.min(DATAGRAM_MAX),
            };
            if let Progress::Done = read(&self.received[..length], self.sequence, answer)? {
                return Ok(());
            }
        }
    }
}

/// Reads the messages of a datagram. Those of another request, and what the crate cannot read, are passed over.
fn read(
    mut datagram: &[u8],
    sequence: u32,
    answer: &mut dyn FnMut(RouteNetlinkMessage),
) -> io::Result<Progress> {
    while let Some(length) = datagram.first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_ne_bytes(*length) as usize;
        if length < LENGTH_BYTES || length > datagram.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (message, _) = datagram.split_at(length);
        datagram = &datagram[length.next_multiple_of(LENGTH_BYTES).min(datagram.len())..];
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else {
            continue;
        };
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(Progress::Done),
            NetlinkPayload::InnerMessage(inner) => answer(inner),
            _ => {}
        }
    }
    Ok(Progress::More)
}
