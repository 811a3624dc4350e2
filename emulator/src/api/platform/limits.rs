//! Limits: what a create, a resume or a snapshot may take, decided in the transaction that takes it.
//!
//! Two things bound it. A workspace's settings bound the workspace, whoever asks. Of the policies, the tier nearest to
//! who asks decides each field (miosa-go 2.0: user, workspace, organization, platform), and bounds what that tier uses in
//! all. Since the store has one writer, whoever looks and takes in one transaction cannot be overtaken, and a limit
//! holds to the last piece however many ask at once.

mod bound;
mod route;
mod usage;

pub use route::routes;
pub(super) use usage::{Usage, Whose};

use bound::{Bound, Limit};
use uuid::Uuid;

use super::policies::Tiers;
use super::policies::field::{
    CAN_CREATE_SANDBOX, Field, PORT_FORWARDING_ENABLED, SNAPSHOT_ENABLED,
};
use crate::http::ownership::Owner;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::View;

/// What somebody is about to take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taking {
    pub(super) sandboxes: u64,
    pub(super) running: u64,
    pub(super) bytes: u64,
}

impl Taking {
    fn of(self, limit: Limit) -> u64 {
        match limit {
            Limit::Sandboxes => self.sandboxes,
            Limit::Running => self.running,
            Limit::Storage => self.bytes,
        }
    }
}

/// Whether one more sandbox may be made, and run.
///
/// # Errors
/// 403 where no sandbox may be made, 422 `PLAN_CAP_EXCEEDED` where there are as many as may be, 429 `MEMBER_LIMIT_REACHED`
/// where as many run as may.
pub fn create(view: &View<'_>, org: Uuid, owner: &Owner) -> ApiResult<()> {
    permitted(view, org, owner, &CAN_CREATE_SANDBOX, "make sandboxes")?;
    admit(view, org, owner, Taking { sandboxes: 1, running: 1, bytes: 0 })
}

/// Whether a sandbox that stands still may run again.
///
/// # Errors
/// 429 `MEMBER_LIMIT_REACHED`.
pub fn run(view: &View<'_>, org: Uuid, owner: &Owner) -> ApiResult<()> {
    admit(view, org, owner, Taking { running: 1, ..Taking::default() })
}

/// Whether a snapshot of `bytes` may be kept; before its size is known, whether there is room at all.
///
/// # Errors
/// 403 where snapshots are switched off, 422 `PLAN_CAP_EXCEEDED` where no room is left.
pub fn snapshot(view: &View<'_>, org: Uuid, owner: &Owner, bytes: Option<u64>) -> ApiResult<()> {
    permitted(view, org, owner, &SNAPSHOT_ENABLED, "make snapshots")?;
    // Anything takes at least a byte.
    admit(view, org, owner, Taking { bytes: bytes.unwrap_or(1), ..Taking::default() })
}

/// Whether a port may be given an address.
///
/// # Errors
/// 403.
pub fn forward(view: &View<'_>, org: Uuid, owner: &Owner) -> ApiResult<()> {
    permitted(view, org, owner, &PORT_FORWARDING_ENABLED, "make previews")
}

fn permitted(
    view: &View<'_>,
    org: Uuid,
    owner: &Owner,
    field: &Field,
    what: &str,
) -> ApiResult<()> {
    let tiers = tiers(view, org, owner)?;
    if tiers.is_on(field) {
        return Ok(());
    }
    let source = tiers.nearest(field).map_or("platform", |(tier, _)| tier.source());
    Err(ApiError::new(
        codes::FORBIDDEN,
        format!("The {source} policy does not allow to {what} ({}.{}).", field.section, field.name),
    )
    .details(serde_json::json!({ "policy": format!("{}.{}", field.section, field.name), "source": source })))
}

fn tiers(view: &View<'_>, org: Uuid, owner: &Owner) -> ApiResult<Tiers> {
    Tiers::read(view, org, Some(owner.workspace_id), owner.external_user_id.as_deref())
}

fn admit(view: &View<'_>, org: Uuid, owner: &Owner, taking: Taking) -> ApiResult<()> {
    let tiers = tiers(view, org, owner)?;
    for limit in Limit::ALL {
        let wanted = taking.of(limit);
        if wanted == 0 {
            continue;
        }
        let of_settings = bound::of_settings(view, org, owner.workspace_id, limit)?;
        for bound in of_settings.into_iter().chain(bound::of_policies(&tiers, limit)) {
            bound.admit(view, org, wanted)?;
        }
    }
    Ok(())
}

/// Whether a workspace has room for what is moved into it: what its settings and its policy say.
pub(super) fn move_in(
    view: &View<'_>,
    org: Uuid,
    workspace: Uuid,
    taking: Taking,
) -> ApiResult<()> {
    let tiers = Tiers::read(view, org, Some(workspace), None)?;
    for limit in Limit::ALL {
        let wanted = taking.of(limit);
        if wanted == 0 {
            continue;
        }
        let of_policy = bound::of_policies(&tiers, limit)
            .filter(|bound| bound.whose == Whose::Workspace(workspace));
        let of_settings = bound::of_settings(view, org, workspace, limit)?;
        for bound in of_settings.into_iter().chain(of_policy) {
            bound.admit(view, org, wanted)?;
        }
    }
    Ok(())
}

/// How many sandboxes may run for the caller's own creates, where that is bounded, and how many of those do.
fn concurrency(view: &View<'_>, org: Uuid, owner: &Owner) -> ApiResult<(Option<u64>, u64)> {
    let tiers = tiers(view, org, owner)?;
    let of_settings = bound::of_settings(view, org, owner.workspace_id, Limit::Running)?;
    let mut tightest: Option<(Bound, u64)> = None;
    for bound in of_settings.into_iter().chain(bound::of_policies(&tiers, Limit::Running)) {
        let used = bound.used(view, org)?;
        let left = |(bound, used): &(Bound, u64)| bound.value.saturating_sub(*used);
        let candidate = (bound, used);
        if tightest.as_ref().is_none_or(|known| left(&candidate) < left(known)) {
            tightest = Some(candidate);
        }
    }
    match tightest {
        Some((bound, used)) => Ok((Some(bound.value), used)),
        None => Ok((None, Usage::of(view, org, &Whose::Tenant)?.running)),
    }
}
