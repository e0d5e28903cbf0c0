//! What of a question its answer needs, and the making of that answer.
//!
//! Guarantees: an answer repeats the question in its own letters (0x20), has an OPT if and only if the question had one (RFC 6891
//! section 6.1.1), and is never longer than asker and edge allow: records that may be missing go first, then TC is set and all go.
//! Never: decides what the answer is.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use ipnet::IpNet;

use super::cookie::{Cookies, Shown};
use super::{Asker, Transport};

/// RFC 7873 section 4.
const COOKIE: EdnsCode = EdnsCode::Cookie;
/// Longest message over TCP: RFC 1035 section 4.2.2.
const TCP_MAX: usize = u16::MAX as usize;
/// Longest message over UDP that needs no EDNS: RFC 1035 section 4.2.1.
const PLAIN_UDP_MAX: usize = 512;

/// See the module.
#[derive(Clone, Debug)]
pub struct Pending {
    id: u16,
    op_code: OpCode,
    recursion_desired: bool,
    recursion_available: bool,
    checking_disabled: bool,
    pub(super) query: Option<Query>,
    edns: Option<Options>,
    limit: usize,
}

/// What the OPT of the question said.
#[derive(Clone, Copy, Debug)]
struct Options {
    version: u8,
    wants_dnssec: bool,
    cookie: Option<Shown>,
    subnet: Option<ClientSubnet>,
}

/// The sections of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    pub code: ResponseCode,
    pub is_authoritative: bool,
    pub is_truncated: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    /// Whether it is for the client's subnet alone (RFC 7871 section 7.2.1).
    pub is_for_subnet: bool,
}

impl Sections {
    /// Nothing but a code.
    pub fn code(code: ResponseCode) -> Sections {
        Sections { code, ..Sections::default() }
    }
}

impl Pending {
    /// Of a message that was asked, and why it can't be answered as it stands.
    pub(super) fn new(
        message: &Message,
        asker: &Asker,
        cookies: &Cookies,
        udp_payload: u16,
        now: u32,
    ) -> (Pending, Result<(), ResponseCode>) {
        let (edns, result) = match &message.edns {
            None => (None, Ok(())),
            Some(edns) => {
                let (options, result) = Options::new(edns, asker.address, cookies, now);
                (Some(options), result)
            }
        };
        let asked = message.edns.as_ref().map_or(PLAIN_UDP_MAX, |edns| edns.max_payload().into());
        let limit = match asker.transport {
            Transport::Tcp => TCP_MAX,
            Transport::Udp => asked.clamp(PLAIN_UDP_MAX, udp_payload.into()),
        };
        let pending = Pending {
            id: message.id,
            op_code: message.op_code,
            recursion_desired: message.recursion_desired,
            recursion_available: asker.realm.is_some(),
            checking_disabled: message.checking_disabled,
            query: message.queries.first().cloned(),
            edns,
            limit,
        };
        (pending, result)
    }

    /// Of a question of the edge's own: no EDNS, and an answer of any length.
    pub(super) fn of_edge(query: Query) -> Pending {
        Pending {
            id: 0,
            op_code: OpCode::Query,
            recursion_desired: true,
            recursion_available: true,
            checking_disabled: false,
            query: Some(query),
            edns: None,
            limit: TCP_MAX,
        }
    }

    /// The client's cookie, and whether what came with it is a proof.
    pub fn cookie(&self) -> Option<Shown> {
        self.edns.and_then(|edns| edns.cookie)
    }

    /// The subnet of the client that the resolver asks for, if it tells (RFC 7871).
    pub fn subnet(&self) -> Option<IpNet> {
        let subnet = self.edns.and_then(|edns| edns.subnet).filter(|subnet| subnet.source_prefix() > 0)?;
        IpNet::new(subnet.addr(), subnet.source_prefix()).ok()
    }

    /// Whether the asker wants its answer looked for (RFC 1035 section 4.1.1, RD).
    pub fn is_recursive(&self) -> bool {
        self.recursion_desired
    }

    /// Whether the asker wants signatures with its answer (RFC 3225, DO).
    pub fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.wants_dnssec)
    }

    /// Whether the asker wants what may not pass validation (RFC 4035 section 3.2.2, CD).
    pub fn is_checking_disabled(&self) -> bool {
        self.checking_disabled
    }

    /// The message that `sections` are.
    pub(super) fn message(&self, sections: Sections) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, self.op_code);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = self.recursion_available;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.response_code = sections.code;
        message.metadata.authoritative = sections.is_authoritative;
        message.metadata.truncation = sections.is_truncated;
        message.queries.extend(self.query.clone());
        message.answers = sections.answers;
        message.authorities = sections.authorities;
        message.additionals = sections.additionals;
        message.edns = self.edns.map(|options| options.answer(self.limit, sections.is_for_subnet));
        message
    }

    /// The bytes of an answer; `None` if there is no way to say it, which no question of ours leads to.
    pub(super) fn bytes(&self, sections: Sections) -> Option<Vec<u8>> {
        fit(self.message(sections), self.limit)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

/// The bytes of `message`, made to fit.
pub(super) fn fit(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    let fitting = |message: &Message| message.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    if let Some(bytes) = fitting(&message) {
        return Some(bytes);
    }
    // Additional records may be missing without a word (RFC 2181 section 9).
    message.additionals.clear();
    if let Some(bytes) = fitting(&message) {
        return Some(bytes);
    }
    message.metadata.truncation = true;
    message.answers.clear();
    message.authorities.clear();
    fitting(&message)
}

impl Options {
    fn new(edns: &Edns, address: IpAddr, cookies: &Cookies, now: u32) -> (Options, Result<(), ResponseCode>) {
        let (version, wants_dnssec) = (edns.version(), edns.flags().dnssec_ok);
        let mut options = Options { version, wants_dnssec, cookie: None, subnet: None };
        if options.version > 0 {
            return (options, Err(ResponseCode::BADVERS)); // RFC 6891 section 6.1.3
        }
        let mut result = Ok(());
        if let Some(EdnsOption::Unknown(_, bytes)) = edns.option(COOKIE) {
            options.cookie = cookies.judge(bytes, address, now);
            if options.cookie.is_none() {
                result = Err(ResponseCode::FormErr); // RFC 7873 section 5.2.2
            }
        }
        if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) {
            match is_sound(subnet) {
                true => options.subnet = Some(*subnet),
                false => result = Err(ResponseCode::FormErr), // RFC 7871 section 7.1.2
            }
        }
        (options, result)
    }

    /// The OPT of the answer.
    fn answer(&self, limit: usize, is_for_subnet: bool) -> Edns {
        let mut edns = Edns::new();
        edns.set_max_payload(limit.min(TCP_MAX) as u16).set_version(0).set_dnssec_ok(self.wants_dnssec);
        if let Some(shown) = self.cookie {
            let cookie = [&shown.client[..], &shown.server].concat();
            edns.options_mut().insert(EdnsOption::Unknown(COOKIE.into(), cookie));
        }
        if let Some(mut subnet) = self.subnet {
            subnet.set_scope_prefix(if is_for_subnet { subnet.source_prefix() } else { 0 });
            edns.options_mut().insert(EdnsOption::Subnet(subnet));
        }
        edns
    }
}

/// RFC 7871 section 6: the scope is 0 in a question, and so are the bits behind the prefix.
fn is_sound(subnet: &ClientSubnet) -> bool {
    let net = IpNet::new(subnet.addr(), subnet.source_prefix());
    subnet.scope_prefix() == 0 && net.is_ok_and(|net| net.network() == subnet.addr())
}
