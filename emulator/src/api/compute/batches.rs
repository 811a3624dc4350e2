//! Batches: many sandboxes from one request, a few at a time (miosa-python 2.19, miosa-cli-go).
//!
//! The batch is a row of its own ([`record`]): it is answered at once and dispatched behind the answer ([`dispatch`]), also by
//! an emulator that is started later on the same data. Its sandboxes are ordinary ones that name it as their parent, so
//! that what is told of them ([`mod@show`]) is counted from their rows and never remembered beside them.

pub mod dispatch;
mod events;
mod items;
pub mod record;
mod request;
pub mod show;

use axum::extract::State;
use serde_json::{Map, Value};

use self::record::{Batch, Status};
use self::show::{Counts, show};
use crate::api::platform::ownership;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Nothing, Route, Scoped, codes};

/// The routes. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    [
        Route::post("/sandboxes/batch", create).scope("sandboxes:create").repeatable(),
        Route::get("/sandboxes/batches/{id}", get).scope("sandboxes:read"),
        Route::get("/sandboxes/batches/{id}/items", items::list).scope("sandboxes:read"),
        Route::get("/sandboxes/batches/{id}/events", events::stream)
            .scope("sandboxes:read")
            .ticketed(),
        Route::post("/sandboxes/batches/{id}/cancel", cancel).scope("sandboxes:write").repeatable(),
    ]
    .into_iter()
    .map(|route| route.family("sandboxes"))
    .collect()
}

/// `POST /sandboxes/batch`: 202, and the rest behind it.
async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Map<String, Value>>,
) -> ApiResult<CommittedAnswer> {
    let mut unread = Vec::new();
    let asked = request::read(body, &mut unread);
    exchange.note(|notes| notes.unread.extend(unread));
    let asked = asked?;
    let (app_, now) = (app.clone(), app.clock.now(caller.org));
    let id = app.ids.next();
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let base = asked.base(tx, &caller)?;
            let owner = ownership::resolve(tx, &app_, &caller, &asked.selectors)?;
            let batch = asked.batch(id, &caller, owner, base, now);
            tx.insert(&batch)?;
            let shown = show(&batch, Counts::default(), now);
            exchange.commit(tx, &Answer::accepted(&shown)?)
        })
        .await?;
    dispatch::begin(&app, id);
    Ok(answer)
}

/// `GET /sandboxes/batches/{id}`.
async fn get(State(app): State<App>, batch: Scoped<Batch>) -> ApiResult<Answer> {
    let now = app.clock.now(batch.org);
    let counts = app.store.read({
        let batch = batch.0.clone();
        move |view| Counts::of(view, &batch).map_err(ApiError::from)
    });
    Answer::ok(&show(&batch, counts.await?, now))
}

/// `POST /sandboxes/batches/{id}/cancel`: what has not begun never will; what has goes on.
async fn cancel(
    State(app): State<App>,
    exchange: ExchangeRef,
    batch: Scoped<Batch>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    let (org, id, now) = (batch.org, batch.id, app.clock.now(batch.org));
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let missing = || ApiError::not_found(<Batch as crate::store::Resource>::KIND, id);
            let mut batch = tx.get::<Batch>(org, id)?.ok_or_else(missing)?;
            if batch.status.is_final() {
                return Err(ApiError::new(
                    codes::BATCH_ALREADY_TERMINAL,
                    format!("Batch {id} is {} already.", batch.status.as_str()),
                ));
            }
            batch.status = Status::Cancelled;
            batch.updated_at = now;
            tx.update(&batch)?;
            let counts = Counts::of(tx, &batch)?;
            exchange.commit(tx, &Answer::ok(&show(&batch, counts, now))?)
        })
        .await?;
    app.activity.ring();
    Ok(answer)
}
