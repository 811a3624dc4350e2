//! The entries of a zip, as its directory at the end has them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::NaiveDate;
use miosa_agent::packed::PackedKind;
use zip::ZipArchive;
use zip::read::ZipFile;

use super::invalid;
use super::limits::{Budget, MAX_ENTRIES, too_large};
use super::read_tar::Visit;
use super::rules::Found;
use crate::http::{ApiError, ApiResult, codes};

/// How much is read to find out what there is: the directory stays in memory.
const MAX_DIRECTORY: u64 = 16 * 1024 * 1024;

const TYPE: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// The longest target of a link.
const MAX_TARGET: u64 = 4096;

/// Goes through a zip.
///
/// # Errors
/// 400 when it is none, not whole or encrypted, 413 when it becomes too large, and what `visit` answers.
pub fn each(file: &File, budget: &Budget, visit: Visit<'_>) -> ApiResult<()> {
    let left = Arc::new(AtomicU64::new(MAX_DIRECTORY));
    let reader = Bounded { reader: BufReader::new(file), left: left.clone() };
    let opened = ZipArchive::new(reader);
    if left.load(Ordering::Relaxed) == 0 {
        return Err(too_large("its directory has more than 16 MiB"));
    }
    left.store(u64::MAX, Ordering::Relaxed);
    let mut archive = opened.map_err(invalid)?;
    if archive.len() > MAX_ENTRIES {
        return Err(too_large(format!("it has more than {MAX_ENTRIES} entries")));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(invalid)?;
        let failed = |error: io::Error| budget.check().err().unwrap_or_else(|| invalid(error));
        let mut found = found(&entry)?;
        let mut content = budget.on(&mut entry);
        if found.kind == Some(PackedKind::Symlink) {
            (&mut content).take(MAX_TARGET).read_to_end(&mut found.target).map_err(failed)?;
            found.size = 0;
        }
        let mut counted = Counted { reader: content, bytes: 0 };
        let announced = found.size;
        visit(found, &mut counted)?;
        io::copy(&mut counted, &mut io::sink()).map_err(failed)?;
        if counted.bytes != announced {
            return Err(invalid("an entry is not as long as it says"));
        }
    }
    Ok(())
}

fn found<R: Read>(entry: &ZipFile<'_, R>) -> ApiResult<Found> {
    let name = entry.name();
    // Some programs write it for a slash, and would climb with it.
    if name.contains('\\') {
        let text = format!("The archive is refused: its entry {name:?} has a backslash.");
        return Err(ApiError::new(codes::FORBIDDEN_PATH, text));
    }
    let mode = entry.unix_mode().unwrap_or_default();
    let permissions = mode & 0o777;
    let kind = match mode & TYPE {
        SYMLINK => Some(PackedKind::Symlink),
        0 | REGULAR | DIRECTORY if entry.is_dir() || mode & TYPE == DIRECTORY => {
            Some(PackedKind::Dir)
        }
        0 | REGULAR => Some(PackedKind::File),
        _ => None,
    };
    let usual = if kind == Some(PackedKind::Dir) { 0o755 } else { 0o644 };
    Ok(Found {
        kind,
        name: name.as_bytes().to_vec(),
        target: Vec::new(),
        mode: if permissions == 0 { usual } else { permissions },
        size: entry.size(),
        modified_at_ms: entry.last_modified().and_then(milliseconds).unwrap_or_default(),
    })
}

/// A zip has no time zone: it is taken for UTC.
fn milliseconds(time: zip::DateTime) -> Option<i64> {
    let day = NaiveDate::from_ymd_opt(time.year().into(), time.month().into(), time.day().into())?;
    let time = day.and_hms_opt(time.hour().into(), time.minute().into(), time.second().into())?;
    Some(time.and_utc().timestamp_millis())
}

/// A reader that fails when it has read too much.
struct Bounded<R> {
    reader: R,
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.load(Ordering::Relaxed).saturating_sub(read as u64);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(read) }
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
