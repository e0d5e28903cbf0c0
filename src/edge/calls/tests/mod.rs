//! Whole services on virtual time: policies, registers, certificates, tunnels and proxy addresses as they are, on a network that loses
//! and reorders.

mod addresses;
mod apart;
mod bounds;
mod changes;
mod lab;
mod locals;
pub mod path_mtu;
mod remotes;
mod reports;
mod reputations;
mod services;
mod wild;
