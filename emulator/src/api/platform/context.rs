//! Where a request acts: its credential's organization and workspace, or those that its headers choose.
//!
//! A header never widens what a credential reaches: another tenant, an unknown workspace, or one outside the
//! credential's own, are all 403 `INVALID_TENANT_CONTEXT`. With `--adopt` the emulator takes over what it is asked
//! for instead: a setup copied from the cloud names ids that are not there yet.

use uuid::Uuid;

use super::credential::Credential;
use super::organizations::{self, New, Organization};
use super::ownership;
use super::workspaces::Workspace;
use crate::app::App;
use crate::http::auth::{Caller, Method};
use crate::http::presented::Context;
use crate::http::{ApiError, ApiResult, codes, validation};
use crate::store::{Tx, View};

fn refused(header: &str, asked: &str) -> ApiError {
    ApiError::new(
        codes::INVALID_TENANT_CONTEXT,
        format!(
            "{header}: this credential reaches no {asked:?}. Start the emulator with --adopt to have such ids made as they are asked for."
        ),
    )
}

/// The caller that a credential is with these headers.
///
/// # Errors
/// 403 `INVALID_TENANT_CONTEXT`; 401 `TOKEN_REVOKED` when the workspace that the credential is bound to is gone.
pub(super) async fn place(app: &App, credential: Credential, asked: &Context) -> ApiResult<Caller> {
    let (of_read, read_asked) = (credential.clone(), asked.clone());
    let placed = app.store.read(move |view| look(view, &of_read, &read_asked)).await;
    match placed {
        Err(error) if error.code == codes::INVALID_TENANT_CONTEXT && app.config.adopt => {
            adopt(app, credential, asked.clone(), error).await
        }
        other => other,
    }
}

fn look(view: &View<'_>, credential: &Credential, asked: &Context) -> ApiResult<Caller> {
    let organization = view
        .get_any::<Organization>(credential.org)?
        .ok_or_else(|| ApiError::internal("a credential's organization is not there"))?;
    if let Some(tenant) = &asked.tenant
        && *tenant != organization.slug
        && !is_id(tenant, organization.id)
    {
        return Err(refused("X-MIOSA-Tenant", tenant));
    }
    let bound = credential.bound_workspace;
    let workspace = match &asked.workspace {
        Some(named) => ownership::named_workspace(view, credential.org, named)?
            .map(|workspace| workspace.id)
            .filter(|id| bound.is_none_or(|bound| bound == *id))
            .ok_or_else(|| refused("X-MIOSA-Workspace", named))?,
        None => bound.unwrap_or(organization.default_workspace_id),
    };
    if let Some(bound) = bound
        && view.get::<Workspace>(credential.org, bound)?.is_none()
    {
        return Err(ApiError::new(
            codes::TOKEN_REVOKED,
            "The workspace that this credential is bound to is gone.",
        ));
    }
    Ok(caller(credential, &organization, workspace, asked.workspace.is_some()))
}

fn is_id(text: &str, id: Uuid) -> bool {
    Uuid::parse_str(text).is_ok_and(|parsed| parsed == id)
}

fn caller(
    credential: &Credential,
    organization: &Organization,
    workspace: Uuid,
    workspace_chosen: bool,
) -> Caller {
    Caller {
        org: organization.id,
        bound_workspace: credential.bound_workspace,
        workspace,
        workspace_chosen,
        method: credential.method,
        key_id: credential.key_id,
        user_id: organization.owner_user_id,
        external_user_id: credential.external_user_id.clone(),
        scopes: credential.scopes.clone(),
        rules: credential.rules.clone(),
    }
}

/// Makes what the headers name. Only for keys that nobody minted: a minted key stays where it was minted.
async fn adopt(
    app: &App,
    mut credential: Credential,
    asked: Context,
    refusal: ApiError,
) -> ApiResult<Caller> {
    if credential.method != Method::OpenKey {
        return Err(refusal);
    }
    let of_app = app.clone();
    app.store
        .write(move |tx| {
            let organization =
                adopted(tx, &of_app, credential.org, asked.tenant.as_deref(), &refusal)?;
            credential.org = organization.id;
            let workspace = match &asked.workspace {
                Some(named) => ownership::adopt_workspace(tx, &of_app, organization.id, named)
                    .map_err(|_| refusal.clone())?,
                None => organization.default_workspace_id,
            };
            Ok(caller(&credential, &organization, workspace, asked.workspace.is_some()))
        })
        .await
}

/// The credential's own organization, or the one that is asked for.
fn adopted(
    tx: &Tx<'_>,
    app: &App,
    own: Uuid,
    tenant: Option<&str>,
    refusal: &ApiError,
) -> ApiResult<Organization> {
    let own = tx.get_any::<Organization>(own)?.ok_or_else(|| refusal.clone())?;
    let Some(tenant) = tenant else { return Ok(own) };
    if tenant == own.slug {
        return Ok(own);
    }
    if let Ok(id) = Uuid::parse_str(tenant) {
        return organizations::ensure(tx, app, New::of_id(id));
    }
    if let Some(known) = tx.by_slug_any::<Organization>(tenant)? {
        return Ok(known);
    }
    validation::slug("X-MIOSA-Tenant", tenant).map_err(|_| refusal.clone())?;
    organizations::ensure(tx, app, New::of_slug(tenant))
}
