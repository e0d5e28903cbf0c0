//! A bed for one `cesd`: a directory of its own, and an instance name of its own.
//!
//! Guarantees: the directory is gone at the end, and tests that run side by side don't meet. Never: touches a device that
//! exists outside of the process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// See the module.
pub struct Bed {
    /// Captures, configuration, socket and lock.
    pub directory: PathBuf,
    /// Unique among all tests that run on this machine.
    pub instance: String,
}

static BEDS: AtomicU32 = AtomicU32::new(0);

impl Bed {
    pub fn new() -> Bed {
        let number = BEDS.fetch_add(1, Ordering::Relaxed);
        let instance = format!("test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(format!("ces-{instance}"));
        std::fs::create_dir_all(&directory).expect("a directory for the test");
        Bed { directory, instance }
    }

    /// Writes the configuration: the instance is this bed's, `text` all the rest. A capture named in it lies in the bed.
    pub fn configure(&self, text: &str) -> PathBuf {
        let path = self.directory.join("cesd.toml");
        let instance = &self.instance;
        let directory = self.directory.display();
        let text = format!("[instance]\nname = \"{instance}\"\nruntime_dir = \"{directory}\"\n{text}");
        std::fs::write(&path, text).expect("the configuration is written");
        path
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // What a failed test leaves is still worth a look.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
