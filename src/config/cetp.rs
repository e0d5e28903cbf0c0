//! The sections about what edges say to each other: `[cetp]`, whose keys about tunnels are in `tunnels`, and the edge's identity and
//! whom it believes: `[cetp.identity]`.
//!
//! Guarantees: a certificate has its key and the edge a name for it, authorities are apart, and whoever refuses certificates without
//! a revocation list has lists. Never: opens a file that it names.

use std::path::PathBuf;

use super::dns::EdgeIdentity;
use super::error::{Place, Report, Wrong};
use super::policy_model::{ID_TYPES, Kinds, NamePattern};
use super::section::{Located, Section, or};
use super::tunnels::{self, Tunnels};
use super::values;

/// `[cetp]`: what edges say to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cetp {
    /// `[cetp.identity]`. Default `None`: this edge signs nothing, and believes no certificate.
    pub identity: Option<CetpIdentity>,
}

/// `[cetp.identity]`: who the edge is, and who is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CetpIdentity {
    /// Default `None`: it signs nothing.
    pub own: Option<CetpOwn>,
    /// `revocation = "hard"`: a certificate of which no list in force says whether it is revoked is refused. Default `"soft"`.
    pub is_revocation_hard: bool,
    /// Seconds that clocks may differ, 0 to 86,400. Default 300.
    pub clock_tolerance: u32,
    /// Validated chains that are remembered, 16 to 1,048,576. Default 4,096.
    pub remembered: u32,
    /// `[[cetp.identity.authorities]]`, in file order.
    pub authorities: Vec<CetpAuthority>,
}

/// The edge's own certificate, which has the name `dns.edge.cesid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CetpOwn {
    /// Absolute path of the chain in PEM, leaf first, without the root.
    pub certificate: PathBuf,
    /// Absolute path of its key in PEM (PKCS #8).
    pub key: PathBuf,
    /// Where others find the authority that answers for it, told to who asks: 1 to 255 printable characters. Default: not told.
    pub ca_address: Option<String>,
}

/// An authority whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CetpAuthority {
    /// Unique; 1 to 32 of `a-z`, `0-9` and `-`. Required.
    pub name: String,
    /// Absolute path of its root certificates in PEM. Required.
    pub certificates: PathBuf,
    /// Absolute paths of its revocation lists in PEM, and of those of its intermediate authorities. Default empty.
    pub crls: Vec<PathBuf>,
    /// By which a peer may name it: 1 to 255 printable characters, unique in any case. Default empty.
    pub addresses: Vec<String>,
    /// What it may certify. Default empty: any name.
    pub names: Vec<NamePattern>,
    /// The type of ID that its certificates assure. Default `user-certificate`.
    pub id: Kinds,
}

const AUTHORITIES_MAX: usize = 256;
const CRLS_MAX: usize = 64;
const ADDRESSES_MAX: usize = 16;
const NAMES_MAX: usize = 1024;

/// The section, if it is there and right; and its tunnels.
pub(super) fn read<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    others: &tunnels::Others<'_>,
) -> (Cetp, Option<Tunnels>) {
    let edge = others.dns.1.and_then(|dns| dns.edge.as_ref());
    let identity = section.table("identity", "cetp.identity");
    let identity = if identity.is_written() { read_identity(report, identity, edge) } else { None };
    let tunnels = tunnels::read(report, &mut section, others);
    section.finish();
    (Cetp { identity }, tunnels)
}

