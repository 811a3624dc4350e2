//! `POST /sandboxes/{id}/pause`, `stop` and `resume`.

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::Value;

use super::Sandbox;
use super::power::{self, How, Why};
use super::refused_fields::refuse_unbuilt;
use super::show::{Reader, show};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiResult, Input, Nothing, Scoped};

/// `POST …/pause`: its processes stand still.
pub async fn pause(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    rest(app, exchange, reader, &sandbox, How::Freeze).await
}

/// `POST …/stop`: its processes end, its files stay.
pub async fn stop(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    rest(app, exchange, reader, &sandbox, How::Stop).await
}

async fn rest(
    app: App,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: &Sandbox,
    how: How,
) -> ApiResult<CommittedAnswer> {
    let (operation, app_) = (exchange.operation(), app.clone());
    power::pause(
        &app,
        (sandbox.org, sandbox.id),
        operation,
        how,
        Why::Request,
        move |tx, sandbox| exchange.commit(tx, &Answer::ok(&show(&app_, sandbox, &reader))?),
    )
    .await
}

/// The body of a resume (miosa-python 2.19): all of it would change the environment, which is not built.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resume {
    environment: Option<Value>,
    environment_id: Option<Value>,
    env_id: Option<Value>,
    env: Option<Value>,
    no_env: Option<bool>,
}

/// `POST …/resume`.
pub async fn resume(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Resume>,
) -> ApiResult<CommittedAnswer> {
    refuse_unbuilt(&[
        ("environment", &body.environment),
        ("environment_id", &body.environment_id),
        ("env_id", &body.env_id),
        ("env", &body.env),
    ])?;
    let _ = body.no_env; // nothing is ever attached
    let (operation, app_) = (exchange.operation(), app.clone());
    power::resume(&app, (sandbox.org, sandbox.id), operation, move |tx, sandbox| {
        exchange.commit(tx, &Answer::ok(&show(&app_, sandbox, &reader))?)
    })
    .await
}
