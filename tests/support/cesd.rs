//! The program that the tests were built with, on a bed.

use std::process::{Command, Stdio};

use crate::bed::Bed;

/// `cesd --config` on what [`Bed::configure`] has written; the captures that it names lie in the bed, and so does what DPDK
/// keeps while it runs.
pub fn cesd(bed: &Bed) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesd"));
    command.args(["--config", "cesd.toml"]).current_dir(&bed.directory).stdin(Stdio::null());
    command.env("RUNTIME_DIRECTORY", &bed.directory);
    command
}
