//! Who is calling.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
