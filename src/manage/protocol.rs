//! The lines of the operator's socket: a request and its answer, one JSON object each (RFC 8259).
//!
//! `{"show":"status"}` and `{"show":"flows","host":"10.0.0.2","realm":"home","limit":100}` are requests; the answer is
//! `{"ok":…}` with a type of [`super::model`], or `{"error":{"message":…,"hint":…}}`. Commands are told by another key:
//! `{"route":"add","realm":"internet","prefix":"0.0.0.0/0","to":{"via":{"gateways":["203.0.113.254"]}}}`,
//! `{"pool":"drain","name":"homes"}`, `{"host":"remove","name":"a.ces.example"}`,
//! `{"policy":"remove","host":"a.ces.example","at":1}`.
//!
//! Guarantees: whatever the line, there is exactly one answer line. Never guesses: an unknown verb, field or value is
//! refused.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::cetp_model::{CetpChange, CetpFilter};
use super::host_model::{HostChange, HostFilter};
use super::policy_model::{ExplainQuestion, PolicyChange, PolicyFilter};
use super::{Commands, Source};

/// Version of the protocol, in [`super::Status`].
pub const VERSION: u32 = 1;

/// Longest request in bytes, its newline included.
pub const REQUEST_MAX: usize = 4096;

/// What a client may ask to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "show", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    Status {},
    Ports {},
    Counters {},
    Runtime {},
    Flows(FlowFilter),
    Neighbors {},
    Routes(RouteFilter),
    Pools {},
    Nat44(Nat44Question),
    Hosts(HostFilter),
    Import {},
    Dns {},
    Prgw {},
    Proxies(ProxyFilter),
    Cetp(CetpFilter),
    Policy(PolicyFilter),
    Explain(ExplainQuestion),
}

/// Whose block of a deterministic pool to show: `{"show":"nat44","inside":{"realm":"home","address":"10.0.0.2"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Nat44Question {
    /// That of a subscriber; the realm by name.
    Inside { realm: String, address: Ipv4Addr },
    /// The one that has this port.
    Public { address: Ipv4Addr, port: u16 },
}

/// Which sessions to show: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Inside, outside or remote address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// The realm of the inside, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// How many to show.
    #[serde(default)]
    pub limit: FlowLimit,
}

/// Which routes to show: those that meet every condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteFilter {
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// How many to show; [`FlowLimit::MAX`] by default.
    #[serde(default = "FlowLimit::most")]
    pub limit: FlowLimit,
}

impl Default for RouteFilter {
    fn default() -> Self {
        RouteFilter { realm: None, limit: FlowLimit::most() }
    }
}

/// Which proxy addresses to show: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyFilter {
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The proxy address, or that of whom it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// How many to show.
    #[serde(default)]
    pub limit: FlowLimit,
}

/// A change of the routes, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "route", rename_all = "lowercase", deny_unknown_fields)]
pub enum RouteChange {
    Add(RouteAddition),
    Delete(RouteDeletion),
}

/// A route to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteAddition {
    pub realm: String,
    pub prefix: IpNet,
    pub to: RouteTo,
    /// It may take the place of another one, unless that is connected.
    #[serde(default)]
    pub replace: bool,
}

/// What a route says about its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum RouteTo {
    /// To one of these routers, by flow.
    Via {
        gateways: Vec<IpAddr>,
        /// Where all of them are; by default each is where it is connected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// The destinations are neighbours on this interface.
    OnLink {
        interface: String,
    },
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A route to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDeletion {
    pub realm: String,
    pub prefix: IpNet,
}

/// A change of what a pool may do, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pool", rename_all = "lowercase", deny_unknown_fields)]
pub enum PoolChange {
    /// No new mappings; those that are there live on.
    Drain { name: String },
    /// As it was before it was drained.
    Undrain { name: String },
    /// Its sessions end, and nobody uses it until a restart.
    Remove { name: String },
}

/// How many sessions, or routes, one answer may show: 0 (count only) to [`FlowLimit::MAX`], 100 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct FlowLimit(u32);

impl FlowLimit {
    pub const MAX: u32 = 10_000;

    /// The highest one.
    pub const fn most() -> Self {
        FlowLimit(Self::MAX)
    }

    /// The limit as a number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for FlowLimit {
    fn default() -> Self {
        FlowLimit(100)
    }
}

impl FromStr for FlowLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u64>().map_err(|error| error.to_string())?.try_into()
    }
}

