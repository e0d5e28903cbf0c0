//! The configuration: one TOML file, read once at the start into one immutable [`Config`].
//!
//! Guarantees: a `Config` is complete and free of contradictions; names are resolved to indices, defaults are filled
//! in. Everything that is wrong with a text is reported at once, each with its line, column and key, what is wrong and
//! what to write instead. No text makes it panic.
//! Never: looks at the machine (whether a device, a core or a huge page exists is asked at the start), changes a
//! running instance, or uses another room.
//!
//! Reading is separated from judging: a section hands out typed values with their places, and what
//! was never asked for is an unknown key. One file a group of sections: `system`, `ports`, `network`
//! (with `interface`, `bogons` and `proxies`), `routes`, `nat44` (with `nat_pools` and `nat_model`), `ipv6` (and `sides`, what both share), `exception`,
//! `hosts` (with `host_model` and `domain_name`), `dns` (with `upstreams`), `prgw`,
//! `cetp` (with `tunnels`), `policy` (with `policy_model` and `policy_rule`). The commented examples are in `configs/`.

mod bogons;
mod cetp;
mod dns;
mod domain_name;
mod error;
mod exception;
mod host_model;
mod hosts;
mod interface;
mod ipv6;
mod model;
mod model_functions;
mod nat44;
mod nat_model;
mod nat_pools;
mod network;
mod pcp;
mod policy;
mod policy_model;
mod policy_rule;
mod ports;
mod prgw;
mod proxies;
mod public;
mod routes;
mod section;
mod sides;
mod system;
mod tunnels;
mod upstreams;
mod values;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

pub(crate) use bogons::PRIVATE;
pub use cetp::{Cetp, CetpAuthority, CetpIdentity, CetpOwn};
pub(crate) use dns::is_within;
pub use dns::{
    Dns, DnsView, DnsZone, EdgeIdentity, Foreign, KeyAlgorithm, NameServer, OtherRealms, UpdateKey,
};
pub use domain_name::DomainName;
pub use error::{ConfigErrors, Refusal};
pub use host_model::{
    Dhcid, Host, HostText, HostWrong, Hosts, Realms, Service, ServiceTarget, ServiceText, protocol_name,
};
pub use model::*;
pub use nat_model::*;
pub use policy_model::{
    ATTRIBUTES, Attribute, Attributes, ENCAPSULATIONS, ID_TYPES, Kinds, NUMBERS, NamePattern, Offer,
    RLOC_FAMILIES, Requirement, Value, kind_words,
};
pub use policy_rule::{
    Action, Direction, Lists, Policy, PolicyRule, RuleWrong, Services, ServicesWrong, UserRule, Who,
};
pub use prgw::{Prgw, PrgwProof, PrgwTier};
pub use tunnels::{OwnRloc, Tunnels};
pub use upstreams::{Upstream, UpstreamProtocol, Upstreams};

use error::Report;
use section::Section;

/// Longest configuration, in bytes.
const TEXT_MAX: u64 = 16 << 20;

/// Reads and judges the file at `path`.
///
/// # Errors
/// [`ConfigErrors::Unreadable`] when there is no such UTF-8 text of at most 16 MiB, else as [`parse`].
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = read(path).map_err(|source| ConfigErrors::Unreadable { path: path.into(), source })?;
    parse(&path.display().to_string(), &text)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TEXT_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB"));
    }
    Ok(text)
}

/// Judges `text`; errors and warnings call it `name`.
///
/// # Errors
/// [`ConfigErrors::Refused`] with everything that is wrong: 1 to 100 refusals, in the order of the text.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let report = Report::new(name, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let hint = "write TOML 1.0: [section], then key = value a line, strings in quotes, lists in [ ]";
        report.refuse_key(offset, String::new(), error.message(), hint);
    }
    if !errors.is_empty() {
        return Err(report.into_errors());
    }
    let config = judge(&report, Section::document(&report, document.get_ref()));
    match config {
        Some(config) if report.is_clean() => Ok(Config { warnings: report.into_warnings(), ..config }),
        _ => Err(report.into_errors()),
    }
}

/// The configuration, if it could be read; what is wrong with it goes to `report`.
fn judge<'a>(report: &Report<'a>, mut document: Section<'a>) -> Option<Config> {
    let instance = system::instance(report, document.table("instance", "instance"));
    let (eal, mbufs_place) = system::eal(report, document.table("eal", "eal"));
    let workers = system::workers(report, document.table("workers", "workers"));
    let worker_count = workers.as_ref().map(|(workers, _)| workers.cores.len());
    let flow = system::flow(report, document.table("flow", "flow"), worker_count);
    let limits = system::limits(report, document.table("limits", "limits"));
    let manage = system::manage(document.table("manage", "manage"));

    let (ports, port_names) = ports::read(report, &mut document, workers.as_ref());
    ports::check_pool(report, mbufs_place, &eal, &ports, &limits);
    let network = network::Network::read(report, &mut document, &ports, &port_names);
    let routes = routes::routes(report, &mut document, &network);
    let neighbors = routes::neighbors(report, &mut document, &network, &routes, &flow);
    let around =
        nat44::Surroundings { network: &network, routes: &routes, neighbors: &neighbors, flow: &flow };
    let translation = document.table("nat44", "nat44");
    let is_translated = translation.is_written();
    let nat44 = nat44::read(report, translation, &around);
    let ipv6 = ipv6::read(report, document.table("ipv6", "ipv6"), &network, &flow, worker_count);
    let exception = exception::read(report, document.table("exception", "exception"), &network);
    let hosts = hosts::read(report, &mut document, &network);
    let dns = dns::read(report, document.table("dns", "dns"), hosts.as_ref(), exception.is_some(), &network);
    let translation = (is_translated, nat44.as_ref());
    let has_hosts = document.contains("hosts") || document.contains("host");
    let prgw = prgw::read(report, document.table("prgw", "prgw"), &around, translation, has_hosts);
    let around_tunnels =
        tunnels::Others { network: &network, dns: (document.contains("dns"), dns.as_ref()), has_hosts };
    let (cetp, tunnels) = cetp::read(report, document.table("cetp", "cetp"), &around_tunnels);
    let policy = policy::read(report, document.table("policy", "policy"));
    let others = proxies::Others {
        nat44: translation,
        dns: (document.contains("dns"), dns.as_ref()),
        prgw: prgw.as_ref(),
        has_tunnels: tunnels.is_some(),
    };
    proxies::check(report, &around, &others);
    bogons::check(report, &network, &routes);
    public::check(report, &network, nat44.as_ref(), ipv6.as_ref(), prgw.as_ref());
    document.finish();

    let (instance, socket) = instance?;
    let (realms, interfaces) = network.finish()?;
    Some(Config {
        instance,
        eal,
        workers: workers?.0,
        ports,
        realms,
        interfaces,
        routes,
        neighbors: neighbors.into_iter().map(|neighbor| neighbor.value).collect(),
        flow,
        nat44,
        ipv6,
        exception,
        hosts,
        dns,
        prgw,
        cetp,
        tunnels,
        policy,
        limits,
        manage: Manage { socket, log: manage },
        warnings: Vec::new(),
    })
}
