//! `/_emulator/*`: what only an emulator has.
//!
//! Everything acts on the caller's organization (the default one without a credential) unless asked for all, so
//! that tests that run in parallel never see each other.

mod clock;
mod coverage;
mod device;
mod health;
mod requests;
mod reset;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;
use uuid::Uuid;

use crate::api::platform;
use crate::app::{App, Peer};
use crate::http::auth::AuthMode;
use crate::http::route::Access;
use crate::http::{ApiError, ApiResult, Route, codes, exchange};

/// Every control route; paths are below `/_emulator`.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/health", health::get),
        Route::post("/reset", reset::post).ends_with_client(),
        Route::get("/clock", clock::get),
        Route::post("/clock", clock::post),
        Route::get("/requests", requests::get),
        Route::get("/coverage", coverage::get),
        Route::get("/device", device::page),
        Route::post("/device", device::decide),
    ]
    .into_iter()
    .map(|route| route.family("control").access(Access::Open))
    .collect()
}

/// Who operates the emulator. On loopback nobody needs a credential; where only minted keys pass, or from another
/// computer, a valid one is needed, and one without scopes: these routes can empty an organization.
pub(crate) struct Operator {
    /// The organization that the request acts on.
    pub(crate) org: Uuid,
    /// Whether it may act on all of them.
    pub(crate) everything: bool,
}

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    App: FromRef<S>,
{
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let app = App::from_ref(state);
        let near = parts
            .extensions
            .get::<ConnectInfo<Peer>>()
            .is_some_and(|ConnectInfo(peer)| peer.0.ip().is_loopback());
        let trusted = near && app.config.auth != AuthMode::Strict;
        let exchange = exchange::of(&parts.extensions)?;
        match exchange.caller.get() {
            Some(caller) if caller.scopes.is_some() || caller.bound_workspace.is_some() => {
                Err(ApiError::new(
                    codes::FORBIDDEN,
                    "Control needs a credential without scopes or workspace.",
                ))
            }
            Some(caller) => Ok(Self { org: caller.org, everything: trusted }),
            None if trusted => {
                Ok(Self { org: platform::organizations::default_id(), everything: true })
            }
            None => Err(ApiError::new(
                codes::MISSING_TOKEN,
                "Control needs a credential here: Authorization: Bearer msk_…",
            )),
        }
    }
}

impl Operator {
    /// # Errors
    /// 403 unless it may act on all organizations.
    fn require_everything(&self) -> ApiResult<()> {
        if self.everything {
            return Ok(());
        }
        Err(ApiError::new(
            codes::FORBIDDEN,
            "`all` works from this computer only, and not with --auth strict.",
        ))
    }
}
