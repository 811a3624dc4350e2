//! `exec/python`: a piece of Python, written to a file below `/tmp` and run by `python3` (`api-reference/exec`).

use axum::extract::State;
use bytes::Bytes;
use http::HeaderMap;
use miosa_agent::protocol::FileOp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::exec::broken;
use super::exec::outcome::Outcome;
use super::exec::request::{Command, Limits};
use super::exec::session::Session;
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, Scoped};

/// Seconds, as a command's.
const LIMITS: Limits = Limits { default: 30, most: 600 };

/// Bytes of code: what a file may have.
const MAX_CODE: usize = 10 * 1024 * 1024;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/exec/python", run)
            .family("exec")
            .scope("sandboxes:exec")
            .ends_with_client(),
    ]
}

#[derive(Debug, Deserialize)]
struct Body {
    code: String,
    timeout: Option<u64>,
    cwd: Option<String>,
    env: Option<Value>,
    stdin: Option<String>,
}

async fn run(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Input(body): Input<Body>,
) -> ApiResult<Answer> {
    if body.code.trim().is_empty() {
        return Err(ApiError::field("code", "must not be empty"));
    }
    if body.code.len() > MAX_CODE {
        return Err(ApiError::field("code", format!("must have at most {MAX_CODE} bytes")));
    }
    let script = format!("/tmp/miosa-{}.py", app.ids.next().simple());
    // A shell, so that a sandbox without Python answers 127 as any command that is not there.
    let command = json!({
        "command": format!("exec python3 {script}"), "timeout": body.timeout, "cwd": body.cwd,
        "env": body.env, "stdin": body.stdin,
    });
    let command: Command = serde_json::from_value(command)
        .map_err(|error| ApiError::field("env", error.to_string()))?;
    let command = command.check(&LIMITS, &headers)?;
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let _script = Script { app: app.clone(), sandbox: sandbox.id, path: script.clone() };
    agent.write(&script, Some(0o600), Bytes::from(body.code)).await?;
    let id = app.ids.next();
    let session = Session::start(&app, &sandbox, &agent, id, command)
        .await
        .map_err(|error| broken(&exchange, error))?;
    let outcome = Outcome::collect(session).await.map_err(|error| broken(&exchange, error))?;
    Answer::ok(&outcome.show(id))
}

/// The file; it goes when the request has ended, also when its client went away.
struct Script {
    app: App,
    sandbox: uuid::Uuid,
    path: String,
}

impl Drop for Script {
    fn drop(&mut self) {
        let Ok(agent) = self.app.machines.agent(self.sandbox) else { return };
        let remove = FileOp::Remove { path: std::mem::take(&mut self.path), recursive: false };
        self.app.tasks.spawn(async move {
            // A sandbox that is gone has no such file.
            let _ = agent.file_op::<Value>(&remove).await;
        });
    }
}
