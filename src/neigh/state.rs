//! The state machine of one neighbour: (state, event) → (state, effect), pure.
//!
//! The names are those of RFC 4861 section 7.3.2, used for ARP too. DELAY is left out: nothing above us confirms that a
//! neighbour is reachable, so there is nothing to wait for. What is not confirmed and in use is probed.
//!
//! Guarantees: each state has one timer or none, and only a timeout, or somebody's first interest, solicits.
//! Never: knows the time; when a timer starts is the caller's rule (on a timeout, and whenever the kind of timer changes).

use super::{MacAddr, Timers};

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for, no link-layer address yet: packets wait.
    Incomplete {
        /// Solicitations sent to all.
        sent: u8,
    },
    /// It answered within the reachable time.
    Reachable,
    /// Learnt from its own request, asked for by nobody yet: the owner is not told of it, so that whoever wants it first has
    /// to ask, and by that proves it used.
    Stale,
    /// Usable, and being asked whether it still is there.
    Probe {
        /// Solicitations sent to it alone; 0 where the first one is still to come.
        sent: u8,
    },
    /// It did not answer: packets for it are dropped at once for a while.
    Failed {
        /// Somebody wanted it since.
        asked: bool,
    },
    /// Given by the operator.
    Permanent,
}

/// The timers that a state may wait for, in the order in which a tick looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Retransmit,
    Failed,
    Reachable,
    Stale,
}

impl Timer {
    pub(super) const ALL: [Timer; 4] = [Timer::Retransmit, Timer::Failed, Timer::Reachable, Timer::Stale];

    /// In milliseconds.
    pub(super) fn duration(self, timers: &Timers) -> u32 {
        match self {
            Timer::Retransmit => timers.retransmit,
            Timer::Failed => timers.failed,
            Timer::Reachable => timers.reachable,
            Timer::Stale => timers.stale,
        }
    }
}

impl State {
    /// The name that an operator sees.
    pub fn name(self) -> &'static str {
        match self {
            State::Incomplete { .. } => "incomplete",
            State::Reachable => "reachable",
            State::Stale => "stale",
            State::Probe { .. } => "probe",
            State::Failed { .. } => "failed",
            State::Permanent => "permanent",
        }
    }

    /// Whether packets go out by it.
    pub fn usable(self) -> bool {
        !matches!(self, State::Incomplete { .. } | State::Failed { .. } | State::Stale)
    }

    /// Whether its link-layer address is on record.
    pub(super) fn has_mac(self) -> bool {
        self.usable() || self == State::Stale
    }

    pub(super) fn timer(self) -> Option<Timer> {
        match self {
            State::Incomplete { .. } | State::Probe { .. } => Some(Timer::Retransmit),
            State::Reachable => Some(Timer::Reachable),
            State::Stale => Some(Timer::Stale),
            State::Failed { .. } => Some(Timer::Failed),
            State::Permanent => None,
        }
    }
}

/// What happens to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A packet is there for it.
    Wanted,
    /// It spoke, and gave this link-layer address, or none (RFC 4861 section 4.4 lets a solicited advertisement omit it).
    Heard { mac: Option<MacAddr>, solicited: bool, overrides: bool },
    /// The timer of its state ran out.
    Timeout,
    /// The same, of a neighbour that did not answer and that is to be kept resolved.
    Retry,
}

/// What follows from a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// To all when the next state is incomplete, else to its own address.
    Solicit,
    /// It became usable, with this address.
    Resolve(MacAddr),
    /// It is usable with another address.
    Change(MacAddr),
    /// It has another address, and is not usable yet.
    Note(MacAddr),
    /// It is usable no more.
    Lose,
}

/// The next state, `None` to forget the neighbour, and what to do.
pub(super) type Step = (Option<State>, Effect);

/// The one transition function. `known` is the link-layer address on record, looked at in the states that have one.
pub(super) fn transition(state: State, known: MacAddr, event: Event, timers: &Timers) -> Step {
    match event {
        Event::Wanted => wanted(state, known),
        Event::Timeout => timeout(state, timers),
        // One solicitation a round: it may stay away for days, and everybody on the link hears the question.
        Event::Retry => (Some(State::Incomplete { sent: timers.multicast_solicits }), Effect::Solicit),
        Event::Heard { mac, solicited, overrides } => match (state, mac) {
            (State::Permanent, _) => (Some(state), Effect::Nothing),
            (State::Incomplete { .. } | State::Failed { .. }, None) => (Some(state), Effect::Nothing),
            // RFC 4861 section 7.2.5: an incomplete entry takes any address, whatever the flags.
            (State::Incomplete { .. }, Some(mac)) if solicited => {
                (Some(State::Reachable), Effect::Resolve(mac))
            }
            (State::Incomplete { .. } | State::Failed { .. }, Some(mac)) => {
                (Some(State::Probe { sent: 0 }), Effect::Resolve(mac))
            }
            (_, Some(mac)) if mac != known => heard_other(state, mac, solicited, overrides),
            (State::Probe { .. }, _) if solicited => (Some(State::Reachable), Effect::Nothing),
            _ => (Some(state), Effect::Nothing),
        },
    }
}

fn wanted(state: State, known: MacAddr) -> Step {
    match state {
        State::Stale => (Some(State::Probe { sent: 0 }), Effect::Resolve(known)),
        State::Failed { .. } => (Some(State::Failed { asked: true }), Effect::Nothing),
        _ => (Some(state), Effect::Nothing),
    }
}

fn timeout(state: State, timers: &Timers) -> Step {
    match state {
        State::Incomplete { sent } if sent < timers.multicast_solicits => {
            (Some(State::Incomplete { sent: sent + 1 }), Effect::Solicit)
        }
        State::Probe { sent } if sent < timers.unicast_solicits => {
            (Some(State::Probe { sent: sent + 1 }), Effect::Solicit)
        }
        State::Incomplete { .. } | State::Probe { .. } => {
            (Some(State::Failed { asked: false }), Effect::Lose)
        }
        State::Reachable => (Some(State::Probe { sent: 1 }), Effect::Solicit),
        State::Failed { asked: true } => (Some(State::Incomplete { sent: 1 }), Effect::Solicit),
        State::Failed { asked: false } | State::Stale => (None, Effect::Nothing),
        State::Permanent => (Some(state), Effect::Nothing),
    }
}

/// A neighbour gave another address than the one on record: RFC 826's merge, RFC 4861 section 7.2.5.
fn heard_other(state: State, mac: MacAddr, solicited: bool, overrides: bool) -> Step {
    // Nobody asked in Reachable: an answer there is as good as any other claim, so it is believed and probed.
    match state {
        State::Probe { .. } if overrides && solicited => (Some(State::Reachable), Effect::Change(mac)),
        State::Probe { .. } | State::Reachable if overrides => {
            (Some(State::Probe { sent: 0 }), Effect::Change(mac))
        }
        State::Stale if overrides => (Some(State::Stale), Effect::Note(mac)),
        State::Reachable => (Some(State::Probe { sent: 0 }), Effect::Nothing),
        _ => (Some(state), Effect::Nothing),
    }
}
