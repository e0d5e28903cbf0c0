//! `cesd --doctor` on made-up machines: a perfect one, and for each check the one change that makes it fail. And the
//! real program on the machine that runs the tests.

#[allow(dead_code, reason = "only the directory: no instance runs here")]
#[path = "support/bed.rs"]
mod bed;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use bed::Bed;
use ces::appliance::plan;
use ces::config::{self, Config};
use ces::doctor::{self, Diagnosis, NicLimits, Outcome};

const NICS: [&str; 2] = ["0000:03:00.0", "0000:03:00.1"];
const CPUS: &str = "sys/devices/system/cpu";
const CORES: u16 = 16;
const FLAGS: &str = "fpu tsc sse2 constant_tsc nonstop_tsc fma movbe xsave avx f16c abm bmi1 avx2 bmi2";

/// The kernel's answer on the made-up machines: `large` has enough of everything, `small` of nothing, others are not known.
fn nic_limits(device: &str) -> NicLimits {
    let all = |descriptors, queues| NicLimits {
        rx_descriptors: Some(descriptors),
        tx_descriptors: Some(descriptors),
        rx_queues: Some(queues),
        tx_queues: Some(queues),
    };
    match device {
        "large" => all(4096, 63),
        "small" => all(512, 2),
        _ => NicLimits::default(),
    }
}

/// A machine in a directory, with the configuration that is asked about.
struct Fixture {
    bed: Bed,
    text: String,
}

impl Fixture {
    /// Two NUMA nodes of eight cores without hyper-threads, two NICs on the first, everything set up for
    /// `configs/bare-metal.toml`.
    fn perfect() -> Fixture {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/bare-metal.toml");
        let fixture = Fixture { bed: Bed::new(), text: fs::read_to_string(file).expect("the configuration") };
        fixture.processors();
        fixture.memory();
        fixture.devices();
        fixture.write("proc/irq/0/timer/.keep", "");
        fixture.write("proc/irq/0/smp_affinity_list", "0");
        fixture.write("proc/irq/40/eth0/.keep", "");
        fixture.write("proc/irq/40/smp_affinity_list", "0-1,6-15");
        // Allowed everywhere, and nobody's.
        fixture.write("proc/irq/7/smp_affinity_list", "0-15");
        fixture.write("proc/irq/default_smp_affinity", "ffff");
        fixture.write("proc/1/comm", "systemd");
        fixture
    }

    fn processors(&self) {
        self.write(
            "proc/cmdline",
            "quiet isolcpus=managed_irq,domain,2-5 nohz_full=2-5 rcu_nocbs=2-5 iommu=pt",
        );
        self.write(
            "proc/cpuinfo",
            &format!("processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {FLAGS}\n"),
        );
        self.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc");
        for (file, text) in [
            ("online", "0-15"),
            ("present", "0-15"),
            ("isolated", "2-5"),
            ("smt/active", "0"),
            ("intel_pstate/no_turbo", "0"),
        ] {
            self.write(&format!("{CPUS}/{file}"), text);
        }
        for core in 0..CORES {
            let cpu = format!("{CPUS}/cpu{core}");
            self.write(&format!("{cpu}/topology/thread_siblings_list"), &core.to_string());
            self.write(&format!("{cpu}/cpufreq/scaling_governor"), "performance");
            self.write(&format!("{cpu}/cpufreq/energy_performance_preference"), "performance");
            for (state, name, latency, disable) in [(0, "POLL", 0, 0), (1, "C1", 2, 0), (2, "C6", 133, 1)] {
                let state = format!("{cpu}/cpuidle/state{state}");
                self.write(&format!("{state}/name"), name);
                self.write(&format!("{state}/latency"), &latency.to_string());
                self.write(&format!("{state}/disable"), &disable.to_string());
            }
        }
    }

