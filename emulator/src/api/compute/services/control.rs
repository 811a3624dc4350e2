//! Starting, stopping, restarting and removing a service.

use axum::extract::State;

use super::{Service, find, run, show};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Scoped};

/// `POST …/start`.
pub(super) async fn start(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<CommittedAnswer> {
    set(&app, &exchange, &sandbox, values.at(1), Wish { end: false, start: true }).await
}

/// `POST …/stop`.
pub(super) async fn stop(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<CommittedAnswer> {
    set(&app, &exchange, &sandbox, values.at(1), Wish { end: true, start: false }).await
}

/// `POST …/restart`.
pub(super) async fn restart(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<CommittedAnswer> {
    set(&app, &exchange, &sandbox, values.at(1), Wish { end: true, start: true }).await
}

#[derive(Clone, Copy)]
struct Wish {
    end: bool,
    start: bool,
}

async fn set(
    app: &App,
    exchange: &ExchangeRef,
    sandbox: &Sandbox,
    named: &str,
    wish: Wish,
) -> ApiResult<CommittedAnswer> {
    let service = find(app, sandbox, named).await?;
    let agent = awake(app, sandbox).await?;
    let _active = hold(app, sandbox);
    let (org, id, now) = (service.org, service.id, app.clock.now(service.org));
    // What shall be is written first: should the emulator end here, the machine's next start makes it so.
    let service = app
        .store
        .write(move |tx| {
            let changed = tx.modify::<Service>(org, id, |service| {
                service.wanted = wish.start;
                service.trouble = None;
                service.updated_at = now;
            });
            changed?.ok_or_else(|| ApiError::not_found("service", id))
        })
        .await?;
    if wish.end {
        run::end(&agent, &service, false).await?;
    }
    if wish.start {
        run::launch(&agent, &service).await?;
    }
    let answer = Answer::ok(&show::show(&service, &run::Seen::of(&agent).await))?;
    let exchange = exchange.clone();
    app.store.write(move |tx| exchange.commit(tx, &answer)).await
}

/// `DELETE …/services/{service}`: ends it; its record and its log are gone.
pub(super) async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<CommittedAnswer> {
    let service = find(&app, &sandbox, values.at(1)).await?;
    // Where the machine does not run there is nothing to end.
    if sandbox.alive {
        let agent = awake(&app, &sandbox).await?;
        run::end(&agent, &service, true).await?;
    }
    let (org, id) = (service.org, service.id);
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            if !tx.remove::<Service>(org, id)? {
                return Err(ApiError::not_found("service", id));
            }
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
