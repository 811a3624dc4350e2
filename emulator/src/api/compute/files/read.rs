//! Bytes and text of a file.

use std::io::ErrorKind;

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use http::HeaderMap;
use miosa_agent::protocol::FailureCode;
use serde::{Deserialize, Serialize};

use super::MAX_FILE;
use super::bytes::whole_or_range;
use super::path::{Named, SafePath};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::defects::defect;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Params, Route, Scoped, codes};
use crate::machines::{Agent, MachineError};

/// The routes.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.scope("sandboxes:read");
    vec![
        read(Route::get("/sandboxes/{id}/fs/download", download)),
        read(Route::get("/sandboxes/{id}/files/download", download)),
        read(Route::get("/sandboxes/{id}/fs/read", text)),
        read(Route::get("/sandboxes/{id}/files/read", text)),
        read(Route::get("/sandboxes/{id}/files/{*path}", by_path)),
    ]
}

#[derive(Debug, Deserialize)]
struct Which {
    #[serde(default)]
    path: Named,
}

async fn download(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Params(which): Params<Which>,
) -> ApiResult<Response> {
    let path = which.path.required()?;
    let agent = awake(&app, &sandbox).await?;
    let (entry, stream) = agent.read(path.as_str()).await?;
    Ok(whole_or_range(&headers, &entry, stream, hold(&app, &sandbox)))
}

/// The path comes without its first slash. One that was relative to begin with looks the same, so it is tried below
/// the workspace when there is nothing at the root.
async fn by_path(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let named = values.at(1);
    let path = SafePath::parse(&format!("/{named}"))?;
    let agent = awake(&app, &sandbox).await?;
    let (entry, stream) = match agent.read(path.as_str()).await {
        Err(error) if is_missing(&error) && !named.starts_with('/') => {
            let below = SafePath::parse(named)?;
            agent.read(below.as_str()).await.map_err(|_| error)?
        }
        opened => opened?,
    };
    Ok(whole_or_range(&headers, &entry, stream, hold(&app, &sandbox)))
}

fn is_missing(error: &MachineError) -> bool {
    matches!(error, MachineError::Agent(failure) if failure.code == FailureCode::NotFound)
}

/// The text; what is not UTF-8 is replaced, and then given whole in base64 beside.
async fn text(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    defect!(KernelFilesOpen => if which.path.text().contains("..") && which.path.required().is_err() {
        let agent = awake(&app, &sandbox).await?;
        let content = crate::defects::files::read_unchecked(&agent, which.path.text()).await?;
        let path = which.path.text();
        let size_bytes = content.len();
        return Answer::ok(&Text { path, content: content.into(), content_base64: None, size_bytes });
    });
    let path = which.path.required()?;
    let agent = awake(&app, &sandbox).await?;
    let content = whole(&agent, &path).await?;
    let base64 = std::str::from_utf8(&content).is_err().then(|| STANDARD.encode(&content));
    Answer::ok(&Text {
        path: path.as_str(),
        content: String::from_utf8_lossy(&content),
        content_base64: base64,
        size_bytes: content.len(),
    })
}

#[derive(Debug, Serialize)]
struct Text<'t> {
    path: &'t str,
    content: std::borrow::Cow<'t, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_base64: Option<String>,
    size_bytes: usize,
}

/// How often a file is read that shrinks under it.
const TRIES: u32 = 5;

/// All of a file as it was at one moment. One that shrinks while it is read breaks off, and is read anew.
async fn whole(agent: &Agent, path: &SafePath) -> ApiResult<Vec<u8>> {
    for _ in 0..TRIES {
        if let Some(content) = attempt(agent, path).await? {
            return Ok(content);
        }
    }
    Err(ApiError::new(codes::CONFLICT, format!("{path} changes faster than it can be read.")))
}

/// The file, unless it shrank. An agent that has gone is an error.
async fn attempt(agent: &Agent, path: &SafePath) -> ApiResult<Option<Vec<u8>>> {
    let too_large = || {
        ApiError::new(
            codes::FILE_TOO_LARGE,
            format!("{path} has more than {MAX_FILE} bytes; read it with fs/download."),
        )
    };
    let (entry, mut stream) = agent.read(path.as_str()).await?;
    if entry.size > MAX_FILE as u64 {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(entry.size as usize);
    loop {
        match stream.try_next().await {
            Ok(Some(bytes)) if content.len() + bytes.len() > MAX_FILE => return Err(too_large()),
            Ok(Some(bytes)) => content.extend_from_slice(&bytes),
            Ok(None) => return Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => {
                let why = format!("a file broke off: {error}");
                return Err(MachineError::AgentUnreachable(why).into());
            }
        }
    }
}
