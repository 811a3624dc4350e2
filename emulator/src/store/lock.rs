//! One emulator per data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

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
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| io(&path, error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let written = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| write!(file, "process {}", std::process::id()));
                written.map_err(|error| io(&path, error))?;
                Ok(Self { _file: file })
            }
            Err((mut file, _)) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                Err(LockError::Held { path: dir.to_owned(), holder })
            }
        }
    }
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
}
