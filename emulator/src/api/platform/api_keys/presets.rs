//! Named sets of scopes: the built-in ones, and those that an organization has saved (miosa-python 2.19).

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::scopes;
use super::mint;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Pages, Route, codes, validation};
use crate::store::{Filter, Keys, Paging, Resource, View};

/// How many an organization may save; one page reads them all.
const MOST: u32 = 100;

/// A set of scopes that an organization has saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Preset {
    id: Uuid,
    org: Uuid,
    /// Unique in the organization.
    name: String,
    description: Option<String>,
    scopes: Vec<String>,
    created_at: Timestamp,
}

impl Resource for Preset {
    const KIND: &'static str = "api_key_preset";
    const PLURAL: &'static str = "presets";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            name: Some(&self.name),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl Preset {
    fn show(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "scopes": self.scopes,
            "built_in": false,
            "created_at": self.created_at,
        })
    }
}

/// The scopes that the organization has saved under this name.
pub(in super::super) fn saved(
    view: &View<'_>,
    org: Uuid,
    name: &str,
) -> ApiResult<Option<Vec<String>>> {
    Ok(view.by_name::<Preset>(org, name)?.map(|preset| preset.scopes))
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api-keys/presets", list),
        Route::post("/api-keys/presets", create),
        Route::delete("/api-keys/presets/{name}", delete),
    ]
}

/// Whole unless a part is asked for: no client asks for a second page.
async fn list(State(app): State<App>, caller: Caller, pages: Pages) -> ApiResult<Answer> {
    let own = app
        .store
        .read(move |view| {
            let filter = Filter { org: caller.org, ..Filter::default() };
            let page = view.page::<Preset>(&filter, Paging::Number { page: 1, size: MOST })?;
            Ok::<_, ApiError>(page.items)
        })
        .await?;
    let all = scopes::built_in().into_iter().chain(own.iter().rev().map(Preset::show));
    Ok(Answer::portion(pages.portion(all.collect()), "presets"))
}

/// A set to save.
#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    scopes: Vec<String>,
    description: Option<String>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    // It stands in a path and beside scopes.
    validation::slug("name", &body.name)?;
    if let Some(description) = &body.description {
        validation::text("description", description, 0, 1000)?;
    }
    if scopes::is_built_in(&body.name) {
        return Err(ApiError::new(
            codes::NAME_TAKEN,
            format!("{} is a built-in preset; its name is reserved.", body.name),
        ));
    }
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            mint::administers(tx, &caller)?;
            let filter = Filter { org: caller.org, ..Filter::default() };
            if tx.page::<Preset>(&filter, Paging::Number { page: 1, size: 1 })?.total
                >= u64::from(MOST)
            {
                return Err(ApiError::new(
                    codes::CONFLICT,
                    format!("An organization has at most {MOST} presets of its own."),
                ));
            }
            let expanded =
                scopes::expand(Some(body.scopes), None, |name| saved(tx, caller.org, name))?;
            let preset = Preset {
                id: app.ids.next(),
                org: caller.org,
                name: body.name,
                description: body.description,
                scopes: expanded.unwrap_or_default(),
                created_at: now,
            };
            tx.insert(&preset)?;
            let location = format!("/api-keys/presets/{}", preset.name);
            exchange.commit(tx, &Answer::created(&preset.show(), location)?)
        })
        .await
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    let name = path.at(0).to_owned();
    app.store
        .write(move |tx| {
            mint::administers(tx, &caller)?;
            if scopes::is_built_in(&name) {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    format!("{name} is a built-in preset; it cannot be removed."),
                ));
            }
            let preset: Preset = tx
                .by_name(caller.org, &name)?
                .ok_or_else(|| ApiError::not_found("preset", &name))?;
            // Keys that were made with it keep the scopes that it named.
            tx.remove::<Preset>(caller.org, preset.id)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
