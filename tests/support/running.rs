//! A `cesd` that runs until it is told to stop, and what it shows of itself.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bed::Bed;
use crate::cesd::cesd;

/// See the module. Ends with the value.
pub struct Running {
    pub child: Child,
}

impl Running {
    /// Starts it and waits until it is ready.
    pub fn start(bed: &Bed) -> Running {
        let log = std::fs::File::create(bed.directory.join("log")).expect("a file for the log");
        let child = cesd(bed).stdout(Stdio::null()).stderr(log).spawn().expect("cesd is there");
        let mut running = Running { child };
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < Duration::from_secs(60), "cesd does not get ready");
            let ended = running.child.try_wait().expect("a child of ours");
            let log = || std::fs::read_to_string(bed.directory.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "cesd ended: {}", log());
            if try_show(bed, &["status"]).is_some_and(|status| status["ready"] == true) {
                return running;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it lives");
    }

    /// Waits for its end, for at most so long.
    pub fn end(mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(start.elapsed() < patience, "cesd has not ended in {patience:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn try_show(bed: &Bed, what: &[&str]) -> Option<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_cesctl"))
        .arg("--runtime-dir")
        .arg(&bed.directory)
        .args(["show", "--json"])
        .args(what)
        .output()
        .expect("cesctl is there");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// What `cesctl show --json` answers.
pub fn show(bed: &Bed, what: &[&str]) -> Value {
    try_show(bed, what).expect("cesctl has an answer")
}
