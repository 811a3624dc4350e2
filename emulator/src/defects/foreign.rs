//! What one organization sees of another's.

use axum::http::Method;
use uuid::Uuid;

use super::defect;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::exchange::Exchange;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::{Resource, View};

/// What is answered instead of the refusal of a row that the caller may not see.
///
/// # Errors
/// The refusal, or one that tells more.
pub fn instead<R: Resource>(
    view: &View<'_>,
    method: &Method,
    named: &str,
    refusal: ApiError,
) -> ApiResult<R> {
    let Ok(id) = Uuid::parse_str(named) else { return Err(refusal) };
    let Some(row) = view.get_any::<R>(id)? else { return Err(refusal) };
    let shown = match R::KIND {
        "snapshot" => defect!(ForeignSnapshotRead) && *method == Method::GET,
        "sandbox" => defect!(ForeignSandboxChanged) && *method == Method::PATCH,
        "api_key" => defect!(ForeignKeyRead) && *method == Method::GET,
        _ => false,
    };
    match R::KIND {
        _ if shown => Ok(row),
        "workspace" if defect!(ForeignIsForbidden) => {
            Err(ApiError::new(codes::FORBIDDEN, "You may not see this workspace."))
        }
        "project" if defect!(ForeignIsTold) => Err(ApiError {
            message: format!("Project {id} belongs to another organization."),
            ..refusal
        }),
        _ => Err(refusal),
    }
}

/// Whether the id that ends the path is a sandbox's, whoever's it is.
pub async fn sandbox_is_there(app: &App, exchange: &Exchange) -> bool {
    let path = exchange.target.split('?').next().unwrap_or_default();
    let Ok(id) = Uuid::parse_str(path.rsplit('/').next().unwrap_or_default()) else { return false };
    let found = app.store.read(move |view| view.get_any::<Sandbox>(id).map_err(ApiError::from));
    found.await.is_ok_and(|sandbox| sandbox.is_some())
}
