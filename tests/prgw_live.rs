//! The circular pool over the wire: what a name has reserved, the first packet claims; real workers on links of memif, and the
//! pool's desk called as the thread that answers questions calls it.
//!
//! The appliance runs in a process of its own, this test program once more, because DPDK starts once in each.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/packets.rs"]
mod packets;
#[path = "fragments/pieces.rs"]
mod pieces;
#[path = "support/wire.rs"]
mod wire;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bed::Bed;
use ces::appliance::Appliance;
use ces::config;
use ces::edge::prgw::{Carrier, CircularPool, Decision, HostLimits, Proof, Question, Service};
use ces::packet::arp::Operation;
use ces::packet::build;
use ces::packet::icmp::{self, Icmp, IcmpType};
use ces::packet::{Arp, EtherType, Ipv4, Link, MacAddr, Protocol, Tcp, TcpFlags};
use packets::{Carried, End, Packet};
use serde_json::Value;
use wire::{Bench, Wire, exchange, is_silent};

const HOME: usize = 0;
/// Another realm with the very addresses of HOME.
const TWIN: usize = 1;
const OUTSIDE: usize = 2;
const OWN: [MacAddr; 3] =
    [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 2, 1])];
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 2, 254]);
/// Of the host in either realm.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Milliseconds that a reservation waits.
const TIMEOUT: u64 = 3000;
/// Where the child finds its configuration.
const CONFIG: &str = "CES_PRGW_LIVE_CONFIG";
/// By their numbers in the register.
const HOSTS: [u32; 2] = [0, 1];
const TCP_443: Service = Service::new(443, 6);

fn pool(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 64)) + number)
}

fn config(sockets: &[PathBuf], workers: &str) -> String {
    let [home, twin, outside] = [0, 1, 2].map(|n| wire::server(&sockets[n], n, &OWN[n].to_string()));
    let neighbor =
        |on| format!("[[neighbor]]\ninterface = \"{on}\"\naddress = \"{PRIVATE}\"\nmac = \"{HOST}\"\n");
    let neighbors = ["home", "twin"].map(neighbor).concat();
    let host = |name, realm| {
        format!("[[host]]\nname = \"{name}.ces.example\"\nrealm = \"{realm}\"\naddresses = [\"{PRIVATE}\"]\n")
    };
    let hosts = [host("a", "home"), host("b", "twin")].concat();
    // Nobody is asked who he is: the pool is small.
    let tiers = "[[prgw.tiers]]\nproof = \"nothing\"\nasker = 0\nsource = 0\n".repeat(4);
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"home\"\ndevice = \"{home}\"\n[[port]]\nname = \"twin\"\ndevice = \"{twin}\"\n\
         [[port]]\nname = \"out\"\ndevice = \"{outside}\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"twin\"\nside = \"inside\"\n\
         [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"twin\"\nrealm = \"twin\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\"\nmac = \"{GATEWAY}\"\n{neighbors}\
         [nat44]\ninside = [\"home\", \"twin\"]\noutside = \"internet\"\npool = [\"203.0.113.16\"]\n\
         [nat44.timeouts]\nudp = 1\nicmp = 1\n\
         [hosts]\npending_reservations = 64\nreservations_per_second = 100000\n{hosts}\
         [prgw]\npool = [\"203.0.113.64/29\"]\ntimeout_ms = {TIMEOUT}\nadaptive = false\nper_resolver = 64\n{tiers}"
    )
}

// ---- the appliance, in a process of its own ----

/// Not a test: the process in which the appliance runs, and its desk is asked.
#[test]
fn appliance() {
    let Some(path) = std::env::var_os(CONFIG) else { return };
    let config = config::load(Path::new(&path)).unwrap_or_else(|errors| panic!("{errors}"));
    let socket = desk_socket(config.manage.socket.parent().expect("a directory"));
    let mut appliance = Appliance::start(config).unwrap_or_else(|error| panic!("{error}"));
    let mut pool = appliance.take_circular_pool().expect("a circular pool");
    let listener = UnixListener::bind(socket).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u64;
    let accepted = loop {
        pool.turn(now());
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    accepted.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    let mut lines = BufReader::new(accepted.try_clone().expect("a socket"));
    let (mut answers, mut line) = (accepted, String::new());
    loop {
        pool.turn(now());
        match lines.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {
                let (answer, rest) = answer(pool.as_mut(), &line, now());
                writeln!(answers, "{answer}").expect("somebody reads");
                std::thread::sleep(rest);
                line.clear();
            }
            // What has come of a line stays in it.
            Err(_) => (),
        }
    }
    drop(pool);
    let summary = appliance.stop();
    let drops: u64 = summary.drops.iter().map(|(_, count)| count).sum();
    assert_eq!(
        summary.rx_packets + summary.originated_packets,
        summary.tx_packets + summary.local_packets + drops,
        "{summary}"
    );
}

