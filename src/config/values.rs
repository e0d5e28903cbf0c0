//! Strings of the configuration, parsed to their types.
//!
//! Guarantees: total functions of their argument; what they return is well-formed by itself. Never: compare one value
//! with another, or look at the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use tracing_subscriber::EnvFilter;

use super::error::{Wrong, closest, one_of, quoted};
use super::model::Device;
use super::nat_model::{PoolRange, PortRange};

/// Names of instances, ports, realms and interfaces.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(is_allowed) && !text.starts_with('-') {
        Ok(text.into())
    } else {
        Err(Wrong::new(
            format!("\"{text}\" is not a name"),
            "write 1 to 32 of a-z, 0-9 and -, not beginning with -",
        ))
    }
}

/// The name of a network namespace, which is a file under `/run/netns`.
pub(super) fn netns(text: &str) -> Result<String, Wrong> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) && !text.starts_with('-') {
        return Ok(text.into());
    }
    let hint = "write 1 to 64 of a-z, 0-9, - and _, not beginning with -, as `ip netns add NAME` took it";
    Err(Wrong::new(format!("\"{text}\" is not a namespace's name"), hint))
}

/// A reference to something by its name: judged when the name is looked up.
pub(super) fn reference(text: &str) -> Result<String, Wrong> {
    Ok(text.into())
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Wrong::new(
            format!("\"{text}\" is not an absolute path"),
            "begin it with /, such as \"/run/ces\"",
        ))
    }
}

const VDEV_DRIVERS: [&str; 10] = [
    "net_tap",
    "net_af_packet",
    "net_af_xdp",
    "net_pcap",
    "net_null",
    "net_memif",
    "net_ring",
    "net_vhost",
    "net_virtio_user",
    "net_bonding",
];
/// The older names of the same drivers.
const VDEV_ALIAS: &str = "eth_";
/// DPDK's limit of a device name, its NUL not counted.
const DEVICE_NAME_MAX: usize = 63;

pub(super) fn device(text: &str) -> Result<Device, Wrong> {
    if text.starts_with(|first: char| first.is_ascii_hexdigit()) && text.contains(':') {
        return pci_address(text).map(Device::Pci);
    }
    let (name, args) = text.split_once(',').unwrap_or((text, ""));
    let driver = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let is_alias = driver.len() > VDEV_ALIAS.len()
        && driver.starts_with(VDEV_ALIAS)
        && driver.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !VDEV_DRIVERS.contains(&driver) && !is_alias {
        return Err(Wrong::new(format!("\"{name}\" is not a device"), device_hint(name, driver)));
    }
    if name.len() > DEVICE_NAME_MAX {
        let hint = format!("a device's name has at most {DEVICE_NAME_MAX} characters");
        return Err(Wrong::new("the device's name is too long", hint));
    }
    Ok(Device::Vdev { name: name.into(), args: args.into() })
}

fn device_hint(name: &str, driver: &str) -> String {
    if let Some(meant) = closest(driver, VDEV_DRIVERS) {
        return format!("did you mean \"{meant}{}\"?", &name[driver.len()..]);
    }
    let is_kernel_interface = ["eth", "en", "veth", "wl"].iter().any(|prefix| name.starts_with(prefix));
    if is_kernel_interface {
        return format!("an interface of the kernel is reached by \"net_af_packet0,iface={name}\"");
    }
    format!("write a PCI address such as \"0000:03:00.0\", or one of {} and a number", quoted(VDEV_DRIVERS))
}

/// `DDDD:BB:DD.F`, made lower-case.
fn pci_address(text: &str) -> Result<String, Wrong> {
    let is_hex =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wrong = |hint: String| Wrong::new(format!("\"{text}\" is not a PCI address"), hint);
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let device_fits = |part: &str| u8::from_str_radix(part, 16).is_ok_and(|device| device < 32);
    match parts[..] {
        [domain, bus, device, function]
            if is_hex(domain, 4)
                && is_hex(bus, 2)
                && is_hex(device, 2)
                && device_fits(device)
                && matches!(function.as_bytes(), [b'0'..=b'7'])
                && text == format!("{domain}:{bus}:{device}.{function}") =>
        {
            Ok(text.to_ascii_lowercase())
        }
        [_, _, _] if pci_address(&format!("0000:{text}")).is_ok() => {
            Err(wrong(format!("write it with its domain: \"0000:{text}\"")))
        }
        _ => Err(wrong(
            "write domain:bus:device.function as `lspci -D` prints it, such as \"0000:03:00.0\"".into(),
        )),
    }
}

