//! The types of control TLVs, and sets of them, in which policies are written.

use super::Compatibility;

/// The type of a control TLV. Any byte is one: those that aren't known here obey their I and D bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

/// Declares each type once: its number, its name and its name in text.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code($number);)*
            /// All that are known here, with the name that policies, logs and `cesctl` use.
            pub const KNOWN: &[(Code, &str)] = &[$((Code::$name, $text),)*];
        }
    };
}

codes! {
    /// Where the sender's edge is reached over IPv4: groups of order, preference and addresses.
    RLOC_IPV4 = 1, "rloc-ipv4";
    /// Where the sender's edge is reached over IPv6.
    RLOC_IPV6 = 2, "rloc-ipv6";
    /// Where the sender's edge is reached over Ethernet.
    RLOC_ETHERNET = 3, "rloc-ethernet";
    /// After how long without a packet the state of the session goes. Both sides take the minimum.
    TIMEOUT = 4, "timeout";
    /// What the iCES has instead of state. It comes back unchanged.
    COOKIE = 5, "cookie";
    /// Asks for an ID of one of these types.
    ID_TYPE = 6, "id-type";
    /// Where the sender's ID can be checked.
    CA_ADDRESS = 7, "ca-address";
    /// The FQDN of the sender's host, or of its edge in messages edge to edge.
    DOMAIN = 8, "domain";
    /// Signs the header and all other TLVs.
    SIGNATURE = 9, "signature";
    /// A certificate of the sender, leaf first. Repeats.
    CERTIFICATE = 10, "certificate";
    /// A message or packet has come for which there is no state, or which cannot be meant.
    UNEXPECTED = 11, "unexpected-message";
    /// Why this is refused, and when to ask again.
    BACKOFF = 12, "backoff";
    /// Is the other side there?
    KEEPALIVE = 13, "keepalive";
    /// Ends sessions.
    TERMINATE = 14, "terminate";
    /// What a host of the receiver has done.
    EVIDENCE = 15, "evidence";
    /// Asks to keep a host, a domain or a service away for a while.
    FILTERING = 16, "filtering";
    /// What is asked for: protocol, ports and direction. Repeats inside one TLV.
    SERVICE = 17, "service";
    /// The longest packet of a host that the sender can take out of a tunnel.
    MTU = 18, "mtu";
    /// How many sessions, and how many negotiations a second, the sender takes of the receiver.
    LIMITS = 19, "limits";
    /// On which carriers the sender takes tunnelled packets.
    CARRIERS = 20, "carriers";
    /// Which life of the edge this is: one that has lost its state has another.
    INCARNATION = 21, "incarnation";
    /// The sender's half of a key exchange.
    KEY_SHARE = 22, "key-share";
    /// The epoch that a key share is for.
    EPOCH = 23, "epoch";
    /// The sender's clock.
    CLOCK = 24, "clock";
    /// An address-bound token, which stands for a cookie the next time.
    TOKEN = 25, "token";
    /// Zeros, so that a question is no shorter than its answer.
    PADDING = 26, "padding";
}

impl Code {
    /// Whether this edge knows it.
    pub const fn is_known(self) -> bool {
        1 <= self.0 && self.0 <= Code::PADDING.0
    }

    /// As policies, logs and `cesctl` write it.
    pub fn name(self) -> Option<&'static str> {
        Code::KNOWN.iter().find(|(code, _)| *code == self).map(|(_, name)| *name)
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::KNOWN.iter().find(|(_, of)| *of == name).map(|(code, _)| *code)
    }

    /// What this edge asks of a peer that doesn't know it: where nothing makes sense without it, the whole message goes back.
    pub const fn compatibility(self) -> Compatibility {
        let is_vital = matches!(
            self,
            Code::COOKIE
                | Code::SIGNATURE
                | Code::BACKOFF
                | Code::SERVICE
                | Code::TERMINATE
                | Code::KEY_SHARE
                | Code::EPOCH
        );
        let is_idle = matches!(self, Code::PADDING | Code::TOKEN | Code::CLOCK);
        Compatibility { ignores_message: is_vital, is_reported: !is_idle }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "tlv-{}", self.0),
        }
    }
}

/// A set of types. Those beyond 63 are known to nobody, and never in one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CodeSet(u64);

impl CodeSet {
    /// None at all.
    pub const EMPTY: CodeSet = CodeSet(0);

    /// Those.
    pub const fn of(codes: &[Code]) -> CodeSet {
        let mut set = CodeSet::EMPTY;
        let mut at = 0;
        while at < codes.len() {
            set = set.with(codes[at]);
            at += 1;
        }
        set
    }

    pub const fn with(self, code: Code) -> CodeSet {
        if code.0 < 64 { CodeSet(self.0 | 1 << code.0) } else { self }
    }

    pub const fn without(self, code: Code) -> CodeSet {
        if code.0 < 64 { CodeSet(self.0 & !(1 << code.0)) } else { self }
    }

    pub const fn contains(self, code: Code) -> bool {
        code.0 < 64 && self.0 >> code.0 & 1 == 1
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this or in the other.
    pub const fn union(self, other: CodeSet) -> CodeSet {
        CodeSet(self.0 | other.0)
    }

    /// What is in both.
    pub const fn intersection(self, other: CodeSet) -> CodeSet {
        CodeSet(self.0 & other.0)
    }

    /// What is in this and not in the other.
    pub const fn minus(self, other: CodeSet) -> CodeSet {
        CodeSet(self.0 & !other.0)
    }

    /// By rising number.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (0..64).map(Code).filter(move |code| self.contains(*code))
    }
}

impl FromIterator<Code> for CodeSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> CodeSet {
        codes.into_iter().fold(CodeSet::EMPTY, CodeSet::with)
    }
}

impl std::fmt::Debug for CodeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_a_number_and_a_name_of_its_own() {
        for (at, (code, name)) in Code::KNOWN.iter().enumerate() {
            assert_eq!(code.0 as usize, at + 1, "{name}: no gaps, so that a range says what is known");
            assert_eq!(Code::from_name(name), Some(*code));
            assert!(code.is_known() && CodeSet::of(&[*code]).contains(*code));
        }
        let last = Code::KNOWN.len() as u8;
        assert!(!Code(0).is_known() && !Code(last + 1).is_known() && last < 64);
    }
}
