//! The way into a sandbox: whoever works inside one passes here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::transition::{not_running, starting};
use super::{Sandbox, State, power};
use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::Agent;

pub use super::activity::{ActivityGuard, hold};

/// How long a request waits for a sandbox that is just starting, pausing or coming back.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sandbox's agent, for a command, a file or a preview request. Wakes a paused sandbox that is persistent, counts
/// as activity (the idle clock starts anew), and waits, within bounds, for one that is just starting.
///
/// A sandbox that runs costs no access to the store.
///
/// # Errors
/// 409 `SANDBOX_NOT_RUNNING` or `SANDBOX_STARTING`; 502 when the agent is dead.
pub async fn awake(app: &App, sandbox: &Sandbox) -> ApiResult<Arc<Agent>> {
    if sandbox.runs() && app.activity.enter(sandbox.id, app.clock.now(sandbox.org)) {
        return Ok(app.machines.agent(sandbox.id)?);
    }
    let (org, id) = (sandbox.org, sandbox.id);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Listening before looking: a transition that ends in between is heard.
        let changed = app.activity.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let sandbox = app
            .store
            .read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from))
            .await?
            .ok_or_else(|| ApiError::not_found("sandbox", id))?;
        match sandbox.state {
            _ if sandbox.runs() && app.activity.enter(id, app.clock.now(org)) => {
                return Ok(app.machines.agent(id)?);
            }
            State::Paused if sandbox.persistent => {
                match wake(app, &sandbox).await {
                    // Somebody else brings it back: look again.
                    Err(error) if error.code == codes::SANDBOX_NOT_PAUSED => {}
                    done => done?,
                }
                continue;
            }
            State::Paused | State::Destroyed => return Err(not_running(&sandbox)),
            State::Error => {
                return Err(ApiError::new(
                    codes::AGENT_UNAVAILABLE,
                    format!(
                        "Sandbox {id} has failed ({}). Resume it to start it anew.",
                        sandbox.last_error.as_deref().unwrap_or("no reason is known")
                    ),
                ));
            }
            _ => {}
        }
        if timeout_at(deadline, changed).await.is_err() {
            return Err(starting(&sandbox));
        }
    }
}

/// Brings it back in a task of its own: the request that wanted it may be given up, the sandbox must not be.
async fn wake(app: &App, sandbox: &Sandbox) -> ApiResult<()> {
    let (app_, org, id) = (app.clone(), sandbox.org, sandbox.id);
    let task = app.tasks.spawn(async move {
        let operation = app_.ids.next();
        power::resume(&app_, (org, id), operation, |_, _| Ok(())).await
    });
    task.await.map_err(|error| ApiError::internal(format!("a resume was cut off: {error}")))?
}
