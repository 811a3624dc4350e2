//! Who a credential is.
//!
//! Every request asks, so answers are kept in memory: what was resolved once (credential and headers together) needs
//! no read again until something of its organization changes. Expiry is looked at each time, since it comes by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::api_keys::ApiKey;
use super::{context, credential};
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::auth::{Caller, Identities};
use crate::http::presented::Context;
use crate::http::{ApiError, ApiResult, codes};

/// `last_used_at` of a key is written at most this often.
const USED_EVERY_MS: i64 = 60_000;
/// Past this many answers all are forgotten: they are cheap to find again.
const MOST: usize = 10_000;

/// A resolved credential.
#[derive(Debug)]
struct Known {
    caller: Caller,
    expires_at: Option<Timestamp>,
    /// When its use was last noted.
    used: AtomicI64,
}

#[derive(Debug, Default)]
struct Cache {
    known: HashMap<[u8; 32], Arc<Known>>,
    /// Counts what was forgotten: an answer that was being found meanwhile may be stale and is not kept.
    forgotten: u64,
}

/// The emulator's own credentials.
#[derive(Debug, Default)]
pub struct PlatformIdentities {
    cache: RwLock<Cache>,
}

#[async_trait]
impl Identities for PlatformIdentities {
    async fn identify(&self, app: &App, credential: &str, context: &Context) -> ApiResult<Caller> {
        let digest = digest(credential, context);
        let (known, forgotten) = {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            (cache.known.get(&digest).cloned(), cache.forgotten)
        };
        let cached = known.is_some();
        let known = if let Some(known) = known {
            known
        } else {
            let found = Arc::new(find(app, credential, context).await?);
            self.keep(digest, &found, forgotten);
            found
        };
        let now = app.clock.now(known.caller.org);
        if known.expires_at.is_some_and(|at| at <= now) && !(defect!(ExpiryCached) && cached) {
            return Err(ApiError::new(
                codes::TOKEN_EXPIRED,
                "This credential has expired. Make a new one.",
            ));
        }
        note_use(app, &known, now);
        Ok(known.caller.clone())
    }

    fn forget(&self, org: Uuid) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.forgotten += 1;
        cache.known.retain(|_, known| known.caller.org != org);
    }
}

impl PlatformIdentities {
    fn keep(&self, digest: [u8; 32], found: &Arc<Known>, forgotten: u64) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.forgotten != forgotten {
            return;
        }
        if cache.known.len() >= MOST {
            cache.known.clear();
        }
        cache.known.insert(digest, Arc::clone(found));
    }
}

/// Credential and headers together. Secrets are not kept in memory as they are.
fn digest(credential: &str, context: &Context) -> [u8; 32] {
    let mut digest = Sha256::new();
    let parts = [Some(credential), context.tenant.as_deref(), context.workspace.as_deref()];
    for part in parts {
        digest.update(part.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
        digest.update(part.unwrap_or_default());
    }
    digest.finalize().into()
}

async fn find(app: &App, text: &str, context: &Context) -> ApiResult<Known> {
    let found = credential::find(app, text).await?;
    let used = AtomicI64::new(found.last_used_at.map_or(i64::MIN, |at| at.0));
    let expires_at = found.expires_at;
    let caller = context::place(app, found, context).await?;
    Ok(Known { caller, expires_at, used })
}

/// Writes that a key was used, now and then and behind the request.
fn note_use(app: &App, known: &Known, now: Timestamp) {
    let Some(key) = known.caller.key_id else { return };
    let used = known.used.load(Ordering::Relaxed);
    if now.0.saturating_sub(used) < USED_EVERY_MS
        || known.used.compare_exchange(used, now.0, Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    let (org, store) = (known.caller.org, app.store.clone());
    app.tasks.spawn(async move {
        let written: ApiResult<_> = store
            .write(move |tx| Ok(tx.modify::<ApiKey>(org, key, |key| key.last_used_at = Some(now))?))
            .await;
        if let Err(error) = written {
            tracing::debug!("the use of a key was not noted: {:?}", error.log);
        }
    });
}
