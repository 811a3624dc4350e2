//! What was sent and what came, as reports show it: without a credential in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// A header, by name and value.
pub type Header = (String, String);

/// One request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// When it was sent.
    pub at: DateTime<Utc>,
    /// The shell variable that holds the credential, for instance `MIOSA_API_KEY`; none without one.
    pub credential: Option<String>,
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Headers, without the credential.
    pub headers: Vec<Header>,
    /// The body.
    #[serde(serialize_with = "body", skip_serializing_if = "Bytes::is_empty")]
    pub body: Bytes,
    /// How the request was sent when not as plain HTTP, for people: "cut off after 12 of 40 bytes".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peculiar: Option<String>,
    /// What came.
    pub answer: Option<Answered>,
    /// Why nothing came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// How long it took.
    pub millis: u64,
}

/// What came.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<Header>,
    /// The body.
    #[serde(serialize_with = "body", skip_serializing_if = "Bytes::is_empty")]
    pub body: Bytes,
}

/// Text as text, other bytes as base64 with a mark.
fn body<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.serialize_str(&format!("base64:{}", STANDARD.encode(bytes))),
    }
}
