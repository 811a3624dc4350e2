//! Archives in: looked through whole, then unpacked by the agent.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use axum::extract::State;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use miosa_agent::codec;
use miosa_agent::protocol::frame;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::super::path::Named;
use super::super::write::done;
use super::format::Format;
use super::limits::Budget;
use super::rules::{Found, Rules};
use super::{invalid, read_tar, read_zip};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped, Spooled, codes};

/// How many frames are read ahead of the agent.
const AHEAD: usize = 8;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub struct Query {
    #[serde(default)]
    path: Named,
    format: Option<String>,
}

/// Unpacks the body below a directory, which is made.
pub async fn upload(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
    headers: HeaderMap,
    archive: Spooled,
) -> ApiResult<Answer> {
    let path = query.path.or_workspace()?;
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if said.starts_with("multipart/") {
        return Err(ApiError::new(codes::BAD_REQUEST, "Send the archive itself as the body."));
    }
    let named = query.format.as_deref().filter(|name| !name.is_empty());
    let format = named.map(Format::named).transpose()?.or(Format::of_content_type(said));
    let looked = archive.clone();
    let format = blocking(move || {
        let format = match format {
            Some(format) => format,
            None => look(looked.file())?,
        };
        let mut rules = Rules::default();
        each(&looked, format, &mut |found, _| rules.admit(found).map(drop))?;
        Ok(format)
    })
    .await?;
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let (frames, taken) = mpsc::channel(AHEAD);
    let sending = blocking(move || send(&archive, format, &frames));
    // Whatever the agent has answered, nobody sends to it any more.
    let answered = CancellationToken::new();
    let taken = ReceiverStream::new(taken).map(Ok::<_, io::Error>);
    let taken = taken.take_until(answered.clone().cancelled_owned());
    let unpacking = async {
        let unpacked = agent.unpack(path.as_str(), taken).await;
        answered.cancel();
        unpacked
    };
    let (unpacked, sent) = tokio::join!(unpacking, sending);
    let unpacked = unpacked?;
    sent?;
    Ok(done(
        StatusCode::CREATED,
        json!({
            "path": path.as_str(), "format": format.extension(), "files": unpacked.files,
            "directories": unpacked.directories, "links": unpacked.links,
            "size_bytes": unpacked.bytes,
        }),
    ))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(format!("an archive was not read: {error}")))?
}

fn look(mut file: &File) -> ApiResult<Format> {
    const ENOUGH: u64 = 512;
    let mut head = Vec::new();
    file.rewind().and_then(|()| file.take(ENOUGH).read_to_end(&mut head)).map_err(invalid)?;
    Format::of_bytes(&head).ok_or_else(|| invalid("it is neither tar, tar.gz nor zip"))
}

fn each(archive: &Spooled, format: Format, visit: read_tar::Visit<'_>) -> ApiResult<()> {
    let budget = Budget::of(archive.bytes);
    match format {
        Format::Tar => read_tar::each(archive.file(), false, &budget, visit),
        Format::TarGz => read_tar::each(archive.file(), true, &budget, visit),
        Format::Zip => read_zip::each(archive.file(), &budget, visit),
    }
}

/// Gives the entries to the agent. One that does not take them any more says itself why.
fn send(archive: &Spooled, format: Format, frames: &mpsc::Sender<Bytes>) -> ApiResult<()> {
    let mut rules = Rules::default();
    let gone = |_| ApiError::internal("the agent takes no more of an archive");
    each(archive, format, &mut |found: Found, content: &mut dyn Read| {
        let Some(entry) = rules.admit(found)? else { return Ok(()) };
        frames.blocking_send(entry.encode()).map_err(gone)?;
        let mut piece = vec![0; frame::MAX_PAYLOAD];
        let mut left = entry.about.size;
        while left > 0 {
            let read = content.read(&mut piece).map_err(invalid)?;
            if read == 0 {
                return Err(invalid("it is cut off"));
            }
            left = left.saturating_sub(read as u64);
            let bytes = piece.get(..read).unwrap_or_default();
            frames.blocking_send(codec::encode(frame::DATA, bytes)).map_err(gone)?;
        }
        Ok(())
    })?;
    frames.blocking_send(codec::encode(frame::END, &[])).map_err(gone)
}
