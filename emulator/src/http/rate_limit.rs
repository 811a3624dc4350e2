//! Rate limits (`api-reference`, overview): 300 a minute per workspace, 20 on auth endpoints, 60 without a valid
//! credential.
//!
//! A window of policy time begins with its first request and lasts 60 seconds: counters never run backwards within
//! it, and `Retry-After` is exactly what is left of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use uuid::Uuid;

use super::auth::Caller;
use super::codes;
use super::error::ApiError;
use super::exchange::{self, Exchange};
use super::route::Access;
use crate::app::{App, Peer};
use crate::clock::Timestamp;
use crate::defects::defect;

/// Whether and how requests are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// Not at all; no headers.
    Off,
    /// Counted and told in headers and journal, never refused.
    Observe,
    /// This many a minute per workspace.
    PerMinute(u32),
}

impl std::str::FromStr for RateLimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "observe" => Ok(Self::Observe),
            number => match number.parse() {
                Ok(0) | Err(_) => {
                    Err("expected off, observe, or requests per minute from 1".into())
                }
                Ok(n) => Ok(Self::PerMinute(n)),
            },
        }
    }
}

/// The documented limit per workspace.
pub const DEFAULT_PER_MINUTE: u32 = 300;
const AUTH_PER_MINUTE: u32 = 20;
const UNAUTHENTICATED_PER_MINUTE: u32 = 60;
const WINDOW_SECONDS: i64 = 60;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bucket {
    Workspace(Uuid),
    Key(Uuid),
    Auth(Uuid),
    Address(Option<IpAddr>),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: Timestamp,
    used: u32,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Limiter {
    windows: Mutex<HashMap<Bucket, Window>>,
}

/// What one request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    limit: u32,
    remaining: u32,
    /// Whole seconds until the window ends, at least 1.
    reset: u64,
    over: bool,
}

impl Limiter {
    fn count(&self, bucket: Bucket, limit: u32, now: Timestamp) -> Counted {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        // Buckets come and go with workspaces and addresses; old windows are no use to anyone.
        if windows.len() > 10_000 {
            windows.retain(|_, window| window.ends > now);
        }
        let window = windows.entry(bucket).or_insert(Window { ends: Timestamp(i64::MIN), used: 0 });
        if window.ends <= now {
            *window = Window { ends: now.plus_seconds(WINDOW_SECONDS), used: 0 };
        }
        let most = match () {
            () if defect!(LimitOneEarly) => limit.saturating_sub(1),
            () if defect!(LimitOneLate) => limit.saturating_add(1),
            () => limit,
        };
        let over = window.used >= most;
        if !over {
            window.used += 1;
        } else if defect!(RefusedProlongs) {
            window.ends = now.plus_seconds(WINDOW_SECONDS);
        }
        let left_ms = u64::try_from(window.ends.millis_since(now)).unwrap_or(0);
        Counted {
            limit,
            remaining: limit - window.used.min(limit),
            reset: defect!(RetryAfterOne, 1, left_ms.div_ceil(1000).max(1)),
            over,
        }
    }

    /// Forgets a workspace's counter.
    pub fn forget(&self, workspace: Uuid) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.remove(&Bucket::Workspace(workspace));
        windows.remove(&Bucket::Auth(workspace));
    }

    /// Counts a request against what the key's own record allows, where it says something (miosa-cli-go).
    fn count_key(&self, caller: &Caller, now: Timestamp) -> Option<Counted> {
        let key = caller.key_id?;
        let limit = caller.rules.as_ref()?.per_minute?;
        Some(self.count(Bucket::Key(key), limit, now))
    }
}

/// The limit of a bucket where limiting is on; `None` where it is off.
fn limit_of(config: RateLimit, bucket: &Bucket) -> Option<u32> {
    let per_minute = match config {
        RateLimit::Off => return None,
        RateLimit::Observe => DEFAULT_PER_MINUTE,
        RateLimit::PerMinute(n) => n,
    };
    Some(match bucket {
        Bucket::Workspace(_) | Bucket::Key(_) => per_minute,
        Bucket::Auth(_) => AUTH_PER_MINUTE,
        Bucket::Address(_) => UNAUTHENTICATED_PER_MINUTE,
    })
}

fn refusal(counted: Counted) -> ApiError {
    ApiError::new(
        codes::RATE_LIMITED,
        format!(
            "More than {} requests in a minute. Wait {} s, or lift the limit: start the emulator with --rate-limit off.",
            counted.limit, counted.reset
        ),
    )
    .retry_after(counted.reset)
}

