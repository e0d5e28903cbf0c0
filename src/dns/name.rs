//! A name of a question, as the register and the zones are asked for it, and a stranger's, as it is shown and kept.
//!
//! Guarantees: the text is lower case, its labels are told apart by dots and have none of their own, and looking at it allocates
//! nothing; whatever a stranger's name has in it, its text is ASCII that prints and is that name again. Never: changes the case of the
//! name itself, which the answer repeats (0x20).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayString;
use hickory_proto::rr::Name;

/// Longest text: RFC 1035 section 2.3.4 without the first length and the root.
const TEXT_MAX: usize = 253;

/// The text of a name in lower case, without the dot of the root; `None` if a label has what no name of ours has: other bytes than
/// those of ASCII that print, or a dot.
pub fn text(name: &Name) -> Option<ArrayString<TEXT_MAX>> {
    let mut text = ArrayString::new();
    for label in name {
        if !text.is_empty() {
            text.try_push('.').ok()?;
        }
        for &byte in label {
            let is_told_apart = byte.is_ascii_graphic() && byte != b'.';
            is_told_apart.then(|| text.try_push(byte.to_ascii_lowercase().into()).ok())??;
        }
    }
    Some(text)
}

/// The text of any name, in lower case and without the dot of the root; what is not to be seen, or would be taken for something else, as
/// `\DDD` or `\X` (RFC 1035 section 5.1).
pub fn shown(name: &Name) -> String {
    let mut text = String::with_capacity(TEXT_MAX);
    for label in name {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            match byte.to_ascii_lowercase() {
                byte @ (b'.' | b'\\') => text.extend(['\\', byte.into()]),
                byte if byte.is_ascii_graphic() => text.push(byte.into()),
                byte => text.extend(format!("\\{byte:03}").chars()),
            }
        }
    }
    text
}

/// The name that [`shown`] has made such a text of.
pub fn of_shown(text: &str) -> Option<Name> {
    let (mut labels, mut bytes) = (vec![vec![]], text.bytes());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                labels.push(vec![]);
                continue;
            }
            b'\\' => match bytes.next()? {
                digit @ b'0'..=b'9' => {
                    let digits = [digit, bytes.next()?, bytes.next()?];
                    std::str::from_utf8(&digits).ok()?.parse().ok()?
                }
                byte => byte,
            },
            byte => byte,
        };
        labels.last_mut()?.push(byte);
    }
    let mut name = Name::from_labels(labels.into_iter().filter(|label| !label.is_empty())).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// What a name below `in-addr.arpa` or `ip6.arpa` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reverse {
    Address(IpAddr),
    /// Some addresses have names below it.
    Part,
    /// None can.
    Nothing,
}

/// What `name`, in lower case, stands for; `None` if it is below neither.
pub fn reverse(name: &str) -> Option<Reverse> {
    let (labels, most) = if let Some(labels) = name.strip_suffix("in-addr.arpa") {
        (labels, 4)
    } else {
        (name.strip_suffix("ip6.arpa")?, 32)
    };
    if labels.is_empty() {
        return Some(Reverse::Part);
    }
    let labels = labels.strip_suffix('.')?;
    let (mut count, mut octets, mut bits) = (0, 0u32, 0u128);
    for label in labels.rsplit('.') {
        count += 1;
        let is_octet = most == 4 && label.len() <= 3 && (label == "0" || !label.starts_with('0'));
        let is_nibble = most == 32 && label.len() == 1;
        let radix = if most == 4 { 10 } else { 16 };
        let number = u8::from_str_radix(label, radix).ok().filter(|_| !label.starts_with('+'));
        let Some(number) = number.filter(|_| (is_octet || is_nibble) && count <= most) else {
            return Some(Reverse::Nothing);
        };
        octets = octets << 8 | u32::from(number);
        bits = bits << 4 | u128::from(number & 15);
    }
    Some(match (count, most) {
        (4, 4) => Reverse::Address(IpAddr::V4(Ipv4Addr::from(octets))),
        (32, 32) => Reverse::Address(IpAddr::V6(Ipv6Addr::from(bits))),
        _ => Reverse::Part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strangers_names_are_shown() {
        let name = |labels: &[&[u8]]| Name::from_labels(labels.iter().copied()).expect("a name");
        assert_eq!(shown(&name(&[b"WWW", b"Example"])), "www.example");
        assert_eq!(shown(&name(&[b"a.b", b"c\\d", b"\xc3\xbc e"])), "a\\.b.c\\\\d.\\195\\188\\032e");
        assert_eq!((shown(&Name::root()), of_shown("")), (String::new(), Some(Name::root())));
        assert_eq!((of_shown("a\\"), of_shown("a\\25"), of_shown("a\\999")), (None, None, None));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_name(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6)) {
            let Ok(mut name) = Name::from_labels(labels) else { return Ok(()) };
            name.set_fqdn(true);
            let text = shown(&name);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            let again = of_shown(&text).expect("a name");
            prop_assert!(again == name && again.eq_case(&name.to_lowercase()));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = of_shown(&text);
        }
    }

    #[test]
    fn names_become_text_in_one_way_only() {
        let name = |labels: &[&[u8]]| Name::from_labels(labels.iter().copied()).expect("a name");
        assert_eq!(text(&name(&[b"HoSt", b"Example"])).as_deref(), Some("host.example"));
        assert_eq!(text(&name(&[b"_sip", b"_udp", b"a", b"b"])).as_deref(), Some("_sip._udp.a.b"));
        assert_eq!(text(&Name::root()).as_deref(), Some(""));
        for wrong in [&b"a.b"[..], b"a b", b"\xc3\xbc", b"\0"] {
            assert_eq!(text(&name(&[wrong, b"example"])), None, "{wrong:?}");
        }
        let longest = name(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]]);
        assert_eq!(text(&longest).map(|text| text.len()), Some(TEXT_MAX));
    }

    #[test]
    fn reverse_names_are_addresses_parts_of_them_or_nothing() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        for (name, expected) in [
            ("host.example", None),
            ("ip6.arpa.example", None),
            ("1.2.0.10.in-addr.arpa", Some(Reverse::Address([10, 0, 2, 1].into()))),
            ("0.10.in-addr.arpa", Some(Reverse::Part)),
            ("in-addr.arpa", Some(Reverse::Part)),
            ("01.2.0.10.in-addr.arpa", Some(Reverse::Nothing)),
            ("+1.2.0.10.in-addr.arpa", Some(Reverse::Nothing)),
            ("256.2.0.10.in-addr.arpa", Some(Reverse::Nothing)),
            ("9.1.2.0.10.in-addr.arpa", Some(Reverse::Nothing)),
            ("a.10.in-addr.arpa", Some(Reverse::Nothing)),
            (v6, Some(Reverse::Address("2001:db8::1".parse().expect("an address")))),
            (&v6[2..], Some(Reverse::Part)),
            ("g.ip6.arpa", Some(Reverse::Nothing)),
            ("xin-addr.arpa", None),
        ] {
            assert_eq!(reverse(name), expected, "{name}");
        }
    }
}
