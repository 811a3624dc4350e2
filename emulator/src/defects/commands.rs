//! Commands that get what is another's, wait for others, or take their sandbox with them; and a pause that is told of.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use miosa_agent::protocol::Exec;
use tokio::sync::MutexGuard;
use uuid::Uuid;

use crate::api::compute::sandboxes::{Sandbox, State};
use crate::app::App;
use crate::http::{ApiError, ApiResult};

type Variables = BTreeMap<String, String>;

static LAST: LazyLock<Mutex<(Uuid, Variables)>> = LazyLock::new(Mutex::default);
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The command with the variables of the sandbox that ran one before, unless it is the same.
pub fn leak(sandbox: &Sandbox, exec: Exec) -> Exec {
    let own: Variables = sandbox.env.clone().into_iter().chain(exec.env.clone()).collect();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, variables) = std::mem::replace(&mut *last, (sandbox.id, own.clone()));
    if before == sandbox.id {
        return exec;
    }
    let strange = variables.into_iter().filter(|(name, _)| !own.contains_key(name));
    Exec { env: exec.env.clone().into_iter().chain(strange).collect(), ..exec }
}

/// The one turn that all commands share.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Whether the sandbox is just being paused.
///
/// # Errors
/// When the store fails.
pub async fn pauses(app: &App, org: Uuid, id: Uuid) -> ApiResult<bool> {
    let row = app.store.read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from));
    Ok(row.await?.is_some_and(|sandbox| sandbox.state == State::Pausing))
}

/// Stops the machine of a stream that ends before its end.
struct Leaver(App, Uuid, bool);

impl Drop for Leaver {
    fn drop(&mut self) {
        let Self(app, id, whole) = self;
        if !*whole {
            let (app, id) = (app.clone(), *id);
            app.clone().tasks.spawn(async move { drop(app.machines.stop(id).await) });
        }
    }
}

/// The events; a reader that goes away before their end stops the sandbox.
pub fn stopping<S>(
    app: &App,
    id: Uuid,
    events: S,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let leaver = Leaver(app.clone(), id, false);
    stream::unfold((Box::pin(events), leaver), |(mut events, mut leaver)| async move {
        let event = events.next().await;
        leaver.2 = event.is_none();
        Some((event?, (events, leaver)))
    })
}
