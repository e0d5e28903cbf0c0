//! One upstream.
//!
//! Guarantees: over UDP each question has a socket, a port and an ID of its own, and its letters in random case; an answer that is
//! truncated, or has other letters, is asked for again over TCP. Over TCP and TLS one connection carries all questions; it is made
//! anew when it was closed, and when it has been silent for the whole time of a question. What is returned answers the question
//! that was asked.
//! Never: waits longer than it is told, or goes from TLS to anything else.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::tls::tls_exchange_with_bind_addr;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle, DnsRequestSender, FirstAnswer};
use hickory_net::{DnsError, NetError};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, OpCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::answer::Question;
use super::{Counters, Error, Options, tls};
use crate::config::UpstreamProtocol;

/// Longest answer over UDP: what no path fragments (RFC 9715).
const UDP_PAYLOAD: u16 = 1232;
/// Questions under way on one connection.
const ON_CONNECTION: usize = 4096;

type Exchange = DnsExchange<TokioRuntimeProvider>;

/// Why a try has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came in its time.
    Silent,
    /// There is no way to it.
    Unreachable,
    /// What came was no answer.
    Bad,
}

pub(super) struct Upstream {
    address: SocketAddr,
    source: Option<SocketAddr>,
    kind: Kind,
    provider: TokioRuntimeProvider,
    connection: Mutex<Connection>,
    /// When something last came by the connection.
    heard: Cell<Option<Instant>>,
    counters: Arc<Counters>,
}

