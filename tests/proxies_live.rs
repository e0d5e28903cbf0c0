//! Proxy addresses over the wire: a host asks the edge's resolver for others' names, hears proxy addresses, and talks to whom they
//! stand for. A whole `cesd` on links of memif, with an upstream that is the test's own, in a network namespace.
//!
//! Needs root, for the namespace.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/packets.rs"]
mod packets;
#[path = "support/running.rs"]
mod running;
#[path = "support/wire.rs"]
mod wire;
/// The program in the namespace of its upstream.
mod cesd {
    use std::process::{Command, Stdio};

    use crate::bed::Bed;

    pub fn cesd(bed: &Bed) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &crate::namespace(bed), env!("CARGO_BIN_EXE_cesd")]);
        command.args(["--config", "cesd.toml"]).current_dir(&bed.directory).stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", &bed.directory);
        command
    }
}

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::checksum::checksum;
use ces::packet::icmp::{Icmp, IcmpType};
use ces::packet::{EtherType, Ipv4, Link, MacAddr, Protocol, TcpFlags, Udp, icmp, ipv4};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use packets::{Carried, End, Packet};
use running::{Running, show};
use serde_json::Value;
use wire::{Bench, Wire, exchange};

const HOME: usize = 0;
/// Another realm with the very addresses of HOME, proxy addresses included.
const TWIN: usize = 1;
const OUTSIDE: usize = 2;
const OWN: [MacAddr; 3] =
    [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 2, 1])];
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 2, 254]);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const THIRD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
const EDGE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 16);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const UPSTREAM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// Behind n200.example; the routes have it prohibited.
const PROHIBITED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
/// Proxy addresses of a realm, and those of one host.
const PROXIES: u8 = 8;
const OF_ONE: u64 = 4;

/// Who is behind `nN.example`; `www.example` is n1 by another name.
fn remote(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

fn proxy(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 64, last)
}

fn namespace(bed: &Bed) -> String {
    format!("ces-t-proxies-{}", bed.instance)
}

fn config(sockets: &[PathBuf], workers: &str) -> String {
    let [home, twin, outside] = [0, 1, 2].map(|n| wire::server(&sockets[n], n, &OWN[n].to_string()));
    let neighbor = |on, address| {
        format!("[[neighbor]]\ninterface = \"{on}\"\naddress = \"{address}\"\nmac = \"{HOST}\"\n")
    };
    let neighbors = [("home", PRIVATE), ("home", OTHER), ("home", THIRD), ("twin", PRIVATE)]
        .map(|(on, a)| neighbor(on, a))
        .concat();
    let realm = |name: &str| {
        format!(
            "[[realm]]\nname = \"{name}\"\nside = \"inside\"\nremote = \"proxy\"\n\
             proxy_addresses = [\"172.16.64.0/29\"]\nproxies_per_host = {OF_ONE}\n"
        )
    };
    let realms = ["home", "twin"].map(realm).concat();
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"home\"\ndevice = \"{home}\"\n[[port]]\nname = \"twin\"\ndevice = \"{twin}\"\n\
         [[port]]\nname = \"out\"\ndevice = \"{outside}\"\n{realms}\
         [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\naddresses = [\"{EDGE}/24\"]\n\
         [[interface]]\nport = \"twin\"\nrealm = \"twin\"\naddresses = [\"{EDGE}/24\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"{PROHIBITED}/32\"\nprohibit = true\n\
         [[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\"\nmac = \"{GATEWAY}\"\n{neighbors}\
         [nat44]\ninside = [\"home\", \"twin\"]\noutside = \"internet\"\npool = [\"{PUBLIC}\"]\n\
         [nat44.timeouts]\nudp = 1\nicmp = 1\n\
         [dns]\nupstreams = [{{ address = \"{UPSTREAM}\" }}]\n\
         [[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\n\
         addresses = [\"203.0.113.1\"]\n"
    )
}

// ---- the upstream ----

/// Answers in a namespace of its own, until it is dropped.
struct Upstream {
    namespace: String,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("`ip` is installed");
    assert!(status.success(), "ip {arguments}: run this as root");
}

