//! Which states follow which.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
