//! What a sandbox has made: the paths that its template declares as products, as they are now, and what was exported.
//!
//! Nothing is guessed: a sandbox whose template declares nothing has what was exported, and no more.

use axum::extract::State;
use miosa_agent::protocol::{Entry, FailureCode, FileOp};
use serde_json::{Value, json};

use super::{entry, exports};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::api::compute::sandboxes::show::Reader;
use crate::app::App;
use crate::http::{Answer, ApiResult, Route, Scoped};
use crate::machines::MachineError;
use crate::proxy;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![Route::get("/sandboxes/{id}/artifacts", artifacts).scope("sandboxes:read")]
}

/// Those of the paths that are there.
async fn there(app: &App, sandbox: &Sandbox, paths: &[String]) -> ApiResult<Vec<Value>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let agent = awake(app, sandbox).await?;
    let mut found = Vec::new();
    for path in paths {
        match agent.file_op::<Entry>(&FileOp::Stat { path: path.clone() }).await {
            Ok(made) => found.push(entry::show(&made)),
            Err(MachineError::Agent(failure)) if failure.code == FailureCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// `artifacts` and `preview` are objects (miosa-python 2.19).
async fn artifacts(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    reader: Reader,
) -> ApiResult<Answer> {
    let exports = exports::of(&app, &sandbox).await?;
    let declared =
        sandbox.from_template.as_ref().map_or(&[][..], |template| &template.artifact_paths);
    let mut files = there(&app, &sandbox, declared).await?;
    files.extend(exports.iter().filter_map(|export| export["files"].as_array()).flatten().cloned());
    let url = proxy::sandbox_url(&app, reader.host.as_deref().unwrap_or_default(), &sandbox);
    let preview = url.map_or_else(|| json!({}), |url| json!({ "url": url, "preview_url": url }));
    Answer::ok(&json!({
        "sandbox_id": sandbox.id,
        "template_id": sandbox.template_id,
        "artifacts": { "declared": declared, "files": files, "exports": exports },
        "preview": preview,
    }))
}
