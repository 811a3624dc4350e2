//! `/projects` (`api-reference/projects`; miosa-python 2.19).

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::ownership::{self, asked_workspace};
use super::super::places::{Called, Within};
use super::super::workspaces::Workspace;
use super::{
    Environment, Project, environment_routes, moving, summary, template_routes, variable_routes,
};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::Selectors;
use crate::http::validation::present;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Params, Route, Scoped, codes,
};
use crate::store::{Column, Filter, Tx};

/// Every route of the family. `repeatable`: each change is one transaction with its answer, so that one without an answer
/// has not happened.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/projects", list).scope("projects:read"),
        Route::post("/projects", create).scope("projects:write"),
        Route::get("/projects/{id}", get).scope("projects:read"),
        Route::patch("/projects/{id}", update).scope("projects:write"),
        Route::delete("/projects/{id}", delete).scope("projects:write"),
        Route::post("/projects/{id}/move", moving::move_to).scope("projects:write"),
        Route::get("/projects/{id}/summary", summary::summary).scope("projects:read"),
    ]
    .into_iter()
    .chain(environment_routes::routes())
    .chain(variable_routes::routes())
    .chain(template_routes::routes())
    .map(|route| route.family("projects").repeatable())
    .collect()
}

/// A project to make. Unlike other creates this one makes no workspace by slug or name: it must be there.
#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    slug: Option<String>,
    description: Option<String>,
    metadata: Option<Map<String, Value>>,
    settings: Option<Map<String, Value>>,
    workspace_id: Option<String>,
    workspace_slug: Option<String>,
    external_workspace_id: Option<String>,
    external_project_id: Option<String>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    Called {
        name: Some(&body.name),
        slug: body.slug.as_deref(),
        description: body.description.as_deref(),
        external: body.external_project_id.as_deref(),
    }
    .validate::<Project>()?;
    let selectors = Selectors {
        workspace_id: body.workspace_id.clone(),
        workspace_slug: body.workspace_slug.clone(),
        external_workspace_id: body.external_workspace_id.clone(),
        ..Selectors::default()
    };
    selectors.validate()?;
    let chosen = caller.workspace_chosen || caller.bound_workspace.is_some();
    if asked_workspace(&selectors).says_nothing() && !chosen {
        return Err(ApiError::field(
            "workspace_id",
            "say the workspace: workspace_id, workspace_slug or external_workspace_id",
        ));
    }
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            let workspace = ownership::existing_workspace(tx, &app, &caller, &selectors, now)?;
            let within = Within { org: caller.org, workspace: Some(workspace.id) };
            if let Some(external) = &body.external_project_id
                && let Some(known) = within.find::<Project>(tx, Column::External, external)?
            {
                let answer = Answer::ok(&known.show())?.beside("reused", true.into());
                return exchange.commit(tx, &answer);
            }
            let slug = within.new_slug::<Project>(tx, body.slug.as_deref(), &body.name)?;
            let made = Project {
                description: body.description,
                metadata: body.metadata.unwrap_or_default(),
                settings: body.settings.unwrap_or_default(),
                external_workspace_id: workspace.external_workspace_id.clone(),
                external_project_id: body.external_project_id,
                ..Project::new(app.ids.next(), caller.org, workspace.id, &body.name, &slug, now)
            };
            tx.insert(&made)?;
            let location = format!("/projects/{}", made.id);
            exchange.commit(tx, &Answer::created(&made.show(), location)?)
        })
        .await
}

