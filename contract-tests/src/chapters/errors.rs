//! What answers look like when it is not.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