/// `HOST PORT PROTOCOL RESOLVER` → the number of the address, or why not; `nothing MILLISECONDS`: no turn for so long after the
/// answer.
fn answer(pool: &mut dyn CircularPool, line: &str, now: u64) -> (String, Duration) {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["nothing", milliseconds] = words[..] {
        return ("from now on".into(), Duration::from_millis(milliseconds.parse().expect("a number")));
    }
    let [host, port, protocol, resolver] = words[..] else { panic!("{line}") };
    let question = Question {
        host: host.parse().expect("a number"),
        limits: HostLimits::default(),
        service: Service::new(port.parse().expect("a port"), protocol.parse().expect("a protocol")),
        resolver: resolver.parse::<IpAddr>().expect("an address"),
        realm: None,
        subnet: None,
        subnet_is_trusted: false,
        proof: Proof::LabelByTcp,
        carrier: Carrier::Udp,
    };
    let answer = match pool.question(&question, now) {
        Decision::Reserved { address, .. } => address.to_string(),
        other => format!("{other:?}"),
    };
    (answer, Duration::ZERO)
}

fn desk_socket(directory: &Path) -> PathBuf {
    directory.join("desk.socket")
}

/// The other end of it.
struct Running {
    child: Child,
    desk: BufReader<UnixStream>,
}

impl Running {
    fn start(bed: &Bed, config: &str) -> Running {
        let path = bed.configure(config);
        let log = std::fs::File::create(bed.directory.join("log")).expect("a file for the log");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "appliance", "--nocapture"]).env(CONFIG, path);
        let also = log.try_clone().expect("a file");
        let mut child = command.stdout(Stdio::from(also)).stderr(log).spawn().expect("this program");
        let start = Instant::now();
        let desk = loop {
            let ended = child.try_wait().expect("a child of ours");
            let log = || std::fs::read_to_string(bed.directory.join("log")).unwrap_or_default();
            assert!(ended.is_none() && start.elapsed() < Duration::from_secs(60), "{}", log());
            match UnixStream::connect(desk_socket(&bed.directory)) {
                Ok(desk) => break BufReader::new(desk),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Running { child, desk }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.desk.get_mut(), "{line}").expect("it listens");
        let mut answer = String::new();
        self.desk.read_line(&mut answer).expect("an answer");
        answer.trim().into()
    }

    /// The address that a question of `resolver` has reserved.
    fn reserve(&mut self, host: u32, service: Service, resolver: Ipv4Addr) -> Ipv4Addr {
        let Service { port, protocol } = service;
        let answer = self.ask(&format!("{host} {port} {protocol} {resolver}"));
        pool(answer.parse().unwrap_or_else(|_| panic!("no reservation: {answer}")))
    }

    fn end(mut self, bed: &Bed) {
        self.desk.get_ref().shutdown(std::net::Shutdown::Both).expect("a socket");
        let ended = self.child.wait().expect("a child of ours");
        let log = || std::fs::read_to_string(bed.directory.join("log")).unwrap_or_default();
        assert!(ended.success(), "{}", log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- packets ----

fn tcp(source: End, destination: End, flags: TcpFlags) -> Packet {
    Packet::new(source, destination, Carried::Tcp { flags, options: vec![] }, b"0123456789")
}

fn udp(source: End, destination: End) -> Packet {
    Packet::new(source, destination, Carried::Udp { unsummed: false }, b"0123456789abcdefghij")
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

fn ip_of(frame: &[u8]) -> Option<Ipv4<'_>> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    Ipv4::parse(link.payload).ok().filter(Ipv4::checksum_is_right)
}

/// Sends a packet from outside and waits until it is refused as its protocol is; its checksums are right.
fn is_refused(wires: &mut [Wire; 3], packet: &Packet) {
    let frame = packet.frame(GATEWAY, OWN[OUTSIDE]);
    let (source, destination) = (packet.source, packet.destination);
    let reset = |frame: &[u8]| {
        let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::TCP)?;
        let tcp = Tcp::parse(ip.payload()).ok().filter(|tcp| tcp.checksum_is_right(&ip.pseudo_header()))?;
        let ends = ((ip.source(), tcp.source_port()), (ip.destination(), tcp.destination_port()));
        let is_reset = tcp.flags() == TcpFlags::RST | TcpFlags::ACK;
        (is_reset && ends == (destination, source)).then_some(())
    };
    let error = |code: u8| {
        move |frame: &[u8]| {
            let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::ICMP)?;
            let icmp = Icmp::parse(ip.payload()).ok().filter(Icmp::checksum_is_right)?;
            let quoted = Ipv4::parse_quoted(icmp.quoted()?).ok()?;
            let is_it = icmp.kind() == IcmpType::DESTINATION_UNREACHABLE && icmp.code() == code;
            let ends = (ip.source(), ip.destination()) == (destination.0, source.0);
            (is_it && ends && quoted.destination() == destination.0).then_some(())
        }
    };
    match packet.carried {
        Carried::Tcp { .. } => exchange(wires, OUTSIDE, &frame, OUTSIDE, reset),
        Carried::Udp { .. } => exchange(wires, OUTSIDE, &frame, OUTSIDE, error(3)),
        _ => exchange(wires, OUTSIDE, &frame, OUTSIDE, error(13)),
    }
}

