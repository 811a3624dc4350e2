//! API keys that the emulator mints. Of a secret only its fingerprint, its first twelve and its last four letters are
//! kept. (The answer that carried it is kept for replays of its idempotency key, like every answer, for a day.)

mod delegation;
mod mint;
mod presets;
mod record;
mod routes;

pub(super) use mint::{Wanted, administers, bond, check_rules, expiry, issue, not_a_token, retire};
pub(super) use presets::saved;
pub use record::{ApiKey, RetiredKey};
pub use routes::routes;
pub(super) use routes::with_secret;

use uuid::Uuid;

use crate::http::ApiResult;
use crate::store::View;

/// The keys of an organization that are bound to no workspace.
pub(super) fn unbound(view: &View<'_>, org: Uuid) -> ApiResult<Vec<ApiKey>> {
    let mut all = view.all::<ApiKey>()?;
    all.retain(|key| key.org == org && key.workspace_id.is_none());
    Ok(all)
}
