//! The link layer comes off at the door and goes on at the way out: between them every frame is an untagged Ethernet frame,
//! and its interface says which VLAN it is in (IEEE 802.1Q, 802.1ad). Where the device takes a tag off, or puts it on, nothing
//! is moved here.
//!
//! Never: looks at what the tags carry.

use super::classify::Ingress;
use crate::dpdk::Mbuf;

/// The VLAN of an interface as it is written: outer identifier 16 | inner identifier 16; 0 for no VLAN, an inner 0 for one
/// tag. A single tag is a C-tag (0x8100), the outer of two an S-tag (0x88a8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Vlan(pub u32);

impl Vlan {
    pub const NONE: Self = Self(0);

    pub const fn single(id: u16) -> Self {
        Self(id as u32)
    }

    pub const fn double(outer: u16, inner: u16) -> Self {
        Self(outer as u32 | (inner as u32) << 16)
    }

    const fn outer(self) -> u16 {
        self.0 as u16
    }

    const fn inner(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Bytes of its tags: 0, 4 or 8.
    pub const fn length(self) -> usize {
        (self.outer() != 0) as usize * 4 + (self.inner() != 0) as usize * 4
    }
}

/// The identifier in a tag's control information; 0 is "priority only, no VLAN".
const IDENTIFIER: u16 = 0x0fff;
const C_TAG: [u8; 2] = [0x81, 0x00];
const S_TAG: [u8; 2] = [0x88, 0xa8];
const ADDRESSES: usize = 12;
const TAG: usize = 4;
const NONE: u16 = u16::MAX;

/// The tag that begins at `place`, if one does: its identifier, and whether it is an S-tag.
#[inline(always)]
fn tag_at(frame: &[u8], place: usize) -> Option<(u16, bool)> {
    let [a, b, c, d] = *frame.get(place..)?.first_chunk::<TAG>()?;
    let is_tag = [a, b] == C_TAG || [a, b] == S_TAG;
    is_tag.then_some((u16::from_be_bytes([c, d]) & IDENTIFIER, [a, b] == S_TAG))
}

/// Takes the tags off, at most two, the device's among them; `None` for a frame that has a third, ends in one, or has an S-tag
/// elsewhere than before a C-tag. (A device does not say which kind it has taken off.)
#[inline(always)]
pub fn take_off(mbuf: &mut Mbuf) -> Option<Vlan> {
    let mut found = [0; 2];
    let mut service = [false; 2];
    let mut tags = 0;
    if let Some(control) = mbuf.rx_vlan_stripped() {
        found[0] = control & IDENTIFIER;
        tags = 1;
    }
    let mut length = 0;
    while let Some((id, is_service)) = tag_at(mbuf.data(), ADDRESSES + length) {
        *found.get_mut(tags)? = id;
        service[tags] = is_service;
        tags += 1;
        length += TAG;
    }
    let is_outer = length == 2 * TAG;
    if service[1] || service[0] != is_outer {
        return None;
    }
    if length > 0 {
        // The addresses move up to the type behind the tags.
        mbuf.data_mut().copy_within(..ADDRESSES, length);
        if !mbuf.adj(length) {
            return None;
        }
    }
    // A C-tag of priority only is none: the S-tag stands alone.
    if tags == 2 && found[1] == 0 && found[0] != 0 {
        return None;
    }
    // A tag of priority only is none.
    if found[0] == 0 {
        found = [found[1], 0];
    }
    Some(Vlan::double(found[0], found[1]))
}

/// Puts the tags of `vlan` on. Where `insert` says that the device can, it does so for a single one. `None`, and the packet is
/// gone to waste, without headroom.
#[inline(always)]
pub fn put_on(mbuf: &mut Mbuf, vlan: Vlan, insert: bool) -> Option<()> {
    let length = vlan.length();
    if insert && length == TAG {
        mbuf.set_tx_vlan(vlan.outer());
        return Some(());
    }
    mbuf.prepend(length)?;
    let frame = mbuf.data_mut();
    frame.copy_within(length..length + ADDRESSES, 0);
    let tags = frame.get_mut(ADDRESSES..ADDRESSES + length)?;
    let (outer, inner) = (vlan.outer().to_be_bytes(), vlan.inner().to_be_bytes());
    match length {
        TAG => tags.copy_from_slice(&[C_TAG[0], C_TAG[1], outer[0], outer[1]]),
        0 => (),
        _ => tags.copy_from_slice(&[
            S_TAG[0], S_TAG[1], outer[0], outer[1], C_TAG[0], C_TAG[1], inner[0], inner[1],
        ]),
    }
    Some(())
}

/// The interfaces of a port, by their VLANs.
pub struct Links {
    ingress: Box<[Ingress]>,
    /// For each outer identifier: the place in `ingress` of the interface with this tag alone, and in `inner` of the table
    /// of those behind it. Empty where no interface has a tag.
    outer: Box<[(u16, u16)]>,
    inner: Box<[[u16; 4096]]>,
    untagged: u16,
    ends_tunnels: bool,
}

impl Links {
    /// The interfaces of one port, each with its own VLAN.
    pub fn new(interfaces: &[(Vlan, Ingress)]) -> Self {
        let mut outer = vec![(NONE, NONE); 4096];
        let mut inner: Vec<[u16; 4096]> = vec![];
        let mut untagged = NONE;
        for (place, (vlan, _)) in interfaces.iter().enumerate() {
            let place = place as u16;
            let entry = &mut outer[usize::from(vlan.outer() & IDENTIFIER)];
            match vlan.length() {
                0 => untagged = place,
                TAG => entry.0 = place,
                _ => {
                    if entry.1 == NONE {
                        entry.1 = inner.len() as u16;
                        inner.push([NONE; 4096]);
                    }
                    inner[usize::from(entry.1)][usize::from(vlan.inner() & IDENTIFIER)] = place;
                }
            }
        }
        let tagged = interfaces.iter().any(|(v, _)| *v != Vlan::NONE);
        Self {
            ingress: interfaces.iter().map(|i| i.1).collect(),
            outer: if tagged { outer.into() } else { [].into() },
            inner: inner.into(),
            untagged,
            ends_tunnels: false,
        }
    }

