//! Previews: a URL for a port of a sandbox (`develop/previews`; miosa-python 2.19, miosa-go 2.0).
//!
//! Chosen here: a preview is public unless asked otherwise (miosa-python 2.19; the newest command line says private),
//! since the emulator listens on loopback and the SDK's quickstart prints a URL to open. The port need not listen yet
//! (the same quickstart; the newest command line wants it to): `ready` and `route_status` say whether it does. A port has one
//! preview: asking again for the same one answers it with 200. A preview that is deleted is not there any more.

mod probe;
pub mod record;
mod share;
pub mod show;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::api::platform::limits;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, codes, validation,
};
use crate::proxy::address::ClientHost;
use crate::proxy::ports::{Shown, Wanted};
use crate::store::outbox::Event;
use crate::store::{Filter, Paging, StoreError, Tx, View};

pub use record::{Preview, Visibility};
use show::{Listening, show};

/// Every route of the family. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/previews", create)
            .family("previews")
            .scope("previews:write")
            .repeatable(),
        Route::get("/sandboxes/{id}/previews", list).family("previews").scope("previews:read"),
        Route::get("/sandboxes/{id}/previews/{preview_id}", get)
            .family("previews")
            .scope("previews:read"),
        Route::delete("/sandboxes/{id}/previews/{preview_id}", delete)
            .family("previews")
            .scope("previews:write")
            .repeatable(),
        Route::get("/sandboxes/{id}/previews/{preview_id}/status", probe::status)
            .family("previews")
            .scope("previews:read"),
        Route::post("/sandboxes/{id}/previews/{preview_id}/share", share::create)
            .family("previews")
            .scope("previews:write")
            .repeatable(),
        Route::delete("/sandboxes/{id}/previews/{preview_id}/share", share::revoke)
            .family("previews")
            .scope("previews:write")
            .repeatable(),
        Route::post("/sandboxes/{id}/expose", expose)
            .family("previews")
            .scope("previews:write")
            .repeatable(),
    ]
}

/// A page that this many previews do not fill: a sandbox may have no more.
const ALL: Paging = Paging::Number { page: 1, size: 200 };

/// The port that a sandbox without a better suggestion is asked to serve on.
const USUAL_PORT: u16 = 3000;

/// The longest life of a preview or a share token: 30 days.
const MAX_TTL: i64 = 30 * 24 * 3600;

/// Seconds, in each spelling that clients use.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(clippy::struct_field_names)] // the names are the wire's
struct Ttl {
    ttl_seconds: Option<i64>,
    expires_in_sec: Option<i64>,
    expires_in: Option<i64>,
}

impl Ttl {
    fn seconds(&self) -> ApiResult<Option<i64>> {
        for (field, value) in [
            ("ttl_seconds", self.ttl_seconds),
            ("expires_in_sec", self.expires_in_sec),
            ("expires_in", self.expires_in),
        ] {
            if let Some(seconds) = value {
                if !(1..=MAX_TTL).contains(&seconds) {
                    return Err(ApiError::field(field, format!("must be 1 to {MAX_TTL} seconds")));
                }
                return Ok(Some(seconds));
            }
        }
        Ok(None)
    }
}

#[derive(Debug, Deserialize)]
struct Create {
    port: i64,
    name: Option<String>,
    label: Option<String>,
    visibility: Option<String>,
    #[serde(flatten)]
    ttl: Ttl,
    metadata: Option<Map<String, Value>>,
    external_workspace_id: Option<String>,
    external_user_id: Option<String>,
    external_project_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Expose {
    port: Option<i64>,
}

/// A create that has passed its checks.
struct Plan {
    port: u16,
    name: Option<String>,
    visibility: Visibility,
    ttl: Option<i64>,
    metadata: Map<String, Value>,
    external: [Option<String>; 3],
}

impl Plan {
    fn public(port: u16) -> Self {
        Self {
            port,
            name: None,
            visibility: Visibility::Public,
            ttl: None,
            metadata: Map::new(),
            external: [None, None, None],
        }
    }
}

impl Create {
    fn plan(self) -> ApiResult<Plan> {
        let visibility = match self.visibility.as_deref() {
            None | Some("public") => Visibility::Public,
            Some("private") => Visibility::Private,
            Some(_) => return Err(ApiError::field("visibility", "must be public or private")),
        };
        let name = self.name.or(self.label);
        if let Some(name) = &name {
            validation::text("name", name, 1, 255)?;
        }
        let external =
            [self.external_workspace_id, self.external_user_id, self.external_project_id];
        for value in external.iter().flatten() {
            validation::text("external_*_id", value, 1, 255)?;
        }
        Ok(Plan {
            port: port(self.port)?,
            name,
            visibility,
            ttl: self.ttl.seconds()?,
            metadata: self.metadata.unwrap_or_default(),
            external,
        })
    }
}

fn port(port: i64) -> ApiResult<u16> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::field("port", "must be 1 to 65535"))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    make(&app, &caller, host, sandbox.0, body.plan()?, move |tx, answer| {
        exchange.commit(tx, answer)
    })
    .await
}

