//! Which status says what.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
