//! `POST /sandboxes`: read the body, decide what is asked for, make it, answer when commands can run.
//!
//! What can be asked for is [`request`]; from the [`Plan`] on, a fork goes the same way.

pub mod request;
pub mod template;

use std::collections::BTreeMap;

use axum::extract::State as Extracted;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::request::{Create, CreateQuery};
use super::event::{Happening, emit};
use super::show::{Reader, show};
use super::transition::{settle, tell};
use super::{Sandbox, State, snapshot_base};
use crate::api::compute::services::{self, Service};
use crate::api::platform::ownership;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::Owner;
use crate::http::{Answer, ApiResult, Caller, Input, Params};
use crate::machines::{Base, Enforced, HostKind, MachineSpec, Shape};

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
}

/// The handler.
pub async fn create(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    Params(query): Params<CreateQuery>,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    query.validate()?;
    let selectors = body.selectors();
    selectors.validate()?;
    let snapshot = body.snapshot();
    let plan = body.plan()?;
    let operation = exchange.operation();
    let (app_, caller_) = (app.clone(), caller.clone());
    let sandbox = app
        .store
        .write(move |tx| {
            let mut plan = plan;
            if let Some(named) = snapshot {
                plan.base = snapshot_base::of(tx, &caller_, &named)?;
                plan.boot_path = "snapshot";
            }
            let owner = ownership::resolve(tx, &app_, &caller_, &selectors)?;
            intend(tx, &app_, plan, owner, (caller_.org, caller_.user_id), operation)
        })
        .await?;
    make(&app, sandbox, reader, exchange).await
}

/// Writes the row of a sandbox that is about to be made.
pub fn intend(
    tx: &crate::store::Tx<'_>,
    app: &App,
    plan: Plan,
    owner: Owner,
    (org, owner_id): (Uuid, Uuid),
    operation: Uuid,
) -> ApiResult<Sandbox> {
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
    };
    tx.insert(&sandbox)?;
    services::request::intend(tx, app, &sandbox, &plan.services)?;
    Ok(sandbox)
}

/// Makes the machine of a row that was written, and commits the outcome with the answer. On failure nothing is left.
pub async fn make(
    app: &App,
    sandbox: Sandbox,
    reader: Reader,
    exchange: ExchangeRef,
) -> ApiResult<CommittedAnswer> {
    let (org, id, operation) = (sandbox.org, sandbox.id, sandbox.operation);
    let started = std::time::Instant::now();
    let spec = MachineSpec {
        id,
        operation,
        base: sandbox.base.clone(),
        shape: sandbox.shape,
        env: sandbox.env.clone(),
        hostname: sandbox.slug.clone(),
    };
    let created = app.machines.create(&spec).await;
    let exists = created.is_ok();
    let made = match created {
        Ok(enforced) => {
            let boot_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let app_ = app.clone();
            settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.set_running(now);
                sandbox.enforced = enforced;
                sandbox.boot_ms = Some(boot_ms);
                sandbox.started_at = Some(now);
                sandbox.ready_at = Some(now);
                emit(tx, &app_, sandbox, Happening::Created)?;
                emit(tx, &app_, sandbox, Happening::Ready)?;
                let answer = Answer::created(
                    &show(&app_, sandbox, &reader),
                    format!("/sandboxes/{}", sandbox.id),
                )?;
                exchange.commit(tx, &answer)
            })
            .await
        }
        Err(error) => Err(error.into()),
    };
    if made.is_err() {
        let gone = app.store.write(move |tx| -> ApiResult<bool> {
            tx.remove_children::<Service>(org, id)?;
            Ok(tx.remove::<Sandbox>(org, id)?)
        });
        let gone = gone.await;
        if let Err(error) = gone {
            tracing::error!(sandbox = %id, "its row could not be removed: {:?}", error.log);
        }
        tell(app);
        if exists {
            super::power::reap(app, id).await;
        }
    }
    made
}
