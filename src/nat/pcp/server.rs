//! What a request does: RFC 6887 sections 11 to 15, RFC 6886 section 3.
//!
//! A MAP holds a mapping open for strangers. A PEER holds the session with one remote end, which it makes if there is none. Either
//! ends when its time is over, and leaves what packets keep alive by themselves.

use super::natpmp;
use super::table::{Explicit, Peer};
use super::wire::{self, Asked, Code, FILTERS, Filter, Granted, LONGEST, Options, Request, Wanted};
use crate::flow::key::ports;
use crate::flow::record::Record;
use crate::flow::{FlowHome, Key4, Realm, Record4};
use crate::nat::mapping::Want;
use crate::nat::ports::space;
use crate::nat::{NatHome, PoolState};
use crate::packet::DropReason;
use arrayvec::ArrayVec;
use rand::RngExt;
use std::net::Ipv4Addr;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// TCP's flag by which a session begins (RFC 9293 section 3.1).
const SYN: u8 = 2;
/// What NAT-PMP's mappings have for a nonce: its clients know none (RFC 6887 appendix A).
const NO_NONCE: [u8; 12] = [0; 12];

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Bytes of the answer.
    pub length: usize,
    /// Sessions that it has made.
    pub sessions: usize,
}

/// A client: its realm and address.
type Client = (Realm, Ipv4Addr);

impl NatHome {
    /// Answers a request that a subscriber whose home this is has sent to the edge; `None` of what is no
    /// request, or where none are served: silence (RFC 6887 section 8.2).
    pub fn control(
        &mut self,
        flows: &mut FlowHome,
        client: Client,
        request: &[u8],
        now: u32,
        answer: &mut [u8; LONGEST],
    ) -> Option<Done> {
        self.now = now;
        let control = self.pcp.as_mut()?;
        control.at(now);
        control.opened = 0;
        let epoch = control.epoch();
        if wire::version(request)? == 0 {
            let told = self.natpmp(client, natpmp::parse(request)?);
            return Some(Done { length: natpmp::write(request, &told, epoch, answer), sessions: 0 });
        }
        let done = wire::parse(request, client.1).and_then(|parsed| match parsed {
            Request::Announce => Ok(Granted { lifetime: 0, external: None }),
            Request::Map(asked, options) => self.map(client, &asked, &options),
            Request::Peer(asked, remote) => self.peer(flows, client, &asked, remote),
        });
        let length = match done {
            Ok(granted) => wire::grant(request, &granted, epoch, answer),
            Err(code) => wire::refuse(request, code, epoch, answer),
        };
        Some(Done { length, sessions: self.pcp.as_ref().map_or(0, |control| control.opened) })
    }

    /// What is asked for at the moment, of all subscribers; 0 where nobody may.
    pub fn asked_for(&self) -> usize {
        self.pcp.as_ref().map_or(0, |control| control.table.len())
    }

    /// Seconds since this home's state began; `None` where nobody may ask for mappings.
    pub fn epoch(&self) -> Option<u32> {
        self.pcp.as_ref().map(super::Control::epoch)
    }

    /// RFC 6887 section 11.3.
    fn map(&mut self, client: Client, asked: &Asked, options: &Options) -> Result<Granted, Code> {
        let (protocol, port) = (asked.protocol, asked.internal_port);
        if port != 0 && (protocol == 0 || !matches!(protocol, TCP | UDP)) {
            return Err(if protocol == 0 { Code::MalformedRequest } else { Code::UnsuppProtocol });
        }
        // Towards everybody: what a mapping is found by that depends on no remote end.
        let key = key(client, protocol, port, (Ipv4Addr::UNSPECIFIED, 0));
        let known = self.mappings.find_inside(&self.nat, self.present(client), &key);
        let held = known.and_then(|mapping| self.held(mapping, None));
        if let Some(n) = held {
            self.check_nonce(n, asked)?;
        }
        if asked.lifetime == 0 {
            return Ok(self.end_by_request(held));
        }
        let filters = self.merged(held, options)?;
        let mapping = match known {
            Some(mapping) => self.renewable(mapping, asked, options.prefer_failure)?,
            None => self.make_mapping(client, &key, asked, options.prefer_failure)?,
        };
        // A packet of the same burst may have made it just now.
        self.mappings.publish(mapping).map_err(|why| refusal(why, false))?;
        let n = self.hold(mapping, None, held, asked)?;
        if let Some(control) = self.pcp.as_mut() {
            control.table[n].set_filters(&filters);
        }
        Ok(self.granted(mapping, asked))
    }

