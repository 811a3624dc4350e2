//! What a key may do (`api-reference/api-keys`; miosa-cli): scopes, and the workspace that it is bound to.

mod bound;
mod held;
mod minting;
mod names;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "SCP-001",
        chapter: Chapter::Scopes,
        sentence: "A key without an operation's scope is refused with 403, on every operation.",
        source: "api-reference/api-keys",
        level: Level::Documented,
        how: "Makes for every scope a key that holds all others, and sends with it every operation that needs this scope, \
              valid and about things that are there.",
        needs: &[Need::Fresh],
        cases: 1,
        check: held::refused,
    },
    Rule {
        id: "SCP-002",
        chapter: Chapter::Scopes,
        sentence: "A key that holds just an operation's scope is not refused with 403.",
        source: "api-reference/api-keys",
        level: Level::Documented,
        how: "Makes for every scope a key that holds nothing else, and sends with it every operation that needs this scope: \
              what reads, about things that are there; what changes, about things that are not.",
        needs: &[Need::Fresh],
        cases: 1,
        check: held::enough,
    },
    Rule {
        id: "SCP-003",
        chapter: Chapter::Scopes,
        sentence: "No key makes or changes a key or token into one that may do more than itself.",
        source: "miosa-cli",
        level: Level::Observed,
        how: "Draws what a key holds, what it asks for and by which way, and looks into what was made: nothing that the maker \
              may not do. What it holds itself it may hand on.",
        needs: &[],
        cases: 14,
        check: minting::never_wider,
    },
    Rule {
        id: "SCP-004",
        chapter: Chapter::Scopes,
        sentence: "What was refused with 403 changed nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads a populated organization, sends every operation that changes something with a key that may not, in any \
              order, and reads again.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: held::unchanged,
    },
    Rule {
        id: "SCP-005",
        chapter: Chapter::Scopes,
        sentence: "A key that is bound to a workspace sees and makes things in this workspace only.",
        source: "miosa-cli",
        level: Level::Observed,
        how: "Draws who makes what in which of two workspaces, the owner or a key bound to one of them, and holds every list \
              that the bound key reads against what was made there.",
        needs: &[],
        cases: 5,
        check: bound::within,
    },
    Rule {
        id: "SCP-006",
        chapter: Chapter::Scopes,
        sentence: "Names of scopes are compared whole: one that only begins like another opens nothing.",
        source: "chosen",
        level: Level::Chosen,
        how: "Takes every scope and names that are nearly it: cut off, longer, in other case, of a resource that begins alike. \
              Such a key is not made, or opens nothing that needs the scope.",
        needs: &[],
        cases: 1,
        check: names::whole,
    },
];
