//! What a negotiation asks of the rest of the edge: who its hosts are, what their policies say, and who answers for signatures.
//!
//! Guarantees: the negotiation decides nothing that a policy could; it asks the same question again for each round, because the
//! inbound side keeps no state between them, so answers depend on nothing but the question and what the policy is at the time.
//! Never: waits for an answer. What takes time, such as the naming check, has an event of its own.

use super::message::{
    Backoff, Code, CodeSet, Fqdn, Id, IdType, IdTypes, Limits, Message, Reason, Rloc, Service, Services,
    Signature, Tag, Value,
};

/// A host behind this edge, or what has a name of its own there, by a number that means nothing here. In their order those of a host
/// stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey(pub u64);

/// On which side of a negotiation this edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// oCES: a host behind this edge asks for another.
    Outbound,
    /// iCES: another host asks for one behind this edge.
    Inbound,
}

/// Two hosts that want something of each other.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub side: Side,
    /// The host behind this edge.
    pub host: HostKey,
    /// The other one. Inbound: what it says of itself, which nothing has proved yet.
    pub peer: Id<'a>,
    /// Its name, as far as it is known: outbound what was asked for, inbound what it was told to be.
    pub peer_name: Option<Fqdn<'a>>,
    /// What is proved of it.
    pub proved: Proved<'a>,
    /// From where it speaks, or where it is looked for.
    pub rloc: Rloc,
    /// What is asked for.
    pub services: &'a [Service],
}

/// What is proved of the other side, by its own word or without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proved<'a> {
    /// Its edge: an association has proved who that is, or the certificate of a signature.
    pub edge: Option<Fqdn<'a>>,
    /// There is a signature, and it is right.
    pub is_signed: bool,
    /// [`Ask::peer_name`] is the name of the host: the DNS has said so, or a certificate of its own does.
    pub is_named: bool,
}

/// Who has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The host itself: its certificate has its name.
    Host,
    /// An edge of that name, for its host.
    Edge(Box<str>),
}

/// What one side of a negotiation requires, grants and tells: the low-level policy of S0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the other side must tell.
    ///
    /// [`Code::SIGNATURE`] requires a signature that [`House::verify`] takes.
    pub required: CodeSet,
    /// What the other side is asked for beside, where it is asked anyway, and need not tell. A signature that is wrong is as none.
    pub optional: CodeSet,
    /// What is told unasked.
    pub offered: CodeSet,
    /// What else is told to who asks for it.
    pub available: CodeSet,
    /// What of that is told in an RR.
    pub reliable: CodeSet,
    /// Of what types the ID of the other host may be.
    pub peer_ids: IdTypes,
    /// As what the own host may show itself.
    pub own_ids: IdTypes,
    /// What of the services that were asked for is granted; never empty.
    pub services: Services,
    /// Seconds without a packet after which the session goes; both sides take the minimum. At least 1.
    pub timeout: u32,
    /// Whether the DNS must say that the FQDN of the other host is behind the RLOC from which it speaks (S0, "naming level").
    pub naming_check: bool,
    /// Whether nothing is negotiated but inside an association.
    pub needs_association: bool,
}

/// Who a signature is said to be from.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The edge that an association has proved, if there is one: its certificate is known.
    pub edge: Option<Fqdn<'a>>,
    /// The ID of the message.
    pub id: Id<'a>,
    /// An edge signs for itself, and [`Self::id`] is its name.
    pub is_edge: bool,
    /// The name that the message tells.
    pub name: Option<Fqdn<'a>>,
    /// The certificates that the message tells, leaf first.
    pub certificates: &'a [&'a [u8]],
}

/// When packets of a session were last seen, in milliseconds of the clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// From the other edge.
    pub inbound: u64,
    /// From the own host.
    pub outbound: u64,
}

/// Who gives out session tags: the owner of the table in which workers find a session by its tag.
pub trait Tags {
    /// A tag that nobody can guess and that no session has, nor had for as long as can be. `None`: there is no room.
    fn reserve(&mut self) -> Option<Tag>;

    /// It isn't needed any more.
    fn release(&mut self, tag: Tag);
}

/// The rest of the edge. See the module.
pub trait House {
    /// The name of this edge: that of its certificate, and of its association's end.
    fn name(&self) -> Fqdn<'_>;

    /// Whether that edge may have an association, and what is taken of it.
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, edge: Fqdn<'_>, rloc: Rloc) -> Result<Limits, Backoff>;

    /// When packets crossed by the session of that tag; `None` if none ever did.
    fn last_seen(&self, local: Tag) -> Option<LastSeen>;

    /// The host behind this edge that an ID of a message from outside means.
    fn find(&self, id: &Id<'_>) -> Option<HostKey>;

    /// The ID of that type of a host behind this edge.
    fn id(&self, host: HostKey, id_type: IdType) -> Option<Id<'_>>;

    /// What the policy says.
    ///
    /// # Errors
    /// Why it is refused; the other side is told so.
    fn terms(&self, ask: &Ask<'_>) -> Result<Terms, Backoff>;

    /// What the policy says when everything that `terms` require was told: of all of it together, and of what is proved. It may
    /// require more, because it knows more; what it grants, and for how long, is what is agreed on.
    ///
    /// # Errors
    /// Why it is refused; the other side is told so.
    fn judge(&self, ask: &Ask<'_>, terms: &Terms, told: &Message<'_>) -> Result<Terms, Backoff>;

    /// What is told of a host behind this edge, or of the edge itself (`None`). Cookie, token, service, timeout and signature are
    /// never asked for here.
    fn value(&self, host: Option<HostKey>, code: Code) -> Option<Value<'_>>;

    /// The certificates that go with a signature, leaf first; none where an address of a CA is told instead.
    fn certificates(&self, host: Option<HostKey>) -> &[&[u8]];

    /// Signs for a host behind this edge, or for the edge itself. `None`: there is no key for it.
    fn sign<'a>(&self, host: Option<HostKey>, text: &[u8], room: &'a mut [u8; 64]) -> Option<Signature<'a>>;

    /// Whether the signature of that text is of who it is said to be from, by a certificate that is trusted here at `clock`
    /// (milliseconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// [`Reason::BAD_CERTIFICATE`] or [`Reason::BAD_SIGNATURE`].
    fn verify(
        &self,
        signer: &Signer<'_>,
        text: &[u8],
        signature: &Signature<'_>,
        clock: u64,
    ) -> Result<SignedBy, Reason>;
}
