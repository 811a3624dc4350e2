//! `GET /sandbox-templates/build-spec`: what a spec may hold, for programs (`api-reference/sandbox-templates`:
//! `{version, fields}`).

use serde_json::{Value, json};

use super::check::{MAX_COMMAND, MAX_STEPS};
use super::{USER, WORKDIR};
use crate::api::compute::sandboxes::sizes::{self, SIZES};
use crate::http::{Answer, ApiResult};

/// The version of the published schema.
pub const VERSION: &str = "2026-05-13";

/// The handler.
pub async fn schema() -> ApiResult<Answer> {
    Answer::ok(&json!({ "version": VERSION, "fields": fields() }))
}

fn fields() -> Value {
    let sizes: Vec<&str> = SIZES.iter().map(|(size, _)| *size).collect();
    let field = |kind: &str, required: bool, default: Value, description: &str| json!({ "type": kind, "required": required, "default": default, "description": description });
    let with = |mut field: Value, more: Value| {
        if let (Value::Object(field), Value::Object(more)) = (&mut field, more) {
            field.extend(more);
        }
        field
    };
    let null = Value::Null;
    json!({
        "from": field("string", true, null.clone(), "A built-in template, one of your own with a build that is ready, or (on Docker) an image. Only files are taken over from it."),
        "size": with(field("string", false, json!(sizes::DEFAULT), "The size of its sandboxes, where their create names none."), json!({ "enum": sizes })),
        "vcpu": with(field("integer", false, null.clone(), "Virtual CPUs, instead of the size's."), json!({ "minimum": 1, "maximum": 64 })),
        "memoryMib": with(field("integer", false, null.clone(), "Memory, instead of the size's."), json!({ "minimum": 128, "maximum": 262_144 })),
        "diskMib": with(field("integer", false, null.clone(), "Disk, instead of the size's."), json!({ "minimum": 512, "maximum": 1_048_576 })),
        "steps": with(field("array", false, json!([]), "Commands of the build, in order; one that fails ends it."), json!({
            "maxItems": MAX_STEPS, "items": { "run": with(field("string", true, null.clone(), "A line for the shell."), json!({ "maxLength": MAX_COMMAND })) },
        })),
        "env": field("object", false, json!({}), "Environment of the steps and of every command in the template's sandboxes."),
        "workdir": field("string", false, json!(WORKDIR), "Where steps and commands run; made if it is not there."),
        "user": field("string", false, json!(USER), "Who steps and commands run as: USER or USER:GROUP, by name or number."),
        "startCmd": field("string", false, null.clone(), "Runs in the background when a sandbox has started."),
        "readyCmd": field("string", false, null.clone(), "Succeeds when the template works; the build waits for it."),
        "previewPort": with(field("integer", false, null, "The port that its server listens on."), json!({ "minimum": 1, "maximum": 65_535 })),
        "artifactPaths": field("array", false, json!([]), "Where its products lie; kept in the record."),
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn the_schema_has_the_fields_that_are_read() {
        let fields = fields();
        let mut spec = json!({ "from": "blank" });
        for (name, field) in fields.as_object().unwrap() {
            if !field["default"].is_null() {
                spec[name] = field["default"].clone();
            }
        }
        check::read(&spec).unwrap();
        let known = serde_json::to_value(check::read(&spec).unwrap()).unwrap();
        let known: Vec<&String> = known.as_object().unwrap().keys().collect();
        assert_eq!(fields.as_object().unwrap().keys().collect::<Vec<_>>(), known);
    }
}
