//! What a sandbox was like when it was kept, so that another can be made like it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::create::Plan;
use crate::api::compute::sandboxes::startup::Startup;
use crate::api::compute::templates::FromTemplate;
use crate::machines::{Base, Shape};

/// See [`Sandbox`] for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the sandbox's words
pub struct Source {
    pub name: Option<String>,
    pub template_id: String,
    pub size: String,
    pub shape: Shape,
    pub timeout_sec: u32,
    pub idle_timeout_sec: u32,
    pub persistent: bool,
    pub always_on: bool,
    pub env: BTreeMap<String, String>,
    pub metadata: Map<String, Value>,
    pub tags: Vec<String>,
    pub region: Option<String>,
    #[serde(default)]
    pub startup: Startup,
    #[serde(default)]
    pub from_template: Option<FromTemplate>,
}

impl Source {
    /// What a sandbox is like now.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self {
            name: sandbox.name.clone(),
            template_id: sandbox.template_id.clone(),
            size: sandbox.size.clone(),
            shape: sandbox.shape,
            timeout_sec: sandbox.timeout_sec,
            idle_timeout_sec: sandbox.idle_timeout_sec,
            persistent: sandbox.persistent,
            always_on: sandbox.always_on,
            env: sandbox.env.clone(),
            metadata: sandbox.metadata.clone(),
            tags: sandbox.tags.clone(),
            region: sandbox.region.clone(),
            startup: sandbox.startup.clone().of_a_copy(),
            from_template: sandbox.from_template.clone(),
        }
    }

    /// Another sandbox like it, with other files; it has no name of its own.
    pub fn like(self, base: Base) -> Plan {
        Plan {
            name: None,
            slug: None,
            tags: self.tags,
            metadata: self.metadata,
            template_id: self.template_id,
            base,
            size: self.size,
            shape: self.shape,
            timeout_sec: self.timeout_sec,
            idle_timeout_sec: self.idle_timeout_sec,
            persistent: self.persistent,
            always_on: self.always_on,
            env: self.env,
            region: self.region,
            boot_path: "fork",
            // A fork has the files; what runs in the other one is the other one's.
            services: Vec::new(),
            startup: self.startup,
            from_template: self.from_template,
        }
    }
}
