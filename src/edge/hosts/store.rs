//! The embedded store of what came at run time: one file, by redb, a copy-on-write B-tree with checksums.
//!
//! Table `hosts`: a host's name → the name of its realm (its length, its bytes) and [`Record::stored`]. Table `policies`: a host's
//! name → its user's rules in their words, a line each. Table `meta`: `format` → 1.
//!
//! Guarantees: a commit is on disk when it is answered, and whole or not there at all, however the process ends; the file is one
//! process's at a time. Never: holds more than [`CACHE`] bytes of the file in memory, or deletes a host because it does not fit
//! into this configuration. The rules of a host go with it, and with nothing else.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::change::Edit;
use super::record::Record;
use super::{Conflict, Origin, Register};
use crate::config::{DomainName, Host, Realms, UserRule};

const HOSTS: TableDefinition<&str, &[u8]> = TableDefinition::new("hosts");
const POLICIES: TableDefinition<&str, &str> = TableDefinition::new("policies");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;

/// Most bytes of the file in memory.
pub const CACHE: usize = 16 << 20;

/// Hosts that are left out by name in the log; of others only how many.
const NAMED: u64 = 10;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("hosts.store {}: {source}; another process may have it open, or the disk be full, read-only or damaged", .path.display())]
    Store { path: PathBuf, source: redb::Error },
    #[error("hosts.store {}: {source}; make its directory, or write another path", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("hosts.store {} is of format {found}, and this cesd knows {FORMAT}; use the cesd that wrote it, or another file", .path.display())]
    Format { path: PathBuf, found: u64 },
}

/// See the module.
pub struct Store {
    path: PathBuf,
    database: Database,
}

/// What was read of a store at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub hosts: u64,
    /// In the store, and not in the register: of a realm that is not there, or in conflict with the configuration.
    pub left_out: u64,
}

impl Store {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    /// Why it cannot be used. A file that is no store is left as it is.
    pub fn open(path: &Path) -> Result<Store, Error> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| Error::Directory { path: path.into(), source })?;
        }
        let failed = |source: redb::Error| Error::Store { path: path.into(), source };
        let database = Database::builder().set_cache_size(CACHE).create(path);
        let store = Store { path: path.into(), database: database.map_err(|e| failed(e.into()))? };
        let found = store.prepare().map_err(failed)?;
        if found != FORMAT {
            return Err(Error::Format { path: path.into(), found });
        }
        Ok(store)
    }

    /// Makes the tables where there are none; the format that it has.
    fn prepare(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_write()?;
        let found = {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format")?.map(|format| format.value());
            if found.is_none() {
                meta.insert("format", FORMAT)?;
                transaction.open_table(HOSTS)?;
            }
            // Stores that are older than the rules have no table for them.
            transaction.open_table(POLICIES)?;
            found
        };
        match found {
            None | Some(FORMAT) => transaction.commit()?,
            Some(_) => transaction.abort()?,
        }
        Ok(found.unwrap_or(FORMAT))
    }

    /// Reads every host into `register`. What does not fit there stays in the store.
    pub fn load(&self, register: &mut Register, realms: &Realms) -> Result<Loaded, Error> {
        self.read_all(register, realms).map_err(|source| self.failed(source))
    }

    fn read_all(&self, register: &mut Register, realms: &Realms) -> Result<Loaded, redb::Error> {
        let mut loaded = Loaded::default();
        for entry in self.database.begin_read()?.open_table(HOSTS)?.iter()? {
            let (name, value) = entry?;
            match take_in(register, realms, value.value()) {
                Ok(()) => loaded.hosts += 1,
                Err(why) => {
                    loaded.left_out += 1;
                    if loaded.left_out <= NAMED {
                        tracing::warn!("host \"{}\" of the store is left out: {why}", name.value());
                    }
                }
            }
        }
        Ok(loaded)
    }

    /// Writes edits, all or none, and waits until they are on disk.
    pub fn write(&self, edits: &[Edit], realms: &Realms) -> Result<(), Error> {
        let mut batch = self.begin()?;
        let remove = || -> Result<(), redb::Error> {
            let mut table = batch.transaction.open_table(HOSTS)?;
            for (_, name) in edits.iter().filter_map(|edit| edit.old.as_ref()) {
                table.remove(name.as_str())?;
            }
            let mut policies = batch.transaction.open_table(POLICIES)?;
            for name in edits.iter().filter_map(Edit::gone) {
                policies.remove(name.as_str())?;
            }
            Ok(())
        };
        remove().map_err(|source| self.failed(source))?;
        let new: Vec<_> = edits.iter().filter_map(|edit| edit.new.as_ref()).collect();
        let new: Vec<_> = new.iter().map(|host| (host.name.as_str(), Record::new(host))).collect();
        batch.insert(&new, realms)?;
        batch.commit()
    }

    /// Writes the rules of a host's user, in the place of those that it has, and waits until they are on disk.
    pub fn write_rules(&self, host: &DomainName, rules: &[UserRule]) -> Result<(), Error> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(POLICIES)?;
                if rules.is_empty() {
                    table.remove(host.as_str())?;
                } else {
                    let lines: Vec<String> = rules.iter().map(UserRule::to_string).collect();
                    table.insert(host.as_str(), lines.join("\n").as_str())?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|source| self.failed(source))
    }

    /// Shows the rules of every host that has some; `None` for rules that cannot be read.
    pub fn load_rules(&self, mut show: impl FnMut(DomainName, Option<Vec<UserRule>>)) -> Result<(), Error> {
        let mut read = || -> Result<(), redb::Error> {
            for entry in self.database.begin_read()?.open_table(POLICIES)?.iter()? {
                let (host, lines) = entry?;
                let Some(host) = DomainName::new(host.value()) else { continue };
                show(host, lines.value().lines().map(|line| UserRule::parse(line).ok()).collect());
            }
            Ok(())
        };
        read().map_err(|source| self.failed(source))
    }

    /// Begins a batch: nothing of it is there until it is committed.
    pub fn begin(&self) -> Result<Batch, Error> {
        let transaction = self.database.begin_write().map_err(|e| self.failed(e.into()))?;
        Ok(Batch { path: self.path.clone(), transaction })
    }

    fn failed(&self, source: redb::Error) -> Error {
        Error::Store { path: self.path.clone(), source }
    }
}

