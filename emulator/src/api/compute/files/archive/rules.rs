//! Which entries an archive may have. All is judged by the words; that nothing on the disk makes other things of them
//! is the agent's to see to.
//!
//! Refused as 403 `FORBIDDEN_PATH`: what climbs (`..`, an absolute path), links that lead out, entries below a link,
//! hard links to what is no earlier file of the archive, devices, pipes and sockets.

use std::collections::HashMap;

use miosa_agent::packed::{About, Packed, PackedKind};

use super::invalid;
use super::limits::{MAX_ENTRIES, MAX_NAMES, too_large};
use crate::http::{ApiError, ApiResult, codes};

/// The deepest entry.
const MAX_DEPTH: usize = 100;
const MAX_NAME: usize = 255;
/// Room for the directory that it goes into.
const MAX_PATH: usize = 3072;

/// An entry as an archive has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it is; `None` of a device, pipe or socket.
    pub kind: Option<PackedKind>,
    /// As written.
    pub name: Vec<u8>,
    /// As written.
    pub target: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Bytes, if it is a file.
    pub size: u64,
    /// Milliseconds since 1970, UTC.
    pub modified_at_ms: i64,
}

/// Judges the entries of one archive, in their order.
#[derive(Debug, Default)]
pub struct Rules {
    /// What has been admitted, by its clean path; directories that are only implied, too.
    known: HashMap<Vec<u8>, PackedKind>,
    entries: usize,
    names: usize,
}

impl Rules {
    /// The entry with its path made clean; `None` for the root itself, of which nothing is to be made.
    ///
    /// # Errors
    /// 403 and 413 as the rules say, 400 for an archive that contradicts itself.
    pub fn admit(&mut self, found: Found) -> ApiResult<Option<Packed>> {
        self.entries += 1;
        self.names += found.name.len() + found.target.len();
        if self.entries > MAX_ENTRIES {
            return Err(too_large(format!("it has more than {MAX_ENTRIES} entries")));
        }
        if self.names > MAX_NAMES {
            return Err(too_large("its names are too long"));
        }
        let Some(kind) = found.kind else {
            return Err(forbidden(&found.name, "is a device, a pipe or a socket"));
        };
        let parts = parts(&found.name)?;
        if parts.is_empty() {
            return if kind == PackedKind::Dir {
                Ok(None)
            } else {
                Err(forbidden(&found.name, "has no name"))
            };
        }
        let mut target = found.target;
        match kind {
            PackedKind::Symlink => stays(&found.name, &parts, &target)?,
            PackedKind::HardLink => {
                target = clean(&self::parts(&target)?);
                if self.known.get(&target) != Some(&PackedKind::File) {
                    return Err(forbidden(&found.name, "links to no earlier file of the archive"));
                }
            }
            PackedKind::File | PackedKind::Dir => target.clear(),
        }
        let name = clean(&parts);
        self.implied(&found.name, &parts)?;
        let before = self.known.get(&name).copied();
        if (before == Some(PackedKind::Dir)) != (kind == PackedKind::Dir) && before.is_some() {
            return Err(invalid(format_args!("{} is two things", shown(&name))));
        }
        // Another name of a file is a file.
        let known = if kind == PackedKind::HardLink { PackedKind::File } else { kind };
        self.known.insert(name.clone(), known);
        let size = if kind == PackedKind::File { found.size } else { 0 };
        let about =
            About { kind, mode: found.mode & 0o777, size, modified_at_ms: found.modified_at_ms };
        Ok(Some(Packed { about, name, target }))
    }

    /// The directories above must be directories.
    fn implied(&mut self, name: &[u8], parts: &[&[u8]]) -> ApiResult<()> {
        for depth in 1..parts.len() {
            let above = clean(parts.get(..depth).unwrap_or_default());
            match self.known.get(&above) {
                Some(PackedKind::Dir) => {}
                Some(PackedKind::Symlink) => return Err(forbidden(name, "is below a link")),
                Some(_) => return Err(invalid(format_args!("{} is below a file", shown(name)))),
                None => {
                    self.names += above.len();
                    self.known.insert(above, PackedKind::Dir);
                }
            }
        }
        Ok(())
    }
}

/// The names on a path, `.` and empty ones left out.
fn parts(path: &[u8]) -> ApiResult<Vec<&[u8]>> {
    if path.contains(&0) {
        return Err(invalid("a name contains NUL"));
    }
    if path.starts_with(b"/") {
        return Err(forbidden(path, "is absolute"));
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(forbidden(path, "climbs")),
            _ if part.len() > MAX_NAME => return Err(invalid("a name has more than 255 bytes")),
            _ => parts.push(part),
        }
    }
    if path.len() > MAX_PATH || parts.len() > MAX_DEPTH {
        return Err(invalid(format_args!(
            "a path has more than {MAX_PATH} bytes or {MAX_DEPTH} parts"
        )));
    }
    Ok(parts)
}

fn clean(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&b'/')
}

