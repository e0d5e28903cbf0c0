//! EAL worker threads: pinned by the environment's lcores, with mempool caches of their own.
//!
//! Guarantees: one function at a time on an lcore; its value comes back by [`Lcore::join`]. A worker that panics ends the
//! process, as a data plane that goes on without one of its workers would lose packets in silence.

use std::ffi::{CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::{Error, check};
use super::{Eal, ffi};

/// A function that runs, or has run, on a worker lcore.
#[must_use = "dropping it does not stop the worker: join it"]
pub struct Lcore<T> {
    id: u32,
    value: Arc<Mutex<Option<T>>>,
    eal: Eal,
}

type Job = Box<dyn FnOnce() + Send>;

impl Eal {
    /// Runs `function` on the worker lcore `id`, its thread renamed to `name` (1 to 15 bytes).
    ///
    /// # Errors
    /// [`Error::NoSuchLcore`], [`Error::LcoreBusy`], [`Error::ThreadName`].
    pub fn launch<T, F>(&self, id: u32, name: &str, function: F) -> Result<Lcore<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let name = CString::new(name)
            .ok()
            .filter(|name| (1..=15).contains(&name.count_bytes()))
            .ok_or_else(|| Error::ThreadName(name.into()))?;
        // SAFETY: looks an id of any value up in a table.
        if !unsafe { ffi::ces_lcore_is_worker(id) } {
            return Err(Error::NoSuchLcore(id));
        }
        let value = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&value);
        let job: Job = Box::new(move || {
            // SAFETY: names the thread that runs this; the string ends with NUL.
            unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
            let result = function();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        let argument = Box::into_raw(Box::new(job));
        // SAFETY: `run` takes the box back, once, on the lcore.
        match check(unsafe { ffi::ces_lcore_launch(id, Some(run), argument.cast()) }) {
            Ok(()) => Ok(Lcore { id, value, eal: self.clone() }),
            Err(_) => {
                // SAFETY: the launch was refused, so the box is still ours.
                drop(unsafe { Box::from_raw(argument) });
                Err(Error::LcoreBusy(id))
            }
        }
    }
}

unsafe extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `launch` passes a box of a `Job`, and EAL calls this once for it.
    let job = unsafe { Box::from_raw(argument.cast::<Job>()) };
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        eprintln!("a worker has panicked: the process ends");
        std::process::abort();
    }
    0
}

impl<T> Lcore<T> {
    /// The lcore id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether the function has returned.
    pub fn is_finished(&self) -> bool {
        // SAFETY: `launch` found the id valid.
        unsafe { ffi::ces_lcore_is_waiting(self.id) }
    }

    /// Waits for the function, without keeping this core busy, and gives its value.
    pub fn join(self) -> T {
        while !self.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: `launch` found the id valid; pairs with the worker's release of its state.
        unsafe { ffi::ces_lcore_wait(self.id) };
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.expect("a worker stores its value before it finishes")
    }
}

impl<T> Drop for Lcore<T> {
    /// A worker that was not joined keeps the environment to the end of the process.
    fn drop(&mut self) {
        if !self.is_finished() {
            tracing::warn!("lcore {} still runs: DPDK stays until the process ends", self.id);
            std::mem::forget(self.eal.clone());
        }
    }
}
