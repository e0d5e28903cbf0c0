//! Names of hosts and edges, and sets of them by label.
//!
//! Guarantees: a [`Name`] is in lower case and of whole labels, so that two are equal if and only if DNS holds them to be (RFC
//! 4343); a domain has the names below it label by label, never by the end of a label. Looking up allocates nothing, and takes as
//! many steps as the longest pattern has labels. Never: resolves anything.

use std::collections::HashMap;

use crate::config::{DomainName, NamePattern};

/// A fully qualified name: labels of 1 to 63 letters, digits, hyphens and underscores in lower case, 253 bytes at most, without
/// the dot of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// The name that `text` is, which has to be in lower case.
    pub fn new(text: &'a str) -> Option<Name<'a>> {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
        (text.len() <= DomainName::MAX && text.split('.').all(is_label)).then_some(Name(text))
    }

    /// The name that `text` is in any case, with or without the dot of the root.
    pub fn fold(text: &str, buffer: &'a mut [u8; DomainName::MAX]) -> Option<Name<'a>> {
        let text = text.strip_suffix('.').unwrap_or(text).as_bytes();
        let folded = buffer.get_mut(..text.len())?;
        folded.copy_from_slice(text);
        folded.make_ascii_lowercase();
        std::str::from_utf8(folded).ok().and_then(Name::new)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// What it ends in of 1 to `most` labels, itself included, the shortest first.
    fn ends(self, most: usize) -> impl Iterator<Item = &'a str> {
        let text = self.0;
        let behind_dots = text.rmatch_indices('.').map(move |(at, _)| &text[at + 1..]);
        behind_dots.chain(std::iter::once(text)).take(most)
    }
}

impl<'a> From<&'a DomainName> for Name<'a> {
    fn from(name: &'a DomainName) -> Name<'a> {
        Name(name.as_str())
    }
}

/// Something for names and for domains.
#[derive(Debug)]
pub struct NameMap<V> {
    names: HashMap<Box<str>, V>,
    domains: HashMap<Box<str>, V>,
    /// Labels of the longest domain.
    labels: usize,
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        NameMap { names: HashMap::new(), domains: HashMap::new(), labels: 0 }
    }
}

impl<V: Default> NameMap<V> {
    /// What there is for that pattern.
    pub fn entry(&mut self, pattern: &NamePattern) -> &mut V {
        let text = pattern.name.as_str();
        match pattern.is_domain {
            false => self.names.entry(text.into()).or_default(),
            true => {
                self.labels = self.labels.max(text.split('.').count());
                self.domains.entry(text.into()).or_default()
            }
        }
    }
}

impl<V> NameMap<V> {
    /// All that there is for that name: of itself, and of each domain that it is in.
    pub fn get(&self, name: Name<'_>) -> impl Iterator<Item = &V> {
        let domains = name.ends(self.labels).filter_map(|end| self.domains.get(end));
        self.names.get(name.0).into_iter().chain(domains)
    }
}

/// A set of names and domains.
#[derive(Debug, Default)]
pub struct NameSet(NameMap<()>);

impl NameSet {
    /// Those; `None` where there are none, which is no set but no condition.
    pub fn of(patterns: &[NamePattern]) -> Option<NameSet> {
        let mut set = NameSet::default();
        patterns.iter().for_each(|pattern| *set.0.entry(pattern) = ());
        (!patterns.is_empty()).then_some(set)
    }

    pub fn has(&self, name: Name<'_>) -> bool {
        self.0.get(name).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> NamePattern {
        let (is_domain, name) = text.strip_prefix('.').map_or((false, text), |name| (true, name));
        NamePattern { name: DomainName::new(name).expect(text), is_domain }
    }

    #[test]
    fn names_are_whole_and_domains_are_of_labels() {
        let set = NameSet::of(&["a.example", ".b.example"].map(pattern)).expect("a set");
        for (name, is_in) in [
            ("a.example", true),
            ("x.a.example", false),
            ("aa.example", false),
            ("a.example.org", false),
            ("b.example", true),
            ("x.y.b.example", true),
            ("xb.example", false),
            ("b.example.b.org", false),
            ("example", false),
        ] {
            assert_eq!(set.has(Name::new(name).expect(name)), is_in, "{name}");
        }
        assert!(NameSet::of(&[]).is_none());
    }

    #[test]
    fn a_name_is_folded_and_nothing_else_is_one() {
        let mut buffer = [0; DomainName::MAX];
        let folded = Name::fold("Host.CES.Example.", &mut buffer).expect("a name");
        assert_eq!(folded.as_str(), "host.ces.example");
        for text in [
            "",
            ".",
            "A.example",
            "a..b",
            "a.",
            "ä.example",
            "a b.example",
            &"a".repeat(64),
            &"a.".repeat(127),
        ] {
            assert!(Name::new(text).is_none(), "{text}");
        }
        assert!(
            Name::fold(&"a".repeat(300), &mut buffer).is_none() && Name::fold("ä", &mut buffer).is_none()
        );
    }

    proptest! {
        #[test]
        fn a_set_has_what_its_patterns_have_one_by_one(
            patterns in proptest::collection::vec("\\.?[ab]{1,2}(\\.[ab]{1,2}){1,3}", 0..6),
            name in "[ab]{1,2}(\\.[ab]{1,2}){0,4}",
        ) {
            let patterns: Vec<NamePattern> = patterns.iter().map(|text| pattern(text)).collect();
            let labels: Vec<&str> = name.split('.').collect();
            let naive = |pattern: &NamePattern| {
                let theirs: Vec<&str> = pattern.name.as_str().split('.').collect();
                if pattern.is_domain { labels.ends_with(&theirs) } else { labels == theirs }
            };
            let name = Name::new(&name).expect("a name");
            let set = NameSet::of(&patterns);
            prop_assert_eq!(set.is_some_and(|set| set.has(name)), patterns.iter().any(naive));
        }
    }
}
