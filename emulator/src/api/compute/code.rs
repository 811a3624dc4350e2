//! Interpreters that remember: cells run one after the other in a context, and what one defines the next one finds
//! (miosa-python 2.19).
//!
//! A context is a job of the machine: it outlives the emulator where the machine does, and ends with it. Errors are
//! results, with the traceback at the end of `stderr` too, since official clients look nowhere else.

mod cell;
mod context;
mod language;
mod turns;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Params, Route, Scoped};

use cell::Cell;
use context::Context;
use language::Language;
pub use turns::Turns;

/// Seconds, when the client says nothing.
const USUAL: u64 = 30;
/// Seconds, at most.
const MOST: u64 = 600;
/// Bytes of a cell.
const MAX_CODE: usize = 1024 * 1024;

/// The routes.
pub fn routes() -> Vec<Route> {
    let run = |route: Route| route.family("processes").scope("sandboxes:exec");
    vec![
        run(Route::post("/sandboxes/{id}/code/run", run_cell)).ends_with_client(),
        Route::get("/sandboxes/{id}/code/contexts", contexts)
            .family("processes")
            .scope("sandboxes:read"),
        run(Route::delete("/sandboxes/{id}/code/contexts/{context}", reset_one)).repeatable(),
        run(Route::delete("/sandboxes/{id}/code", reset_all)).repeatable(),
    ]
}

#[derive(Debug, Deserialize)]
struct Body {
    code: String,
    language: Option<String>,
    context: Option<String>,
    timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Query {
    language: Option<String>,
}

impl Query {
    fn language(&self) -> ApiResult<Option<Language>> {
        let named = self.language.as_deref().filter(|language| !language.is_empty());
        named
            .map(|name| {
                Language::named(name)
                    .ok_or_else(|| ApiError::parameter("language", language::KNOWN))
            })
            .transpose()
    }
}

async fn run_cell(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Body>,
) -> ApiResult<Answer> {
    let language = Language::named(body.language.as_deref().unwrap_or("python"))
        .ok_or_else(|| ApiError::field("language", language::KNOWN))?;
    let context = Context::new(language, body.context.as_deref().unwrap_or("default"))?;
    if body.code.len() > MAX_CODE {
        return Err(ApiError::field("code", format!("must have at most {MAX_CODE} bytes")));
    }
    let seconds = match body.timeout.unwrap_or(USUAL) {
        0 => return Err(ApiError::field("timeout", "must be at least 1 second")),
        over if over > MOST => return Err(super::exec::request::too_long("timeout", MOST)),
        seconds => seconds,
    };
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let cell = Cell::begin(&app, sandbox.id, &agent, context, seconds).await?;
    Answer::ok(&cell.run(&body.code).await?)
}

async fn contexts(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let language = query.language()?;
    // A machine that has ended took its interpreters along; nobody starts it to look.
    let known = if sandbox.alive {
        context::all(&*awake(&app, &sandbox).await?, language).await?
    } else {
        Vec::new()
    };
    let mut names: Vec<&str> = known.iter().map(|context| context.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let items: Vec<_> = known
        .iter()
        .map(|context| json!({ "context": context.name, "language": context.language.name() }))
        .collect();
    Answer::ok(&json!({ "contexts": names, "items": items }))
}

async fn reset_one(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    reset(&app, &sandbox, query.language()?, Some(values.at(1))).await
}

async fn reset_all(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    reset(&app, &sandbox, query.language()?, None).await
}

/// Ends interpreters, whatever they do; a context that is not there is as fresh as one that was reset.
async fn reset(
    app: &App,
    sandbox: &Sandbox,
    language: Option<Language>,
    name: Option<&str>,
) -> ApiResult<Answer> {
    if sandbox.alive {
        let agent = awake(app, sandbox).await?;
        for context in context::all(&agent, language).await? {
            if name.is_none_or(|name| context.name == name) {
                context.end(&agent).await?;
            }
        }
    }
    Ok(Answer::Empty)
}
