//! Names that keep a snapshot (miosa-python 2.19): one snapshot has one name at most, an existing name is never replaced,
//! and what a name keeps neither expires nor shows up in the history.
//!
//! What becomes of the snapshot when its name goes: one that was in the history before returns there (`released`); one that
//! was taken for the name goes with it (`deleted`), unless other snapshots stand on it (`kept`).

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::create::{Wish, take};
use super::removal::{clear, forget};
use super::{Snapshot, Status, check_state, dependents, fork};
use crate::api::compute::sandboxes::fork::Fork;
use crate::api::compute::sandboxes::refused_fields::refuse_unbuilt;
use crate::api::compute::sandboxes::show::Reader;
use crate::api::compute::sandboxes::{Sandbox, fields};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::Owner;
use crate::http::scoped::load;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Params, Route, Scoped, codes,
};
use crate::store::{Filter, Keys, Resource, Tx, View};

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let family = |route: Route| route.family("snapshots");
    let write = |route: Route| family(route).scope("sandboxes:write").repeatable();
    vec![
        family(Route::get("/named-snapshots", list)).scope("sandboxes:read"),
        write(Route::post("/named-snapshots", create)),
        family(Route::get("/named-snapshots/{name}", get)).scope("sandboxes:read"),
        write(Route::delete("/named-snapshots/{name}", delete)),
        family(Route::post("/named-snapshots/{name}/deploy", deploy))
            .scope("sandboxes:create")
            .repeatable(),
    ]
}

/// A name as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSnapshot {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The snapshot's.
    #[serde(flatten)]
    pub owner: Owner,
    /// The name, unique in the organization.
    pub name: String,
    /// What it keeps.
    pub snapshot_id: Uuid,
    /// Whether the snapshot was taken for this name.
    pub own: bool,
    /// When it was given.
    pub created_at: Timestamp,
}

impl Resource for NamedSnapshot {
    const KIND: &'static str = "named_snapshot";
    const PLURAL: &'static str = "named_snapshots";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.snapshot_id),
            name: Some(&self.name),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl NamedSnapshot {
    fn of(id: Uuid, name: String, snapshot: &Snapshot, own: bool, now: Timestamp) -> Self {
        Self {
            id,
            org: snapshot.org,
            owner: snapshot.owner.clone(),
            name,
            snapshot_id: snapshot.id,
            own,
            created_at: now,
        }
    }

    fn show(&self, snapshot: &Snapshot) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "status": "ready",
            "snapshot_id": self.snapshot_id,
            "snapshot": snapshot.show(),
            "resource": snapshot.resource(),
            "size_bytes": snapshot.size_bytes,
            "workspace_id": self.owner.workspace_id,
            "created_at": self.created_at,
            "updated_at": self.created_at,
        })
    }

    fn snapshot(&self, view: &View<'_>) -> ApiResult<Snapshot> {
        view.get::<Snapshot>(self.org, self.snapshot_id)?
            .ok_or_else(|| ApiError::internal(format!("name {} keeps nothing", self.id)))
    }
}

#[derive(Debug, Deserialize)]
struct Which {
    workspace_id: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    let asked = which.workspace_id.map(|text| {
        Uuid::parse_str(&text).map_err(|_| ApiError::parameter("workspace_id", "must be a UUID"))
    });
    let asked = asked.transpose()?;
    if let (Some(asked), Some(bound)) = (asked, caller.bound_workspace)
        && asked != bound
    {
        return Ok(Answer::whole(Vec::new(), NamedSnapshot::PLURAL));
    }
    let workspace = asked.or(caller.bound_workspace);
    let filter = Filter { org: caller.org, workspace, ..Filter::default() };
    let listing = pages.read::<NamedSnapshot>(&app.store, filter, &exchange).await?;
    let names = listing.items.clone();
    let snapshots = app
        .store
        .read(move |view| {
            names.iter().map(|name| name.snapshot(view)).collect::<ApiResult<Vec<_>>>()
        })
        .await?;
    let mut snapshots = snapshots.into_iter();
    let shown: Vec<Option<Value>> = listing
        .items
        .iter()
        .map(|name| snapshots.next().map(|snapshot| name.show(&snapshot)))
        .collect();
    let mut shown = shown.into_iter();
    let mut answer = Answer::list(listing, |_| Value::Null)?;
    if let Answer::List { items, .. } = &mut answer {
        for item in items {
            *item = shown.next().flatten().unwrap_or_default();
        }
    }
    Ok(answer)
}

async fn get(State(app): State<App>, named: Scoped<NamedSnapshot>) -> ApiResult<Answer> {
    let (shown, found) = app
        .store
        .read(move |view| -> ApiResult<_> {
            let snapshot = named.snapshot(view)?;
            let mut found = dependents::all(view, &snapshot)?;
            found.retain(|dependent| dependent["type"] != "named_snapshot");
            Ok((named.show(&snapshot), found))
        })
        .await?;
    Ok(Answer::ok(&shown)?.beside("dependents", found.into()))
}

