//! Processes that go on without the request that started them (miosa-python 2.19, miosa-go 2.0, miosa-cli-go).
//!
//! They live in the machine's agent, which keeps the end of what they say: a restart of the emulator does not touch those
//! of a container. The row says what was asked for and, when they have ended, how. A process ends with its machine: a
//! stop, a restore or the machine's death ends it, a pause freezes it, a fork does not have it.

pub mod control;
pub mod logs;
pub mod look;
pub mod record;
pub mod request;
pub mod show;
pub mod start;
mod stream;

use axum::extract::State;
use http::HeaderMap;

use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiResult, Input, Pages, Route, Scoped};

pub use record::{Origin, Process};

/// The routes.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("processes").scope("sandboxes:read");
    let run = |route: Route| route.family("processes").scope("sandboxes:exec");
    vec![
        run(Route::post("/sandboxes/{id}/processes", create)),
        read(Route::get("/sandboxes/{id}/processes", list)),
        read(Route::get("/sandboxes/{id}/processes/{pid}", get)),
        run(Route::delete("/sandboxes/{id}/processes/{pid}", control::delete)),
        read(Route::get("/sandboxes/{id}/processes/{pid}/logs", logs::of_process)),
        read(Route::get("/sandboxes/{id}/processes/{pid}/stream", stream::follow)).ticketed(),
        run(Route::post("/sandboxes/{id}/processes/{pid}/signal", control::signal)),
        run(Route::post("/sandboxes/{id}/processes/{pid}/stdin", control::stdin)),
    ]
}

async fn create(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Input(body): Input<request::Body>,
) -> ApiResult<CommittedAnswer> {
    let wanted = body.process(&headers)?;
    start::start(&app, &exchange, &sandbox, wanted).await
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    pages: Pages,
) -> ApiResult<Answer> {
    look::refresh(&app, &sandbox).await?;
    let listing = pages.read::<Process>(&app.store, look::of(&sandbox), &exchange).await?;
    Answer::list(listing, |process| show::show(&process, &sandbox))
}

async fn get(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Answer> {
    let process = look::find(&app, &sandbox, values.at(1)).await?;
    Answer::ok(&show::show(&process, &sandbox))
}
