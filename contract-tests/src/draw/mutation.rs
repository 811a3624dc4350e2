//! Changes that make a valid body invalid by its schema, one each, so that a report names the one that matters.

use std::fmt;

use miosa_openapi::check::Contract;
use serde_json::{Value, json};

/// How deep bodies are changed.
const DEPTH: usize = 3;

/// One change of a body.
#[derive(Clone, PartialEq)]
pub struct Mutation {
    /// Where: a JSON pointer.
    pub at: String,
    /// What stands there then; none when it is left out.
    pub value: Option<Value>,
    /// In words.
    pub what: &'static str,
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "the body" } else { &self.at };
        write!(f, "{at}: {}", self.what)
    }
}

impl Mutation {
    /// The body with this change; none when there is no such place.
    pub fn apply(&self, mut body: Value) -> Option<Value> {
        let Some((parent, name)) = self.at.rsplit_once('/') else {
            return self.value.clone();
        };
        match body.pointer_mut(parent)? {
            Value::Object(map) => match &self.value {
                Some(value) => {
                    map.insert(name.to_owned(), value.clone());
                }
                None => {
                    map.remove(name)?;
                }
            },
            Value::Array(items) => {
                *items.get_mut(name.parse::<usize>().ok()?)? = self.value.clone()?;
            }
            _ => return None,
        }
        Some(body)
    }
}

/// The changes of a body that its schema may forbid: whoever uses one asks the schema once more, since what one part
/// forbids another may allow.
pub fn mutations(schema: &Value, valid: &Value) -> Vec<Mutation> {
    let mut found = Vec::new();
    for wrong in [json!([]), json!("text"), json!(7), Value::Null] {
        found.push(Mutation { at: String::new(), value: Some(wrong), what: "of another type" });
    }
    members(schema, valid, "", DEPTH, &mut found);
    found
}

fn members(schema: &Value, valid: &Value, at: &str, depth: usize, found: &mut Vec<Mutation>) {
    let schema = Contract::get().resolve(schema);
    for part in ["allOf", "anyOf", "oneOf"] {
        for part in schema[part].as_array().into_iter().flatten() {
            members(part, valid, at, depth, found);
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let at = format!("{at}/{name}");
        push(found, Mutation { at, value: None, what: "left out" });
    }
    let parent = schema;
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let schema = Contract::get().resolve(schema);
        let required = is_required(parent, name);
        for (value, what) in wrong(schema) {
            // Clients write null for what they leave out (miosa-go 2.0).
            if value.is_null() && !required {
                continue;
            }
            push(found, Mutation { at: at.clone(), value: Some(value), what });
        }
        let Some(inner) = valid.get(name).filter(|_| depth > 0) else { continue };
        members(schema, inner, &at, depth - 1, found);
        if let (Some(first), Some(items)) = (inner.get(0), schema.get("items")) {
            let at = format!("{at}/0");
            for (value, what) in wrong(Contract::get().resolve(items)) {
                push(found, Mutation { at: at.clone(), value: Some(value), what });
            }
            members(items, first, &at, depth - 1, found);
        }
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|it| it == name))
}

fn push(found: &mut Vec<Mutation>, mutation: Mutation) {
    if !found.contains(&mutation) {
        found.push(mutation);
    }
}

/// Values that a schema forbids, taken for itself.
fn wrong(schema: &Value) -> Vec<(Value, &'static str)> {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut values = Vec::new();
    let is = |name: &str| types.contains(&name);
    if !types.is_empty() {
        let number = is("number") || is("integer");
        for (allowed, value, what) in [
            (is("string"), json!("text"), "a text"),
            (number, json!(7), "a number"),
            (is("boolean"), json!(true), "true"),
            (is("array"), json!(["text"]), "an array"),
            (is("object"), json!({ "some": "thing" }), "an object"),
            (is("null"), Value::Null, "null"),
        ] {
            if !allowed {
                values.push((value, what));
            }
        }
        if is("integer") && !is("number") {
            values.push((json!(1.5), "no whole number"));
        }
    }
    if schema.get("enum").is_some() {
        values.push((json!("no-such-choice"), "none of the choices"));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        values.push((json!(least - 1), "too small"));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        values.push((json!(most + 1), "too large"));
    }
    if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
        values.push((json!(""), "an empty text"));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| *most < 100_000) {
        values.push((json!("x".repeat(most as usize + 1)), "too long a text"));
    }
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| *most < 5_000) {
        values.push((json!(vec!["x"; most as usize + 1]), "too many items"));
    }
    if schema["minItems"].as_u64().is_some_and(|least| least > 0) {
        values.push((json!([]), "no items"));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_that_the_schema_forbids() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "maxLength": 3, "minLength": 1 },
                "tags": { "type": ["array", "null"], "items": { "type": "string" } },
            },
        });
        let valid = json!({ "name": "abc", "tags": ["x"] });
        let told: Vec<String> =
            mutations(&schema, &valid).iter().map(|it| format!("{it:?}")).collect();
        for expected in [
            "/name: left out",
            "/name: null",
            "/name: too long a text",
            "/name: an empty text",
            "/tags: a text",
            "/tags/0: a number",
            "the body: of another type",
        ] {
            assert!(told.iter().any(|it| it == expected), "{expected} in {told:?}");
        }
        assert!(!told.iter().any(|it| it == "/tags: null"), "{told:?}");
        let left_out = Mutation { at: "/name".into(), value: None, what: "left out" };
        assert_eq!(left_out.apply(valid), Some(json!({ "tags": ["x"] })));
    }
}
