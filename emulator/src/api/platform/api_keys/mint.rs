//! New secrets, and who may have one.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::ownership::out_of_bounds;
use super::record::KeyType;
use super::{ApiKey, RetiredKey};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::auth::Method;
use crate::http::networks::Network;
use crate::http::{ApiError, ApiResult, Caller, codes};
use crate::ids;

/// The longest that `expires_in_days` may say.
const MOST_DAYS: u32 = 3650;

/// A key to make.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Wanted {
    pub(in super::super) name: String,
    pub(in super::super) key_type: KeyType,
    pub(in super::super) purpose: Option<String>,
    /// What it may do; `None` is everything.
    pub(in super::super) scopes: Option<Vec<String>>,
    pub(in super::super) workspace_id: Option<Uuid>,
    pub(in super::super) external_user_id: Option<String>,
    pub(in super::super) service_account_id: Option<Uuid>,
    pub(in super::super) rate_limit_rpm: Option<u32>,
    pub(in super::super) allowed_ips: Vec<Network>,
    pub(in super::super) metadata: Map<String, Value>,
    pub(in super::super) expires_at: Option<Timestamp>,
}

/// Makes the key; answers it with its secret, which is told nowhere else.
pub(in super::super) fn issue(
    tx: &Tx<'_>,
    app: &App,
    org: Uuid,
    wanted: Wanted,
    now: Timestamp,
) -> ApiResult<(ApiKey, String)> {
    let secret = secret(wanted.key_type)?;
    let mut key = ApiKey {
        id: app.ids.next(),
        org,
        name: wanted.name,
        key_type: wanted.key_type,
        purpose: wanted.purpose.unwrap_or_else(|| "api".into()),
        fingerprint: String::new(),
        prefix: String::new(),
        last_four: String::new(),
        scopes: wanted.scopes,
        workspace_id: wanted.workspace_id,
        external_user_id: wanted.external_user_id,
        rate_limit_rpm: wanted.rate_limit_rpm,
        allowed_ips: wanted.allowed_ips,
        inactive: false,
        service_account_id: wanted.service_account_id,
        metadata: wanted.metadata,
        expires_at: wanted.expires_at,
        last_used_at: None,
        created_at: now,
        updated_at: now,
    };
    key.set_secret(&secret);
    tx.insert(&key)?;
    Ok((key, secret))
}

/// When a key ends that is to end at a moment or after some days.
///
/// # Errors
/// 422 for both at once, and for what lies in the past or too far off.
pub(in super::super) fn expiry(
    at: Option<Timestamp>,
    in_days: Option<u32>,
    now: Timestamp,
) -> ApiResult<Option<Timestamp>> {
    match (at, in_days) {
        (Some(_), Some(_)) => {
            Err(ApiError::field("expires_in_days", "say this or expires_at, not both"))
        }
        (Some(at), None) if at <= now => {
            Err(ApiError::field("expires_at", "must be in the future"))
        }
        (at, None) => Ok(at),
        (None, Some(days)) if (1..=MOST_DAYS).contains(&days) => {
            Ok(Some(now.plus_seconds(i64::from(days) * 86_400)))
        }
        (None, Some(_)) => Err(ApiError::field(
            "expires_in_days",
            format!("must be a whole number from 1 to {MOST_DAYS}"),
        )),
    }
}

/// The most addresses and networks that a key may name.
const MOST_NETWORKS: usize = 100;

/// What a key may be held back by.
///
/// # Errors
/// 422 for no requests at all, and for too many networks.
pub(in super::super) fn check_rules(rate: Option<u32>, networks: &[Network]) -> ApiResult<()> {
    if rate == Some(0) {
        return Err(ApiError::field("rate_limit_rpm", "must be a whole number from 1"));
    }
    if networks.len() > MOST_NETWORKS {
        return Err(ApiError::field("allowed_ips", format!("at most {MOST_NETWORKS}")));
    }
    Ok(())
}
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

/// What was made for an end user makes and changes no keys (`platform/browser-tokens`; miosa-python 2.19, delegation).
pub(in super::super) fn not_a_token(caller: &Caller) -> ApiResult<()> {
    if caller.method == Method::Scoped || caller.external_user_id.is_some() {
        return Err(forbidden("A credential of an end user makes and changes no keys or tokens."));
    }
    Ok(())
}

/// Owners and admins only (miosa-python 2.19): presets, delegation keys, service accounts.
pub(in super::super) fn administers(view: &View<'_>, caller: &Caller) -> ApiResult<()> {
    may_make(view, caller, KeyType::Admin)
        .map_err(|_| forbidden("This needs an owner's or an admin's credential."))
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
