//! Pages (`api-reference`, overview): `page` and `page_size`, 20 by default, at most 100, on every list.

mod agreement;
mod filters;
mod growing;
mod pages;
mod shelf;
mod sizes;
mod spellings;
mod walk;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "PAGE-001",
        chapter: Chapter::Pagination,
        sentence: "The union of all pages of a quiet list is the list, without gap or duplicate, and every page tells the same total.",
        source: "api-reference",
        level: Level::Documented,
        how: "Fills every list that has pages, draws a page size, reads page after page, and holds the items against what was put on the list, against the totals, and against the same list read in one piece.",
        needs: &[],
        cases: 2,
        check: pages::union,
    },
    Rule {
        id: "PAGE-002",
        chapter: Chapter::Pagination,
        sentence: "A page has 20 items unless asked otherwise, and 100 at the most.",
        source: "api-reference",
        level: Level::Documented,
        how: "Asks every list for a part without a size and with the largest; puts more than a hundred items on one drawn list and counts what comes. Lists whose clients read them in larger parts or whole are excused from the twenty: snapshots (50), items of a batch (100), templates, presets and runtimes (miosa-python 2.19, miosa-go 2.0).",
        needs: &[Need::Fresh],
        cases: 1,
        check: sizes::defaults,
    },
    Rule {
        id: "PAGE-003",
        chapter: Chapter::Pagination,
        sentence: "A page or page size of 0, -1, a word or nothing is refused with 400, and so is a page size above 100.",
        source: "api-reference",
        level: Level::Documented,
        how: "Asks every list for the values that are named, and for drawn ones in every spelling of the parameter.",
        needs: &[],
        cases: 2,
        check: spellings::bounds,
    },
    Rule {
        id: "PAGE-004",
        chapter: Chapter::Pagination,
        sentence: "A page beyond the end is empty, not an error, and tells the true total.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws a page size and how far beyond the last page to ask, for every list.",
        needs: &[],
        cases: 2,
        check: pages::beyond,
    },
    Rule {
        id: "PAGE-005",
        chapter: Chapter::Pagination,
        sentence: "While items are added, who goes through a list by cursor meets every older item once, and by page at least once.",
        source: "chosen",
        level: Level::Chosen,
        how: "Puts items on a list, reads it part by part, and puts more on it between the parts, as many and when as drawn.",
        needs: &[Need::Fresh],
        cases: 2,
        check: growing::nothing_is_missed,
    },
    Rule {
        id: "PAGE-006",
        chapter: Chapter::Pagination,
        sentence: "Create, get, list and delete agree: a list holds exactly what was made and not deleted, and each of it can be read.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws creates and deletes for every family that has them, keeps a model, and after the steps compares list, total and single reads with it.",
        needs: &[Need::Fresh],
        cases: 2,
        check: agreement::model,
    },
    Rule {
        id: "PAGE-007",
        chapter: Chapter::Pagination,
        sentence: "A list echoes the page and the page size that were asked for.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws page and page size within bounds, and reads `page` and, where it is there, `meta`, of every list.",
        needs: &[],
        cases: 3,
        check: sizes::echo,
    },
    Rule {
        id: "PAGE-008",
        chapter: Chapter::Pagination,
        sentence: "`page_size`, `per_page` and `limit` mean the same.",
        source: "miosa-go 2.0, miosa-python 2.19",
        level: Level::Observed,
        how: "Draws page and size, and asks every list in each spelling that it has; the answers must have the same items, page and total.",
        needs: &[],
        cases: 2,
        check: spellings::same,
    },
    Rule {
        id: "PAGE-009",
        chapter: Chapter::Pagination,
        sentence: "Pages, offsets and cursors walk the same list in the same order, and the last part names no next one.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: "Draws a size and reads every list to its end by offset, by cursor and by page.",
        needs: &[],
        cases: 1,
        check: spellings::walks,
    },
    Rule {
        id: "PAGE-010",
        chapter: Chapter::Pagination,
        sentence: "A filter lets through exactly the items that match, and its total counts just them.",
        source: "miosa-python 2.19, miosa-go 2.0",
        level: Level::Observed,
        how: "Puts items of different kinds on the lists that have filters, draws which kind each is, and compares the filtered list with the matching part of the whole one.",
        needs: &[Need::Fresh],
        cases: 2,
        check: filters::exact,
    },
    Rule {
        id: "PAGE-011",
        chapter: Chapter::Pagination,
        sentence: "Lists are newest first, and their order is the same in every read.",
        source: "chosen",
        level: Level::Chosen,
        how: "Compares the order of every list with the order in which its items were made, and two reads of drawn sizes with each other. Items of a batch are in the order of their numbers.",
        needs: &[],
        cases: 1,
        check: pages::order,
    },
];
