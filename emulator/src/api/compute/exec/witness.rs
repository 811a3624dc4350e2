//! What a command says and how it ends, as events of its sandbox (`api-reference/events`), from which its log is read too.
//!
//! Whatever runs a command has one, so none can be left out. It keeps the beginning of what the command says; the end is
//! always told, also when nobody waits for it any more. Variables are never told.

use std::time::Instant;

use miosa_agent::protocol;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::compute::exec_stream::lines::{Line, Lines};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::machines::agent::Output;
use crate::recorder::Happened;
use crate::store::outbox::Class;

/// How many lines of a command are told.
const MAX_LINES: usize = 1000;
/// How many bytes of them.
const MAX_BYTES: usize = 256 * 1024;
/// How much of one line, and of the command itself.
const MAX_LINE: usize = 4096;

/// Tells of one command.
pub struct Witness {
    app: App,
    org: Uuid,
    workspace: Uuid,
    sandbox: Uuid,
    exec: Uuid,
    stdout: Lines,
    stderr: Lines,
    lines: usize,
    bytes: usize,
    truncated: bool,
    started: Instant,
    ended: bool,
}

impl Witness {
    /// The command has started.
    pub fn of(app: &App, sandbox: &Sandbox, exec: Uuid, command: &protocol::Command) -> Self {
        let witness = Self {
            app: app.clone(),
            org: sandbox.org,
            workspace: sandbox.owner.workspace_id,
            sandbox: sandbox.id,
            exec,
            stdout: Lines::default(),
            stderr: Lines::default(),
            lines: 0,
            bytes: 0,
            truncated: false,
            started: Instant::now(),
            ended: false,
        };
        let command = match command {
            protocol::Command::Shell(line) => cut(line).to_owned(),
            protocol::Command::Argv(argv) => cut(&argv.join(" ")).to_owned(),
        };
        let bytes = command.len();
        witness.tell("sandbox.exec.started", json!({ "exec_id": exec, "command": command }), bytes);
        witness
    }

    /// It has said something, or ended.
    pub fn see(&mut self, output: &Output) {
        match output {
            Output::Stdout(bytes) => self.hear(bytes, false),
            Output::Stderr(bytes) => self.hear(bytes, true),
            Output::Exit(exit) => {
                let code = if exit.timed_out { -1 } else { exit.exit_code };
                self.end(json!({
                    "exec_id": self.exec, "exit_code": code, "duration_ms": exit.duration_ms,
                    "timed_out": exit.timed_out,
                }));
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], stderr: bool) {
        if self.truncated {
            return;
        }
        let (kind, lines) = if stderr {
            ("sandbox.exec.stderr", &mut self.stderr)
        } else {
            ("sandbox.exec.stdout", &mut self.stdout)
        };
        let mut heard = Vec::new();
        lines.feed(bytes, |line| heard.push(line));
        for line in heard {
            self.line(kind, &line);
        }
    }

    fn line(&mut self, kind: &'static str, line: &Line) {
        let text = cut(&line.text);
        if self.truncated || self.lines >= MAX_LINES || self.bytes + text.len() > MAX_BYTES {
            self.truncated = true;
            return;
        }
        self.lines += 1;
        self.bytes += text.len();
        let mut data = json!({ "exec_id": self.exec, "line": text });
        if text.len() < line.text.len()
            && let Value::Object(fields) = &mut data
        {
            fields.insert("truncated".to_owned(), true.into());
        }
        self.truncated |= !self.tell(kind, data, text.len());
    }

    fn end(&mut self, mut data: Value) {
        self.ended = true;
        for (kind, mut lines) in [
            ("sandbox.exec.stdout", std::mem::take(&mut self.stdout)),
            ("sandbox.exec.stderr", std::mem::take(&mut self.stderr)),
        ] {
            lines.end(|line| self.line(kind, &line));
        }
        if let Value::Object(fields) = &mut data {
            fields.insert("output_truncated".to_owned(), self.truncated.into());
        }
        self.tell("sandbox.exec.completed", data, 0);
    }

    fn tell(&self, kind: &'static str, data: Value, bytes: usize) -> bool {
        self.app.recorder.push(Happened {
            org: self.org,
            workspace: self.workspace,
            sandbox: self.sandbox,
            kind,
            class: Class::Output,
            at: self.app.clock.now(self.org),
            data,
            bytes,
        })
    }
}

impl Drop for Witness {
    /// Cut off: its client went away, its sandbox ended, or the emulator stops.
    fn drop(&mut self) {
        if !self.ended {
            let ran = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.end(json!({
                "exec_id": self.exec, "exit_code": null, "duration_ms": ran, "timed_out": false,
                "cancelled": true,
            }));
        }
    }
}

/// The beginning of a text, cut between characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_LINE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc"), "abc");
        let long = format!("{}é", "a".repeat(MAX_LINE - 1));
        assert_eq!(cut(&long).len(), MAX_LINE - 1);
    }
}
