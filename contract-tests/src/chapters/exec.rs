//! Commands in a sandbox.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