/// The ICMP error of this code about a packet that has come as `about`, from `reporter`.
fn unreachable(reporter: Ipv4Addr, code: u8, about: &Packet) -> Packet {
    let quote = &about.frame(HOST, GATEWAY)[14..];
    let mut message = vec![0; 8 + quote.len()];
    // Of code 4 the next hop's MTU, 1400.
    let parameter = if code == 4 { [0, 0, 5, 120] } else { [0; 4] };
    let header = icmp::Header { kind: IcmpType::DESTINATION_UNREACHABLE, code, parameter };
    header.emit(&mut message, quote).expect("there is room");
    Packet::new((reporter, 0), (about.source.0, 0), Carried::Raw(1), &message)
}

/// In both directions somebody reports on a packet of a session between `client` and `public`, and who had sent that hears of
/// what it knows; `seen` is the client as the host sees it, and `packet` one of the session's.
fn reports_cross(wires: &mut [Wire; 3], packet: fn(End, End) -> Packet, client: End, public: End, seen: End) {
    let (router, host) = (Ipv4Addr::new(192, 0, 2, 77), (PRIVATE, public.1));
    let mut crosses = |from: usize, report: Packet, to: usize, heard: Packet| {
        let (source, destination) = (heard.source, heard.destination);
        let expected = leaves(&heard, to, source, destination);
        let sender = if from == OUTSIDE { GATEWAY } else { HOST };
        let frame = report.frame(sender, OWN[from]);
        exchange(wires, from, &frame, to, |frame| (frame == expected).then_some(()));
    };
    let (sent, arrived) = (packet(host, seen), packet(public, client));
    crosses(OUTSIDE, unreachable(router, 4, &arrived), HOME, unreachable(router, 4, &sent));
    // Whoever reports inside, it is the session's address that speaks outside.
    let (sent, arrived) = (packet(client, public), packet(seen, host));
    let heard = unreachable(public.0, 3, &sent);
    for reporter in [PRIVATE, Ipv4Addr::new(10, 0, 0, 9)] {
        crosses(HOME, unreachable(reporter, 3, &arrived), OUTSIDE, heard.clone());
    }
}

const ACK: TcpFlags = TcpFlags::ACK;

/// A connection from its first packet to data in both directions; `seen` is the client as the host sees it.
fn connects(wires: &mut [Wire; 3], client: End, public: End, at: usize, seen: End) {
    let host = (PRIVATE, public.1);
    passes(wires, OUTSIDE, &tcp(client, public, TcpFlags::SYN), at, seen, host);
    passes(wires, at, &tcp(host, seen, TcpFlags::SYN | ACK), OUTSIDE, public, client);
    passes(wires, OUTSIDE, &tcp(client, public, ACK), at, seen, host);
    passes(wires, at, &tcp(host, seen, ACK), OUTSIDE, public, client);
}

