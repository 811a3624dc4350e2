//! From JSON to a [`Spec`], or to everything that is wrong with it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Spec, Step, USER, WORKDIR};
use crate::api::compute::sandboxes::{fields, sizes};
use crate::http::ApiError;

/// How many steps a build may have.
pub const MAX_STEPS: usize = 100;
/// The longest command, in bytes.
pub const MAX_COMMAND: usize = 32 * 1024;
/// The longest path, in bytes.
const MAX_PATH: usize = 4095;
/// How many artifact paths.
const MAX_PATHS: usize = 100;

/// One thing that is wrong (`api-reference/sandbox-templates`: `{code, field, message}`; `REQUIRED` and `INVALID_PORT` are
/// known from miosa-cli, the other codes are chosen in their manner).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind of mistake.
    pub code: &'static str,
    /// Where: `steps[2].run`.
    pub field: String,
    /// What would be right.
    pub message: String,
}

impl Fault {
    /// A fault.
    pub fn new(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, field: field.into(), message: message.into() }
    }
}

/// Reads a spec.
///
/// # Errors
/// Everything that is wrong, in the order of the fields.
pub fn read(value: &Value) -> Result<Spec, Vec<Fault>> {
    let Value::Object(said) = value else {
        return Err(vec![Fault::new("INVALID_TYPE", "build_spec", "must be an object")]);
    };
    let mut reader = Reader { said, faults: Vec::new() };
    let spec = reader.spec();
    reader.unknown();
    if reader.faults.is_empty() { Ok(spec) } else { Err(reader.faults) }
}

/// The fields that a spec has.
const KNOWN: &[&str] = &[
    "from",
    "size",
    "vcpu",
    "memoryMib",
    "diskMib",
    "steps",
    "env",
    "workdir",
    "user",
    "startCmd",
    "readyCmd",
    "previewPort",
    "artifactPaths",
];

