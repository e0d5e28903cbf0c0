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

/// A session of the inside that has its mapping, and is counted as if it were there.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    key: Key4,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Mapped {
        mapping: u32,
        hairpin: bool,
    },
    /// It keeps its addresses.
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
        if opens(key, tcp_flags).is_err() {
            return Ok(Opening { key: *key, way: Way::Joins });
        }
        let hairpin = self.nat.contains(key.destination());
        if !hairpin && self.nat.is_untranslated(key) {
            return Ok(Opening { key: *key, way: Way::Untranslated });
        }
        if hairpin && !self.nat.options().hairpin {
            return Err(DropReason::HairpinOff);
        }
        let present = self.mappings.subscribers.find(key.realm(), key.source());
        let known = self.mappings.find_inside(&self.nat, present, key);
        // Before anything is taken for it. A newcomer may open its first.
        let payer = known.map(|m| self.mappings.get(m).subscriber()).or(present);
        payer.map_or(Ok(()), |s| self.may_open(s))?;
        let mapping = match known {
            Some(m) => m,
            None => {
                let random = &mut self.random;
                self.mappings.create(&self.nat, key, present, now, || random.random())?
            }
        };
        self.mappings.enter(mapping, false);
        table.foresee::<Record4>(&self.translated(mapping, key).reversed(self.nat.options().outside));
        Ok(Opening { key: *key, way: Way::Mapped { mapping, hairpin } })
    }

    /// The second step: the session. A packet of the same key may have been there first; then it is that one's.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn open(&mut self, flows: &mut FlowHome, opening: Opening) -> Result<Opened, DropReason> {
        let Opening { key, way } = opening;
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
            Way::Untranslated => self.untranslated(flows, &key),
            Way::Mapped { mapping, hairpin } => {
                let (out, back) = self.halves(mapping, &key, hairpin);
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

    /// Makes the session of a mapping that has entered it already, or takes that back. Initiator's half first.
    pub(super) fn make(
        &mut self,
        flows: &mut FlowHome,
        mapping: u32,
        (initiator, other): (&Half<Key4, Rewrite4>, &Half<Key4, Rewrite4>),
        from_outside: bool,
    ) -> Result<Ref, DropReason> {
        let published = self.mappings.publish(mapping);
        let made = published.and_then(|()| flows.create::<Record4>(initiator, other, self.now).map_err(full));
        match made {
            Ok(_) if !from_outside => self.permit(mapping, initiator.key.destination(), true),
            Ok(_) => (),
            Err(_) => self.mappings.retract(&self.nat, mapping, from_outside, self.now),
        }
        made
    }

    /// What packets of this key, which come from inside, become by a mapping.
    fn translated(&self, mapping: u32, key: &Key4) -> Key4 {
        let public = self.mappings.public(mapping);
        let ends = (public.address, key.destination());
        Key4::of_any_protocol(self.nat.options().outside, key.protocol(), ends, ports(public.port, key))
    }

    /// Compiles both halves of a mapping's session whose outbound packets have that key, outbound half first. Inlined, or what is
    /// written in parts would be copied as a whole at once, which waits until all parts have left for the cache.
    #[inline(always)]
    pub(super) fn halves(
        &self,
        mapping: u32,
        out_key: &Key4,
        hairpin: bool,
    ) -> (Half<Key4, Rewrite4>, Half<Key4, Rewrite4>) {
        let inside = self.mappings.inside(mapping);
        let translated = self.translated(mapping, out_key);
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
