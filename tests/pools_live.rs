//! Pools that are drained and removed while a process runs and forwards, and formulas that say what the wire shows.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;
#[path = "support/wire.rs"]
mod wire;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::arp::Operation;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{Arp, EtherType, Ipv4, Link, MacAddr, Protocol, Udp, ipv4, udp};
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::{Value, json};
use wire::{Bench, Wire, exchange, is_silent};

const INSIDE: usize = 0;
const OUTSIDE: usize = 1;
const OWN: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
const HOSTS: MacAddr = MacAddr([2, 0, 0, 0, 1, 0]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 2, 0]);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

type Endpoint = (Ipv4Addr, u16);

fn config(sockets: &[PathBuf], workers: &str) -> String {
    let [inside, outside] = [0, 1].map(|n| wire::server(&sockets[n], n, &OWN[n].to_string()));
    let neighbor =
        |host| format!("[[neighbor]]\ninterface = \"in\"\naddress = \"10.0.0.{host}\"\nmac = \"{HOSTS}\"\n");
    let neighbors: String = [2, 3, 65].map(neighbor).concat();
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"in\"\ndevice = \"{inside}\"\n[[port]]\nname = \"out\"\ndevice = \"{outside}\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\"\nmac = \"{GATEWAY}\"\n{neighbors}\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\n\
         [[nat44.pools]]\nname = \"formula\"\naddresses = [\"203.0.113.48/31\"]\n\
         subscribers = [\"10.0.0.64/26\"]\ndeterministic = true\n\
         [[nat44.pools]]\nname = \"first\"\naddresses = [\"203.0.113.16\"]\n\
         [[nat44.pools]]\nname = \"second\"\naddresses = [\"203.0.113.32\"]\n"
    )
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn datagram((from, to): (MacAddr, MacAddr), source: Endpoint, destination: Endpoint) -> Vec<u8> {
    let header = ipv4::Header::new(source.0, destination.0, Protocol::UDP);
    let ports = udp::Header { source_port: source.1, destination_port: destination.1 };
    let mut frame = vec![0; 100];
    let (ip, transport) = (Ip::V4(header), Transport::Udp(ports, &[7; 58]));
    build::frame(&mut frame, &Path::untagged(from, to), &ip, &transport).expect("100 bytes");
    frame
}

/// Source and destination of a datagram.
fn ends(frame: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::IPV4)?;
    let ip = Ipv4::parse(link.payload).ok().filter(|ip| ip.protocol() == Protocol::UDP)?;
    let udp = Udp::parse(ip.payload()).ok()?;
    Some(((ip.source(), udp.source_port()), (ip.destination(), udp.destination_port())))
}

/// The public endpoint that the outside sees of a host's.
fn translated(wires: &mut [Wire; 2], from: Endpoint, remote_port: u16) -> Endpoint {
    let to = (REMOTE, remote_port);
    let frame = datagram((HOSTS, OWN[INSIDE]), from, to);
    exchange(wires, INSIDE, &frame, OUTSIDE, |frame| ends(frame).filter(|(_, d)| *d == to).map(|(s, _)| s))
}

fn answer(public: Endpoint) -> Vec<u8> {
    datagram((GATEWAY, OWN[OUTSIDE]), (REMOTE, 53), public)
}

/// Who an answer to a public endpoint comes to.
fn heard(frame: &[u8]) -> Option<Endpoint> {
    ends(frame).filter(|(source, _)| source.0 == REMOTE).map(|(_, destination)| destination)
}

/// Who has this address on the link outside?
fn asks(target: Ipv4Addr) -> (Vec<u8>, impl Fn(&[u8]) -> Option<()>) {
    let mut frame = vec![0; 64];
    let request = Arp::request(GATEWAY, Ipv4Addr::new(203, 0, 113, 254), target);
    build::arp(&mut frame, &Path::untagged(GATEWAY, MacAddr::BROADCAST), &request).expect("64 bytes");
    let is_answer = move |frame: &[u8]| {
        let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::ARP)?;
        let arp = Arp::parse(link.payload).ok()?;
        (arp.operation == Operation::Reply && arp.sender_ip == target).then_some(())
    };
    (frame, is_answer)
}

/// What `cesctl` answers, or why it was refused.
fn ask(bed: &Bed, what: &str) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    command.arg("--runtime-dir").arg(&bed.directory).args(what.split(' ')).arg("--json");
    let output = command.output().expect("cesctl is there");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A pool as it is shown.
fn pool(bed: &Bed, name: &str) -> Value {
    let pools = show(bed, &["pools"]);
    let found = pools.as_array().expect("pools").iter().find(|pool| pool["name"] == name);
    found.expect("it is shown").clone()
}

