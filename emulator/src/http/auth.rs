//! Who is asking, and may they.
//!
//! This layer takes what the request presents (`presented`), asks the [`Identities`] (which `platform` implements), and
//! checks the route's scope. What a caller may *see* is decided where rows are loaded (`scoped`), never here.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use serde::Serialize;
use uuid::Uuid;

use super::codes;
use super::error::{ApiError, ApiResult};
use super::exchange::{self, Exchange};
use super::networks::Network;
use super::presented::{Carried, Context};
use super::route::{Access, RouteInfo};
use crate::app::App;
use crate::defects::defect;

/// How strict credentials are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthMode {
    /// Any well-formed key works.
    #[default]
    Open,
    /// As open; the journal flags what strict would refuse.
    Audit,
    /// Only keys that this emulator has minted.
    Strict,
}

/// What kind of credential it is (`whoami`: `auth.method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A key that nobody minted: works out of the box, owns its organization.
    OpenKey,
    /// A key that this emulator has minted.
    ApiKey,
    /// A short-lived token that this emulator has signed.
    Scoped,
}

/// Whether the text can be a key. Any visible letters do: the quickstart of miosa-python 2.19 says `msk_live_...`, and people
/// run it as it stands.
pub fn is_key(text: &str) -> bool {
    text.len() <= 256
        && text
            .strip_prefix("msk_")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
}

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organization.
    pub org: Uuid,
    /// The workspace that the credential is bound to: it sees nothing else.
    pub bound_workspace: Option<Uuid>,
    /// The workspace of this request: the header's, else the credential's, else the organization's default one.
    pub workspace: Uuid,
    /// Whether the header chose it.
    pub workspace_chosen: bool,
    /// What kind of credential.
    pub method: Method,
    /// The key's record, where there is one.
    pub key_id: Option<Uuid>,
    /// The user it acts for.
    pub user_id: Uuid,
    /// The end user that a scoped token was made for.
    pub external_user_id: Option<String>,
    /// What it may do; `None` is everything.
    pub scopes: Option<Vec<String>>,
    /// What holds it back besides; `None` where nothing does.
    pub rules: Option<Arc<KeyRules>>,
}

/// What a key's record says of its use (miosa-cli-go).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Requests a minute, beside the workspace's.
    pub per_minute: Option<u32>,
    /// Where it may be used from; empty is anywhere.
    pub networks: Vec<Network>,
}

impl KeyRules {
    /// Whether the key may be used from this address.
    fn admit(&self, address: Option<IpAddr>) -> bool {
        let within = |address| self.networks.iter().any(|network| network.contains(address));
        self.networks.is_empty() || address.is_some_and(within)
    }
}

impl Caller {
    /// Whether it may do what `scope` names. `resource:write` includes `create` and `exec` of that resource.
    pub fn may(&self, scope: &str) -> bool {
        let Some(scopes) = &self.scopes else { return true };
        scopes.iter().any(|held| grants(held, scope))
    }
}

/// Whether holding `held` is enough where `needed` is needed.
pub fn grants(held: &str, needed: &str) -> bool {
    if held == needed || held == "*" {
        return true;
    }
    let (Some((resource, level)), Some((held_resource, held_level))) =
        (needed.split_once(':'), held.split_once(':'))
    else {
        return false;
    };
    if defect!(ScopeByPrefix) && resource.get(..3) == held_resource.get(..3) && level == held_level
    {
        return true;
    }
    let included =
        matches!(level, "create" | "exec") || (defect!(WriteReads) && matches!(level, "read"));
    resource == held_resource && (held_level == "*" || (held_level == "write" && included))
}

/// Knows credentials. Implemented by `platform`.
#[async_trait]
pub trait Identities: Send + Sync {
    /// The caller that this credential and these headers name.
    ///
    /// # Errors
    /// 401 with a code of its own for each reason; 403 `INVALID_TENANT_CONTEXT` for headers that the credential
    /// does not reach.
    async fn identify(&self, app: &App, credential: &str, context: &Context) -> ApiResult<Caller>;

    /// Forgets what is remembered of an organization's credentials: one was changed, or what they reach. Called
    /// after that change is committed and before it is answered.
    fn forget(&self, org: Uuid);
}

