//! What a create may say, and what that asks for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Plan, template};
use crate::api::compute::sandboxes::fields::{self, Tags};
use crate::api::compute::sandboxes::refused_fields::{field_not_emulated, refuse_unbuilt};
use crate::api::compute::sandboxes::sizes;
use crate::api::compute::sandboxes::startup::repository::Repository;
use crate::api::compute::sandboxes::startup::setup_file::SetupFile;
use crate::api::compute::sandboxes::startup::{Startup, entrypoint, probe};
use crate::api::compute::services::request as services;
use crate::api::compute::templates::Origin;
use crate::http::ownership::Selectors;
use crate::http::{ApiError, ApiResult, validation};

/// Seconds until a sandbox is paused whose create says nothing (`develop/sandboxes`).
pub const DEFAULT_TIMEOUT_SEC: u32 = 3600;

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
    readiness_probe: Option<probe::Asked>,
    entrypoint: Option<String>,
    setup_file: Option<Value>,
    github_repo_url: Option<String>,
    github_branch: Option<String>,
    github_clone_path: Option<String>,
    skip_agent_runtime_profile: Option<bool>,
    // Nothing to do for these: creates are never queued, answers are never compact, nobody is billed.
    wait: Option<Value>,
    response_format: Option<String>,
    fail_fast: Option<bool>,
    no_env: Option<bool>,
    bill_to: Option<Value>,
    services: Option<Value>,
    // Would change what the sandbox does, and are not built: refused when they say something.
    database: Option<Value>,
    environment: Option<Value>,
    environment_id: Option<Value>,
    env_id: Option<Value>,
    allow_provision: Option<Value>,
    agent_runtime_profile_id: Option<Value>,
    agent_profile_id: Option<Value>,
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

impl Create {
    /// What it says about where it belongs.
    pub fn selectors(&self) -> Selectors {
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

    /// The template that it names.
    ///
    /// # Errors
    /// 422 for two spellings that name different ones.
    pub fn template(&self) -> ApiResult<&str> {
        template::meant([
            ("template_id", self.template_id.as_deref()),
            ("template", self.template.as_deref()),
            ("image", self.image.as_deref()),
        ])
    }

    /// The snapshot that it starts from, where it names one.
    pub fn snapshot(&self) -> Option<String> {
        self.snapshot_id.clone().filter(|id| !id.is_empty())
    }

    fn refuse_unbuilt(&self) -> ApiResult<()> {
        refuse_unbuilt(&[
            ("database", &self.database),
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
    ///
    /// # Errors
    /// 422 for a value that cannot be, 404 for a template that is not known, 501 for what is not built.
    pub fn plan(self, origin: &Origin) -> ApiResult<Plan> {
        self.refuse_unbuilt()?;
        if let Some(text) = &self.name {
            fields::name(text)?;
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
        let template = self.template()?.to_owned();
        let size = self.size.as_deref().filter(|size| !size.is_empty());
        // What a create does not say comes from its template's spec, or of a size from that size.
        let usual = origin.shape().filter(|_| size.is_none());
        let (size, shape) = sizes::choose(
            size,
            self.cpu_count.or(usual.map(|usual| usual.vcpus)),
            self.memory_mb.or(usual.map(|usual| usual.memory_mb)),
            self.disk_size_mb.or(self.disk_mb).or(usual.map(|usual| usual.disk_mb)),
        )?;
        let startup = Startup {
            repository: Repository::of(
                self.github_repo_url,
                self.github_branch,
                self.github_clone_path,
            )?,
            setup_file: SetupFile::of(self.setup_file)?,
            entrypoint: self
                .entrypoint
                .filter(|line| !line.is_empty())
                .map(entrypoint::checked)
                .transpose()?
                .or_else(|| origin.start_command()),
            probe: self.readiness_probe.map(probe::Asked::checked).transpose()?,
            ..Startup::default()
        };
        let metadata = self.metadata.unwrap_or_default();
        let env = origin.environment(self.env.unwrap_or_default());
        fields::env(&env)?;
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
            base: origin.base(),
            from_template: origin.given(),
            size,
            shape,
            timeout_sec: fields::timeout(self.timeout_sec.unwrap_or(DEFAULT_TIMEOUT_SEC))?,
            idle_timeout_sec: fields::idle_timeout(self.idle_timeout_sec.unwrap_or(0))?,
            persistent,
            always_on: self.always_on.unwrap_or(false),
            env,
            region: self.region,
            boot_path: "cold",
            services: services::of_create(self.services)?,
            startup,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::codes;
    use crate::machines::Base;
    use crate::machines::templates::DEFAULT_TEMPLATE;

    fn plan(body: Value) -> ApiResult<Plan> {
        let create = serde_json::from_value::<Create>(body).unwrap();
        let origin = Origin::BuiltIn(template::named(create.template()?)?);
        create.plan(&origin)
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
            ("database", json!(true)),
            ("environment", json!("prod")),
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
            "services": [], "database": false, "setup_file": null, "environment": null, "allow_provision": false,
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
