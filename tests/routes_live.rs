//! Routes that change while a process runs and forwards: sessions follow them, and nothing is lost.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, ipv6, udp};
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::{Value, json};

/// Enough that some take each of several next hops.
const HOSTS: u8 = 64;

/// Hosts that send without end, and two ways out of the edge, each with a gateway.
fn config(workers: &str) -> String {
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"hosts\"\ndevice = \"net_pcap0,rx_pcap=hosts.pcap,infinite_rx=1\"\n\
         mac = \"02:00:00:00:00:01\"\n\
         [[port]]\nname = \"a\"\ndevice = \"net_null0,no-rx=1\"\n\
         [[port]]\nname = \"b\"\ndevice = \"net_null1,no-rx=1\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"hosts\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"a\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[interface]]\nport = \"b\"\nrealm = \"internet\"\naddresses = [\"192.0.2.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"a\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:01:fe\"\n\
         [[neighbor]]\ninterface = \"b\"\naddress = \"192.0.2.254\"\nmac = \"02:00:00:00:02:fe\"\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.64/30\"]\n"
    )
}

fn bed(workers: &str) -> Bed {
    let bed = Bed::new();
    let frame = |host: u8| {
        let header =
            ipv4::Header::new(Ipv4Addr::new(10, 0, 0, host), Ipv4Addr::new(198, 51, 100, 7), Protocol::UDP);
        let ports = udp::Header { source_port: 4000, destination_port: 53 };
        let path = build::Path::untagged(MacAddr([2, 0, 0, 0, 0, host]), MacAddr([2, 0, 0, 0, 0, 1]));
        let mut frame = vec![0; 100];
        build::frame(&mut frame, &path, &Ip::V4(header), &Transport::Udp(ports, &[7; 58]))
            .expect("100 bytes");
        frame
    };
    let frames: Vec<Vec<u8>> = (2..2 + HOSTS).map(frame).collect();
    capture::write(&bed.directory.join("hosts.pcap"), &frames);
    bed.configure(&config(workers));
    bed
}

/// What `cesctl route` answers, or why it was refused.
fn route(bed: &Bed, what: &str) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cesctl"))
        .arg("--runtime-dir")
        .arg(&bed.directory)
        .args(["route", "--json"])
        .args(what.split(' '))
        .output()
        .expect("cesctl is there");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Packets sent by the two ways out.
fn sent(bed: &Bed) -> [u64; 2] {
    let ports = show(bed, &["ports"]);
    [1, 2].map(|port| ports[port]["tx_packets"].as_u64().expect("a count"))
}

