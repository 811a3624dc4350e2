//! One emulator per data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// How long the lock of a process that is dead may still be held: a child that it was just starting shares its open
/// files until that has become another program.
const PASSING: Duration = Duration::from_secs(10);

/// Holds the data directory; the system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: Flock<File>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another emulator works on it.
    #[error("{path} is in use by another emulator ({holder}); stop it, or choose another --data directory", path = path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Process id and address, as that emulator wrote them.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl DataLock {
    /// Takes the directory, making it when it is not there (readable by its owner only).
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        let io = |path: &Path, error| LockError::Io { path: path.to_owned(), error };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(dir)
            .map_err(|error| io(dir, error))?;
        let path = dir.join("lock");
        let mut holder;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| io(&path, error))?;
        let deadline = Instant::now() + PASSING;
        loop {
            (file, holder) = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut file) => {
                    let written = file
                        .set_len(0)
                        .and_then(|()| file.rewind())
                        .and_then(|()| write!(file, "process {}", std::process::id()));
                    written.map_err(|error| io(&path, error))?;
                    return Ok(Self { _file: file });
                }
                Err((mut file, _)) => {
                    let mut holder = String::new();
                    let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
                    (file, holder)
                }
            };
            if lives(&holder) || Instant::now() > deadline {
                return Err(LockError::Held { path: dir.to_owned(), holder });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether the process that wrote itself into the lock is there; one that wrote nothing yet is.
fn lives(holder: &str) -> bool {
    let Some(pid) = holder.strip_prefix("process ") else { return true };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // `7 (name) S …`: a name may have spaces and brackets in it. What is dead and not yet buried holds nothing.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_emulator_is_refused_and_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataLock::take(dir.path()).unwrap();
        let refused = DataLock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        DataLock::take(dir.path()).unwrap();
    }

    #[test]
    fn the_lock_of_a_dead_emulator_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataLock::take(dir.path()).unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        std::fs::write(dir.path().join("lock"), format!("process {}", dead.id())).unwrap();
        dead.wait().unwrap();
        let path = dir.path().to_owned();
        let next = std::thread::spawn(move || DataLock::take(&path).map(drop));
        // Long enough for it to have been refused, were it not patient.
        std::thread::sleep(Duration::from_millis(50));
        assert!(!next.is_finished());
        drop(held);
        next.join().unwrap().unwrap();
    }

    #[test]
    fn who_is_dead_and_not_yet_buried_holds_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let holder = format!("process {}", child.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        while lives(&holder) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(!lives(&holder));
        assert!(lives(&format!("process {}", std::process::id())));
    }
}
