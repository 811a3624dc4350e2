//! Directories laid over one another as overlayfs lays them: read by name, without mounting anything.
//!
//! Who reads may be root over files that strangers wrote. So nothing is followed that was not looked at first: a path is
//! walked part by part, links are worked out by hand and lead within the tree only, and the layers do not change meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use miosa_agent::protocol::{Entry, EntryKind, Failure, FailureCode};
use nix::libc;

use super::{archive, parts, root_entry};
use crate::machines::namespace::raw;

/// As many links as the kernel follows.
const LINKS: u32 = 40;
/// The mark of a directory that hides what lies below it.
pub const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";

/// A directory that is laid over others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where it is.
    pub dir: PathBuf,
    /// Whether it is the computer's own: then only what every user may read is shown.
    pub public: bool,
}

impl Layer {
    /// One of ours.
    pub fn sealed(dir: PathBuf) -> Self {
        Self { dir, public: false }
    }
}

/// A tree of layers, with other trees at some names below its root.
#[derive(Debug, Clone, Default)]
pub struct Union {
    /// The root's layers, the uppermost first.
    pub root: Vec<Layer>,
    /// What is mounted below the root.
    pub mounts: Vec<(String, Vec<Layer>)>,
    /// What is the id 0 inside, when ids are shifted.
    pub first_id: u32,
}

/// A directory of the tree: its layers, the uppermost first.
#[derive(Debug, Clone)]
pub struct Dir {
    layers: Vec<Layer>,
    meta: Option<Metadata>,
}

/// Something in the tree.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Dir(Dir),
    /// Anything else: where it really is.
    Other(PathBuf, Metadata, bool),
}

/// What a path names, ready to be read.
pub struct Found {
    name: OsString,
    node: Node,
}

impl Union {
    fn top(&self) -> Dir {
        let meta = self.root.first().and_then(|layer| fs::symlink_metadata(&layer.dir).ok());
        Dir { layers: self.root.clone(), meta }
    }

    /// What a directory holds under a name.
    pub fn child(&self, dir: &Dir, at_root: bool, name: &OsStr) -> io::Result<Option<Node>> {
        if at_root && let Some((_, layers)) = self.mounts.iter().find(|(mount, _)| name == &**mount)
        {
            let meta = layers.first().and_then(|layer| fs::symlink_metadata(&layer.dir).ok());
            return Ok(Some(Node::Dir(Dir { layers: layers.clone(), meta })));
        }
        let mut layers: Vec<Layer> = Vec::new();
        let mut uppermost = None;
        for layer in &dir.layers {
            let path = layer.dir.join(name);
            let meta = match fs::symlink_metadata(&path) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if is_whiteout(&meta) {
                break;
            }
            if !meta.is_dir() {
                if layers.is_empty() {
                    let readable = !layer.public || meta.mode() & 0o004 != 0;
                    return Ok(Some(Node::Other(path, meta, readable)));
                }
                break;
            }
            let hides = raw::attribute(&path, OPAQUE)?.is_some_and(|value| value == b"y");
            if !layer.public || meta.mode() & 0o005 == 0o005 {
                layers.push(Layer { dir: path, public: layer.public });
                uppermost.get_or_insert(meta);
            }
            if hides {
                break;
            }
        }
        Ok((!layers.is_empty()).then_some(Node::Dir(Dir { layers, meta: uppermost })))
    }

    /// Everything in a directory, by name.
    pub fn children(&self, dir: &Dir, at_root: bool) -> io::Result<Vec<(OsString, Node)>> {
        let mut names = BTreeSet::new();
        for layer in &dir.layers {
            for entry in fs::read_dir(&layer.dir)? {
                names.insert(entry?.file_name());
            }
        }
        if at_root {
            names.extend(self.mounts.iter().map(|(name, _)| OsString::from(name)));
        }
        let mut found = Vec::new();
        for name in names {
            if let Some(node) = self.child(dir, at_root, &name)? {
                found.push((name, node));
            }
        }
        Ok(found)
    }

