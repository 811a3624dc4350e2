//! Files on disk: machines, sealed layers, snapshots, and what refers to what.
//!
//! ```text
//! <data>/machines/<id>/meta.json, merged/, top-<n>/{upper,work}/{root,usr}
//! <data>/layers/<n>/{root,usr}
//! <data>/snapshots/<id>/meta.json
//! <data>/trash/
//! ```
//!
//! The meta file decides what exists: it is written whole after what it names is there, and removed before. What
//! no meta file names is a leftover of an interrupted step and is swept at start. A layer is a number: overlayfs
//! takes a machine's layers in one page of text, which then holds hundreds of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::Shape;
use super::usermap::UserMap;

/// Most layers of a snapshot: one more, and they are merged. Overlayfs' page of options takes 300; a lookup of what is
/// not there asks them all.
pub const DEEPEST: usize = 48;
const META: &str = "meta.json";
/// The two parts of every layer: `/` and `/usr`.
pub const PARTS: [&str; 2] = ["root", "usr"];

/// What a machine was made as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMeta {
    /// The operation that made it.
    pub operation: Uuid,
    /// Its host name.
    pub hostname: String,
    /// Environment of its commands.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub shape: Shape,
    /// Sealed layers below its top, the newest first.
    pub chain: Vec<u32>,
    /// Which `top-<n>` is its own.
    pub top: u32,
}

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Its layers, the newest first.
    pub chain: Vec<u32>,
    /// Bytes of the newest.
    pub size_bytes: u64,
}

/// The directory that holds it all.
#[derive(Debug, Clone)]
pub struct Layout {
    data: PathBuf,
    ids: UserMap,
}

impl Layout {
    /// Makes the directories. Fails when the directory was made under other ids, whose files we could not use.
    pub fn open(data: &Path, ids: UserMap) -> io::Result<Self> {
        let this = Self { data: std::path::absolute(data)?, ids };
        DirBuilder::new().recursive(true).mode(0o700).create(&this.data)?;
        match read::<UserMap>(&this.data.join("ids.json"))? {
            Some(before) if before != ids => {
                return Err(io::Error::other(format!(
                    "{} was made with other user ids ({before:?}, now {ids:?}): run as the same user, or choose another directory",
                    this.data.display()
                )));
            }
            Some(_) => {}
            None => write(&this.data.join("ids.json"), &ids)?,
        }
        // Owned by the machines' root, entered by nobody else: it is who mounts the layers.
        this.give(&this.data)?;
        for name in ["machines", "layers", "skeleton", "agent"] {
            Self::directory(&this.data.join(name), 0o755)?;
        }
        for name in ["snapshots", "trash"] {
            Self::directory(&this.data.join(name), 0o700)?;
        }
        Ok(this)
    }

