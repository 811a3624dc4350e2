//! Files on the way in or out of a machine, one after the other: what an archive holds, without its format.
//!
//! A stream of frames ([`crate::codec`]): for each entry one [`frame::ENTRY`] and its bytes as [`frame::DATA`], at last
//! one [`frame::END`]; a stream without it was cut off. Names and targets are bytes, as the file system has them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::protocol::frame;

/// What is told of an entry beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What it is.
    pub kind: PackedKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// How many bytes follow; 0 of what is no file.
    pub size: u64,
    /// Milliseconds since 1970, UTC.
    pub modified_at_ms: i64,
}

/// What a packed entry is. Devices, pipes and sockets are not packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackedKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that came before in the same stream.
    HardLink,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What it is.
    pub about: About,
    /// Its path below the root of the stream, parted by `/`.
    pub name: Vec<u8>,
    /// Where a link points: of a symbolic one as it stands there, of a hard one below the root of the stream.
    pub target: Vec<u8>,
}

impl Packed {
    /// The frame of the entry.
    pub fn encode(&self) -> Bytes {
        // Numbers and words cannot fail to be written.
        let mut payload = serde_json::to_vec(&self.about).unwrap_or_default();
        payload.push(b'\n');
        payload.extend_from_slice(&self.name);
        payload.push(0);
        payload.extend_from_slice(&self.target);
        codec::encode(frame::ENTRY, &payload)
    }

    /// The entry of a frame's payload; `None` of what is none.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut parts = payload.splitn(2, |byte| *byte == b'\n');
        let about = serde_json::from_slice(parts.next()?).ok()?;
        let mut parts = parts.next()?.splitn(2, |byte| *byte == 0);
        let (name, target) = (parts.next()?.to_vec(), parts.next()?.to_vec());
        Some(Self { about, name, target })
    }
}

/// What came of a stream that was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Files written.
    pub files: u64,
    /// Directories, those that were there before included.
    pub directories: u64,
    /// Links of both kinds.
    pub links: u64,
    /// Bytes written.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Decoder;

    proptest! {
        #[test]
        fn an_entry_survives_its_frame(
            name in prop::collection::vec(1_u8.., 0..300), target in prop::collection::vec(1_u8.., 0..300),
            mode in 0_u32..0o10000, size: u64, modified_at_ms: i64,
        ) {
            let about = About { kind: PackedKind::Symlink, mode, size, modified_at_ms };
            let packed = Packed { about, name, target };
            let mut decoder = Decoder::default();
            decoder.feed(&packed.encode());
            let (kind, payload) = decoder.frame().unwrap().unwrap();
            prop_assert_eq!(kind, frame::ENTRY);
            prop_assert_eq!(Packed::decode(&payload), Some(packed));
        }

        #[test]
        fn bytes_that_are_no_entry_are_none(payload: Vec<u8>) {
            let _ = Packed::decode(&payload);
        }
    }
}
