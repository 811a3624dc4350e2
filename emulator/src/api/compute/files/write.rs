//! Writing files, one or many. Directories above a file are made; a file appears whole or not at all.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::path::{Named, SafePath};
use super::{MAX_FILE, entry};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::defects::defect;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, Scoped, codes};
use crate::machines::{Agent, MachineError};

/// What one request may write in all, decoded.
const MAX_TOTAL: usize = 32 * 1024 * 1024;
const MAX_FILES: usize = 2000;
/// Base64 is a third longer; a file that is just too large still gets its own answer.
const ONE_LIMIT: usize = 24 * 1024 * 1024;
const MANY_LIMIT: usize = 48 * 1024 * 1024;

/// The routes.
pub fn routes() -> Vec<Route> {
    let route = |route: Route, limit| route.scope("sandboxes:write").repeatable().body_limit(limit);
    let many = |path| route(Route::post(path, write_many), MANY_LIMIT);
    vec![
        route(Route::post("/sandboxes/{id}/fs/write", write_text), ONE_LIMIT),
        route(Route::post("/sandboxes/{id}/files", write_base64), ONE_LIMIT),
        many("/sandboxes/{id}/fs/write-many"),
        many("/sandboxes/{id}/files/write-many"),
        many("/sandboxes/{id}/files/batch"),
    ]
}

/// A file to write.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    path: Named,
    content: Option<String>,
    content_base64: Option<String>,
    /// What `content` is: `utf8` or `base64` (miosa-cli).
    encoding: Option<String>,
    #[serde(default, deserialize_with = "entry::mode")]
    mode: Option<u32>,
}

/// What `content` is when nothing says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The text as it is.
    Text,
    /// Base64.
    Base64,
}

