//! The thread `ces-edge`: alone it changes what the edge's rooms keep, by typed commands: the host register, and the rules that users
//! have for their hosts.
//!
//! Others read the register where it is, by [`Reader`]: the owner excludes them for one change or a few hundred hosts of an import,
//! and never while it reads or writes a file, so that a reader waits for microseconds.
//!
//! Guarantees: a change is on disk (where there is a store) before it is in the register, and in the register before it is answered;
//! changes are made one after another, each whole or not at all; while an import is under way other changes are refused at once.
//! Never: waits for a reader that keeps nothing, or for a worker.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::hosts::change::{Change, Edit};
use super::hosts::import::{self, Import, Progress, Step};
use super::hosts::store::{self, Store};
use super::hosts::{Adoption, Conflict, Origin, Register};
use super::policy::{self, Engine};
use crate::config::{DomainName, Host, Hosts, Policy, UserRule};

/// Commands that wait.
const QUEUE: usize = 64;

/// Hosts of an import that are taken into the register at a time.
const ADOPTED: usize = 256;

/// Why the thread does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the thread ces-edge: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
    #[error("the thread ces-edge cannot run on core {core}: {source}; set workers.control_core")]
    Core { core: usize, source: nix::Error },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("[[host]] \"{name}\": {conflict}; {}", conflict.hint())]
    Host { name: String, conflict: Conflict },
    #[error("the store has rules of {0} hosts more than hosts.capacity; raise it")]
    Rules(u64),
    #[error("the thread ces-edge ended; see the log")]
    Ended,
}

/// Why a command was not carried out. Nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Rules(#[from] policy::hosts::Conflict),
    #[error(transparent)]
    RulesFull(#[from] policy::hosts::Full),
    #[error("an import is under way, at line {0}")]
    Busy(u64),
    #[error("{QUEUE} commands wait already")]
    Waiting,
    #[error("cesd is ending")]
    Ending,
}

/// What a change has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// False where all was so already.
    pub changed: bool,
    /// There was such a host before.
    pub was_there: bool,
    /// The host as it is, or as it was before it was removed.
    pub host: Host,
}

/// The last import.
#[derive(Clone, Debug, Default)]
pub struct ImportStatus {
    /// Which it is: 1, 2, …; 0 where there was none.
    pub number: u64,
    pub progress: Progress,
    pub state: ImportState,
}

impl ImportStatus {
    /// Refuses what may not be done beside an import: asked before the thread is, which may be writing for seconds.
    fn busy(&self) -> Result<(), Refused> {
        let is_under_way = matches!(self.state, ImportState::Reading | ImportState::Adopting);
        if self.number > 0 && is_under_way { Err(Refused::Busy(self.progress.lines)) } else { Ok(()) }
    }
}

/// See [`ImportStatus`].
#[derive(Clone, Debug, Default)]
pub enum ImportState {
    /// Lines are read; nothing is changed yet.
    #[default]
    Reading,
    /// All lines are right and on disk; hosts come into the register.
    Adopting,
    Done,
    /// Nothing was changed: the bad lines, or what else it was.
    Refused(Vec<import::BadLine>, String),
}

enum Command {
    Change(Change, Sender<Result<Changed, Refused>>),
    ChangeAll(Vec<Change>, Sender<Result<(), Refused>>),
    Import { path: PathBuf, replace: bool, answer: Sender<Result<u64, Refused>> },
    Rules(policy::hosts::Change, Sender<Result<Vec<UserRule>, Refused>>),
}

struct Shared {
    hosts: Arc<Hosts>,
    register: RwLock<Register>,
    policy: RwLock<Engine>,
    import: Mutex<ImportStatus>,
}

/// Reads the register.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

