//! What one organization or workspace sees of another: nothing.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
