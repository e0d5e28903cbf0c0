//! A real `cesd` with a register of hosts, zones and a circular pool, and the other ends of its two links, by memif.

use std::path::{Path, PathBuf};

use ces::dpdk::{Eal, EalOptions, HugePages, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::bed::Bed;
use crate::running::Running;

/// Hosts of the register, each of which is asked for.
pub const HOSTS: u32 = 4096;
pub const HOME: usize = 0;
pub const OUTSIDE: usize = 1;
/// By port: the edge's address, and that of the router behind which everybody is.
pub const OWN: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:01:01"];
pub const ROUTER: [&str; 2] = ["02:00:00:00:00:02", "02:00:00:00:01:02"];
/// Where the edge is asked.
pub const SERVER: [u8; 4] = [203, 0, 113, 1];
const DEVICES: [&str; 2] = ["in", "out"];

/// One end of a link.
pub struct Wire {
    pub rx: RxQueue,
    pub tx: TxQueue,
    _port: Port,
}

/// See the module. Fields end in this order.
pub struct Edge {
    pub wires: Vec<Wire>,
    pub pool: Pool,
    cesd: Running,
    _eal: Eal,
    _bed: Bed,
}

impl Edge {
    pub fn start() -> Edge {
        let bed = Bed::new();
        let sockets: Vec<_> = DEVICES.iter().map(|name| bed.directory.join(name)).collect();
        bed.configure(&config(&sockets));
        let cesd = Running::start(&bed);
        let myself = Pid::from_raw(0);
        let cores = sched_getaffinity(myself).expect("own affinity");
        let clients: Vec<_> = (0..).zip(&sockets).map(|(n, socket)| device(socket, n, "client")).collect();
        let main = (0..CpuSet::count()).find(|at| cores.is_set(*at).unwrap_or(false));
        let eal = Eal::init(EalOptions {
            huge_pages: HugePages::None,
            memory_mb: Some(128),
            vdevs: clients.clone(),
            ..EalOptions::new(format!("{}-load", bed.instance), main.expect("a core"))
        });
        let eal = eal.expect("EAL starts");
        sched_setaffinity(myself, &cores).expect("as before");
        let pool = Pool::new(&eal, &PoolOptions::new("load", 16_383)).expect("a pool");
        let wire = |client: &String| {
            let (port, mut rx, mut tx) =
                Port::start(&eal, &PortOptions::new(client.clone()), &pool).expect("the link starts");
            Wire { rx: rx.remove(0), tx: tx.remove(0), _port: port }
        };
        let wires = clients.iter().map(wire).collect();
        Edge { wires, pool, cesd, _eal: eal, _bed: bed }
    }

    /// CPU time of its threads but the workers, in seconds: the first field of each one's `schedstat`.
    pub fn control_seconds(&self) -> f64 {
        let tasks = format!("/proc/{}/task", self.cesd.child.id());
        let tasks = std::fs::read_dir(tasks).expect("cesd runs").flatten();
        let of = |task: PathBuf| {
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
            let ns: f64 = stat.split(' ').next()?.parse().ok()?;
            (!name.starts_with("ces-worker")).then_some(ns / 1e9)
        };
        tasks.filter_map(|task| of(task.path())).sum()
    }
}

fn device(socket: &Path, number: usize, role: &str) -> String {
    format!("net_memif{number},role={role},id=0,socket={},socket-abstract=no", socket.display())
}

/// Host `n`: its name, and its address behind the router of the inside.
pub fn name(n: u32) -> String {
    format!("host{n}.ces.example")
}

fn address(n: u32) -> std::net::Ipv4Addr {
    (u32::from_be_bytes([10, 2, 0, 0]) + n).into()
}

fn config(sockets: &[PathBuf]) -> String {
    let last_core = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let port = |n: usize| {
        let device = device(&sockets[n], n, "server");
        format!("[[port]]\nname = \"{}\"\ndevice = \"{device},mac={}\"\n", DEVICES[n], OWN[n])
    };
    let host =
        |n| format!("[[host]]\nname = \"{}\"\nrealm = \"home\"\naddresses = [\"{}\"]\n", name(n), address(n));
    let hosts: String = (0..HOSTS).map(host).collect();
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [{last_core}]\nidle = \"sleep\"\n{}{}\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.1.0.1/24\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"home\"\nprefix = \"10.2.0.0/16\"\nvia = \"10.1.0.2\"\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"in\"\naddress = \"10.1.0.2\"\nmac = \"{}\"\n\
         [[neighbor]]\ninterface = \"out\"\naddress = \"203.0.113.254\"\nmac = \"{}\"\n\
         [flow]\nsessions = 2000000\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.16\"]\n[nat44.timeouts]\nudp = 2\n\
         [limits]\ndns_per_second = 1000000\ndns_per_source_per_second = 1000000\n\
         [dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n\
         [[dns.zones]]\napex = \"ces.example\"\ncontact = \"hostmaster.ces.example\"\n\
         name_servers = [{{ name = \"ns1.ces.example\", addresses = [\"203.0.113.1\"] }}]\n\
         [prgw]\npool = [\"198.51.96.0/19\"]\nsession_pairs = 4000000\n\
         first_packets_per_second = 10000000\nfirst_packets_per_source_per_second = 10000000\n\
         [hosts]\nreservations_per_second = 1000000\n{hosts}",
        port(0),
        port(1),
        ROUTER[0],
        ROUTER[1],
    )
}
