//! Reading: one by id, slug or name, and lists with their filters.

use std::collections::BTreeMap;

use axum::extract::State as Extracted;
use serde_json::{Map, Value};

use super::Sandbox;
use super::show::{Reader, show};
use crate::app::App;
use crate::defects::defect;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::{PathValues, visible};
use crate::http::{Answer, ApiError, ApiResult, Caller, Pages, Params, Scoped};
use crate::store::{Filter, View};

/// `GET /sandboxes/{id}`.
pub async fn get(
    Extracted(app): Extracted<App>,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
) -> ApiResult<Answer> {
    Answer::ok(&show(&app, &sandbox, &reader))
}

/// `GET /sandboxes/by-name/{name}`: 404 when absent, which clients take as leave to create it.
pub async fn by_name(
    Extracted(app): Extracted<App>,
    caller: Caller,
    reader: Reader,
    path: PathValues,
) -> ApiResult<Answer> {
    let name = path.at(0).to_owned();
    let sandbox = app
        .store
        .read(move |view| -> ApiResult<Sandbox> {
            view.by_name::<Sandbox>(caller.org, &name)?
                .filter(|sandbox| visible(sandbox, &caller))
                .ok_or_else(|| ApiError::not_found("sandbox", name))
        })
        .await?;
    Answer::ok(&show(&app, &sandbox, &reader))
}

/// The states that lists name, with what older clients call them.
const STATES: &[(&str, &str)] = &[
    ("provisioning", "provisioning"),
    ("creating", "provisioning"),
    ("pending", "provisioning"),
    ("starting", "provisioning"),
    ("running", "running"),
    ("snapshotting", "snapshotting"),
    ("pausing", "pausing"),
    ("paused", "paused"),
    ("stopped", "paused"),
    ("resuming", "resuming"),
    ("error", "error"),
    ("destroyed", "destroyed"),
];

/// What the query of a list says (`api-reference/sandboxes`; miosa-go 2.0 for the later filters), and which of its names
/// nobody knows.
///
/// # Errors
/// 400 for a value that cannot be.
pub fn filter(
    caller: &Caller,
    query: &BTreeMap<String, String>,
) -> ApiResult<(Filter, Vec<String>)> {
    let workspace = defect!(BoundKeyListsAll, None, caller.bound_workspace);
    let mut filter = Filter { org: caller.org, workspace, ..Filter::default() };
    let (mut unread, mut external, mut include_errored) = (Vec::new(), false, None);
    for (name, value) in query {
        match name.as_str() {
            _ if value.is_empty() => {}
            "state" | "status" => {
                for state in value.split(',').map(str::trim).filter(|state| !state.is_empty()) {
                    let known = STATES.iter().find(|(said, _)| *said == state);
                    let known = known.ok_or_else(|| {
                        ApiError::parameter("state", format!("{state:?} is no state of a sandbox"))
                    })?;
                    filter.states.push(known.1.to_owned());
                }
            }
            "tags" => {
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                filter.members.extend(tags.map(|tag| ("$.tags", tag.to_owned())));
            }
            "external_workspace_id" | "external_user_id" | "external_project_id" => {
                external = true;
                filter.fields.push((format!("$.{name}"), value.clone()));
            }
            "workspace_id" | "project_id" | "template_id" => {
                filter.fields.push((format!("$.{name}"), value.clone()));
            }
            "search" => filter.search = Some(value.clone()),
            "sort" => match value.as_str() {
                "created-desc" => filter.by_name = false,
                "name-asc" => filter.by_name = true,
                _ => return Err(ApiError::parameter("sort", "must be created-desc or name-asc")),
            },
            "include_errored" => {
                let said = value.parse::<bool>();
                include_errored = Some(said.map_err(|_| {
                    ApiError::parameter("include_errored", "must be true or false")
                })?);
            }
            _ => match name.strip_prefix("tags[").and_then(|rest| rest.strip_suffix(']')) {
                Some(key) => filter.members.push(("$.tags", format!("{key}={value}"))),
                None => unread.push(format!("?{name}")),
            },
        }
    }
    if filter.states.is_empty() {
        // Ended ones are for those who ask for them by name; broken ones too, unless an end user is looked for.
        filter.not_states.push("destroyed");
        if !include_errored.unwrap_or(external) {
            filter.not_states.push("error");
        }
    }
    Ok((filter, unread))
}

/// `GET /sandboxes`.
pub async fn list(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    pages: Pages,
    Params(query): Params<BTreeMap<String, String>>,
) -> ApiResult<Answer> {
    let (filter, unread) = filter(&caller, &query)?;
    exchange.note(|notes| notes.unread.extend(unread));
    let (listing, counts) = app
        .store
        .read(move |view| -> ApiResult<_> {
            let listing = view.page::<Sandbox>(&filter, pages.paging)?;
            Ok((listing, state_counts(view, &caller)?))
        })
        .await?;
    exchange.flag_left_out(pages, &listing);
    let mut answer = Answer::list(listing, |sandbox| show(&app, &sandbox, &reader))?;
    if let Answer::List { meta, .. } = &mut answer {
        meta.insert("state_counts".into(), Value::Object(counts));
    }
    Ok(answer)
}

/// How many there are in each state, of all that the caller may see (miosa-go 2.0: `meta.state_counts`).
fn state_counts(view: &View<'_>, caller: &Caller) -> ApiResult<Map<String, Value>> {
    let mut counts = Map::new();
    for (state, _) in STATES.iter().filter(|(said, state)| said == state) {
        let filter = Filter {
            org: caller.org,
            workspace: caller.bound_workspace,
            states: vec![(*state).to_owned()],
            ..Filter::default()
        };
        let n = view.count::<Sandbox>(&filter)?;
        if n > 0 {
            counts.insert((*state).to_owned(), n.into());
        }
    }
    Ok(counts)
}
