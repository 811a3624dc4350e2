//! How many requests a minute.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
