//! Between the workers and the thread that has the circular pool: first packets up, what becomes of them down, and what is told of
//! sessions. Three rings for each worker, each with one writer and one reader.
//!
//! Packets cross as bytes ([`super::frames`]); what is to be done with one stands before it in the same record, so that the two
//! are never parted. Guarantees: as there; any bytes read as something or nothing, never as a panic.

use super::frames::{FrameReceiver, FrameSender, frames};
use crate::flow::{Key4, Realm, SessionEvent};
use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, RingBuffer};
use std::net::Ipv4Addr;

/// How a first packet came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The index of its interface.
    pub interface: u16,
    /// On its second leg: its source is translated, and its way back another.
    pub hairpin: bool,
    /// It opens a connection anew that its worker, the home of it, knows as closing.
    pub closing: bool,
}

const HAIRPIN: u16 = 1;
const CLOSING: u16 = 2;
/// In the class of a command its kind stands above the flags.
const KIND: u32 = 8;

impl Entrance {
    fn flags(self) -> u16 {
        (if self.hairpin { HAIRPIN } else { 0 }) | if self.closing { CLOSING } else { 0 }
    }

    fn new(interface: u16, flags: u16) -> Self {
        Self { interface, hairpin: flags & HAIRPIN != 0, closing: flags & CLOSING != 0 }
    }
}

/// What a worker is to do; with the packet that comes along, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Its host's home: makes the session of packets of `key` with that host, unless there is one, and forwards the packet.
    Install { key: Key4, realm: Realm, host: Ipv4Addr },
    /// Refuses the packet.
    Reject,
    /// Forwards the packet by its session, closing as it is; without one it is refused.
    Pass,
    /// Ends the session of packets of `key` if it is closing. There is no packet.
    Release { key: Key4 },
}

/// Bytes of a command before its packet: key 16, host 4, realm 2.
const HEAD: usize = 22;

impl Command {
    fn encode(self) -> (u16, [u8; HEAD]) {
        let nothing = (Key4::default(), Ipv4Addr::UNSPECIFIED, Realm(0));
        let (kind, (key, host, realm)) = match self {
            Self::Install { key, realm, host } => (0, (key, host, realm)),
            Self::Reject => (1, nothing),
            Self::Pass => (2, nothing),
            Self::Release { key } => (3, (key, nothing.1, nothing.2)),
        };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&key.addresses.to_le_bytes());
        head[8..16].copy_from_slice(&key.tail.to_le_bytes());
        head[16..20].copy_from_slice(&host.octets());
        head[20..].copy_from_slice(&realm.0.to_le_bytes());
        (kind << KIND, head)
    }

    fn decode(class: u16, head: &[u8; HEAD]) -> Option<Self> {
        let word = |at: usize| head[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let key = Key4 { addresses: word(0), tail: word(8) };
        let host = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
        let realm = Realm(u16::from_le_bytes([head[20], head[21]]));
        match class >> KIND {
            0 => Some(Self::Install { key, realm, host }),
            1 => Some(Self::Reject),
            2 => Some(Self::Pass),
            3 => Some(Self::Release { key }),
            _ => None,
        }
    }
}

/// A worker's ends.
pub struct WorkerEnds {
    pub first_packets: FirstPacketSender,
    pub commands: CommandReceiver,
    pub events: Producer<SessionEvent>,
}

/// The other ends, of that worker.
pub struct DeskEnds {
    pub first_packets: FirstPacketReceiver,
    pub commands: CommandSender,
    pub events: Consumer<SessionEvent>,
}

/// The rings of one worker: `bytes` of packets in each direction, and so many `events`.
pub fn rings(bytes: usize, events: usize) -> (WorkerEnds, DeskEnds) {
    let (up, up_end) = frames(bytes);
    let (down, down_end) = frames(bytes);
    let (tell, hear) = RingBuffer::new(events);
    let worker = WorkerEnds {
        first_packets: FirstPacketSender(up),
        commands: CommandReceiver(down_end),
        events: tell,
    };
    let desk =
        DeskEnds { first_packets: FirstPacketReceiver(up_end), commands: CommandSender(down), events: hear };
    (worker, desk)
}

/// First packets on their way up.
#[derive(Debug)]
pub struct FirstPacketSender(FrameSender);

/// Bytes of a first packet before its frame: the ports of its datagram.
const PORTS: usize = 4;
/// Segments of a packet that crosses, and what stands before them.
const SEGMENTS: usize = 17;

impl FirstPacketSender {
    /// Sends a frame, given in segments; false where it does not fit. `ports` are those of its datagram, for a fragment that has
    /// none itself.
    #[must_use = "a frame that did not fit is a drop to be counted"]
    pub fn push<'a>(
        &mut self,
        entrance: Entrance,
        ports: u32,
        segments: impl IntoIterator<Item = &'a [u8]>,
    ) -> bool {
        let ports = ports.to_le_bytes();
        let mut parts = ArrayVec::<&[u8], SEGMENTS>::new();
        parts.push(&ports);
        let is_whole = segments.into_iter().all(|segment| parts.try_push(segment).is_ok());
        is_whole && self.0.push(entrance.interface, entrance.flags(), &parts)
    }

    /// As [`FrameSender::wake`].
    #[inline]
    pub fn wake(&mut self) -> bool {
        self.0.wake()
    }
}

/// The other end.
#[derive(Debug)]
pub struct FirstPacketReceiver(FrameReceiver);

