//! Answers without what differs between any two: to be compared.

use std::sync::LazyLock;

use regex::Regex;

use crate::case::Reply;

/// Ids, times and the ids of requests.
static DIFFERENT: LazyLock<[(Option<Regex>, &str); 3]> = LazyLock::new(|| {
    [
        (Regex::new(r"req_[0-9A-Za-z-]+").ok(), "<request>"),
        (Regex::new(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").ok(), "<id>"),
        (Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").ok(), "<time>"),
    ]
});

/// Status and body, with every id and time as a placeholder.
pub fn masked(reply: &Reply) -> String {
    format!("{} {}", reply.status, masked_text(&String::from_utf8_lossy(&reply.body)))
}

/// A text, with every id and time as a placeholder.
pub fn masked_text(text: &str) -> String {
    let mut text = text.to_owned();
    for (different, placeholder) in DIFFERENT.iter() {
        if let Some(different) = different {
            text = different.replace_all(&text, *placeholder).into_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_any_two_answers_is_masked() {
        let text = r#"{"id":"7D8F0f3e-5a43-4a0e-9a55-1a5c7a9d1c11","at":"2026-05-17T10:00:00.125Z","request_id":"req_7d8f0f3e-5a43","n":4}"#;
        let masked = r#"{"id":"<id>","at":"<time>","request_id":"<request>","n":4}"#;
        assert_eq!(masked_text(text), masked);
    }
}
