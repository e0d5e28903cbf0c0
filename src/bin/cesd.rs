//! `cesd`, the appliance: load the configuration, start everything, wait for a signal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ces::appliance::{Appliance, Ended, Signals};
use ces::config::{self, Config};
use clap::Parser;

/// The Customer Edge Switch.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    what: What,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Run with this configuration until SIGTERM or SIGINT.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only judge this configuration: exit 0 if it is right, else 2.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    let what = Arguments::parse().what;
    let path = what.check.as_deref().or(what.config.as_deref()).unwrap_or(Path::new(""));
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
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

/// `cesd --config`.
fn run(config: Config) -> Result<(), ces::appliance::Error> {
    let signals = Signals::block()?;
    let filter = tracing_subscriber::EnvFilter::new(&config.manage.log);
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
