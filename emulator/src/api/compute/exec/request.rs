//! What a client asks to run, in the words of every client.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::USER_AGENT;
use miosa_agent::protocol::{self, Exec};
use serde::Deserialize;
use serde_json::json;

use crate::defects::defect;
use crate::http::{ApiError, ApiResult, codes};

/// Linux takes no longer single argument: 128 KiB with its end (`execve(2)`, `MAX_ARG_STRLEN`).
const MAX_ARGUMENT: usize = 128 * 1024 - 1;
/// All variables together; Linux takes about 2 MiB of arguments and environment.
const MAX_ENV: usize = 1024 * 1024;
/// A timeout from here on can only mean milliseconds (miosa-elixir 1.1 documents them).
const MILLISECONDS: u64 = 1000;

/// The body of `exec` and `exec/stream`.
#[derive(Debug, Default, Deserialize)]
#[allow(clippy::struct_field_names)] // the field has the client's name
pub struct Command {
    /// A line for the shell, or a program with its arguments.
    command: Option<Words>,
    /// As the guide spells it (`develop/files-and-exec`).
    cmd: Option<Words>,
    /// The arguments of `cmd`.
    args: Option<Vec<String>>,
    /// The working directory.
    cwd: Option<String>,
    /// The same, miosa-elixir 1.1.
    working_dir: Option<String>,
    /// The same, miosa-cli.
    dir: Option<String>,
    /// Added to the sandbox's own environment.
    env: Option<BTreeMap<String, String>>,
    /// What the command reads; nothing when absent.
    stdin: Option<String>,
    /// Seconds.
    timeout: Option<u64>,
    /// Whether to wait for a sandbox that is just starting (computesdk 1.0). Always done.
    #[serde(rename = "wait")]
    _wait: Option<bool>,
    /// How long (computesdk 1.0). The emulator's own bound holds.
    #[serde(rename = "wait_timeout_ms")]
    _wait_timeout_ms: Option<u64>,
    /// Let it run on and answer at once (`develop/files-and-exec`).
    detached: Option<bool>,
    /// The same.
    background: Option<bool>,
    /// Of `exec/stream`: answer with a ticket for the events (`api-reference/streaming-exec`).
    ticket: Option<bool>,
    /// The shell that runs the line (`api-reference/streaming-exec`).
    shell: Option<String>,
}

/// A command in either of its shapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a string, or a list of strings")]
pub enum Words {
    /// A line for the shell, or a program beside its arguments.
    Line(String),
    /// A program and its arguments.
    List(Vec<String>),
}

/// How long a command may run, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When the client says nothing.
    pub default: u64,
    /// At most; more is refused, not clamped (miosa-go 2.0).
    pub most: u64,
}

/// A command that has been checked.
#[derive(Debug)]
pub struct Checked {
    /// For the agent.
    pub exec: Exec,
    /// What it reads.
    pub stdin: Option<Bytes>,
    /// How long it may run.
    pub timeout: Duration,
}

impl Command {
    /// Whether the events are wanted by ticket.
    pub fn by_ticket(&self) -> bool {
        self.ticket == Some(true)
    }

    /// Whether it goes on by itself (`develop/files-and-exec`).
    pub fn is_detached(&self) -> bool {
        self.detached == Some(true) || self.background == Some(true)
    }

    /// Checks one that goes on by itself: its time is bounded only when the client says so.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn detach(mut self, limits: &Limits, headers: &HeaderMap) -> ApiResult<Checked> {
        (self.detached, self.background) = (None, None);
        let bounded = self.timeout.is_some();
        let mut checked = self.check(limits, headers)?;
        checked.exec.detached = true;
        checked.exec.timeout_ms = checked.exec.timeout_ms.filter(|_| bounded);
        Ok(checked)
    }

    /// Checks everything that can be wrong before a sandbox is woken for it.
    ///
    /// # Errors
    /// 422 naming the field, `TIMEOUT_TOO_LONG`, or 501 for a detached command.
    pub fn check(self, limits: &Limits, headers: &HeaderMap) -> ApiResult<Checked> {
        if self.is_detached() {
            return Err(ApiError::new(
                codes::not_emulated,
                "What is detached is not followed: start it with `exec` or `processes`, and follow it there.",
            ));
        }
        let timeout = timeout(self.timeout, limits, headers)?;
        let timeout = defect!(TimeoutIgnored, timeout.saturating_mul(20), timeout);
        let command = in_shell(words(self.command, self.cmd, self.args)?, self.shell)?;
        let cwd = directory(self.cwd, self.working_dir, self.dir)?;
        let cwd = defect!(CwdIgnored, None, cwd);
        let env = self.env.unwrap_or_default();
        check_env(&env)?;
        let exec = Exec {
            command,
            cwd,
            env,
            timeout_ms: Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            stdin: self.stdin.is_some(),
            tty: None,
            detached: false,
        };
        let stdin = self.stdin.map(Bytes::from);
        let stdin = defect!(StdinCut, stdin.map(|b| b.slice(..b.len().saturating_sub(1))), stdin);
        Ok(Checked { exec, stdin, timeout })
    }
}

