//! Opening a path so that it cannot lead where it should not: the kernel resolves it in one step (`openat2`), so that
//! nobody can swap a directory for a link between a look and the opening.
//!
//! A kernel before 5.6, or a filter that does not know the call, leaves two equals: what [`plain`] opened is judged by
//! where it is (`paths`), and [`below`] goes part by part and follows no link at all.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;

/// How often a resolution is begun anew because somebody renamed directories meanwhile.
const ATTEMPTS: usize = 64;

/// Whether `openat2` can be called here.
static KNOWN: LazyLock<bool> =
    LazyLock::new(|| openat2(AT_FDCWD, "/", how(OFlag::O_PATH, ResolveFlag::empty())).is_ok());

fn how(flags: OFlag, resolve: ResolveFlag) -> OpenHow {
    OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve)
}

/// Opens an absolute path. Links are followed, but not the kernel's own (`/proc/1/root`, `/proc/self/fd/3`): they lead
/// to what has no name here.
pub fn plain(path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let classic = || open(path, flags | OFlag::O_CLOEXEC, Mode::empty());
    if !*KNOWN {
        return classic();
    }
    match openat2(AT_FDCWD, path, how(flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)) {
        // Links in a circle, or one of the kernel's: the latter would open.
        Err(Errno::ELOOP) => Err(classic().map_or_else(|errno| errno, |_| Errno::EACCES)),
        opened => opened,
    }
}

/// Opens what `path` names below `directory`. A link that leads out of it, even by a detour, is `EXDEV`.
pub fn below(directory: &OwnedFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if !*KNOWN {
        return part_by_part(directory, path, flags);
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(directory, path, how(flags, resolve)) {
            Err(Errno::EAGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::EAGAIN)
}

/// The same for a kernel that lacks the call: no link is followed, so that none can lead out.
fn part_by_part(directory: &OwnedFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let step = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let look = OFlag::O_PATH | OFlag::O_DIRECTORY | step;
    let mut parts: Vec<_> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::EXDEV),
        }
    }
    let Some((last, above)) = parts.split_last() else {
        return openat(directory, ".", flags | step, Mode::empty());
    };
    let mut here = openat(directory, ".", look, Mode::empty())?;
    for part in above {
        here = openat(&here, *part, look, Mode::empty())?;
    }
    openat(&here, *last, flags | step, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LOOK: OFlag = OFlag::O_PATH;

    #[test]
    fn nothing_below_a_directory_leads_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("..", inside.join("up")).unwrap();
        symlink("a/b", inside.join("down")).unwrap();
        symlink("/etc", inside.join("etc")).unwrap();
        let root = plain(&inside, LOOK).unwrap();
        for way in [below, part_by_part] {
            assert!(way(&root, Path::new("a/b"), LOOK).is_ok());
            assert!(way(&root, Path::new("."), LOOK).is_ok());
            for path in ["..", "a/../../secret", "up/secret", "etc/passwd", "/etc/passwd"] {
                assert!(way(&root, Path::new(path), LOOK).is_err(), "{path}");
            }
        }
        if *KNOWN {
            assert!(below(&root, Path::new("down"), LOOK).is_ok());
            assert_eq!(below(&root, Path::new("up/secret"), LOOK).unwrap_err(), Errno::EXDEV);
        }
    }

    #[test]
    fn the_kernels_own_links_are_not_followed() {
        for path in ["/proc/self/root/etc", "/proc/self/cwd"] {
            assert_eq!(plain(Path::new(path), LOOK).unwrap_err(), Errno::EACCES, "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        symlink("circle", dir.path().join("circle")).unwrap();
        assert_eq!(plain(&dir.path().join("circle"), LOOK).unwrap_err(), Errno::ELOOP);
    }
}
