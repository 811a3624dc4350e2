//! Which build is live (miosa-cli-go): `promote` makes the newest one live, `rollback` the one before.
//!
//! A build that succeeds is live at once; `promote` undoes a rollback, or with `build_id` chooses any that is ready.

use axum::extract::State;
use serde::Deserialize;

use super::builds::{self, Build};
use super::event::{self, Happening};
use super::readiness::Kept;
use super::{Live, Status, Template, find, origin, show};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, codes};
use crate::store::Tx;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    build_id: Option<String>,
}

/// `POST /sandbox-templates/{id}/promote`.
pub(super) async fn promote(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    Input(which): Input<Which>,
) -> ApiResult<CommittedAnswer> {
    change(&app, &caller, exchange, path.at(0), Happening::Promoted, move |ready, template| {
        match &which.build_id {
            None => ready.into_iter().next().ok_or_else(|| origin::not_ready(template)),
            Some(id) => {
                let meant = ready.into_iter().find(|build| build.id.to_string() == *id);
                let why = "must be a build of this template that is ready and whose image is kept";
                meant.ok_or_else(|| ApiError::field("build_id", why))
            }
        }
    })
    .await
}

/// `POST /sandbox-templates/{id}/rollback`.
pub(super) async fn rollback(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    change(&app, &caller, exchange, path.at(0), Happening::RolledBack, |ready, template| {
        let live = template.live.ok_or_else(|| origin::not_ready(template))?;
        ready.into_iter().find(|build| build.number < live.number).ok_or_else(|| {
            ApiError::new(
                codes::RESOURCE_STATE,
                "No earlier build of this template is kept: there is nothing to return to.",
            )
        })
    })
    .await
}

/// Makes the build live that `choose` takes of those that are ready, the newest first.
async fn change<F>(
    app: &App,
    caller: &Caller,
    exchange: ExchangeRef,
    name: &str,
    happening: Happening,
    choose: F,
) -> ApiResult<CommittedAnswer>
where
    F: FnOnce(Vec<Build>, &Template) -> ApiResult<Build> + Send + 'static,
{
    let template = find::own(app, caller, name).await?;
    let (org, id, now) = (template.org, template.id, app.clock.now(template.org));
    let (kept, app_) = (Kept::look(app).await, app.clone());
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let template =
                tx.get::<Template>(org, id)?.ok_or_else(|| ApiError::not_found("template", id))?;
            let ready = builds::of(tx, &template)?;
            let ready = ready.into_iter().filter(|build| build.image.is_some()).collect();
            let chosen = choose(ready, &template)?;
            let before = template.live;
            let template = make_live(tx, template, &chosen, now)?;
            if template.live != before {
                event::emit(tx, &app_, &template, happening)?;
            }
            let shown = show::own(&template, kept.readiness(&template));
            exchange.commit(tx, &Answer::ok(&shown)?)
        })
        .await?;
    app.emitted.notify_waiters();
    Ok(answer)
}

/// Sandboxes start from this build from now on; the template's spec is the build's.
///
/// # Errors
/// When the store fails.
pub fn make_live(
    tx: &Tx<'_>,
    template: Template,
    build: &Build,
    now: Timestamp,
) -> ApiResult<Template> {
    let Some(image) = build.image else {
        return Err(ApiError::internal(format!("build {} has no image", build.id)));
    };
    let template = Template {
        status: Status::Ready,
        spec: build.spec.clone(),
        live: Some(Live { build: build.id, number: build.number, image }),
        updated_at: now,
        ..template
    };
    tx.update(&template)?;
    Ok(template)
}
