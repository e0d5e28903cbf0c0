//! The host register at a million hosts: how long an import of a file takes, and a start with the store that it leaves; look-ups.
//!
//! `cargo bench --bench hosts [-- --hosts N] [--json]`. Each host has a name, an address, a group and a service. Files lie in the
//! system's directory for temporary files and go at the end. Wall-clock time, on an otherwise idle machine: reading and writing
//! the store is the greater part of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ces::config::{self, Hosts};
use ces::edge::thread::{Edge, ImportState};

/// Look-ups of each kind.
const LOOKUPS: u32 = 1_000_000;

/// Files that go with the value.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(hosts: u32, store: &Path) -> Hosts {
    let store = store.display();
    let text = format!(
        "[instance]\nname = \"bench\"\n[workers]\ncores = [0]\n[[port]]\nname = \"in\"\ndevice = \"net_null0\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\n[hosts]\ncapacity = {hosts}\nstore = \"{store}\"\n"
    );
    config::parse("bench", &text).expect("a right text").hosts.expect("a register")
}

fn name(number: u32) -> String {
    format!("host-{number:07}.ces.example")
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

fn write(path: &Path, hosts: u32) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..hosts {
        let (name, address) = (name(number), address(number));
        writeln!(
            file,
            r#"{{"name":"{name}","realm":"home","addresses":["{address}"],"group":"homes","services":[{{"name":"www-{number}.ces.example","protocol":"tcp","port":443}}]}}"#
        )?;
    }
    file.flush()
}

fn import(edge: &Edge, path: &Path) -> Duration {
    let start = Instant::now();
    edge.import(path.into(), false).expect("it begins");
    loop {
        match edge.reader().import().state {
            ImportState::Done => return start.elapsed(),
            ImportState::Refused(lines, why) => panic!("{why}: {lines:?}"),
            ImportState::Reading | ImportState::Adopting => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Look-ups a second, in an order that no cache foresees.
fn lookups(hosts: u32, mut look: impl FnMut(u32) -> bool) -> f64 {
    let start = Instant::now();
    let found =
        (0..LOOKUPS).filter(|n| look((u64::from(*n) * 2_654_435_761 % u64::from(hosts)) as u32)).count();
    assert_eq!(found, LOOKUPS as usize, "all are there");
    f64::from(LOOKUPS) / start.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let hosts = arguments.iter().position(|argument| argument == "--hosts").map(|at| &arguments[at + 1]);
    let hosts: u32 = hosts.map_or(1_000_000, |number| number.parse().expect("--hosts N"));
    let directory = Directory(std::env::temp_dir().join(format!("ces-bench-hosts-{}", std::process::id())));
    std::fs::create_dir_all(&directory.0).expect("a directory for temporary files");
    let (file, store) = (directory.0.join("hosts.jsonl"), directory.0.join("hosts.store"));
    write(&file, hosts).expect("room for the file");
    let megabytes = |path: &Path| std::fs::metadata(path).expect("it is there").len() as f64 / 1e6;

    let edge = Edge::start(config(hosts, &store), Default::default(), None).expect("an empty register");
    let imported = import(&edge, &file).as_secs_f64();
    drop(edge);
    let start = Instant::now();
    let edge = Edge::start(config(hosts, &store), Default::default(), None).expect("a register");
    let loaded = start.elapsed().as_secs_f64();
    assert_eq!(edge.reader().register().len(), hosts as usize);
    let names: Vec<String> = (0..hosts).map(name).collect();
    let by_name = lookups(hosts, |n| edge.reader().register().by_name(&names[n as usize]).is_some());
    let by_address =
        lookups(hosts, |n| edge.reader().register().by_address(1, IpAddr::V4(address(n))).is_some());
    let (file, store) = (megabytes(&file), megabytes(&store));
    if json {
        println!(
            r#"{{"case":"hosts","hosts":{hosts},"import_seconds":{imported:.2},"load_seconds":{loaded:.2},"lookups_by_name_per_second":{by_name:.0},"lookups_by_address_per_second":{by_address:.0},"file_megabytes":{file:.1},"store_megabytes":{store:.1}}}"#
        );
    } else {
        println!(
            "{hosts} hosts: import {imported:.2} s of {file:.0} MB, start with the store {loaded:.2} s of {store:.0} MB"
        );
        println!("look-ups a second: {by_name:.0} by name, {by_address:.0} by address");
    }
}