/// The command, in one of its spellings.
///
/// # Errors
/// 422 naming the field.
pub fn words(
    command: Option<Words>,
    cmd: Option<Words>,
    args: Option<Vec<String>>,
) -> ApiResult<protocol::Command> {
    let (field, words) = match (command, cmd) {
        (Some(command), Some(other)) if command != other => {
            return Err(ApiError::field("cmd", "contradicts command; send one of them"));
        }
        (Some(words), _) => ("command", words),
        (None, Some(words)) => ("cmd", words),
        (None, None) => return Err(ApiError::field("command", "is missing")),
    };
    let command = match (words, args) {
        (Words::Line(line), None) => {
            if line.trim().is_empty() {
                return Err(ApiError::field(field, "must not be empty"));
            }
            check_argument(field, &line)?;
            protocol::Command::Shell(line)
        }
        (Words::Line(program), Some(args)) => {
            protocol::Command::Argv([vec![program], args].concat())
        }
        (Words::List(argv), None) => protocol::Command::Argv(argv),
        (Words::List(_), Some(_)) => {
            return Err(ApiError::field("args", "needs a single program beside it"));
        }
    };
    if let protocol::Command::Argv(argv) = &command {
        if argv.first().is_none_or(String::is_empty) {
            return Err(ApiError::field(field, "must name a program"));
        }
        argv.iter().try_for_each(|argument| check_argument(field, argument))?;
    }
    Ok(command)
}

/// The working directory, in one of its spellings; an empty one says nothing.
///
/// # Errors
/// 422 naming the field.
pub fn directory(
    cwd: Option<String>,
    working_dir: Option<String>,
    dir: Option<String>,
) -> ApiResult<Option<String>> {
    let cwd = one_of(&[("cwd", cwd), ("working_dir", working_dir), ("dir", dir)])?;
    match &cwd {
        Some(path) if path.contains('\0') || path.len() >= 4096 => {
            Err(ApiError::field("cwd", "must be a path of at most 4095 bytes, without NUL"))
        }
        _ => Ok(cwd.filter(|cwd| !cwd.is_empty())),
    }
}

/// The line in the shell that was asked for.
fn in_shell(command: protocol::Command, shell: Option<String>) -> ApiResult<protocol::Command> {
    let Some(shell) = shell.filter(|shell| !shell.is_empty()) else { return Ok(command) };
    check_argument("shell", &shell)?;
    match command {
        protocol::Command::Shell(line) => {
            Ok(protocol::Command::Argv(vec![shell, "-c".to_owned(), line]))
        }
        protocol::Command::Argv(_) => {
            Err(ApiError::field("shell", "runs a line, not a program with its arguments"))
        }
    }
}

fn check_argument(field: &str, text: &str) -> ApiResult<()> {
    if text.contains('\0') {
        return Err(ApiError::field(field, "must not contain NUL"));
    }
    if text.len() > MAX_ARGUMENT {
        return Err(ApiError::field(
            field,
            format!("must have at most {MAX_ARGUMENT} bytes; send more through stdin or a file"),
        ));
    }
    Ok(())
}

/// Names that a shell can use, values that a process can have.
///
/// # Errors
/// 422 naming the variable.
pub fn check_env(env: &BTreeMap<String, String>) -> ApiResult<()> {
    let mut total = 0;
    for (name, value) in env {
        let field = || format!("env.{name}");
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(ApiError::field(
                &field(),
                "a name has letters, digits and underscores, and does not begin with a digit",
            ));
        }
        check_argument(&field(), value)?;
        total += name.len() + value.len() + 2;
        if total > MAX_ENV {
            return Err(ApiError::field(
                "env",
                format!("must have at most {MAX_ENV} bytes in all"),
            ));
        }
    }
    Ok(())
}

/// The one value that several spellings of a field may give.
fn one_of(spellings: &[(&str, Option<String>)]) -> ApiResult<Option<String>> {
    let mut given: Option<(&str, &String)> = None;
    for (name, value) in spellings {
        let Some(value) = value else { continue };
        if let Some((first, other)) = given
            && other != value
        {
            return Err(ApiError::field(name, format!("contradicts {first}; send one of them")));
        }
        given = given.or(Some((name, value)));
    }
    Ok(given.map(|(_, value)| value.clone()))
}

fn timeout(asked: Option<u64>, limits: &Limits, headers: &HeaderMap) -> ApiResult<Duration> {
    let Some(asked) = asked else { return Ok(Duration::from_secs(limits.default)) };
    let in_milliseconds = asked >= MILLISECONDS || counts_milliseconds(headers);
    if defect!(TimeoutClamped) && !in_milliseconds {
        return Ok(Duration::from_secs(asked.clamp(1, limits.most)));
    }
    let timeout =
        if in_milliseconds { Duration::from_millis(asked) } else { Duration::from_secs(asked) };
    if timeout.is_zero() {
        return Err(ApiError::field("timeout", "must be at least 1 second"));
    }
    if timeout > Duration::from_secs(limits.most) {
        return Err(too_long("timeout", limits.most));
    }
    Ok(timeout)
}

