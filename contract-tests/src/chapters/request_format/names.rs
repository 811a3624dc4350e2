//! Names of fields.

use serde_json::Value;

use crate::fault::Fault;
use crate::gallery::{self, Which};
use crate::session::Session;
use crate::world::World;

/// Whose members are named by the caller, or by another standard.
const FREE: &[&str] = &[
    "metadata",
    "env",
    "vars",
    "variables",
    "labels",
    "build_spec",
    "spec",
    "schema",
    "settings",
    "headers",
    "policy",
    "paths",
    "components",
    "properties",
    "capabilities",
    "features",
    "permissions",
];

/// The first name that is not snake_case.
fn other(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            // miosa-python 2.19 reads a batch's `settled?`.
            if !name.chars().all(fits) && name != "settled?" {
                return Some(name.clone());
            }
            if FREE.contains(&name.as_str()) { None } else { other(value) }
        }),
        Value::Array(items) => items.iter().find_map(other),
        _ => None,
    }
}

pub(super) fn snake_case(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes, Which::Refusals], |asked, reply| {
        let it = asked.operation();
        let foreign = ["/openapi.json", "/sandbox-templates/build-spec"].contains(&it.path());
        let typed = reply.header("content-type").unwrap_or_default();
        if World::is_endless(it) || foreign || !typed.starts_with("application/json") {
            return Ok(());
        }
        let name = other(&reply.json()?);
        reply.holds(name.is_none(), "names in snake_case", name.unwrap_or_default())
    })
}
