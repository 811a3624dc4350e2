//! Directories and what they hold, to a depth and to a number of entries.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use miosa_agent::protocol::{Entry, EntryKind, Failure, Listing, Tree};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::files::entry;
use crate::paths::{Place, for_files, kind, stat_in};

/// How many entries one answer holds at most.
const MAX_ENTRIES: usize = 20_000;

pub fn list(place: &Place, depth: u32) -> Result<Listing, Failure> {
    let mut walk = Walk { left: MAX_ENTRIES, truncated: false };
    let children = walk.children(&directory(place)?, &place.shown, depth);
    let mut entries = Vec::new();
    flatten(children.map_err(|errno| place.failure(errno))?, &mut entries);
    let path = place.shown.to_string_lossy().into_owned();
    Ok(Listing { path, entries, truncated: walk.truncated })
}

pub fn tree(place: &Place, depth: u32) -> Result<Tree, Failure> {
    let fd = place.open()?;
    let stat = fstat(&fd).map_err(|errno| place.failure(errno))?;
    let entry = entry::from_stat(&place.shown, &stat, None);
    if entry.kind != EntryKind::Dir {
        return Ok(Tree { entry, children: None, truncated: false });
    }
    let mut walk = Walk { left: MAX_ENTRIES, truncated: false };
    let children = walk.children(&fd, &place.shown, depth).map_err(|errno| place.failure(errno))?;
    Ok(Tree { entry, children: Some(children), truncated: walk.truncated })
}

fn directory(place: &Place) -> Result<OwnedFd, Failure> {
    let fd = place.open()?;
    match kind(&fstat(&fd).map_err(|errno| place.failure(errno))?) {
        SFlag::S_IFDIR => Ok(fd),
        _ => Err(place.failure(Errno::ENOTDIR)),
    }
}

fn flatten(children: Vec<Tree>, entries: &mut Vec<Entry>) {
    for child in children {
        entries.push(child.entry);
        flatten(child.children.unwrap_or_default(), entries);
    }
}

/// The names in a directory, `most` at most, and whether there were more.
pub fn names(directory: &OwnedFd, most: usize) -> Result<(Vec<OsString>, bool), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::from_fd(openat(directory, ".", flags, Mode::empty())?)?;
    let mut names = Vec::new();
    for found in dir.iter() {
        let name = found?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == most {
            return Ok((names, true));
        }
        names.push(OsString::from_vec(name));
    }
    Ok((names, false))
}

struct Walk {
    left: usize,
    truncated: bool,
}

impl Walk {
    fn children(
        &mut self,
        directory: &OwnedFd,
        shown: &Path,
        depth: u32,
    ) -> Result<Vec<Tree>, Errno> {
        let (mut names, more) = names(directory, self.left)?;
        self.truncated |= more;
        self.left -= names.len();
        names.sort();
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            // What vanished between the look and the question is not there.
            let Ok(stat) = stat_in(directory, &name) else { continue };
            let shown = shown.join(&name);
            let mut below = None;
            let mut link = None;
            match kind(&stat) {
                SFlag::S_IFLNK => {
                    link = readlinkat(directory, name.as_os_str()).ok();
                }
                SFlag::S_IFDIR if depth > 1 => {
                    let flags =
                        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                    // A directory that may not be read is told without what it holds.
                    below = openat(directory, name.as_os_str(), flags, Mode::empty())
                        .ok()
                        .filter(for_files)
                        .and_then(|fd| self.children(&fd, &shown, depth - 1).ok());
                }
                _ => {}
            }
            let link = link.map(|to| to.to_string_lossy().into_owned());
            let entry = entry::from_stat(&shown, &stat, link);
            children.push(Tree { entry, children: below, truncated: false });
        }
        Ok(children)
    }
}
