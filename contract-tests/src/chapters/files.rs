//! Files of a sandbox. There are several ways to write and to read one; all of them are one tree.

mod archives;
mod climbing;
mod large;
mod look;
mod missing;
mod model;
mod names;
mod ranges;
mod sequences;
mod spellings;
mod written;

use crate::rule::{Chapter, Level, Need, Rule};

const MACHINE: &[Need] = &[Need::Machines];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "FILE-001",
        chapter: Chapter::Files,
        sentence: "What was written is what is read: any bytes, under any legal name.",
        source: "api-reference/files, miosa-python 2.19, miosa-go 2.0",
        level: Level::Documented,
        how: "Draws a path of odd names and bytes of sizes at which something might break; writes them by each of eight ways and reads them by each of six.",
        needs: MACHINE,
        cases: 8,
        check: written::round,
    },
    Rule {
        id: "FILE-002",
        chapter: Chapter::Files,
        sentence: "Stat tells a file's path, size, kind and mode.",
        source: "api-reference/filesystem, miosa-go 2.0",
        level: Level::Documented,
        how: "A command makes files, directories and links of drawn sizes and modes; four ways to ask for one, and the lists, tell them.",
        needs: MACHINE,
        cases: 6,
        check: look::stat,
    },
    Rule {
        id: "FILE-003",
        chapter: Chapter::Files,
        sentence: "A directory lists exactly what is in it, at each depth.",
        source: "api-reference/filesystem, miosa-python 2.19, miosa-go 2.0",
        level: Level::Documented,
        how: "Draws a directory's files and directories, few or hundreds, under odd names, then what is added and removed by commands; each list and the tree name those and no others.",
        needs: MACHINE,
        cases: 6,
        check: look::list,
    },
    Rule {
        id: "FILE-004",
        chapter: Chapter::Files,
        sentence: "Rename moves, copy copies; nothing else changes.",
        source: "api-reference/files",
        level: Level::Documented,
        how: "Draws sequences of writes, renames and copies, some impossible, and compares the tree with a model after each.",
        needs: MACHINE,
        cases: 8,
        check: sequences::moving,
    },
    Rule {
        id: "FILE-005",
        chapter: Chapter::Files,
        sentence: "No path leads out of the sandbox: not by dots, links, encoding, form or archive.",
        source: "api-reference/files, chosen",
        level: Level::Chosen,
        how: "Draws paths that climb, and asks for them by every way to read and write. What is answered must be what a command sees under that path in the sandbox; else it is refused.",
        needs: MACHINE,
        cases: 6,
        check: climbing::check,
    },
    Rule {
        id: "FILE-006",
        chapter: Chapter::Files,
        sentence: "What is not there is answered with 404 in the one error shape.",
        source: "api-reference, computesdk 1.0",
        level: Level::Documented,
        how: "Draws a name that nothing has and asks every operation on files for it.",
        needs: MACHINE,
        cases: 3,
        check: missing::check,
    },
    Rule {
        id: "FILE-007",
        chapter: Chapter::Files,
        sentence: "A download is the file's bytes, never labelled as JSON, and a range of it is exact.",
        source: "api-reference/files, miosa-python 2.19",
        level: Level::Documented,
        how: "Draws a size, an ending, and ranges within, across and beyond the end, for each way to download: 206 with the very bytes, or 416.",
        needs: MACHINE,
        cases: 8,
        check: ranges::check,
    },
    Rule {
        id: "FILE-008",
        chapter: Chapter::Files,
        sentence: "A file over 10 MB is refused with 413 and not written; one of 10 MB is taken.",
        source: "api-reference",
        level: Level::Documented,
        how: "Uploads one of just 10 MB and one of a little more than 10 MiB, and looks whether it is there.",
        needs: MACHINE,
        cases: 1,
        check: large::check,
    },
    Rule {
        id: "FILE-009",
        chapter: Chapter::Files,
        sentence: "Delete removes that and nothing else; a directory that is not empty only when asked to.",
        source: "miosa-cli-go, computesdk 1.0",
        level: Level::Documented,
        how: "Draws sequences of writes and removals among names that begin alike, and compares the tree with a model after each.",
        needs: MACHINE,
        cases: 8,
        check: sequences::removing,
    },
    Rule {
        id: "FILE-010",
        chapter: Chapter::Files,
        sentence: "What went into an archive comes out of it: names, bytes, modes, links and empty directories.",
        source: "miosa-python 2.19, miosa-cli, chosen",
        level: Level::Observed,
        how: "Draws a directory, downloads it in each format and as an export, unpacks it elsewhere by the API and by a command, and compares. One that is cut off is refused and changes nothing.",
        needs: MACHINE,
        cases: 3,
        check: archives::check,
    },
    Rule {
        id: "FILE-011",
        chapter: Chapter::Files,
        sentence: "Mkdir makes directories, with those above when asked to; chmod sets permissions.",
        source: "api-reference/files",
        level: Level::Documented,
        how: "Draws sequences of both and a few writes, some impossible, and compares the tree with a model after each.",
        needs: MACHINE,
        cases: 8,
        check: sequences::making,
    },
];
