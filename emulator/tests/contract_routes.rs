//! The contract and the router, held against each other in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use miosa_emulator::api::{self, known_routes};
use miosa_emulator::http::route::pattern;
use miosa_openapi as openapi;

/// Method and shape of the path, parameters by position.
fn shape(method: &http::Method, path: &str) -> String {
    format!("{method} {}", pattern(path))
}

#[test]
fn every_built_route_is_in_the_contract_and_every_operation_is_built() {
    let built: BTreeSet<String> =
        api::routes().iter().map(|route| shape(&route.info.method, route.info.path)).collect();
    let described: BTreeSet<String> =
        openapi::operations().iter().map(|(method, path)| shape(method, path)).collect();
    let undescribed: Vec<_> = built.difference(&described).collect();
    let unbuilt: Vec<_> = described.difference(&built).collect();
    assert!(undescribed.is_empty(), "routes that the contract does not describe: {undescribed:#?}");
    assert!(unbuilt.is_empty(), "operations that nothing answers: {unbuilt:#?}");
}

#[test]
fn no_route_is_built_twice() {
    let mut seen = BTreeSet::new();
    for route in api::routes() {
        assert!(
            seen.insert(shape(&route.info.method, route.info.path)),
            "{} {}",
            route.info.method,
            route.info.path
        );
    }
}

#[test]
fn every_route_has_a_family() {
    let families: BTreeSet<_> = known_routes::all().iter().map(|route| route.family).collect();
    for route in api::routes() {
        assert!(
            families.contains(route.info.family),
            "{} {}: {:?}",
            route.info.method,
            route.info.path,
            route.info.family
        );
    }
}

#[test]
fn scopes_of_the_contract_are_those_that_the_router_checks() {
    let document = openapi::document();
    for route in api::routes() {
        let path: String = route.info.path.replace("{*path}", "{path}");
        let method = route.info.method.as_str().to_lowercase();
        let wanted = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .find(|(known, _)| pattern(known).replace('*', "") == pattern(&path).replace('*', ""))
            .and_then(|(_, item)| item.get(&method))
            .and_then(|operation| operation["x-scope"].as_str());
        assert_eq!(route.info.scope, wanted, "{method} {path}");
    }
}

#[test]
fn routes_that_a_ticket_opens_say_so_in_the_contract() {
    let document = openapi::document();
    let ticket = serde_json::json!({ "$ref": "#/components/parameters/Ticket" });
    let mut wrong = Vec::new();
    for route in api::routes() {
        let method = route.info.method.as_str().to_lowercase();
        let described = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .find(|(known, _)| pattern(known) == pattern(route.info.path))
            .and_then(|(_, item)| item.get(&method))
            .and_then(|operation| operation["parameters"].as_array())
            .is_some_and(|parameters| parameters.contains(&ticket));
        if route.info.ticketed != described {
            wrong.push((method, route.info.path, described));
        }
    }
    assert!(wrong.is_empty(), "described as opened by a ticket, or not: {wrong:#?}");
}

/// The families of the compute chapter and of the platform that it leans on.
const WHOLE: &[&str] = &[
    "api_keys",
    "audit",
    "auth",
    "bulk",
    "egress",
    "env",
    "events",
    "exec",
    "external_users",
    "files",
    "identity",
    "limits",
    "previews",
    "processes",
    "projects",
    "sandboxes",
    "services",
    "snapshots",
    "templates",
    "terminals",
    "workspaces",
];

#[test]
fn the_compute_chapter_is_whole() {
    let built: BTreeSet<String> =
        api::routes().iter().map(|route| shape(&route.info.method, route.info.path)).collect();
    let missing: Vec<_> = known_routes::not_built()
        .into_iter()
        .filter(|route| WHOLE.contains(&route.info.family))
        .map(|route| shape(&route.info.method, route.info.path))
        .filter(|route| !built.contains(route))
        .collect();
    assert!(missing.is_empty(), "routes of whole families that answer 501: {missing:#?}");
    let families: BTreeSet<_> = known_routes::all().iter().map(|route| route.family).collect();
    for family in WHOLE {
        assert!(families.contains(family), "{family} is no family");
    }
}
