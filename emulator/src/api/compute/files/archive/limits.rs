//! How large an archive may become. What it announces of itself counts nothing: bytes are counted as they appear.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::{ApiError, ApiResult, codes};

/// The largest archive, in bytes.
pub const MAX_PACKED: usize = 256 * 1024 * 1024;

/// The largest content, in bytes.
pub const MAX_UNPACKED: u64 = 1024 * 1024 * 1024;

/// So many times larger may the content be than the archive…
const MAX_RATIO: u64 = 200;

/// …once it is more than this.
const FREE: u64 = 16 * 1024 * 1024;

/// The most entries.
pub const MAX_ENTRIES: usize = 50_000;

/// The most bytes of all names and targets together.
pub const MAX_NAMES: usize = 16 * 1024 * 1024;

/// The bytes that an archive may still become.
#[derive(Debug, Clone)]
pub struct Budget {
    left: Arc<AtomicU64>,
    most: u64,
}

impl Budget {
    /// For an archive of so many bytes.
    pub fn of(packed: u64) -> Self {
        let most = MAX_UNPACKED.min(FREE.max(packed.saturating_mul(MAX_RATIO)));
        Self { left: Arc::new(AtomicU64::new(most)), most }
    }

    /// A reader that takes from the budget what it reads, and fails when nothing is left.
    pub fn on<R: Read>(&self, reader: R) -> Metered<R> {
        Metered { reader, budget: self.clone() }
    }

    /// Why there was nothing left; `Ok` while there is.
    ///
    /// # Errors
    /// 413 `ARCHIVE_TOO_LARGE`.
    pub fn check(&self) -> ApiResult<()> {
        if self.left.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(too_large(format!("it becomes more than {} bytes", self.most)))
    }
}

/// An archive that is refused for its size.
pub fn too_large(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(codes::ARCHIVE_TOO_LARGE, format!("The archive is too large: {why}."))
}

/// A reader whose bytes are counted.
pub struct Metered<R> {
    reader: R,
    budget: Budget,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(read as u64))
        });
        if taken.unwrap_or_default() <= read as u64 && read > 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_stopped_where_it_goes_off() {
        let budget = Budget::of(1000);
        let mut bomb = budget.on(io::repeat(0));
        let copied = io::copy(&mut bomb, &mut io::sink());
        assert!(copied.is_err());
        assert_eq!(budget.check().unwrap_err().code, codes::ARCHIVE_TOO_LARGE);
        let honest = Budget::of(100 * 1024 * 1024);
        let content = io::repeat(0).take(900 * 1024 * 1024);
        assert!(io::copy(&mut honest.on(content), &mut io::sink()).is_ok());
        assert!(honest.check().is_ok());
    }
}
