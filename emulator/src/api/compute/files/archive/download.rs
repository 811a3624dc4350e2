//! Archives out: packed by the agent, written while they pass.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use miosa_agent::packed::{About, Packed, PackedKind};
use serde::Deserialize;

use super::super::bytes::disposition;
use super::super::path::{Named, SafePath};
use super::format::Format;
use super::write::Writer;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{ActivityGuard, awake, hold};
use crate::app::App;
use crate::defects::defect;
use crate::http::{ApiResult, Params, Scoped};
use crate::machines::agent::{PackedStream, Piece};
use crate::machines::{Agent, MachineError};

/// What is asked for.
#[derive(Debug, Deserialize)]
pub struct Query {
    #[serde(default)]
    path: Named,
    format: Option<String>,
}

/// What a directory holds, or one file.
pub async fn download(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    let path = query.path.or_workspace()?;
    let format = query.format.as_deref().filter(|name| !name.is_empty()).map(Format::named);
    let format = format.transpose()?.unwrap_or(Format::TarGz);
    let agent = awake(&app, &sandbox).await?;
    let name = if path.name().is_empty() { "root" } else { path.name() };
    let filename = format!("{name}.{}", format.extension());
    let roots = vec![Root { path, below: String::new(), directory: true }];
    answer(&agent, roots, format, &filename, hold(&app, &sandbox)).await
}

/// A path that is packed, and the directory of the archive that it (of a directory: what it holds) stands in.
pub struct Root {
    /// The path.
    pub path: SafePath,
    /// The directory, without slashes around it; empty for the archive's root.
    pub below: String,
    /// Whether it is a directory, which is then named as well.
    pub directory: bool,
}

/// The archive of these paths.
///
/// # Errors
/// Of the first path; one that turns up later breaks the archive off.
pub async fn answer(
    agent: &Agent,
    roots: Vec<Root>,
    format: Format,
    filename: &str,
    active: ActivityGuard,
) -> ApiResult<Response> {
    let mut roots = roots.into_iter();
    let mut writer = Writer::new(format);
    let first = match roots.next() {
        Some(root) => Some(begin(agent, &mut writer, root).await?),
        None => None,
    };
    let packing = Packing {
        agent: agent.clone(),
        roots,
        current: first,
        writer: Some(writer),
        left_out: false,
        _active: active,
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    disposition(&mut headers, filename);
    let mut response = Response::new(Body::from_stream(pieces(packing)));
    *response.headers_mut() = headers;
    Ok(response)
}

struct Packing {
    agent: Agent,
    roots: std::vec::IntoIter<Root>,
    current: Option<(PackedStream, String)>,
    /// Gone once the archive has its end.
    writer: Option<Writer>,
    /// Whether the bytes that come belong to an entry that is left out.
    left_out: bool,
    _active: ActivityGuard,
}

fn pieces(packing: Packing) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::try_unfold(packing, |mut packing| async move {
        Ok(packing.next().await?.map(|bytes| (bytes, packing)))
    })
}

impl Packing {
    /// The next bytes of the archive.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(writer) = &mut self.writer else { return Ok(None) };
            let Some((stream, below)) = &mut self.current else {
                let Some(root) = self.roots.next() else {
                    return self.writer.take().map(Writer::finish).transpose();
                };
                let begun = begin(&self.agent, writer, root).await.map_err(broken)?;
                self.current = Some(begun);
                continue;
            };
            match stream.next().await.map_err(broken)? {
                None => self.current = None,
                Some(Piece::Entry(entry)) if defect!(ArchiveWithoutDotfiles) && hidden(&entry) => {
                    self.left_out = true;
                    continue;
                }
                Some(Piece::Bytes(_)) if self.left_out => continue,
                Some(Piece::Entry(mut entry)) => {
                    self.left_out = false;
                    if !below.is_empty() {
                        let name = std::mem::take(&mut entry.name);
                        entry.name = [below.as_bytes(), &name].join(&b'/');
                    }
                    writer.entry(&entry)?;
                }
                Some(Piece::Bytes(bytes)) => writer.bytes(&bytes)?,
            }
            let bytes = writer.take();
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// Whether its name begins with a dot.
fn hidden(entry: &Packed) -> bool {
    let name = entry.name.strip_suffix(b"/").unwrap_or(&entry.name);
    name.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"."))
}

/// Begins to pack a path, in its directory.
async fn begin(
    agent: &Agent,
    writer: &mut Writer,
    Root { path, below, directory }: Root,
) -> Result<(PackedStream, String), MachineError> {
    let stream = agent.pack(path.as_str()).await?;
    if directory && !below.is_empty() {
        let about = About { kind: PackedKind::Dir, mode: 0o755, size: 0, modified_at_ms: 0 };
        let directory = Packed { about, name: below.as_bytes().into(), target: Vec::new() };
        writer.entry(&directory).map_err(|error| MachineError::Host(error.to_string()))?;
    }
    Ok((stream, below))
}

fn broken(error: MachineError) -> io::Error {
    tracing::warn!("an archive broke off: {error}");
    io::Error::other(error)
}
