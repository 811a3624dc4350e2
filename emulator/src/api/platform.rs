//! The platform chapter: organizations and who acts in them, workspaces, projects, keys and tokens.

mod context;
mod credential;
pub mod identities;
mod jwt;
pub mod organizations;
pub mod ownership;
mod places;

pub mod account;
pub mod api_keys;
pub mod audit;
pub mod device_login;
pub mod egress;
pub mod events;
pub mod limits;
pub mod members;
pub mod policies;
pub mod projects;
pub mod quotas;
pub mod scopes;
pub mod service_accounts;
pub mod tickets;
pub mod tokens;
pub mod workspaces;

use uuid::Uuid;

use crate::app::App;
use crate::http::auth::AuthMode;
use crate::http::{ApiError, ApiResult, Route};
use crate::ids;
use crate::store::Tx;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    [
        account::routes(),
        workspaces::routes(),
        projects::routes(),
        api_keys::routes(),
        tokens::routes(),
        tickets::routes(),
        service_accounts::routes(),
        device_login::routes(),
        events::routes(),
        egress::routes(),
        audit::routes(),
        members::routes(),
        policies::routes(),
        quotas::routes(),
        limits::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What must be there before the first request: the default organization, the key that signs tokens, and the clocks
/// as they had been moved.
///
/// # Errors
/// When the store fails.
pub async fn prepare(app: &App) -> ApiResult<()> {
    let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let of_app = app.clone();
    let offsets = app
        .store
        .write(move |tx| {
            tx.setting_or(jwt::SETTING, || secret)?;
            // Before anything is written, so that nothing gets a time before the last run's.
            let offsets = tx.settings_with("clock:")?;
            for (org, offset) in &offsets {
                if let (Ok(org), Ok(offset)) = (Uuid::parse_str(org), offset.parse()) {
                    of_app.clock.set_offset_ms(org, offset);
                }
            }
            organizations::ensure(tx, &of_app, organizations::New::default_one())?;
            Ok::<_, ApiError>(offsets.len())
        })
        .await?;
    tracing::debug!("prepared; {offsets} clocks have been moved");
    Ok(())
}

/// Empties an organization: its workspaces, keys, requests and events are gone, a fresh default workspace and
/// project are there. Where only minted keys pass, the ones without a workspace of their own stay, or nobody could
/// come in again. Machines are the caller's to remove: `gather` sees what there is, in the same transaction.
///
/// # Errors
/// When the store fails.
pub async fn reset<T: Send + 'static>(
    app: &App,
    org: Uuid,
    gather: impl FnOnce(&Tx<'_>) -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    let of_app = app.clone();
    let (workspaces, gathered) = app
        .store
        .write(move |tx| {
            let gathered = gather(tx)?;
            let keep = match of_app.config.auth {
                AuthMode::Strict => api_keys::unbound(tx, org)?,
                AuthMode::Open | AuthMode::Audit => Vec::new(),
            };
            let workspaces = workspaces::ids(tx, org)?;
            tx.remove_organization_content(org)?;
            organizations::furnish(tx, &of_app, org)?;
            for key in keep {
                tx.insert(&key)?;
            }
            Ok::<_, ApiError>((workspaces, gathered))
        })
        .await?;
    app.identities.forget(org);
    app.tickets.forget(org);
    for workspace in workspaces {
        app.limiter.forget(workspace);
    }
    Ok(gathered)
}
