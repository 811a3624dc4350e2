//! Bytes that come in pieces, as text in whole characters.

/// Keeps a character that is not finished until the rest of it comes.
#[derive(Debug, Default)]
pub(super) struct Characters {
    rest: Vec<u8>,
}

impl Characters {
    /// The bytes of what is whole now.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let unfinished = bytes.utf8_chunks().last().map_or(0, |last| {
            let open = std::str::from_utf8(last.invalid()).is_err_and(|e| e.error_len().is_none());
            if open { last.invalid().len() } else { 0 }
        });
        self.rest = bytes.split_off(bytes.len() - unfinished);
        bytes
    }

    /// What was never finished.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn text_is_the_same_however_it_is_cut(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
            text in "\\PC{0,10}",
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let all = [text.as_bytes(), &bytes, text.as_bytes()].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.extend([0, all.len()]);
            cuts.sort_unstable();
            let (mut characters, mut read, mut taken) = (Characters::default(), String::new(), Vec::new());
            for pair in cuts.windows(2) {
                let mut bytes = characters.feed(&all[pair[0]..pair[1]]);
                proptest::prop_assert!(characters.rest.len() < 4);
                read.push_str(&String::from_utf8_lossy(&bytes));
                taken.append(&mut bytes);
            }
            let mut rest = characters.end();
            read.push_str(&String::from_utf8_lossy(&rest));
            taken.append(&mut rest);
            proptest::prop_assert_eq!(&taken, &all);
            proptest::prop_assert_eq!(read, String::from_utf8_lossy(&all));
        }
    }
}
