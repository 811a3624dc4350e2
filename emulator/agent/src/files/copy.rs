//! Copies: of a file at once and whole, of a directory entry by entry.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;

use miosa_agent::protocol::{Entry, Failure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use crate::files::{change, entry, walk};
use crate::paths::{Place, fresh_name, kind, location, proc_path, stat_in};

pub fn copy(from: &Place, to: &Place, recursive: bool) -> Result<Entry, Failure> {
    let (old, new) = (from.name()?, to.name()?);
    let source = from.open_parent()?;
    let stat = stat_in(&source, old).map_err(|errno| from.failure(errno))?;
    if kind(&stat) == SFlag::S_IFDIR && !recursive {
        return Err(from.failure(Errno::EISDIR));
    }
    if to.real.starts_with(&from.real) {
        return Err(change::inside_itself(from));
    }
    let destination = to.make_parent()?;
    // The words may hide it behind a link: what was opened does not.
    let inside = location(&source)
        .zip(location(&destination))
        .is_none_or(|(source, destination)| destination.starts_with(source.join(old)));
    if kind(&stat) == SFlag::S_IFDIR && inside {
        return Err(change::inside_itself(from));
    }
    let mut copying = Copying { from, to, depth: 0 };
    copying.one(&source, old, &stat, &destination, new)?;
    entry::stat(to)
}

/// How deep a directory may be that is copied or packed: each level holds descriptors and a part of the stack.
pub const MAX_DEPTH: usize = 1000;

struct Copying<'a> {
    from: &'a Place,
    to: &'a Place,
    depth: usize,
}

impl Copying<'_> {
    fn one(
        &mut self,
        source: &OwnedFd,
        old: &OsStr,
        stat: &FileStat,
        destination: &OwnedFd,
        new: &OsStr,
    ) -> Result<(), Failure> {
        let (from, to) = (self.from, self.to);
        let read = |errno| from.failure(errno);
        let write = |errno| to.failure(errno);
        match kind(stat) {
            SFlag::S_IFREG => self.file(source, old, stat, destination, new),
            SFlag::S_IFLNK => {
                let target = readlinkat(source, old).map_err(read)?;
                symlinkat(target.as_os_str(), destination, new).map_err(write)
            }
            SFlag::S_IFDIR => {
                let look =
                    OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let inner = self.from.judged(openat(source, old, look, Mode::empty()))?;
                match mkdirat(destination, new, Mode::from_bits_truncate(0o700)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(write(errno)),
                }
                let outer = self.to.judged(openat(destination, new, look, Mode::empty()))?;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.from.failure(Errno::ENAMETOOLONG));
                }
                for name in walk::names(&inner, usize::MAX).map_err(read)?.0 {
                    let stat = stat_in(&inner, &name).map_err(read)?;
                    self.one(&inner, &name, &stat, &outer, &name)?;
                }
                self.depth -= 1;
                let mode = Permissions::from_mode(stat.st_mode & 0o7777);
                std::fs::set_permissions(proc_path(&outer), mode)
                    .map_err(|error| self.to.io(&error))
            }
            _ => Err(self.from.forbidden()),
        }
    }

    fn file(
        &self,
        source: &OwnedFd,
        old: &OsStr,
        stat: &FileStat,
        destination: &OwnedFd,
        new: &OsStr,
    ) -> Result<(), Failure> {
        let write = |errno| self.to.failure(errno);
        if stat_in(destination, new).is_ok_and(|there| kind(&there) == SFlag::S_IFDIR) {
            return Err(write(Errno::EISDIR));
        }
        let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = self.from.judged(openat(source, old, look, Mode::empty()))?;
        let mut reader = self.from.read(&fd)?;
        let temporary = fresh_name(stat_in(destination, new).is_ok());
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let made =
            openat(destination, temporary.as_os_str(), flags, Mode::from_bits_truncate(0o600))
                .map_err(write)?;
        let mut writer = File::from(made);
        let copied = std::io::copy(&mut reader, &mut writer)
            .map_err(|error| self.to.io(&error))
            .and_then(|_| {
                fchmod(&writer, Mode::from_bits_truncate(stat.st_mode & 0o7777)).map_err(write)
            })
            .and_then(|()| {
                renameat(destination, temporary.as_os_str(), destination, new).map_err(write)
            });
        if copied.is_err() {
            let _ = unlinkat(destination, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
        copied
    }
}
