//! `GET /_emulator/health`: the program is up, its state can be read, and these are its machines.

use axum::extract::State;
use http::StatusCode;
use serde_json::json;

use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult};

pub(super) async fn get(State(app): State<App>) -> ApiResult<Answer> {
    // A health that reads nothing would be well with a broken disk.
    app.store.read(|view| view.setting("data_id").map_err(ApiError::from)).await?;
    let machines = app.machines.host().map_or(json!("none"), |host| json!(host.kind()));
    Ok(Answer::Bare {
        status: StatusCode::OK,
        value: json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "machines": machines,
            "auth": format!("{:?}", app.config.auth).to_lowercase(),
        }),
    })
}
