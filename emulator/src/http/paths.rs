//! The path forms that clients really send, brought to one.
//!
//! `//` (miosa-go 2.0 with a trailing slash in its base), `/api/v1/api/v1/…` and `/sandboxes` at the root (miosa-mcp
//! 0.5 with newer and older SDKs) all mean `/api/v1/…`.

use http::Uri;
use http::uri::PathAndQuery;

/// Where the API lives.
pub const BASE: &str = "/api/v1";

/// Path and query as the client sent them, kept beside the canonical form: what people search a journal for.
#[derive(Debug, Clone)]
pub struct Sent(pub String);

impl Sent {
    /// Of this request.
    pub fn of(uri: &Uri) -> Self {
        Self(uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
    }
}

/// Paths at the root that are not the API's.
const OWN: &[&str] = &["/_emulator", "/_preview"];

/// The canonical form of a request's URI; `None` when it is canonical already.
pub fn canonical(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    // Inside a preview the path is the application's own, to the letter.
    if path.starts_with("/_preview/") {
        return None;
    }
    let mut clean = String::with_capacity(path.len() + BASE.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    while let Some(rest) =
        clean.strip_prefix(BASE).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        clean = rest.into();
    }
    if !OWN.iter().any(|own| {
        clean == *own || clean.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
    }) {
        clean.insert_str(0, BASE);
    }
    if clean == path {
        return None;
    }
    let target = match uri.query() {
        Some(query) => format!("{clean}?{query}"),
        None => clean,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(path: &str) -> String {
        let uri: Uri = path.parse().unwrap();
        canonical(&uri).unwrap_or(uri).to_string()
    }

    #[test]
    fn every_form_that_clients_send_means_the_same() {
        for sent in [
            "/api/v1/sandboxes?x=1",
            "//api/v1//sandboxes/?x=1",
            "/api/v1/api/v1/sandboxes?x=1",
            "/sandboxes?x=1",
            "/api/v1/api/v1/api/v1/sandboxes?x=1",
        ] {
            assert_eq!(form(sent), "/api/v1/sandboxes?x=1", "{sent}");
        }
        assert_eq!(form("/_emulator/health"), "/_emulator/health");
        assert_eq!(form("/_emulatorx"), "/api/v1/_emulatorx");
        assert_eq!(form("/api/v10/x"), "/api/v1/api/v10/x");
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_form_is_stable(path in "(/[a-z_.%0-9]{0,6}){0,8}/?") {
            if let Ok(uri) = path.parse::<Uri>() {
                let once = canonical(&uri).unwrap_or(uri);
                proptest::prop_assert_eq!(canonical(&once), None);
            }
        }
    }
}
