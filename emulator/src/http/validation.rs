//! Bodies and query parameters, read into types; what nobody read is remembered for the journal.
//!
//! Syntax is 400, meaning is 422 (`api-reference`, overview: 400 missing or invalid parameters, 422 validation error).

use crate::defects::defect;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::codes;
use super::error::{ApiError, ApiResult};
use super::{exchange, pagination};

/// A JSON body. No body at all reads as `{}`: official clients send none where nothing is to be said.
#[derive(Debug, Clone)]
pub struct Input<T>(pub T);

/// The body of a request that says nothing: none, or an object whose members nobody reads.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Nothing {}

/// How deep a JSON body may nest.
const MAX_DEPTH: usize = 64;

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let exchange = exchange::of(request.extensions())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            ApiError::new(codes::BAD_REQUEST, format!("The body could not be read: {error}"))
        })?;
        let mut unread = Vec::new();
        let value = parse(&bytes, &mut unread);
        // Above all when it was refused: the field that is missing may be there under another spelling.
        exchange.note(|notes| notes.unread.extend(unread));
        defect!(WrongTypeCrashes => if value.is_err()
            && exchange.route.get().is_some_and(|route| route.path == "/projects")
        {
            return Err(ApiError::internal("a cast failed"));
        });
        value.map(Self)
    }
}

/// Reads a JSON object into a type, collecting the fields that the type does not know.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], unread: &mut Vec<String>) -> ApiResult<T> {
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    if depth(bytes) > MAX_DEPTH {
        return Err(ApiError::new(
            codes::INVALID_JSON,
            format!("The body nests deeper than {MAX_DEPTH} levels."),
        ));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        ApiError::new(codes::INVALID_JSON, format!("The body is not JSON: {error}"))
    })?;
    if !value.is_object() {
        return Err(ApiError::new(codes::VALIDATION_FAILED, "The body must be a JSON object."));
    }
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let parsed: Result<T, _> = serde_ignored::deserialize(tracked, |path| {
        const MOST: usize = 32;
        if unread.len() < MOST {
            unread.push(path.to_string());
        }
    });
    parsed.map_err(|error| {
        let path = track.path().to_string();
        let message = error.to_string();
        // A missing field is named in the message, not in the path.
        let field = message
            .split('`')
            .nth(1)
            .filter(|_| message.starts_with("missing field"))
            .unwrap_or(&path)
            .to_owned();
        ApiError::new(codes::VALIDATION_FAILED, format!("{field}: {message}"))
            .details(json!([{ "field": field, "message": message }]))
    })
}

/// How deep the brackets nest, strings left aside; cheap, and before any parser recurses.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut level, mut string, mut escaped) = (0usize, 0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !string => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Query parameters. Paging parameters are read by [`super::Pages`].
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let exchange = exchange::of(&parts.extensions)?;
        let mut unread = Vec::new();
        let value = query_to(pairs(parts)?, &mut unread);
        exchange.note(|notes| {
            notes.query_read = true;
            notes.unread.extend(unread);
        });
        let value = value?;
        Ok(Self(value))
    }
}

/// Query parameters as they stand, for those whose names may come more than once.
#[derive(Debug, Clone)]
pub struct Pairs(pub Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Pairs {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        exchange::of(&parts.extensions)?.note(|notes| notes.query_read = true);
        pairs(parts).map(Self)
    }
}

fn pairs(parts: &Parts) -> ApiResult<Vec<(String, String)>> {
    serde_urlencoded::from_str(parts.uri.query().unwrap_or_default())
        .map_err(|error| ApiError::parameter("query", error))
}

/// Reads query pairs into a type, collecting the names that the type does not know. Of two with one name the last counts.
fn query_to<T: DeserializeOwned>(
    pairs: Vec<(String, String)>,
    unread: &mut Vec<String>,
) -> ApiResult<T> {
    let known: Map<String, Value> = pairs
        .into_iter()
        .filter(|(name, _)| !pagination::PARAMETERS.contains(&name.as_str()))
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(Value::Object(known), &mut track);
    let parsed: Result<T, serde_json::Error> =
        serde_ignored::deserialize(tracked, |path| unread.push(format!("?{path}")));
    parsed.map_err(|error| {
        let message = error.to_string();
        let name = message.split('`').nth(1).filter(|_| message.starts_with("missing field"));
        ApiError::parameter(name.unwrap_or(&track.path().to_string()), &message)
    })
}

