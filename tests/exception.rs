//! The exception path with a real kernel: in a network namespace of the test's own, which goes with it.
//!
//! Needs root, as the machines that run the other tests with namespaces do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ces::exception::{
    self, Error, KernelNeighbor, KernelRoute, MirrorInterface, Options, RouteTarget, Service,
};
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{Arp, EtherType, Link, MacAddr, Protocol, Tcp, TcpFlags, arp, ipv4, ipv6, tcp};
use ces::packet::{Ipv4, Ipv6};
use ces::ring::frames::{FRAME_MAX, FrameReceiver, FrameSender, frames};
use ces::ring::wake;
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
const LAN: u16 = 2;
const WAN: u16 = 5;
const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0x77]);
const LAN_GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);
const WAN_GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 0xfe]);
/// Names the namespace to the process that is to be killed in it.
const CHILD: &str = "CES_TEST_EXCEPTION_NETNS";

/// A network namespace; goes when dropped.
struct Namespace(String);

impl Namespace {
    fn new() -> Namespace {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace(format!("ces-t-exc-{}-{number}", std::process::id()));
        run(&["netns", "add", &namespace.0]);
        namespace
    }

    fn ip(&self, arguments: &[&str]) {
        run(&[&["-n", &self.0], arguments].concat());
    }

    /// What `ip` says as JSON; a list.
    fn show(&self, arguments: &[&str]) -> Vec<Value> {
        let output = run(&[&["-n", &self.0, "-d", "-j"], arguments].concat());
        if output.trim().is_empty() { Vec::new() } else { serde_json::from_str(&output).expect("JSON") }
    }

