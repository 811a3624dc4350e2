//! Files out of the machine as one stream, depth first and by name.
//!
//! Each file is opened once and gives exactly the bytes that its entry announced: one that grew meanwhile is cut, one
//! that shrank breaks the stream off. What vanishes on the way was not there.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use miosa_agent::codec;
use miosa_agent::packed::{About, Packed, PackedKind};
use miosa_agent::protocol::{Failure, FailureCode, frame};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{copy, entry, walk};
use crate::answer::{Outcome, streamed};
use crate::machine::Machine;
use crate::paths::{Place, kind, stat_in};
use crate::routes::blocking;

/// How many frames are read ahead of who takes them.
const AHEAD: usize = 8;

#[derive(Deserialize)]
pub struct Which {
    path: String,
}

/// Answers once it is known that there is something to pack, then with it.
pub async fn stream(machine: Arc<Machine>, which: Which) -> Outcome {
    let (place, root) = blocking(move || {
        let place = machine.workspace.place(&which.path)?;
        let root = place.open()?;
        let stat = fstat(&root).map_err(|errno| place.failure(errno))?;
        match kind(&stat) {
            SFlag::S_IFREG | SFlag::S_IFDIR => Ok((place, root)),
            _ => Err(place.forbidden()),
        }
    })
    .await?;
    let (frames, taken) = mpsc::channel(AHEAD);
    // Ends with the stream: nobody takes its frames then.
    tokio::task::spawn_blocking(move || {
        let mut packing = Packing { place, name: Vec::new(), frames, depth: 0 };
        let last = match packing.root(&root) {
            Ok(()) => codec::encode(frame::END, &[]),
            Err(Broken::Taker) => return,
            Err(Broken::Files(failure)) => {
                let failure = serde_json::to_vec(&failure).unwrap_or_default();
                codec::encode(frame::FAILED, &failure)
            }
        };
        let _ = packing.frames.blocking_send(last);
    });
    Ok(streamed(stream::unfold(taken, |mut taken| async move {
        taken.recv().await.map(|frame| (Ok(frame), taken))
    })))
}

/// Why packing ended before its end.
enum Broken {
    /// Nobody takes it any more.
    Taker,
    /// The files.
    Files(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Files(failure)
    }
}

struct Packing {
    place: Place,
    /// The entry at hand, below the root.
    name: Vec<u8>,
    frames: mpsc::Sender<Bytes>,
    depth: usize,
}

impl Packing {
    fn root(&mut self, root: &OwnedFd) -> Result<(), Broken> {
        let stat = fstat(root).map_err(|errno| self.failed(errno))?;
        if kind(&stat) == SFlag::S_IFDIR {
            return self.directory(root);
        }
        self.name = self.place.name()?.as_bytes().to_vec();
        self.file(root)
    }

    fn directory(&mut self, directory: &OwnedFd) -> Result<(), Broken> {
        self.depth += 1;
        if self.depth > copy::MAX_DEPTH {
            return Err(self.failed(Errno::ENAMETOOLONG));
        }
        let mut names = walk::names(directory, usize::MAX).map_err(|errno| self.failed(errno))?.0;
        names.sort();
        for name in names {
            let above = self.name.len();
            if above > 0 {
                self.name.push(b'/');
            }
            self.name.extend_from_slice(name.as_bytes());
            self.one(directory, &name)?;
            self.name.truncate(above);
        }
        self.depth -= 1;
        Ok(())
    }

    fn one(&mut self, directory: &OwnedFd, name: &OsStr) -> Result<(), Broken> {
        let Ok(stat) = stat_in(directory, name) else { return Ok(()) };
        let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || match openat(directory, name, look, Mode::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            opened => self.place.judged(opened).map(Some),
        };
        match kind(&stat) {
            SFlag::S_IFREG => match open()? {
                Some(file) => self.file(&file),
                None => Ok(()),
            },
            SFlag::S_IFDIR => {
                // The kernel's own directories stand in `/` and hold no files.
                let Ok(Some(inner)) = open() else { return Ok(()) };
                self.entry(PackedKind::Dir, &stat, 0, &[])?;
                self.directory(&inner)
            }
            SFlag::S_IFLNK => match readlinkat(directory, name) {
                Ok(target) => self.entry(PackedKind::Symlink, &stat, 0, target.as_bytes()),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn file(&mut self, look: &OwnedFd) -> Result<(), Broken> {
        let mut file = self.place.read(look)?;
        let stat = fstat(&file).map_err(|errno| self.failed(errno))?;
        let size = stat.st_size as u64;
        self.entry(PackedKind::File, &stat, size, &[])?;
        let mut left = size;
        let mut piece = vec![0; frame::MAX_PAYLOAD];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let room = piece.get_mut(..most).unwrap_or_default();
            let read = file.read(room).map_err(|error| self.place.io(&error))?;
            if read == 0 {
                let text = format!("{} shrank while it was read", self.shown());
                return Err(Failure::new(FailureCode::Io, text).into());
            }
            self.send(codec::encode(frame::DATA, piece.get(..read).unwrap_or_default()))?;
            left -= read as u64;
        }
        Ok(())
    }

    fn entry(
        &self,
        kind: PackedKind,
        stat: &FileStat,
        size: u64,
        target: &[u8],
    ) -> Result<(), Broken> {
        let about = About {
            kind,
            mode: stat.st_mode & 0o7777,
            size,
            modified_at_ms: entry::modified(stat),
        };
        self.send(Packed { about, name: self.name.clone(), target: target.to_vec() }.encode())
    }

    fn send(&self, frame: Bytes) -> Result<(), Broken> {
        self.frames.blocking_send(frame).map_err(|_| Broken::Taker)
    }

    fn failed(&self, errno: Errno) -> Broken {
        Failure::new(self.place.failure(errno).code, format!("{}: {}", self.shown(), errno.desc()))
            .into()
    }

    fn shown(&self) -> String {
        self.place.shown.join(OsStr::from_bytes(&self.name)).display().to_string()
    }
}
