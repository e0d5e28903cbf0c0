//! The cycle counter: a monotonic clock without a system call.
//!
//! Never compares counters of different sockets: the caller reads its clock on one core, or allows for their difference.

use super::ffi;

/// The time-stamp counter of this core, in cycles of [`cycles_hz`].
#[inline(always)]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and Linux leaves it to user space.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(target_arch = "aarch64")]
    {
        let ticks;
        // SAFETY: Linux lets user space read the virtual counter, which is what DPDK counts in.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    }
}

/// The frequency of [`cycles`] in Hz; 0 before the environment has started.
pub fn cycles_hz() -> u64 {
    // SAFETY: reads a variable that EAL writes once at start.
    unsafe { ffi::ces_tsc_hz() }
}

/// Tells the core that this is a busy wait.
#[inline(always)]
pub fn pause() {
    std::hint::spin_loop();
}