/// Whether a symbolic link leads to a place below the root.
fn stays(name: &[u8], parts: &[&[u8]], target: &[u8]) -> ApiResult<()> {
    if target.is_empty() || target.contains(&0) || target.len() > MAX_PATH {
        return Err(invalid(format_args!("{} links to nothing", shown(name))));
    }
    let mut depth = parts.len() - 1;
    for part in target.split(|byte| *byte == b'/') {
        depth = match part {
            b"" | b"." => Some(depth),
            b".." => depth.checked_sub(1),
            _ => Some(depth + 1),
        }
        .ok_or_else(|| forbidden(name, "links to what is outside"))?;
    }
    if target.starts_with(b"/") {
        return Err(forbidden(name, "links to what is outside"));
    }
    Ok(())
}

fn forbidden(name: &[u8], why: &str) -> ApiError {
    let text = format!("The archive is refused: its entry {} {why}.", shown(name));
    ApiError::new(codes::FORBIDDEN_PATH, text)
}

fn shown(name: &[u8]) -> String {
    const MOST: usize = 200;
    let text: String = String::from_utf8_lossy(name).chars().take(MOST).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(kind: PackedKind, name: &str, target: &str) -> Found {
        Found {
            kind: Some(kind),
            name: name.into(),
            target: target.into(),
            mode: 0o4755,
            size: 1,
            modified_at_ms: 0,
        }
    }

    fn admit(entries: &[(PackedKind, &str, &str)]) -> Result<Vec<String>, &'static str> {
        let mut rules = Rules::default();
        let mut names = Vec::new();
        for (kind, name, target) in entries {
            let admitted =
                rules.admit(found(*kind, name, target)).map_err(|error| error.code.name)?;
            names.extend(admitted.map(|packed| String::from_utf8(packed.name).unwrap()));
        }
        Ok(names)
    }

    use PackedKind::{Dir, File, HardLink, Symlink};

    #[test]
    fn names_are_made_clean_and_may_repeat() {
        let entries = [
            (Dir, "./", ""),
            (Dir, "a/", ""),
            (File, "./a//b", ""),
            (File, "a/b", ""),
            (Symlink, "a/c", "../a/b"),
            (HardLink, "a/d", "./a/b"),
            (HardLink, "a/e", "a/d"),
            (Dir, "a", ""),
        ];
        assert_eq!(admit(&entries).unwrap(), ["a", "a/b", "a/b", "a/c", "a/d", "a/e", "a"]);
        let packed = Rules::default().admit(found(File, "x", "ignored")).unwrap().unwrap();
        assert_eq!((packed.about.mode, packed.target.len()), (0o755, 0));
    }

    #[test]
    fn what_climbs_or_leads_out_is_forbidden() {
        for entries in [
            vec![(File, "../x", "")],
            vec![(File, "/etc/passwd", "")],
            vec![(File, "a/../../x", "")],
            vec![(File, ".", "")],
            vec![(Symlink, "a", "/etc")],
            vec![(Symlink, "a", "..")],
            vec![(Symlink, "a/b", "../../x")],
            vec![(Symlink, "a", "b"), (File, "a/x", "")],
            vec![(HardLink, "a", "/etc/passwd")],
            vec![(HardLink, "a", "../x")],
            vec![(HardLink, "a", "later"), (File, "later", "")],
            vec![(Symlink, "l", "x"), (HardLink, "a", "l")],
        ] {
            assert_eq!(admit(&entries), Err("FORBIDDEN_PATH"), "{entries:?}");
        }
        let device = Found { kind: None, ..found(File, "null", "") };
        assert_eq!(Rules::default().admit(device).unwrap_err().code, codes::FORBIDDEN_PATH);
    }

    #[test]
    fn what_contradicts_itself_is_no_archive() {
        let long = "n".repeat(256);
        let deep = "d/".repeat(101);
        for entries in [
            vec![(File, "a", ""), (File, "a/b", "")],
            vec![(File, "a/b", ""), (File, "a", "")],
            vec![(Symlink, "a", "")],
            vec![(File, "a\0b", "")],
            vec![(File, long.as_str(), "")],
            vec![(Dir, deep.as_str(), "")],
        ] {
            assert_eq!(admit(&entries), Err("INVALID_ARCHIVE"), "{entries:?}");
        }
    }

    #[test]
    fn too_many_entries_are_refused() {
        let mut rules = Rules::default();
        for n in 0..MAX_ENTRIES {
            rules.admit(found(File, &n.to_string(), "")).unwrap();
        }
        let refusal = rules.admit(found(File, "one more", "")).unwrap_err();
        assert_eq!(refusal.code, codes::ARCHIVE_TOO_LARGE);
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_lies_below(
            entries in prop::collection::vec(("([.a/]|\\.\\.|\u{0}){0,10}", "([.a/]|\\.\\.){0,10}", 0_usize..4), 1..8),
        ) {
            let mut rules = Rules::default();
            for (name, target, kind) in entries {
                let kind = [File, Dir, Symlink, HardLink][kind];
                let Ok(Some(packed)) = rules.admit(found(kind, &name, &target)) else { continue };
                let name = String::from_utf8(packed.name).unwrap();
                prop_assert!(!name.is_empty() && !name.starts_with('/'));
                prop_assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
                if packed.about.kind == Symlink {
                    let mut depth = name.split('/').count() as i64 - 1;
                    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
                        depth += if part == ".." { -1 } else { 1 };
                        prop_assert!(depth >= 0, "{} -> {}", name, target);
                    }
                    prop_assert!(!target.starts_with('/'));
                }
            }
        }
    }
}
