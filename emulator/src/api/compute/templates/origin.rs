//! What a sandbox starts from when its create names a template, and what it keeps of one of the organization's own.

use std::collections::BTreeMap;

use miosa_agent::protocol::defaults;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::base::{self, Meant};
use super::spec::{Spec, USER, WORKDIR};
use super::{Live, Template};
use crate::api::compute::sandboxes::create::template::named;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::templates::BuiltIn;
use crate::machines::{Base, Shape};
use crate::store::View;

/// A template that sandboxes can start from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A built-in one.
    BuiltIn(&'static BuiltIn),
    /// One of the organization's own, and its live build.
    Own(Box<Template>, Live),
}

impl Origin {
    /// What a machine's files start from.
    pub fn base(&self) -> Base {
        match self {
            Self::BuiltIn(template) => Base::Template(template.id.to_owned()),
            Self::Own(_, live) => Base::Snapshot(live.image),
        }
    }

    /// What sandboxes may use whose create does not say.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Own(template, _) => Some(template.spec.shape()),
        }
    }

    /// The environment of a create that says this: what it says comes before the template's.
    pub fn environment(&self, said: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut env = match self {
            Self::BuiltIn(_) => return said,
            Self::Own(template, _) => template.spec.env.clone(),
        };
        env.extend(said);
        env
    }

    /// What runs in the background when a sandbox has started whose create does not say.
    pub fn start_command(&self) -> Option<String> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Own(template, _) => template.spec.start_cmd.clone(),
        }
    }

    /// What a sandbox keeps of it.
    pub fn given(&self) -> Option<FromTemplate> {
        let Self::Own(template, live) = self else { return None };
        let spec = &template.spec;
        Some(FromTemplate {
            template: template.id,
            build: live.build,
            workdir: spec.workdir.clone(),
            user: spec.user.clone(),
            preview_port: spec.preview_port,
            artifact_paths: spec.artifact_paths.clone(),
        })
    }
}

/// The template of this name, for who is bound to this workspace or to none.
///
/// # Errors
/// 404 `TEMPLATE_NOT_FOUND`; 409 `TEMPLATE_NOT_READY` while no build of it has succeeded; 501 for a desktop one.
pub fn of(view: &View<'_>, (org, bound): (Uuid, Option<Uuid>), name: &str) -> ApiResult<Origin> {
    let unknown = match named(name) {
        Ok(built_in) => return Ok(Origin::BuiltIn(built_in)),
        Err(unknown) => unknown,
    };
    match base::of(view, (org, bound), name)? {
        Meant::BuiltIn(built_in) => Ok(Origin::BuiltIn(built_in)),
        Meant::Image(_) => Err(unknown),
        Meant::Own(template) => match template.live {
            Some(live) => Ok(Origin::Own(template, live)),
            None => Err(not_ready(&template)),
        },
    }
}

/// A refusal: nothing can be started from it.
pub fn not_ready(template: &Template) -> ApiError {
    ApiError::new(
        codes::TEMPLATE_NOT_READY,
        format!(
            "Template {} is {}: no build of it is ready. POST /api/v1/sandbox-templates/{}/builds makes one.",
            template.slug,
            template.status.as_str(),
            template.id
        ),
    )
}

/// What a sandbox keeps of the template that it started from, so that it starts the same way again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromTemplate {
    /// The template.
    pub template: Uuid,
    /// The build that was live then.
    pub build: Uuid,
    /// Where its commands run.
    pub workdir: String,
    /// Who they run as.
    pub user: String,
    /// Where its server listens.
    pub preview_port: Option<u16>,
    /// What it is to make (`artifactPaths`).
    #[serde(default)]
    pub artifact_paths: Vec<String>,
}

impl FromTemplate {
    /// The environment of a machine that starts this way.
    pub fn environment(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        machine_environment(own, &self.user, &self.workdir)
    }
}

/// The environment of a build's machine.
pub fn build_environment(spec: &Spec) -> BTreeMap<String, String> {
    machine_environment(&spec.env, &spec.user, &spec.workdir)
}

/// What commands get, and what tells the agent who they run as, and where, when they do not say.
fn machine_environment(
    own: &BTreeMap<String, String>,
    user: &str,
    workdir: &str,
) -> BTreeMap<String, String> {
    let mut env = own.clone();
    for (name, value, usual) in
        [(defaults::USER, user, USER), (defaults::WORKDIR, workdir, WORKDIR)]
    {
        if value != usual {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    // The directory is given to a user who is not root, wherever it is.
    if user != USER {
        env.insert(defaults::WORKDIR.to_owned(), workdir.to_owned());
    }
    env
}
