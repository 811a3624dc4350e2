//! Streams of events.

use crate::rule::Rule;

/// The rules.
pub const RULES: &[Rule] = &[];