impl Upstream {
    fn start(namespace: String) -> Upstream {
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        ip(&format!("-n {namespace} address add {UPSTREAM}/32 dev lo"));
        let over = Arc::new(AtomicBool::new(false));
        let (path, stop) = (format!("/run/netns/{namespace}"), over.clone());
        let thread = std::thread::spawn(move || {
            setns(std::fs::File::open(path).expect("the namespace"), CloneFlags::CLONE_NEWNET)
                .expect("entered");
            let socket = UdpSocket::bind((UPSTREAM, 53)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
            let mut bytes = [0; 1500];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
                let question = Message::from_vec(&bytes[..length]).expect("a question");
                socket.send_to(&answer(&question).to_vec().expect("sound"), from).expect("sent");
            }
        });
        Upstream { namespace, over, thread: Some(thread) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

fn answer(question: &Message) -> Message {
    let mut reply = Message::new(question.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.queries.clone_from(&question.queries);
    let asked = question.queries[0].name().clone();
    let text = asked.to_string().to_lowercase();
    let mut owner = asked;
    if text == "www.example." {
        let target = Name::from_ascii("n1.example.").expect("a name");
        reply.add_answer(Record::from_rdata(owner, 300, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    let number = owner.to_string().to_lowercase();
    let number = number.strip_prefix('n').and_then(|rest| rest.strip_suffix(".example.")?.parse().ok());
    match number.filter(|_| question.queries[0].query_type() == RecordType::A) {
        Some(last) => _ = reply.add_answer(Record::from_rdata(owner, 300, RData::A(A(remote(last))))),
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply
}

// ---- on the wire ----

fn ip_of(frame: &[u8]) -> Option<Ipv4<'_>> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    Ipv4::parse(link.payload).ok().filter(Ipv4::checksum_is_right)
}

/// A question to the edge, by UDP, and its answer.
fn ask(wires: &mut [Wire; 3], realm: usize, host: Ipv4Addr, name: &str, kind: RecordType) -> Message {
    static ASKED: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(1);
    let id = ASKED.fetch_add(1, Ordering::Relaxed);
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    let mut asked = Name::from_ascii(name).expect("a name");
    asked.set_fqdn(true);
    question.add_query(Query::query(asked, kind));
    let bytes = question.to_vec().expect("sound");
    let packet = Packet::new((host, 3053), (EDGE, 53), Carried::Udp { unsummed: false }, &bytes);
    exchange(wires, realm, &packet.frame(HOST, OWN[realm]), realm, |frame| {
        let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::UDP && ip.destination() == host)?;
        let message = Message::from_vec(Udp::parse(ip.payload()).ok()?.payload()).ok()?;
        (message.id == id).then_some(message)
    })
}

/// The one address of an answer, and its TTL.
fn address_of(answer: &Message) -> (Ipv4Addr, u32) {
    let address = |record: &Record| match &record.data {
        RData::A(a) => Some((a.0, record.ttl)),
        _ => None,
    };
    let all: Vec<_> = answer.answers.iter().filter_map(address).collect();
    assert_eq!(all.len(), 1, "{answer}");
    all[0]
}

fn tcp(source: End, destination: End, flags: TcpFlags) -> Packet {
    Packet::new(source, destination, Carried::Tcp { flags, options: vec![] }, b"0123456789")
}

fn udp(source: End, destination: End) -> Packet {
    Packet::new(
        source,
        destination,
        Carried::Udp { unsummed: false },
        b"0123456789abcdefghij0123456789abcdefghij",
    )
}

/// The frame as it is to leave by a port, translated.
fn leaves(packet: &Packet, by: usize, source: End, destination: End) -> Vec<u8> {
    let to = if by == OUTSIDE { GATEWAY } else { HOST };
    Packet { source, destination, ttl: packet.ttl - 1, ..packet.clone() }.frame(OWN[by], to)
}

/// Sends a packet and waits until it has left as it is to: all of it, checksums included.
fn passes(wires: &mut [Wire; 3], from: usize, packet: &Packet, to: usize, source: End, destination: End) {
    let sender = if from == OUTSIDE { GATEWAY } else { HOST };
    let expected = leaves(packet, to, source, destination);
    let frame = packet.frame(sender, OWN[from]);
    exchange(wires, from, &frame, to, |frame| (frame == expected).then_some(()));
}

/// Sends the first packet of a session and waits until it has left to `remote`: its public port, or identifier.
fn opens(wires: &mut [Wire; 3], from: usize, packet: &Packet, remote: Ipv4Addr) -> u16 {
    let is_echo = matches!(packet.carried, Carried::EchoRequest { .. });
    let sent = packet.frame(HOST, OWN[from]);
    let port = exchange(wires, from, &sent, OUTSIDE, |frame| {
        let ip = ip_of(frame).filter(|ip| (ip.source(), ip.destination()) == (PUBLIC, remote))?;
        let at = if is_echo { 4 } else { 0 };
        Some(u16::from_be_bytes([ip.payload()[at], ip.payload()[at + 1]]))
    });
    let other = if is_echo { 0 } else { packet.destination.1 };
    passes(wires, from, packet, OUTSIDE, (PUBLIC, port), (remote, other));
    port
}

/// An ICMP error of `from` to `to` about a packet, whose IP header and eight bytes it quotes.
fn error(
    from: Ipv4Addr,
    to: Ipv4Addr,
    kind: IcmpType,
    code: u8,
    about: &[u8],
    ttl: u8,
    path: &Path,
) -> Vec<u8> {
    let header = icmp::Header { kind, code, parameter: [0; 4] };
    let ip = Ip::V4(ipv4::Header { ttl, ..ipv4::Header::new(from, to, Protocol::ICMP) });
    let mut frame = vec![0; 200];
    let transport = Transport::Icmp(header, &about[14..42]);
    let length = build::frame(&mut frame, path, &ip, &transport).expect("200 bytes");
    frame.truncate(length);
    frame
}

/// The payload of a packet in its frame, from a byte on up to another, as a fragment.
fn piece(frame: &[u8], from: usize, to: usize, identification: u16) -> Vec<u8> {
    let mut piece = [&frame[..34], &frame[34 + from..34 + to]].concat();
    let more = if 34 + to < frame.len() { 0x2000 } else { 0 };
    let total = piece.len() as u16 - 14;
    piece[16..18].copy_from_slice(&total.to_be_bytes());
    piece[18..20].copy_from_slice(&identification.to_be_bytes());
    piece[20..22].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
    piece[24..26].fill(0);
    let sum = checksum(&piece[14..34]);
    piece[24..26].copy_from_slice(&sum.to_ne_bytes());
    piece
}

/// The code of an error of the edge's that says that a packet of `from` has not reached `to`.
fn code_about(frame: &[u8], from: Ipv4Addr, to: Ipv4Addr) -> Option<u8> {
    let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::ICMP && ip.source() == EDGE)?;
    let icmp = Icmp::parse(ip.payload()).ok().filter(Icmp::checksum_is_right)?;
    let quoted = Ipv4::parse_quoted(icmp.quoted()?).ok()?;
    let is_it = (quoted.source(), quoted.destination()) == (from, to);
    (is_it && icmp.kind() == IcmpType::DESTINATION_UNREACHABLE).then(|| icmp.code())
}

fn dropped(bed: &Bed, reason: &str) -> u64 {
    show(bed, &["counters"])["drops"][reason]["total"].as_u64().unwrap_or(0)
}

/// The assignment of a remote host in a realm, as it is shown.
fn shown(bed: &Bed, realm: &str, remote: Ipv4Addr) -> Value {
    let list = show(bed, &["proxies", "--realm", realm, "--address", &remote.to_string()]);
    assert_eq!(list["total_matched"], 1, "{list}");
    list["proxies"][0].clone()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_name_is_a_proxy_address_and_leads_to_whom_it_stands_for() {
    let beds = [Bed::new(), Bed::new()];
    let of = |bed: &Bed| ["home.memif", "twin.memif", "out.memif"].map(|name| bed.directory.join(name));
    let sockets: Vec<PathBuf> = beds.iter().flat_map(of).collect();
    let bench = Bench::new(&format!("{}-wire", beds[0].instance), sockets.clone());
    for (number, workers) in ["cores = [0]", "cores = [0, 1]\ndistribute = \"software\""].iter().enumerate() {
        let bed = &beds[number];
        let _upstream = Upstream::start(namespace(bed));
        bed.configure(&config(&sockets[3 * number..], workers));
        let running = Running::start(bed);
        let mut wires = [0, 1, 2].map(|side| bench.wire(3 * number + side, number as u16 + 1));
        let at = names(bed, &mut wires);
        connections(bed, &mut wires, at);
        datagrams(bed, &mut wires, at);
        fragments(&mut wires, at, (1 << 16) / (number as i32 + 1));
        errors(bed, &mut wires, at);
        nobody(bed, &mut wires);
        routes(bed, &mut wires);
        everybodys_share(bed, &mut wires);
        wait("sessions to end", || shown(bed, "home", remote(1))["sessions"] == 1);
        drop(wires);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(Duration::from_secs(10)).code(), Some(0));
    }
}

/// What hosts hear. The proxy addresses of n1.example at home, and of n2.example in the other realm: the same one.
fn names(bed: &Bed, wires: &mut [Wire; 3]) -> Ipv4Addr {
    let answer = ask(wires, HOME, PRIVATE, "www.example", RecordType::A);
    let alias = answer.answers.first().map(|record| record.data.to_string());
    assert_eq!(alias.as_deref(), Some("n1.example."), "{answer}");
    let (at, ttl) = address_of(&answer);
    assert_eq!((at, ttl), (proxy(0), 30));
    assert_eq!(address_of(&ask(wires, TWIN, PRIVATE, "n2.example", RecordType::A)).0, at);
    assert_eq!(address_of(&ask(wires, HOME, OTHER, "n1.example", RecordType::A)).0, at, "whoever asks");
    let pointed = |wires: &mut [Wire; 3], realm, last: u8| {
        let answer = ask(wires, realm, PRIVATE, &format!("{last}.64.16.172.in-addr.arpa"), RecordType::PTR);
        let code = answer.metadata.response_code;
        (code, answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>())
    };
    let named = |names: &[&str]| (ResponseCode::NoError, names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(pointed(wires, HOME, 0), named(&["n1.example.", "www.example."]));
    assert_eq!(pointed(wires, TWIN, 0), named(&["n2.example."]));
    assert_eq!(pointed(wires, HOME, 1), (ResponseCode::NXDomain, vec![]));
    let home = shown(bed, "home", remote(1));
    assert_eq!((&home["realm"], &home["proxy"]), (&"home".into(), &at.to_string().into()));
    assert_eq!((&home["names"][1], &home["sessions"]), (&"www.example".into(), &0.into()));
    assert_eq!(shown(bed, "twin", at)["remote"], remote(2).to_string());
    at
}

fn connections(bed: &Bed, wires: &mut [Wire; 3], at: Ipv4Addr) {
    let ack = TcpFlags::ACK;
    for (realm, server) in [(HOME, remote(1)), (TWIN, remote(2))] {
        let (client, seen, server) = ((PRIVATE, 5000), (at, 443), (server, 443));
        let port = opens(wires, realm, &tcp(client, seen, TcpFlags::SYN), server.0);
        let public = (PUBLIC, port);
        passes(wires, OUTSIDE, &tcp(server, public, TcpFlags::SYN | ack), realm, seen, client);
        // The common packet, which the fast way knows.
        passes(wires, realm, &tcp(client, seen, ack), OUTSIDE, public, server);
        passes(wires, OUTSIDE, &tcp(server, public, ack), realm, seen, client);
    }
    assert_eq!(shown(bed, "home", remote(1))["sessions"], 1);
    // A session goes there: the answer holds for longer.
    assert_eq!(address_of(&ask(wires, HOME, OTHER, "n1.example", RecordType::A)), (at, 120));
    let flows = show(bed, &["flows", "--host", &remote(1).to_string()]);
    assert_eq!(flows["flows"][0]["remote"], format!("{}:443", remote(1)), "{flows}");
    assert_eq!(show(bed, &["flows", "--host", &at.to_string()])["total_matched"], 2, "by that, too");
}

fn datagrams(bed: &Bed, wires: &mut [Wire; 3], at: Ipv4Addr) {
    let (client, seen, server) = ((PRIVATE, 5300), (at, 53), (remote(1), 53));
    let port = opens(wires, HOME, &udp(client, seen), server.0);
    passes(wires, OUTSIDE, &udp(server, (PUBLIC, port)), HOME, seen, client);
    // From another port of it, whom the filter lets in: the same host to whoever sees it.
    passes(wires, OUTSIDE, &udp((server.0, 3000), (PUBLIC, port)), HOME, (at, 3000), client);
    passes(wires, HOME, &udp(client, (at, 3000)), OUTSIDE, (PUBLIC, port), (server.0, 3000));
    passes(wires, OUTSIDE, &udp((remote(99), 3000), (PUBLIC, port)), HOME, (remote(99), 3000), client);

    // By its own address, from the same socket, it cannot be told apart.
    let direct = udp(client, server).frame(HOST, OWN[HOME]);
    assert_eq!(exchange(wires, HOME, &direct, HOME, |frame| code_about(frame, PRIVATE, server.0)), 13);
    assert!(dropped(bed, "proxy_collision") > 0);

    let text = b"0123456789abcdefghij";
    let request = Packet::new((PRIVATE, 77), (at, 0), Carried::EchoRequest { sequence: 1 }, text);
    let identifier = opens(wires, HOME, &request, server.0);
    let reply = Packet::new((server.0, 0), (PUBLIC, identifier), Carried::EchoReply { sequence: 1 }, text);
    passes(wires, OUTSIDE, &reply, HOME, (at, 0), (PRIVATE, 77));
    wait("sessions to end", || shown(bed, "home", remote(1))["sessions"] == 1);
}

/// A datagram in two pieces, there and back. A worker has `span` identifications.
fn fragments(wires: &mut [Wire; 3], at: Ipv4Addr, span: i32) {
    let (client, seen, server) = ((PRIVATE, 5301), (at, 53), (remote(1), 53));
    let port = opens(wires, HOME, &udp(client, seen), server.0);
    let whole = udp(client, seen).frame(HOST, OWN[HOME]);
    let translated = leaves(&udp(client, seen), OUTSIDE, (PUBLIC, port), server);
    for (from, to) in [(0, 24), (24, whole.len() - 34)] {
        let left = exchange(wires, HOME, &piece(&whole, from, to, 5), OUTSIDE, |frame| {
            let ip =
                ip_of(frame).filter(|ip| ip.is_fragment() && usize::from(ip.fragment_offset()) == from)?;
            Some((frame.to_vec(), ip.identification()))
        });
        // All but its identification, which is another.
        assert_eq!(left.0, piece(&translated, from, to, left.1));
    }
    // Behind the edge it is one destination: identifications go on where it is asked by its own address.
    let identified = [(seen, 5302), (server, 5303)].map(|(to, from)| {
        let whole = udp((PRIVATE, from), to).frame(HOST, OWN[HOME]);
        exchange(wires, HOME, &piece(&whole, 0, 24, 5), OUTSIDE, |frame| {
            ip_of(frame).filter(Ipv4::is_fragment).map(|ip| i32::from(ip.identification()))
        })
    });
    assert!((identified[1] - identified[0]).rem_euclid(span) < 8, "{identified:?}");

    let back = udp(server, (PUBLIC, port));
    let (whole, translated) = (back.frame(GATEWAY, OWN[OUTSIDE]), leaves(&back, HOME, seen, client));
    for (from, to) in [(0, 24), (24, whole.len() - 34)] {
        let expected = piece(&translated, from, to, 6);
        exchange(wires, OUTSIDE, &piece(&whole, from, to, 6), HOME, |frame| {
            (frame == expected).then_some(())
        });
    }
}

/// Errors about packets of a session, from either side.
fn errors(bed: &Bed, wires: &mut [Wire; 3], at: Ipv4Addr) {
    let (client, seen, server) = ((PRIVATE, 5302), (at, 53), (remote(1), 53));
    let port = opens(wires, HOME, &udp(client, seen), server.0);
    let sent = udp(client, seen).frame(HOST, OWN[HOME]);
    let left = leaves(&udp(client, seen), OUTSIDE, (PUBLIC, port), server);
    let (inward, outward) = (Path::untagged(GATEWAY, OWN[OUTSIDE]), Path::untagged(HOST, OWN[HOME]));
    // What is quoted is what was sent: but for its TTL, and with it the header's checksum.
    let quoted = |frame: &[u8], ttl: u8| {
        let mut frame = frame.to_vec();
        frame[22] = ttl;
        frame[24..26].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_ne_bytes());
        frame
    };
    let unreachable = IcmpType::DESTINATION_UNREACHABLE;
    // A router on the way is who it is, and the remote host is known by its proxy address.
    for (reporter, shown, kind, code) in
        [(ROUTER, ROUTER, IcmpType::TIME_EXCEEDED, 0), (server.0, at, unreachable, 3)]
    {
        let about = quoted(&left, 1);
        let frame = error(reporter, PUBLIC, kind, code, &about, 60, &inward);
        let as_sent = quoted(&sent, 1);
        let expected = error(shown, PRIVATE, kind, code, &as_sent, 59, &Path::untagged(OWN[HOME], HOST));
        exchange(wires, OUTSIDE, &frame, HOME, |frame| (frame == expected).then_some(()));
    }
    // Of an answer that came the host says that nobody is there.
    let answer = udp(server, (PUBLIC, port));
    let came = leaves(&answer, HOME, seen, client);
    let frame = error(PRIVATE, at, unreachable, 3, &came, 64, &outward);
    let as_sent = quoted(&answer.frame(GATEWAY, OWN[OUTSIDE]), 63);
    let expected =
        error(PUBLIC, server.0, unreachable, 3, &as_sent, 63, &Path::untagged(OWN[OUTSIDE], GATEWAY));
    exchange(wires, HOME, &frame, OUTSIDE, |frame| (frame == expected).then_some(()));
    assert_eq!(dropped(bed, "icmp_error_invalid") + dropped(bed, "icmp_error_no_session"), 0);
}

/// To an address that stands for nobody.
fn nobody(bed: &Bed, wires: &mut [Wire; 3]) {
    let before = dropped(bed, "proxy_unassigned");
    let text = b"0123456789abcdefghij";
    for packet in [
        tcp((PRIVATE, 5001), (proxy(7), 443), TcpFlags::SYN),
        udp((PRIVATE, 5301), (proxy(7), 53)),
        Packet::new((PRIVATE, 78), (proxy(7), 0), Carried::EchoRequest { sequence: 1 }, text),
    ] {
        let frame = packet.frame(HOST, OWN[HOME]);
        let code = exchange(wires, HOME, &frame, HOME, |frame| code_about(frame, PRIVATE, proxy(7)));
        assert_eq!(code, 1, "host unreachable");
    }
    assert!(dropped(bed, "proxy_unassigned") >= before + 3);
    // Nothing of it has left; nor does what needs a whole public address, to whomever.
    let leaks = wire::listen(&mut wires[OUTSIDE], Duration::from_millis(100), |frame| {
        ip_of(frame).filter(|ip| ip.destination() == proxy(7)).map(|_| ())
    });
    assert_eq!(leaks.len(), 0);
    let gre = Packet::new((PRIVATE, 0), (proxy(0), 0), Carried::Raw(47), text).frame(HOST, OWN[HOME]);
    let left = |frame: &[u8]| ip_of(frame).filter(|ip| ip.protocol() == Protocol(47)).map(|_| ());
    assert!(wire::is_silent(wires, HOME, &gre, OUTSIDE, left));
}

/// What the routes say of the remote host holds for its proxy address: no session is made.
fn routes(bed: &Bed, wires: &mut [Wire; 3]) {
    let (at, _) = address_of(&ask(wires, HOME, THIRD, "n200.example", RecordType::A));
    let packet = udp((THIRD, 5400), (at, 53)).frame(HOST, OWN[HOME]);
    let code = exchange(wires, HOME, &packet, HOME, |frame| code_about(frame, THIRD, at));
    assert_eq!((code, &shown(bed, "home", PROHIBITED)["sessions"]), (13, &0.into()));
}

/// A host has so many at a time, all together as many as there are, and each refusal is a count.
fn everybodys_share(bed: &Bed, wires: &mut [Wire; 3]) {
    let counter = |name: &str| {
        let list = show(bed, &["proxies", "--limit", "0"]);
        let found =
            list["counters"].as_array().expect("counters").iter().find(|c| c["name"] == name).cloned();
        found.expect(name)["count"].as_u64().expect("a count")
    };
    let code = |answer: Message| answer.metadata.response_code;
    // OTHER was the last to ask for the one that there is.
    for last in 10..10 + OF_ONE as u8 {
        address_of(&ask(wires, HOME, PRIVATE, &format!("n{last}.example"), RecordType::A));
    }
    let answer = ask(wires, HOME, PRIVATE, "n20.example", RecordType::A);
    assert_eq!(
        (code(answer), counter("limited") > 0, counter("exhausted")),
        (ResponseCode::ServFail, true, 0)
    );
    // And THIRD for another.
    for last in 20..20 + PROXIES - 2 - OF_ONE as u8 {
        address_of(&ask(wires, HOME, OTHER, &format!("n{last}.example"), RecordType::A));
    }
    assert_eq!(code(ask(wires, HOME, THIRD, "n30.example", RecordType::A)), ResponseCode::ServFail);
    assert_eq!(code(ask(wires, HOME, OTHER, "n30.example", RecordType::A)), ResponseCode::ServFail);
    let pools = show(bed, &["proxies"])["pools"].clone();
    assert_eq!((&pools[0]["realm"], &pools[0]["assigned"]), (&"home".into(), &PROXIES.into()), "{pools}");
    assert_eq!(pools[1]["assigned"], 1, "the other realm has its own");
}
