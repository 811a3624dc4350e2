//! A mutation under a key happens once.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
