//! Packets cut into fragments, and put together again: by the letter of RFC 791 section 3.2, and naively.

use std::collections::BTreeMap;

use ces::packet::checksum::checksum;

const IP: usize = 14;

fn half(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn header_length(frame: &[u8]) -> usize {
    usize::from(frame[IP] & 15) * 4
}

/// Writes fields of the IPv4 header, and its checksum.
fn rewrite(frame: &mut [u8], total: usize, identification: u16, flags_and_offset: u16) {
    let header = IP..IP + header_length(frame);
    frame[16..18].copy_from_slice(&(total as u16).to_be_bytes());
    frame[18..20].copy_from_slice(&identification.to_be_bytes());
    frame[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
    frame[24..26].fill(0);
    let sum = checksum(&frame[header]);
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
}

/// The frame with another identification, and leave to cut it.
pub fn may_be_cut(mut frame: Vec<u8>, identification: u16) -> Vec<u8> {
    let total = half(&frame, 16).into();
    rewrite(&mut frame, total, identification, 0);
    frame
}

/// The bytes of a whole packet's payload from `from` up to `to`, as a fragment; Ethernet's padding behind it.
pub fn piece(frame: &[u8], from: usize, to: usize) -> Vec<u8> {
    let start = IP + header_length(frame);
    let end = IP + usize::from(half(frame, 16));
    let mut piece = [&frame[..start], &frame[start + from..start + to]].concat();
    let more = if start + to < end { 0x2000 } else { 0 };
    let total = piece.len() - IP;
    rewrite(&mut piece, total, half(frame, 18), more | (from / 8) as u16);
    piece.resize(piece.len().max(60), 0xee);
    piece
}

/// Bytes of payload of an IPv4 packet in its frame.
pub fn payload(frame: &[u8]) -> usize {
    usize::from(half(frame, 16)) - header_length(frame)
}

/// All pieces of at most `most` bytes of payload, in order.
pub fn cut(frame: &[u8], most: usize) -> Vec<Vec<u8>> {
    let (most, all) = (most / 8 * 8, payload(frame));
    (0..all).step_by(most).map(|from| piece(frame, from, all.min(from + most))).collect()
}

/// What came out of a port.
#[derive(Default)]
pub struct Together {
    /// Whole packets in their frames, whether they came so or in pieces.
    pub whole: Vec<Vec<u8>>,
    /// Identifications of those that came in pieces.
    pub cut: Vec<u16>,
    /// Fragments without the rest.
    pub lone: usize,
    /// Bytes of the largest IP packet that came.
    pub largest: usize,
}

/// Puts together what belongs together: by addresses, protocol and identification, whenever it came.
///
/// # Panics
/// When two pieces of one datagram share a byte, and when a header has a wrong checksum.
pub fn together(frames: &[Vec<u8>]) -> Together {
    let mut out = Together::default();
    let mut parts: BTreeMap<Vec<u8>, Vec<&Vec<u8>>> = BTreeMap::new();
    for frame in frames.iter().filter(|f| f[12..14] == [8, 0]) {
        assert_eq!(checksum(&frame[IP..IP + header_length(frame)]), 0, "the header's checksum");
        out.largest = out.largest.max(half(frame, 16).into());
        if half(frame, 20) & 0x3fff == 0 {
            let mut frame = frame.clone();
            frame.truncate(IP + usize::from(half(&frame, 16)));
            out.whole.push(frame);
        } else {
            let key = [&frame[26..34], &frame[18..20], &frame[23..24]].concat();
            parts.entry(key).or_default().push(frame);
        }
    }
    for mut pieces in parts.into_values() {
        let place = |f: &&Vec<u8>| usize::from(half(f, 20) & 0x1fff) * 8;
        pieces.sort_by_key(place);
        let mut whole = pieces[0][..IP + header_length(pieces[0])].to_vec();
        let (start, mut complete) = (whole.len(), true);
        for (i, frame) in pieces.iter().enumerate() {
            let end = whole.len() - start;
            assert!(place(frame) >= end, "two pieces share a byte: {frame:02x?}");
            let more = half(frame, 20) & 0x2000 != 0;
            complete &= place(frame) == end && more == (i + 1 < pieces.len());
            let data = IP + header_length(frame);
            whole.extend(&frame[data..data + payload(frame)]);
        }
        if complete {
            let total = whole.len() - IP;
            out.cut.push(half(&whole, 18));
            let identification = half(&whole, 18);
            rewrite(&mut whole, total, identification, 0);
            out.whole.push(whole);
        } else {
            out.lone += pieces.len();
        }
    }
    out
}
