//! `POST /sandboxes/{id}/template/start`: install, start a server, wait for it, and say where it can be seen
//! (miosa-python 2.19).
//!
//! What a step said is an answer, as for a command: `status` tells how far it came. The server goes on when the answer
//! has come; its output is in a file that the answer names.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::previews;
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use super::sandboxes::startup::entrypoint::{line, start, tail};
use super::sandboxes::startup::probe::{self, Probe, try_once};
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Route, Scoped, codes};
use crate::machines::Agent;
use crate::proxy::address::ClientHost;

/// Seconds, at most, for either step.
const MOST: u64 = 1800;
/// Seconds for the installation, when nothing is said.
const INSTALL: u64 = 300;
/// Seconds for the server, when nothing is said.
const START: u64 = 60;
/// Between two looks at whether the server is there.
const EVERY: Duration = Duration::from_millis(200);
/// How much of the installation's output is kept.
const OUTPUT: usize = 256 * 1024;

/// The route.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/template/start", begin)
            .family("sandboxes")
            .scope("sandboxes:exec"),
    ]
}

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    install: Option<bool>,
    install_command: Option<String>,
    start_command: Option<String>,
    install_timeout_sec: Option<u64>,
    start_timeout_sec: Option<u64>,
    port: Option<i64>,
    workdir: Option<String>,
    readiness_probe: Option<probe::Asked>,
}

/// A body that has been checked.
struct Plan {
    install: Option<String>,
    start: String,
    install_time: Duration,
    start_time: Duration,
    port: u16,
    workdir: Option<String>,
    probe: Probe,
}

impl Body {
    fn plan(self, sandbox: &Sandbox) -> ApiResult<Plan> {
        let text = |field: &str, text: Option<String>| match text.filter(|t| !t.trim().is_empty()) {
            Some(text) if text.contains('\0') || text.len() > 65_536 => {
                Err(ApiError::field(field, "must have at most 65536 bytes, without NUL"))
            }
            text => Ok(text),
        };
        let time = |field: &str, seconds: Option<u64>, default: u64| match seconds {
            Some(seconds) if seconds > MOST => Err(ApiError::new(
                codes::TIMEOUT_TOO_LONG,
                format!("{field}: at most {MOST} seconds"),
            )),
            Some(0) => Err(ApiError::field(field, format!("must be 1 to {MOST}"))),
            seconds => Ok(Duration::from_secs(seconds.unwrap_or(default))),
        };
        let port = match self.port {
            None => previews::usual_port(sandbox),
            Some(port) => u16::try_from(port)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| ApiError::field("port", "must be 1 to 65535"))?,
        };
        let start = text("start_command", self.start_command)?.ok_or_else(|| {
            ApiError::field(
                "start_command",
                "is missing: the built-in templates have none of their own",
            )
        })?;
        let install = text("install_command", self.install_command)?;
        if self.install == Some(true) && install.is_none() {
            return Err(ApiError::field("install_command", "is missing"));
        }
        Ok(Plan {
            install: install.filter(|_| self.install != Some(false)),
            start,
            install_time: time("install_timeout_sec", self.install_timeout_sec, INSTALL)?,
            start_time: time("start_timeout_sec", self.start_timeout_sec, START)?,
            port,
            workdir: text("workdir", self.workdir)?,
            probe: match self.readiness_probe {
                Some(asked) => asked.checked()?,
                None => Probe::Tcp { port },
            },
        })
    }
}

async fn begin(
    State(app): State<App>,
    caller: Caller,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Body>,
) -> ApiResult<Answer> {
    let plan = body.plan(&sandbox)?;
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let mut shown = Map::new();
    let mut add = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    add("sandbox_id", json!(sandbox.id));
    add("port", json!(plan.port));
    add("preview_url", Value::Null);
    if let Some(command) = &plan.install {
        let (installed, well) = install(&agent, command, &plan).await?;
        add("install", installed);
        if !well {
            add("status", "install_failed".into());
            add("ready", false.into());
            return Answer::ok(&Value::Object(shown));
        }
    }
    let log = format!("/tmp/miosa-template-{}.log", plan.port);
    // The file first, so that a command that cannot be run is said there.
    let command = format!("exec > {log} 2>&1\n{}", plan.start);
    let pid = start(&agent, &command, plan.workdir.clone(), BTreeMap::new()).await?;
    add("start", json!({ "command": plan.start, "pid": pid.to_string(), "log_path": log }));
    let waited = up(&app, &agent, &plan).await;
    add("ready", waited.is_ok().into());
    add("status", if waited.is_ok() { "running" } else { "not_ready" }.into());
    add("readiness_error", json!(waited.err()));
    let preview = previews::open(&app, &caller, host, sandbox.0, plan.port).await?;
    add("preview_url", preview.get("url").cloned().unwrap_or_default());
    add("preview", preview);
    Answer::ok(&Value::Object(shown))
}

/// Runs the installation to its end; what to show of it, and whether it went well.
async fn install(agent: &Agent, command: &str, plan: &Plan) -> ApiResult<(Value, bool)> {
    let mut exec = line(command.to_owned(), plan.install_time);
    exec.cwd.clone_from(&plan.workdir);
    let ended = agent.run(exec, None, OUTPUT).await?;
    let well = ended.exit.exit_code == 0 && !ended.exit.timed_out;
    let shown = json!({
        "command": command,
        "exit_code": if ended.exit.timed_out { -1 } else { ended.exit.exit_code },
        "timed_out": ended.exit.timed_out,
        "duration_ms": ended.exit.duration_ms,
        "error": (!well).then(|| tail(&ended)),
    });
    Ok((shown, well))
}

/// Waits for the server.
async fn up(app: &App, agent: &Agent, plan: &Plan) -> Result<(), String> {
    let deadline = Instant::now() + plan.start_time;
    loop {
        let tried = try_once(agent, &plan.probe).await;
        if tried.is_ok() || Instant::now() >= deadline || app.stopping.is_cancelled() {
            return tried;
        }
        tokio::time::sleep(EVERY).await;
    }
}
