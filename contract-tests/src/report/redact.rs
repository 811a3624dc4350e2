//! Takes credentials out of what is shown.

use std::sync::LazyLock;

use regex::{NoExpand, Regex};

/// What stands for a credential that an answer brought.
pub const HIDDEN: &str = "$HIDDEN";

static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"msk_[A-Za-z0-9_-]{4,}|eyJ[\w-]+\.[\w-]+\.[\w-]+").ok());

/// The text without any credential: those that were given, keys, tokens.
pub fn redact(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), HIDDEN);
    }
    match KEY.as_ref() {
        Some(key) => key.replace_all(&text, NoExpand(HIDDEN)).into_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tokens_and_given_secrets_are_hidden() {
        let text =
            "Bearer msk_live_abcdef and eyJhbGciOi.eyJzdWIi.c2ln and hunter2, not msk_ alone";
        let shown = redact(text, &["hunter2".to_owned()]);
        assert_eq!(shown, "Bearer $HIDDEN and $HIDDEN and $HIDDEN, not msk_ alone");
    }
}
