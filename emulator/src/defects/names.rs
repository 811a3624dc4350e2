//! Names and ids that are given, or kept from being given, wrongly; and the record beside the right one.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::response::Response;
use http::header::ALLOW;
use uuid::{Builder, Uuid, Version};

use crate::api::compute::sandboxes::Sandbox;
use crate::api::platform::projects::Project;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::{Filter, Tx};

static USED: LazyLock<Mutex<HashSet<(Uuid, String)>>> = LazyLock::new(Mutex::default);

/// The name of a sandbox that is being removed.
pub fn remember(sandbox: &Sandbox) {
    if let Some(name) = &sandbox.name {
        USED.lock().unwrap_or_else(PoisonError::into_inner).insert((sandbox.org, name.clone()));
    }
}

/// Refuses a name that a removed sandbox had.
///
/// # Errors
/// 409.
pub fn refuse_used(sandbox: &Sandbox) -> ApiResult<()> {
    let Some(name) = &sandbox.name else { return Ok(()) };
    let used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    if used.contains(&(sandbox.org, name.clone())) {
        return Err(ApiError::new(codes::CONFLICT, "This sandbox name is taken."));
    }
    Ok(())
}

/// The answer without the names of the methods.
pub fn no_methods(mut response: Response) -> Response {
    response.headers_mut().remove(ALLOW);
    response
}

/// An id of version 7.
pub fn id_of_time() -> Uuid {
    Builder::from_bytes(*Uuid::new_v4().as_bytes()).with_version(Version::SortRand).into_uuid()
}

/// The id of whatever preview a sandbox's port has.
pub fn id_of_port((sandbox, port): (Uuid, u16)) -> Uuid {
    crate::ids::derived(&format!("{sandbox} {port}"))
}

/// Writes a project's new description into another one of its workspace, too.
///
/// # Errors
/// When the store fails.
pub fn describe_neighbour(
    tx: &Tx<'_>,
    org: Uuid,
    project: &Project,
    description: Option<String>,
) -> ApiResult<()> {
    let workspace = crate::store::Resource::keys(project).workspace;
    let all: Vec<Project> = tx.every(&Filter { org, workspace, ..Filter::default() })?;
    if let Some(other) = all.into_iter().find(|other| other.id != project.id) {
        tx.update(&Project { description, ..other })?;
    }
    Ok(())
}
