//! What a job said: the newest part of it, by bytes, both streams in the order they came.

use std::collections::VecDeque;

use miosa_agent::protocol::frame;

/// Pieces of one stream are joined up to here, so that a job that writes byte by byte costs little.
const JOINED: usize = 4096;

/// What a piece costs beside its bytes.
const OVERHEAD: usize = 64;

#[derive(Debug)]
struct Piece {
    kind: u8,
    bytes: Vec<u8>,
}

/// A bounded log.
#[derive(Debug)]
pub struct Log {
    pieces: VecDeque<Piece>,
    /// Where the first piece begins.
    start: u64,
    end: u64,
    cost: usize,
    most: usize,
}

/// A part of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// This many bytes are gone.
    Lost(u64),
    /// Bytes of a stream (`STDOUT` or `STDERR`).
    Bytes(u8, Vec<u8>),
}

impl Log {
    /// Keeps about `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { pieces: VecDeque::new(), start: 0, end: 0, cost: 0, most }
    }

    /// Where what is kept begins and ends.
    pub fn range(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    /// Adds a piece; the oldest make room.
    pub fn push(&mut self, kind: u8, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        match self.pieces.back_mut() {
            Some(last) if last.kind == kind && last.bytes.len() + bytes.len() <= JOINED => {
                last.bytes.extend_from_slice(bytes);
                self.cost += bytes.len();
            }
            _ => {
                self.pieces.push_back(Piece { kind, bytes: bytes.to_vec() });
                self.cost += bytes.len() + OVERHEAD;
            }
        }
        while self.cost > self.most {
            let Some(oldest) = self.pieces.pop_front() else { return };
            self.start += oldest.bytes.len() as u64;
            self.cost -= oldest.bytes.len() + OVERHEAD;
        }
    }

    /// The next part from byte `from` on, and where the one after it begins; `None` at the end.
    pub fn read(&self, from: u64) -> Option<(Part, u64)> {
        if from < self.start {
            return Some((Part::Lost(self.start - from), self.start));
        }
        let mut begins = self.start;
        for piece in &self.pieces {
            let ends = begins + piece.bytes.len() as u64;
            if from < ends {
                let skip = usize::try_from(from - begins).unwrap_or(usize::MAX);
                let rest = piece.bytes.get(skip..).unwrap_or_default();
                let taken = rest.get(..frame::MAX_PAYLOAD).unwrap_or(rest);
                let next = from + taken.len() as u64;
                return Some((Part::Bytes(piece.kind, taken.to_vec()), next));
            }
            begins = ends;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(log: &Log, mut from: u64) -> (u64, Vec<(u8, Vec<u8>)>) {
        let (mut lost, mut parts) = (0, Vec::new());
        while let Some((part, next)) = log.read(from) {
            match part {
                Part::Lost(bytes) => lost += bytes,
                Part::Bytes(kind, bytes) => parts.push((kind, bytes)),
            }
            from = next;
        }
        (lost, parts)
    }

    #[test]
    fn the_oldest_goes_and_what_is_gone_is_said() {
        let mut log = Log::new(3 * (10 + OVERHEAD));
        for n in 0..5_u8 {
            log.push(n % 2, &[n; 10]);
        }
        assert_eq!(log.range(), (20, 50));
        let (lost, parts) = whole(&log, 0);
        assert_eq!(lost, 20);
        assert_eq!(parts, vec![(0, vec![2; 10]), (1, vec![3; 10]), (0, vec![4; 10])]);
        assert_eq!(whole(&log, 45), (0, vec![(0, vec![4; 5])]));
        assert_eq!(whole(&log, 50), (0, Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_end_of_what_was_said(
            pieces in proptest::collection::vec((0_u8..2, proptest::collection::vec(0_u8.., 0..200)), 0..60),
            most in 100_usize..4000,
        ) {
            let mut log = Log::new(most);
            let mut said = Vec::new();
            for (kind, bytes) in &pieces {
                log.push(*kind, bytes);
                said.extend_from_slice(bytes);
            }
            let (lost, parts) = whole(&log, 0);
            let kept: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
            prop_assert_eq!(lost as usize + kept.len(), said.len());
            prop_assert!(said.ends_with(&kept));
            prop_assert!(kept.len() <= most);
        }
    }
}
