//! `POST /sandboxes`: read the body, decide what is asked for, make it, answer when commands can run.

use std::collections::BTreeMap;

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::event::{Happening, emit};
use super::show::{Reader, show};
use super::transition::{settle, tell};
use super::{Sandbox, State, sizes, snapshot_base};
use crate::api::platform::ownership;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::{Owner, Selectors};
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Params, codes, validation};
use crate::machines::templates::{self, DEFAULT_TEMPLATE};
use crate::machines::{Base, Enforced, HostKind, MachineSpec};

/// Seconds until a sandbox is paused whose create says nothing (`develop/sandboxes`).
pub const DEFAULT_TIMEOUT_SEC: u32 = 3600;

/// The longest timeout: a year. Longer is `always_on`.
pub const MAX_TIMEOUT_SEC: u32 = 31_536_000;

/// The body (`api-reference/sandboxes`; miosa-python 2.19 for the fields that the page lacks).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Create {
    name: Option<String>,
    slug: Option<String>,
    tags: Option<Tags>,
    metadata: Option<Map<String, Value>>,
    workspace_id: Option<String>,
    workspace_slug: Option<String>,
    workspace_name: Option<String>,
    project_id: Option<String>,
    project_slug: Option<String>,
    project_name: Option<String>,
    external_workspace_id: Option<String>,
    external_user_id: Option<String>,
    external_project_id: Option<String>,
    template_id: Option<String>,
    template: Option<String>,
    image: Option<String>,
    snapshot_id: Option<String>,
    size: Option<String>,
    cpu_count: Option<u32>,
    memory_mb: Option<u32>,
    disk_size_mb: Option<u32>,
    disk_mb: Option<u32>,
    timeout_sec: Option<u32>,
    idle_timeout_sec: Option<u32>,
    persistent: Option<bool>,
    always_on: Option<bool>,
    auto_start: Option<bool>,
    env: Option<BTreeMap<String, String>>,
    region: Option<String>,
    runtime_profile: Option<String>,
    compute_placement_request: Option<Placement>,
    skip_agent_runtime_profile: Option<bool>,
    // Nothing to do for these: creates are never queued, answers are never compact, nobody is billed.
    wait: Option<Value>,
    response_format: Option<String>,
    fail_fast: Option<bool>,
    no_env: Option<bool>,
    bill_to: Option<Value>,
    // Would change what the sandbox does, and are not built: refused when they say something.
    services: Option<Value>,
    readiness_probe: Option<Value>,
    entrypoint: Option<Value>,
    setup_file: Option<Value>,
    database: Option<Value>,
    github_repo_url: Option<Value>,
    github_branch: Option<Value>,
    github_clone_path: Option<Value>,
    environment: Option<Value>,
    environment_id: Option<Value>,
    env_id: Option<Value>,
    allow_provision: Option<Value>,
    agent_runtime_profile_id: Option<Value>,
    agent_profile_id: Option<Value>,
}

/// Tags: a list, or (miosa-cli-go) a map whose pairs become `key=value`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Tags {
    /// A list.
    List(Vec<String>),
    /// A map.
    Map(BTreeMap<String, String>),
}

impl Tags {
    /// As they are kept.
    ///
    /// # Errors
    /// 422 for too many, or one too long.
    pub fn kept(self) -> ApiResult<Vec<String>> {
        let mut tags = match self {
            Self::List(tags) => tags,
            Self::Map(map) => map.into_iter().map(|(k, v)| format!("{k}={v}")).collect(),
        };
        if tags.len() > 100 {
            return Err(ApiError::field("tags", "must be at most 100"));
        }
        for tag in &tags {
            validation::text("tags", tag, 1, 255)?;
        }
        let mut seen = std::collections::HashSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        Ok(tags)
    }
}

/// Where to run it: only on this computer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Placement {
    provider: Option<String>,
    region_id: Option<String>,
    pool_id: Option<String>,
    host_id: Option<String>,
    fallback: Option<String>,
}

/// The query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CreateQuery {
    wait: Option<String>,
}

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
    pub shape: crate::machines::Shape,
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
}

/// Whether a value says something: not null, false, zero or empty.
pub fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// 501 for a field that would change what happens and is not built.
pub fn field_not_emulated(field: &str, why: &str) -> ApiError {
    ApiError::new(
        codes::not_emulated,
        format!("`{field}` is not emulated: {why} Nothing was done."),
    )
    .details(json!([{ "field": field, "message": "not emulated" }]))
}

