//! `POST /sandboxes`: read the body, decide what is asked for, make it, answer when commands can run, or with `wait`
//! when it is ready or the wait is over.
//!
//! What can be asked for is [`request`]; from the [`Plan`] on, a fork goes the same way.

pub mod build;
pub mod request;
pub mod template;
pub mod wait;

use std::collections::BTreeMap;

use axum::extract::State as Extracted;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::build::make;
use self::request::Create;
use self::wait::{CreateQuery, Wait};
use super::show::Reader;
use super::startup::Startup;
use super::{Sandbox, State, snapshot_base};
use crate::api::compute::env::Changes;
use crate::api::compute::services;
use crate::api::compute::templates::{FromTemplate, origin};
use crate::api::platform::{limits, ownership};
use crate::app::App;
use crate::defects::defect;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::Owner;
use crate::http::{ApiResult, Caller, Input, Params};
use crate::machines::{Base, Enforced, HostKind, Shape};

/// What a create, a fork or a restore asks for, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// See [`Sandbox`].
    pub name: Option<String>,
    /// See [`Sandbox`].
    pub slug: Option<String>,
    /// See [`Sandbox`].
    pub tags: Vec<String>,
    /// See [`Sandbox`].
    pub metadata: Map<String, Value>,
    /// See [`Sandbox`].
    pub template_id: String,
    /// See [`Sandbox`].
    pub base: Base,
    /// See [`Sandbox`].
    pub from_template: Option<FromTemplate>,
    /// See [`Sandbox`].
    pub size: String,
    /// See [`Sandbox`].
    pub shape: Shape,
    /// See [`Sandbox`].
    pub timeout_sec: u32,
    /// See [`Sandbox`].
    pub idle_timeout_sec: u32,
    /// See [`Sandbox`].
    pub persistent: bool,
    /// See [`Sandbox`].
    pub always_on: bool,
    /// See [`Sandbox`].
    pub env: BTreeMap<String, String>,
    /// See [`Sandbox`].
    pub region: Option<String>,
    /// See [`Sandbox`].
    pub boot_path: &'static str,
    /// What starts with it.
    pub services: Vec<services::request::Wanted>,
    /// See [`Sandbox`].
    pub startup: Startup,
}

/// The handler.
pub async fn create(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    Params(query): Params<CreateQuery>,
    Input(body): Input<Create>,
) -> ApiResult<Response> {
    let wait = query.wait()?;
    let sandbox = intended(&app, &caller, body, exchange.operation()).await?;
    match wait {
        Wait::Running => {
            make(&app, sandbox, reader, exchange).await.map(IntoResponse::into_response)
        }
        Wait::Ready(patience) => wait::hold(&app, sandbox, patience, reader, exchange).await,
    }
}

/// Writes the row of the sandbox that a body asks for.
///
/// # Errors
/// What is wrong with the body, 404 for what it names and is not there, 409 for a name that is taken.
pub async fn intended(
    app: &App,
    caller: &Caller,
    body: Create,
    operation: Uuid,
) -> ApiResult<Sandbox> {
    let selectors = body.selectors();
    selectors.validate()?;
    let snapshot = body.snapshot();
    let (app_, caller) = (app.clone(), caller.clone());
    app.store
        .write(move |tx| {
            // In here, so that what it starts from is there when its row is.
            let origin = origin::of(tx, (caller.org, caller.bound_workspace), body.template()?)?;
            let mut plan = body.plan(&origin)?;
            if let Some(named) = snapshot {
                plan.base = snapshot_base::of(tx, &caller, &named)?;
                plan.boot_path = "snapshot";
            }
            let owner = ownership::resolve(tx, &app_, &caller, &selectors)?;
            intend(tx, &app_, plan, owner, (caller.org, caller.user_id), operation)
        })
        .await
}

/// Writes the row of a sandbox that is about to be made, if there may be one more.
pub fn intend(
    tx: &crate::store::Tx<'_>,
    app: &App,
    plan: Plan,
    owner: Owner,
    (org, owner_id): (Uuid, Uuid),
    operation: Uuid,
) -> ApiResult<Sandbox> {
    limits::create(tx, org, &owner)?;
    let (id, now) = (app.ids.next(), app.clock.now(org));
    let digits = id.simple().to_string();
    let mut slug = plan.slug;
    for length in [8, 12, 32] {
        // Eight digits of an id can meet another's; nobody chose them, so more are taken.
        let Some(start) = digits.get(..length).filter(|_| slug.is_none()) else { break };
        if length == 32 || tx.by_slug::<Sandbox>(org, start)?.is_none() {
            slug = Some(start.to_owned());
        }
    }
    let sandbox = Sandbox {
        id,
        org,
        owner,
        owner_id,
        name: plan.name,
        slug: slug.unwrap_or(digits),
        template_id: plan.template_id,
        base: plan.base,
        stands_on: None,
        from_template: plan.from_template,
        size: plan.size,
        shape: plan.shape,
        enforced: Enforced::default(),
        host: app.machines.host().map_or(HostKind::Host, |host| host.kind()),
        state: State::Provisioning,
        alive: false,
        persistent: plan.persistent,
        always_on: plan.always_on,
        timeout_sec: plan.timeout_sec,
        idle_timeout_sec: plan.idle_timeout_sec,
        expires_at: None,
        last_activity_at: now,
        env: plan.env,
        env_changes: Changes::default(),
        metadata: plan.metadata,
        tags: plan.tags,
        region: plan.region,
        operation,
        last_error: None,
        boot_path: plan.boot_path.to_owned(),
        boot_ms: None,
        running_since: None,
        ran_ms: 0,
        created_at: now,
        updated_at: now,
        started_at: None,
        ready_at: None,
        destroyed_at: None,
        told: false,
        startup: plan.startup,
        batch: None,
    };
    defect!(NameNeverFree => crate::defects::names::refuse_used(&sandbox)?);
    tx.insert(&sandbox)?;
    services::request::intend(tx, app, &sandbox, &plan.services)?;
    Ok(sandbox)
}
