//! What a sandbox has made: the paths that its template declares as products, as they are now, and what was exported.
//!
//! Nothing is guessed: a sandbox whose template declares nothing has what was exported, and no more.

use axum::extract::State;
use serde_json::{Value, json};

use super::exports;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::show::Reader;
use crate::app::App;
use crate::http::{Answer, ApiResult, Route, Scoped};
use crate::proxy;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![Route::get("/sandboxes/{id}/artifacts", artifacts).scope("sandboxes:read")]
}

/// `artifacts` and `preview` are objects (miosa-python 2.19).
async fn artifacts(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    reader: Reader,
) -> ApiResult<Answer> {
    let exports = exports::of(&app, &sandbox).await?;
    let files: Vec<&Value> =
        exports.iter().filter_map(|export| export["files"].as_array()).flatten().collect();
    let url = proxy::sandbox_url(&app, reader.host.as_deref().unwrap_or_default(), &sandbox);
    let preview = url.map_or_else(|| json!({}), |url| json!({ "url": url, "preview_url": url }));
    Answer::ok(&json!({
        "sandbox_id": sandbox.id,
        "template_id": sandbox.template_id,
        "artifacts": { "declared": [], "files": files, "exports": exports },
        "preview": preview,
    }))
}
