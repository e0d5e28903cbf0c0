//! The edge's DNS in a running process, asked by `dig` and `nsupdate` over real links, in network namespaces of the test's own.
//!
//! Needs root, as the machines that run the other tests with namespaces do, and bind9-dnsutils.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/running.rs"]
mod running;
/// The program in the namespace of its links.
mod cesd {
    use std::process::{Command, Stdio};

    use crate::bed::Bed;

    pub fn cesd(bed: &Bed) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &crate::name(bed, "edge"), env!("CARGO_BIN_EXE_cesd")]);
        command.args(["--config", "cesd.toml"]).current_dir(&bed.directory).stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", &bed.directory);
        command
    }
}

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bed::Bed;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::Value;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// As the edge is asked from each side.
const INSIDE: &str = "10.0.0.1";
const OUTSIDE: &str = "203.0.113.1";

/// The namespace of that role.
fn name(bed: &Bed, role: &str) -> String {
    format!("ces-t-dns-{}-{role}", bed.instance)
}

/// Hosts inside and outside of an edge, each in a namespace; all go when dropped.
struct Lab {
    bed: Bed,
}

const ROLES: [&str; 5] = ["edge", "own", "home", "office", "internet"];

impl Lab {
    fn new() -> Lab {
        let lab = Lab { bed: Bed::new() };
        for role in ROLES {
            run("ip", &["netns", "add", &lab.name(role)]);
            lab.ip(role, "link set lo up");
        }
        for (role, port) in [("home", "port-home"), ("office", "port-office"), ("internet", "port-out")] {
            lab.ip("edge", &format!("link add {port} type veth peer name eth0 netns {}", lab.name(role)));
            for (role, device) in [("edge", port), (role, "eth0")] {
                // Frames cross whole and with their checksums.
                run("ip", &["netns", "exec", &lab.name(role), "ethtool", "-K", device, "tx", "off"]);
                lab.ip(role, &format!("link set {device} up"));
            }
        }
        for (role, device, address) in [
            ("home", "eth0", "10.0.0.2/24"),
            ("home", "eth0", "fd00::2/64"),
            ("office", "eth0", "10.0.100.2/24"),
            ("internet", "eth0", "203.0.113.2/24"),
            ("internet", "eth0", "203.0.113.66/24"),
            ("internet", "eth0", "2001:db8::2/64"),
        ] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            lab.ip(role, &format!("address add {address} dev {device}{nodad}"));
        }
        lab
    }

    fn name(&self, role: &str) -> String {
        name(&self.bed, role)
    }

    fn ip(&self, role: &str, arguments: &str) {
        let name = self.name(role);
        let arguments: Vec<&str> = ["-n", &name].into_iter().chain(arguments.split(' ')).collect();
        run("ip", &arguments);
    }

    /// What `dig` prints in the namespace of `role`, whatever its exit code.
    fn dig(&self, role: &str, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(role), "dig", "+tries=1", "+time=3"]);
        let output = command.args(arguments.split(' ')).output().expect("dig runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Has an answer section, or whatever else `dig` prints, that contains each of `expected`.
    fn answers(&self, role: &str, arguments: &str, expected: &[&str]) {
        let answer = self.dig(role, arguments);
        let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in expected {
            assert!(words.contains(expected), "{arguments}: {expected:?} is not in {answer}");
        }
    }

    /// `nsupdate` with the key of the configuration.
    fn update(&self, key: &str, commands: &str) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name("home"), "nsupdate", "-t", "5", "-y"]);
        command.arg(format!("hmac-sha256:dhcp.ces.example:{key}")).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("nsupdate runs");
        let text = format!("server {INSIDE}\nzone ces.example\n{commands}\nsend\n");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it listens");
        let output = child.wait_with_output().expect("it ends");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Acts in the namespace of `role`.
    fn inside<R: Send>(&self, role: &str, act: impl FnOnce() -> R + Send) -> R {
        let path = format!("/run/netns/{}", self.name(role));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(std::fs::File::open(path).expect("the namespace"), CloneFlags::CLONE_NEWNET)
                    .expect("entered");
                act()
            });
            thread.join().expect("the thread")
        })
    }

    fn configure(&self, more: &str) {
        let store = self.bed.directory.join("hosts");
        let own = self.name("own");
        self.bed.configure(&format!(
            r#"
[eal]
huge_pages = "none"
[workers]
cores = [0]
idle = "sleep"
[flow]
sessions = 1024
[exception]
netns = "{own}"
[[port]]
name = "home"
device = "net_af_packet0,iface=port-home,framecnt=512,qdisc_bypass=1"
[[port]]
name = "office"
device = "net_af_packet2,iface=port-office,framecnt=512,qdisc_bypass=1"
[[port]]
name = "out"
device = "net_af_packet1,iface=port-out,framecnt=512,qdisc_bypass=1"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "office"
side = "inside"
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "home"
realm = "home"
addresses = ["10.0.0.1/24", "fd00::1/64"]
[[interface]]
port = "office"
realm = "office"
addresses = ["10.0.100.1/24"]
[[interface]]
port = "out"
realm = "internet"
addresses = ["203.0.113.1/24", "2001:db8::1/64"]
[hosts]
store = "{}"
[[host]]
name = "a.ces.example"
realm = "home"
addresses = ["10.0.0.2", "fd00::2", "198.51.100.7"]
services = [{{ name = "www.ces.example", protocol = "tcp", port = 443 }}]
[[host]]
name = "b.ces.example"
realm = "office"
addresses = ["10.0.100.2"]
{more}
"#,
            store.display()
        ));
    }

    fn start(&self) -> Running {
        Running::start(&self.bed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for role in ROLES {
            let _ =
                Command::new("ip").args(["netns", "del", &self.name(role)]).stderr(Stdio::null()).status();
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Zones, one of them with more text than a datagram takes.
fn zones() -> String {
    let text: Vec<String> = (0..8).map(|n| format!("\"{}\"", n.to_string().repeat(250))).collect();
    format!(
        r#"
[dns]
[[dns.zones]]
apex = "ces.example"
serial = 7
text = ["a carrier's zone"]
[[dns.zones.name_servers]]
name = "ns1.ces.example"
addresses = ["203.0.113.1", "2001:db8::1"]
[[dns.zones]]
apex = "long.example"
text = [{}]
[[dns.zones.name_servers]]
name = "ns1.ces.example"
[[dns.zones]]
apex = "10.in-addr.arpa"
inside_only = true
[[dns.zones.name_servers]]
name = "ns1.ces.example"
[[dns.keys]]
name = "dhcp.ces.example"
secret = "{SECRET}"
realm = "home"
zones = ["ces.example", "10.in-addr.arpa"]
"#,
        text.join(", ")
    )
}

fn end(running: Running) {
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(10)).code(), Some(0));
}

fn dropped(bed: &Bed, reason: &str) -> u64 {
    show(bed, &["counters"])["drops"][reason]["total"].as_u64().unwrap_or(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn names_are_answered_by_udp_and_tcp_on_every_side() {
    let lab = Lab::new();
    lab.configure(&zones());
    let running = lab.start();
    let (ours, none) = ("flags: qr aa", "ANSWER: 0");
    // From the inside: addresses of the realm, by both families.
    for (role, server, name, family, address) in [
        ("home", INSIDE, "a.ces.example", "A", "10.0.0.2"),
        ("home", INSIDE, "a.ces.example", "A", "198.51.100.7"),
        ("home", INSIDE, "A.CES.example", "AAAA", "fd00::2"),
        ("home", "fd00::1", "a.ces.example", "A", "10.0.0.2"),
        ("home", "fd00::1", "www.ces.example", "AAAA", "fd00::2"),
        ("office", "10.0.100.1", "b.ces.example", "A", "10.0.100.2"),
    ] {
        let record = format!("{name}. 300 IN {family} {address}");
        lab.answers(role, &format!("@{server} {name} {family}"), &[ours, &record]);
        lab.answers(role, &format!("@{server} +tcp {name} {family}"), &[ours, &record]);
    }
    lab.answers("home", &format!("@{INSIDE} -x 10.0.0.2"), &["IN PTR a.ces.example."]);
    // Another realm's host is nobody, and others' names are not looked for.
    lab.answers("home", &format!("@{INSIDE} b.ces.example"), &["status: NXDOMAIN"]);
    lab.answers("home", &format!("@{INSIDE} www.example.org"), &["status: REFUSED"]);

    // From the outside.
    for server in [OUTSIDE, "2001:db8::1"] {
        for (question, expected) in [
            ("ns1.ces.example", &[ours, "ns1.ces.example. 300 IN A 203.0.113.1"][..]),
            ("ces.example SOA", &["IN SOA ns1.ces.example. hostmaster.ces.example. 7 3600 600 604800 60"]),
            ("ces.example NS", &["IN NS ns1.ces.example.", "ns1.ces.example. 300 IN AAAA 2001:db8::1"]),
            ("ces.example TXT", &["\"a carrier's zone\""]),
            ("nobody.ces.example", &["status: NXDOMAIN", none, "ces.example. 60 IN SOA"]),
            ("ces.example MX", &["status: NOERROR", none, "ces.example. 60 IN SOA"]),
            // Its private address is nobody's business, and there is no pool.
            ("a.ces.example", &["status: NOERROR", none, "ces.example. 60 IN SOA"]),
            ("a.ces.example AAAA", &["status: NOERROR", none, "IN SOA"]),
            ("ces.example SOA +bufsize=4096", &["EDNS: version: 0", "udp: 1232"]),
            ("ces.example SOA +edns=1 +noednsneg", &["status: BADVERS"]),
            ("ces.example SOA +cookie", &["(good)"]),
            ("ces.example AXFR", &["Transfer failed"]),
        ] {
            lab.answers("internet", &format!("@{server} {question}"), expected);
        }
        // More than a datagram takes: TC, then TCP.
        let long = format!("\"{}\"", "7".repeat(250));
        let question = format!("@{server} long.example TXT");
        lab.answers("internet", &question, &["Truncated, retrying in TCP mode", &long]);
        lab.answers("internet", &format!("{question} +ignore"), &["flags: qr aa tc", none]);
    }
    let silence = lab.dig("internet", &format!("@{OUTSIDE} www.example.org +time=1"));
    assert!(silence.contains("no servers could be reached"), "{silence}");

    rubbish(&lab);
    streams(&lab);
    shown(&lab);
    end(running);
}

/// Strangers' bytes get no more than a line of the counters.
fn rubbish(lab: &Lab) {
    let malformed = || number(&show(&lab.bed, &["dns"])["answers"]["FORMERR"]);
    let before = show(&lab.bed, &["dns"]);
    assert!(before["answers"]["FORMERR"].is_null(), "{before}");
    lab.inside("internet", || {
        let socket = UdpSocket::bind("203.0.113.2:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("set");
        // An OPT with an option that is longer than the record: by far, and by a little, of which the library warns.
        for (option, code) in [(99, 1), (5, 0)] {
            let mut message = vec![1, option, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            message.extend(b"\x03ces\x07example\0\0\x06\0\x01");
            message.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 6, 0, 10, 0, option, 1, 2]);
            socket.send_to(&message, (OUTSIDE, 53)).expect("sent");
            let mut answer = [0; 600];
            let length = socket.recv(&mut answer).expect("an answer");
            assert!(length >= 12 && answer[..2] == [1, option] && answer[3] & 15 == code, "{answer:?}");
        }
        // Not even that: too short, and an answer.
        socket.send_to(&[1; 11], (OUTSIDE, 53)).expect("sent");
        socket.send_to(&[0xff; 40], (OUTSIDE, 53)).expect("sent");
    });
    let start = Instant::now();
    let silences = |reason: &str| number(&show(&lab.bed, &["dns"])["silences"][reason]);
    while silences("short") == 0 || silences("response") == 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "{}", show(&lab.bed, &["dns"]));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(malformed() >= 1);
    let log = std::fs::read_to_string(lab.bed.directory.join("log")).expect("a log");
    assert!(!log.contains("hickory"), "{log}");
}

/// A question for the SOA of `ces.example`, with its length before it.
fn framed(id: u8) -> Vec<u8> {
    let mut message = vec![0, 29, 0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x03ces\x07example\0\0\x06\0\x01");
    message
}

/// Several questions of one connection, in pieces; and more connections than a source may have.
fn streams(lab: &Lab) {
    let server: SocketAddr = (OUTSIDE.parse::<Ipv4Addr>().expect("an address"), 53).into();
    let accepted = number(&show(&lab.bed, &["dns"])["connections"]["accepted"]);
    lab.inside("internet", || {
        let mut connection = TcpStream::connect(server).expect("it listens");
        connection.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let all: Vec<u8> = (0..40).flat_map(framed).collect();
        for piece in all.chunks(100) {
            connection.write_all(piece).expect("taken");
        }
        connection.shutdown(std::net::Shutdown::Write).expect("no more");
        let mut answers = Vec::new();
        connection.read_to_end(&mut answers).expect("all, and then the end");
        let mut ids = vec![];
        let mut rest = &answers[..];
        while let [high, low, message @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            ids.push(message[1]);
            rest = &message[length..];
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..40).collect::<Vec<u8>>());

        let mut crowd: Vec<TcpStream> =
            (0..40).map(|_| TcpStream::connect(server).expect("it listens")).collect();
        let served = crowd.iter_mut().map(|connection| {
            connection.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
            let _ = connection.write_all(&framed(1));
            let mut length = [0; 2];
            connection.read_exact(&mut length).is_ok()
        });
        assert_eq!(served.filter(|is_served| *is_served).count(), 32, "of one source");
    });
    let connections = show(&lab.bed, &["dns"])["connections"].clone();
    assert_eq!(number(&connections["accepted"]) - accepted, 33, "{connections}");
    assert_eq!(number(&connections["refused"]), 8, "{connections}");
}

/// Whatever was asked has come to something.
fn shown(lab: &Lab) {
    let dns = show(&lab.bed, &["dns"]);
    let sum = |key: &str| dns[key].as_object().expect("counts").values().map(number).sum::<u64>();
    let questions = &dns["questions"];
    let asked = number(&questions["udp"]) + number(&questions["tcp"]);
    assert_eq!(sum("answers") + sum("silences"), asked, "{dns}");
    assert!(number(&questions["udp"]) > 30 && number(&questions["tcp"]) > 80, "{dns}");
    assert_eq!((number(&questions["malformed"]), number(&dns["lost"])), (0, 0), "{dns}");
    assert!(number(&dns["answers"]["BADVERS"]) == 2 && number(&dns["truncated"]) >= 4, "{dns}");
    assert!(number(&dns["pool"]["no_address"]) >= 4 && number(&dns["silences"]["foreign"]) >= 1, "{dns}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    let output = command.arg("--runtime-dir").arg(&lab.bed.directory).args(["show", "dns"]).output();
    let text = String::from_utf8(output.expect("cesctl runs").stdout).expect("text");
    for word in ["questions", "NXDOMAIN", "no_address", "connections"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn an_update_is_in_force_and_outlives_the_process() {
    let lab = Lab::new();
    lab.configure(&zones());
    let running = lab.start();
    let add = "update add new.ces.example 300 A 10.0.0.50\nupdate add new.ces.example 300 AAAA fd00::50";
    lab.update(SECRET, add).expect("taken");
    let is_there = || {
        lab.answers("home", &format!("@{INSIDE} new.ces.example"), &["IN A 10.0.0.50"]);
        lab.answers("home", &format!("@{INSIDE} new.ces.example AAAA"), &["IN AAAA fd00::50"]);
        lab.answers("home", &format!("@{INSIDE} -x 10.0.0.50"), &["IN PTR new.ces.example."]);
    };
    is_there();
    // All or nothing: the second of these is not the key's to change.
    let half = "update add other.ces.example 300 A 10.0.0.51\nupdate add b.ces.example 300 A 10.0.0.52";
    assert!(lab.update(SECRET, half).expect_err("refused").contains("REFUSED"));
    lab.answers("home", &format!("@{INSIDE} other.ces.example"), &["status: NXDOMAIN"]);
    // A prerequisite that is not met, and a key that is none of ours.
    let taken = "prereq nxdomain new.ces.example\nupdate add new.ces.example 300 A 10.0.0.53";
    assert!(lab.update(SECRET, taken).expect_err("not met").contains("YXDOMAIN"));
    let stranger = SECRET.replace("MDEy", "MDEz");
    assert!(lab.update(&stranger, add).is_err());
    let updates = show(&lab.bed, &["dns"])["updates"].clone();
    assert_eq!((number(&updates["done"]), number(&updates["waiting"])), (1, 0), "{updates}");
    drop(running); // SIGKILL

    let running = lab.start();
    is_there();
    // The address moves to another host, both in one message.
    let moves = "update delete new.ces.example A\nupdate add moved.ces.example 300 A 10.0.0.50";
    lab.update(SECRET, moves).expect("taken");
    lab.answers("home", &format!("@{INSIDE} -x 10.0.0.50"), &["IN PTR moved.ces.example."]);
    end(running);
    let _running = lab.start();
    lab.answers("home", &format!("@{INSIDE} -x 10.0.0.50"), &["IN PTR moved.ces.example."]);
    lab.answers("home", &format!("@{INSIDE} new.ces.example AAAA"), &["IN AAAA fd00::50"]);
}

#[test]
fn a_flood_from_one_source_leaves_others_their_answers() {
    let lab = Lab::new();
    lab.configure(&format!("[limits]\ndns_per_source_per_second = 500\n{}", zones()));
    let _running = lab.start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            lab.inside("internet", || {
                let socket = UdpSocket::bind("203.0.113.66:0").expect("a socket");
                while !stop.load(Ordering::Relaxed) {
                    for id in 0..50 {
                        let _ = socket.send_to(&framed(id)[2..], (OUTSIDE, 53));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        });
        let start = Instant::now();
        while dropped(&lab.bed, "punt_rate") < 1000 && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let answered = (0..20).filter(|_| {
            let answer = lab.dig("internet", &format!("-b 203.0.113.2 @{OUTSIDE} ces.example SOA"));
            answer.contains("status: NOERROR")
        });
        let answered = answered.count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(answered, 20);
    });
    assert!(dropped(&lab.bed, "punt_rate") > 1000);
}

/// What becomes of questions for others' names is shown: here nobody is there to answer them.
#[test]
fn the_resolver_is_shown() {
    let lab = Lab::new();
    let upstreams = "upstreams = [{ address = \"203.0.113.99\" }]\ntimeout_ms = 200\nattempts = 1\n";
    lab.configure(&zones().replacen("[dns]\n", &format!("[dns]\n{upstreams}"), 1));
    let _running = lab.start();
    let answer = lab.dig("home", &format!("@{INSIDE} www.example.org A"));
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    let dns = show(&lab.bed, &["dns"]);
    let resolver = |name: &str| number(&dns["resolver"][name]);
    assert_eq!((number(&dns["forwarded"]), resolver("asked"), resolver("servfail")), (1, 1, 1), "{dns}");
    assert_eq!(resolver("timeouts") + resolver("unreachable"), 1, "{dns}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    let output = command.arg("--runtime-dir").arg(&lab.bed.directory).args(["show", "dns"]).output();
    let text = String::from_utf8(output.expect("cesctl runs").stdout).expect("text");
    assert!(text.contains("resolver") && text.contains("upstream_errors"), "{text}");
}

#[test]
fn without_zones_nobody_answers() {
    let lab = Lab::new();
    lab.configure("");
    let _running = lab.start();
    for arguments in ["", "+tcp "] {
        let answer = lab.dig("internet", &format!("@{OUTSIDE} {arguments}ces.example SOA +time=1"));
        assert!(answer.contains("refused") || answer.contains("no servers could be reached"), "{answer}");
        assert!(!answer.contains("status:"), "{answer}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    let output = command.arg("--runtime-dir").arg(&lab.bed.directory).args(["show", "dns"]).output();
    let text = String::from_utf8(output.expect("cesctl runs").stderr).expect("text");
    assert!(text.contains("serves no DNS") && text.contains("[dns]"), "{text}");
}