impl TryFrom<u64> for FlowLimit {
    type Error = String;

    fn try_from(limit: u64) -> Result<Self, String> {
        match u32::try_from(limit) {
            Ok(limit) if limit <= Self::MAX => Ok(FlowLimit(limit)),
            _ => Err(format!("limit {limit} is too high: at most {} at a time", Self::MAX)),
        }
    }
}

/// Why a request gets no answer, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct Refusal {
    pub message: String,
    pub hint: String,
}

impl Refusal {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), hint: hint.into() }
    }
}

/// An answer line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    Ok(T),
    Error(Refusal),
}

impl<T> From<Result<T, Refusal>> for Reply<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        result.map_or_else(Reply::Error, Reply::Ok)
    }
}

impl<T: Serialize> Reply<T> {
    /// The line, newline included.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("the model has only text keys and finite numbers");
        line.push(b'\n');
        line
    }
}

/// The answer line to a request line, which comes without its newline.
pub fn answer(line: &[u8], source: &dyn Source, commands: &dyn Commands) -> Vec<u8> {
    match Verb::of(line) {
        Verb::Route => carry_out(line, |change| commands.change_route(change)),
        Verb::Pool => carry_out(line, |change| commands.change_pool(change)),
        Verb::Host => carry_out(line, |change: &HostChange| commands.change_host(change)),
        Verb::Cetp => carry_out(line, |change: &CetpChange| commands.change_cetp(change)),
        Verb::Policy => carry_out(line, |change: &PolicyChange| commands.change_policy(change)),
        Verb::Show => show(line, source),
    }
}

/// Reads a command and does what it says.
fn carry_out<C: DeserializeOwned, T: Serialize>(
    line: &[u8],
    command: impl FnOnce(&C) -> Result<T, Refusal>,
) -> Vec<u8> {
    match serde_json::from_slice(line) {
        Ok(change) => Reply::from(command(&change)).to_line(),
        Err(error) => not_understood(&error),
    }
}

fn show(line: &[u8], source: &dyn Source) -> Vec<u8> {
    match serde_json::from_slice(line) {
        Ok(Request::Status {}) => Reply::Ok(source.status()).to_line(),
        Ok(Request::Ports {}) => Reply::Ok(source.ports()).to_line(),
        Ok(Request::Counters {}) => Reply::Ok(source.counters()).to_line(),
        Ok(Request::Runtime {}) => Reply::Ok(source.runtime()).to_line(),
        Ok(Request::Flows(filter)) => Reply::from(source.flows(&filter)).to_line(),
        Ok(Request::Neighbors {}) => Reply::Ok(source.neighbors()).to_line(),
        Ok(Request::Routes(filter)) => Reply::from(source.routes(&filter)).to_line(),
        Ok(Request::Pools {}) => Reply::Ok(source.pools()).to_line(),
        Ok(Request::Nat44(question)) => Reply::from(source.determined(&question)).to_line(),
        Ok(Request::Hosts(filter)) => Reply::from(source.hosts(&filter)).to_line(),
        Ok(Request::Dns {}) => Reply::from(source.dns()).to_line(),
        Ok(Request::Import {}) => Reply::from(source.import()).to_line(),
        Ok(Request::Prgw {}) => Reply::from(source.prgw()).to_line(),
        Ok(Request::Proxies(filter)) => Reply::from(source.proxies(&filter)).to_line(),
        Ok(Request::Cetp(filter)) => Reply::from(source.cetp(&filter)).to_line(),
        Ok(Request::Policy(filter)) => Reply::from(source.policy(&filter)).to_line(),
        Ok(Request::Explain(question)) => Reply::from(source.explain(&question)).to_line(),
        Err(error) => not_understood(&error),
    }
}

