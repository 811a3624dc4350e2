//! The queue: the build that has waited longest runs next, a few at once. It lives in the store, so a build that waited
//! when the emulator ended still waits when it starts again; one that ran has failed, and says so.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use super::journal;
use super::record::{Build, Failure, State};
use super::run::run;
use crate::api::compute::templates::{Status, Template, event};
use crate::app::App;
use crate::http::ApiResult;
use crate::store::Tx;

/// Who waits for builds.
#[derive(Debug, Default)]
pub struct Builds {
    /// Wakes the queue: a build was asked for.
    pub wake: Notify,
    /// Wakes who follows a log: some log has grown, some build has come to another state.
    pub grown: Notify,
}

/// Runs builds until the emulator stops.
pub async fn watch(app: App) {
    let places = Arc::new(Semaphore::new(app.config.builds.at_once.max(1)));
    loop {
        let place = tokio::select! {
            () = app.stopping.cancelled() => return,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        match next(&app).await {
            Ok(Some(build)) => {
                let app_ = app.clone();
                app.tasks.spawn(async move {
                    run(&app_, build).await;
                    drop(place);
                });
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!("the queue of builds could not be read: {:?}", error.log),
        }
        drop(place);
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.builds.wake.notified() => {}
        }
    }
}

/// Takes the build that has waited longest: it is `building` from here on.
async fn next(app: &App) -> ApiResult<Option<Build>> {
    let app_ = app.clone();
    let taken = app
        .store
        .write(move |tx| -> ApiResult<Option<Build>> {
            let waiting = tx.next_due::<Build>()?.into_iter().min_by_key(|(_, at)| *at);
            let Some((org, at)) = waiting else { return Ok(None) };
            let Some(mut build) = tx.due::<Build>(org, at, 1)?.into_iter().next() else {
                return Ok(None);
            };
            let now = app_.clock.now(org);
            build.pass(State::Building, now);
            build.started_at = Some(now);
            tx.update(&build)?;
            event::build(tx, &app_, &build)?;
            Ok(Some(build))
        })
        .await?;
    if taken.is_some() {
        app.builds.grown.notify_waiters();
        app.emitted.notify_waiters();
    }
    Ok(taken)
}

/// What a crash has left, at start-up: builds that ran have failed. Their machines are orphans and go as such.
///
/// # Errors
/// When the store fails.
pub async fn recover(app: &App) -> ApiResult<usize> {
    let app_ = app.clone();
    app.store
        .write(move |tx| -> ApiResult<usize> {
            let torn = tx.all::<Build>()?.into_iter().filter(|build| build.state.runs());
            let mut marked = 0;
            for build in torn {
                fail(tx, &app_, build)?;
                marked += 1;
            }
            Ok(marked)
        })
        .await
}

fn fail(tx: &Tx<'_>, app: &App, mut build: Build) -> ApiResult<()> {
    let now = app.clock.now(build.org);
    let text = "the emulator ended in the middle of the build; ask for it anew";
    let failure = Failure::new("BUILD_INTERRUPTED", text);
    build.pass(State::Failed, now);
    let last = journal::entry(
        "failed",
        now,
        json!({ "state": State::Failed, "error_code": failure.code, "error_message": failure.message }),
    );
    build.error = Some(failure);
    let written = tx.log_length(build.id)?;
    tx.append_log(build.org, build.id, written + 1, &[last])?;
    tx.update(&build)?;
    event::build(tx, app, &build)?;
    tx.modify::<Template>(build.org, build.template_id, |template| {
        if template.live.is_none() {
            template.status = Status::Failed;
            template.updated_at = now;
        }
    })?;
    Ok(())
}
