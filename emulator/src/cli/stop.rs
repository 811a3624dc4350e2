//! The end: asked for by a signal, in order, and within a bound.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::app::App;
use crate::lifecycle;

/// Ending the machines takes no longer; what is left is settled at the next start.
const MACHINES: Duration = Duration::from_secs(30);
/// Requests that outlive their client, and watchers, end within this.
const TASKS: Duration = Duration::from_secs(10);

/// Cancelled by the first SIGTERM or Ctrl-C. The second one ends the program where it stands.
pub(super) fn on_signal() -> Result<CancellationToken, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals: {error}")));
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let asked = CancellationToken::new();
    let stopping = asked.clone();
    // Lives as long as the runtime: the second signal may come at any time.
    tokio::spawn(async move {
        loop {
            let (name, code) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 143),
                _ = interrupt.recv() => ("Ctrl-C", 130),
            };
            if stopping.is_cancelled() {
                tracing::warn!("{name} again: ending at once");
                std::process::exit(code);
            }
            tracing::info!("{name}: stopping");
            stopping.cancel();
        }
    });
    Ok(asked)
}

/// Ends what the server has left: machines that must not outlive it, then every task.
pub(super) async fn end(app: &App, ephemeral: bool) {
    let machines = async {
        if let Err(error) = lifecycle::shutdown(app, ephemeral).await {
            tracing::error!("at the end: {}", error.log.unwrap_or(error.message));
        }
        app.machines.settle().await;
    };
    if tokio::time::timeout(MACHINES, machines).await.is_err() {
        tracing::warn!(
            "machines were still busy after {} s; the next start settles them",
            MACHINES.as_secs()
        );
    }
    app.tasks.close();
    if tokio::time::timeout(TASKS, app.tasks.wait()).await.is_err() {
        tracing::warn!("{} tasks were cut at the end", app.tasks.len());
    }
}
