//! The thread `ces-dns`: from the workers' rings and the connections of `ces-dns-tcp` to a [`Server`], and back.
//!
//! Guarantees: takes turns, a batch from each worker and from the connections, so that none starves another; makes no system call while
//! there is work, but one a batch of answers by TCP; answers that a ring does not take are dropped and counted. Naps when there is
//! nothing to do, until something comes.
//! Never: waits for the register's owner, for a worker or for a connection; for whoever looks into the book of proxy addresses it
//! waits a moment.

use std::io::Write;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::counters::Counters;
use super::server::{Now, Parts, Replies, ReplyTo, Server};
use super::stream::{self, ANSWERS_MAX, Answer, Question};
use super::{Asker, Transport, datagram};
use crate::edge::hosts::Register;
use crate::edge::thread::Reader;
use crate::ring::frames::{FRAME_MAX, FrameReceiver, FrameSender};
use crate::ring::wake::{self, Waker, Waking};

/// Questions of one worker, or of the connections, a turn.
const BATCH: usize = 64;
/// Questions by TCP that wait for a turn.
const QUESTIONS_MAX: usize = 1024;
/// The class of the frames to the workers.
const CLASS: u16 = 0;
/// How long a secret of the cookies is made with that the process has made itself, in milliseconds: a day (RFC 7873 section 7.1).
const SECRET_LIFE: u64 = 86_400_000;

