//! The operator's socket and `cesctl`, end to end: a real server before a made-up appliance, the real program as client.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ces::manage::cetp_model::CetpCounter;
use ces::manage::client::{Client, Error as ClientError};
use ces::manage::model::*;
use ces::manage::protocol::{FlowLimit, REQUEST_MAX, Request, RouteAddition, RouteDeletion, RouteTo};
use ces::manage::runtime_model::{Runtime, StageRuntime, WorkerRuntime};
use ces::manage::{
    self, CLIENTS_MAX, CetpChange, CetpChanged, CetpFilter, CetpStatus, Commands, DnsStatus, FlowFilter,
    HostChange, HostChanged, HostFilter, HostList, ImportShown, Nat44Question, PoolChange, Refusal,
    RouteChange, RouteFilter, Server, Source,
};
use ces::packet::{DROP_REASONS, DropReason};
use proptest::prelude::*;
use serde_json::{Value, json};

/// An appliance with 20,000 sessions, all alike but for their inside port.
struct Fake;

const FLOWS: u16 = 20_000;

impl Source for Fake {
    fn status(&self) -> Status {
        let worker = |worker, state| WorkerStatus {
            worker,
            core: u32::from(worker),
            thread: format!("ces-worker-{worker}"),
            state,
            heartbeat_age_ms: 0,
        };
        Status {
            version: manage::protocol::VERSION,
            instance: "edge".into(),
            ces_version: "0.1.0".into(),
            uptime_ms: 185_000,
            ready: true,
            workers: vec![worker(0, WorkerState::Polling), worker(1, WorkerState::Sleeping)],
            sessions: FLOWS.into(),
            sessions_capacity: 1_000_000,
            mappings: 500,
            mappings_capacity: 1_000_000,
            subscribers: 7,
            subscribers_capacity: 1_000,
            huge_pages: false,
            notes: vec!["runs without huge pages".into()],
        }
    }

    fn ports(&self) -> Vec<PortStatus> {
        vec![PortStatus {
            name: "inside".into(),
            device: "net_tap0,iface=in0".into(),
            driver: "net_tap".into(),
            mac: "02:00:00:00:00:01".into(),
            link_up: true,
            speed_mbps: Some(10_000),
            mtu: 1500,
            rx_queues: 1,
            tx_queues: 2,
            rx_descriptors: 1024,
            tx_descriptors: 512,
            rx_packets: u64::MAX,
            rx_bytes: 1_500_000_000,
            rx_missed: 1,
            rx_errors: 2,
            rx_nombuf: 3,
            tx_packets: 4,
            tx_bytes: 5,
            tx_errors: 6,
            offloads: vec!["rx_checksum".into(), "tx_checksum".into()],
        }]
    }

    fn counters(&self) -> Counters {
        let mut drops = [[0; DROP_REASONS]; 2];
        drops[0][DropReason::NoRoute as usize] = 1_000;
        drops[1][DropReason::NoRoute as usize] = 234;
        let worker =
            |worker| WorkerCounters { worker, rx_packets: 10, polls: 5, ..WorkerCounters::default() };
        Counters { workers: vec![worker(0), worker(1)], drops: Drops::new(&drops) }
    }

    /// Two workers, of which the second one grows from look to look.
    fn runtime(&self) -> Runtime {
        static LOOKS: AtomicU64 = AtomicU64::new(1);
        let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
        let stage = |stage: &str, calls, packets, cycles| {
            let stage = stage.to_owned();
            StageRuntime { stage, calls, packets, cycles }
        };
        let worker = |worker, times| {
            let stages = vec![
                stage("receive", 1_000 * times, 64_000 * times, 700_000 * times),
                stage("slow", 0, 0, 0),
                stage("idle", 5 * times, 0, 300_000 * times),
            ];
            WorkerRuntime { worker, stages }
        };
        Runtime {
            elapsed_ms: 1_000 * looks,
            hertz: 2_000_000_000,
            workers: vec![worker(0, 1), worker(1, looks)],
        }
    }

    fn flows(&self, filter: &FlowFilter) -> Result<Flows, Refusal> {
        if filter.realm.as_deref().is_some_and(|realm| realm != "home") {
            return Err(Refusal::new("there is no such realm", "the realms are: home"));
        }
        let inside = Ipv4Addr::new(10, 0, 0, 2);
        let total: u16 = if filter.host.is_none_or(|host| host == inside) { FLOWS } else { 0 };
        let flow = |port| Flow {
            realm: "home".into(),
            protocol: Protocol::Tcp,
            inside: SocketAddr::new(IpAddr::V4(inside), port),
            outside: SocketAddr::from(([198, 51, 100, 1], 40_000)),
            remote: SocketAddr::from(([203, 0, 113, 9], 443)),
            packets_out: 12,
            packets_in: 34,
            bytes_out: 1_200,
            bytes_in: 3_400,
            idle_ms: 1_500,
            state: "established".into(),
            home_worker: 1,
        };
        Ok(Flows {
            total_matched: total.into(),
            truncated: filter.limit.get() < total.into(),
            flows: (0..total).take(filter.limit.get()).map(flow).collect(),
        })
    }

