//! Variables of a sandbox's commands, beside those that it was made with (miosa-python 2.19, miosa-go 2.0; miosa-cli for
//! `sync`).
//!
//! A change holds for commands that start after it, without a restart and after every one. Values never leave in an answer,
//! an event or the journal: a preview of the longer ones does. `PUT` adds to what is there: the command line sends one
//! variable at a time.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use miosa_agent::protocol::Environment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::sandboxes::awake::{awake, hold};
use super::sandboxes::{Sandbox, State as SandboxState, fields};
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Nothing, Route, Scoped, codes};

/// The routes. `repeatable`: setting a variable twice is setting it once.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sandboxes/{id}/env", list).family("env").scope("env:read"),
        Route::put("/sandboxes/{id}/env", set).family("env").scope("env:write").repeatable(),
        Route::delete("/sandboxes/{id}/env/{key}", delete)
            .family("env")
            .scope("env:write")
            .repeatable(),
        Route::post("/sandboxes/{id}/env/sync", sync).family("env").scope("env:write").repeatable(),
    ]
}

/// How a sandbox's variables differ from those that its machine was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Whether they do.
    #[serde(default)]
    pub made: bool,
    /// Those that are gone.
    #[serde(default)]
    pub removed: BTreeSet<String>,
    /// Those that the client calls secret.
    #[serde(default)]
    pub encrypted: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Set {
    vars: Vec<Variable>,
    /// The same as a map.
    env: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    #[serde(alias = "name")]
    key: String,
    /// Left out by miosa-go 2.0 where it is empty.
    #[serde(default)]
    value: String,
    encrypted: Option<bool>,
}

async fn list(sandbox: Scoped<Sandbox>) -> ApiResult<Answer> {
    show(&sandbox)
}

async fn set(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Set>,
) -> ApiResult<CommittedAnswer> {
    let whole = body.env.into_iter().map(|(key, value)| Variable { key, value, encrypted: None });
    let given: Vec<Variable> = body.vars.into_iter().chain(whole).collect();
    if given.is_empty() {
        return Err(ApiError::field("vars", "must name at least one variable"));
    }
    change(&app, exchange, &sandbox, move |sandbox| {
        for Variable { key, value, encrypted } in given {
            sandbox.env_changes.removed.remove(&key);
            match encrypted {
                Some(true) => drop(sandbox.env_changes.encrypted.insert(key.clone())),
                Some(false) => drop(sandbox.env_changes.encrypted.remove(&key)),
                None => {}
            }
            sandbox.env.insert(key, value);
        }
        fields::env(&sandbox.env)?;
        show(sandbox)
    })
    .await
}

async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    sandbox: Scoped<Sandbox>,
) -> ApiResult<CommittedAnswer> {
    let key = path.at(1).to_owned();
    change(&app, exchange, &sandbox, move |sandbox| {
        if sandbox.env.remove(&key).is_none() {
            let text = format!("This sandbox has no variable {key}.");
            return Err(ApiError::new(codes::NOT_FOUND, text));
        }
        sandbox.env_changes.encrypted.remove(&key);
        sandbox.env_changes.removed.insert(key);
        Ok(Answer::Empty)
    })
    .await
}

/// Changes the row and then tells the machine.
async fn change(
    app: &App,
    exchange: ExchangeRef,
    sandbox: &Sandbox,
    change: impl FnOnce(&mut Sandbox) -> ApiResult<Answer> + Send + 'static,
) -> ApiResult<CommittedAnswer> {
    let (org, id, now) = (sandbox.org, sandbox.id, app.clock.now(sandbox.org));
    let committed = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let sandbox = tx.get::<Sandbox>(org, id)?;
            let mut sandbox = sandbox.ok_or_else(|| ApiError::not_found("sandbox", id))?;
            if sandbox.state == SandboxState::Destroyed {
                let text = format!("Sandbox {id} has ended with its timeout.");
                return Err(ApiError::new(codes::RESOURCE_STATE, text));
            }
            let answer = change(&mut sandbox)?;
            sandbox.env_changes.made = true;
            sandbox.updated_at = now;
            tx.update(&sandbox)?;
            exchange.commit(tx, &answer)
        })
        .await?;
    push(app, org, id).await?;
    Ok(committed)
}

/// Pushes the variables into the machine once more; a sandbox that rests is woken, as by a command.
async fn sync(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let (org, id) = (sandbox.org, sandbox.id);
    push(&app, org, id).await?;
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let sandbox = tx.get::<Sandbox>(org, id)?;
            let sandbox = sandbox.ok_or_else(|| ApiError::not_found("sandbox", id))?;
            let keys: Vec<&String> = sandbox.env.keys().collect();
            exchange.commit(tx, &Answer::ok(&json!({ "status": "synced", "env_keys": keys }))?)
        })
        .await
}

/// Tells the machine what the store says now.
async fn push(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    let current = async {
        let row = app.store.read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from));
        let row = row.await?.ok_or_else(|| ApiError::not_found("sandbox", id))?;
        Ok::<_, ApiError>((environment(&row), row.runs()))
    };
    app.machines.furnish(id, current).await
}

/// Before machines that lived on are met again: what their commands get, where that has changed. For the lifecycle.
///
/// # Errors
/// None that a start would meet: no machine runs yet.
pub async fn remember(app: &App, rows: &[Sandbox]) -> ApiResult<()> {
    for row in rows.iter().filter(|row| row.env_changes.made) {
        let current = async { Ok::<_, ApiError>((environment(row), false)) };
        app.machines.furnish(row.id, current).await?;
    }
    Ok(())
}

fn environment(sandbox: &Sandbox) -> Environment {
    Environment { set: sandbox.env.clone(), unset: sandbox.env_changes.removed.clone() }
}

/// `data` is a list (miosa-elixir 1.1, miosa-cli), `env` beside it an object (miosa-go 2.0).
fn show(sandbox: &Sandbox) -> ApiResult<Answer> {
    let variables: Vec<Value> = sandbox
        .env
        .iter()
        .map(|(key, value)| {
            json!({
                "key": key, "name": key, "preview": preview(value),
                "encrypted": sandbox.env_changes.encrypted.contains(key),
            })
        })
        .collect();
    let previews: Map<String, Value> =
        sandbox.env.iter().map(|(key, value)| (key.clone(), preview(value).into())).collect();
    Ok(Answer::ok(&variables)?
        .beside("vars", variables.into())
        .beside("env", previews.into())
        .beside("total", sandbox.env.len().into()))
}

/// Enough to tell two values apart, too little to use one (miosa-cli: `sup...ret`).
fn preview(value: &str) -> String {
    if defect!(ValuesShown) {
        return value.to_owned();
    }
    const SHOWN: usize = 3;
    /// Of a shorter one too much would be seen.
    const SHORT: usize = 10;
    let letters: Vec<char> = value.chars().collect();
    match (letters.first_chunk::<SHOWN>(), letters.last_chunk::<SHOWN>()) {
        (Some(first), Some(last)) if letters.len() >= SHORT => {
            let text = |letters: &[char; SHOWN]| letters.iter().collect::<String>();
            format!("{}...{}", text(first), text(last))
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::preview;

    #[test]
    fn a_preview_shows_the_ends_of_long_values_only() {
        assert_eq!(preview("supersecret"), "sup...ret");
        assert_eq!(preview("geheim übermäßig"), "geh...ßig");
        for short in ["", "1", "password"] {
            assert_eq!(preview(short), "***");
        }
    }
}
