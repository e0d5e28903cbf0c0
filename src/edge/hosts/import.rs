//! Many hosts at once, out of a file: one JSON object (RFC 8259) a line, with the keys of a `[[host]]`; empty lines are skipped.
//!
//! `{"name":"a.ces.example","realm":"home","addresses":["10.0.0.2"],"services":[{"name":"www.ces.example","protocol":"tcp","port":443}]}`
//!
//! Guarantees: all of the file or nothing of it: each line is judged against the register and against the lines before, and
//! only when all are right, and on disk, does the register change. Goes on by steps of [`STEP`] lines, so that its owner
//! has time for others, provided that nobody changes the register meanwhile. A line is at most [`LINE_MAX`] bytes long, and after
//! [`REFUSALS_MAX`] bad ones no more are read. Never: holds more of the file than a step.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::record::Record;
use super::store::{self, Batch, Store};
use super::{Adoption, Conflict, Origin, Register, Size};
use crate::config::{Host, HostText, Realms};

/// Lines of a step.
pub const STEP: usize = 512;
/// Longest line in bytes.
pub const LINE_MAX: usize = 16 << 10;
/// Bad lines that are told.
pub const REFUSALS_MAX: usize = 10;

/// A line that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    /// Which key; empty where the line is no such object.
    pub key: String,
    pub message: String,
    pub hint: String,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}; give the path of a file that cesd may read", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{} line(s) are refused", .0.len())]
    Lines(Vec<BadLine>),
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub lines: u64,
    pub hosts: u64,
    pub bytes: u64,
    /// Bytes of the file.
    pub of: u64,
}

/// An import under way. Dropping it is to have done nothing.
pub struct Import {
    path: PathBuf,
    file: BufReader<File>,
    replace: bool,
    progress: Progress,
    /// The hosts to come, which have no conflicts among themselves.
    staged: Register,
    /// What the hosts take whose places they will have.
    going: Size,
    batch: Option<Batch>,
    refused: Vec<BadLine>,
}

/// What a step has come to.
pub enum Step {
    /// There is more to do.
    More,
    /// All lines are right, and on disk: these are to be taken into the register.
    Ready(Adoption),
}

impl Import {
    /// Opens the file. Hosts may take the place of those of the same name where `replace` says so.
    pub fn open(
        path: &Path,
        replace: bool,
        register: &Register,
        store: Option<&Store>,
    ) -> Result<Import, Error> {
        let failed = |source| Error::File { path: path.into(), source };
        let is_file = std::fs::metadata(path).map_err(failed)?.is_file();
        if !is_file {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file")));
        }
        let file = File::open(path).map_err(failed)?;
        let of = file.metadata().map_err(failed)?.len();
        Ok(Import {
            path: path.into(),
            file: BufReader::with_capacity(1 << 16, file),
            replace,
            progress: Progress { of, ..Progress::default() },
            staged: Register::new(register.capacity()),
            going: Size::default(),
            batch: store.map(Store::begin).transpose()?,
            refused: Vec::new(),
        })
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Reads [`STEP`] lines more.
    pub fn step(&mut self, register: &Register, realms: &Realms) -> Result<Step, Error> {
        let mut records = Vec::with_capacity(STEP);
        let mut is_over = false;
        for _ in 0..STEP {
            let Some(line) = self.line()? else {
                is_over = true;
                break;
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.take(&line, register, realms) {
                Ok(host) => records.push((host.name.clone(), Record::new(&host))),
                Err(bad) => self.refused.push(bad),
            }
            if self.refused.len() == REFUSALS_MAX {
                is_over = true;
                break;
            }
        }
        if !self.refused.is_empty() {
            // Nothing will come of it: the store need not be written any more.
            self.batch = None;
        }
        if let Some(batch) = &mut self.batch {
            let records: Vec<(&str, Record)> =
                records.iter().map(|(name, record)| (name.as_str(), record.clone())).collect();
            batch.insert(&records, realms)?;
        }
        if !is_over {
            return Ok(Step::More);
        }
        if !self.refused.is_empty() {
            return Err(Error::Lines(std::mem::take(&mut self.refused)));
        }
        self.batch.take().map(Batch::commit).transpose()?;
        Ok(Step::Ready(std::mem::replace(&mut self.staged, Register::new(0)).into_adoption()))
    }

    /// The next line, without its end; at most one byte more than [`LINE_MAX`] of it.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        let mut line = Vec::with_capacity(256);
        let read =
            self.file.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        self.progress.bytes += read as u64;
        self.progress.lines += 1;
        match line.last() {
            Some(b'\n') => drop(line.pop()),
            _ if read > LINE_MAX => self.skip_line()?,
            _ => {}
        }
        Ok(Some(line))
    }

    /// Reads on to the end of a line that is too long.
    fn skip_line(&mut self) -> Result<(), Error> {
        let skipped = self.file.skip_until(b'\n');
        self.progress.bytes +=
            skipped.map_err(|source| Error::File { path: self.path.clone(), source })? as u64;
        Ok(())
    }

    /// Stages the host that a line is.
    fn take(&mut self, line: &[u8], register: &Register, realms: &Realms) -> Result<Host, BadLine> {
        let number = self.progress.lines;
        let bad = |key: &str, message: String, hint: &str| BadLine {
            line: number,
            key: key.into(),
            message,
            hint: hint.into(),
        };
        if line.len() > LINE_MAX {
            return Err(bad("", format!("is longer than {LINE_MAX} bytes"), "write one host a line"));
        }
        let text: HostText = serde_json::from_slice(line).map_err(|error| {
            // Its line is always 1.
            let message = error.to_string().replace(" at line 1 column", " at column");
            bad("", message, r#"write {"name":"…","realm":"…","addresses":["…"]}, one host a line"#)
        })?;
        let host = realms.judge(&text).map_err(|wrong| bad(wrong.key, wrong.message, &wrong.hint))?;
        let conflict = |conflict: Conflict, more: &str, hint: &str| {
            let key = match &conflict {
                Conflict::Name { name, .. } if *name != host.name.as_str() => "services.name",
                Conflict::Address { .. } => "addresses",
                _ => "name",
            };
            bad(key, format!("{conflict}{more}"), hint)
        };
        let of_register = |found: Conflict| {
            let hint = found.hint();
            conflict(found, "", hint)
        };
        let old = register.check(&host, self.replace).map_err(of_register)?;
        let mut coming = self.staged.size();
        coming += Size::of_host(&host);
        let mut going = self.going;
        going += old.and_then(|id| register.get(id)).map_or(Size::default(), |old| Size::of(&old.parts()));
        register.check_room(coming, going).map_err(of_register)?;
        let of_file = |found| conflict(found, ", which is on a line before", "remove one of the two");
        self.staged.insert(&host, Origin::Runtime, false).map_err(of_file)?;
        self.going = going;
        self.progress.hosts += 1;
        Ok(host)
    }
}