    /// RFC 6887 section 12.3.
    fn peer(
        &mut self,
        flows: &mut FlowHome,
        client: Client,
        asked: &Asked,
        remote: (Ipv4Addr, u16),
    ) -> Result<Granted, Code> {
        if !matches!(asked.protocol, TCP | UDP) {
            return Err(Code::UnsuppProtocol);
        }
        let is_host = !(remote.0.is_unspecified() || remote.0.is_multicast() || remote.0.is_broadcast());
        if asked.internal_port == 0 || remote.1 == 0 || !is_host {
            return Err(Code::MalformedRequest);
        }
        let key = key(client, asked.protocol, asked.internal_port, remote);
        let session =
            flows.table().lookup::<Record4>(&key).and_then(|(_, record)| flows.table().twin(record));
        let there = session.map(|back| self.mapping_of(&back.key()).ok_or(Code::CannotProvideExternal));
        let there = there.transpose()?;
        let held = there.and_then(|mapping| self.held(mapping, Some(remote)));
        if let Some(n) = held {
            self.check_nonce(n, asked)?;
        }
        if asked.lifetime == 0 {
            return Ok(self.end_by_request(held));
        }
        let mapping = match there {
            Some(mapping) => self.renewable(mapping, asked, false)?,
            None => self.open_session(flows, client, &key, asked)?,
        };
        self.hold(mapping, Some(remote), held, asked)?;
        Ok(self.granted(mapping, asked))
    }

    /// Makes the session that a PEER asks for, as if its first packet had come.
    fn open_session(
        &mut self,
        flows: &mut FlowHome,
        client: Client,
        key: &Key4,
        asked: &Asked,
    ) -> Result<u32, Code> {
        if self.nat.is_untranslated(key) {
            return Err(Code::CannotProvideExternal);
        }
        self.may_ask(client)?;
        let is_wanted = asked.external_port != 0 || asked.external_address != Wanted::Any;
        let known = self.mappings.find_inside(&self.nat, self.present(client), key);
        let mapping = match known {
            Some(mapping) => self.renewable(mapping, asked, is_wanted)?,
            None => self.make_mapping(client, key, asked, is_wanted)?,
        };
        let flags = if asked.protocol == TCP { SYN } else { 0 };
        if let Err(why) = self.outbound(flows, key, flags, self.now) {
            self.mappings.undo(&self.nat, mapping, self.now);
            return Err(refusal(why, true));
        }
        if let Some(control) = self.pcp.as_mut() {
            control.opened += 1;
        }
        Ok(mapping)
    }

    /// RFC 6886 section 3.
    fn natpmp(&mut self, client: Client, request: natpmp::Request) -> natpmp::Answer {
        let done = match request {
            natpmp::Request::Unknown => Err(natpmp::Code::UnsupportedOpcode),
            natpmp::Request::Address => self.address_of(client).map_err(as_natpmp),
            // All ports at once, to map or to end (section 3.4): who wants that speaks PCP.
            natpmp::Request::Map { internal_port: 0, .. } => Err(natpmp::Code::NotAuthorized),
            natpmp::Request::Map { protocol, internal_port, external_port, lifetime } => {
                let external_address = Wanted::Any;
                let nonce = NO_NONCE;
                let asked =
                    Asked { nonce, lifetime, protocol, internal_port, external_port, external_address };
                self.map(client, &asked, &Options::default()).map_err(as_natpmp)
            }
        };
        let granted = match done {
            Ok(granted) => granted,
            Err(code) => return natpmp::Answer::refusal(code),
        };
        let (address, port) = granted.external.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
        // What is gone has no public port (section 3.4).
        let external_port = if granted.lifetime == 0 { 0 } else { port };
        natpmp::Answer { code: natpmp::Code::Success, address, external_port, lifetime: granted.lifetime }
    }

    /// The public address of a client. One that has none yet is given its first block: it rests, and so waits for what comes next.
    fn address_of(&mut self, client: Client) -> Result<Granted, Code> {
        let Some(s) = self.present(client) else {
            let key = key(client, UDP, super::CLIENT_PORT, (Ipv4Addr::UNSPECIFIED, 0));
            let random = &mut self.random;
            let made = self.mappings.create(&self.nat, &key, None, self.now, || random.random());
            let mapping = made.map_err(|why| refusal(why, false))?;
            let address = self.mappings.public(mapping).address;
            self.mappings.remove_unused(&self.nat, mapping, self.now);
            return Ok(Granted { lifetime: 0, external: Some((address, 0)) });
        };
        let s = &self.mappings.subscribers[s];
        let pool = &self.nat.pools()[usize::from(s.pool)];
        if pool.state() == PoolState::Removed {
            return Err(Code::NetworkFailure);
        }
        let address = pool.address_of(s.first_block);
        Ok(Granted { lifetime: 0, external: Some((address, 0)) })
    }