    fn memory(&self) {
        self.write("proc/meminfo", "MemTotal:       65536000 kB\nHugepagesize:       2048 kB\n");
        self.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        self.write("proc/self/status", "Name:\tcesd\nCapEff:\t0000000000000000\n");
        self.locked("unlimited");
        self.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
        self.write("sys/devices/system/node/node0/cpulist", "0-7");
        self.write("sys/devices/system/node/node1/cpulist", "8-15");
        self.pages("sys/kernel/mm/hugepages", (4, 4), (768, 768));
        self.pages("sys/devices/system/node/node0/hugepages", (4, 4), (768, 768));
        self.pages("sys/devices/system/node/node1/hugepages", (0, 0), (0, 0));
    }

    fn devices(&self) {
        self.write("sys/module/vfio_pci/refcnt", "2");
        self.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N");
        self.write("sys/kernel/iommu_groups/1/type", "DMA");
        for nic in NICS {
            for (file, text) in [
                ("numa_node", "0"),
                ("current_link_speed", "16.0 GT/s PCIe"),
                ("max_link_speed", "16.0 GT/s PCIe"),
                ("current_link_width", "16"),
                ("max_link_width", "16"),
            ] {
                self.write(&format!("sys/bus/pci/devices/{nic}/{file}"), text);
            }
            self.bind(nic, "vfio-pci");
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.bed.directory.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, format!("{text}\n")).expect("a file");
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.bed.directory.join(path)).expect("a directory that was there");
    }

    fn bind(&self, nic: &str, driver: &str) {
        let link = self.bed.directory.join(format!("sys/bus/pci/devices/{nic}/driver"));
        let _ = fs::remove_file(&link);
        symlink(format!("../../../../bus/pci/drivers/{driver}"), link).expect("a link");
    }

    /// Huge pages (reserved, free) of 1 GB and of 2 MB.
    fn pages(&self, directory: &str, large: (u32, u32), small: (u32, u32)) {
        for (size, (reserved, free)) in [("1048576", large), ("2048", small)] {
            self.write(&format!("{directory}/hugepages-{size}kB/nr_hugepages"), &reserved.to_string());
            self.write(&format!("{directory}/hugepages-{size}kB/free_hugepages"), &free.to_string());
        }
    }

    fn locked(&self, limit: &str) {
        let head = "Limit                     Soft Limit           Hard Limit           Units";
        self.write("proc/self/limits", &format!("{head}\nMax locked memory         {limit} unlimited bytes"));
    }

    /// Changes the configuration.
    fn replace(&mut self, old: &str, new: &str) {
        assert!(self.text.contains(old), "{old:?} is in the configuration");
        self.text = self.text.replace(old, new);
    }

    fn config(&self) -> Config {
        config::parse("test.toml", &self.text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn examined(&self) -> Diagnosis {
        let config = self.config();
        doctor::examine(&self.bed.directory, nic_limits, Some((&config, plan::needs(&config))))
    }
}

/// The checks that are not in order, with their outcome.
fn failing(diagnosis: &Diagnosis) -> BTreeSet<(&'static str, Outcome)> {
    let failed = diagnosis.findings().iter().filter(|finding| finding.outcome() > Outcome::Ok);
    failed.map(|finding| (finding.check(), finding.outcome())).collect()
}

fn well_formed(diagnosis: &Diagnosis) {
    for finding in diagnosis.findings() {
        let is_wrong = finding.outcome() > Outcome::Ok;
        assert!(!finding.evidence().is_empty() && !finding.evidence().contains('\n'), "{finding:?}");
        assert_eq!(finding.mend().is_some(), is_wrong, "{finding:?}");
        assert!(finding.mend().is_none_or(|mend| !mend.is_empty() && !mend.contains('\n')), "{finding:?}");
    }
    let checked: BTreeSet<&str> = diagnosis.findings().iter().map(|finding| finding.check()).collect();
    assert_eq!(checked, doctor::checks().collect(), "each check has a say");
    assert_eq!(diagnosis.is_bad(), failing(diagnosis).iter().any(|(_, outcome)| *outcome == Outcome::Bad));
}

#[test]
fn a_perfect_machine_has_nothing_to_mend() {
    let diagnosis = Fixture::perfect().examined();
    well_formed(&diagnosis);
    assert_eq!(failing(&diagnosis), BTreeSet::new(), "{diagnosis}");
    assert!(diagnosis.findings().iter().all(|finding| finding.outcome() == Outcome::Ok), "{diagnosis}");
    assert!(diagnosis.to_string().contains(" 0 warn, 0 bad, 0 not applicable: nothing stands in the way"));
}

/// A change to a perfect machine, what it makes fail, and a part of what mends it.
type Case = (&'static str, Outcome, &'static str, fn(&mut Fixture));

const WARN: Outcome = Outcome::Warn;
const BAD: Outcome = Outcome::Bad;

const CASES: &[Case] = &[
    ("instruction-set", BAD, "RUSTFLAGS", |f| {
        f.write("proc/cpuinfo", &format!("flags\t\t: {}\n", FLAGS.replace(" avx2", "")));
    }),
    ("time-stamp-counter", BAD, "+invtsc", |f| {
        f.write("proc/cpuinfo", &format!("flags\t\t: {}\n", FLAGS.replace("nonstop_tsc", "")));
    }),
    ("clock-source", WARN, "clocksource=tsc", |f| {
        f.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet");
    }),
    ("iommu", BAD, "intel_iommu=on iommu=pt", |f| f.remove("sys/kernel/iommu_groups/1")),
    ("iommu", BAD, "amd_iommu=on", |f| {
        f.remove("sys/kernel/iommu_groups/1");
        f.write("proc/cpuinfo", &format!("vendor_id\t: AuthenticAMD\nflags\t\t: {FLAGS}\n"));
    }),
    ("vfio", BAD, "modprobe vfio-pci", |f| f.remove("sys/module/vfio_pci")),
    ("vfio", WARN, "echo N >", |f| f.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")),
    ("huge-pages", BAD, "echo 2621 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", |f| {
        f.pages("sys/kernel/mm/hugepages", (0, 0), (0, 0));
    }),
    ("huge-pages", WARN, "numa_maps", |f| f.pages("sys/kernel/mm/hugepages", (4, 1), (768, 768))),
    ("huge-page-size", WARN, "hugepagesz=1G hugepages=4", |f| {
        f.pages("sys/kernel/mm/hugepages", (0, 0), (3000, 3000));
        f.pages("sys/devices/system/node/node0/hugepages", (0, 0), (3000, 3000));
    }),
    ("huge-page-size", WARN, "echo 573 >", |f| {
        f.pages("sys/kernel/mm/hugepages", (6, 6), (2, 2));
        f.pages("sys/devices/system/node/node0/hugepages", (6, 6), (2, 2));
    }),
    ("huge-page-size", WARN, "default_hugepagesz=2M", |f| {
        f.write("proc/meminfo", "Hugepagesize: 1048576 kB")
    }),
    ("huge-pages-numa", WARN, "/sys/devices/system/node/node0/", |f| {
        f.pages("sys/devices/system/node/node0/hugepages", (0, 0), (0, 0));
        f.pages("sys/devices/system/node/node1/hugepages", (4, 4), (768, 768));
    }),
    ("transparent-huge-pages", WARN, "echo madvise", |f| {
        f.write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
    }),
    ("locked-memory", BAD, "--memlock=unlimited", |f| f.locked("8388608")),
    ("swap", WARN, "swapoff -a", |f| {
        f.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2");
    }),
    ("worker-cores", BAD, "for n in 4; do echo 1", |f| f.write(&format!("{CPUS}/online"), "0-3,5-15")),
    ("worker-cores", BAD, "[workers] cores = [0, 1, 2, 3]", |f| {
        f.write(&format!("{CPUS}/online"), "0-4");
        f.write(&format!("{CPUS}/present"), "0-4");
    }),
    ("control-core", WARN, "control_core = 0", |f| f.replace("control_core = 0", "control_core = 3")),
    ("isolated-cores", BAD, "isolcpus=2-5 nohz_full=2-5 rcu_nocbs=2-5", |f| {
        f.write("proc/cmdline", "quiet nohz_full=2-5 rcu_nocbs=2-5");
    }),
    ("isolated-cores", BAD, "isolcpus=2-5", |f| {
        f.write("proc/cmdline", "isolcpus=2,3,4 nohz_full=2-5");
    }),
    ("tickless-cores", WARN, "nohz_full=2-5", |f| f.write("proc/cmdline", "isolcpus=2-5 rcu_nocbs=2-5")),
    ("hyper-threads", BAD, "smt/control", |f| {
        f.write(&format!("{CPUS}/cpu2/topology/thread_siblings_list"), "2-3");
    }),
    ("hyper-threads", WARN, "smt/control", |f| {
        f.write(&format!("{CPUS}/cpu2/topology/thread_siblings_list"), "2,10");
    }),
    ("numa-node", WARN, "[workers] cores = [8, 9, 10, 11]", |f| {
        f.write("sys/bus/pci/devices/0000:03:00.1/numa_node", "1");
    }),
    ("interrupts", WARN, "echo 0-1,6-15 >$f", |f| f.write("proc/irq/40/smp_affinity_list", "0-15")),
    ("irqbalance", WARN, "systemctl disable --now irqbalance", |f| {
        f.write("proc/77/comm", "irqbalance");
        f.write(&format!("{CPUS}/isolated"), "");
    }),
    ("frequency-governor", WARN, "for n in 5; do echo performance", |f| {
        f.write(&format!("{CPUS}/cpu5/cpufreq/scaling_governor"), "powersave");
    }),
    ("energy-preference", WARN, "energy_performance_preference", |f| {
        f.write(&format!("{CPUS}/cpu5/cpufreq/energy_performance_preference"), "balance_power");
    }),
    ("turbo", WARN, "echo 0 >", |f| f.write(&format!("{CPUS}/intel_pstate/no_turbo"), "1")),
    ("sleep-states", WARN, "max_cstate=1", |f| f.write(&format!("{CPUS}/cpu4/cpuidle/state2/disable"), "0")),
    ("pci-device", BAD, "dpdk-devbind.py --status", |f| f.remove("sys/bus/pci/devices/0000:03:00.1")),
    ("pci-driver", BAD, "dpdk-devbind.py --bind=vfio-pci 0000:03:00.0", |f| f.bind(NICS[0], "ixgbe")),
    ("pci-driver", WARN, "--bind=vfio-pci 0000:03:00.1", |f| f.bind(NICS[1], "igb_uio")),
    ("pci-link", WARN, "lspci -vv -s 0000:03:00.0", |f| {
        f.write("sys/bus/pci/devices/0000:03:00.0/current_link_width", "8");
    }),
    ("pci-link", WARN, "lspci", |f| {
        f.write("sys/bus/pci/devices/0000:03:00.0/current_link_speed", "8.0 GT/s PCIe");
    }),
    ("virtual-devices", WARN, "by its PCI address", |f| f.replace("\"0000:03:00.1\"", "\"net_tap0\"")),
    ("descriptors", WARN, "rx_descriptors = 2048", |f| {
        f.replace("rx_descriptors = 2048", "rx_descriptors = 512");
    }),
    ("queues", WARN, "queues = 4", |f| {
        f.replace("tx_descriptors = 2048", "tx_descriptors = 2048\nqueues = 2")
    }),
    ("configured-huge-pages", BAD, "huge_pages = \"required\"", |f| f.replace("\"required\"", "\"none\"")),
    ("idle-workers", WARN, "idle = \"poll\"", |f| f.replace("\"poll\"", "\"sleep\"")),
];

#[test]
fn each_check_fails_by_one_change_alone() {
    for (number, (check, outcome, mend, change)) in CASES.iter().enumerate() {
        let mut fixture = Fixture::perfect();
        change(&mut fixture);
        let diagnosis = fixture.examined();
        well_formed(&diagnosis);
        assert_eq!(failing(&diagnosis), BTreeSet::from([(*check, *outcome)]), "case {number}:\n{diagnosis}");
        let mends = diagnosis.findings().iter().filter(|finding| finding.check() == *check);
        assert!(
            mends.filter_map(|f| f.mend()).any(|m| m.contains(mend)),
            "case {number}, {mend}:\n{diagnosis}"
        );
    }
    let covered: BTreeSet<&str> = CASES.iter().map(|(check, ..)| *check).collect();
    let all: BTreeSet<&str> = doctor::checks().collect();
    // What the kernel does against speculation is the operator's choice.
    assert_eq!(all.difference(&covered).copied().collect::<Vec<_>>(), ["mitigations"]);
}

#[test]
fn what_is_as_good_is_not_flagged() {
    let changes: &[fn(&mut Fixture)] = &[
        |f| f.write("proc/cmdline", "isolcpus=0-15 nohz_full=2-15"),
        |f| f.bind(NICS[0], "mlx5_core"),
        |f| {
            NICS.iter().for_each(|nic| f.bind(nic, "mlx5_core"));
            f.remove("sys/kernel/iommu_groups");
            f.remove("sys/module");
        },
        |f| {
            f.locked("8388608");
            f.write("proc/self/status", "CapEff:\t0000000000004000");
        },
        |f| {
            f.write(&format!("{CPUS}/cpu2/topology/thread_siblings_list"), "2,10");
            f.write("proc/cmdline", "isolcpus=2-5,10 nohz_full=2-5");
        },
        |f| f.write("proc/77/comm", "irqbalance"),
        |f| f.write("sys/bus/pci/devices/0000:03:00.0/numa_node", "-1"),
        |f| f.replace("distribute = \"rss\"", "distribute = \"software\""),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut fixture = Fixture::perfect();
        change(&mut fixture);
        let diagnosis = fixture.examined();
        well_formed(&diagnosis);
        assert_eq!(failing(&diagnosis), BTreeSet::new(), "change {number}:\n{diagnosis}");
    }
}

/// What `check` says of each port, with its outcome.
fn said(diagnosis: &Diagnosis, check: &str) -> Vec<(Outcome, String)> {
    let of = diagnosis.findings().iter().filter(|f| f.check() == check);
    of.map(|f| (f.outcome(), format!("{} -> {}", f.evidence(), f.mend().unwrap_or("nothing")))).collect()
}

#[test]
fn the_limits_of_a_nic_are_those_of_its_kernel_driver() {
    let fixture = Fixture::perfect();
    let of = |nic: usize, net: &str| {
        fixture.bind(NICS[nic], "mlx5_core");
        fixture.write(&format!("sys/bus/pci/devices/{}/{net}/mtu", NICS[nic]), "1500");
    };
    of(0, "net/large");
    of(1, "virtio3/net/small");
    let diagnosis = fixture.examined();
    well_formed(&diagnosis);
    let [descriptors, queues] = ["descriptors", "queues"].map(|check| said(&diagnosis, check));
    assert_eq!([descriptors[0].0, queues[0].0], [Outcome::Ok; 2], "{diagnosis}");
    assert!(descriptors[0].1.contains("at most 4096 and 4096") && queues[0].1.contains("at most 63 and 63"));
    assert_eq!([descriptors[1].0, queues[1].0], [Outcome::Warn; 2], "{diagnosis}");
    assert!(descriptors[1].1.contains("rx_descriptors = 512 and tx_descriptors = 512"), "{diagnosis}");
    assert!(queues[1].1.contains("at most 2 and 2") && queues[1].1.contains("\"software\""), "{diagnosis}");
}

#[test]
fn limits_that_cannot_be_read_are_said_to_be_so() {
    let diagnosis = Fixture::perfect().examined();
    for check in ["descriptors", "queues"] {
        for (outcome, said) in said(&diagnosis, check) {
            assert_eq!(outcome, Outcome::Ok);
            assert!(said.contains("not to be read here") && said.contains("start cesd"), "{said}");
        }
    }
}

/// The real kernel's answer about a device whose queues are known, in a network namespace of this thread's own, which goes with
/// it.
#[test]
fn the_kernel_tells_the_queues_of_a_device() {
    let asked = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a namespace: run as root");
        let add = "link add limits0 numrxqueues 5 numtxqueues 3 type veth peer name limits1";
        let added = Command::new("ip").args(add.split(' ')).status().expect("ip runs");
        assert!(added.success());
        doctor::ask_kernel("limits0")
    });
    let NicLimits { rx_queues, tx_queues, .. } = asked.join().expect("the thread's answer");
    assert_eq!((rx_queues, tx_queues), (Some(5), Some(3)));
}