    fn neighbors(&self) -> Vec<NeighborStatus> {
        let neighbor = |host, mac: Option<&str>, state: &str, held| NeighborStatus {
            interface: "outside".into(),
            address: Ipv4Addr::new(203, 0, 113, host).into(),
            mac: mac.map(str::to_owned),
            state: state.into(),
            age_ms: 2_000,
            held,
            gateway: host == 1,
        };
        vec![neighbor(1, Some("02:00:00:00:00:02"), "reachable", 0), neighbor(2, None, "incomplete", 3)]
    }

    fn routes(&self, filter: &RouteFilter) -> Result<Routes, Refusal> {
        if filter.realm.as_deref().is_some_and(|realm| realm != "internet") {
            return Err(Refusal::new("there is no such realm", "the realms are: internet"));
        }
        let routes = [default_route(), dropped_route(RouteKind::Prohibit)];
        let shown: Vec<RouteStatus> = routes.into_iter().take(filter.limit.get()).collect();
        Ok(Routes { total_matched: 2, truncated: shown.len() < 2, routes: shown })
    }

    fn pools(&self) -> Vec<PoolStatus> {
        let deterministic = Sharing::Deterministic { ratio: 256, ports_each: 252 };
        let whole = PoolStatus {
            subscribers: vec![],
            port_selection: PortSelection::PreserveParity,
            ..pool("whole", PoolState::Removed, Sharing::WholeAddress)
        };
        vec![
            pool("homes", PoolState::Active, blocks()),
            pool("by-formula", PoolState::Draining, deterministic),
            whole,
        ]
    }

    fn determined(&self, question: &Nat44Question) -> Result<Vec<Determined>, Refusal> {
        let said = |realm: &str, inside, public, port| Determined {
            pool: "by-formula".into(),
            state: PoolState::Draining,
            realm: realm.into(),
            inside,
            public,
            ports: PortRange { first: port, last: 2047 },
        };
        let other = Ipv4Addr::new(192, 0, 2, 7);
        match question {
            Nat44Question::Inside { realm, .. } if realm == "elsewhere" => {
                Err(Refusal::new("there is no such realm", "the realms are: home"))
            }
            Nat44Question::Inside { realm, address } => Ok(vec![said(realm, *address, other, 1024)]),
            Nat44Question::Public { address, port } => Ok(vec![said("home", other, *address, *port)]),
        }
    }

    fn hosts(&self, filter: &HostFilter) -> Result<HostList, Refusal> {
        Err(Refusal::new(format!("{filter:?}"), "none"))
    }

    fn import(&self) -> Result<ImportShown, Refusal> {
        Err(Refusal::new("there is no host register", "none"))
    }

    fn dns(&self) -> Result<DnsStatus, Refusal> {
        Err(Refusal::new("the edge serves no DNS", "none"))
    }

    fn prgw(&self) -> Result<ces::manage::PrgwStatus, Refusal> {
        Err(Refusal::new("there is no circular pool", "none"))
    }

    fn proxies(&self, filter: &ces::manage::ProxyFilter) -> Result<ces::manage::ProxyList, Refusal> {
        Err(Refusal::new(format!("{filter:?}"), "none"))
    }

    fn cetp(&self, filter: &CetpFilter) -> Result<CetpStatus, Refusal> {
        let counters = vec![CetpCounter { name: "calls".into(), count: filter.limit.get() as u64 }];
        let (sessions, local, edges, ways) = (vec![], vec![], vec![], vec![]);
        let (refusals, filtering, reputations) = (vec![], vec![], vec![]);
        let total_matched = 0;
        Ok(CetpStatus {
            counters,
            total_matched,
            sessions,
            local,
            edges,
            ways,
            refusals,
            filtering,
            reputations,
        })
    }

    fn policy(&self, filter: &manage::PolicyFilter) -> Result<manage::PolicyList, Refusal> {
        Err(Refusal::new(format!("{filter:?}"), "none"))
    }

    fn explain(&self, question: &manage::ExplainQuestion) -> Result<manage::Explanation, Refusal> {
        Err(Refusal::new(format!("{question:?}"), "none"))
    }
}

fn blocks() -> Sharing {
    Sharing::Blocks { first_block_size: 64, block_size: 512, blocks_per_subscriber: 8 }
}

fn pool(name: &str, state: PoolState, sharing: Sharing) -> PoolStatus {
    let address = |last| Ipv4Addr::new(198, 51, 100, last);
    PoolStatus {
        name: name.into(),
        state,
        realms: vec!["home".into(), "office".into()],
        subscribers: vec!["10.0.0.0/24".parse().unwrap()],
        addresses: vec![
            AddressRange { first: address(0), last: address(15) },
            AddressRange { first: address(20), last: address(20) },
        ],
        mapping: Dependence::EndpointIndependent,
        filtering: Dependence::AddressAndPortDependent,
        port_selection: PortSelection::Random,
        sharing,
        ports: PortRange { first: 1024, last: 65_535 },
        blocks: 17_136,
        blocks_leased: 1_714,
        blocks_resting: 4_321,
        in_use: InUse { tcp: 5_001, udp: 5_002, icmp: 5_003, other: 5_004 },
    }
}

