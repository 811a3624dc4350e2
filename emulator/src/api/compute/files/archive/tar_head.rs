//! The head of an entry in a tar. The crate writes an entry only with its content at hand; here that comes later.

use std::io;

use miosa_agent::packed::{About, PackedKind};
use tar::{EntryType, Header};

/// A tar is a row of blocks of so many bytes.
const BLOCK: usize = 512;

/// What fits into the head itself; longer ones go before it (GNU).
const SHORT: usize = 100;

/// Two empty blocks end a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The head, with what goes before it.
pub fn head(name: &[u8], target: &[u8], about: &About) -> io::Result<Vec<u8>> {
    let mut name = name.to_vec();
    let kind = match about.kind {
        PackedKind::File => EntryType::Regular,
        PackedKind::Dir => {
            name.push(b'/');
            EntryType::Directory
        }
        PackedKind::Symlink => EntryType::Symlink,
        PackedKind::HardLink => EntryType::Link,
    };
    let mut bytes = Vec::with_capacity(BLOCK);
    if name.len() > SHORT {
        aside(EntryType::GNULongName, &name, &mut bytes);
    }
    if target.len() > SHORT {
        aside(EntryType::GNULongLink, target, &mut bytes);
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(about.mode & 0o7777);
    header.set_size(about.size);
    // Before 1970 cannot be said.
    header.set_mtime(u64::try_from(about.modified_at_ms / 1000).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    let gnu = header.as_gnu_mut().ok_or_else(|| io::Error::other("not a GNU head"))?;
    fill(&mut gnu.name, &name);
    fill(&mut gnu.linkname, target);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    Ok(bytes)
}

/// Zeros up to the next block after so many bytes.
pub fn padding(size: u64) -> &'static [u8] {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    let missing = if over == 0 { 0 } else { BLOCK - over };
    END.get(..missing).unwrap_or_default()
}

/// A name that is too long for the head, in an entry of its own.
fn aside(kind: EntryType, name: &[u8], bytes: &mut Vec<u8>) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(name.len() as u64 + 1);
    if let Some(gnu) = header.as_gnu_mut() {
        fill(&mut gnu.name, b"././@LongLink");
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(name);
    bytes.push(0);
    bytes.extend_from_slice(padding(name.len() as u64 + 1));
}

/// As much of the text as there is room.
fn fill(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}
