//! What a rule names: a host, every host below a domain, or the addresses of a network (`security/network`).

use std::net::IpAddr;

/// A host as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This host.
    Host(String),
    /// Every host below this domain, not the domain itself.
    Below(String),
    /// The addresses that begin with these bits. Names are not looked up for it.
    Network(IpAddr, u8),
    /// Everything.
    Any,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_suffix('.').unwrap_or(&text);
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = bare(address)
                .parse()
                .map_err(|_| "must be a host, *.domain, or a network such as 10.0.0.0/8")?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            return Ok(Self::Network(address, bits.ok_or("has more bits than its addresses")?));
        }
        if let Ok(address) = bare(text).parse::<IpAddr>() {
            return Ok(Self::Network(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(
                "must be a host without scheme, port and path, *.domain, or a network such as 10.0.0.0/8",
            );
        }
        Ok(if below { Self::Below(name.to_owned()) } else { Self::Host(name.to_owned()) })
    }

    /// Whether it names this host, given without its port.
    pub fn names(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Host(name), Host::Name(host)) => name == host,
            (Self::Below(domain), Host::Name(host)) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Network(..), Host::Address(address)) => self.holds(*address),
            _ => false,
        }
    }

    /// Whether this address is in its network.
    pub fn holds(&self, address: IpAddr) -> bool {
        let Self::Network(network, bits) = self else { return false };
        let same = |a: u128, b: u128, width: u8| {
            let shift = u32::from(width - (*bits).min(width));
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same(u32::from(*network).into(), u32::from(address).into(), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same(u128::from(*network), u128::from(address), 128)
            }
            _ => false,
        }
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Of `host:port` as a program inside asked for it.
    pub fn of(target: &str) -> (Self, Option<u16>) {
        let (host, port) = match target.rsplit_once(':') {
            // An address of IPv6 without its port has colons and no brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().ok())
            }
            _ => (target, None),
        };
        let host = bare(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = host.parse::<IpAddr>().map_or_else(
            |_| Self::Name(host.to_ascii_lowercase()),
            |ip| Self::Address(ip.to_canonical()),
        );
        (host, port)
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, target: &str) -> bool {
        Pattern::parse(pattern).unwrap().names(&Host::of(target).0)
    }

    #[test]
    fn a_pattern_names_its_host_and_no_other() {
        for (pattern, target) in [
            ("example.com", "example.com:443"),
            ("Example.COM.", "EXAMPLE.com.:443"),
            ("*.example.com", "a.example.com:443"),
            ("*.example.com", "a.b.example.com:80"),
            ("10.0.0.0/8", "10.255.0.1:80"),
            ("10.1.2.3", "10.1.2.3:80"),
            ("10.1.2.3", "[::ffff:10.1.2.3]:80"),
            ("2001:db8::/32", "[2001:db8::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("0.0.0.0/0", "192.0.2.1:1"),
            ("::/0", "[2001:db8::1]:1"),
            ("*", "anything:1"),
        ] {
            assert!(names(pattern, target), "{pattern} {target}");
        }
        for (pattern, target) in [
            ("example.com", "a.example.com:443"),
            ("example.com", "example.com.evil.net:443"),
            ("*.example.com", "example.com:443"),
            ("*.example.com", "badexample.com:443"),
            ("*.example.com", ".example.com:443"),
            ("10.0.0.0/8", "11.0.0.1:80"),
            ("10.0.0.0/8", "10.example.com:80"),
            ("0.0.0.0/0", "[2001:db8::1]:1"),
        ] {
            assert!(!names(pattern, target), "{pattern} {target}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "https://example.com",
            "example.com:443",
            "example.com/path",
            "a b",
            "*",
            "10.0.0.0/33",
            "a..b",
            "*.*.com",
            "é.com",
        ] {
            assert_eq!(Pattern::parse(text).is_ok(), text == "*", "{text}");
        }
    }
}