enum Kind {
    Udp,
    Tcp,
    Tls(Box<(ServerName<'static>, ClientConfig)>),
}

/// The connection, if there is one, and how many were made before it.
#[derive(Default)]
struct Connection {
    exchange: Option<Exchange>,
    number: u64,
}

/// The upstreams of `options`, in their order.
pub(super) fn upstreams(options: &Options, counters: &Arc<Counters>) -> Result<Vec<Upstream>, Error> {
    let is_tls = |protocol: &UpstreamProtocol| matches!(protocol, UpstreamProtocol::Tls(_));
    let has_tls = options.upstreams.iter().any(|server| is_tls(&server.protocol));
    let client = has_tls.then(|| tls::client(&options.authorities)).transpose()?;
    let one = |server: &super::Server| {
        let kind = match (&server.protocol, &client) {
            (UpstreamProtocol::Tls(name), Some(client)) => {
                Kind::Tls(Box::new((tls::name(name.as_str())?, client.clone())))
            }
            (UpstreamProtocol::Udp, _) => Kind::Udp,
            (UpstreamProtocol::Tcp | UpstreamProtocol::Tls(_), _) => Kind::Tcp,
        };
        let source = options.sources.iter().find(|source| source.is_ipv4() == server.address.is_ipv4());
        Ok(Upstream {
            address: server.address,
            source: source.map(|&source| SocketAddr::new(source, 0)),
            kind,
            provider: TokioRuntimeProvider::new(),
            connection: Mutex::default(),
            heard: Cell::new(None),
            counters: counters.clone(),
        })
    };
    options.upstreams.iter().map(one).collect()
}

impl Upstream {
    /// Asks it, for at most `wait`.
    pub async fn ask(&self, question: &Question, wait: Duration) -> Result<Message, Failure> {
        let begun = Instant::now();
        let result = timeout(wait, self.ask_any(question, wait)).await;
        let response = match result {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let failure = failure(&error);
                tracing::debug!("upstream {}: {error}", self.address);
                if failure == Failure::Silent {
                    self.forsake(begun).await;
                }
                return Err(failure);
            }
            Err(_) => {
                self.forsake(begun).await;
                return Err(Failure::Silent);
            }
        };
        let message = response.into_message();
        let is_answer = message.metadata.op_code == OpCode::Query
            && !message.metadata.truncation
            && message.queries.len() == 1
            && message.queries.first() == Some(&question.query);
        if is_answer { Ok(message) } else { Err(Failure::Bad) }
    }

    async fn ask_any(&self, question: &Question, wait: Duration) -> Result<DnsResponse, NetError> {
        let Kind::Udp = self.kind else { return self.by_connection(question, wait).await };
        count(&self.counters.sent_udp);
        let mut stream = UdpClientStream::builder(self.address, self.provider.clone())
            .with_timeout(Some(wait))
            .with_max_retries(1)
            .with_bind_addr(self.source)
            .build();
        match stream.send_message(request(question, true)).first_answer().await {
            Ok(response) if response.metadata.truncation => count(&self.counters.truncated),
            // Somebody guesses, or it doesn't repeat what it is asked: a connection is proof of either.
            Err(NetError::QueryCaseMismatch) => count(&self.counters.wrong_case),
            other => return other,
        }
        self.by_connection(question, wait).await
    }

    /// By the connection, which is made if there is none.
    async fn by_connection(&self, question: &Question, wait: Duration) -> Result<DnsResponse, NetError> {
        loop {
            let (exchange, number, is_new) = self.connected(wait).await?;
            count(if let Kind::Tls(_) = self.kind {
                &self.counters.sent_tls
            } else {
                &self.counters.sent_tcp
            });
            match exchange.send(request(question, false)).first_answer().await {
                Ok(response) => {
                    self.heard.set(Some(Instant::now()));
                    return Ok(response);
                }
                Err(NetError::Timeout) => return Err(NetError::Timeout),
                // It was closed while nothing was asked, as servers do (RFC 7766 section 6.2.4); the crate says that it is busy.
                Err(error) => {
                    self.drop_connection(number).await;
                    if is_new {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The connection, its number, and whether it was made for this question.
    async fn connected(&self, wait: Duration) -> Result<(Exchange, u64, bool), NetError> {
        // Whoever comes while it is being made waits here, as long as it is patient.
        let mut connection = self.connection.lock().await;
        if let Some(exchange) = &connection.exchange {
            return Ok((exchange.clone(), connection.number, false));
        }
        let (address, source, provider) = (self.address, self.source, self.provider.clone());
        let exchange = match &self.kind {
            Kind::Tls(client) => {
                let (name, config) = (client.0.clone(), client.1.clone());
                tls_exchange_with_bind_addr(
                    address,
                    source,
                    name,
                    config,
                    wait,
                    Some(ON_CONNECTION),
                    provider,
                )
                .await?
            }
            Kind::Udp | Kind::Tcp => {
                TcpClientStream::exchange(address, source, wait, Some(ON_CONNECTION), provider).await?
            }
        };
        count(&self.counters.connected);
        connection.number += 1;
        connection.exchange = Some(exchange.clone());
        Ok((exchange, connection.number, true))
    }

    async fn drop_connection(&self, number: u64) {
        let mut connection = self.connection.lock().await;
        if connection.number == number {
            connection.exchange = None;
        }
    }

    /// After a question that was asked at `begun` had no answer: a connection on which nothing has come since is no good. Those who
    /// still wait for answers on it may have them.
    async fn forsake(&self, begun: Instant) {
        if self.heard.get().is_some_and(|heard| heard >= begun) {
            return;
        }
        if let Ok(mut connection) = self.connection.try_lock() {
            connection.exchange = None;
        }
    }
}

/// The message that asks `question`.
fn request(question: &Question, random_case: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    options.edns_payload_len = UDP_PAYLOAD;
    options.edns_set_dnssec_ok = question.dnssec;
    options.recursion_desired = true;
    options.case_randomization = random_case;
    let mut request = DnsRequest::from_query(question.query.clone(), options);
    request.metadata.checking_disabled = question.checking_disabled;
    request
}

fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Timeout => Failure::Silent,
        NetError::Proto(_) | NetError::Dns(DnsError::ResponseCode(_)) => Failure::Bad,
        _ => Failure::Unreachable,
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
