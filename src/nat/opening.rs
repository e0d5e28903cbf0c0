//! How the inside opens a session: in two steps, so that the newcomers of a burst wait for memory together and not one by one.
//!
//! ```text
//!  foresee, step by step, for all ─► choose, for each: limits, mapping, port ─► open, for each: the session
//!  (asks for what choose will touch)  (books the session; asks for what open will touch)
//! ```
//!
//! An [`Opening`] that was chosen is opened before anything else happens in this home but other choices: nothing is swept, and
//! no packet comes from outside, in between. Whoever opens one session alone calls [`NatHome::outbound`].

use super::nat44::{NatHome, compile, full, opens};
use crate::flow::record::Rewrite4;
use crate::flow::{Action, FlowHome, FlowTable, Half, Key4, Protocol, Record4, Ref, key};
use crate::packet::DropReason;
use rand::RngExt;
use std::net::Ipv4Addr;

/// A session of the inside that has its mapping, and is counted as if it were there.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    key: Key4,
    /// Whom they are for: their destination, unless that is a proxy address.
    remote: Ipv4Addr,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Mapped {
        mapping: u32,
        hairpin: bool,
    },
    /// It keeps its source.
    Untranslated,
    /// Such a segment opens nothing: one before it, in the same burst, may have.
    Joins,
}

impl Opening {
    /// Of the packets that it is for.
    pub fn key(&self) -> &Key4 {
        &self.key
    }
}

/// A session that an [`Opening`] has led to.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub session: Ref,
    /// Whether it was not there before.
    pub is_new: bool,
}

