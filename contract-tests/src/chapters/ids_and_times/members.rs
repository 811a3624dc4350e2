//! Members of answers, with what the contract says of each.

use http::Method;
use miosa_openapi::check::Contract;
use serde_json::Value;

/// A text in an answer.
#[derive(Debug, Clone)]
pub(super) struct Member<'v> {
    /// Where: a JSON pointer.
    pub(super) at: String,
    /// Its name.
    pub(super) name: String,
    /// What the schema calls its format; empty when it says nothing.
    pub(super) format: &'static str,
    pub(super) text: &'v str,
}

/// All texts of an answer.
pub(super) fn of<'v>(method: &Method, path: &str, status: u16, body: &'v Value) -> Vec<Member<'v>> {
    let contract = Contract::get();
    let schema = contract
        .operation(method, path)
        .and_then(|operation| operation.response(status)?.media("application/json"))
        .map(|media| media.schema.value());
    let mut found = Vec::new();
    walk(&schema.into_iter().collect::<Vec<_>>(), body, "", "", &mut found);
    found
}

fn walk<'v>(
    schemas: &[&'static Value],
    value: &'v Value,
    at: &str,
    name: &str,
    found: &mut Vec<Member<'v>>,
) {
    let mut all = Vec::new();
    for schema in schemas {
        gather(schema, &mut all, 0);
    }
    match value {
        Value::String(text) => {
            let format = all.iter().find_map(|schema| schema["format"].as_str());
            let (at, name) = (at.to_owned(), name.to_owned());
            found.push(Member { at, name, format: format.unwrap_or_default(), text });
        }
        Value::Array(items) => {
            let inner: Vec<_> = all.iter().filter_map(|schema| schema.get("items")).collect();
            for (n, item) in items.iter().enumerate() {
                walk(&inner, item, &format!("{at}/{n}"), name, found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let inner: Vec<_> =
                    all.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect();
                walk(&inner, member, &format!("{at}/{name}"), name, found);
            }
        }
        _ => {}
    }
}

/// A schema with those that hold beside it. Alternatives are left out: which of them holds is not said.
fn gather(schema: &'static Value, all: &mut Vec<&'static Value>, depth: usize) {
    let schema = Contract::get().resolve(schema);
    all.push(schema);
    if depth < 8 {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            gather(part, all, depth + 1);
        }
    }
}
