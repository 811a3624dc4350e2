//! `POST /bulk/sandboxes/{pause|resume|destroy}`: one action on many sandboxes, as a job (miosa-python 2.19).
//!
//! Which sandboxes is decided when it is asked for; the job is a row that says what is left, so that an emulator that is
//! started later on the same data goes on with it.

pub mod job;
pub mod work;

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::job::{Action, Job};
use super::sandboxes::{Sandbox, find};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::load;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Route, Scoped};
use crate::store::{Paging, View};

/// The most sandboxes of one job.
const MOST: u32 = 1000;

/// The routes. `repeatable`: each job is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    let write = "sandboxes:write";
    [
        Route::post("/bulk/sandboxes/pause", pause).scope(write).repeatable(),
        Route::post("/bulk/sandboxes/resume", resume).scope(write).repeatable(),
        Route::post("/bulk/sandboxes/destroy", destroy).scope(write).repeatable(),
        Route::get("/bulk/jobs/{id}", get).scope("sandboxes:read"),
    ]
    .into_iter()
    .map(|route| route.family("bulk"))
    .collect()
}

/// The body: which.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Which {
    ids: Option<Vec<String>>,
    filter: Option<Map<String, Value>>,
}

async fn pause(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(which): Input<Which>,
) -> ApiResult<CommittedAnswer> {
    begin(&app, caller, exchange, Action::Pause, which).await
}

async fn resume(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(which): Input<Which>,
) -> ApiResult<CommittedAnswer> {
    begin(&app, caller, exchange, Action::Resume, which).await
}

async fn destroy(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(which): Input<Which>,
) -> ApiResult<CommittedAnswer> {
    begin(&app, caller, exchange, Action::Destroy, which).await
}

async fn begin(
    app: &App,
    caller: Caller,
    exchange: ExchangeRef,
    action: Action,
    which: Which,
) -> ApiResult<CommittedAnswer> {
    let (id, now) = (app.ids.next(), app.clock.now(caller.org));
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let mut job = Job::new(id, &caller, action, now);
            choose(tx, &caller, which, &mut job)?;
            tx.insert(&job)?;
            let answer = Answer::accepted(&json!({ "job_id": id, "queued": job.total }))?;
            exchange.commit(tx, &answer)
        })
        .await?;
    work::begin(app, id);
    Ok(answer)
}

/// Puts what is meant into the job; one that is named and not there has failed already.
fn choose(view: &View<'_>, caller: &Caller, which: Which, job: &mut Job) -> ApiResult<()> {
    match (which.ids, which.filter) {
        (Some(ids), None) => {
            if ids.len() > MOST as usize {
                return Err(ApiError::field("ids", format!("must be at most {MOST}")));
            }
            for named in ids {
                match load::<Sandbox>(view, caller, &named, None) {
                    Ok(sandbox) => job.add(sandbox.id),
                    Err(error) if error.code.status == 404 => job.fail(&named, &error),
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
        (None, Some(filter)) => {
            let (filter, unread) = find::filter(caller, &texts(filter)?)?;
            if let Some(unknown) = unread.first() {
                // To pass over a condition would reach more sandboxes than were meant.
                let name = format!("filter.{}", unknown.trim_start_matches('?'));
                return Err(ApiError::field(&name, "is no filter of sandboxes"));
            }
            let found = view.page::<Sandbox>(&filter, Paging::Number { page: 1, size: MOST })?;
            if found.total > u64::from(MOST) {
                return Err(ApiError::field("filter", format!("must match at most {MOST}")));
            }
            found.items.iter().for_each(|sandbox| job.add(sandbox.id));
            Ok(())
        }
        _ => Err(ApiError::field("ids", "or filter must be given, and not both")),
    }
}

/// A filter in the words of the list's query.
fn texts(filter: Map<String, Value>) -> ApiResult<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for (name, value) in filter {
        let wrong = || ApiError::field(&format!("filter.{name}"), "must be text");
        let text = match &value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(yes) => yes.to_string(),
            Value::Array(items) => {
                let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                words.ok_or_else(wrong)?.join(",")
            }
            _ => return Err(wrong()),
        };
        texts.insert(name, text);
    }
    Ok(texts)
}

/// `GET /bulk/jobs/{id}`.
async fn get(job: Scoped<Job>) -> ApiResult<Answer> {
    Answer::ok(&job.show())
}
