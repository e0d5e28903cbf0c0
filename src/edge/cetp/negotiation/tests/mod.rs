//! Each edge of the state machine, on a network that does as it is told.

mod associated;
mod bounds;
mod examples;
pub(crate) mod lab;
mod living;
mod opening;
mod policies;
mod proofs;
mod simulation;
