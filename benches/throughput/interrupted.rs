//! Ended from outside before its end, the bench takes along what it has started (processes that are paused would stay for ever), and gives
//! back what it has reserved.

use crate::{Outcome, Scratch, pages};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// From now on; to be called before any other thread is there. What is started later has the signals as usual.
pub fn watch() -> Outcome<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        eprintln!("throughput: {signal}: ended early");
        for child in children() {
            // A paused one, too; it is gone, and its pages are free, once it has been waited for.
            let _ = kill(child, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(child, None);
        }
        pages::give_back();
        let _ = std::fs::remove_dir_all(Scratch::path());
        std::process::exit(128 + signal as i32);
    });
    Ok(())
}

fn children() -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
    let of_ours = |name: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        // PID (NAME) STATE PARENT, and a name may have anything in it.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        (parent == std::process::id()).then_some(Pid::from_raw(name.parse().ok()?))
    };
    processes.flatten().filter_map(|process| of_ours(process.file_name().to_str()?)).collect()
}
