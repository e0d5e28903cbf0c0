//! From what policies call things to what messages call them.
//!
//! Guarantees: whatever a policy requires is required of the peer in some message, or refused. Never: decides anything.

use crate::config::{Attribute, Attributes, Kinds};
use crate::edge::cetp::message::{Carrier, Carriers, Code, CodeSet, IdType, IdTypes, Rloc};

/// What each attribute is told by. What is told by none is asked for in ways of its own: IDs by their types, the naming check by the
/// DNS, cookies by the protocol; a timeout is always told.
const TOLD_BY: [(Attribute, CodeSet); 7] = [
    (Attribute::Domain, CodeSet::of(&[Code::DOMAIN])),
    (Attribute::Signature, CodeSet::of(&[Code::SIGNATURE])),
    (Attribute::Certificate, CodeSet::of(&[Code::CERTIFICATE])),
    (Attribute::Ca, CodeSet::of(&[Code::CA_ADDRESS])),
    (Attribute::Encapsulation, CodeSet::of(&[Code::CARRIERS])),
    (Attribute::Sessions, CodeSet::of(&[Code::LIMITS])),
    (Attribute::Negotiations, CodeSet::of(&[Code::LIMITS])),
];

/// What is told, of those attributes.
pub fn told(attributes: Attributes) -> CodeSet {
    let each = TOLD_BY.iter().filter(|(attribute, _)| attributes.has(*attribute));
    each.fold(CodeSet::EMPTY, |all, (_, codes)| all.union(*codes))
}

/// What must be told, of those attributes, by somebody whose edge is proved, or isn't. A certificate, and the authority that answers
/// for it, are proved by an association; without one a signature is their proof.
pub fn required(attributes: Attributes, is_edge_proved: bool) -> CodeSet {
    let by_signature = attributes.has(Attribute::Certificate) || attributes.has(Attribute::Ca);
    // What somebody says of its authority proves nothing.
    let carried = [Attribute::Certificate, Attribute::Ca, Attribute::Encapsulation];
    let carried = carried.into_iter().fold(Attributes::NONE, |all, one| all.with(Attributes::of(one)));
    let mut codes = told(attributes.without(carried));
    if attributes.has(Attribute::NamingCheck) {
        codes = codes.with(Code::DOMAIN);
    }
    if by_signature && !is_edge_proved {
        codes = codes.with(Code::SIGNATURE);
    }
    codes
}

/// What a peer does not tell, as policies call it.
pub fn unavailable(codes: CodeSet) -> Attributes {
    let each = TOLD_BY.iter().filter(|(_, told)| !told.intersection(codes).is_empty());
    each.fold(Attributes::NONE, |all, (attribute, _)| all.with(Attributes::of(*attribute)))
}

/// By which code a refusal is about an attribute.
pub fn about(attribute: Attribute) -> Option<Code> {
    match attribute {
        Attribute::Id => Some(Code::ID_TYPE),
        Attribute::NamingCheck => Some(Code::DOMAIN),
        Attribute::Timeout => Some(Code::TIMEOUT),
        Attribute::Ca => Some(Code::CA_ADDRESS),
        Attribute::Cookie => Some(Code::COOKIE),
        Attribute::Rloc => Some(Code::RLOC_IPV4),
        _ => told(Attributes::of(attribute)).iter().next(),
    }
}

/// Types of ID: bit n of a policy is type n + 1 of messages.
pub fn id_types(kinds: Kinds) -> IdTypes {
    IdTypes::from_bits(u16::from(kinds.0) << 1).unwrap_or_default()
}

/// Which type of ID that is.
pub fn id_kinds(id_type: IdType) -> Kinds {
    match id_type {
        IdType::None => Kinds::NONE,
        // Whoever has the name has its hash.
        IdType::Fqdn => Kinds(0b11),
        other => Kinds::one(other as u8 - 1),
    }
}

/// Of which family an RLOC is.
pub fn family(rloc: Rloc) -> Kinds {
    Kinds::one(rloc.carrier() as u8)
}

/// Ways to carry packets.
pub fn ways(carriers: Carriers) -> Kinds {
    Kinds(carriers.bits())
}

const _: () = assert!(Carrier::UdpIpv4 as u8 == 0 && Carrier::Ethernet as u8 == 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ATTRIBUTES, ENCAPSULATIONS, ID_TYPES};

    /// The words of policies stand in the order of the protocol's numbers.
    #[test]
    fn types_and_carriers_have_the_numbers_of_the_protocol() {
        for (place, word) in (0u8..).zip(ID_TYPES) {
            let of = IdType::from_number(place + 1).expect("a type");
            assert!(id_types(Kinds::one(place)).contains(of), "{word}");
            assert!(id_kinds(of).0 & 1 << place != 0, "{word}");
        }
        assert_eq!(id_types(Kinds::ALL), IdTypes::ANY);
        assert_eq!(ENCAPSULATIONS, ["udp-ipv4", "udp-ipv6", "ethernet"]);
        assert_eq!(ways(Carriers::ALL), Kinds(0b111));
    }

    /// Nothing that a policy may require of a host is forgotten.
    #[test]
    fn what_is_required_is_asked_for_in_some_way() {
        for (name, attribute) in ATTRIBUTES {
            let codes = required(Attributes::of(attribute), false);
            let by_itself = matches!(
                attribute,
                Attribute::Id
                    | Attribute::Cookie
                    | Attribute::Rloc
                    | Attribute::Encapsulation
                    | Attribute::Timeout
            );
            assert_eq!(codes.is_empty(), by_itself, "{name}");
        }
        let certificate = Attributes::of(Attribute::Certificate);
        assert!(required(certificate, true).is_empty(), "an association has shown it");
        assert_eq!(required(certificate, false), CodeSet::of(&[Code::SIGNATURE]));
    }
}
