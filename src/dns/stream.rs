//! The thread `ces-dns-tcp`: DNS over TCP (RFC 7766) on sockets of the exception path's network namespace. It carries whole messages
//! to `ces-dns` and their answers back.
//!
//! Guarantees: at most [`CONNECTIONS_MAX`] connections, and [`SOURCE_MAX`] of a source (of IPv6 a /64); whoever is over that is closed
//! at once, who is silent, slow or sends rubbish a little later; each has a part of every round, so that none starves another.
//! Never: opens a socket, or answers by itself.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::Receiver;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::{Connection, Over, PIPELINED};
use super::counters::Counters;
use crate::ring::wake::Waking;

/// Connections in all.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections of one source.
pub const SOURCE_MAX: usize = 32;
/// Answers on their way: as many as questions can be.
pub const ANSWERS_MAX: usize = CONNECTIONS_MAX * PIPELINED;
/// Bytes that are read of one connection a round.
const READ: usize = 16_384;
/// Connections that are accepted a round.
const ACCEPTED: usize = 64;
/// Milliseconds of a round without anything.
const ROUND: u16 = 200;
/// Milliseconds after which a question is brought again that found no room.
const AGAIN: u16 = 1;
/// Milliseconds without accepting, when that failed.
const PAUSE: u64 = 100;

/// A message by TCP.
pub struct Question {
    pub connection: u64,
    pub address: IpAddr,
    /// The inside realm of the address that it came to; `None` outside.
    pub realm: Option<u16>,
    pub message: Vec<u8>,
}

/// What has become of one.
pub struct Answer {
    pub connection: u64,
    /// `None`: there is none.
    pub message: Option<Vec<u8>>,
}

/// A connection and its socket.
struct Open {
    socket: TcpStream,
    source: IpAddr,
    address: IpAddr,
    realm: Option<u16>,
    connection: Connection,
    /// The socket failed, or the other end has reset it.
    is_broken: bool,
}

/// See the module.
pub(super) struct Service {
    listeners: Vec<TcpListener>,
    /// The inside realm of each address of the edge's own.
    realms: HashMap<IpAddr, Option<u16>>,
    counters: Arc<Counters>,
    questions: Waking<Question>,
    answers: Receiver<Answer>,
    /// Readable where answers wait.
    woken: UnixStream,
    open: Vec<(u64, Open)>,
    sources: HashMap<IpAddr, usize>,
    next: u64,
    /// When it accepts again.
    accepts_from: u64,
}

impl Service {
    pub fn new(
        listeners: Vec<TcpListener>,
        realms: HashMap<IpAddr, Option<u16>>,
        counters: Arc<Counters>,
        questions: Waking<Question>,
        answers: Receiver<Answer>,
        woken: UnixStream,
    ) -> std::io::Result<Service> {
        listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        Ok(Service {
            listeners,
            realms,
            counters,
            questions,
            answers,
            woken,
            open: Vec::new(),
            sources: HashMap::new(),
            next: 0,
            accepts_from: 0,
        })
    }

    pub fn run(mut self, stop: &AtomicBool) {
        let start = Instant::now();
        let mut wait = ROUND;
        while !stop.load(Ordering::Acquire) {
            let ready = self.poll(wait, start.elapsed().as_millis() as u64);
            let now = start.elapsed().as_millis() as u64;
            self.take_answers(now);
            if ready.accepts {
                self.accept(now);
            }
            wait = if self.serve(&ready.sockets, now) { AGAIN } else { ROUND };
            self.close(now);
        }
    }

    /// Waits until something can be done: which sockets are ready, in the order of the connections.
    fn poll(&self, wait: u16, now: u64) -> Ready {
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        let listeners = if now >= self.accepts_from { &self.listeners[..] } else { &[] };
        fds.extend(listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        for (_, open) in &self.open {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::POLLIN, open.connection.wants_more());
            wanted.set(PollFlags::POLLOUT, !open.connection.to_send().is_empty());
            fds.push(PollFd::new(open.socket.as_fd(), wanted));
        }
        if let Err(error) = poll(&mut fds, PollTimeout::from(wait)) {
            if error != nix::errno::Errno::EINTR {
                tracing::warn!("DNS over TCP: the sockets cannot be polled: {error}");
                std::thread::sleep(std::time::Duration::from_millis(PAUSE));
            }
            return Ready { accepts: false, sockets: vec![PollFlags::empty(); self.open.len()] };
        }
        let flags = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let first = 1 + listeners.len();
        Ready {
            accepts: fds[1..first].iter().any(|fd| !flags(fd).is_empty()),
            sockets: fds[first..].iter().map(flags).collect(),
        }
    }

