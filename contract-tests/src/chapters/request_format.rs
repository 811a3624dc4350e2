//! How requests may be written.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
