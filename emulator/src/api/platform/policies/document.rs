//! A policy as a tier says it: fields that are set, the others left to the next tier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::field::{self, Field, SECTIONS};
use crate::http::{ApiError, ApiResult};

/// What one tier says, by section and field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy(BTreeMap<String, Map<String, Value>>);

/// What answers say besides; a client that writes back what it has read sends it again.
const READ_ONLY: [&str; 2] = ["enforcement", "updated_at"];

impl Policy {
    /// This policy with the fields of `change` on top (miosa-go 2.0: a deep merge); null takes a field, or a whole
    /// section, away.
    ///
    /// # Errors
    /// 422 naming the first section or field that is not known or cannot have its value.
    pub fn merged(&self, change: &Map<String, Value>) -> ApiResult<Self> {
        let mut merged = self.clone();
        for (section, fields) in change {
            if READ_ONLY.contains(&section.as_str()) {
                continue;
            }
            if !SECTIONS.contains(&section.as_str()) {
                return Err(unknown(section, &SECTIONS));
            }
            match fields {
                Value::Null => drop(merged.0.remove(section)),
                Value::Object(fields) => merged.merge_section(section, fields)?,
                _ => return Err(ApiError::field(section, "must be an object")),
            }
        }
        Ok(merged)
    }

    /// This policy with the fields of `change` on top of one section.
    ///
    /// # Errors
    /// As [`Self::merged`].
    pub fn merge_section(&mut self, section: &str, change: &Map<String, Value>) -> ApiResult<()> {
        let into = self.0.entry(section.to_owned()).or_default();
        for (name, value) in change {
            let path = format!("{section}.{name}");
            let field = field::of(section).find(|field| field.name == name).ok_or_else(|| {
                let known: Vec<_> = field::of(section).map(|field| field.name).collect();
                unknown(&path, &known)
            })?;
            if value.is_null() {
                into.remove(name);
            } else if field.accepts(value) {
                into.insert(name.clone(), value.clone());
            } else {
                let wanted = match field.holds {
                    field::Holds::Count => "must be a whole number from 0, or null",
                    field::Holds::Switch => "must be true, false or null",
                };
                return Err(ApiError::field(&path, wanted));
            }
        }
        if into.is_empty() {
            self.0.remove(section);
        }
        Ok(())
    }

    /// Takes a section away.
    pub fn clear_section(&mut self, section: &str) {
        self.0.remove(section);
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says of a field.
    pub fn get(&self, field: &Field) -> Option<&Value> {
        self.0.get(field.section)?.get(field.name)
    }

    /// What clients read: every section, the fields that are set, and which of these are not enforced here.
    pub fn show(&self) -> Value {
        let mut shown = Map::new();
        for section in SECTIONS {
            let fields = self.0.get(section).cloned().unwrap_or_default();
            shown.insert(section.to_owned(), Value::Object(fields));
        }
        let unenforced: Map<String, Value> = field::FIELDS
            .iter()
            .filter(|field| self.get(field).is_some())
            .filter_map(|field| Some((field, field.effect.said()?)))
            .map(|(field, said)| (format!("{}.{}", field.section, field.name), json!(said)))
            .collect();
        shown.insert("enforcement".to_owned(), Value::Object(unenforced));
        Value::Object(shown)
    }
}

fn unknown(path: &str, known: &[&str]) -> ApiError {
    ApiError::field(
        path,
        format!("nothing here enforces this, so it is not kept; known are {}", known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::codes;

    fn merged(policy: &Policy, change: Value) -> ApiResult<Policy> {
        policy.merged(change.as_object().unwrap())
    }

    #[test]
    fn a_merge_keeps_what_it_does_not_speak_of_and_null_clears() {
        let first = json!({ "quotas": { "max_sandboxes": 5, "max_concurrent": 2 }, "features": { "snapshot_enabled": false } });
        let policy = merged(&Policy::default(), first).unwrap();
        let policy = merged(&policy, json!({ "quotas": { "max_sandboxes": 7 } })).unwrap();
        assert_eq!(policy.get(&field::MAX_SANDBOXES), Some(&json!(7)));
        assert_eq!(policy.get(&field::MAX_CONCURRENT), Some(&json!(2)));
        let cleared = json!({ "quotas": { "max_concurrent": null }, "features": null });
        let policy = merged(&policy, cleared).unwrap();
        assert_eq!(policy.show()["quotas"], json!({ "max_sandboxes": 7 }));
        assert_eq!(policy.show()["features"], json!({}));
        let policy = merged(&policy, json!({ "quotas": { "max_sandboxes": null } })).unwrap();
        assert!(policy.is_empty());
    }

    #[test]
    fn what_was_read_can_be_written_back() {
        let policy = merged(&Policy::default(), json!({ "quotas": { "max_credit_cents": 9 } }));
        let policy = policy.unwrap();
        assert_eq!(
            policy.show()["enforcement"],
            json!({ "quotas.max_credit_cents": "not_metered" })
        );
        assert_eq!(merged(&policy, policy.show()).unwrap(), policy);
    }

    #[test]
    fn what_nothing_enforces_is_refused_by_name() {
        for (change, field) in [
            (json!({ "quota": {} }), "quota"),
            (json!({ "quotas": { "max_cpus": 3 } }), "quotas.max_cpus"),
            (json!({ "quotas": { "max_sandboxes": -1 } }), "quotas.max_sandboxes"),
            (json!({ "quotas": { "max_sandboxes": 1.5 } }), "quotas.max_sandboxes"),
            (json!({ "quotas": 3 }), "quotas"),
            (json!({ "features": { "snapshot_enabled": 1 } }), "features.snapshot_enabled"),
            (json!({ "lifecycle": { "x": 1 } }), "lifecycle"),
        ] {
            let error = merged(&Policy::default(), change).unwrap_err();
            assert_eq!(error.code, codes::VALIDATION_FAILED);
            assert_eq!(error.details.unwrap()[0]["field"], field);
        }
    }
}