/// A query parameter that is a number: `serde` gives every query value as text.
pub fn numeric<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is not a number in range")))
}

/// A field that, when present, distinguishes `null` (clear it) from absence (leave it): for PATCH bodies.
#[allow(clippy::option_option)] // exactly the three cases of a PATCH field
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A text field within its bounds and without control characters.
///
/// # Errors
/// 422 naming the field.
pub fn text(field: &str, value: &str, min: usize, max: usize) -> ApiResult<()> {
    if defect!(NulCrashes) && value.contains('\0') {
        return Err(ApiError::internal("invalid byte sequence for encoding UTF8: 0x00"));
    }
    let length = value.chars().count();
    if length < min || length > max {
        return Err(ApiError::field(field, format!("must have {min} to {max} characters")));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(ApiError::field(field, "must not contain control characters"));
    }
    Ok(())
}

/// A slug: lower-case letters, digits and inner dashes.
///
/// # Errors
/// 422 naming the field.
pub fn slug(field: &str, value: &str) -> ApiResult<()> {
    let ok = (1..=63).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-');
    if ok {
        Ok(())
    } else {
        Err(ApiError::field(field, "must be 1 to 63 lower-case letters, digits and inner dashes"))
    }
}

/// The slug that a display name suggests; `fallback` when nothing of it can stand in one.
pub fn slug_of(name: &str, fallback: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.truncate(63);
    let slug = slug.trim_matches('-');
    if slug.is_empty() { fallback.to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Body {
        name: String,
        #[serde(default)]
        env: std::collections::BTreeMap<String, String>,
    }

    fn read(text: &str) -> (ApiResult<Body>, Vec<String>) {
        let mut unread = Vec::new();
        (parse(text.as_bytes(), &mut unread), unread)
    }

    #[test]
    fn a_misspelt_field_is_remembered() {
        let (body, unread) = read(r#"{"name": "x", "tiemout": 3}"#);
        assert_eq!(body.unwrap().name, "x");
        assert_eq!(unread, ["tiemout"]);
    }

    #[test]
    fn a_wrong_or_missing_field_is_named() {
        let error = read(r#"{"name": "x", "env": {"A": 1}}"#).0.unwrap_err();
        assert_eq!(
            (error.code, error.details.unwrap()[0]["field"].as_str()),
            (codes::VALIDATION_FAILED, Some("env.A"))
        );
        let error = read("{}").0.unwrap_err();
        assert_eq!(error.details.unwrap()[0]["field"], "name");
    }

    #[derive(Debug, Deserialize)]
    struct Query {
        path: Option<String>,
        #[serde(default, deserialize_with = "numeric")]
        depth: Option<u32>,
    }

    #[test]
    fn query_parameters_are_optional_typed_and_remembered() {
        let read = |text: &str| {
            let mut unread = Vec::new();
            let query: ApiResult<Query> =
                query_to(serde_urlencoded::from_str(text).unwrap(), &mut unread);
            (query, unread)
        };
        let (query, unread) = read("path=%2Fa&depth=3&page=2&pth=x");
        let query = query.unwrap();
        assert_eq!((query.path.as_deref(), query.depth), (Some("/a"), Some(3)));
        assert_eq!(unread, ["?pth"]);
        assert!(read("").0.unwrap().path.is_none());
        let error = read("depth=x").0.unwrap_err();
        assert_eq!(error.code, codes::INVALID_PARAMETER);
        assert!(error.message.starts_with("depth: "), "{}", error.message);
    }

    #[test]
    fn syntax_is_400_and_shape_is_422() {
        for (text, status) in
            [("{", 400), ("\u{0}", 400), ("[]", 422), ("3", 422), (&"[".repeat(10_000), 400)]
        {
            assert_eq!(read(text).0.unwrap_err().code.status, status, "{text:.10}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_slug_of_any_name_is_a_slug(name in ".{0,80}") {
            let slugged = slug_of(&name, "item");
            proptest::prop_assert!(slug("slug", &slugged).is_ok(), "{slugged}");
        }
    }
}
