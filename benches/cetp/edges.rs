//! Two real `cesd`, each a process with a sleeping worker, a link between them and one to the bench from each, all by vhost-user, whose
//! queues have interrupts as a NIC's have; and the DNS that both ask. Needs root, for the namespace in which they ask.
//!
//! ```text
//!  bench (the host a.alpha.example) ─► edge 0 ── core ── edge 1 ─► bench (the hosts of beta.example)
//!                                        └──── the DNS ────┘
//! ```

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ces::dpdk::{
    Burst, Eal, EalOptions, HugePages, Interrupts, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue,
};
use ces::ring::wake;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::NAPTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use crate::bed::Bed;
use crate::running::Running;

/// Hosts behind the second edge.
pub const HOSTS: u32 = 64;
/// Of the edges on the links to the bench, on the link between them, and of the bench.
pub const INSIDE: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:01:01"];
const CORE: [&str; 2] = ["02:00:00:00:00:0c", "02:00:00:00:01:0c"];
pub const BENCH: [&str; 2] = ["02:00:00:00:00:02", "02:00:00:00:01:02"];
/// The edge and the router behind which hosts are, in both realms.
pub const EDGE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The host that calls.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
const DNS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const ZONES: [&str; 2] = ["alpha.example", "beta.example"];

pub fn host(n: u32) -> String {
    format!("h{n}.beta.example")
}

/// See the module. Fields end in this order.
pub struct Edges {
    pub wires: [Wire; 2],
    _cesd: [Running; 2],
    _eal: Eal,
    _beds: [Bed; 2],
    _dns: Dns,
}

impl Edges {
    pub fn start() -> Edges {
        let beds = [Bed::new(), Bed::new()];
        let dns = Dns::start();
        let sockets = [0, 1].map(|n| beds[n].directory.join("in.vhost"));
        let core = beds[0].directory.join("core.vhost");
        certify(&beds);
        let cesd = [0, 1].map(|n| {
            beds[n].configure(&config(n, &sockets[n], &core, &beds[n].directory));
            Running::start(&beds[n])
        });
        let (eal, wires) = wires(&beds[0].instance, &sockets);
        Edges { wires, _cesd: cesd, _eal: eal, _beds: beds, _dns: dns }
    }
}

/// The end of a link that makes its socket.
fn server(socket: &Path, number: usize) -> String {
    format!("net_vhost{number},iface={}", socket.display())
}

/// And the other one.
fn client(socket: &Path, number: usize) -> String {
    format!("net_virtio_user{number},path={}", socket.display())
}

fn config(n: usize, socket: &Path, core: &Path, place: &Path) -> String {
    let (inside, zone, place) = (server(socket, 0), ZONES[n], place.display());
    let core = [server, client][n](core, 1);
    let (own, other) = (n + 1, 2 - n);
    let last = std::thread::available_parallelism().map_or(1, |cores| cores.get()) - 1;
    let own_core = n.min(last);
    let hosts: String = match n {
        0 => of_host("a.alpha.example", CALLER),
        _ => (0..HOSTS).map(|h| of_host(&host(h), Ipv4Addr::new(10, 2, 1, h as u8))).collect(),
    };
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [{own_core}]\nidle = \"sleep\"\n\
         [[port]]\nname = \"in\"\ndevice = \"{inside}\"\nmac = \"{}\"\n\
         [[port]]\nname = \"core\"\ndevice = \"{core}\"\nmac = \"{}\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\nproxy_addresses = [\"172.16.0.0/24\"]\nproxies_per_host = 256\n\
         [[realm]]\nname = \"core\"\nside = \"outside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"{EDGE}/24\"]\n\
         [[interface]]\nport = \"core\"\nrealm = \"core\"\naddresses = [\"203.0.113.{own}/24\"]\n\
         [[route]]\nrealm = \"home\"\nprefix = \"10.2.0.0/16\"\nvia = \"{ROUTER}\"\n\
         [[neighbor]]\ninterface = \"in\"\naddress = \"{ROUTER}\"\nmac = \"{}\"\n\
         [[neighbor]]\ninterface = \"core\"\naddress = \"203.0.113.{other}\"\nmac = \"{}\"\n\
         [nat44]\ninside = [\"home\"]\noutside = \"core\"\npool = [\"203.0.113.{}\"]\n\
         [dns]\nupstreams = [{{ address = \"{DNS}\" }}]\n\
         [dns.edge]\ncesid = \"ces1.{zone}\"\nrlocs = [\"203.0.113.{own}\"]\n\
         [[dns.zones]]\napex = \"{zone}\"\nname_servers = [{{ name = \"ns1.{zone}\", addresses = [\"203.0.113.{own}\"] }}]\n\
         [policy]\ndefault = \"anyone\"\n[cetp]\nsessions = 1000\n\
         [cetp.identity]\ncertificate = \"{place}/edge.pem\"\nkey = \"{place}/edge.key\"\n\
         [[cetp.identity.authorities]]\nname = \"bench\"\ncertificates = \"{place}/ca.pem\"\n\
         [hosts]\ncapacity = 1000\n{hosts}",
        INSIDE[n],
        CORE[n],
        BENCH[n],
        CORE[1 - n],
        16 * own
    )
}

