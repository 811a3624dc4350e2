//! `GET` and `PATCH /sandboxes/{id}/resources`: what a sandbox may use, and changing it while it runs.

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::transition::{not_running, tell};
use super::{Sandbox, State, sizes};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped, codes};
use crate::machines::Shape;

/// One at a time, so that the row and its machine get the same last word.
static RESIZING: Mutex<()> = Mutex::const_new(());

/// `GET …/resources`.
pub async fn read(sandbox: Scoped<Sandbox>) -> ApiResult<Answer> {
    Answer::ok(&Value::Object(shown(&sandbox)))
}

/// What is held to a limit can have another one; what is not cannot (miosa-python 2.19: `capabilities`).
fn shown(sandbox: &Sandbox) -> Map<String, Value> {
    let (cpu, memory) = (sandbox.enforced.vcpus, sandbox.enforced.memory_mb);
    let reason = match sandbox.state {
        State::Running | State::Snapshotting | State::Paused => None,
        _ => Some(format!("the sandbox is {}", sandbox.state.as_str())),
    };
    let unlimited = (cpu.is_none() || memory.is_none())
        .then(|| format!("this host holds its machines to no limit of {}", missing(sandbox)));
    let capable = |limit: Option<u32>| limit.is_some() && sandbox.alive && reason.is_none();
    let shown = json!({
        "id": sandbox.id,
        "sandbox_id": sandbox.id,
        "resources": {
            "cpu": sandbox.shape.vcpus,
            "memory_mb": sandbox.shape.memory_mb,
            "disk_size_mb": sandbox.shape.disk_mb,
        },
        "enforced": { "cpu": cpu, "memory_mb": memory, "by": sandbox.host },
        "capabilities": {
            "live_cpu": capable(cpu),
            "live_memory": capable(memory),
            "max_cpu": sizes::MOST.vcpus,
            "max_memory_mb": sizes::MOST.memory_mb,
            "reason": reason.or(unlimited),
        },
    });
    match shown {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn missing(sandbox: &Sandbox) -> &'static str {
    match (sandbox.enforced.vcpus, sandbox.enforced.memory_mb) {
        (None, None) => "CPU and memory",
        (None, _) => "CPU",
        _ => "memory",
    }
}

/// The body of a resize; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resize {
    cpu_count: Option<u32>,
    memory_mb: Option<u32>,
}

/// `PATCH …/resources`: on the running processes where they run, else for the next start.
pub async fn resize(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Resize>,
) -> ApiResult<CommittedAnswer> {
    if body.cpu_count.is_none() && body.memory_mb.is_none() {
        return Err(ApiError::field("cpu_count", "or memory_mb must be given"));
    }
    let (org, id) = (sandbox.org, sandbox.id);
    let _one = RESIZING.lock().await;
    let found = app.store.read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from));
    let before = found.await?.ok_or_else(|| ApiError::not_found("sandbox", id))?;
    let shape = asked(&before, &body)?;
    refuse_too_little(&app, &before, shape).await?;
    let enforced =
        if shape == before.shape { None } else { app.machines.resize(id, shape).await? };
    let live = enforced.is_some() || before.alive;
    let (app_, now) = (app.clone(), app.clock.now(org));
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let sandbox = tx.modify::<Sandbox>(org, id, |sandbox| {
                sandbox.shape = shape;
                sandbox.size = sizes::name_of(shape);
                sandbox.enforced = enforced.unwrap_or(sandbox.enforced);
                sandbox.updated_at = now;
            })?;
            let sandbox = sandbox.ok_or_else(|| ApiError::not_found("sandbox", id))?;
            let mut shown = shown(&sandbox);
            shown.insert("applied_live".into(), live.into());
            shown.insert("requires_restart".into(), (!live).into());
            shown.insert("restarted".into(), false.into());
            shown.insert("changes".into(), changes(before.shape, shape, live));
            // Nobody is billed here.
            shown.insert("billing".into(), Value::Null);
            exchange.commit(tx, &Answer::ok(&Value::Object(shown))?)
        })
        .await?;
    tell(&app_);
    Ok(answer)
}

/// The shape that is asked for, of a sandbox that can have it.
fn asked(sandbox: &Sandbox, body: &Resize) -> ApiResult<Shape> {
    match sandbox.state {
        State::Running | State::Snapshotting | State::Paused => {}
        _ => return Err(not_running(sandbox)),
    }
    let disk = Some(sandbox.shape.disk_mb);
    let vcpus = body.cpu_count.or(Some(sandbox.shape.vcpus));
    let memory_mb = body.memory_mb.or(Some(sandbox.shape.memory_mb));
    let (_, shape) = sizes::choose(None, vcpus, memory_mb, disk)?;
    for (field, given, limit) in [
        ("cpu_count", body.cpu_count, sandbox.enforced.vcpus),
        ("memory_mb", body.memory_mb, sandbox.enforced.memory_mb),
    ] {
        if given.is_some() && limit.is_none() {
            return Err(ApiError::new(
                codes::RESIZE_UNSUPPORTED,
                format!(
                    "{field}: this host holds its machines to no limit of it. Nothing was changed."
                ),
            ));
        }
    }
    Ok(shape)
}

/// Less memory than its processes hold would kill some of them: that takes a restart that somebody asks for.
async fn refuse_too_little(app: &App, sandbox: &Sandbox, shape: Shape) -> ApiResult<()> {
    if shape.memory_mb >= sandbox.shape.memory_mb || !sandbox.runs() {
        return Ok(());
    }
    let used = app.machines.agent(sandbox.id)?.usage().await?.memory_bytes;
    if used < u64::from(shape.memory_mb) << 20 {
        return Ok(());
    }
    Err(ApiError::new(
        codes::RESIZE_REQUIRES_RESTART,
        format!(
            "Its processes hold {} MB. Stop the sandbox, resize it, and resume it.",
            used.div_ceil(1 << 20)
        ),
    ))
}

fn changes(from: Shape, to: Shape, live: bool) -> Value {
    let mut changes = Map::new();
    for (name, from, to) in
        [("cpu_count", from.vcpus, to.vcpus), ("memory_mb", from.memory_mb, to.memory_mb)]
    {
        if from != to {
            let change = json!({ "from": from, "to": to, "applied_live": live });
            changes.insert(name.to_owned(), change);
        }
    }
    Value::Object(changes)
}
