//! `cesd`, the appliance. So far it judges configurations.

use std::path::PathBuf;
use std::process::ExitCode;

use ces::config;
use clap::Parser;

/// The Customer Edge Switch.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Only judge this configuration: exit 0 if it is right, else 2.
    #[arg(long, value_name = "FILE")]
    check: PathBuf,
}

fn main() -> ExitCode {
    check(&Arguments::parse().check)
}

/// `cesd --check`: prints a summary, or everything that is wrong.
fn check(path: &std::path::Path) -> ExitCode {
    match config::load(path) {
        Ok(config) => {
            println!("{}: ok\n{config}", path.display());
            for warning in &config.warnings {
                println!("  warning: {warning}");
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(2)
        }
    }
}
