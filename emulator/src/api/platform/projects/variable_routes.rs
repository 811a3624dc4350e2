//! `/projects/{id}/shared-variables` (miosa-python 2.19). A service reads one as `${{shared.NAME}}`; sandboxes have an
//! environment of their own.

use axum::extract::State;
use serde::Deserialize;

use super::Project;
use super::environment::Environment;
use super::variable::{self, Given, Variable};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Params, Route, Scoped};

/// Every route of shared variables. `repeatable`: each change is one transaction with its answer.
pub(super) fn routes() -> Vec<Route> {
    let path = "/projects/{id}/shared-variables";
    vec![
        Route::get(path, list).scope("env:read"),
        Route::put(path, set).scope("env:write"),
        Route::delete("/projects/{id}/shared-variables/{name}", delete).scope("env:write"),
    ]
}

/// Whose: an environment by id, slug or name; the default one where none is said.
#[derive(Debug, Deserialize)]
struct Query {
    env: Option<String>,
}

fn shown(environment: &Environment) -> Answer {
    Answer::whole(variable::show(&environment.variables), "variables")
}

async fn list(
    State(app): State<App>,
    project: Scoped<Project>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let (app_, project) = (app.clone(), project.0);
    // The first look makes the default environment.
    let environment = app
        .store
        .write(move |tx| Environment::named(tx, &app_, &project, query.env.as_deref()))
        .await?;
    Ok(shown(&environment))
}

#[derive(Debug, Deserialize)]
struct Set {
    variables: Given,
    env: Option<String>,
}

/// What is named is set, the rest stays; taking one away is a DELETE.
async fn set(
    State(app): State<App>,
    exchange: ExchangeRef,
    project: Scoped<Project>,
    Params(query): Params<Query>,
    Input(body): Input<Set>,
) -> ApiResult<CommittedAnswer> {
    let given = body.variables.read()?;
    let named = body.env.or(query.env);
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let mut environment = Environment::named(tx, &app, &project, named.as_deref())?;
            for (name, value) in given {
                environment.variables.insert(name, Variable::given(value, now));
            }
            variable::check(&environment.variables)?;
            environment.updated_at = now;
            tx.update(&environment)?;
            exchange.commit(tx, &shown(&environment))
        })
        .await
}

async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
    Params(query): Params<Query>,
) -> ApiResult<CommittedAnswer> {
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let mut environment = Environment::named(tx, &app, &project, query.env.as_deref())?;
            if environment.variables.remove(path.at(1)).is_none() {
                return Err(ApiError::not_found("shared variable", path.at(1)));
            }
            environment.updated_at = now;
            tx.update(&environment)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
