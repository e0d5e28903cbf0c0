//! What a policy can ask of a peer and tell it: attributes, and the words in which a requirement and an offer are written.
//!
//! A requirement is `ATTRIBUTE[=VALUE,…] [RR] [optional]`, an offer `ATTRIBUTE[=VALUE,…] [RR] [on-query]`. `RR` is CETP's
//! acknowledged response in the place of a plain one. Numbers are ranges `LEAST..MOST`: both sides take the smaller of the two
//! highest numbers, and each refuses it below its least.
//!
//! Guarantees: what is parsed is printed as it is parsed again; names are whole names, compared by labels in lower case, never
//! by a part of them. Never: says what holds for whom; that is [`super::PolicyRule`]'s.

use std::fmt;
use std::ops::RangeInclusive;

use super::domain_name::{DomainName, domain_name};
use super::error::{Wrong, one_of};

/// What a peer may be asked for, or told. Each is a control TLV of CETP, or what one is checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Attribute {
    /// An ID of one of these types. Its absence, or another type, is answered by a request for a new type of ID.
    Id,
    /// The host's FQDN; if it must be one of these names it must be proven, too, as [`Attribute::NamingCheck`] is.
    Domain,
    /// That name is proven: the DNS binds it to the edge and its RLOC, or a certificate has it.
    NamingCheck,
    /// A signature of header and TLVs by a key that a valid certificate has.
    Signature,
    /// The edge's certificate.
    Certificate,
    /// The address of the authority of its certificate, one of these.
    Ca,
    /// A cookie came back: the RLOC can be reached.
    Cookie,
    /// RLOCs of one of these families.
    Rloc,
    /// One of these ways to carry packets.
    Encapsulation,
    /// Seconds after which an idle session is removed, 1 to 86,400.
    Timeout,
    /// Sessions between two edges, 1 to 16,777,216.
    Sessions,
    /// Negotiations a second between two edges, 1 to 1,000,000.
    Negotiations,
}

/// The attributes with their names, in their order.
pub const ATTRIBUTES: [(&str, Attribute); 12] = [
    ("id", Attribute::Id),
    ("domain", Attribute::Domain),
    ("naming-check", Attribute::NamingCheck),
    ("signature", Attribute::Signature),
    ("certificate", Attribute::Certificate),
    ("ca", Attribute::Ca),
    ("cookie", Attribute::Cookie),
    ("rloc", Attribute::Rloc),
    ("encapsulation", Attribute::Encapsulation),
    ("timeout", Attribute::Timeout),
    ("sessions", Attribute::Sessions),
    ("negotiations", Attribute::Negotiations),
];

/// The attributes that are numbers.
pub const NUMBERS: [Attribute; 3] = [Attribute::Timeout, Attribute::Sessions, Attribute::Negotiations];

/// Types of ID, in the order of the bits of a [`Kinds`]: CETP's numbers of them, from 1 on.
pub const ID_TYPES: [&str; 8] = [
    "fqdn-hash",
    "fqdn",
    "random",
    "local-certified",
    "operator-assured",
    "user-certificate",
    "temporary",
    "thing",
];
/// Families of RLOC, likewise.
pub const RLOC_FAMILIES: [&str; 3] = ["ipv4", "ipv6", "ethernet"];
/// What carries the packets of hosts, likewise: CETP's numbers of carriers, from 0 on.
pub const ENCAPSULATIONS: [&str; 3] = ["udp-ipv4", "udp-ipv6", "ethernet"];

impl Attribute {
    pub fn name(self) -> &'static str {
        ATTRIBUTES[self as usize].0
    }

    /// Which of [`NUMBERS`] it is.
    pub fn number(self) -> Option<usize> {
        NUMBERS.iter().position(|number| *number == self)
    }

    /// What a number of it may be.
    fn range(self) -> RangeInclusive<u32> {
        match self {
            Attribute::Timeout => 1..=86_400,
            Attribute::Sessions => 1..=16_777_216,
            Attribute::Negotiations => 1..=1_000_000,
            _ => 0..=0,
        }
    }

    /// The words that its values are, where it has such.
    fn kinds(self) -> Option<&'static [&'static str]> {
        match self {
            Attribute::Id => Some(&ID_TYPES),
            Attribute::Rloc => Some(&RLOC_FAMILIES),
            Attribute::Encapsulation => Some(&ENCAPSULATIONS),
            _ => None,
        }
    }
}

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u16);

impl Attributes {
    pub const NONE: Attributes = Attributes(0);

    pub const fn of(attribute: Attribute) -> Attributes {
        Attributes(1 << attribute as u8)
    }

    pub const fn has(self, attribute: Attribute) -> bool {
        self.0 & Attributes::of(attribute).0 != 0
    }

    pub const fn with(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }

    pub const fn without(self, other: Attributes) -> Attributes {
        Attributes(self.0 & !other.0)
    }