    fn take_answers(&mut self, now: u64) {
        let mut bytes = [0; 64];
        while matches!(self.woken.read(&mut bytes), Ok(1..)) {}
        while let Ok(Answer { connection, message }) = self.answers.try_recv() {
            // Numbers grow, and so they stand in order.
            match self.open.binary_search_by_key(&connection, |(number, _)| *number) {
                Ok(at) => self.open[at].1.connection.answered(message.as_deref(), now),
                Err(_) => self.counters.lost.add(u64::from(message.is_some())),
            }
        }
    }

    fn accept(&mut self, now: u64) {
        for at in 0..self.listeners.len() {
            for _ in 0..ACCEPTED {
                match self.listeners[at].accept() {
                    Ok((socket, _)) => self.admit(socket, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::warn!("DNS over TCP: a connection cannot be accepted: {error}");
                        self.accepts_from = now + PAUSE;
                        break;
                    }
                }
            }
        }
    }

    /// Takes a connection in, or closes it.
    fn admit(&mut self, socket: TcpStream, now: u64) {
        let ends = socket.peer_addr().and_then(|peer| Ok((peer, socket.local_addr()?)));
        let Ok((peer, local)) = ends else { return };
        let (address, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
        let source = source(address);
        let of_source = self.sources.get(&source).copied().unwrap_or(0);
        let is_welcome = self.open.len() < CONNECTIONS_MAX && of_source < SOURCE_MAX;
        let realm = self.realms.get(&local).copied().filter(|_| is_welcome);
        let (Some(realm), true) = (realm, socket.set_nonblocking(true).is_ok()) else {
            return self.counters.connections_refused.add(1);
        };
        // Answers are small, and each is waited for.
        let _ = socket.set_nodelay(true);
        self.sources.insert(source, of_source + 1);
        self.next += 1;
        let connection = Connection::new(now);
        self.open.push((self.next, Open { socket, source, address, realm, connection, is_broken: false }));
        self.counters.connections.add(1);
        self.counters.connections_open.set(self.open.len() as u64);
    }

    /// Reads, asks and writes; whether a question found no room. Connections that came in this round have no flags yet.
    fn serve(&mut self, flags: &[PollFlags], now: u64) -> bool {
        let mut bytes = [0; READ];
        let mut is_full = false;
        let flags = flags.iter().copied().chain(std::iter::repeat(PollFlags::empty()));
        for ((number, open), flags) in self.open.iter_mut().zip(flags) {
            if flags.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
                open.is_broken = true;
                continue;
            }
            if flags.contains(PollFlags::POLLIN) && open.connection.wants_more() {
                match open.socket.read(&mut bytes) {
                    Ok(length) => open.connection.received(&bytes[..length]),
                    Err(error) if is_for_later(error.kind()) => {}
                    Err(_) => open.is_broken = true,
                }
            }
            is_full |= open.ask(*number, &self.questions);
            open.write(now);
        }
        is_full
    }

    /// Closes what is over.
    fn close(&mut self, now: u64) {
        let Service { open, sources, counters, .. } = self;
        open.retain(|(_, open)| {
            let over = open.connection.is_over(now);
            match over {
                _ if open.is_broken => {}
                None => return true,
                Some(Over::Done) => {}
                Some(Over::Idle) => counters.connections_idle.add(1),
                Some(Over::Bad) => counters.connections_bad.add(1),
            }
            if let Some(count) = sources.get_mut(&open.source) {
                *count -= 1;
                if *count == 0 {
                    sources.remove(&open.source);
                }
            }
            false
        });
        counters.connections_open.set(open.len() as u64);
    }
}

/// What [`Service::poll`] has found.
struct Ready {
    accepts: bool,
    sockets: Vec<PollFlags>,
}

impl Open {
    /// Takes whole messages to the thread of the DNS; whether one found no room there.
    fn ask(&mut self, number: u64, questions: &Waking<Question>) -> bool {
        let (address, realm) = (self.address, self.realm);
        let mut is_full = false;
        let mut take = |message: &[u8]| {
            let message = message.to_vec();
            let question = Question { connection: number, address, realm, message };
            is_full = questions.try_send(question).is_err();
            !is_full
        };
        while self.connection.next_message(&mut take) {}
        is_full
    }