/// Refuses the first of these fields that says something.
///
/// # Errors
/// 501 naming it.
pub fn refuse_unbuilt(fields: &[(&str, &Option<Value>)]) -> ApiResult<()> {
    for (field, value) in fields {
        if value.as_ref().is_some_and(says_something) {
            return Err(field_not_emulated(
                field,
                "leaving it out would change what the sandbox does.",
            ));
        }
    }
    Ok(())
}

/// A timeout within its bounds.
///
/// # Errors
/// 422.
pub fn timeout(seconds: u32) -> ApiResult<u32> {
    if (1..=MAX_TIMEOUT_SEC).contains(&seconds) {
        Ok(seconds)
    } else {
        let most = format!("must be 1 to {MAX_TIMEOUT_SEC}; `always_on` has no timeout");
        Err(ApiError::field("timeout_sec", most))
    }
}

/// An idle timeout within its bounds; 0 is never.
///
/// # Errors
/// 422.
pub fn idle_timeout(seconds: u32) -> ApiResult<u32> {
    if seconds <= MAX_TIMEOUT_SEC {
        Ok(seconds)
    } else {
        Err(ApiError::field("idle_timeout_sec", format!("must be 0 to {MAX_TIMEOUT_SEC}")))
    }
}

/// A name that can stand in a path.
///
/// # Errors
/// 422.
pub fn name(name: &str) -> ApiResult<()> {
    validation::text("name", name, 1, 255)?;
    if name.trim().is_empty() || name.contains(['\n', '\r', '\t']) {
        return Err(ApiError::field("name", "must have visible characters and no line breaks"));
    }
    if Uuid::parse_str(name).is_ok() {
        return Err(ApiError::field("name", "must not look like an id"));
    }
    Ok(())
}

/// Environment variables that a process can have.
///
/// # Errors
/// 422 naming the first that cannot be.
pub fn env(env: &BTreeMap<String, String>) -> ApiResult<()> {
    const MOST: usize = 128 * 1024;
    let mut bytes = 0;
    for (key, value) in env {
        let field = format!("env.{key}");
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(ApiError::field(
                &field,
                "a name must not be empty or have `=` or NUL in it",
            ));
        }
        if value.contains('\0') {
            return Err(ApiError::field(&field, "must not have NUL in it"));
        }
        bytes += key.len() + value.len() + 2;
    }
    if bytes > MOST {
        return Err(ApiError::field("env", format!("must be at most {MOST} bytes in all")));
    }
    Ok(())
}

/// A wait: seconds, or true or false. A create always waits until commands can run.
fn check_wait(wait: &str) -> ApiResult<()> {
    let seconds = wait.parse::<u32>().is_ok_and(|seconds| seconds <= 600);
    if seconds || matches!(wait, "true" | "false" | "True" | "False" | "") {
        Ok(())
    } else {
        Err(ApiError::parameter("wait", "must be true, false, or 0 to 600 seconds"))
    }
}

impl Create {
    fn selectors(&self) -> Selectors {
        Selectors {
            workspace_id: self.workspace_id.clone(),
            workspace_slug: self.workspace_slug.clone(),
            workspace_name: self.workspace_name.clone(),
            project_id: self.project_id.clone(),
            project_slug: self.project_slug.clone(),
            project_name: self.project_name.clone(),
            external_workspace_id: self.external_workspace_id.clone(),
            external_user_id: self.external_user_id.clone(),
            external_project_id: self.external_project_id.clone(),
        }
    }

    /// The template that is meant: official clients send the default one beside another spelling of the field.
    fn template(&self) -> ApiResult<String> {
        let spelled = [
            ("template_id", &self.template_id),
            ("template", &self.template),
            ("image", &self.image),
        ];
        let mut meant: Option<&str> = None;
        for (field, value) in spelled {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
            match meant {
                None | Some(DEFAULT_TEMPLATE) => meant = Some(value),
                Some(other) if other == value || value == DEFAULT_TEMPLATE => {}
                Some(_) => {
                    return Err(ApiError::field(
                        field,
                        "contradicts another spelling of the template",
                    ));
                }
            }
        }
        Ok(meant.unwrap_or(DEFAULT_TEMPLATE).to_owned())
    }

