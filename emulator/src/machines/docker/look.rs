//! Looking into a snapshot: a container that is never started, and what the engine packs of its files.
//!
//! The engine resolves paths within the container itself, links included. It has no list of one directory: that is read off
//! the archive of everything below, whose bytes are passed over.

use std::io::{self, Read};
use std::path::{Component, Path};

use bollard::Docker;
use bollard::container::PathStatResponse;
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder,
};
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use miosa_agent::protocol::{Entry, EntryKind, Failure, FailureCode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::engine::{ASK, bounded};
use super::machine::Engine;
use super::probe;
use crate::machines::MachineError;
use crate::machines::sealed::archive::Unpacker;
use crate::machines::sealed::{Opened, parts};

/// Pieces of an archive that wait for a slow reader.
const AHEAD: usize = 4;
/// As many links as the kernel follows.
const LINKS: u32 = 40;

/// Go's `FileMode` (Docker Engine API, `X-Docker-Container-Path-Stat`).
mod go_mode {
    pub const DIR: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    /// Devices, pipes, sockets, and what is irregular in another way.
    pub const SPECIAL: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const STICKY: u32 = 1 << 20;
}

/// See [`MachineHost::list_sealed`](crate::machines::MachineHost::list_sealed).
pub async fn list(
    engine: &Engine,
    tasks: &TaskTracker,
    snapshot: Uuid,
    path: &str,
) -> Result<Vec<Entry>, MachineError> {
    let looked = look(engine, snapshot, path).await?;
    if looked.entry.kind != EntryKind::Dir {
        looked.close(engine).await?;
        let text = format!("{path} is no directory");
        return Err(MachineError::Agent(Failure::new(FailureCode::NotDirectory, text)));
    }
    let depth = usize::from(looked.real != "/");
    let parent = looked.entry.path.clone();
    let pieces = looked.archive(engine.docker.clone(), tasks);
    let reading = tokio::task::spawn_blocking(move || {
        entries(Pieces { pieces, rest: Bytes::new() }, depth, &parent)
    });
    let entries = reading.await.map_err(|error| MachineError::Host(error.to_string()))?;
    entries.map_err(|error| MachineError::Host(format!("reading an archive: {error}")))
}

/// See [`MachineHost::open_sealed`](crate::machines::MachineHost::open_sealed).
pub async fn open(
    engine: &Engine,
    tasks: &TaskTracker,
    snapshot: Uuid,
    path: &str,
) -> Result<Opened, MachineError> {
    let looked = look(engine, snapshot, path).await?;
    let entry = looked.entry.clone();
    if !matches!(entry.kind, EntryKind::Dir | EntryKind::File) {
        looked.close(engine).await?;
        let text = format!("{path} is not a file that can be read");
        return Err(MachineError::Agent(Failure::new(FailureCode::ForbiddenPath, text)));
    }
    let archive = ReceiverStream::new(looked.archive(engine.docker.clone(), tasks));
    if entry.kind == EntryKind::Dir {
        return Ok(Opened { entry, bytes: Box::pin(archive) });
    }
    let bytes =
        futures_util::stream::unfold(Some((archive, Unpacker::default())), |state| async move {
            let (mut archive, mut unpacker) = state?;
            if unpacker.done() {
                return None;
            }
            let broken = |why: String| Some((Err(MachineError::Host(why)), None));
            match archive.next().await {
                None => broken("the engine's archive broke off".to_owned()),
                Some(Err(error)) => Some((Err(error), None)),
                Some(Ok(piece)) => match unpacker.feed(&piece) {
                    Ok(bytes) => Some((Ok(bytes), Some((archive, unpacker)))),
                    Err(why) => broken(format!("reading an archive: {why}")),
                },
            }
        });
    Ok(Opened { entry, bytes: Box::pin(bytes) })
}

/// A container that is looked into.
struct Looked {
    container: String,
    /// The path behind the links.
    real: String,
    entry: Entry,
}

async fn look(engine: &Engine, snapshot: Uuid, path: &str) -> Result<Looked, MachineError> {
    let asked = format!("/{}", parts(path).map_err(MachineError::Agent)?.join("/"));
    let image = engine.snapshots.image(snapshot).await?;
    let container = probe::container(&engine.docker, &engine.owner, &image).await?;
    match stat(&engine.docker, &container, &asked).await {
        Ok((real, found)) => Ok(Looked { container, real, entry: entry(&asked, &found) }),
        Err(error) => {
            probe::remove(&engine.docker, &container).await?;
            Err(error)
        }
    }
}

/// What a path leads to, and where that is.
async fn stat(
    docker: &Docker,
    container: &str,
    asked: &str,
) -> Result<(String, PathStatResponse), MachineError> {
    let mut real = asked.to_owned();
    for _ in 0..LINKS {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(&real).build();
        let looked = docker.get_container_archive_info(container, Some(options));
        match bounded("looking into a snapshot", ASK, looked).await {
            Ok(found) if found.file_mode & go_mode::SYMLINK != 0 => {
                real.clone_from(&found.link_target);
            }
            Ok(found) => return Ok((real, found)),
            Err(failed) if failed.is_missing() => {
                let text = format!("{asked} is not in this snapshot");
                return Err(MachineError::Agent(Failure::new(FailureCode::NotFound, text)));
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    let text = format!("{asked} leads through too many links");
    Err(MachineError::Agent(Failure::new(FailureCode::InvalidPath, text)))
}

fn entry(path: &str, found: &PathStatResponse) -> Entry {
    let go = found.file_mode;
    let kind = match go {
        _ if go & go_mode::DIR != 0 => EntryKind::Dir,
        _ if go & go_mode::SYMLINK != 0 => EntryKind::Symlink,
        _ if go & go_mode::SPECIAL != 0 => EntryKind::Other,
        _ => EntryKind::File,
    };
    let bit = |of: u32, is: u32| if go & of == 0 { 0 } else { is };
    let special =
        bit(go_mode::SETUID, 0o4000) | bit(go_mode::SETGID, 0o2000) | bit(go_mode::STICKY, 0o1000);
    let time = found.modification_time.as_deref();
    let time = time.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    Entry {
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        path: path.to_owned(),
        size: if kind == EntryKind::File { u64::try_from(found.size).unwrap_or(0) } else { 0 },
        kind,
        mode: go & 0o777 | special,
        modified_at_ms: time.map_or(0, |time| time.timestamp_millis()),
        symlink_target: None,
    }
}

impl Looked {
    async fn close(self, engine: &Engine) -> Result<(), MachineError> {
        probe::remove(&engine.docker, &self.container).await
    }

    /// What lies at the path, packed by the engine. The container goes when all is read, or nobody reads any more.
    fn archive(
        self,
        docker: Docker,
        tasks: &TaskTracker,
    ) -> mpsc::Receiver<Result<Bytes, MachineError>> {
        let (pieces, read) = mpsc::channel(AHEAD);
        tasks.spawn(async move {
            let options = DownloadFromContainerOptionsBuilder::default().path(&self.real).build();
            let archive = docker.download_from_container(&self.container, Some(options));
            let mut archive = std::pin::pin!(archive);
            loop {
                let piece = tokio::select! {
                    piece = archive.next() => piece,
                    () = pieces.closed() => break,
                };
                let Some(piece) = piece else { break };
                let piece = piece.map_err(|error| MachineError::Host(error.to_string()));
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            if let Err(error) = probe::remove(&docker, &self.container).await {
                tracing::warn!(%error, "a container that was looked into stays until the next start");
            }
        });
        read
    }
}

/// Pieces that come from elsewhere, read where waiting blocks nobody.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, MachineError>>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        self.rest.split_to(length).copy_to_slice(buffer.split_at_mut(length).0);
        Ok(length)
    }
}

/// The members of an archive that lie right below its directory, by name. Blocks.
fn entries(archive: impl Read, depth: usize, parent: &str) -> io::Result<Vec<Entry>> {
    let mut archive = tar::Archive::new(archive);
    let mut found = Vec::new();
    for member in archive.entries()? {
        let member = member?;
        let path = member.path()?;
        let Some(name) = name_at(&path, depth) else { continue };
        let header = member.header();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => EntryKind::Dir,
            tar::EntryType::Symlink => EntryKind::Symlink,
            tar::EntryType::Regular | tar::EntryType::Link | tar::EntryType::Continuous => {
                EntryKind::File
            }
            _ => EntryKind::Other,
        };
        let target = match kind {
            EntryKind::Symlink => member.link_name()?.map(|to| to.to_string_lossy().into_owned()),
            _ => None,
        };
        found.push(Entry {
            path: format!("{}/{name}", parent.trim_end_matches('/')),
            name,
            size: member.size(),
            kind,
            mode: header.mode()? & 0o7777,
            modified_at_ms: i64::try_from(header.mtime()?).unwrap_or(0).saturating_mul(1000),
            symlink_target: target,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The name of a member with `depth` names above it.
fn name_at(path: &Path, depth: usize) -> Option<String> {
    let mut names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let name = names.nth(depth)?.to_string_lossy().into_owned();
    names.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_right_below_is_an_entry() {
        let name = |path: &str, depth| name_at(Path::new(path), depth);
        assert_eq!(name("workspace/a", 1).as_deref(), Some("a"));
        assert_eq!(name("workspace/a/b", 1), None);
        assert_eq!(name("workspace/", 1), None);
        assert_eq!(name("./bin", 0).as_deref(), Some("bin"));
        assert_eq!(name("/", 0), None);
    }

    #[test]
    fn a_go_mode_is_read() {
        let found = |file_mode| PathStatResponse {
            name: "a".to_owned(),
            size: 3,
            file_mode,
            modification_time: Some("2026-05-17T10:00:00Z".to_owned()),
            link_target: String::new(),
        };
        let dir = entry("/tmp", &found(1 << 31 | 1 << 20 | 0o777));
        assert_eq!((dir.kind, dir.mode, dir.size), (EntryKind::Dir, 0o1777, 0));
        let file = entry("/a/b", &found(0o640));
        assert_eq!((file.kind, file.mode, file.size), (EntryKind::File, 0o640, 3));
        assert_eq!((file.name.as_str(), file.modified_at_ms), ("b", 1_779_012_000_000));
        assert_eq!(entry("/dev/null", &found(1 << 26 | 1 << 21)).kind, EntryKind::Other);
    }
}