fn default_route() -> RouteStatus {
    let next_hop = |host, neighbor: Option<&str>| NextHopStatus {
        interface: "outside".into(),
        gateway: Some(Ipv4Addr::new(203, 0, 113, host).into()),
        neighbor: neighbor.map(str::to_owned),
    };
    RouteStatus {
        realm: "internet".into(),
        prefix: "0.0.0.0/0".parse().unwrap(),
        kind: RouteKind::Via,
        next_hops: vec![next_hop(1, Some("reachable")), next_hop(2, None)],
        origin: RouteOrigin::Static,
    }
}

fn dropped_route(kind: RouteKind) -> RouteStatus {
    let prefix = "198.51.100.0/24".parse().unwrap();
    RouteStatus { realm: "internet".into(), prefix, kind, next_hops: vec![], origin: RouteOrigin::Runtime }
}

/// Does nothing, and says what it understood.
impl Commands for Fake {
    fn change_route(&self, change: &RouteChange) -> Result<RouteChanged, Refusal> {
        let (action, route) = match change {
            RouteChange::Add(RouteAddition { realm, .. }) if realm != "internet" => {
                return Err(Refusal::new("there is no such realm", "the realms are: internet"));
            }
            RouteChange::Add(RouteAddition { to, replace, .. }) => {
                let route = match to {
                    RouteTo::Via { gateways, interface } => {
                        let mut route = default_route();
                        let next_hop = |&gateway: &IpAddr| NextHopStatus {
                            interface: interface.clone().unwrap_or("found".into()),
                            gateway: Some(gateway),
                            neighbor: None,
                        };
                        route.next_hops = gateways.iter().map(next_hop).collect();
                        route
                    }
                    RouteTo::OnLink { interface } => {
                        let mut route = default_route();
                        let interface = interface.clone();
                        route.next_hops = vec![NextHopStatus { interface, gateway: None, neighbor: None }];
                        route
                    }
                    RouteTo::Blackhole => dropped_route(RouteKind::Blackhole),
                    RouteTo::Unreachable => dropped_route(RouteKind::Unreachable),
                    RouteTo::Prohibit => dropped_route(RouteKind::Prohibit),
                };
                (if *replace { RouteAction::Replaced } else { RouteAction::Added }, route)
            }
            RouteChange::Delete(_) => (RouteAction::Deleted, default_route()),
        };
        Ok(RouteChanged { action, route })
    }

    fn change_pool(&self, change: &PoolChange) -> Result<PoolChanged, Refusal> {
        let (name, state) = match change {
            PoolChange::Drain { name } => (name, PoolState::Draining),
            PoolChange::Undrain { name } => (name, PoolState::Active),
            PoolChange::Remove { name } => (name, PoolState::Removed),
        };
        if name == "none" {
            return Err(Refusal::new("there is no such pool", "the pools are: homes"));
        }
        Ok(PoolChanged { changed: state != PoolState::Active, pool: pool(name, state, blocks()) })
    }

    fn change_host(&self, change: &HostChange) -> Result<HostChanged, Refusal> {
        Err(Refusal::new(format!("{change:?}"), "none"))
    }

    fn change_cetp(&self, change: &CetpChange) -> Result<CetpChanged, Refusal> {
        match change {
            CetpChange::Terminate { all: true, .. } => Ok(CetpChanged { ended: 7, pardoned: 0 }),
            CetpChange::Pardon { all: true, .. } => Ok(CetpChanged { ended: 0, pardoned: 2 }),
            _ => Err(Refusal::new("nothing says which", "say which")),
        }
    }

    fn change_policy(&self, change: &manage::PolicyChange) -> Result<manage::PolicyChanged, Refusal> {
        Err(Refusal::new(format!("{change:?}"), "none"))
    }
}

/// A runtime directory of a test's own, removed afterwards.
struct RuntimeDir(PathBuf);

