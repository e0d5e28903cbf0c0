//! An upstream that does as a test says, on loopback: UDP, TCP and TLS, and what it has seen.
//!
//! Guarantees: it listens at one port for UDP and TCP; its threads end with it. Never: reaches anything but loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
    Tls,
}

/// A question that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub via: Via,
    pub from: SocketAddr,
    pub message: Message,
    /// How many came before.
    pub nth: usize,
}

impl Seen {
    /// The name as it was written.
    pub fn name(&self) -> String {
        self.message.queries[0].name().to_string()
    }

    /// An answer with nothing in it.
    pub fn reply(&self) -> Message {
        let mut reply = Message::new(self.message.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.queries.clone_from(&self.message.queries);
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            reply.set_edns(edns);
        }
        reply
    }

    pub fn code(&self, code: ResponseCode) -> Reply {
        let mut reply = self.reply();
        reply.metadata.response_code = code;
        Reply::message(&reply)
    }

    /// The address 192.0.2.`last`, with the owner as it was written.
    pub fn address(&self, ttl: u32, last: u8) -> Reply {
        let mut reply = self.reply();
        reply.add_answer(a(self.message.queries[0].name(), ttl, [192, 0, 2, last]));
        Reply::message(&reply)
    }
}

pub fn a(name: &Name, ttl: u32, address: [u8; 4]) -> Record {
    Record::from_rdata(name.clone(), ttl, RData::A(A(Ipv4Addr::from(address))))
}

pub fn cname(name: &Name, target: &str) -> Record {
    Record::from_rdata(name.clone(), 300, RData::CNAME(CNAME(self::name(target))))
}

pub fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name(zone), name("hostmaster.example."), 1, 3600, 600, 86_400, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}

pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

/// What the upstream sends.
pub enum Reply {
    Bytes(Vec<u8>),
    /// Over UDP from another port.
    FromElsewhere(Vec<u8>),
    /// The connection is closed.
    Close,
}

impl Reply {
    pub fn message(message: &Message) -> Reply {
        Reply::Bytes(message.to_vec().expect("it can be written"))
    }
}

type Play = dyn Fn(&Seen) -> Vec<Reply> + Send + Sync;

struct Stage {
    play: Box<Play>,
    seen: Mutex<Vec<Seen>>,
    over: AtomicBool,
}

pub struct Script {
    pub address: SocketAddr,
    stage: Arc<Stage>,
    threads: Vec<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(20);

impl Script {
    /// By UDP and TCP.
    pub fn new(play: impl Fn(&Seen) -> Vec<Reply> + Send + Sync + 'static) -> Script {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("bound")) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("bound");
        let stage = Stage::new(play);
        let threads = vec![
            thread::spawn({
                let stage = stage.clone();
                move || stage.udp(&udp)
            }),
            thread::spawn({
                let stage = stage.clone();
                move || stage.accept(&tcp, None)
            }),
        ];
        Script { address, stage, threads }
    }

    pub fn tls(
        config: Arc<ServerConfig>,
        play: impl Fn(&Seen) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Script {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = tcp.local_addr().expect("bound");
        let stage = Stage::new(play);
        let thread = thread::spawn({
            let stage = stage.clone();
            move || stage.accept(&tcp, Some(config))
        });
        Script { address, stage, threads: vec![thread] }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.stage.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stage.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("the upstream's thread is well");
        }
    }
}

impl Stage {
    fn new(play: impl Fn(&Seen) -> Vec<Reply> + Send + Sync + 'static) -> Arc<Stage> {
        Arc::new(Stage { play: Box::new(play), seen: Mutex::default(), over: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn see(&self, via: Via, from: SocketAddr, bytes: &[u8]) -> Vec<Reply> {
        let message = Message::from_vec(bytes).expect("a well-formed question");
        let seen = {
            let mut all = self.seen.lock().expect("not poisoned");
            let seen = Seen { via, from, message, nth: all.len() };
            all.push(seen.clone());
            seen
        };
        (self.play)(&seen)
    }

    fn udp(&self, socket: &UdpSocket) {
        socket.set_read_timeout(Some(TICK)).expect("it can be set");
        let mut buffer = [0; 4096];
        while !self.is_over() {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            for reply in self.see(Via::Udp, from, &buffer[..length]) {
                match reply {
                    Reply::Bytes(bytes) => drop(socket.send_to(&bytes, from)),
                    Reply::FromElsewhere(bytes) => {
                        let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
                        let _ = other.send_to(&bytes, from);
                    }
                    Reply::Close => {}
                }
            }
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, tls: Option<Arc<ServerConfig>>) {
        listener.set_nonblocking(true).expect("it can be set");
        let mut threads = Vec::new();
        while !self.is_over() {
            let Ok((stream, from)) = listener.accept() else {
                thread::sleep(TICK / 4);
                continue;
            };
            stream.set_nonblocking(false).expect("it can be set");
            stream.set_read_timeout(Some(TICK)).expect("it can be set");
            let (stage, tls) = (self.clone(), tls.clone());
            threads.push(thread::spawn(move || match tls {
                None => stage.serve(Via::Tcp, from, stream),
                Some(config) => {
                    let server = ServerConnection::new(config).expect("a server");
                    stage.serve(
                        Via::Tls,
                        from,
                        StreamOwned::<ServerConnection, TcpStream>::new(server, stream),
                    );
                }
            }));
        }
        for thread in threads {
            thread.join().expect("a connection's thread is well");
        }
    }

    fn serve(&self, via: Via, from: SocketAddr, mut stream: impl Read + Write) {
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        while !self.is_over() {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => got.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(_) => return,
            }
            while let Some((length, rest)) = got.split_first_chunk::<2>()
                && rest.len() >= usize::from(u16::from_be_bytes(*length))
            {
                let end = 2 + usize::from(u16::from_be_bytes(*length));
                let question: Vec<u8> = got.drain(..end).collect();
                for reply in self.see(via, from, &question[2..]) {
                    let Reply::Bytes(bytes) = reply else { return };
                    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
                    if stream.write_all(&framed).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
