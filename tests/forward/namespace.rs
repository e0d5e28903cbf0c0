//! A real recursive resolver (unbound) in a network namespace, by UDP, TCP and TLS.
//!
//! Guarantees: the namespace, the server and its files are the test's own and go with it. Never: reaches another namespace, or is
//! reached from there.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ces::config::{DomainName, UpstreamProtocol};
use ces::dns::forward::Resolver;
use ces::dns::{Asker, Transport};
use ces::exception;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

use super::asking::{ask, ask_as, core, host, options, question, start, value};
use super::trust::Authority;

const PORT: u16 = 5399;
const TLS_PORT: u16 = 8599;

struct Server {
    namespace: String,
    directory: PathBuf,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("`ip` is installed");
    assert!(status.success(), "ip {arguments:?}: run this as root");
}

/// What it knows: an address, a text that no datagram takes, and that the rest of `example` isn't there.
fn configuration(directory: &Path) -> String {
    let long: String =
        (0..40).map(|n| format!("local-data: 'long.example. 300 TXT \"{n:0>60}\"'\n")).collect();
    let directory = directory.display();
    format!(
        "server:\ninterface: 127.0.0.1@{PORT}\ninterface: 127.0.0.1@{TLS_PORT}\ntls-port: {TLS_PORT}\n\
         tls-service-key: \"{directory}/key.pem\"\ntls-service-pem: \"{directory}/certificate.pem\"\n\
         directory: \"{directory}\"\nchroot: \"\"\nusername: \"\"\npidfile: \"\"\nuse-syslog: no\nnum-threads: 1\n\
         access-control: 127.0.0.0/8 allow\nlocal-zone: \"example.\" static\n\
         local-data: \"example. 300 SOA ns.example. hostmaster.example. 1 3600 600 86400 60\"\n\
         local-data: \"www.example. 300 A 192.0.2.80\"\n{long}remote-control:\ncontrol-enable: no\n"
    )
}

fn server(authority: &Authority) -> Server {
    let name = format!("ces-t-fwd-{}", std::process::id());
    let directory = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("key.pem"), &authority.key).expect("it can be written");
    std::fs::write(directory.join("certificate.pem"), &authority.certificate).expect("it can be written");
    let file = directory.join("unbound.conf");
    std::fs::write(&file, configuration(&directory)).expect("it can be written");
    run(&["netns", "add", &name]);
    run(&["-n", &name, "link", "set", "lo", "up"]);
    let process = Command::new("ip")
        .args(["netns", "exec", &name, "unbound", "-d", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .expect("`unbound` is installed: run scripts/setup");
    let server = Server { namespace: name, directory, process };
    let namespace = server.namespace.clone();
    let listens = move || {
        exception::enter(&namespace).expect("it is there");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", TLS_PORT)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "unbound doesn't listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    std::thread::spawn(listens).join().expect("it listens");
    server
}

#[test]
fn a_real_resolver_is_asked_in_the_namespace_that_is_told() {
    let authority = super::trust::authority("unbound");
    let server = server(&authority);
    let kinds = [
        (PORT, UpstreamProtocol::Udp),
        (PORT, UpstreamProtocol::Tcp),
        (TLS_PORT, UpstreamProtocol::Tls(DomainName::new("dns.example").expect("a name"))),
    ];
    for (port, protocol) in kinds {
        let mut options = options(&[(([127, 0, 0, 1], port).into(), protocol.clone())]);
        options.authorities.clone_from(&authority.file);
        options.timeout = Duration::from_secs(2);
        let outside = options.clone();
        let namespace = server.namespace.clone();
        let enter = move || exception::enter(&namespace).map_err(std::io::Error::other);
        let resolver = Resolver::start(options, core(), enter).expect("a resolver");
        let answer = ask(&resolver, &question("Www.Example", RecordType::A));
        let is_right = |data: &RData| matches!(data, RData::A(a) if a.0.octets() == [192, 0, 2, 80]);
        assert!(answer.answers.len() == 1 && is_right(&answer.answers[0].data), "{protocol:?}: {answer}");
        let answer = ask(&resolver, &question("none.example", RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{protocol:?}");
        assert_eq!(answer.authorities.len(), 1, "{protocol:?}: the SOA");
        let answer = ask(&resolver, &question("www.example", RecordType::AAAA));
        assert!(answer.metadata.response_code == ResponseCode::NoError && answer.answers.is_empty());
        let by_tcp = Asker { transport: Transport::Tcp, ..host(1) };
        let answer = ask_as(&resolver, &question("long.example", RecordType::TXT), &by_tcp);
        assert_eq!(answer.answers.len(), 40, "{protocol:?}");
        let truncated = u64::from(protocol == UpstreamProtocol::Udp);
        assert_eq!(value(&resolver, |counters| &counters.truncated), truncated);
        assert_eq!(value(&resolver, |counters| &counters.wrong_case), 0);
        // Here it isn't.
        let mut elsewhere = outside;
        (elsewhere.attempts, elsewhere.timeout) = (1, Duration::from_millis(200));
        let resolver = start(elsewhere);
        let answer = ask(&resolver, &question("www.example", RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{protocol:?}");
    }
}
