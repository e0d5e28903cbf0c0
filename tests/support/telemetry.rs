//! DPDK's own telemetry, asked from outside.

use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};

/// One question to DPDK's telemetry socket, after its greeting.
pub fn ask(path: &Path, question: &str) -> String {
    let connection =
        socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::empty(), None).expect("a socket");
    let address = UnixAddr::new(path).expect("a path");
    socket::connect(connection.as_raw_fd(), &address).expect("the telemetry socket answers");
    let receive = || {
        let mut buffer = vec![0; 16_384];
        let read = socket::recv(connection.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an answer");
        buffer.truncate(read);
        String::from_utf8(buffer).expect("JSON")
    };
    receive();
    socket::send(connection.as_raw_fd(), question.as_bytes(), MsgFlags::empty())
        .expect("the question is sent");
    receive()
}