#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    snapshot_id: Option<String>,
    sandbox_id: Option<String>,
    computer_id: Option<Value>,
    workspace_id: Option<Uuid>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    fields::name(&body.name)?;
    if body.name.contains('/') {
        return Err(ApiError::field("name", "must not have `/` in it"));
    }
    refuse_unbuilt(&[("computer_id", &body.computer_id)])?;
    let right_place = move |owner: &Owner| match body.workspace_id {
        Some(asked) if asked != owner.workspace_id => {
            Err(ApiError::field("workspace_id", "is not the workspace of what is to be named"))
        }
        _ => Ok(()),
    };
    let (name, id) = (body.name, app.ids.next());
    match (body.snapshot_id, body.sandbox_id) {
        (Some(snapshot), None) => {
            let now = app.clock.now(caller.org);
            app.store
                .write(move |tx| -> ApiResult<CommittedAnswer> {
                    let snapshot = load::<Snapshot>(tx, &caller, &snapshot, None)?;
                    right_place(&snapshot.owner)?;
                    let (named, snapshot) = pin(tx, (id, name), snapshot, now)?;
                    exchange.commit(tx, &created(&named, &snapshot)?)
                })
                .await
        }
        (None, Some(sandbox)) => {
            let read = app.store.read(move |view| load::<Sandbox>(view, &caller, &sandbox, None));
            let sandbox = read.await?;
            right_place(&sandbox.owner)?;
            if !sandbox.state.is_transitional() && check_state(&sandbox).is_err() {
                return Err(ApiError::new(
                    codes::NO_SNAPSHOT_AVAILABLE,
                    format!(
                        "Sandbox {} is {}: nothing can be kept of it.",
                        sandbox.id,
                        sandbox.state.as_str()
                    ),
                ));
            }
            let operation = exchange.operation();
            let wish =
                Wish { comment: Some(name.clone()), name: Some(name.clone()), ..Wish::default() };
            take(&app, &sandbox, operation, wish, move |tx, snapshot, now| {
                let named = NamedSnapshot::of(id, name, snapshot, true, now);
                tx.insert(&named)?;
                exchange.commit(tx, &created(&named, snapshot)?)
            })
            .await
        }
        _ => Err(ApiError::field("snapshot_id", "give one of snapshot_id and sandbox_id")),
    }
}

fn created(named: &NamedSnapshot, snapshot: &Snapshot) -> ApiResult<Answer> {
    let location = format!("/named-snapshots/{}", named.id);
    Answer::created(&named.show(snapshot), location)
}

/// Gives a name to a snapshot of the history.
fn pin(
    tx: &Tx<'_>,
    (id, name): (Uuid, String),
    mut snapshot: Snapshot,
    now: Timestamp,
) -> ApiResult<(NamedSnapshot, Snapshot)> {
    if snapshot.status != Status::Ready {
        return Err(ApiError::new(
            codes::SNAPSHOT_NOT_READY,
            format!("The snapshot is {}.", snapshot.status.as_str()),
        ));
    }
    if let Some(known) = dependents::name(tx, &snapshot)? {
        return Err(ApiError::new(
            codes::SNAPSHOT_ALREADY_NAMED,
            format!("This snapshot has the name {:?} already.", known.name),
        ));
    }
    let named = NamedSnapshot::of(id, name, &snapshot, false, now);
    tx.insert(&named)?;
    snapshot.pinned = true;
    snapshot.updated_at = now;
    tx.update(&snapshot)?;
    Ok((named, snapshot))
}

async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    named: Scoped<NamedSnapshot>,
) -> ApiResult<CommittedAnswer> {
    let (app_, now) = (app.clone(), app.clock.now(named.org));
    let (answer, gone) = app
        .store
        .write(move |tx| -> ApiResult<(CommittedAnswer, Option<Uuid>)> {
            if !tx.remove::<NamedSnapshot>(named.org, named.id)? {
                return Err(ApiError::not_found(NamedSnapshot::KIND, &named.name));
            }
            let mut snapshot = named.snapshot(tx)?;
            let stood_on = !dependents::children(tx, &snapshot)?.is_empty();
            let outcome = match (named.own, stood_on) {
                (true, false) => "deleted",
                (true, true) => "kept",
                (false, _) => "released",
            };
            if outcome == "deleted" {
                forget(tx, &app_, &snapshot, now)?;
            } else {
                snapshot.pinned = false;
                // Its time begins anew: it was nobody's to let go meanwhile.
                let seconds = snapshot.retention_seconds.filter(|_| !snapshot.keep);
                snapshot.expires_at = seconds.map(|seconds| now.plus_seconds(seconds as i64));
                snapshot.updated_at = now;
                tx.update(&snapshot)?;
            }
            let answer = json!({
                "id": named.id, "name": named.name, "snapshot_id": snapshot.id, "outcome": outcome,
            });
            let gone = (outcome == "deleted").then_some(snapshot.id);
            Ok((exchange.commit(tx, &Answer::ok(&answer)?)?, gone))
        })
        .await?;
    app.due.notify_one();
    app.emitted.notify_waiters();
    clear(&app, gone.as_slice()).await;
    Ok(answer)
}

async fn deploy(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    named: Scoped<NamedSnapshot>,
    Input(body): Input<Fork>,
) -> ApiResult<CommittedAnswer> {
    let snapshot = app.store.read(move |view| named.snapshot(view)).await?;
    fork::another(&app, caller, (exchange, reader), snapshot, body).await
}