impl RuntimeDir {
    fn new() -> RuntimeDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ces-manage-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        RuntimeDir(path)
    }

    fn socket(&self) -> PathBuf {
        manage::socket_path(&self.0, "edge")
    }

    fn serve(&self) -> Server {
        manage::serve(&self.socket(), Arc::new(Fake), Arc::new(Fake)).unwrap()
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ask(socket: &Path, request: Request) -> Result<Value, ClientError> {
    Client::connect(socket)?.ask(&request)
}

fn ask_flows(
    socket: &Path,
    host: Option<IpAddr>,
    realm: Option<&str>,
    limit: u64,
) -> Result<Value, ClientError> {
    let limit = FlowLimit::try_from(limit).unwrap();
    ask(socket, Request::Flows(FlowFilter { host, realm: realm.map(str::to_owned), limit }))
}

#[track_caller]
fn assert_served(socket: &Path) {
    let asked = Instant::now();
    assert_eq!(ask(socket, Request::Status {}).unwrap()["instance"], "edge");
    assert!(asked.elapsed() < Duration::from_secs(1), "served only after {:?}", asked.elapsed());
}

#[track_caller]
fn assert_refused(answer: Result<Value, ClientError>, word: &str) {
    match answer {
        Err(ClientError::Refused(refusal)) => {
            assert!(refusal.message.contains(word) && !refusal.hint.is_empty(), "{refusal}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn every_verb_answers_with_its_model() {
    let dir = RuntimeDir::new();
    let server = dir.serve();
    let socket = dir.socket();
    let status: Status = serde_json::from_value(ask(&socket, Request::Status {}).unwrap()).unwrap();
    assert_eq!(status, Fake.status());
    let ports: Vec<PortStatus> = serde_json::from_value(ask(&socket, Request::Ports {}).unwrap()).unwrap();
    assert_eq!(ports, Fake.ports());
    let counters = ask(&socket, Request::Counters {}).unwrap();
    assert_eq!(counters["drops"].as_object().unwrap().len(), DROP_REASONS);
    assert_eq!(counters["drops"]["no_route"], json!({"total": 1234, "workers": [1000, 234]}));
    assert_eq!(serde_json::from_value::<Counters>(counters).unwrap(), Fake.counters());
    let neighbors = ask(&socket, Request::Neighbors {}).unwrap();
    assert_eq!(serde_json::from_value::<Vec<NeighborStatus>>(neighbors).unwrap(), Fake.neighbors());
    let routes = ask(&socket, Request::Routes(RouteFilter::default())).unwrap();
    assert_eq!(routes["routes"][0]["next_hops"][0]["gateway"], "203.0.113.1");
    let expected = Fake.routes(&RouteFilter::default()).unwrap();
    assert_eq!(serde_json::from_value::<Routes>(routes).unwrap(), expected);
    let pools = ask(&socket, Request::Pools {}).unwrap();
    let sharing = json!({"blocks": {"first_block_size": 64, "block_size": 512, "blocks_per_subscriber": 8}});
    assert_eq!((&pools[0]["sharing"], &pools[2]["sharing"]), (&sharing, &json!("whole-address")));
    assert_eq!(pools[1]["sharing"]["deterministic"], json!({"ratio": 256, "ports_each": 252}));
    assert_eq!(pools[0]["addresses"][1], json!({"first": "198.51.100.20", "last": "198.51.100.20"}));
    assert_eq!(pools[1]["filtering"], "address-and-port-dependent");
    assert_eq!(serde_json::from_value::<Vec<PoolStatus>>(pools).unwrap(), Fake.pools());
    let question = Nat44Question::Public { address: [198, 51, 100, 3].into(), port: 1999 };
    let said = ask(&socket, Request::Nat44(question.clone())).unwrap();
    assert_eq!((&said[0]["realm"], &said[0]["inside"]), (&json!("home"), &json!("192.0.2.7")));
    let expected = Fake.determined(&question).unwrap();
    assert_eq!(serde_json::from_value::<Vec<Determined>>(said).unwrap(), expected);
    server.stop();
}

#[test]
fn flows_are_filtered_and_limited() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let socket = dir.socket();
    let flows = ask_flows(&socket, Some([10, 0, 0, 2].into()), Some("home"), 2).unwrap();
    assert_eq!((&flows["total_matched"], &flows["truncated"]), (&json!(20_000), &json!(true)));
    assert_eq!(flows["flows"].as_array().unwrap().len(), 2);
    assert_eq!(flows["flows"][1]["inside"], "10.0.0.2:1");
    let by_default = ask(&socket, Request::Flows(FlowFilter::default())).unwrap();
    assert_eq!(by_default["flows"].as_array().unwrap().len(), 100);
    assert_eq!(ask_flows(&socket, Some([10, 0, 0, 3].into()), None, 100).unwrap()["total_matched"], 0);
    let most = ask_flows(&socket, None, None, FlowLimit::MAX.into()).unwrap();
    assert_eq!(most["flows"].as_array().unwrap().len(), 10_000);
    assert_refused(ask_flows(&socket, None, Some("elsewhere"), 1), "realm");
}

#[test]
fn commands_reach_their_owner_and_its_refusals_the_client() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let mut client = Client::connect(&dir.socket()).unwrap();
    let prefix = "0.0.0.0/0".parse().unwrap();
    let mut addition =
        RouteAddition { realm: "internet".into(), prefix, to: RouteTo::Prohibit, replace: true };
    let changed = client.ask(&RouteChange::Add(addition.clone())).unwrap();
    let expected = RouteChanged { action: RouteAction::Replaced, route: dropped_route(RouteKind::Prohibit) };
    assert_eq!(serde_json::from_value::<RouteChanged>(changed).unwrap(), expected);
    addition.realm = "elsewhere".into();
    assert_refused(client.ask(&RouteChange::Add(addition)), "realm");
    let deletion = RouteDeletion { realm: "internet".into(), prefix };
    assert_eq!(client.ask(&RouteChange::Delete(deletion)).unwrap()["action"], "deleted");
    let name = || "homes".to_owned();
    let changed = client.ask(&PoolChange::Remove { name: name() }).unwrap();
    let expected = PoolChanged { changed: true, pool: pool("homes", PoolState::Removed, blocks()) };
    assert_eq!(serde_json::from_value::<PoolChanged>(changed).unwrap(), expected);
    assert_eq!(client.ask(&PoolChange::Drain { name: name() }).unwrap()["pool"]["state"], "draining");
    assert_eq!(client.ask(&PoolChange::Undrain { name: name() }).unwrap()["changed"], false);
    assert_refused(client.ask(&PoolChange::Drain { name: "none".into() }), "pool");
    for (line, word) in [
        (r#"{"pool":"delete","name":"homes"}"#, "delete"),
        (r#"{"pool":"drain"}"#, "name"),
        (r#"{"pool":"drain","name":"homes","realm":"home"}"#, "realm"),
        (r#"{"pool":"drain","name":"homes","route":"add"}"#, "pool"),
        (r#"{"route":"remove"}"#, "remove"),
        (r#"{"route":"add","realm":"internet"}"#, "prefix"),
        (r#"{"route":"delete","realm":"internet","prefix":"0.0.0.0"}"#, "IP"),
        (r#"{"route":"delete","realm":"internet","prefix":"::/0","replace":true}"#, "replace"),
        (r#"{"show":"routes","route":"add"}"#, "show"),
    ] {
        assert_refused(client.ask_line(format!("{line}\n").as_bytes()), word);
    }
    assert_eq!(client.ask(&Request::Status {}).unwrap()["version"], 1);
}

#[test]
fn one_connection_carries_many_requests_and_outlives_wrong_ones() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let mut client = Client::connect(&dir.socket()).unwrap();
    for _ in 0..3 {
        assert_refused(client.ask_line(b"{\"show\":\"everything\"}\n"), "everything");
        assert_refused(client.ask_line(b"\xff\xfe\n"), "not understood");
        assert_refused(client.ask_line(b"{\"show\":\"flows\",\"limit\":10001}\n"), "10001");
        assert_eq!(client.ask(&Request::Status {}).unwrap()["version"], 1);
    }
}

#[test]
fn an_overlong_request_is_refused_and_closed() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let mut longest = br#"{"show":"status"}"#.to_vec();
    longest.resize(REQUEST_MAX - 1, b' ');
    longest.push(b'\n');
    let mut client = Client::connect(&dir.socket()).unwrap();
    assert_eq!(client.ask_line(&longest).unwrap()["instance"], "edge");
    longest.insert(20, b' ');
    assert_refused(client.ask_line(&longest), "longer than 4096 bytes");
    assert!(matches!(client.ask(&Request::Status {}), Err(ClientError::Closed)), "closed after that");
    assert_served(&dir.socket());
}

#[test]
fn clients_beyond_the_places_are_turned_away_until_one_leaves() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let socket = dir.socket();
    let mut clients: Vec<Client> = (0..CLIENTS_MAX + 4).map(|_| Client::connect(&socket).unwrap()).collect();
    for mut refused in clients.split_off(CLIENTS_MAX) {
        assert_refused(refused.ask(&Request::Status {}), "16 places");
    }
    for client in &mut clients {
        assert_eq!(client.ask(&Request::Status {}).unwrap()["instance"], "edge");
    }
    clients.pop();
    std::thread::sleep(Duration::from_millis(50));
    assert_served(&socket);
}

#[test]
fn a_client_that_never_reads_delays_nobody() {
    let dir = RuntimeDir::new();
    let server = dir.serve();
    let socket = dir.socket();
    let deaf: Vec<UnixStream> = (0..4)
        .map(|_| {
            let mut client = UnixStream::connect(&socket).unwrap();
            for _ in 0..8 {
                client.write_all(b"{\"show\":\"flows\",\"limit\":10000}\n").unwrap();
            }
            client
        })
        .collect();
    let silent = UnixStream::connect(&socket).unwrap();
    for _ in 0..10 {
        assert_served(&socket);
    }
    // Nothing was lost for the one that reads in the end.
    let mut late = BufReader::new(&deaf[0]);
    for _ in 0..8 {
        let mut line = String::new();
        late.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["ok"]["flows"].as_array().unwrap().len(), 10_000);
    }
    let stopping = Instant::now();
    server.stop();
    assert!(stopping.elapsed() < Duration::from_millis(200), "stopped after {:?}", stopping.elapsed());
    assert!(!socket.exists());
    assert_eq!((&silent).read(&mut [0]).unwrap(), 0, "clients are closed");
}

#[test]
fn only_the_owner_may_use_the_socket() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    assert_eq!(fs::metadata(dir.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "nothing else is left in the directory");
}

#[test]
fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let dir = RuntimeDir::new();
    let socket = dir.socket();
    drop(UnixListener::bind(&socket).unwrap());
    assert!(matches!(ask(&socket, Request::Status {}), Err(ClientError::NotRunning(_))));
    let first = dir.serve();
    assert_served(&socket);
    assert!(matches!(manage::serve(&socket, Arc::new(Fake), Arc::new(Fake)), Err(manage::Error::InUse(_))));
    assert_served(&socket);

    // A file that took the socket's place is not ours to remove.
    fs::remove_file(&socket).unwrap();
    let second = dir.serve();
    first.stop();
    assert_served(&socket);
    second.stop();
    assert!(!socket.exists());
}

#[test]
fn a_path_that_cannot_be_served_is_refused_with_its_reason() {
    let dir = RuntimeDir::new();
    let file = dir.0.join("file");
    fs::write(&file, "precious").unwrap();
    assert!(matches!(
        manage::serve(&file, Arc::new(Fake), Arc::new(Fake)),
        Err(manage::Error::NotASocket(_))
    ));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    for path in [file.join("edge.sock"), dir.0.join("x".repeat(120))] {
        let error = manage::serve(&path, Arc::new(Fake), Arc::new(Fake)).unwrap_err();
        assert!(matches!(error, manage::Error::Listen { .. }), "{error}");
    }
    let made = dir.0.join("run/ces/edge.sock");
    let server = manage::serve(&made, Arc::new(Fake), Arc::new(Fake)).unwrap();
    assert_served(&made);
    server.stop();
}

/// Requests that are nearly right, and bytes that are nothing.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "{",
        "}",
        "\"show\"",
        ":",
        ",",
        "\"status\"",
        "\"flows\"",
        "\"limit\"",
        "\"host\"",
        "1e99",
        "-0",
        "null",
        "[",
        "\"\\ud800\"",
        "{\"show\":\"ports\"}",
        "\n",
        "\0",
        "[[[[[[[[",
        "\"10.0.0.2\"",
        "{\"route\":\"add\"",
        "\"prefix\":\"::/0\"",
        "{\"pool\":\"drain\"",
        "\"name\":\"homes\"",
        "{\"show\":\"nat44\",\"inside\":{",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        prop::collection::vec(words, 0..80).prop_map(|words| words.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 3_900..10_000),
    ]
}

#[test]
fn no_bytes_hurt_the_server() {
    let dir = RuntimeDir::new();
    let server = dir.serve();
    let socket = dir.socket();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(bytes in bytes())| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // The server may close before it has everything: then these two fail, as they should.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        let unended = pieces.pop().unwrap();
        let overlong = |piece: &&[u8]| piece.len() >= REQUEST_MAX;
        let expected = match pieces.iter().position(overlong) {
            Some(first_overlong) => first_overlong + 1,
            None => pieces.len() + usize::from(overlong(&unended)),
        };
        let mut answers = 0;
        for line in BufReader::new(stream).split(b'\n') {
            match line {
                Ok(line) => {
                    let answer: Value = serde_json::from_slice(&line).unwrap();
                    prop_assert!(answer.get("ok").is_some() ^ answer["error"]["hint"].is_string(), "{answer}");
                    answers += 1;
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    prop_assert!(bytes.len() > REQUEST_MAX, "cut off without cause");
                }
            }
        }
        prop_assert_eq!(answers, expected, "an answer a line, and one that says too long");
        assert_served(&socket);
    });
    server.stop();
}

fn cesctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cesctl")).args(args).output().unwrap()
}

/// What it printed, after checking how it ended.
#[track_caller]
fn expect(output: Output, code: i32) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(if code == 0 { err.is_empty() } else { out.is_empty() }, "{out}{err}");
    out + &err
}

