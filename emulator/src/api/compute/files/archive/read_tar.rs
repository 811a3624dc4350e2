//! The entries of a tar, compressed or not.
//!
//! Read raw: what goes before an entry (long names, pax records) is read here, within a bound, since the crate would
//! read it whole however long it is.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use miosa_agent::packed::PackedKind;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::invalid;
use super::limits::Budget;
use super::rules::Found;
use crate::http::ApiResult;

/// The longest name or set of pax records, in bytes.
const MAX_ASIDE: u64 = 64 * 1024;

/// The block that ends a tar, in bytes; two of them do, but one is enough to know.
const END: u64 = 512;

/// What is done with each entry and its content.
pub type Visit<'v> = &'v mut dyn FnMut(Found, &mut dyn Read) -> ApiResult<()>;

/// Goes through a tar.
///
/// # Errors
/// 400 when it is none or not whole, 413 when it becomes too large, and what `visit` answers.
pub fn each(mut file: &File, gzip: bool, budget: &Budget, visit: Visit<'_>) -> ApiResult<()> {
    file.rewind().map_err(invalid)?;
    let reader = BufReader::with_capacity(128 * 1024, file);
    let plain: Box<dyn Read + '_> =
        if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let zeros = Rc::new(Cell::new(0));
    let mut archive = Archive::new(Zeros { reader: budget.on(plain), last: zeros.clone() });
    let mut visit = |found: Found, content: &mut dyn Read| {
        visit(found, content)?;
        // What the visitor left is read, so that the budget sees it.
        io::copy(content, &mut io::sink()).map_err(|error| failed(budget, &error))?;
        zeros.set(0);
        Ok(())
    };
    entries(&mut archive, budget, &mut visit)?;
    if zeros.get() < END {
        return Err(invalid("it is cut off"));
    }
    // Up to the checksum of what is compressed.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| failed(budget, &error))?;
    Ok(())
}

/// Bytes came to an end, or were no archive; or there were too many.
fn failed(budget: &Budget, error: &io::Error) -> crate::http::ApiError {
    budget.check().err().unwrap_or_else(|| invalid(error))
}

fn entries<R: Read>(archive: &mut Archive<R>, budget: &Budget, visit: Visit<'_>) -> ApiResult<()> {
    let failed = |error: io::Error| failed(budget, &error);
    let mut aside = Aside::default();
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::GNULongName => aside.name = Some(text(&mut entry, budget)?),
            EntryType::GNULongLink => aside.target = Some(text(&mut entry, budget)?),
            EntryType::XHeader => {
                let records = read_aside(&mut entry, budget)?;
                aside.pax(&records, budget)?;
            }
            kind => {
                let found = std::mem::take(&mut aside).found(&entry, kind, budget)?;
                visit(found, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn read_aside<R: Read>(entry: &mut Entry<'_, R>, budget: &Budget) -> ApiResult<Vec<u8>> {
    if entry.header().entry_size().map_err(invalid)? > MAX_ASIDE {
        return Err(invalid("a name is too long"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| failed(budget, &error))?;
    Ok(bytes)
}

/// A name that ends in NUL.
fn text<R: Read>(entry: &mut Entry<'_, R>, budget: &Budget) -> ApiResult<Vec<u8>> {
    let mut bytes = read_aside(entry, budget)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// What was said of the next entry before it came.
#[derive(Default)]
struct Aside {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    modified_at_ms: Option<i64>,
}

impl Aside {
    fn pax(&mut self, records: &[u8], budget: &Budget) -> ApiResult<()> {
        for record in PaxExtensions::new(records) {
            let record = record.map_err(|error| failed(budget, &error))?;
            let value = record.value_bytes();
            let number = || std::str::from_utf8(value).unwrap_or_default();
            match record.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => {
                    self.size = Some(number().parse().map_err(|_| invalid("a size is none"))?);
                }
                b"mtime" => {
                    let seconds: f64 = number().parse().map_err(|_| invalid("a time is none"))?;
                    self.modified_at_ms = Some((seconds * 1000.0) as i64);
                }
                key if key.starts_with(b"GNU.sparse") => return Err(sparse()),
                _ => {}
            }
        }
        Ok(())
    }

    fn found<R: Read>(
        self,
        entry: &Entry<'_, R>,
        kind: EntryType,
        budget: &Budget,
    ) -> ApiResult<Found> {
        let failed = |error: io::Error| failed(budget, &error);
        let header = entry.header();
        let name = self.name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let link = || entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let size = header.entry_size().map_err(failed)?;
        // The crate has gone by the header; an archive that says otherwise elsewhere means to be read differently.
        if self.size.is_some_and(|said| said != size) {
            return Err(invalid("an entry has two sizes"));
        }
        let kind = match kind {
            // Before POSIX a directory was a file whose name ends in a slash.
            EntryType::Regular if name.ends_with(b"/") => Some(PackedKind::Dir),
            EntryType::Regular | EntryType::Continuous => Some(PackedKind::File),
            EntryType::Directory => Some(PackedKind::Dir),
            EntryType::Symlink => Some(PackedKind::Symlink),
            EntryType::Link => Some(PackedKind::HardLink),
            EntryType::Char | EntryType::Block | EntryType::Fifo => None,
            EntryType::GNUSparse => return Err(sparse()),
            other => return Err(invalid(format_args!("an entry of kind {:?}", other.as_byte()))),
        };
        let seconds = i64::try_from(header.mtime().map_err(failed)?).unwrap_or_default();
        Ok(Found {
            kind,
            name,
            target: self.target.unwrap_or_else(link),
            mode: header.mode().map_err(failed)?,
            size,
            modified_at_ms: self.modified_at_ms.unwrap_or(seconds.saturating_mul(1000)),
        })
    }
}

fn sparse() -> crate::http::ApiError {
    invalid("it has sparse files")
}

/// Knows how many zeros were read last: a tar that does not end in a block of them, after its last entry, is cut off.
struct Zeros<R> {
    reader: R,
    last: Rc<Cell<u64>>,
}

impl<R: Read> Read for Zeros<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == read { self.last.get() } else { 0 };
        self.last.set(before + zeros as u64);
        Ok(read)
    }
}
