//! Paths that come from outside, and how they become open descriptors.
//!
//! A path is cleaned by its words, then opened (`beneath`) as an `O_PATH` descriptor, which has no effect on what it
//! names: a FIFO does not wait, a device is not touched. What was *opened* is then judged (file system and place), so
//! no link and no race leads below `/proc`, `/sys` or `/dev`. Only then is it opened again for the work.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use miosa_agent::protocol::{Failure, FailureCode};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;

use crate::beneath;

/// Where relative paths begin, as clients write it.
pub const WORKSPACE: &str = "/workspace";

const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
const MAX_LINKS: usize = 40;

/// File systems of the kernel's own, by their magic (`linux/magic.h`): proc, sysfs, devpts, cgroup, cgroup2,
/// debugfs, tracefs, securityfs, bpf, nsfs, selinux, efivarfs, pipefs, sockfs, anon_inodefs, mqueue.
const KERNEL: &[i64] = &[
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0x6e73_6673,
    0xf97c_ff8c,
    0xde5e_81e4,
    0x5049_5045,
    0x534f_434b,
    0x0904_1934,
    0x1980_0202,
];

const FORBIDDEN: &[&str] = &["/proc", "/sys", "/dev"];

/// The directory that clients know as `/workspace`.
pub struct Workspace(PathBuf);

/// A path as the client knows it, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute and clean.
    pub shown: PathBuf,
    /// The same, except below a workspace that lies elsewhere.
    pub real: PathBuf,
}

impl Workspace {
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Where it really is.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The place that `path` names, if it is for files.
    pub fn place(&self, path: &str) -> Result<Place, Failure> {
        let place = self.anywhere(path)?;
        if forbidden(&place.real) { Err(place.forbidden()) } else { Ok(place) }
    }

