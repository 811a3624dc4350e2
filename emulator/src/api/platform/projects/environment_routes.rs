//! `/projects/{id}/environments` (miosa-python 2.19).

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::Project;
use super::environment::{self, Environment};
use super::variable::Variable;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::validation::slug_of;
use crate::http::{Answer, ApiError, ApiResult, Input, Pages, Route, Scoped, codes, validation};
use crate::store::Tx;

/// No project has more environments.
const MOST: u64 = 100;

/// Every route of environments. `repeatable`: each change is one transaction with its answer.
pub(super) fn routes() -> Vec<Route> {
    let one = "/projects/{id}/environments/{environment_id}";
    vec![
        Route::get("/projects/{id}/environments", list).scope("projects:read"),
        Route::post("/projects/{id}/environments", create).scope("projects:write"),
        Route::patch(one, update).scope("projects:write"),
        Route::delete(one, delete).scope("projects:write"),
        Route::post("/projects/{id}/environments/{environment_id}/duplicate", duplicate)
            .scope("projects:write"),
        Route::post("/projects/{id}/environments/{environment_id}/sync", sync)
            .scope("projects:write"),
    ]
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    project: Scoped<Project>,
    pages: Pages,
) -> ApiResult<Answer> {
    let of_read = project.0.clone();
    let known = app.store.read(move |view| Environment::default_of(view, &of_read)).await?;
    if known.is_none() {
        let (app_, project) = (app.clone(), project.0.clone());
        app.store.write(move |tx| Environment::ensure_default(tx, &app_, &project)).await?;
    }
    let filter = environment::of(&project);
    let listing = pages.read::<Environment>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |environment| environment.show())
}

/// Whether an environment can be called this.
fn check_name(name: Option<&str>, slug: Option<&str>) -> ApiResult<()> {
    if let Some(name) = name {
        validation::text("name", name, 1, 255)?;
        if name.trim().is_empty() {
            return Err(ApiError::field("name", "must not be blank"));
        }
    }
    slug.map_or(Ok(()), |slug| validation::slug("slug", slug))
}

#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    slug: Option<String>,
    kind: Option<String>,
}

async fn create(
    State(app): State<App>,
    exchange: ExchangeRef,
    project: Scoped<Project>,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    check_name(Some(&body.name), body.slug.as_deref())?;
    if let Some(kind) = &body.kind {
        validation::slug("kind", kind)?;
    }
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            Environment::ensure_default(tx, &app, &project)?;
            let slug = body.slug.unwrap_or_else(|| slug_of(&body.name, "environment"));
            let mut made = Environment::new(app.ids.next(), &project, &body.name, &slug, now);
            made.kind = body.kind.unwrap_or(made.kind);
            insert(tx, &made)?;
            exchange.commit(tx, &Answer::created(&made.show(), location(&made))?)
        })
        .await
}

fn location(made: &Environment) -> String {
    format!("/projects/{}/environments/{}", made.project_id, made.id)
}

fn insert(tx: &Tx<'_>, made: &Environment) -> ApiResult<()> {
    let of_project = crate::store::Filter {
        org: made.org,
        parent: Some(made.project_id),
        ..crate::store::Filter::default()
    };
    if tx.count::<Environment>(&of_project)? >= MOST {
        return Err(ApiError::new(
            codes::PLAN_CAP_EXCEEDED,
            format!("A project has at most {MOST} environments."),
        ));
    }
    Ok(tx.insert(made)?)
}

/// The environment that the path names.
fn of_path(tx: &Tx<'_>, app: &App, project: &Project, path: &PathValues) -> ApiResult<Environment> {
    Environment::named(tx, app, project, Some(path.at(1)))
}

#[derive(Debug, Deserialize)]
struct Update {
    name: Option<String>,
    slug: Option<String>,
}

async fn update(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    check_name(body.name.as_deref(), body.slug.as_deref())?;
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let mut environment = of_path(tx, &app, &project, &path)?;
            environment.name = body.name.unwrap_or(environment.name);
            environment.slug = body.slug.unwrap_or(environment.slug);
            environment.updated_at = now;
            tx.update(&environment)?;
            exchange.commit(tx, &Answer::ok(&environment.show())?)
        })
        .await
}

async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
) -> ApiResult<CommittedAnswer> {
    let project = project.0;
    app.clone()
        .store
        .write(move |tx| {
            let environment = of_path(tx, &app, &project, &path)?;
            if environment.is_default {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    "The default environment stays: what names none is about it.",
                ));
            }
            tx.remove::<Environment>(project.org, environment.id)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}

#[derive(Debug, Deserialize)]
struct Duplicate {
    name: String,
}

/// The same variables under another name; secrets that the emulator had made up are made up anew (miosa-python 2.19).
async fn duplicate(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
    Input(body): Input<Duplicate>,
) -> ApiResult<CommittedAnswer> {
    check_name(Some(&body.name), None)?;
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let source = of_path(tx, &app, &project, &path)?;
            let slug = slug_of(&body.name, "environment");
            let mut made = Environment::new(app.ids.next(), &project, &body.name, &slug, now);
            for (name, variable) in source.variables {
                let copy = if variable.generated {
                    Variable::generated(now)?
                } else {
                    Variable { updated_at: now, ..variable }
                };
                made.variables.insert(name, copy);
            }
            insert(tx, &made)?;
            exchange.commit(tx, &Answer::created(&made.show(), location(&made))?)
        })
        .await
}

#[derive(Debug, Deserialize)]
struct Sync {
    from_environment_id: String,
    #[serde(default)]
    apply: bool,
}

/// What the other one has and this one lacks or has otherwise; with `apply` it is written. Nothing is ever removed
/// (miosa-python 2.19), and a secret that was made up for one is not handed to another.
async fn sync(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    project: Scoped<Project>,
    Input(body): Input<Sync>,
) -> ApiResult<CommittedAnswer> {
    let project = project.0;
    let now = app.clock.now(project.org);
    app.clone()
        .store
        .write(move |tx| {
            let mut to = of_path(tx, &app, &project, &path)?;
            let from = Environment::named(tx, &app, &project, Some(&body.from_environment_id))?;
            let (mut added, mut changed, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
            let only_here: Vec<_> = to
                .variables
                .keys()
                .filter(|name| !from.variables.contains_key(*name))
                .cloned()
                .collect();
            for (name, variable) in from.variables {
                let known = to.variables.get(&name);
                let same = known.is_some_and(|known| {
                    known.value == variable.value || (known.generated && variable.generated)
                });
                let list = if same {
                    unchanged.push(name);
                    continue;
                } else if known.is_some() {
                    &mut changed
                } else {
                    &mut added
                };
                list.push(name.clone());
                let copy = if variable.generated {
                    Variable::generated(now)?
                } else {
                    Variable::given(variable.value, now)
                };
                to.variables.insert(name, copy);
            }
            let applied = body.apply && !(added.is_empty() && changed.is_empty());
            if applied {
                super::variable::check(&to.variables)?;
                to.updated_at = now;
                tx.update(&to)?;
            }
            let answer = Answer::ok(&json!({
                "environment_id": to.id,
                "from_environment_id": from.id,
                "applied": applied,
                "added": added,
                "changed": changed,
                "unchanged": unchanged,
                "only_here": only_here,
            }))?;
            exchange.commit(tx, &answer)
        })
        .await
}
