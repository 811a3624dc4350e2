//! The bytes of a file, in and out, in pieces.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File as StdFile;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::protocol::Entry;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::answer::{Outcome, invalid, json, streamed};
use crate::files::entry;
use crate::machine::Machine;
use crate::paths::{Place, fresh_name, kind, stat_in};
use crate::routes::blocking;

/// How much is read from disk at a time.
const PIECE: usize = 128 * 1024;

#[derive(Deserialize)]
pub struct Which {
    path: String,
    #[serde(default)]
    mode: Option<u32>,
}

pub async fn read(machine: Arc<Machine>, which: Which) -> Outcome {
    let (file, entry) = blocking(move || {
        let place = machine.workspace.place(&which.path)?;
        let file = place.read(&place.open()?)?;
        let stat = fstat(&file).map_err(|errno| place.failure(errno))?;
        Ok((file, entry::from_stat(&place.shown, &stat, None)))
    })
    .await?;
    let size = entry.size;
    let mut answer = streamed(pieces(file, size));
    let headers = answer.headers_mut();
    headers.insert("x-entry", HeaderValue::try_from(ascii_json(&entry)).map_err(invalid)?);
    Ok(answer)
}

/// The first `size` bytes of a file; one that has shrunk meanwhile ends early, and whoever reads counts. (An error here
/// would reset the stream, which looks like an agent that has gone.)
fn pieces(file: StdFile, size: u64) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((tokio::fs::File::from_std(file), size), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
        let read = (&mut file).take(left.min(PIECE as u64)).read_buf(&mut piece).await?;
        if read == 0 {
            return Ok(None);
        }
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    })
}

/// JSON that may stand in a header.
fn ascii_json(entry: &Entry) -> String {
    let mut ascii = String::new();
    for unit in serde_json::to_string(entry).unwrap_or_default().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 0x20..0x7f) => ascii.push(byte as char),
            // Writing to a string cannot fail.
            _ => drop(write!(ascii, "\\u{unit:04x}")),
        }
    }
    ascii
}

/// A file that is not there yet; it goes away unless it is put in place.
struct Upload {
    directory: OwnedFd,
    temporary: OsString,
    place: Place,
    placed: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.placed {
            let _ =
                unlinkat(&self.directory, self.temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl Upload {
    fn begin(
        place: Place,
        mode: Option<u32>,
    ) -> Result<(Self, StdFile), miosa_agent::protocol::Failure> {
        let place = place.target()?;
        let name = place.name()?;
        let directory = place.make_parent()?;
        let before = match stat_in(&directory, name) {
            Ok(stat) if kind(&stat) == SFlag::S_IFDIR => return Err(place.failure(Errno::EISDIR)),
            Ok(stat) if kind(&stat) != SFlag::S_IFREG => return Err(place.forbidden()),
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(place.failure(errno)),
        };
        let temporary = fresh_name(before.is_some());
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let fd = openat(&directory, temporary.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| place.failure(errno))?;
        let upload = Self { directory, temporary, place, placed: false };
        if let Some(before) = &before {
            // As far as the agent may: an ordinary user owns what it writes.
            let (uid, gid) = (Uid::from_raw(before.st_uid), Gid::from_raw(before.st_gid));
            let _ = fchown(&fd, Some(uid), Some(gid));
        }
        let mode = mode.or(before.map(|stat| stat.st_mode)).unwrap_or(0o644) & 0o7777;
        fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(|errno| upload.place.failure(errno))?;
        Ok((upload, StdFile::from(fd)))
    }

    fn finish(mut self, shown: Place) -> Result<Entry, miosa_agent::protocol::Failure> {
        let name = self.place.name()?;
        renameat(&self.directory, self.temporary.as_os_str(), &self.directory, name)
            .map_err(|errno| self.place.failure(errno))?;
        let stat = stat_in(&self.directory, name).map_err(|errno| self.place.failure(errno))?;
        self.placed = true;
        Ok(entry::from_stat(&shown.shown, &stat, None))
    }
}

pub async fn write(machine: Arc<Machine>, which: Which, mut body: Incoming) -> Outcome {
    let place = machine.workspace.place(&which.path)?;
    let shown = place.clone();
    let (upload, file) = blocking(move || Upload::begin(place, which.mode)).await?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(invalid)?.into_data() else { continue };
        file.write_all(&bytes).await.map_err(|error| shown.io(&error))?;
    }
    file.flush().await.map_err(|error| shown.io(&error))?;
    drop(file);
    json(&blocking(move || upload.finish(shown)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miosa_agent::protocol::EntryKind;

    #[test]
    fn an_entry_in_a_header_is_ascii_and_reads_back() {
        let entry = Entry {
            name: "ä\u{7f}\n😀".to_owned(),
            path: "/workspace/ä".to_owned(),
            size: 1,
            kind: EntryKind::File,
            mode: 0o644,
            modified_at_ms: 0,
            symlink_target: None,
        };
        let ascii = ascii_json(&entry);
        assert!(ascii.bytes().all(|b| (0x20..0x7f).contains(&b)));
        assert_eq!(serde_json::from_str::<Entry>(&ascii).unwrap(), entry);
    }
}
