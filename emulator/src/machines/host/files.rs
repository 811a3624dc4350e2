//! The directories of machines and snapshots.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::process::Command;
use uuid::Uuid;

use super::failed;
use crate::machines::{MachineError, Pruned};

/// Writes a program and makes it executable, whole or not at all.
pub(super) async fn install(path: &Path, program: &'static [u8]) -> Result<(), MachineError> {
    let path = path.to_path_buf();
    let installed = blocking(move || {
        if path.exists() {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        let part = tempfile::NamedTempFile::new_in(directory)?;
        std::fs::write(&part, program)?;
        std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o755))?;
        // Closed before it appears: a program that is open for writing cannot be run.
        part.into_temp_path().persist(&path).map_err(|error| error.error)
    });
    installed.await.map_err(failed("the agent cannot be put in place"))
}

/// A copy with owners, modes, times and links, sharing blocks where the file system can.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), MachineError> {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto", "-T", "--"])
        .args([from, to])
        .kill_on_drop(true)
        .output()
        .await
        .map_err(failed("cp"))?;
    if copied.status.success() {
        return Ok(());
    }
    Err(MachineError::Host(String::from_utf8_lossy(&copied.stderr).trim().to_owned()))
}

/// Removes a directory if it is there.
pub(super) async fn remove(path: &Path) -> Result<(), MachineError> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("cannot remove a directory")(error))
        }
        _ => Ok(()),
    }
}

/// The ids that name the entries of a directory; anything else is not ours.
pub(super) async fn ids(directory: &Path) -> Result<Vec<Uuid>, MachineError> {
    let directory = directory.to_path_buf();
    let names = blocking(move || {
        std::fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()
    });
    let names = names.await.map_err(failed("cannot read a directory"))?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The bytes that a directory takes on disk.
pub(super) async fn size(directory: &Path) -> u64 {
    let directory = directory.to_path_buf();
    blocking(move || Ok(measured(&directory))).await.unwrap_or_default()
}

fn measured(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let below = if metadata.is_dir() {
        std::fs::read_dir(path)
            .map_or(0, |entries| entries.flatten().map(|entry| measured(&entry.path())).sum())
    } else {
        0
    };
    metadata.blocks() * 512 + below
}

/// Whether a program is in `PATH`.
pub(super) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| {
        directory
            .join(program)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// Removes copies that broke off and programs of other versions.
pub(super) async fn prune(root: &Path, program: &Path) -> Result<Pruned, MachineError> {
    let (root, program) = (root.to_path_buf(), program.to_path_buf());
    let pruned = blocking(move || {
        let mut pruned = Pruned { removed: Vec::new(), bytes: Some(0) };
        let mut stale = Vec::new();
        for entry in std::fs::read_dir(&root)?.flatten() {
            let ours = entry.file_name().to_string_lossy().starts_with("miosa-agent-");
            if ours && entry.path() != program {
                stale.push(entry.path());
            }
        }
        for entry in std::fs::read_dir(root.join("snapshots"))?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(".part") {
                stale.push(entry.path());
            }
        }
        for path in stale {
            let bytes = measured(&path);
            if path.is_dir() {
                std::fs::remove_dir_all(&path)?;
            } else {
                std::fs::remove_file(&path)?;
            }
            pruned.bytes = pruned.bytes.map(|sum| sum + bytes);
            pruned.removed.push(path.display().to_string());
        }
        Ok(pruned)
    });
    pruned.await.map_err(failed("cannot prune"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