#[test]
fn cesctl_shows_every_verb_as_text() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let show = |what: &str| {
        let mut args = vec!["--runtime-dir", dir.0.to_str().unwrap(), "show"];
        args.extend(what.split(' '));
        expect(cesctl(&args), 0)
    };
    let contains = |text: String, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "no {word:?} in\n{text}");
        }
    };
    contains(
        show("status"),
        &["20,000 of 1,000,000 (2.0 %)", "3m05s", "ces-worker-1", "sleeping", "note: runs"],
    );
    contains(
        show("ports"),
        &["inside", "up", "10 Gb/s", "net_tap0,iface=in0", "1.50 GB", "1 rx 2 tx", "1024 rx 512 tx"],
    );
    contains(show("counters"), &["worker 1", "no_route", "1,234", "are not shown"]);
    contains(show("counters --all"), &["no_route", "tx_full", "handoff_loop"]);
    contains(show("counters --explain"), &["No route to the destination."]);
    contains(
        show("runtime"),
        &["worker 0: busy 70.0 %", "receive", "64,000", "10.9", "700.0", "30.0 %", "2 stages without a call"],
    );
    contains(show("runtime --all"), &["slow"]);
    contains(
        show("flows --limit 1"),
        &["10.0.0.2:0", "203.0.113.9:443", "1.5 s", "1 of 20,000 matching flows"],
    );
    contains(show("flows --host 10.0.0.9 --realm home"), &["0 of 0 matching flows"]);
    contains(show("neighbors"), &["203.0.113.1", "gateway", "02:00:00:00:00:02", "reachable", "incomplete"]);
    contains(
        show("routes"),
        &[
            "internet",
            "0.0.0.0/0",
            "203.0.113.2",
            "reachable",
            "static",
            "198.51.100.0/24",
            "prohibit",
            "runtime",
        ],
    );
    contains(show("routes --realm internet --limit 1"), &["1 of 2 matching routes (--"]);
    contains(
        show("pools"),
        &[
            "a first block of 64, then blocks of 512, 8 a subscriber",
            "deterministic, 256 to an address, 252 ports each",
            "an address each",
            "active",
            "draining",
            "removed",
            "endpoint-independent",
            "address-and-port-dependent",
            "1024-65535 random",
            "1024-65535 preserve-parity",
            "1,714 of 17,136 (10.0 %)",
            "4,321",
            "5,001",
            "5,002",
            "5,003",
            "5,004",
            "home,office",
            "10.0.0.0/24",
            "198.51.100.0-198.51.100.15,198.51.100.20",
        ],
    );
}

