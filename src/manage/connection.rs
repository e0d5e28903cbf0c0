//! One client of the operator's socket: request bytes in, answer bytes out, without ever waiting.
//!
//! Guarantees: holds at most [`REQUEST_MAX`] bytes of requests and one answer; while an answer is on its way it reads
//! nothing more. Never blocks, so that one thread can serve every client.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use super::protocol::{REQUEST_MAX, answer, refuse};
use super::{Commands, Source};

/// A client that took no answer for so many milliseconds is closed: its place may be wanted.
pub(super) const IDLE_MAX_MS: u32 = 60_000;

pub(super) struct Connection {
    stream: UnixStream,
    /// Requests that are not answered yet, at most [`REQUEST_MAX`] bytes.
    input: Vec<u8>,
    /// The answer on its way, and how much of it is sent.
    output: Vec<u8>,
    sent: usize,
    /// Nothing more is read: closed when the requests in `input` are answered.
    ending: bool,
    /// When it connected or last took bytes of an answer.
    active_ms: u32,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, now_ms: u32) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            ending: false,
            active_ms: now_ms,
        })
    }

    /// What to wait for before the next [`turn`](Self::turn).
    pub(super) fn wants(&self) -> PollFlags {
        let write = self.is_sending() || self.request_end().is_some();
        if write { PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    /// Goes on as far as it can without waiting, by one request at most; false when the client is to be closed.
    pub(super) fn turn(&mut self, source: &dyn Source, commands: &dyn Commands, now_ms: u32) -> bool {
        let idle = now_ms.wrapping_sub(self.active_ms) > IDLE_MAX_MS;
        !idle && self.try_turn(source, commands, now_ms).unwrap_or(false)
    }

    fn try_turn(&mut self, source: &dyn Source, commands: &dyn Commands, now_ms: u32) -> io::Result<bool> {
        self.send(now_ms)?;
        if self.is_sending() {
            return Ok(true);
        }
        if self.request_end().is_none() && !self.ending {
            self.receive()?;
        }
        if let Some(end) = self.request_end() {
            self.output = answer(&self.input[..end], source, commands);
            self.input.drain(..=end);
        } else if self.input.len() == REQUEST_MAX {
            self.output = refuse(
                format!("request longer than {REQUEST_MAX} bytes"),
                "send one short JSON object a line, each ended by a newline",
            );
            self.input.clear();
            self.ending = true;
        }
        self.send(now_ms)?;
        Ok(!self.ending || self.is_sending() || self.request_end().is_some())
    }

    fn is_sending(&self) -> bool {
        !self.output.is_empty()
    }

    /// Where the first whole request in `input` ends: the index of its newline.
    fn request_end(&self) -> Option<usize> {
        self.input.iter().position(|&byte| byte == b'\n')
    }

    /// Reads once what fits into `input`.
    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; REQUEST_MAX];
        let space = REQUEST_MAX - self.input.len();
        match now_or_none(self.stream.read(&mut bytes[..space]))? {
            Some(0) => self.ending = true,
            Some(length) => self.input.extend_from_slice(&bytes[..length]),
            None => {}
        }
        Ok(())
    }

    /// Sends as much of the answer as the socket takes.
    fn send(&mut self, now_ms: u32) -> io::Result<()> {
        while self.is_sending() {
            let Some(length) = now_or_none(self.stream.write(&self.output[self.sent..]))? else { break };
            self.sent += length;
            self.active_ms = now_ms;
            if self.sent == self.output.len() {
                self.output = Vec::new();
                self.sent = 0;
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// `None` for what would have had to wait.
fn now_or_none(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Counters, FlowFilter, Flows, NeighborStatus, PortStatus, Refusal, Status};
    use super::super::{Determined, DnsStatus, Nat44Question, PoolChange, PoolChanged, PoolStatus};
    use super::super::{ExplainQuestion, Explanation, PolicyChange, PolicyChanged, PolicyFilter, PolicyList};
    use super::super::{HostChange, HostChanged, HostFilter, HostList, ImportShown};
    use super::super::{RouteChange, RouteChanged, RouteFilter, Routes};
    use super::*;

    /// Has nothing to show but its neighbours, of which there are none.
    struct Lonely;

    impl Source for Lonely {
        fn status(&self) -> Status {
            unreachable!("nobody asks")
        }
        fn ports(&self) -> Vec<PortStatus> {
            unreachable!("nobody asks")
        }
        fn counters(&self) -> Counters {
            unreachable!("nobody asks")
        }
        fn runtime(&self) -> super::super::Runtime {
            unreachable!("nobody asks")
        }
        fn flows(&self, _: &FlowFilter) -> Result<Flows, Refusal> {
            unreachable!("nobody asks")
        }
        fn neighbors(&self) -> Vec<NeighborStatus> {
            Vec::new()
        }
        fn routes(&self, _: &RouteFilter) -> Result<Routes, Refusal> {
            unreachable!("nobody asks")
        }
        fn pools(&self) -> Vec<PoolStatus> {
            unreachable!("nobody asks")
        }
        fn determined(&self, _: &Nat44Question) -> Result<Vec<Determined>, Refusal> {
            unreachable!("nobody asks")
        }
        fn hosts(&self, _: &HostFilter) -> Result<HostList, Refusal> {
            unreachable!("nobody asks")
        }
        fn import(&self) -> Result<ImportShown, Refusal> {
            unreachable!("nobody asks")
        }
        fn dns(&self) -> Result<DnsStatus, Refusal> {
            unreachable!("nobody asks")
        }
        fn prgw(&self) -> Result<super::super::PrgwStatus, Refusal> {
            unreachable!("nobody asks")
        }
        fn proxies(&self, _: &super::super::ProxyFilter) -> Result<super::super::ProxyList, Refusal> {
            unreachable!("nobody asks")
        }
        fn cetp(&self, _: &super::super::CetpFilter) -> Result<super::super::CetpStatus, Refusal> {
            unreachable!("nobody asks")
        }
        fn policy(&self, _: &PolicyFilter) -> Result<PolicyList, Refusal> {
            unreachable!("nobody asks")
        }
        fn explain(&self, _: &ExplainQuestion) -> Result<Explanation, Refusal> {
            unreachable!("nobody asks")
        }
    }

    impl Commands for Lonely {
        fn change_route(&self, _: &RouteChange) -> Result<RouteChanged, Refusal> {
            unreachable!("nobody commands")
        }
        fn change_pool(&self, _: &PoolChange) -> Result<PoolChanged, Refusal> {
            unreachable!("nobody commands")
        }
        fn change_host(&self, _: &HostChange) -> Result<HostChanged, Refusal> {
            unreachable!("nobody commands")
        }
        fn change_cetp(&self, _: &super::super::CetpChange) -> Result<super::super::CetpChanged, Refusal> {
            unreachable!("nobody commands")
        }
        fn change_policy(&self, _: &PolicyChange) -> Result<PolicyChanged, Refusal> {
            unreachable!("nobody commands")
        }
    }

    fn connection(now_ms: u32) -> (UnixStream, Connection) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, Connection::new(server, now_ms).unwrap())
    }

    #[test]
    fn idleness_counts_from_the_last_answer_and_across_the_wrap_of_the_clock() {
        let start = u32::MAX - 10;
        let (mut client, mut connection) = connection(start);
        assert!(connection.turn(&Lonely, &Lonely, start.wrapping_add(IDLE_MAX_MS)));
        client.write_all(b"{\"show\":\"neighbors\"}\n").unwrap();
        let answered = start.wrapping_add(IDLE_MAX_MS);
        assert!(connection.turn(&Lonely, &Lonely, answered));
        client.write_all(b"{").unwrap();
        assert!(connection.turn(&Lonely, &Lonely, answered.wrapping_add(IDLE_MAX_MS)), "an answer renews");
        assert!(
            !connection.turn(&Lonely, &Lonely, answered.wrapping_add(IDLE_MAX_MS + 1)),
            "part of a request does not"
        );
    }

    #[test]
    fn requests_in_one_piece_are_answered_one_a_turn_even_after_the_client_stopped_sending() {
        let (mut client, mut connection) = connection(0);
        client.write_all(b"{\"show\":\"neighbors\"}\n{\"show\":\"neighbors\"}\n{\"show\":").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(connection.turn(&Lonely, &Lonely, 0));
        assert_eq!(connection.wants(), PollFlags::POLLOUT, "the second request waits for no more bytes");
        assert!(connection.turn(&Lonely, &Lonely, 0));
        assert!(!connection.turn(&Lonely, &Lonely, 0), "half a request is none");
        drop(connection);
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        assert_eq!(answers, "{\"ok\":[]}\n{\"ok\":[]}\n");
    }
}
