//! `DELETE /sandbox-templates/{id}`: refused while something depends on it; its builds, their logs and images go with it.

use axum::extract::State;
use serde_json::json;
use uuid::Uuid;

use super::builds;
use super::event::{self, Happening};
use super::{Template, find};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, codes};
use crate::store::{Filter, View};

pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    let template = find::own(&app, &caller, path.at(0)).await?;
    let (org, id, app_) = (template.org, template.id, app.clone());
    let (answer, images) = app
        .store
        .write(move |tx| -> ApiResult<(CommittedAnswer, Vec<Uuid>)> {
            let template =
                tx.get::<Template>(org, id)?.ok_or_else(|| ApiError::not_found("template", id))?;
            check_unused(tx, &template)?;
            let images = builds::remove_all(tx, &template)?;
            tx.remove::<Template>(org, id)?;
            event::emit(tx, &app_, &template, Happening::Deleted)?;
            Ok((exchange.commit(tx, &Answer::Empty)?, images))
        })
        .await?;
    app.emitted.notify_waiters();
    builds::clear(&app, &images).await;
    Ok(answer)
}

/// Sandboxes would keep working, but could not be told from where they came any more (miosa-cli: refused).
fn check_unused(view: &View<'_>, template: &Template) -> ApiResult<()> {
    let living = Filter {
        org: template.org,
        fields: vec![("$.from_template.template".into(), template.id.to_string())],
        not_states: vec![SandboxState::Destroyed.as_str()],
        ..Filter::default()
    };
    let sandboxes = view.count::<Sandbox>(&living)?;
    let builds = builds::active(view, template)?;
    if sandboxes == 0 && builds == 0 {
        return Ok(());
    }
    Err(ApiError::new(
        codes::TEMPLATE_IN_USE,
        "This template has a live sandbox or an active build that depends on it; wait for the build to end, and remove those sandboxes first.",
    )
    .details(json!({ "sandboxes": sandboxes, "builds": builds })))
}