#[test]
fn cesctl_changes_pools_and_asks_formulas() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let run = |what: &str, code| {
        let mut args = vec!["--runtime-dir", dir.0.to_str().unwrap()];
        args.extend(what.split(' '));
        expect(cesctl(&args), code)
    };
    assert_eq!(run("pool drain homes", 0), "pool homes is draining now; 1,714 blocks are leased\n");
    assert_eq!(run("pool undrain homes", 0), "pool homes is active already; 1,714 blocks are leased\n");
    let removed: Value = serde_json::from_str(&run("pool remove homes --json", 0)).unwrap();
    assert_eq!((&removed["changed"], &removed["pool"]["state"]), (&json!(true), &json!("removed")));
    assert!(run("pool drain none", 1).contains("the pools are: homes"));
    let text = run("nat44 inside home 10.0.0.2", 0);
    for word in ["by-formula", "draining", "home", "10.0.0.2", "192.0.2.7", "1024-2047"] {
        assert!(text.contains(word), "{text}");
    }
    let said: Value = serde_json::from_str(&run("nat44 public 198.51.100.9 2000 --json", 0)).unwrap();
    assert_eq!(
        (&said[0]["public"], &said[0]["ports"]),
        (&json!("198.51.100.9"), &json!({"first": 2000, "last": 2047}))
    );
    assert!(run("nat44 inside elsewhere 10.0.0.2", 1).contains("the realms are: home"));
    for usage in [
        "pool",
        "pool drain",
        "pool delete homes",
        "pool drain homes offices",
        "nat44",
        "nat44 inside home",
        "nat44 inside 10.0.0.2",
        "nat44 inside home ::1",
        "nat44 public 198.51.100.9",
        "nat44 public 198.51.100.9 65536",
    ] {
        run(usage, 2);
    }
}