/// What a line is, by its key: then its errors are that one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Show,
    Route,
    Pool,
    Host,
    Policy,
    Cetp,
}

impl Verb {
    fn of(line: &[u8]) -> Verb {
        #[derive(Deserialize)]
        struct Keys {
            route: Option<IgnoredAny>,
            pool: Option<IgnoredAny>,
            show: Option<IgnoredAny>,
            host: Option<IgnoredAny>,
            policy: Option<IgnoredAny>,
            cetp: Option<IgnoredAny>,
        }
        match serde_json::from_slice(line) {
            Ok(Keys { route: Some(_), .. }) => Verb::Route,
            Ok(Keys { pool: Some(_), .. }) => Verb::Pool,
            Ok(Keys { policy: Some(_), .. }) => Verb::Policy,
            Ok(Keys { cetp: Some(_), .. }) => Verb::Cetp,
            // `host` is a filter too.
            Ok(Keys { host: Some(_), show: None, .. }) => Verb::Host,
            _ => Verb::Show,
        }
    }
}

fn not_understood(error: &serde_json::Error) -> Vec<u8> {
    refuse(
        format!("request not understood: {error}"),
        r#"send one JSON object a line, such as {"show":"status"}"#,
    )
}

/// The line that says why there is no answer.
pub fn refuse(message: impl Into<String>, hint: impl Into<String>) -> Vec<u8> {
    Reply::<()>::Error(Refusal::new(message, hint)).to_line()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|e| e.to_string())
    }

    #[test]
    fn requests_as_documented() {
        assert_eq!(parse(r#"{"show":"status"}"#), Ok(Request::Status {}));
        assert_eq!(parse(r#"{"show":"runtime"}"#), Ok(Request::Runtime {}));
        assert_eq!(parse(r#"{"show":"flows"}"#), Ok(Request::Flows(FlowFilter::default())));
        let filter = FlowFilter {
            host: Some([10, 0, 0, 2].into()),
            realm: Some("home".into()),
            limit: FlowLimit::try_from(7).unwrap(),
        };
        let line = r#"{"show":"flows","host":"10.0.0.2","realm":"home","limit":7}"#;
        assert_eq!(parse(line), Ok(Request::Flows(filter.clone())));
        assert_eq!(serde_json::to_string(&Request::Flows(filter)).unwrap(), line);
        for (line, question) in [
            (
                r#"{"show":"nat44","inside":{"realm":"home","address":"10.0.0.2"}}"#,
                Nat44Question::Inside { realm: "home".into(), address: [10, 0, 0, 2].into() },
            ),
            (
                r#"{"show":"nat44","public":{"address":"198.51.100.1","port":2047}}"#,
                Nat44Question::Public { address: [198, 51, 100, 1].into(), port: 2047 },
            ),
        ] {
            assert_eq!(parse(line), Ok(Request::Nat44(question.clone())));
            assert_eq!(serde_json::to_string(&Request::Nat44(question)).unwrap(), line);
        }
    }

    #[test]
    fn commands_as_documented() {
        let add = |to| {
            RouteChange::Add(RouteAddition {
                realm: "internet".into(),
                prefix: "0.0.0.0/0".parse().unwrap(),
                to,
                replace: false,
            })
        };
        let parse = |to: &str| {
            let line = format!(r#"{{"route":"add","realm":"internet","prefix":"0.0.0.0/0","to":{to}}}"#);
            assert_eq!(Verb::of(line.as_bytes()), Verb::Route);
            serde_json::from_str::<RouteChange>(&line).map_err(|e| e.to_string())
        };
        let gateways = vec![[203, 0, 113, 254].into()];
        let via = parse(r#"{"via":{"gateways":["203.0.113.254"]}}"#);
        assert_eq!(via, Ok(add(RouteTo::Via { gateways: gateways.clone(), interface: None })));
        let via = parse(r#"{"via":{"gateways":["203.0.113.254"],"interface":"out"}}"#);
        assert_eq!(via, Ok(add(RouteTo::Via { gateways, interface: Some("out".into()) })));
        assert_eq!(
            parse(r#"{"onlink":{"interface":"out"}}"#),
            Ok(add(RouteTo::OnLink { interface: "out".into() }))
        );
        assert_eq!(parse(r#""prohibit""#), Ok(add(RouteTo::Prohibit)));
        for (to, word) in [
            ("\"nowhere\"", "nowhere"),
            (r#"{"via":{}}"#, "gateways"),
            (r#"{"via":{"gateways":[],"x":1}}"#, "`x`"),
        ] {
            assert!(parse(to).unwrap_err().contains(word), "{to}");
        }
        let delete: RouteChange =
            serde_json::from_str(r#"{"route":"delete","realm":"internet","prefix":"::/0"}"#).unwrap();
        assert!(matches!(delete, RouteChange::Delete(RouteDeletion { realm, .. }) if realm == "internet"));
        let drain = r#"{"pool":"drain","name":"homes"}"#;
        assert_eq!(Verb::of(drain.as_bytes()), Verb::Pool);
        assert_eq!(
            serde_json::from_str::<PoolChange>(drain).unwrap(),
            PoolChange::Drain { name: "homes".into() }
        );
        let remove = r#"{"host":"remove","name":"a.ces.example"}"#;
        assert_eq!(Verb::of(remove.as_bytes()), Verb::Host);
        let name = "a.ces.example".into();
        assert_eq!(serde_json::from_str::<HostChange>(remove).unwrap(), HostChange::Remove { name });
        let policy = r#"{"policy":"add","host":"a.ces.example","rule":"nobody"}"#;
        assert_eq!(Verb::of(policy.as_bytes()), Verb::Policy, "there a host is whose");
        let (host, rule) = ("a.ces.example".into(), "nobody".into());
        let expected = PolicyChange::Add { host, rule, at: None };
        assert_eq!(serde_json::from_str::<PolicyChange>(policy).unwrap(), expected);
        let filtered = br#"{"show":"flows","host":"10.0.0.2"}"#;
        assert_eq!(Verb::of(filtered), Verb::Show, "there a host is a filter");
        assert_eq!([Verb::of(b"{\"show\":\"routes\"}"), Verb::of(b"[]")], [Verb::Show; 2]);
    }

    #[test]
    fn wrong_requests_say_what_is_wrong() {
        for (line, word) in [
            ("", "EOF"),
            ("[]", "show"),
            ("{}", "show"),
            (r#"{"show":"everything"}"#, "everything"),
            (r#"{"show":"status","host":"10.0.0.2"}"#, "host"),
            (r#"{"show":"runtime","interval":5}"#, "interval"),
            (r#"{"show":"flows","hots":"10.0.0.2"}"#, "hots"),
            (r#"{"show":"flows","host":"10.0.0"}"#, "IP address"),
            (r#"{"show":"flows","limit":10001}"#, "10001"),
            (r#"{"show":"flows","limit":-1}"#, "-1"),
            (r#"{"show":"flows","limit":"5"}"#, "\"5\""),
            (r#"{"show":"ports"} {"show":"ports"}"#, "trailing"),
            (r#"{"show":"proxies","address":"2001:db8::1"}"#, "IPv4"),
            (r#"{"show":"proxies","name":"x"}"#, "`name`"),
            (r#"{"show":"nat44"}"#, "map"),
            (r#"{"show":"nat44","inside":{"address":"10.0.0.2"}}"#, "realm"),
            (r#"{"show":"nat44","public":{"address":"10.0.0.2","port":65536}}"#, "65536"),
            (r#"{"show":"nat44","public":{"address":"10.0.0.2","port":1,"x":1}}"#, "`x`"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn build_then_parse_is_the_identity(host: Option<IpAddr>, realm: Option<String>, limit in 0..=10_000u64) {
            let limit = FlowLimit::try_from(limit).unwrap();
            let request = Request::Flows(FlowFilter { host, realm, limit });
            let line = serde_json::to_vec(&request).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Request>(&line).unwrap(), request);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line: Vec<u8>) {
            prop_assert!(serde_json::from_slice::<Request>(&line).is_err());
        }
    }
}