impl NatHome {
    /// A packet of a subscriber whose home this is has no session: makes one. `tcp_flags` are the segment's, 0 for other
    /// protocols; ICMP is an echo request, its identifier for both ports; a protocol without ports has zeros.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn outbound(
        &mut self,
        flows: &mut FlowHome,
        key: &Key4,
        tcp_flags: u8,
        now: u32,
    ) -> Result<Ref, DropReason> {
        let opening = self.choose(flows.table(), key, tcp_flags, now)?;
        self.open(flows, opening).map(|opened| opened.session)
    }

    /// Steps of [`Self::foresee`].
    pub const FORESIGHT: usize = 3;

    /// Asks for what [`Self::choose`] will touch for a packet of this key, if it is to open a session. What one step asks for
    /// is there in the next.
    #[inline]
    pub fn foresee(&self, step: usize, key: &Key4) {
        if self.nat.is_inside(key.realm()) {
            self.mappings.foresee(&self.nat, step, key);
        }
    }

    /// The first step of [`Self::outbound`]: all but the session itself.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn choose(
        &mut self,
        table: &FlowTable,
        key: &Key4,
        tcp_flags: u8,
        now: u32,
    ) -> Result<Opening, DropReason> {
        self.now = now;
        let remote = self.nat.remote_of(key)?;
        let opening = |way| Opening { key: *key, remote, way };
        if opens(key, tcp_flags).is_err() {
            return Ok(opening(Way::Joins));
        }
        if self.nat.is_proxy(key.realm(), key.source()) {
            return Err(DropReason::Ipv4SourceInvalid);
        }
        // Behind the edge nobody knows a proxy address.
        let beyond = key.towards(remote);
        let hairpin = self.nat.contains(remote);
        if !hairpin && self.nat.is_untranslated(&beyond) {
            return Ok(opening(Way::Untranslated));
        }
        if hairpin && !self.nat.options().hairpin {
            return Err(DropReason::HairpinOff);
        }
        let present = self.mappings.subscribers.find(key.realm(), key.source());
        let known = self.mappings.find_inside(&self.nat, present, &beyond);
        // Before anything is taken for it. A newcomer may open its first.
        let payer = known.map(|m| self.mappings.get(m).subscriber()).or(present);
        payer.map_or(Ok(()), |s| self.may_open(s))?;
        let mapping = match known {
            Some(m) => m,
            None => {
                let random = &mut self.random;
                self.mappings.create(&self.nat, &beyond, present, now, || random.random())?
            }
        };
        self.mappings.enter(mapping, false);
        table.foresee::<Record4>(&self.translated(mapping, &beyond).reversed(self.nat.options().outside));
        Ok(opening(Way::Mapped { mapping, hairpin }))
    }

    /// The second step: the session. A packet of the same key may have been there first; then it is that one's.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn open(&mut self, flows: &mut FlowHome, opening: Opening) -> Result<Opened, DropReason> {
        let Opening { key, remote, way } = opening;
        // Who is alone in its mapping was the only one to ask.
        let is_alone =
            matches!(way, Way::Mapped { mapping, .. } if self.mappings.get(mapping).sessions() == 1);
        if !is_alone && let Some((session, _)) = flows.table().lookup::<Record4>(&key) {
            if let Way::Mapped { mapping, .. } = way {
                self.mappings.retract(&self.nat, mapping, false, self.now);
            }
            return Ok(Opened { session, is_new: false });
        }
        let made = match way {
            Way::Joins => Err(DropReason::TcpNotSyn),
            Way::Untranslated => self.untranslated(flows, &key, remote),
            Way::Mapped { mapping, hairpin } => {
                let (out, back) = self.halves(mapping, &key, remote, hairpin);
                self.make(flows, mapping, (&out, &back), false)
            }
        };
        made.map(|session| Opened { session, is_new: true })
    }

    /// Whether a subscriber may open one more session (RFC 6888 REQ-4 and REQ-5).
    fn may_open(&mut self, subscriber: u32) -> Result<(), DropReason> {
        let o = self.nat.options();
        let s = &mut self.mappings.subscribers[subscriber];
        if s.sessions >= o.sessions_per_subscriber {
            return Err(DropReason::NatSessionLimit);
        }
        if !s.may_open(o.new_sessions_per_second, self.now) {
            return Err(DropReason::NatSessionRate);
        }
        Ok(())
    }

    /// Makes the session of a mapping that has entered it already, or takes that back. Initiator's half first; what is known from
    /// inside as a proxy address is counted there.
    pub(super) fn make(
        &mut self,
        flows: &mut FlowHome,
        mapping: u32,
        (initiator, other): (&Half<Key4, Rewrite4>, &Half<Key4, Rewrite4>),
        from_outside: bool,
    ) -> Result<Ref, DropReason> {
        let published = self.mappings.publish(mapping);
        let made = published.and_then(|()| match from_outside {
            true => self.create(flows, (initiator, other), (other, initiator)),
            false => self.make_outbound(flows, mapping, (initiator, other)),
        });
        if made.is_err() {
            self.mappings.retract(&self.nat, mapping, from_outside, self.now);
        }
        made
    }

    /// Outbound half first.
    #[inline]
    fn make_outbound(
        &mut self,
        flows: &mut FlowHome,
        mapping: u32,
        halves: (&Half<Key4, Rewrite4>, &Half<Key4, Rewrite4>),
    ) -> Result<Ref, DropReason> {
        let (out, back) = halves;
        // Who is alone in its mapping collides with nobody.
        let is_alone = self.mappings.get(mapping).sessions() == 1;
        if !is_alone && self.nat.may_collide(&out.key) && flows.table().lookup::<Record4>(&back.key).is_some()
        {
            return Err(DropReason::ProxyCollision);
        }
        let made = self.create(flows, halves, halves);
        if made.is_ok() {
            self.permit(mapping, back.key.source(), true);
        }
        made
    }

    /// A session, initiator's half first, which is counted where the second pair, outbound half first, has a proxy address.
    #[inline]
    fn create(
        &self,
        flows: &mut FlowHome,
        (initiator, other): (&Half<Key4, Rewrite4>, &Half<Key4, Rewrite4>),
        (out, back): (&Half<Key4, Rewrite4>, &Half<Key4, Rewrite4>),
    ) -> Result<Ref, DropReason> {
        let remote = back.key.source();
        self.enter_proxy(&out.key, remote)?;
        let made = flows.create::<Record4>(initiator, other, self.now).map_err(full);
        if made.is_err() {
            self.leave_proxy(&out.key, remote);
        }
        made
    }

    /// What packets of this key, which come from inside and are for its destination, become by a mapping.
    fn translated(&self, mapping: u32, key: &Key4) -> Key4 {
        let public = self.mappings.public(mapping);
        let ends = (public.address, key.destination());
        Key4::of_any_protocol(self.nat.options().outside, key.protocol(), ends, ports(public.port, key))
    }

    /// Compiles both halves of a mapping's session whose outbound packets have that key and are for `remote`, outbound half first.
    /// Inlined, or what is written in parts would be copied as a whole at once, which waits until all parts have left for the cache.
    #[inline(always)]
    pub(super) fn halves(
        &self,
        mapping: u32,
        out_key: &Key4,
        remote: Ipv4Addr,
        hairpin: bool,
    ) -> (Half<Key4, Rewrite4>, Half<Key4, Rewrite4>) {
        let inside = self.mappings.inside(mapping);
        let translated = self.translated(mapping, &out_key.towards(remote));
        let back_key = translated.reversed(self.nat.options().outside);
        let ends = (inside.address, out_key.destination());
        let untranslated =
            Key4::of_any_protocol(inside.realm, out_key.protocol(), ends, ports(inside.port, out_key))
                .reversed(inside.realm);
        let kind = if hairpin { Action::HAIRPIN } else { Action::FORWARD };
        let out = Half {
            key: *out_key,
            rewrite: compile(out_key, &translated, !hairpin),
            action: kind.with(Action::OUTBOUND),
        };
        let back =
            Half { key: back_key, rewrite: compile(&back_key, &untranslated, true), action: Action::FORWARD };
        (out, back)
    }
}

/// A session's ports where the inside has `own`. An echo has one identifier for both directions; it is translated as the
/// source port is.
fn ports(own: u16, key: &Key4) -> u32 {
    let is_echo = key.protocol() == Protocol::Icmp as u8;
    key::ports(own, if is_echo { own } else { key.destination_port() })
}