#[test]
fn cesctl_changes_routes() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let route = |what: &str, code| {
        let mut args = vec!["--runtime-dir", dir.0.to_str().unwrap(), "route"];
        args.extend(what.split(' '));
        expect(cesctl(&args), code)
    };
    let json = |what: &str| serde_json::from_str::<Value>(&route(&format!("{what} --json"), 0)).unwrap();
    let added = json("add 0.0.0.0/0 --realm internet via 203.0.113.1,203.0.113.2 --interface out");
    assert_eq!(added["action"], "added");
    let hop = |gateway: &str| json!({"interface": "out", "gateway": gateway, "neighbor": null});
    assert_eq!(added["route"]["next_hops"], json!([hop("203.0.113.1"), hop("203.0.113.2")]));
    let added = json("add ::/0 via fe80::1 --realm internet --replace");
    assert_eq!(
        (&added["action"], &added["route"]["next_hops"][0]["interface"]),
        (&json!("replaced"), &json!("found"))
    );
    let added = json("add ::/0 --realm internet --interface out");
    assert_eq!(added["route"]["next_hops"], json!([{"interface": "out", "gateway": null, "neighbor": null}]));
    for kind in ["blackhole", "unreachable", "prohibit"] {
        assert_eq!(json(&format!("add ::/0 --realm internet --{kind}"))["route"]["kind"], kind);
    }
    let text = route("del 0.0.0.0/0 --realm internet", 0);
    assert!(text.starts_with("deleted:\n") && text.contains("203.0.113.2"), "{text}");
    assert!(route("add ::/0 --realm nowhere --prohibit", 1).contains("the realms are: internet"));
    for usage in [
        "add",
        "add ::/0 --realm internet",
        "add ::/0 --prohibit",
        "add ::/0 --realm internet to fe80::1",
        "add ::/0 --realm internet via fe80::1,",
        "add ::/0 --realm internet via",
        "add ::/0 --realm internet via fe80::1 --prohibit",
        "add ::/0 --realm internet --interface out --blackhole",
        "add ::/0 --realm internet --unreachable --blackhole",
        "add 10.0.0.0/33 --realm internet --blackhole",
        "del ::/0",
        "del ::/0 --realm internet --replace",
    ] {
        route(usage, 2);
    }
}