/// Why the threads do not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the thread {0}: {1}; raise the limit of processes (ulimit -u)")]
    Thread(&'static str, std::io::Error),
    #[error("the thread {thread} cannot run on core {core}: {source}; set workers.control_core")]
    Core { thread: &'static str, core: usize, source: nix::Error },
    #[error("the connections of the DNS cannot be watched: {0}; raise the limit of open files (ulimit -n)")]
    Sockets(std::io::Error),
    #[error("the thread {0} ended; see the log")]
    Ended(&'static str),
}

/// DNS over TCP.
pub struct Streams {
    pub listeners: Vec<TcpListener>,
    /// The inside realm of each address of the edge's own; `None` outside. Connections to others are closed.
    pub realms: Vec<(IpAddr, Option<u16>)>,
}

/// What the threads are to do.
pub struct Options {
    pub server: Parts,
    /// `None`: there are no hosts.
    pub hosts: Option<Reader>,
    /// From each worker.
    pub from_workers: Vec<FrameReceiver>,
    /// To each worker.
    pub to_workers: Vec<FrameSender>,
    pub streams: Option<Streams>,
    /// Between two looks when nothing wakes the thread: workers that poll never do, nor does a circular pool.
    pub nap: Duration,
    /// Whether a secret of the cookies is made anew from time to time.
    pub rotates: bool,
    /// The core on which they run; where the caller does by default.
    pub core: Option<usize>,
}

/// The running threads. Dropping it ends them.
pub struct Service {
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

impl Service {
    /// Starts them.
    ///
    /// # Errors
    /// What is missing.
    pub fn start(options: Options) -> Result<Service, Error> {
        let counters = options.server.counters.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let waker = Waker::default();
        let mut service =
            Service { counters: counters.clone(), stop: stop.clone(), waker: waker.clone(), threads: vec![] };
        let Options { server, hosts, from_workers, to_workers, streams, nap, rotates, core } = options;
        let (questions, questioned) = bounded(QUESTIONS_MAX);
        let (answers, answered) = bounded(ANSWERS_MAX);
        let (wake, woken) = UnixStream::pair().map_err(Error::Sockets)?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true).map_err(Error::Sockets)?;
        }
        if let Some(Streams { listeners, realms }) = streams {
            let stream = stream::Service::new(
                listeners,
                realms.into_iter().collect(),
                counters.clone(),
                Waking::new(questions, &waker),
                answered,
                woken,
            )
            .map_err(Error::Sockets)?;
            let stop = stop.clone();
            service.spawn("ces-dns-tcp", core, move || stream.run(&stop))?;
        }
        let work = Work {
            server: Server::new(server),
            hosts,
            nobody: Register::new(0),
            from_workers,
            questions: questioned,
            out: Out { to_workers, answers, wake, counters, frame: vec![0; FRAME_MAX], has_answered: false },
            buffer: vec![0; FRAME_MAX],
            rotation: Rotation { is_wanted: rotates, last: 0 },
            nap,
            waker,
        };
        service.spawn("ces-dns", core, move || work.run(&stop))?;
        Ok(service)
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn spawn(
        &mut self,
        name: &'static str,
        core: Option<usize>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let (ready, is_ready) = bounded(1);
        let run = move || {
            let pinned = core.map_or(Ok(()), |core| pin(name, core));
            let is_pinned = pinned.is_ok();
            let _ = ready.send(pinned);
            if is_pinned {
                run();
            }
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        self.threads.push((name, thread.map_err(|error| Error::Thread(name, error))?));
        is_ready.recv().map_err(|_| Error::Ended(name))?
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        for (name, thread) in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("the thread {name} panicked");
            }
        }
    }
}

fn pin(thread: &'static str, core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    pinned.map_err(|source| Error::Core { thread, core, source })
}

/// What the thread has.
struct Work {
    server: Server,
    hosts: Option<Reader>,
    /// Where there is no register.
    nobody: Register,
    from_workers: Vec<FrameReceiver>,
    questions: Receiver<Question>,
    out: Out,
    buffer: Vec<u8>,
    rotation: Rotation,
    nap: Duration,
    waker: Waker,
}

/// When a secret of the cookies is made anew.
struct Rotation {
    is_wanted: bool,
    last: u64,
}

impl Rotation {
    /// Once for each life of a secret; `now` is in milliseconds since the start.
    fn is_due(&mut self, now: u64) -> bool {
        let is_due = self.is_wanted && now - self.last > SECRET_LIFE;
        if is_due {
            self.last = now;
        }
        is_due
    }
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        let start = Instant::now();
        wake::nap_on_time();
        self.waker.wakes_me();
        self.from_workers.iter().for_each(FrameReceiver::wakes_me);
        self.server.wakes_me();
        while !stop.load(Ordering::Acquire) {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let at = Instant::now();
            let now = Now { seconds, ms: at.duration_since(start).as_millis() as u64, at };
            if self.rotation.is_due(now.ms) {
                self.server.responder().cookies().rotate(rand::random());
            }
            if !self.turn(now) {
                wake::nap(self.nap);
            }
        }
    }

    /// A batch of each; whether there was any.
    fn turn(&mut self, now: Now) -> bool {
        let Work { server, hosts, nobody, from_workers, questions, out, buffer, .. } = self;
        let mut busy = false;
        for (worker, ring) in from_workers.iter_mut().enumerate() {
            // Let go after each batch: its owner may be waiting to change it.
            let register = hosts.as_ref().map(Reader::register);
            let register = register.as_deref().unwrap_or(nobody);
            for _ in 0..BATCH {
                let Some((interface, _, length)) = ring.pop(buffer) else { break };
                busy = true;
                let frame = &buffer[..length.min(FRAME_MAX)];
                server.frame(frame, (worker, interface), register, now, out);
            }
        }
        let register = hosts.as_ref().map(Reader::register);
        let register = register.as_deref().unwrap_or(nobody);
        for _ in 0..BATCH {
            let Ok(Question { connection, address, realm, message }) = questions.try_recv() else { break };
            busy = true;
            let asker = Asker { address, transport: Transport::Tcp, realm };
            server.stream(&message, &asker, connection, register, now, out);
        }
        busy |= server.turn(register, now, out);
        out.wake();
        busy
    }
}

/// Where answers go.
struct Out {
    to_workers: Vec<FrameSender>,
    answers: Sender<Answer>,
    wake: UnixStream,
    counters: Arc<Counters>,
    /// The one that is being written.
    frame: Vec<u8>,
    /// Whether there is something for the connections since they were last told.
    has_answered: bool,
}

impl Out {
    fn wake(&mut self) {
        if std::mem::take(&mut self.has_answered) {
            // Full: it is awake already.
            let _ = self.wake.write(&[0]);
        }
        for ring in &mut self.to_workers {
            ring.wake();
        }
    }
}

