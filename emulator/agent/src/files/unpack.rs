//! Files into the machine as one stream, below one directory.
//!
//! Each entry's directory is opened anew below the root (`beneath`), so that neither a link that lies there nor one
//! that is put there meanwhile leads out. An entry is made under a name of its own and then renamed: what it replaces
//! is replaced whole, and a link is replaced, not followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::codec::Decoder;
use miosa_agent::packed::{About, Packed, PackedKind, Unpacked};
use miosa_agent::protocol::{Failure, FailureCode, frame};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::answer::{Outcome, invalid, json};
use crate::beneath;
use crate::machine::Machine;
use crate::paths::{Place, fresh_name, proc_path, stat_in};
use crate::routes::blocking;

/// How many frames arrive ahead of the disk.
const AHEAD: usize = 8;

/// Bits that an archive may set: it makes no program that runs as somebody else.
const MODE: u32 = 0o777;

#[derive(Deserialize)]
pub struct Which {
    path: String,
}

pub async fn take(machine: Arc<Machine>, which: Which, mut body: Incoming) -> Outcome {
    let (frames, arrived) = mpsc::channel(AHEAD);
    let work = blocking(move || {
        let place = machine.workspace.place(&which.path)?;
        Unpacking::begin(place)?.all(arrived)
    });
    let arriving = async move {
        let mut decoder = Decoder::default();
        while let Some(arrived) = body.frame().await {
            let Ok(bytes) = arrived.map_err(invalid)?.into_data() else { continue };
            decoder.feed(&bytes);
            while let Some(frame) = decoder.frame().map_err(invalid)? {
                // Whoever unpacks has ended, and says why.
                if frames.send(frame).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok::<_, Failure>(())
    };
    let (arrived, unpacked) = tokio::join!(arriving, work);
    let unpacked = unpacked?;
    arrived?;
    json(&unpacked)
}

struct Unpacking {
    place: Place,
    root: OwnedFd,
    file: Option<Open>,
    /// Made here: they get their own permissions at the end, when nothing has to be written into them any more.
    directories: Vec<(PathBuf, About)>,
    done: Unpacked,
}

/// A file that is being written.
struct Open {
    name: PathBuf,
    directory: OwnedFd,
    temporary: OsString,
    file: File,
    about: About,
    left: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Gone already where it was put in its place.
        let _ = unlinkat(&self.directory, self.temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

impl Unpacking {
    fn begin(place: Place) -> Result<Self, Failure> {
        let root = place.make_directory()?;
        let done = Unpacked::default();
        Ok(Self { place, root, file: None, directories: Vec::new(), done })
    }

    fn all(mut self, mut frames: mpsc::Receiver<(u8, Bytes)>) -> Result<Unpacked, Failure> {
        while let Some((kind, payload)) = frames.blocking_recv() {
            match kind {
                frame::ENTRY => {
                    self.close()?;
                    let entry = Packed::decode(&payload).ok_or_else(|| invalid("no entry"))?;
                    self.entry(entry)?;
                }
                frame::DATA => self.data(&payload)?,
                frame::END => {
                    self.close()?;
                    self.settle()?;
                    return Ok(self.done);
                }
                _ => return Err(invalid("no frame of packed files")),
            }
        }
        Err(invalid("the packed files were cut off"))
    }

    fn entry(&mut self, Packed { about, name, target }: Packed) -> Result<(), Failure> {
        let name = clean(&name)?;
        match about.kind {
            PackedKind::Dir => {
                self.done.directories += 1;
                return self.directory(name, about);
            }
            PackedKind::File => {}
            PackedKind::Symlink | PackedKind::HardLink => self.done.links += 1,
        }
        let (parent, last) = self.parent(&name)?;
        let temporary = fresh_name(stat_in(&parent, &last).is_ok());
        let made = match about.kind {
            PackedKind::Symlink => {
                symlinkat(OsStr::from_bytes(&target), &parent, temporary.as_os_str())
            }
            PackedKind::HardLink => {
                let (other, file) = self.parent(&clean(&target)?)?;
                let (file, temporary) = (file.as_os_str(), temporary.as_os_str());
                linkat(&other, file, &parent, temporary, AtFlags::empty())
            }
            PackedKind::Dir | PackedKind::File => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                let private = Mode::from_bits_truncate(0o600);
                let made = openat(&parent, temporary.as_os_str(), flags, private);
                let file = File::from(made.map_err(|errno| self.failed(&name, errno))?);
                let left = about.size;
                let directory = parent;
                self.file = Some(Open { name, directory, temporary, file, about, left });
                return Ok(());
            }
        };
        made.map_err(|errno| self.failed(&name, errno))?;
        let placed = renameat(&parent, temporary.as_os_str(), &parent, last.as_os_str());
        // Also there after a rename onto another name of the same file, which does nothing.
        let _ = unlinkat(&parent, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        placed.map_err(|errno| self.failed(&name, errno))
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.file else { return Err(invalid("bytes of no file")) };
        open.left = open
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| invalid("more bytes than the file has"))?;
        open.file.write_all(bytes).map_err(|error| self.place.io(&error))?;
        self.done.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Puts the file at hand in its place.
    fn close(&mut self) -> Result<(), Failure> {
        let Some(open) = self.file.take() else { return Ok(()) };
        if open.left > 0 {
            return Err(invalid("fewer bytes than the file has"));
        }
        let last = open.name.file_name().unwrap_or_default();
        let time = time(open.about.modified_at_ms);
        fchmod(&open.file, Mode::from_bits_truncate(open.about.mode & MODE))
            .and_then(|()| futimens(&open.file, &time, &time))
            .and_then(|()| {
                renameat(&open.directory, open.temporary.as_os_str(), &open.directory, last)
            })
            .map_err(|errno| self.failed(&open.name, errno))?;
        self.done.files += 1;
        Ok(())
    }

    fn directory(&mut self, name: PathBuf, about: About) -> Result<(), Failure> {
        let (parent, last) = self.parent(&name)?;
        match mkdirat(&parent, last.as_os_str(), Mode::from_bits_truncate(0o700)) {
            Ok(()) => self.directories.push((name, about)),
            Err(Errno::EEXIST) => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                self.judged(&name, beneath::below(&self.root, &name, flags))?;
            }
            Err(errno) => return Err(self.failed(&name, errno)),
        }
        Ok(())
    }

    /// The directory that holds the entry, made where it is not there, and the entry's last name.
    fn parent(&self, name: &Path) -> Result<(OwnedFd, OsString), Failure> {
        let last = name.file_name().unwrap_or_default().to_owned();
        let parent = self.below(name.parent().unwrap_or(Path::new("")))?;
        self.place.within(&parent, &last)?;
        Ok((parent, last))
    }

    fn below(&self, directory: &Path) -> Result<OwnedFd, Failure> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match beneath::below(&self.root, directory, flags) {
            Err(Errno::ENOENT) if !directory.as_os_str().is_empty() => {
                let (parent, last) = self.parent(directory)?;
                match mkdirat(&parent, last.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(self.failed(directory, errno)),
                }
                self.judged(directory, beneath::below(&self.root, directory, flags))
            }
            opened => self.judged(directory, opened),
        }
    }

    fn settle(&self) -> Result<(), Failure> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        for (name, about) in self.directories.iter().rev() {
            // Whoever works in the machine may have taken it away meanwhile.
            let Ok(directory) = beneath::below(&self.root, name, flags) else { continue };
            let time = time(about.modified_at_ms);
            let settled = std::fs::set_permissions(
                proc_path(&directory),
                std::os::unix::fs::PermissionsExt::from_mode(about.mode & MODE),
            );
            settled.map_err(|error| self.place.io(&error))?;
            futimens(&directory, &time, &time).map_err(|errno| self.failed(name, errno))?;
        }
        Ok(())
    }

    fn judged(&self, name: &Path, opened: Result<OwnedFd, Errno>) -> Result<OwnedFd, Failure> {
        let fd = opened.map_err(|errno| self.failed(name, errno))?;
        self.place.judged(Ok(fd))
    }

    fn failed(&self, name: &Path, errno: Errno) -> Failure {
        let shown = self.place.shown.join(name);
        let why = match errno {
            Errno::EXDEV | Errno::ELOOP => "a link leads out of the directory",
            other => other.desc(),
        };
        let code = match errno {
            Errno::ELOOP => FailureCode::ForbiddenPath,
            other => self.place.failure(other).code,
        };
        Failure::new(code, format!("{}: {why}", shown.display()))
    }
}

/// The path of an entry: names only, at least one.
fn clean(name: &[u8]) -> Result<PathBuf, Failure> {
    let path = Path::new(OsStr::from_bytes(name));
    let names_only = path.components().all(|part| matches!(part, Component::Normal(_)));
    if names_only && path.file_name().is_some() && !name.contains(&0) {
        return Ok(path.to_owned());
    }
    let text = format!("{}: not a path below the directory", path.display());
    Err(Failure::new(FailureCode::ForbiddenPath, text))
}

fn time(ms: i64) -> TimeSpec {
    TimeSpec::new(ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_an_entry_is_called_it_stays_below(
            name in "([.a/]|\\.\\.|/){0,12}", target in "([.a/]|\\.\\.|/){0,12}", kind in 0..4,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let inside = dir.path().join("inside");
            std::fs::create_dir(&inside).unwrap();
            let workspace = crate::paths::Workspace::new(inside);
            let mut unpacking = Unpacking::begin(workspace.place(".").unwrap()).unwrap();
            let kind = [PackedKind::File, PackedKind::Dir, PackedKind::Symlink, PackedKind::HardLink]
                [usize::try_from(kind).unwrap()];
            let about = About { kind, mode: 0o644, size: 0, modified_at_ms: 0 };
            let entry = Packed { about, name: name.clone().into(), target: target.into() };
            let _ = unpacking.entry(entry).and_then(|()| unpacking.close());
            // And through it, should it be a link.
            let about = About { kind: PackedKind::File, ..about };
            let through = Packed { about, name: format!("{name}/x").into(), target: Vec::new() };
            let _ = unpacking.entry(through).and_then(|()| unpacking.close());
            drop(unpacking);
            let outside: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            prop_assert_eq!(outside, ["inside"]);
        }
    }
}
