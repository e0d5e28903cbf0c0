//! TCP (RFC 9293 section 3.1): header, flags, options.

use super::{Error, Protocol, PseudoHeader, checksum::Delta, options::RawOptions};
use std::{fmt, ops::BitOr};

/// Bytes of a header without options.
pub const HEADER_LENGTH: usize = 20;
/// Bytes of options that a header can hold.
pub const MAX_OPTIONS: usize = 40;

/// A set of control bits, as byte 13 of the header has them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const NONE: TcpFlags = TcpFlags(0);
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement number counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer counts.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// Congestion echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// Are all of `flags` in the set?
    pub const fn contains(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Is any of `flags` in the set?
    pub const fn intersects(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Does some stack send such a segment? Not without any of the six flags of RFC 9293 section 3.1, with SYN and FIN, with
    /// SYN and RST, or with FIN and no ACK: those are a scanner's. The two of RFC 3168 don't matter.
    pub const fn is_sane(self) -> bool {
        let syn_and_end = self.contains(Self::SYN) && self.intersects(TcpFlags(Self::FIN.0 | Self::RST.0));
        let bare_fin = self.contains(Self::FIN) && !self.contains(Self::ACK);
        self.0 & LOW_SIX != 0 && !syn_and_end && !bare_fin
    }

    /// SYN without ACK, RST and FIN: the segment that starts a connection.
    pub const fn starts_connection(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

/// The flags of RFC 9293.
const LOW_SIX: u8 = 0x3f;

/// [`TcpFlags::is_sane`] as a table, for the fast path: bit `flags & 63`.
pub const TCP_SANE: u64 = {
    let (mut table, mut flags) = (0, 0);
    while flags <= LOW_SIX {
        table |= (TcpFlags(flags).is_sane() as u64) << flags;
        flags += 1;
    }
    table
};

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut set = f.debug_set();
        for (_, name) in names.into_iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1) {
            set.entry(&format_args!("{name}"));
        }
        set.finish()
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    header: &'a [u8; HEADER_LENGTH],
    options: &'a [u8],
    payload: &'a [u8],
}

/// Bytes of the header that starts `bytes`, options included, which are all there.
#[inline]
fn header_length(bytes: &[u8]) -> Result<usize, Error> {
    let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::L4HeaderInvalid)?;
    let length = usize::from(header[12] >> 4) * 4;
    if length < HEADER_LENGTH || length > bytes.len() {
        return Err(Error::L4HeaderInvalid);
    }
    Ok(length)
}

impl<'a> Tcp<'a> {
    /// Reads a segment from a whole IP payload.
    ///
    /// Errors: [`Error::L4HeaderInvalid`] if the header is cut short, or its data offset is under 20 bytes or beyond the end.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) =
            bytes.split_at_checked(header_length(bytes)?).ok_or(Error::L4HeaderInvalid)?;
        let (header, options) = header.split_first_chunk().ok_or(Error::L4HeaderInvalid)?;
        Ok(Tcp { header, options, payload })
    }

    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }

    pub fn acknowledgement(&self) -> u32 {
        u32::from_be_bytes([self.header[8], self.header[9], self.header[10], self.header[11]])
    }

    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.header[13])
    }

    /// As sent: not yet scaled (RFC 7323 section 2).
    pub fn window(&self) -> u16 {
        u16::from_be_bytes([self.header[14], self.header[15]])
    }

    pub fn urgent_pointer(&self) -> u16 {
        u16::from_be_bytes([self.header[18], self.header[19]])
    }

    /// In the order of memory: see [`super::checksum`].
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.header[16], self.header[17]])
    }

    pub fn checksum_is_right(&self, pseudo_header: &PseudoHeader) -> bool {
        let length = self.header_length() + self.payload.len();
        let sum = pseudo_header.sum(Protocol::TCP, length);
        sum.and(self.header).and(self.options).and(self.payload).is_right()
    }

    /// Bytes of the header, options included: 20 to 60.
    pub fn header_length(&self) -> usize {
        HEADER_LENGTH + self.options.len()
    }

    pub fn options(&self) -> Options<'a> {
        Options(RawOptions::new(self.options))
    }

    /// The maximum segment size that it announces, if it does.
    pub fn maximum_segment_size(&self) -> Option<u16> {
        self.options().map_while(Result::ok).find_map(|option| match option {
            TcpOption::MaximumSegmentSize(mss) => Some(mss),
            _ => None,
        })
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub fn header(&self) -> Header<'a> {
        Header {
            source_port: self.source_port(),
            destination_port: self.destination_port(),
            sequence: self.sequence(),
            acknowledgement: self.acknowledgement(),
            flags: self.flags(),
            window: self.window(),
            urgent_pointer: self.urgent_pointer(),
            options: self.options,
        }
    }
}

