//! `cesctl`: shows what a running `cesd` does, and changes what may be changed, over its Unix socket.
//!
//! Exit codes: 0 answered or done, 1 no answer or refused, 2 wrong usage. `show` never changes anything.

#[path = "cesctl/policy.rs"]
mod policy;

#[path = "cesctl/cetp.rs"]
mod cetp;

#[path = "cesctl/hosts.rs"]
mod hosts;

#[path = "cesctl/runtime.rs"]
mod runtime;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ces::manage::client::{Client, Error};
use ces::manage::host_model::{HostAddition, HostChange, HostEntry, ImportPhase, ImportShown, ServiceEntry};
use ces::manage::protocol::{
    FlowFilter, FlowLimit, Nat44Question, PoolChange, ProxyFilter, Request, RouteAddition, RouteChange,
    RouteDeletion, RouteFilter, RouteTo,
};
use ces::manage::{self, CetpChange, cetp_model, policy_model, prgw_model, proxy_model, text};
use clap::error::ErrorKind as Usage;
use clap::{Args, CommandFactory, Parser, Subcommand};
use ipnet::IpNet;
use policy::{Policy, Wanted};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Between two looks at an import.
const IMPORT_LOOK: Duration = Duration::from_millis(100);

/// Shows what a running cesd does, and changes its routes, pools, hosts and policies.
#[derive(Parser)]
#[command(name = "cesctl", version)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

/// Which cesd to ask.
#[derive(Args)]
struct Target {
    /// Instance to ask; may be left out when there is only one
    #[arg(long, value_name = "NAME", global = true)]
    instance: Option<String>,
    /// Socket to ask, wherever it is
    #[arg(long, value_name = "PATH", global = true, conflicts_with_all = ["instance", "runtime_dir"])]
    socket: Option<PathBuf>,
    /// Directory where instances have their sockets
    #[arg(long, value_name = "DIR", global = true, default_value = manage::RUNTIME_DIR)]
    runtime_dir: PathBuf,
}

#[derive(Subcommand)]
enum Verb {
    /// Show status, ports, counters, runtime, flows, neighbors, routes, pools or hosts
    Show {
        /// Print the answer as JSON, with nothing left out
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: What,
    },
    /// Add or delete a route, until cesd ends
    Route {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        change: Change,
    },
    /// Drain, undrain or remove a pool of public addresses, until cesd ends
    Pool {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        change: ChangeOfPool,
    },
    /// Add, remove, show or import the hosts that have names
    Host {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: ChangeOfHost,
    },
    /// Add, remove or show the rules of hosts' users, or explain what would be decided
    Policy {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: Policy,
    },
    /// End sessions with hosts behind edges, and let hosts come again that are kept away
    Cetp {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        change: cetp::Change,
    },
    /// Who has what in a deterministic pool, by its formula alone
    Nat44 {
        /// Print the answer as JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        question: Question,
    },
}

#[derive(Subcommand)]
enum ChangeOfPool {
    /// No new mappings: they go to other pools; those that are there live on
    Drain { name: String },
    /// As it was before it was drained
    Undrain { name: String },
    /// End its sessions within seconds, and use it no more until cesd is started again
    Remove { name: String },
}

#[derive(Subcommand)]
enum ChangeOfHost {
    /// Add a host; it stays if hosts.store is configured, else until cesd ends
    Add(AdditionOfHost),
    /// Remove a host that came at run time
    Remove { name: String },
    /// The hosts, as `show hosts` has them
    Show(hosts::Which),
    /// Add the hosts of a file, all of them or none: a JSON object a line, with the keys of a "host"
    Import {
        file: PathBuf,
        /// Put them in the place of hosts of the same name that came at run time
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Args)]
struct AdditionOfHost {
    /// Its full name, such as a.ces.example
    name: String,
    /// The inside realm that it is in
    #[arg(long, value_name = "NAME")]
    realm: String,
    /// Its addresses, of either family
    #[arg(long = "address", value_name = "ADDRESS,…", value_delimiter = ',')]
    addresses: Vec<String>,
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A name that means a protocol and a port of it, such as www.ces.example=tcp/443; either may be any
    #[arg(long = "service", value_name = "NAME=PROTOCOL/PORT", value_parser = service)]
    services: Vec<ServiceEntry>,
    /// Reservations that may wait for it
    #[arg(long, value_name = "N")]
    pending_reservations: Option<u64>,
    /// Reservations a second for it
    #[arg(long, value_name = "N")]
    reservations_per_second: Option<u64>,
    /// Put it in the place of the host that has the name
    #[arg(long)]
    replace: bool,
}