impl Reader {
    /// The register, to be looked up in and let go.
    pub fn register(&self) -> RwLockReadGuard<'_, Register> {
        self.0.register.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy engine, to be asked and let go. Whoever needs the register too takes that first.
    pub fn policy(&self) -> RwLockReadGuard<'_, Engine> {
        self.0.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the configuration says of it.
    pub fn config(&self) -> &Hosts {
        &self.0.hosts
    }

    /// The import that is under way, or was the last.
    pub fn import(&self) -> ImportStatus {
        self.0.import.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Has changes made by a thread that may not wait for them. Keeps nobody alive: after the [`Edge`] all is refused.
#[derive(Clone)]
pub struct Changer {
    reader: Reader,
    commands: Weak<Sender<Command>>,
}

impl Changer {
    /// Begins to change several hosts, all or none, in this order: `answer` hears when that is on disk and in force. It has room
    /// for the answer, or its owner waits.
    ///
    /// # Errors
    /// Why it is not even tried; `answer` hears nothing.
    pub fn change_all(
        &self,
        changes: Vec<Change>,
        answer: Sender<Result<(), Refused>>,
    ) -> Result<(), Refused> {
        self.reader.import().busy()?;
        let commands = self.commands.upgrade().ok_or(Refused::Ending)?;
        commands.try_send(Command::ChangeAll(changes, answer)).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Waiting,
            TrySendError::Disconnected(_) => Refused::Ending,
        })
    }
}

/// The running thread. Dropping it ends it; an import under way comes to nothing.
pub struct Edge {
    reader: Reader,
    commands: Option<Arc<Sender<Command>>>,
    thread: Option<JoinHandle<()>>,
}

impl Edge {
    /// Reads the store, and starts the thread on `core`, or where the caller runs.
    ///
    /// # Errors
    /// Why the register cannot be had as it is configured.
    pub fn start(hosts: Hosts, policy: Arc<Policy>, core: Option<usize>) -> Result<Edge, Error> {
        let hosts = Arc::new(hosts);
        let (register, store) = open(&hosts)?;
        let policy = open_policy(policy, &hosts, store.as_ref())?;
        let (register, policy, import) = (RwLock::new(register), RwLock::new(policy), Mutex::default());
        let shared = Arc::new(Shared { hosts, register, policy, import });
        let (commands, receiver) = bounded(QUEUE);
        let (ready, is_ready) = bounded(1);
        let owner = Owner { shared: shared.clone(), store, import: None };
        let run = move || {
            let pinned = core.map_or(Ok(()), pin);
            let is_pinned = pinned.is_ok();
            let _ = ready.send(pinned);
            if is_pinned {
                owner.run(&receiver);
            }
        };
        let thread = thread::Builder::new().name("ces-edge".into()).spawn(run).map_err(Error::Thread)?;
        let edge = Edge { reader: Reader(shared), commands: Some(Arc::new(commands)), thread: Some(thread) };
        is_ready.recv().map_err(|_| Error::Ended)??;
        Ok(edge)
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// For a thread that may not wait.
    pub fn changer(&self) -> Changer {
        let commands = self.commands.as_ref().map(Arc::downgrade).unwrap_or_default();
        Changer { reader: self.reader.clone(), commands }
    }

    /// Changes one host; returns when that is on disk and in force.
    pub fn change(&self, change: Change) -> Result<Changed, Refused> {
        self.reader.import().busy()?;
        let (answer, answered) = bounded(1);
        self.send(Command::Change(change, answer))?;
        answered.recv().map_err(|_| Refused::Ending)?
    }

    /// Changes the rules of a host's user; returns when that is on disk and in force, what they are then.
    pub fn change_rules(&self, change: policy::hosts::Change) -> Result<Vec<UserRule>, Refused> {
        self.reader.import().busy()?;
        let (answer, answered) = bounded(1);
        self.send(Command::Rules(change, answer))?;
        answered.recv().map_err(|_| Refused::Ending)?
    }

    /// Begins to import a file; [`Reader::import`] tells how it goes. The number of the import.
    pub fn import(&self, path: PathBuf, replace: bool) -> Result<u64, Refused> {
        self.reader.import().busy()?;
        let (answer, answered) = bounded(1);
        self.send(Command::Import { path, replace, answer })?;
        answered.recv().map_err(|_| Refused::Ending)?
    }

    fn send(&self, command: Command) -> Result<(), Refused> {
        let commands = self.commands.as_ref().ok_or(Refused::Ending)?;
        commands.send(command).map_err(|_| Refused::Ending)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ces-edge panicked");
        }
    }
}

