//! DNS over TLS: whom an upstream is believed to be.
//!
//! Guarantees: certificates are made by the test, for it alone. Never: uses the system's authorities.

use std::path::PathBuf;
use std::sync::Arc;

use ces::config::{DomainName, UpstreamProtocol};
use ces::dns::forward::{Error, Options, Resolver};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::asking::{ask, core, options, question, start, value};
use super::script::{Script, Via};

/// An authority, its file, and a server, `dns.example`, that has a certificate of its.
pub struct Authority {
    pub file: PathBuf,
    /// The server's, as PEM.
    pub key: String,
    pub certificate: String,
    server: Arc<ServerConfig>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

pub fn authority(of: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["dns.example".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let file = std::env::temp_dir().join(format!("ces-forward-{}-{of}.pem", std::process::id()));
    std::fs::write(&file, issuer.pem()).expect("it can be written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key_pem = key.serialize_pem();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a server");
    Authority { file, key: key_pem, certificate: certificate.pem(), server: Arc::new(server) }
}

fn tls(script: &Script, name: &str, authority: &Authority) -> Options {
    let name = DomainName::new(name).expect("a name");
    let mut options = options(&[(script.address, UpstreamProtocol::Tls(name))]);
    options.authorities.clone_from(&authority.file);
    options
}

#[test]
fn an_upstream_by_tls_is_asked_on_one_connection() {
    let authority = authority("right");
    let upstream = Script::tls(authority.server.clone(), |seen| vec![seen.address(300, 1)]);
    let resolver = start(tls(&upstream, "dns.example", &authority));
    for number in 0..5 {
        let answer = ask(&resolver, &question(&format!("n{number}.example"), RecordType::A));
        assert_eq!(answer.answers.len(), 1);
    }
    let seen = upstream.seen();
    assert!(seen.len() == 5 && seen.iter().all(|one| one.via == Via::Tls && one.from == seen[0].from));
    assert_eq!(value(&resolver, |counters| &counters.connected), 1);
    assert_eq!(value(&resolver, |counters| &counters.sent_tls), 5);
}

#[test]
fn one_with_another_name_or_of_another_authority_is_told_nothing() {
    let (ours, other) = (authority("ours"), authority("other"));
    for (name, trusted) in [("dns2.example", &ours), ("dns.example", &other)] {
        let upstream = Script::tls(ours.server.clone(), |seen| vec![seen.address(300, 1)]);
        let resolver = start(tls(&upstream, name, trusted));
        let answer = ask(&resolver, &question("secret.example", RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        assert!(upstream.seen().is_empty(), "the question must not reach it");
        assert_eq!(value(&resolver, |counters| &counters.connected), 0);
        assert!(value(&resolver, |counters| &counters.unreachable) > 0);
    }
}

#[test]
fn without_authorities_it_does_not_start() {
    let authority = authority("none");
    let upstream = Script::tls(authority.server.clone(), |seen| vec![seen.address(300, 1)]);
    std::fs::write(&authority.file, "nothing\n").expect("it can be written");
    let refused = Resolver::start(tls(&upstream, "dns.example", &authority), core(), || Ok(()));
    assert!(matches!(&refused, Err(Error::Authorities { .. })), "{refused:?}");
    std::fs::remove_file(&authority.file).expect("it is there");
    let refused = Resolver::start(tls(&upstream, "dns.example", &authority), core(), || Ok(()));
    assert!(matches!(&refused, Err(Error::Authorities { .. })), "{refused:?}");
}