pub(super) fn mac(text: &str) -> Result<[u8; 6], Wrong> {
    let wrong = |what: &str| {
        Wrong::new(format!("\"{text}\" is not a {what}"), "write one such as \"02:00:00:00:00:01\"")
    };
    let mut mac = [0; 6];
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() != mac.len() {
        return Err(wrong("MAC address"));
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        let is_hex = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_hex).ok_or_else(|| wrong("MAC address"))?;
    }
    let is_unicast = mac[0] & 1 == 0 && mac != [0; 6];
    if is_unicast { Ok(mac) } else { Err(wrong("unicast MAC address")) }
}

/// The address of one host or router.
pub(super) fn address(text: &str) -> Result<IpAddr, Wrong> {
    let hint = "write one such as \"203.0.113.254\" or \"2001:db8::1\", without a prefix length";
    let address: IpAddr =
        text.parse().map_err(|_| Wrong::new(format!("\"{text}\" is not an IP address"), hint))?;
    unicast(address)?;
    Ok(address)
}

/// Refuses what can be no host's address (RFC 6890; RFC 4291 section 2.5.5.2 for IPv4-mapped ones).
fn unicast(address: IpAddr) -> Result<(), Wrong> {
    let is_special = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if is_special || address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(Wrong::new(format!("{address} is no host's address"), "write a unicast address"));
    }
    Ok(())
}

fn network(text: &str, example: &str) -> Result<IpNet, Wrong> {
    let hint = format!("write one such as {example}");
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(_) => Wrong::new(format!("\"{text}\" has no prefix length"), hint),
        Err(_) => Wrong::new(format!("\"{text}\" is not an address with a prefix length"), hint),
    })
}

/// An address of the edge with its connected prefix: no network, broadcast (RFC 919 section 7) or subnet-router anycast
/// address (RFC 4291 section 2.6.1), except where the prefix is a point-to-point link (RFC 3021, RFC 6164).
pub(super) fn host_prefix(text: &str) -> Result<IpNet, Wrong> {
    let prefix = network(text, "\"10.0.0.1/24\" or \"2001:db8::1/64\"")?;
    unicast(prefix.addr())?;
    let name = match reserved_in(&prefix, prefix.addr()) {
        None => return Ok(prefix),
        Some(name) => name,
    };
    let hint = match prefix.hosts().next() {
        Some(host) => format!("write a host's address, such as \"{host}/{}\"", prefix.prefix_len()),
        None => "write a host's address".into(),
    };
    Err(Wrong::new(format!("{} is the {name} address of {}", prefix.addr(), prefix.trunc()), hint))
}

/// What `address` is in `prefix`, when no host can have it there.
pub(super) fn reserved_in(prefix: &IpNet, address: IpAddr) -> Option<&'static str> {
    if prefix.max_prefix_len() - prefix.prefix_len() < 2 {
        None
    } else if address == prefix.network() {
        Some(if address.is_ipv4() { "network" } else { "subnet-router anycast" })
    } else if address.is_ipv4() && address == prefix.broadcast() {
        Some("broadcast")
    } else {
        None
    }
}

/// A route's prefix.
pub(super) fn prefix(text: &str) -> Result<IpNet, Wrong> {
    without_host_bits(network(text, "\"0.0.0.0/0\" or \"2001:db8::/32\"")?)
}

/// A prefix that is no packet's source.
pub(super) fn bogon(text: &str) -> Result<IpNet, Wrong> {
    let prefix = without_host_bits(network(text, "\"192.168.0.0/16\" or \"fc00::/7\"")?)?;
    if prefix.prefix_len() == 0 {
        let message = format!("{prefix} is every address of its family");
        return Err(Wrong::new(message, "write narrower prefixes"));
    }
    Ok(prefix)
}

/// A prefix of hosts that are reached as they are.
pub(super) fn public(text: &str) -> Result<IpNet, Wrong> {
    let prefix = without_host_bits(network(text, "\"203.0.113.128/25\" or \"2001:db8:1::/48\"")?)?;
    unicast(prefix.addr())?;
    Ok(prefix)
}

/// Resolvers: an address, or a prefix.
pub(super) fn resolvers(text: &str) -> Result<IpNet, Wrong> {
    let example = "\"192.0.2.53\" or \"192.0.2.0/24\"";
    let prefix = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => without_host_bits(network(text, example)?)?,
    };
    if prefix.prefix_len() == 0 {
        let message = format!("{prefix} is every address of its family");
        return Err(Wrong::new(message, "write the prefixes of resolvers"));
    }
    unicast(prefix.addr())?;
    Ok(prefix)
}

fn without_host_bits(prefix: IpNet) -> Result<IpNet, Wrong> {
    if prefix == prefix.trunc() {
        Ok(prefix)
    } else {
        Err(Wrong::new(format!("{prefix} has host bits"), format!("write \"{}\"", prefix.trunc())))
    }
}