impl FirstPacketReceiver {
    /// As [`FrameReceiver::wakes_me`].
    pub fn wakes_me(&self) {
        self.0.wakes_me();
    }

    /// Copies the next frame to the start of `buffer`; returns the ports of its datagram, and its length there.
    pub fn pop(&mut self, buffer: &mut [u8]) -> Option<(Entrance, u32, usize)> {
        self.0.pop_with(|header, first, second| {
            let ports = split::<PORTS>(first, second, buffer).map_or(0, u32::from_le_bytes);
            let length = usize::from(header.length).saturating_sub(PORTS).min(buffer.len());
            (Entrance::new(header.tag, header.class), ports, length)
        })
    }
}

/// The head of a record that lies in two parts, if it is whole; what follows it is copied to the start of `room`, as far as it fits.
fn split<const N: usize>(first: &[u8], second: &[u8], room: &mut [u8]) -> Option<[u8; N]> {
    let in_first = first.len().min(N);
    let in_second = second.len().min(N - in_first);
    let (head, first) = first.split_at(in_first);
    let (rest_of_head, second) = second.split_at(in_second);
    let middle = first.len().min(room.len());
    room[..middle].copy_from_slice(&first[..middle]);
    let end = second.len().min(room.len() - middle);
    room[middle..middle + end].copy_from_slice(&second[..end]);
    let mut whole = [0; N];
    whole[..in_first].copy_from_slice(head);
    whole[in_first..in_first + in_second].copy_from_slice(rest_of_head);
    (in_first + in_second == N).then_some(whole)
}

/// Commands on their way down.
#[derive(Debug)]
pub struct CommandSender(FrameSender);

impl CommandSender {
    /// Sends a command with the frame that it is about; false, and nothing is sent, where it does not fit.
    #[must_use = "a command that did not fit is a drop to be counted"]
    pub fn push(&mut self, command: Command, entrance: Entrance, frame: &[u8]) -> bool {
        let (class, head) = command.encode();
        self.0.push(entrance.interface, class | entrance.flags(), &[&head, frame])
    }

    /// As [`FrameSender::wake`].
    pub fn wake(&mut self) -> bool {
        self.0.wake()
    }
}

/// The other end.
#[derive(Debug)]
pub struct CommandReceiver(FrameReceiver);

impl CommandReceiver {
    /// As [`FrameReceiver::wakes_me`].
    pub fn wakes_me(&self) {
        self.0.wakes_me();
    }

    /// Bytes of the frame that comes with the next command, 0 where none does.
    pub fn peek(&mut self) -> Option<usize> {
        self.0.peek().map(|header| usize::from(header.length).saturating_sub(HEAD))
    }

    /// Takes the next command; its frame is copied to the start of `room`, as far as it fits. `None` where there is none;
    /// the command is `None` where it is none of ours.
    pub fn pop(&mut self, room: &mut [u8]) -> Option<(Option<Command>, Entrance)> {
        self.0.pop_with(|header, first, second| {
            let head = split::<HEAD>(first, second, room);
            let command = head.and_then(|head| Command::decode(header.class, &head));
            (command, Entrance::new(header.tag, header.class))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> [Command; 4] {
        let key = Key4::from_wire([198, 51, 100, 7, 203, 0, 113, 9], [1, 2, 3, 4], Realm(9), 6);
        [
            Command::Install { key, realm: Realm(0x1234), host: Ipv4Addr::new(10, 1, 2, 3) },
            Command::Reject,
            Command::Pass,
            Command::Release { key },
        ]
    }

    #[test]
    fn commands_arrive_as_they_were_sent_with_their_frames_wherever_the_ring_wraps() {
        let (mut worker, mut desk) = rings(10_000, 1);
        let mut room = [0; 64];
        for round in 0..3000_u16 {
            let command = commands()[usize::from(round % 4)];
            let flags = (round & 4 != 0, round & 8 != 0);
            let entrance = Entrance { interface: round, hairpin: flags.0, closing: flags.1 };
            let frame: Vec<u8> = (0..round % 61).map(|i| (i + round) as u8).collect();
            assert!(desk.commands.push(command, entrance, &frame));
            assert_eq!(worker.commands.peek(), Some(frame.len()));
            assert_eq!(worker.commands.pop(&mut room), Some((Some(command), entrance)));
            assert_eq!(room[..frame.len()], frame);
            let (halves, ports) = (frame.split_at(frame.len() / 2), u32::from(round) << 7);
            assert!(worker.first_packets.push(entrance, ports, [halves.0, halves.1]));
            assert_eq!(desk.first_packets.pop(&mut room), Some((entrance, ports, frame.len())));
            assert_eq!(room[..frame.len()], frame);
        }
        assert_eq!(worker.commands.pop(&mut room), None);
    }

    #[test]
    fn what_is_no_command_is_none() {
        let (sender, receiver) = frames(10_000);
        let (mut sender, mut commands) = (sender, CommandReceiver(receiver));
        for (class, bytes) in [(4 << KIND, [0; HEAD].as_slice()), (0, &[0; HEAD - 1]), (0, &[])] {
            assert!(sender.push(7, class, &[bytes]));
            assert_eq!(commands.peek(), Some(0));
            let entrance = Entrance { interface: 7, ..Entrance::default() };
            assert_eq!(commands.pop(&mut []), Some((None, entrance)));
        }
    }
}