/// Identifies the caller and checks the scope. Routes that are open pass without; an unknown route passes with
/// whatever credential it brings, so that its 404 is told to anyone.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    // The body cannot be shared between threads, so what is needed of the request is taken out first.
    let exchange = match exchange::of(request.extensions()) {
        Ok(exchange) => exchange,
        Err(error) => return error.into_response(),
    };
    let ticketed = exchange.route.get().is_some_and(|route| route.ticketed);
    let said = Said {
        carried: Carried::of(request.headers(), request.uri().query(), ticketed),
        address: super::rate_limit::address(&request),
    };
    let address = said.address;
    match check(&app, &exchange, said).await {
        Ok(()) => next.run(request).await,
        Err(error) => {
            defect!(ForbiddenButDone => if error.code == codes::FORBIDDEN
                && exchange.route.get().is_some_and(|route| route.path.starts_with("/projects"))
            {
                drop(next.run(request).await);
            });
            super::rate_limit::count_refused(&app, &exchange, address, error)
        }
    }
}

/// What a request says of who sends it.
struct Said {
    carried: ApiResult<Carried>,
    address: Option<IpAddr>,
}

async fn check(app: &App, exchange: &Exchange, said: Said) -> ApiResult<()> {
    let route = exchange.route.get();
    let presented = said.carried.and_then(|carried| match carried {
        Carried::Credential(presented) => Ok(presented),
        Carried::Ticket(ticket) => {
            let route = route.map_or("", |route| route.path);
            let redeemed = app.tickets.redeem(&app.clock, &ticket, route)?;
            // A ticket without an errand is used up all the same, and must not be redeemed again for one.
            exchange.bring(redeemed.errand.unwrap_or_else(|| Box::new(())));
            Ok(redeemed.holder)
        }
    });
    let identified = match presented {
        Ok(who) => app.identities.identify(app, &who.credential, &who.context).await,
        Err(error) => Err(error),
    };
    defect!(SandboxToldBeforeCredential => if identified.is_err()
        && route.is_some_and(|route| route.path == "/sandboxes/{id}")
        && crate::defects::foreign::sandbox_is_there(app, exchange).await
    {
        return Err(ApiError::new(codes::FORBIDDEN, "You may not see this sandbox."));
    });
    let caller = match identified {
        Ok(caller) => caller,
        Err(_)
            if defect!(OneRouteOpen)
                && route.is_some_and(|route| route.path == "/workspaces/{id}/stats") =>
        {
            app.identities.identify(app, "msk_live_anonymous", &Context::default()).await?
        }
        Err(_) if route.is_none_or(|route| route.access == Access::Open) => return Ok(()),
        Err(error) => return Err(error),
    };
    let admitted = caller.rules.as_ref().is_none_or(|rules| rules.admit(said.address));
    if !admitted && !defect!(AddressesIgnored) {
        return Err(ApiError::new(
            codes::FORBIDDEN,
            "This key may not be used from this address (allowed_ips).",
        ));
    }
    if caller.method == Method::OpenKey && app.config.auth == AuthMode::Audit {
        exchange.flag("would_refuse:key_not_minted");
    }
    let refusal =
        route.and_then(|route| needed(route)).filter(|scope| !caller.may(scope)).map(|scope| {
            ApiError::new(
                codes::FORBIDDEN,
                format!("Insufficient scope: this request needs {scope}."),
            )
        });
    let _ = exchange.at.set(app.clock.now(caller.org));
    let _ = exchange.caller.set(caller);
    refusal.map_or(Ok(()), Err)
}

/// The scope that a route needs.
fn needed(route: &RouteInfo) -> Option<&'static str> {
    if defect!(RouteWithoutScope)
        && route.method == http::Method::DELETE
        && route.path == "/sandboxes/{id}"
    {
        return None;
    }
    if defect!(ExecNeedsWrite) && route.scope == Some("sandboxes:exec") {
        return Some("sandboxes:write");
    }
    route.scope
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        exchange::of(&parts.extensions)?.caller.get().cloned().ok_or_else(|| {
            ApiError::new(codes::MISSING_TOKEN, "This request has no valid credential.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_begins_with_msk_and_goes_on() {
        for good in [
            "msk_x",
            "msk_live_abc",
            "msk_test_A-b_9",
            "msk_live_...",
            &format!("msk_{}", "a".repeat(252)),
        ] {
            assert!(is_key(good), "{good}");
        }
        let long = format!("msk_{}", "a".repeat(253));
        for bad in ["", "msk_", "msk", "mki_x", "MSK_x", "msk_a b", "msk_ä", "sk_x", &long] {
            assert!(!is_key(bad), "{bad}");
        }
    }

    #[test]
    fn write_includes_create_and_exec_but_not_read() {
        assert!(grants("sandboxes:write", "sandboxes:exec"));
        assert!(grants("sandboxes:*", "sandboxes:read"));
        assert!(!grants("sandboxes:write", "sandboxes:read"));
        assert!(!grants("sandboxes:read", "sandboxes:write"));
        assert!(!grants("previews:write", "sandboxes:exec"));
    }
}
