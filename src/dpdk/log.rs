//! DPDK's log, turned into `tracing` events of target `dpdk`; and the errors in it, kept while something is being started so
//! that a failure can say why.
//!
//! Never filters: what is shown is decided by the subscriber and by EAL's own `--log-level`. Only complaints that are known to
//! mean nothing here become debug messages, so that an operator who sees an error has one.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use super::error::{Errno, LogTail, check};
use super::ffi;

/// The start-up errors kept for the next [`take_errors`], joined by `; `.
static ERRORS: Mutex<String> = Mutex::new(String::new());
const KEPT_BYTES: usize = 2048;

/// Parts of lines in which drivers, most of them `net_tap`, complain, though nothing is missing.
const HARMLESS: [&str; 7] = [
    // It is to poll (see `no_signal_per_packet`).
    "All rt-signals are in use",
    "No Rx trigger signal available",
    // Without the kernel's multiq scheduler it has no flow rules: nobody asks for one.
    "Specified qdisc kind is unknown",
    "multiq qdisc",
    "Disabling rte flow support",
    // There are no secondary processes to tell.
    "Failed to send start req to secondary",
    // A worker that sleeps asks whether a device has interrupts; most virtual ones have none.
    "Rx Intr handle unset",
];

/// From now on DPDK's log comes here instead of to standard error and syslog.
pub(super) fn redirect() -> Result<(), Errno> {
    // SAFETY: the function is there for the whole life of the process.
    check(unsafe { ffi::ces_log_redirect(Some(sink)) })
}

/// Forgets the errors so far: called before something is started.
pub(super) fn forget_errors() {
    ERRORS.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The errors logged since [`forget_errors`].
pub(super) fn take_errors() -> LogTail {
    LogTail(std::mem::take(&mut ERRORS.lock().unwrap_or_else(PoisonError::into_inner)))
}

extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    if text.is_null() || length == 0 {
        return;
    }
    // SAFETY: stdio hands over `length` bytes that it keeps unchanged during the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    for line in String::from_utf8_lossy(bytes).lines().map(str::trim).filter(|line| !line.is_empty()) {
        record(level, line);
    }
}

fn record(level: u32, line: &str) {
    match level {
        _ if HARMLESS.iter().any(|known| line.contains(known)) => {
            tracing::debug!(target: "dpdk", "{line}");
        }
        0..=ffi::CES_LOG_ERR => {
            keep(&mut ERRORS.lock().unwrap_or_else(PoisonError::into_inner), line);
            tracing::error!(target: "dpdk", "{line}");
        }
        ffi::CES_LOG_WARNING => tracing::warn!(target: "dpdk", "{line}"),
        ffi::CES_LOG_NOTICE => tracing::info!(target: "dpdk", "{line}"),
        ffi::CES_LOG_INFO => tracing::debug!(target: "dpdk", "{line}"),
        _ => tracing::trace!(target: "dpdk", "{line}"),
    }
}

fn keep(errors: &mut String, line: &str) {
    if errors.len() + line.len() > KEPT_BYTES || errors.contains(line) {
        return;
    }
    if !errors.is_empty() {
        errors.push_str("; ");
    }
    errors.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_errors_are_joined_once_each_and_bounded() {
        let mut errors = String::new();
        for line in ["first", "second", "first"] {
            keep(&mut errors, line);
        }
        assert_eq!(errors, "first; second");
        keep(&mut errors, &"x".repeat(KEPT_BYTES));
        assert_eq!(errors, "first; second");
    }
}