    /// The same, where packets of other edges may come in.
    pub fn with_tunnels(self, ends_tunnels: bool) -> Self {
        Self { ends_tunnels, ..self }
    }

    /// Whether frames must be looked at for what other edges send.
    pub fn ends_tunnels(&self) -> bool {
        self.ends_tunnels
    }

    /// Whether frames must be looked at for tags.
    pub fn is_tagged(&self) -> bool {
        !self.outer.is_empty()
    }

    /// Whether the port has no interface.
    pub fn is_empty(&self) -> bool {
        self.ingress.is_empty()
    }

    /// The place of the interface with that VLAN.
    #[inline(always)]
    pub fn find(&self, vlan: Vlan) -> Option<u16> {
        let place = match vlan.length() {
            0 => self.untagged,
            length => {
                let (alone, behind) = *self.outer.get(usize::from(vlan.outer() & IDENTIFIER))?;
                if length == TAG {
                    alone
                } else {
                    self.inner.get(usize::from(behind))?[usize::from(vlan.inner() & IDENTIFIER)]
                }
            }
        };
        (place != NONE).then_some(place)
    }

    /// How packets come in by the interface at that place; of a port without tags there is one.
    #[inline(always)]
    pub fn at(&self, place: u32) -> &Ingress {
        &self.ingress[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Realm;

    #[test]
    fn interfaces_are_found_by_their_vlans_alone() {
        let ingress = |n| Ingress { interface: n, realm: Realm(1), mac: 0 };
        let vlans = [
            Vlan::NONE,
            Vlan::single(100),
            Vlan::double(100, 7),
            Vlan::double(200, 7),
            Vlan::double(4094, 4094),
        ];
        let all: Vec<_> = vlans.iter().enumerate().map(|(n, v)| (*v, ingress(n as u16))).collect();
        let links = Links::new(&all);
        for (n, vlan) in vlans.iter().enumerate() {
            assert_eq!(links.find(*vlan), Some(n as u16), "{vlan:?}");
            assert_eq!(links.at(n as u32).interface, n as u16);
        }
        for other in [
            Vlan::single(200),
            Vlan::single(7),
            Vlan::double(100, 8),
            Vlan::double(7, 100),
            Vlan::double(4094, 1),
        ] {
            assert_eq!(links.find(other), None, "{other:?}");
        }
        let plain = Links::new(&all[..1]);
        assert!(!plain.is_tagged() && links.is_tagged());
        assert_eq!((plain.find(Vlan::NONE), plain.find(Vlan::single(100))), (Some(0), None));
        assert_eq!(Links::new(&all[1..2]).find(Vlan::NONE), None);
    }
}
