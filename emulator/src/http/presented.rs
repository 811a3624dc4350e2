//! How a request says who sends it: a credential in its header, and on streams also what a browser can send, which sets
//! no headers on an `EventSource` or a WebSocket: a ticket in the query, or a key as second subprotocol.

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::codes;
use super::error::{ApiError, ApiResult};

/// The subprotocol that carries a key (miosa-typescript).
const BEARER_PROTOCOL: &str = "bearer.";

/// What is read of a stream's query here, before its handler.
pub const PARAMETERS: [&str; 3] = ["ticket", "tenant", "workspace"];

/// What the headers ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// `X-MIOSA-Tenant` (or `X-Miosa-Org`): id or slug.
    pub tenant: Option<String>,
    /// `X-MIOSA-Workspace`: id or slug.
    pub workspace: Option<String>,
}

/// A credential with what was asked for beside it: enough to identify the caller, now or again later.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// The key or token.
    pub credential: String,
    /// Organization and workspace.
    pub context: Context,
}

impl<S: Sync> FromRequestParts<S> for Presented {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Ok(Self {
            credential: bearer(&parts.headers)?.to_owned(),
            context: context(&parts.headers),
        })
    }
}

/// What a request brings.
#[derive(PartialEq, Eq)]
pub enum Carried {
    /// A credential.
    Credential(Presented),
    /// A stream ticket, to be redeemed for one.
    Ticket(String),
}

impl Carried {
    /// Of a request; what only streams take is looked at when the route is one. The header counts before the rest.
    ///
    /// # Errors
    /// 401 `MISSING_TOKEN` without any, `INVALID_TOKEN` for a header that is malformed.
    pub fn of(headers: &HeaderMap, query: Option<&str>, stream: bool) -> ApiResult<Self> {
        let context = context(headers);
        if !stream || headers.contains_key(AUTHORIZATION) {
            let credential = bearer(headers)?.to_owned();
            return Ok(Self::Credential(Presented { credential, context }));
        }
        let asked: Vec<(String, String)> =
            serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
        let value = |name: &str| {
            asked
                .iter()
                .find(|(asked, text)| asked == name && !text.is_empty())
                .map(|(_, text)| text.clone())
        };
        if let Some(credential) =
            protocols(headers).find_map(|name| name.strip_prefix(BEARER_PROTOCOL))
        {
            // A browser can say where only in the query (miosa-cli).
            let context = Context {
                tenant: context.tenant.or_else(|| value("tenant")),
                workspace: context.workspace.or_else(|| value("workspace")),
            };
            return Ok(Self::Credential(Presented { credential: credential.to_owned(), context }));
        }
        value("ticket").map(Self::Ticket).ok_or_else(missing)
    }
}

/// The subprotocols that a WebSocket asks for, in order.
pub fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

fn missing() -> ApiError {
    ApiError::new(
        codes::MISSING_TOKEN,
        "This request has no credential. Send `Authorization: Bearer msk_…`; any well-formed msk_ key works here.",
    )
}

/// The bearer token of a request.
///
/// # Errors
/// 401 `MISSING_TOKEN` without one, `INVALID_TOKEN` for another scheme.
pub fn bearer(headers: &HeaderMap) -> ApiResult<&str> {
    let value = headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let malformed = || {
        ApiError::new(
            codes::INVALID_TOKEN,
            "The Authorization header is malformed. Send `Authorization: Bearer msk_…`.",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(token)
}

fn context(headers: &HeaderMap) -> Context {
    let text = |name: HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Context {
        tenant: text(HeaderName::from_static("x-miosa-tenant"))
            .or_else(|| text(HeaderName::from_static("x-miosa-org"))),
        workspace: text(HeaderName::from_static("x-miosa-workspace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_whatever_the_case_of_its_scheme() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers).unwrap_err().code, codes::MISSING_TOKEN);
        headers.insert(AUTHORIZATION, "bearer msk_x".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap(), "msk_x");
        headers.insert(AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap_err().code, codes::INVALID_TOKEN);
    }

    fn carried(headers: &[(HeaderName, &str)], query: &str, stream: bool) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        match Carried::of(&map, Some(query), stream) {
            Ok(Carried::Credential(Presented { credential, context })) => {
                format!("{credential} {}", context.workspace.unwrap_or_default())
            }
            Ok(Carried::Ticket(ticket)) => format!("ticket {ticket}"),
            Err(error) => error.code.name.to_owned(),
        }
    }

    #[test]
    fn a_ticket_and_a_subprotocol_count_on_streams_only_and_after_the_header() {
        let key = (AUTHORIZATION, "Bearer msk_a");
        let protocol = (SEC_WEBSOCKET_PROTOCOL, "miosa-exec-v1, bearer.msk_b");
        let query = "ticket=sset_1&workspace=w";
        assert_eq!(carried(&[], query, false), "MISSING_TOKEN");
        assert_eq!(carried(std::slice::from_ref(&protocol), query, false), "MISSING_TOKEN");
        assert_eq!(carried(&[], query, true), "ticket sset_1");
        assert_eq!(carried(std::slice::from_ref(&protocol), query, true), "msk_b w");
        assert_eq!(carried(&[key, protocol], query, true), "msk_a ");
        assert_eq!(carried(&[], "ticket=", true), "MISSING_TOKEN");
    }
}