/// What `cesctl show --json` answers.
fn show(bed: &Bed, what: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    let command = command.arg("--runtime-dir").arg(&bed.directory).args(["show", "--json", what]);
    let output = command.output().expect("cesctl is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sessions(bed: &Bed) -> u64 {
    show(bed, "prgw")["sessions"].as_u64().expect("a count")
}

fn counter(bed: &Bed, name: &str) -> u64 {
    let shown = show(bed, "prgw");
    let all = shown["counters"].as_array().expect("counters");
    let found = all.iter().find(|counter| counter["name"] == name).expect(name);
    found["count"].as_u64().expect("a count")
}

#[test]
fn what_a_name_reserves_the_first_packet_claims() {
    let beds = [Bed::new(), Bed::new()];
    let of = |bed: &Bed| ["home.memif", "twin.memif", "out.memif"].map(|name| bed.directory.join(name));
    let sockets: Vec<PathBuf> = beds.iter().flat_map(of).collect();
    let bench = Bench::new(&format!("{}-wire", beds[0].instance), sockets.clone());
    for (number, workers) in ["cores = [0]", "cores = [0, 1]\ndistribute = \"software\""].iter().enumerate() {
        let bed = &beds[number];
        let mut running = Running::start(bed, &config(&sockets[3 * number..], workers));
        let mut wires = [0, 1, 2].map(|side| bench.wire(3 * number + side, number as u16 + 1));
        announces_and_answers_arp(&mut wires);
        nobody_waits(&mut wires);
        let asked = ["rejected_nothing_waits", "rejected_not_syn", "rejected_remembered"];
        assert_eq!(
            asked.map(|name| counter(bed, name)),
            [0; 3],
            "the workers have refused them by themselves"
        );
        two_hosts_of_one_address(&mut running, bed, &mut wires);
        other_protocols(&mut running, bed, &mut wires);
        collisions(&mut running, &mut wires);
        first_packets_in_pieces(&mut running, bed, &mut wires);
        late_and_again(&mut running, bed, &mut wires);
        closing_connections(&mut running, bed, &mut wires);
        hairpins(&mut running, &mut wires);
        sessions_end(bed);
        drop(wires);
        running.end(bed);
    }
}

fn announces_and_answers_arp(wires: &mut [Wire; 3]) {
    let announced = |frame: &[u8]| {
        let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::ARP)?;
        Arp::parse(link.payload).ok().map(|arp| arp.target_ip)
    };
    let said = wire::listen(&mut wires[OUTSIDE], Duration::from_secs(3), announced);
    assert!((0..8).all(|number| said.contains(&pool(number))), "{said:?}");
    for target in [pool(0), pool(7)] {
        let mut frame = vec![0; 64];
        let request = Arp::request(GATEWAY, Ipv4Addr::new(203, 0, 113, 254), target);
        build::arp(&mut frame, &build::Path::untagged(GATEWAY, MacAddr::BROADCAST), &request)
            .expect("64 bytes");
        exchange(wires, OUTSIDE, &frame, OUTSIDE, |frame| {
            let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::ARP)?;
            let arp = Arp::parse(link.payload).ok()?;
            (arp.operation == Operation::Reply && arp.sender_ip == target).then_some(())
        });
    }
}

/// Each kind is refused in its own way, by the worker alone.
fn nobody_waits(wires: &mut [Wire; 3]) {
    is_refused(wires, &tcp((CLIENT, 4000), (pool(3), 443), TcpFlags::SYN));
    is_refused(wires, &udp((CLIENT, 4000), (pool(3), 53)));
    let echo = Carried::EchoRequest { sequence: 1 };
    is_refused(wires, &Packet::new((CLIENT, 77), (pool(3), 0), echo, b"0123456789abcdefghij"));
    is_refused(wires, &Packet::new((CLIENT, 0), (pool(3), 0), Carried::Raw(47), b"0123456789abcdefghijkl"));
}

