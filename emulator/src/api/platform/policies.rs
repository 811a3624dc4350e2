//! Policies: what an organization, a workspace or an end user may use (miosa-go 2.0; miosa-python 2.19).
//!
//! One document of a few sections at three tiers. What a request may do is decided field by field: the end user's
//! policy first, then the workspace's, then the organization's, then the platform's defaults. Which fields there are,
//! and which of them mean something here, is one table ([`field`]); what is not in it is refused.
//! Enforcing is [`super::limits`]' part.

mod bulk;
mod document;
mod effective;
pub mod field;
mod record;
mod routes;

pub use document::Policy;
pub use effective::Tiers;
pub use record::{Tier, TierPolicy};
pub use routes::routes;
pub(super) use routes::user_of;

use crate::http::auth::Caller;
use crate::http::{ApiError, ApiResult, codes};

/// Policies are written by those who manage the organization (miosa-go 2.0: `manage_policy`), which a credential that
/// was made for an end user or for one workspace does not.
///
/// # Errors
/// 403.
pub(super) fn may_manage(caller: &Caller, of: &Tier) -> ApiResult<()> {
    let within = match of {
        Tier::Workspace(id) => caller.bound_workspace.is_none_or(|bound| bound == *id),
        Tier::Tenant | Tier::User(_) => caller.bound_workspace.is_none(),
    };
    if within && caller.external_user_id.is_none() {
        return Ok(());
    }
    Err(ApiError::new(codes::FORBIDDEN, "This credential may not manage this policy."))
}

/// Who may read what is said of an end user: the end user's own credential, and those who manage the organization.
///
/// # Errors
/// 403.
pub(super) fn may_read(caller: &Caller, user: &str) -> ApiResult<()> {
    let own = match &caller.external_user_id {
        Some(own) => own == user,
        None => caller.bound_workspace.is_none(),
    };
    if own {
        return Ok(());
    }
    Err(ApiError::new(codes::FORBIDDEN, "This credential may not read what belongs to this user."))
}
