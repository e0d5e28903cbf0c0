//! The slow path: one thread that owns all control state, and the sans-IO rooms inside it: `(state, event, now) -> outputs`.
//!
//! | room | what it is |
//! |---|---|
//! | [`calls`] | a host asks, by name, for one behind an edge |
//! | [`cetp`] | the Customer Edge Traversal Protocol: what two edges agree on for their hosts |
//! | [`hosts`] | the host register: names, addresses, services and limits of the hosts behind the edge |
//! | [`identity`] | who peers are: certificates, signatures, and whether names are theirs |
//! | [`journal`] | what has changed lately, for who keeps something of it |
//! | [`policy`] | who may talk to whom, and on what terms |
//! | [`prgw`] | the Private Realm Gateway: the circular pool, its waiting states, and who may have one |
//! | [`proxies`] | proxy addresses: which of them stands for which remote host inside |
//! | [`thread`] | the thread `ces-edge`, which owns the register and the policies |

pub mod calls;
pub mod cetp;
pub mod hosts;
pub mod identity;
pub mod journal;
pub mod policy;
pub mod prgw;
pub mod proxies;
pub mod thread;
