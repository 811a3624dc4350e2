//! What the fields that creating, changing and forking share may hold.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::http::{ApiError, ApiResult, validation};

/// The longest timeout: a year. Longer is `always_on`.
pub const MAX_TIMEOUT_SEC: u32 = 31_536_000;

/// Tags: a list, or (miosa-cli-go) a map whose pairs become `key=value`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Tags {
    /// A list.
    List(Vec<String>),
    /// A map.
    Map(BTreeMap<String, String>),
}

impl Tags {
    /// As they are kept.
    ///
    /// # Errors
    /// 422 for too many, or one too long.
    pub fn kept(self) -> ApiResult<Vec<String>> {
        let mut tags = match self {
            Self::List(tags) => tags,
            Self::Map(map) => map.into_iter().map(|(k, v)| format!("{k}={v}")).collect(),
        };
        if tags.len() > 100 {
            return Err(ApiError::field("tags", "must be at most 100"));
        }
        for tag in &tags {
            validation::text("tags", tag, 1, 255)?;
        }
        let mut seen = HashSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        Ok(tags)
    }
}

/// A timeout within its bounds.
///
/// # Errors
/// 422.
pub fn timeout(seconds: u32) -> ApiResult<u32> {
    if (1..=MAX_TIMEOUT_SEC).contains(&seconds) {
        Ok(seconds)
    } else {
        let most = format!("must be 1 to {MAX_TIMEOUT_SEC}; `always_on` has no timeout");
        Err(ApiError::field("timeout_sec", most))
    }
}

/// An idle timeout within its bounds; 0 is never.
///
/// # Errors
/// 422.
pub fn idle_timeout(seconds: u32) -> ApiResult<u32> {
    if seconds <= MAX_TIMEOUT_SEC {
        Ok(seconds)
    } else {
        Err(ApiError::field("idle_timeout_sec", format!("must be 0 to {MAX_TIMEOUT_SEC}")))
    }
}

/// A name that can stand in a path.
///
/// # Errors
/// 422.
pub fn name(name: &str) -> ApiResult<()> {
    validation::text("name", name, 1, 255)?;
    if name.trim().is_empty() || name.contains(['\n', '\r', '\t']) {
        return Err(ApiError::field("name", "must have visible characters and no line breaks"));
    }
    if Uuid::parse_str(name).is_ok() {
        return Err(ApiError::field("name", "must not look like an id"));
    }
    Ok(())
}

/// Environment variables that a process can have.
///
/// # Errors
/// 422 naming the first that cannot be.
pub fn env(env: &BTreeMap<String, String>) -> ApiResult<()> {
    const MOST: usize = 128 * 1024;
    let mut bytes = 0;
    for (key, value) in env {
        let field = format!("env.{key}");
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(ApiError::field(
                &field,
                "a name must not be empty or have `=` or NUL in it",
            ));
        }
        if key.starts_with("MIOSA_AGENT_") {
            return Err(ApiError::field(&field, "names with MIOSA_AGENT_ are the machine's own"));
        }
        if value.contains('\0') {
            return Err(ApiError::field(&field, "must not have NUL in it"));
        }
        bytes += key.len() + value.len() + 2;
    }
    if bytes > MOST {
        return Err(ApiError::field("env", format!("must be at most {MOST} bytes in all")));
    }
    Ok(())
}
