//! Values that a schema allows.

use proptest::prelude::*;
use serde_json::{Value, json};

/// The schema behind a reference.
pub fn resolved(schema: &'static Value) -> &'static Value {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    named.and_then(|name| miosa_openapi::document().pointer(name)).unwrap_or(schema)
}

/// Values of a field. Where its schema says less than the reference does in words, its name decides.
pub fn of(field: &str, schema: &Value) -> BoxedStrategy<Value> {
    let word = || "[a-z][a-z0-9]{0,7}";
    let set = match field {
        "slug" => word().prop_map(Value::from).boxed(),
        "scopes" => {
            let known = vec!["sandboxes:read", "sandboxes:write", "projects:read", "previews:read"];
            prop::sample::subsequence(known, 1..=3).prop_map(|scopes| json!(scopes)).boxed()
        }
        "allowed_ips" => {
            let network = (1u8..=9).prop_map(|n| format!("10.0.{n}.0/24"));
            prop::collection::btree_set(network, 0..=2).prop_map(|all| json!(all)).boxed()
        }
        "tags" => prop::collection::btree_set(word(), 0..=3).prop_map(|all| json!(all)).boxed(),
        // What the processes hold already must find room.
        "memory_mb" => prop::sample::select(vec![1024, 2048, 4096]).prop_map(Value::from).boxed(),
        "cpu_count" => (1..=2).prop_map(Value::from).boxed(),
        _ => by_type(schema),
    };
    let nullable = schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
    if nullable { prop_oneof![4 => set, 1 => Just(Value::Null)].boxed() } else { set }
}

fn by_type(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return prop::sample::select(words.clone()).boxed();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let least = schema["minimum"].as_i64().unwrap_or(0).max(1);
            (least + 599..=least + 7200).prop_map(Value::from).boxed()
        }
        Some("object") => prop::collection::btree_map("[a-z]{1,4}", "[a-z0-9 ]{0,6}", 0..=3)
            .prop_map(|map| json!(map))
            .boxed(),
        _ => "[A-Za-z][A-Za-z0-9]{0,11}".prop_map(Value::from).boxed(),
    }
}

/// Whether a list is told in another order, which is no change.
pub fn same(told: &Value, asked: &Value) -> bool {
    let sorted = |list: &[Value]| {
        let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    match (told, asked) {
        (Value::Array(told), Value::Array(asked)) => sorted(told) == sorted(asked),
        // A server may keep more beside: the mark of this run.
        (Value::Object(told), Value::Object(asked)) => {
            asked.iter().all(|(name, value)| told.get(name) == Some(value))
                && told.keys().all(|name| asked.contains_key(name) || name == "contract_run")
        }
        _ => told == asked,
    }
}
