//! Schemas of the document, compiled when they are first asked for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Registry, Resource, Validator};
use serde_json::{Value, json};

use super::shown;
use super::violation::{Finding, Kind};

/// Where the document lies for its references.
const BASE: &str = "urn:miosa:openapi";

/// A schema of the document, by its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub(super) pointer: String,
    pub(super) value: &'static Value,
}

impl Schema {
    /// The schema as it stands; it may be a reference into the document.
    pub fn value(&self) -> &'static Value {
        self.value
    }

    /// Its place: a JSON pointer into the document.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }
}

/// The compiled schemas.
pub(super) struct Schemas {
    registry: Registry<'static>,
    compiled: RwLock<HashMap<String, Arc<Compiled>>>,
}

type Compiled = Result<Validator, String>;

impl Schemas {
    pub(super) fn of(document: &'static Value) -> Result<Self, String> {
        let resource = Resource::from_contents(document.clone());
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add(BASE, resource)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| error.to_string())?;
        Ok(Self { registry, compiled: RwLock::default() })
    }

    /// What in a value is not as the schema says.
    pub(super) fn findings(&self, schema: &Schema, value: &Value) -> Vec<Finding> {
        let compiled = self.compiled(schema);
        let validator = match compiled.as_ref() {
            Ok(validator) => validator,
            Err(error) => {
                return vec![Finding::new(Kind::Contract, schema.pointer(), error, "")];
            }
        };
        if validator.is_valid(value) {
            return Vec::new();
        }
        validator
            .iter_errors(value)
            .map(|error| {
                let at = error.instance_path().to_string();
                let wants = shown::cut(&error.masked_with("this").to_string());
                let was = shown::value(&at, error.instance());
                let kind = match error.kind() {
                    ValidationErrorKind::Required { .. } => Kind::Missing,
                    _ => Kind::Body,
                };
                Finding { kind, at, wants, was }
            })
            .collect()
    }

    fn compiled(&self, schema: &Schema) -> Arc<Compiled> {
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known.get(schema.pointer()) {
            return Arc::clone(compiled);
        }
        drop(known);
        let fresh = Arc::new(self.compile(schema));
        let mut known = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(schema.pointer.clone()).or_insert(fresh))
    }

    fn compile(&self, schema: &Schema) -> Compiled {
        // By reference, so that references inside resolve within the whole document.
        let by_reference = json!({ "$ref": format!("{BASE}#{}", fragment(schema.pointer())) });
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            // OpenAPI's word for what is no text.
            .with_format("binary", |_: &str| true)
            .build(&by_reference)
            .map_err(|error| error.to_string())
    }
}

/// A JSON pointer as a URI's fragment may carry it.
fn fragment(pointer: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/~-_.".contains(&byte);
    pointer
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
