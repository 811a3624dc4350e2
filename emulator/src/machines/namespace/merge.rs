//! Many sealed layers made one, so that snapshots upon snapshots stay shallow.
//!
//! Sealed layers never change, so the merged one shares their files by hard links: it costs names, not bytes, and machines
//! and snapshots that stand on the old layers notice nothing. Directories are made anew, with the uppermost's owner, mode,
//! times and attributes. Marks of deletion stay: the machine's own files still lie below.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::layers::PARTS;
use super::raw;
use crate::machines::sealed::union::OPAQUE;

/// Lays each layer over the ones before it, the lowest first, into the empty directory `to`. Blocks.
pub fn merge(to: &Path, lowest_first: &[PathBuf]) -> io::Result<()> {
    for layer in lowest_first {
        for part in PARTS {
            lay_over(&layer.join(part), &to.join(part))?;
        }
    }
    Ok(())
}

fn lay_over(from: &Path, to: &Path) -> io::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    let mut done = Vec::new();
    make(to)?;
    while let Some((from, to)) = waiting.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                make_room(&from, &to)?;
                waiting.push((from, to));
            } else {
                clear(&to)?;
                // The link itself, the pipe itself, the mark of deletion itself: nothing is opened.
                fs::hard_link(&from, &to)?;
            }
        }
        done.push((from, to));
    }
    // The deepest first: what is made in a directory changes its times.
    for (from, to) in done.into_iter().rev() {
        liken(&from, &to)?;
    }
    Ok(())
}

/// A directory where the layer has one: the one that is there, unless the layer hides it or it is none.
fn make_room(from: &Path, to: &Path) -> io::Result<()> {
    let Some(there) = look(to)? else { return make(to) };
    let hides = raw::attribute(from, OPAQUE)?.is_some_and(|value| value == b"y");
    if there.is_dir() && !hides {
        return Ok(());
    }
    clear(to)?;
    make(to)?;
    // It took the place of something, or of a mark of deletion: what lies below both must stay hidden.
    raw::set_attribute(to, OPAQUE, b"y")
}

fn make(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn clear(path: &Path) -> io::Result<()> {
    match look(path)? {
        Some(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Some(_) => fs::remove_file(path),
        None => Ok(()),
    }
}

/// Gives a directory the owner, mode, times and attributes of another.
fn liken(from: &Path, to: &Path) -> io::Result<()> {
    let names = raw::attribute_names(from)?;
    for name in raw::attribute_names(to)? {
        if !names.contains(&name) && *name != *OPAQUE {
            raw::remove_attribute(to, &name)?;
        }
    }
    for name in names {
        if let Some(value) = raw::attribute(from, &name)? {
            raw::set_attribute(to, &name, &value)?;
        }
    }
    let meta = fs::symlink_metadata(from)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    let time = |seconds, nanos| TimeSpec::new(seconds, nanos);
    utimensat(
        nix::fcntl::AT_FDCWD,
        to,
        &time(meta.atime(), meta.atime_nsec()),
        &time(meta.mtime(), meta.mtime_nsec()),
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_and_what_it_hides_stays_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in [
            "1/root/kept",
            "1/root/emptied",
            "1/root/became-file",
            "1/root/again",
            "2/root/kept",
            "2/root/emptied",
            "2/root/became-dir",
            "3/root/again",
            "1/usr",
            "2/usr",
            "3/usr",
            "merged",
        ] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("1/root/kept/low"), "low").unwrap();
        fs::write(at("1/root/kept/both"), "low").unwrap();
        fs::write(at("1/root/emptied/gone"), "low").unwrap();
        fs::write(at("1/root/became-file/gone"), "low").unwrap();
        fs::write(at("1/root/became-dir"), "low").unwrap();
        fs::write(at("1/root/again/gone"), "low").unwrap();
        fs::write(at("2/root/kept/both"), "high").unwrap();
        fs::hard_link(at("2/root/kept/both"), at("2/root/kept/twin")).unwrap();
        fs::write(at("2/root/became-file"), "high").unwrap();
        // Any file takes the place of a removed name; a mark of deletion needs rights that a test may lack.
        fs::write(at("2/root/again"), "stands for a mark").unwrap();
        raw::set_attribute(&at("2/root/emptied"), OPAQUE, b"y").unwrap();
        raw::set_attribute(&at("1/root/kept"), c"user.old", b"1").unwrap();
        raw::set_attribute(&at("2/root/kept"), c"user.new", b"2").unwrap();
        fs::set_permissions(at("2/root/kept"), fs::Permissions::from_mode(0o750)).unwrap();
        merge(&at("merged"), &[at("1"), at("2"), at("3")]).unwrap();

        let read = |path: &str| fs::read_to_string(at(&format!("merged/root/{path}"))).ok();
        assert_eq!(read("kept/low").unwrap(), "low");
        assert_eq!(read("kept/both").unwrap(), "high");
        assert_eq!(read("became-file").unwrap(), "high");
        for gone in ["emptied/gone", "again/gone"] {
            assert_eq!(read(gone), None, "{gone}");
        }
        let meta = |path: &str| fs::metadata(at(&format!("merged/root/{path}"))).unwrap();
        assert_eq!(meta("kept/both").ino(), meta("kept/twin").ino());
        assert_eq!(meta("kept").mode() & 0o7777, 0o750);
        assert_eq!(meta("kept").mtime(), fs::metadata(at("2/root/kept")).unwrap().mtime());
        let hidden = |path: &str| {
            raw::attribute(&at(&format!("merged/root/{path}")), OPAQUE).unwrap().is_some()
        };
        assert!(hidden("emptied") && hidden("became-dir") && hidden("again") && !hidden("kept"));
        let attribute = |name| raw::attribute(&at("merged/root/kept"), name).unwrap();
        assert_eq!((attribute(c"user.old"), attribute(c"user.new")), (None, Some(b"2".to_vec())));
        // The layers that were merged are as they were.
        assert_eq!(fs::read_to_string(at("1/root/kept/both")).unwrap(), "low");
    }
}
