//! What the operator's socket takes and shows of the host register: a part of [`super::protocol`] and of [`super::model`], with
//! their promises.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::protocol::FlowLimit;

/// A host as it is written and shown: the keys of a `[[host]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    pub name: String,
    /// By name.
    pub realm: String,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceEntry>,
    /// By default what `[hosts]` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_reservations: Option<u64>,
    /// By default what `[hosts]` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations_per_second: Option<u64>,
}

/// A name that means a port and a protocol of its host; either may be `any`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    pub name: String,
    pub protocol: String,
    pub port: String,
}

/// A change of the register: `{"host":"remove","name":"a.ces.example"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "host", rename_all = "lowercase", deny_unknown_fields)]
pub enum HostChange {
    Add(Box<HostAddition>),
    Remove {
        name: String,
    },
    /// Begins to read a file of [`HostEntry`]s, one a line; `{"show":"import"}` tells how it goes.
    Import {
        /// Absolute.
        path: PathBuf,
        /// Hosts may take the place of those of the same name.
        #[serde(default)]
        replace: bool,
    },
}

/// A host to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAddition {
    pub entry: HostEntry,
    /// It may take the place of the host of that name.
    #[serde(default)]
    pub replace: bool,
}

/// Which hosts to show: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFilter {
    /// The one that this name, or service's name, means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// From this place in the register on: [`HostList::next`] of the answer before.
    #[serde(default)]
    pub from: u32,
    /// How many to show.
    #[serde(default)]
    pub limit: FlowLimit,
}

/// `show hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostList {
    /// Hosts in the register.
    pub total: u64,
    pub capacity: u64,
    /// Hosts that match, from [`HostFilter::from`] on.
    pub total_matched: u64,
    /// Some of those are not shown: [`Self::next`] shows more.
    pub truncated: bool,
    /// [`HostFilter::from`] of the next page, where there is one.
    pub next: Option<u32>,
    pub hosts: Vec<HostStatus>,
}

/// A host of the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    pub origin: HostOrigin,
    #[serde(flatten)]
    pub entry: Shown,
}

/// A [`HostEntry`] to be read beside other keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub name: String,
    pub realm: String,
    pub addresses: Vec<IpAddr>,
    pub group: Option<String>,
    pub services: Vec<ServiceEntry>,
    /// What holds, its own or that of `[hosts]`.
    pub pending_reservations: u64,
    pub reservations_per_second: u64,
    /// Whose the name is by its DHCP server, in base 64 (RFC 4701).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcid: Option<String>,
}

/// Who a host is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostOrigin {
    /// The configuration: read-only.
    Config,
    Runtime,
}

/// `host add`, `remove` and `import`: what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostChanged {
    Added {
        host: HostStatus,
        /// It outlives cesd: there is a store.
        kept: bool,
    },
    Replaced {
        host: HostStatus,
        kept: bool,
    },
    Removed {
        /// As it was.
        host: HostStatus,
        kept: bool,
    },
    /// The number of the import that was begun.
    Importing {
        number: u64,
    },
}

/// `show import`: the import under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportShown {
    /// 1 for the first since the start; 0 where there was none.
    pub number: u64,
    pub state: ImportPhase,
    pub lines: u64,
    pub hosts: u64,
    /// Bytes of the file that are read, and all of them.
    pub bytes_read: u64,
    pub bytes: u64,
    /// Why it was refused: then nothing was changed.
    pub refusal: Option<String>,
    /// The bad lines, the first ten of them.
    pub bad_lines: Vec<BadLine>,
}

/// See [`ImportShown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportPhase {
    None,
    /// Lines are judged; nothing is changed yet.
    Reading,
    /// All is right and on disk, and comes into the register.
    Adopting,
    Done,
    Refused,
}

/// A line that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    pub line: u64,
    /// Empty where the line is no JSON object of a host.
    pub key: String,
    pub message: String,
    pub hint: String,
}

impl fmt::Display for HostOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HostOrigin::Config => "config",
            HostOrigin::Runtime => "runtime",
        })
    }
}

impl fmt::Display for ServiceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}/{}", self.name, self.protocol, self.port)
    }
}
