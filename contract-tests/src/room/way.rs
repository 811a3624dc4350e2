//! Every way to run a command in a sandbox: what a rule says of commands holds for each.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::said::{Said, bytes};
use super::sockets::{self, Dialect};
use super::{Inside, encode, sse};
use crate::fault::Fault;

/// A way to run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST /exec`.
    Exec,
    /// `POST /commands`, answered at the end.
    Commands,
    /// `POST /exec/stream`.
    Stream,
    /// `POST /exec/stream` with a ticket, then its events.
    Ticket,
    /// `POST /exec` with `detached`.
    ExecDetached,
    /// `POST /commands` with `detached`.
    CommandsDetached,
    /// `POST /processes`.
    Process,
    /// `POST /exec/python`, whose piece of Python runs the line.
    Python,
    /// A WebSocket.
    Socket(Dialect),
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Exec,
        Self::Commands,
        Self::Stream,
        Self::Ticket,
        Self::ExecDetached,
        Self::CommandsDetached,
        Self::Process,
        Self::Python,
        Self::Socket(Dialect::Frames),
        Self::Socket(Dialect::Json),
        Self::Socket(Dialect::Spawn),
        Self::Socket(Dialect::Bare),
    ];

    /// Those that are answered in one piece.
    pub const ANSWERED: [Self; 3] = [Self::Exec, Self::Commands, Self::Python];

    /// Those whose lines come as events.
    pub const STREAMED: [Self; 5] =
        [Self::Stream, Self::Ticket, Self::Process, Self::CommandsDetached, Self::ExecDetached];

    /// Whether what it answers tells the two streams apart.
    pub fn tells_apart(self) -> bool {
        self != Self::Socket(Dialect::Bare)
    }
}

/// Nearly all of these ways; a failure shrinks to the one that shows it.
pub fn most_of(ways: &'static [Way]) -> impl Strategy<Value = Vec<Way>> {
    prop::collection::vec(prop::bool::weighted(0.9), ways.len()).prop_map(|taken| {
        let ways = ways.iter().zip(taken);
        ways.filter_map(|(way, taken)| taken.then_some(*way)).collect()
    })
}

/// What is to be run.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// A line for the shell.
    pub line: String,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Where.
    pub cwd: Option<String>,
    /// What it reads. The command must not wait for its end: some ways cannot say it.
    pub stdin: Option<String>,
    /// Seconds.
    pub timeout: Option<u64>,
}

impl Ask {
    /// Just a line.
    pub fn line(line: impl Into<String>) -> Self {
        Self { line: line.into(), ..Self::default() }
    }

    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("command".to_owned(), json!(self.line));
        if !self.env.is_empty() {
            let env = self.env.iter().map(|(name, value)| (name.clone(), json!(value)));
            body.insert("env".to_owned(), Value::Object(env.collect()));
        }
        if let Some(cwd) = &self.cwd {
            body.insert("cwd".to_owned(), json!(cwd));
        }
        body
    }

    pub(super) fn query(&self) -> String {
        let mut query = format!("command={}", encode(&self.line));
        for (name, value) in &self.env {
            query += &format!("&env={}", encode(&format!("{name}={value}")));
        }
        if let Some(cwd) = &self.cwd {
            query += &format!("&cwd={}", encode(cwd));
        }
        query
    }
}

