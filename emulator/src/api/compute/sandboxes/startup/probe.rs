//! The readiness probe: what runs in the sandbox says when it is up (miosa-python 2.19: `readiness_probe`).

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use miosa_agent::protocol::{Command, Exec};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::note;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::event::{Happening, emit};
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::machines::Agent;
use crate::machines::agent::http_status;

/// Between two attempts.
const EVERY: Duration = Duration::from_millis(200);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A probe that has not passed for so long is given up; the next start tries anew.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// As a body says it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    #[serde(rename = "type")]
    kind: Option<String>,
    port: Option<i64>,
    url: Option<String>,
    path: Option<String>,
    command: Option<String>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Probe {
    /// Passes when something listens.
    Tcp {
        /// Where.
        port: u16,
    },
    /// Passes when a server answers with a status below 400.
    Http {
        /// Where.
        port: u16,
        /// The path with its query.
        path: String,
    },
    /// Passes when a command ends with 0.
    Exec {
        /// The line.
        command: String,
    },
}

impl Asked {
    /// The probe that is meant.
    ///
    /// # Errors
    /// 422 naming the part that is wrong.
    pub fn checked(self) -> ApiResult<Probe> {
        let field =
            |name: &str, why: &str| ApiError::field(&format!("readiness_probe.{name}"), why);
        let port = |port: Option<i64>| {
            port.and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0)
                .ok_or_else(|| field("port", "must be 1 to 65535"))
        };
        match self.kind.as_deref() {
            Some("tcp") => Ok(Probe::Tcp { port: port(self.port)? }),
            Some("http") => {
                let (named, path) = match self.url.or(self.path) {
                    Some(text) => located(&text).ok_or_else(|| {
                        field("url", "must be a path, or an http URL of the sandbox's own host")
                    })?,
                    None => (None, "/".to_owned()),
                };
                let port = port(self.port.or(named.map(i64::from)))?;
                Ok(Probe::Http { port, path })
            }
            Some("exec") => {
                let command = self.command.filter(|line| {
                    !line.trim().is_empty() && !line.contains('\0') && line.len() <= 65_536
                });
                let command = command.ok_or_else(|| {
                    field("command", "must be a line of 1 to 65536 bytes without NUL")
                })?;
                Ok(Probe::Exec { command })
            }
            _ => Err(field("type", "must be tcp, http or exec")),
        }
    }
}

/// Port and path of `/health` or `http://localhost:3000/health`.
fn located(text: &str) -> Option<(Option<u16>, String)> {
    let uri: Uri = text.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    match (uri.scheme_str(), uri.host()) {
        (None, None) if text.starts_with('/') => Some((None, path)),
        (Some("http"), Some("localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]")) => {
            Some((Some(uri.port_u16().unwrap_or(80)), path))
        }
        _ => None,
    }
}

