//! Files that change while the edge runs.

use super::super::reload::{PERIOD, Reload};
use super::*;

/// What [`Reload`] reads at `now`: whether it did, and what was wrong.
fn turn(
    reload: &mut Reload,
    config: &CetpIdentity,
    identities: &mut Identities,
    now: u64,
) -> Option<Result<(), String>> {
    let read = reload.turn(config, now)?;
    Some(read.map(|authorities| identities.replace(authorities)).map_err(|error| error.to_string()))
}

#[test]
fn who_is_revoked_meanwhile_is_refused_and_an_unreadable_list_leaves_the_last_good_one() {
    let directory = Directory::new("reload");
    let root = Ca::new("root");
    let with_serial = |serial: u64| {
        let mut params = params(&[EDGE], "edge");
        params.serial_number = Some(SerialNumber::from(serial));
        root.issue(&params, &PKCS_ED25519).0
    };
    let (good, bad) = (with_serial(7), with_serial(8));
    let list = |serials: &[u64]| {
        let list = root.list(serials, (2031, 1)).pem().expect("PEM");
        directory.write("root.crl", list)
    };
    let config = CetpIdentity {
        own: None,
        is_revocation_hard: true,
        clock_tolerance: 300,
        remembered: 16,
        authorities: vec![CetpAuthority {
            name: "far".into(),
            certificates: directory.write("root.pem", root.certificate.pem()),
            crls: vec![list(&[])],
            addresses: vec![],
            names: vec![],
            id: Kinds::one(4),
        }],
    };
    let mut identities = load::identities(&config).expect("right");
    let mut reload = Reload::new(1_000);
    assert_eq!([&good, &bad].map(|leaf| refused(&identities, &[leaf], NOW)), [None, None]);
    list(&[8]);
    assert_eq!(turn(&mut reload, &config, &mut identities, 999 + PERIOD), None, "not yet");
    assert_eq!(refused(&identities, &[&bad], NOW), None);
    assert_eq!(turn(&mut reload, &config, &mut identities, 1_000 + PERIOD), Some(Ok(())));
    let revoked = [None, Some(Refused::Revoked)];
    assert_eq!([&good, &bad].map(|leaf| refused(&identities, &[leaf], NOW)), revoked);
    // Half written, and then gone.
    for contents in [Some("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), None] {
        let path = directory.write("root.crl", contents.unwrap_or_default());
        if contents.is_none() {
            std::fs::remove_file(path).expect("it was there");
        }
        let mut late = Reload::new(0);
        let told = turn(&mut late, &config, &mut identities, PERIOD).expect("it is time");
        assert!(told.is_err_and(|why| why.contains("root.crl")), "{contents:?}");
        assert_eq!([&good, &bad].map(|leaf| refused(&identities, &[leaf], NOW)), revoked);
        // Not at once, but again.
        assert_eq!(turn(&mut late, &config, &mut identities, 2 * PERIOD - 1), None);
        assert!(turn(&mut late, &config, &mut identities, 2 * PERIOD).is_some_and(|told| told.is_err()));
    }
    list(&[]);
    assert_eq!(turn(&mut reload, &config, &mut identities, 1_000 + 2 * PERIOD), Some(Ok(())));
    assert_eq!([&good, &bad].map(|leaf| refused(&identities, &[leaf], NOW)), [None, None]);
}