impl File {
    fn bytes(&self, default: Content) -> ApiResult<Bytes> {
        let content = match self.encoding.as_deref() {
            None | Some("") => default,
            Some("base64") => Content::Base64,
            Some("utf8" | "utf-8" | "text" | "plain") => Content::Text,
            Some(_) => return Err(ApiError::field("encoding", "must be utf8 or base64")),
        };
        let content = match (&self.content, content) {
            (Some(text), Content::Text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            (Some(text), Content::Base64) => Some(decode("content", text)?),
            (None, _) => None,
        };
        let encoded =
            self.content_base64.as_ref().map(|text| decode("content_base64", text)).transpose()?;
        let bytes = match (content, encoded) {
            (Some(a), Some(b)) if a != b => {
                return Err(ApiError::field("content", "says something else than content_base64"));
            }
            (Some(bytes), _) | (None, Some(bytes)) => bytes,
            (None, None) => {
                return Err(ApiError::field(
                    "content",
                    "is missing: send content or content_base64",
                ));
            }
        };
        check_size(bytes.len())?;
        Ok(bytes)
    }
}

fn decode(field: &str, text: &str) -> ApiResult<Bytes> {
    STANDARD
        .decode(text)
        .or_else(|error| URL_SAFE.decode(text).map_err(|_| error))
        .map(Bytes::from)
        .map_err(|error| ApiError::field(field, format!("is not base64: {error}")))
}

/// Whether a file of so many bytes may be written.
///
/// # Errors
/// 413 `FILE_TOO_LARGE` (`api-reference/files`).
pub fn check_size(bytes: usize) -> ApiResult<()> {
    if bytes > defect!(UploadLimitSoft, MAX_FILE / 10 * 12, MAX_FILE) {
        return Err(ApiError::new(
            codes::FILE_TOO_LARGE,
            format!("The file has {bytes} bytes; {MAX_FILE} is the most."),
        ));
    }
    Ok(())
}

/// miosa-python 2.10 sends base64 in the field that means text.
fn text_is_base64(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    agent
        .strip_prefix("miosa-python/2.10")
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

async fn write_text(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Input(file): Input<File>,
) -> ApiResult<Answer> {
    let content = if text_is_base64(&headers) { Content::Base64 } else { Content::Text };
    write_one(&app, &sandbox, &file, content).await
}

async fn write_base64(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(file): Input<File>,
) -> ApiResult<Answer> {
    write_one(&app, &sandbox, &file, Content::Base64).await
}

async fn write_one(
    app: &App,
    sandbox: &Sandbox,
    file: &File,
    content: Content,
) -> ApiResult<Answer> {
    let path = file.path.required()?;
    let bytes = file.bytes(content)?;
    let bytes = defect!(NewlineAdded, crate::defects::files::with_line_end(bytes), bytes);
    let agent = awake(app, sandbox).await?;
    let value = put(&agent, &path, file.mode, bytes).await?;
    Ok(done(StatusCode::CREATED, value))
}

/// Writes one file; answers what was written.
pub async fn put(
    agent: &Agent,
    path: &SafePath,
    mode: Option<u32>,
    bytes: Bytes,
) -> Result<Value, MachineError> {
    let size = bytes.len() as u64;
    agent.write(path.as_str(), mode, bytes).await?;
    Ok(entry::show_written(path.as_str(), size))
}

/// An answer whose object has `ok` and `success` beside it (miosa-cli, miosa-go 2.0).
pub fn done(status: StatusCode, value: Value) -> Answer {
    let mut beside = Map::new();
    beside.insert("ok".into(), true.into());
    beside.insert("success".into(), true.into());
    Answer::One { status, value, beside, location: None }
}

#[derive(Debug, Deserialize)]
struct Many {
    files: Vec<File>,
}

/// Each file is written or fails by itself (miosa-typescript).
async fn write_many(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(many): Input<Many>,
) -> ApiResult<Answer> {
    if many.files.len() > MAX_FILES {
        return Err(ApiError::field("files", format!("must have at most {MAX_FILES} files")));
    }
    let files: Vec<_> = many.files.iter().map(checked).collect();
    let total: usize = files.iter().flatten().map(|file| file.bytes.len()).sum();
    if total > MAX_TOTAL {
        return Err(ApiError::new(
            codes::PAYLOAD_TOO_LARGE,
            format!("The files have {total} bytes together; {MAX_TOTAL} is the most."),
        ));
    }
    let agent = awake(&app, &sandbox).await?;
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    for (asked, file) in many.files.iter().zip(files) {
        let outcome = match file {
            Ok(file) => match put(&agent, &file.path, file.mode, file.bytes).await {
                Ok(value) => Ok(value),
                // One file's trouble is its own; an agent that is gone concerns them all.
                Err(MachineError::Agent(failure)) => {
                    Err(ApiError::from(MachineError::Agent(failure)))
                }
                Err(error) => return Err(error.into()),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(value) => written.push(value),
            Err(error) => failed.push(json!({
                "path": asked.path.text(), "error": error.message, "code": error.code.name,
            })),
        }
    }
    let whole = failed.is_empty();
    Ok(Answer::ok(&json!({ "written": written, "failed": failed }))?
        .beside("ok", whole.into())
        .beside("success", whole.into()))
}

struct Checked {
    path: SafePath,
    mode: Option<u32>,
    bytes: Bytes,
}

fn checked(file: &File) -> ApiResult<Checked> {
    let (path, bytes) = (file.path.required()?, file.bytes(Content::Base64)?);
    Ok(Checked { path, mode: file.mode, bytes })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn bytes(body: Value, default: Content) -> ApiResult<Bytes> {
        serde_json::from_value::<File>(body).unwrap().bytes(default)
    }

    #[test]
    fn each_route_reads_content_in_its_own_way() {
        let text = json!({ "content": "aGk=" });
        assert_eq!(bytes(text.clone(), Content::Text).unwrap(), "aGk=");
        assert_eq!(bytes(text, Content::Base64).unwrap(), "hi");
        assert_eq!(bytes(json!({ "content_base64": "aGk=" }), Content::Text).unwrap(), "hi");
        let said = json!({ "content": "aGk=", "encoding": "utf8" });
        assert_eq!(bytes(said, Content::Base64).unwrap(), "aGk=");
        assert_eq!(bytes(json!({ "content": "" }), Content::Base64).unwrap(), "");
    }

    #[test]
    fn what_is_no_content_is_refused() {
        for body in [
            json!({}),
            json!({ "content": "a", "content_base64": "aGk=" }),
            json!({ "content_base64": "!" }),
            json!({ "content": "a", "encoding": "rot13" }),
        ] {
            let error = bytes(body.clone(), Content::Text).unwrap_err();
            assert_eq!(error.code, codes::VALIDATION_FAILED, "{body}");
        }
        let large = json!({ "content": "x".repeat(MAX_FILE + 1) });
        assert_eq!(bytes(large, Content::Text).unwrap_err().code, codes::FILE_TOO_LARGE);
    }

    #[test]
    fn only_the_one_client_that_errs_is_humoured() {
        for (agent, base64) in [
            ("miosa-python/2.10.0", true),
            ("miosa-python/2.10", true),
            ("miosa-python/2.19.2", false),
            ("miosa-python/2.101.0", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            assert_eq!(text_is_base64(&headers), base64, "{agent}");
        }
    }
}
