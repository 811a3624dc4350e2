//! One bound: how much of what, whose, and who said so.

use serde_json::json;
use uuid::Uuid;

use super::super::policies::field::{Field, MAX_CONCURRENT, MAX_SANDBOXES, MAX_STORAGE_GB};
use super::super::policies::{Tier, Tiers};
use super::super::workspaces::Workspace;
use super::usage::Whose;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::View;

const GIGABYTE: u64 = 1024 * 1024 * 1024;

/// What can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Sandboxes,
    Running,
    Storage,
}

impl Limit {
    pub(super) const ALL: [Self; 3] = [Self::Sandboxes, Self::Running, Self::Storage];

    fn field(self) -> &'static Field {
        match self {
            Self::Sandboxes => &MAX_SANDBOXES,
            Self::Running => &MAX_CONCURRENT,
            Self::Storage => &MAX_STORAGE_GB,
        }
    }

    /// A value of the field, in the unit in which use is counted.
    fn counted(self, value: u64) -> u64 {
        match self {
            Self::Sandboxes | Self::Running => value,
            Self::Storage => value.saturating_mul(GIGABYTE),
        }
    }

    /// Those who run others may pause one and make room at any moment; the rest has to be removed or allowed first.
    fn code(self) -> codes::Code {
        match self {
            Self::Running => codes::MEMBER_LIMIT_REACHED,
            Self::Sandboxes | Self::Storage => codes::PLAN_CAP_EXCEEDED,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Sandboxes => "sandboxes",
            Self::Running => "running sandboxes",
            Self::Storage => "bytes of snapshots",
        }
    }
}

/// A bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    limit: Limit,
    /// How much may be used.
    pub(super) value: u64,
    /// Whose use it bounds.
    pub(super) whose: Whose,
    /// Who said so: `settings`, `user`, `workspace` or `tenant`.
    source: &'static str,
}

/// What the settings of a workspace say.
pub(super) fn of_settings(
    view: &View<'_>,
    org: Uuid,
    workspace: Uuid,
    limit: Limit,
) -> ApiResult<Option<Bound>> {
    let Some(found) = view.get::<Workspace>(org, workspace)? else { return Ok(None) };
    let value = match limit {
        Limit::Sandboxes => found.settings.max_sandboxes,
        Limit::Running => found.settings.max_concurrent,
        Limit::Storage => found.settings.max_storage_gb,
    };
    Ok(value.map(|value| Bound {
        limit,
        value: limit.counted(value),
        whose: Whose::Workspace(workspace),
        source: "settings",
    }))
}

/// What the nearest policy says.
pub(super) fn of_policies(tiers: &Tiers, limit: Limit) -> impl Iterator<Item = Bound> {
    let said = tiers.nearest(limit.field()).and_then(|(tier, value)| Some((tier, value.as_u64()?)));
    said.into_iter().map(move |(tier, value)| Bound {
        limit,
        value: limit.counted(value),
        whose: match tier {
            Tier::Tenant => Whose::Tenant,
            Tier::Workspace(id) => Whose::Workspace(*id),
            Tier::User(user) => Whose::User(user.clone()),
        },
        source: tier.source(),
    })
}

impl Bound {
    /// What is used of it.
    pub(super) fn used(&self, view: &View<'_>, org: Uuid) -> ApiResult<u64> {
        match self.limit {
            Limit::Sandboxes => self.whose.sandboxes(view, org),
            Limit::Running => self.whose.running(view, org),
            Limit::Storage => self.whose.bytes(view, org),
        }
    }

    /// Whether `wanted` more can be had.
    pub(super) fn admit(&self, view: &View<'_>, org: Uuid, wanted: u64) -> ApiResult<()> {
        let used = self.used(view, org)?;
        if used.saturating_add(wanted) <= self.value {
            return Ok(());
        }
        let (kind, id, owned) = match &self.whose {
            Whose::Tenant => ("tenant", org.to_string(), "The organization".to_owned()),
            Whose::Workspace(id) => ("workspace", id.to_string(), format!("Workspace {id}")),
            Whose::User(user) => ("external_user", user.clone(), format!("User {user:?}")),
        };
        let limit = self.limit.field().name;
        let error = ApiError::new(
            self.limit.code(),
            format!(
                "{owned} may have {} {} and has {used} ({limit}, said by {}).",
                self.value,
                self.limit.what(),
                match self.source {
                    "settings" => "the workspace's settings".to_owned(),
                    source => format!("the {source} policy"),
                },
            ),
        )
        .details(json!({
            "limit": limit,
            "value": self.value,
            "used": used,
            "requested": wanted,
            "source": self.source,
            "whose": { "type": kind, "id": id },
        }));
        Err(if self.limit == Limit::Running { error.retry_after(1) } else { error })
    }
}