    fn write(&mut self, now: u64) {
        while !self.is_broken && !self.connection.to_send().is_empty() {
            match self.socket.write(self.connection.to_send()) {
                Ok(length) => self.connection.sent(length, now),
                Err(error) if is_for_later(error.kind()) => return,
                Err(_) => self.is_broken = true,
            }
        }
    }
}

fn is_for_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Who has a limit of its own: an IPv6 host owns its /64.
fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::{IDLE, SLOW};
    use super::*;
    use crate::ring::wake::Waker;
    use crossbeam::channel::{Sender, bounded, unbounded};
    use std::time::Duration;

    /// One that listens here, with `count` connections from here.
    fn service(count: usize) -> (Service, Vec<TcpStream>, Receiver<Question>, Sender<Answer>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let ((questions, asked), (answers, answered)) = (unbounded(), bounded(ANSWERS_MAX));
        let (_, woken) = UnixStream::pair().expect("two sockets");
        woken.set_nonblocking(true).expect("a socket");
        let realms = HashMap::from([(address.ip(), None)]);
        let counters = Arc::new(Counters::default());
        let questions = Waking::new(questions, &Waker::default());
        let mut service = Service::new(vec![listener], realms, counters.clone(), questions, answered, woken)
            .expect("sockets");
        let clients: Vec<TcpStream> =
            (0..count).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        while counters.connections.get() + counters.connections_refused.get() < count as u64 {
            service.accept(0);
        }
        (service, clients, asked, answers)
    }

    fn is_closed(client: &mut TcpStream) -> bool {
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        matches!(client.read(&mut [0; 9]), Ok(0) | Err(_))
    }

    #[test]
    fn who_is_silent_or_does_not_read_is_closed_and_counted() {
        let (mut service, mut clients, ..) = service(2);
        service.close(IDLE - 1);
        assert_eq!(service.open.len(), 2);
        // One asks, is answered, and does not read.
        service.open[1].1.connection.answered(Some(&[7; 100]), IDLE);
        service.close(IDLE);
        assert_eq!((service.open.len(), service.counters.connections_idle.get()), (1, 1));
        assert!(is_closed(&mut clients[0]));
        service.close(IDLE + SLOW - 1);
        assert_eq!(service.open.len(), 1);
        service.close(IDLE + SLOW);
        assert_eq!((service.open.len(), service.counters.connections_idle.get()), (0, 2));
        assert_eq!((service.counters.connections_open.get(), service.sources.len()), (0, 0));
        assert!(is_closed(&mut clients[1]));
    }

    /// Of many sources; who is beyond is closed at once, and finds room when another has gone.
    #[test]
    fn as_many_connections_are_open_as_there_is_room_for() {
        let (mut service, mut clients, ..) = service(0);
        let address = service.listeners[0].local_addr().expect("it is bound");
        let open = |service: &mut Service, clients: &mut Vec<TcpStream>| {
            clients.push(TcpStream::connect(address).expect("it listens"));
            let seen = service.counters.connections.get() + service.counters.connections_refused.get();
            while service.counters.connections.get() + service.counters.connections_refused.get() == seen {
                service.accept(0);
            }
            // Each is as if it were of a source of its own.
            service.sources.clear();
        };
        (0..CONNECTIONS_MAX + 2).for_each(|_| open(&mut service, &mut clients));
        assert_eq!((service.open.len(), service.counters.connections_refused.get()), (CONNECTIONS_MAX, 2));
        assert!(clients[CONNECTIONS_MAX..].iter_mut().all(is_closed));
        drop(clients.remove(0));
        while service.open.len() == CONNECTIONS_MAX {
            let ready = service.poll(1, 0);
            service.serve(&ready.sockets, 0);
            service.close(0);
        }
        open(&mut service, &mut clients);
        assert_eq!((service.open.len(), service.counters.connections_refused.get()), (CONNECTIONS_MAX, 2));
    }

    #[test]
    fn one_source_has_its_share_of_connections() {
        let (mut service, mut clients, ..) = service(SOURCE_MAX + 1);
        assert_eq!((service.open.len(), service.counters.connections_refused.get()), (SOURCE_MAX, 1));
        assert!(is_closed(&mut clients[SOURCE_MAX]));
        // When one is closed there is room for another.
        drop(clients.remove(0));
        let address = service.listeners[0].local_addr().expect("it is bound");
        while service.open.len() == SOURCE_MAX {
            let ready = service.poll(1, 0);
            service.serve(&ready.sockets, 0);
            service.close(0);
        }
        let _client = TcpStream::connect(address).expect("it listens");
        while service.open.len() < SOURCE_MAX {
            service.accept(0);
        }
    }
}
