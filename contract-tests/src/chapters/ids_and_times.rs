//! Ids and times (`api-reference`, overview): UUID v4; ISO 8601 in UTC.

mod changes;
mod looked_up;
mod members;
mod written;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "IDT-001",
        chapter: Chapter::IdsAndTimes,
        sentence: "Every id is a UUID v4.",
        source: "api-reference",
        level: Level::Documented,
        how: "Fills an organization, reads everything that can be read, and looks at each member that the contract calls a UUID, in these answers and in those that made things.",
        needs: &[Need::Fresh],
        cases: 1,
        check: written::ids,
    },
    Rule {
        id: "IDT-002",
        chapter: Chapter::IdsAndTimes,
        sentence: "No id is used twice, neither for another thing, nor after a delete, nor in another organization.",
        source: "api-reference",
        level: Level::Documented,
        how: "Makes and deletes things of drawn families in two organizations, with the same names, and holds all ids against each other.",
        needs: &[Need::Fresh, Need::Second],
        cases: 2,
        check: changes::never_twice,
    },
    Rule {
        id: "IDT-003",
        chapter: Chapter::IdsAndTimes,
        sentence: "Every time is ISO 8601 in UTC and ends with Z.",
        source: "api-reference",
        level: Level::Documented,
        how: "As IDT-001, for each member that the contract calls a time and for each whose name ends with `_at`.",
        needs: &[Need::Fresh],
        cases: 1,
        check: written::times,
    },
    Rule {
        id: "IDT-004",
        chapter: Chapter::IdsAndTimes,
        sentence: "`created_at` is the moment of the request, and not after `updated_at`.",
        source: "api-reference",
        level: Level::Documented,
        how: "Makes something of every family that needs no sandbox, at a drawn moment, and compares with the clock before and after.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: changes::made_now,
    },
    Rule {
        id: "IDT-005",
        chapter: Chapter::IdsAndTimes,
        sentence: "A PATCH moves `updated_at` and leaves `id` and `created_at`.",
        source: "miosa-go 2.0",
        level: Level::Observed,
        how: "Sends every PATCH that answers a record with both times, a drawn while after it was made.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: changes::patched,
    },
    Rule {
        id: "IDT-006",
        chapter: Chapter::IdsAndTimes,
        sentence: "An id in capitals or malformed finds either that very thing or nothing: 404 or 400, never 5xx.",
        source: "chosen",
        level: Level::Chosen,
        how: "Reads by every path that names an id, with drawn distortions of one that exists.",
        needs: &[Need::Fresh],
        cases: 2,
        check: looked_up::distorted,
    },
];
