//! The serving end of the operator's socket: one thread that waits in `poll` and takes turns with its clients.
//!
//! Guarantees: the socket is never open to others than its owner, not even for a moment; a socket left behind by a
//! killed process is replaced, one that is served is not; [`Server::stop`] returns as soon as the request at hand is
//! answered, and leaves no file. Never waits for a single client.
//!
//! The thread inherits the caller's core affinity and signal mask: set both before [`serve`].

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use nix::poll::{PollFd, PollFlags, poll};

use super::connection::Connection;
use super::protocol::refuse;
use super::{Commands, Source};

/// Clients served at once; the next one gets a refusal and is closed.
pub const CLIENTS_MAX: usize = 16;

/// How often idle clients are looked for, in milliseconds.
const TICK_MS: u16 = 1_000;

/// A rest after a failure of the system's that the next attempt may meet again.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// Why the operator's socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} answers already: another cesd runs as this instance; stop it or choose another instance name", .0.display())]
    InUse(PathBuf),
    #[error("{} is in the way and no socket; move it, or choose another runtime directory", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot make the socket {}: {source}; the runtime directory must be writable and the path shorter than 100 bytes", .path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot start the management thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Tells our socket file from one that has taken its place.
    inode: u64,
    /// Closing it tells the thread to end.
    running: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Answers requests at `path` from `source`, and passes commands to `commands`, until the [`Server`] is stopped or dropped. Makes the directory of `path`
/// if it does not exist.
pub fn serve(path: &Path, source: Arc<dyn Source>, commands: Arc<dyn Commands>) -> Result<Server, Error> {
    let failed = |source| Error::Listen { path: path.to_owned(), source };
    make_way(path)?;
    let (listener, inode) = listen(path).map_err(failed)?;
    let (running, stopped) = UnixStream::pair().map_err(failed)?;
    let mut server = Server { path: path.to_owned(), inode, running: Some(running), thread: None };
    let thread = thread::Builder::new()
        .name("ces-manage".into())
        .spawn(move || run(&listener, &stopped, &*source, &*commands))
        .map_err(Error::Thread)?;
    server.thread = Some(thread);
    Ok(server)
}

impl Server {
    /// Ends the thread, closes every client and removes the socket file.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the management thread panicked");
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Refuses a path where someone answers, or that is no socket. A dead socket may stay: [`listen`] replaces it.
fn make_way(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(Error::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(Error::InUse(path.to_owned())),
        _ => Ok(()),
    }
}

/// Binds under a name that nobody asks for, closes it to others, and only then renames it to `path`.
fn listen(path: &Path) -> io::Result<(UnixListener, u64)> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(".new");
    match fs::remove_file(&hidden) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let inode = fs::symlink_metadata(&hidden)?.ino();
    fs::rename(&hidden, path)?;
    Ok((listener, inode))
}

/// The management thread: until the other end of `stopped` closes.
fn run(listener: &UnixListener, stopped: &UnixStream, source: &dyn Source, commands: &dyn Commands) {
    let started = Instant::now();
    let mut clients: ArrayVec<Connection, CLIENTS_MAX> = ArrayVec::new();
    while !wait(listener, stopped, &clients) {
        let now_ms = started.elapsed().as_millis() as u32;
        clients.retain(|client| client.turn(source, commands, now_ms));
        accept(listener, &mut clients, now_ms);
    }
}

/// Waits until someone needs a turn or a tick has passed; true when the server is to stop.
fn wait(listener: &UnixListener, stopped: &UnixStream, clients: &[Connection]) -> bool {
    let mut fds: ArrayVec<PollFd, { CLIENTS_MAX + 2 }> = ArrayVec::new();
    fds.push(PollFd::new(stopped.as_fd(), PollFlags::POLLIN));
    fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
    fds.extend(clients.iter().map(|client| PollFd::new(client.as_fd(), client.wants())));
    match poll(&mut fds, TICK_MS) {
        Ok(_) => fds[0].any() == Some(true),
        Err(nix::errno::Errno::EINTR) => false,
        Err(error) => {
            tracing::warn!("the operator's socket cannot be polled: {error}");
            thread::sleep(FAILURE_PAUSE);
            false
        }
    }
}

/// Takes in one client that waits, if any, or refuses it when all places are taken.
fn accept(listener: &UnixListener, clients: &mut ArrayVec<Connection, CLIENTS_MAX>, now_ms: u32) {
    let admitted = listener.accept().and_then(|(stream, _)| {
        if clients.is_full() {
            return turn_away(stream);
        }
        clients.push(Connection::new(stream, now_ms)?);
        Ok(())
    });
    match admitted {
        Err(error) if error.kind() != ErrorKind::WouldBlock => {
            tracing::warn!("the operator's socket cannot take in a client: {error}");
            thread::sleep(FAILURE_PAUSE);
        }
        _ => {}
    }
}

/// Tells a client too many so. One that has gone already needs no telling.
fn turn_away(mut stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let line = refuse(
        format!("all {CLIENTS_MAX} places for clients are taken"),
        "try again in a minute, or close a client that is idle",
    );
    match stream.write(&line) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
