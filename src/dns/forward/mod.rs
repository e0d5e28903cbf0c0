//! Questions of hosts for others' names: who finds their answers.
//!
//! A [`Resolver`] is a thread, `ces-resolver`, that asks the configured upstreams. It takes questions and gives answers by channels;
//! whoever asks never waits for it.
//!
//! | file | what it is |
//! |---|---|
//! | `limits` | how many questions may be under way |
//! | `memory` | answers, those that are remembered by who asks |
//! | `flights` | the thread: asks once for equal questions, and tries one upstream after the other |
//! | `upstream` | one upstream, by UDP, TCP or TLS |
//! | `cache` | answers that are remembered |
//! | `answer` | what of an upstream's answer is believed, and what a host is told |
//! | `proxied` | that, where hosts see proxy addresses |
//!
//! The wire is `hickory_net`'s: a socket of its own, with a random port, and a random ID for each question over UDP; the letters of
//! the name in random case (0x20), which the answer must repeat; what comes from elsewhere, or with another ID or question, is not
//! looked at. Trying others, remembering and judging are done here, because `hickory_resolver` hands a SERVFAIL through
//! without asking the next server, doesn't reach the second within one time limit when the first is silent, and remembers answers
//! without telling those with signatures from those without.
//!
//! Guarantees: each question that is taken has exactly one answer, after [`Options::total_time`] at the latest; memory is bounded by
//! [`Options`]; nothing that an upstream sends is believed about our own zones, or makes the thread end; a name that leads to one of them is
//! given back as what it is.
//! Never: validates signatures (AD is never set: a host that wants proof sets DO and has them), sends anything about the asker
//! upstream, or asks an upstream over UDP or TCP that is configured with TLS.

mod answer;
mod cache;
mod flights;
mod limits;
mod memory;
mod proxied;
mod tls;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver};
use ipnet::{IpNet, Ipv4Net};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use tokio::sync::mpsc;

pub(in crate::dns) use answer::chain;

use super::{Forward, forwarder};
use crate::config::{self, RouteTarget, Side, UpstreamProtocol, Upstreams};
use crate::edge::proxies::Proxies;
use crate::ring::wake::{Waker, Waking};
use limits::Limits;
use memory::{Ask, Memory};

/// What a [`Resolver`] is to do.
#[derive(Clone)]
pub struct Options {
    /// In the order of preference; at least one.
    pub upstreams: Vec<Server>,
    /// Where questions are sent from, by family. Default: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// How long one try waits.
    pub timeout: Duration,
    /// Tries of a question, over all upstreams.
    pub attempts: u32,
    /// Answers that are remembered.
    pub cache_entries: usize,
    /// Shortest and longest time that an answer is remembered, and the longest that is remembered what is not there; in seconds.
    pub ttl_min: u32,
    pub ttl_max: u32,
    pub negative_ttl_max: u32,
    /// The file of the authorities that TLS upstreams' certificates come from (PEM).
    pub authorities: PathBuf,
    /// The apices of our own zones, in lower case: records below them are taken out of answers.
    pub own: Vec<String>,
    /// Addresses that are taken out of answers.
    pub protected: Vec<IpNet>,
    /// Who has proxy addresses, where hosts see such ones.
    pub proxies: Option<Arc<Proxies>>,
    /// What is reached inside, by realm: addresses of it stay as they are.
    pub inside: Vec<(u16, Ipv4Net)>,
    /// Questions that may be under way, and of one asker.
    pub under_way: usize,
    pub under_way_of_one: u16,
}

/// A recursive resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
    pub protocol: UpstreamProtocol,
}

impl Options {
    /// Default of [`Options::under_way`]. Each takes a socket at most while an upstream is asked by UDP.
    pub const UNDER_WAY: usize = 4096;
    /// Default of [`Options::under_way_of_one`]: a router that asks for a household, and no flood.
    pub const UNDER_WAY_OF_ONE: u16 = 128;

    /// What `config` says, without proxy addresses; `None` if it names no upstream.
    pub fn new(config: &config::Config) -> Option<Options> {
        let dns = config.dns.as_ref()?;
        let upstreams: &Upstreams = dns.upstreams.as_ref()?;
        let server = |upstream: &config::Upstream| Server {
            address: SocketAddr::new(upstream.address, upstream.port),
            protocol: upstream.protocol.clone(),
        };
        Some(Options {
            upstreams: upstreams.servers.iter().map(server).collect(),
            sources: upstreams.sources.clone(),
            timeout: Duration::from_millis(upstreams.timeout_ms.into()),
            attempts: upstreams.attempts,
            cache_entries: upstreams.cache_entries as usize,
            ttl_min: upstreams.cache_ttl_min,
            ttl_max: upstreams.cache_ttl_max,
            negative_ttl_max: upstreams.cache_negative_ttl_max,
            authorities: upstreams.authorities.clone(),
            own: dns.zones.iter().map(|zone| zone.apex.as_str().to_owned()).collect(),
            protected: if upstreams.rebind_protection { protected(config) } else { Vec::new() },
            proxies: None,
            inside: inside(config).filter_map(ipv4).collect(),
            under_way: Options::UNDER_WAY,
            under_way_of_one: Options::UNDER_WAY_OF_ONE,
        })
    }

