//! DNS cookies (RFC 7873) with the server cookie that servers understand of each other (RFC 9018), and the random label that a
//! name may be asked under, which proves the same to who knows no cookies.
//!
//! Guarantees: nothing is kept for a client; what a client shows counts for its address and for a time only. A secret that was
//! replaced still counts until the next is. Never: reads a clock, or makes a secret.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::BASE32_DNSSEC;
use siphasher::sip::SipHasher24;

/// A secret of SipHash.
pub type Secret = [u8; 16];

/// A client cookie: RFC 7873 section 4.1.
pub type ClientCookie = [u8; 8];
/// A server cookie: RFC 9018 section 4.
pub type ServerCookie = [u8; 16];

/// How long a server cookie counts, and by how much the clocks of servers may differ: RFC 9018 section 4.3.
const LIFETIME: i32 = 3600;
const SKEW: i32 = 300;
/// When one is replaced by a newer one.
const RENEWAL: i32 = 1800;
/// How long a random label counts.
const LABEL_LIFETIME: i32 = 5;
/// Begins the random labels: no host is called so by chance.
const LABEL: &str = "c--";
const VERSION: u8 = 1;

/// The secrets: the first makes cookies, each is taken.
#[derive(Clone)]
pub struct Cookies {
    secrets: Vec<Secret>,
    label_secret: Secret,
}

/// What a client has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub client: ClientCookie,
    /// What it is to show next.
    pub server: ServerCookie,
    /// Whether it has proved that it gets what is sent to its address.
    pub is_proof: bool,
}

impl Cookies {
    /// `random` makes the cookies until the first rotation where `secrets` is empty, and the random labels always.
    pub fn new(secrets: &[Secret], random: Secret) -> Cookies {
        let secrets = if secrets.is_empty() { vec![random] } else { secrets.to_vec() };
        Cookies { secrets, label_secret: random }
    }

    /// Makes cookies by `secret` from now on; those of the last one are still taken (RFC 9018 section 5).
    pub fn rotate(&mut self, secret: Secret) {
        self.secrets.truncate(1);
        self.secrets.insert(0, secret);
    }

    /// What the COOKIE option of a question from `address` shows; `None` if it has no length of RFC 7873 section 5.2.2.
    pub fn judge(&self, option: &[u8], address: IpAddr, now: u32) -> Option<Shown> {
        let (client, server) = option.split_first_chunk::<8>()?;
        let fresh = server_cookie(&self.secrets[0], client, &[VERSION, 0, 0, 0], now, address);
        let unproved = Shown { client: *client, server: fresh, is_proof: false };
        match server.len() {
            0 => return Some(unproved),
            8..=32 => {}
            _ => return None,
        }
        let Ok(shown) = ServerCookie::try_from(server) else { return Some(unproved) };
        let time = u32::from_be_bytes([shown[4], shown[5], shown[6], shown[7]]);
        let age = now.wrapping_sub(time) as i32; // RFC 1982
        let reserved = [shown[0], shown[1], shown[2], shown[3]];
        // The time that hashing takes says nothing of the secret, and comparing 64 bits at once says nothing of which differ.
        let is_ours = |secret: &&Secret| server_cookie(secret, client, &reserved, time, address) == shown;
        let signer = self.secrets.iter().position(|secret| is_ours(&secret));
        let is_proof = shown[0] == VERSION && (-SKEW..=LIFETIME).contains(&age) && signer.is_some();
        let is_young = is_proof && signer == Some(0) && (0..RENEWAL).contains(&age);
        Some(Shown { client: *client, server: if is_young { shown } else { fresh }, is_proof })
    }

    /// The label under which `resolver` may ask for `name`, in lower case, for five seconds from now on.
    pub fn label(&self, name: &str, resolver: IpAddr, now: u32) -> String {
        let mut bytes = now.to_be_bytes().to_vec();
        match resolver {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
        bytes.extend(self.label_hash(&bytes, name).to_be_bytes());
        format!("{LABEL}{}", BASE32_DNSSEC.encode(&bytes))
    }

    /// Longest label, with its dot.
    pub const LABEL_MAX: usize = LABEL.len() + (4usize + 16 + 8).div_ceil(5) * 8 + 1;

    /// The resolver that was told to ask for `name` under `label`, if that was now.
    pub fn read_label(&self, label: &str, name: &str, now: u32) -> Option<IpAddr> {
        let bytes = BASE32_DNSSEC.decode(label.strip_prefix(LABEL)?.as_bytes()).ok()?;
        let (said, hash) = bytes.split_last_chunk::<8>()?;
        let (time, address) = said.split_first_chunk::<4>()?;
        let address = match address.len() {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
            16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
            _ => return None,
        };
        let age = now.wrapping_sub(u32::from_be_bytes(*time)) as i32;
        let is_ours = self.label_hash(said, name).to_be_bytes() == *hash;
        ((0..=LABEL_LIFETIME).contains(&age) && is_ours).then_some(address)
    }

    fn label_hash(&self, said: &[u8], name: &str) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.label_secret);
        hasher.write(&[said.len() as u8]);
        hasher.write(said);
        hasher.write(name.as_bytes());
        hasher.finish()
    }
}

