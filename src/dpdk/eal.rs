//! The environment: started once in a process, cleaned up when its last user is gone.
//!
//! Guarantees: a second process of the same name is refused before any device is touched; a device that does not start
//! fails the start, with what its driver said. Pools, ports and lcores keep the environment. Never probes a device that its
//! options do not name.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{Error, check};
use super::memory::{self, MemoryMode};
use super::options::{EalOptions, device_name};
use super::runtime::RuntimeDir;
use super::{ffi, log, port};

/// A handle to the running environment; cheap to clone. DPDK ends when the last handle, pool, port and lcore is dropped.
#[derive(Clone)]
pub struct Eal(Arc<Environment>);

struct Environment {
    runtime: RuntimeDir,
    /// Ports that are or were started: each has one owner.
    claimed: Mutex<BTreeSet<u16>>,
    /// Set when an mbuf outlives its pool: DPDK's memory then stays mapped to the end of the process.
    keep_memory: AtomicBool,
}

/// DPDK cannot be started again after its end.
static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK. The calling thread becomes lcore 0, pinned to `main_core`, and threads that it creates later inherit that
    /// affinity: let them set their own.
    ///
    /// DPDK's own threads inherit the signal mask: block what the program waits for before.
    ///
    /// # Errors
    /// [`Error::AlreadyStarted`] the second time in a process; [`Error::InUse`] while another process has the file prefix;
    /// [`Error::NoHugePages`] if required and absent; [`Error::Init`] and [`Error::Device`] with what DPDK logged.
    pub fn init(options: EalOptions) -> Result<Self, Error> {
        options.validate()?;
        let free_mb = memory::free_huge_mb();
        let mode = MemoryMode::decide(options.huge_pages, options.memory_mb, free_mb)?;
        let arguments = to_c_strings(options.arguments(mode))?;
        let runtime = RuntimeDir::claim(&options.file_prefix)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyStarted);
        }
        if let MemoryMode::Ordinary { megabytes } = mode {
            tracing::warn!(
                "packet memory is {megabytes} MB of ordinary pages ({free_mb} MB of huge pages are free): \
                 slower than with huge pages"
            );
        }
        start(arguments)?;
        let eal = Eal(Arc::new(Environment {
            runtime,
            claimed: Mutex::default(),
            keep_memory: AtomicBool::new(false),
        }));
        let devices = options.pci_allow.iter().chain(&options.vdevs);
        match devices.into_iter().find(|device| port::id_by_name(&device_name(device)).is_none()) {
            Some(device) => Err(Error::Device { device: device.clone(), log: log::take_errors() }),
            None => Ok(eal),
        }
    }

    /// The names of all ports, for [`PortOptions::name`](super::PortOptions).
    pub fn ports(&self) -> Vec<String> {
        port::names()
    }

    /// Where DPDK keeps the files of this process; removed at its end.
    pub fn runtime_dir(&self) -> &Path {
        self.0.runtime.path()
    }

    /// The Unix socket (SOCK_SEQPACKET) on which DPDK answers `/ethdev/stats` and the like.
    pub fn telemetry_path(&self) -> PathBuf {
        self.runtime_dir().join("dpdk_telemetry.v2")
    }

    /// Somebody still has an mbuf, which must stay valid; gives whether that was known before.
    pub(super) fn keep_memory(&self) -> bool {
        self.0.keep_memory.swap(true, Ordering::AcqRel)
    }

    /// Whether the caller is the first to ask for this port.
    pub(super) fn claim_port(&self, id: u16) -> bool {
        self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }
}

fn to_c_strings(arguments: Vec<String>) -> Result<Vec<CString>, Error> {
    let convert = |argument: String| {
        CString::new(argument).map_err(|error| Error::Option {
            option: "argument",
            value: String::from_utf8_lossy(&error.into_vec()).into_owned(),
            problem: "remove the NUL character",
        })
    };
    arguments.into_iter().map(convert).collect()
}

/// Makes `net_tap` ask its device for packets. It would rather be told: it takes the first real-time signal without a handler,
/// and the kernel then signals the process once a packet. Some thread wakes up for each, and receiving stands still until the
/// scheduler has run it: a tap carries a quarter of what it carries when it is polled. With no signal left, it polls.
fn no_signal_per_packet() {
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: a valid signal, and no handler that could run.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn start(arguments: Vec<CString>) -> Result<(), Error> {
    no_signal_per_packet();
    log::forget_errors();
    log::redirect().map_err(|reason| Error::Init { reason, log: log::take_errors() })?;
    let count = arguments.len() as c_int;
    // EAL permutes the array, keeps pointers into it, and wants a null at its end; it is made once in a process.
    let array: &'static mut [*mut c_char] =
        arguments.into_iter().map(CString::into_raw).chain([std::ptr::null_mut()]).collect::<Vec<_>>().leak();
    // SAFETY: `count` NUL-terminated strings and a null, all of them leaked, so valid and writable for ever.
    check(unsafe { ffi::ces_eal_init(count, array.as_mut_ptr()) })
        .map_err(|reason| Error::Init { reason, log: log::take_errors() })
}

impl Drop for Environment {
    fn drop(&mut self) {
        if self.keep_memory.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: started by `Eal::init`, and nobody has a pool, a port, a running worker or an mbuf any more.
        if let Err(reason) = check(unsafe { ffi::ces_eal_cleanup() }) {
            tracing::warn!("DPDK's clean-up failed: {reason}");
        }
    }
}
