//! The operator's view of the host register: from its words to typed commands of the thread `ces-edge`, and back.
//!
//! Guarantees: looks through the register by pieces, so that its owner waits for no long answer. Never: changes it itself.

use super::routes::realm;
use crate::config::{self, Config, HostText, HostWrong, ServiceText, protocol_name};
use crate::edge::hosts::change::Change;
use crate::edge::hosts::{HostRef, Origin};
use crate::edge::thread::{Changed, Edge, ImportState, Reader, Refused};
use crate::manage::host_model::{
    BadLine, HostEntry, HostOrigin, HostStatus, ImportPhase, ServiceEntry, Shown,
};
use crate::manage::{HostChange, HostChanged, HostFilter, HostList, ImportShown, Refusal};
use std::sync::Arc;

/// Places that are looked through at a time.
const LOOKED: u32 = 4096;

/// See the module.
pub struct HostControl {
    config: Arc<Config>,
    /// `None` where the configuration has no register.
    edge: Option<Edge>,
}

impl HostControl {
    pub fn new(config: Arc<Config>, edge: Option<Edge>) -> Self {
        Self { config, edge }
    }

    pub(super) fn edge(&self) -> Result<&Edge, Refusal> {
        let hint = "write [hosts] into the configuration and start cesd again";
        self.edge.as_ref().ok_or_else(|| Refusal::new("there is no host register", hint))
    }

    /// Adds or removes a host, or begins to import many.
    pub fn change(&self, change: &HostChange) -> Result<HostChanged, Refusal> {
        let edge = self.edge()?;
        let reader = edge.reader();
        let kept = reader.config().store.is_some();
        let done = |changed: &Changed| status(reader, &changed.host, HostOrigin::Runtime);
        match change {
            HostChange::Add(addition) => {
                let host = reader.config().realms.judge(&text(&addition.entry)).map_err(wrong)?;
                let change = Change::Add { host, replace: addition.replace };
                let changed = edge.change(change).map_err(refused)?;
                let host = done(&changed);
                let what = if changed.was_there { "replaced" } else { "added" };
                tracing::info!("host \"{}\" is {what}", host.entry.name);
                Ok(match changed.was_there {
                    true => HostChanged::Replaced { host, kept },
                    false => HostChanged::Added { host, kept },
                })
            }
            HostChange::Remove { name } => {
                let parsed = config::DomainName::new(name).ok_or_else(|| unknown(name))?;
                let changed = edge.change(Change::Remove { name: parsed }).map_err(refused)?;
                tracing::info!("host \"{name}\" is removed");
                Ok(HostChanged::Removed { host: done(&changed), kept })
            }
            HostChange::Import { path, replace } => {
                let number = edge.import(path.clone(), *replace).map_err(refused)?;
                Ok(HostChanged::Importing { number })
            }
        }
    }

