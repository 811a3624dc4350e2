//! What a key may do.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
