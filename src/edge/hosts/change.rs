//! What may become of one host: added, removed, an address given or taken.
//!
//! Guarantees: a [`Change`] is judged whole before anything is done; [`Edit`] says what to write into the store and into the
//! register, so that both come to the same. Never: changes anything itself.

use std::net::IpAddr;

use super::{Conflict, HostId, Origin, Register};
use crate::config::{Dhcid, DomainName, Host};

/// A change of one host, as the operator or a DNS update (RFC 2136) wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `replace`: in the place of the host of that name, if there is one.
    Add {
        host: Host,
        replace: bool,
    },
    Remove {
        name: DomainName,
    },
    /// RFC 2136 section 3.4.2.2: what the host has already is had.
    AddAddress {
        name: DomainName,
        address: IpAddr,
    },
    /// RFC 2136 section 3.4.2.4 ignores what is not there; the operator is told.
    RemoveAddress {
        name: DomainName,
        address: IpAddr,
    },
    /// What a DHCP server knows of it: these and no others.
    ReplaceLease {
        name: DomainName,
        addresses: Vec<IpAddr>,
        dhcid: Option<Dhcid>,
    },
}

impl Change {
    /// The host that it is of.
    pub fn name(&self) -> &DomainName {
        match self {
            Change::Add { host, .. } => &host.name,
            Change::Remove { name }
            | Change::AddAddress { name, .. }
            | Change::RemoveAddress { name, .. }
            | Change::ReplaceLease { name, .. } => name,
        }
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The host that goes.
    pub old: Option<(HostId, DomainName)>,
    /// The host that comes.
    pub new: Option<Host>,
}

impl Edit {
    /// The name of a host that goes, and that none comes in the place of.
    pub fn gone(&self) -> Option<&DomainName> {
        self.old.as_ref().filter(|_| self.new.is_none()).map(|(_, name)| name)
    }
}

impl Register {
    /// What `change` comes to; `None` if all is so already.
    ///
    /// # Errors
    /// What is in its way.
    pub fn judge(&self, change: &Change) -> Result<Option<Edit>, Conflict> {
        self.judge_after(change, &[])
    }

    /// What `changes`, of as many hosts, come to, one after another: what one gives up a later one may take. Those that change
    /// nothing are left out.
    ///
    /// # Errors
    /// What is in the way of one; two changes of one host are in each other's.
    pub fn judge_all(&self, changes: &[Change]) -> Result<Vec<Edit>, Conflict> {
        let mut edits: Vec<Edit> = Vec::with_capacity(changes.len());
        for (at, change) in changes.iter().enumerate() {
            if changes[..at].iter().any(|earlier| earlier.name() == change.name()) {
                return Err(Conflict::Twice(change.name().to_string()));
            }
            edits.extend(self.judge_after(change, &edits)?);
        }
        Ok(edits)
    }

    fn judge_after(&self, change: &Change, earlier: &[Edit]) -> Result<Option<Edit>, Conflict> {
        let host = match change {
            Change::Add { host, replace } => {
                let old = self.check_after(host, *replace, earlier)?;
                let old = old.map(|id| (id, host.name.clone()));
                return Ok(Some(Edit { old, new: Some(host.clone()) }));
            }
            Change::Remove { name } => {
                let (id, _) = self.changeable(name)?;
                return Ok(Some(Edit { old: Some((id, name.clone())), new: None }));
            }
            Change::AddAddress { name, address } => {
                let (_, mut host) = self.changeable(name)?;
                if !host.addresses.contains(address) {
                    host.addresses.push(*address);
                }
                host
            }
            Change::RemoveAddress { name, address } => {
                let (_, mut host) = self.changeable(name)?;
                if !host.addresses.contains(address) {
                    return Err(Conflict::NoSuchAddress { name: name.to_string(), address: *address });
                }
                host.addresses.retain(|own| own != address);
                host
            }
            Change::ReplaceLease { name, addresses, dhcid } => {
                let (_, mut host) = self.changeable(name)?;
                host.dhcid = dhcid.clone();
                host.addresses.clear();
                for address in addresses {
                    if !host.addresses.contains(address) {
                        host.addresses.push(*address);
                    }
                }
                host
            }
        };
        if host.addresses.len() > Host::ADDRESSES_MAX {
            return Err(Conflict::ManyAddresses { name: host.name.to_string() });
        }
        let (id, before) = self.changeable(&host.name)?;
        if before == host {
            return Ok(None);
        }
        self.check_after(&host, true, earlier)?;
        Ok(Some(Edit { old: Some((id, host.name.clone())), new: Some(host) }))
    }

    /// Does what [`Register::judge`] has said, with nothing changed since.
    pub fn apply(&mut self, edit: &Edit) -> Option<HostId> {
        let is_replaced = |host: &Host| edit.old.as_ref().is_some_and(|(_, name)| *name == host.name);
        if let Some((old, _)) = edit.old.as_ref().filter(|_| !edit.new.as_ref().is_some_and(is_replaced)) {
            self.remove(*old);
        }
        // Judged: it fits.
        edit.new.as_ref().and_then(|host| self.insert(host, Origin::Runtime, true).ok())
    }

    /// A host that may be changed at run time.
    fn changeable(&self, name: &DomainName) -> Result<(HostId, Host), Conflict> {
        let host = self.host(name).ok_or_else(|| Conflict::Unknown(name.to_string()))?;
        match host.origin {
            Origin::Config => Err(Conflict::Configured(name.to_string())),
            Origin::Runtime => Ok((host.id, host.host())),
        }
    }
}
