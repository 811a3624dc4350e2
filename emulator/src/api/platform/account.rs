//! Who am I, and is anybody there (`/whoami`: miosa-cli-go; `/platform/tenants/current`: miosa-cli).

use axum::extract::State;
use http::StatusCode;
use serde_json::json;

use super::api_keys::ApiKey;
use super::members::User;
use super::organizations::Organization;
use super::workspaces::Workspace;
use crate::app::App;
use crate::http::auth::Method;
use crate::http::route::Access;
use crate::http::{Answer, ApiError, ApiResult, Caller, Route};

/// Every route of the family.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/whoami", whoami),
        Route::get("/platform/tenants/current", tenant),
        Route::get("/health", health).access(Access::Open),
    ]
    .into_iter()
    .map(|route| route.family("identity"))
    .collect()
}

async fn whoami(State(app): State<App>, caller: Caller) -> ApiResult<Answer> {
    let of_read = caller.clone();
    let (organization, workspace, key) = app
        .store
        .read(move |view| {
            let caller = of_read;
            let key = match caller.key_id {
                Some(id) => view.get::<ApiKey>(caller.org, id)?,
                None => None,
            };
            Ok::<_, ApiError>((
                organization(view.get_any(caller.org)?)?,
                view.get::<Workspace>(caller.org, caller.workspace)?,
                key,
            ))
        })
        .await?;
    let method = match caller.method {
        Method::OpenKey | Method::ApiKey => "api_key",
        Method::Scoped => "scoped",
    };
    let owner = User::owner(caller.org);
    Answer::ok(&json!({
        "user": {
            "id": caller.user_id,
            "email": owner.email,
            "name": owner.name,
            "external_user_id": caller.external_user_id,
        },
        "organization": {
            "id": organization.id, "name": organization.name, "slug": organization.slug,
        },
        "workspace": workspace.map(|workspace| json!({
            "id": workspace.id, "name": workspace.name, "slug": workspace.slug,
        })),
        "plan": { "name": organization.plan },
        "auth": {
            "method": method,
            "minted": caller.method != Method::OpenKey,
            "scopes": caller.scopes.as_deref().unwrap_or_default(),
            "unrestricted": caller.scopes.is_none(),
            "workspace_id": caller.bound_workspace,
            "key": key.map(|key| json!({ "id": key.id, "name": key.name })),
        },
        "scopes": caller.scopes.as_deref().unwrap_or_default(),
    }))
}

fn organization(found: Option<Organization>) -> ApiResult<Organization> {
    found.ok_or_else(|| ApiError::internal("the caller's organization is not there"))
}

async fn tenant(State(app): State<App>, caller: Caller) -> ApiResult<Answer> {
    let found = app.store.read(move |view| organization(view.get_any(caller.org)?)).await?;
    Answer::ok(&json!({
        "id": found.id,
        "name": found.name,
        "slug": found.slug,
        "plan": found.plan,
        "plan_name": found.plan,
        // Nothing is billed here, so there is no balance to tell.
        "credit_balance": null,
        "default_workspace_id": found.default_workspace_id,
        "inserted_at": found.created_at,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }))
}

async fn health() -> Answer {
    Answer::Bare { status: StatusCode::OK, value: json!({ "status": "ok" }) }
}
