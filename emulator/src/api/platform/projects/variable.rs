//! Variables that the services of an environment share: masked in every answer (miosa-python 2.19).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};
use crate::ids;

/// No environment has more variables.
const MOST: usize = 500;
/// Names and values together.
const MOST_BYTES: usize = 128 * 1024;

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its value.
    pub value: String,
    /// Whether the emulator made it up: a copy of the environment gets another.
    #[serde(default)]
    pub generated: bool,
    /// When it was last set.
    pub updated_at: Timestamp,
}

impl Variable {
    /// One that somebody gave.
    pub(super) fn given(value: String, now: Timestamp) -> Self {
        Self { value, generated: false, updated_at: now }
    }

    /// A secret that nobody knows yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn generated(now: Timestamp) -> ApiResult<Self> {
        let value = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self { value, generated: true, updated_at: now })
    }

    fn show(&self, name: &str) -> Value {
        json!({
            "name": name,
            "key": name,
            "preview": masked(&self.value),
            "generated": self.generated,
            "updated_at": self.updated_at,
        })
    }
}

/// All of an environment, by name.
pub(super) fn show(variables: &BTreeMap<String, Variable>) -> Vec<Value> {
    variables.iter().map(|(name, variable)| variable.show(name)).collect()
}

/// A few letters of what is long enough not to be told by them (miosa-cli: `sup...ret`).
fn masked(value: &str) -> String {
    const ENOUGH: usize = 12;
    let letters: Vec<char> = value.chars().collect();
    match (letters.first_chunk::<3>(), letters.last_chunk::<3>()) {
        (Some(head), Some(tail)) if letters.len() >= ENOUGH => {
            format!("{}...{}", String::from_iter(head), String::from_iter(tail))
        }
        _ => "***".to_owned(),
    }
}

/// What a client sets: a map, or a list of names (or keys) and values.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Given {
    Map(BTreeMap<String, String>),
    List(Vec<Pair>),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pair {
    #[serde(alias = "key")]
    name: String,
    value: String,
}

impl Given {
    /// The variables by name.
    ///
    /// # Errors
    /// 422 naming the first that cannot be.
    pub(super) fn read(self) -> ApiResult<BTreeMap<String, String>> {
        let mut read = BTreeMap::new();
        let pairs: Vec<(String, String)> = match self {
            Self::Map(map) => map.into_iter().collect(),
            Self::List(list) => list.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        };
        for (name, value) in pairs {
            let field = format!("variables.{name}");
            let mut letters = name.bytes();
            let first = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            if !first || !letters.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(ApiError::field(
                    &field,
                    "a name is letters, digits and _, and begins with no digit",
                ));
            }
            if value.contains('\0') {
                return Err(ApiError::field(&field, "must not have NUL in it"));
            }
            if read.insert(name, value).is_some() {
                return Err(ApiError::field(&field, "is there twice"));
            }
        }
        Ok(read)
    }
}

/// Whether an environment can have all of these.
///
/// # Errors
/// 422.
pub(super) fn check(variables: &BTreeMap<String, Variable>) -> ApiResult<()> {
    let bytes: usize =
        variables.iter().map(|(name, variable)| name.len() + variable.value.len()).sum();
    if variables.len() > MOST || bytes > MOST_BYTES {
        return Err(ApiError::field(
            "variables",
            format!("an environment has at most {MOST} variables of {MOST_BYTES} bytes in all"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_tells_nothing_of_what_is_short() {
        assert_eq!(masked("supersecret"), "***");
        assert_eq!(masked("supersecretsecret"), "sup...ret");
        assert_eq!(masked(""), "***");
        assert_eq!(masked("äöüäöüäöüäöü"), "äöü...äöü");
    }

    #[test]
    fn maps_and_lists_are_read_and_bad_names_are_refused() {
        let read = |value| serde_json::from_value::<Given>(value).unwrap().read();
        let map = read(json!({ "A": "1", "B_2": "x" })).unwrap();
        let list = json!([{ "name": "A", "value": "1" }, { "key": "B_2", "value": "x" }]);
        assert_eq!(read(list).unwrap(), map);
        for bad in [
            json!({ "1A": "x" }),
            json!({ "": "x" }),
            json!({ "A-B": "x" }),
            json!({ "A": "\u{0}" }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(
            read(json!([{ "name": "A", "value": "1" }, { "key": "A", "value": "2" }])).is_err()
        );
    }
}
