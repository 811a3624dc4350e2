//! Workspaces: the customers of an organization, each with projects and sandboxes of its own.

mod activity;
mod cleanup;
mod contents;
mod look;
mod record;
mod removal;
mod routes;
mod settings;
mod transfer;
mod usage;

pub(super) use activity::note;
pub(super) use contents::{admit, by_state, target};
pub use record::Workspace;
pub use routes::routes;

use uuid::Uuid;

use crate::http::ApiResult;
use crate::store::View;

/// Every workspace of an organization.
pub(super) fn ids(view: &View<'_>, org: Uuid) -> ApiResult<Vec<Uuid>> {
    let all = view.all::<Workspace>()?;
    Ok(all.into_iter().filter(|workspace| workspace.org == org).map(|found| found.id).collect())
}
