//! Who may reserve and claim what.
//!
//! **Reserving.** The load chooses a tier, and the tier what an asker must have shown and which reputation it needs. The
//! address of an unproven question may be anybody's: it counts as nobody's better than the middle, and it is not blamed when
//! nobody claims. So a flood of spoofed questions neither uses up the reputation of those it pretends to be, nor gets beyond the
//! first tier. A claim, on the other hand, is to an asker's credit whatever it had shown: somebody got the answer.
//!
//! **Claiming.** Where the resolver told the client's subnet only that subnet may; and unless that is a trusted resolver's word,
//! which had shown that it is one, the source is judged by its reputation as well. What was rejected stays rejected for 20 s, so that a TCP SYN which is sent again cannot take a reservation
//! that was made since. This guards against accidents: who means harm sends from another port.
//!
//! **Blame** for what nobody claimed goes to the client's network when a trusted resolver named it, else to the resolver, and
//! to nobody when the question was unproven. Only such events, and claims, make somebody remembered, and whose reputation says
//! more stays ([`super::table`]): spoofed sources cannot make this forget the good or the bad.
//!
//! **Time.** A reservation waits twice as long as 99 % of the resolver's clients took, or, while little is known of it, as
//! 95 % of all. What comes later still finds it, if nobody has needed its place ([`super::pool`]), and is learnt from.

use super::book::{Book, Known, Waiting, client, resolver};
use super::counters::{Counter, Counters};
use super::options::Options;
use super::pool::{Change, Place, Pool, Reservation, Size};
use super::reputation::MIDDLE;
use super::sessions::Sessions;
use super::table::{Secret, Table};
use super::{Answer, Carrier, Decision, FirstPacket, HostLimits, Proof, Question, TCP, Verdict};
use std::net::IpAddr;

/// Milliseconds for which a rejected first packet is remembered.
const REJECTED_FOR: u64 = 20_000;
/// Milliseconds after which a question by TCP is tried once more.
const TRY_AGAIN: u32 = 500;
/// Of a thousand: clients of a resolver, and of all, whose delays decide how long to wait.
const OF_ONE: u32 = 990;
const OF_ALL: u32 = 950;
/// How much longer than those.
const MARGIN: u64 = 2;

/// Whose the packet was that was rejected: source and its port, pool address, port, protocol.
type RejectKey = (u128, u16, u32, u16, u8);

/// See the module.
pub struct Gateway {
    options: Options,
    pool: Pool<Waiting>,
    book: Book,
    rejects: Table<RejectKey, u64>,
    /// How many sessions there are between a client network and a pool address.
    sessions: Sessions,
}

