//! What the environment is started with, turned into EAL's argument vector.
//!
//! Guarantees: `--no-pci` is there exactly when no PCI port is named, and otherwise every named one is allowed with `-a`,
//! so that EAL never probes a NIC that the configuration does not name. A pure function of the options: reads no system state.

use super::error::Error;
use super::ffi;
use super::memory::{HugePages, MemoryMode};

/// The lcore id of the thread that starts the environment.
pub const MAIN_LCORE: u32 = 0;

/// One EAL worker thread: its lcore id (1 to 127) and the CPU core it is pinned to. Several may share a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LcoreSpec {
    pub lcore_id: u32,
    pub core: usize,
}

/// How to start the environment. [`EalOptions::new`] gives the smallest: one thread, no device.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Unique for each process on a machine; names the runtime directory and the telemetry socket.
    pub file_prefix: String,
    /// The core that the calling thread is pinned to as lcore [`MAIN_LCORE`].
    pub main_core: usize,
    /// The worker threads.
    pub lcores: Vec<LcoreSpec>,
    pub huge_pages: HugePages,
    /// Megabytes of packet memory; `None` lets huge pages grow by need, and takes 512 MB without them.
    pub memory_mb: Option<u32>,
    /// PCI devices, as `0000:03:00.0` with optional `,arguments`. Nothing else on the PCI bus is touched.
    pub pci_allow: Vec<String>,
    /// Virtual devices, as `net_tap0,iface=ces0`.
    pub vdevs: Vec<String>,
    /// Given to EAL after all the others; not for the file prefix, which names more than EAL's files.
    pub extra_args: Vec<String>,
}

impl EalOptions {
    /// One thread on `main_core`, no device, huge pages if there are any.
    pub fn new(file_prefix: impl Into<String>, main_core: usize) -> Self {
        EalOptions {
            file_prefix: file_prefix.into(),
            main_core,
            lcores: Vec::new(),
            huge_pages: HugePages::Auto,
            memory_mb: None,
            pci_allow: Vec::new(),
            vdevs: Vec::new(),
            extra_args: Vec::new(),
        }
    }

    /// Checks every option on its own; what depends on the machine EAL checks itself.
    pub(super) fn validate(&self) -> Result<(), Error> {
        validate_prefix(&self.file_prefix)?;
        for (i, lcore) in self.lcores.iter().enumerate() {
            let problem = if lcore.lcore_id == MAIN_LCORE || lcore.lcore_id >= ffi::CES_MAX_LCORE {
                "a worker's id is 1 to 127; 0 is the main thread's"
            } else if self.lcores[..i].iter().any(|other| other.lcore_id == lcore.lcore_id) {
                "this id is given twice; choose another"
            } else {
                continue;
            };
            return Err(Error::Option { option: "lcore", value: lcore.lcore_id.to_string(), problem });
        }
        if let Some(argument) = self.extra_args.iter().find(|argument| argument.starts_with("--file-p")) {
            let problem = "set the file prefix by its own option";
            return Err(Error::Option { option: "extra argument", value: argument.clone(), problem });
        }
        validate_devices("virtual device", &self.vdevs)?;
        validate_devices("PCI device", &self.pci_allow)?;
        match self.pci_allow.iter().find(|device| !is_pci_address(&device_name(device))) {
            Some(device) => Err(Error::Option {
                option: "PCI device",
                value: device.clone(),
                problem: "give its address as in 0000:03:00.0",
            }),
            None => Ok(()),
        }
    }

