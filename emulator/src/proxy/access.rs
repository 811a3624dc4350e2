//! Who may see a preview, and which of our credentials never reach the application.
//!
//! A public preview is for everyone who can reach the emulator. A private one needs a token (in the query, the header
//! `x-miosa-preview-token`, or the cookie that the query leaves behind) or a key that may read the organization's
//! previews. A token is always taken out of the request; a key only where it was what opened the door: any other
//! `Authorization` is the application's own.
//!
//! There are three tokens: a preview's own (`preview_token=miosa_pv_…`), and of its sandbox a preview token (`mt=mp_…`) and a
//! share (`ms=ms_…`). Who shows one of the latter is judged by it, at a public preview too: one that was revoked opens
//! nothing, and one for reading lets pass GET and HEAD and no WebSocket.

use axum::body::Body;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::rewrite::Way;
use crate::api::compute::previews::{Preview, Visibility};
use crate::api::compute::shares::{self, Kind, Scope};
use crate::app::App;
use crate::http::presented::{self, Context};
use crate::http::{ApiError, ApiResult, codes};

/// The query parameter that carries a share token (`develop/previews`).
pub const TOKEN_PARAMETER: &str = "preview_token";
/// Those that carry a token of the sandbox (`api-reference/preview-tokens`, `sandbox-shares`; `mp` and `token`: guides).
const VISITORS: [&str; 4] = ["mt", "ms", "mp", "token"];
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-miosa-preview-token");
const COOKIE_PREFIX: &str = "miosa_preview_";

/// What the API's clients send along by habit and no application asked for.
const OURS: [&str; 3] = ["x-miosa-tenant", "x-miosa-org", "x-miosa-workspace"];

/// The way is free; perhaps the browser should keep the token.
pub(super) struct Pass {
    cookie: Option<(String, String)>,
}

/// Lets the request pass, without our credentials.
///
/// # Errors
/// 401 without a credential, 403 with one that does not open this preview.
pub(super) async fn admit(
    app: &App,
    preview: &Preview,
    request: &mut Request<Body>,
) -> ApiResult<Pass> {
    let cookie = format!("{COOKIE_PREFIX}{}", preview.id.simple());
    let taken = take_tokens(request, &cookie);
    let public = preview.visibility == Visibility::Public;
    let now = app.clock.now(preview.org);
    let looks = matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.headers().contains_key(UPGRADE);
    let of_the_sandbox = taken.all().find(|token| is_visitors(token)).map(str::to_owned);
    // An old cookie is no reason to keep somebody out of what is open to all.
    let shown = of_the_sandbox.filter(|token| !public || taken.cookie.as_ref() != Some(token));
    if let Some(token) = shown {
        match shares::scope_of(app, &token, preview.sandbox_id, now).await? {
            Some(Scope::Read) if !looks => {
                return Err(refused("This token is for reading: GET and HEAD, and no WebSocket."));
            }
            Some(_) => {
                let keep = !public && taken.query.as_ref() == Some(&token);
                return Ok(Pass { cookie: keep.then_some((cookie, token)) });
            }
            None if taken.cookie.as_ref() != Some(&token) => {
                return Err(refused("This token is wrong, has expired or was revoked."));
            }
            None => {}
        }
    }
    if public {
        return Ok(Pass { cookie: None });
    }
    if let Some(token) = taken.all().find(|token| preview.opened_by(token, now)) {
        let keep = taken.query.as_deref() == Some(token);
        return Ok(Pass { cookie: keep.then(|| (cookie, token.to_owned())) });
    }
    // Taken out before anything is awaited: a body cannot be shared between threads.
    let credential = presented::bearer(request.headers()).map(str::to_owned);
    match credential {
        Ok(credential) => {
            let caller = app.identities.identify(app, &credential, &Context::default()).await?;
            let workspace = preview.owner.workspace_id;
            let reaches = caller.org == preview.org
                && caller.bound_workspace.is_none_or(|bound| bound == workspace)
                && caller.may("previews:read");
            if !reaches {
                return Err(refused("This key does not open this preview."));
            }
            request.headers_mut().remove(AUTHORIZATION);
            Ok(Pass { cookie: None })
        }
        Err(_) if taken.all().next().is_some() => {
            Err(refused("This share token is wrong, has expired or was revoked."))
        }
        Err(_) => Err(ApiError::new(
            codes::MISSING_TOKEN,
            "This preview is private. Open it by its share URL, or send `Authorization: Bearer msk_…`.",
        )),
    }
}

/// Whether this is a token of the sandbox, by its first letters.
fn is_visitors(token: &str) -> bool {
    [Kind::Token, Kind::Share].iter().any(|kind| token.starts_with(kind.prefix()))
}

