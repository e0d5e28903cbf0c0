//! One process an instance: a lock file that the kernel releases however the process ends. Removed at a regular end.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why this instance cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "instance \"{name}\" is already running{}: stop it first, or give this one another instance.name",
        pid.map(|p| format!(" (process {p})")).unwrap_or_default()
    )]
    Running { name: String, pid: Option<u32> },
    #[error("{path}: {source}; create the directory, or set instance.runtime_dir to one that may be written")]
    Directory { path: PathBuf, source: io::Error },
}

/// The held lock; released, and its file removed, when dropped.
pub struct Instance {
    path: PathBuf,
    _lock: File,
}

impl Instance {
    /// Takes the lock `RUNTIME_DIR/NAME.lock`, which holds the process id for whoever looks.
    ///
    /// # Errors
    /// [`Error::Running`] when another process holds it, [`Error::Directory`] when it can't be made.
    pub fn lock(instance: &crate::config::Instance) -> Result<Self, Error> {
        let directory = &instance.runtime_dir;
        let failed = |path: PathBuf| move |source| Error::Directory { path, source };
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed(directory.clone()))?;
        let path = directory.join(format!("{}.lock", instance.name));
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(failed(path.clone()))?;
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &path) => (),
            // Its last holder removed it between our opening and our locking.
            Ok(()) => return Self::lock(instance),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.read_to_string(&mut text);
                return Err(Error::Running { name: instance.name.clone(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(path)(source)),
        }
        let write = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        write.map_err(failed(path.clone()))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Held until after this: nobody else's file can be meant.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: io::Result<fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
    inode(file.metadata()).is_some_and(|ours| inode(fs::metadata(path)) == Some(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_ones_process() {
        let directory = std::env::temp_dir().join(format!("ces-instance-{}", std::process::id()));
        let instance = crate::config::Instance { name: "one".into(), runtime_dir: directory.clone() };
        let first = Instance::lock(&instance).unwrap();
        let refused = Instance::lock(&instance).err().unwrap().to_string();
        assert!(refused.contains("already running"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        drop(Instance::lock(&instance).unwrap());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
