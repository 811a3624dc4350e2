//! What a build says: collected line by line, written to the store in small lots, within bounds.
//!
//! Each entry has `event`, `at`, and what belongs to it. Whoever follows the log sees a lot as soon as it is written.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::record::Build;
use crate::api::compute::exec_stream::lines::{Line, Lines};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::ApiResult;
use crate::machines::agent::Output;

/// As many bytes of output are kept; the rest is read and thrown away.
pub const MOST_BYTES: usize = 1024 * 1024;
/// As many lines.
const MOST_LINES: usize = 10_000;
/// A lot is written when it has so many entries…
const LOT: usize = 64;
/// …or is so old.
pub const AGE: Duration = Duration::from_millis(100);
/// The end of the output that a failure is told with.
const TAIL: usize = 512;

/// An entry.
pub fn entry(event: &str, at: Timestamp, more: Value) -> Value {
    let mut entry =
        Map::from_iter([("event".to_owned(), Value::from(event)), ("at".to_owned(), json!(at))]);
    if let Value::Object(more) = more {
        entry.extend(more);
    }
    Value::Object(entry)
}

/// The log of a build that runs.
pub struct Journal {
    app: App,
    org: uuid::Uuid,
    build: uuid::Uuid,
    /// How many entries are written.
    written: u64,
    pending: Vec<Value>,
    since: Instant,
    bytes: usize,
    lines: usize,
    cut: bool,
}

impl Journal {
    /// Goes on with the log of a build whose first entry is written.
    pub fn of(app: &App, build: &Build) -> Self {
        Self {
            app: app.clone(),
            org: build.org,
            build: build.id,
            written: 1,
            pending: Vec::new(),
            since: Instant::now(),
            bytes: 0,
            lines: 0,
            cut: false,
        }
    }

    /// Says something.
    pub fn say(&mut self, event: &str, more: Value) {
        let at = self.app.clock.now(self.org);
        self.pending.push(entry(event, at, more));
    }

    /// A line of a command's output.
    pub fn line(&mut self, of: &Speaker, stream: &str, line: &Line) {
        if self.cut {
            return;
        }
        self.bytes += line.text.len() + 1;
        self.lines += 1;
        if self.bytes > MOST_BYTES || self.lines > MOST_LINES {
            self.cut = true;
            self.say("truncated", json!({ "message": "more output is not kept" }));
            return;
        }
        self.say(
            "output",
            match of {
                Speaker::Step(number) => {
                    json!({ "stream": stream, "line": line.text, "step": number })
                }
                Speaker::Start => {
                    json!({ "stream": stream, "line": line.text, "command": "startCmd" })
                }
            },
        );
    }

    /// Writes what waits, if it is enough or old enough.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle(&mut self) -> ApiResult<()> {
        if self.pending.len() >= LOT || self.since.elapsed() >= AGE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn flush(&mut self) -> ApiResult<()> {
        self.since = Instant::now();
        let lot = self.take();
        if lot.entries.is_empty() {
            return Ok(());
        }
        let (org, build) = (self.org, self.build);
        self.app
            .store
            .write(move |tx| -> ApiResult<()> {
                // Gone with its template: nobody would remove the log.
                if tx.get::<Build>(org, build)?.is_some() {
                    tx.append_log(org, build, lot.first, &lot.entries)?;
                }
                Ok(())
            })
            .await?;
        self.app.builds.grown.notify_waiters();
        Ok(())
    }

    /// Takes what waits, for a transaction that writes it with something else.
    pub fn take(&mut self) -> Lot {
        let entries = std::mem::take(&mut self.pending);
        let first = self.written + 1;
        self.written += entries.len() as u64;
        Lot { first, entries }
    }
}

/// Entries to be written, the first in place `first`.
pub struct Lot {
    /// The place.
    pub first: u64,
    /// The entries.
    pub entries: Vec<Value>,
}

/// Whose output it is.
#[derive(Debug, Clone, Copy)]
pub enum Speaker {
    /// A step's, from 1.
    Step(usize),
    /// The start command's.
    Start,
}

/// A command's output on its way into the journal.
pub struct Listener {
    of: Speaker,
    stdout: Lines,
    stderr: Lines,
    /// The last line that says something, standard error before standard output.
    last: [String; 2],
}

impl Listener {
    /// Of a command.
    pub fn new(of: Speaker) -> Self {
        Self { of, stdout: Lines::default(), stderr: Lines::default(), last: Default::default() }
    }

    /// Takes a piece in.
    pub fn hear(&mut self, output: &Output, journal: &mut Journal) {
        let (of, [out, err]) = (self.of, &mut self.last);
        match output {
            Output::Stdout(bytes) => self.stdout.feed(bytes, |line| {
                keep(out, &line);
                journal.line(&of, "stdout", &line);
            }),
            Output::Stderr(bytes) => self.stderr.feed(bytes, |line| {
                keep(err, &line);
                journal.line(&of, "stderr", &line);
            }),
            Output::Exit(_) => {
                self.stdout.end(|line| {
                    keep(out, &line);
                    journal.line(&of, "stdout", &line);
                });
                self.stderr.end(|line| {
                    keep(err, &line);
                    journal.line(&of, "stderr", &line);
                });
            }
        }
    }

    /// Its last words, for the message of a failure.
    pub fn last_words(&self) -> &str {
        let [out, err] = &self.last;
        if err.is_empty() { out } else { err }
    }
}

fn keep(last: &mut String, line: &Line) {
    if !line.text.trim().is_empty() {
        *last = line.text.trim().chars().take(TAIL).collect();
    }
}
