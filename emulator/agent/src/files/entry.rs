//! What is told of a file.

use std::path::Path;

use miosa_agent::protocol::{Entry, EntryKind, Failure};
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::paths::{Place, kind, stat_in};

/// The path itself, a link not followed.
pub fn stat(place: &Place) -> Result<Entry, Failure> {
    let Ok(name) = place.name() else {
        let stat = fstat(place.open()?).map_err(|errno| place.failure(errno))?;
        return Ok(from_stat(&place.shown, &stat, None));
    };
    let parent = place.open_parent()?;
    let stat = stat_in(&parent, name).map_err(|errno| place.failure(errno))?;
    let link = match kind(&stat) {
        SFlag::S_IFLNK => readlinkat(&parent, name).ok(),
        _ => None,
    };
    Ok(from_stat(&place.shown, &stat, link.map(|to| to.to_string_lossy().into_owned())))
}

/// The entry of a stat. Names that are not UTF-8 come with replacement characters.
pub fn from_stat(shown: &Path, stat: &FileStat, symlink_target: Option<String>) -> Entry {
    let kind = match kind(stat) {
        SFlag::S_IFREG => EntryKind::File,
        SFlag::S_IFDIR => EntryKind::Dir,
        SFlag::S_IFLNK => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let name = shown.file_name().unwrap_or(shown.as_os_str());
    Entry {
        name: name.to_string_lossy().into_owned(),
        path: shown.to_string_lossy().into_owned(),
        size: if kind == EntryKind::Dir { 0 } else { stat.st_size as u64 },
        kind,
        mode: stat.st_mode & 0o7777,
        modified_at_ms: modified(stat),
        symlink_target,
    }
}

/// When it was last written, in milliseconds since 1970.
pub fn modified(stat: &FileStat) -> i64 {
    stat.st_mtime * 1000 + stat.st_mtime_nsec / 1_000_000
}
