//! Services start with their machine, however that came to start.

use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

use super::{ALL, Service, run};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::store::Filter;

/// Runs until the emulator stops.
pub async fn watch(app: App, mut started: Receiver<Uuid>) {
    // What an emulator that died had not started yet.
    everywhere(&app).await;
    loop {
        let id = tokio::select! {
            () = app.stopping.cancelled() => return,
            id = started.recv() => id,
        };
        match id {
            Ok(id) => in_sandbox(&app, id).await,
            // Too many at once to name each: look at all.
            Err(RecvError::Lagged(_)) => everywhere(&app).await,
            Err(RecvError::Closed) => return,
        }
    }
}

async fn everywhere(app: &App) {
    let rows = app.store.read(|view| view.all::<Sandbox>().map_err(ApiError::from)).await;
    match rows {
        Ok(rows) => {
            for sandbox in rows.into_iter().filter(Sandbox::runs) {
                in_sandbox(app, sandbox.id).await;
            }
        }
        Err(error) => tracing::error!("the sandboxes could not be read: {:?}", error.log),
    }
}

async fn in_sandbox(app: &App, id: Uuid) {
    if let Err(error) = start_all(app, id).await {
        let why = error.log.unwrap_or(error.message);
        tracing::warn!(sandbox = %id, "its services could not be started: {why}");
    }
}

/// Starts what shall run and is not known to the machine: one that has ended there is left as it ended.
async fn start_all(app: &App, id: Uuid) -> ApiResult<()> {
    let found = app.store.read(move |view| -> ApiResult<_> {
        let Some(sandbox) = view.get_any::<Sandbox>(id)? else { return Ok(Vec::new()) };
        let filter = Filter { org: sandbox.org, parent: Some(id), ..Filter::default() };
        Ok(view.page::<Service>(&filter, ALL)?.items)
    });
    let services: Vec<Service> = found.await?.into_iter().filter(|one| one.wanted).collect();
    if services.is_empty() {
        return Ok(());
    }
    let agent = app.machines.agent(id)?;
    for service in services.into_iter().rev() {
        if agent.job(&service.job()).await?.is_some() {
            continue;
        }
        let trouble = run::launch(&agent, &service).await.err().map(|error| error.message);
        if trouble != service.trouble {
            let (org, id) = (service.org, service.id);
            app.store
                .write(move |tx| -> ApiResult<()> {
                    tx.modify::<Service>(org, id, |service| service.trouble = trouble)?;
                    Ok(())
                })
                .await?;
        }
    }
    Ok(())
}
