//! By what the two ends of a message are known.

/// Longest value of an ID that isn't a name, in bytes.
pub const LONGEST_ID: usize = 128;
/// Bytes of the hash of an FQDN.
pub const HASH: usize = 16;
/// Longest FQDN in bytes, without the last dot (RFC 1035 section 2.3.4: 255 on the wire).
pub const LONGEST_FQDN: usize = 253;

/// What kind of ID it is (S0, "possible ID types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IdType {
    /// Nothing: the tags or the transaction say whose message it is.
    None = 0,
    /// The default: the first 16 bytes of the SHA-256 of the FQDN, in lower case and without its last dot.
    FqdnHash = 1,
    /// The name itself.
    Fqdn = 2,
    /// Made by the edge by its own algorithm: anonymous use.
    Random = 3,
    /// Certified by the CA of a local, such as a corporate, network.
    LocalCertified = 4,
    /// The mobile operator answers for it (closed networks, such as the IMS): an IMPU, an MSISDN or the like.
    OperatorAssured = 5,
    /// By a user certificate of a mobile operator.
    UserCertificate = 6,
    /// Allocated by a visited network.
    Temporary = 7,
    /// Of a thing, by its own scheme.
    Thing = 8,
}

impl IdType {
    /// All but [`IdType::None`], with the name that policies use.
    pub const ALL: [(IdType, &'static str); 8] = [
        (IdType::FqdnHash, "fqdn-hash"),
        (IdType::Fqdn, "fqdn"),
        (IdType::Random, "random"),
        (IdType::LocalCertified, "local-certified"),
        (IdType::OperatorAssured, "operator-assured"),
        (IdType::UserCertificate, "user-certificate"),
        (IdType::Temporary, "temporary"),
        (IdType::Thing, "thing"),
    ];

    /// The type of that number; [`IdType::None`] is one.
    pub fn from_number(number: u8) -> Option<IdType> {
        if number == 0 {
            return Some(IdType::None);
        }
        IdType::ALL.iter().find(|(of, _)| *of as u8 == number).map(|(of, _)| *of)
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<IdType> {
        IdType::ALL.iter().find(|(_, of)| *of == name).map(|(of, _)| *of)
    }

    /// As policies write it.
    pub fn name(self) -> &'static str {
        IdType::ALL.iter().find(|(of, _)| *of == self).map_or("none", |(_, name)| name)
    }
}

/// A set of types of ID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IdTypes(u16);

impl IdTypes {
    /// Any of them.
    pub const ANY: IdTypes = IdTypes(0b1_1111_1110);

    /// Those.
    pub fn of(types: &[IdType]) -> IdTypes {
        types.iter().fold(IdTypes::default(), |set, of| IdTypes(set.0 | 1 << *of as u8))
    }

    /// As the wire has it: bit n is the type of number n. `None` for none at all, and where a type isn't known.
    pub fn from_bits(bits: u16) -> Option<IdTypes> {
        (bits != 0 && bits & !IdTypes::ANY.0 == 0).then_some(IdTypes(bits))
    }

    pub const fn bits(self) -> u16 {
        self.0
    }

    pub const fn contains(self, of: IdType) -> bool {
        self.0 >> of as u8 & 1 == 1
    }
}

impl std::fmt::Debug for IdTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types = IdType::ALL.iter().filter(|(of, _)| self.contains(*of)).map(|(_, name)| name);
        f.debug_set().entries(types).finish()
    }
}

/// The ID of a host, or of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<'a> {
    pub id_type: IdType,
    /// [`HASH`] bytes of a hash, a name that [`Fqdn`] takes, 8 to 16 bytes of a random one, else 1 to [`LONGEST_ID`] bytes.
    pub value: &'a [u8],
}

impl<'a> Id<'a> {
    /// None: see [`IdType::None`].
    pub const NONE: Id<'static> = Id { id_type: IdType::None, value: &[] };