/// Waits until packets leave by exactly these ways.
fn until_leaving(bed: &Bed, expected: [bool; 2]) {
    let start = Instant::now();
    loop {
        let before = sent(bed);
        std::thread::sleep(Duration::from_millis(100));
        let after = sent(bed);
        if [0, 1].map(|way| after[way] > before[way]) == expected {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{before:?} {after:?}, expected {expected:?}");
    }
}

/// Every drop that was counted, by name.
fn drops(bed: &Bed) -> Vec<(String, u64)> {
    let counters = show(bed, &["counters"]);
    let drops = counters["drops"].as_object().expect("drops by name").clone();
    let total = |(name, drop): (String, Value)| (name, drop["total"].as_u64().expect("a count"));
    drops.into_iter().map(total).filter(|(_, total)| *total > 0).collect()
}

fn prefixes(routes: &Value) -> Vec<&str> {
    routes["routes"].as_array().expect("routes").iter().filter_map(|r| r["prefix"].as_str()).collect()
}

#[test]
fn sessions_follow_the_routes_and_nothing_is_lost() {
    for workers in ["cores = [0]", "cores = [0, 1]\ndistribute = \"software\""] {
        let bed = bed(workers);
        let running = Running::start(&bed);
        until_leaving(&bed, [true, false]);
        assert_eq!(show(&bed, &["status"])["sessions"], HOSTS);

        // A longer prefix takes all of them, and gives them back.
        let added = route(&bed, "add 198.51.100.0/24 --realm internet via 192.0.2.254").expect("added");
        let hop = json!({"interface": "b", "gateway": "192.0.2.254", "neighbor": "permanent"});
        let expected = json!({"realm": "internet", "prefix": "198.51.100.0/24", "kind": "via",
            "next_hops": [hop], "origin": "runtime"});
        assert_eq!((&added["action"], &added["route"]), (&json!("added"), &expected));
        until_leaving(&bed, [false, true]);
        let routes = show(&bed, &["routes", "--realm", "internet"]);
        let all = ["0.0.0.0/0", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"];
        assert_eq!(prefixes(&routes), all);
        assert_eq!(routes["routes"][2], expected);
        let origins = [0, 1, 3].map(|i| routes["routes"][i]["origin"].clone());
        assert_eq!(origins, ["static", "connected", "connected"]);
        route(&bed, "del 198.51.100.0/24 --realm internet").expect("deleted");
        until_leaving(&bed, [true, false]);
        assert_eq!(prefixes(&show(&bed, &["routes", "--realm", "internet"])).len(), 3);

        // Both at once; then one.
        let both = route(&bed, "add 0.0.0.0/0 --realm internet via 192.0.2.254,203.0.113.254 --replace");
        assert_eq!(both.expect("replaced")["action"], "replaced");
        until_leaving(&bed, [true, true]);
        // One more that does not answer, and is asked: the flows of the others stay with them.
        let three = "add 0.0.0.0/0 --realm internet via 192.0.2.254,203.0.113.254,192.0.2.9 --replace";
        route(&bed, three).expect("replaced");
        let asked = Instant::now();
        loop {
            let routes = show(&bed, &["routes", "--realm", "internet"]);
            let hops = routes["routes"][0]["next_hops"].as_array().expect("next hops").clone();
            assert_eq!(hops.len(), 3);
            let quiet = hops.iter().find(|hop| hop["gateway"] == "192.0.2.9").expect("it is there");
            if quiet["neighbor"] == "incomplete" || quiet["neighbor"] == "failed" {
                break;
            }
            assert!(asked.elapsed() < Duration::from_secs(20), "{quiet}");
        }
        until_leaving(&bed, [true, true]);
        // Input without end overruns the ring to the second worker, before any change too: with two workers that reason
        // says nothing, and a packet that a change cost there would not be seen. With one worker nothing is excused.
        let mut lost = drops(&bed);
        lost.retain(|(name, _)| !(workers.contains("software") && name == "handoff_full"));
        assert_eq!(lost, [], "no change has cost a packet");

        // And none at all.
        for (kind, reason) in [
            ("blackhole", "route_blackhole"),
            ("unreachable", "route_unreachable"),
            ("prohibit", "route_prohibited"),
        ] {
            route(&bed, &format!("add 198.51.100.0/24 --realm internet --{kind} --replace")).expect("added");
            until_leaving(&bed, [false, false]);
            assert!(drops(&bed).iter().any(|(name, _)| name == reason), "{kind}: {:?}", drops(&bed));
        }
        route(&bed, "del 198.51.100.0/24 --realm internet").expect("deleted");
        until_leaving(&bed, [true, true]);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(Duration::from_secs(2)).code(), Some(0));
    }
}

/// IPv6, of which nothing is translated, follows the routes as well, and is dropped by the name of the one that drops it.
#[test]
fn sessions_of_ipv6_follow_the_routes() {
    let bed = Bed::new();
    let frame = |host: u16| {
        let from = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host);
        let to = Ipv6Addr::new(0x2001, 0xdb8, 0xa000, 0, 0, 0, 0, 7);
        let ports = udp::Header { source_port: 4000, destination_port: 53 };
        let path = build::Path::untagged(MacAddr([2, 0, 0, 0, 0, host as u8]), MacAddr([2, 0, 0, 0, 0, 1]));
        let ip = Ip::V6(ipv6::Header::new(from, to, Protocol::UDP));
        let mut frame = vec![0; 100];
        build::frame(&mut frame, &path, &ip, &Transport::Udp(ports, &[7; 38])).expect("100 bytes");
        frame
    };
    let frames: Vec<Vec<u8>> = (2..2 + u16::from(HOSTS)).map(frame).collect();
    capture::write(&bed.directory.join("hosts.pcap"), &frames);
    let more = "[[route]]\nrealm = \"internet\"\nprefix = \"::/0\"\nvia = \"2001:db8:2::fe\"\n\
                [[neighbor]]\ninterface = \"a\"\naddress = \"2001:db8:2::fe\"\nmac = \"02:00:00:00:01:fe\"\n\
                [[neighbor]]\ninterface = \"b\"\naddress = \"2001:db8:3::fe\"\nmac = \"02:00:00:00:02:fe\"\n\
                [ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nsessions = 1024\n";
    let mut text = config("cores = [0]") + more;
    for (v4, v6) in [("10.0.0.1/24", "1::1"), ("203.0.113.1/24", "2::1"), ("192.0.2.1/24", "3::1")] {
        text = text.replace(&format!("\"{v4}\""), &format!("\"{v4}\", \"2001:db8:{v6}/64\""));
    }
    bed.configure(&text);
    let running = Running::start(&bed);
    until_leaving(&bed, [true, false]);
    let prefix = "2001:db8:a000::/48 --realm internet";
    route(&bed, &format!("add {prefix} via 2001:db8:3::fe")).expect("added");
    until_leaving(&bed, [false, true]);
    assert_eq!(drops(&bed), [], "no change has cost a packet");
    for (kind, reason) in [
        ("blackhole", "route_blackhole"),
        ("unreachable", "route_unreachable"),
        ("prohibit", "route_prohibited"),
    ] {
        route(&bed, &format!("add {prefix} --{kind} --replace")).expect("added");
        until_leaving(&bed, [false, false]);
        let drops = drops(&bed);
        assert!(drops.iter().any(|(name, _)| name == reason), "{kind}: {drops:?}");
        assert!(drops.iter().all(|(name, _)| name.starts_with("route_")), "{kind}: {drops:?}");
    }
    route(&bed, &format!("del {prefix}")).expect("deleted");
    until_leaving(&bed, [true, false]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(2)).code(), Some(0));
}