#[derive(Subcommand)]
enum Question {
    /// The public address and ports of a subscriber
    Inside {
        /// The realm that it is in
        realm: String,
        /// Its own address
        address: Ipv4Addr,
    },
    /// The subscriber who has a public port
    Public { address: Ipv4Addr, port: u16 },
}

#[derive(Subcommand)]
enum Change {
    /// Add a route: to gateways, to an interface, or one that drops
    Add(Addition),
    /// Delete a route; one of the configuration is back after a restart
    Del {
        /// What it covers, such as 198.51.100.0/24
        prefix: IpNet,
        /// The realm that it is in
        #[arg(long, value_name = "NAME")]
        realm: String,
    },
}

#[derive(Args)]
struct Addition {
    /// What it covers, such as 0.0.0.0/0
    prefix: IpNet,
    /// Its gateways, separated by commas, 1 to 16: flows are spread over those that answer
    #[arg(num_args = 2, value_names = ["via", "GATEWAY,…"])]
    #[arg(required_unless_present_any = ["interface", "blackhole", "unreachable", "prohibit"])]
    via: Vec<String>,
    /// The realm that it is in
    #[arg(long, value_name = "NAME")]
    realm: String,
    /// The interface of the gateways; without gateways, where the destinations are neighbours
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Drop the packets
    #[arg(long, conflicts_with_all = ["via", "interface", "unreachable", "prohibit"])]
    blackhole: bool,
    /// Drop the packets, and tell their senders that the destination is unreachable
    #[arg(long, conflicts_with_all = ["via", "interface", "prohibit"])]
    unreachable: bool,
    /// Drop the packets, and tell their senders that they are prohibited
    #[arg(long, conflicts_with_all = ["via", "interface"])]
    prohibit: bool,
    /// Put it in the place of the route that the prefix has
    #[arg(long)]
    replace: bool,
}

#[derive(Subcommand)]
enum What {
    /// The process: version, workers, how full its tables are
    Status,
    /// The ports: link, device and traffic
    Ports,
    /// What the workers counted, and every reason for a drop
    Counters {
        /// Show the drop reasons that are at zero too
        #[arg(long)]
        all: bool,
        /// Say what each drop reason means
        #[arg(long)]
        explain: bool,
    },
    /// Where the workers' cycles go: calls, packets and cycles of each stage
    Runtime(runtime::Which),
    /// Sessions, by host and realm
    Flows {
        /// Only those with this inside, outside or remote address
        #[arg(long, value_name = "ADDRESS")]
        host: Option<IpAddr>,
        /// Only those from this realm
        #[arg(long, value_name = "NAME")]
        realm: Option<String>,
        /// How many to show, 0 to 10000 (0 only counts) [default: 100]
        #[arg(long, value_name = "N")]
        limit: Option<FlowLimit>,
    },
    /// The neighbours on the ports' links
    Neighbors,
    /// The routes, and whether their gateways answer
    Routes {
        /// Only those of this realm
        #[arg(long, value_name = "NAME")]
        realm: Option<String>,
        /// How many to show, 0 to 10000 (0 only counts) [default: 10000]
        #[arg(long, value_name = "N")]
        limit: Option<FlowLimit>,
    },
    /// The pools of public addresses: how they translate, and how full they are
    Pools,
    /// The hosts that have names
    Hosts(hosts::Which),
    /// How an import of hosts goes, or has gone
    Import,
    /// What the DNS was asked, and answered
    Dns,
    /// The circular pool of the Realm Gateway: how full it is, and how everything has ended
    Prgw,
    /// Sessions with hosts behind edges, those edges, and what was refused
    Cetp(cetp::Which),
    /// The proxy addresses: for whom each stands inside, and how full the pools are
    Proxies {
        /// Only those of this realm
        #[arg(long, value_name = "NAME")]
        realm: Option<String>,
        /// Only that of this proxy or remote address
        #[arg(long, value_name = "ADDRESS")]
        address: Option<Ipv4Addr>,
        /// How many to show, 0 to 10000 (0 only counts) [default: 100]
        #[arg(long, value_name = "N")]
        limit: Option<FlowLimit>,
    },
}

