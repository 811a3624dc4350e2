//! What a key can be allowed to do (miosa-cli-go; `platform/api-keys`).

use serde_json::{Value, json};

use crate::defects::defect;
use crate::http::{ApiError, ApiResult, Caller, codes};

/// What can be read and written.
const RESOURCES: &[&str] = &[
    "projects",
    "events",
    "products",
    "sandboxes",
    "previews",
    "deployments",
    "domains",
    "databases",
    "env",
    "osa",
    "cloud",
    "egress",
    "agent_runtime_profiles",
    "agents",
    "project_auth",
    "project_integrations",
    "billing",
    "storage",
    "cron_jobs",
    "connections",
    "computers",
    "data",
    "usage",
    "audit",
];

/// What else can be done.
const FURTHER: &[&str] =
    &["sandboxes:create", "sandboxes:exec", "agents:run", "env:reveal", "provision", "*"];

/// All that can be done with sandboxes.
const SANDBOXES: &[&str] =
    &["sandboxes:read", "sandboxes:write", "sandboxes:create", "sandboxes:exec"];

/// All that can be done with agents.
const AGENTS: &[&str] = &["agents:read", "agents:write", "agents:run"];

/// All that can be done with previews, and reading environment variables.
const PREVIEWS_AND_ENV: &[&str] = &["previews:read", "previews:write", "env:read"];

/// A named set of scopes.
#[derive(Debug, Clone, Copy)]
struct Preset {
    name: &'static str,
    description: &'static str,
    /// In groups; `*:read` is every resource's.
    scopes: &'static [&'static [&'static str]],
}

const PRESETS: &[Preset] = &[
    Preset { name: "read-only", description: "Read everything.", scopes: &[&["*:read"]] },
    Preset {
        name: "ci",
        description: "Sandboxes, deployments and previews; environment variables read-only.",
        scopes: &[SANDBOXES, &["deployments:read", "deployments:write"], PREVIEWS_AND_ENV],
    },
    Preset {
        name: "agent",
        description: "Agents, sandboxes and previews; environment variables read-only.",
        scopes: &[AGENTS, SANDBOXES, PREVIEWS_AND_ENV],
    },
    Preset {
        name: "cli",
        description: "What the agent preset allows, connections, and deployments read-only.",
        scopes: &[
            AGENTS,
            SANDBOXES,
            PREVIEWS_AND_ENV,
            &["connections:read", "connections:write", "deployments:read"],
        ],
    },
];

impl Preset {
    fn expanded(&self) -> Vec<String> {
        let mut all = Vec::new();
        for scope in self.scopes.iter().copied().flatten() {
            if *scope == "*:read" {
                all.extend(RESOURCES.iter().map(|resource| format!("{resource}:read")));
            } else {
                all.push((*scope).to_owned());
            }
        }
        all
    }
}

/// Whether a preset of this name comes with the API.
pub(super) fn is_built_in(name: &str) -> bool {
    PRESETS.iter().any(|preset| preset.name == name)
}

/// The presets that come with the API, as clients read them.
pub(super) fn built_in() -> Vec<Value> {
    PRESETS
        .iter()
        .map(|preset| {
            json!({
                "name": preset.name,
                "scopes": preset.expanded(),
                "description": preset.description,
                "built_in": true,
            })
        })
        .collect()
}

fn known(scope: &str) -> bool {
    FURTHER.contains(&scope)
        || scope.split_once(':').is_some_and(|(resource, level)| {
            RESOURCES.contains(&resource) && matches!(level, "read" | "write" | "*")
        })
}

/// The scopes that a request names, presets spelled out, each once. `saved` knows the organization's own presets.
///
/// # Errors
/// 422 for one that is not known, and for an empty list: it would allow nothing.
pub(super) fn expand(
    scopes: Option<Vec<String>>,
    preset: Option<&str>,
    saved: impl Fn(&str) -> ApiResult<Option<Vec<String>>>,
) -> ApiResult<Option<Vec<String>>> {
    if scopes.is_none() && preset.is_none() {
        return Ok(None);
    }
    let mut all: Vec<String> = Vec::new();
    let find = |name: &str| match PRESETS.iter().find(|preset| preset.name == name) {
        Some(preset) => Ok(Some(preset.expanded())),
        None => saved(name),
    };
    if let Some(name) = preset {
        all.extend(find(name)?.ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            ApiError::field(
                "preset",
                format!("must be one of {}, or one that was saved", names.join(", ")),
            )
        })?);
    }
    for scope in scopes.unwrap_or_default() {
        if known(&scope) {
            all.push(scope);
            continue;
        }
        match find(&scope)? {
            Some(preset) => all.extend(preset),
            None => {
                return Err(ApiError::field(
                    "scopes",
                    format!(
                        "{scope:?} is no scope. Scopes are resource:read and resource:write, sandboxes:create, sandboxes:exec, agents:run."
                    ),
                ));
            }
        }
    }
    if all.is_empty() {
        return Err(ApiError::field("scopes", "must name at least one scope, or be left out"));
    }
    let mut once: Vec<String> = Vec::new();
    for scope in all {
        if !once.contains(&scope) {
            once.push(scope);
        }
    }
    Ok(Some(once))
}

/// What the caller may hand on: what was asked for when it holds that itself, and without a wish what it holds.
///
/// # Errors
/// 403 with the scopes that are wider than the caller's.
pub(super) fn handed_on(
    caller: &Caller,
    asked: Option<Vec<String>>,
) -> ApiResult<Option<Vec<String>>> {
    let Some(asked) = asked else { return Ok(caller.scopes.clone()) };
    let wider: Vec<&String> = asked.iter().filter(|scope| !caller.may(scope)).collect();
    if wider.is_empty() || defect!(MintsWider) {
        return Ok(Some(asked));
    }
    Err(ApiError::new(codes::FORBIDDEN, "Requested scopes exceed caller's permissions.")
        .details(json!({ "invalid_scopes": wider })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_of_a_preset_is_known() {
        for preset in PRESETS {
            for scope in preset.expanded() {
                assert!(known(&scope), "{}: {scope}", preset.name);
            }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "what `expand` asks for")]
    fn none(_: &str) -> ApiResult<Option<Vec<String>>> {
        Ok(None)
    }

    #[test]
    fn unknown_and_empty_scopes_are_refused_and_presets_spelled_out() {
        for bad in [vec![], vec!["sandbox:read"], vec!["sandboxes"], vec!["sandboxes:delete"]] {
            let bad = Some(bad.into_iter().map(str::to_owned).collect());
            assert_eq!(expand(bad, None, none).unwrap_err().code, codes::VALIDATION_FAILED);
        }
        let both = expand(Some(vec!["ci".into(), "env:read".into()]), None, none).unwrap().unwrap();
        assert_eq!(both.iter().filter(|scope| *scope == "env:read").count(), 1);
        assert_eq!(expand(None, Some("ci"), none).unwrap().unwrap(), both);
        assert_eq!(expand(None, None, none).unwrap(), None);
        assert!(expand(None, Some("nope"), none).is_err());
    }
}
