//! The asking end of the operator's socket: what `cesctl` and the tests use.
//!
//! Guarantees: waits at most [`ANSWER_TIMEOUT`] for the next bytes and reads at most [`ANSWER_MAX`]. Never retries.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::protocol::{Refusal, Reply};

/// Longest silence that is borne.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
pub const ANSWER_MAX: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cesd is running at {}; start it with: cesd --config FILE", .0.display())]
    NotRunning(PathBuf),
    #[error("{} belongs to someone else; run as the user who runs cesd, or as root", .0.display())]
    Denied(PathBuf),
    #[error("cannot connect to {}: {source}; check that this is the socket of a running cesd", .path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Refused(Refusal),
    #[error("cesd closed the connection without an answer; it may be stopping: try again")]
    Closed,
    #[error("cesd has not answered for {} s; see its log, and whether it is stopped or starved", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    #[error("cesd's answer is longer than {ANSWER_MAX} bytes; ask for less, as with a lower limit")]
    TooLong,
    #[error("cesd's answer is not understood ({0}); use the cesctl of the same version")]
    NotUnderstood(#[from] serde_json::Error),
    #[error("the connection to cesd broke: {0}; try again")]
    Broken(io::Error),
}

/// A connection to a running `cesd`.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Client, Error> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NotRunning(path.to_owned()),
            ErrorKind::PermissionDenied => Error::Denied(path.to_owned()),
            _ => Error::Connect { path: path.to_owned(), source },
        })?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(Error::Broken)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(Error::Broken)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends a [`Request`](super::protocol::Request) or a command and returns the payload of the answer.
    pub fn ask(&mut self, request: &impl Serialize) -> Result<Value, Error> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.ask_line(&line)
    }

    /// Sends raw bytes, which should hold one line, and returns the payload of the next answer line.
    pub fn ask_line(&mut self, line: &[u8]) -> Result<Value, Error> {
        match self.stream.get_mut().write_all(line) {
            // A server that turned us away has closed its end: its reason waits to be read.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(broken(error)),
            _ => {}
        }
        let mut answer = Vec::new();
        match self.stream.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut answer) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Error::Closed),
            result => result.map_err(broken)?,
        };
        match (answer.last(), answer.len() as u64) {
            (Some(b'\n'), _) => {}
            (_, ANSWER_MAX) => return Err(Error::TooLong),
            _ => return Err(Error::Closed),
        }
        match serde_json::from_slice(&answer)? {
            Reply::Ok(payload) => Ok(payload),
            Reply::Error(refusal) => Err(Error::Refused(refusal)),
        }
    }
}

fn broken(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::TimedOut,
        _ => Error::Broken(error),
    }
}
