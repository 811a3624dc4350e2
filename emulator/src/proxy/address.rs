//! The three forms of a preview's address, and which of them a client is given.
//!
//! | the client reached us under | it is given |
//! |---|---|
//! | a loopback address or `localhost`, and we listen on loopback only | `http://127.0.0.1:<a port of its own>/` |
//! | a name under `.localhost` | `http://<port>-<slug>.localhost:<our port>/` |
//! | anything else, or `--public-url` is set | `<base>/_preview/<slug>/<port>/` |
//!
//! Names under `.localhost` resolve in browsers and curl, but not in every language's standard library: so only
//! a client that uses one already is given one. Listening beyond loopback means that clients may sit behind a single
//! published port (a container), where further ports cannot be reached: so they are given the path.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Uri, header};

use super::ports::Shown;
use crate::app::App;
use crate::http::host_check::name_of;

/// The domain that always means this computer (RFC 6761).
const LOCALHOST: &str = ".localhost";

/// Where previews live in the API's own origin.
const PATH: &str = "/_preview/";

/// The longest DNS label.
const MAX_LABEL: usize = 63;

/// The `Host` of the request that a handler answers: addresses in the answer follow from it.
#[derive(Debug, Clone)]
pub struct ClientHost(pub String);

impl<S: Sync> FromRequestParts<S> for ClientHost {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(host_of(&parts.headers, &parts.uri)))
    }
}

/// The host that a request names: its `Host` (HTTP/1.1) or its authority (HTTP/2).
pub fn host_of(headers: &HeaderMap, uri: &Uri) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    host.or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default()
}

/// The label and port in `<port>-<label>.localhost`. A name without a port is the API's own.
pub(super) fn in_host(host: &str) -> Option<(&str, u16)> {
    let name = name_of(host);
    let at = name.len().checked_sub(LOCALHOST.len())?;
    if !name.get(at..)?.eq_ignore_ascii_case(LOCALHOST) {
        return None;
    }
    let (port, label) = name.get(..at)?.split_once('-')?;
    Some((label, decimal(port)?)).filter(|_| !label.is_empty() && !label.contains('.'))
}

/// The label, the port and the prefix of a path `/_preview/<label>/<port>…`.
pub(super) fn in_path(path: &str) -> Option<(&str, Option<u16>, &str)> {
    let rest = path.strip_prefix(PATH)?;
    let (label, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let port = rest.split('/').next().unwrap_or_default();
    let length = PATH.len() + label.len() + 1 + port.len();
    Some((label, decimal(port), path.get(..length).unwrap_or(path)))
}

fn decimal(text: &str) -> Option<u16> {
    // `parse` alone would take `+80`.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The label that `slug` gives for `port`, when the two fit into one DNS label.
pub(super) fn label_of(slug: &str, port: u16) -> Option<String> {
    let fits = format!("{port}-{slug}").len() <= MAX_LABEL;
    (fits && crate::http::validation::slug("slug", slug).is_ok()).then(|| slug.to_owned())
}

/// The address of a place for a client that reached us under `host`.
pub fn url(app: &App, host: &str, shown: &Shown) -> String {
    let Shown { label, port, loopback } = shown;
    let path = format!("_preview/{label}/{port}/");
    if app.config.public_url.is_some() {
        return format!("{}/{path}", origin(app, host));
    }
    let name = name_of(host).to_ascii_lowercase();
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    let here = name == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match loopback {
        Some(loopback) if here => return format!("http://{name}:{loopback}/"),
        _ if name.ends_with(LOCALHOST) => {
            return format!("http://{port}-{label}{LOCALHOST}{}/", port_of(host));
        }
        _ => {}
    }
    format!("{}/{path}", origin(app, host))
}

/// Where a client that reached us under `host` finds the server itself, without a slash at the end.
pub fn origin(app: &App, host: &str) -> String {
    if let Some(base) = &app.config.public_url {
        // The base may be the API's (`…/api/v1`) or the server's.
        return base.trim_end_matches('/').trim_end_matches("/api/v1").to_owned();
    }
    let name = name_of(host).to_ascii_lowercase();
    if name.is_empty() {
        let listening = app.listening.get().map(ToString::to_string);
        return format!("http://{}", listening.unwrap_or_else(|| "localhost".to_owned()));
    }
    format!("http://{name}{}", port_of(host))
}

/// `:4010` of `localhost:4010`.
fn port_of(host: &str) -> String {
    let port = host.get(name_of(host).len()..).and_then(|rest| rest.strip_prefix(':'));
    port.and_then(decimal).map(|port| format!(":{port}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_case_and_port() {
        assert_eq!(in_host("8000-abc12345.localhost:4010"), Some(("abc12345", 8000)));
        assert_eq!(in_host("8000-my-app.LOCALHOST"), Some(("my-app", 8000)));
        assert_eq!(in_host("8000-1-2.localhost"), Some(("1-2", 8000)));
        for host in [
            "localhost",
            ".localhost",
            "miosa.localhost",
            "my-app.localhost",
            "99999-x.localhost",
            "-x.localhost",
            "80-.localhost",
            "80-a.b.localhost",
            "80-x.localhost.evil",
            "127.0.0.1",
            "",
        ] {
            assert_eq!(in_host(host), None, "{host}");
        }
    }

    #[test]
    fn paths_are_cut_behind_the_port() {
        assert_eq!(in_path("/_preview/x/80/a/b"), Some(("x", Some(80), "/_preview/x/80")));
        assert_eq!(in_path("/_preview/x/80"), Some(("x", Some(80), "/_preview/x/80")));
        assert_eq!(in_path("/_preview/x/+80/"), Some(("x", None, "/_preview/x/+80")));
        assert_eq!(in_path("/_preview/x").map(|found| found.1), Some(None));
        assert_eq!(in_path("/_previews/x/80"), None);
        assert_eq!(in_path("/api/v1/sandboxes"), None);
    }

    #[test]
    fn a_label_fits_into_a_dns_label() {
        assert_eq!(label_of("abc", 80).as_deref(), Some("abc"));
        assert_eq!(label_of(&"a".repeat(63), 8000), None);
        assert_eq!(label_of("Not a slug", 80), None);
    }

    proptest::proptest! {
        #[test]
        fn no_path_or_host_is_cut_wrongly(text in "(/_preview)?[/a-z0-9+.-]{0,40}(.localhost)?") {
            if let Some((label, _, prefix)) = in_path(&text) {
                proptest::prop_assert!(text.starts_with(prefix) && prefix.contains(label));
            }
            let _ = in_host(&text);
        }
    }
}