fn refused(message: &str) -> ApiError {
    ApiError::new(codes::FORBIDDEN, message)
}

impl Pass {
    /// Lets the browser keep the token, so that the page's own requests pass too.
    pub(super) fn remember(self, way: &Way, headers: &mut HeaderMap) {
        let Some((name, token)) = self.cookie else { return };
        let path = way.prefix.as_deref().unwrap_or("");
        let cookie = format!("{name}={token}; Path={path}/; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// The share tokens that a request carries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    query: Option<String>,
    header: Option<String>,
    cookie: Option<String>,
}

impl Taken {
    fn all(&self) -> impl Iterator<Item = &str> {
        [&self.query, &self.header, &self.cookie].into_iter().filter_map(Option::as_deref)
    }
}

/// Takes our credentials out of the request.
fn take_tokens(request: &mut Request<Body>, cookie: &str) -> Taken {
    let mut taken = Taken::default();
    if let Some((uri, token)) = without_token(request.uri()) {
        *request.uri_mut() = uri;
        taken.query = Some(token);
    }
    let headers = request.headers_mut();
    let header = headers.remove(TOKEN_HEADER);
    taken.header = header.and_then(|token| token.to_str().ok().map(str::to_owned));
    for name in OURS {
        headers.remove(name);
    }
    taken.cookie = take_cookies(headers, cookie);
    taken
}

/// The URI without its token, and the token. What remains keeps its bytes: it is the application's.
fn without_token(uri: &Uri) -> Option<(Uri, String)> {
    let is_token = |part: &&str| match part.split_once('=') {
        Some((TOKEN_PARAMETER, _)) => true,
        // An application may have parameters of these names; what is ours is told by its value.
        Some((name, value)) => VISITORS.contains(&name) && is_visitors(value),
        None => *part == TOKEN_PARAMETER,
    };
    let query = uri.query()?;
    let token = query.split('&').find(is_token)?;
    let token = token.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default();
    let rest: Vec<&str> = query.split('&').filter(|part| !is_token(part)).collect();
    let path = uri.path();
    let target =
        if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Some((Uri::from_parts(parts).ok()?, token))
}

/// Takes out the cookies that previews have left (of other ports of the same host, too), and puts the others into
/// one header, as HTTP/1.1 wants them.
fn take_cookies(headers: &mut HeaderMap, wanted: &str) -> Option<String> {
    if !headers.contains_key(COOKIE) {
        return None;
    }
    let mut found = None;
    let mut kept: Vec<u8> = Vec::new();
    for header in headers.get_all(COOKIE) {
        for cookie in header.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if cookie.starts_with(COOKIE_PREFIX.as_bytes()) {
                let value = std::str::from_utf8(cookie).ok().and_then(|text| text.split_once('='));
                if let Some((_, value)) = value.filter(|(name, _)| *name == wanted) {
                    found = Some(value.to_owned());
                }
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(cookie);
        }
    }
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(COOKIE, kept);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_credentials_are_taken_out_and_the_rest_stays_to_the_byte() {
        let mut request =
            Request::get("/a%20b?x=%7B&preview_token=miosa_pv_1&y=+1&preview_tokens=2")
                .header("cookie", "a=1; miosa_preview_me=two; miosa_preview_other=3")
                .header("cookie", "b=2")
                .header("x-miosa-preview-token", "three")
                .header("x-miosa-workspace", "w")
                .header("authorization", "Basic dXNlcjpwYXNz")
                .body(Body::empty())
                .unwrap();
        let taken = take_tokens(&mut request, "miosa_preview_me");
        assert_eq!(taken.all().collect::<Vec<_>>(), ["miosa_pv_1", "three", "two"]);
        assert_eq!(request.uri(), "/a%20b?x=%7B&y=+1&preview_tokens=2");
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
        assert_eq!(request.headers()["authorization"], "Basic dXNlcjpwYXNz");
        assert_eq!(request.headers().len(), 2);
    }

    #[test]
    fn an_applications_own_parameter_of_the_same_name_is_not_ours() {
        let mut request = Request::get("/?ms=500&mt=mp_x&token=abc").body(Body::empty()).unwrap();
        let taken = take_tokens(&mut request, "miosa_preview_me");
        assert_eq!(taken.query.as_deref(), Some("mp_x"));
        assert_eq!(request.uri(), "/?ms=500&token=abc");
    }

    #[test]
    fn a_request_without_tokens_stays_as_it_is() {
        let mut request = Request::get("/?x").body(Body::empty()).unwrap();
        assert_eq!(take_tokens(&mut request, "miosa_preview_me"), Taken::default());
        assert_eq!(request.uri(), "/?x");
    }
}