/// An option of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// The largest segment that the sender takes (RFC 9293 section 3.2), kind 2.
    MaximumSegmentSize(u16),
    /// The window's shift (RFC 7323 section 2), kind 3; over 14 counts as 14.
    WindowScale(u8),
    /// Selective acknowledgement may be used (RFC 2018 section 2), kind 4.
    SackPermitted,
    /// RFC 7323 section 3, kind 8.
    Timestamps { value: u32, echo_reply: u32 },
    /// Any other kind: neither 0 nor 1, nor one of those above.
    Other { kind: u8, data: &'a [u8] },
}

impl<'a> TcpOption<'a> {
    const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    const WINDOW_SCALE: u8 = 3;
    const SACK_PERMITTED: u8 = 4;
    const TIMESTAMPS: u8 = 8;

    fn parse(kind: u8, data: &'a [u8]) -> Result<Self, Error> {
        Ok(match (kind, data) {
            (Self::MAXIMUM_SEGMENT_SIZE, &[a, b]) => {
                TcpOption::MaximumSegmentSize(u16::from_be_bytes([a, b]))
            }
            (Self::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
            (Self::SACK_PERMITTED, []) => TcpOption::SackPermitted,
            (Self::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo_reply: u32::from_be_bytes([e, f, g, h]),
            },
            (
                Self::MAXIMUM_SEGMENT_SIZE | Self::WINDOW_SCALE | Self::SACK_PERMITTED | Self::TIMESTAMPS,
                _,
            ) => {
                return Err(Error::L4HeaderInvalid);
            }
            _ => TcpOption::Other { kind, data },
        })
    }

    /// Writes the option at the start of `buffer`; returns its length. Padding to whole words, with kind 1, is the caller's.
    ///
    /// Errors: [`Error::BufferTooSmall`], [`Error::OptionsLength`] if the data exceeds what a header can hold.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        match *self {
            TcpOption::MaximumSegmentSize(mss) => {
                emit_raw(buffer, Self::MAXIMUM_SEGMENT_SIZE, &mss.to_be_bytes())
            }
            TcpOption::WindowScale(shift) => emit_raw(buffer, Self::WINDOW_SCALE, &[shift]),
            TcpOption::SackPermitted => emit_raw(buffer, Self::SACK_PERMITTED, &[]),
            TcpOption::Timestamps { value, echo_reply } => {
                let [a, b, c, d] = value.to_be_bytes();
                let [e, f, g, h] = echo_reply.to_be_bytes();
                emit_raw(buffer, Self::TIMESTAMPS, &[a, b, c, d, e, f, g, h])
            }
            TcpOption::Other { kind, data } => emit_raw(buffer, kind, data),
        }
    }
}

fn emit_raw(buffer: &mut [u8], kind: u8, data: &[u8]) -> Result<usize, Error> {
    let length = data.len() + 2;
    if length > MAX_OPTIONS {
        return Err(Error::OptionsLength);
    }
    let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
    room[0] = kind;
    room[1] = length as u8;
    room[2..].copy_from_slice(data);
    Ok(length)
}

/// The options of a header, padding left out. After a malformed list the error is the last item; a known option of a wrong
/// length is an error too, but those behind it still come.
#[derive(Clone, Debug)]
pub struct Options<'a>(RawOptions<'a>);

impl<'a> Iterator for Options<'a> {
    type Item = Result<TcpOption<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.0.next()? {
            Ok(option) => TcpOption::parse(option.kind, option.data),
            Err(_) => Err(Error::L4HeaderInvalid),
        })
    }
}

/// A TCP segment to change in place. Every setter keeps the checksum right if it was, and wrong if it was not.
#[derive(Debug)]
pub struct TcpMut<'a> {
    header: &'a mut [u8; HEADER_LENGTH],
    options: &'a mut [u8],
    payload: &'a mut [u8],
}

impl<'a> TcpMut<'a> {
    /// Errors: as [`Tcp::parse`].
    #[inline]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let length = header_length(bytes)?;
        let (header, payload) = bytes.split_at_mut_checked(length).ok_or(Error::L4HeaderInvalid)?;
        let (header, options) = header.split_first_chunk_mut().ok_or(Error::L4HeaderInvalid)?;
        Ok(TcpMut { header, options, payload })
    }

    pub fn view(&self) -> Tcp<'_> {
        Tcp { header: self.header, options: self.options, payload: self.payload }
    }

    pub fn set_source_port(&mut self, port: u16) {
        let delta = replace(&mut self.header[0..2], port);
        self.adjust_checksum(delta);
    }

    pub fn set_destination_port(&mut self, port: u16) {
        let delta = replace(&mut self.header[2..4], port);
        self.adjust_checksum(delta);
    }

    /// Writes another maximum segment size where the segment has one; false if it has none.
    pub fn set_mss(&mut self, mss: u16) -> bool {
        let mut options = RawOptions::new(self.options).map_while(Result::ok);
        let is_mss = |kind, data: &[u8]| kind == TcpOption::MAXIMUM_SEGMENT_SIZE && data.len() == 2;
        let Some(at) = options.find(|o| is_mss(o.kind, o.data)).map(|option| option.at) else { return false };
        let Some(field) = self.options.get_mut(at..at + 2) else { return false };
        let delta = replace(field, mss);
        // Options need not be aligned: a value at an odd offset is spread over two words of the sum.
        self.adjust_checksum(if at % 2 == 0 { delta } else { delta.at_odd_offset() });
        true
    }

    /// For a change elsewhere in what the checksum covers: an address, or the payload.
    pub fn adjust_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply(self.view().checksum());
        self.header[16..18].copy_from_slice(&checksum.to_ne_bytes());
    }
}