#[test]
fn what_is_refused_says_why_and_what_to_do() {
    let bed = bed("cores = [0]");
    let running = Running::start(&bed);
    let before = show(&bed, &["routes"]);
    for (what, message, hint) in [
        ("add 0.0.0.0/0 --realm intranet --blackhole", "no realm is named \"intranet\"", "home, internet"),
        ("del 0.0.0.0/0 --realm intranet", "no realm is named", "home, internet"),
        ("add 0.0.0.0/0 --realm internet --blackhole", "already: via 203.0.113.254 on \"a\"", "--replace"),
        (
            "add 203.0.113.0/24 --realm internet --blackhole --replace",
            "prefix of an interface",
            "configuration",
        ),
        ("del 203.0.113.0/24 --realm internet", "prefix of an interface", "configuration"),
        ("del 198.51.100.0/24 --realm internet", "no route to exactly 198.51.100.0/24", "show routes"),
        ("add 198.51.100.1/24 --realm internet --blackhole", "host bits", "198.51.100.0/24"),
        ("add 198.51.100.0/24 --realm internet via 198.51.100.1", "no interface of realm", "--interface"),
        ("add 198.51.100.0/24 --realm internet via 10.0.0.2", "no interface of realm", "--interface"),
        ("add 198.51.100.0/24 --realm internet via 203.0.113.1", "own address", "next router"),
        ("add 198.51.100.0/24 --realm internet via 203.0.113.255", "no router's address", "next router"),
        ("add 198.51.100.0/24 --realm internet via 203.0.113.65", "NAT pool", "next router"),
        ("add ::/0 --realm internet via 203.0.113.254", "address family", "family"),
        ("add 198.51.100.0/24 --realm internet --interface c", "no interface is named", "are a, b"),
        ("add 198.51.100.0/24 --realm internet --interface hosts", "another realm", "are a, b"),
        ("add 198.51.100.0/24 --realm internet via 192.0.2.9,192.0.2.9", "given twice", "different"),
    ] {
        let refused = route(&bed, what).expect_err(what);
        assert!(refused.contains(message) && refused.contains(hint), "{what}: {refused}");
    }
    assert_eq!(show(&bed, &["routes"])["routes"], before["routes"], "nothing has changed");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(2)).code(), Some(0));
}