fn of_host(name: &str, address: Ipv4Addr) -> String {
    format!("[[host]]\nname = \"{name}\"\nrealm = \"home\"\naddresses = [\"{address}\"]\n")
}

/// An authority, and a certificate of each edge by it.
fn certify(beds: &[Bed; 2]) {
    let mut authority = CertificateParams::new(Vec::<String>::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(authority, key).expect("a certificate");
    for (bed, zone) in beds.iter().zip(ZONES) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![format!("ces1.{zone}")]).expect("a name");
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        let write =
            |name: &str, text: String| std::fs::write(bed.directory.join(name), text).expect("written");
        write("ca.pem", ca.pem());
        write("edge.pem", certificate.pem());
        write("edge.key", key.serialize_pem());
    }
}

// ---- links ----

/// The bench's end of a link.
pub struct Wire {
    interrupts: Interrupts,
    rx: RxQueue,
    tx: TxQueue,
    pool: Pool,
    _port: Port,
}

/// Between two looks at a link on which nothing comes.
const LOOK: Duration = Duration::from_millis(1);

impl Wire {
    pub fn send(&mut self, frame: &[u8]) {
        let mut burst = Burst::new();
        burst.extend(self.pool.alloc_copy(frame));
        self.tx.send(&mut burst);
    }

    /// What `of` makes of the first frame that it makes something of, and when that came.
    pub fn receive<T>(
        &mut self,
        patience: Duration,
        of: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<(T, Instant)> {
        let (start, mut burst) = (Instant::now(), Burst::new());
        while start.elapsed() < patience {
            assert!(self.interrupts.arm(), "the link interrupts");
            if self.rx.receive(&mut burst) == 0 {
                wake::nap_until(self.interrupts.readable(), LOOK);
                self.interrupts.disarm();
                self.rx.receive(&mut burst);
            }
            let now = Instant::now();
            let found = burst.drain(..).filter_map(|mbuf| of(mbuf.data())).last();
            if let Some(found) = found {
                return Some((found, now));
            }
        }
        None
    }
}

fn wires(name: &str, sockets: &[PathBuf; 2]) -> (Eal, [Wire; 2]) {
    let myself = Pid::from_raw(0);
    let cores = sched_getaffinity(myself).expect("own affinity");
    let main = (0..CpuSet::count()).find(|at| cores.is_set(*at).unwrap_or(false));
    let clients = [0, 1].map(|n| client(&sockets[n], n));
    let eal = Eal::init(EalOptions {
        huge_pages: HugePages::None,
        memory_mb: Some(128),
        vdevs: clients.to_vec(),
        ..EalOptions::new(format!("{name}-bench"), main.expect("a core"))
    })
    .expect("EAL starts");
    sched_setaffinity(myself, &cores).expect("as before");
    let pool = Pool::new(&eal, &PoolOptions::new("bench", 4095)).expect("a pool");
    let wires = clients.map(|client| {
        let options = PortOptions { rx_interrupts: true, ..PortOptions::new(client) };
        let (port, mut rx, mut tx) = Port::start(&eal, &options, &pool).expect("the link starts");
        let interrupts = Interrupts::of(&rx).expect("the link has interrupts");
        Wire { interrupts, rx: rx.remove(0), tx: tx.remove(0), pool: pool.clone(), _port: port }
    });
    (eal, wires)
}

// ---- the DNS ----

/// In which both edges run.
pub fn namespace() -> String {
    format!("ces-b-cetp-{}", std::process::id())
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("`ip` is installed");
    assert!(status.success(), "ip {arguments}: run this as root");
}

/// Says where hosts of the second edge are, and that nothing else is anywhere, until it is dropped.
struct Dns {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    fn start() -> Dns {
        let namespace = namespace();
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        ip(&format!("-n {namespace} address add {DNS}/32 dev lo"));
        let over = Arc::new(AtomicBool::new(false));
        let (path, stop) = (format!("/run/netns/{namespace}"), over.clone());
        let thread = std::thread::spawn(move || {
            setns(std::fs::File::open(path).expect("the namespace"), CloneFlags::CLONE_NEWNET)
                .expect("entered");
            let socket = UdpSocket::bind((DNS, 53)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
            let mut bytes = [0; 1500];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
                let question = Message::from_vec(&bytes[..length]).expect("a question");
                socket.send_to(&answer(&question).to_vec().expect("sound"), from).expect("sent");
            }
        });
        Dns { over, thread: Some(thread) }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = Command::new("ip").args(["netns", "del", &namespace()]).status();
    }
}

fn answer(question: &Message) -> Message {
    let mut reply = Message::new(question.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.queries.clone_from(&question.queries);
    let query = &question.queries[0];
    let name = query.name().clone();
    if query.query_type() == RecordType::NAPTR && name.to_string().to_lowercase().ends_with(".beta.example.")
    {
        let regexp = b"!^(.*)$!cesid:1=ces1.beta.example.?ip=203.0.113.2!";
        let text = |bytes: &[u8]| bytes.to_vec().into();
        let naptr = NAPTR::new(10, 6, text(b"U"), text(b"CETP+cesid"), text(regexp), Name::root());
        reply.add_answer(Record::from_rdata(name, 300, RData::NAPTR(naptr)));
    } else {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    reply
}