fn replace(field: &mut [u8], new: u16) -> Delta {
    let delta = Delta::between(field, &new.to_be_bytes());
    field.copy_from_slice(&new.to_be_bytes());
    delta
}

/// A TCP header as a value; its data offset and checksum follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: TcpFlags,
    pub window: u16,
    pub urgent_pointer: u16,
    /// Whole 32-bit words, at most 40 bytes.
    pub options: &'a [u8],
}

impl Header<'_> {
    /// A segment with these flags and an open window, all else zero.
    pub const fn new(source_port: u16, destination_port: u16, flags: TcpFlags) -> Header<'static> {
        Header {
            source_port,
            destination_port,
            sequence: 0,
            acknowledgement: 0,
            flags,
            window: 0xffff,
            urgent_pointer: 0,
            options: &[],
        }
    }

    /// Bytes: 20 to 60.
    pub fn length(&self) -> usize {
        HEADER_LENGTH + self.options.len()
    }

    /// Writes a segment, checksum included, at the start of `buffer`; returns its length.
    ///
    /// Errors: [`Error::BufferTooSmall`], [`Error::OptionsLength`].
    pub fn emit(
        &self,
        buffer: &mut [u8],
        pseudo_header: &PseudoHeader,
        payload: &[u8],
    ) -> Result<usize, Error> {
        if self.options.len() > MAX_OPTIONS || !self.options.len().is_multiple_of(4) {
            return Err(Error::OptionsLength);
        }
        let total = self.length() + payload.len();
        let room = buffer.get_mut(..total).ok_or(Error::BufferTooSmall)?;
        let (header, rest) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        header[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
        header[12] = (self.length() / 4) as u8 * 16;
        header[13] = self.flags.0;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..18].fill(0);
        header[18..20].copy_from_slice(&self.urgent_pointer.to_be_bytes());
        let (options, rest) = rest.split_at_mut(self.options.len());
        options.copy_from_slice(self.options);
        rest.copy_from_slice(payload);
        let sum = pseudo_header.sum(Protocol::TCP, total).and(header).and(options).and(payload);
        header[16..18].copy_from_slice(&sum.checksum().to_ne_bytes());
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_offsets_that_contradict_are_refused() {
        let mut segment = [0; 24];
        for (words, expected) in [(0, None), (4, None), (5, Some(4)), (6, Some(0)), (7, None), (15, None)] {
            segment[12] = words << 4;
            assert_eq!(Tcp::parse(&segment).ok().map(|tcp| tcp.payload().len()), expected, "{words} words");
        }
    }

    #[test]
    fn only_a_bare_syn_starts_a_connection() {
        for bits in 0..=255 {
            assert_eq!(TcpFlags(bits).starts_connection(), bits & 0x17 == 0x02, "{bits:#x}");
        }
        let flags = TcpFlags::SYN | TcpFlags::ECE;
        assert!(flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::SYN | TcpFlags::ACK));
        assert!(flags.intersects(TcpFlags::SYN | TcpFlags::ACK) && !flags.intersects(TcpFlags::RST));
        assert_eq!(format!("{flags:?}"), "{SYN, ECE}");
    }

    #[test]
    fn flags_that_no_stack_sends_are_told() {
        for bits in 0..=255u8 {
            let [fin, syn, rst, _, ack, _] = std::array::from_fn(|i| bits >> i & 1 == 1);
            let insane = bits & 0x3f == 0 || syn && fin || syn && rst || fin && !ack;
            assert_eq!(TcpFlags(bits).is_sane(), !insane, "{bits:#x}");
            assert_eq!(TCP_SANE >> (bits & 63) & 1 == 1, !insane, "{bits:#x}");
        }
    }

    #[test]
    fn a_known_option_of_a_wrong_length_is_an_error() {
        let mut segment = [0; 28];
        segment[12] = 7 << 4;
        segment[20..].copy_from_slice(&[2, 3, 5, 3, 3, 7, 0, 0]);
        let tcp = Tcp::parse(&segment).unwrap();
        let options: Vec<_> = tcp.options().collect();
        assert_eq!(options, [Err(Error::L4HeaderInvalid), Ok(TcpOption::WindowScale(7))]);
        assert!(!TcpMut::parse(&mut segment).unwrap().set_mss(1400));
    }
}