    /// The hosts that match.
    pub fn show(&self, filter: &HostFilter) -> Result<HostList, Refusal> {
        let reader = self.edge()?.reader();
        let wanted = filter.realm.as_deref().map(|name| realm(&self.config, name)).transpose()?;
        let matches = |host: &HostRef<'_>| {
            let parts = host.parts();
            wanted.is_none_or(|realm| realm == parts.realm)
                && filter.group.as_deref().is_none_or(|group| parts.group == Some(group))
                && filter.address.is_none_or(|address| parts.addresses().any(|own| own == address))
        };
        let (total, capacity, places) = {
            let register = reader.register();
            (register.len() as u64, register.capacity() as u64, register.places())
        };
        let mut list =
            HostList { total, capacity, total_matched: 0, truncated: false, next: None, hosts: vec![] };
        let mut take = |host: HostRef<'_>| {
            list.total_matched += 1;
            if list.hosts.len() < filter.limit.get() {
                list.hosts.push(shown(reader, &host));
            } else if list.next.is_none() {
                list.next = Some(host.id.place());
            }
        };
        if let Some(name) = &filter.name {
            let register = reader.register();
            let host = register.by_name(name).ok_or_else(|| unknown(name))?.host;
            Some(host).filter(matches).into_iter().for_each(&mut take);
        } else if let (Some(realm), Some(address)) = (wanted, filter.address) {
            reader.register().by_address(realm, address).filter(matches).into_iter().for_each(&mut take);
        } else {
            for first in (filter.from..places).step_by(LOOKED as usize) {
                let register = reader.register();
                let piece = register.iter_from(first).take_while(|host| host.id.place() - first < LOOKED);
                piece.filter(matches).for_each(&mut take);
            }
        }
        list.truncated = list.next.is_some();
        Ok(list)
    }

    /// How an import goes.
    pub fn import(&self) -> Result<ImportShown, Refusal> {
        let status = self.edge()?.reader().import();
        let (mut refusal, mut bad_lines) = (None, vec![]);
        let state = match status.state {
            ImportState::Reading if status.number == 0 => ImportPhase::None,
            ImportState::Reading => ImportPhase::Reading,
            ImportState::Adopting => ImportPhase::Adopting,
            ImportState::Done => ImportPhase::Done,
            ImportState::Refused(lines, why) => {
                let bad = |l: crate::edge::hosts::import::BadLine| BadLine {
                    line: l.line,
                    key: l.key,
                    message: l.message,
                    hint: l.hint,
                };
                bad_lines = lines.into_iter().map(bad).collect();
                refusal = Some(why);
                ImportPhase::Refused
            }
        };
        let progress = status.progress;
        Ok(ImportShown {
            number: status.number,
            state,
            lines: progress.lines,
            hosts: progress.hosts,
            bytes_read: progress.bytes,
            bytes: progress.of,
            refusal,
            bad_lines,
        })
    }
}

pub(super) fn unknown(name: &str) -> Refusal {
    Refusal::new(format!("no host is named \"{name}\""), "see who is there: cesctl host show")
}

fn wrong(wrong: HostWrong) -> Refusal {
    Refusal::new(format!("{}: {}", wrong.key, wrong.message), wrong.hint)
}

pub(super) fn refused(refused: Refused) -> Refusal {
    let hint = match &refused {
        Refused::Conflict(conflict) => conflict.hint(),
        Refused::Store(_) => "mend that, and try again: nothing is changed",
        Refused::Import(_) => "nothing is changed",
        Refused::Rules(conflict) => conflict.hint(),
        Refused::RulesFull(_) => "see who has some: cesctl policy show",
        Refused::Waiting => "try again in a moment",
        Refused::Busy(_) => "wait until it is done: cesctl show import",
        Refused::Ending => "start cesd again",
    };
    Refusal::new(refused.to_string(), hint)
}

/// The words of the socket as the configuration judges them.
fn text(entry: &HostEntry) -> HostText {
    let service = |s: &ServiceEntry| ServiceText {
        name: s.name.clone(),
        protocol: s.protocol.clone(),
        port: s.port.clone(),
    };
    HostText {
        name: entry.name.clone(),
        realm: entry.realm.clone(),
        addresses: entry.addresses.clone(),
        group: entry.group.clone(),
        services: entry.services.iter().map(service).collect(),
        pending_reservations: entry.pending_reservations,
        reservations_per_second: entry.reservations_per_second,
    }
}

fn shown(reader: &Reader, host: &HostRef<'_>) -> HostStatus {
    let origin = match host.origin {
        Origin::Config => HostOrigin::Config,
        Origin::Runtime => HostOrigin::Runtime,
    };
    status(reader, &host.host(), origin)
}

fn status(reader: &Reader, host: &config::Host, origin: HostOrigin) -> HostStatus {
    let config = reader.config();
    let any = || "any".to_owned();
    let service = |s: &config::Service| ServiceEntry {
        name: s.name.to_string(),
        protocol: s.target.protocol.map_or_else(any, protocol_name),
        port: s.target.port.map_or_else(any, |port| port.to_string()),
    };
    let entry = Shown {
        name: host.name.to_string(),
        realm: config.realms.name(host.realm).unwrap_or_default().to_owned(),
        addresses: host.addresses.clone(),
        group: host.group.clone(),
        services: host.services.iter().map(service).collect(),
        pending_reservations: host.pending_reservations.unwrap_or(config.pending_reservations).into(),
        reservations_per_second: host
            .reservations_per_second
            .unwrap_or(config.reservations_per_second)
            .into(),
        dhcid: host.dhcid.as_ref().map(ToString::to_string),
    };
    HostStatus { origin, entry }
}