    /// The argument vector, program name first.
    pub(super) fn arguments(&self, memory: MemoryMode) -> Vec<String> {
        let mut arguments = vec!["ces".into(), "--file-prefix".into(), self.file_prefix.clone()];
        if self.pci_allow.is_empty() {
            // Without a device that reads memory by itself nobody needs physical addresses.
            arguments.extend(["--no-pci", "--iova-mode=va"].map(String::from));
        }
        for device in &self.pci_allow {
            arguments.extend(["-a".into(), device.clone()]);
        }
        for device in &self.vdevs {
            arguments.extend(["--vdev".into(), device.clone()]);
        }
        let mut lcores = format!("{MAIN_LCORE}@{}", self.main_core);
        for lcore in &self.lcores {
            lcores.push_str(&format!(",{}@{}", lcore.lcore_id, lcore.core));
        }
        arguments.extend(["--lcores".into(), lcores, "--main-lcore".into(), MAIN_LCORE.to_string()]);
        arguments.extend(memory.arguments());
        // Otherwise every start warns that nobody uses the telemetry of DPDK 19.
        arguments.push("--log-level=lib.telemetry:error".into());
        arguments.extend(self.extra_args.iter().cloned());
        arguments
    }
}

/// The prefix becomes a directory's name, and part of a Unix socket's path of at most 107 bytes.
fn validate_prefix(prefix: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let problem = if prefix.is_empty() || prefix.len() > 40 {
        "a file prefix has 1 to 40 characters"
    } else if !prefix.bytes().all(plain) || prefix.starts_with(['.', '-']) {
        "a file prefix has letters, digits, '-', '_' and '.', and starts with a letter, a digit or '_'"
    } else {
        return Ok(());
    };
    Err(Error::Option { option: "file prefix", value: prefix.into(), problem })
}

fn validate_devices(option: &'static str, devices: &[String]) -> Result<(), Error> {
    for (i, device) in devices.iter().enumerate() {
        let name = device_name(device);
        let problem = if name.is_empty() || name.starts_with('-') {
            "a device starts with its name, as in net_tap0,iface=ces0"
        } else if name.len() >= ffi::CES_PORT_NAME_SIZE as usize {
            "a device's name has at most 63 characters"
        } else if device.contains('\0') {
            "a device has no NUL character in it"
        } else if devices[..i].iter().any(|other| device_name(other) == name) {
            "this device is given twice; a virtual device can have another number"
        } else {
            continue;
        };
        return Err(Error::Option { option, value: device.clone(), problem });
    }
    Ok(())
}

/// The name under which EAL knows the port of a configured device: what stands before the first comma; a PCI address in
/// lower case and with its domain.
pub fn device_name(device: &str) -> String {
    let name = device.split(',').next().unwrap_or_default().trim();
    let with_domain = format!("0000:{name}");
    if is_pci_address(&with_domain) {
        with_domain.to_ascii_lowercase()
    } else if is_pci_address(name) {
        name.to_ascii_lowercase()
    } else {
        name.to_owned()
    }
}

