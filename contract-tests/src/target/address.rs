//! Where the server is.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use super::TargetError;

/// The base of the API, for instance `http://127.0.0.1:4010/api/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    pub tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    authority: String,
    prefix: String,
}

impl Address {
    /// Reads a URL; without a path, `/api/v1` is meant.
    ///
    /// # Errors
    /// When it is no URL of HTTP.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError::Address(format!("{text:?} is no target: {why}"));
        let uri: Uri =
            text.parse().map_err(|_| wrong("expected a URL like http://127.0.0.1:4010"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("expected http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a credential in the URL would stand in every report; use --key"));
        }
        if uri.query().is_some() {
            return Err(wrong("a query does not belong there"));
        }
        let prefix = match uri.path().trim_end_matches('/') {
            "" => "/api/v1",
            path => path,
        };
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: prefix.to_owned(),
        })
    }

    /// `http://host:port`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// The value of `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path of the API's root, `/api/v1`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The URL of a path of the API: `/sandboxes`.
    pub fn api(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin(), self.prefix)
    }

    /// The URL of a path of the control: `/clock`. It stands at the origin, whatever the API's own path is.
    pub fn control(&self, path: &str) -> String {
        format!("{}/_emulator{path}", self.origin())
    }

    /// Whether the server is on this computer.
    pub fn is_loopback(&self) -> bool {
        self.host.parse().is_ok_and(|ip: IpAddr| ip.is_ipv4() && ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_target_without_a_path_means_the_api_and_its_origin_has_the_control() {
        let address = Address::parse("http://127.0.0.1:4010").unwrap();
        assert_eq!(address.api("/sandboxes"), "http://127.0.0.1:4010/api/v1/sandboxes");
        let behind = Address::parse("https://proxy.example/miosa/api/v1/").unwrap();
        assert_eq!(behind.api("/x"), "https://proxy.example/miosa/api/v1/x");
        assert_eq!(behind.control("/clock"), "https://proxy.example/_emulator/clock");
        assert_eq!((behind.port, behind.is_loopback()), (443, false));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "emulater", "ftp://x", "http://msk_live_x@host", "http://host/?key=1"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
