//! The contract, served: `GET /openapi.json`.

use http::StatusCode;

use crate::http::route::Access;
use crate::http::{Answer, ApiError, ApiResult, Route};

/// The route that serves the document.
pub fn routes() -> Vec<Route> {
    vec![Route::get("/openapi.json", serve).family("identity").access(Access::Open)]
}

async fn serve() -> ApiResult<Answer> {
    // The first call bundles, which takes a moment.
    let document = tokio::task::spawn_blocking(miosa_openapi::document)
        .await
        .map_err(|error| ApiError::internal(format!("the contract cannot be read: {error}")))?;
    Ok(Answer::Bare { status: StatusCode::OK, value: document.clone() })
}