    /// An ID whose value is one of that type.
    pub fn new(id_type: IdType, value: &'a [u8]) -> Option<Id<'a>> {
        let is_right = match id_type {
            IdType::None => value.is_empty(),
            IdType::FqdnHash => value.len() == HASH,
            IdType::Fqdn => Fqdn::from_bytes(value).is_some(),
            IdType::Random => (8..=16).contains(&value.len()),
            _ => (1..=LONGEST_ID).contains(&value.len()),
        };
        is_right.then_some(Id { id_type, value })
    }

    /// By its name.
    pub fn fqdn(name: Fqdn<'a>) -> Id<'a> {
        Id { id_type: IdType::Fqdn, value: name.as_str().as_bytes() }
    }

    /// The name, where the ID is one.
    pub fn name(&self) -> Option<Fqdn<'a>> {
        if self.id_type == IdType::Fqdn { Fqdn::from_bytes(self.value) } else { None }
    }

    pub const fn is_none(&self) -> bool {
        matches!(self.id_type, IdType::None)
    }
}

/// A fully qualified domain name: labels of 1 to 63 letters, digits, hyphens and underscores in lower case, dots between them
/// and none at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fqdn<'a>(&'a str);

impl<'a> Fqdn<'a> {
    /// That name, if it is one.
    pub fn new(name: &'a str) -> Option<Fqdn<'a>> {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
        (name.len() <= LONGEST_FQDN && name.split('.').all(is_label)).then_some(Fqdn(name))
    }

    /// That name, if the bytes are one.
    pub fn from_bytes(name: &'a [u8]) -> Option<Fqdn<'a>> {
        std::str::from_utf8(name).ok().and_then(Fqdn::new)
    }

    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The default ID of a host of that name: [`IdType::FqdnHash`].
    pub fn hash(self) -> [u8; HASH] {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes());
        let mut hash = [0; HASH];
        hash.copy_from_slice(&digest.as_ref()[..HASH]);
        hash
    }
}

impl std::fmt::Display for Fqdn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_name() {
        for name in ["a", "host.ces-a.example", "_sip._tcp.x", &["a"; 127].join("."), &"a".repeat(63)] {
            assert!(Fqdn::new(name).is_some(), "{name}");
        }
        let long = ["a"; 128].join(".");
        for name in ["", ".", "a.", ".a", "a..b", "A.b", "a b", "ä", &"a".repeat(64), &long] {
            assert!(Fqdn::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_hash_of_a_name_is_the_head_of_its_sha_256() {
        // `printf a.example | sha256sum`
        let name = Fqdn::new("a.example").expect("a name");
        assert_eq!(data_encoding::HEXLOWER.encode(&name.hash()), "b8e7453371a024daae06f3164492c0af");
    }

    #[test]
    fn each_type_has_its_lengths() {
        for (id_type, right, wrong) in [
            (IdType::None, vec![0], vec![1]),
            (IdType::FqdnHash, vec![16], vec![0, 15, 17]),
            (IdType::Random, vec![8, 16], vec![7, 17]),
            (IdType::Thing, vec![1, 128], vec![0, 129]),
        ] {
            for (lengths, is_right) in [(right, true), (wrong, false)] {
                for length in lengths {
                    assert_eq!(
                        Id::new(id_type, &vec![7; length]).is_some(),
                        is_right,
                        "{id_type:?} of {length}"
                    );
                }
            }
        }
        assert!(Id::new(IdType::Fqdn, b"a.example").is_some() && Id::new(IdType::Fqdn, b"A").is_none());
        for (id_type, name) in IdType::ALL {
            assert_eq!(IdType::from_name(name), Some(id_type));
            assert_eq!(IdType::from_number(id_type as u8), Some(id_type));
            assert!(IdTypes::ANY.contains(id_type));
        }
        assert_eq!(IdType::from_number(9), None);
        assert_eq!(
            (IdTypes::from_bits(0), IdTypes::from_bits(1), IdTypes::from_bits(1 << 9)),
            (None, None, None)
        );
    }
}