    /// After which each question has its answer.
    pub fn total_time(&self) -> Duration {
        self.timeout * self.attempts
    }
}

/// What a rebinding attack would have a browser inside connect to: private addresses, and what is reached in inside realms.
fn protected(config: &config::Config) -> Vec<IpNet> {
    config::PRIVATE.into_iter().chain(inside(config).map(|(_, net)| net)).collect()
}

/// What is reached in inside realms, by their numbers.
fn inside(config: &config::Config) -> impl Iterator<Item = (u16, IpNet)> {
    let is_inside = |id: u16| config.realms.iter().any(|realm| realm.id == id && realm.side == Side::Inside);
    let links = config.interfaces.iter().filter(move |interface| is_inside(interface.realm));
    let links =
        links.flat_map(|interface| interface.addresses.iter().map(|net| (interface.realm, net.trunc())));
    let routes = config.routes.iter().filter(move |route| {
        // A default route leads to others.
        is_inside(route.realm)
            && route.prefix.prefix_len() > 0
            && matches!(route.target, RouteTarget::NextHops(_))
    });
    links.chain(routes.map(|route| (route.realm, route.prefix)))
}

fn ipv4((realm, net): (u16, IpNet)) -> Option<(u16, Ipv4Net)> {
    match net {
        IpNet::V4(net) => Some((realm, net)),
        IpNet::V6(_) => None,
    }
}

/// What has become of questions. Written by the threads that ask and that resolve, read by anyone.
#[derive(Debug, Default)]
pub struct Counters {
    /// Questions that were taken.
    pub asked: AtomicU64,
    /// Answered by what is remembered.
    pub hits: AtomicU64,
    /// Answered together with an equal question that was under way.
    pub joined: AtomicU64,
    /// Questions to upstreams, by protocol. One that is truncated counts for UDP and for TCP.
    pub sent_udp: AtomicU64,
    pub sent_tcp: AtomicU64,
    pub sent_tls: AtomicU64,
    /// Connections that were made.
    pub connected: AtomicU64,
    /// Answers over UDP that were truncated: asked again over TCP.
    pub truncated: AtomicU64,
    /// Answers over UDP whose name had other letters than the question (0x20): asked again over TCP.
    pub wrong_case: AtomicU64,
    /// Answers that were none: not to be read, about something else, or with too many records.
    pub bad_answers: AtomicU64,
    /// Tries that went to another upstream than the one before.
    pub failovers: AtomicU64,
    /// Tries without an answer in their time.
    pub timeouts: AtomicU64,
    /// Tries that found no socket, no connection, or no certificate that may be trusted.
    pub unreachable: AtomicU64,
    /// Answers of upstreams that say that they cannot answer (SERVFAIL, REFUSED and others).
    pub upstream_errors: AtomicU64,
    /// Questions that are answered SERVFAIL.
    pub servfail: AtomicU64,
    /// Questions that were not taken: too many are under way, or of that asker.
    pub too_many: AtomicU64,
    pub too_many_of_one: AtomicU64,
    /// Records about our own zones that were taken out of answers.
    pub own_records: AtomicU64,
    /// Records with protected addresses that were taken out of answers.
    pub rebind_records: AtomicU64,
}

impl Counters {
    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named: [(&'static str, &AtomicU64); 19] = [
            ("asked", &self.asked),
            ("hits", &self.hits),
            ("joined", &self.joined),
            ("sent_udp", &self.sent_udp),
            ("sent_tcp", &self.sent_tcp),
            ("sent_tls", &self.sent_tls),
            ("connected", &self.connected),
            ("truncated", &self.truncated),
            ("wrong_case", &self.wrong_case),
            ("bad_answers", &self.bad_answers),
            ("failovers", &self.failovers),
            ("timeouts", &self.timeouts),
            ("unreachable", &self.unreachable),
            ("upstream_errors", &self.upstream_errors),
            ("servfail", &self.servfail),
            ("too_many", &self.too_many),
            ("too_many_of_one", &self.too_many_of_one),
            ("own_records", &self.own_records),
            ("rebind_records", &self.rebind_records),
        ];
        named.into_iter().map(|(name, n)| (name, n.load(Ordering::Relaxed)))
    }
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot read authorities from {path}: {reason}; install `ca-certificates`, or write dns.upstream_ca"
    )]
    Authorities { path: PathBuf, reason: String },
    #[error(
        "{0:?} is no name that a certificate could bear: write dns.upstreams.tls_name as the certificate has it"
    )]
    TlsName(String),
    #[error("cannot enter the network from which upstreams are asked: {0}")]
    Network(io::Error),
    #[error("cannot run on core {core}: {source}; choose a control core that this process may use")]
    Core { core: usize, source: io::Error },
    #[error("cannot start the runtime of the thread ces-resolver: {0}; raise the limit of files (ulimit -n)")]
    Runtime(io::Error),
    #[error("cannot start the thread ces-resolver: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
    #[error("the thread ces-resolver ended before it was ready: see the log")]
    ThreadEnded,
}

