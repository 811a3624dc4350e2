//! Changes of files, as they happen.
//!
//! The kernel's queue is the only one: it is read when the client has room, and when it runs over the client is told.
//! A file is watched through its directory, so that it stays watched when another takes its place. The agent's own
//! temporary files are never told; what becomes of them is.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use miosa_agent::protocol::{Change, ChangeKind, Failure, FailureCode};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;

use super::walk;
use crate::answer::{Outcome, streamed};
use crate::machine::Machine;
use crate::paths::{Place, for_files, kind, proc_path, stat_in, temporary};
use crate::raw;
use crate::routes::blocking;

/// How many directories one client may watch.
const MAX_WATCHES: usize = 4096;

/// How many entries are told that were found, not heard of, in one go.
const MAX_FOUND: usize = 20_000;

/// How often the kernel's queue is read before the client gets what was in it.
const MAX_READS: usize = 16;

/// How long the second half of a rename may be behind the first.
const RENAME_TIME: Duration = Duration::from_millis(2);

#[derive(Deserialize)]
pub struct Which {
    path: String,
    #[serde(default)]
    recursive: bool,
}

/// Answers once the watch is in place, then with every change.
pub async fn follow(machine: Arc<Machine>, which: Which) -> Outcome {
    let (watch, ready) = blocking(move || {
        let place = machine.workspace.place(&which.path)?;
        let watch = Watch::begin(&place, which.recursive)?;
        let fd = watch.inotify.as_fd().try_clone_to_owned().map_err(|error| place.io(&error))?;
        Ok((watch, fd))
    })
    .await?;
    let ready =
        raw::watch(ready).map_err(|error| Failure::new(FailureCode::Io, error.to_string()))?;
    Ok(streamed(stream::try_unfold((watch, ready), |(watch, ready)| async move {
        Ok(next(watch, &ready).await?.map(|(watch, lines)| (lines, (watch, ready))))
    })))
}

/// The next changes, a line each.
async fn next(mut watch: Watch, ready: &AsyncFd<OwnedFd>) -> io::Result<Option<(Watch, Bytes)>> {
    loop {
        if !watch.changes.is_empty() {
            let mut lines = Vec::new();
            for change in watch.changes.drain(..) {
                serde_json::to_writer(&mut lines, &change)?;
                lines.push(b'\n');
            }
            return Ok(Some((watch, lines.into())));
        }
        if watch.gone {
            return Ok(None);
        }
        let mut readable = ready.readable().await?;
        let empty;
        (watch, empty) = tokio::task::spawn_blocking(move || {
            let empty = watch.read();
            (watch, empty)
        })
        .await?;
        if empty? {
            readable.clear_ready();
        }
    }
}

struct Watch {
    inotify: Inotify,
    /// What is asked for, as the client knows it.
    root: PathBuf,
    /// Where that is.
    real: PathBuf,
    root_watch: WatchDescriptor,
    /// The one name in the watched directory that counts.
    only: Option<OsString>,
    recursive: bool,
    /// The watched directories, as the client knows them.
    directories: HashMap<WatchDescriptor, PathBuf>,
    /// Told because they were found, while the kernel may still have the news of their making.
    found: HashSet<PathBuf>,
    /// Half of a rename: its cookie, what it was called, and whether it is a directory.
    leaving: Option<(u32, Leaving)>,
    changes: Vec<Change>,
    /// The watched path is gone.
    gone: bool,
}

struct Leaving {
    path: PathBuf,
    is_dir: bool,
    temporary: Option<bool>,
}

impl Watch {
    fn begin(place: &Place, recursive: bool) -> Result<Self, Failure> {
        let mut directory = place.open()?;
        let (mut root, mut only) = (place.shown.clone(), None);
        if kind(&fstat(&directory).map_err(|errno| place.failure(errno))?) != SFlag::S_IFDIR {
            let file = place.target()?;
            directory = file.open_parent()?;
            // The client's name stands for the file, wherever links have led.
            (root, only) = (place.parent().shown, Some(file.name()?.to_owned()));
        }
        let refused = |errno| match errno {
            Errno::ENOSPC | Errno::EMFILE => {
                Failure::new(FailureCode::NoSpace, "the kernel's limit of watches is reached")
            }
            errno => place.failure(errno),
        };
        let inotify =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(refused)?;
        let root_watch = add(&inotify, &directory).map_err(refused)?;
        let mut watch = Self {
            inotify,
            directories: HashMap::from([(root_watch, root.clone())]),
            root: if only.is_some() { place.shown.clone() } else { root.clone() },
            real: place.real.clone(),
            root_watch,
            recursive: recursive && only.is_none(),
            only,
            found: HashSet::new(),
            leaving: None,
            changes: Vec::new(),
            gone: false,
        };
        if watch.recursive {
            watch.search(&directory, &root, false);
        }
        Ok(watch)
    }