/// `expose` is a public preview of the port under an older name, with its URL at the top (miosa-python 2.19,
/// ComputeSDK).
async fn expose(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Expose>,
) -> ApiResult<CommittedAnswer> {
    let asked = body.port.map(port).transpose()?;
    let port = asked.unwrap_or_else(|| usual_port(&sandbox));
    let plan = Plan::public(port);
    make(&app, &caller, host, sandbox.0, plan, move |tx, answer| exchange.commit(tx, answer)).await
}

/// The port that a sandbox of this template usually serves on.
pub fn usual_port(sandbox: &Sandbox) -> u16 {
    sandbox.usual_port().unwrap_or(USUAL_PORT)
}

/// Opens a public preview of a port, or finds the one that is there; answers its record.
///
/// # Errors
/// 409 when the sandbox has no ports any more, or the port has a private preview.
pub async fn open(
    app: &App,
    caller: &Caller,
    host: String,
    sandbox: Sandbox,
    port: u16,
) -> ApiResult<Value> {
    make(app, caller, host, sandbox, Plan::public(port), |_, answer| match answer {
        Answer::One { value, .. } => Ok(value.clone()),
        _ => Err(ApiError::internal("a preview is no object")),
    })
    .await
}

async fn make<T: Send + 'static>(
    app: &App,
    caller: &Caller,
    host: String,
    sandbox: Sandbox,
    plan: Plan,
    commit: impl FnOnce(&Tx<'_>, &Answer) -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    if matches!(sandbox.state, SandboxState::Destroyed | SandboxState::Error) {
        return Err(ApiError::new(
            codes::SANDBOX_NOT_RUNNING,
            format!("The sandbox is {}; its ports are gone.", sandbox.state.as_str()),
        ));
    }
    let (org, owner) = (sandbox.org, sandbox.owner.clone());
    app.store.read(move |view| limits::forward(view, org, &owner)).await?;
    let now = app.clock.now(caller.org);
    let place = (sandbox.id, plan.port);
    let shown = app.previews.open(app, &sandbox, plan.port, Wanted::default())?;
    let listening = probe::listening(app, &sandbox).await;
    let (id, event) = (app.ids.next(), app.ids.next());
    let (owner_id, addresses) = (caller.user_id, app.clone());
    let made = app
        .store
        .write(move |tx| -> ApiResult<_> {
            // It may have been removed since it was looked at.
            let lives = tx.get::<Sandbox>(sandbox.org, sandbox.id)?;
            if lives.is_none_or(|sandbox| sandbox.state == SandboxState::Destroyed) {
                return Err(ApiError::not_found("sandbox", sandbox.id));
            }
            let url = crate::proxy::address::url(&addresses, &host, &shown);
            let view = |preview: &Preview| show(preview, &url, now, listening.of(preview.port));
            if let Some(known) = of_port(tx, &sandbox, plan.port)?.filter(|p| !p.expired(now)) {
                if known.visibility != plan.visibility && !defect!(PreviewFlips) {
                    let (port, visibility) = (known.port, known.visibility.as_str());
                    return Err(ApiError::new(
                        codes::RESOURCE_STATE,
                        format!("Port {port} has a {visibility} preview already. Delete it first."),
                    ));
                }
                let answer = Answer::ok(&view(&known))?;
                return Ok((commit(tx, &answer)?, known.id));
            }
            // One that has expired makes room.
            if let Some(expired) = of_port(tx, &sandbox, plan.port)? {
                tx.remove::<Preview>(sandbox.org, expired.id)?;
            }
            let id = defect!(PreviewIdAgain, crate::defects::names::id_of_port(place), id);
            let preview = record::new(id, &sandbox, owner_id, plan, &shown, now);
            tx.insert(&preview)?;
            if listening.of(preview.port) == Listening::Yes {
                emit_ready(tx, event, &preview, &url)?;
            }
            let location = format!("/sandboxes/{}/previews/{id}", sandbox.id);
            let answer = Answer::created(&view(&preview), location)?;
            Ok((commit(tx, &answer)?, id))
        })
        .await;
    let (committed, preview) = made.inspect_err(|error| {
        if error.code == codes::not_found("sandbox") {
            app.previews.close(place.0);
        }
    })?;
    app.previews.assign(place, preview);
    Ok(committed)
}

