//! Rows that prove access: a handler that takes `Scoped<Sandbox>` cannot get one that its caller may not see.
//!
//! A row of another organization, or outside the workspace that the credential is bound to, is 404: as if it were
//! not there.

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use http::request::Parts;
use uuid::Uuid;

use super::auth::Caller;
use super::error::{ApiError, ApiResult};
use super::exchange::{self, Subject};
use crate::app::App;
use crate::defects::defect;
use crate::store::{Keys, Resource, View};

/// The row that the path's parameter at `POSITION` (from 0) names. One at a later position must be a part of the first.
#[derive(Debug, Clone)]
pub struct Scoped<R, const POSITION: usize = 0>(pub R);

impl<R, const POSITION: usize> std::ops::Deref for Scoped<R, POSITION> {
    type Target = R;
    fn deref(&self) -> &R {
        &self.0
    }
}

impl<S, R, const POSITION: usize> FromRequestParts<S> for Scoped<R, POSITION>
where
    S: Send + Sync,
    App: FromRef<S>,
    R: Resource,
{
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let app = App::from_ref(state);
        let caller = Caller::from_request_parts(parts, state).await?;
        let values = path_values(parts, state).await?;
        let named = values.get(POSITION).cloned().ok_or_else(|| {
            ApiError::internal("a handler asks for a path parameter that its route lacks")
        })?;
        let parent = if POSITION == 0 {
            None
        } else {
            values.first().and_then(|value| Uuid::parse_str(value).ok())
        };
        #[cfg(feature = "defects")]
        let method = parts.method.clone();
        let row = app.store.read(move |view| {
            let row = load::<R>(view, &caller, &named, parent);
            #[cfg(feature = "defects")]
            let row = row.or_else(|e| crate::defects::foreign::instead(view, &method, &named, e));
            row
        });
        let row = row.await?;
        if POSITION == 0 {
            let Keys { id, workspace, .. } = row.keys();
            let _ = exchange::of(&parts.extensions)?.subject.set(Subject {
                kind: R::KIND,
                id,
                workspace,
            });
        }
        Ok(Self(row))
    }
}

/// The path's parameters in order, decoded.
pub async fn path_values<S: Send + Sync>(parts: &mut Parts, state: &S) -> ApiResult<Vec<String>> {
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|error| {
        if defect!(BadPercentCrashes) {
            return ApiError::internal(error.to_string());
        }
        ApiError::new(super::codes::INVALID_PATH, error.to_string())
    })?;
    let values = params.iter().map(|(_, value)| value.to_owned());
    if defect!(PercentStays) {
        let raw = parts.uri.path();
        return Ok(values.map(|v| if raw.contains(&v) { v } else { format!("%{v}") }).collect());
    }
    Ok(values.collect())
}

/// The path's parameters in order, decoded: for names and other values that are no row.
#[derive(Debug, Clone)]
pub struct PathValues(pub Vec<String>);

impl PathValues {
    /// The value at a position, from 0.
    pub fn at(&self, position: usize) -> &str {
        self.0.get(position).map_or("", String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathValues {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        path_values(parts, state).await.map(Self)
    }
}

/// Loads the row that `named` (an id, or where the kind allows it a slug or name) names for the caller.
///
/// # Errors
/// 404 when there is none that the caller may see.
pub fn load<R: Resource>(
    view: &View<'_>,
    caller: &Caller,
    named: &str,
    parent: Option<Uuid>,
) -> ApiResult<R> {
    let found = match Uuid::parse_str(named) {
        Ok(id) => view.get::<R>(caller.org, id)?,
        Err(_) if R::BY_NAME => match view.by_slug::<R>(caller.org, named)? {
            Some(row) => Some(row),
            None => view.by_name::<R>(caller.org, named)?,
        },
        Err(error) if defect!(MalformedIdCrashes) => {
            return Err(ApiError::internal(error.to_string()));
        }
        Err(_) => None,
    };
    found
        .filter(|row| visible(row, caller))
        .filter(|row| parent.is_none() || row.keys().parent == parent)
        .ok_or_else(|| ApiError::not_found(R::KIND, named))
}

/// Whether the caller may see the row: its organization is checked by the query, its workspace here.
pub fn visible<R: Resource>(row: &R, caller: &Caller) -> bool {
    let keys = row.keys();
    let within = if R::KIND == "workspace" { Some(keys.id) } else { keys.workspace };
    caller.bound_workspace.is_none_or(|bound| within == Some(bound))
        || (defect!(NeighbourSnapshotRead) && R::KIND == "snapshot")
}