#[test]
fn a_machine_that_says_nothing_breaks_nothing() {
    let bed = Bed::new();
    let config = Fixture::perfect().config();
    well_formed(&doctor::examine(&bed.directory, nic_limits, Some((&config, plan::needs(&config)))));
    well_formed(&doctor::examine(&bed.directory, nic_limits, None));
    well_formed(&doctor::examine(Path::new("/nonexistent"), nic_limits, None));
}

#[test]
fn without_a_configuration_it_checks_what_needs_none() {
    let fixture = Fixture::perfect();
    let diagnosis = doctor::examine(&fixture.bed.directory, nic_limits, None);
    well_formed(&diagnosis);
    assert_eq!(failing(&diagnosis), BTreeSet::new());
    let said = diagnosis.findings().iter().filter(|finding| finding.outcome() == Outcome::Ok).count();
    assert!(said >= 10, "{diagnosis}");
}

#[test]
fn the_example_names_every_command_in_order() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/bare-metal.toml"));
    let text = text.expect("the configuration");
    let mut rest = text.as_str();
    for step in [
        "+invtsc",
        "iommu=pt",
        "modprobe vfio-pci",
        "hugepagesz=1G",
        "nr_hugepages",
        "transparent_hugepage",
        "memlock",
        "swapoff",
        "isolcpus=",
        "nohz_full=",
        "rcu_nocbs=",
        "smt/control",
        "smp_affinity_list",
        "irqbalance",
        "scaling_governor",
        "energy_performance_preference",
        "no_turbo",
        "max_cstate",
        "dpdk-devbind.py --bind=vfio-pci",
        "lspci",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step} is missing, or stands too early"));
        rest = &rest[at..];
    }
}

