//! `?wait=`: hold the answer of a create until the sandbox is ready, or the wait is over (miosa-go 2.0).
//!
//! `wait=N` answers 201 in any case; a header says whether the sandbox is ready. `wait=true` answers 504 when it is not
//! ready in time. Either way it goes on being made, and from then on its record says how that ends.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::HeaderName;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::build::{build, created, log_late};
use crate::api::compute::sandboxes::show::Reader;
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::app::App;
use crate::http::answer::{Committed, CommittedAnswer};
use crate::http::exchange::ExchangeRef;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::Tx;

/// Says how a wait ended. Its name is chosen: miosa-go 2.0 reads one, but what it is called is not published.
pub const WAIT_OUTCOME: HeaderName = HeaderName::from_static("x-miosa-wait-outcome");

/// What `wait=N` may say, in seconds.
const SECONDS: std::ops::RangeInclusive<u64> = 2..=120;

/// The query of a create.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CreateQuery {
    wait: Option<String>,
}

/// What a create waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until commands can run, however long that takes.
    Running,
    /// Until it is ready, within bounds.
    Ready(Patience),
}

/// How long a create waits for readiness, and what it answers then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// 201 in any case.
    Seconds(u64),
    /// 504 when it is not ready.
    Default,
}

impl CreateQuery {
    /// What it says.
    ///
    /// # Errors
    /// 400 for what is neither true, false nor 2 to 120.
    pub fn wait(&self) -> ApiResult<Wait> {
        match self.wait.as_deref().unwrap_or_default() {
            "" | "false" | "False" => Ok(Wait::Running),
            "true" | "True" => Ok(Wait::Ready(Patience::Default)),
            text => match text.parse() {
                Ok(seconds) if SECONDS.contains(&seconds) => {
                    Ok(Wait::Ready(Patience::Seconds(seconds)))
                }
                _ => Err(ApiError::parameter("wait", "must be true, false, or 2 to 120 seconds")),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ready,
    Timeout,
}

/// The one answer of a create: whoever comes first, in a transaction, gives it.
#[derive(Clone)]
struct Reply {
    app: App,
    reader: Reader,
    exchange: ExchangeRef,
}

impl Reply {
    /// Answers, unless it is done already.
    fn give(
        &self,
        tx: &Tx<'_>,
        sandbox: &mut Sandbox,
        outcome: Outcome,
    ) -> ApiResult<Option<CommittedAnswer>> {
        if std::mem::replace(&mut sandbox.told, true) {
            return Ok(None);
        }
        let word = match outcome {
            Outcome::Ready => "ready",
            Outcome::Timeout => "timeout",
        };
        let answer = created(&self.app, sandbox, &self.reader)?;
        self.exchange.commit_with(tx, &answer, &[(WAIT_OUTCOME, word)]).map(Some)
    }
}

/// Makes the sandbox, in a task of its own, and answers when it is ready or the wait is over. What fails before that is
/// refused as without a wait, and leaves nothing.
///
/// # Errors
/// What the host says; 504 `SANDBOX_READY_TIMEOUT`.
pub async fn hold(
    app: &App,
    sandbox: Sandbox,
    patience: Patience,
    reader: Reader,
    exchange: ExchangeRef,
) -> ApiResult<Response> {
    let budget = match patience {
        Patience::Seconds(seconds) => Duration::from_secs(seconds),
        Patience::Default => app.config.patience.ready,
    };
    let deadline = Instant::now() + budget;
    let (org, id) = (sandbox.org, sandbox.id);
    let reply = Reply { app: app.clone(), reader, exchange };
    let (app_, reply_) = (app.clone(), reply.clone());
    let mut building = app.tasks.spawn(async move {
        let made = build(&app_, sandbox, move |tx, sandbox| {
            if sandbox.ready() { reply_.give(tx, sandbox, Outcome::Ready) } else { Ok(None) }
        });
        made.await.inspect_err(|error| log_late(id, error))
    });
    let in_time = tokio::select! {
        built = timeout_at(deadline, &mut building) => built.ok(),
        () = app.stopping.cancelled() => None,
    };
    let made = in_time.is_some();
    if let Some(built) = in_time {
        if let Some(answer) = joined(built)? {
            return Ok(answer.into_response());
        }
        if until_ready(app, org, id, deadline).await?
            && let Some(answer) = tell(&reply, org, id, Outcome::Ready).await?
        {
            return Ok(answer.into_response());
        }
    }
    match (tell(&reply, org, id, Outcome::Timeout).await?, patience) {
        (Some(answer), Patience::Seconds(_)) => Ok(answer.into_response()),
        (Some(_), Patience::Default) => Ok(not_ready(id, budget)),
        // It was removed while it was waited for.
        (None, _) if made => Err(ApiError::not_found("sandbox", id)),
        // It was made, or failed, in the very moment.
        (None, _) => last(building, id).await,
    }
}

/// What became of a create that ended while its wait did.
async fn last(
    building: JoinHandle<ApiResult<Option<CommittedAnswer>>>,
    id: Uuid,
) -> ApiResult<Response> {
    match joined(building.await)? {
        Some(answer) => Ok(answer.into_response()),
        None => Err(ApiError::not_found("sandbox", id)),
    }
}

fn joined<T>(built: Result<ApiResult<T>, tokio::task::JoinError>) -> ApiResult<T> {
    built.map_err(|error| ApiError::internal(format!("a create was cut off: {error}")))?
}

/// Answers from the row as it is now, unless that is done or the row is gone.
async fn tell(
    reply: &Reply,
    org: Uuid,
    id: Uuid,
    outcome: Outcome,
) -> ApiResult<Option<CommittedAnswer>> {
    let reply_ = reply.clone();
    reply
        .app
        .store
        .write(move |tx| -> ApiResult<_> {
            let Some(mut sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(None) };
            let answer = reply_.give(tx, &mut sandbox, outcome)?;
            tx.update(&sandbox)?;
            Ok(answer)
        })
        .await
}

/// Waits for the readiness of a sandbox that runs; `false` when the wait is over or it will not come.
async fn until_ready(app: &App, org: Uuid, id: Uuid, deadline: Instant) -> ApiResult<bool> {
    loop {
        // Listening before looking: what changes in between is heard.
        let changed = app.activity.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let sandbox = app
            .store
            .read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from))
            .await?;
        let Some(sandbox) = sandbox else { return Ok(false) };
        if sandbox.ready() {
            return Ok(true);
        }
        if matches!(sandbox.state, State::Error | State::Destroyed) {
            return Ok(false);
        }
        tokio::select! {
            heard = timeout_at(deadline, changed) => {
                if heard.is_err() {
                    return Ok(false);
                }
            }
            () = app.stopping.cancelled() => return Ok(false),
        }
    }
}

/// 504. Under an idempotency key the sandbox itself is kept as the answer: a repetition gets it instead of another one.
fn not_ready(id: Uuid, budget: Duration) -> Response {
    let error = ApiError::new(
        codes::SANDBOX_READY_TIMEOUT,
        format!(
            "Sandbox {id} was not ready within {} seconds. It goes on starting: GET it, or DELETE it.",
            budget.as_secs()
        ),
    );
    let mut response = error.details(json!({ "sandbox_id": id })).into_response();
    response.extensions_mut().insert(Committed);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_yes_a_no_or_two_minutes_at_most() {
        let read = |text: &str| CreateQuery { wait: Some(text.to_owned()) }.wait();
        assert_eq!(CreateQuery::default().wait().unwrap(), Wait::Running);
        assert_eq!(read("false").unwrap(), Wait::Running);
        assert_eq!(read("True").unwrap(), Wait::Ready(Patience::Default));
        assert_eq!(read("2").unwrap(), Wait::Ready(Patience::Seconds(2)));
        assert_eq!(read("120").unwrap(), Wait::Ready(Patience::Seconds(120)));
        for bad in ["1", "0", "121", "-3", "soon", "2.5"] {
            assert_eq!(read(bad).unwrap_err().code, codes::INVALID_PARAMETER, "{bad}");
        }
    }
}
