//! Tests of the routes: longest match against a naive oracle, and what is refused.

use super::*;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

fn via(interface: u16, gateway: &str) -> NextHop {
    NextHop { interface, gateway: Some(gateway.parse().unwrap()) }
}

#[test]
fn longest_prefix_wins_within_its_realm() {
    let mut builder = RouteTableBuilder::default();
    let connected = NextHop { interface: 1, gateway: None };
    builder.insert(7, "0.0.0.0/0".parse().unwrap(), via(2, "198.51.100.1"), Origin::Static).unwrap();
    builder.insert(7, "10.0.0.1/8".parse().unwrap(), connected, Origin::Static).unwrap();
    builder.insert(7, "10.9.0.0/16".parse().unwrap(), Route::Blackhole, Origin::Static).unwrap();
    builder.insert(8, "10.9.9.9/32".parse().unwrap(), via(3, "10.9.9.1"), Origin::Static).unwrap();
    builder.insert(8, "::/0".parse().unwrap(), via(3, "fe80::1"), Origin::Static).unwrap();
    let table = builder.build();

    let ask = |realm, address: &str| table.lookup4(realm, address.parse().unwrap()).cloned();
    assert_eq!(ask(7, "10.1.2.3"), Some(connected.into()));
    assert_eq!(ask(7, "10.9.9.9"), Some(Route::Blackhole));
    assert_eq!(ask(7, "192.0.2.1"), Some(via(2, "198.51.100.1").into()));
    assert_eq!(ask(8, "10.9.9.9"), Some(via(3, "10.9.9.1").into()));
    assert_eq!(ask(8, "10.9.9.8"), None);
    assert_eq!(ask(9, "10.1.2.3"), None);
    assert_eq!(table.lookup6(7, Ipv6Addr::LOCALHOST), None);
    assert_eq!(table.lookup6(8, Ipv6Addr::LOCALHOST), Some(&via(3, "fe80::1").into()));
}

#[test]
fn the_neighbor_is_the_gateway_or_the_destination() {
    let destination = "192.0.2.7".parse().unwrap();
    assert_eq!(NextHop { interface: 0, gateway: None }.neighbor(destination), destination);
    assert_eq!(via(0, "198.51.100.1").neighbor(destination), IpAddr::from([198, 51, 100, 1]));
}

#[test]
fn a_duplicate_names_both_routes_and_the_first_stays() {
    let mut builder = RouteTableBuilder::default();
    builder.insert(7, "10.0.0.0/8".parse().unwrap(), via(2, "198.51.100.1"), Origin::Static).unwrap();
    let error =
        builder.insert(7, "10.0.0.1/8".parse().unwrap(), Route::Blackhole, Origin::Static).unwrap_err();
    let text = error.to_string();
    for part in ["realm 7", "10.0.0.0/8", "via 198.51.100.1 on interface 2", "blackhole"] {
        assert!(text.contains(part), "{text}");
    }
    builder.insert(8, "10.0.0.0/8".parse().unwrap(), Route::Blackhole, Origin::Static).unwrap();
    let table = builder.build();
    assert_eq!(table.lookup4(7, Ipv4Addr::new(10, 0, 0, 1)), Some(&via(2, "198.51.100.1").into()));
    assert_eq!(table.lookup4(8, Ipv4Addr::new(10, 0, 0, 1)), Some(&Route::Blackhole));
}

#[test]
fn workers_can_share_a_table() {
    fn shareable<T: Send + Sync>() {}
    shareable::<RouteTable>();
}

/// Every route, in a list, searched from end to end.
type Oracle = Vec<(u16, IpNet, Route)>;

fn oracle_lookup(oracle: &Oracle, realm: u16, destination: IpAddr) -> Option<&Route> {
    let covering = oracle.iter().filter(|(r, net, _)| *r == realm && net.contains(&destination));
    covering.max_by_key(|(_, net, _)| net.prefix_len()).map(|(_, _, route)| route)
}

/// Few realms and address bits that differ in few places, so that prefixes overlap and lookups hit.
fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    (any::<u32>(), any::<u32>()).prop_map(|(a, b)| Ipv4Addr::from_bits(0x0a00_0000 ^ (a & b & 0x8103_0103)))
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    (any::<u128>(), any::<u128>()).prop_map(|(a, b)| {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) ^ (a & b & 0x8000_0000_0003_0000_8001_0000_0000_0103))
    })
}

fn prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (ipv4(), 0..=32u8).prop_map(|(address, len)| Ipv4Net::new(address, len).unwrap().into()),
        (ipv6(), 0..=128u8).prop_map(|(address, len)| Ipv6Net::new(address, len).unwrap().into()),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let gateway = proptest::option::of(prop_oneof![ipv4().prop_map(IpAddr::V4), ipv6().prop_map(IpAddr::V6)]);
    prop_oneof![
        4 => (any::<u16>(), gateway).prop_map(|(interface, gateway)| NextHop { interface, gateway }.into()),
        2 => prop::sample::select(vec![Route::Blackhole, Route::Unreachable, Route::Prohibit]),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_linear_search(
        routes in vec((0..3u16, prefix(), route()), 0..60),
        asked in vec((0..4u16, ipv4(), ipv6()), 1..60),
    ) {
        let (mut builder, mut oracle) = (RouteTableBuilder::default(), Oracle::new());
        for (realm, prefix, route) in routes {
            let known = oracle.iter().find(|(r, net, _)| (*r, *net) == (realm, prefix.trunc()));
            let expected = known.map_or(Ok(()), |(realm, prefix, first)| {
                let (first, second) = (first.clone(), route.clone());
                Err(RouteError::Duplicate { realm: *realm, prefix: *prefix, first, second })
            });
            prop_assert_eq!(&builder.insert(realm, prefix, route.clone(), Origin::Static), &expected);
            if expected.is_ok() {
                oracle.push((realm, prefix.trunc(), route));
            }
        }
        let table = builder.build();
        for (realm, ipv4, ipv6) in asked {
            prop_assert_eq!(table.lookup4(realm, ipv4), oracle_lookup(&oracle, realm, ipv4.into()));
            prop_assert_eq!(table.lookup6(realm, ipv6), oracle_lookup(&oracle, realm, ipv6.into()));
        }
    }
}