    /// A client's number, if it has one: on the pool that serves it now.
    fn present(&self, client: Client) -> Option<u32> {
        self.mappings.subscribers.find(client.0, client.1)
    }

    fn held(&self, mapping: u32, peer: Peer) -> Option<u32> {
        self.pcp.as_ref()?.table.find(mapping, peer)
    }

    /// Whoever does not know the nonce has not asked for it (RFC 6887 section 11.3).
    fn check_nonce(&self, n: u32, asked: &Asked) -> Result<(), Code> {
        let control = self.pcp.as_ref().ok_or(Code::NotAuthorized)?;
        if control.table[n].nonce == asked.nonce { Ok(()) } else { Err(Code::NotAuthorized) }
    }

    /// RFC 6887 section 15: what is not there any more is ended, too.
    fn end_by_request(&mut self, held: Option<u32>) -> Granted {
        if let Some(n) = held {
            self.end(n);
        }
        Granted { lifetime: 0, external: None }
    }

    /// The filters that a mapping has if these are added (RFC 6887 section 13.3).
    fn merged(&self, held: Option<u32>, options: &Options) -> Result<ArrayVec<Filter, FILTERS>, Code> {
        let control = self.pcp.as_ref().ok_or(Code::NotAuthorized)?;
        let had = held.filter(|_| !options.clears_filters).map_or(&[][..], |n| control.table[n].filters());
        let mut merged: ArrayVec<Filter, FILTERS> = had.iter().copied().collect();
        for filter in options.filters.iter() {
            if !merged.contains(filter) {
                merged.try_push(*filter).map_err(|_| Code::ExcessiveRemotePeers)?;
            }
        }
        Ok(merged)
    }

    /// A mapping that is there, if it may go on, and is what is wanted where nothing else will do.
    fn renewable(&self, mapping: u32, asked: &Asked, exact: bool) -> Result<u32, Code> {
        if self.mappings.pool(&self.nat, mapping).state() != PoolState::Active {
            return Err(Code::NoResources);
        }
        let public = self.mappings.public(mapping);
        let fits = asked.external_address.allows(public.address)
            && (asked.external_port == 0 || asked.external_port == public.port);
        if exact && !fits { Err(Code::CannotProvideExternal) } else { Ok(mapping) }
    }

    /// Whether a client may ask for one more.
    fn may_ask(&self, client: Client) -> Result<(), Code> {
        let control = self.pcp.as_ref().ok_or(Code::NotAuthorized)?;
        if control.table.is_full() {
            return Err(Code::NoResources);
        }
        let s = self.present(client);
        let has = s.map_or(0, |s| self.mappings.subscribers[s].explicit);
        if has >= control.options.per_subscriber { Err(Code::UserExQuota) } else { Ok(()) }
    }

    /// A new mapping, with the public endpoint that is wanted if its subscriber has it: `exact` says, that or none.
    fn make_mapping(&mut self, client: Client, key: &Key4, asked: &Asked, exact: bool) -> Result<u32, Code> {
        self.may_ask(client)?;
        let address = match asked.external_address {
            Wanted::Any => None,
            Wanted::This(address) => Some(address),
            Wanted::Other if exact => return Err(Code::CannotProvideExternal),
            Wanted::Other => None,
        };
        let port = Some(asked.external_port).filter(|port| *port != 0);
        let want = Want { address, port, exact };
        let known = self.present(client);
        let random = &mut self.random;
        let made = self.mappings.create_as(&self.nat, key, &want, known, self.now, || random.random());
        let mapping = made.map_err(|why| match why {
            DropReason::NatNoPort if exact && (port.is_some() || address.is_some()) => {
                Code::CannotProvideExternal
            }
            why => refusal(why, known.is_some()),
        })?;
        // All ports at once are for whoever has them all.
        let is_wide = key.source_port() == 0 && space(key.protocol()).is_some();
        if is_wide && !self.mappings.pool(&self.nat, mapping).is_whole() {
            self.mappings.undo(&self.nat, mapping, self.now);
            return Err(Code::UnsuppProtocol);
        }
        if let Err(why) = self.mappings.publish(mapping) {
            self.mappings.undo(&self.nat, mapping, self.now);
            return Err(refusal(why, false));
        }
        Ok(mapping)
    }

