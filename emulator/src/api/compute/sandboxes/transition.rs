//! One transition at a time: claimed in the store, acted out on the machine, settled in the store.
//!
//! Who has claimed a sandbox holds it in a transitional state under an operation id; everybody else waits, within
//! bounds, or is refused. Who settles it changes the row as it is then, never a copy read before.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Sandbox, State};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::Tx;

/// How long a transition waits for the one before it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A refusal that says: the same request may pass in two seconds (miosa-go 2.0: `Retry-After: 2`).
pub fn starting(sandbox: &Sandbox) -> ApiError {
    ApiError::new(
        codes::SANDBOX_STARTING,
        format!("Sandbox {} is {}; nothing ran. Try again.", sandbox.id, sandbox.state.as_str()),
    )
    .retry_after(2)
}

/// A refusal: it is in the wrong state for this.
pub fn not_running(sandbox: &Sandbox) -> ApiError {
    ApiError::new(
        codes::SANDBOX_NOT_RUNNING,
        format!("Sandbox {} is {}; it must be running.", sandbox.id, sandbox.state.as_str()),
    )
}

/// Claims the sandbox for `operation`: it is in state `to` from here on. Waits for another transition to end, then
/// asks `may` about the state it is in. Answers the row as it was.
///
/// # Errors
/// 404 when it is gone, what `may` says, or 409 `SANDBOX_STARTING` when another transition takes too long.
pub async fn claim(
    app: &App,
    org: Uuid,
    id: Uuid,
    operation: Uuid,
    to: State,
    may: fn(&Sandbox) -> ApiResult<()>,
) -> ApiResult<Sandbox> {
    claim_if(app, org, id, operation, to, move |_, sandbox| may(sandbox)).await
}

/// The same, where what decides lies beside the sandbox.
///
/// # Errors
/// As [`claim`].
pub async fn claim_if<F>(
    app: &App,
    org: Uuid,
    id: Uuid,
    operation: Uuid,
    to: State,
    may: F,
) -> ApiResult<Sandbox>
where
    F: Fn(&Tx<'_>, &Sandbox) -> ApiResult<()> + Clone + Send + 'static,
{
    let now = app.clock.now(org);
    let claimed = when_settled(app, org, id, move |tx, sandbox| {
        may(tx, &sandbox)?;
        let mut claimed = sandbox.clone();
        claimed.state = to;
        claimed.operation = operation;
        claimed.updated_at = now;
        tx.update(&claimed)?;
        Ok(sandbox)
    })
    .await?;
    app.activity.ring();
    Ok(claimed)
}

/// Runs `work` in a transaction in which no transition is under way, waiting for one to end.
///
/// # Errors
/// As [`claim`].
pub async fn when_settled<T, F>(app: &App, org: Uuid, id: Uuid, work: F) -> ApiResult<T>
where
    T: Send + 'static,
    F: Fn(&Tx<'_>, Sandbox) -> ApiResult<T> + Clone + Send + 'static,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Listening before looking: a transition that ends in between is heard.
        let changed = app.activity.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let work = work.clone();
        let tried = app
            .store
            .write(move |tx| -> ApiResult<Result<T, Sandbox>> {
                let sandbox = tx
                    .get::<Sandbox>(org, id)?
                    .ok_or_else(|| ApiError::not_found("sandbox", id))?;
                if sandbox.state.is_transitional() {
                    return Ok(Err(sandbox));
                }
                work(tx, sandbox).map(Ok)
            })
            .await?;
        match tried {
            Ok(done) => return Ok(done),
            Err(busy) => {
                if timeout_at(deadline, changed).await.is_err() {
                    return Err(starting(&busy));
                }
            }
        }
    }
}

/// Ends a transition: changes the row if `operation` still holds it, then lets everybody know.
///
/// # Errors
/// 409 when something else has taken the sandbox meanwhile (its machine died, it was removed).
pub async fn settle<T, F>(
    app: &App,
    org: Uuid,
    id: Uuid,
    operation: Uuid,
    change: F,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>, &mut Sandbox, Timestamp) -> ApiResult<T> + Send + 'static,
{
    let now = app.clock.now(org);
    let settled = app
        .store
        .write(move |tx| -> ApiResult<(T, Sandbox)> {
            let mut sandbox = tx
                .get::<Sandbox>(org, id)?
                .filter(|sandbox| sandbox.operation == operation && sandbox.state.is_transitional())
                .ok_or_else(|| {
                    ApiError::new(
                        codes::RESOURCE_STATE,
                        "The sandbox was changed by something else meanwhile.",
                    )
                })?;
            let answer = change(tx, &mut sandbox, now)?;
            tx.update(&sandbox)?;
            Ok((answer, sandbox))
        })
        .await;
    if let Ok((_, sandbox)) = &settled
        && sandbox.runs()
    {
        app.activity.open(id);
    }
    tell(app);
    settled.map(|(answer, _)| answer)
}

/// Lets everybody know that a sandbox has changed: who waits for it, the lifecycle, and streams of events.
pub fn tell(app: &App) {
    app.activity.ring();
    app.due.notify_one();
}

/// Runs `work` while the sandbox is `snapshotting`, then puts its state back. Commands go on meanwhile as far as the
/// host lets them.
///
/// # Errors
/// What `work` says; 409 unless the sandbox runs or is paused.
pub async fn snapshotting<T>(
    app: &App,
    org: Uuid,
    id: Uuid,
    operation: Uuid,
    work: impl Future<Output = ApiResult<T>>,
) -> ApiResult<T> {
    claim(app, org, id, operation, State::Snapshotting, |sandbox| match sandbox.state {
        State::Running | State::Paused => Ok(()),
        _ => Err(not_running(sandbox)),
    })
    .await?;
    let done = work.await;
    settle(app, org, id, operation, |_, sandbox, now| {
        sandbox.state = if sandbox.runs() { State::Running } else { State::Paused };
        sandbox.updated_at = now;
        Ok(())
    })
    .await?;
    done
}
