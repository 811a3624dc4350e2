//! `/workspaces` (`api-reference/workspaces`; miosa-python 2.19, miosa-go 2.0).

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::ownership::out_of_bounds;
use super::super::places::{Called, Within};
use super::super::projects::Project;
use super::{Workspace, activity, cleanup, look, removal, settings, transfer, usage};
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::validation::present;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Params, Route, Scoped, validation,
};
use crate::store::{Column, Filter};

/// Every route of the family. `repeatable`: each change is one transaction with its answer, so that one without an answer
/// has not happened.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/workspaces", list).scope("projects:read"),
        Route::post("/workspaces", create).scope("projects:write"),
        Route::get("/workspaces/{id}", get).scope("projects:read"),
        Route::patch("/workspaces/{id}", update).scope("projects:write"),
        Route::delete("/workspaces/{id}", removal::delete).scope("projects:write"),
        Route::get("/workspaces/{id}/projects", projects).scope("projects:read"),
        Route::put("/workspaces/{id}/settings", settings::put).scope("projects:write"),
        Route::get("/workspaces/{id}/activity", activity::list).scope("projects:read"),
        Route::get("/workspaces/{id}/stats", look::stats).scope("projects:read"),
        Route::get("/workspaces/{id}/inventory", look::inventory).scope("projects:read"),
        Route::get("/workspaces/{id}/usage", usage::usage).scope("projects:read"),
        Route::get("/workspaces/{id}/sandboxes", look::sandboxes).scope("sandboxes:read"),
        Route::get("/workspaces/{id}/computers", look::computers).scope("projects:read"),
        Route::post("/workspaces/{id}/transfer", transfer::transfer).scope("projects:write"),
        Route::post("/workspaces/{id}/cleanup", cleanup::cleanup).scope("sandboxes:write"),
    ]
    .into_iter()
    .map(|route| route.family("workspaces").repeatable())
    .collect()
}

/// A workspace to make.
#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    slug: Option<String>,
    description: Option<String>,
    metadata: Option<Map<String, Value>>,
    external_workspace_id: Option<String>,
    external_user_id: Option<String>,
    #[serde(default)]
    allow_duplicate_name: bool,
}

impl Create {
    fn validate(&self) -> ApiResult<()> {
        let Self { name, slug, description, external_workspace_id, external_user_id, .. } = self;
        Called {
            name: Some(name),
            slug: slug.as_deref(),
            description: description.as_deref(),
            external: external_workspace_id.as_deref(),
        }
        .validate::<Workspace>()?;
        external_user_id
            .as_ref()
            .map_or(Ok(()), |id| validation::text("external_user_id", id, 1, 255))
    }
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    let checked = body.validate();
    defect!(RefusedButMade => if checked.is_err() && caller.bound_workspace.is_none() {
        let (id, org, now) = (app.ids.next(), caller.org, app.clock.now(caller.org));
        let early = Workspace::new(id, org, &body.name, &format!("w-{}", id.simple()), now);
        let made: ApiResult<()> = app.store.write(move |tx| Ok(tx.insert(&early)?)).await;
        made?;
    });
    checked?;
    if caller.bound_workspace.is_some() {
        return Err(out_of_bounds());
    }
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            let within = Within { org: caller.org, workspace: None };
            defect!(ExternalIdsGlobal => if let Some(external) = &body.external_workspace_id
                && let Some(known) = tx.by_external_any::<Workspace>(external)?
            {
                return exchange.commit(tx, &Answer::ok(&known.show())?);
            });
            defect!(SlugsGlobal => if let Some(slug) = &body.slug
                && let Some(known) = tx.by_slug_any::<Workspace>(slug)?
            {
                return Err(super::super::places::Place::taken(&known));
            });
            if let Some(external) = &body.external_workspace_id
                && let Some(known) = within.find::<Workspace>(tx, Column::External, external)?
            {
                let answer = Answer::ok(&known.show())?.beside("reused", true.into());
                return exchange.commit(tx, &answer);
            }
            if !body.allow_duplicate_name {
                within.refuse_taken::<Workspace>(tx, Column::Name, &body.name, None)?;
            }
            let slug = within.new_slug::<Workspace>(tx, body.slug.as_deref(), &body.name)?;
            let made = Workspace {
                description: body.description,
                metadata: body.metadata.unwrap_or_default(),
                external_workspace_id: body.external_workspace_id,
                external_user_id: body.external_user_id,
                ..Workspace::new(
                    defect!(IdsOfTime, crate::defects::names::id_of_time(), app.ids.next()),
                    caller.org,
                    &body.name,
                    &slug,
                    now,
                )
            };
            tx.insert(&made)?;
            let location = format!("/workspaces/{}", made.id);
            exchange.commit(tx, &Answer::created(&made.show(), location)?)
        })
        .await
}

/// Which ones.
#[derive(Debug, Deserialize)]
struct Query {
    search: Option<String>,
    external_workspace_id: Option<String>,
    external_user_id: Option<String>,
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
        ("$.external_user_id", query.external_user_id),
    ];
    let filter = Filter {
        org: caller.org,
        workspace: caller.bound_workspace,
        search: query.search.filter(|text| !text.is_empty()),
        fields: fields
            .into_iter()
            .filter_map(|(path, value)| Some((path.to_owned(), value?)))
            .collect(),
        ..Filter::default()
    };
    let listing = pages.read::<Workspace>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |workspace| workspace.show())
}

async fn get(workspace: Scoped<Workspace>) -> ApiResult<Answer> {
    Answer::ok(&workspace.show())
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
    #[serde(default, deserialize_with = "present")]
    external_workspace_id: Option<Option<String>>,
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    Called {
        name: body.name.as_deref(),
        slug: body.slug.as_deref(),
        description: body.description.as_ref().and_then(Option::as_deref),
        external: body.external_workspace_id.as_ref().and_then(Option::as_deref),
    }
    .validate::<Workspace>()?;
    let now = app.clock.now(caller.org);
    let id = workspace.id;
    let answer = app
        .store
        .write(move |tx| {
            let mut workspace: Workspace =
                tx.get(caller.org, id)?.ok_or_else(|| ApiError::not_found("workspace", id))?;
            let within = Within { org: caller.org, workspace: None };
            if let Some(name) = body.name {
                within.refuse_taken::<Workspace>(tx, Column::Name, &name, Some(id))?;
                defect!(PatchRenames => workspace.slug = within
                    .free_slug::<Workspace>(tx, &crate::http::validation::slug_of(&name, "w"))?);
                workspace.name = name;
            }
            if let Some(slug) = body.slug {
                within.refuse_taken::<Workspace>(tx, Column::Slug, &slug, Some(id))?;
                workspace.slug = slug;
            }
            if let Some(external) = body.external_workspace_id {
                workspace.external_workspace_id = external;
            }
            if let Some(description) = body.description {
                workspace.description = description;
            }
            if let Some(metadata) = body.metadata {
                workspace.metadata = metadata;
            }
            workspace.updated_at = now;
            tx.update(&workspace)?;
            exchange.commit(tx, &Answer::ok(&workspace.show())?)
        })
        .await?;
    // A header may have named it by its old slug.
    app.identities.forget(caller.org);
    Ok(answer)
}

async fn projects(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    pages: Pages,
) -> ApiResult<Answer> {
    let filter = Filter { org: caller.org, workspace: Some(workspace.id), ..Filter::default() };
    let listing = pages.read::<Project>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |project| project.show())
}
