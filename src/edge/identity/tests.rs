//! Chains, good and bad, of authorities that are made here; and the edge's own identity.

mod reload;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, RevokedCertParams, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};

use super::*;
use crate::config::{CetpAuthority, CetpIdentity, CetpOwn, DomainName, Kinds, NamePattern};
use crate::edge::policy::NameSet;

/// 2030-01-01, 2031-01-01 and a day between them, in seconds.
const FROM: u64 = 1_893_456_000;
const TO: u64 = 1_924_992_000;
const NOW: u64 = FROM + 5_000_000;
const TOLERANCE: u64 = 300;
const EDGE: &str = "ces.far.example";

struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn params(names: &[&str], subject: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2031, 1, 1));
    params
}

impl Ca {
    fn params(subject: &str) -> CertificateParams {
        let mut params = params(&[], subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn new(subject: &str) -> Ca {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let params = Ca::params(subject);
        let certificate = params.self_signed(&key).expect("a certificate");
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    fn below(&self, subject: &str) -> Ca {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let params = Ca::params(subject);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(
        &self,
        params: &CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> (Certificate, KeyPair) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    fn leaf(&self, names: &[&str]) -> Certificate {
        self.issue(&params(names, "edge"), &PKCS_ED25519).0
    }

    /// A list of these serial numbers, in force until then.
    fn list(&self, serials: &[u64], (year, month): (i32, u8)) -> rcgen::CertificateRevocationList {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2030, 1, 2),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2030, 1, 2),
            next_update: date_time_ymd(year, month, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list")
    }
}

fn authority(name: &str, names: &[&str]) -> Authority {
    let pattern = |text: &&str| NamePattern {
        name: DomainName::new(text.trim_start_matches('.')).expect("a name"),
        is_domain: text.starts_with('.'),
    };
    let names: Vec<NamePattern> = names.iter().map(pattern).collect();
    Authority {
        name: name.into(),
        addresses: vec![format!("ca.{name}.example")],
        names: NameSet::of(&names),
        id: Kinds::one(4),
    }
}

fn authorities(
    revocation: Revocation,
    list: &[(&Ca, Authority, &[rcgen::CertificateRevocationList])],
) -> Authorities {
    let mut authorities = Authorities::new(revocation, TOLERANCE);
    for (ca, authority, lists) in list {
        let anchor = anchor_from_trusted_cert(ca.certificate.der()).expect("an anchor").to_owned();
        let list = |list: &rcgen::CertificateRevocationList| -> CertRevocationList<'static> {
            OwnedCertRevocationList::from_der(list.der()).expect("a list").into()
        };
        let authority = Authority {
            name: authority.name.clone(),
            addresses: authority.addresses.clone(),
            names: None,
            ..*authority
        };
        authorities.push(authority, vec![anchor], lists.iter().map(list).collect());
    }
    authorities
}

fn identities(authorities: Authorities) -> Identities {
    Identities::new(authorities, NonZeroUsize::new(16).expect("not zero"))
}

fn of(ca: &Ca) -> Identities {
    identities(authorities(Revocation::Soft, &[(ca, authority("far", &[]), &[])]))
}

fn refused(identities: &Identities, chain: &[&Certificate], now: u64) -> Option<Refused> {
    let chain: Vec<&[u8]> = chain.iter().map(|certificate| &certificate.der()[..]).collect();
    identities.identify(&chain, Name::new(EDGE).expect("a name"), None, now).err()
}

#[test]
fn a_chain_up_to_an_authority_proves_the_name_it_has() {
    let root = Ca::new("root");
    let middle = root.below("middle");
    let identities = of(&root);
    assert_eq!(refused(&identities, &[&root.leaf(&[EDGE])], NOW), None);
    assert_eq!(
        refused(&identities, &[&middle.leaf(&["x.example", "CES.Far.Example"]), &middle.certificate], NOW),
        None
    );
    assert_eq!(
        refused(&identities, &[&middle.leaf(&[EDGE])], NOW),
        Some(Refused::Untrusted),
        "without the middle"
    );
}

#[test]
fn another_name_is_not_proven_however_alike() {
    let root = Ca::new("root");
    let identities = of(&root);
    for names in [
        &["ces.far.example.org"][..],
        &["xces.far.example"],
        &["far.example"],
        &["x.ces.far.example"],
        &["*.far.example"],
        &[],
        &["192.0.2.1"],
    ] {
        assert_eq!(refused(&identities, &[&root.leaf(names)], NOW), Some(Refused::WrongName), "{names:?}");
    }
    let mut common = params(&["x.example"], EDGE);
    common.distinguished_name.push(DnType::CommonName, EDGE);
    let leaf = root.issue(&common, &PKCS_ED25519).0;
    assert_eq!(refused(&identities, &[&leaf], NOW), Some(Refused::WrongName), "a common name is no name");
}

#[test]
fn validity_has_the_tolerance_of_clocks_and_no_more() {
    let root = Ca::new("root");
    let leaf = root.leaf(&[EDGE]);
    for (now, expected) in [
        (FROM - TOLERANCE - 1, Some(Refused::NotYet)),
        (FROM - TOLERANCE, None),
        (TO, None),
        (TO + TOLERANCE - 1, None),
        (TO + TOLERANCE + 1, Some(Refused::Expired)),
    ] {
        assert_eq!(refused(&of(&root), &[&leaf], now), expected, "{now}");
    }
    // One that is remembered ends as it would have.
    let identities = of(&root);
    assert_eq!(refused(&identities, &[&leaf], TO + TOLERANCE - 100), None);
    assert_eq!(refused(&identities, &[&leaf], TO + TOLERANCE + 1), Some(Refused::Expired));
}

#[test]
fn whoever_is_not_on_the_list_is_not_believed() {
    let (root, other) = (Ca::new("root"), Ca::new("root"));
    let leaf = other.leaf(&[EDGE]);
    assert_eq!(
        refused(&of(&root), &[&leaf], NOW),
        Some(Refused::Untrusted),
        "of the same subject, by another key"
    );
    assert_eq!(refused(&of(&root), &[&leaf, &other.certificate], NOW), Some(Refused::Untrusted));
    let own = params(&[EDGE], "edge").self_signed(&KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
    assert_eq!(refused(&of(&root), &[&own.expect("a certificate")], NOW), Some(Refused::Untrusted));
    let none = identities(Authorities::new(Revocation::Soft, TOLERANCE));
    assert_eq!(refused(&none, &[&leaf], NOW), Some(Refused::Untrusted));
}

#[test]
fn an_authority_certifies_its_own_names_only() {
    let (far, near) = (Ca::new("far"), Ca::new("near"));
    let mut authorities = Authorities::new(Revocation::Soft, TOLERANCE);
    for (ca, name, names) in [(&far, "far", [".far.example"]), (&near, "near", [".near.example"])] {
        let anchor = anchor_from_trusted_cert(ca.certificate.der()).expect("an anchor").to_owned();
        authorities.push(authority(name, &names), vec![anchor], vec![]);
    }
    let identities = identities(authorities);
    assert_eq!(refused(&identities, &[&far.leaf(&[EDGE])], NOW), None);
    assert_eq!(refused(&identities, &[&near.leaf(&[EDGE])], NOW), Some(Refused::NotItsName));
}

#[test]
fn an_address_selects_an_authority_of_the_list() {
    let (far, near) = (Ca::new("far"), Ca::new("near"));
    let both = [(&far, authority("far", &[]), &[][..]), (&near, authority("near", &[]), &[][..])];
    let identities = identities(authorities(Revocation::Soft, &both));
    let list = identities.authorities();
    let id = |address| list.by_address(address);
    assert_eq!(id("CA.near.example").map(|id| list.get(id).name.as_str()), Some("near"));
    for stranger in ["", "near.example", "ca.near.example.evil.example", "http://192.0.2.1/ca"] {
        assert_eq!(id(stranger), None, "{stranger}");
    }
    let leaf = far.leaf(&[EDGE]);
    let identify = |authority| {
        let found = identities.identify(&[leaf.der()], Name::new(EDGE).expect("a name"), authority, NOW);
        found.map(|certified| list.get(certified.authority).name.clone())
    };
    assert_eq!(identify(None), Ok("far".into()));
    assert_eq!(identify(id("ca.far.example")), Ok("far".into()));
    assert_eq!(identify(id("ca.near.example")), Err(Refused::Untrusted), "what is remembered is another's");
}

#[test]
fn a_revoked_certificate_is_refused_hard_or_soft() {
    let root = Ca::new("root");
    let with_serial = |serial: u64| {
        let mut params = params(&[EDGE], "edge");
        params.serial_number = Some(SerialNumber::from(serial));
        root.issue(&params, &PKCS_ED25519).0
    };
    let (good, bad) = (with_serial(7), with_serial(8));
    let (fresh, old) = (root.list(&[8], (2031, 1)), root.list(&[8], (2030, 2)));
    let judge = |revocation, lists: &[rcgen::CertificateRevocationList], leaf: &Certificate| {
        let identities = identities(authorities(revocation, &[(&root, authority("far", &[]), lists)]));
        refused(&identities, &[leaf], NOW)
    };
    let (fresh, old) = ([fresh], [old]);
    for revocation in [Revocation::Hard, Revocation::Soft] {
        assert_eq!(judge(revocation, &fresh, &good), None, "{revocation:?}");
        assert_eq!(judge(revocation, &fresh, &bad), Some(Refused::Revoked), "{revocation:?}");
    }
    let unknown = Some(Refused::RevocationUnknown);
    assert_eq!((judge(Revocation::Hard, &old, &good), judge(Revocation::Soft, &old, &good)), (unknown, None));
    assert_eq!(judge(Revocation::Soft, &old, &bad), Some(Refused::Revoked), "an old list is one");
    assert_eq!((judge(Revocation::Hard, &[], &good), judge(Revocation::Soft, &[], &good)), (unknown, None));
    let others = [Ca::new("other").list(&[7], (2031, 1))];
    assert_eq!(
        (judge(Revocation::Hard, &others, &good), judge(Revocation::Soft, &others, &good)),
        (unknown, None)
    );
}

#[test]
fn an_intermediate_authority_can_be_revoked() {
    let root = Ca::new("root");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut params = Ca::params("middle");
    params.serial_number = Some(SerialNumber::from(9));
    let certificate = params.signed_by(&key, &root.issuer).expect("a certificate");
    let middle = Ca { certificate, issuer: Issuer::new(params, key) };
    let lists = [root.list(&[9], (2031, 1))];
    let identities = identities(authorities(Revocation::Soft, &[(&root, authority("far", &[]), &lists)]));
    let chain = [&middle.leaf(&[EDGE]), &middle.certificate];
    assert_eq!(refused(&identities, &chain, NOW), Some(Refused::Revoked));
}

#[test]
fn what_a_certificate_is_for_is_kept_to() {
    let root = Ca::new("root");
    let identities = of(&root);
    for (purposes, expected) in [
        (vec![ExtendedKeyUsagePurpose::ServerAuth], None),
        (vec![ExtendedKeyUsagePurpose::EmailProtection, ExtendedKeyUsagePurpose::ClientAuth], None),
        (vec![ExtendedKeyUsagePurpose::CodeSigning], Some(Refused::Untrusted)),
    ] {
        let mut params = params(&[EDGE], "edge");
        params.extended_key_usages = purposes.clone();
        let leaf = root.issue(&params, &PKCS_ED25519).0;
        assert_eq!(refused(&identities, &[&leaf], NOW), expected, "{purposes:?}");
    }
    let mut ca = Ca::params("edge");
    ca.subject_alt_names = params(&[EDGE], "edge").subject_alt_names;
    let leaf = root.issue(&ca, &PKCS_ED25519).0;
    assert_eq!(refused(&identities, &[&leaf], NOW), Some(Refused::Untrusted), "an authority is no edge");
    let fake = root.issue(&params(&["middle.example"], "middle"), &PKCS_ECDSA_P256_SHA256);
    let issuer = Issuer::new(params(&[], "middle"), fake.1);
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let leaf = params(&[EDGE], "edge").signed_by(&key, &issuer).expect("a certificate");
    assert_eq!(
        refused(&identities, &[&leaf, &fake.0], NOW),
        Some(Refused::Untrusted),
        "an edge is no authority"
    );
    let odd = root.issue(&params(&[EDGE], "edge"), &PKCS_ECDSA_P384_SHA384).0;
    assert_eq!(refused(&identities, &[&odd], NOW), Some(Refused::Key));
}

#[test]
fn a_chain_is_short() {
    let mut cas = vec![Ca::new("root")];
    for depth in 1..=4 {
        cas.push(cas[depth - 1].below(&format!("middle {depth}")));
    }
    let identities = of(&cas[0]);
    let leaf = |depth: usize| cas[depth].leaf(&[EDGE]);
    let chain = |depth: usize| (1..=depth).rev().map(|depth| &cas[depth].certificate).collect::<Vec<_>>();
    let with = |leaf: &Certificate, depth| refused(&identities, &[&[leaf][..], &chain(depth)].concat(), NOW);
    assert_eq!(with(&leaf(3), 3), None);
    assert_eq!(with(&leaf(4), 4), Some(Refused::TooLong));
    let name = Name::new(EDGE).expect("a name");
    assert_eq!(identities.identify(&[], name, None, NOW).err(), Some(Refused::Empty));
    let long = vec![0; CHAIN_BYTES_MAX + 1];
    assert_eq!(identities.identify(&[&long], name, None, NOW).err(), Some(Refused::TooLong));
}

#[test]
fn chains_are_remembered_within_bounds_and_forgotten_with_their_authorities() {
    let root = Ca::new("root");
    let mut identities = of(&root);
    let leaf = root.leaf(&[EDGE]);
    for _ in 0..3 {
        assert_eq!(refused(&identities, &[&leaf], NOW), None);
    }
    assert_eq!(identities.remembered_count(), 1);
    assert_eq!(refused(&identities, &[&Ca::new("x").leaf(&[EDGE])], NOW), Some(Refused::Untrusted));
    assert_eq!(identities.remembered_count(), 1, "a bad chain takes nobody's place");
    for _ in 0..20 {
        assert_eq!(refused(&identities, &[&root.leaf(&[EDGE])], NOW), None);
    }
    assert_eq!(identities.remembered_count(), 16);

    assert_eq!(refused(&identities, &[&leaf], NOW), None);
    let other = Ca::new("other");
    identities.replace(authorities(Revocation::Soft, &[(&other, authority("far", &[]), &[])]));
    assert_eq!(refused(&identities, &[&leaf], NOW), Some(Refused::Untrusted));
}

#[test]
fn what_is_remembered_is_looked_at_again_after_a_while() {
    let root = Ca::new("root");
    let mut identities = of(&root);
    let leaf = root.leaf(&[EDGE]);
    assert_eq!(refused(&identities, &[&leaf], NOW), None);
    identities.authorities = Authorities::new(Revocation::Soft, TOLERANCE);
    identities.authorities.push(authority("far", &[]), vec![], vec![]);
    assert_eq!(refused(&identities, &[&leaf], NOW + REMEMBERED - 1), None);
    assert_eq!(refused(&identities, &[&leaf], NOW + REMEMBERED), Some(Refused::Untrusted));
}

/// A directory of its own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ces-identity-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_edges_own_identity_fits_together_and_signs() {
    let directory = Directory::new("own");
    let root = Ca::new("root");
    let cesid = DomainName::new(EDGE).expect("a name");
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
        let (leaf, key) = root.issue(&params(&[EDGE], "edge"), algorithm);
        let certificate = directory.write("edge.pem", leaf.pem());
        let config = CetpOwn {
            certificate: certificate.clone(),
            key: directory.write("edge.key", key.serialize_pem()),
            ca_address: None,
        };
        let own = load::own(&config, &cesid).expect("an identity");
        let chain: Vec<&[u8]> = own.chain.iter().map(|der| &der[..]).collect();
        let name = Name::from(&cesid);
        let certified = of(&root).identify(&chain, name, None, NOW).expect("certified");
        let (of, signature) = own.key.sign(b"a message").expect("a signature");
        assert_eq!(certified.key.verify(of, b"a message", &signature), Ok(()));
        assert_eq!(certified.key.verify(of, b"another one", &signature), Err(BadSignature));
        let other = if of == Algorithm::Ed25519 { Algorithm::EcdsaP256 } else { Algorithm::Ed25519 };
        assert_eq!(certified.key.verify(other, b"a message", &signature), Err(BadSignature));
        let mut wrong = signature;
        wrong[0] ^= 1;
        assert_eq!(certified.key.verify(of, b"a message", &wrong), Err(BadSignature));

        let own = |config: &CetpOwn, name: &str| {
            load::own(config, &DomainName::new(name).expect("a name")).expect_err("it is wrong").to_string()
        };
        assert!(own(&config, "ces.other.example").contains("has not the name ces.other.example"));
        let strange =
            directory.write("strange.key", KeyPair::generate_for(algorithm).expect("a key").serialize_pem());
        assert!(own(&CetpOwn { key: strange, ..config.clone() }, EDGE).contains("is not the key"));
        let swapped = CetpOwn { certificate: config.key.clone(), key: certificate, ca_address: None };
        assert!(own(&swapped, EDGE).contains("nothing of certificates"));
    }
    let gone = directory.0.join("gone");
    let gone = CetpOwn { certificate: gone.clone(), key: gone, ca_address: None };
    assert!(load::own(&gone, &cesid).expect_err("there is none").to_string().contains("No such file"));
}

#[test]
fn authorities_come_from_their_files() {
    let directory = Directory::new("authorities");
    let root = Ca::new("root");
    let leaf = {
        let mut params = params(&[EDGE], "edge");
        params.serial_number = Some(SerialNumber::from(8));
        root.issue(&params, &PKCS_ED25519).0
    };
    let authority = CetpAuthority {
        name: "far".into(),
        certificates: directory.write("root.pem", root.certificate.pem()),
        crls: vec![directory.write("root.crl", root.list(&[8], (2031, 1)).pem().expect("PEM"))],
        addresses: vec!["ca.far.example".into()],
        names: vec![NamePattern { name: DomainName::new("far.example").expect("a name"), is_domain: true }],
        id: Kinds::one(4),
    };
    let config = |authority: &CetpAuthority| CetpIdentity {
        own: None,
        is_revocation_hard: false,
        clock_tolerance: 300,
        remembered: 16,
        authorities: vec![authority.clone()],
    };
    let loaded = load::identities(&config(&authority)).expect("right");
    assert_eq!(refused(&loaded, &[&leaf], NOW), Some(Refused::Revoked));
    assert_eq!(refused(&loaded, &[&root.leaf(&[EDGE])], NOW), None);
    assert_eq!(loaded.authorities().by_address("ca.far.example"), Some(AuthorityId(0)));
    let wrong = |certificates: PathBuf| {
        let authority = CetpAuthority { certificates, ..authority.clone() };
        load::authorities(&config(&authority)).err().expect("wrong").to_string()
    };
    assert!(wrong(directory.write("empty.pem", "")).contains("nothing of certificates"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(wrong(directory.write("garbage.pem", garbage)).contains("cannot be read"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_for_a_chain_panic_or_prove_anything(
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
    ) {
        let identities = identities(Authorities::new(Revocation::Soft, TOLERANCE));
        let chain: Vec<&[u8]> = chain.iter().map(|der| &der[..]).collect();
        prop_assert!(identities.identify(&chain, Name::new(EDGE).expect("a name"), None, NOW).is_err());
    }

    #[test]
    fn a_chain_with_a_byte_changed_or_cut_off_proves_nothing(at in any::<proptest::sample::Index>(), bit in 0..8u32, is_cut in any::<bool>()) {
        use std::sync::LazyLock;
        static MADE: LazyLock<(Identities, Vec<u8>)> = LazyLock::new(|| {
            let root = Ca::new("root");
            (of(&root), root.leaf(&[EDGE]).der().to_vec())
        });
        let (identities, good) = &*MADE;
        let mut bad = good.clone();
        let at = at.index(bad.len());
        if is_cut { bad.truncate(at) } else { bad[at] ^= 1 << bit }
        let name = Name::new(EDGE).expect("a name");
        prop_assert!(identities.identify(&[good], name, None, NOW).is_ok());
        prop_assert!(identities.identify(&[&bad], name, None, NOW).is_err());
    }
}
