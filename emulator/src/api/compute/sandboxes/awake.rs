//! The way into a sandbox: whoever works inside one passes here.

use std::sync::Arc;

use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::Agent;

use super::Sandbox;

/// The sandbox's agent, for a command, a file or a preview request. Wakes a paused sandbox that is persistent, counts
/// as activity (the idle clock starts anew), and waits, within bounds, for one that is just starting.
///
/// # Errors
/// 409 `SANDBOX_NOT_RUNNING` or `SANDBOX_STARTING`; 502 when the agent is dead.
pub async fn awake(_app: &App, _sandbox: &Sandbox) -> ApiResult<Arc<Agent>> {
    Err(ApiError::new(codes::not_emulated, "not built"))
}
