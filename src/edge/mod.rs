//! The slow path: one thread that owns all control state, and the sans-IO rooms inside it: `(state, event, now) -> outputs`.
//!
//! | room | what it is |
//! |---|---|
//! | [`prgw`] | the Private Realm Gateway: the circular pool, its waiting states, and who may have one |

pub mod prgw;
