//! Who belongs to a workspace, and invites to it (miosa-python 2.19, miosa-go 2.0, miosa-elixir 1.1).
//!
//! The organization's owner owns each workspace until somebody changes that. Others come by an invite: whoever brings its
//! token is taken for the person at that address, since no mail is sent here and nobody signs in. For the same reason a
//! role says what somebody is and does not bound a credential: every key acts for the organization's owner.

mod invite;
mod invite_routes;
mod record;
mod roster;
mod routes;
mod user;

pub use invite::Invite;
pub use record::{Member, Role};
pub use user::User;

use uuid::Uuid;

use crate::http::{ApiResult, Route};
use crate::store::Tx;

/// Every route of members and invites.
pub fn routes() -> Vec<Route> {
    routes::routes().into_iter().chain(invite_routes::routes()).collect()
}

/// Forgets who belonged to a workspace that is removed.
pub(super) fn forget(tx: &Tx<'_>, org: Uuid, workspace: Uuid) -> ApiResult<()> {
    tx.remove_children::<Member>(org, workspace)?;
    tx.remove_children::<Invite>(org, workspace)?;
    Ok(())
}
