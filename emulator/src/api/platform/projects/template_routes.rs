//! `/project-capabilities`, `/project-templates` and `/projects/{id}/templates/{slug}/apply` (miosa-python 2.19).

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::environment::Environment;
use super::template::{self, Template};
use super::{Project, variable};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Params, Route, Scoped};

/// Every route of templates. `repeatable`: applying is one transaction with its answer.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/project-capabilities", capabilities).scope("projects:read"),
        Route::get("/project-templates", list).scope("projects:read"),
        Route::get("/project-templates/{slug}", get).scope("projects:read"),
        Route::post("/projects/{id}/templates/{slug}/apply", apply).scope("projects:write"),
    ]
}

/// What can run now. Services cannot, so neither can an image; templates that need no service can be applied.
async fn capabilities() -> ApiResult<Answer> {
    Answer::ok(&json!({
        "services_api": false,
        "image_source": false,
        "template_apply": true,
        "reasons": {
            "services_api": "services are not emulated",
            "image_source": "services are not emulated",
        },
    }))
}

async fn list() -> ApiResult<Answer> {
    Ok(Answer::whole(template::all(), "templates"))
}

async fn get(path: PathValues) -> ApiResult<Answer> {
    Answer::ok(&Template::find(path.at(0))?.show())
}

#[derive(Debug, Deserialize)]
struct Query {
    env: Option<String>,
    deploy: Option<String>,
}

async fn apply(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
    Params(query): Params<Query>,
) -> ApiResult<CommittedAnswer> {
    let template = Template::find(path.at(1))?;
    if let Some(deploy) = query.deploy.as_deref()
        && !matches!(deploy, "true" | "false" | "True" | "False" | "1" | "0" | "")
    {
        return Err(ApiError::parameter("deploy", "must be true or false"));
    }
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let mut environment = Environment::named(tx, &app, &project, query.env.as_deref())?;
            let added = template.apply(&mut environment, now)?;
            variable::check(&environment.variables)?;
            tx.update(&environment)?;
            let answer = Answer::ok(&json!({
                "applied": true,
                "project_id": project.id,
                "template": template.show(),
                "environment": environment.show(),
                "added": added,
                "variables": variable::show(&environment.variables),
                // A template without services has nothing to deploy.
                "services": [],
                "deployed": false,
            }))?;
            exchange.commit(tx, &answer)
        })
        .await
}
