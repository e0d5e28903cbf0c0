//! One section of the network's shape: `[[interface]]`.
//!
//! Guarantees: a port and VLAN have one interface, and what it may send fits its port. Never: compares addresses.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::error::{Place, Report};
use super::model::{Interface, Port, TcpMss, Vlan};
use super::network::Names;
use super::ports::{MTU_MAX, MTU_MIN};
use super::section::{Located, Section};
use super::values;

const ADDRESSES_MAX: usize = 64;
/// VLAN identifiers but 0 (a priority without a VLAN) and 4,095 (reserved).
const VLAN_IDS: RangeInclusive<u16> = 1..=4094;
/// What every IPv6 link carries (RFC 8200 section 5).
const IPV6_MTU_MIN: u16 = 1280;
/// The IPv4 and TCP headers without options.
const HEADERS: u16 = 40;
/// The least that stacks accept as a segment's size.
const MSS_MIN: u16 = 88;

/// An interface as far as it could be read.
#[derive(Debug)]
pub(super) struct InterfaceDraft {
    /// Where the section begins.
    pub place: Place,
    name: Option<String>,
    /// Index of its port.
    pub port: Option<u16>,
    vlan: Option<Vlan>,
    /// [`Realm::id`](super::model::Realm::id).
    pub realm: Option<u16>,
    pub addresses: Vec<Located<IpNet>>,
    mtu: Option<u16>,
    tcp_mss: TcpMss,
}

impl InterfaceDraft {
    /// Its name and its MTU, as far as they could be read.
    pub fn named_mtu(&self) -> Option<(&str, u16)> {
        self.name.as_deref().zip(self.mtu)
    }

    /// The interface; `None` if anything of it was refused.
    pub fn finish(self) -> Option<Interface> {
        Some(Interface {
            name: self.name?,
            port: self.port?,
            vlan: self.vlan?,
            realm: self.realm?,
            addresses: self.addresses.into_iter().map(|address| address.value).collect(),
            mtu: self.mtu?,
            tcp_mss: self.tcp_mss,
        })
    }
}

/// The interface and its name, which may be the default. `taken` has the ports and VLANs of the interfaces before it.
pub(super) fn read(
    report: &Report<'_>,
    mut section: Section<'_>,
    ports: &[Port],
    port_names: &Names,
    realm_names: &Names,
    taken: &mut HashSet<(u16, Vlan)>,
) -> (Option<Located<String>>, InterfaceDraft) {
    let written = section.parse("name", values::name);
    let port = section.require("port", values::reference, "write port = \"…\", the name of a [[port]]");
    let vlan = read_vlan(report, &mut section);
    let realm = section.require("realm", values::reference, "write realm = \"…\", the name of a [[realm]]");
    let addresses = section.strings("addresses", 0..=ADDRESSES_MAX, values::host_prefix).unwrap_or_default();
    let mtu = section.integer("mtu", MTU_MIN..=MTU_MAX);
    let tcp_mss = read_mss(&mut section);
    let place = section.place();
    section.finish();

    let vlan_value = vlan.map(|vlan| vlan.value);
    let index = port.as_ref().and_then(|port| port_names.resolve(report, port));
    let is_taken = match (&port, index, vlan) {
        (Some(port), Some(index), Some(vlan)) if !taken.insert((index, vlan.value)) => {
            refuse_taken(report, port, &vlan);
            true
        }
        _ => false,
    };
    let name = match (written, &port) {
        (Some(written), _) => Some(written),
        // Its default name is taken as well: one refusal is enough.
        (None, Some(port)) if !is_taken => default_name(report, port, vlan_value),
        (None, _) => None,
    };
    let port_mtu = port.and_then(|port| ports.iter().find(|known| known.name == port.value)).map(|it| it.mtu);
    let mtu = port_mtu.and_then(|port_mtu| check_mtu(report, mtu, port_mtu, &addresses));
    let tcp_mss = check_mss(report, tcp_mss, mtu);
    let realm = realm.and_then(|realm| realm_names.resolve(report, &realm)).map(|index| index + 1);
    let name_value = name.as_ref().map(|name| name.value.clone());
    let draft = InterfaceDraft {
        place,
        name: name_value,
        port: index,
        vlan: vlan_value,
        realm,
        addresses,
        mtu,
        tcp_mss,
    };
    (name, draft)
}

