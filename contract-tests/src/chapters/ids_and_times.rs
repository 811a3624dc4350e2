//! Ids and times on the wire.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