/// Which ones.
#[derive(Debug, Deserialize)]
struct Query {
    workspace_id: Option<String>,
    search: Option<String>,
    external_workspace_id: Option<String>,
    external_project_id: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let fields = [
        ("$.external_workspace_id", query.external_workspace_id),
        ("$.external_project_id", query.external_project_id),
    ];
    let named = query.workspace_id;
    let mut filter = Filter {
        org: caller.org,
        workspace: caller.bound_workspace,
        search: query.search.filter(|text| !text.is_empty()),
        fields: fields
            .into_iter()
            .filter_map(|(path, value)| Some((path.to_owned(), value?)))
            .collect(),
        ..Filter::default()
    };
    let listing = app
        .store
        .read(move |view| {
            if let Some(named) = named {
                let workspace = ownership::named_workspace(view, caller.org, &named)?
                    .filter(|found| caller.bound_workspace.is_none_or(|bound| bound == found.id));
                // A workspace that is not there has no projects.
                filter.workspace = Some(workspace.map_or(uuid::Uuid::nil(), |found| found.id));
            }
            Ok::<_, ApiError>(view.page::<Project>(&filter, pages.paging)?)
        })
        .await?;
    exchange.flag_left_out(pages, &listing);
    Answer::list(listing, |project| project.show())
}

async fn get(project: Scoped<Project>) -> ApiResult<Answer> {
    Answer::ok(&project.show())
}

/// What changes. `null` clears.
#[derive(Debug, Deserialize)]
#[allow(clippy::option_option)] // the three cases of a PATCH field
struct Update {
    name: Option<String>,
    slug: Option<String>,
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
    metadata: Option<Map<String, Value>>,
    settings: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "present")]
    external_project_id: Option<Option<String>>,
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    project: Scoped<Project>,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    Called {
        name: body.name.as_deref(),
        slug: body.slug.as_deref(),
        description: body.description.as_ref().and_then(Option::as_deref),
        external: body.external_project_id.as_ref().and_then(Option::as_deref),
    }
    .validate::<Project>()?;
    let now = app.clock.now(caller.org);
    let id = project.id;
    app.store
        .write(move |tx| {
            let mut project = current(tx, &caller, id)?;
            if let Some(slug) = body.slug {
                let within = Within { org: caller.org, workspace: Some(project.workspace_id) };
                within.refuse_taken::<Project>(tx, Column::Slug, &slug, Some(id))?;
                project.slug = slug;
            }
            if let Some(name) = body.name {
                project.name = name;
            }
            if let Some(description) = body.description {
                defect!(PatchTouchesNeighbour => crate::defects::names::describe_neighbour(
                    tx, caller.org, &project, description.clone())?);
                project.description = description;
            }
            if let Some(metadata) = body.metadata {
                project.metadata = metadata;
            } else if defect!(PatchClears) {
                project.metadata.clear();
            }
            if let Some(settings) = body.settings {
                project.settings = settings;
            }
            if let Some(external) = body.external_project_id {
                project.external_project_id = external;
            }
            project.updated_at = defect!(PatchUntold, project.updated_at, now);
            tx.update(&project)?;
            exchange.commit(tx, &Answer::ok(&project.show())?)
        })
        .await
}

fn current(tx: &Tx<'_>, caller: &Caller, id: uuid::Uuid) -> ApiResult<Project> {
    tx.get(caller.org, id)?.ok_or_else(|| ApiError::not_found("project", id))
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    project: Scoped<Project>,
) -> ApiResult<CommittedAnswer> {
    let id = project.id;
    app.store
        .write(move |tx| {
            let project = current(tx, &caller, id)?;
            let is_default = tx
                .get::<Workspace>(caller.org, project.workspace_id)?
                .is_some_and(|workspace| workspace.default_project_id == Some(id));
            if is_default {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    "The default project cannot be removed: what names no project goes there.",
                ));
            }
            let living = Filter {
                org: caller.org,
                project: Some(id),
                not_states: vec!["destroyed"],
                ..Filter::default()
            };
            let sandboxes = tx.count::<Sandbox>(&living)?;
            if sandboxes > 0 && !defect!(FullProjectGoes) {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    format!("The project still holds {sandboxes} sandboxes. Remove them first."),
                )
                .details(json!({ "sandboxes": sandboxes })));
            }
            tx.remove_children::<Environment>(caller.org, id)?;
            tx.remove::<Project>(caller.org, id)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