fn two_hosts_of_one_address(running: &mut Running, bed: &Bed, wires: &mut [Wire; 3]) {
    for (host, at) in [(HOSTS[0], HOME), (HOSTS[1], TWIN)] {
        let client = (CLIENT, 5000 + at as u16);
        let public = (running.reserve(host, TCP_443, CLIENT), 443);
        wait("it to be shown", || show(bed, "prgw")["busy"] == 1);
        // What is not reserved is refused all the while.
        is_refused(wires, &udp(client, public));
        connects(wires, client, public, at, client);
        // Its first packet once more is its session's; another's is nobody's.
        passes(wires, OUTSIDE, &tcp(client, public, TcpFlags::SYN), at, client, (PRIVATE, 443));
        is_refused(wires, &tcp((CLIENT, 6000 + at as u16), public, TcpFlags::SYN));
        // Whatever else the host sends goes by its mapping.
        let other = udp((PRIVATE, 4000), (CLIENT, 53));
        let out = exchange(wires, at, &other.frame(HOST, OWN[at]), OUTSIDE, |frame| {
            ip_of(frame).filter(|ip| ip.protocol() == Protocol::UDP).map(|ip| ip.source())
        });
        assert_eq!(out, Ipv4Addr::new(203, 0, 113, 16));
    }
    wait("both to be told of", || sessions(bed) == 2);
    let shown = show(bed, "prgw");
    assert_eq!((&shown["addresses"], &shown["busy"], &shown["tier"]), (&8.into(), &0.into(), &0.into()));
    assert_eq!(counter(bed, "claimed"), 2);
}

fn other_protocols(running: &mut Running, bed: &Bed, wires: &mut [Wire; 3]) {
    let other = Ipv4Addr::new(192, 0, 2, 9);
    let claimed = counter(bed, "claimed");
    let (client, public) = ((other, 5300), (running.reserve(HOSTS[0], Service::ALL, other), 53));
    passes(wires, OUTSIDE, &udp(client, public), HOME, client, (PRIVATE, 53));
    passes(wires, OUTSIDE, &udp(client, public), HOME, client, (PRIVATE, 53));
    passes(wires, HOME, &udp((PRIVATE, 53), client), OUTSIDE, public, client);
    reports_cross(wires, udp, client, public, client);

    let address = running.reserve(HOSTS[1], Service::ALL, other);
    let request = Carried::EchoRequest { sequence: 1 };
    let text = b"0123456789abcdefghij";
    let request = Packet::new((other, 99), (address, 0), request, text);
    passes(wires, OUTSIDE, &request, TWIN, (other, 99), (PRIVATE, 0));
    let reply = Packet::new((PRIVATE, 0), (other, 99), Carried::EchoReply { sequence: 1 }, text);
    passes(wires, TWIN, &reply, OUTSIDE, (address, 0), (other, 99));

    let address = running.reserve(HOSTS[0], Service::ALL, other);
    let gre = Packet::new((other, 0), (address, 0), Carried::Raw(47), b"0123456789abcdefghijkl");
    passes(wires, OUTSIDE, &gre, HOME, (other, 0), (PRIVATE, 0));
    wait("three claims", || counter(bed, "claimed") == claimed + 3);
}

/// The same client socket by two addresses to the same port of a host.
fn collisions(running: &mut Running, wires: &mut [Wire; 3]) {
    let client = (CLIENT, 5500);
    let first = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    connects(wires, client, first, HOME, client);
    let second = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    assert_ne!(first, second, "it avoids where the asker has sessions");
    connects(wires, client, second, HOME, (second.0, client.1));
    let third = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    assert!(third != first && third != second);
    connects(wires, client, third, HOME, (third.0, client.1));
    // None has taken another's place.
    for (public, seen) in [(first, client), (second, (second.0, 5500)), (third, (third.0, 5500))] {
        passes(wires, OUTSIDE, &tcp(client, public, ACK), HOME, seen, (PRIVATE, 443));
        passes(wires, HOME, &tcp((PRIVATE, 443), seen, ACK), OUTSIDE, public, client);
        reports_cross(wires, |source, destination| tcp(source, destination, ACK), client, public, seen);
    }
}

