//! Addresses that a key may be used from: single ones and networks (`10.0.0.0/8`, `fd00::/8`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address, or a network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    /// How many leading bits count.
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address that came through an IPv6 socket is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, width) = bits(self.address.to_canonical());
        let (other, other_width) = bits(address.to_canonical());
        let free = u32::from(width.saturating_sub(self.prefix));
        width == other_width && own.checked_shr(free) == other.checked_shr(free)
    }
}

/// The address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').unwrap_or((&text, ""));
        let refused = || format!("{text:?} is no address and no network in CIDR notation");
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let (_, width) = bits(address);
        let prefix = if prefix.is_empty() && !text.contains('/') {
            width
        } else {
            prefix.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(refused)?
        };
        Ok(Self { address, prefix })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        let (_, width) = bits(network.address);
        if network.prefix == width {
            network.address.to_string()
        } else {
            format!("{}/{}", network.address, network.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, String> {
        Network::try_from(text.to_owned())
    }

    #[test]
    fn an_address_lies_in_its_networks_only() {
        for (net, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "::1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::1"),
        ] {
            let net = network(net).unwrap();
            assert!(net.contains(inside.parse().unwrap()), "{net:?} {inside}");
            assert!(!net.contains(outside.parse().unwrap()), "{net:?} {outside}");
        }
    }

    #[test]
    fn it_reads_back_as_it_was_written_and_nonsense_is_refused() {
        for text in ["127.0.0.1", "10.0.0.0/8", "fd00::/8", "::1"] {
            assert_eq!(String::from(network(text).unwrap()), text);
        }
        for text in
            ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0/8", "1.2.3.4/-1"]
        {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
