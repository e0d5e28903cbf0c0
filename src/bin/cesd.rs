//! `cesd`, the appliance: load the configuration, start everything, wait for a signal. Or judge a configuration, or say
//! what the machine lacks.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ces::appliance::{Appliance, Ended, Signals, plan};
use ces::config::{self, Config};
use ces::doctor;
use clap::Parser;

/// The Customer Edge Switch.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    what: What,
    /// With --doctor: a JSON object a line.
    #[arg(long, requires = "doctor")]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct What {
    /// Run with this configuration until SIGTERM or SIGINT.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only judge this configuration: exit 0 if it is right, else 2.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "doctor"])]
    check: Option<PathBuf>,
    /// Only say what is missing for line rate on this machine, and what mends it; with --config, for that configuration.
    /// Changes nothing, needs no privileges. Exit 0 if nothing is bad, else 1.
    #[arg(long)]
    doctor: bool,
}

fn main() -> ExitCode {
    let Arguments { what, json } = Arguments::parse();
    if what.doctor && what.config.is_none() {
        return doctor(None, json);
    }
    let path = what.check.as_deref().or(what.config.as_deref()).unwrap_or(Path::new(""));
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    if what.doctor {
        return doctor(Some(&config), json);
    }
    if what.check.is_some() {
        println!("{}: ok\n{config}", path.display());
        config.warnings.iter().for_each(|w| println!("  warning: {w}"));
        return ExitCode::SUCCESS;
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cesd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `cesd --doctor`.
fn doctor(config: Option<&Config>, json: bool) -> ExitCode {
    let diagnosis = doctor::examine(
        Path::new("/"),
        doctor::ask_kernel,
        config.map(|config| (config, plan::needs(config))),
    );
    let text = if json { diagnosis.json_lines() } else { diagnosis.to_string() };
    // Whoever closes the pipe early has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(diagnosis.is_bad()))
}

/// `cesd --config`.
fn run(config: Config) -> Result<(), ces::appliance::Error> {
    let signals = Signals::block()?;
    // It warns of what strangers send. Whoever wants to read that says so: the last directive counts.
    let filter = format!("hickory_net=error,hickory_proto=error,{}", config.manage.log);
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    config.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    let (name, socket) = (config.instance.name.clone(), config.manage.socket.clone());
    let appliance = Appliance::start(config)?;
    tracing::info!("instance \"{name}\" runs; its socket is {}", socket.display());
    let ended = appliance.wait(&signals);
    let summary = appliance.stop();
    match ended {
        Ended::Signal => tracing::info!("stopped by a signal: {summary}"),
        Ended::Input => println!("{summary}"),
    }
    Ok(())
}
