//! Making, removing, renaming, permissions.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use miosa_agent::protocol::{Entry, Failure, FailureCode};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::files::{copy, entry};
use crate::paths::{Place, kind, proc_path, stat_in};

pub fn mkdir(place: &Place, recursive: bool, mode: Option<u32>) -> Result<Entry, Failure> {
    let Ok(name) = place.name() else {
        return if recursive { entry::stat(place) } else { Err(place.failure(Errno::EEXIST)) };
    };
    let parent = if recursive { place.make_parent()? } else { place.open_parent()? };
    match mkdirat(&parent, name, Mode::from_bits_truncate(0o700)) {
        Ok(()) => {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let created = place.judged(openat(&parent, name, flags, Mode::empty()))?;
            let permissions = Permissions::from_mode(mode.unwrap_or(0o755) & 0o7777);
            std::fs::set_permissions(proc_path(&created), permissions)
                .map_err(|error| place.io(&error))?;
        }
        Err(Errno::EEXIST) if recursive && is_directory(place)? => {}
        Err(errno) => return Err(place.failure(errno)),
    }
    entry::stat(place)
}

fn is_directory(place: &Place) -> Result<bool, Failure> {
    let stat = nix::sys::stat::fstat(place.open()?).map_err(|errno| place.failure(errno))?;
    Ok(kind(&stat) == SFlag::S_IFDIR)
}

pub fn remove(place: &Place, recursive: bool) -> Result<(), Failure> {
    let name = place.name()?;
    let parent = place.open_parent()?;
    let stat = stat_in(&parent, name).map_err(|errno| place.failure(errno))?;
    if kind(&stat) != SFlag::S_IFDIR {
        return unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| place.failure(errno));
    }
    if recursive {
        // Follows no link on its way, and begins at the directory that was judged.
        return std::fs::remove_dir_all(proc_path(&parent).join(name))
            .map_err(|error| place.io(&error));
    }
    unlinkat(&parent, name, UnlinkatFlags::RemoveDir).map_err(|errno| place.failure(errno))
}

pub fn rename(from: &Place, to: &Place) -> Result<Entry, Failure> {
    let (old, new) = (from.name()?, to.name()?);
    let source = from.open_parent()?;
    stat_in(&source, old).map_err(|errno| from.failure(errno))?;
    if to.real != from.real && to.real.starts_with(&from.real) {
        return Err(inside_itself(from));
    }
    let destination = to.make_parent()?;
    match renameat(&source, old, &destination, new) {
        // Another file system, or a directory of an overlay's lower layer.
        Err(Errno::EXDEV) => {
            copy::copy(from, to, true)?;
            remove(from, true)?;
        }
        Err(errno) => return Err(to.failure(errno)),
        Ok(()) => {}
    }
    entry::stat(to)
}

pub fn inside_itself(place: &Place) -> Failure {
    let text = format!("{} cannot go into itself", place.shown.display());
    Failure::new(FailureCode::InvalidPath, text)
}

pub fn chmod(place: &Place, mode: u32) -> Result<Entry, Failure> {
    if mode > 0o7777 {
        return Err(crate::answer::invalid("mode must be at most 0o7777"));
    }
    let fd = place.open()?;
    let stat = nix::sys::stat::fstat(&fd).map_err(|errno| place.failure(errno))?;
    if !matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
        return Err(place.forbidden());
    }
    std::fs::set_permissions(proc_path(&fd), Permissions::from_mode(mode))
        .map_err(|error| place.io(&error))?;
    let stat = nix::sys::stat::fstat(&fd).map_err(|errno| place.failure(errno))?;
    Ok(entry::from_stat(&place.shown, &stat, None))
}
