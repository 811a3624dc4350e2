//! One cell: sent to its interpreter, awaited, interrupted when it must end.
//!
//! A cell that is to end gets an interrupt first, which leaves the context as it is; an interpreter that does not answer to
//! that is killed, and the answer says that its variables are gone.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use miosa_agent::protocol::jobs::JobInfo;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::context::{Context, Found};
use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::Agent;
use crate::machines::agent::{JobOutput, JobSaid};

/// How long an interrupted interpreter may take to answer.
const GRACE: Duration = Duration::from_secs(2);

/// The longest answer of an interpreter, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A cell that may run: it is its turn, and its interpreter is there.
pub struct Cell {
    app: App,
    seconds: u64,
    found: Found,
    /// Taken by whoever ends it.
    work: Option<Work>,
}

struct Work {
    agent: Agent,
    context: Context,
    id: Uuid,
    output: JobOutput,
    rest: Vec<u8>,
    _turn: OwnedMutexGuard<()>,
}

/// What an interpreter answers.
#[derive(Debug, Deserialize)]
struct Said {
    id: Uuid,
    ok: bool,
    result: Value,
    error: Option<Trouble>,
    stdout: String,
    stderr: String,
    stdout_cut: bool,
    stderr_cut: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Trouble {
    name: String,
    message: String,
    traceback: String,
}

/// How waiting for an interpreter ends.
enum Heard {
    Answer(Box<Said>),
    Died(JobInfo),
}

impl Cell {
    /// Waits for the turn and for the interpreter.
    ///
    /// # Errors
    /// 409 when the context is busy for as long as the cell may run, or there are too many contexts.
    pub async fn begin(
        app: &App,
        sandbox: Uuid,
        agent: &Agent,
        context: Context,
        seconds: u64,
    ) -> ApiResult<Self> {
        let patience = Duration::from_secs(seconds);
        let turn = tokio::time::timeout(patience, app.code.take(sandbox, context.job()));
        let turn = turn.await.map_err(|_| {
            let text = format!("Context {} is busy with another cell; nothing ran.", context.name);
            ApiError::new(codes::RESOURCE_STATE, text)
        })?;
        let (interpreter, found) = context.interpreter(agent).await?;
        let output = agent.job_output(&context.job(), interpreter.log_end, true).await?;
        let id = app.ids.next();
        let rest = Vec::new();
        let work = Work { agent: agent.clone(), context, id, output, rest, _turn: turn };
        Ok(Self { app: app.clone(), seconds, found, work: Some(work) })
    }

    /// Runs it and answers in the words of the clients.
    ///
    /// # Errors
    /// 422 without the interpreter's program; 502 when the agent goes away.
    pub async fn run(mut self, code: &str) -> ApiResult<Value> {
        let began = Instant::now();
        let limit = Duration::from_secs(self.seconds);
        let mut ending = Ending { found: self.found, ..Ending::default() };
        // Held by `self` until it has ended: a client that goes away drops this future, and with it the cell.
        let Some(work) = self.work.as_mut() else {
            return Err(ApiError::internal("a cell runs once"));
        };
        let heard = tokio::time::timeout(limit, work.ask(code)).await;
        let heard = match heard {
            Ok(heard) => Some(heard?),
            Err(_) => {
                ending.timed_out = Some(self.seconds);
                work.interrupt().await?
            }
        };
        let context = work.context.clone();
        self.work = None;
        ending.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match heard {
            Some(Heard::Answer(said)) => Ok(ending.show(&context, *said)),
            Some(Heard::Died(job)) => ending.died(&context, &job),
            None => Ok(ending.killed(&context)),
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let Some(mut work) = self.work.take() else { return };
        // Its client has gone. The turn goes on only when the interpreter is free again.
        self.app.tasks.spawn(async move {
            if let Err(error) = work.interrupt().await {
                tracing::debug!("a cell without its client could not be ended: {:?}", error.log);
            }
        });
    }
}

impl Work {
    async fn ask(&mut self, code: &str) -> ApiResult<Heard> {
        let line = format!("{}\n", json!({ "id": self.id, "code": code }));
        let job = self.context.job();
        if let Err(error) = self.agent.job_input(&job, Bytes::from(line), false).await {
            // It may have died at once; then its output says so.
            tracing::debug!("a cell was not taken: {error}");
        }
        self.hear().await
    }

    /// Waits for the answer. Dropping the future loses nothing.
    async fn hear(&mut self) -> ApiResult<Heard> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                // A cell that was given up earlier may answer first.
                match serde_json::from_slice::<Said>(&line) {
                    Ok(said) if said.id == self.id => return Ok(Heard::Answer(Box::new(said))),
                    _ => {}
                }
            }
            let lost = || ApiError::internal("an interpreter's answer was lost");
            match self.output.next().await.transpose()? {
                Some(JobSaid::Stdout(bytes)) if self.rest.len() < MAX_ANSWER => {
                    self.rest.extend_from_slice(&bytes);
                }
                Some(JobSaid::Stderr(_)) => {}
                Some(JobSaid::Stands(job)) => return Ok(Heard::Died(job)),
                Some(JobSaid::Stdout(_) | JobSaid::Lost(_)) | None => return Err(lost()),
            }
        }
    }

    /// Ends the cell: asks its interpreter, and kills it when it does not answer.
    async fn interrupt(&mut self) -> ApiResult<Option<Heard>> {
        let job = self.context.job();
        if self.agent.signal_job(&job, Signal::SIGINT as i32).await.is_ok()
            && let Ok(heard) = tokio::time::timeout(GRACE, self.hear()).await
        {
            return heard.map(Some);
        }
        self.context.end(&self.agent).await?;
        Ok(None)
    }
}