/// RFC 9018 section 4: version, reserved, time, and the hash of all that, the client's cookie and its address.
fn server_cookie(
    secret: &Secret,
    client: &ClientCookie,
    head: &[u8; 4],
    time: u32,
    address: IpAddr,
) -> ServerCookie {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(client);
    hasher.write(head);
    hasher.write(&time.to_be_bytes());
    match address {
        IpAddr::V4(v4) => hasher.write(&v4.octets()),
        IpAddr::V6(v6) => hasher.write(&v6.octets()),
    }
    let mut cookie = [0; 16];
    cookie[..4].copy_from_slice(head);
    cookie[4..8].copy_from_slice(&time.to_be_bytes());
    // RFC 9018's hash is the eight bytes of SipHash as its authors write them out, the lowest first.
    cookie[8..].copy_from_slice(&hasher.finish().to_le_bytes());
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal").try_into().expect("its length")
    }

    /// RFC 9018 appendix A: address, now, secrets, what is shown, what comes back, and whether it is taken.
    #[test]
    fn the_vectors_of_rfc_9018() {
        let secret = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        let (old, new) = ("dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962");
        let v6 = "2001:db8:220:1:59de:d0f4:8769:82b8";
        for (address, now, secrets, shown, server, is_proof) in [
            (
                "198.51.100.100",
                0x5cf79f11,
                vec![secret],
                "2464c4abcf10c957",
                "010000005cf79f111f8130c3eee29480",
                false,
            ),
            (
                "198.51.100.100",
                0x5cf7a871,
                vec![secret],
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                "010000005cf7a871d4a564a1442aca77",
                true,
            ),
            (
                "203.0.113.203",
                0x5cf7a9ac,
                vec![secret],
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                "010000005cf7a9acf73a7810aca2381e",
                false, // it is an hour and 51 minutes old
            ),
            (
                v6,
                0x5cf7c609,
                vec![new, old],
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                "010000005cf7c609a6bb79d16625507a",
                true,
            ),
        ] {
            let secrets: Vec<Secret> = secrets.into_iter().map(hex).collect();
            let cookies = Cookies::new(&secrets, [0; 16]);
            let option = data_encoding::HEXLOWER.decode(shown.as_bytes()).expect("hexadecimal");
            let judged =
                cookies.judge(&option, address.parse().expect("an address"), now).expect("well-formed");
            assert_eq!(judged.server, hex::<16>(server), "{address}");
            assert_eq!(judged.is_proof, is_proof, "{address}");
        }
    }

    /// The third vector's, a minute after it was made: bits that are reserved are hashed as they were shown.
    #[test]
    fn reserved_bits_are_hashed_as_shown() {
        let cookies = Cookies::new(&[hex("e5e973e5a6b2a43f48e7dc849e37bfcf")], [0; 16]);
        let shown: [u8; 24] = hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let judged = cookies.judge(&shown, [203, 0, 113, 203].into(), 0x5cf7_8f71 + 60);
        assert!(judged.expect("well-formed").is_proof);
    }

    #[test]
    fn a_cookie_counts_for_its_client_its_address_and_its_time() {
        let mut cookies = Cookies::new(&[], [7; 16]);
        let (address, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let now = u32::MAX - 100; // and over the end of the numbers
        let first = cookies.judge(&[1; 8], address, now).expect("well-formed");
        let option = [&[1; 8][..], &first.server].concat();
        let judge = |cookies: &Cookies, option: &[u8], address, now| cookies.judge(option, address, now);
        let is_proof = |option: &[u8], address, now| judge(&cookies, option, address, now).unwrap().is_proof;
        assert!(is_proof(&option, address, now));
        assert!(is_proof(&option, address, now.wrapping_add(3600)));
        assert!(!is_proof(&option, address, now.wrapping_add(3601)));
        assert!(is_proof(&option, address, now - 300));
        assert!(!is_proof(&option, address, now - 301));
        assert!(!is_proof(&option, other, now));
        assert!(!is_proof(&[&[2; 8][..], &first.server].concat(), address, now));
        for bit in 0..128 {
            let mut wrong = option.clone();
            wrong[8 + bit / 8] ^= 1 << (bit % 8);
            assert!(!is_proof(&wrong, address, now), "bit {bit}");
        }
        // Half an hour long the client keeps it.
        let after = |seconds| judge(&cookies, &option, address, now.wrapping_add(seconds)).unwrap().server;
        assert_eq!(after(1799), first.server);
        assert_ne!(after(1800), first.server);
        // Malformed and foreign ones.
        for length in [0, 7, 9, 15, 41] {
            assert_eq!(cookies.judge(&vec![1; length], address, now), None, "{length}");
        }
        for length in [8, 16, 23, 25, 40] {
            assert!(
                !cookies.judge(&vec![1; length], address, now).expect("well-formed").is_proof,
                "{length}"
            );
        }
        // One rotation later it is replaced, two later it is nothing.
        cookies.rotate([8; 16]);
        let later = cookies.judge(&option, address, now).unwrap();
        assert!(later.is_proof && later.server != first.server);
        cookies.rotate([9; 16]);
        assert!(!cookies.judge(&option, address, now).unwrap().is_proof);
    }

    #[test]
    fn a_label_counts_for_its_name_and_five_seconds() {
        let cookies = Cookies::new(&[], [7; 16]);
        for resolver in ["192.0.2.1", "2001:db8::1"] {
            let resolver: IpAddr = resolver.parse().expect("an address");
            let label = cookies.label("host.example", resolver, 1000);
            assert!(label.len() < Cookies::LABEL_MAX && label.len() <= 63);
            for (name, now, expected) in [
                ("host.example", 1000, Some(resolver)),
                ("host.example", 1005, Some(resolver)),
                ("host.example", 1006, None),
                ("host.example", 999, None),
                ("other.example", 1000, None),
            ] {
                assert_eq!(cookies.read_label(&label, name, now), expected, "{name} {now}");
            }
            let stranger = Cookies::new(&[], [8; 16]);
            assert_eq!(stranger.read_label(&label, "host.example", 1000), None);
        }
        assert_eq!(cookies.read_label("c--", "host.example", 1000), None);
        assert_eq!(cookies.read_label("host", "host.example", 1000), None);
    }
}