#[test]
fn the_program_tells_about_this_machine() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    for config in [None, Some("bare-metal.toml"), Some("lab.toml")] {
        let run = |json: bool| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cesd"));
            command.arg("--doctor").args(json.then_some("--json"));
            command.args(config.into_iter().flat_map(|name| ["--config".into(), configs.join(name)]));
            let output = command.output().expect("cesd is there");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            (output.status.code().expect("an exit status"), String::from_utf8(output.stdout).expect("UTF-8"))
        };
        let (status, text) = run(false);
        assert!(text.lines().last().is_some_and(|line| line.contains(" not applicable: ")), "{text}");
        let (again, lines) = run(true);
        assert_eq!(status, again);
        let mut is_bad = false;
        for line in lines.lines() {
            let finding: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let outcome = finding["outcome"].as_str().expect("an outcome");
            is_bad |= outcome == "bad";
            let is_wrong = ["warn", "bad"].contains(&outcome);
            assert_eq!(finding["mend"].as_str().is_some_and(|mend| !mend.is_empty()), is_wrong, "{line}");
            assert!(finding["evidence"].as_str().is_some_and(|evidence| !evidence.is_empty()), "{line}");
        }
        assert_eq!(status, i32::from(is_bad));
    }
    let status = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_cesd")).args(arguments).output().expect("cesd is there");
        output.status.code()
    };
    assert_eq!(status(&["--json"]), Some(2), "of nothing");
    assert_eq!(status(&["--doctor", "--check", "x.toml"]), Some(2), "one thing at a time");
    assert_eq!(status(&["--doctor", "--config", "/nonexistent"]), Some(2));
}
