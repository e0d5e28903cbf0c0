//! Several changes at once, against the naive oracle that makes them one after another.

use proptest::prelude::*;

use super::change::Change;
use super::model_tests::realms;
use super::{Conflict, Origin, Register};
use crate::config::{DomainName, Host, HostText};

/// Few names and addresses, so that they meet.
fn host() -> impl Strategy<Value = Host> {
    let addresses = prop::collection::btree_set(2..6u8, 0..3);
    (0..4usize, prop::option::of(0..4usize), addresses, any::<bool>()).prop_map(
        |(name, service, addresses, is_home)| {
            let addresses: Vec<String> = addresses.iter().map(|n| format!("\"10.0.0.{n}\"")).collect();
            let service = service.map(|n| format!("{{\"name\":\"s{n}.ces.example\"}}")).unwrap_or_default();
            let realm = if is_home { "home" } else { "office" };
            let text = format!(
                r#"{{"name":"h{name}.ces.example","realm":"{realm}","addresses":[{}],"services":[{service}]}}"#,
                addresses.join(",")
            );
            let text: HostText = serde_json::from_str(&text).expect("a host");
            realms().judge(&text).expect("a right host")
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let name = || (0..4usize).prop_map(|n| DomainName::new(&format!("h{n}.ces.example")).expect("a name"));
    let address = || (2..6u8).prop_map(|n| [10, 0, 0, n].into());
    prop_oneof![
        4 => (host(), any::<bool>()).prop_map(|(host, replace)| Change::Add { host, replace }),
        1 => name().prop_map(|name| Change::Remove { name }),
        2 => (name(), address()).prop_map(|(name, address)| Change::AddAddress { name, address }),
        1 => (name(), address()).prop_map(|(name, address)| Change::RemoveAddress { name, address }),
        2 => (name(), prop::collection::vec(address(), 0..3))
            .prop_map(|(name, addresses)| Change::ReplaceLease { name, addresses, dhcid: None }),
    ]
}

fn register(hosts: &[(Host, bool)], capacity: usize) -> Register {
    let mut register = Register::new(capacity);
    for (host, is_config) in hosts {
        let origin = if *is_config { Origin::Config } else { Origin::Runtime };
        // Some are in each other's way.
        let _ = register.insert(host, origin, false);
    }
    register
}

fn hosts(register: &Register) -> Vec<Host> {
    let mut hosts: Vec<Host> = register.iter_from(0).map(|host| host.host()).collect();
    hosts.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    hosts
}

proptest! {
    // Few of them meet.
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn all_or_none_as_one_after_another(
        before in prop::collection::vec((host(), prop::bool::weighted(0.2)), 0..6),
        changes in prop::collection::vec(change(), 0..5),
        capacity in 2..5usize,
    ) {
        let (mut at_once, mut one_by_one) = (register(&before, capacity), register(&before, capacity));
        let edits = at_once.judge_all(&changes);
        let names: std::collections::HashSet<_> = changes.iter().map(|c| c.name().to_string()).collect();
        if names.len() < changes.len() {
            // Or one before that is refused.
            prop_assert!(edits.is_err());
            return Ok(());
        }
        let mut is_refused = false;
        for change in &changes {
            match one_by_one.judge(change) {
                Ok(Some(edit)) => _ = one_by_one.apply(&edit),
                Ok(None) => {}
                Err(_) => {
                    is_refused = true;
                    break;
                }
            }
        }
        prop_assert_eq!(edits.is_err(), is_refused, "{:?}", edits);
        if let Ok(edits) = edits {
            for edit in &edits {
                at_once.apply(edit);
            }
            prop_assert_eq!(hosts(&at_once), hosts(&one_by_one));
        }
    }
}

#[test]
fn an_address_moves_in_one_go_and_in_the_right_order_only() {
    let name = |n| DomainName::new(&format!("h{n}.ces.example")).expect("a name");
    let text = r#"{"name":"h0.ces.example","realm":"home","addresses":["10.0.0.2"]}"#;
    let text: HostText = serde_json::from_str(text).expect("a host");
    let first = realms().judge(&text).expect("right");
    let second = Host { name: name(1), ..first.clone() };
    let register = register(&[(first, false)], 4);
    let gives = Change::RemoveAddress { name: name(0), address: [10, 0, 0, 2].into() };
    let takes = Change::Add { host: second, replace: false };
    assert_eq!(register.judge_all(&[gives.clone(), takes.clone()]).map(|edits| edits.len()), Ok(2));
    let refused = register.judge_all(&[takes, gives.clone()]);
    assert!(matches!(refused, Err(Conflict::Address { .. })), "{refused:?}");
    let twice = register.judge_all(&[gives.clone(), gives]);
    assert!(matches!(twice, Err(Conflict::Twice(_))), "{twice:?}");
}
