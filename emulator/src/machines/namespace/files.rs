//! Copying, measuring and deleting what machines have written.
//!
//! As root that is plain work. The machine of an ordinary user makes files that this user may not read (mode 0,
//! a directory without `x`): root over them exists only inside, so these steps run as root of a user namespace.
//! Copying is `cp`: it keeps holes, hard links, times, extended attributes and overlayfs' marks of deletion, and
//! shares blocks where the file system can.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::super::MachineError;
use super::layers::{self, Layout};
use super::plan::{AS_ROOT, MERGE, SUBCOMMAND};
use super::usermap::UserMap;

/// How long one copy or deletion may take.
const BOUND: Duration = Duration::from_secs(600);

/// Works on files as root over them.
pub struct Copier {
    program: PathBuf,
    ids: UserMap,
    /// Deletions that nobody waits for. What an end interrupts is in the trash, and goes at the next start.
    later: Mutex<JoinSet<()>>,
}

impl Copier {
    /// `program` is the emulator's.
    pub fn new(program: &Path, ids: UserMap) -> Self {
        Self { program: program.to_owned(), ids, later: Mutex::default() }
    }

    /// Copies the directories `root` and `usr` of `from` into `to`.
    pub async fn copy(&self, from: &Path, to: &Path) -> Result<(), MachineError> {
        let (root, usr) = (from.join("root"), from.join("usr"));
        let arguments = [
            OsStr::new("--archive"),
            OsStr::new("--reflink=auto"),
            OsStr::new("--"),
            root.as_os_str(),
            usr.as_os_str(),
            to.as_os_str(),
        ];
        run(&mut self.command("cp", &arguments), "copying a layer").await.map(drop)
    }

    /// Makes one layer of several, the lowest first.
    pub async fn merge(&self, to: &Path, layers: &[PathBuf]) -> Result<(), MachineError> {
        let paths: Vec<&OsStr> = [to]
            .into_iter()
            .chain(layers.iter().map(PathBuf::as_path))
            .map(Path::as_os_str)
            .collect();
        run(&mut self.own(MERGE, &paths), "merging layers").await.map(drop)
    }

    /// The emulator's own program in a part of its own, as root over the files.
    pub fn own(&self, stage: &str, arguments: &[&OsStr]) -> Command {
        let mut all = vec![OsStr::new(SUBCOMMAND), OsStr::new(stage)];
        all.extend_from_slice(arguments);
        self.command(&self.program.to_string_lossy(), &all)
    }

    /// Bytes that the files of a layer hold.
    pub async fn size(&self, layer: &Path) -> Result<u64, MachineError> {
        let layer = layer.to_owned();
        if self.ids.is_range() {
            return super::blocking(move || {
                layers::size_of(&layer).map_err(|e| super::host(format!("measuring a layer: {e}")))
            })
            .await;
        }
        let arguments = [OsStr::new("-sB1"), OsStr::new("--"), layer.as_os_str()];
        let text = run(&mut self.command("du", &arguments), "measuring a layer").await?;
        let bytes = text.split_whitespace().next().and_then(|word| word.parse().ok());
        bytes.ok_or_else(|| super::host(format!("measuring a layer: {text}")))
    }

    /// Deletes a directory with everything in it.
    pub async fn delete(&self, path: &Path) -> Result<(), MachineError> {
        let mut command =
            self.command("rm", &[OsStr::new("-rf"), OsStr::new("--"), path.as_os_str()]);
        run(&mut command, "deleting files").await.map(drop)
    }

    /// Deletes a directory, soon.
    pub fn delete_later(&self, path: PathBuf) {
        let mut command =
            self.command("rm", &[OsStr::new("-rf"), OsStr::new("--"), path.as_os_str()]);
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        while later.try_join_next().is_some() {}
        later.spawn(async move {
            if let Err(error) = run(&mut command, "deleting files").await {
                tracing::warn!(%error, "left in the trash until the next start");
            }
        });
    }

    fn command(&self, name: &str, arguments: &[&OsStr]) -> Command {
        let mut command = if self.ids.is_range() {
            Command::new(name)
        } else {
            let mut command = Command::new(&self.program);
            command.args([SUBCOMMAND, AS_ROOT, name]);
            command
        };
        command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C").kill_on_drop(true);
        command
    }
}

async fn run(command: &mut Command, what: &'static str) -> Result<String, MachineError> {
    let output = tokio::time::timeout(BOUND, command.output())
        .await
        .map_err(|_| MachineError::TimedOut { what, after: BOUND })?
        .map_err(|e| super::host(format!("{what}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(super::host(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Waits until a layer is on disk, so that no snapshot has empty files after a power cut. A few files are
/// waited for one by one: the whole file system may have much else to write. Blocks.
pub fn settle(layer: &Path) -> io::Result<()> {
    let Some(files) = few_files(layer) else {
        return nix::unistd::syncfs(File::open(layer)?).map_err(io::Error::from);
    };
    for file in files {
        file.sync_all()?;
    }
    Ok(())
}

/// The regular files of a layer, opened; `None` when there are many, or some that may not be read.
fn few_files(layer: &Path) -> Option<Vec<File>> {
    const FEW: usize = 32;
    let mut waiting = vec![layer.to_owned()];
    let mut files = Vec::new();
    while let Some(dir) = waiting.pop() {
        // The directory itself, for the names in it.
        files.push(File::open(&dir).ok()?);
        for entry in fs::read_dir(&dir).ok()? {
            let entry = entry.ok()?;
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                files.push(File::open(entry.path()).ok()?);
            }
            if files.len() + waiting.len() > FEW {
                return None;
            }
        }
    }
    Some(files)
}

/// Puts the agent where machines can execute it and not change it; the two directories to mount together,
/// relative to [`Layout::layers`]. No machine may be running: agents of earlier versions go.
pub fn place_agent(layout: &Layout, elf: &[u8]) -> io::Result<[String; 2]> {
    let hash = Sha256::digest(elf);
    let hash = format!("{:016x}", hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)));
    let base = layout.path("agent");
    for entry in fs::read_dir(&base)? {
        let entry = entry?;
        if entry.file_name() != *hash {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let dir = base.join(&hash);
    for dir in [&dir, &base.join("empty")] {
        DirBuilder::new().recursive(true).create(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    let path = dir.join("agent");
    // A name says what is in it, but not that all of it is: look.
    if fs::read(&path).is_ok_and(|now| now == elf) {
        return Ok(directories(&hash));
    }
    let mut file = tempfile::NamedTempFile::new_in(&dir)?;
    file.write_all(elf)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o555))?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(directories(&hash))
}

fn directories(hash: &str) -> [String; 2] {
    [format!("../agent/{hash}"), "../agent/empty".to_owned()]
}
