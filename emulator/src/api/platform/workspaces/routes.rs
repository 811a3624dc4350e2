//! `/workspaces` (`api-reference/workspaces`; miosa-python 2.19, miosa-go 2.0).

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::ownership::out_of_bounds;
use super::super::places::Within;
use super::super::projects::Project;
use super::{Workspace, removal};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::validation::{self, present};
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Params, Route, Scoped, codes,
};
use crate::store::{Column, Filter, Tx};

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
        fields(
            Some(name),
            slug.as_deref(),
            description.as_deref(),
            external_workspace_id.as_deref(),
        )?;
        external_user_id
            .as_ref()
            .map_or(Ok(()), |id| validation::text("external_user_id", id, 1, 255))
    }
}

fn fields(
    name: Option<&str>,
    slug: Option<&str>,
    description: Option<&str>,
    external: Option<&str>,
) -> ApiResult<()> {
    if let Some(name) = name {
        validation::text("name", name, 1, 255)?;
        if name.trim().is_empty() {
            return Err(ApiError::field("name", "must not be blank"));
        }
    }
    if let Some(slug) = slug {
        validation::slug("slug", slug)?;
    }
    if let Some(description) = description {
        validation::text("description", description, 0, 4096)?;
    }
    if let Some(external) = external {
        validation::text("external_workspace_id", external, 1, 255)?;
    }
    Ok(())
}

fn exists(existing: &Workspace) -> ApiError {
    ApiError::new(
        codes::WORKSPACE_NAME_EXISTS,
        format!(
            "There is a workspace {:?} (slug {:?}) already. Use it, or send allow_duplicate_name.",
            existing.name, existing.slug
        ),
    )
    .details(json!({ "existing": existing.show() }))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    body.validate()?;
    if caller.bound_workspace.is_some() {
        return Err(out_of_bounds());
    }
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            let within = Within { org: caller.org, workspace: None };
            if let Some(external) = &body.external_workspace_id
                && let Some(known) = within.find::<Workspace>(tx, Column::External, external)?
            {
                let answer = Answer::ok(&known.show())?.beside("reused", true.into());
                return exchange.commit(tx, &answer);
            }
            if !body.allow_duplicate_name
                && let Some(known) = within.find::<Workspace>(tx, Column::Name, &body.name)?
            {
                return Err(exists(&known));
            }
            let slug = free_slug(tx, within, body.slug.as_deref(), &body.name)?;
            let made = Workspace {
                description: body.description,
                metadata: body.metadata.unwrap_or_default(),
                external_workspace_id: body.external_workspace_id,
                external_user_id: body.external_user_id,
                ..Workspace::new(app.ids.next(), caller.org, &body.name, &slug, now)
            };
            tx.insert(&made)?;
            let location = format!("/workspaces/{}", made.id);
            exchange.commit(tx, &Answer::created(&made.show(), location)?)
        })
        .await
}

/// The slug that was asked for, or a free one that the name suggests.
fn free_slug(tx: &Tx<'_>, within: Within, asked: Option<&str>, name: &str) -> ApiResult<String> {
    let Some(asked) = asked else {
        return within.free_slug::<Workspace>(tx, &validation::slug_of(name, "workspace"));
    };
    match within.find::<Workspace>(tx, Column::Slug, asked)? {
        Some(known) => Err(exists(&known)),
        None => Ok(asked.to_owned()),
    }
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
    let listing = app
        .store
        .read(move |view| Ok::<_, ApiError>(view.page::<Workspace>(&filter, pages.paging)?))
        .await?;
    exchange.flag_left_out(pages, &listing);
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
    fields(
        body.name.as_deref(),
        body.slug.as_deref(),
        body.description.as_ref().and_then(Option::as_deref),
        body.external_workspace_id.as_ref().and_then(Option::as_deref),
    )?;
    let now = app.clock.now(caller.org);
    let id = workspace.id;
    let answer = app
        .store
        .write(move |tx| {
            let mut workspace: Workspace =
                tx.get(caller.org, id)?.ok_or_else(|| ApiError::not_found("workspace", id))?;
            let within = Within { org: caller.org, workspace: None };
            if let Some(name) = body.name {
                if let Some(other) = within.find::<Workspace>(tx, Column::Name, &name)?
                    && other.id != id
                {
                    return Err(exists(&other));
                }
                workspace.name = name;
            }
            if let Some(slug) = body.slug {
                if let Some(other) = within.find::<Workspace>(tx, Column::Slug, &slug)?
                    && other.id != id
                {
                    return Err(exists(&other));
                }
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
    let listing = app
        .store
        .read(move |view| Ok::<_, ApiError>(view.page::<Project>(&filter, pages.paging)?))
        .await?;
    exchange.flag_left_out(pages, &listing);
    Answer::list(listing, |project| project.show())
}