/// How a cell ended, apart from what its interpreter says.
struct Ending {
    found: Found,
    timed_out: Option<u64>,
    ms: u64,
}

impl Default for Ending {
    fn default() -> Self {
        Self { found: Found::Known, timed_out: None, ms: 0 }
    }
}

impl Ending {
    fn show(&self, context: &Context, mut said: Said) -> Value {
        if let Some(seconds) = self.timed_out
            && !said.ok
        {
            said.error = Some(Trouble {
                name: "TimeoutError".into(),
                message: format!(
                    "the cell was interrupted after {seconds} s; its context keeps its variables"
                ),
                traceback: said.error.unwrap_or_default().traceback,
            });
        }
        let timed_out = self.timed_out.is_some() && !said.ok;
        self.answer(context, said, timed_out, false)
    }

    /// The interpreter ended in the middle.
    fn died(&self, context: &Context, job: &JobInfo) -> ApiResult<Value> {
        let code = job.exit.as_ref().map_or(-1, |exit| exit.exit_code);
        if self.found != Found::Known && matches!(code, 126 | 127) {
            let text = format!("this sandbox has no {}", context.language.program());
            return Err(ApiError::field("language", text));
        }
        let message =
            format!("the interpreter ended with exit code {code}; its variables are gone");
        Ok(self.gone(context, "InterpreterExited", message))
    }

    fn killed(&self, context: &Context) -> Value {
        let seconds = self.timed_out.unwrap_or_default();
        let message = format!(
            "the cell ran into its timeout of {seconds} s and did not answer to an interrupt; its interpreter was killed, its \
             output and the context's variables are gone"
        );
        self.gone(context, "TimeoutError", message)
    }

    fn gone(&self, context: &Context, name: &str, message: String) -> Value {
        let said = Said {
            id: Uuid::nil(),
            ok: false,
            result: Value::Null,
            error: Some(Trouble { name: name.into(), message, traceback: String::new() }),
            stdout: String::new(),
            stderr: String::new(),
            stdout_cut: false,
            stderr_cut: false,
        };
        self.answer(context, said, self.timed_out.is_some(), true)
    }

    fn answer(&self, context: &Context, said: Said, timed_out: bool, lost: bool) -> Value {
        let mut shown = Map::new();
        let mut add = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        let mut stderr = bytes(&said.stderr);
        if let Some(trouble) = &said.error {
            if !stderr.is_empty() && !stderr.ends_with(b"\n") {
                stderr.push(b'\n');
            }
            stderr.extend_from_slice(trouble.text().as_bytes());
            add("error", json!({ "name": trouble.name, "message": trouble.message }));
            add("traceback", trouble.traceback.as_str().into());
        } else {
            add("error", Value::Null);
            add("traceback", Value::Null);
        }
        let streams =
            [("stdout", bytes(&said.stdout), said.stdout_cut), ("stderr", stderr, said.stderr_cut)];
        for (name, bytes, cut) in streams {
            if std::str::from_utf8(&bytes).is_err() && !cut {
                add(&format!("{name}_base64"), STANDARD.encode(&bytes).into());
            }
            add(name, String::from_utf8_lossy(&bytes).into());
            add(&format!("{name}_truncated"), cut.into());
        }
        add("ok", said.ok.into());
        add("result", said.result);
        add("language", context.language.name().into());
        add("context", context.name.as_str().into());
        add("timed_out", timed_out.into());
        add("duration_ms", self.ms.into());
        // What became of the context: made for this cell, made anew since its interpreter had died, lost by this cell.
        add("context_created", (self.found != Found::Known).into());
        add("context_restarted", (self.found == Found::Anew).into());
        add("context_lost", lost.into());
        Value::Object(shown)
    }
}

impl Trouble {
    fn text(&self) -> String {
        let last = format!("{}: {}\n", self.name, self.message);
        if self.name == "TimeoutError" || self.traceback.is_empty() {
            return format!("{}{last}", self.traceback);
        }
        let end = if self.traceback.ends_with('\n') { "" } else { "\n" };
        format!("{}{end}", self.traceback)
    }
}

/// Bytes from the hexadecimal digits of an interpreter.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::compute::code::Language;

    fn said(ok: bool, error: Option<Trouble>) -> Said {
        Said {
            id: Uuid::nil(),
            ok,
            result: json!(3),
            error,
            stdout: "61ff".into(),
            stderr: String::new(),
            stdout_cut: false,
            stderr_cut: false,
        }
    }

    #[test]
    fn an_answer_is_in_the_words_of_the_clients() {
        let context = Context::new(Language::Python, "default").unwrap();
        let shown = Ending::default().show(&context, said(true, None));
        assert_eq!((&shown["ok"], &shown["result"]), (&json!(true), &json!(3)));
        assert_eq!(
            (&shown["stdout"], &shown["stdout_base64"]),
            (&json!("a\u{fffd}"), &json!("Yf8="))
        );
        assert_eq!((&shown["language"], &shown["context_lost"]), (&json!("python"), &json!(false)));
    }

    #[test]
    fn a_timeout_says_what_became_of_the_context() {
        let context = Context::new(Language::JavaScript, "default").unwrap();
        let ending = Ending { timed_out: Some(1), ..Ending::default() };
        let trouble = Trouble { traceback: "at line 1\n".into(), ..Trouble::default() };
        let kept = ending.show(&context, said(false, Some(trouble)));
        assert_eq!((&kept["timed_out"], &kept["context_lost"]), (&json!(true), &json!(false)));
        let stderr = kept["stderr"].as_str().unwrap();
        assert!(stderr.starts_with("at line 1\nTimeoutError: "), "{stderr}");
        let lost = ending.killed(&context);
        assert_eq!((&lost["timed_out"], &lost["context_lost"]), (&json!(true), &json!(true)));
    }
}
