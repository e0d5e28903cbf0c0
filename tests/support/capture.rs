//! Frames into a capture. Guarantees: the same frames make the same file, whatever the time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness};

/// Writes frames, one a microsecond from the epoch on.
pub fn write<'a>(path: &Path, frames: impl IntoIterator<Item = &'a Vec<u8>>) {
    let header =
        PcapHeader { datalink: DataLink::ETHERNET, endianness: Endianness::Little, ..PcapHeader::default() };
    let file = BufWriter::new(File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    let mut writer = PcapWriter::with_header(file, header).expect("the header is written");
    for (i, frame) in frames.into_iter().enumerate() {
        let packet = PcapPacket::new(Duration::from_micros(i as u64), frame.len() as u32, frame);
        writer.write_packet(&packet).expect("the frame is written");
    }
    writer.into_writer().flush().expect("the file is written");
}
