//! What an edge says of its hosts: [`HOSTS`] of them, all on the same terms.

use std::collections::HashMap;

use ces::edge::cetp::message::*;
use ces::edge::cetp::terms::*;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

pub const HOSTS: u32 = 100_000;

/// Session tags, each once.
pub struct Numbers(pub u32);

impl Tags for Numbers {
    fn reserve(&mut self) -> Option<Tag> {
        self.0 = self.0.wrapping_add(1);
        Tag::new(self.0.wrapping_mul(0x9e37_79b1) | 1 << 31)
    }

    fn release(&mut self, _: Tag) {}
}

pub struct Edge {
    name: &'static str,
    pub names: Vec<String>,
    hashes: Vec<[u8; 16]>,
    by_hash: HashMap<[u8; 16], u32>,
    key: Ed25519KeyPair,
    other: Vec<u8>,
    pub is_signed: bool,
    pub needs_association: bool,
    pub is_strict: bool,
}

impl Edge {
    /// Edge 0, or 1.
    pub fn new(which: u8) -> Edge {
        let key = |which: u8| Ed25519KeyPair::from_seed_unchecked(&[which; 32]).expect("any seed is one");
        let names: Vec<String> = (0..HOSTS).map(|n| format!("h{n}.e{which}.example")).collect();
        let hashes: Vec<_> = names.iter().map(|name| Fqdn::new(name).expect("a name").hash()).collect();
        let by_hash = (0..).zip(&hashes).map(|(n, hash)| (*hash, n)).collect();
        Edge {
            name: ["ces0.example", "ces1.example"][usize::from(which)],
            names,
            hashes,
            by_hash,
            key: key(which),
            other: key(1 - which).public_key().as_ref().to_vec(),
            is_signed: false,
            needs_association: false,
            is_strict: false,
        }
    }
}

/// Where edge 0 or 1 is.
pub fn rloc(which: usize) -> Rloc {
    Rloc::V4([10, 0, 0, which as u8 + 1].into())
}

impl House for Edge {
    fn name(&self) -> Fqdn<'_> {
        Fqdn::new(self.name).expect("a name")
    }

    fn admit(&self, _: Fqdn<'_>, _: Rloc) -> Result<Limits, Backoff> {
        Ok(Limits { sessions: u32::MAX, negotiations: u32::MAX })
    }

    fn last_seen(&self, _: Tag) -> Option<LastSeen> {
        None
    }

    fn find(&self, id: &Id<'_>) -> Option<HostKey> {
        self.by_hash.get(id.value).map(|host| HostKey((*host).into()))
    }

    fn id(&self, host: HostKey, id_type: IdType) -> Option<Id<'_>> {
        match id_type {
            IdType::FqdnHash => Id::new(id_type, &self.hashes[host.0 as usize]),
            _ => None,
        }
    }

    fn terms(&self, ask: &Ask<'_>) -> Result<Terms, Backoff> {
        let signature = if self.is_signed { CodeSet::of(&[Code::SIGNATURE]) } else { CodeSet::EMPTY };
        let name =
            if self.is_strict { CodeSet::of(&[Code::DOMAIN, Code::CA_ADDRESS]) } else { CodeSet::EMPTY };
        let asks = !self.is_signed || ask.side == Side::Inbound;
        Ok(Terms {
            required: if asks { signature.union(name) } else { CodeSet::EMPTY },
            optional: CodeSet::EMPTY,
            // What is offered at once saves a round.
            offered: if self.is_strict { CodeSet::EMPTY } else { signature },
            available: CodeSet::of(&[Code::DOMAIN, Code::CA_ADDRESS, Code::SIGNATURE]),
            reliable: CodeSet::EMPTY,
            peer_ids: IdTypes::ANY,
            own_ids: IdTypes::of(&[IdType::FqdnHash]),
            services: ask.services.iter().copied().collect(),
            timeout: 60,
            naming_check: false,
            needs_association: self.needs_association,
        })
    }

    fn judge(&self, _: &Ask<'_>, terms: &Terms, _: &Message<'_>) -> Result<Terms, Backoff> {
        Ok(terms.clone())
    }

    fn value(&self, host: Option<HostKey>, code: Code) -> Option<Value<'_>> {
        match (host, code) {
            (Some(host), Code::DOMAIN) => Fqdn::new(&self.names[host.0 as usize]).map(Value::Domain),
            (Some(_), Code::CA_ADDRESS) => Some(Value::CaAddress("https://ca.example")),
            _ => None,
        }
    }

    fn certificates(&self, _: Option<HostKey>) -> &[&[u8]] {
        &[]
    }

    fn sign<'a>(&self, _: Option<HostKey>, text: &[u8], room: &'a mut [u8; 64]) -> Option<Signature<'a>> {
        room.copy_from_slice(self.key.sign(text).as_ref());
        Some(Signature::Ed25519(room))
    }

    fn verify(&self, _: &Signer<'_>, text: &[u8], by: &Signature<'_>, _: u64) -> Result<SignedBy, Reason> {
        let Signature::Ed25519(by) = by else { return Err(Reason::BAD_SIGNATURE) };
        let verified = UnparsedPublicKey::new(&ED25519, &self.other).verify(text, &by[..]);
        verified.map(|()| SignedBy::Host).map_err(|_| Reason::BAD_SIGNATURE)
    }
}
