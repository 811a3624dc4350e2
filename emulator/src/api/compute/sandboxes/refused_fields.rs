//! Fields that would change what happens and are not built: refused by name, never passed over.

use serde_json::{Value, json};

use crate::http::{ApiError, ApiResult, codes};

/// Whether a value says something: not null, false, zero or empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// 501 for a field that would change what happens and is not built.
pub fn field_not_emulated(field: &str, why: &str) -> ApiError {
    ApiError::new(
        codes::not_emulated,
        format!("`{field}` is not emulated: {why} Nothing was done."),
    )
    .details(json!([{ "field": field, "message": "not emulated" }]))
}

/// Refuses the first of these fields that says something.
///
/// # Errors
/// 501 naming it.
pub fn refuse_unbuilt(fields: &[(&str, &Option<Value>)]) -> ApiResult<()> {
    for (field, value) in fields {
        if value.as_ref().is_some_and(says_something) {
            return Err(field_not_emulated(
                field,
                "leaving it out would change what the sandbox does.",
            ));
        }
    }
    Ok(())
}