/// Many hosts that come at once, or not at all. Dropping it undoes it.
pub struct Batch {
    path: PathBuf,
    transaction: WriteTransaction,
}

impl Batch {
    /// Adds hosts, each by its name, in the place of those that are there.
    pub fn insert(&mut self, hosts: &[(&str, Record)], realms: &Realms) -> Result<(), Error> {
        let write = || -> Result<(), redb::Error> {
            let mut table = self.transaction.open_table(HOSTS)?;
            let mut value = Vec::new();
            for (name, record) in hosts {
                let realm = realms.name(record.parts().realm).unwrap_or_default();
                value.clear();
                value.push(realm.len() as u8);
                value.extend(realm.as_bytes());
                value.extend(record.stored());
                table.insert(*name, value.as_slice())?;
            }
            Ok(())
        };
        write().map_err(|source| Error::Store { path: self.path.clone(), source })
    }

    /// Waits until all of it is on disk.
    pub fn commit(self) -> Result<(), Error> {
        let Batch { path, transaction } = self;
        transaction.commit().map_err(|source| Error::Store { path, source: source.into() })
    }
}

/// Why a host of the store is none here.
#[derive(Debug, thiserror::Error)]
enum LeftOut {
    #[error("it cannot be read")]
    Unreadable,
    #[error("no inside realm is named \"{0}\"")]
    NoRealm(String),
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

fn take_in(register: &mut Register, realms: &Realms, value: &[u8]) -> Result<(), LeftOut> {
    let host = read(realms, value)?;
    register.insert(&host, Origin::Runtime, false)?;
    Ok(())
}

fn read(realms: &Realms, value: &[u8]) -> Result<Host, LeftOut> {
    let (length, rest) = value.split_first().ok_or(LeftOut::Unreadable)?;
    let (realm, stored) = rest.split_at_checked(usize::from(*length)).ok_or(LeftOut::Unreadable)?;
    let realm = std::str::from_utf8(realm).map_err(|_| LeftOut::Unreadable)?;
    let id = realms.id(realm).ok_or_else(|| LeftOut::NoRealm(realm.into()))?;
    Record::read_stored(id, stored).ok_or(LeftOut::Unreadable)
}
