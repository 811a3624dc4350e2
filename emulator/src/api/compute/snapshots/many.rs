//! `POST /snapshots/delete`: several, or all of one machine's history. Each is judged on its own; a blocked one never stops
//! the others (miosa-python 2.19).

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::record::PINNED;
use super::removal::{clear, forget};
use super::{Snapshot, Status, dependents};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::{Envelope, ExchangeRef};
use crate::http::scoped::visible;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, codes};
use crate::store::{Filter, Paging, Tx};

/// How many one request may name, or sweep.
const MOST: u32 = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    ids: Option<Vec<String>>,
    resource_id: Option<String>,
    all: Option<bool>,
    /// The `resource_id` once more, when all of its history is to go.
    confirm: Option<String>,
}

enum Chosen {
    These(Vec<String>),
    AllOf(Uuid),
}

impl Which {
    fn check(self) -> ApiResult<Chosen> {
        match (self.ids, self.resource_id, self.all.unwrap_or(false)) {
            (Some(ids), None, false) if ids.len() > MOST as usize => {
                Err(ApiError::field("ids", format!("must be at most {MOST}")))
            }
            (Some(ids), None, false) if !ids.is_empty() => Ok(Chosen::These(ids)),
            (None, Some(machine), true) => {
                if self.confirm.as_ref() != Some(&machine) {
                    return Err(ApiError::field("confirm", "must be the resource_id once more"));
                }
                let id = Uuid::parse_str(&machine)
                    .map_err(|_| ApiError::field("resource_id", "must be a UUID"))?;
                Ok(Chosen::AllOf(id))
            }
            (None, Some(_), false) => {
                Err(ApiError::field("all", "must be true to delete a machine's whole history"))
            }
            (Some(_), Some(_), _) => {
                Err(ApiError::field("ids", "cannot be given together with resource_id"))
            }
            _ => Err(ApiError::field("ids", "must name snapshots, or give resource_id and all")),
        }
    }
}

/// What became of each.
#[derive(Default)]
struct Outcome {
    deleted: Vec<Uuid>,
    blocked: Vec<Value>,
    missing: Vec<String>,
}

/// The handler.
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Which>,
) -> ApiResult<CommittedAnswer> {
    let chosen = body.check()?;
    let app_ = app.clone();
    let (answer, deleted) = app
        .store
        .write(move |tx| -> ApiResult<(CommittedAnswer, Vec<Uuid>)> {
            let outcome = judge(tx, &app_, &caller, chosen)?;
            let deleted = outcome.deleted.clone();
            Ok((exchange.commit(tx, &answer(outcome, &exchange)?)?, deleted))
        })
        .await?;
    app.emitted.notify_waiters();
    clear(&app, &deleted).await;
    Ok(answer)
}

fn judge(tx: &Tx<'_>, app: &App, caller: &Caller, chosen: Chosen) -> ApiResult<Outcome> {
    let mut outcome = Outcome::default();
    let mut left: Vec<Snapshot> = Vec::new();
    match chosen {
        Chosen::These(ids) => {
            for named in ids {
                let found = match Uuid::parse_str(&named) {
                    Ok(id) => tx.get::<Snapshot>(caller.org, id)?,
                    Err(_) => None,
                };
                match found.filter(|snapshot| visible(snapshot, caller)) {
                    Some(snapshot) if left.iter().any(|known| known.id == snapshot.id) => {}
                    Some(snapshot) => left.push(snapshot),
                    None => outcome.missing.push(named),
                }
            }
        }
        Chosen::AllOf(machine) => {
            let filter = Filter {
                org: caller.org,
                workspace: caller.bound_workspace,
                parent: Some(machine),
                not_states: vec![PINNED],
                ..Filter::default()
            };
            let mut before = None;
            loop {
                let part = tx.page::<Snapshot>(&filter, Paging::Cursor { before, size: MOST })?;
                left.extend(part.items);
                before = part.next_cursor;
                if before.is_none() {
                    break;
                }
            }
        }
    }
    // One that blocks another may be among them: until a round removes none.
    loop {
        let mut blocked = Vec::new();
        let before = left.len();
        for snapshot in left {
            let dependents = dependents::all(tx, &snapshot)?;
            if dependents.is_empty() && snapshot.status != Status::Creating {
                forget(tx, app, &snapshot, app.clock.now(snapshot.org))?;
                outcome.deleted.push(snapshot.id);
            } else {
                blocked.push((snapshot, dependents));
            }
        }
        if blocked.len() == before || blocked.is_empty() {
            outcome.blocked.extend(blocked.into_iter().map(|(snapshot, dependents)| {
                let code = match snapshot.status {
                    Status::Creating => codes::SNAPSHOT_NOT_READY,
                    _ => codes::SNAPSHOT_IN_USE,
                };
                json!({ "id": snapshot.id, "code": code.name, "dependents": dependents })
            }));
            return Ok(outcome);
        }
        left = blocked.into_iter().map(|(snapshot, _)| snapshot).collect();
    }
}

/// 200; when all were blocked the error that one would have been, with the result beside it (miosa-go 2.0).
fn answer(outcome: Outcome, exchange: &ExchangeRef) -> ApiResult<Answer> {
    let stuck = outcome.deleted.is_empty() && !outcome.blocked.is_empty();
    let result = json!({
        "deleted": outcome.deleted,
        "deleted_count": outcome.deleted.len(),
        "blocked": outcome.blocked,
        "not_found": outcome.missing,
    });
    let mut answer = Answer::ok(&result)?;
    if stuck {
        let error = ApiError::new(
            codes::SNAPSHOT_IN_USE,
            "Something still needs each of these snapshots; nothing was changed.",
        )
        .details(result);
        let documented = exchange.envelope == Envelope::Documented;
        let body = error.body(&exchange.request_id, documented);
        for (name, value) in body.as_object().into_iter().flatten() {
            answer = answer.beside(name, value.clone());
        }
        if let Answer::One { status, .. } = &mut answer {
            *status = StatusCode::CONFLICT;
        }
    }
    Ok(answer)
}
