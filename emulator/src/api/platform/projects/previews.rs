//! `/projects/{id}/previews`: settings for previews of pull requests, one row a repository (miosa-python 2.19).
//!
//! Such a preview is a deployment from a repository, which is not emulated. So there are no settings, and none can be made:
//! settings that do nothing would be a wrong answer.

use super::Project;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Route, Scoped, codes};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/projects/{id}/previews", list).scope("projects:read"),
        Route::put("/projects/{id}/previews", put).scope("projects:write"),
        Route::delete("/projects/{id}/previews/{preview_id}", delete).scope("projects:write"),
    ]
}

async fn list(_: Scoped<Project>) -> ApiResult<Answer> {
    Ok(Answer::whole(Vec::new(), "previews"))
}

async fn put(_: Scoped<Project>) -> ApiResult<Answer> {
    Err(ApiError::new(
        codes::not_emulated,
        "Previews of pull requests are deployments from a repository, which are not emulated. Nothing was stored.",
    ))
}

async fn delete(_: Scoped<Project>, path: PathValues) -> ApiResult<Answer> {
    Err(ApiError::not_found("preview", path.at(1)))
}
