//! Lines for a shell that do exactly what was drawn.

/// A word that the shell takes as it is.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Writes these bytes to standard output, or to standard error, in one piece.
pub fn says(bytes: &[u8], to_stderr: bool) -> String {
    let to = if to_stderr { " >&2" } else { "" };
    match bytes {
        // Long ones are drawn of one letter; they would not fit into a line.
        [first, rest @ ..]
            if rest.len() > 300
                && rest.iter().all(|byte| byte == first)
                && first.is_ascii_alphanumeric() =>
        {
            format!("head -c {} /dev/zero | tr '\\0' '{}'{to}", bytes.len(), char::from(*first))
        }
        _ => format!("printf %b '{}'{to}", escaped(bytes)),
    }
}

/// As `printf %b` reads it.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            text += &format!("\\0{byte:03o}");
        }
    }
    text
}