/// Whether this client gives timeouts in milliseconds (miosa-elixir 1.1 documents them).
pub fn counts_milliseconds(headers: &HeaderMap) -> bool {
    agent(headers).starts_with("miosa-elixir")
}

/// What the client calls itself.
pub fn agent(headers: &HeaderMap) -> &str {
    headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
}

/// A timeout that is longer than any may be.
pub fn too_long(field: &str, most: u64) -> ApiError {
    let message = format!("must be at most {most} seconds");
    ApiError::new(codes::TIMEOUT_TOO_LONG, format!("{field}: {message}"))
        .details(json!([{ "field": field, "message": message, "max": most }]))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    const LIMITS: Limits = Limits { default: 30, most: 600 };

    fn check_as(agent: &'static str, body: Value) -> ApiResult<Checked> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        serde_json::from_value::<Command>(body).unwrap().check(&LIMITS, &headers)
    }

    fn check(body: Value) -> ApiResult<Checked> {
        check_as("miosa-python/2.19.2", body)
    }

    #[test]
    fn every_spelling_of_a_command_is_read() {
        let shell = protocol::Command::Shell("echo a".into());
        let argv = protocol::Command::Argv(vec!["echo".into(), "a".into()]);
        let dash = ["/bin/dash", "-c", "echo a"].map(str::to_owned).to_vec();
        let dash = protocol::Command::Argv(dash);
        for (body, command) in [
            (json!({ "command": "echo a" }), &shell),
            (json!({ "cmd": "echo a" }), &shell),
            (json!({ "command": "echo a", "cmd": "echo a" }), &shell),
            (json!({ "cmd": "echo", "args": ["a"] }), &argv),
            (json!({ "command": ["echo", "a"] }), &argv),
            (json!({ "command": "echo a", "shell": "" }), &shell),
            (json!({ "command": "echo a", "shell": "/bin/dash" }), &dash),
        ] {
            assert_eq!(&check(body.clone()).unwrap().exec.command, command, "{body}");
        }
        for field in ["cwd", "dir", "working_dir"] {
            let checked = check(json!({ "command": "x", field: "/tmp" })).unwrap();
            assert_eq!(checked.exec.cwd.as_deref(), Some("/tmp"));
        }
    }

    #[test]
    fn what_cannot_run_is_refused_by_its_field() {
        for (body, field) in [
            (json!({}), "command"),
            (json!({ "command": "  " }), "command"),
            (json!({ "command": "a\u{0}b" }), "command"),
            (json!({ "command": "x".repeat(MAX_ARGUMENT + 1) }), "command"),
            (json!({ "command": [] }), "command"),
            (json!({ "command": "a", "cmd": "b" }), "cmd"),
            (json!({ "command": ["a"], "shell": "sh" }), "shell"),
            (json!({ "command": "a", "cwd": "/a", "dir": "/b" }), "dir"),
            (json!({ "command": "a", "cwd": "/\u{0}" }), "cwd"),
            (json!({ "command": "a", "env": { "1A": "x" } }), "env.1A"),
            (json!({ "command": "a", "env": { "A=B": "x" } }), "env.A=B"),
            (json!({ "command": "a", "env": { "": "x" } }), "env."),
            (json!({ "command": "a", "env": { "A": "\u{0}" } }), "env.A"),
            (json!({ "command": "a", "timeout": 0 }), "timeout"),
        ] {
            let error = check(body.clone()).unwrap_err();
            assert_eq!(error.code, codes::VALIDATION_FAILED, "{body}");
            assert_eq!(error.details.unwrap()[0]["field"], field, "{body}");
        }
    }

    #[test]
    fn a_timeout_is_seconds_unless_it_can_only_be_milliseconds() {
        let ms = |timeout: u64| {
            check(json!({ "command": "a", "timeout": timeout })).map(|c| c.timeout.as_millis())
        };
        assert_eq!(check(json!({ "command": "a" })).unwrap().timeout.as_secs(), 30);
        assert_eq!(ms(300).unwrap(), 300_000);
        assert_eq!(ms(600).unwrap(), 600_000);
        assert_eq!(ms(30_000).unwrap(), 30_000);
        for over in [601, 999, 600_001] {
            assert_eq!(ms(over).unwrap_err().code, codes::TIMEOUT_TOO_LONG, "{over}");
        }
        let elixir =
            check_as("miosa-elixir/1.1.0", json!({ "command": "a", "timeout": 500 })).unwrap();
        assert_eq!(elixir.timeout.as_millis(), 500);
    }

    #[test]
    fn a_detached_command_is_bounded_only_when_asked_and_never_followed() {
        let error = check(json!({ "command": "a", "detached": true })).unwrap_err();
        assert_eq!(error.code, codes::not_emulated);
        for (body, ms) in [
            (json!({ "command": "a", "detached": true }), None),
            (json!({ "command": "a", "background": true, "timeout": 5 }), Some(5000)),
        ] {
            let command: Command = serde_json::from_value(body).unwrap();
            assert!(command.is_detached());
            let checked = command.detach(&LIMITS, &HeaderMap::new()).unwrap();
            assert_eq!((checked.exec.timeout_ms, checked.exec.detached), (ms, true));
        }
    }
}
