//! Builds the one C file of the project, `src/dpdk/shim.c`, against the installed DPDK, and generates Rust declarations of
//! `src/dpdk/shim.h`, which includes no DPDK header.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = "src/dpdk/shim.h";
const SOURCE: &str = "src/dpdk/shim.c";

/// Only what the shim itself calls: EAL loads the drivers, and what they need, as plug-ins.
const LIBRARIES: [&str; 4] = ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool"];

fn main() {
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-changed={SOURCE}");

    let dpdk = pkg_config::Config::new()
        .range_version("22.11".."23")
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|e| panic!("DPDK 22.11 with its headers is not installed: run scripts/setup\n{e}"));
    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }

    compile_shim();
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    generate_bindings(&PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")));
}

/// The flags come from pkg-config as they are: `-include rte_config.h` and `-march` decide DPDK's ABI.
fn compile_shim() {
    let output = Command::new(env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into()))
        .args(["--cflags", "libdpdk"])
        .output()
        .expect("pkg-config was there a moment ago");
    let flags = String::from_utf8(output.stdout).expect("pkg-config prints text");
    let mut build = cc::Build::new();
    build.file(SOURCE).opt_level(3).warnings(true).extra_warnings(true);
    for flag in flags.split_whitespace() {
        // DPDK's headers are not ours to warn about.
        match flag.strip_prefix("-I") {
            Some(directory) => build.flag("-isystem").flag(directory),
            None => build.flag(flag),
        };
    }
    build.compile("ces_shim");
}

fn generate_bindings(out: &Path) {
    bindgen::Builder::default()
        .header(HEADER)
        .allowlist_item("(ces|CES)_.*")
        .use_core()
        .derive_default(true)
        .generate()
        .expect("libclang cannot read src/dpdk/shim.h: run scripts/setup")
        .write_to_file(out.join("shim.rs"))
        .expect("OUT_DIR is writable");
}