    /// The place that `path` names. Dots are worked out by the words, before any link is followed.
    pub fn anywhere(&self, path: &str) -> Result<Place, Failure> {
        let refuse = |why: &str| Err(Failure::new(FailureCode::InvalidPath, why.to_owned()));
        if path.is_empty() {
            return refuse("the path is empty");
        }
        if path.contains('\0') {
            return refuse("the path holds a NUL byte");
        }
        if path.len() >= MAX_PATH {
            return refuse("the path is longer than 4095 bytes");
        }
        let mut shown = PathBuf::from("/");
        for part in Path::new(WORKSPACE).join(path).components() {
            match part {
                Component::Normal(name) if name.len() > MAX_NAME => {
                    return refuse("a part of the path is longer than 255 bytes");
                }
                Component::Normal(name) => shown.push(name),
                Component::ParentDir => {
                    shown.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let real = match shown.strip_prefix(WORKSPACE) {
            Ok(below) if below.as_os_str().is_empty() => self.0.clone(),
            Ok(below) => self.0.join(below),
            Err(_) => shown.clone(),
        };
        Ok(Place { shown, real })
    }
}

fn forbidden(path: &Path) -> bool {
    FORBIDDEN.iter().any(|root| path.starts_with(root))
}

impl Place {
    pub fn forbidden(&self) -> Failure {
        let text =
            format!("{} is not for files: it is a device or the kernel's", self.shown.display());
        Failure::new(FailureCode::ForbiddenPath, text)
    }

    /// What the system said, as a failure about this path.
    pub fn failure(&self, errno: Errno) -> Failure {
        let code = match errno {
            Errno::ENOENT => FailureCode::NotFound,
            Errno::EEXIST => FailureCode::Exists,
            Errno::EISDIR => FailureCode::IsDirectory,
            Errno::ENOTDIR => FailureCode::NotDirectory,
            Errno::ENOTEMPTY => FailureCode::NotEmpty,
            // What is mounted there stays where it is; what leads out of a directory stays outside.
            Errno::EBUSY | Errno::EXDEV | Errno::EACCES | Errno::EPERM | Errno::EROFS => {
                FailureCode::ForbiddenPath
            }
            Errno::ENAMETOOLONG | Errno::ELOOP | Errno::EINVAL => FailureCode::InvalidPath,
            Errno::ENOSPC | Errno::EDQUOT => FailureCode::NoSpace,
            _ => FailureCode::Io,
        };
        Failure::new(code, format!("{}: {}", self.shown.display(), errno.desc()))
    }

    pub fn io(&self, error: &std::io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => self.failure(Errno::from_raw(errno)),
            None => Failure::new(FailureCode::Io, format!("{}: {error}", self.shown.display())),
        }
    }

    /// The last part of the path; `/` has none.
    pub fn name(&self) -> Result<&OsStr, Failure> {
        self.real.file_name().ok_or_else(|| {
            Failure::new(FailureCode::ForbiddenPath, "the root directory stays as it is")
        })
    }

    /// The parent's place.
    pub fn parent(&self) -> Place {
        let up = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Place { shown: up(&self.shown), real: up(&self.real) }
    }

    /// A descriptor of what the path names, links followed, good for looking only.
    pub fn open(&self) -> Result<OwnedFd, Failure> {
        self.judged(beneath::plain(&self.real, OFlag::O_PATH))
    }

    /// The directory that the path names.
    fn open_directory(&self) -> Result<OwnedFd, Failure> {
        self.judged(beneath::plain(&self.real, OFlag::O_PATH | OFlag::O_DIRECTORY))
    }

    /// The directory that the path names, made with its own parents where it is not there.
    pub fn make_directory(&self) -> Result<OwnedFd, Failure> {
        let (mut at, mut missing) = (self.clone(), Vec::new());
        let mut here = loop {
            match at.open_directory() {
                Err(failure) if failure.code == FailureCode::NotFound => {
                    missing.push(at.name()?.to_owned());
                    at = at.parent();
                }
                opened => break opened?,
            }
        };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        for name in missing.iter().rev() {
            self.within(&here, name)?;
            match mkdirat(&here, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                // Somebody else may make it at the same time.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.failure(errno)),
            }
            here = self.judged(openat(&here, name.as_os_str(), flags, Mode::empty()))?;
        }
        Ok(here)
    }

    /// The directory that holds it.
    pub fn open_parent(&self) -> Result<OwnedFd, Failure> {
        let parent = self.parent().open_directory()?;
        self.within(&parent, self.name()?)?;
        Ok(parent)
    }

    /// The directory that holds it, made with its own parents where it is not there.
    pub fn make_parent(&self) -> Result<OwnedFd, Failure> {
        let parent = self.parent().make_directory()?;
        self.within(&parent, self.name()?)?;
        Ok(parent)
    }

    /// Refuses a name that is not for files in a directory that is: `dev` in `/`, to which a link may have led.
    pub fn within(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Failure> {
        match location(directory) {
            Some(place) if !forbidden(&place.join(name)) => Ok(()),
            _ => Err(self.forbidden()),
        }
    }

    /// Where bytes written to this path go: the end of a chain of links, which need not exist.
    pub fn target(&self) -> Result<Place, Failure> {
        let mut place = self.clone();
        for _ in 0..MAX_LINKS {
            let parent = match place.open_parent() {
                Err(failure) if failure.code == FailureCode::NotFound => return Ok(place),
                parent => parent?,
            };
            match stat_in(&parent, place.name()?) {
                Ok(stat) if kind(&stat) == SFlag::S_IFLNK => {
                    let link = readlinkat(&parent, place.name()?).map_err(|e| self.failure(e))?;
                    let mut real = location(&parent).ok_or_else(|| self.forbidden())?;
                    real.push(link);
                    place = Place { shown: self.shown.clone(), real };
                }
                _ => return Ok(place),
            }
        }
        Err(self.failure(Errno::ELOOP))
    }

    /// Passes on what was opened if it is for files.
    pub fn judged(&self, opened: Result<OwnedFd, Errno>) -> Result<OwnedFd, Failure> {
        let fd = opened.map_err(|errno| self.failure(errno))?;
        if for_files(&fd) { Ok(fd) } else { Err(self.forbidden()) }
    }

    /// Opens a judged descriptor again for reading, if it is a regular file.
    pub fn read(&self, fd: &OwnedFd) -> Result<File, Failure> {
        match kind(&fstat(fd).map_err(|errno| self.failure(errno))?) {
            SFlag::S_IFREG => reopen(fd).map_err(|error| self.io(&error)),
            SFlag::S_IFDIR => Err(self.failure(Errno::EISDIR)),
            _ => Err(self.forbidden()),
        }
    }
}

fn reopen(fd: &OwnedFd) -> std::io::Result<File> {
    OpenOptions::new().read(true).open(proc_path(fd))
}

/// A path to exactly what the descriptor holds.
pub fn proc_path(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Whether what was opened is a place for files: by its file system, and by where it is.
pub fn for_files(fd: &OwnedFd) -> bool {
    let kernel = fstatfs(fd).map_or(true, |fs| KERNEL.contains(&magic(fs.filesystem_type())));
    !kernel && location(fd).is_some_and(|place| !forbidden(&place))
}

#[allow(clippy::unnecessary_cast)] // its width differs between architectures
fn magic(kind: nix::sys::statfs::FsType) -> i64 {
    kind.0 as i64 & 0xffff_ffff
}

/// Where the kernel says that it is; `None` for what has no place in the tree.
pub fn location(fd: &impl AsRawFd) -> Option<PathBuf> {
    std::fs::read_link(proc_path(fd)).ok().filter(|path| path.is_absolute())
}

/// What `name` in a directory is, itself and not what it links to.
pub fn stat_in(directory: &impl AsFd, name: &OsStr) -> Result<FileStat, Errno> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The file type of a stat.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// How the names of files begin and end that are about to become others.
const TEMPORARY: (&[u8], &[u8]) = (b".miosa-", b".tmp");
const REPLACING: &[u8] = b"-over.tmp";

/// A name for a file that is not there yet, different at every call, and from those of every other agent: each is
/// process 1, and what one that was killed has left (or a snapshot has kept) must not be in the next one's way. `over`:
/// it will replace another.
pub fn fresh_name(over: bool) -> OsString {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static AGENT: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let over = if over { "-over" } else { "" };
    format!(".miosa-{:016x}-{number}{over}.tmp", *AGENT).into()
}

/// Whether the name is one of [`fresh_name`], and then whether it will replace another.
pub fn temporary(name: &OsStr) -> Option<bool> {
    let name = name.as_bytes();
    let ours = name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1);
    ours.then(|| name.ends_with(REPLACING))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Result<Place, Failure> {
        Workspace::new("/data/w".into()).place(path)
    }

    #[test]
    fn relative_and_workspace_paths_mean_the_workspace() {
        for path in ["a/b", "./a//b", "/workspace/a/b", "/workspace/x/../a/b", "../workspace/a/b"] {
            let found = place(path).unwrap();
            assert_eq!(found.shown, Path::new("/workspace/a/b"), "{path}");
            assert_eq!(found.real, Path::new("/data/w/a/b"), "{path}");
        }
        assert_eq!(place("/workspace").unwrap().real, Path::new("/data/w"));
        assert_eq!(place("/etc/../../tmp").unwrap().real, Path::new("/tmp"));
        assert_eq!(place("/workspaces").unwrap().real, Path::new("/workspaces"));
    }

    #[test]
    fn paths_that_cannot_be_are_refused() {
        let long_name = "n".repeat(256);
        let long_path = "p/".repeat(2048);
        for path in ["", "a\0b", &long_name, &long_path] {
            assert_eq!(place(path).unwrap_err().code, FailureCode::InvalidPath);
        }
        for path in
            ["/proc", "/proc/1/mem", "/dev/null", "/sys/x", "../../dev/sda", "/./proc/../sys"]
        {
            assert_eq!(place(path).unwrap_err().code, FailureCode::ForbiddenPath, "{path}");
        }
        assert!(place("/procession").is_ok());
    }

    #[test]
    fn a_link_cannot_lead_below_the_kernels_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc", dir.path().join("p")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("z")).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd/0", dir.path().join("i")).unwrap();
        let workspace = Workspace::new(dir.path().into());
        for path in ["p", "p/1/status", "z", "i"] {
            let refusal = workspace.place(path).unwrap().open().unwrap_err();
            assert_eq!(refusal.code, FailureCode::ForbiddenPath, "{path}");
        }
        let refusal = workspace.place("p/new").unwrap().make_parent().unwrap_err();
        assert_eq!(refusal.code, FailureCode::ForbiddenPath);
    }

    #[test]
    fn a_link_to_the_root_does_not_give_away_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("r")).unwrap();
        let workspace = Workspace::new(dir.path().into());
        for path in ["r/dev", "r/proc", "r/sys"] {
            let place = workspace.place(path).unwrap();
            for refusal in [place.open_parent(), place.make_parent(), place.open()] {
                assert_eq!(refusal.unwrap_err().code, FailureCode::ForbiddenPath, "{path}");
            }
        }
        assert!(workspace.place("r/tmp").unwrap().open_parent().is_ok());
    }
}
