//! The slow path: one thread that owns all control state, and the sans-IO rooms inside it: `(state, event, now) -> outputs`.
//!
//! | room | what it is |
//! |---|---|
//! | [`cetp`] | the Customer Edge Traversal Protocol: what two edges agree on for their hosts |
//! | [`hosts`] | the host register: names, addresses, services and limits of the hosts behind the edge |
//! | [`prgw`] | the Private Realm Gateway: the circular pool, its waiting states, and who may have one |
//! | [`thread`] | the thread `ces-edge`, which owns the register today |

pub mod cetp;
pub mod hosts;
pub mod prgw;
pub mod thread;
