//! UDP frames of many flows out of one: what the benches' generators send.

/// A flow's ends: (host, its port), (remote, its port).
pub type Tuple = ((u32, u16), (u32, u16));

/// A frame whose addresses and ports are filled in, with both checksums.
pub struct Template {
    pub frame: Vec<u8>,
    /// Sums of what does not change.
    ip_sum: u32,
    udp_sum: u32,
}

impl Template {
    /// Of a UDP frame whose addresses and ports are zero, and its checksums right.
    pub fn new(frame: Vec<u8>) -> Self {
        let sum = |at: usize| u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]]));
        Self { ip_sum: sum(24), udp_sum: sum(40), frame }
    }

    /// Writes the flow's addresses, ports and checksums (RFC 1071) into a copy of the template.
    pub fn fill(&self, frame: &mut [u8], ((host, port), (remote, remote_port)): Tuple) {
        let halves = |a: u32| (a >> 16) + (a & 0xffff);
        let addresses = halves(host) + halves(remote);
        let ip = fold(self.ip_sum + addresses);
        let udp = fold(self.udp_sum + addresses + u32::from(port) + u32::from(remote_port));
        frame[24..26].copy_from_slice(&(!ip).to_be_bytes());
        frame[26..30].copy_from_slice(&host.to_be_bytes());
        frame[30..34].copy_from_slice(&remote.to_be_bytes());
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame[36..38].copy_from_slice(&remote_port.to_be_bytes());
        // RFC 768: a sum of zero is sent as its other representation.
        let udp = if udp == 0xffff { 0xffff } else { !udp };
        frame[40..42].copy_from_slice(&udp.to_be_bytes());
    }
}

fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}