    /// What a path names; links are followed.
    fn find(&self, path: &str) -> Result<Found, Failure> {
        let mut todo: VecDeque<OsString> = parts(path)?.into_iter().map(OsString::from).collect();
        let mut trail: Vec<(OsString, Dir)> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                trail.pop();
                continue;
            }
            let top = self.top();
            let here = trail.last().map_or(&top, |(_, dir)| dir);
            let child = self.child(here, trail.is_empty(), &part).map_err(|e| failed(path, &e))?;
            match child {
                None => return Err(missing(path)),
                Some(Node::Dir(dir)) => trail.push((part, dir)),
                Some(Node::Other(place, meta, _)) if meta.is_symlink() => {
                    links += 1;
                    if links > LINKS {
                        let text = format!("{path} leads through too many links");
                        return Err(Failure::new(FailureCode::InvalidPath, text));
                    }
                    let target = fs::read_link(place).map_err(|e| failed(path, &e))?;
                    if target.is_absolute() {
                        trail.clear();
                    }
                    for step in target.components().rev() {
                        match step {
                            std::path::Component::Normal(name) => todo.push_front(name.to_owned()),
                            std::path::Component::ParentDir => todo.push_front("..".into()),
                            _ => {}
                        }
                    }
                }
                Some(node) if todo.is_empty() => return Ok(Found { name: part, node }),
                Some(_) => {
                    let text = format!("{path} passes through what is no directory");
                    return Err(Failure::new(FailureCode::NotDirectory, text));
                }
            }
        }
        Ok(match trail.pop() {
            Some((name, dir)) => Found { name, node: Node::Dir(dir) },
            None => Found { name: OsString::new(), node: Node::Dir(self.top()) },
        })
    }

    /// What a directory holds, by name.
    pub fn entries(&self, path: &str) -> Result<Vec<Entry>, Failure> {
        let found = self.find(path)?;
        let Node::Dir(dir) = &found.node else {
            let text = format!("{path} is no directory");
            return Err(Failure::new(FailureCode::NotDirectory, text));
        };
        let parent = parts(path)?.join("/");
        let children = self.children(dir, found.name.is_empty()).map_err(|e| failed(path, &e))?;
        Ok(children
            .into_iter()
            .map(|(name, node)| {
                let name = name.to_string_lossy().into_owned();
                let path = format!("/{parent}/{name}").replace("//", "/");
                entry(name, path, &node)
            })
            .collect())
    }

    /// A file or directory, ready to be read.
    pub fn open(&self, path: &str) -> Result<Found, Failure> {
        let found = self.find(path)?;
        match &found.node {
            Node::Other(_, meta, readable) if !meta.is_file() || !readable => {
                let text = format!("{path} is not a file that can be read");
                Err(Failure::new(FailureCode::ForbiddenPath, text))
            }
            _ => Ok(found),
        }
    }
}

impl Found {
    /// As clients read it.
    pub fn entry(&self, path: &str) -> Entry {
        let name = self.name.to_string_lossy().into_owned();
        entry(name, format!("/{}", path.trim_matches('/')), &self.node)
    }

    /// Writes the file, or the directory as an archive.
    pub fn write_to(self, union: &Union, out: &mut impl io::Write) -> io::Result<()> {
        match self.node {
            Node::Dir(dir) => archive::pack(union, &self.name, dir, out),
            Node::Other(place, meta, _) => {
                let mut file = io::Read::take(open_file(&place)?, meta.len());
                io::copy(&mut file, out).map(drop)
            }
        }
    }
}

/// Opens a regular file: never a link that took its place, never waiting for a pipe's other end.
pub fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

impl Dir {
    /// Of the uppermost layer; the root of a tree without layers has none.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.meta.as_ref()
    }
}

/// overlayfs' mark of a name that is removed.
pub fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn entry(name: String, path: String, node: &Node) -> Entry {
    let (meta, target, kind) = match node {
        Node::Dir(dir) => (dir.metadata(), None, EntryKind::Dir),
        Node::Other(place, meta, _) if meta.is_symlink() => {
            let target = fs::read_link(place).ok();
            let target = target.map(|target| target.to_string_lossy().into_owned());
            (Some(meta), target, EntryKind::Symlink)
        }
        Node::Other(_, meta, _) if meta.is_file() => (Some(meta), None, EntryKind::File),
        Node::Other(_, meta, _) => (Some(meta), None, EntryKind::Other),
    };
    let Some(meta) = meta else { return Entry { name, path, ..root_entry() } };
    Entry {
        name,
        path,
        size: if kind == EntryKind::Dir { 0 } else { meta.len() },
        kind,
        mode: meta.mode() & 0o7777,
        modified_at_ms: meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000,
        symlink_target: target,
    }
}