struct Reader<'v> {
    said: &'v Map<String, Value>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn spec(&mut self) -> Spec {
        let from = self.from();
        let (size, shape) = self.shape();
        Spec {
            from,
            size,
            vcpu: shape.vcpus,
            memory_mib: shape.memory_mb,
            disk_mib: shape.disk_mb,
            steps: self.steps(),
            env: self.env(),
            workdir: self.path("workdir").unwrap_or_else(|| WORKDIR.to_owned()),
            user: self.user(),
            start_cmd: self.command("startCmd"),
            ready_cmd: self.command("readyCmd"),
            preview_port: self.port(),
            artifact_paths: self.paths(),
        }
    }

    fn fault(&mut self, code: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(code, field, message));
    }

    /// A field that says something; null says nothing.
    fn value(&self, field: &str) -> Option<&Value> {
        self.said.get(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let value = self.value(field)?;
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.fault("INVALID_TYPE", field, "must be a string");
        }
        text
    }

    fn from(&mut self) -> String {
        if self.value("from").is_none() {
            self.fault("REQUIRED", "from", "is required");
            return String::new();
        }
        let Some(from) = self.text("from") else { return String::new() };
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
        if from.is_empty() {
            self.fault("REQUIRED", "from", "is required");
        } else if from.len() > 255 || !from.bytes().all(name) {
            let what = "must be the name of a template or of an image, at most 255 characters";
            self.fault("INVALID_BASE", "from", what);
        }
        from
    }

    /// Each number is judged by itself, so that all that are wrong are told; then all together.
    fn shape(&mut self) -> (String, crate::machines::Shape) {
        let size = self.text("size");
        let [vcpu, memory, disk] = ["vcpu", "memoryMib", "diskMib"].map(|field| self.number(field));
        let alone = [
            ("size", "INVALID_SIZE", sizes::choose(size.as_deref(), None, None, None)),
            ("vcpu", "OUT_OF_RANGE", sizes::choose(None, vcpu, None, None)),
            ("memoryMib", "OUT_OF_RANGE", sizes::choose(None, None, memory, None)),
            ("diskMib", "OUT_OF_RANGE", sizes::choose(None, None, None, disk)),
        ];
        for (field, code, judged) in alone {
            if let Err(error) = judged {
                self.fault(code, field, said_of_field(&error));
            }
        }
        sizes::choose(size.as_deref(), vcpu, memory, disk).unwrap_or((
            String::new(),
            crate::machines::Shape { vcpus: 1, memory_mb: 1, disk_mb: 1 },
        ))
    }

    fn number(&mut self, field: &str) -> Option<u32> {
        let value = self.value(field)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            self.fault("INVALID_TYPE", field, "must be a positive whole number");
        }
        number
    }

    fn steps(&mut self) -> Vec<Step> {
        let Some(value) = self.value("steps") else { return Vec::new() };
        let Value::Array(items) = value.clone() else {
            self.fault("INVALID_TYPE", "steps", "must be a list of {\"run\": COMMAND}");
            return Vec::new();
        };
        if items.len() > MAX_STEPS {
            self.fault("TOO_MANY", "steps", format!("must be at most {MAX_STEPS}"));
            return Vec::new();
        }
        items.iter().enumerate().filter_map(|(at, item)| self.step(at, item)).collect()
    }

    fn step(&mut self, at: usize, item: &Value) -> Option<Step> {
        let field = format!("steps[{at}]");
        let Value::Object(members) = item else {
            self.fault("INVALID_TYPE", field, "must be {\"run\": COMMAND}");
            return None;
        };
        for name in members.keys().filter(|name| *name != "run") {
            self.fault("UNKNOWN_FIELD", format!("{field}.{name}"), "a step has only `run`");
        }
        let run = self.judged(&format!("{field}.run"), members.get("run").filter(|v| !v.is_null()));
        run.map(|run| Step { run })
    }

    fn command(&mut self, field: &str) -> Option<String> {
        let value = self.value(field)?.clone();
        self.judged(field, Some(&value))
    }

    /// A command that a shell can be given.
    fn judged(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let Some(value) = value else {
            self.fault("REQUIRED", field, "is required");
            return None;
        };
        let Some(command) = value.as_str() else {
            self.fault("INVALID_TYPE", field, "must be a string");
            return None;
        };
        if command.trim().is_empty() {
            self.fault("REQUIRED", field, "must not be empty");
        } else if command.len() > MAX_COMMAND {
            self.fault("TOO_LONG", field, format!("must be at most {MAX_COMMAND} bytes"));
        } else if command.contains('\0') {
            self.fault("INVALID_COMMAND", field, "must not have NUL in it");
        }
        Some(command.to_owned())
    }

    fn env(&mut self) -> BTreeMap<String, String> {
        let Some(value) = self.value("env") else { return BTreeMap::new() };
        let Value::Object(members) = value.clone() else {
            self.fault("INVALID_TYPE", "env", "must be an object of strings");
            return BTreeMap::new();
        };
        let mut env = BTreeMap::new();
        for (name, value) in members {
            let Value::String(value) = value else {
                self.fault("INVALID_TYPE", format!("env.{name}"), "must be a string");
                continue;
            };
            if let Err(error) = fields::env(&BTreeMap::from([(name.clone(), value.clone())])) {
                self.fault("INVALID_ENV", format!("env.{name}"), said_of_field(&error));
            }
            env.insert(name, value);
        }
        if self.faults.iter().all(|fault| fault.code != "INVALID_ENV")
            && let Err(error) = fields::env(&env)
        {
            self.fault("TOO_LONG", "env", said_of_field(&error));
        }
        env
    }

    fn path(&mut self, field: &str) -> Option<String> {
        let path = self.text(field)?;
        self.judge_path(field, &path);
        Some(path)
    }

    fn judge_path(&mut self, field: &str, path: &str) {
        let kernel = ["/proc", "/sys", "/dev"];
        if !path.starts_with('/') || path.len() > MAX_PATH || path.contains('\0') {
            self.fault("INVALID_PATH", field, "must be an absolute path");
        } else if path.split('/').any(|part| part == "..") {
            self.fault("INVALID_PATH", field, "must not climb by `..`");
        } else if kernel.iter().any(|root| std::path::Path::new(path).starts_with(root)) {
            self.fault("INVALID_PATH", field, "must not lie below /proc, /sys or /dev");
        }
    }

    fn paths(&mut self) -> Vec<String> {
        let Some(value) = self.value("artifactPaths") else { return Vec::new() };
        let Value::Array(items) = value.clone() else {
            self.fault("INVALID_TYPE", "artifactPaths", "must be a list of paths");
            return Vec::new();
        };
        if items.len() > MAX_PATHS {
            self.fault("TOO_MANY", "artifactPaths", format!("must be at most {MAX_PATHS}"));
            return Vec::new();
        }
        let mut paths = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let field = format!("artifactPaths[{at}]");
            match item.as_str() {
                Some(path) => {
                    self.judge_path(&field, path);
                    paths.push(path.to_owned());
                }
                None => self.fault("INVALID_TYPE", field, "must be a string"),
            }
        }
        paths
    }

    fn user(&mut self) -> String {
        let Some(user) = self.text("user") else { return USER.to_owned() };
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let part =
            |part: &str| !part.is_empty() && !part.starts_with('-') && part.bytes().all(name);
        if user.len() > 64 || user.split(':').count() > 2 || !user.split(':').all(part) {
            self.fault("INVALID_USER", "user", "must be a user, or USER:GROUP, by name or number");
        }
        user
    }

    fn port(&mut self) -> Option<u16> {
        let value = self.value("previewPort")?;
        let port = value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|port| *port > 0);
        if port.is_none() {
            self.fault("INVALID_PORT", "previewPort", "must be between 1 and 65535");
        }
        port
    }

    fn unknown(&mut self) {
        for name in self.said.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            let message = match camel(name).filter(|meant| KNOWN.contains(&meant.as_str())) {
                Some(meant) => format!("is not known; did you mean `{meant}`?"),
                None => "is not known; GET /api/v1/sandbox-templates/build-spec has those that are"
                    .to_owned(),
            };
            self.faults.push(Fault::new("UNKNOWN_FIELD", name, message));
        }
    }
}