/// The register with the hosts of the configuration, then those of the store.
fn open(hosts: &Hosts) -> Result<(Register, Option<Store>), Error> {
    let mut register = Register::new(hosts.capacity as usize);
    for host in &hosts.hosts {
        let inserted = register.insert(host, Origin::Config, false);
        inserted.map_err(|conflict| Error::Host { name: host.name.to_string(), conflict })?;
    }
    let Some(path) = &hosts.store else { return Ok((register, None)) };
    let store = Store::open(path)?;
    let loaded = store.load(&mut register, &hosts.realms)?;
    tracing::info!(
        "{} hosts of {}, {} of the configuration",
        loaded.hosts,
        path.display(),
        hosts.hosts.len()
    );
    if loaded.left_out > 0 {
        tracing::warn!(
            "{} hosts of {} are left out, and stay there: remove what is in their way and start cesd again",
            loaded.left_out,
            path.display()
        );
    }
    Ok((register, Some(store)))
}

/// The policy engine, with the users' rules of the store.
fn open_policy(policy: Arc<Policy>, hosts: &Hosts, store: Option<&Store>) -> Result<Engine, Error> {
    let mut engine = Engine::new(policy, hosts.capacity as usize);
    let mut left_out = 0;
    let take_in = |host: DomainName, rules: Option<Vec<UserRule>>| {
        let rules = rules.unwrap_or_else(|| {
            tracing::error!("the rules of host \"{host}\" in the store cannot be read: it is closed to all");
            policy::hosts::closed()
        });
        left_out += u64::from(engine.set_user_rules(&host, rules).is_err());
    };
    store.map_or(Ok(()), |store| store.load_rules(take_in))?;
    if left_out > 0 {
        // What they forbid would be allowed.
        return Err(Error::Rules(left_out));
    }
    Ok(engine)
}

fn pin(core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    pinned.map_err(|source| Error::Core { core, source })
}

/// What the thread has.
struct Owner {
    shared: Arc<Shared>,
    store: Option<Store>,
    import: Option<Work>,
}

/// What is to be done of an import.
enum Work {
    Read(Box<Import>),
    Adopt(Adoption),
}

