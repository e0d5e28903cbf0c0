//! Frames out of a capture. Never: looks at a timestamp.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use pcap_file::pcap::PcapReader;

/// The frames of a capture.
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = PcapReader::new(BufReader::new(file)).expect("a capture");
    let mut frames = vec![];
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.expect("a whole record").data.into_owned());
    }
    frames
}
