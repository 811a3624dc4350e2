//! Where a stream begins: after the event that the client saw last, or with the newest ones.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserialize;
use ulid::Ulid;

use crate::http::{ApiError, ApiResult, Params, validation};

/// What clients of streams say in the query.
#[derive(Debug, Default, Deserialize)]
struct Query {
    types: Option<String>,
    last_event_id: Option<String>,
    after: Option<String>,
    #[serde(default, deserialize_with = "validation::numeric")]
    backlog: Option<u32>,
}

/// The longest way back without an id.
const MAX_BACKLOG: u32 = 1000;
/// How many types one stream may name.
const MAX_TYPES: usize = 32;

/// Where a stream begins, and what of it is wanted.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// The last event that the client saw.
    pub seen: Option<Ulid>,
    /// How many of the newest events it asked for.
    pub backlog: Option<u32>,
    /// The types that it asked for; empty is all.
    pub types: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Resume {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Params(query) = Params::<Query>::from_request_parts(parts, state).await?;
        // What a browser sends by itself when it reconnects; it is newer than the address it connects to.
        let header = parts.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
        let seen = [
            ("Last-Event-ID", header),
            ("last_event_id", query.last_event_id.as_deref()),
            ("after", query.after.as_deref()),
        ];
        let seen = seen.into_iter().find_map(|(name, text)| {
            text.map(str::trim).filter(|text| !text.is_empty()).map(|text| (name, text))
        });
        let seen = seen.map(|(name, text)| id(name, text)).transpose()?;
        if query.backlog.is_some_and(|backlog| backlog > MAX_BACKLOG) {
            return Err(ApiError::parameter("backlog", format!("must be 0 to {MAX_BACKLOG}")));
        }
        let types = globs("types", query.types.as_deref().unwrap_or_default())?;
        Ok(Self { seen, backlog: query.backlog, types })
    }
}

/// The id of an event as streams write it, with or without its prefix.
fn id(name: &str, text: &str) -> ApiResult<Ulid> {
    Ulid::from_string(text.strip_prefix("evt_").unwrap_or(text))
        .map_err(|_| ApiError::parameter(name, "must be the id of an event as the stream gave it"))
}

/// Types parted by commas, `*` standing for anything.
pub fn globs(name: &str, text: &str) -> ApiResult<Vec<String>> {
    let globs: Vec<String> =
        text.split(',').map(str::trim).filter(|glob| !glob.is_empty()).map(str::to_owned).collect();
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._*-".contains(c);
    if globs.len() > MAX_TYPES
        || globs.iter().any(|glob| glob.len() > 64 || !glob.chars().all(known))
    {
        return Err(ApiError::parameter(
            name,
            format!("must be at most {MAX_TYPES} types such as sandbox.* parted by commas"),
        ));
    }
    Ok(globs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_with_and_without_its_prefix() {
        let ulid = Ulid::from_parts(5, 7);
        for text in [ulid.to_string(), format!("evt_{ulid}")] {
            assert_eq!(id("after", &text).unwrap(), ulid);
        }
        for text in ["7", "evt_", "zzz", "evt_evt_0"] {
            assert_eq!(id("after", text).unwrap_err().code.status, 400, "{text}");
        }
    }

    #[test]
    fn globs_hold_nothing_that_the_store_would_read_otherwise() {
        assert_eq!(globs("types", "sandbox.*, webhook.delivered,").unwrap().len(), 2);
        assert!(globs("types", "").unwrap().is_empty());
        for text in ["sandbox.[a-z]", "a?", "A", "x y", &"a".repeat(65), &"a,".repeat(33)] {
            assert_eq!(globs("types", text).unwrap_err().code.status, 400, "{text}");
        }
    }
}
