//! Who a credential is.

use async_trait::async_trait;

use crate::app::App;
use crate::http::auth::{Caller, Context, Identities};
use crate::http::{ApiError, ApiResult, codes};

/// The emulator's own credentials.
pub struct PlatformIdentities;

#[async_trait]
impl Identities for PlatformIdentities {
    async fn identify(&self, _: &App, _: &str, _: &Context) -> ApiResult<Caller> {
        Err(ApiError::new(codes::INVALID_TOKEN, "x"))
    }
}