    fn show_until(&self, arguments: &[&str], is_so: impl Fn(&[Value]) -> bool) {
        let start = Instant::now();
        loop {
            let shown = self.show(arguments);
            if is_so(&shown) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{arguments:?}: {shown:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The routes of a table, each in a line.
    fn routes(&self, family: &str, table: &str) -> Vec<String> {
        // A table that never had a route is an error.
        let output = Command::new("ip")
            .args(["-n", &self.0, family, "route", "show", "table", table, "proto", "206"])
            .output()
            .expect("ip runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn rules(&self) -> Vec<String> {
        let mut rules = Vec::new();
        for family in ["-4", "-6"] {
            for rule in self.show(&[family, "rule", "show"]) {
                if rule["priority"] == 1_000 {
                    let (source, table) = (&rule["src"], &rule["table"]);
                    rules.push(format!("{} {}", source.as_str().unwrap(), table.as_str().unwrap()));
                }
            }
        }
        rules.sort();
        rules
    }

    fn inside<R: Send>(&self, act: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = std::fs::File::open(format!("/run/netns/{}", self.0)).expect("the namespace");
                setns(file, CloneFlags::CLONE_NEWNET).expect("entered");
                act()
            });
            thread.join().expect("the thread")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn interface(index: u16, name: &str, mac: MacAddr, realm: u16, addresses: &[&str]) -> MirrorInterface {
    MirrorInterface {
        index,
        name: name.to_owned(),
        mac,
        mtu: 1_400,
        addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
        realm,
        outside: index == WAN,
    }
}

fn route(realm: u16, prefix: &str, target: RouteTarget) -> KernelRoute {
    KernelRoute { realm, prefix: prefix.parse().expect("a prefix"), target }
}

fn via(interface: u16, gateway: &str) -> RouteTarget {
    RouteTarget::NextHops(vec![(interface, Some(address(gateway)))])
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn defaults() -> Vec<KernelRoute> {
    vec![
        route(0, "0.0.0.0/0", via(LAN, "10.0.0.254")),
        route(0, "::/0", via(LAN, "fd00::fe")),
        route(1, "0.0.0.0/0", via(WAN, "10.0.0.253")),
        route(1, "::/0", via(WAN, "fd00::fd")),
    ]
}

/// Two realms with the same prefixes, each with a default route.
fn options(namespace: &Namespace) -> Options {
    let neighbor = |interface, text, mac| KernelNeighbor { interface, address: address(text), mac };
    Options {
        netns: namespace.0.clone(),
        interfaces: vec![
            interface(LAN, "lan", LAN_MAC, 0, &["10.0.0.1/24", "fd00::1/64"]),
            interface(WAN, "wan.100", WAN_MAC, 1, &["10.0.0.2/24", "fd00::2/64"]),
        ],
        routes: defaults(),
        neighbors: vec![
            neighbor(LAN, "10.0.0.254", LAN_GATEWAY_MAC),
            neighbor(LAN, "fd00::fe", LAN_GATEWAY_MAC),
            neighbor(WAN, "10.0.0.253", WAN_GATEWAY_MAC),
            neighbor(WAN, "fd00::fd", WAN_GATEWAY_MAC),
        ],
        control_core: core(),
    }
}

/// A core that this process may use.
fn core() -> usize {
    core_affinity::get_core_ids().expect("cores")[0].id
}

/// A running service and the workers' ends of its rings.
struct Running {
    service: Service,
    to_kernel: FrameSender,
    from_kernel: FrameReceiver,
}

fn start(options: Options) -> Running {
    let (to_kernel, from_worker) = frames(1 << 16);
    let (to_worker, from_kernel) = frames(1 << 16);
    let service = exception::start(options, vec![from_worker], to_worker).expect("it starts");
    from_kernel.wakes_me();
    Running { service, to_kernel, from_kernel }
}

fn refused(options: Options) -> Error {
    let (to_worker, _from_kernel) = frames(0);
    exception::start(options, Vec::new(), to_worker).expect_err("refused")
}

impl Running {
    /// The next frame that `wants` makes something of.
    fn next<R>(&mut self, what: &str, wants: impl Fn(u16, &Link<'_>) -> Option<R>) -> R {
        let mut buffer = [0; FRAME_MAX];
        let start = Instant::now();
        loop {
            if let Some((tag, _, length)) = self.from_kernel.pop(&mut buffer) {
                let link = Link::parse(&buffer[..length]).expect("a frame");
                if let Some(found) = wants(tag, &link) {
                    return found;
                }
            } else {
                assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.service.counters());
                // Who pushes ends it.
                wake::nap(PATIENCE);
            }
        }
    }

    fn push(&mut self, tag: u16, frame: &[u8]) {
        let (head, tail) = frame.split_at(14);
        assert!(self.to_kernel.push(tag, 0, &[head, tail]));
    }

    /// Sends a SYN to `to` by the interface `tag`.
    fn syn(&mut self, tag: u16, from: IpAddr, to: IpAddr, port: u16) {
        let mac = if tag == LAN { LAN_MAC } else { WAN_MAC };
        let ip = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ip::V4(ipv4::Header::new(from, to, Protocol::TCP)),
            (IpAddr::V6(from), IpAddr::V6(to)) => Ip::V6(ipv6::Header::new(from, to, Protocol::TCP)),
            _ => unreachable!("one family"),
        };
        let header = tcp::Header { sequence: 7, ..tcp::Header::new(40_000, port, TcpFlags::SYN) };
        let mut frame = [0; 100];
        let path = Path::untagged(HOST_MAC, mac);
        let length = build::frame(&mut frame, &path, &ip, &Transport::Tcp(header, &[])).expect("100 bytes");
        self.push(tag, &frame[..length]);
    }

    /// By which interface and to which station the SYN-ACK of `from` to `to` goes.
    fn syn_ack(&mut self, from: IpAddr, to: IpAddr, port: u16) -> (u16, MacAddr) {
        self.next(&format!("a SYN-ACK from {from} to {to}"), |tag, link| {
            let (source, destination, payload) = match link.ether_type {
                EtherType::IPV4 => {
                    let ip = Ipv4::parse(link.payload).ok()?;
                    (IpAddr::V4(ip.source()), IpAddr::V4(ip.destination()), ip.payload())
                }
                EtherType::IPV6 => {
                    let ip = Ipv6::parse(link.payload).ok()?;
                    (IpAddr::V6(ip.source()), IpAddr::V6(ip.destination()), ip.payload())
                }
                _ => return None,
            };
            let tcp = Tcp::parse(payload).ok()?;
            (source == from
                && destination == to
                && tcp.source_port() == port
                && tcp.destination_port() == 40_000
                && tcp.flags() == TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0)
                && tcp.acknowledgement() == 8)
                .then_some((tag, link.ethernet.destination()))
        })
    }
}

#[test]
fn the_kernel_has_what_the_edge_has() {
    let namespace = Namespace::new();
    let running = start(options(&namespace));
    for (name, mac, v4, v6, eui64) in [
        ("lan", LAN_MAC, "10.0.0.1", "fd00::1", "fe80::ff:fe00:1"),
        ("wan.100", WAN_MAC, "10.0.0.2", "fd00::2", "fe80::ff:fe00:2"),
    ] {
        let link = &namespace.show(&["address", "show", "dev", name])[0];
        assert_eq!(link["address"], mac.to_string());
        assert_eq!(link["mtu"], 1_400);
        assert_eq!(link["linkinfo"]["info_data"]["type"], "tap");
        assert_eq!(link["linkinfo"]["info_data"]["persist"], false);
        assert!(link["flags"].as_array().unwrap().contains(&"UP".into()), "{link:#}");
        let addresses: Vec<_> = link["addr_info"]
            .as_array()
            .unwrap()
            .iter()
            .map(|address| {
                assert_ne!(address["tentative"], true, "{address:#}");
                (address["local"].as_str().unwrap(), address["prefixlen"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(addresses, [(v4, 24), (v6, 64), (eui64, 64)]);
    }
    assert_eq!(namespace.rules(), ["10.0.0.1 1000", "10.0.0.2 1001", "fd00::1 1000", "fd00::2 1001"]);
    assert_eq!(
        namespace.routes("-4", "1000"),
        [
            "default via 10.0.0.254 dev lan metric 20 onlink",
            "unreachable default metric 4294967294",
            "10.0.0.0/24 dev lan scope link metric 20"
        ]
    );
    assert_eq!(
        namespace.routes("-4", "main"),
        [
            "default via 10.0.0.253 dev wan.100 metric 20 onlink",
            "10.0.0.0/24 dev wan.100 scope link metric 20"
        ]
    );
    assert_eq!(
        namespace.routes("-6", "1001"),
        [
            "fd00::/64 dev wan.100 metric 20 pref medium",
            "default via fd00::fd dev wan.100 metric 20 pref medium",
            "unreachable default dev lo metric 4294967294 pref medium"
        ]
    );
    let neighbors = namespace.show(&["neighbor", "show", "nud", "permanent"]);
    let mut neighbors: Vec<_> = neighbors
        .iter()
        .map(|n| format!("{} {} {}", n["dev"].as_str().unwrap(), n["dst"].as_str().unwrap(), n["lladdr"]))
        .collect();
    neighbors.sort();
    assert_eq!(
        neighbors,
        [
            format!("lan 10.0.0.254 \"{LAN_GATEWAY_MAC}\""),
            format!("lan fd00::fe \"{LAN_GATEWAY_MAC}\""),
            format!("wan.100 10.0.0.253 \"{WAN_GATEWAY_MAC}\""),
            format!("wan.100 fd00::fd \"{WAN_GATEWAY_MAC}\""),
        ]
    );
    let loopback = &namespace.show(&["link", "show", "dev", "lo"])[0];
    assert!(loopback["flags"].as_array().unwrap().contains(&"UP".into()));
    namespace.inside(|| {
        for (setting, value) in [
            ("ipv4/ip_forward", "0"),
            ("ipv6/conf/all/forwarding", "0"),
            ("ipv4/conf/wan.100/arp_ignore", "8"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv6/conf/lan/accept_ra", "0"),
        ] {
            let now = std::fs::read_to_string(format!("/proc/sys/net/{setting}")).expect("a setting");
            assert_eq!(now.trim(), value, "{setting}");
        }
    });

    running.service.stop();
    nothing_is_left(&namespace);
    // And again: the taps' names are free.
    start(options(&namespace)).service.stop();
    nothing_is_left(&namespace);
}

fn nothing_is_left(namespace: &Namespace) {
    // For a moment a process that another test forks may still have the tap.
    namespace.show_until(&["link", "show"], |links| links.len() == 1 && links[0]["ifname"] == "lo");
    assert_eq!(namespace.rules(), Vec::<String>::new());
    for family in ["-4", "-6"] {
        assert_eq!(namespace.routes(family, "all"), Vec::<String>::new());
    }
}

#[test]
fn a_server_answers_each_realm_by_its_own_interface() {
    let namespace = Namespace::new();
    let mut running = start(options(&namespace));
    let server = namespace.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a server"));
    let port = server.local_addr().expect("its address").port();

    // The same neighbour in both realms: the kernel asks for it in the right one.
    let host = Ipv4Addr::new(10, 0, 0, 77);
    for (tag, own) in [(LAN, Ipv4Addr::new(10, 0, 0, 1)), (WAN, Ipv4Addr::new(10, 0, 0, 2))] {
        running.syn(tag, host.into(), own.into(), port);
        let request = running.next("an ARP request", |from, link| {
            let asks = (link.ether_type == EtherType::ARP).then(|| Arp::parse(link.payload).expect("ARP"))?;
            assert_eq!((from, asks.operation), (tag, arp::Operation::Request));
            Some(asks)
        });
        assert_eq!((request.sender_ip, request.target_ip), (own, host));
        let mut reply = [0; 60];
        let path = Path::untagged(HOST_MAC, request.sender_mac);
        let length = build::arp(&mut reply, &path, &request.reply(HOST_MAC)).expect("60 bytes");
        running.push(tag, &reply[..length]);
        assert_eq!(running.syn_ack(own.into(), host.into(), port), (tag, HOST_MAC));
    }

    // Hosts far away, by each realm's default route, which the neighbours' table resolves.
    for (tag, own, from, gateway) in [
        (LAN, "10.0.0.1", "198.51.100.9", LAN_GATEWAY_MAC),
        (WAN, "10.0.0.2", "198.51.100.9", WAN_GATEWAY_MAC),
        (LAN, "fd00::1", "2001:db8::9", LAN_GATEWAY_MAC),
        (WAN, "fd00::2", "2001:db8::9", WAN_GATEWAY_MAC),
    ] {
        running.syn(tag, address(from), address(own), port);
        assert_eq!(running.syn_ack(address(own), address(from), port), (tag, gateway));
    }

    // Workers answer who asks for the edge's addresses: the kernel keeps silent.
    let mut frame = [0; 60];
    let asks = Arp::request(HOST_MAC, host, Ipv4Addr::new(10, 0, 0, 1));
    let length = build::arp(&mut frame, &Path::untagged(HOST_MAC, MacAddr::BROADCAST), &asks).expect("60");
    running.push(LAN, &frame[..length]);
    running.syn(LAN, address("198.51.100.10"), address("10.0.0.1"), port);
    running.next("the SYN-ACK after it", |_, link| {
        if link.ether_type == EtherType::ARP {
            let said = Arp::parse(link.payload).expect("ARP");
            assert_ne!(said.operation, arp::Operation::Reply, "{said:?}");
        }
        let ip = (link.ether_type == EtherType::IPV4).then(|| Ipv4::parse(link.payload).expect("IPv4"))?;
        (ip.destination() == Ipv4Addr::new(198, 51, 100, 10)).then_some(())
    });

    // A tag that is nobody's is a drop, and counted.
    running.push(9, &frame[..length]);
    let start = Instant::now();
    let counters = running.service.counters();
    while counters.to_kernel_dropped.load(Ordering::Relaxed) == 0 {
        assert!(start.elapsed() < PATIENCE, "{counters:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(counters.to_kernel_dropped.load(Ordering::Relaxed), 1);
    assert_eq!(counters.to_kernel.load(Ordering::Relaxed), 2 + 2 + 4 + 2);
    assert!(counters.from_kernel.load(Ordering::Relaxed) > 2 + 2 + 4);
    assert_eq!(counters.from_kernel_dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn routes_are_kept_in_step() {
    let namespace = Namespace::new();
    let running = start(options(&namespace));
    let both =
        |a: &str, b: &str| RouteTarget::NextHops(vec![(LAN, Some(address(a))), (LAN, Some(address(b)))]);
    let direct = || RouteTarget::NextHops(vec![(LAN, None)]);
    let nowhere = || RouteTarget::NextHops(vec![(77, None)]);
    // From each of these to each other, in both families.
    let steps: Vec<(RouteTarget, RouteTarget, &str, usize)> = vec![
        (via(LAN, "10.0.0.9"), via(LAN, "fd00::9"), "unicast", 1),
        (RouteTarget::Blackhole, RouteTarget::Blackhole, "blackhole", 0),
        (both("10.0.0.8", "10.0.0.9"), both("fd00::8", "fd00::9"), "unicast", 2),
        (RouteTarget::Prohibit, RouteTarget::Prohibit, "prohibit", 0),
        (direct(), direct(), "unicast", 1),
        (both("10.0.0.7", "10.0.0.9"), both("fd00::7", "fd00::9"), "unicast", 2),
        (via(LAN, "10.0.0.7"), via(LAN, "fd00::7"), "unicast", 1),
        (nowhere(), nowhere(), "unreachable", 0),
        (both("10.0.0.8", "10.0.0.9"), both("fd00::8", "fd00::9"), "unicast", 2),
    ];
    for (v4, v6, kind, hops) in steps {
        let mut routes = defaults();
        routes.push(route(0, "192.0.2.0/24", v4));
        routes.push(route(0, "2001:db8:2::/48", v6));
        running.service.set_routes(routes);
        for (family, prefix) in [("-4", "192.0.2.0/24"), ("-6", "2001:db8:2::/48")] {
            namespace.show_until(&[family, "route", "show", "table", "1000"], |shown| {
                let found: Vec<_> = shown.iter().filter(|route| route["dst"] == prefix).collect();
                let has = |route: &Value| match &route["nexthops"] {
                    Value::Array(hops) => hops.len(),
                    _ => usize::from(kind == "unicast" && route["dev"] == "lan"),
                };
                found.len() == 1 && found[0]["type"] == kind && has(found[0]) == hops
            });
        }
    }
    // None but the links': the default routes go too, and main's with them.
    running.service.set_routes(Vec::new());
    namespace.show_until(&["-4", "route", "show", "table", "main"], |shown| {
        shown.len() == 1 && shown[0]["dst"] == "10.0.0.0/24"
    });
    assert_eq!(namespace.routes("-6", "1000").len(), 2, "the link and the end of the table");
    assert_eq!(running.service.counters().routes_refused.load(Ordering::Relaxed), 0);
    running.service.stop();
    nothing_is_left(&namespace);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let namespace = Namespace::new();
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = options(&namespace);
        change(&mut options);
        refused(options)
    };
    let missing = with(&|options| options.netns = "ces-t-exc-none".to_owned());
    assert!(missing.to_string().contains("ip netns add ces-t-exc-none"), "{missing}");
    let long = with(&|options| options.interfaces[1].name = "a-name-too-long-".to_owned());
    assert!(matches!(long, Error::InterfaceName(_)), "{long}");
    let twice = with(&|options| options.interfaces[1].index = LAN);
    assert!(matches!(twice, Error::InterfaceTwice(_)), "{twice}");
    let mtu = with(&|options| options.interfaces[0].mtu = 9_711);
    assert!(mtu.to_string().contains("9710"), "{mtu}");
    let core = with(&|options| options.control_core = 1_000);
    assert!(matches!(core, Error::Core { core: 1_000, .. }), "{core}");
    // A gateway of IPv6 that is on no link of the realm's.
    let gateway = with(&|options| options.routes.push(route(0, "2001:db8::/32", via(LAN, "2001:db8:1::1"))));
    assert!(gateway.to_string().contains("2001:db8::/32"), "{gateway}");
    nothing_is_left(&namespace);

    namespace.ip(&["tuntap", "add", "dev", "wan.100", "mode", "tap"]);
    let taken = with(&|_| {});
    assert!(taken.to_string().contains("link delete wan.100"), "{taken}");
    namespace.show_until(&["link", "show"], |links| links.len() == 2 && links[1]["ifname"] == "wan.100");
}

#[test]
fn the_machines_own_namespace_is_left_alone() {
    let name = format!("ces-t-exc-{}-own", std::process::id());
    let named = Namespace(name.clone());
    run(&["netns", "attach", &name, &std::process::id().to_string()]);
    // The interface's name would be refused next, before anything is touched.
    let interfaces = vec![interface(LAN, "a/b", LAN_MAC, 0, &[])];
    let refused = refused(Options { netns: name, interfaces, ..options(&named) });
    assert!(matches!(refused, Error::NamespaceOfTheMachine(_)), "{refused}");
}

/// What a process has used so far, in user and in system mode.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let (_, after_name) = stat.rsplit_once(')').expect("its name");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10) // of a hundredth of a second
}

#[test]
fn a_kernel_that_sends_too_much_loses_the_rest_and_is_not_waited_for() {
    let namespace = Namespace::new();
    let mut running = start(options(&namespace));
    let socket = namespace.inside(|| UdpSocket::bind((Ipv4Addr::new(10, 0, 0, 1), 0)).expect("a socket"));
    // More than the ring of 64 KiB holds, slowly enough for the tap's queue; nobody reads the ring.
    for _ in 0..10 {
        for _ in 0..20 {
            socket.send_to(&[7; 1_300], (Ipv4Addr::new(198, 51, 100, 9), 9)).expect("sent");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let dropped = |running: &Running| running.service.counters().from_kernel_dropped.load(Ordering::Relaxed);
    let start = Instant::now();
    while dropped(&running) == 0 {
        assert!(start.elapsed() < PATIENCE, "{:?}", running.service.counters());
        std::thread::sleep(Duration::from_millis(1));
    }
    // What is in the ring is whole, and there is room again.
    for _ in 0..40 {
        running.next("a datagram", |tag, link| {
            let ip =
                (link.ether_type == EtherType::IPV4).then(|| Ipv4::parse(link.payload).expect("IPv4"))?;
            assert_eq!((tag, ip.payload().len()), (LAN, 1_308));
            assert_eq!(link.ethernet.destination(), LAN_GATEWAY_MAC);
            Some(())
        });
    }
}

#[test]
fn the_namespace_recovers_from_a_killed_process() {
    if let Ok(name) = std::env::var(CHILD) {
        // This is the process that is to be killed.
        let namespace = std::mem::ManuallyDrop::new(Namespace(name));
        let _running = start(options(&namespace));
        loop {
            std::thread::park();
        }
    }
    let namespace = Namespace::new();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_namespace_recovers_from_a_killed_process"])
        .env(CHILD, &namespace.0)
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let start_of_wait = Instant::now();
    while namespace.routes("-6", "1001").len() < 3 {
        assert!(start_of_wait.elapsed() < PATIENCE, "it starts");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Idle, and with a tap that someone has deleted, it sleeps.
    namespace.ip(&["link", "delete", "lan"]);
    std::thread::sleep(Duration::from_millis(100));
    let before = processor_time(child.id());
    std::thread::sleep(Duration::from_millis(500));
    let used = processor_time(child.id()) - before;
    assert!(used < Duration::from_millis(100), "{used:?} of half a second");
    child.kill().expect("killed");
    child.wait().expect("ended");
    namespace.show_until(&["link", "show"], |links| links.len() == 1);
    assert!(!namespace.rules().is_empty(), "rules outlive it");
    namespace
        .ip(&["rule", "add", "from", "10.9.9.9", "lookup", "1009", "priority", "1000", "protocol", "206"]);

    let mut options = options(&namespace);
    options.interfaces.truncate(1);
    options.routes.truncate(2);
    let running = start(options);
    assert_eq!(namespace.rules(), ["10.0.0.1 1000", "fd00::1 1000"]);
    assert_eq!(namespace.routes("-4", "1001"), Vec::<String>::new());
    running.service.stop();
    nothing_is_left(&namespace);
}
