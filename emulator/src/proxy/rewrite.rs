//! Heads on their way into the machine and back.
//!
//! The application is told that it is `localhost:<port>`: development servers refuse other names. The name that the
//! client used travels in `X-Forwarded-Host`, and what the application says of itself is translated back.

use http::header::{
    CONNECTION, EXPECT, HOST, LOCATION, ORIGIN, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// How the client came to the place.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The port inside.
    pub port: u16,
    /// The host that the client named.
    pub host: String,
    /// The part of the path that is ours.
    pub prefix: Option<String>,
    /// Whether the client speaks TLS to somebody before us.
    pub secure: bool,
}

/// Headers of one connection, not of the message.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A page in the API's own origin could call the API. Without an origin it cannot: the API refuses `Origin: null`.
const NO_ORIGIN: HeaderValue = HeaderValue::from_static(
    "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts",
);

/// The protocol that a head wants to change to.
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked = asked
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    asked.then(|| headers.get(UPGRADE).cloned()).flatten()
}

/// Takes out what belongs to the connection, what the `Connection` header names included.
fn without_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

impl Way {
    /// The head of a request as the application gets it.
    pub(super) fn inwards(&self, headers: &mut HeaderMap, peer: Option<std::net::IpAddr>) {
        let upgrade = upgrade_of(headers);
        without_hops(headers);
        // We have answered it ourselves as soon as the body is read.
        headers.remove(EXPECT);
        let inside = format!("localhost:{}", self.port);
        if headers.get(ORIGIN).is_some_and(|origin| self.is_own(origin)) {
            set(headers, ORIGIN, &format!("http://{inside}"));
        }
        set(headers, HOST, &inside);
        set(headers, HeaderName::from_static("x-forwarded-host"), &self.host);
        let scheme = if self.secure { "https" } else { "http" };
        set(headers, HeaderName::from_static("x-forwarded-proto"), scheme);
        match peer {
            Some(peer) => {
                set(headers, HeaderName::from_static("x-forwarded-for"), &peer.to_string());
            }
            None => drop(headers.remove("x-forwarded-for")),
        }
        match &self.prefix {
            Some(prefix) => set(headers, HeaderName::from_static("x-forwarded-prefix"), prefix),
            None => drop(headers.remove("x-forwarded-prefix")),
        }
        if let Some(upgrade) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, upgrade);
        }
    }

    /// The path and query as the application gets them.
    pub(super) fn target(&self, path: &str, query: Option<&str>) -> String {
        let path =
            self.prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
        let slash = if path.starts_with('/') || path == "*" { "" } else { "/" };
        query.map_or_else(|| format!("{slash}{path}"), |query| format!("{slash}{path}?{query}"))
    }

    /// The head of an answer as the client gets it.
    pub(super) fn outwards(&self, status: StatusCode, headers: &mut HeaderMap) {
        let upgrade =
            (status == StatusCode::SWITCHING_PROTOCOLS).then(|| upgrade_of(headers)).flatten();
        without_hops(headers);
        if let Some(upgrade) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, upgrade);
        }
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location.and_then(|location| self.location(location)) {
            set(headers, LOCATION, &location);
        }
        if self.prefix.is_some() {
            headers.append(http::header::CONTENT_SECURITY_POLICY, NO_ORIGIN);
        }
    }

    /// A `Location` inside the application, as a path from the client's point of view.
    fn location(&self, location: &str) -> Option<String> {
        let inside =
            [format!("http://localhost:{}", self.port), format!("http://127.0.0.1:{}", self.port)];
        let own = inside.iter().find_map(|origin| location.strip_prefix(origin.as_str()));
        let path = match own {
            Some("") => "/",
            Some(path) if path.starts_with('/') => path,
            Some(_) => return None,
            None => {
                Some(location).filter(|path| path.starts_with('/') && !path.starts_with("//"))?
            }
        };
        let prefix = self.prefix.as_deref().unwrap_or_default();
        // An application that heeds `X-Forwarded-Prefix` has put it there itself.
        let has_it =
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        Some(if has_it { path.to_owned() } else { format!("{prefix}{path}") })
    }

    /// Whether an origin is that of the preview's own pages.
    fn is_own(&self, origin: &HeaderValue) -> bool {
        let at = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        at.is_some_and(|(_, at)| at.eq_ignore_ascii_case(&self.host))
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // A host or prefix has come in a head, so it fits into one.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(prefix: Option<&str>) -> Way {
        Way {
            port: 8000,
            host: "127.0.0.1:4010".into(),
            prefix: prefix.map(str::to_owned),
            secure: false,
        }
    }

    fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn what_belongs_to_the_connection_stays_on_it() {
        let mut headers = head(&[
            ("connection", "keep-alive, X-Private"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("x-own", "2"),
            ("x-forwarded-for", "8.8.8.8"),
            ("host", "127.0.0.1:4010"),
        ]);
        way(None).inwards(&mut headers, Some("127.0.0.1".parse().unwrap()));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-own"]
        );
        assert_eq!(
            (&headers["host"], &headers["x-forwarded-for"]),
            (&HeaderValue::from_static("localhost:8000"), &HeaderValue::from_static("127.0.0.1"))
        );
    }

    #[test]
    fn an_upgrade_passes_with_the_origin_that_the_application_knows() {
        let mut headers = head(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("origin", "http://127.0.0.1:4010"),
        ]);
        way(None).inwards(&mut headers, None);
        assert_eq!(
            (&headers["connection"], &headers["upgrade"]),
            (&HeaderValue::from_static("upgrade"), &HeaderValue::from_static("websocket"))
        );
        assert_eq!(headers["origin"], "http://localhost:8000");
        let mut foreign = head(&[("origin", "http://evil.example")]);
        way(None).inwards(&mut foreign, None);
        assert_eq!(foreign["origin"], "http://evil.example");
    }

    #[test]
    fn targets_lose_the_prefix_and_nothing_else() {
        let way = way(Some("/_preview/x/8000"));
        assert_eq!(way.target("/_preview/x/8000", None), "/");
        assert_eq!(way.target("/_preview/x/8000//a%2Fb/", Some("q=%20")), "//a%2Fb/?q=%20");
    }

    #[test]
    fn redirects_stay_in_the_preview() {
        let (root, below) = (way(None), way(Some("/_preview/x/8000")));
        for (location, at_root, at_prefix) in [
            ("/login", "/login", "/_preview/x/8000/login"),
            ("http://localhost:8000/login?a", "/login?a", "/_preview/x/8000/login?a"),
            ("http://127.0.0.1:8000", "/", "/_preview/x/8000/"),
        ] {
            assert_eq!(root.location(location).as_deref(), Some(at_root));
            assert_eq!(below.location(location).as_deref(), Some(at_prefix));
        }
        assert_eq!(below.location("/_preview/x/8000/a").as_deref(), Some("/_preview/x/8000/a"));
        for elsewhere in
            ["//evil.example/", "https://evil.example/", "next", "http://localhost:80001/"]
        {
            assert_eq!(below.location(elsewhere), None, "{elsewhere}");
        }
    }
}