    pub const fn and(self, other: Attributes) -> Attributes {
        Attributes(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn insert(&mut self, attribute: Attribute) {
        self.0 |= Attributes::of(attribute).0;
    }

    /// In their order.
    pub fn iter(self) -> impl Iterator<Item = Attribute> {
        ATTRIBUTES.iter().map(|(_, attribute)| *attribute).filter(move |attribute| self.has(*attribute))
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Attribute::name).collect();
        f.write_str(&if names.is_empty() { "nothing".into() } else { names.join(", ") })
    }
}

/// A set of the words of [`ID_TYPES`], [`RLOC_FAMILIES`] or [`ENCAPSULATIONS`]: a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(pub u8);

impl Kinds {
    pub const ALL: Kinds = Kinds(u8::MAX);
    pub const NONE: Kinds = Kinds(0);

    /// The word at that place alone.
    pub const fn one(place: u8) -> Kinds {
        Kinds(1 << (place & 7))
    }

    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// `a.example` is that very name; `.a.example` is it and every name below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern {
    pub name: DomainName,
    pub is_domain: bool,
}

impl NamePattern {
    pub(super) fn parse(text: &str) -> Result<NamePattern, Wrong> {
        let (is_domain, name) = match text.strip_prefix('.') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let hint = "write \"host.ces.example\", or \".ces.example\" for that domain and all names below it";
        let name = domain_name(name).map_err(|wrong| Wrong::new(wrong.message, hint))?;
        Ok(NamePattern { name, is_domain })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_domain { "." } else { "" }, self.name)
    }
}

/// What the value of an attribute must be, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Its presence is enough.
    Any,
    Kinds(Kinds),
    Names(Vec<NamePattern>),
    Range {
        least: u32,
        most: u32,
    },
}

/// An item of a list of what is required of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub attribute: Attribute,
    pub value: Value,
    /// To be told by an acknowledged response (RR).
    pub is_reliable: bool,
    /// A peer that does not meet it is taken nevertheless.
    pub is_optional: bool,
}

/// An item of a list of what a peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub attribute: Attribute,
    /// For [`Attribute::Id`] and numbers only: what may be given.
    pub value: Value,
    pub is_reliable: bool,
    /// Told when asked, and not before.
    pub is_on_query: bool,
}

/// Most names of a requirement.
const NAMES_MAX: usize = 1024;

impl Requirement {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Requirement, Wrong> {
        let (attribute, value, [is_reliable, is_optional]) = item(text, ["RR", "optional"])?;
        Ok(Requirement { attribute, value, is_reliable, is_optional })
    }
}

impl Offer {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Offer, Wrong> {
        let (attribute, value, [is_reliable, is_on_query]) = item(text, ["RR", "on-query"])?;
        if matches!(attribute, Attribute::NamingCheck | Attribute::Cookie) {
            let message = format!("\"{}\" is found out, not told", attribute.name());
            return Err(Wrong::new(message, "remove it"));
        }
        if matches!(value, Value::Names(_)) {
            let message = format!("\"{}\" is told as it is", attribute.name());
            return Err(Wrong::new(message, format!("write \"{}\" alone", attribute.name())));
        }
        Ok(Offer { attribute, value, is_reliable, is_on_query })
    }
}

/// An attribute, its value, and which of `words` follow.
fn item(text: &str, words: [&str; 2]) -> Result<(Attribute, Value, [bool; 2]), Wrong> {
    let mut parts = text.split(' ');
    let first = parts.next().unwrap_or_default();
    let (name, value) = first.split_once('=').map_or((first, None), |(name, value)| (name, Some(value)));
    let attribute = attribute(name)?;
    let value = value.map_or(Ok(Value::Any), |value| parse_value(attribute, value))?;
    let mut found = [false; 2];
    for part in parts {
        let place = words.iter().position(|word| *word == part).filter(|place| !found[*place]);
        let Some(place) = place else {
            let message = format!("\"{}\" is not known here", part.escape_debug());
            let hint = format!("write ATTRIBUTE[=VALUE,…] [{}] [{}]", words[0], words[1]);
            return Err(Wrong::new(message, hint));
        };
        found[place] = true;
    }
    Ok((attribute, value, found))
}

pub(super) fn attribute(name: &str) -> Result<Attribute, Wrong> {
    let found = ATTRIBUTES.iter().find(|(known, _)| *known == name).map(|(_, attribute)| *attribute);
    found.ok_or_else(|| {
        let message = format!("\"{}\" is no attribute", name.escape_debug());
        Wrong::new(message, one_of("write one of", name, &ATTRIBUTES.map(|(name, _)| name)))
    })
}

