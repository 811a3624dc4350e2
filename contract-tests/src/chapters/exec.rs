//! Commands in a sandbox. What is said of one is checked on every way to run one ([`crate::room::way::Way`]).

mod background;
mod bounds;
mod ends;
mod reach;
mod texts;
mod variables;

use crate::rule::{Chapter, Level, Need, Rule};

const MACHINE: &[Need] = &[Need::Machines];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "EXEC-001",
        chapter: Chapter::Exec,
        sentence: "The exit code is the command's, 0 to 255; a command that fails is an answer, not an error.",
        source: "api-reference/exec, miosa-python 2.19",
        level: Level::Observed,
        how: "Draws an exit code and ends a shell with it, on every way to run a command: answered, streamed, by ticket, detached, as a process, by Python, and on a socket in four dialects.",
        needs: MACHINE,
        cases: 4,
        check: ends::code,
    },
    Rule {
        id: "EXEC-002",
        chapter: Chapter::Exec,
        sentence: "Standard output and standard error come apart and whole.",
        source: "miosa-python 2.19, miosa-go 2.0",
        level: Level::Observed,
        how: "Draws pieces from one byte to beyond 64 KiB and which stream each goes to, in any order, and wants each stream's pieces in their order.",
        needs: MACHINE,
        cases: 3,
        check: texts::apart,
    },
    Rule {
        id: "EXEC-003",
        chapter: Chapter::Exec,
        sentence: "Directory, variables, input and arguments reach the command as they were given.",
        source: "miosa-python 2.19, miosa-go 2.0, miosa-cli",
        level: Level::Observed,
        how: "Draws a directory's name, a variable, an input and a word, with quotes, spaces, line ends and any script; the command says them again.",
        needs: MACHINE,
        cases: 4,
        check: reach::everything,
    },
    Rule {
        id: "EXEC-004",
        chapter: Chapter::Exec,
        sentence: "A command over its timeout ends, and its result says so: `timed_out`, exit code -1, and what it said until then.",
        source: "miosa-go 2.0",
        level: Level::Observed,
        how: "Draws a command that waits, one that waits deaf to signals, and one that is busy; all ways at once have one second. The processes must be gone.",
        needs: MACHINE,
        cases: 1,
        check: ends::timeout,
    },
    Rule {
        id: "EXEC-005",
        chapter: Chapter::Exec,
        sentence: "A timeout out of bounds is refused with 422, and nothing runs.",
        source: "miosa-go 2.0, chosen",
        level: Level::Chosen,
        how: "Draws 0, numbers beyond the most, negative ones and words as timeout of every request that takes one; the command would leave a mark.",
        needs: MACHINE,
        cases: 6,
        check: bounds::refused,
    },
    Rule {
        id: "EXEC-006",
        chapter: Chapter::Exec,
        sentence: "What a command says survives byte for byte: text as text, the rest in base64 beside it; a socket's frames carry any byte.",
        source: "chosen",
        level: Level::Chosen,
        how: "Draws bytes, UTF-8 or not, with NUL, escapes and line ends of every kind; a command writes them.",
        needs: MACHINE,
        cases: 6,
        check: texts::any_bytes,
    },
    Rule {
        id: "EXEC-007",
        chapter: Chapter::Exec,
        sentence: "Commands run side by side.",
        source: "miosa-python 2.19",
        level: Level::Observed,
        how: "Starts two or three commands at once, on each way, each of which waits until the others have begun; and each answer must be its own.",
        needs: MACHINE,
        cases: 1,
        check: ends::side_by_side,
    },
    Rule {
        id: "EXEC-008",
        chapter: Chapter::Exec,
        sentence: "A command in a sandbox that is no longer there is refused with 404 or 409, on every way.",
        source: "api-reference",
        level: Level::Documented,
        how: "Deletes a sandbox, then asks every way and every file operation of it, and of an id that nothing ever had.",
        needs: MACHINE,
        cases: 1,
        check: bounds::gone,
    },
    Rule {
        id: "EXEC-009",
        chapter: Chapter::Exec,
        sentence: "Variables of the sandbox reach every command from then on, until they are removed; no answer shows their values.",
        source: "miosa-python 2.19, miosa-cli",
        level: Level::Observed,
        how: "Draws steps that set and remove variables, in both shapes; after each, a command on a drawn way says them all, and lists show names only.",
        needs: MACHINE,
        cases: 4,
        check: variables::reach,
    },
    Rule {
        id: "EXEC-010",
        chapter: Chapter::Exec,
        sentence: "A background process is listed, its log is what it said, its record tells its exit code, and one that is killed is gone.",
        source: "miosa-python 2.19, miosa-go 2.0",
        level: Level::Observed,
        how: "Draws how it is started, how many lines it says, and how it ends: by itself, by DELETE, by kill or by a signal.",
        needs: MACHINE,
        cases: 4,
        check: background::told,
    },
];
