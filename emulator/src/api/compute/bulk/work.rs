//! Doing what a job asks for, with a few sandboxes at a time.

use futures_util::StreamExt as _;
use uuid::Uuid;

use super::job::{Action, Job};
use crate::api::compute::sandboxes::power::{self, How, Why};
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// How many at once.
const AT_ONCE: usize = 8;

/// Does what is left of a job, in a task of its own.
pub fn begin(app: &App, id: Uuid) {
    let app = app.clone();
    app.clone().tasks.spawn(async move {
        if let Err(error) = work(&app, id).await {
            tracing::error!(job = %id, "it does not go on: {} {:?}", error.message, error.log);
        }
    });
}

/// Goes on with the jobs that another emulator on this data has left.
///
/// # Errors
/// When the store fails.
pub async fn go_on(app: &App) -> ApiResult<()> {
    let jobs = app.store.read(|view| view.all::<Job>().map_err(ApiError::from)).await?;
    jobs.iter().filter(|job| !job.left.is_empty()).for_each(|job| begin(app, job.id));
    Ok(())
}

async fn work(app: &App, id: Uuid) -> ApiResult<()> {
    let found = app.store.read(move |view| view.get_any::<Job>(id).map_err(ApiError::from));
    let Some(job) = found.await? else { return Ok(()) };
    let (org, action) = (job.org, job.action);
    let deeds = futures_util::stream::iter(job.left).map(|sandbox| async move {
        // What has not begun when the emulator stops is for the next one.
        if app.stopping.is_cancelled() {
            return Ok(());
        }
        let outcome = act(app, (org, sandbox), action).await;
        tick(app, (org, id), sandbox, outcome).await
    });
    let done = deeds.buffer_unordered(AT_ONCE).collect::<Vec<ApiResult<()>>>().await;
    done.into_iter().collect()
}

async fn tick(
    app: &App,
    (org, job): (Uuid, Uuid),
    sandbox: Uuid,
    outcome: ApiResult<()>,
) -> ApiResult<()> {
    let now = app.clock.now(org);
    app.store
        .write(move |tx| -> ApiResult<()> {
            tx.modify::<Job>(org, job, |job| job.tick(sandbox, &outcome, now))?;
            Ok(())
        })
        .await?;
    app.activity.ring();
    Ok(())
}

/// Does it with one; where it is so already there is nothing to do.
async fn act(app: &App, (org, id): (Uuid, Uuid), action: Action) -> ApiResult<()> {
    let found = app.store.read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from));
    let sandbox = found.await?;
    let operation = app.ids.next();
    match (action, sandbox) {
        (Action::Destroy, None) => Ok(()),
        (_, None) => Err(ApiError::not_found("sandbox", id)),
        (Action::Destroy, Some(_)) => power::remove(app, (org, id), |_| Ok(())).await,
        (Action::Pause, Some(sandbox)) if sandbox.state == State::Paused => Ok(()),
        (Action::Resume, Some(sandbox)) if sandbox.runs() => Ok(()),
        (Action::Pause, Some(_)) => {
            let (how, why) = (How::Freeze, Why::Request);
            power::pause(app, (org, id), operation, how, why, |_, _| Ok(())).await
        }
        (Action::Resume, Some(_)) => power::resume(app, (org, id), operation, |_, _| Ok(())).await,
    }
}
