//! What one organization, workspace or sandbox sees of another: nothing.

mod foreign;
mod machines;
mod names;
mod neighbour;
mod reads;
mod streams;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "ISO-001",
        chapter: Chapter::Isolation,
        sentence: "An id of another organization is answered as one that does not exist, on every operation.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation with the ids and names of a populated organization, in path, query and body, as another \
              organization, and then the same with ids and names that nothing has: status and code must agree, and no \
              answer may hold anything of the other organization.",
        needs: &[Need::Fresh, Need::Second],
        cases: 1,
        check: foreign::as_unknown,
    },
    Rule {
        id: "ISO-002",
        chapter: Chapter::Isolation,
        sentence: "No list and no other answer holds an id or a name of another organization.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads, as one populated organization, every operation that reads, and looks for every id and name of another \
              populated one in the whole answers.",
        needs: &[Need::Fresh, Need::Second],
        cases: 1,
        check: reads::hold_nothing,
    },
    Rule {
        id: "ISO-003",
        chapter: Chapter::Isolation,
        sentence: "Totals and counts never count what another organization has.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads everything that an organization can read, lets another one make one of each kind, and reads again: \
              nothing has changed.",
        needs: &[Need::Clock, Need::Fresh, Need::Second],
        cases: 1,
        check: reads::count_nothing,
    },
    Rule {
        id: "ISO-004",
        chapter: Chapter::Isolation,
        sentence: "What changes things changes nothing of another organization, on every operation.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads a populated organization, sends every operation that changes things with its ids and names as another \
              organization, in any order, and reads again.",
        needs: &[Need::Clock, Need::Fresh, Need::Second],
        cases: 1,
        check: foreign::changes_nothing,
    },
    Rule {
        id: "ISO-005",
        chapter: Chapter::Isolation,
        sentence: "Names, slugs and external ids of another organization are free, and find nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Makes something with a drawn name as one organization, looks it up as another by every way that takes a name, \
              and then makes it there under the same name.",
        needs: &[Need::Fresh, Need::Second],
        cases: 1,
        check: names::free,
    },
    Rule {
        id: "ISO-006",
        chapter: Chapter::Isolation,
        sentence: "A stream of events shows nothing of another organization.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: "Opens the stream of one organization, lets another do things that are told, then does one itself, and reads up \
              to that one.",
        needs: &[Need::Fresh, Need::Second],
        cases: 4,
        check: streams::own_events,
    },
    Rule {
        id: "ISO-007",
        chapter: Chapter::Isolation,
        sentence: "A key of one workspace reaches nothing of another workspace, on every operation.",
        source: "miosa-cli",
        level: Level::Observed,
        how: "As ISO-001, within one organization: with a key that is bound to a workspace of its own, and everything that \
              lies in another workspace.",
        needs: &[Need::Fresh],
        cases: 1,
        check: foreign::other_workspace,
    },
    Rule {
        id: "ISO-008",
        chapter: Chapter::Isolation,
        sentence: "A sandbox sees neither files, variables nor processes of another one.",
        source: "api-reference",
        level: Level::Documented,
        how: "Writes drawn files, variables and processes into one sandbox and looks for them in another, with commands and \
              through the API.",
        needs: &[Need::Fresh, Need::Second, Need::Machines],
        cases: 2,
        check: machines::apart,
    },
    Rule {
        id: "ISO-009",
        chapter: Chapter::Isolation,
        sentence: "Answers to ids that are another's and to ids that nothing has differ in nothing but the id.",
        source: "chosen",
        level: Level::Chosen,
        how: "As ISO-001, and compares the whole bodies, ids and times masked.",
        needs: &[Need::Fresh, Need::Second],
        cases: 1,
        check: foreign::alike,
    },
];