fn tell(response: &mut Response, counted: Counted) {
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from(counted.limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(counted.remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(counted.reset));
}

/// The address that a request comes from.
pub fn address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.0.ip())
}

/// Counts a request that brings no valid credential, and tells: its 401, or past 60 a minute its 429.
pub fn count_refused(
    app: &App,
    exchange: &Exchange,
    address: Option<IpAddr>,
    error: ApiError,
) -> Response {
    if error.code.status != 401 || defect!(StrangersUnlimited) {
        return error.into_response();
    }
    let bucket = Bucket::Address(address);
    let Some(limit) = limit_of(app.config.rate_limit, &bucket) else {
        return error.into_response();
    };
    let counted = app.limiter.count(bucket, limit, app.clock.base());
    let observed = app.config.rate_limit == RateLimit::Observe;
    if counted.over && observed {
        exchange.flag("would_limit");
    }
    let mut response =
        if counted.over && !observed { refusal(counted) } else { error }.into_response();
    tell(&mut response, counted);
    response
}

/// Counts, tells, refuses.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(exchange) = exchange::of(request.extensions()) else { return next.run(request).await };
    let access = exchange.route.get().map_or(Access::Key, |route| route.access);
    let (bucket, now) = match (access, exchange.caller.get()) {
        (Access::Open | Access::Uncounted, _) => return next.run(request).await,
        (_, None) if defect!(StrangersUnlimited) => return next.run(request).await,
        (_, Some(caller)) if defect!(LimitPerKey) && caller.key_id.is_some() => {
            (Bucket::Workspace(caller.key_id.unwrap_or_default()), app.clock.now(caller.org))
        }
        (_, Some(caller)) if defect!(LimitPerConnection) => {
            let peer = request.extensions().get::<ConnectInfo<Peer>>();
            let peer = format!("{} {:?}", caller.workspace, peer.map(|ConnectInfo(peer)| peer.0));
            (Bucket::Workspace(crate::ids::derived(&peer)), app.clock.now(caller.org))
        }
        (_, Some(caller)) if defect!(LimitPerOrganization) => {
            (Bucket::Workspace(caller.org), app.clock.now(caller.org))
        }
        (Access::AuthEndpoint, Some(caller)) if !defect!(AuthAsAny) => {
            (Bucket::Auth(caller.workspace), app.clock.now(caller.org))
        }
        (_, Some(caller)) => (Bucket::Workspace(caller.workspace), app.clock.now(caller.org)),
        (_, None) => (Bucket::Address(address(&request)), app.clock.base()),
    };
    let Some(limit) = limit_of(app.config.rate_limit, &bucket) else {
        return next.run(request).await;
    };
    let mut counted = app.limiter.count(bucket, limit, now);
    // What the workspace refuses does not count against the key.
    if !counted.over
        && let Some(of_key) =
            exchange.caller.get().and_then(|caller| app.limiter.count_key(caller, now))
        && of_key.remaining < counted.remaining.max(1)
    {
        counted = of_key;
    }
    let mut response = if counted.over && app.config.rate_limit != RateLimit::Observe {
        defect!(LimitedButDone => drop(next.run(request).await));
        super::answer::finish(refusal(counted).into_response(), &exchange)
    } else {
        if counted.over {
            exchange.flag("would_limit");
        }
        next.run(request).await
    };
    tell(&mut response, counted);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_300th_request_passes_and_the_301st_does_not() {
        let limiter = Limiter::default();
        let (here, there) = (Bucket::Workspace(Uuid::new_v4()), Bucket::Workspace(Uuid::new_v4()));
        let start = Timestamp(1_000_000);
        let mut remaining = 300;
        for _ in 0..300 {
            let counted = limiter.count(here.clone(), 300, start);
            assert!(!counted.over);
            remaining -= 1;
            assert_eq!(counted.remaining, remaining);
        }
        let refused = limiter.count(here.clone(), 300, start.plus_seconds(10));
        assert!(refused.over);
        assert_eq!(refused.reset, 50);
        assert!(!limiter.count(there, 300, start).over);
        assert!(limiter.count(here.clone(), 300, Timestamp(start.0 + 59_999)).over);
        assert!(!limiter.count(here, 300, start.plus_seconds(60)).over);
    }
}
