//! Signed tokens: JWTs with HS256, the emulator's own only.
//!
//! What a token may do stands in its record, not in its claims: the signature proves that the emulator made it, the
//! record says whether it still counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::http::{ApiError, ApiResult, codes};

/// The setting that holds the signing key.
pub(super) const SETTING: &str = "jwt_key";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The record.
    pub(super) jti: Uuid,
    /// The organization.
    pub(super) org: Uuid,
    /// The end user.
    pub(super) sub: String,
    /// The workspace.
    pub(super) workspace_id: Uuid,
    /// What it may do.
    pub(super) scopes: Vec<String>,
    /// Made at, in seconds of policy time.
    pub(super) iat: i64,
    /// Counts until.
    pub(super) exp: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

fn mac(key: &str) -> ApiResult<Hmac<Sha256>> {
    Hmac::new_from_slice(key.as_bytes()).map_err(|error| ApiError::internal(error.to_string()))
}

/// The token that says this.
pub(super) fn sign(key: &str, claims: &Claims) -> ApiResult<String> {
    let claims =
        serde_json::to_vec(claims).map_err(|error| ApiError::internal(error.to_string()))?;
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = mac(key)?.chain_update(&signed).finalize().into_bytes();
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// What a token says, when the emulator has signed it.
///
/// # Errors
/// 401 `INVALID_TOKEN` for anything else.
pub(super) fn verify(key: &str, token: &str) -> ApiResult<Claims> {
    let invalid = || {
        ApiError::new(
            codes::INVALID_TOKEN,
            "This token was not signed by this emulator. Make one with POST /api/v1/tokens/scoped, or use a key (msk_…).",
        )
    };
    let (signed, signature) = token.rsplit_once('.').ok_or_else(invalid)?;
    let (header, claims) = signed.split_once('.').ok_or_else(invalid)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid());
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| invalid())?;
    if header.alg != "HS256" {
        return Err(invalid());
    }
    mac(key)?.chain_update(signed).verify_slice(&decode(signature)?).map_err(|_| invalid())?;
    serde_json::from_slice(&decode(claims)?).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            jti: Uuid::from_u128(1),
            org: Uuid::from_u128(2),
            sub: "u".into(),
            workspace_id: Uuid::from_u128(3),
            scopes: vec!["sandboxes:read".into()],
            iat: 1,
            exp: 2,
        }
    }

    #[test]
    fn a_token_reads_back_with_its_key_only() {
        let token = sign("k", &claims()).unwrap();
        assert!(token.starts_with("eyJ"));
        assert_eq!(verify("k", &token).unwrap(), claims());
        assert_eq!(verify("other", &token).unwrap_err().code, codes::INVALID_TOKEN);
    }

    #[test]
    fn a_changed_or_unsigned_token_is_refused() {
        let token = sign("k", &claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let mut other = claims();
        other.scopes = vec!["*".into()];
        let wider = sign("x", &other).unwrap();
        for forged in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.{}", parts[0], wider.split('.').nth(1).unwrap(), parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            "a.b.c".into(),
            "..".into(),
        ] {
            assert_eq!(verify("k", &forged).unwrap_err().code, codes::INVALID_TOKEN, "{forged}");
        }
    }
}
