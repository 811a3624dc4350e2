//! Asking for builds, and looking at them.

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::journal;
use super::record::{Build, Passed, State};
use crate::api::compute::templates::{Template, create, event, find};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Pages, Scoped, codes};
use crate::machines::templates;
use crate::store::Filter;

/// How many builds of an organization may wait or run.
const WAITING: u64 = 50;

/// `GET /sandbox-templates/{id}/builds`: newest first; a built-in template has none.
pub async fn list(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
    path: PathValues,
) -> ApiResult<Answer> {
    if templates::find(path.at(0)).is_some() {
        return Ok(Answer::whole(Vec::new(), "builds"));
    }
    let template = find::own(&app, &caller, path.at(0)).await?;
    let filter = Filter { org: template.org, parent: Some(template.id), ..Filter::default() };
    let listing = pages.read::<Build>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |build| build.show())
}

/// `GET /sandbox-template-builds/{id}`.
pub async fn get(build: Scoped<Build>) -> ApiResult<Answer> {
    Answer::ok(&build.show())
}

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Create {
    build_spec: Option<Value>,
    metadata: Option<Map<String, Value>>,
}

/// `POST /sandbox-templates/{id}/builds`: of the template's spec, or of another, which becomes the template's when the
/// build is ready.
pub async fn create(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    let template = find::own(&app, &caller, path.at(0)).await?;
    let spec = match &body.build_spec {
        Some(said) => Some(create::checked(&app, &caller, said).await?),
        None => None,
    };
    let (org, id, now) = (template.org, template.id, app.clock.now(template.org));
    let (build_id, metadata, app_) =
        (app.ids.next(), body.metadata.unwrap_or_default(), app.clone());
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let mut template =
                tx.get::<Template>(org, id)?.ok_or_else(|| ApiError::not_found("template", id))?;
            let waiting = Filter {
                org,
                not_states: State::ENDED.iter().map(|state| state.as_str()).collect(),
                ..Filter::default()
            };
            if tx.count::<Build>(&waiting)? >= WAITING {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    format!("{WAITING} builds wait or run already; try again when one has ended."),
                ));
            }
            template.builds += 1;
            template.latest = Some(build_id);
            template.updated_at = now;
            let build = Build {
                id: build_id,
                org,
                workspace_id: template.workspace_id,
                template_id: id,
                slug: template.slug.clone(),
                number: template.builds,
                state: State::Queued,
                spec: spec.unwrap_or_else(|| template.spec.clone()),
                metadata,
                passed: vec![Passed { event: State::Queued, at: now }],
                error: None,
                certification: None,
                image: None,
                size_bytes: None,
                created_at: now,
                updated_at: now,
                started_at: None,
                finished_at: None,
                duration_ms: None,
            };
            tx.update(&template)?;
            tx.insert(&build)?;
            let entry = journal::entry("queued", now, json!({ "state": State::Queued }));
            tx.append_log(org, build_id, 1, &[entry])?;
            event::build(tx, &app_, &build)?;
            let location = format!("/sandbox-template-builds/{build_id}");
            exchange.commit(tx, &Answer::created(&build.show(), location)?)
        })
        .await?;
    app.emitted.notify_waiters();
    app.builds.wake.notify_one();
    Ok(answer)
}
