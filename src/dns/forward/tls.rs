//! Whom a TLS upstream is believed to be.
//!
//! Guarantees: only a certificate that bears the configured name and comes from the configured authorities will do (RFC 8310, strict
//! profile). Never: falls back to anything else.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::Error;

/// Certificates that are read of the file: the system's has a hundred and some.
const AUTHORITIES_MAX: usize = 4096;

/// A client that trusts the authorities in the file at `path`.
pub(super) fn client(path: &Path) -> Result<ClientConfig, Error> {
    let wrong = |reason: String| Error::Authorities { path: path.into(), reason };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // One that can't be read is left out, as all clients do.
    for certificate in CertificateDer::pem_slice_iter(&text).take(AUTHORITIES_MAX).flatten() {
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The name that a certificate is to bear.
pub(super) fn name(text: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(text.to_owned()).map_err(|_| Error::TlsName(text.into()))
}