    fn refuse_unbuilt(&self) -> ApiResult<()> {
        refuse_unbuilt(&[
            ("services", &self.services),
            ("readiness_probe", &self.readiness_probe),
            ("entrypoint", &self.entrypoint),
            ("setup_file", &self.setup_file),
            ("database", &self.database),
            ("github_repo_url", &self.github_repo_url),
            ("github_branch", &self.github_branch),
            ("github_clone_path", &self.github_clone_path),
            ("environment", &self.environment),
            ("environment_id", &self.environment_id),
            ("env_id", &self.env_id),
            ("allow_provision", &self.allow_provision),
        ])?;
        if self.skip_agent_runtime_profile != Some(true) {
            refuse_unbuilt(&[
                ("agent_runtime_profile_id", &self.agent_runtime_profile_id),
                ("agent_profile_id", &self.agent_profile_id),
            ])?;
        }
        if self.auto_start == Some(false) {
            return Err(field_not_emulated("auto_start", "every sandbox starts when it is made."));
        }
        match self.runtime_profile.as_deref() {
            None | Some("standard" | "auto" | "firecracker" | "") => {}
            Some(_) => {
                return Err(field_not_emulated(
                    "runtime_profile",
                    "there is only `standard` here.",
                ));
            }
        }
        if let Some(placement) = &self.compute_placement_request {
            let elsewhere = placement.provider.as_deref().is_some_and(|name| name != "miosa");
            let chosen = placement.region_id.is_some()
                || placement.pool_id.is_some()
                || placement.host_id.is_some();
            if (elsewhere || chosen) && placement.fallback.as_deref() != Some("miosa") {
                return Err(field_not_emulated(
                    "compute_placement_request",
                    "sandboxes run on this computer only.",
                ));
            }
        }
        Ok(())
    }

    /// What is asked for; the base comes from the template unless a snapshot is named.
    fn plan(self) -> ApiResult<Plan> {
        self.refuse_unbuilt()?;
        if let Some(text) = &self.name {
            name(text)?;
        }
        if let Some(slug) = &self.slug {
            validation::slug("slug", slug)?;
        }
        if let Some(region) = &self.region {
            validation::text("region", region, 0, 64)?;
        }
        if let (Some(a), Some(b)) = (self.disk_size_mb, self.disk_mb)
            && a != b
        {
            return Err(ApiError::field("disk_mb", "contradicts disk_size_mb"));
        }
        let template = self.template()?;
        let built_in = template_named(&template)?;
        let (size, shape) = sizes::choose(
            self.size.as_deref().filter(|size| !size.is_empty()),
            self.cpu_count,
            self.memory_mb,
            self.disk_size_mb.or(self.disk_mb),
        )?;
        let metadata = self.metadata.unwrap_or_default();
        let env_ = self.env.unwrap_or_default();
        env(&env_)?;
        let persistent = self
            .persistent
            .or_else(|| metadata.get("miosa_persistent").and_then(Value::as_bool))
            .unwrap_or(true);
        Ok(Plan {
            name: self.name,
            slug: self.slug.filter(|slug| !slug.is_empty()),
            tags: self.tags.map_or(Ok(Vec::new()), Tags::kept)?,
            metadata,
            template_id: template,
            base: Base::Template(built_in.id.to_owned()),
            size,
            shape,
            timeout_sec: timeout(self.timeout_sec.unwrap_or(DEFAULT_TIMEOUT_SEC))?,
            idle_timeout_sec: idle_timeout(self.idle_timeout_sec.unwrap_or(0))?,
            persistent,
            always_on: self.always_on.unwrap_or(false),
            env: env_,
            region: self.region,
            boot_path: "cold",
        })
    }
}

