//! Looking into a snapshot without making a machine of it.
//!
//! What a host reads, it writes as one line of JSON (a [`Head`]) and, for a file or an archive, the bytes behind it:
//! the same in this process and from a helper that may read what we may not.

pub mod archive;
pub mod union;

use std::io::{self, Write};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use miosa_agent::protocol::{Entry, EntryKind, Failure, FailureCode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use super::MachineError;
pub use union::Union;

/// Bytes as they come; an error says that the rest is missing.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, MachineError>> + Send>>;

/// The longest [`Head`]: a folder of some ten thousand entries.
const LONGEST_HEAD: u64 = 64 * 1024 * 1024;
/// How many bytes are passed on at once.
const PIECE: usize = 64 * 1024;

/// A file of a snapshot, or a folder as a tar archive.
pub struct Opened {
    /// What it is.
    pub entry: Entry,
    /// Its bytes.
    pub bytes: ByteStream,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// What a folder holds, without what lies deeper.
    Entries(String),
    /// A file, or a folder as an archive.
    Content(String),
}

/// What is said before any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A folder's entries, by name.
    Entries(Vec<Entry>),
    /// What the bytes are.
    Content(Entry),
    /// Neither.
    Failed(Failure),
}

/// Reads what is wanted of a tree and writes it. Blocks.
pub fn serve(union: &Union, wanted: &Wanted, mut out: impl Write) -> io::Result<()> {
    match wanted {
        Wanted::Entries(path) => match union.entries(path) {
            Ok(entries) => say(&mut out, &Head::Entries(entries)),
            Err(failure) => say(&mut out, &Head::Failed(failure)),
        },
        Wanted::Content(path) => match union.open(path) {
            Ok(opened) => {
                say(&mut out, &Head::Content(opened.entry(path)))?;
                opened.write_to(union, &mut out)?;
                out.flush()
            }
            Err(failure) => say(&mut out, &Head::Failed(failure)),
        },
    }
}

fn say(out: &mut impl Write, head: &Head) -> io::Result<()> {
    serde_json::to_writer(&mut *out, head)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The other end of [`serve`]: the head, and where the bytes come from.
pub async fn receive<R: AsyncBufRead + Send + Unpin>(
    mut from: R,
) -> Result<(Head, R), MachineError> {
    let mut line = Vec::new();
    let read = (&mut from).take(LONGEST_HEAD).read_until(b'\n', &mut line).await;
    read.map_err(|error| MachineError::Host(format!("looking into a snapshot: {error}")))?;
    if line.last() != Some(&b'\n') {
        return Err(MachineError::Host("looking into a snapshot broke off".to_owned()));
    }
    let head = serde_json::from_slice(&line)
        .map_err(|error| MachineError::Host(format!("looking into a snapshot: {error}")))?;
    Ok((head, from))
}

/// The entries that a head lists.
pub fn entries(head: Head) -> Result<Vec<Entry>, MachineError> {
    match head {
        Head::Entries(entries) => Ok(entries),
        Head::Failed(failure) => Err(MachineError::Agent(failure)),
        Head::Content(_) => Err(MachineError::Host("a folder was asked for".to_owned())),
    }
}

/// What a head tells of the bytes that follow.
pub fn content(head: Head) -> Result<Entry, MachineError> {
    match head {
        Head::Content(entry) => Ok(entry),
        Head::Failed(failure) => Err(MachineError::Agent(failure)),
        Head::Entries(_) => Err(MachineError::Host("a file was asked for".to_owned())),
    }
}

/// The rest of a reader as a stream.
pub fn stream_of(
    from: impl AsyncBufRead + Send + 'static,
) -> impl Stream<Item = Result<Bytes, MachineError>> + Send {
    ReaderStream::with_capacity(from, PIECE).map(|piece| {
        piece.map_err(|error| MachineError::Host(format!("looking into a snapshot: {error}")))
    })
}

/// The parts of a path from the root; a leading slash is optional. `..` is refused: nothing lies above the root.
pub fn parts(path: &str) -> Result<Vec<&str>, Failure> {
    let invalid = |why: &str| Failure::new(FailureCode::InvalidPath, format!("{path:?} {why}"));
    if path.contains('\0') {
        return Err(invalid("has a NUL byte"));
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(invalid("must not have `..` in it"));
    }
    Ok(parts)
}

/// The root of a tree as an entry.
pub fn root_entry() -> Entry {
    Entry {
        name: String::new(),
        path: "/".to_owned(),
        size: 0,
        kind: EntryKind::Dir,
        mode: 0o755,
        modified_at_ms: 0,
        symlink_target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_parts_and_never_climbs() {
        assert_eq!(parts("/workspace//a/./b/").unwrap(), ["workspace", "a", "b"]);
        assert_eq!(parts("/").unwrap(), Vec::<&str>::new());
        for bad in ["/a/../b", "..", "/a\0b"] {
            assert_eq!(parts(bad).unwrap_err().code, FailureCode::InvalidPath, "{bad:?}");
        }
    }
}
