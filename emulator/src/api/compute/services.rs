//! Services: processes that a sandbox keeps running (`api-reference/services`, miosa-cli-go).
//!
//! The machine's agent starts one again when it ends, as its policy says, also while there is no emulator. The row says what
//! shall run: whenever the machine starts anew (a resume, a restore), so do its services.

mod control;
mod logs;
pub mod record;
pub mod request;
mod run;
mod show;
pub mod watch;

use axum::extract::State;

use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Pages, Route, Scoped, codes};
use crate::store::{Filter, Paging, View};

pub use record::Service;

/// How many a sandbox may have.
const MOST: u64 = 32;

/// A page that all of them fit on.
const ALL: Paging = Paging::Number { page: 1, size: 64 };

/// The routes. A service is named by its id or its name.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("services").scope("sandboxes:read");
    let run = |route: Route| route.family("services").scope("sandboxes:exec");
    vec![
        read(Route::get("/sandboxes/{id}/services", list)),
        run(Route::post("/sandboxes/{id}/services", create)),
        read(Route::get("/sandboxes/{id}/services/{service}", get)),
        run(Route::delete("/sandboxes/{id}/services/{service}", control::delete)),
        read(Route::get("/sandboxes/{id}/services/{service}/logs", logs::follow)).ticketed(),
        run(Route::post("/sandboxes/{id}/services/{service}/restart", control::restart)),
        run(Route::post("/sandboxes/{id}/services/{service}/start", control::start)),
        run(Route::post("/sandboxes/{id}/services/{service}/stop", control::stop)),
    ]
}

/// The services of a sandbox.
fn of(sandbox: &Sandbox) -> Filter {
    Filter { org: sandbox.org, parent: Some(sandbox.id), ..Filter::default() }
}

/// Refuses one more than there may be.
fn room(view: &View<'_>, sandbox: &Sandbox, more: u64) -> ApiResult<()> {
    if view.count::<Service>(&of(sandbox))? + more > MOST {
        let text = format!("A sandbox has at most {MOST} services; delete one of them first.");
        return Err(ApiError::new(codes::RESOURCE_STATE, text));
    }
    Ok(())
}

/// The service that a path names.
async fn find(app: &App, sandbox: &Sandbox, named: &str) -> ApiResult<Service> {
    let filter = of(sandbox);
    let rows = app.store.read(move |view| view.page::<Service>(&filter, ALL)).await?.items;
    rows.into_iter()
        .find(|row| row.name == named || row.id.to_string() == named)
        .ok_or_else(|| ApiError::not_found("service", named))
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    pages: Pages,
) -> ApiResult<Answer> {
    let listing = pages.read::<Service>(&app.store, of(&sandbox), &exchange).await?;
    let seen = run::look(&app, &sandbox).await;
    Answer::list(listing, |service| show::show(&service, &seen))
}

async fn get(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Answer> {
    let service = find(&app, &sandbox, values.at(1)).await?;
    Answer::ok(&show::show(&service, &run::look(&app, &sandbox).await))
}

async fn create(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<request::Body>,
) -> ApiResult<CommittedAnswer> {
    let wanted = body.check()?;
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let service = record::new(app.ids.next(), &sandbox, wanted, app.clock.now(sandbox.org));
    let (row, asked) = (service.clone(), sandbox.0.clone());
    app.store
        .write(move |tx| -> ApiResult<()> {
            room(tx, &asked, 1)?;
            tx.insert(&row)?;
            Ok(())
        })
        .await?;
    let (org, id) = (service.org, service.id);
    if let Err(error) = run::launch(&agent, &service).await {
        app.store
            .write(move |tx| -> ApiResult<()> {
                tx.remove::<Service>(org, id)?;
                Ok(())
            })
            .await?;
        return Err(error);
    }
    let seen = run::Seen::of(&agent).await;
    let answer = Answer::created(
        &show::show(&service, &seen),
        format!("/sandboxes/{}/services/{id}", sandbox.id),
    )?;
    app.store.write(move |tx| exchange.commit(tx, &answer)).await
}
