//! The edge's identity and the authorities, from the files that `[cetp.identity]` names.
//!
//! Guarantees: what is loaded fits together: the key is the certificate's, and the certificate is of the edge's name. Never: reads a
//! file that the configuration does not name, or more than [`FILE_MAX`] bytes of one.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use webpki::{EndEntityCert, OwnedCertRevocationList, anchor_from_trusted_cert};

use super::chain::check_size;
use super::key::{BadKey, OwnKey, PublicKey};
use super::{Authorities, Authority, Identities, Refused, Revocation};
use crate::config::{CetpAuthority, CetpIdentity, CetpOwn, DomainName};
use crate::edge::policy::NameSet;

/// Most bytes of a file.
pub const FILE_MAX: u64 = 64 << 20;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: has nothing of {what} in PEM; write the file of the {key}", .path.display())]
    Nothing { path: PathBuf, what: &'static str, key: &'static str },
    #[error("{}: is no PEM: {source:?}", .path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{}: {source}", .path.display())]
    Key { path: PathBuf, source: BadKey },
    #[error("{}: {source}", .path.display())]
    Chain { path: PathBuf, source: Refused },
    #[error("{}: a root certificate, or a revocation list, cannot be read: {source}", .path.display())]
    Authority { path: PathBuf, source: webpki::Error },
    #[error("{}: is not the key of the certificate {}", .key.display(), .certificate.display())]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error("{}: has not the name {name}, which dns.edge.cesid is; have a certificate made with that DNS name", .path.display())]
    Name { path: PathBuf, name: DomainName },
}

/// The edge's own certificate and key.
#[derive(Debug)]
pub struct Own {
    /// In DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    pub key: OwnKey,
    /// Where the authority that answers for it is found.
    pub ca_address: Option<String>,
}

/// The authorities, read now; again when their lists have changed.
///
/// # Errors
/// Which file is wrong, and what to do about it.
pub fn authorities(config: &CetpIdentity) -> Result<Authorities, Error> {
    let revocation = if config.is_revocation_hard { Revocation::Hard } else { Revocation::Soft };
    let mut authorities = Authorities::new(revocation, config.clock_tolerance.into());
    for authority in &config.authorities {
        read_authority(authority, &mut authorities)?;
    }
    Ok(authorities)
}

/// Everything about others.
///
/// # Errors
/// As [`authorities`].
pub fn identities(config: &CetpIdentity) -> Result<Identities, Error> {
    let remembered = NonZeroUsize::new(config.remembered as usize).unwrap_or(NonZeroUsize::MIN);
    Ok(Identities::new(authorities(config)?, remembered))
}

fn read_authority(config: &CetpAuthority, into: &mut Authorities) -> Result<(), Error> {
    let path = &config.certificates;
    let wrong = |path: &Path, source| Error::Authority { path: path.into(), source };
    let certificates: Vec<CertificateDer<'static>> = items(path, "certificates", "root certificates")?;
    let anchor = |der: &CertificateDer<'static>| {
        anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()).map_err(|source| wrong(path, source))
    };
    let anchors = certificates.iter().map(anchor).collect::<Result<_, _>>()?;
    let mut lists = Vec::new();
    for path in &config.crls {
        for der in
            items::<CertificateRevocationListDer<'static>>(path, "revocation lists", "revocation list")?
        {
            let list = OwnedCertRevocationList::from_der(&der).map_err(|source| wrong(path, source))?;
            lists.push(list.into());
        }
    }
    let authority = Authority {
        name: config.name.clone(),
        addresses: config.addresses.clone(),
        names: NameSet::of(&config.names),
        id: config.id,
    };
    into.push(authority, anchors, lists);
    Ok(())
}

/// The edge's own identity, by the name that it has.
///
/// # Errors
/// Which file is wrong, and what to do about it.
pub fn own(config: &CetpOwn, cesid: &DomainName) -> Result<Own, Error> {
    let path = || config.certificate.clone();
    let certificates: Vec<CertificateDer<'static>> =
        items(&config.certificate, "certificates", "edge's certificate")?;
    let chain: Vec<&[u8]> = certificates.iter().map(|der| &**der).collect();
    let bad = |source| Error::Chain { path: path(), source };
    check_size(&chain).map_err(bad)?;
    let leaf = EndEntityCert::try_from(&certificates[0]).map_err(|_| bad(Refused::Malformed))?;
    let public = PublicKey::of(&leaf).ok_or(bad(Refused::Key))?;
    if !leaf.valid_dns_names().any(|name| name.eq_ignore_ascii_case(cesid.as_str())) {
        return Err(Error::Name { path: path(), name: cesid.clone() });
    }
    let keys: Vec<PrivatePkcs8KeyDer<'static>> = items(&config.key, "private keys (PKCS #8)", "edge's key")?;
    let key = OwnKey::from_pkcs8(keys[0].secret_pkcs8_der());
    let key = key.map_err(|source| Error::Key { path: config.key.clone(), source })?;
    if !key.belongs_to(&public) {
        return Err(Error::Mismatch { key: config.key.clone(), certificate: path() });
    }
    let chain = certificates.iter().map(|der| der.to_vec()).collect();
    Ok(Own { chain, key, ca_address: config.ca_address.clone() })
}

/// The items of a kind in a file: one or more.
fn items<T: PemObject>(path: &Path, what: &'static str, key: &'static str) -> Result<Vec<T>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(unreadable(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            "it is longer than 64 MiB",
        )));
    }
    let items: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    let items = items.map_err(|source| Error::Pem { path: path.into(), source })?;
    if items.is_empty() { Err(Error::Nothing { path: path.into(), what, key }) } else { Ok(items) }
}