/// The address of the sandbox's own server, for a token to be added. Where it has no preview yet, one of its usual port is
/// opened: a private one, since it is for who has the token.
///
/// # Errors
/// 409 when its ports are gone.
pub async fn main_url(
    app: &App,
    caller: &Caller,
    host: &str,
    sandbox: &Sandbox,
) -> ApiResult<String> {
    if crate::proxy::sandbox_url(app, host, sandbox).is_none() {
        let plan = Plan { visibility: Visibility::Private, ..Plan::public(usual_port(sandbox)) };
        make(app, caller, host.to_owned(), sandbox.clone(), plan, |_, _| Ok(())).await?;
    }
    crate::proxy::sandbox_url(app, host, sandbox)
        .ok_or_else(|| ApiError::internal("a preview that was opened has no address"))
}

/// Its name and data: `api-reference/events`.
fn emit_ready(tx: &Tx<'_>, id: uuid::Uuid, preview: &Preview, url: &str) -> Result<(), StoreError> {
    tx.emit(&Event {
        seq: 0,
        id,
        org: preview.org,
        workspace: Some(preview.owner.workspace_id),
        kind: "sandbox.preview.ready".into(),
        subject_kind: "sandbox".into(),
        subject_id: preview.sandbox_id,
        at: preview.created_at,
        data: serde_json::json!({ "preview_id": preview.id, "url": url, "port": preview.port }),
    })
    .map(drop)
}

/// The preview of a port; there is one at most.
fn of_port(view: &View<'_>, sandbox: &Sandbox, port: u16) -> Result<Option<Preview>, StoreError> {
    let filter = Filter { org: sandbox.org, parent: Some(sandbox.id), ..Filter::default() };
    Ok(view.page::<Preview>(&filter, ALL)?.items.into_iter().find(|preview| preview.port == port))
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    pages: Pages,
) -> ApiResult<Answer> {
    let now = app.clock.now(sandbox.org);
    let filter = Filter { org: sandbox.org, parent: Some(sandbox.id), ..Filter::default() };
    let listing = pages.read::<Preview>(&app.store, filter, &exchange).await?;
    let listening = probe::listening(&app, &sandbox).await;
    Answer::list(listing, |preview| {
        show(&preview, &url(&app, &host, &preview), now, listening.of(preview.port))
    })
}

async fn get(
    State(app): State<App>,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    preview: Scoped<Preview, 1>,
) -> ApiResult<Answer> {
    let preview = of(&sandbox, preview)?;
    let listening = probe::listening(&app, &sandbox).await;
    let now = app.clock.now(sandbox.org);
    Answer::ok(&show(&preview, &url(&app, &host, &preview), now, listening.of(preview.port)))
}

async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    preview: Scoped<Preview, 1>,
) -> ApiResult<CommittedAnswer> {
    let preview = of(&sandbox, preview)?;
    let (org, id) = (preview.org, preview.id);
    let committed = app
        .store
        .write(move |tx| -> ApiResult<_> {
            if !tx.remove::<Preview>(org, id)? {
                return Err(ApiError::not_found("preview", id));
            }
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    app.previews.release((sandbox.id, preview.port), id);
    Ok(committed)
}

/// A preview of this sandbox: where the path names the sandbox by its slug, nothing else has checked it.
fn of(sandbox: &Sandbox, preview: Scoped<Preview, 1>) -> ApiResult<Preview> {
    if preview.sandbox_id == sandbox.id {
        Ok(preview.0)
    } else {
        Err(ApiError::not_found("preview", preview.id))
    }
}

/// The preview's address for a client that reached us under `host`.
fn url(app: &App, host: &str, preview: &Preview) -> String {
    let shown = app.previews.shown((preview.sandbox_id, preview.port)).unwrap_or_else(|| Shown {
        label: preview.label.clone(),
        port: preview.port,
        loopback: preview.loopback_port,
    });
    crate::proxy::address::url(app, host, &shown)
}
