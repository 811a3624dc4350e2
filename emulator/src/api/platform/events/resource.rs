//! `GET /sandboxes/{id}/events` (`api-reference/events`): everything that happens to one sandbox and in it.
//!
//! Chosen here: a client that says nothing of where to begin gets the newest events first, since `sandbox.started` has
//! always happened before its id is known. The stream ends with `sandbox.destroyed`.

use axum::extract::State;
use axum::response::Response;

use super::feed::{self, Feed, Plan};
use super::frames;
use super::resume::Resume;
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::http::{ApiResult, Scoped};
use crate::store::outbox::Class;
use crate::store::{StoreError, View};

/// How many of the newest events come first.
const BACKLOG: u32 = 100;

pub(super) async fn stream(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    resume: Resume,
) -> ApiResult<Response> {
    let plan = Plan {
        feed: of(&sandbox),
        backlog: BACKLOG,
        show: frames::of_resource,
        last: |recorded| recorded.event.kind == "sandbox.destroyed",
        lives,
    };
    feed::open(&app, plan, resume).await
}

/// `GET /sandboxes/{id}/audit/stream` (miosa-python 1.4 to 2.0): the connections out of it alone.
pub(super) async fn egress(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    resume: Resume,
) -> ApiResult<Response> {
    let plan = Plan {
        feed: Feed { class: Some(Class::Egress), ..of(&sandbox) },
        backlog: 0,
        show: frames::of_egress,
        last: |_| false,
        lives,
    };
    feed::open(&app, plan, resume).await
}

/// Everything of one sandbox.
pub fn of(sandbox: &Sandbox) -> Feed {
    Feed { org: sandbox.org, subject: Some(sandbox.id), ..Feed::default() }
}

/// Whether anything can still happen to it.
pub fn lives(view: &View<'_>, feed: &Feed) -> Result<bool, StoreError> {
    let Some(id) = feed.subject else { return Ok(true) };
    let sandbox = view.get::<Sandbox>(feed.org, id)?;
    Ok(sandbox.is_some_and(|sandbox| sandbox.state != SandboxState::Destroyed))
}
