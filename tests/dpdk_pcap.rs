//! Captures in, captures out: what is received from one file and sent to another is the same, byte for byte.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ces::dpdk::{BURST, Burst, Eal, EalOptions, HugePages, Pool, PoolOptions, Port, PortOptions};
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};

/// Frames of many lengths: the shortest, those about a data room's 2048 bytes, and one of five segments.
fn frames() -> Vec<Vec<u8>> {
    let lengths = [60, 61, 64, 1514, 2047, 2048, 2049, 9018].into_iter().chain(100..300);
    lengths.enumerate().map(|(i, length)| (0..length).map(|byte| (byte * 7 + i) as u8).collect()).collect()
}

fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).expect("created")).expect("a header is written");
    for frame in frames {
        let packet = PcapPacket::new(Duration::ZERO, frame.len() as u32, frame);
        writer.write_packet(&packet).expect("a packet is written");
    }
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).expect("opened")).expect("a header");
    std::iter::from_fn(|| reader.next_packet().map(|packet| packet.expect("a packet").data.into_owned()))
        .collect()
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_capture_is_forwarded_byte_for_byte() {
    let directory = Directory(std::env::temp_dir().join(format!("ces-test-pcap-{}", std::process::id())));
    std::fs::create_dir_all(&directory.0).expect("a directory for the captures");
    let file = |name: &str| directory.0.join(name);
    let sent = frames();
    write_capture(&file("in.pcap"), &sent);
    write_capture(&file("loop.pcap"), &sent[..6]);

    let (input, output, replay) = (file("in.pcap"), file("out.pcap"), file("loop.pcap"));
    let eal = Eal::init(EalOptions {
        huge_pages: HugePages::None,
        memory_mb: Some(128),
        vdevs: vec![
            format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display()),
            format!("net_pcap1,rx_pcap={},infinite_rx=1", replay.display()),
        ],
        ..EalOptions::new(format!("ces-test-pcap-{}", std::process::id()), 0)
    })
    .expect("EAL starts");

    forwards(&eal, &sent);
    replays(&eal, &sent[..6]);
    drop(eal);
    assert_eq!(read_capture(&output), sent);
}

fn forwards(eal: &Eal, sent: &[Vec<u8>]) {
    let pool = Pool::new(eal, &PoolOptions::new("forward", 2047)).expect("a pool");
    let options = PortOptions { promiscuous: true, mtu: Some(9000), ..PortOptions::new("net_pcap0") };
    let (port, mut rx, mut tx) = Port::start(eal, &options, &pool).expect("net_pcap0 starts");
    assert_eq!(port.capabilities().driver, "net_pcap");

    let mut burst = Burst::new();
    let mut forwarded = 0;
    while rx[0].receive(&mut burst) > 0 {
        for (mbuf, frame) in burst.iter().zip(&sent[forwarded..]) {
            assert_eq!(mbuf.len(), frame.len());
            assert_eq!(mbuf.segments().collect::<Vec<_>>().concat(), *frame);
            assert_eq!(mbuf.is_contiguous(), frame.len() <= 2048);
        }
        while !burst.is_empty() {
            let before = burst.len();
            let taken = tx[0].send(&mut burst);
            assert_eq!(burst.len(), before - taken);
            forwarded += taken;
        }
    }
    assert_eq!(forwarded, sent.len());
    let stats = port.stats().expect("statistics");
    let bytes: usize = sent.iter().map(Vec::len).sum();
    assert_eq!((stats.rx_packets, stats.tx_packets), (sent.len() as u64, sent.len() as u64));
    assert_eq!((stats.rx_bytes, stats.tx_bytes), (bytes as u64, bytes as u64));
    drop((port, rx, tx));
    assert_eq!(pool.avail(), pool.capacity());
}

fn replays(eal: &Eal, frames: &[Vec<u8>]) {
    let pool = Pool::new(eal, &PoolOptions::new("replay", 2047)).expect("a pool");
    let (port, mut rx, tx) =
        Port::start(eal, &PortOptions::new("net_pcap1"), &pool).expect("net_pcap1 starts");
    let mut expected = frames.iter().cycle();
    let mut burst = Burst::new();
    for _ in 0..100 {
        assert_eq!(rx[0].receive(&mut burst), BURST);
        for mbuf in burst.drain(..) {
            assert_eq!(Some(mbuf.data()), expected.next().map(Vec::as_slice));
        }
    }
    drop((port, rx, tx));
    assert_eq!(pool.avail(), pool.capacity(), "what the driver kept for its replay comes back too");
}