fn missing(path: &str) -> Failure {
    Failure::new(FailureCode::NotFound, format!("{path} is not in this snapshot"))
}

fn failed(path: &str, error: &io::Error) -> Failure {
    Failure::new(FailureCode::Io, format!("{path}: {error}"))
}

/// The name of an archive's member that is not UTF-8 stays as it is.
pub fn joined(prefix: &Path, name: &OsStr) -> PathBuf {
    if name.as_bytes().is_empty() { prefix.to_owned() } else { prefix.join(name) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn two() -> (tempfile::TempDir, Union) {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["low/etc", "low/data/deep", "top/data", "usr/bin"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("low/etc/a"), "low").unwrap();
        fs::write(at("low/data/deep/f"), "deep").unwrap();
        fs::write(at("low/data/over"), "low").unwrap();
        fs::write(at("top/data/over"), "top!").unwrap();
        fs::write(at("usr/bin/tool"), "tool").unwrap();
        symlink("usr/bin", at("low/bin")).unwrap();
        symlink("/data/over", at("top/link")).unwrap();
        symlink("../../../../etc/passwd", at("top/out")).unwrap();
        symlink("loop", at("top/loop")).unwrap();
        let layer = |path: &str| Layer::sealed(at(path));
        let union = Union {
            root: vec![layer("top"), layer("low")],
            mounts: vec![("usr".to_owned(), vec![layer("usr")])],
            first_id: 0,
        };
        (dir, union)
    }

    fn text(union: &Union, path: &str) -> Result<String, FailureCode> {
        let mut bytes = Vec::new();
        let found = union.open(path).map_err(|failure| failure.code)?;
        found.write_to(union, &mut bytes).unwrap();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn the_upper_layer_wins_and_directories_are_one() {
        let (_dir, union) = two();
        assert_eq!(text(&union, "/data/over").unwrap(), "top!");
        assert_eq!(text(&union, "data/deep/f").unwrap(), "deep");
        let names: Vec<_> =
            union.entries("/data").unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(names, ["/data/deep", "/data/over"]);
        let top: Vec<_> = union.entries("/").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(top, ["bin", "data", "etc", "link", "loop", "out", "usr"]);
        assert_eq!(union.entries("/nothing").unwrap_err().code, FailureCode::NotFound);
        assert_eq!(union.entries("/data/over").unwrap_err().code, FailureCode::NotDirectory);
    }

    #[test]
    fn links_lead_within_the_tree_only() {
        let (_dir, union) = two();
        assert_eq!(text(&union, "/link").unwrap(), "top!");
        assert_eq!(text(&union, "/bin/tool").unwrap(), "tool");
        assert_eq!(text(&union, "/out").unwrap_err(), FailureCode::NotFound);
        assert_eq!(text(&union, "/loop").unwrap_err(), FailureCode::InvalidPath);
        assert_eq!(text(&union, "/loop/x").unwrap_err(), FailureCode::InvalidPath);
        assert_eq!(union.entries("/bin").unwrap()[0].path, "/bin/tool");
    }

    #[test]
    fn a_directory_that_hides_what_is_below_shows_only_its_own() {
        let (dir, union) = two();
        raw::set_attribute(&dir.path().join("top/data"), OPAQUE, b"y").unwrap();
        let names: Vec<_> = union.entries("/data").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["over"]);
    }

    #[test]
    fn of_the_computers_own_files_only_what_everybody_may_read_is_shown() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, mut union) = two();
        let tool = dir.path().join("usr/bin/tool");
        fs::set_permissions(tool, fs::Permissions::from_mode(0o750)).unwrap();
        union.mounts[0].1[0].public = true;
        assert_eq!(text(&union, "/usr/bin/tool").unwrap_err(), FailureCode::ForbiddenPath);
    }
}
