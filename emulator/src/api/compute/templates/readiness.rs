//! Whether templates can be started here: asked of the host each time, never assumed.

use std::collections::HashSet;

use uuid::Uuid;

use super::Template;
use crate::app::App;
use crate::machines::TemplateReadiness;
use crate::machines::templates::BuiltIn;

/// The three words of readiness (contract fixture public-v1).
pub const WORDS: &[&str] = &["fast_ready", "cold_boot_only", "missing"];

/// A word, and why where it is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// One of [`WORDS`].
    pub state: &'static str,
    /// Why it is missing, and what can be done.
    pub reason: Option<String>,
}

impl Readiness {
    fn missing(reason: impl Into<String>) -> Self {
        Self { state: "missing", reason: Some(reason.into()) }
    }
}

impl From<TemplateReadiness> for Readiness {
    fn from(found: TemplateReadiness) -> Self {
        match found {
            TemplateReadiness::FastReady => Self { state: "fast_ready", reason: None },
            TemplateReadiness::ColdBootOnly => Self { state: "cold_boot_only", reason: None },
            TemplateReadiness::Missing(reason) => Self::missing(reason),
        }
    }
}

/// Of a built-in template.
pub async fn built_in(app: &App, template: &BuiltIn) -> Readiness {
    match app.machines.host() {
        Some(host) => host.template(template.id).await.into(),
        None => Readiness::missing("this emulator has no machines"),
    }
}

/// The sealed files that the host has, looked up once for a whole list.
pub struct Kept(Result<HashSet<Uuid>, String>);

impl Kept {
    /// Looks.
    pub async fn look(app: &App) -> Self {
        let found = app.machines.list_snapshots().await;
        Self(found.map(|all| all.into_iter().collect()).map_err(|error| error.to_string()))
    }

    /// Of one of the organization's own templates.
    pub fn readiness(&self, template: &Template) -> Readiness {
        match (&template.live, &self.0) {
            (None, _) => Readiness::missing("no build of it is ready"),
            (Some(_), Err(reason)) => Readiness::missing(reason.clone()),
            (Some(live), Ok(kept)) if kept.contains(&live.image) => {
                TemplateReadiness::FastReady.into()
            }
            (Some(_), Ok(_)) => Readiness::missing(
                "its image is not on this host of machines; build it anew, or start with the machines that built it",
            ),
        }
    }
}
