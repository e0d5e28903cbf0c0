//! Typed views over bytes.
pub mod drop;
pub use drop::{DROP_REASONS, DropReason};
