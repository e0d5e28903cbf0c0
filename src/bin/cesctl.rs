//! `cesctl`: shows what a running `cesd` does, over its Unix socket.
//!
//! Exit codes: 0 answered, 1 no answer, 2 wrong usage. Never changes anything.

use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use ces::manage::client::{Client, Error};
use ces::manage::protocol::{FlowFilter, FlowLimit, Request};
use ces::manage::{self, text};
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Shows what a running cesd does.
#[derive(Parser)]
#[command(version)]
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
    /// Show status, ports, counters, flows or neighbors
    Show {
        /// Print the answer as JSON, with nothing left out
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: What,
    },
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
    /// Sessions, by host and realm
    Flows {
        /// Only those with this inside, outside or remote address
        #[arg(long, value_name = "ADDRESS")]
        host: Option<IpAddr>,
        /// Only those from this realm
        #[arg(long, value_name = "NAME")]
        realm: Option<String>,
        /// How many to show, 0 to 10000 (0 only counts) [default: 100]
        #[arg(long, value_name = "N", value_parser = flow_limit)]
        limit: Option<FlowLimit>,
    },
    /// The neighbours on the ports' links
    Neighbors,
}

fn flow_limit(text: &str) -> Result<FlowLimit, String> {
    text.parse::<u64>().map_err(|e| e.to_string())?.try_into()
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
}

fn main() -> ExitCode {
    let Cli { target, verb: Verb::Show { json, what } } = Cli::parse();
    match socket(target).and_then(|socket| show(socket, &what, json)) {
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

/// Asks and prints.
fn show(socket: PathBuf, what: &What, json: bool) -> Result<(), Failure> {
    let answer = Client::connect(&socket)?.ask(&request(what))?;
    let text = if json { pretty(&answer)? } else { layout(what, answer)? };
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
        What::Flows { host, realm, limit } => {
            Request::Flows(FlowFilter { host: *host, realm: realm.clone(), limit: limit.unwrap_or_default() })
        }
        What::Neighbors => Request::Neighbors {},
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
        What::Flows { .. } => text::flows(&parse(answer)?),
        What::Neighbors => text::neighbors(&parse::<Vec<_>>(answer)?),
    })
}

fn parse<T: DeserializeOwned>(answer: Value) -> Result<T, Error> {
    Ok(serde_json::from_value(answer)?)
}
