//! Errors (`api-reference`, errors): one shape, whatever is wrong, and nothing has happened.

mod invalid;
mod nowhere;
mod one_shape;
mod unchanged;
mod wild;

use crate::rule::{Chapter, Level, Need, Rule};

const REFUSALS: &str = "Sends every operation requests that must be refused: about an id that nothing has, without a \
                        credential, with a body that is no JSON or no object, with a page that is no number; and looks at \
                        the answers.";

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ERR-001",
        chapter: Chapter::Errors,
        sentence: "Every error is `error` with code, message and request_id, texts that are not empty.",
        source: "api-reference",
        level: Level::Documented,
        how: REFUSALS,
        needs: &[Need::Machines],
        cases: 1,
        check: one_shape::shape,
    },
    Rule {
        id: "ERR-002",
        chapter: Chapter::Errors,
        sentence: "The request_id of an error is the one of the header.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: REFUSALS,
        needs: &[Need::Machines],
        cases: 1,
        check: one_shape::request_id,
    },
    Rule {
        id: "ERR-003",
        chapter: Chapter::Errors,
        sentence: "A path that the API does not have is answered 404 in the shape of errors.",
        source: "chosen",
        level: Level::Chosen,
        how: "Adds a segment that nobody knows to every path of the contract, and asks for it.",
        needs: &[],
        cases: 1,
        check: nowhere::paths,
    },
    Rule {
        id: "ERR-004",
        chapter: Chapter::Errors,
        sentence: "A method that a path lacks is answered 405 in the shape of errors, and Allow tells those it has.",
        source: "chosen",
        level: Level::Chosen,
        how: "Sends every path of the contract a method that the contract does not give it.",
        needs: &[],
        cases: 1,
        check: nowhere::methods,
    },
    Rule {
        id: "ERR-005",
        chapter: Chapter::Errors,
        sentence: "A body that its schema makes invalid is refused with 4xx in the shape of errors, never with 5xx.",
        source: "api-reference",
        level: Level::Documented,
        how: "Takes a valid body of every operation and changes one thing that the schema forbids: a field left out, of \
              another type, out of its range, too long, none of the choices. Each run draws other changes.",
        needs: &[Need::Machines],
        cases: 1,
        check: invalid::bodies,
    },
    Rule {
        id: "ERR-006",
        chapter: Chapter::Errors,
        sentence: "A refused request changes nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads what an operation is about, sends it a body of which one field is invalid and the others are not, and \
              reads again.",
        needs: &[Need::Machines],
        cases: 1,
        check: unchanged::by_invalid_bodies,
    },
    Rule {
        id: "ERR-007",
        chapter: Chapter::Errors,
        sentence: "A body that is no JSON is refused with 400.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation that takes JSON a body that is cut off.",
        needs: &[Need::Machines],
        cases: 1,
        check: one_shape::no_json,
    },
    Rule {
        id: "ERR-008",
        chapter: Chapter::Errors,
        sentence: "NUL, bytes that are no UTF-8, huge texts and deep JSON are answered, and never with 5xx.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation such things in its path, its query and its body. Each run draws others.",
        needs: &[Need::Machines],
        cases: 1,
        check: wild::requests,
    },
    Rule {
        id: "ERR-009",
        chapter: Chapter::Errors,
        sentence: "A body that breaks off never hangs the server and changes nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Announces a valid body, sends half of it and closes its end; reads before and after what the operation is about.",
        needs: &[Need::Machines],
        cases: 1,
        check: unchanged::by_broken_bodies,
    },
    Rule {
        id: "ERR-010",
        chapter: Chapter::Errors,
        sentence: "An error's code is one that the operation declares.",
        source: "chosen",
        level: Level::Chosen,
        how: REFUSALS,
        needs: &[Need::Machines],
        cases: 1,
        check: one_shape::code,
    },
    Rule {
        id: "ERR-011",
        chapter: Chapter::Errors,
        sentence: "No error shows what goes on inside, or a credential.",
        source: "chosen",
        level: Level::Chosen,
        how: "Looks for SQL, panics, backtraces, paths of sources and hosts and for the key in the errors of every operation.",
        needs: &[Need::Machines],
        cases: 1,
        check: one_shape::discreet,
    },
    Rule {
        id: "ERR-012",
        chapter: Chapter::Errors,
        sentence: "retry_after of the body, the header Retry-After and retryable agree.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: "Looks at the errors of every operation and at one that comes of too many requests in a minute.",
        needs: &[Need::Machines, Need::Fresh],
        cases: 1,
        check: one_shape::retry,
    },
];
