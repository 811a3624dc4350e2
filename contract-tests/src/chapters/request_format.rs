//! How requests are read (`api-reference`, overview).

mod body;
mod names;
mod place;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "REQ-001",
        chapter: Chapter::RequestFormat,
        sentence: "Every field name in every answer is snake_case.",
        source: "api-reference",
        level: Level::Documented,
        how: "Looks at the answers of every operation. Maps with the caller's own keys, build specs and the OpenAPI document \
              are left out.",
        needs: &[Need::Machines],
        cases: 1,
        check: names::snake_case,
    },
    Rule {
        id: "REQ-002",
        chapter: Chapter::RequestFormat,
        sentence: "A body of another content type than JSON is refused with 415 or read as JSON: the same on every operation.",
        source: "chosen",
        level: Level::Chosen,
        how: "Sends every operation that takes JSON a valid body that is typed text/plain.",
        needs: &[Need::Machines],
        cases: 1,
        check: body::of_another_type,
    },
    Rule {
        id: "REQ-003",
        chapter: Chapter::RequestFormat,
        sentence: "Order and white space of a JSON body make no difference.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation that takes JSON a valid body in reverse order, with white space wherever it may stand.",
        needs: &[Need::Machines],
        cases: 1,
        check: body::in_another_order,
    },
    Rule {
        id: "REQ-004",
        chapter: Chapter::RequestFormat,
        sentence: "A query parameter that nobody knows changes nothing.",
        source: "chosen",
        level: Level::Chosen,
        how: "Reads everything that can be read with and without such a parameter.",
        needs: &[Need::Machines],
        cases: 1,
        check: place::unknown_parameter,
    },
    Rule {
        id: "REQ-005",
        chapter: Chapter::RequestFormat,
        sentence: "Uploads are multipart/form-data.",
        source: "api-reference",
        level: Level::Documented,
        how: "Uploads drawn bytes as a form and reads them back; the same bytes in another wrapping are refused.",
        needs: &[Need::Machines],
        cases: 8,
        check: body::uploads,
    },
    Rule {
        id: "REQ-006",
        chapter: Chapter::RequestFormat,
        sentence: "Percent-encoding of an id or a name in a path makes no difference.",
        source: "chosen",
        level: Level::Chosen,
        how: "Reads everything that can be read once more with the ids and names in its path percent-encoded.",
        needs: &[Need::Machines],
        cases: 1,
        check: place::encoded,
    },
];
