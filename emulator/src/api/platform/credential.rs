//! What a credential's text is: a token that the emulator has signed, a key that it has minted, or a key that nobody
//! minted, which works all the same unless `--auth strict`.

use std::sync::Arc;

use uuid::Uuid;

use super::api_keys::{ApiKey, RetiredKey};
use super::jwt;
use super::organizations::{self, New};
use super::tokens::ScopedToken;
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::auth::{self, AuthMode, KeyRules, Method};
use crate::http::{ApiError, ApiResult, codes};
use crate::ids;

/// A credential, found, before the headers are looked at.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    pub(super) org: Uuid,
    pub(super) bound_workspace: Option<Uuid>,
    pub(super) method: Method,
    pub(super) key_id: Option<Uuid>,
    pub(super) external_user_id: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) rules: Option<Arc<KeyRules>>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) last_used_at: Option<Timestamp>,
}

/// Finds it.
///
/// # Errors
/// 401 `INVALID_TOKEN`, `TOKEN_REVOKED`; expiry is the caller's to check.
pub(super) async fn find(app: &App, text: &str) -> ApiResult<Credential> {
    if !text.starts_with("msk_") && text.split('.').count() == 3 {
        return token(app, text).await;
    }
    if !auth::is_key(text) && !defect!(AnyBearerPasses) {
        return Err(ApiError::new(
            codes::INVALID_TOKEN,
            "This is no key and no token of this emulator. Keys begin with msk_; any well-formed one works (msk_test_… has an organization of its own).",
        ));
    }
    key(app, text).await
}

fn revoked() -> ApiError {
    ApiError::new(codes::TOKEN_REVOKED, "This credential has been revoked.")
}

async fn token(app: &App, text: &str) -> ApiResult<Credential> {
    let text = text.to_owned();
    app.store
        .read(move |view| {
            let key = view
                .setting(jwt::SETTING)?
                .ok_or_else(|| ApiError::internal("there is no signing key"))?;
            let claims = jwt::verify(&key, &text)?;
            // No record: revoked, or its organization was emptied.
            let token = view.get::<ScopedToken>(claims.org, claims.jti)?.ok_or_else(revoked)?;
            if token.revoked {
                return Err(revoked());
            }
            Ok(Credential {
                org: token.org,
                bound_workspace: Some(token.workspace_id),
                method: Method::Scoped,
                key_id: None,
                external_user_id: Some(token.user_id),
                scopes: Some(token.scopes),
                rules: None,
                expires_at: Some(token.expires_at),
                last_used_at: None,
            })
        })
        .await
}

async fn key(app: &App, text: &str) -> ApiResult<Credential> {
    let fingerprint = ids::fingerprint(text);
    let of_read = fingerprint.clone();
    let minted = app
        .store
        .read(move |view| {
            if let Some(key) = view.by_external_any::<ApiKey>(&of_read)? {
                return Ok(Some(key));
            }
            match view.by_external_any::<RetiredKey>(&of_read)? {
                Some(_) => Err(revoked()),
                None => Ok(None),
            }
        })
        .await?;
    if let Some(key) = minted {
        if key.inactive && !defect!(InactiveKeyWorks) {
            return Err(ApiError::new(
                codes::TOKEN_INACTIVE,
                "This key is inactive. Set its status to active.",
            ));
        }
        let rules = KeyRules { per_minute: key.rate_limit_rpm, networks: key.allowed_ips };
        return Ok(Credential {
            org: key.org,
            bound_workspace: key.workspace_id,
            method: Method::ApiKey,
            key_id: Some(key.id),
            external_user_id: key.external_user_id,
            scopes: key.scopes,
            rules: (rules != KeyRules::default()).then(|| Arc::new(rules)),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        });
    }
    if app.config.auth == AuthMode::Strict && app.config.root_key.as_deref() != Some(&fingerprint) {
        return Err(ApiError::new(
            codes::INVALID_TOKEN,
            "This emulator has not minted this key, and it runs with --auth strict. Mint one with POST /api/v1/api-keys, using a minted key or the one that the emulator was started with (--root-key).",
        ));
    }
    let org = if text.starts_with("msk_test_") {
        test_organization(app, fingerprint).await?
    } else {
        organizations::default_id()
    };
    Ok(Credential {
        org,
        bound_workspace: None,
        method: Method::OpenKey,
        key_id: None,
        external_user_id: None,
        scopes: None,
        rules: None,
        expires_at: None,
        last_used_at: None,
    })
}

async fn test_organization(app: &App, fingerprint: String) -> ApiResult<Uuid> {
    let of_app = app.clone();
    app.store
        .write(move |tx| Ok(organizations::ensure(tx, &of_app, New::of_test_key(&fingerprint))?.id))
        .await
}