#[test]
fn cesctl_prints_the_payload_as_json() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let socket = dir.socket();
    let limited = FlowFilter { limit: FlowLimit::try_from(3).unwrap(), ..FlowFilter::default() };
    for (what, request) in [
        ("status", Request::Status {}),
        ("ports", Request::Ports {}),
        ("counters", Request::Counters {}),
        ("flows --limit 3", Request::Flows(limited)),
        ("neighbors", Request::Neighbors {}),
        ("pools", Request::Pools {}),
        (
            "routes --realm internet",
            Request::Routes(RouteFilter { realm: Some("internet".into()), ..RouteFilter::default() }),
        ),
    ] {
        let mut args = vec!["--socket", socket.to_str().unwrap(), "show"];
        args.extend(what.split(' '));
        args.push("--json");
        let printed: Value = serde_json::from_str(&expect(cesctl(&args), 0)).unwrap();
        assert_eq!(printed, ask(&socket, request).unwrap(), "{what}");
    }
}

#[test]
fn cesctl_shows_what_came_between_two_looks() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let socket = dir.socket();
    let socket = socket.to_str().unwrap();
    let show = |more: &[&str]| cesctl(&[&["--socket", socket, "show", "runtime"], more].concat());
    let total: Value = serde_json::from_str(&expect(show(&["--json"]), 0)).unwrap();
    assert_eq!(
        total["workers"][0]["stages"][0],
        json!({"stage": "receive", "calls": 1_000, "packets": 64_000, "cycles": 700_000})
    );
    // Other tests look too.
    let between: Value = serde_json::from_str(&expect(show(&["--interval", "1", "--json"]), 0)).unwrap();
    let looks = between["elapsed_ms"].as_u64().unwrap() / 1_000;
    assert!(looks >= 1, "{between:#}");
    let receive = |worker: usize| between["workers"][worker]["stages"][0]["calls"].as_u64().unwrap();
    assert_eq!([receive(0), receive(1)], [0, 1_000 * looks]);
    let text = expect(show(&["--interval", "1"]), 0);
    assert!(text.contains("worker 0: busy 0.0 %") && text.contains("worker 1: busy 70.0 %"), "{text}");
    assert!(text.contains("4 stages without a call"), "{text}");
    for usage in ["0", "3601", "x"] {
        expect(show(&["--interval", usage]), 2);
    }
}

#[test]
fn cesctl_ends_quietly_when_its_reader_has_seen_enough() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cesctl"))
        .args(["--socket", dir.socket().to_str().unwrap(), "show", "flows", "--limit", "10000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn cesctl_finds_the_only_instance_and_asks_to_choose_between_two() {
    let dir = RuntimeDir::new();
    let runtime_dir = dir.0.to_str().unwrap().to_owned();
    let status = |more: &[&str]| cesctl(&[&["--runtime-dir", &runtime_dir, "show", "status"], more].concat());
    assert!(expect(status(&[]), 1).contains("cesd --config FILE"));
    let _edge = dir.serve();
    expect(status(&[]), 0);
    let _other =
        manage::serve(&manage::socket_path(&dir.0, "other"), Arc::new(Fake), Arc::new(Fake)).unwrap();
    assert!(expect(status(&[]), 2).contains("edge, other"));
    expect(status(&["--instance", "other"]), 0);
    let missing = expect(status(&["--instance", "missing"]), 1);
    assert!(missing.contains("missing.sock") && missing.contains("cesd --config FILE"), "{missing}");
}

#[test]
fn cesctl_tells_wrong_usage_from_no_answer() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let runtime_dir = dir.0.to_str().unwrap();
    for usage in [
        "",
        "show",
        "show everything",
        "show flows --limit 10001",
        "show flows --host nowhere",
        "show status --all",
        "--socket x --instance y show status",
    ] {
        let args: Vec<&str> = usage.split(' ').filter(|word| !word.is_empty()).collect();
        expect(cesctl(&args), 2);
    }
    let refused = expect(cesctl(&["--runtime-dir", runtime_dir, "show", "flows", "--realm", "elsewhere"]), 1);
    assert!(refused.contains("no such realm; the realms are: home"), "{refused}");
    let nobody = dir.0.join("nobody.sock");
    drop(UnixListener::bind(&nobody).unwrap());
    expect(cesctl(&["--socket", nobody.to_str().unwrap(), "show", "status"]), 1);
}

#[test]
fn cesctl_shows_and_ends_sessions_with_hosts_behind_edges() {
    let dir = RuntimeDir::new();
    let _server = dir.serve();
    let run = |args: &[&str]| cesctl(&[&["--runtime-dir", dir.0.to_str().unwrap()], args].concat());
    let text = expect(run(&["show", "cetp", "--host", "a.example", "--limit", "42"]), 0);
    assert!(text.contains("calls") && text.contains("42"), "{text}");
    assert_eq!(expect(run(&["cetp", "terminate", "--all"]), 0), "7 sessions ended\n");
    assert_eq!(expect(run(&["cetp", "pardon", "--all"]), 0), "2 hosts may come again\n");
    assert_eq!(
        expect(run(&["cetp", "pardon", "--all", "--json"]), 0).split_whitespace().collect::<String>(),
        r#"{"ended":0,"pardoned":2}"#
    );
    expect(run(&["cetp", "terminate", "--edge", "ces.example"]), 1);
}