    /// Enters what is asked for, or renews it. Returns its place.
    fn hold(&mut self, mapping: u32, peer: Peer, held: Option<u32>, asked: &Asked) -> Result<u32, Code> {
        let subscriber = self.mappings.get(mapping).subscriber();
        let has = self.mappings.subscribers[subscriber].explicit;
        let control = self.pcp.as_mut().ok_or(Code::NotAuthorized)?;
        let until = control.at(self.now) + u64::from(control.lifetime(asked.lifetime)) * 1000;
        let n = match held {
            Some(n) => Ok(n),
            None if has >= control.options.per_subscriber => Err(Code::UserExQuota),
            None => control.table.insert(Explicit::new(mapping, peer, asked.nonce)).ok_or(Code::NoResources),
        };
        match n {
            Ok(n) => {
                control.table[n].until = until;
                if held.is_none() {
                    self.mappings.hold(mapping, peer.is_none());
                }
            }
            // One that was made for it, and nothing uses, goes.
            Err(_) => self.mappings.undo(&self.nat, mapping, self.now),
        }
        n
    }

    fn granted(&self, mapping: u32, asked: &Asked) -> Granted {
        let public = self.mappings.public(mapping);
        let lifetime = self.pcp.as_ref().map_or(0, |control| control.lifetime(asked.lifetime));
        Granted { lifetime, external: Some((public.address, public.port)) }
    }

    /// What was asked for is over.
    fn end(&mut self, n: u32) {
        let Some(control) = self.pcp.as_mut() else { return };
        let entry = control.table.remove(n);
        self.mappings.release(&self.nat, entry.mapping, entry.peer.is_none(), self.now);
    }

    /// Ends what is over, and what is of a pool that was removed: each place is looked at once a second or so.
    pub(in crate::nat) fn expire_control(&mut self, now: u32) {
        let Some(control) = self.pcp.as_mut() else { return };
        let at = control.at(now);
        let elapsed = at - std::mem::replace(&mut control.swept, at);
        let places = u64::from(control.table.capacity());
        let mut budget = (places * elapsed).div_ceil(1000).min(places) as u32;
        while let Some(control) = self.pcp.as_mut()
            && let Some(n) = control.table.next_in_turn(&mut budget)
        {
            let entry = &control.table[n];
            let (mapping, is_over) = (entry.mapping, entry.until <= at);
            if is_over || self.mappings.pool(&self.nat, mapping).state() == PoolState::Removed {
                self.end(n);
            }
        }
    }

    /// Whether what a subscriber has opened is for the sender of a packet of this key.
    pub(in crate::nat) fn is_asked_for(&self, door: u32, key: &Key4) -> bool {
        let Some(control) = self.pcp.as_ref() else { return false };
        let entry = control.table.find(door, None).map(|n| &control.table[n]);
        entry.is_some_and(|entry| entry.passes(key.source(), key.source_port()))
    }

    /// Whether the session whose answers have this key is to stay for some time yet, however idle.
    pub(in crate::nat) fn is_asked_to_stay(&self, back: &Key4) -> bool {
        let Some(control) = self.pcp.as_ref().filter(|control| !control.table.is_empty()) else {
            return false;
        };
        let Some(mapping) = self.mapping_of(back) else { return false };
        control.table.find(mapping, Some((back.source(), back.source_port()))).is_some()
    }
}

/// The key of a client's packets.
fn key(client: Client, protocol: u8, port: u16, remote: (Ipv4Addr, u16)) -> Key4 {
    Key4::of_any_protocol(client.0, protocol, (client.1, remote.0), ports(port, remote.1))
}

/// Why no mapping was made, in PCP's terms. Who `is_known` has used up its own share.
fn refusal(why: DropReason, is_known: bool) -> Code {
    match why {
        DropReason::ProtocolUnsupported => Code::UnsuppProtocol,
        DropReason::NatNoPool => Code::NotAuthorized,
        DropReason::NatNoPort if is_known => Code::UserExQuota,
        DropReason::NatSessionLimit | DropReason::NatSessionRate => Code::UserExQuota,
        _ => Code::NoResources,
    }
}

/// The same in NAT-PMP's.
fn as_natpmp(code: Code) -> natpmp::Code {
    match code {
        Code::NetworkFailure => natpmp::Code::NetworkFailure,
        Code::NoResources | Code::UserExQuota => natpmp::Code::OutOfResources,
        _ => natpmp::Code::NotAuthorized,
    }
}