/// The built-in template of this name.
///
/// # Errors
/// 404 `TEMPLATE_NOT_FOUND`; 501 for a desktop one.
pub fn template_named(named: &str) -> ApiResult<&'static templates::BuiltIn> {
    if let Some(found) = templates::find(named) {
        return Ok(found);
    }
    if named.contains("desktop") {
        return Err(field_not_emulated("template_id", "desktop templates are not built."));
    }
    Err(ApiError::new(
        codes::TEMPLATE_NOT_FOUND,
        format!(
            "No template {named} is known here. GET /api/v1/sandbox-templates lists those that are."
        ),
    ))
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
    check_wait(query.wait.as_deref().unwrap_or_default())?;
    let selectors = body.selectors();
    selectors.validate()?;
    let snapshot = body.snapshot_id.clone().filter(|id| !id.is_empty());
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
        let gone: ApiResult<bool> =
            app.store.write(move |tx| Ok(tx.remove::<Sandbox>(org, id)?)).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(body: Value) -> ApiResult<Plan> {
        serde_json::from_value::<Create>(body).unwrap().plan()
    }

    #[test]
    fn an_empty_create_is_the_documented_default() {
        let plan = plan(json!({})).unwrap();
        assert_eq!(
            (plan.size.as_str(), plan.timeout_sec, plan.idle_timeout_sec),
            ("small", 3600, 0)
        );
        assert!(plan.persistent && !plan.always_on);
        assert_eq!(plan.base, Base::Template(DEFAULT_TEMPLATE.into()));
    }

    #[test]
    fn a_field_that_would_change_what_happens_is_refused_by_name() {
        for (field, value) in [
            ("services", json!([{ "name": "web" }])),
            ("setup_file", json!("#!/bin/sh")),
            ("database", json!(true)),
            ("github_repo_url", json!("https://example.com/x.git")),
            ("environment", json!("prod")),
            ("readiness_probe", json!({ "type": "tcp", "port": 80 })),
            ("runtime_profile", json!("soma")),
            ("auto_start", json!(false)),
            ("allow_provision", json!(true)),
            ("agent_runtime_profile_id", json!("x")),
            ("compute_placement_request", json!({ "provider": "aws" })),
        ] {
            let error = plan(json!({ field: value })).unwrap_err();
            assert_eq!(error.code, codes::not_emulated, "{field}");
            assert!(error.message.contains(field), "{}", error.message);
        }
    }

    #[test]
    fn fields_that_say_nothing_are_harmless() {
        plan(json!({
            "services": [], "database": false, "setup_file": "", "environment": null, "allow_provision": false,
            "runtime_profile": "auto", "fail_fast": true, "no_env": true, "wait": true, "response_format": "compact",
            "agent_runtime_profile_id": "x", "skip_agent_runtime_profile": true, "auto_start": true,
            "compute_placement_request": { "provider": "miosa" },
        }))
        .unwrap();
    }

    #[test]
    fn the_spellings_of_a_template_agree_or_are_refused() {
        let template = |body| plan(body).map(|plan| plan.base);
        assert_eq!(template(json!({ "image": "node" })).unwrap(), Base::Template("node".into()));
        let both = json!({ "template_id": "miosa-sandbox", "template": "python-3.12" });
        assert_eq!(template(both).unwrap(), Base::Template("python".into()));
        let torn = json!({ "template_id": "node", "template": "python" });
        assert_eq!(template(torn).unwrap_err().code, codes::VALIDATION_FAILED);
        let unknown = template(json!({ "template_id": "nope" })).unwrap_err();
        assert_eq!(unknown.code, codes::TEMPLATE_NOT_FOUND);
        let desktop = template(json!({ "template_id": "miosa-desktop" })).unwrap_err();
        assert_eq!(desktop.code, codes::not_emulated);
    }

    #[test]
    fn bad_values_are_refused() {
        for body in [
            json!({ "name": "" }),
            json!({ "name": "a\nb" }),
            json!({ "name": "6f1b3c5e-0000-4000-8000-000000000000" }),
            json!({ "slug": "No Slug" }),
            json!({ "timeout_sec": 0 }),
            json!({ "env": { "A=B": "x" } }),
            json!({ "env": { "A": "\u{0}" } }),
            json!({ "disk_mb": 1024, "disk_size_mb": 2048 }),
            json!({ "tags": [""] }),
        ] {
            assert_eq!(plan(body.clone()).unwrap_err().code.status, 422, "{body}");
        }
    }

    #[test]
    fn a_map_of_tags_becomes_pairs_and_the_metadata_may_say_persistent() {
        let plan = plan(json!({ "tags": { "a": "1" }, "metadata": { "miosa_persistent": false } }));
        let plan = plan.unwrap();
        assert_eq!(plan.tags, ["a=1"]);
        assert!(!plan.persistent);
    }
}