/// Whether `name` is domain:bus:device.function in hexadecimal digits, the domain with 4 to 8 of them.
fn is_pci_address(name: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = name.split([':', '.']);
    let lengths = [4..=8, 2..=2, 2..=2, 1..=1];
    let shaped = lengths
        .iter()
        .all(|length| parts.next().is_some_and(|part| hex(part) && length.contains(&part.len())));
    shaped && parts.next().is_none() && name.rfind('.') > name.rfind(':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: MemoryMode = MemoryMode::Ordinary { megabytes: 64 };

    fn options() -> EalOptions {
        EalOptions::new("ces-test", 3)
    }

    #[test]
    fn without_a_pci_port_the_pci_bus_is_off() {
        let options = EalOptions { vdevs: vec!["net_null0,size=64".into()], ..options() };
        let arguments = options.arguments(MEMORY);
        assert!(arguments.contains(&"--no-pci".into()) && arguments.contains(&"--iova-mode=va".into()));
        assert!(!arguments.contains(&"-a".into()));
        assert_eq!(arguments.windows(2).filter(|w| w == &["--vdev", "net_null0,size=64"]).count(), 1);
    }

    #[test]
    fn with_pci_ports_only_those_are_allowed() {
        let options =
            EalOptions { pci_allow: vec!["0000:03:00.0".into(), "04:00.1,a=b".into()], ..options() };
        assert!(options.validate().is_ok());
        let arguments = options.arguments(MEMORY);
        assert!(!arguments.contains(&"--no-pci".into()));
        let allowed: Vec<_> = arguments.windows(2).filter(|w| w[0] == "-a").map(|w| w[1].as_str()).collect();
        assert_eq!(allowed, ["0000:03:00.0", "04:00.1,a=b"]);
    }

    #[test]
    fn lcores_are_pinned_and_extra_arguments_come_last() {
        let lcores = vec![LcoreSpec { lcore_id: 1, core: 3 }, LcoreSpec { lcore_id: 2, core: 7 }];
        let options = EalOptions { lcores, extra_args: vec!["--log-level=8".into()], ..options() };
        let arguments = options.arguments(MEMORY);
        assert!(arguments.windows(2).any(|w| w == ["--lcores", "0@3,1@3,2@7"]));
        assert_eq!(arguments.last().map(String::as_str), Some("--log-level=8"));
    }

    #[test]
    fn devices_are_known_by_the_name_before_the_comma() {
        assert_eq!(device_name("net_tap0,iface=a,mac=fixed"), "net_tap0");
        assert_eq!(device_name("net_null1"), "net_null1");
        assert_eq!(device_name("0000:AF:00.0,x=y"), "0000:af:00.0");
        assert_eq!(device_name("af:00.0"), "0000:af:00.0");
        assert_eq!(device_name(",x"), "");
    }

    #[test]
    fn contradictory_options_are_refused() {
        let refused = |change: &dyn Fn(&mut EalOptions)| {
            let mut options = options();
            change(&mut options);
            options.validate().expect_err("these options must be refused").to_string()
        };
        let lcore = |lcore_id| LcoreSpec { lcore_id, core: 0 };
        assert!(refused(&|o| o.file_prefix = "a/b".into()).contains("file prefix"));
        assert!(refused(&|o| o.file_prefix = "..".into()).contains("file prefix"));
        assert!(refused(&|o| o.file_prefix.clear()).contains("1 to 40"));
        assert!(refused(&|o| o.lcores = vec![lcore(0)]).contains("1 to 127"));
        assert!(refused(&|o| o.lcores = vec![lcore(128)]).contains("1 to 127"));
        assert!(refused(&|o| o.lcores = vec![lcore(1), lcore(1)]).contains("twice"));
        assert!(
            refused(&|o| o.vdevs = vec!["net_null0".into(), "net_null0,size=9".into()]).contains("twice")
        );
        assert!(refused(&|o| o.vdevs = vec!["".into()]).contains("name"));
        assert!(refused(&|o| o.vdevs = vec!["--no-telemetry".into()]).contains("name"));
        assert!(refused(&|o| o.extra_args = vec!["--file-prefix=x".into()]).contains("its own option"));
        assert!(refused(&|o| o.pci_allow = vec!["net_null0".into()]).contains("0000:03:00.0"));
        assert!(refused(&|o| o.pci_allow = vec!["03:00.0".into(), "0000:03:00.0".into()]).contains("twice"));
    }

    proptest! {
        #[test]
        fn pci_is_off_exactly_when_no_pci_port_is_named(
            pci in prop::collection::vec("[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\\.[0-7]", 0..3),
            vdevs in prop::collection::vec("net_[a-z]{1,8}[0-9](,[a-z]=[a-z])?", 0..3),
        ) {
            let options = EalOptions { pci_allow: pci.clone(), vdevs, ..options() };
            let arguments = options.arguments(MEMORY);
            prop_assert_eq!(arguments.contains(&"--no-pci".into()), pci.is_empty());
            prop_assert_eq!(arguments.iter().filter(|a| *a == "-a").count(), pci.len());
        }

        #[test]
        fn no_text_makes_validation_panic(text in ".{0,80}") {
            let options = EalOptions {
                file_prefix: text.clone(),
                pci_allow: vec![text.clone()],
                vdevs: vec![text.clone()],
                ..options()
            };
            let _ = options.validate();
            prop_assert!(!device_name(&text).contains(','));
        }
    }
}