impl Replies for Out {
    fn send(&mut self, to: &ReplyTo, message: Option<Vec<u8>>) {
        let is_sent = match (to, message) {
            (ReplyTo::Datagram { .. }, None) => true,
            (ReplyTo::Datagram { worker, interface, ends }, Some(message)) => {
                let length = datagram::write(&mut self.frame, ends, &message);
                let ring = self.to_workers.get_mut(*worker);
                length
                    .ok()
                    .zip(ring)
                    .is_some_and(|(length, ring)| ring.push(*interface, CLASS, &[&self.frame[..length]]))
            }
            (ReplyTo::Stream { connection }, message) => {
                self.has_answered = true;
                self.answers.try_send(Answer { connection: *connection, message }).is_ok()
            }
        };
        if !is_sent {
            self.counters.lost.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::discovery::{Callers, lookups};
    use super::super::tests::{fixture, question};
    use super::*;
    use crate::config::DomainName;
    use crate::edge::calls::Lookups;
    use crate::edge::identity::naming;
    use crate::packet::build::{self, Ip, Path};
    use crate::packet::{MacAddr, Protocol, ipv4, udp};
    use crate::ring::frames::frames;
    use hickory_proto::rr::RecordType;
    use std::io::Read;
    use std::net::TcpStream;

    fn frame(message: &[u8]) -> Vec<u8> {
        let ip = ipv4::Header::new([198, 51, 100, 53].into(), [203, 0, 113, 1].into(), Protocol::UDP);
        let ports = udp::Header { source_port: 4000, destination_port: 53 };
        let path = Path::untagged(MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 0, 1]));
        let mut frame = vec![0; 50 + message.len()];
        let length = build::frame(&mut frame, &path, &Ip::V4(ip), &build::Transport::Udp(ports, message));
        frame.truncate(length.expect("it fits"));
        frame
    }

    #[test]
    fn what_comes_ends_its_nap_and_what_it_says_ends_others() {
        const NAP: Duration = Duration::from_secs(60);
        let ((mut up, questions), (answers, mut down)) = (frames(0), frames(0));
        let (mut lookups, desk) = lookups::pair(1);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let options = Options {
            server: Parts {
                responder: fixture().0,
                realms: vec![None],
                changer: None,
                pool: None,
                forwarder: None,
                callers: Callers { calls: None, lookups: Some(desk) },
                counters: Arc::default(),
            },
            hosts: None,
            from_workers: vec![questions],
            to_workers: vec![answers],
            streams: Some(Streams { listeners: vec![listener], realms: vec![(address.ip(), None)] }),
            nap: NAP,
            rotates: false,
            core: None,
        };
        let service = Service::start(options).expect("a thread");
        down.wakes_me();
        lookups.wakes_me();
        let start = Instant::now();
        let pause = || thread::sleep(Duration::from_millis(50)); // long enough for it to nap
        pause();
        let question = question("ces.example", RecordType::SOA).to_vec().expect("sound");
        assert!(up.push(0, CLASS, &[&frame(&question)]) && up.wake());
        while down.pop(&mut [0; FRAME_MAX]).is_none() {
            assert!(start.elapsed() < NAP / 6, "somebody sleeps");
            wake::nap(NAP / 6);
        }
        pause();
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(NAP / 6)).expect("set");
        stream.write_all(&(question.len() as u16).to_be_bytes()).expect("sent");
        stream.write_all(&question).expect("sent");
        stream.read_exact(&mut [0; 2]).expect("an answer by TCP: somebody sleeps");
        pause();
        let name = DomainName::new("ns1.ces.example").expect("a name");
        assert!(lookups.ask(naming::Question::Addresses(name), 1));
        while lookups.poll().is_none() {
            assert!(start.elapsed() < NAP / 6, "somebody sleeps");
            wake::nap(NAP / 6);
        }
        pause();
        drop(service);
        assert!(start.elapsed() < NAP / 6, "it ends at once");
    }

    #[test]
    fn a_secret_is_made_anew_once_a_day_unless_it_is_configured() {
        let mut rotation = Rotation { is_wanted: true, last: 0 };
        let times =
            [0, SECRET_LIFE, SECRET_LIFE + 1, SECRET_LIFE + 2, 2 * SECRET_LIFE + 1, 2 * SECRET_LIFE + 2];
        assert_eq!(times.map(|now| rotation.is_due(now)), [false, false, true, false, false, true]);
        assert!(!Rotation { is_wanted: false, last: 0 }.is_due(9 * SECRET_LIFE));
    }
}