/// Sessions with that address.
fn sessions(bed: &Bed, address: Ipv4Addr) -> u64 {
    let flows = show(bed, &["flows", "--limit", "0", "--host", &address.to_string()]);
    flows["total_matched"].as_u64().expect("a count")
}

#[test]
fn pools_are_drained_and_removed_and_formulas_tell_the_truth() {
    let beds = [Bed::new(), Bed::new(), Bed::new()];
    let of = |bed: &Bed| ["in.memif", "out.memif"].map(|name| bed.directory.join(name));
    let sockets: Vec<PathBuf> = beds.iter().flat_map(of).collect();
    let bench = Bench::new(&format!("{}-wire", beds[0].instance), sockets.clone());
    announcements(&bench, &beds[2], &sockets[4..]);
    for (number, workers) in ["cores = [0]", "cores = [0, 1]\ndistribute = \"software\""].iter().enumerate() {
        let bed = &beds[number];
        bed.configure(&config(&sockets[2 * number..], workers));
        let running = Running::start(bed);
        let mut wires = [0, 1].map(|side| bench.wire(2 * number + side, number as u16 + 1));
        let (first, second) = (Ipv4Addr::new(203, 0, 113, 16), Ipv4Addr::new(203, 0, 113, 32));
        let (question, is_answer) = asks(first);
        exchange(&mut wires, OUTSIDE, &question, OUTSIDE, is_answer);

        formulas(bed, &mut wires);
        let old = drains(bed, &mut wires, [first, second]);
        removes(bed, &mut wires, [first, second], old);
        refusals(bed);
        drop(wires);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(Duration::from_secs(2)).code(), Some(0));
        let log = std::fs::read_to_string(bed.directory.join("log")).expect("a log");
        assert!(
            log.contains("pool \"first\" is draining") && log.contains("pool \"first\" is removed"),
            "{log}"
        );
    }
}

/// What is said at start about the addresses of a pool ends with it.
fn announcements(bench: &Bench, bed: &Bed, sockets: &[PathBuf]) {
    // Slowly enough that there is much left to say.
    bed.configure(&config(sockets, "cores = [0]\n[limits]\narp_per_second = 20"));
    let _running = Running::start(bed);
    ask(bed, "pool remove first").expect("removed");
    let mut wires = [4, 5].map(|number| bench.wire(number, 1));
    let announced = |frame: &[u8]| {
        let link = Link::parse(frame).ok().filter(|link| link.ether_type == EtherType::ARP)?;
        Arp::parse(link.payload).ok().map(|arp| arp.target_ip.octets()[3])
    };
    let said = wire::listen(&mut wires[OUTSIDE], Duration::from_secs(5), announced);
    assert!([1, 32, 48, 49].iter().all(|own| said.contains(own)), "{said:?}");
    assert!(!said.contains(&16), "{said:?}");
}

/// RFC 7422 section 2, both ways, against what is sent.
fn formulas(bed: &Bed, wires: &mut [Wire; 2]) {
    let (public, port) = translated(wires, (host(65), 4000), 53);
    let said = ask(bed, "nat44 inside home 10.0.0.65").expect("an answer");
    let ports = |said: &Value, end: &str| said[0]["ports"][end].as_u64().expect("a port") as u16;
    let (low, high) = (ports(&said, "first"), ports(&said, "last"));
    assert_eq!((&said[0]["public"], &said[0]["pool"]), (&json!(public), &json!("formula")));
    assert!((low..=high).contains(&port) && high - low + 1 == 2016, "{port} of {said}");
    for port in [low, port, high] {
        assert_eq!(ask(bed, &format!("nat44 public {public} {port}")).expect("an answer"), said);
    }
    for (port, neighbor) in [(low - 1, "10.0.0.64"), (high + 1, "10.0.0.66")] {
        let said = ask(bed, &format!("nat44 public {public} {port}")).expect("an answer");
        assert_eq!((&said[0]["inside"], &said[0]["realm"]), (&json!(neighbor), &json!("home")));
    }
    let shown = pool(bed, "formula");
    assert_eq!(shown["sharing"]["deterministic"], json!({"ratio": 32, "ports_each": 2016}));
    assert_eq!((&shown["blocks"], &shown["blocks_leased"]), (&json!(64), &json!(1)));
    assert_eq!(shown["in_use"], json!({"tcp": 0, "udp": 1, "icmp": 0, "other": 0}));
}

