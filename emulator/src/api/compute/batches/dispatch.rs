//! Making the sandboxes of a batch, a few at a time, until none is left.
//!
//! Each is claimed in one transaction with its row, so that no end of the emulator makes one twice or forgets one: who
//! starts later on the same data goes on with the next. A sandbox that was being made when the emulator ended has
//! failed, and its row says so.

use uuid::Uuid;

use super::record::{Batch, Status};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::create::build::{build, log_late};
use crate::api::compute::sandboxes::create::intend;
use crate::api::compute::sandboxes::record::BatchItem;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::store::Tx;

/// Makes what is left of a batch, in a task of its own.
pub fn begin(app: &App, id: Uuid) {
    let app = app.clone();
    app.clone().tasks.spawn(async move {
        if let Err(error) = work(&app, id).await {
            tracing::error!(batch = %id, "it does not go on: {} {:?}", error.message, error.log);
        }
    });
}

/// Goes on with the batches that another emulator on this data has left.
///
/// # Errors
/// When the store fails.
pub async fn go_on(app: &App) -> ApiResult<()> {
    let batches = app.store.read(|view| view.all::<Batch>().map_err(ApiError::from)).await?;
    for batch in batches.iter().filter(|batch| batch.settled_at.is_none()) {
        begin(app, batch.id);
    }
    Ok(())
}

async fn work(app: &App, id: Uuid) -> ApiResult<()> {
    let found = app.store.read(move |view| view.get_any::<Batch>(id).map_err(ApiError::from));
    let Some(batch) = found.await? else { return Ok(()) };
    let hands = (0..batch.concurrency).map(|_| hand(app, batch.org, id));
    for done in futures_util::future::join_all(hands).await {
        done?;
    }
    if app.stopping.is_cancelled() {
        return Ok(());
    }
    let (org, now) = (batch.org, app.clock.now(batch.org));
    let settled: ApiResult<_> = app
        .store
        .write(move |tx| Ok(tx.modify::<Batch>(org, id, |batch| batch.settle(now))?))
        .await;
    settled?;
    app.activity.ring();
    Ok(())
}

/// Makes one after the other.
async fn hand(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    while !app.stopping.is_cancelled() {
        match claim(app, org, id).await? {
            Next::Make(sandbox) => make(app, *sandbox, id).await,
            Next::Refused => {}
            Next::Nothing => break,
        }
        app.activity.ring();
    }
    Ok(())
}

enum Next {
    Make(Box<Sandbox>),
    Refused,
    Nothing,
}

async fn claim(app: &App, org: Uuid, id: Uuid) -> ApiResult<Next> {
    let (app_, now) = (app.clone(), app.clock.now(org));
    app.store
        .write(move |tx| -> ApiResult<Next> {
            let Some(mut batch) = tx.get::<Batch>(org, id)? else { return Ok(Next::Nothing) };
            let Some(index) = batch.next() else { return Ok(Next::Nothing) };
            batch.dispatched += 1;
            batch.status = Status::Running;
            batch.updated_at = now;
            let intended = intend_item(tx, &app_, &batch, index);
            let next = match intended {
                Ok(sandbox) => Next::Make(Box::new(sandbox)),
                Err(error) => {
                    batch.refuse(index, &error);
                    Next::Refused
                }
            };
            tx.update(&batch)?;
            Ok(next)
        })
        .await
}

/// Writes the row of the sandbox with this number; whoever reads the batch knows of it from now on.
fn intend_item(tx: &Tx<'_>, app: &App, batch: &Batch, index: u32) -> ApiResult<Sandbox> {
    let whose = (batch.org, batch.owner_id);
    let plan = batch.plan(tx, index)?;
    let mut sandbox = intend(tx, app, plan, batch.owner.clone(), whose, app.ids.next())?;
    sandbox.told = true;
    sandbox.batch = Some(BatchItem { batch: batch.id, index });
    tx.update(&sandbox)?;
    Ok(sandbox)
}

async fn make(app: &App, sandbox: Sandbox, batch: Uuid) {
    let (org, id) = (sandbox.org, sandbox.id);
    let made = build(app, sandbox, move |tx, _| {
        tx.modify::<Batch>(org, batch, |batch| batch.succeeded += 1)?;
        Ok(())
    });
    if let Err(error) = made.await {
        log_late(id, &error);
    }
}