fn read_identity<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    edge: Option<&EdgeIdentity>,
) -> Option<CetpIdentity> {
    let place = section.place();
    let certificate = section.parse("certificate", values::absolute_path);
    let key = section.parse("key", values::absolute_path);
    // In a URI upper case may count.
    let ca_address = section.parse("ca_address", |text| address(text).map(|_| text.to_owned()));
    let hard = section.choice("revocation", &[("hard", true), ("soft", false)]);
    let clock_tolerance = or(section.integer("clock_tolerance", 0..=86_400), 300);
    let remembered = or(section.integer("remembered", 16..=1_048_576), 4096);
    let has = [section.contains("certificate"), section.contains("key")];
    let sections =
        section.tables_at("authorities", "cetp.identity.authorities", AUTHORITIES_MAX).unwrap_or_default();
    section.finish();
    let refuse = |key, message: &str, hint: &str| report.refuse(Place { key, ..place }, message, hint);
    match has {
        [true, false] => refuse("key", "is missing", "write key = \"/…\": that of the certificate"),
        [false, true] => refuse("certificate", "is missing", "write certificate = \"/…\": that of the key"),
        [true, true] if edge.is_none() => {
            refuse(
                "certificate",
                "the edge has no name",
                "write [dns.edge] with the cesid that the certificate has",
            );
        }
        [false, false] if ca_address.is_some() => {
            let hint = "write certificate and key, of which it is the authority's";
            refuse("ca_address", "is of no use without a certificate", hint);
        }
        _ => {}
    }
    let is_revocation_hard = hard.is_some_and(|hard| hard.value);
    let mut taken = Taken::default();
    let mut authorities = Vec::new();
    for section in sections {
        let place = section.place();
        let Some(authority) = read_authority(report, section, &mut taken) else { continue };
        if is_revocation_hard && authority.crls.is_empty() {
            let hint = "write crls = [\"/…\"], or revocation = \"soft\" above";
            report.refuse(Place { key: "crls", ..place }, "is missing where revocation is \"hard\"", hint);
        }
        authorities.push(authority);
    }
    let own = certificate.zip(key);
    let own = own.map(|(certificate, key)| CetpOwn {
        certificate: certificate.value,
        key: key.value,
        ca_address: ca_address.map(|address| address.value),
    });
    Some(CetpIdentity { own, is_revocation_hard, clock_tolerance, remembered, authorities })
}

/// What authorities before have.
#[derive(Default)]
struct Taken {
    names: Vec<String>,
    addresses: Vec<String>,
}

fn read_authority(report: &Report<'_>, mut section: Section<'_>, taken: &mut Taken) -> Option<CetpAuthority> {
    let name = section.require("name", values::name, "write name = \"…\", by which it is shown");
    let certificates = section.require(
        "certificates",
        values::absolute_path,
        "write certificates = \"/…\": its root certificates in PEM",
    );
    let crls = section.strings("crls", 1..=CRLS_MAX, values::absolute_path).unwrap_or_default();
    let addresses = section.strings("addresses", 1..=ADDRESSES_MAX, address).unwrap_or_default();
    let names = section.strings("names", 1..=NAMES_MAX, NamePattern::parse).unwrap_or_default();
    let id = section.choice("id", &ASSURED);
    section.finish();
    let unique = |known: &mut Vec<String>, item: &Located<String>| {
        if known.contains(&item.value) {
            let message = format!("\"{}\" is another authority's already", item.value);
            report.refuse(item.place, message, "write another one");
        }
        known.push(item.value.clone());
    };
    name.iter().for_each(|name| unique(&mut taken.names, name));
    addresses.iter().for_each(|address| unique(&mut taken.addresses, address));
    Some(CetpAuthority {
        name: name?.value,
        certificates: certificates?.value,
        crls: crls.into_iter().map(|path| path.value).collect(),
        addresses: addresses.into_iter().map(|address| address.value).collect(),
        names: names.into_iter().map(|name| name.value).collect(),
        id: or(id, ASSURED[2].1),
    })
}

/// The types of ID that certificates assure.
const ASSURED: [(&str, Kinds); 3] =
    [(ID_TYPES[3], Kinds::one(3)), (ID_TYPES[4], Kinds::one(4)), (ID_TYPES[5], Kinds::one(5))];

/// The address of an authority, as a peer may write it: compared in lower case.
fn address(text: &str) -> Result<String, Wrong> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Wrong::new(
        "is no address of an authority",
        "write a name or URI of 1 to 255 printable characters, such as \"ca.operator.example\"",
    ))
}