/// Old mappings live on, new ones go to the other pool; the public endpoint of an old one.
fn drains(bed: &Bed, wires: &mut [Wire; 2], [first, second]: [Ipv4Addr; 2]) -> Endpoint {
    let old = translated(wires, (host(2), 4000), 53);
    assert_eq!(old.0, first);
    assert_eq!(ask(bed, "pool drain first").expect("drained")["changed"], true);
    let again = ask(bed, "pool drain first").expect("drained already");
    assert_eq!((&again["changed"], &again["pool"]["state"]), (&json!(false), &json!("draining")));

    assert_eq!(translated(wires, (host(2), 4000), 99), old, "an old mapping opens sessions");
    let back = exchange(wires, OUTSIDE, &answer(old), INSIDE, heard);
    assert_eq!(back, (host(2), 4000), "and has its answers");
    assert_eq!(translated(wires, (host(2), 4001), 53).0, second, "a new endpoint of an old subscriber");
    assert_eq!(translated(wires, (host(3), 4000), 53).0, second, "a new subscriber");
    let shown = pool(bed, "first");
    assert_eq!((&shown["state"], &shown["blocks_leased"]), (&json!("draining"), &json!(1)));
    assert_eq!((&shown["in_use"]["udp"], &pool(bed, "second")["in_use"]["udp"]), (&json!(1), &json!(2)));

    assert_eq!(ask(bed, "pool undrain first").expect("undrained")["pool"]["state"], "active");
    assert_eq!(ask(bed, "pool undrain first").expect("undrained already")["changed"], false);
    assert_eq!(translated(wires, (host(4), 4000), 53).0, first, "a newcomer comes to it again");
    assert_eq!(translated(wires, (host(3), 4001), 53).0, second, "and nobody leaves his address for it");
    old
}

/// Sessions end, the address is nobody's, and the other pool takes no notice.
fn removes(bed: &Bed, wires: &mut [Wire; 2], [first, second]: [Ipv4Addr; 2], old: Endpoint) {
    let (before, others) = (sessions(bed, first), sessions(bed, second));
    assert_eq!((before, others), (3, 3));
    let (question, is_answer) = asks(first);
    exchange(wires, OUTSIDE, &question, OUTSIDE, &is_answer);
    let start = Instant::now();
    assert_eq!(ask(bed, "pool remove first").expect("removed")["changed"], true);
    assert!(start.elapsed() < Duration::from_secs(1), "it is not waited for");
    assert!(is_silent(wires, OUTSIDE, &question, OUTSIDE, is_answer), "ARP is not answered");
    let (question, is_answer) = asks(second);
    exchange(wires, OUTSIDE, &question, OUTSIDE, is_answer);

    while sessions(bed, first) > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "sessions of a removed pool live on");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(sessions(bed, second), others);
    let shown = pool(bed, "first");
    assert_eq!((&shown["state"], &shown["blocks_leased"]), (&json!("removed"), &json!(0)));
    assert_eq!((&shown["blocks_resting"], &shown["in_use"]["udp"]), (&json!(2), &json!(0)));
    assert!(is_silent(wires, OUTSIDE, &answer(old), INSIDE, heard), "nothing comes in by it");
    assert_eq!(translated(wires, (host(2), 4000), 53).0, second);
    assert_eq!(ask(bed, "pool remove first").expect("removed already")["changed"], false);
    for change in ["undrain", "drain"] {
        let refused = ask(bed, &format!("pool {change} first")).expect_err("for good");
        assert!(
            refused.contains("pool \"first\" is removed") && refused.contains("start cesd again"),
            "{refused}"
        );
    }
}

fn refusals(bed: &Bed) {
    for (what, message, hint) in [
        ("pool drain third", "no pool is named \"third\"", "the pools are formula, first, second"),
        ("nat44 inside homes 10.0.0.65", "no realm is named \"homes\"", "home, internet"),
        ("nat44 inside home 10.0.0.2", "no deterministic pool counts 10.0.0.2 of realm", "pools are formula"),
        ("nat44 inside internet 10.0.0.65", "no deterministic pool counts", "show flows --host 10.0.0.65"),
        ("nat44 public 203.0.113.32 2000", "pool \"second\" is not deterministic", "--host 203.0.113.32"),
        ("nat44 public 203.0.113.50 2000", "203.0.113.50 is in no pool", "show pools"),
        ("nat44 public 203.0.113.48 1023", "gives port 1023 of 203.0.113.48 to nobody", "1024-65535"),
    ] {
        let refused = ask(bed, what).expect_err(what);
        assert!(refused.contains(message) && refused.contains(hint), "{what}: {refused}");
    }
}
