//! `GET /limits`: what a create would meet now, for the caller as it is (miosa-go 2.0; miosa-cli-go).

use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use serde_json::json;

use super::super::organizations::Organization;
use super::concurrency;
use crate::app::App;
use crate::http::ownership::Owner;
use crate::http::{Answer, ApiError, ApiResult, Caller, Route, codes};

/// The route.
pub fn routes() -> Vec<Route> {
    vec![Route::get("/limits", limits).family("limits")]
}

/// The organization that is asked to pay (`X-Miosa-Bill-To`): only the caller's own can be.
struct BillTo(Option<String>);

impl<S: Sync> FromRequestParts<S> for BillTo {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let named = parts.headers.get("x-miosa-bill-to").and_then(|value| value.to_str().ok());
        Ok(Self(named.map(str::trim).filter(|named| !named.is_empty()).map(str::to_owned)))
    }
}

async fn limits(State(app): State<App>, caller: Caller, bill_to: BillTo) -> ApiResult<Answer> {
    let owner = Owner {
        workspace_id: caller.workspace,
        project_id: None,
        external_workspace_id: None,
        external_user_id: caller.external_user_id.clone(),
        external_project_id: None,
    };
    let (organization, limit, running) = app
        .store
        .read(move |view| {
            let organization = view
                .get_any::<Organization>(caller.org)?
                .ok_or_else(|| ApiError::internal("the caller's organization is not there"))?;
            let (limit, running) = concurrency(view, caller.org, &owner)?;
            Ok::<_, ApiError>((organization, limit, running))
        })
        .await?;
    let source = match bill_to.0 {
        None => "credential",
        Some(named) if is_called(&organization, &named) => "request",
        Some(named) => {
            return Err(ApiError::new(
                codes::ORG_NOT_FOUND,
                format!("X-Miosa-Bill-To: this credential reaches no organization {named:?}."),
            ));
        }
    };
    let mut blocked = Vec::new();
    if limit.is_some_and(|limit| running >= limit) {
        blocked.push("concurrency_limit_reached");
    }
    Answer::ok(&json!({
        "organization": {
            "id": organization.id, "name": organization.name, "slug": organization.slug,
            "type": "personal", "role": "owner",
        },
        "source": source,
        "can_start": blocked.is_empty(),
        "blocked_reasons": blocked,
        // Nothing is billed here, so there is nothing to tell.
        "credits": { "balance_cents": null, "available_cents": null },
        "plan": { "name": organization.plan },
        "concurrency": {
            "limit": limit,
            "running": running,
            "remaining": limit.map(|limit| limit.saturating_sub(running)),
        },
        "spend": { "mode": "not_metered", "cap_cents": null, "accounted_cents": null, "status": "ok" },
        "member": null,
    }))
}

fn is_called(organization: &Organization, named: &str) -> bool {
    named.eq_ignore_ascii_case(&organization.slug)
        || named.eq_ignore_ascii_case(&organization.name)
        || named.eq_ignore_ascii_case(&organization.id.to_string())
}
