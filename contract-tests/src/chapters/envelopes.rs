//! The form of answers (`api-reference`, overview): one thing under `data`, lists with their page.

mod records;
mod shape;
mod whole;

use crate::rule::{Chapter, Level, Need, Rule};

const GALLERY: &str = "Sends a valid request to every operation of an organization that holds one of each kind of thing, and \
                       looks at the answers. What breaks the rule is asked for once more by itself.";

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ENV-001",
        chapter: Chapter::Envelopes,
        sentence: "A single resource stands under `data`: an object with its id.",
        source: "api-reference",
        level: Level::Documented,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: shape::under_data,
    },
    Rule {
        id: "ENV-002",
        chapter: Chapter::Envelopes,
        sentence: "The fields of a single resource stand at the top as well, equal to those under `data`.",
        source: "chosen",
        level: Level::Chosen,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: shape::at_the_top,
    },
    Rule {
        id: "ENV-003",
        chapter: Chapter::Envelopes,
        sentence: "Every list answers `data`, an array, and `page` with page, page_size and total, which are integers.",
        source: "api-reference",
        level: Level::Documented,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: shape::lists,
    },
    Rule {
        id: "ENV-004",
        chapter: Chapter::Envelopes,
        sentence: "`meta` and `total` of a list say the same as its `page`.",
        source: "miosa-go 2.0",
        level: Level::Observed,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: shape::meta,
    },
    Rule {
        id: "ENV-005",
        chapter: Chapter::Envelopes,
        sentence: "An answer without content has neither a body nor a content type.",
        source: "api-reference",
        level: Level::Documented,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: whole::nothing,
    },
    Rule {
        id: "ENV-006",
        chapter: Chapter::Envelopes,
        sentence: "Every answer of every operation is valid by the contract: status, headers, content type and body.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation a valid request and several that must be refused, and holds each answer against the \
              schemas of the OpenAPI document.",
        needs: &[Need::Machines],
        cases: 1,
        check: whole::valid,
    },
    Rule {
        id: "ENV-007",
        chapter: Chapter::Envelopes,
        sentence: "Answers in JSON are typed application/json, and parse.",
        source: "api-reference",
        level: Level::Documented,
        how: GALLERY,
        needs: &[Need::Machines],
        cases: 1,
        check: whole::typed,
    },
    Rule {
        id: "ENV-008",
        chapter: Chapter::Envelopes,
        sentence: "Every answer carries X-Request-ID, and no two requests share one.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: "Looks at the answers of every operation, successes and refusals.",
        needs: &[Need::Machines],
        cases: 1,
        check: whole::request_ids,
    },
    Rule {
        id: "ENV-009",
        chapter: Chapter::Envelopes,
        sentence: "What a create answers, what a GET answers and what the list holds are the same record.",
        source: "api-reference",
        level: Level::Documented,
        how: "For every collection that can be added to and read one by one: creates, gets and lists, and compares field by \
              field what does not change by itself.",
        needs: &[Need::Machines],
        cases: 1,
        check: records::same,
    },
];
