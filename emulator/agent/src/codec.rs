//! Frames of an exec stream, in bytes: both ends share this, so that they cannot disagree.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::protocol::frame;

const HEADER: usize = 5;

/// One frame: its kind, its length, its payload.
pub fn encode(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + payload.len());
    frame.put_u8(kind);
    frame.put_u32(payload.len() as u32);
    frame.put_slice(payload);
    frame.freeze()
}

/// The kind and the payload of one whole frame, as [`encode`] made it.
pub fn split(mut frame: Bytes) -> Option<(u8, Bytes)> {
    let kind = *frame.first()?;
    (frame.len() >= HEADER).then(|| (kind, frame.split_off(HEADER)))
}

/// The stream does not hold frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes is longer than any may be")]
pub struct TooLong(pub usize);

/// Finds the frames in bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes arrive.
    pub fn frame(&mut self) -> Result<Option<(u8, Bytes)>, TooLong> {
        let mut header = self.pending.get(..HEADER).unwrap_or_default();
        if header.is_empty() {
            return Ok(None);
        }
        let (kind, length) = (header.get_u8(), header.get_u32() as usize);
        // The start of a command may carry a long script; everything else is small.
        let most = if kind == frame::START { MAX_START } else { frame::MAX_PAYLOAD };
        if length > most {
            return Err(TooLong(length));
        }
        if self.pending.len() < HEADER + length {
            return Ok(None);
        }
        self.pending.advance(HEADER);
        Ok(Some((kind, self.pending.split_to(length).freeze())))
    }
}

/// The longest [`frame::START`], in bytes: a command line and its environment.
pub const MAX_START: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(payloads: Vec<(u8, Vec<u8>)>, cut in 1_usize..40) {
            let mut stream = Vec::new();
            for (kind, payload) in &payloads {
                stream.extend_from_slice(&encode(*kind, payload));
            }
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                while let Some((kind, payload)) = decoder.frame().unwrap() {
                    found.push((kind, payload.to_vec()));
                }
            }
            prop_assert_eq!(found, payloads);
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_its_bytes_arrive() {
        let mut decoder = Decoder::default();
        decoder.feed(&[frame::STDIN, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.frame(), Err(TooLong(0xffff_ffff)));
    }
}
