//! An archive from entries, piece by piece: what is put in comes out at once, in the archive's format.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Datelike as _, Timelike as _};
use flate2::Compression;
use flate2::write::GzEncoder;
use miosa_agent::packed::{Packed, PackedKind};
use zip::ZipWriter;
use zip::write::{SimpleFileOptions, StreamWriter};

use super::format::Format;
use super::tar_head;

/// Writes an archive.
pub struct Writer {
    form: Form,
    out: Outlet,
}

enum Form {
    Tar { plain: Box<dyn Plain>, size: u64 },
    Zip(Box<ZipWriter<StreamWriter<Outlet>>>),
}

/// What a tar is written into.
trait Plain: Write + Send {
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl Plain for Outlet {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Plain for GzEncoder<Outlet> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        GzEncoder::finish(*self).map(drop)
    }
}

impl Writer {
    /// An archive of this format.
    pub fn new(format: Format) -> Self {
        let out = Outlet::default();
        let tar = |plain| Form::Tar { plain, size: 0 };
        let form = match format {
            Format::Tar => tar(Box::new(out.clone())),
            Format::TarGz => tar(Box::new(GzEncoder::new(out.clone(), Compression::fast()))),
            Format::Zip => Form::Zip(Box::new(ZipWriter::new_stream(out.clone()))),
        };
        Self { form, out }
    }

    /// Begins an entry.
    pub fn entry(&mut self, entry: &Packed) -> io::Result<()> {
        match &mut self.form {
            Form::Tar { plain, size } => {
                plain.write_all(tar_head::padding(*size))?;
                *size = entry.about.size;
                plain.write_all(&tar_head::head(&entry.name, &entry.target, &entry.about)?)
            }
            Form::Zip(zip) => {
                let name = String::from_utf8_lossy(&entry.name);
                let options = options(entry);
                match entry.about.kind {
                    PackedKind::File => zip.start_file(name, options)?,
                    PackedKind::Dir => zip.add_directory(name, options)?,
                    PackedKind::Symlink | PackedKind::HardLink => {
                        zip.add_symlink(name, String::from_utf8_lossy(&entry.target), options)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Adds bytes to the entry.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.form {
            Form::Tar { plain, .. } => plain.write_all(bytes),
            Form::Zip(zip) => zip.write_all(bytes),
        }
    }

    /// What has become of it so far.
    pub fn take(&mut self) -> Bytes {
        self.out.take()
    }

    /// The rest.
    pub fn finish(self) -> io::Result<Bytes> {
        match self.form {
            Form::Tar { mut plain, size } => {
                plain.write_all(tar_head::padding(size))?;
                plain.write_all(&tar_head::END)?;
                plain.finish()?;
            }
            Form::Zip(zip) => drop(zip.finish()?),
        }
        Ok(self.out.take())
    }
}

fn options(entry: &Packed) -> SimpleFileOptions {
    let about = &entry.about;
    let mut options = SimpleFileOptions::default()
        .unix_permissions(about.mode & 0o777)
        .large_file(about.size > u64::from(u32::MAX));
    if let Some(time) = time(about.modified_at_ms) {
        options = options.last_modified_time(time);
    }
    options
}

/// `None` for what a zip cannot say: before 1980, after 2107.
fn time(ms: i64) -> Option<zip::DateTime> {
    let time = DateTime::from_timestamp_millis(ms)?;
    let part = |part: u32| u8::try_from(part).ok();
    zip::DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
    )
    .ok()
}

/// Where a writer writes, and we take.
#[derive(Debug, Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use miosa_agent::packed::About;

    use super::super::limits::Budget;
    use super::super::rules::{Found, Rules};
    use super::super::{read_tar, read_zip};
    use super::*;

    fn entries() -> Vec<(Packed, Vec<u8>)> {
        let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
        let entry = |kind, name: &str, target: &str, content: &[u8]| {
            let size = content.len() as u64;
            let about = About { kind, mode: 0o754, size, modified_at_ms: 1_779_012_000_000 };
            let packed = Packed { about, name: name.into(), target: target.into() };
            (packed, content.to_vec())
        };
        vec![
            entry(PackedKind::Dir, "a", "", b""),
            entry(PackedKind::File, "a/ü", "", &[7; 1000]),
            entry(PackedKind::File, "a/block", "", &[0; 1024]),
            entry(PackedKind::File, &long, "", b"deep"),
            entry(PackedKind::Symlink, "link", "a/block", b""),
            entry(PackedKind::Symlink, "far", &"t/".repeat(80), b""),
            entry(PackedKind::File, "empty", "", b""),
        ]
    }

    fn written(format: Format) -> std::fs::File {
        let (mut writer, mut file) = (Writer::new(format), tempfile::tempfile().unwrap());
        for (entry, content) in entries() {
            writer.entry(&entry).unwrap();
            for piece in content.chunks(300) {
                writer.bytes(piece).unwrap();
                file.write_all(&writer.take()).unwrap();
            }
        }
        file.write_all(&writer.finish().unwrap()).unwrap();
        file
    }

    fn read(
        format: Format,
        file: &std::fs::File,
    ) -> crate::http::ApiResult<Vec<(Packed, Vec<u8>)>> {
        let (mut rules, mut all) = (Rules::default(), Vec::new());
        let budget = Budget::of(1 << 20);
        let mut visit = |found: Found, content: &mut dyn io::Read| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(super::super::invalid)?;
            all.extend(rules.admit(found)?.map(|packed| (packed, bytes)));
            Ok(())
        };
        match format {
            Format::Zip => read_zip::each(file, &budget, &mut visit),
            tar => read_tar::each(file, tar == Format::TarGz, &budget, &mut visit),
        }?;
        Ok(all)
    }

    #[test]
    fn what_is_written_reads_back() {
        for format in Format::ALL {
            let file = written(format);
            let mut all = read(format, &file).unwrap();
            for (packed, _) in &mut all {
                // A zip has a link's own permissions, a tar its time to the second.
                if packed.about.kind == PackedKind::Symlink {
                    packed.about.mode = 0o754;
                }
            }
            assert_eq!(all, entries(), "{format:?}");
        }
    }

    #[test]
    fn an_archive_that_is_cut_anywhere_is_refused() {
        for format in Format::ALL {
            let mut file = written(format);
            let mut whole = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut whole).unwrap();
            // The second of the two empty blocks that end a tar is not missed.
            let most = whole.len() - if format == Format::Tar { 1024 } else { 1 };
            for length in (0..most).step_by(7).chain([most]) {
                let mut cut = tempfile::tempfile().unwrap();
                cut.write_all(&whole[..length]).unwrap();
                let refusal = read(format, &cut).map(drop).unwrap_err();
                assert_eq!(refusal.code.status, 400, "{format:?} of {length} bytes");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_that_are_no_archive_never_panic(bytes: Vec<u8>, at: usize, format in 0_usize..3) {
            let format = Format::ALL[format];
            let mut file = written(format);
            let length = file.seek(io::SeekFrom::End(0)).unwrap() as usize;
            file.seek(io::SeekFrom::Start((at % length) as u64)).unwrap();
            file.write_all(&bytes).unwrap();
            let _ = read(format, &file);
        }
    }
}
