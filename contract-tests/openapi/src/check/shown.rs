//! Values as a message may show them: short, and without what nobody else may read.

use serde_json::Value;

/// The longest text that is shown, in characters.
const LONGEST: usize = 200;

/// Names of fields and headers whose values are not shown.
const SECRET: &[&str] =
    &["key", "token", "secret", "ticket", "password", "authorization", "cookie", "value"];

/// A value of the body. Of an object only the names are told: what is in it may be secret, and is found on its own.
pub(super) fn value(at: &str, value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let names: Vec<_> = map.keys().map(String::as_str).collect();
            cut(&format!("an object with {}", or_nothing(&names.join(", "))))
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::String(text) => quoted(at.rsplit('/').next().unwrap_or(at), text),
        other => other.to_string(),
    }
}

/// A text, by the name of what carries it.
pub(super) fn quoted(name: &str, text: &str) -> String {
    let name = name.to_ascii_lowercase();
    if SECRET.iter().any(|secret| name.contains(secret)) || text.contains("msk_") {
        return format!("a text of {} characters, not shown", text.chars().count());
    }
    cut(&format!("{text:?}"))
}

/// The beginning of a text.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn or_nothing(names: &str) -> &str {
    if names.is_empty() { "nothing" } else { names }
}
