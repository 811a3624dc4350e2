//! Paths that clients name.
//!
//! Worked out by their words: absolute and clean, relative ones below `/workspace`. Links are the agent's to judge, at
//! the moment it opens them.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::http::{ApiError, ApiResult, codes};

/// Where relative paths begin.
pub const WORKSPACE: &str = "/workspace";

/// The kernel's own, and devices.
const FORBIDDEN: &[&str] = &["/proc", "/sys", "/dev"];

const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;

/// An absolute path without `.`, `..` and doubled slashes, outside of what the kernel shows as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafePath(String);

impl SafePath {
    /// Works out what a client wrote.
    ///
    /// # Errors
    /// 400 `INVALID_PATH`, 403 `FORBIDDEN_PATH` (`api-reference/files`).
    pub fn parse(text: &str) -> ApiResult<Self> {
        let invalid = |why: &str| Err(ApiError::new(codes::INVALID_PATH, format!("path: {why}")));
        if text.is_empty() {
            return invalid("is missing or empty");
        }
        if text.contains('\0') {
            return invalid("must not contain NUL");
        }
        let mut parts: Vec<&str> = Vec::new();
        let base = if text.starts_with('/') { "" } else { WORKSPACE };
        for part in base.split('/').chain(text.split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                _ if part.len() > MAX_NAME => {
                    return invalid("a part of it is longer than 255 bytes");
                }
                _ => parts.push(part),
            }
        }
        let path = format!("/{}", parts.join("/"));
        if path.len() > MAX_PATH {
            return invalid("is longer than 4095 bytes");
        }
        let path = Self(path);
        if FORBIDDEN.iter().any(|root| path.is_below(root)) {
            return Err(ApiError::new(
                codes::FORBIDDEN_PATH,
                format!("{path} is not for files: it is a device or the kernel's."),
            ));
        }
        Ok(path)
    }

    /// The directory that clients mean when they name none.
    pub fn workspace() -> Self {
        Self(WORKSPACE.to_owned())
    }

    /// Whether it is this directory or lies below it.
    pub fn is_below(&self, root: &str) -> bool {
        let root = root.trim_end_matches('/');
        self.0.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last part; nothing of the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path in a body or query, not yet judged: a bad one must be answered with its own code, not as a shape.
#[derive(Debug, Clone, Default)]
pub struct Named(Option<String>);

impl Named {
    /// The path; a missing one is an empty one.
    pub fn required(&self) -> ApiResult<SafePath> {
        SafePath::parse(self.0.as_deref().unwrap_or_default())
    }

    /// The path, or the workspace when none was named.
    pub fn or_workspace(&self) -> ApiResult<SafePath> {
        match self.0.as_deref() {
            None | Some("") => Ok(SafePath::workspace()),
            Some(text) => SafePath::parse(text),
        }
    }

    /// As it was sent.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

impl From<&str> for Named {
    fn from(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<String>::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_worked_out_by_their_words() {
        for (text, path) in [
            ("a.txt", "/workspace/a.txt"),
            ("./src//a.txt/", "/workspace/src/a.txt"),
            ("../etc/hosts", "/etc/hosts"),
            ("/workspace/../../..", "/"),
            ("/", "/"),
            ("/tmp/./a/../b", "/tmp/b"),
            ("/developer/x", "/developer/x"),
            (" a ", "/workspace/ a "),
        ] {
            assert_eq!(SafePath::parse(text).unwrap().as_str(), path, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = "a/".repeat(2048);
        for text in ["", "a\0b", &"x".repeat(256), &long] {
            assert_eq!(SafePath::parse(text).unwrap_err().code, codes::INVALID_PATH, "{text:.20}");
        }
    }

    #[test]
    fn the_kernels_own_is_refused() {
        for text in
            ["/proc", "/proc/1/environ", "/dev/sda", "../sys/x", "//dev//", "/tmp/../proc/1"]
        {
            assert_eq!(SafePath::parse(text).unwrap_err().code, codes::FORBIDDEN_PATH, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_clean_path_or_an_error(text in "\\PC*|([./a\u{0}]|\\.\\.|proc|é){0,40}") {
            if let Ok(path) = SafePath::parse(&text) {
                let path = path.as_str();
                proptest::prop_assert!(path.starts_with('/') && path.len() <= MAX_PATH);
                proptest::prop_assert!(!path.contains("//") && !path.contains('\0'));
                proptest::prop_assert!(path.split('/').all(|part| part != ".." && part != "."));
                proptest::prop_assert!(path == "/" || !path.ends_with('/'));
                let again = SafePath::parse(path).unwrap();
                proptest::prop_assert_eq!(again.as_str(), path);
            }
        }
    }
}
