//! Streams: the lines of commands, the events of a sandbox and of the organization, and WebSockets.

mod events;
mod leaving;
mod lines;
mod talk;

use crate::rule::{Chapter, Level, Need, Rule};

const MACHINE: &[Need] = &[Need::Machines];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "STR-001",
        chapter: Chapter::Streams,
        sentence: "A stream of a command is text/event-stream, and its last event tells the exit code.",
        source: "api-reference/streaming-exec, miosa-python 2.19",
        level: Level::Documented,
        how: "Draws an exit code and a number of lines, none included, on every way to stream a command: directly, by ticket, and of a process.",
        needs: MACHINE,
        cases: 3,
        check: lines::exits,
    },
    Rule {
        id: "STR-002",
        chapter: Chapter::Streams,
        sentence: "Lines come in order, and joined they are what the command wrote.",
        source: "api-reference/streaming-exec, miosa-python 2.19",
        level: Level::Documented,
        how: "Draws lines: empty, beyond 64 KiB, without an end, with characters that are written in two halves; and compares with what is answered in one piece.",
        needs: MACHINE,
        cases: 4,
        check: lines::joined,
    },
    Rule {
        id: "STR-003",
        chapter: Chapter::Streams,
        sentence: "A line comes while the command still runs; the stream ends when the command does, with nothing after its last event.",
        source: "api-reference/streaming-exec, miosa-python 2.19",
        level: Level::Observed,
        how: "The command says a line and waits for a file, which is only written when the line has come; after the exit the connection must end.",
        needs: MACHINE,
        cases: 2,
        check: lines::live,
    },
    Rule {
        id: "STR-004",
        chapter: Chapter::Streams,
        sentence: "Ids of events grow, and Last-Event-ID goes on after that event, without gap or double.",
        source: "api-reference/events, api-reference/tenant-events",
        level: Level::Observed,
        how: "Commands make events; then each stream is read from its beginning, and again after drawn events, by header and by query.",
        needs: MACHINE,
        cases: 3,
        check: events::resumed,
    },
    Rule {
        id: "STR-005",
        chapter: Chapter::Streams,
        sentence: "Events tell standard output and standard error apart.",
        source: "miosa-python 2.19, api-reference/streaming-exec",
        level: Level::Observed,
        how: "Draws lines and which stream each goes to, in any order; each stream's lines must come in their order under its name.",
        needs: MACHINE,
        cases: 3,
        check: lines::apart,
    },
    Rule {
        id: "STR-006",
        chapter: Chapter::Streams,
        sentence: "A WebSocket of a command carries input, output and the exit code, each whole and in its order.",
        source: "miosa-go 2.0, miosa-python 2.19, miosa-elixir 1.1, miosa-typescript",
        level: Level::Chosen,
        how: "Draws what is typed, in pieces of sizes to beyond 64 KiB, at a command that says it again, in each dialect; and where the end of input can be told, the command must see it.",
        needs: MACHINE,
        cases: 4,
        check: talk::echoed,
    },
    Rule {
        id: "STR-007",
        chapter: Chapter::Streams,
        sentence: "A reader that goes away ends what it started and nothing else; the sandbox goes on.",
        source: "chosen",
        level: Level::Chosen,
        how: "Opens streams and sockets of a command that never ends, leaves after a drawn number of messages, and looks for the process; one that was started by itself must go on.",
        needs: MACHINE,
        cases: 2,
        check: leaving::check,
    },
];