impl Inside {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// [`Fault::Broken`] when that way does not answer as it should.
    pub async fn run(&self, way: Way, ask: &Ask) -> Result<Said, Fault> {
        let mut body = ask.body();
        let mut add = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        if let Some(stdin) = &ask.stdin
            && way != Way::Process
        {
            add("stdin", json!(stdin));
        }
        if let Some(seconds) = ask.timeout {
            let name = if matches!(way, Way::Commands | Way::CommandsDetached) {
                "timeout_seconds"
            } else {
                "timeout"
            };
            add(name, json!(seconds));
        }
        match way {
            Way::Exec => Said::answered(self.post("/exec", Value::Object(body)).send().await?),
            Way::Commands => {
                Said::answered(self.post("/commands", Value::Object(body)).send().await?)
            }
            Way::Python => {
                let shell = json!(["sh", "-c", ask.line]);
                let code = format!("import subprocess, sys\nsys.exit(subprocess.call({shell}))");
                body.remove("command");
                body.insert("code".to_owned(), json!(code));
                Said::answered(self.post("/exec/python", Value::Object(body)).send().await?)
            }
            Way::Stream => {
                let stream = self.post("/exec/stream", Value::Object(body)).stream().await?;
                Ok(sse::read(stream).await?.said)
            }
            Way::Ticket => {
                add("ticket", json!(true));
                Ok(sse::read(self.ticketed(Value::Object(body)).await?).await?.said)
            }
            Way::ExecDetached => {
                add("detached", json!(true));
                self.detached("/exec", "/commands", ask, Value::Object(body)).await
            }
            Way::CommandsDetached => {
                add("detached", json!(true));
                self.detached("/commands", "/commands", ask, Value::Object(body)).await
            }
            Way::Process => {
                self.detached("/processes", "/processes", ask, Value::Object(body)).await
            }
            Way::Socket(dialect) => sockets::run(self, dialect, ask).await,
        }
    }

    /// The events of a ticket.
    ///
    /// # Errors
    /// [`Fault::Broken`] when there is no ticket.
    pub async fn ticketed(&self, body: Value) -> Result<crate::case::stream::Stream, Fault> {
        let reply = self.post("/exec/stream", body).send().await?.expect(202)?;
        let ticket = reply.text("ticket")?;
        let path = format!("/exec/stream/events?ticket={}", encode(&ticket));
        self.get(&path).stream().await
    }

    /// Starts a process, waits for its end, and reads what it said: by its events, and by its record and log, which must
    /// say the same.
    async fn detached(
        &self,
        start: &str,
        family: &str,
        ask: &Ask,
        body: Value,
    ) -> Result<Said, Fault> {
        let started = self.post(start, body).send().await?.expect(201)?;
        let id = started.id()?;
        if let Some(stdin) = &ask.stdin
            && start == "/processes"
        {
            let path = format!("/processes/{id}/stdin");
            self.post(&path, json!({ "data": stdin })).send().await?.expect(200)?;
        }
        let stream = self.get(&format!("/processes/{id}/stream")).stream().await?;
        let told = sse::read(stream).await?;
        let record = self.ended(family, &id).await?;
        if !told.said.timed_out {
            record.said.ended("the record", told.said.exit.unwrap_or(-2))?;
        }
        let logs =
            self.get(&format!("{family}/{id}/logs?tail=100000")).send().await?.expect(200)?;
        let data = logs.data()?;
        let log = if data.is_object() {
            bytes(&data, "text")
        } else {
            bytes(&json!({ "text": data, "text_base64": logs.json()?["text_base64"] }), "text")
        };
        let events = [&told.said.stdout[..], &told.said.stderr[..]].concat();
        logs.holds(
            sorted(&log) == sorted(&events) || std::str::from_utf8(&log).is_err(),
            format!("in the log what the events said: {} bytes", events.len()),
            format!("{} bytes", log.len()),
        )?;
        Ok(told.said)
    }

    /// The record of a process that is about to end.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it goes on to say that it runs.
    pub async fn ended(&self, family: &str, id: &str) -> Result<Record, Fault> {
        let mut tries = 0;
        loop {
            let reply = self.get(&format!("{family}/{id}")).send().await?.expect(200)?;
            let data = reply.data()?;
            let runs = matches!(data["status"].as_str(), Some("running" | "starting"));
            if !runs {
                let said =
                    Said { exit: data["exit_code"].as_i64(), at: reply.at, ..Said::default() };
                return Ok(Record { said, data });
            }
            tries += 1;
            let got = || format!("{} after {tries} looks", data["status"]);
            reply.holds(tries < 40, "a record that says it has ended", got())?;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// A process that has ended, as its record says.
pub struct Record {
    /// The exit code, and the exchange that shows it.
    pub said: Said,
    /// The record.
    pub data: Value,
}

/// The two streams of a process share one log, in whichever order the pieces came.
fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}
