//! A process as clients read it.

use serde_json::{Value, json};

use super::record::{Origin, Process};
use crate::api::compute::sandboxes::Sandbox;

/// The record. Its number is text: miosa-go 2.0 reads text, miosa-python 2.19 makes a number of either.
pub fn show(process: &Process, sandbox: &Sandbox) -> Value {
    // Its machine stands still, and so does it.
    let frozen = process.lives() && !sandbox.runs();
    let status = if frozen { "paused" } else { process.state.as_str() };
    let id = match process.origin {
        Origin::Process => process.id.to_string(),
        // As the command line client's tests have them.
        Origin::Command => format!("cmd_{}", process.id.simple()),
    };
    json!({
        "id": id,
        // What the guide calls it (`develop/files-and-exec`).
        "job_id": id,
        "pid": process.pid.map(|pid| pid.to_string()),
        "sandbox_id": process.sandbox_id,
        "name": process.name,
        "command": process.command,
        "cwd": process.cwd,
        "tty": process.tty,
        "detached": true,
        "status": status,
        "state": status,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "timed_out": process.timed_out,
        "reason": process.reason,
        "started_at": process.started_at,
        "stopped_at": process.stopped_at,
        // The log is kept by the machine's agent, not in a file.
        "log_path": null,
    })
}
