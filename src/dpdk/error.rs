//! What can go wrong in this room, and what to do about it; the one place where C return codes become `Result`.
//!
//! Never panics: a code that the C library does not know still has a text.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::path::PathBuf;

use super::ffi;

/// A positive `errno` value, shown with DPDK's text for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// The value as in `errno.h`.
    pub fn code(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror gives a NUL-terminated string of this thread, unchanged until this thread's next call.
        let text = unsafe { CStr::from_ptr(ffi::ces_strerror(self.0)) };
        write!(f, "{} (errno {})", text.to_string_lossy(), self.0)
    }
}

/// Every shim function returning `int`: 0 or more is success, a negative value the negated errno.
pub(super) fn check(code: c_int) -> Result<(), Errno> {
    if code < 0 { Err(Errno(code.saturating_neg())) } else { Ok(()) }
}

/// Failures of the environment, its devices and its memory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the DPDK environment can be started once in a process: start a new process")]
    AlreadyStarted,

    #[error("another process runs as {prefix:?} (it holds {}): stop it, or choose another instance name", dir.display())]
    InUse { prefix: String, dir: PathBuf },

    #[error("cannot use the runtime directory {}: {source}; make it writable for this user", path.display())]
    RuntimeDir { path: PathBuf, source: std::io::Error },

    #[error("{option} {value:?}: {problem}")]
    Option { option: &'static str, value: String, problem: &'static str },

    #[error(
        "huge pages are required, {needed_mb} MB of them, and {free_mb} MB are free: raise vm.nr_hugepages or ask for fewer"
    )]
    NoHugePages { needed_mb: u64, free_mb: u64 },

    #[error(
        "DPDK did not start: {reason}{log}; check the devices, the core numbers, the memory and the extra arguments"
    )]
    Init { reason: Errno, log: LogTail },

    #[error("device {device:?} did not start{log}; check its name and its arguments")]
    Device { device: String, log: LogTail },

    #[error("there is no port {name:?}; the ports are: {}", known.join(", "))]
    NoSuchPort { name: String, known: Vec<String> },

    #[error("port {name:?} is in use: each port is started once")]
    PortInUse { name: String },

    #[error("port {name:?}: {action} failed: {reason}{log}; see whether its driver supports it")]
    Port { name: String, action: &'static str, reason: Errno, log: LogTail },

    #[error(
        "pool {name:?} of {mbufs} mbufs was not made: {reason}; give the environment more memory or ask for fewer mbufs"
    )]
    Pool { name: String, mbufs: u32, reason: Errno },

    #[error("lcore {0} is no worker of this environment: name it in its lcores")]
    NoSuchLcore(u32),

    #[error("lcore {0} still runs something: join that first")]
    LcoreBusy(u32),

    #[error("thread name {0:?} must have 1 to 15 bytes and no NUL: shorten it")]
    ThreadName(String),

    #[error("the packet does not fit into its first segment: drop it, or give the pool a larger data room")]
    NoTailroom,
}

/// What DPDK and its drivers logged as errors while something was being started; shown after a colon, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTail(pub(super) String);

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_results() {
        assert_eq!(check(0), Ok(()));
        assert_eq!(check(3), Ok(()));
        assert_eq!(check(-22), Err(Errno(22)));
        assert_eq!(check(c_int::MIN), Err(Errno(c_int::MAX)));
    }

    #[test]
    fn errors_carry_the_text_and_the_log() {
        let log = LogTail("net_pcap0: cannot open /nope.pcap".into());
        let error = Error::Port { name: "net_pcap0".into(), action: "configure", reason: Errno(22), log };
        assert_eq!(
            error.to_string(),
            "port \"net_pcap0\": configure failed: Invalid argument (errno 22): net_pcap0: cannot open /nope.pcap; \
             see whether its driver supports it"
        );
        assert!(Errno(99_999).to_string().contains("99999"));
    }
}
