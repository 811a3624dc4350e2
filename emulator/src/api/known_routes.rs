//! Every route that a known client calls, built or not.
//!
//! Gathered from the official Python, Go and Elixir SDKs, the ComputeSDK provider, the MCP server, the command line
//! clients and the published reference. What is in this table and not in the router answers 501 and names itself, and
//! `coverage` counts one against the other.

use std::sync::LazyLock;

use crate::http::Route;
use crate::http::route::Access;

/// A route that some client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRoute {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path below `/api/v1`; parameters as `{id}`, one that takes the rest of the path as `{path...}`.
    pub path: &'static str,
    /// The family: `sandboxes`, `computers`, …
    pub family: &'static str,
    /// Who calls it, parted by commas: `python`, `go`, `elixir`, `computesdk`, `mcp`, `cli`, `typescript`, `docs`.
    pub clients: &'static str,
    /// Whether a client opens a WebSocket here (on `/computers/{id}/events` others read plain events).
    pub ws: bool,
}

impl KnownRoute {
    /// Reads one line of the table: five fields parted by tabs, the last `ws` or nothing.
    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let route = Self {
            method: fields.next()?,
            path: fields.next()?,
            family: fields.next()?,
            clients: fields.next()?,
            ws: fields.next()? == "ws",
        };
        fields.next().is_none().then_some(route)
    }
}

const TABLE: &str = include_str!("known_routes.tsv");

/// The routes, in order of family, path and method.
pub fn all() -> &'static [KnownRoute] {
    static ROUTES: LazyLock<Vec<KnownRoute>> =
        LazyLock::new(|| TABLE.lines().skip(1).filter_map(KnownRoute::parse).collect());
    &ROUTES
}

/// The routes as the router takes them, each answering 501; the router drops those that are built.
pub fn not_built() -> Vec<Route> {
    let route = |known: &KnownRoute| {
        let make = match known.method {
            "POST" => Route::post,
            "PUT" => Route::put,
            "PATCH" => Route::patch,
            "DELETE" => Route::delete,
            _ => Route::get,
        };
        // Who has no credential yet should hear that logging in is not emulated, not that a credential is missing.
        let access = if matches!(known.family, "password_login" | "app_auth") {
            Access::Open
        } else {
            Access::Key
        };
        make(known.path, super::not_emulated).family(known.family).access(access).not_built()
    };
    all().iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::route::pattern;

    /// A path with its parameters' names left out.
    fn shape(path: &str) -> String {
        let part = |part: &str| match (part.starts_with('{'), part.ends_with("...}")) {
            (true, true) => "{...}".to_owned(),
            (true, false) => "{}".to_owned(),
            _ => part.to_owned(),
        };
        path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_line_is_a_route() {
        let lines = TABLE.lines().skip(1).count();
        assert_eq!(all().len(), lines);
        assert!(lines > 1000, "the table has been cut: {lines} lines");
        assert!(TABLE.starts_with("method\tpath\tfamily\tclients\tws\n"));
        for line in TABLE.lines().skip(1) {
            let last = line.rsplit('\t').next().unwrap();
            assert!(last.is_empty() || last == "ws", "{line}");
        }
    }

    #[test]
    fn every_field_says_something_known() {
        let clients = ["python", "go", "elixir", "computesdk", "mcp", "cli", "typescript", "docs"];
        for route in all() {
            assert!(["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&route.method), "{route:?}");
            assert!(route.path.starts_with('/') && !route.path.ends_with('/'), "{route:?}");
            assert!(!route.path.contains("//") && !route.path.contains('?'), "{route:?}");
            assert!(
                route.family.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    && !route.family.is_empty(),
                "{route:?}"
            );
            assert!(route.clients.split(',').all(|client| clients.contains(&client)), "{route:?}");
            assert!(!route.ws || route.method == "GET", "{route:?}");
        }
    }

    #[test]
    fn no_route_is_there_twice() {
        let mut seen = HashSet::new();
        for route in all() {
            assert!(
                seen.insert((route.method, shape(route.path))),
                "{} {} is there twice",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn one_router_takes_them_all() {
        let mut patterns = HashSet::new();
        let mut router = axum::Router::<()>::new();
        for route in not_built() {
            let pattern = pattern(route.info.path);
            if patterns.insert(pattern.clone()) {
                router = router.route(&pattern, axum::routing::any(|| async {}));
            }
        }
        assert!(router.has_routes());
    }

    #[test]
    fn each_is_given_to_the_router_as_the_table_says() {
        for (route, known) in not_built().iter().zip(all()) {
            assert_eq!((route.info.method.as_str(), route.info.path), (known.method, known.path));
            assert!(!route.info.built && route.info.family == known.family, "{known:?}");
        }
    }

    #[test]
    fn routes_are_in_order() {
        assert!(all().is_sorted_by_key(|route| (route.family, route.path, route.method)));
    }

    #[test]
    fn parameters_of_a_route_have_names_of_their_own() {
        for route in all() {
            let names: Vec<_> =
                route.path.split('/').filter(|part| part.starts_with('{')).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{route:?}");
        }
    }
}
