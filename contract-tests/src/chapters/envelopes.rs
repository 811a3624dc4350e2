//! What answers look like when all is well.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
