//! New secrets, and who may have one.

use uuid::Uuid;

use super::super::ownership::out_of_bounds;
use super::record::KeyType;
use super::{ApiKey, RetiredKey};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::auth::Method;
use crate::http::{ApiError, ApiResult, Caller, codes};
use crate::ids;
use crate::store::{Tx, View};

/// A secret, in the form of its role (`api-reference/authentication`).
pub(super) fn secret(key_type: KeyType) -> ApiResult<String> {
    let letter = match key_type {
        KeyType::User => 'u',
        KeyType::Admin => 'a',
        KeyType::Platform => 'p',
    };
    let random = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(format!("msk_{letter}_{random}"))
}

impl ApiKey {
    /// Takes over what may be known of a secret.
    pub(super) fn set_secret(&mut self, secret: &str) {
        self.fingerprint = ids::fingerprint(secret);
        self.prefix = secret.chars().take(12).collect();
        self.last_four = secret.chars().skip(secret.chars().count().saturating_sub(4)).collect();
    }
}

/// Ends a key at once. Its fingerprint stays, so that its next use is told why.
pub(in super::super) fn retire(
    tx: &Tx<'_>,
    app: &App,
    key: &ApiKey,
    now: Timestamp,
) -> ApiResult<()> {
    retire_secret(tx, app, key, now)?;
    tx.remove::<ApiKey>(key.org, key.id)?;
    Ok(())
}

/// Keeps the fingerprint of a secret that no longer counts.
pub(super) fn retire_secret(tx: &Tx<'_>, app: &App, key: &ApiKey, now: Timestamp) -> ApiResult<()> {
    Ok(tx.insert(&RetiredKey {
        id: app.ids.next(),
        org: key.org,
        key_id: key.id,
        fingerprint: key.fingerprint.clone(),
        at: now,
    })?)
}

fn forbidden(message: &str) -> ApiError {
    ApiError::new(codes::FORBIDDEN, message)
}

/// A token for an end user makes and changes no keys (`platform/browser-tokens`).
pub(in super::super) fn not_a_token(caller: &Caller) -> ApiResult<()> {
    match caller.method {
        Method::Scoped => Err(forbidden("A scoped token makes and changes no keys or tokens.")),
        Method::OpenKey | Method::ApiKey => Ok(()),
    }
}

/// Whether the caller may make a key with this role: a `user` key makes `user` keys only.
pub(super) fn may_make(view: &View<'_>, caller: &Caller, key_type: KeyType) -> ApiResult<()> {
    not_a_token(caller)?;
    let Some(own) = caller.key_id else { return Ok(()) };
    let own = view.get::<ApiKey>(caller.org, own)?;
    let user = own.is_none_or(|own| own.key_type == KeyType::User);
    if user && key_type != KeyType::User {
        return Err(forbidden("A user key makes and changes user keys only."));
    }
    Ok(())
}

/// Whether the caller may change this key: it must reach as far as the key does, or it could widen itself.
pub(super) fn may_change(view: &View<'_>, caller: &Caller, key: &ApiKey) -> ApiResult<()> {
    if caller.key_id == Some(key.id) {
        return Ok(());
    }
    may_make(view, caller, key.key_type)?;
    let within = match (&caller.scopes, &key.scopes) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(scopes)) => scopes.iter().all(|scope| caller.may(scope)),
    };
    if within { Ok(()) } else { Err(forbidden("This key may do more than the caller.")) }
}

/// The workspace that a new key is bound to: the asked one, else the caller's own bond.
pub(in super::super) fn bond(
    view: &View<'_>,
    caller: &Caller,
    asked: Option<&str>,
) -> ApiResult<Option<Uuid>> {
    let Some(asked) = asked else { return Ok(caller.bound_workspace) };
    let found = super::super::ownership::named_workspace(view, caller.org, asked)?;
    match (found, caller.bound_workspace) {
        (Some(found), None) => Ok(Some(found.id)),
        (Some(found), Some(bound)) if found.id == bound => Ok(Some(bound)),
        (_, Some(_)) => Err(out_of_bounds()),
        (None, None) => Err(ApiError::new(
            codes::WORKSPACE_NOT_FOUND,
            format!("workspace_id: there is no workspace {asked}."),
        )),
    }
}