    /// `<data>/layers`, where the stages work.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// A directory below the data directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    fn machine(&self, id: Uuid) -> PathBuf {
        self.data.join("machines").join(id.to_string())
    }

    fn snapshot(&self, id: Uuid) -> PathBuf {
        self.data.join("snapshots").join(id.to_string())
    }

    /// The mount point of a machine, relative to [`Self::layers`].
    pub fn mount_point(id: Uuid) -> String {
        format!("../machines/{id}/merged")
    }

    /// The top of a machine, relative to [`Self::layers`].
    pub fn top(id: Uuid, top: u32) -> String {
        format!("../machines/{id}/top-{top}")
    }

    /// What a machine has written: `upper/root` and `upper/usr`.
    pub fn upper(&self, id: Uuid, top: u32) -> PathBuf {
        self.machine(id).join(format!("top-{top}/upper"))
    }

    /// Makes the directories of a machine and then says that it exists.
    pub fn add_machine(&self, id: Uuid, meta: &MachineMeta) -> io::Result<()> {
        let dir = self.machine(id);
        Self::directory(&dir, 0o755)?;
        Self::directory(&dir.join("merged"), 0o755)?;
        self.give(&dir.join("merged"))?;
        self.add_top(id, meta.top)?;
        self.write_machine(id, meta)
    }

    /// Makes an empty top.
    pub fn add_top(&self, id: Uuid, top: u32) -> io::Result<()> {
        let top = self.machine(id).join(format!("top-{top}"));
        Self::directory(&top, 0o755)?;
        for kind in ["upper", "work"] {
            Self::directory(&top.join(kind), 0o755)?;
            for part in PARTS {
                let dir = top.join(kind).join(part);
                Self::directory(&dir, 0o755)?;
                self.give(&dir)?;
            }
        }
        Ok(())
    }

    /// Writes a machine's meta file.
    pub fn write_machine(&self, id: Uuid, meta: &MachineMeta) -> io::Result<()> {
        write(&self.machine(id).join(META), meta)
    }

    /// Reads a machine's meta file, if there is such a machine.
    pub fn read_machine(&self, id: Uuid) -> io::Result<Option<MachineMeta>> {
        read(&self.machine(id).join(META))
    }

    /// Says that a snapshot exists.
    pub fn write_snapshot(&self, id: Uuid, meta: &SnapshotMeta) -> io::Result<()> {
        Self::directory(&self.snapshot(id), 0o700)?;
        write(&self.snapshot(id).join(META), meta)
    }

    /// Reads a snapshot's meta file, if there is such a snapshot.
    pub fn read_snapshot(&self, id: Uuid) -> io::Result<Option<SnapshotMeta>> {
        read(&self.snapshot(id).join(META))
    }

    /// Every machine with a meta file.
    pub fn machines(&self) -> io::Result<Vec<(Uuid, MachineMeta)>> {
        entries(&self.data.join("machines"))
    }

    /// Every snapshot with a meta file.
    pub fn snapshots(&self) -> io::Result<Vec<(Uuid, SnapshotMeta)>> {
        entries(&self.data.join("snapshots"))
    }

    /// Makes the directory of a new layer; its number and path.
    pub fn new_layer(&self) -> io::Result<(u32, PathBuf)> {
        let mut number = self.layer_numbers()?.last().map_or(0, |last| last + 1);
        loop {
            let dir = self.layers().join(number.to_string());
            match DirBuilder::new().mode(0o755).create(&dir) {
                Ok(()) => return Ok((number, dir)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(e),
            }
        }
    }

    fn layer_numbers(&self) -> io::Result<BTreeSet<u32>> {
        let names = fs::read_dir(self.layers())?;
        Ok(names.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// Moves a machine's directory out of the way; what to delete.
    pub fn discard_machine(&self, id: Uuid) -> io::Result<Option<PathBuf>> {
        self.discard(&self.machine(id))
    }

    /// Moves a top that is no longer used out of the way; what to delete.
    pub fn discard_top(&self, id: Uuid, top: u32) -> io::Result<Option<PathBuf>> {
        self.discard(&self.machine(id).join(format!("top-{top}")))
    }

    /// Moves a snapshot's meta file out of the way; what to delete.
    pub fn discard_snapshot(&self, id: Uuid) -> io::Result<Option<PathBuf>> {
        self.discard(&self.snapshot(id))
    }

    /// Moves layers that no machine and no snapshot refers to out of the way; what to delete. Nobody may be
    /// between making a layer and referring to it.
    pub fn discard_unused_layers(&self) -> io::Result<Vec<PathBuf>> {
        let machines = self.machines()?.into_iter().map(|(_, meta)| meta.chain);
        let snapshots = self.snapshots()?.into_iter().map(|(_, meta)| meta.chain);
        let used: BTreeSet<u32> = machines.chain(snapshots).flatten().collect();
        let mut discarded = Vec::new();
        for number in self.layer_numbers()?.difference(&used) {
            discarded.extend(self.discard(&self.layers().join(number.to_string()))?);
        }
        Ok(discarded)
    }

    /// What earlier runs left: torn machines and snapshots, unused tops and layers, the trash. What to delete.
    pub fn sweep(&self) -> io::Result<Vec<PathBuf>> {
        let mut discarded = Vec::new();
        for kind in ["machines", "snapshots"] {
            for entry in fs::read_dir(self.data.join(kind))? {
                let dir = entry?.path();
                if !dir.join(META).exists() {
                    discarded.extend(self.discard(&dir)?);
                }
            }
        }
        for (id, meta) in self.machines()? {
            let current = format!("top-{}", meta.top);
            for entry in fs::read_dir(self.machine(id))? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with("top-") && *name != *current {
                    discarded.extend(self.discard(&entry.path())?);
                }
            }
        }
        discarded.extend(self.discard_unused_layers()?);
        for entry in fs::read_dir(self.data.join("trash"))? {
            let path = entry?.path();
            if !discarded.contains(&path) {
                discarded.push(path);
            }
        }
        Ok(discarded)
    }

    fn discard(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let trash = self.data.join("trash").join(Uuid::new_v4().to_string());
        match fs::rename(path, &trash) {
            Ok(()) => Ok(Some(trash)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn directory(path: &Path, mode: u32) -> io::Result<()> {
        match DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            // A careful umask of the caller would keep the machines' root out.
            _ => fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)),
        }
    }

    /// Makes root inside the owner.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        if !self.ids.is_range() {
            return Ok(());
        }
        let (uid, gid) = self.ids.root();
        chown(path, Some(uid), Some(gid))
    }
}

/// Bytes that the files of a directory hold. A file with two names counts once, a hole counts nothing.
pub fn size_of(dir: &Path) -> io::Result<u64> {
    const ALWAYS_STORED: u64 = 4096;
    let mut seen = BTreeSet::new();
    let mut waiting = vec![dir.to_owned()];
    let mut total = 0;
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                waiting.push(entry.path());
            } else if meta.is_file() && seen.insert((meta.dev(), meta.ino())) {
                // Small files may live in the inode, without blocks.
                total += if meta.len() <= ALWAYS_STORED {
                    meta.len()
                } else {
                    meta.len().min(meta.blocks() * 512)
                };
            }
        }
    }
    Ok(total)
}

/// Reads a meta file; `None` when there is none.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| io::Error::other(format!("{}: {e}", path.display()))),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Writes a meta file so that it is either the old or the new one, whenever the power goes.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("no parent"))?;
    let new = path.with_extension("new");
    // It holds the machine's environment.
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

fn entries<T: DeserializeOwned>(dir: &Path) -> io::Result<Vec<(Uuid, T)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<Uuid>().ok());
        if let Some(id) = id
            && let Some(meta) = read(&entry.path().join(META))?
        {
            found.push((id, meta));
        }
    }
    Ok(found)
}
