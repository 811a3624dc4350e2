//! Parts of a file (RFC 9110, 14).

/// The bytes that are asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it.
    Whole,
    /// From the first to the last of these bytes.
    Part {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// None that there are.
    Outside,
}

/// What a `Range` header asks of a file of `size` bytes. What is no single range of bytes is ignored.
pub fn range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Range::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(first) || !all_digits(last) || (first.is_empty() && last.is_empty()) {
        return Range::Whole;
    }
    // More digits than a number has is simply a place beyond the end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (first, last) = if first.is_empty() {
        let length = number(last).min(size);
        if length == 0 {
            return Range::Outside;
        }
        (size - length, size - 1)
    } else {
        let last = if last.is_empty() { u64::MAX } else { number(last) };
        if last < number(first) {
            return Range::Whole;
        }
        (number(first), last.min(size.saturating_sub(1)))
    };
    if first >= size { Range::Outside } else { Range::Part { first, last } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Range::Part { first, last };
        for (text, size, expected) in [
            ("bytes=0-3", 10, part(0, 3)),
            ("bytes=4-", 10, part(4, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Range::Outside),
            ("bytes=0-0", 0, Range::Outside),
            ("bytes=-0", 10, Range::Outside),
            ("bytes=-5", 0, Range::Outside),
            ("bytes=3-1", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("lines=0-1", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
        ] {
            assert_eq!(range(text, size), expected, "{text} of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_within_the_file(text in "bytes=[0-9]{0,25}-[0-9]{0,25}", size: u64) {
            if let Range::Part { first, last } = range(&text, size) {
                proptest::prop_assert!(first <= last && last < size);
            }
        }
    }
}
