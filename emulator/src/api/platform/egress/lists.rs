//! Lists of the family: whole, since they are short, and in the words of every client.
//!
//! miosa-go 2.0 reads `data` as an object here and fails on a list, so it gets the list under its own names alone.

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::header::USER_AGENT;
use http::request::Parts;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::scoped::load;
use crate::http::{Answer, ApiError, ApiResult, Caller, codes};
use crate::store::{Filter, Paging, Resource, StoreError, View};

/// How many of a kind an organization may have; a sandbox's decision looks at all of them.
pub(super) const MOST: u32 = 1000;

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    go_sdk: bool,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { go_sdk: agent.is_some_and(|agent| agent.starts_with("miosa-go/")) })
    }
}

impl Reader {
    /// The list; `next` is where a further part begins.
    pub(super) fn list(
        self,
        plural: &'static str,
        items: Vec<Value>,
        next: Option<String>,
    ) -> Answer {
        if self.go_sdk {
            let value = json!({ plural: items, "items": items, "next_cursor": next });
            return Answer::Bare { status: StatusCode::OK, value };
        }
        match Answer::whole(items, plural) {
            Answer::List { items, plural, total, page, size, meta, .. } => {
                Answer::List { items, plural, total, page, size, next_cursor: next, meta }
            }
            other => other,
        }
    }
}

/// Every document of a kind, or those of one sandbox, the newest first.
pub(super) fn every<R: Resource>(
    view: &View<'_>,
    org: Uuid,
    sandbox: Option<Uuid>,
) -> Result<Vec<R>, StoreError> {
    let filter = Filter { org, parent: sandbox, ..Filter::default() };
    Ok(view.page::<R>(&filter, Paging::Cursor { before: None, size: MOST })?.items)
}

/// The sandbox of which a list is asked for, if it is one.
///
/// # Errors
/// 400 for a kind that there is not; else as [`named`].
pub(super) async fn asked(
    app: &App,
    caller: &Caller,
    kind: Option<&str>,
    id: Option<&str>,
) -> ApiResult<Option<Sandbox>> {
    match (kind, id) {
        (None | Some("sandbox"), None) => Ok(None),
        (None | Some("sandbox" | "computer"), _) => named(app, caller, kind, id).await,
        _ => Err(ApiError::parameter("resource_type", "must be sandbox or computer")),
    }
}

/// The sandbox that `resource_type` and `resource_id` name.
///
/// # Errors
/// 404 when there is none that the caller may see; 501 for other kinds, which are not emulated; 422 for one without the
/// other.
pub(super) async fn named(
    app: &App,
    caller: &Caller,
    kind: Option<&str>,
    id: Option<&str>,
) -> ApiResult<Option<Sandbox>> {
    match (kind, id) {
        (None | Some("sandbox"), Some(id)) => {
            let (caller, id) = (caller.clone(), id.to_owned());
            let found =
                app.store.read(move |view| load::<Sandbox>(view, &caller, &id, None)).await?;
            Ok(Some(found))
        }
        (None, None) => Ok(None),
        (Some("sandbox"), None) => {
            Err(ApiError::field("resource_id", "is missing beside resource_type"))
        }
        (Some("computer"), _) => {
            Err(ApiError::new(codes::not_emulated, "Egress of computers is not emulated yet."))
        }
        (Some(_), _) => Err(ApiError::field("resource_type", "must be sandbox or computer")),
    }
}
