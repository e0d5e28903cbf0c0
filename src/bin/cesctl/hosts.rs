//! Which hosts that have names `cesctl` shows.

use std::net::IpAddr;

use ces::manage::HostFilter;
use ces::manage::protocol::{FlowLimit, Request};
use clap::Args;

/// What is shown.
#[derive(Args)]
pub struct Which {
    /// Only the one that this name, or this service's name, means
    name: Option<String>,
    /// Only those of this realm
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// Only those with this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Only those of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// From where the page before has ended
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u32,
    /// How many to show, 0 to 10000 (0 only counts) [default: 100]
    #[arg(long, value_name = "N")]
    limit: Option<FlowLimit>,
}

impl Which {
    pub fn request(&self) -> Request {
        let Which { name, realm, address, group, from, limit } = self;
        Request::Hosts(HostFilter {
            name: name.clone(),
            realm: realm.clone(),
            address: *address,
            group: group.clone(),
            from: *from,
            limit: limit.unwrap_or_default(),
        })
    }
}
