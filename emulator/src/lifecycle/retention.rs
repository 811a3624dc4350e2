//! How long events and the audit log are kept. Their caps by count hold whenever something is written; this is the age.

use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// Seconds that events are kept: 30 days.
pub const LASTING_SECONDS: i64 = 30 * 24 * 3600;
/// Seconds that the audit log is kept: 90 days.
pub const AUDIT_SECONDS: i64 = 90 * 24 * 3600;

/// Removes what is older.
///
/// # Errors
/// When the store fails.
pub async fn sweep(app: &App) -> ApiResult<usize> {
    let clock = app.clone();
    app.store
        .write(move |tx| {
            let mut removed = 0;
            for org in tx.event_orgs()? {
                let now = clock.clock.now(org);
                removed += tx.expire_events(org, now.plus_seconds(-LASTING_SECONDS))?;
                removed += tx.expire_deeds(org, now.plus_seconds(-AUDIT_SECONDS))?;
            }
            Ok::<_, ApiError>(removed)
        })
        .await
}