impl Owner {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let command = match &self.import {
                None => commands.recv().map_err(|_| TryRecvError::Disconnected),
                Some(_) => commands.try_recv(),
            };
            match command {
                Ok(command) => self.carry_out(command),
                Err(TryRecvError::Empty) => {}
                // What is on disk would come at the next start; what is not never was.
                Err(TryRecvError::Disconnected) => return,
            }
            if let Some(work) = self.import.take() {
                self.import = self.work(work);
            }
        }
    }

    /// Whoever asked may have gone: then nobody hears the answer.
    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Change(change, answer) => drop(answer.send(self.change(&change))),
            Command::ChangeAll(changes, answer) => drop(answer.send(self.change_all(&changes))),
            Command::Import { path, replace, answer } => drop(answer.send(self.begin(path, replace))),
            Command::Rules(change, answer) => drop(answer.send(self.change_rules(&change))),
        }
    }

    fn change(&mut self, change: &Change) -> Result<Changed, Refused> {
        self.status().busy()?;
        let (edit, before) = {
            let register = self.register();
            let edit = register.judge(change)?;
            (edit, register.host(change.name()).map(|host| host.host()))
        };
        let was_there = before.is_some();
        let host = |new: Option<Host>| new.or(before).ok_or(Refused::Ending);
        let Some(edit) = edit else { return Ok(Changed { changed: false, was_there, host: host(None)? }) };
        if let Some(store) = &self.store {
            store.write(std::slice::from_ref(&edit), &self.shared.hosts.realms)?;
        }
        self.apply(std::slice::from_ref(&edit));
        Ok(Changed { changed: true, was_there, host: host(edit.new)? })
    }

    fn change_all(&mut self, changes: &[Change]) -> Result<(), Refused> {
        self.status().busy()?;
        let edits = self.register().judge_all(changes)?;
        if edits.is_empty() {
            return Ok(());
        }
        if let Some(store) = &self.store {
            store.write(&edits, &self.shared.hosts.realms)?;
        }
        self.apply(&edits);
        Ok(())
    }

    /// Does what is on disk.
    fn apply(&self, edits: &[Edit]) {
        {
            let mut register = self.register_mut();
            for edit in edits {
                register.apply(edit);
            }
        }
        for host in edits.iter().filter_map(Edit::gone) {
            // Whoever has the name next begins without its rules. Taking away fits always.
            let _ = self.policy_mut().set_user_rules(host, Vec::new());
        }
    }

    fn change_rules(&mut self, change: &policy::hosts::Change) -> Result<Vec<UserRule>, Refused> {
        self.status().busy()?;
        let host = change.host();
        if self.register().host(host).is_none() {
            return Err(Conflict::Unknown(host.to_string()).into());
        }
        let rules = {
            let policy = self.shared.policy.read().unwrap_or_else(PoisonError::into_inner);
            let rules = policy::hosts::changed(policy.users().of(host), change)?;
            policy.users().check_room(host)?;
            rules
        };
        if let Some(store) = &self.store {
            store.write_rules(host, &rules)?;
        }
        self.policy_mut().set_user_rules(host, rules.clone())?;
        Ok(rules)
    }

    fn begin(&mut self, path: PathBuf, replace: bool) -> Result<u64, Refused> {
        self.status().busy()?;
        let import = Import::open(&path, replace, &self.register(), self.store.as_ref())?;
        let mut status = self.status();
        let (number, progress) = (status.number + 1, import.progress());
        *status = ImportStatus { number, progress, state: ImportState::Reading };
        drop(status);
        self.import = Some(Work::Read(Box::new(import)));
        Ok(number)
    }

    /// Goes on with an import; what is then left of it.
    fn work(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Read(mut import) => {
                let step = import.step(&self.register(), &self.shared.hosts.realms);
                let mut status = self.status();
                status.progress = import.progress();
                match step {
                    Ok(Step::More) => Some(Work::Read(import)),
                    Ok(Step::Ready(adoption)) => {
                        status.state = ImportState::Adopting;
                        Some(Work::Adopt(adoption))
                    }
                    Err(error) => {
                        let text = error.to_string();
                        tracing::warn!("an import came to nothing: {text}");
                        let lines = if let import::Error::Lines(lines) = error { lines } else { vec![] };
                        status.state = ImportState::Refused(lines, text);
                        None
                    }
                }
            }
            Work::Adopt(mut adoption) => {
                let is_more = self.register_mut().adopt(&mut adoption, ADOPTED);
                if is_more {
                    return Some(Work::Adopt(adoption));
                }
                let mut status = self.status();
                status.state = ImportState::Done;
                tracing::info!("{} hosts are imported", status.progress.hosts);
                None
            }
        }
    }

    fn register(&self) -> RwLockReadGuard<'_, Register> {
        self.shared.register.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn register_mut(&self) -> RwLockWriteGuard<'_, Register> {
        self.shared.register.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy_mut(&self) -> RwLockWriteGuard<'_, Engine> {
        self.shared.policy.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> std::sync::MutexGuard<'_, ImportStatus> {
        self.shared.import.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
