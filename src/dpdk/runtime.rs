//! The runtime directory: where DPDK puts the telemetry socket, and the lock that makes an instance unique.
//!
//! Taken before EAL starts, so that a second process of the same name is refused before it touches a device. The lock is the
//! kernel's: after SIGKILL the next process gets it at once. Removed at the end, with what is in it.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::Error;

/// Names the process that has it; removed when dropped.
pub(super) struct RuntimeDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RuntimeDir {
    /// Creates and locks the directory of `prefix`.
    pub(super) fn claim(prefix: &str) -> Result<Self, Error> {
        Self::claim_in(
            &base(|name| std::env::var_os(name).map(PathBuf::from), nix::unistd::getuid().is_root()),
            prefix,
        )
    }

    fn claim_in(base: &Path, prefix: &str) -> Result<Self, Error> {
        let path = base.join("dpdk").join(prefix);
        let failed = |source| Error::RuntimeDir { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let directory = File::open(&path).map_err(failed)?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) if is_at(&lock, &path) => Ok(RuntimeDir { path, _lock: lock }),
            // Its last owner removed it between our opening and our locking.
            Ok(_) => Self::claim_in(base, prefix),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::InUse { prefix: prefix.into(), dir: path }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: std::io::Result<fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
    inode(file.metadata()).is_some_and(|ours| inode(fs::metadata(path)) == Some(ours))
}

/// Where EAL puts its runtime directories: systemd's choice, else by user.
fn base(variable: impl Fn(&str) -> Option<PathBuf>, root: bool) -> PathBuf {
    variable("RUNTIME_DIRECTORY").unwrap_or_else(|| match root {
        true => "/var/run".into(),
        false => variable("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_follows_the_user_and_the_supervisor() {
        let none = |_: &str| None;
        let all = |name: &str| Some(PathBuf::from(format!("/{name}")));
        assert_eq!(base(none, true), Path::new("/var/run"));
        assert_eq!(base(none, false), Path::new("/tmp"));
        assert_eq!(base(all, true), Path::new("/RUNTIME_DIRECTORY"));
        assert_eq!(
            base(|name| all(name).filter(|_| name.starts_with("XDG")), false),
            Path::new("/XDG_RUNTIME_DIR")
        );
    }

    #[test]
    fn an_instance_is_unique_until_it_ends() {
        let base = std::env::temp_dir().join(format!("ces-runtime-{}", std::process::id()));
        let first = RuntimeDir::claim_in(&base, "one").expect("a fresh directory");
        fs::write(first.path().join("left"), "behind").expect("writable");
        assert!(matches!(RuntimeDir::claim_in(&base, "one"), Err(Error::InUse { .. })));
        let second = RuntimeDir::claim_in(&base, "two").expect("another instance");
        let path = first.path().to_owned();
        drop((first, second));
        assert!(!path.exists());
        assert!(RuntimeDir::claim_in(&base, "one").is_ok());
        fs::remove_dir_all(base).expect("cleaned up");
    }
}
