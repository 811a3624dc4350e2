//! Bytes into lines.
//!
//! A line ends at `\n`, `\r\n` or a lone `\r` (a progress bar would otherwise be silent until its end). One that is too
//! long is given in parts, cut between characters. What is not UTF-8 is replaced.

/// The longest line, in bytes; longer ones come in parts.
pub const MAX_LINE: usize = 64 * 1024;

/// A line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without its end.
    pub text: String,
    /// `\n`, `\r`, or nothing for a part and for the last line without an end. A `\r\n` counts as `\n`.
    pub end: &'static str,
}

impl Line {
    /// The text with its end.
    pub fn with_end(&self) -> String {
        format!("{}{}", self.text, self.end)
    }
}

/// Collects bytes until they are lines.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
    /// A line was given for the `\r` that ended a piece; a `\n` that begins the next one belongs to it.
    given_early: bool,
}

impl Lines {
    /// Takes a piece in and gives the lines that it completes.
    pub fn feed(&mut self, piece: &[u8], mut give: impl FnMut(Line)) {
        let mut carriage = false;
        for byte in piece {
            let given_early = std::mem::take(&mut self.given_early);
            if *byte == b'\n' {
                carriage = false;
                if !given_early {
                    give(self.take("\n"));
                }
                continue;
            }
            if std::mem::take(&mut carriage) && !self.rest.is_empty() {
                give(self.take("\r"));
            }
            if *byte == b'\r' {
                carriage = true;
                continue;
            }
            self.rest.push(*byte);
            if self.rest.len() >= MAX_LINE + 4 {
                give(self.take_part());
            }
        }
        // A progress bar ends each step in `\r` and then waits: it must be seen now.
        if carriage && !self.rest.is_empty() {
            give(self.take("\r"));
            self.given_early = true;
        }
    }

    /// Gives what is left.
    pub fn end(&mut self, mut give: impl FnMut(Line)) {
        if !self.rest.is_empty() {
            give(self.take(""));
        }
    }

    fn take(&mut self, end: &'static str) -> Line {
        let bytes = std::mem::take(&mut self.rest);
        Line { text: String::from_utf8_lossy(&bytes).into_owned(), end }
    }

    fn take_part(&mut self) -> Line {
        let mut cut = MAX_LINE;
        // A character has at most three bytes that continue it.
        while cut > MAX_LINE - 3 && self.rest.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut -= 1;
        }
        let rest = self.rest.split_off(cut);
        let part = self.take("");
        self.rest = rest;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(String, &'static str)> {
        let (mut lines, mut given) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| given.push((line.text, line.end)));
        }
        lines.end(|line| given.push((line.text, line.end)));
        given
    }

    fn owned(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(text, end)| ((*text).to_owned(), *end)).collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for (pieces, expected) in [
            (&[&b"a\nb\r\nc"[..]][..], &[("a", "\n"), ("b", "\n"), ("c", "")][..]),
            (&[b"a\n\nb\n"], &[("a", "\n"), ("", "\n"), ("b", "\n")]),
            (&[b"10%\r20%\r"], &[("10%", "\r"), ("20%", "\r")]),
            (&[b"\r10%", b"\r20%\n"], &[("10%", "\r"), ("20%", "\n")]),
            (&[b"a\r", b"\nb\r", b"c"], &[("a", "\r"), ("b", "\r"), ("c", "")]),
            (&[b"\r", b"\n"], &[("", "\n")]),
            (&[b"a", b"b", b"\n"], &[("ab", "\n")]),
            (&["é".as_bytes().split_at(1).0, "é".as_bytes().split_at(1).1], &[("é", "")]),
            (&[b""], &[]),
        ] {
            assert_eq!(lines(pieces), owned(expected), "{pieces:?}");
        }
    }

    #[test]
    fn a_long_line_comes_in_parts_between_characters() {
        let text = "€".repeat(MAX_LINE);
        let parts = lines(&[text.as_bytes(), b"\n"]);
        assert!(parts.len() > 2);
        assert!(parts.iter().all(|(part, _)| part.len() <= MAX_LINE + 3));
        assert_eq!(parts.iter().map(|(part, _)| part.as_str()).collect::<String>(), text);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_cut(
            pieces in proptest::collection::vec("[a-zé\n]{0,20}", 0..8),
        ) {
            let bytes: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            let joined: Vec<String> =
                lines(&bytes).into_iter().map(|(text, end)| text + end).collect();
            proptest::prop_assert_eq!(joined.concat(), pieces.concat());
        }

        #[test]
        fn no_line_holds_a_line_end(
            pieces in proptest::collection::vec(proptest::collection::vec(0u8..20, 0..20), 0..8),
        ) {
            let bytes: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            for (text, _) in lines(&bytes) {
                proptest::prop_assert!(!text.contains(['\n', '\r']));
            }
        }
    }
}
