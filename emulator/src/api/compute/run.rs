//! `POST /sandboxes/run`: a sandbox and its first command in one request (miosa-cli-go, miosa-python 2.19).
//!
//! The command is checked before anything is made. One that fails is an answer with its exit code; one that cannot be
//! started, or whose end nobody saw, is refused, and its sandbox is removed: nobody would know of it.

use axum::extract::State;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::exec::broken;
use super::exec::outcome::Outcome;
use super::exec::request::{Checked, Command, Limits};
use super::exec::session::Session;
use super::sandboxes::awake::{awake, hold};
use super::sandboxes::create::build::{build, created};
use super::sandboxes::create::intended;
use super::sandboxes::create::request::Create;
use super::sandboxes::show::Reader;
use super::sandboxes::{Sandbox, power};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{ApiError, ApiResult, Caller, Input, Route, validation};

/// Seconds, as for a command of its own.
const LIMITS: Limits = Limits { default: 60, most: 600 };

/// The route.
pub fn routes() -> Vec<Route> {
    vec![Route::post("/sandboxes/run", run).family("sandboxes").scope("sandboxes:create")]
}

async fn run(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> ApiResult<CommittedAnswer> {
    let (create, command) = parts(&exchange, &body)?;
    let command = command.check(&LIMITS, &headers)?;
    let intended = intended(&app, &caller, create, exchange.operation()).await?;
    let key = (intended.org, intended.id);
    let sandbox = build(&app, intended, |_, sandbox| Ok(sandbox.clone())).await?;
    let exec = app.ids.next();
    let outcome = match first(&app, &sandbox, exec, command).await {
        Ok(outcome) => outcome,
        Err(error) => {
            if let Err(left) = power::remove(&app, key, |_| Ok(())).await {
                tracing::warn!(sandbox = %key.1, "it is left of a run: {:?}", left.log);
            }
            return Err(broken(&exchange, error));
        }
    };
    let said = outcome.show(exec);
    let app_ = app.clone();
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let sandbox = tx.get::<Sandbox>(key.0, key.1)?;
            let sandbox = sandbox.ok_or_else(|| ApiError::not_found("sandbox", key.1))?;
            // Beside the record (miosa-cli-go) and in it: miosa-python 2.19 hands out the record alone.
            let answer = created(&app_, &sandbox, &reader)?;
            exchange.commit(tx, &answer.within("exec", said.clone()).beside("exec", said))
        })
        .await
}

async fn first(app: &App, sandbox: &Sandbox, exec: Uuid, command: Checked) -> ApiResult<Outcome> {
    let agent = awake(app, sandbox).await?;
    let _active = hold(app, sandbox);
    Outcome::collect(Session::start(app, sandbox, &agent, exec, command).await?).await
}

/// The create and the command of one body; a field that neither knows is remembered.
fn parts(exchange: &ExchangeRef, body: &Value) -> ApiResult<(Create, Command)> {
    let text = body.to_string();
    let (mut of_create, mut of_command) = (Vec::new(), Vec::new());
    let create = part(&text, &mut of_create);
    let command = part(&text, &mut of_command);
    of_create.retain(|field| of_command.contains(field));
    exchange.note(|notes| notes.unread.extend(of_create));
    Ok((create?, command?))
}

fn part<T: DeserializeOwned>(text: &str, unread: &mut Vec<String>) -> ApiResult<T> {
    validation::parse(text.as_bytes(), unread)
}
