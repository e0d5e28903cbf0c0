//! What reading and rewriting one packet costs, by itself: the views of `packet/` over one 64-byte frame in the first-level cache.

use ces::packet::{
    Delta, EtherType, Ipv4, Ipv4Mut, Link, MacAddr, Protocol, Tcp, TcpFlags, TcpMut,
    build::{self, Ip, Path, Transport},
    checksum, ipv4, tcp,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, net::Ipv4Addr, time::Duration};

const SUBSCRIBER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn frame() -> [u8; 64] {
    let mut frame = [0; 64];
    let path = Path::untagged(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let ip = Ip::V4(ipv4::Header::new(SUBSCRIBER, SERVER, Protocol::TCP));
    let segment = Transport::Tcp(tcp::Header::new(40_000, 443, TcpFlags::ACK), &[]);
    build::frame(&mut frame, &path, &ip, &segment).expect("54 bytes fit 64");
    frame
}

/// The five-tuple and the flags of a TCP frame.
fn parse(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u16, u16, TcpFlags)> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    let packet = Ipv4::parse(link.payload).ok().filter(|packet| !packet.is_fragment())?;
    let segment = Tcp::parse(packet.payload()).ok()?;
    let ports = (segment.source_port(), segment.destination_port());
    Some((packet.source(), packet.destination(), ports.0, ports.1, segment.flags()))
}

/// A source NAT by the setters, which work out each change as they go.
fn rewrite(frame: &mut [u8], moved: Delta) -> Option<()> {
    let mut packet = Ipv4Mut::parse(frame.get_mut(14..)?).ok()?;
    packet.set_source(PUBLIC);
    let _alive = packet.decrement_ttl();
    let mut segment = TcpMut::parse(packet.payload_mut()).ok()?;
    segment.set_source_port(50_000);
    segment.adjust_checksum(moved);
    Some(())
}

fn benches(criterion: &mut Criterion) {
    let mut frame = frame();
    let moved = Delta::between(&SUBSCRIBER.octets(), &PUBLIC.octets());
    criterion.bench_function("parse: five-tuple and flags", |b| b.iter(|| parse(black_box(&frame))));
    criterion
        .bench_function("checksum: Delta::apply", |b| b.iter(|| black_box(moved).apply(black_box(0x1234))));
    criterion.bench_function("checksum: full, 1,460 bytes", |b| {
        let bytes = [0x5a; 1460];
        b.iter(|| checksum::checksum(black_box(&bytes)));
    });
    criterion.bench_function("rewrite: source address, port, TTL", |b| {
        b.iter(|| rewrite(black_box(&mut frame), black_box(moved)));
    });
}

criterion_group! {
    name = group;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(group);
