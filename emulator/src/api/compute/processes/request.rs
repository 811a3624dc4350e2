//! What a client asks to run in the background, and what `/commands` asks in either of its forms.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use miosa_agent::protocol::{Command, Exec, TerminalSize};
use serde::Deserialize;

use super::record::Origin;
use crate::api::compute::exec::request::{
    Words, check_env, counts_milliseconds, directory, too_long, words,
};
use crate::api::compute::sandboxes::refused_fields::field_not_emulated;
use crate::http::{ApiError, ApiResult, validation};

/// The longest time limit of a process, in seconds: 30 days.
const MOST: u64 = 30 * 24 * 3600;

/// What a process without a better wish gets for a terminal.
const TERMINAL: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// The body of `/processes` and of `/commands` (miosa-python 2.19, miosa-go 2.0, miosa-cli-go).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names)] // the names are the wire's
pub struct Body {
    pub(crate) command: Option<Words>,
    cmd: Option<Words>,
    args: Option<Vec<String>>,
    cwd: Option<String>,
    working_dir: Option<String>,
    dir: Option<String>,
    env: Option<BTreeMap<String, String>>,
    name: Option<String>,
    pub(crate) stdin: Option<String>,
    timeout: Option<u64>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) detached: Option<bool>,
    pub(crate) tty: Option<bool>,
    pub(crate) interactive: Option<bool>,
    pub(crate) sudo: Option<bool>,
    user: Option<String>,
}

/// A process that may be started.
#[derive(Debug)]
pub struct Wanted {
    /// For the agent.
    pub exec: Exec,
    /// What it reads first.
    pub stdin: Option<Bytes>,
    /// Whether more may come.
    pub open: bool,
    /// The client's own name for it.
    pub name: Option<String>,
    /// Which family asks.
    pub origin: Origin,
}

impl Body {
    /// A process of `/processes`. Its input stays open: a route writes to it.
    ///
    /// # Errors
    /// 422 naming the field, 501 for a user that no machine has.
    pub fn process(self, headers: &HeaderMap) -> ApiResult<Wanted> {
        let timeout = self.timeout.filter(|timeout| *timeout > 0);
        let ms = match timeout {
            Some(ms) if counts_milliseconds(headers) => Some(ms),
            other => other.map(|seconds| seconds.saturating_mul(1000)),
        };
        self.background(Origin::Process, ms, true)
    }

    /// A detached command of `/commands`. Its input ends after `stdin`, unless it is interactive.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn detached(self) -> ApiResult<Wanted> {
        let open = self.interactive == Some(true) || self.tty == Some(true);
        let ms = self.timeout_seconds.map(|seconds| seconds.saturating_mul(1000));
        self.background(Origin::Command, ms, open)
    }

    fn background(self, origin: Origin, ms: Option<u64>, open: bool) -> ApiResult<Wanted> {
        if ms.is_some_and(|ms| ms > MOST * 1000) {
            return Err(too_long("timeout", MOST));
        }
        if let Some(name) = &self.name {
            validation::text("name", name, 1, 255)?;
        }
        let (name, stdin) = (self.name.clone(), self.stdin.clone().map(Bytes::from));
        let mut exec = self.exec()?;
        exec.timeout_ms = ms;
        exec.stdin = open || stdin.is_some();
        exec.detached = true;
        Ok(Wanted { exec, stdin, open, name, origin })
    }

    /// What to run; input and time limit are the caller's.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn exec(self) -> ApiResult<Exec> {
        // Whoever runs commands is the machine's root already, as far as the host can make one: `sudo` adds nothing.
        if self.user.as_deref().is_some_and(|user| !matches!(user, "" | "root")) {
            return Err(field_not_emulated("user", "commands run as the machine's root."));
        }
        let env = self.env.unwrap_or_default();
        check_env(&env)?;
        Ok(Exec {
            command: words(self.command, self.cmd, self.args)?,
            cwd: directory(self.cwd, self.working_dir, self.dir)?,
            env,
            timeout_ms: None,
            stdin: false,
            tty: (self.tty == Some(true)).then_some(TERMINAL),
            detached: false,
        })
    }
}

/// A command in words, as records show it.
pub fn shown(command: &Command) -> String {
    match command {
        Command::Shell(line) => line.clone(),
        Command::Argv(argv) => argv.join(" "),
    }
}

/// A field of bytes: text, or base64 beside it.
///
/// # Errors
/// 422 for neither, both, or what is no base64.
pub fn input(data: Option<String>, data_base64: Option<&str>) -> ApiResult<Bytes> {
    use base64::Engine as _;
    match (data, data_base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| ApiError::field("data_base64", error.to_string())),
        (None, None) => Ok(Bytes::new()),
        (Some(_), Some(_)) => Err(ApiError::field("data_base64", "stands beside data")),
    }
}
