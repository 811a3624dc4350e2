//! Whom things are made for.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