/// The tags; they stand at the section's place where no key does. `None` if they were refused.
fn read_vlan(report: &Report<'_>, section: &mut Section<'_>) -> Option<Located<Vlan>> {
    if !section.contains("vlan") {
        return Some(Located { value: Vlan::Untagged, place: section.place() });
    }
    if !section.is_list("vlan") {
        let id = section.integer("vlan", VLAN_IDS)?;
        return Some(Located { value: Vlan::Single(id.value), place: id.place });
    }
    let written = section.length("vlan");
    let ids = section.integers("vlan", 1..=2, VLAN_IDS, "200, 100")?;
    match ids[..] {
        [outer, inner] => {
            let value = Vlan::Double { outer: outer.value, inner: inner.value };
            Some(Located { value, place: outer.place })
        }
        [only] if written == 1 => {
            let hint = format!("write vlan = {} for one tag, or [S-TAG, C-TAG]", only.value);
            report.refuse(only.place, "the list has one tag", hint);
            None
        }
        _ => None,
    }
}

fn refuse_taken(report: &Report<'_>, port: &Located<String>, vlan: &Located<Vlan>) {
    let name = &port.value;
    match vlan.value {
        Vlan::Untagged => {
            let message = format!("port \"{name}\" has an interface already");
            report.refuse(port.place, message, "write another port, or a vlan that none has");
        }
        tagged => {
            let message = format!("port \"{name}\" has an interface with vlan = {tagged} already");
            report.refuse(vlan.place, message, "write another vlan or another port");
        }
    }
}

/// The port's name and the tags' identifiers. `None` if that is no name, and that was said.
fn default_name(report: &Report<'_>, port: &Located<String>, vlan: Option<Vlan>) -> Option<Located<String>> {
    let value = match vlan? {
        Vlan::Untagged => port.value.clone(),
        Vlan::Single(id) => format!("{}-{id}", port.value),
        Vlan::Double { outer, inner } => format!("{}-{outer}-{inner}", port.value),
    };
    // What is not a name is no port's either, and that is said of the port.
    if values::name(&value).is_err() && values::name(&port.value).is_ok() {
        let message = format!("the interface would be named \"{value}\", which is longer than 32 characters");
        report.refuse(port.place, message, "write name = \"…\" in the section");
        return None;
    }
    Some(Located { value, place: port.place })
}

/// The MTU: `mtu` if it is written, or the port's. `None` if it was refused.
fn check_mtu(
    report: &Report<'_>,
    mtu: Option<Located<u16>>,
    port_mtu: u16,
    addresses: &[Located<IpNet>],
) -> Option<u16> {
    if let Some(mtu) = mtu.filter(|mtu| mtu.value > port_mtu) {
        let message = format!("{} is more than the port's MTU, {port_mtu}", mtu.value);
        report.refuse(mtu.place, message, format!("write {port_mtu} or less, or a larger port.mtu"));
        return None;
    }
    let effective = mtu.map_or(port_mtu, |mtu| mtu.value);
    let ipv6 = addresses.iter().find(|address| matches!(address.value, IpNet::V6(_)));
    if let Some(ipv6) = ipv6.filter(|_| effective < IPV6_MTU_MIN) {
        let message = format!(
            "an MTU of {effective} is less than the {IPV6_MTU_MIN} that IPv6 needs (RFC 8200 section 5)"
        );
        let hint = match mtu {
            Some(_) => format!("write {IPV6_MTU_MIN} or more, or remove the IPv6 addresses"),
            None => format!("write port.mtu = {IPV6_MTU_MIN} or more, or remove the IPv6 addresses"),
        };
        report.refuse(mtu.map_or(ipv6.place, |mtu| mtu.place), message, hint);
        return None;
    }
    Some(effective)
}

fn read_mss(section: &mut Section<'_>) -> Option<Located<TcpMss>> {
    if section.is_integer("tcp_mss") {
        let most = section.integer("tcp_mss", MSS_MIN..=MTU_MAX - HEADERS)?;
        return Some(Located { value: TcpMss::AtMost(most.value), place: most.place });
    }
    let other = format!(", or a number from {MSS_MIN} to the MTU less {HEADERS}, without quotes");
    section.choice_or("tcp_mss", &[("auto", TcpMss::Auto), ("off", TcpMss::Off)], &other)
}

/// The segment size, refused when it doesn't fit a known MTU.
fn check_mss(report: &Report<'_>, mss: Option<Located<TcpMss>>, mtu: Option<u16>) -> TcpMss {
    let Some(Located { value, place }) = mss else { return TcpMss::Auto };
    if let (TcpMss::AtMost(most), Some(mtu)) = (value, mtu)
        && most > mtu.saturating_sub(HEADERS)
    {
        let message = format!("segments of {most} bytes and their headers do not fit the MTU, {mtu}");
        let hint = match mtu - HEADERS {
            ..MSS_MIN => "write \"auto\" or \"off\": the MTU is too small for a number".into(),
            fits => format!("write {fits} or less, \"auto\" or \"off\""),
        };
        report.refuse(place, message, hint);
    }
    value
}
