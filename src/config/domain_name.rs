//! A host's domain name.
//!
//! Guarantees: a [`DomainName`] is a host's name by RFC 1123 section 2.1 and fits the wire (RFC 1035 section 2.3.4): labels of
//! 1 to 63 letters, digits and hyphens, none at either end; two labels at least and 253 characters at most, in lower case,
//! without the dot of the root. So two names are equal if and only if DNS holds them to be (RFC 4343).
//! Never: looks anything up.

use std::fmt;

use super::error::Wrong;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// Longest name in characters: 255 bytes on the wire, of which the first length and the root are no characters.
    pub const MAX: usize = 253;

    /// The name that `text` is, in any case and with or without the dot of the root.
    pub fn new(text: &str) -> Option<DomainName> {
        check(text).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why `text` is no name, in words.
fn check(text: &str) -> Result<DomainName, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > DomainName::MAX {
        return Err("has more than 253 characters");
    }
    let mut labels = 0;
    for label in name.split('.') {
        labels += 1;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if label.is_empty() {
            return Err("has an empty label");
        } else if label.len() > 63 {
            return Err("has a label of more than 63 characters");
        } else if !label.bytes().all(is_allowed) {
            return Err("has other characters than letters, digits, hyphens and dots");
        } else if label.starts_with('-') || label.ends_with('-') {
            return Err("has a label with a hyphen at its end");
        }
    }
    if labels < 2 {
        return Err("has only one label");
    }
    // The top-level label tells a name from an address (RFC 1123 section 2.1).
    if name.rsplit('.').next().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("ends with a number");
    }
    Ok(DomainName(name.to_ascii_lowercase().into()))
}

/// A host's name, or a service's.
pub(super) fn domain_name(text: &str) -> Result<DomainName, Wrong> {
    check(text).map_err(|why| {
        let shown: String = text.chars().take(80).collect();
        Wrong::new(format!("\"{shown}\" {why}"), "write a full name, such as \"host.ces.example\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rfc_1123_are_taken_and_others_are_not() {
        assert_eq!(DomainName::new("WWW.3com.Example."), DomainName::new("www.3com.example"));
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(longest.len(), DomainName::MAX);
        for good in ["a.b", "xn--bcher-kva.example", "tcp443.host.example", &longest] {
            assert_eq!(DomainName::new(good).expect(good).as_str(), good);
        }
        for (bad, why) in [
            ("", "empty label"),
            (".", "empty label"),
            ("host", "only one label"),
            ("a..example", "empty label"),
            (".example.org", "empty label"),
            ("a.example..", "empty label"),
            ("-a.example", "hyphen"),
            ("a-.example", "hyphen"),
            ("a_b.example", "other characters"),
            ("*.example", "other characters"),
            ("bücher.example", "other characters"),
            ("10.0.0.1", "ends with a number"),
            (&format!("{}.example", "a".repeat(64)), "more than 63"),
            (&format!("{longest}d"), "more than 253"),
        ] {
            assert!(domain_name(bad).expect_err(bad).message.contains(why), "{bad}");
        }
    }
}