/// `A`, `A/LENGTH` or `A-B`.
pub(super) fn pool_range(text: &str) -> Result<PoolRange, Wrong> {
    let hint = "write \"198.51.100.0/28\", \"198.51.100.7\" or \"198.51.100.10-198.51.100.20\"";
    let wrong = || Wrong::new(format!("\"{text}\" is no range of IPv4 addresses"), hint);
    let range = if let Some((first, last)) = text.split_once('-') {
        let parse = |end: &str| end.trim().parse::<Ipv4Addr>().map_err(|_| wrong());
        PoolRange { first: parse(first)?, last: parse(last)? }
    } else if text.contains('/') {
        let prefix: Ipv4Net = text.parse().map_err(|_| wrong())?;
        if prefix != prefix.trunc() {
            return Err(Wrong::new(
                format!("{prefix} has host bits"),
                format!("write \"{}\"", prefix.trunc()),
            ));
        }
        PoolRange { first: prefix.network(), last: prefix.broadcast() }
    } else {
        let address: Ipv4Addr = text.parse().map_err(|_| wrong())?;
        PoolRange { first: address, last: address }
    };
    if range.first > range.last {
        return Err(Wrong::new(
            format!("{} is above {}", range.first, range.last),
            "write the lower address first",
        ));
    }
    // The ranges that hold no host's address are whole /8s or more, so a range that leaves unicast has an end there
    // or spans 127.0.0.0/8.
    unicast(range.first.into())?;
    unicast(range.last.into())?;
    if range.contains(Ipv4Addr::LOCALHOST) {
        return Err(Wrong::new(format!("{range} has the loopback addresses in it"), hint));
    }
    Ok(range)
}

/// `FIRST-LAST`, without port 0.
pub(super) fn port_range(text: &str) -> Result<PortRange, Wrong> {
    let parse = || {
        let (first, last) = text.split_once('-')?;
        Some(PortRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
    };
    match parse() {
        Some(range) if range.first >= 1 && range.first <= range.last => Ok(range),
        _ => Err(Wrong::new(
            format!("\"{text}\" is no range of ports"),
            "write \"FIRST-LAST\" within 1-65535, such as \"1024-65535\"",
        )),
    }
}

/// EAL arguments that follow from other keys, and those keys.
const OWNED_ARGS: [(&[&str], &str); 8] = [
    (&["-a", "--allow", "-b", "--block", "--no-pci", "--vdev"], "devices are written as port.device"),
    (
        &["-l", "-c", "--lcores", "--main-lcore", "-S", "-s"],
        "cores are written as workers.cores and workers.control_core",
    ),
    (&["--file-prefix"], "the file prefix is instance.name"),
    (&["-m", "--socket-mem", "--socket-limit"], "memory is written as eal.memory_mb"),
    (
        &["--no-huge", "--in-memory", "--no-shconf", "--huge-unlink"],
        "huge pages are written as eal.huge_pages",
    ),
    (&["--proc-type"], "cesd is always a primary process"),
    (&["--no-telemetry"], "the telemetry socket is part of the instance"),
    (&["-h", "--help", "-v", "--version", "--"], "it has no use in a configuration"),
];

/// One argument of EAL.
pub(super) fn eal_arg(text: &str) -> Result<String, Wrong> {
    let is_owned = |owned: &str| {
        // `-l0-3` is `-l 0-3`, and `--vdev=X` is `--vdev X`; getopt_long also takes any unique beginning of a name.
        let name = text.split('=').next().unwrap_or(text);
        match owned {
            "--" => text == owned,
            _ if owned.starts_with("--") => owned == name || (name.len() > 2 && owned.starts_with(name)),
            _ => text.starts_with(owned),
        }
    };
    match OWNED_ARGS.iter().find(|(owned, _)| owned.iter().any(|&owned| is_owned(owned))) {
        None => Ok(text.into()),
        Some((_, hint)) => {
            Err(Wrong::new(format!("cesd itself decides about \"{text}\""), format!("remove it: {hint}")))
        }
    }
}

/// Directives of `tracing`'s filter. A bare word must be a level: a misspelt one would be taken for a module's name.
pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for directive in text.split(',').map(str::trim) {
        let is_bare_word = !directive.contains(['=', '[', ':']);
        if is_bare_word && !LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
            let message = format!("\"{directive}\" is no log level");
            return Err(Wrong::new(message, one_of("the levels are", directive, &LEVELS)));
        }
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(Wrong::new(
            format!("\"{text}\" is no log filter: {error}"),
            "write a level, or levels by module: \"info,ces::nat=debug\"",
        )),
    }
}