/// Tries until it passes, the sandbox no longer runs, or patience is over.
pub(super) async fn watch(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut said = None;
    while Instant::now() < deadline {
        let found = app.store.read(move |view| view.get::<Sandbox>(org, id)).await;
        let Some(sandbox) = found.map_err(ApiError::from)? else { return Ok(()) };
        let Some(probe) = sandbox.startup.probe.clone().filter(|_| sandbox.startup.probing) else {
            return Ok(());
        };
        if !sandbox.runs() {
            return Ok(());
        }
        match attempt(app, id, &probe).await {
            Ok(()) => return passed(app, org, id).await,
            Err(why) if said.as_ref() != Some(&why) => {
                said = Some(why.clone());
                note(app, (org, id), |startup, _| startup.probe_error = Some(why)).await?;
            }
            Err(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
    let why = format!("it has not passed within {} minutes", PATIENCE.as_secs() / 60);
    note(app, (org, id), |startup, _| startup.probe_error = Some(why)).await.map(drop)
}

async fn passed(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    let (app_, now) = (app.clone(), app.clock.now(org));
    app.store
        .write(move |tx| -> ApiResult<()> {
            let Some(mut sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(()) };
            if sandbox.startup.probing && sandbox.runs() {
                sandbox.startup.probing = false;
                sandbox.startup.probe_error = None;
                sandbox.ready_at = Some(now);
                sandbox.updated_at = now;
                emit(tx, &app_, &sandbox, Happening::Ready)?;
                tx.update(&sandbox)?;
            }
            Ok(())
        })
        .await?;
    crate::api::compute::sandboxes::transition::tell(app);
    Ok(())
}

async fn attempt(app: &App, id: Uuid, probe: &Probe) -> Result<(), String> {
    let agent = app.machines.agent(id).map_err(|error| error.to_string())?;
    try_once(&agent, probe).await
}

/// One attempt.
///
/// # Errors
/// Why it did not pass, in words.
pub async fn try_once(agent: &Agent, probe: &Probe) -> Result<(), String> {
    let trying = async {
        match probe {
            Probe::Tcp { port } => agent.tcp(*port).await.map(drop).map_err(|e| e.to_string()),
            Probe::Http { port, path } => ask(agent, *port, path).await,
            Probe::Exec { command } => run(agent, command).await,
        }
    };
    timeout(ATTEMPT, trying)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} seconds", ATTEMPT.as_secs())))
}

async fn ask(agent: &Agent, port: u16, path: &str) -> Result<(), String> {
    let tunnel = agent.tcp(port).await.map_err(|error| error.to_string())?;
    let status = http_status(tunnel, port, path).await?;
    if status.as_u16() < 400 { Ok(()) } else { Err(format!("it answers {status}")) }
}

async fn run(agent: &Agent, command: &str) -> Result<(), String> {
    let exec = Exec {
        command: Command::Shell(command.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: Some(ATTEMPT.as_millis() as u64),
        stdin: false,
        tty: None,
        detached: false,
    };
    let ended = agent.run(exec, None, 0).await.map_err(|error| error.to_string())?;
    match ended.exit.exit_code {
        0 => Ok(()),
        code => Err(format!("its command ends with {code}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(body: Value) -> ApiResult<Probe> {
        serde_json::from_value::<Asked>(body).unwrap().checked()
    }

    #[test]
    fn a_probe_is_read_in_the_words_of_the_clients() {
        let http = |port, path: &str| Probe::Http { port, path: path.to_owned() };
        for (body, probe) in [
            (json!({ "type": "tcp", "port": 80 }), Probe::Tcp { port: 80 }),
            (json!({ "type": "http", "port": 3000 }), http(3000, "/")),
            (json!({ "type": "http", "port": 3000, "path": "/up?x=1" }), http(3000, "/up?x=1")),
            (json!({ "type": "http", "url": "http://localhost:8080/up" }), http(8080, "/up")),
            (json!({ "type": "http", "url": "http://127.0.0.1" }), http(80, "/")),
            (json!({ "type": "exec", "command": "true" }), Probe::Exec { command: "true".into() }),
        ] {
            assert_eq!(checked(body.clone()).unwrap(), probe, "{body}");
        }
    }

    #[test]
    fn a_probe_that_cannot_be_tried_is_refused_by_its_part() {
        for (body, part) in [
            (json!({}), "type"),
            (json!({ "type": "grpc", "port": 1 }), "type"),
            (json!({ "type": "tcp" }), "port"),
            (json!({ "type": "tcp", "port": 70_000 }), "port"),
            (json!({ "type": "http", "path": "/" }), "port"),
            (json!({ "type": "http", "url": "https://example.com/" }), "url"),
            (json!({ "type": "http", "port": 1, "url": "no path" }), "url"),
            (json!({ "type": "exec", "command": " " }), "command"),
        ] {
            let error = checked(body.clone()).unwrap_err();
            assert!(error.message.starts_with(&format!("readiness_probe.{part}")), "{body}");
        }
    }
}
