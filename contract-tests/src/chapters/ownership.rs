//! What belongs where (`api-reference`, ownership fields): workspace, project, and the caller's own ids for them.

mod external;
mod places;
mod selectors;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "OWN-001",
        chapter: Chapter::Ownership,
        sentence: "workspace_id and project_id put a resource there; an id that is not there is refused and makes nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws an operation that takes these fields and ids that are there and that are not, and looks where what was \
              made is found.",
        needs: &[],
        cases: 1,
        check: selectors::by_id,
    },
    Rule {
        id: "OWN-002",
        chapter: Chapter::Ownership,
        sentence: "A slug or external id that is unknown makes the workspace or project once, however many ask at once.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends creates with the same new slug or external id, one after another or all at once, and counts the \
              workspaces and projects that came of it.",
        needs: &[],
        cases: 1,
        check: places::made_once,
    },
    Rule {
        id: "OWN-003",
        chapter: Chapter::Ownership,
        sentence: "External ids come back as they were given, and filter exactly.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws texts as external ids, some beginning like others or differing in case, makes workspaces, projects or \
              sandboxes with them, and compares each list that is filtered by one of them with what was made.",
        needs: &[],
        cases: 2,
        check: external::filters,
    },
    Rule {
        id: "OWN-004",
        chapter: Chapter::Ownership,
        sentence: "Answers say workspace_id and project_id, and the project belongs to the workspace.",
        source: "api-reference",
        level: Level::Documented,
        how: "Reads every list of a populated organization and looks both ids of each item up.",
        needs: &[Need::Fresh],
        cases: 1,
        check: places::answers_say,
    },
    Rule {
        id: "OWN-005",
        chapter: Chapter::Ownership,
        sentence: "Selectors that contradict each other are refused, and nothing is made.",
        source: "chosen",
        level: Level::Chosen,
        how: "Draws two selectors that name different workspaces or projects, and reads workspaces, projects and sandboxes \
              before and after.",
        needs: &[Need::Fresh],
        cases: 2,
        check: selectors::contradicting,
    },
    Rule {
        id: "OWN-006",
        chapter: Chapter::Ownership,
        sentence: "Without a selector the default workspace is taken, or the one that the header names.",
        source: "miosa-cli",
        level: Level::Observed,
        how: "Makes things without a selector, with and without X-MIOSA-Workspace, and looks where they are.",
        needs: &[Need::Fresh],
        cases: 1,
        check: places::usual,
    },
];