fn parse_value(attribute: Attribute, text: &str) -> Result<Value, Wrong> {
    if let Some(words) = attribute.kinds() {
        return kinds(text, words).map(Value::Kinds);
    }
    if attribute.number().is_some() {
        return range(attribute, text);
    }
    if !matches!(attribute, Attribute::Domain | Attribute::Ca) {
        let message = format!("\"{}\" has no value", attribute.name());
        return Err(Wrong::new(message, format!("write \"{}\" alone", attribute.name())));
    }
    let names: Vec<NamePattern> = text.split(',').map(NamePattern::parse).collect::<Result<_, _>>()?;
    if names.len() > NAMES_MAX {
        return Err(Wrong::new(format!("has more than {NAMES_MAX} names"), "write a domain instead"));
    }
    if attribute == Attribute::Ca && names.iter().any(|name| name.is_domain) {
        return Err(Wrong::new("an authority has one name", "write whole names, without a dot before them"));
    }
    Ok(Value::Names(names))
}

fn kinds(text: &str, words: &[&str]) -> Result<Kinds, Wrong> {
    let mut kinds = Kinds::NONE;
    for part in text.split(',') {
        let place = words.iter().position(|word| *word == part).ok_or_else(|| {
            let message = format!("\"{}\" is not known here", part.escape_debug());
            Wrong::new(message, one_of("write one or more of", part, words))
        })?;
        kinds.0 |= 1 << place;
    }
    Ok(kinds)
}

fn range(attribute: Attribute, text: &str) -> Result<Value, Wrong> {
    let range = attribute.range();
    let number = |text: &str| text.parse().ok().filter(|number: &u32| range.contains(number));
    let parsed = text.split_once("..").and_then(|(least, most)| Some((number(least)?, number(most)?)));
    match parsed {
        Some((least, most)) if least <= most => Ok(Value::Range { least, most }),
        _ => {
            let hint = format!("write LEAST..MOST within {}..{}", range.start(), range.end());
            Err(Wrong::new(format!("\"{}\" is no range of it", text.escape_debug()), hint))
        }
    }
}

/// `=VALUE,…`, or nothing.
struct Equals<'a>(Attribute, &'a Value);

impl fmt::Display for Equals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = match self.1 {
            Value::Any => return Ok(()),
            Value::Range { least, most } => vec![format!("{least}..{most}")],
            Value::Names(names) => names.iter().map(NamePattern::to_string).collect(),
            Value::Kinds(kinds) => kind_words(self.0, *kinds).map(str::to_owned).collect(),
        };
        write!(f, "={}", values.join(","))
    }
}

/// The words of a set of an attribute.
pub fn kind_words(attribute: Attribute, kinds: Kinds) -> impl Iterator<Item = &'static str> {
    let words = attribute.kinds().unwrap_or(&[]);
    words.iter().enumerate().filter(move |(place, _)| kinds.0 & 1 << place != 0).map(|(_, word)| *word)
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.attribute.name(), Equals(self.attribute, &self.value))?;
        f.write_str(if self.is_reliable { " RR" } else { "" })?;
        f.write_str(if self.is_optional { " optional" } else { "" })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.attribute.name(), Equals(self.attribute, &self.value))?;
        f.write_str(if self.is_reliable { " RR" } else { "" })?;
        f.write_str(if self.is_on_query { " on-query" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in [
            "id=local-certified,operator-assured RR",
            "domain=a.example,.b.example optional",
            "naming-check",
            "ca=ca.operator.example",
            "timeout=30..3600 RR optional",
            "rloc=ipv4,ethernet",
            "encapsulation=udp-ipv4",
        ] {
            assert_eq!(Requirement::parse(text).expect(text).to_string(), text);
        }
        for text in ["id=fqdn", "domain RR on-query", "timeout=60..600"] {
            assert_eq!(Offer::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_hint() {
        for (text, message, hint) in [
            ("domian", "no attribute", "did you mean \"domain\"?"),
            ("", "no attribute", "write one of"),
            ("id=operator-assure", "not known here", "did you mean \"operator-assured\"?"),
            ("id=", "not known here", "one or more of"),
            ("domain=example", "only one label", ".ces.example"),
            ("timeout=60", "no range", "LEAST..MOST within 1..86400"),
            ("timeout=0..60", "no range", "within"),
            ("timeout=61..60", "no range", "within"),
            ("signature=yes", "has no value", "alone"),
            ("ca=.operator.example", "one name", "whole names"),
            ("domain rr", "\"rr\" is not known", "[RR]"),
            ("domain RR RR", "not known", "[RR]"),
            ("domain  RR", "not known", "[RR]"),
            ("domain on-query", "not known", "[optional]"),
        ] {
            let wrong = Requirement::parse(text).expect_err(text);
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert!(wrong.hint.contains(hint), "{text}: {}", wrong.hint);
        }
        for (text, message) in [
            ("cookie", "found out"),
            ("naming-check", "found out"),
            ("domain=a.example", "told as it is"),
            ("domain optional", "not known"),
        ] {
            assert!(Offer::parse(text).expect_err(text).message.contains(message), "{text}");
        }
    }

    #[test]
    fn every_attribute_stands_at_its_place() {
        for (place, (name, attribute)) in ATTRIBUTES.iter().enumerate() {
            assert_eq!((*attribute as usize, attribute.name()), (place, *name));
        }
    }
}