    /// Watches what is below a directory; tells of it if it is new.
    fn search(&mut self, directory: &OwnedFd, shown: &Path, tell: bool) {
        // What vanishes meanwhile is told by the kernel.
        let Ok((names, more)) = walk::names(directory, MAX_FOUND) else { return };
        if more {
            self.tell_overflow();
        }
        for name in names {
            let Ok(stat) = stat_in(directory, &name) else { continue };
            let is_dir = kind(&stat) == SFlag::S_IFDIR;
            let path = shown.join(&name);
            if tell && temporary(&name).is_none() && self.found.len() < MAX_FOUND {
                if self.found.insert(path.clone()) {
                    self.tell(ChangeKind::Created, &path, is_dir, None);
                }
            } else if tell && temporary(&name).is_none() {
                self.tell_overflow();
            }
            if is_dir && !self.enter(directory, &name, &path, tell) {
                return;
            }
        }
    }

    /// Watches a directory and all below; false when there is no room for more.
    fn enter(&mut self, parent: &OwnedFd, name: &OsStr, shown: &Path, tell: bool) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(parent, name, flags, Mode::empty()).ok().filter(for_files);
        let Some(directory) = opened else { return true };
        if self.directories.len() >= MAX_WATCHES {
            self.tell_overflow();
            return false;
        }
        match add(&self.inotify, &directory) {
            Ok(watch) => {
                self.directories.insert(watch, shown.to_path_buf());
                self.search(&directory, shown, tell);
                true
            }
            Err(Errno::ENOSPC) => {
                self.tell_overflow();
                false
            }
            // One that may not be read is not watched.
            Err(_) => true,
        }
    }

    /// Takes in what the kernel has; whether that was all.
    fn read(&mut self) -> io::Result<bool> {
        let mut waited = false;
        for _ in 0..MAX_READS {
            match self.inotify.read_events() {
                Ok(events) => events.into_iter().for_each(|event| self.take(event)),
                // The halves of a rename are two pieces of news: the other one is on its way.
                Err(Errno::EAGAIN) if self.leaving.is_some() && !waited => {
                    waited = true;
                    std::thread::sleep(RENAME_TIME);
                }
                Err(Errno::EAGAIN) => {
                    self.settle();
                    self.found.clear();
                    return Ok(true);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if self.gone {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, event: InotifyEvent) {
        let InotifyEvent { wd, mask, cookie, name } = event;
        if self.gone {
            return;
        }
        let arrives = mask.contains(AddWatchFlags::IN_MOVED_TO)
            && self.leaving.as_ref().is_some_and(|(left, _)| *left == cookie);
        if !arrives {
            self.settle();
        }
        if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.tell_overflow();
            self.search_anew();
            return;
        }
        let Some(directory) = self.directories.get(&wd).cloned() else { return };
        let ends =
            AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        if mask.intersects(ends) {
            if wd == self.root_watch {
                self.gone = true;
                let (root, is_dir) = (self.root.clone(), self.only.is_none());
                if is_dir || mask.contains(AddWatchFlags::IN_MOVE_SELF) {
                    self.tell(ChangeKind::Deleted, &root, is_dir, None);
                }
            } else if mask.contains(AddWatchFlags::IN_IGNORED) {
                self.directories.remove(&wd);
            }
            return;
        }
        let Some(name) = name else { return };
        let counts = self.only.as_ref().is_none_or(|only| *only == name);
        let path =
            if self.only.is_some() && counts { self.root.clone() } else { directory.join(&name) };
        let is_dir = mask.contains(AddWatchFlags::IN_ISDIR);
        let ours = temporary(&name);
        if mask.contains(AddWatchFlags::IN_MOVED_FROM) {
            self.leaving = Some((cookie, Leaving { path, is_dir, temporary: ours }));
            return;
        }
        if ours.is_some() {
            return;
        }
        if mask.contains(AddWatchFlags::IN_MOVED_TO) {
            let from = self.leaving.take().map(|(_, from)| from);
            let known = from.as_ref().is_some_and(|from| self.told(&from.path));
            if !self.told(&path) && !known {
                return;
            }
            match from {
                Some(Leaving { temporary: Some(over), .. }) => {
                    let event = if over { ChangeKind::Modified } else { ChangeKind::Created };
                    self.made(event, &directory, &name, path, is_dir);
                }
                Some(from) => {
                    self.follow_rename(&from.path, &path);
                    self.tell(ChangeKind::Renamed, &path, is_dir, Some(&from.path));
                }
                None => self.made(ChangeKind::Created, &directory, &name, path, is_dir),
            }
        } else if !counts {
            // Another file of the same directory.
        } else if mask.contains(AddWatchFlags::IN_CREATE) {
            self.made(ChangeKind::Created, &directory, &name, path, is_dir);
        } else if mask.contains(AddWatchFlags::IN_DELETE) {
            self.found.remove(&path);
            self.tell(ChangeKind::Deleted, &path, is_dir, None);
        } else if mask.contains(AddWatchFlags::IN_MODIFY) {
            self.tell(ChangeKind::Modified, &path, is_dir, None);
        }
    }

    /// Whether the client hears of this path.
    fn told(&self, path: &Path) -> bool {
        self.only.is_none() || path == self.root
    }

    /// Something came to be in a directory.
    fn made(
        &mut self,
        event: ChangeKind,
        directory: &Path,
        name: &OsStr,
        path: PathBuf,
        is_dir: bool,
    ) {
        if event == ChangeKind::Created && self.found.remove(&path) {
            return;
        }
        self.tell(event, &path, is_dir, None);
        if is_dir && self.recursive {
            let Some(parent) = self.open(directory) else { return };
            self.enter(&parent, name, &path, true);
        }
    }

    /// A descriptor of a watched directory.
    fn open(&self, directory: &Path) -> Option<OwnedFd> {
        let below = directory.strip_prefix(&self.root).ok()?;
        let real =
            if below.as_os_str().is_empty() { self.real.clone() } else { self.real.join(below) };
        Place { shown: directory.to_path_buf(), real }.open().ok()
    }

    /// Watches what the kernel's lost news may have told of.
    fn search_anew(&mut self) {
        let root = self.root.clone();
        if self.recursive
            && let Some(directory) = self.open(&root)
        {
            self.search(&directory, &root, false);
        }
    }

    fn tell(&mut self, event: ChangeKind, path: &Path, is_dir: bool, old: Option<&Path>) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let change = Change { event, path: text(path), is_dir, old_path: old.map(text) };
        // A file that is written in many pieces is told once for those that came together.
        if self.changes.last() != Some(&change) {
            self.changes.push(change);
        }
    }

    fn tell_overflow(&mut self) {
        let (root, is_dir) = (self.root.clone(), self.only.is_none());
        self.tell(ChangeKind::Overflow, &root, is_dir, None);
    }

    /// A rename whose other half did not come led out of what is watched.
    fn settle(&mut self) {
        let Some((_, left)) = self.leaving.take() else { return };
        if left.is_dir {
            self.forget(&left.path);
        }
        if left.temporary.is_none() && self.told(&left.path) {
            self.found.remove(&left.path);
            self.tell(ChangeKind::Deleted, &left.path, left.is_dir, None);
        }
    }

    fn forget(&mut self, path: &Path) {
        let inotify = &self.inotify;
        self.directories.retain(|watch, directory| {
            let below = directory.starts_with(path);
            if below {
                let _ = inotify.rm_watch(*watch);
            }
            !below
        });
    }

    fn follow_rename(&mut self, from: &Path, to: &Path) {
        for directory in self.directories.values_mut() {
            if let Ok(below) = directory.strip_prefix(from) {
                *directory = if below.as_os_str().is_empty() { to.into() } else { to.join(below) };
            }
        }
    }
}

/// Watches exactly the directory that was opened.
fn add(inotify: &Inotify, directory: &OwnedFd) -> Result<WatchDescriptor, Errno> {
    let news = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    inotify.add_watch(&proc_path(directory), news)
}
