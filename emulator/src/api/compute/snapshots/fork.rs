//! Another sandbox with a snapshot's files: `fork`, `restore` without a sandbox to restore (miosa-go 2.0: a new machine),
//! and `deploy` of a named one (miosa-python 2.19). The sandbox that was kept need not be there any more.

use axum::extract::State;

use super::{Snapshot, Status};
use crate::api::compute::sandboxes::create::{intend, make};
use crate::api::compute::sandboxes::fork::Fork;
use crate::api::compute::sandboxes::show::Reader;
use crate::api::platform::ownership;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{ApiError, ApiResult, Caller, Input, Scoped, codes};
use crate::machines::Base;

/// `POST /snapshots/{id}/fork` and `POST /snapshots/{id}/restore`.
pub(super) async fn fork(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    snapshot: Scoped<Snapshot>,
    Input(body): Input<Fork>,
) -> ApiResult<CommittedAnswer> {
    another(&app, caller, (exchange, reader), snapshot.0, body).await
}

/// Makes a sandbox like the one that was kept.
pub(super) async fn another(
    app: &App,
    caller: Caller,
    (exchange, reader): (ExchangeRef, Reader),
    snapshot: Snapshot,
    body: Fork,
) -> ApiResult<CommittedAnswer> {
    let source = snapshot.source.clone().ok_or_else(|| {
        ApiError::new(
            codes::RESOURCE_STATE,
            "This snapshot is of an older emulator, which did not write down what its sandbox was like. \
             Create a sandbox with `snapshot_id` instead.",
        )
    })?;
    let mut owner = snapshot.owner.clone();
    let plan = body.plan(source, Base::Snapshot(snapshot.id), &mut owner)?;
    let (operation, id, app_) = (exchange.operation(), snapshot.id, app.clone());
    let sandbox = app
        .store
        .write(move |tx| {
            let snapshot = tx
                .get::<Snapshot>(caller.org, id)?
                .ok_or_else(|| ApiError::not_found("snapshot", id))?;
            if snapshot.status != Status::Ready {
                return Err(ApiError::new(
                    codes::SNAPSHOT_NOT_READY,
                    format!("The snapshot is {}.", snapshot.status.as_str()),
                ));
            }
            let now = app_.clock.now(snapshot.org);
            tx.modify::<Snapshot>(snapshot.org, id, |snapshot| {
                snapshot.last_used_at = Some(now);
                snapshot.updated_at = now;
            })?;
            // The snapshot may have outlived where it was taken.
            let owner = ownership::standing(tx, &app_, &caller, owner)?;
            intend(tx, &app_, plan, owner, (caller.org, caller.user_id), operation)
        })
        .await?;
    make(app, sandbox, reader, exchange).await
}
