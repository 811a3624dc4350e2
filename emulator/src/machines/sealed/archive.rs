//! Trees as tar archives, and back: a directory packed as it is read, a file taken out of an archive that an engine sends.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes, BytesMut};
use tar::{EntryType, Header, HeaderMode};

use super::union::{Dir, Node, Union, joined, open_file};

/// The unit of an archive.
const BLOCK: u64 = 512;

/// Writes a directory and everything below it; the members are named from the directory's own name on.
pub fn pack(union: &Union, name: &OsStr, dir: Dir, out: &mut impl Write) -> io::Result<()> {
    let mut packer = Packer { union, archive: tar::Builder::new(out), linked: HashMap::new() };
    let at_root = name.is_empty();
    // Members of the root itself begin with `./`, so that each has a name.
    let prefix = if at_root { PathBuf::from(".") } else { PathBuf::from(name) };
    packer.dir(&prefix, &dir)?;
    let mut waiting = vec![(prefix, dir, at_root)];
    while let Some((prefix, dir, at_root)) = waiting.pop() {
        for (name, node) in union.children(&dir, at_root)? {
            let path = joined(&prefix, &name);
            match node {
                Node::Dir(below) => {
                    packer.dir(&path, &below)?;
                    waiting.push((path, below, false));
                }
                Node::Other(place, meta, readable) => {
                    packer.other(&path, &place, &meta, readable)?;
                }
            }
        }
    }
    packer.archive.into_inner().map(drop)
}

struct Packer<'u, W: Write> {
    union: &'u Union,
    archive: tar::Builder<W>,
    /// The first name of a file that has several.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<'_, W> {
    fn header(&self, meta: &Metadata) -> Header {
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(meta, HeaderMode::Complete);
        let inside = |id: u32| u64::from(id.checked_sub(self.union.first_id).unwrap_or(id));
        header.set_uid(inside(meta.uid()));
        header.set_gid(inside(meta.gid()));
        header
    }

    fn dir(&mut self, path: &Path, dir: &Dir) -> io::Result<()> {
        let mut header = if let Some(meta) = dir.metadata() {
            self.header(meta)
        } else {
            let mut header = Header::new_gnu();
            header.set_mode(0o755);
            header
        };
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        self.archive.append_data(&mut header, path, io::empty())
    }

    fn other(&mut self, path: &Path, at: &Path, meta: &Metadata, readable: bool) -> io::Result<()> {
        let mut header = self.header(meta);
        let kind = meta.file_type();
        if kind.is_symlink() {
            header.set_size(0);
            return self.archive.append_link(&mut header, path, fs::read_link(at)?);
        }
        if kind.is_fifo() {
            header.set_size(0);
            return self.archive.append_data(&mut header, path, io::empty());
        }
        // Sockets and devices mean nothing elsewhere.
        if !kind.is_file() || !readable {
            return Ok(());
        }
        if meta.nlink() > 1 {
            let first = self.linked.entry((meta.dev(), meta.ino())).or_insert_with(|| path.into());
            if first != path {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return self.archive.append_link(&mut header, path, &*first);
            }
        }
        self.archive.append_data(&mut header, path, open_file(at)?.take(meta.len()))
    }
}

/// Takes the bytes of the first file out of an archive, piece by piece.
#[derive(Default)]
pub struct Unpacker {
    pending: BytesMut,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    /// Bytes of a member that only describes the next one.
    Skip(u64),
    File(u64),
    Done,
}

impl Unpacker {
    /// Takes in a piece of the archive; answers what it has of the file.
    ///
    /// # Errors
    /// What is wrong with the archive.
    pub fn feed(&mut self, piece: &Bytes) -> Result<Bytes, String> {
        self.pending.extend_from_slice(piece);
        let mut file = BytesMut::new();
        loop {
            let have = self.pending.len() as u64;
            match &mut self.state {
                State::Header if have >= BLOCK => {
                    let block = self.pending.split_to(BLOCK as usize);
                    let header = Header::from_byte_slice(&block);
                    let size = header.entry_size().map_err(|error| error.to_string())?;
                    self.state = match header.entry_type() {
                        EntryType::Regular | EntryType::Continuous => State::File(size),
                        EntryType::XHeader
                        | EntryType::XGlobalHeader
                        | EntryType::GNULongName
                        | EntryType::GNULongLink => State::Skip(size.next_multiple_of(BLOCK)),
                        other => return Err(format!("a member of kind {other:?}, not a file")),
                    };
                }
                State::Skip(0) => self.state = State::Header,
                State::Skip(left) if have > 0 => {
                    let some = have.min(*left);
                    self.pending.advance(some as usize);
                    *left -= some;
                }
                State::File(0) => self.state = State::Done,
                State::File(left) if have > 0 => {
                    let some = have.min(*left);
                    file.extend_from_slice(&self.pending.split_to(some as usize));
                    *left -= some;
                }
                State::Done => {
                    self.pending.clear();
                    return Ok(file.freeze());
                }
                _ => return Ok(file.freeze()),
            }
        }
    }

    /// Whether the whole file has come.
    pub fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::union::Layer;
    use super::*;

    fn packed(path: &str, text: &[u8]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_file_comes_out_of_an_archive_in_whatever_pieces_it_comes() {
        let long = "d/".repeat(120) + "name";
        for path in ["short", long.as_str()] {
            let text: Vec<u8> = (0..2000u32).map(|n| n as u8).collect();
            let archive = packed(path, &text);
            for size in [1, 7, 512, 5000] {
                let mut unpacker = Unpacker::default();
                let mut out = Vec::new();
                for piece in archive.chunks(size) {
                    out.extend(unpacker.feed(&Bytes::copy_from_slice(piece)).unwrap());
                }
                assert!(unpacker.done());
                assert_eq!(out, text, "{path:.10} in pieces of {size}");
            }
        }
        let mut whole = Unpacker::default();
        whole.feed(&Bytes::copy_from_slice(&packed("f", b"abc")[..600])).unwrap();
        assert!(whole.done(), "three bytes lie in the second block");
    }

    #[test]
    fn a_directory_is_packed_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("tree/sub")).unwrap();
        fs::write(at("tree/sub/file"), "text").unwrap();
        fs::hard_link(at("tree/sub/file"), at("tree/twin")).unwrap();
        std::os::unix::fs::symlink("sub/file", at("tree/link")).unwrap();
        let union = Union { root: vec![Layer::sealed(dir.path().into())], ..Union::default() };
        let mut bytes = Vec::new();
        union.open("/tree").unwrap().write_to(&union, &mut bytes).unwrap();
        let to = tempfile::tempdir().unwrap();
        tar::Archive::new(&*bytes).unpack(to.path()).unwrap();
        let read = |path: &str| fs::read_to_string(to.path().join("tree").join(path)).unwrap();
        assert_eq!(
            (read("sub/file"), read("twin"), read("link")),
            ("text".into(), "text".into(), "text".into())
        );
        let twin = fs::metadata(to.path().join("tree/twin")).unwrap();
        assert_eq!(twin.nlink(), 2);
    }
}