/// What an error of one field says of it, without its name.
fn said_of_field(error: &ApiError) -> String {
    let said = error.details.as_ref().and_then(|details| details.pointer("/0/message")?.as_str());
    said.unwrap_or(&error.message).to_owned()
}

/// `memory_mib` as `memoryMib`.
fn camel(name: &str) -> Option<String> {
    let mut parts = name.split('_');
    let mut meant = parts.next()?.to_owned();
    for part in parts {
        let mut letters = part.chars();
        meant.extend(letters.next()?.to_uppercase());
        meant.push_str(letters.as_str());
    }
    Some(meant)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(spec: &Value) -> Vec<(&'static str, String)> {
        let faults = read(spec).unwrap_err();
        faults.into_iter().map(|fault| (fault.code, fault.field)).collect()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let spec = read(&json!({ "from": "miosa-sandbox", "steps": [{ "run": "true" }] })).unwrap();
        assert_eq!(
            serde_json::to_value(&spec).unwrap(),
            json!({
                "from": "miosa-sandbox", "size": "small", "vcpu": 2, "memoryMib": 4096, "diskMib": 10240,
                "steps": [{ "run": "true" }], "env": {}, "workdir": "/workspace", "user": "root",
                "startCmd": null, "readyCmd": null, "previewPort": null, "artifactPaths": [],
            })
        );
        assert_eq!(read(&serde_json::to_value(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let spec =
            json!({ "previewPort": 0, "vcpu": 0, "steps": [{ "run": "" }, { "cmd": "x" }, 3] });
        assert_eq!(
            faults(&spec),
            [
                ("REQUIRED", "from".to_owned()),
                ("OUT_OF_RANGE", "vcpu".to_owned()),
                ("REQUIRED", "steps[0].run".to_owned()),
                ("UNKNOWN_FIELD", "steps[1].cmd".to_owned()),
                ("REQUIRED", "steps[1].run".to_owned()),
                ("INVALID_TYPE", "steps[2]".to_owned()),
                ("INVALID_PORT", "previewPort".to_owned()),
            ]
        );
    }

    #[test]
    fn each_field_has_its_bounds() {
        for (field, value, code) in [
            ("from", json!("two words"), "INVALID_BASE"),
            ("from", json!(3), "INVALID_TYPE"),
            ("size", json!("huge"), "INVALID_SIZE"),
            ("vcpu", json!(65), "OUT_OF_RANGE"),
            ("memoryMib", json!(1), "OUT_OF_RANGE"),
            ("diskMib", json!("10"), "INVALID_TYPE"),
            ("diskMib", json!(-1), "INVALID_TYPE"),
            ("steps", json!("npm ci"), "INVALID_TYPE"),
            ("steps", json!(vec![json!({ "run": "a" }); 101]), "TOO_MANY"),
            ("steps", json!([{ "run": "a\u{0}" }]), "INVALID_COMMAND"),
            ("steps", json!([{ "run": "a".repeat(MAX_COMMAND + 1) }]), "TOO_LONG"),
            ("env", json!([]), "INVALID_TYPE"),
            ("env", json!({ "A": 1 }), "INVALID_TYPE"),
            ("env", json!({ "A=B": "x" }), "INVALID_ENV"),
            ("env", json!({ "A": "x".repeat(200_000) }), "INVALID_ENV"),
            ("workdir", json!("app"), "INVALID_PATH"),
            ("workdir", json!("/a/../b"), "INVALID_PATH"),
            ("workdir", json!("/proc/1"), "INVALID_PATH"),
            ("user", json!("a b"), "INVALID_USER"),
            ("user", json!("a:b:c"), "INVALID_USER"),
            ("user", json!(""), "INVALID_USER"),
            ("startCmd", json!(" "), "REQUIRED"),
            ("readyCmd", json!(["a"]), "INVALID_TYPE"),
            ("previewPort", json!(65_536), "INVALID_PORT"),
            ("previewPort", json!("80"), "INVALID_PORT"),
            ("artifactPaths", json!(["dist"]), "INVALID_PATH"),
            ("artifactPaths", json!("dist"), "INVALID_TYPE"),
        ] {
            let mut spec = json!({ "from": "miosa-sandbox" });
            spec[field] = value.clone();
            let found = faults(&spec);
            assert!(
                found.len() == 1 && found[0].0 == code && found[0].1.starts_with(field),
                "{field} {value:.40}: {found:?}"
            );
        }
        assert_eq!(faults(&json!([])), [("INVALID_TYPE", "build_spec".to_owned())]);
    }

    #[test]
    fn a_field_in_another_spelling_is_told_its_own() {
        let spec = json!({ "from": "blank", "memory_mib": 1024, "colour": "red" });
        let faults = read(&spec).unwrap_err();
        assert_eq!(faults[0].message, "is not known; did you mean `memoryMib`?");
        assert_eq!((faults[1].code, faults[1].field.as_str()), ("UNKNOWN_FIELD", "colour"));
    }
}
