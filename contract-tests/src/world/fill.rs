//! Placeholders: `<sandbox>`, `<invite.name>`, `<snapshot#2>`, `<fresh>`.

use std::collections::BTreeSet;

use percent::encode;

/// The text with its placeholders replaced; none when one of them has no value.
pub(super) fn plain(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    replace(text, |placeholder| value(placeholder))
}

/// The same for a path or query: values are percent-encoded, slashes left as they are.
pub(super) fn encoded(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    replace(text, |placeholder| value(placeholder).map(|value| encode(&value)))
}

fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        filled.push_str(before);
        match after.split_once('>').filter(|(inner, _)| is_placeholder(inner)) {
            Some((placeholder, after)) => {
                filled.push_str(&value(placeholder)?);
                rest = after;
            }
            None => {
                filled.push('<');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Some(filled)
}

/// The kinds that a text names.
pub(super) fn needs(text: &str) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    // Every placeholder counts, whether or not an earlier one has a value.
    for part in text.split('<').skip(1) {
        let inner = part.split('>').next().filter(|inner| is_placeholder(inner));
        let kind = inner.and_then(|inner| inner.split(['.', '#']).next());
        kinds.extend(kind.map(str::to_owned));
    }
    kinds
}

fn is_placeholder(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '#');
    !text.is_empty() && text.chars().all(fits)
}

/// Percent-encoding.
mod percent {
    use std::fmt::Write as _;

    pub(super) fn encode(text: &str) -> String {
        let mut encoded = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    }
}
