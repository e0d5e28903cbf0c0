//! Taps in a network namespace.
//!
//! Guarantees: a tap is an Ethernet interface without offloads, so that frames are whole and checksummed both ways; it
//! never blocks; it ends with its descriptor. [`enter`] moves the calling thread only. Never enters the namespace of the
//! machine, nor the process's own where it may not see which that is, and never takes over an interface that is there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::Error;

/// Where `ip netns` keeps the namespaces' names.
const NAMES: &str = "/run/netns";

/// The namespace of the process from which all others come.
const MACHINE: &str = "/proc/1/ns/net";

/// The namespace of this process's main thread: taken for the machine's where that may not be read.
const OWN: &str = "/proc/self/ns/net";

/// The most bytes of an interface's name: the kernel's IFNAMSIZ without its final zero.
const NAME_MAX: usize = 15;

/// Moves the calling thread into the namespace `netns`.
pub(super) fn enter(netns: &str) -> Result<(), Error> {
    if netns.is_empty() || netns.contains('/') || netns == "." || netns == ".." {
        return Err(Error::NamespaceName(netns.to_owned()));
    }
    let failed = |source| Error::Namespace { netns: netns.to_owned(), source };
    let path: PathBuf = [NAMES, netns].iter().collect();
    let namespace = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NamespaceMissing(netns.to_owned()));
        }
        other => other.map_err(failed)?,
    };
    let named = namespace.metadata().map_err(failed)?;
    let machine = fs::metadata(MACHINE).or_else(|_| fs::metadata(OWN)).map_err(failed)?;
    if (machine.dev(), machine.ino()) == (named.dev(), named.ino()) {
        return Err(Error::NamespaceOfTheMachine(netns.to_owned()));
    }
    setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))
}

/// Whether the kernel takes `name` as it is, and nothing under /proc/sys has it already.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%'))
        && !matches!(name, "." | ".." | "lo" | "all" | "default")
}

/// A tap in the namespace of the calling thread, down and without addresses. There must be no interface `name`.
pub(super) fn open(name: &str) -> Result<SyncDevice, Error> {
    let make = || {
        let tap = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .enable(false)
            .with(|linux| {
                linux.packet_information(false).offload(false).multi_queue(false);
            })
            .build_sync()?;
        tap.set_nonblocking(true)?;
        Ok(tap)
    };
    make().map_err(|source| Error::Tap { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_takes() {
        for good in ["wan", "wan.100", "a", "fifteen-bytes-x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "sixteen-bytes-xx", "a/b", "a b", "a:1", "tap%d", ".", "..", "lo", "all", "default"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_namespace_that_has_a_name_is_entered() {
        for name in ["", "..", "a/b"] {
            assert!(matches!(enter(name), Err(Error::NamespaceName(_))), "{name}");
        }
        let missing = enter("ces-there-is-none").expect_err("there is none");
        assert!(missing.to_string().contains("ip netns add ces-there-is-none"), "{missing}");
    }
}