impl Gateway {
    pub fn new(options: Options, secret: Secret) -> Self {
        let size = Size {
            addresses: options.addresses,
            reservations: options.reservations,
            ceiling: options.ceiling,
        };
        Self {
            pool: Pool::new(size),
            book: Book::new(options.remembered, options.reservations, secret),
            rejects: Table::new(options.rejects, secret),
            sessions: Sessions::new(options.sessions, secret),
            options,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.book.counters
    }

    /// Addresses at which something waits, of how many.
    pub fn load(&self) -> (u32, u32) {
        self.pool.load()
    }

    /// Whether a first packet to that address could find something: the bit that workers look at before they punt.
    pub fn expects(&self, address: u32) -> bool {
        self.pool.expects(address)
    }

    /// Reservations, overdue ones included.
    pub fn reservations(&self) -> usize {
        self.pool.len()
    }

    /// The tier of the load, 0 to 3.
    pub fn load_tier(&self) -> usize {
        self.tier(false)
    }

    /// See [`Pool::left`].
    pub fn left(&mut self) -> Option<u32> {
        self.pool.left()
    }

    /// Time passes. To be called now and then; questions and first packets do it too.
    pub fn advance(&mut self, now: u64) {
        let book = &mut self.book;
        self.pool.advance(now, |reservation, change| match change {
            Change::Next => book.prefetch(&reservation.holder),
            Change::Overdue => book.counts_no_longer(&reservation.holder),
            Change::Ended => book.blame(&reservation.holder, now),
        });
    }

    // ---- questions ----

    /// What becomes of a question.
    pub fn question(&mut self, question: &Question, now: u64) -> Decision {
        // A length of 0 says that the client wants nothing said (RFC 7871 section 7.1.2).
        let subnet = question.subnet.filter(|subnet| subnet.prefix_len() > 0);
        let proven = question.proof > Proof::Nothing;
        let waiting = Waiting {
            host: question.host,
            resolver: resolver(question.resolver, question.realm),
            proven,
            subnet,
            subnet_is_known: question.subnet_is_trusted && proven,
        };
        let asker = client(subnet.map_or(question.resolver, |subnet| subnet.addr()));
        self.book.prefetch(&waiting);
        self.book.rates.prefetch(question.host);
        self.advance(now);
        let plan = self.pool.plan(question.service);
        self.sessions.prefetch(asker, self.pool.likely(plan));
        let known = self.book.resolvers.get(&waiting.resolver);
        let reputation = known.map_or(MIDDLE, |known| known.reputation.value(now));
        let timeout = self.timeout(known);
        let has_sessions = |address| self.sessions.get(asker, address) > 0;
        let Some(place) = self.pool.find(plan, has_sessions) else {
            return self.no_place(question.carrier, exhausted(question.carrier));
        };
        let tier = self.tier(place.shares && proven);
        // Somebody good shows less, but something: until it does it may be anybody who uses its address.
        let wanted = if reputation >= self.options.good && tier > 1 { tier - 1 } else { tier };
        let wanted = self.options.tiers[wanted].proof;
        if question.proof < wanted {
            return self.demand(wanted);
        }
        if (if proven { reputation } else { reputation.min(MIDDLE) }) < self.options.tiers[tier].asker {
            self.book.counters.bump(Counter::RefusedReputation);
            return if question.carrier == Carrier::Udp { Decision::Silence } else { Decision::Empty };
        }
        match self.limit(&waiting, &question.limits, now) {
            Some(limited) => self.no_place(question.carrier, limited),
            None => self.reserve(question, place, waiting, timeout, now),
        }
    }

    /// The tier of the load, or the one below it.
    fn tier(&self, lower: bool) -> usize {
        let (busy, of) = self.pool.load();
        let percent = u64::from(busy) * 100 / u64::from(of);
        [33, 66, 99].iter().filter(|&&end| percent >= end).count().saturating_sub(usize::from(lower))
    }

    /// Milliseconds for which a reservation waits.
    fn timeout(&self, known: Option<&Known>) -> u32 {
        let own = known.and_then(|known| known.delays.quantile(OF_ONE));
        let delay = own.or_else(|| self.book.delays.quantile(OF_ALL)).filter(|_| self.options.adaptive);
        let ceiling = self.options.ceiling;
        delay.map_or(ceiling, |delay| (MARGIN * delay).min(ceiling.into()) as u32).max(self.options.floor)
    }

    fn demand(&mut self, proof: Proof) -> Decision {
        self.book.counters.bump(match proof {
            Proof::Nothing | Proof::ReturnPath => Counter::DemandedReturnPath,
            Proof::Label => Counter::DemandedLabel,
            Proof::LabelByTcp => Counter::DemandedLabelByTcp,
        });
        Decision::Demand(proof)
    }

    /// The limit that one more would exceed.
    fn limit(&self, waiting: &Waiting, own: &HostLimits, now: u64) -> Option<Counter> {
        let (of_host, of_resolver) = self.book.waiting(waiting);
        let per_host = own.waiting.map_or(self.options.per_host, u32::from);
        let per_host = if waiting.proven { per_host } else { per_host.div_ceil(2) };
        if of_host >= per_host {
            Some(Counter::LimitedHost)
        } else if !self.book.rates.allows(waiting.host, self.rate(own), waiting.proven, now) {
            Some(Counter::LimitedHostRate)
        } else if of_resolver >= self.options.per_resolver {
            Some(Counter::LimitedResolver)
        } else {
            None
        }
    }

    /// Reservations a second of a host.
    fn rate(&self, own: &HostLimits) -> u32 {
        own.per_second.unwrap_or(self.options.per_host_per_second)
    }

    fn reserve(&mut self, q: &Question, place: Place, waiting: Waiting, timeout: u32, now: u64) -> Decision {
        let rate = self.rate(&q.limits);
        let book = &mut self.book;
        let taken = self.pool.take(place, q.service, waiting, timeout, now, |ended| book.blame(ended, now));
        if taken.is_none() {
            return self.no_place(q.carrier, exhausted(q.carrier));
        }
        book.counts(&waiting);
        book.rates.count(q.host, rate, now);
        book.counters.bump(if place.shares { Counter::ReservedShared } else { Counter::Reserved });
        Decision::Reserved { address: place.address, timeout }
    }

    fn no_place(&mut self, carrier: Carrier, why: Counter) -> Decision {
        self.book.counters.bump(why);
        match carrier {
            Carrier::Udp => Decision::Silence,
            Carrier::Tcp => Decision::TryAgain { after: TRY_AGAIN },
            Carrier::TcpAgain => Decision::Empty,
        }
    }

    // ---- first packets ----

    /// Whose a first packet is.
    pub fn first_packet(&mut self, packet: &FirstPacket, now: u64) -> Verdict {
        self.sessions.prefetch(client(packet.source), packet.address);
        self.advance(now);
        match self.judge(packet, now) {
            Ok(id) => self.claim(id, packet, now),
            Err(why) => {
                self.book.counters.bump(why);
                // What cannot claim needs no memory; what is remembered isn't remembered longer for being sent again.
                if !matches!(why, Counter::RejectedNotSyn | Counter::RejectedRemembered) {
                    self.rejects.remove(&reject_key(packet));
                    self.rejects.put(reject_key(packet), now, |&since| since);
                }
                Verdict::Rejected { why, answer: Answer::to(packet.protocol) }
            }
        }
    }

    fn judge(&self, packet: &FirstPacket, now: u64) -> Result<u32, Counter> {
        if packet.protocol == TCP && !packet.pure_syn {
            return Err(Counter::RejectedNotSyn);
        }
        if self.rejects.get(&reject_key(packet)).is_some_and(|since| since + REJECTED_FOR > now) {
            return Err(Counter::RejectedRemembered);
        }
        let found = self.pool.look_up(packet.address, packet.port, packet.protocol);
        let id = found.ok_or(Counter::RejectedNothingWaits)?;
        let holder = self.pool.get(id).map(|r| &r.holder);
        holder.iter().for_each(|holder| self.book.prefetch(holder));
        // A subnet of the other family says nothing about who sends this packet.
        let told = holder.and_then(|holder| Some((holder.subnet?, holder.subnet_is_known)));
        match told.filter(|(subnet, _)| subnet.addr().is_ipv4() == packet.source.is_ipv4()) {
            Some((subnet, _)) if !subnet.contains(&packet.source) => Err(Counter::RejectedSubnet),
            Some((_, true)) => Ok(id),
            _ if self.client_reputation(packet.source, now) < self.options.tiers[self.tier(false)].source => {
                Err(Counter::RejectedReputation)
            }
            _ => Ok(id),
        }
    }

    fn claim(&mut self, id: u32, packet: &FirstPacket, now: u64) -> Verdict {
        let Reservation { service, since, overdue, holder, .. } = self.pool.claim(id);
        if !overdue {
            self.book.counts_no_longer(&holder);
        }
        let waited = now - since;
        self.book.credit(&holder, waited, now);
        self.book.counters.bump(if overdue { Counter::ClaimedLate } else { Counter::Claimed });
        self.session_began(packet.source, packet.address);
        Verdict::Claimed { host: holder.host, service, waited: waited as u32 }
    }

    /// Sessions between a client's network and an address, as far as they are remembered.
    pub fn sessions_of(&self, source: IpAddr, address: u32) -> u32 {
        self.sessions.get(client(source), address)
    }

    /// A session has begun that no claim has counted: one whose claim was given up before.
    pub fn session_began(&mut self, source: IpAddr, address: u32) {
        self.sessions.add(client(source), address);
    }

    /// A session that a claim made is over.
    pub fn session_ended(&mut self, source: IpAddr, address: u32) {
        self.sessions.subtract(client(source), address);
    }

    /// What somebody else knows of a client: a connection that went well, an attack. Only about one that has shown that the
    /// address is its own, by a complete handshake for example: else anybody could be blamed.
    pub fn report_client(&mut self, source: IpAddr, well: bool, now: u64) {
        self.book.record_client(client(source), well, now);
    }

    /// The reputation of a resolver outside.
    pub fn resolver_reputation(&self, address: IpAddr, now: u64) -> f32 {
        self.book.resolvers.get(&resolver(address, None)).map_or(MIDDLE, |known| known.reputation.value(now))
    }

    /// The reputation of a client's network.
    pub fn client_reputation(&self, address: IpAddr, now: u64) -> f32 {
        self.book.client_reputation(client(address), now)
    }
}

fn exhausted(carrier: Carrier) -> Counter {
    match carrier {
        Carrier::Udp => Counter::ExhaustedUdp,
        Carrier::Tcp => Counter::ExhaustedTcp,
        Carrier::TcpAgain => Counter::ExhaustedTcpAgain,
    }
}

fn reject_key(packet: &FirstPacket) -> RejectKey {
    let source = match packet.source {
        IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
        IpAddr::V6(a) => a.to_bits(),
    };
    (source, packet.source_port, packet.address, packet.port, packet.protocol)
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