fn service(text: &str) -> Result<ServiceEntry, String> {
    let parts = text.split_once('=').and_then(|(name, target)| Some((name, target.split_once('/')?)));
    let (name, (protocol, port)) =
        parts.ok_or("write NAME=PROTOCOL/PORT, such as www.ces.example=tcp/443")?;
    Ok(ServiceEntry { name: name.into(), protocol: protocol.into(), port: port.into() })
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoAnswer(#[from] Error),
    #[error("no cesd is running: there is no socket in {}; start one with: cesd --config FILE", .0.display())]
    NoInstance(PathBuf),
    #[error("several instances are there; choose one with --instance: {}", .0.join(", "))]
    WhichInstance(Vec<String>),
    #[error("cannot read {}: {source}; name the socket with --socket", .path.display())]
    RuntimeDir { path: PathBuf, source: io::Error },
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
    #[error("cannot find {}: {source}; name a file that is there", .path.display())]
    ImportFile { path: PathBuf, source: io::Error },
    #[error("cesd was started again between the two looks; ask again")]
    Restarted,
    #[error("{0}; nothing is imported")]
    Import(String),
}

fn main() -> ExitCode {
    let Cli { target, verb } = Cli::parse();
    let done = match verb {
        Verb::Show { json, what: What::Runtime(which) } => show_runtime(target, &which, json),
        Verb::Show { json, what } => ask(target, &request(&what), json, |answer| layout(&what, answer)),
        Verb::Route { json, change } => {
            ask(target, &route_change(change), json, |answer| Ok(text::route_changed(&parse(answer)?)))
        }
        Verb::Pool { json, change } => {
            ask(target, &pool_change(change), json, |answer| Ok(text::pool_changed(&parse(answer)?)))
        }
        Verb::Host { json, what: ChangeOfHost::Import { file, replace } } => {
            import(target, &file, replace, json)
        }
        Verb::Host { json, what: ChangeOfHost::Show(which) } => {
            let what = What::Hosts(which);
            ask(target, &request(&what), json, |answer| layout(&what, answer))
        }
        Verb::Host { json, what: ChangeOfHost::Add(addition) } => {
            ask(target, &host_addition(addition), json, |answer| Ok(text::host_changed(&parse(answer)?)))
        }
        Verb::Host { json, what: ChangeOfHost::Remove { name } } => {
            let change = HostChange::Remove { name };
            ask(target, &change, json, |answer| Ok(text::host_changed(&parse(answer)?)))
        }
        Verb::Policy { json, what } => match what.into() {
            Wanted::Change(change) => {
                ask(target, &change, json, |answer| Ok(policy_model::changed(&parse(answer)?)))
            }
            Wanted::Show(request) => {
                ask(target, &request, json, |answer| Ok(policy_model::list(&parse(answer)?)))
            }
            Wanted::Explain(request) => {
                ask(target, &request, json, |answer| Ok(policy_model::explanation(&parse(answer)?)))
            }
        },
        Verb::Cetp { json, change } => {
            let change = CetpChange::from(change);
            ask(target, &change, json, |answer| Ok(cetp_model::changed(&parse(answer)?, &change)))
        }
        Verb::Nat44 { json, question } => {
            let request = Request::Nat44(nat44_question(question));
            ask(target, &request, json, |answer| Ok(text::determined(&parse::<Vec<_>>(answer)?)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cesctl: {failure}");
            ExitCode::from(if matches!(failure, Failure::WhichInstance(_)) { 2 } else { 1 })
        }
    }
}

/// The socket that the command line means.
fn socket(target: Target) -> Result<PathBuf, Failure> {
    if let Some(socket) = target.socket {
        return Ok(socket);
    }
    let directory = target.runtime_dir;
    if let Some(instance) = target.instance {
        return Ok(manage::socket_path(&directory, &instance));
    }
    match manage::instances(&directory) {
        Err(source) => Err(Failure::RuntimeDir { path: directory, source }),
        Ok(names) => match names.as_slice() {
            [] => Err(Failure::NoInstance(directory)),
            [name] => Ok(manage::socket_path(&directory, name)),
            _ => Err(Failure::WhichInstance(names)),
        },
    }
}

/// Asks or commands, and prints the answer.
fn ask(
    target: Target,
    request: &impl Serialize,
    json: bool,
    layout: impl FnOnce(Value) -> Result<String, Error>,
) -> Result<(), Failure> {
    let answer = Client::connect(&socket(target)?)?.ask(request)?;
    print(&if json { pretty(&answer)? } else { layout(answer)? })
}

/// Looks where the cycles go, once or twice.
fn show_runtime(target: Target, which: &runtime::Which, json: bool) -> Result<(), Failure> {
    let socket = socket(target)?;
    // A connection each time: one on which nothing is asked for a minute is closed.
    let look = || Client::connect(&socket)?.ask(&Request::Runtime {});
    let answer = which.answer(look)?.ok_or(Failure::Restarted)?;
    print(&if json { pretty(&answer)? } else { which.layout(answer)? })
}

/// Has a file imported, and waits for the end of it.
fn import(target: Target, file: &Path, replace: bool, json: bool) -> Result<(), Failure> {
    // cesd has another working directory.
    let path = file.canonicalize().map_err(|source| Failure::ImportFile { path: file.into(), source })?;
    let mut client = Client::connect(&socket(target)?)?;
    client.ask(&HostChange::Import { path, replace })?;
    let is_watched = io::stderr().is_terminal();
    loop {
        let answer = client.ask(&Request::Import {})?;
        let import: ImportShown = parse(answer.clone())?;
        match import.state {
            ImportPhase::Reading | ImportPhase::Adopting => {
                if is_watched {
                    eprint!("\r{}", text::import_progress(&import));
                }
                std::thread::sleep(IMPORT_LOOK);
                continue;
            }
            ImportPhase::Done | ImportPhase::None | ImportPhase::Refused => {}
        }
        if is_watched {
            eprintln!("\r{}", text::import_progress(&import));
        }
        if json {
            print(&pretty(&answer)?)?;
        }
        if let Some(why) = &import.refusal {
            eprint!("{}", text::bad_lines(&file.display().to_string(), &import));
            return Err(Failure::Import(why.clone()));
        }
        return if json { Ok(()) } else { print(&text::imported(&import)) };
    }
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::Output),
    }
}

fn request(what: &What) -> Request {
    match what {
        What::Status => Request::Status {},
        What::Ports => Request::Ports {},
        What::Counters { .. } => Request::Counters {},
        What::Runtime(_) => Request::Runtime {},
        What::Flows { host, realm, limit } => {
            Request::Flows(FlowFilter { host: *host, realm: realm.clone(), limit: limit.unwrap_or_default() })
        }
        What::Neighbors => Request::Neighbors {},
        What::Routes { realm, limit } => {
            Request::Routes(RouteFilter { realm: realm.clone(), limit: limit.unwrap_or(FlowLimit::most()) })
        }
        What::Pools => Request::Pools {},
        What::Hosts(which) => which.request(),
        What::Import => Request::Import {},
        What::Dns => Request::Dns {},
        What::Prgw => Request::Prgw {},
        What::Cetp(which) => which.request(),
        What::Proxies { realm, address, limit } => Request::Proxies(ProxyFilter {
            realm: realm.clone(),
            address: *address,
            limit: limit.unwrap_or_default(),
        }),
    }
}

fn host_addition(addition: AdditionOfHost) -> HostChange {
    let entry = HostEntry {
        name: addition.name,
        realm: addition.realm,
        addresses: addition.addresses,
        group: addition.group,
        services: addition.services,
        pending_reservations: addition.pending_reservations,
        reservations_per_second: addition.reservations_per_second,
    };
    HostChange::Add(Box::new(HostAddition { entry, replace: addition.replace }))
}

fn pool_change(change: ChangeOfPool) -> PoolChange {
    match change {
        ChangeOfPool::Drain { name } => PoolChange::Drain { name },
        ChangeOfPool::Undrain { name } => PoolChange::Undrain { name },
        ChangeOfPool::Remove { name } => PoolChange::Remove { name },
    }
}

fn nat44_question(question: Question) -> Nat44Question {
    match question {
        Question::Inside { realm, address } => Nat44Question::Inside { realm, address },
        Question::Public { address, port } => Nat44Question::Public { address, port },
    }
}

/// The command that the command line means; ends the program where it means none.
fn route_change(change: Change) -> RouteChange {
    match change {
        Change::Del { prefix, realm } => RouteChange::Delete(RouteDeletion { realm, prefix }),
        Change::Add(addition) => {
            let to = route_to(&addition)
                .unwrap_or_else(|(usage, message)| Cli::command().error(usage, message).exit());
            let Addition { prefix, realm, replace, .. } = addition;
            RouteChange::Add(RouteAddition { realm, prefix, to, replace })
        }
    }
}

fn route_to(addition: &Addition) -> Result<RouteTo, (Usage, String)> {
    let interface = addition.interface.clone();
    match (&addition.via[..], interface) {
        _ if addition.blackhole => Ok(RouteTo::Blackhole),
        _ if addition.unreachable => Ok(RouteTo::Unreachable),
        _ if addition.prohibit => Ok(RouteTo::Prohibit),
        ([word, gateways], interface) if word == "via" => {
            let gateway = |text: &str| {
                let wrong = |_| (Usage::ValueValidation, format!("\"{text}\" is not an IP address"));
                text.parse::<IpAddr>().map_err(wrong)
            };
            Ok(RouteTo::Via {
                gateways: gateways.split(',').map(gateway).collect::<Result<_, _>>()?,
                interface,
            })
        }
        ([], Some(interface)) => Ok(RouteTo::OnLink { interface }),
        _ => Err((Usage::InvalidValue, "write: via GATEWAY[,GATEWAY…]".into())),
    }
}

fn pretty(answer: &Value) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(answer)? + "\n")
}

fn layout(what: &What, answer: Value) -> Result<String, Error> {
    Ok(match *what {
        What::Status => text::status(&parse(answer)?),
        What::Ports => text::ports(&parse::<Vec<_>>(answer)?),
        What::Counters { all, explain } => text::counters(&parse(answer)?, text::DropDetail { all, explain }),
        What::Runtime(ref which) => which.layout(answer)?,
        What::Flows { .. } => text::flows(&parse(answer)?),
        What::Neighbors => text::neighbors(&parse::<Vec<_>>(answer)?),
        What::Routes { .. } => text::routes(&parse(answer)?),
        What::Pools => text::pools(&parse::<Vec<_>>(answer)?),
        What::Hosts(_) => text::hosts(&parse(answer)?),
        What::Import => text::import(&parse(answer)?),
        What::Dns => text::dns(&parse(answer)?),
        What::Prgw => prgw_model::text(&parse(answer)?),
        What::Cetp(_) => cetp_model::text(&parse(answer)?),
        What::Proxies { .. } => proxy_model::text(&parse(answer)?),
    })
}

fn parse<T: DeserializeOwned>(answer: Value) -> Result<T, Error> {
    Ok(serde_json::from_value(answer)?)
}