/// A first packet that comes in two pieces, in either order, reaches its host in both; one that nobody waits for in none, and is
/// refused once.
fn first_packets_in_pieces(running: &mut Running, bed: &Bed, wires: &mut [Wire; 3]) {
    let other = Ipv4Addr::new(192, 0, 2, 33);
    for (identification, order) in [(0x1234, [0, 1]), (0x4321, [1, 0])] {
        let (claimed, followed) = (counter(bed, "claimed"), counter(bed, "followed"));
        let (client, public) =
            ((other, identification), (running.reserve(HOSTS[0], Service::ALL, other), 53));
        let datagram = Packet::new(client, public, Carried::Udp { unsummed: false }, &[0x5a; 300]);
        let pieces = cut_in_two(&datagram.frame(GATEWAY, OWN[OUTSIDE]), identification);
        // Both are there before anybody says whose they are.
        running.ask("nothing 300");
        order.iter().for_each(|&piece: &usize| wires[OUTSIDE].send(&pieces[piece]));
        let of_client = |frame: &[u8]| ip_of(frame).filter(|ip| ip.source() == other).map(|_| frame.to_vec());
        let heard = wire::listen(&mut wires[HOME], Duration::from_secs(1), of_client);
        let heard = pieces::together(&heard);
        let whole = leaves(&datagram, HOME, client, (PRIVATE, 53));
        assert_eq!(heard.whole, [pieces::may_be_cut(whole, identification)]);
        assert_eq!((heard.cut, heard.lone, heard.largest), (vec![identification], 0, 20 + 208));
        assert_eq!((counter(bed, "claimed"), counter(bed, "followed")), (claimed + 1, followed + 1));
    }
    let rejected = || show(bed, "counters")["drops"]["prgw_rejected"]["total"].as_u64().expect("a count");
    let public = (running.reserve(HOSTS[0], TCP_443, other), 53);
    for carried in [Carried::Udp { unsummed: false }, Carried::Tcp { flags: TcpFlags::SYN, options: vec![] }]
    {
        let datagram = Packet::new((other, 77), public, carried, &[0x5a; 300]);
        let (pieces, before) = (cut_in_two(&datagram.frame(GATEWAY, OWN[OUTSIDE]), 0x7777), rejected());
        pieces.iter().for_each(|piece| wires[OUTSIDE].send(piece));
        let answers = |frame: &[u8]| ip_of(frame).filter(|ip| ip.destination() == other).map(|_| ());
        assert_eq!(wire::listen(&mut wires[OUTSIDE], Duration::from_secs(1), answers).len(), 1);
        assert_eq!(rejected(), before + 2);
    }
}

fn cut_in_two(frame: &[u8], identification: u16) -> Vec<Vec<u8>> {
    let pieces = pieces::cut(&pieces::may_be_cut(frame.to_vec(), identification), 208);
    assert_eq!(pieces.len(), 2);
    pieces
}

fn late_and_again(running: &mut Running, bed: &Bed, wires: &mut [Wire; 3]) {
    let public = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    std::thread::sleep(Duration::from_millis(TIMEOUT + 100));
    is_refused(wires, &tcp((CLIENT, 7000), public, TcpFlags::SYN));
    wait("its end", || show(bed, "prgw")["waiting"] == 0);

    // While nobody takes first packets they wait in the ring, three of one connection, and all are that one's.
    let (client, claimed) = ((CLIENT, 7001), counter(bed, "claimed"));
    let public = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    running.ask("nothing 1500");
    let syn = tcp(client, public, TcpFlags::SYN);
    let frame = syn.frame(GATEWAY, OWN[OUTSIDE]);
    for _ in 0..2 {
        assert!(is_silent(wires, OUTSIDE, &frame, HOME, |frame| ip_of(frame).map(|_| ())));
    }
    connects(wires, client, public, HOME, client);
    wait("one claim of several packets", || {
        (counter(bed, "claimed"), counter(bed, "repeated") > 0) == (claimed + 1, true)
    });

    // Who was rejected does not claim what somebody has reserved since.
    let stray = (CLIENT, 7002);
    let at = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    is_refused(wires, &tcp(stray, (at.0, 80), TcpFlags::SYN));
    for _ in 0..8 {
        running.reserve(HOSTS[1], Service::new(80, 6), CLIENT);
    }
    is_refused(wires, &tcp(stray, (at.0, 80), TcpFlags::SYN));
    std::thread::sleep(Duration::from_millis(TIMEOUT + 100));
}

