//! The contract as one OpenAPI document, bundled from the files that describe a family each.
//!
//! The files beside this crate are written by hand and compiled in, so that the document that the emulator serves is the
//! one that its tests hold against its router, and the one that `miosa-contract` checks other servers with.

use std::sync::LazyLock;

use http::Method;
use serde_json::{Map, Value};

#[cfg(feature = "check")]
pub mod check;

/// The file that the others are merged into.
const ROOT: Source = Source { name: "openapi", text: include_str!("../openapi.yaml") };

macro_rules! sources {
    ($($name:literal),+ $(,)?) => {
        &[$(Source { name: $name, text: include_str!(concat!("../", $name, ".yaml")) }),+]
    };
}

/// The files that bring paths and components.
const FAMILIES: &[Source] = sources![
    "components",
    "sandboxes",
    "sandbox_batches",
    "bulk",
    "env",
    "exec",
    "processes",
    "services",
    "files",
    "archives",
    "snapshots",
    "previews",
    "templates",
    "workspaces",
    "projects",
    "policies",
    "quotas",
    "api_keys",
    "service_accounts",
    "events",
    "audit",
    "egress",
    "identity",
    "tickets",
    "terminals",
    "device_login",
];

/// The keys of a path that are methods.
const METHODS: [(&str, Method); 7] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
    ("head", Method::HEAD),
    ("options", Method::OPTIONS),
];

/// A file of the contract.
#[derive(Debug, Clone, Copy)]
struct Source {
    name: &'static str,
    text: &'static str,
}

/// Why the files are no document.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is not YAML.
    #[error("{file}.yaml is not YAML: {error}")]
    Yaml {
        /// The file.
        file: &'static str,
        /// What is wrong.
        error: serde_yaml_ng::Error,
    },
    /// A file is YAML that JSON cannot say, or not the mapping it should be.
    #[error("{file}.yaml: {what} is not a mapping")]
    Shape {
        /// The file.
        file: &'static str,
        /// The part.
        what: String,
    },
    /// Two files say the same thing.
    #[error("{file}.yaml: {what} is there already")]
    Duplicate {
        /// The later file.
        file: &'static str,
        /// The path or component.
        what: String,
    },
    /// A file says something that has no place in the document.
    #[error("{file}.yaml: unknown key `{key}`")]
    Unknown {
        /// The file.
        file: &'static str,
        /// The key.
        key: String,
    },
}

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        #[expect(clippy::panic, reason = "the files are compiled in, and a test bundles them")]
        bundle(ROOT, FAMILIES)
            .unwrap_or_else(|error| panic!("the contract does not bundle: {error}"))
    });
    &DOCUMENT
}

/// Every operation of the document: its method, and its path below `/api/v1` with parameters as `{id}` and one that takes
/// the rest of the path as `{path...}`.
pub fn operations() -> Vec<(Method, String)> {
    let mut operations = Vec::new();
    for (path, item) in paths(document()) {
        for (name, method) in METHODS {
            if let Some(operation) = item.get(name) {
                operations.push((method, routed(path, item, operation)));
            }
        }
    }
    operations
}

/// A path as the router writes it: a parameter marked `x-catch-all` takes the rest.
fn routed(path: &str, item: &Value, operation: &Value) -> String {
    let mut path = path.to_owned();
    let lists = [item.get("parameters"), operation.get("parameters")];
    for parameter in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
        let catches = parameter.get("x-catch-all").and_then(Value::as_bool).unwrap_or(false);
        if let (true, Some(name)) = (catches, parameter.get("name").and_then(Value::as_str)) {
            path = path.replace(&format!("{{{name}}}"), &format!("{{{name}...}}"));
        }
    }
    path
}

fn paths(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document.get("paths").and_then(Value::as_object).into_iter().flatten()
}

/// Merges the families into the root.
fn bundle(root: Source, families: &[Source]) -> Result<Value, BundleError> {
    let mut document = read(root)?;
    let mut paths = Map::new();
    let mut components = Map::new();
    for family in families {
        for (key, value) in read(*family)? {
            match key.as_str() {
                "paths" => extend(&mut paths, value, family.name, &key)?,
                "components" => {
                    for (kind, named) in mapping(value, family.name, &key)? {
                        let known = components
                            .entry(kind.clone())
                            .or_insert_with(|| Value::Object(Map::new()));
                        if let Value::Object(known) = known {
                            extend(known, named, family.name, &kind)?;
                        }
                    }
                }
                key if key.starts_with("x-") => {} // anchors, merged where they are used
                _ => return Err(BundleError::Unknown { file: family.name, key }),
            }
        }
    }
    if let Some(shared) = document.remove(EVERYWHERE) {
        let shared = mapping(shared, root.name, EVERYWHERE)?;
        paths.values_mut().for_each(|item| share(item, &shared));
    }
    document.insert("paths".to_owned(), Value::Object(paths));
    document.insert("components".to_owned(), Value::Object(components));
    Ok(Value::Object(document))
}

/// The key of the root for responses that every operation may give.
const EVERYWHERE: &str = "x-every-operation";

/// Gives the operations of a path the responses that they do not have themselves.
fn share(item: &mut Value, shared: &Map<String, Value>) {
    for (name, _) in METHODS {
        let responses = item.get_mut(name).and_then(|operation| operation.get_mut("responses"));
        let Some(Value::Object(responses)) = responses else { continue };
        for (status, response) in shared {
            responses.entry(status.as_str()).or_insert_with(|| response.clone());
        }
    }
}

fn extend(
    into: &mut Map<String, Value>,
    from: Value,
    file: &'static str,
    what: &str,
) -> Result<(), BundleError> {
    for (name, value) in mapping(from, file, what)? {
        if into.contains_key(&name) {
            return Err(BundleError::Duplicate { file, what: format!("{what} {name}") });
        }
        into.insert(name, value);
    }
    Ok(())
}

fn mapping(
    value: Value,
    file: &'static str,
    what: &str,
) -> Result<Map<String, Value>, BundleError> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(BundleError::Shape { file, what: what.to_owned() }),
    }
}

/// How deep `<<` may lead from one anchor to the next.
const MERGE_DEPTH: usize = 8;

fn read(source: Source) -> Result<Map<String, Value>, BundleError> {
    let file = source.name;
    let yaml = |error| BundleError::Yaml { file, error };
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(source.text).map_err(yaml)?;
    // One pass replaces `<<` by what it names, which may bring a `<<` of its own.
    for _ in 0..MERGE_DEPTH {
        value.apply_merge().map_err(yaml)?;
    }
    let json = serde_json::to_value(value)
        .map_err(|error| BundleError::Shape { file, what: error.to_string() })?;
    mapping(json, file, "the file")
}

#[cfg(test)]
mod tests;
