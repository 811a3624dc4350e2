//! `GET /events/stream` (`api-reference/tenant-events`): what happens to anything of the organization, from now on.

use axum::extract::State;
use axum::response::Response;

use super::feed::{self, Feed, Plan};
use super::frames;
use super::resume::Resume;
use crate::app::App;
use crate::http::{ApiResult, Caller};

pub(super) async fn stream(
    State(app): State<App>,
    caller: Caller,
    resume: Resume,
) -> ApiResult<Response> {
    let plan = Plan {
        feed: Feed { org: caller.org, workspace: caller.bound_workspace, ..Feed::default() },
        backlog: 0,
        show: frames::of_tenant,
        last: |_| false,
        lives: |_, _| Ok(true),
    };
    feed::open(&app, plan, resume).await
}