/// A connection that is over but for its rest gives way to what a name has reserved since, whoever's that is.
fn closing_connections(running: &mut Running, bed: &Bed, wires: &mut [Wire; 3]) {
    let client = (CLIENT, 8000);
    let public = (running.reserve(HOSTS[0], TCP_443, CLIENT), 443);
    connects(wires, client, public, HOME, client);
    wait("all of them to be told of", || sessions(bed) == 7);
    let claimed = counter(bed, "claimed");
    let fin = TcpFlags::FIN | ACK;

    // As long as it lives its address may be reserved, and a SYN is still its own.
    reserve_at(running, public.0);
    passes(wires, OUTSIDE, &tcp(client, public, TcpFlags::SYN), HOME, client, (PRIVATE, 443));
    passes(wires, OUTSIDE, &tcp(client, public, fin), HOME, client, (PRIVATE, 443));
    passes(wires, HOME, &tcp((PRIVATE, 443), client, fin), OUTSIDE, public, client);
    connects(wires, client, public, TWIN, client);
    wait("the old one to be told of", || counter(bed, "claimed") == claimed + 1 && sessions(bed) == 7);

    // While all that waits there is for something else the SYN goes the old way.
    passes(wires, OUTSIDE, &tcp(client, public, fin), TWIN, client, (PRIVATE, 443));
    passes(wires, TWIN, &tcp((PRIVATE, 443), client, fin), OUTSIDE, public, client);
    for n in 0..8 {
        running.reserve(HOSTS[0], Service::new(80, 6), Ipv4Addr::new(192, 0, 2 + n, 9));
    }
    let refused = || show(bed, "counters")["drops"]["prgw_rejected"]["total"].as_u64().expect("a count");
    let (rejected, before) = (counter(bed, "rejected_nothing_waits"), refused());
    passes(wires, OUTSIDE, &tcp(client, public, TcpFlags::SYN), TWIN, client, (PRIVATE, 443));
    wait("the edge to have been asked", || counter(bed, "rejected_nothing_waits") > rejected);
    assert_eq!(refused(), before, "and the client was told nothing");
}

/// A subscriber comes by the other's name: translated on its way out, and a client like any on its way in.
fn hairpins(running: &mut Running, wires: &mut [Wire; 3]) {
    let caller = (PRIVATE, 9000);
    let public = (running.reserve(HOSTS[1], TCP_443, Ipv4Addr::new(192, 0, 2, 9)), 443);
    let syn = tcp(caller, public, TcpFlags::SYN).frame(HOST, OWN[HOME]);
    let seen = exchange(wires, HOME, &syn, TWIN, |frame| {
        let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::TCP && ip.destination() == PRIVATE)?;
        let tcp = Tcp::parse(ip.payload()).ok().filter(|tcp| tcp.checksum_is_right(&ip.pseudo_header()))?;
        Some((ip.source(), tcp.source_port()))
    });
    assert_eq!(seen.0, Ipv4Addr::new(203, 0, 113, 16));
    passes(wires, TWIN, &tcp((PRIVATE, 443), seen, TcpFlags::SYN | ACK), HOME, public, caller);
    passes(wires, HOME, &tcp(caller, public, ACK), TWIN, seen, (PRIVATE, 443));

    // Nobody waits for this one, and it hears so.
    let stray = tcp((PRIVATE, 9001), (public.0, 22), TcpFlags::SYN).frame(HOST, OWN[HOME]);
    let code = exchange(wires, HOME, &stray, HOME, |frame| {
        let ip = ip_of(frame).filter(|ip| ip.protocol() == Protocol::ICMP && ip.destination() == PRIVATE)?;
        let icmp = Icmp::parse(ip.payload()).ok().filter(Icmp::checksum_is_right)?;
        let quoted = Ipv4::parse_quoted(icmp.quoted()?).ok()?;
        ((quoted.source(), quoted.destination()) == (PRIVATE, public.0)).then(|| icmp.code())
    });
    assert_eq!(code, 13);
}

/// Reserves for the second host, from elsewhere, until it is at that address.
fn reserve_at(running: &mut Running, address: Ipv4Addr) {
    let mut others = (0..8).map(|n| running.reserve(HOSTS[1], TCP_443, Ipv4Addr::new(192, 0, 2 + n, 9)));
    assert!(others.any(|other| other == address));
}

/// What is over is counted no longer: all but TCP's.
fn sessions_end(bed: &Bed) {
    // Two hosts, three collisions, one that was waited for, one that was closed twice, one of a subscriber's.
    wait("sessions to end", || sessions(bed) == 2 + 3 + 1 + 1 + 1);
    assert_eq!(
        (counter(bed, "commands_lost"), counter(bed, "no_host"), counter(bed, "unconfirmed")),
        (0, 0, 0)
    );
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
