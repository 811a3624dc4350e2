//! Build specs: what a template is made from, field by field (`api-reference/sandbox-templates`).
//!
//! A spec is read into its whole form, with everything that was left out filled in: that is what records show and
//! what a build works with. [`check`] says all that is wrong with one at once; [`host`] what this computer cannot give.

pub mod check;
pub mod host;
pub mod schema;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machines::Shape;

/// Where commands run when a spec does not say.
pub const WORKDIR: &str = "/workspace";

/// Who they run as.
pub const USER: &str = "root";

/// A build spec, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// What the files start from: a built-in template, one of the organization's own, or an image.
    pub from: String,
    /// `xs` to `xl`, or `custom`.
    pub size: String,
    /// Virtual CPUs.
    pub vcpu: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Disk in MiB.
    pub disk_mib: u32,
    /// Commands of the build, in order.
    pub steps: Vec<Step>,
    /// Environment of the steps and of every command in the template's sandboxes.
    pub env: BTreeMap<String, String>,
    /// Where they run.
    pub workdir: String,
    /// Who they run as.
    pub user: String,
    /// Runs in the background when a sandbox has started.
    pub start_cmd: Option<String>,
    /// Succeeds when the template works.
    pub ready_cmd: Option<String>,
    /// Where its server listens.
    pub preview_port: Option<u16>,
    /// Where its products lie: for the reader of the record.
    pub artifact_paths: Vec<String>,
}

/// A command of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// A line for the shell.
    pub run: String,
}

impl Spec {
    /// What its machines may use.
    pub fn shape(&self) -> Shape {
        Shape { vcpus: self.vcpu, memory_mb: self.memory_mib, disk_mb: self.disk_mib }
    }
}