/// See the module. Dropping it ends its thread, and the questions under way with it.
#[derive(Debug)]
pub struct Resolver {
    limits: Arc<Limits>,
    memory: Arc<Memory>,
    counters: Arc<Counters>,
    /// `None` while it is being dropped.
    questions: Option<mpsc::Sender<Ask>>,
    answers: Receiver<(u64, forwarder::Found)>,
    /// Of who fetches them.
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Starts the thread on the core `control_core`. Before it opens a socket it calls `enter`, which moves it into the network
    /// namespace from which upstreams are asked. Returns when it is ready.
    ///
    /// The thread inherits the caller's signal mask: block signals before.
    ///
    /// # Errors
    /// As [`Error`] says; nothing is left running.
    pub fn start(
        options: Options,
        control_core: usize,
        enter: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<Resolver, Error> {
        let counters = Arc::new(Counters::default());
        let (to_asker, answers) = channel::bounded(options.under_way);
        let limits = Arc::new(Limits::new(
            options.under_way,
            options.under_way_of_one,
            answers.clone(),
            counters.clone(),
        ));
        let waker = Waker::default();
        let memory = Arc::new(Memory::new(&options, counters.clone(), Waking::new(to_asker, &waker)));
        let (questions, asked) = mpsc::channel(options.under_way.max(1));
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("ces-resolver".into())
            .spawn({
                let (counters, memory) = (counters.clone(), memory.clone());
                move || {
                    let begun = begin(control_core, options.under_way as u64, enter);
                    match begun.and_then(|runtime| Ok((runtime, upstream::upstreams(&options, &counters)?))) {
                        Ok((runtime, upstreams)) => {
                            let _ = ready.send(Ok(()));
                            flights::run(&runtime, &options, upstreams, memory, counters, asked);
                        }
                        Err(error) => drop(ready.send(Err(error))),
                    }
                }
            })
            .map_err(Error::Thread)?;
        let questions = Some(questions);
        let resolver = Resolver { limits, memory, counters, questions, answers, waker, thread: Some(thread) };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(resolver),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::ThreadEnded),
        }
    }

    /// Takes a question, whose answer will bear `token`. `false` if too many are under way, at all or of this asker; answers that
    /// nobody has fetched count too. What is remembered is among the answers when this returns, unless
    /// the thread is just writing something down. Never waits.
    pub fn ask(&self, forward: Box<Forward>, token: u64) -> bool {
        let (Some(questions), Some(slot)) = (&self.questions, Limits::take(&self.limits, &forward.asker))
        else {
            return false;
        };
        match self.memory.try_answer(Ask { forward, token, slot }) {
            Ok(()) => true,
            Err(ask) => questions.try_send(ask).is_ok(),
        }
    }

    /// Tokens and what was found. Bytes are empty where no answer would fit what the asker allows; none of hosts' does.
    pub fn answers(&self) -> &Receiver<(u64, forwarder::Found)> {
        &self.answers
    }

    /// Wakes who fetches answers.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ces-resolver panicked");
        }
    }
}

/// Files of a process that are no questions', with room to spare.
const OTHER_FILES: u64 = 1024;

/// What the thread does before it is ready.
fn begin(
    core: usize,
    files: u64,
    enter: impl FnOnce() -> io::Result<()>,
) -> Result<tokio::runtime::Runtime, Error> {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    pinned.map_err(|errno| Error::Core { core, source: errno.into() })?;
    enter().map_err(Error::Network)?;
    make_room(files);
    // All of it runs on this thread, in its namespace.
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Runtime)
}

/// Lets this process have `files` more than others need: a question over UDP takes one.
fn make_room(files: u64) {
    let wanted = files + OTHER_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let most = wanted.min(hard);
    if soft < most && setrlimit(Resource::RLIMIT_NOFILE, most, hard).is_err() || most < wanted {
        tracing::warn!(
            "at most {soft} to {hard} files, and {wanted} are wanted: some questions may find no socket; raise ulimit -n"
        );
    }
}
