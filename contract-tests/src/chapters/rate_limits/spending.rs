//! Requests that cost little, to spend a limit with, and the counters that they are told.

use http::Method;
use proptest::prelude::*;
use serde_json::json;

use crate::case::made::at_once;
use crate::case::{Client, Reply, Sending};
use crate::fault::Fault;
use crate::session::Session;

/// The documented limit per workspace.
pub(super) const GENERAL: usize = 300;
/// On auth endpoints.
pub(super) const AUTH: usize = 20;

/// Endpoints that mint a short-lived credential.
pub(super) const AUTH_ENDPOINTS: &[&str] =
    &["/auth/sse-ticket", "/tokens/scoped", "/api-keys/scoped"];

/// How many requests are under way at once.
const BUNCH: usize = 25;

/// A request that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Head,
    Nothing,
    Refused,
    Elsewhere,
}

pub(super) fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(KINDS.to_vec())
}

/// All of them.
pub(super) const KINDS: [Kind; 5] =
    [Kind::List, Kind::Head, Kind::Nothing, Kind::Refused, Kind::Elsewhere];

impl Kind {
    /// The request.
    pub(super) fn by(self, client: &Client) -> Sending {
        let nothing = "6e3b1f0a-0c5d-4c1e-9a55-3f2f6c0c7d11";
        match self {
            Self::List => client.get("/projects?page_size=1"),
            Self::Head => client.request(Method::HEAD, "/workspaces?page_size=1"),
            Self::Nothing => client.get(format!("/sandboxes/{nothing}")),
            // The name is missing.
            Self::Refused => client.post("/service-accounts", json!({})),
            Self::Elsewhere => client.delete(format!("/snapshots/{nothing}")),
        }
    }
}

/// A request to an auth endpoint.
pub(super) fn auth(client: &Client, endpoint: &str) -> Sending {
    let body = match endpoint {
        "/auth/sse-ticket" => json!({}),
        "/tokens/scoped" => json!({ "user_id": "jane", "scopes": ["sandboxes:read"] }),
        _ => json!({ "external_user_id": "jane", "scopes": ["sandboxes:read"] }),
    };
    client.post(endpoint, body)
}

/// Sends them, some at once; wants none refused for its number.
pub(super) async fn pass(sendings: Vec<Sending>) -> Result<Vec<Reply>, Fault> {
    let many = sendings.len();
    let mut replies = Vec::new();
    let mut sendings = sendings.into_iter().peekable();
    while sendings.peek().is_some() {
        let bunch: Vec<_> = sendings.by_ref().take(BUNCH).collect();
        replies.extend(at_once(bunch).await?);
    }
    match replies.iter().find(|reply| reply.status == 429) {
        Some(reply) => {
            let passed = replies.iter().filter(|reply| reply.status != 429).count();
            let expected = format!("all {many} requests to pass within a minute");
            Err(reply.broken(expected, format!("{passed} of them, and {}", reply.summary())))
        }
        None => Ok(replies),
    }
}

/// So many requests of the kinds, one after the other kind.
pub(super) fn mixed(client: &Client, kinds: &[Kind], many: usize) -> Vec<Sending> {
    kinds.iter().cycle().take(many).map(|kind| kind.by(client)).collect()
}

/// Goes to the beginning of a minute, for servers whose windows begin there, so that what follows lies in one.
pub(super) async fn begin(client: &Client) -> Result<(), Fault> {
    let into = client.now().await?.rem_euclid(60_000) / 1000;
    match u64::try_from(into) {
        Ok(into @ 15..) => client.advance(60 - into).await,
        _ => Ok(()),
    }
}

#[derive(Debug, Clone)]
struct Bunch {
    many: usize,
    at_once: bool,
    then: u64,
}

pub(super) fn counters(session: &Session) -> Result<(), Fault> {
    let bunch = (1_usize..=8, any::<bool>(), 0_u64..=12).prop_map(|(many, at_once, then)| Bunch {
        many,
        at_once,
        then,
    });
    let bunches = prop::collection::vec(bunch, 1..=4);
    let of = prop::option::weighted(0.4, prop::sample::select(AUTH_ENDPOINTS.to_vec()));
    session.forall((bunches, kind(), of), async |case, (bunches, kind, of)| {
        let client = case.organization()?;
        let limit = if of.is_some() { AUTH } else { GENERAL };
        let (mut left, mut reset) = (limit as u64, 61_u64);
        let mut moved = 0;
        for Bunch { many, at_once: together, then } in bunches {
            let many = many.min(usize::try_from(left).unwrap_or(0));
            let sendings: Vec<_> = (0..many)
                .map(|_| match of {
                    Some(endpoint) => auth(&client, endpoint),
                    None => kind.by(&client),
                })
                .collect();
            let mut replies = Vec::new();
            if together {
                replies = at_once(sendings).await?;
                // Their answers may overtake each other.
                replies.sort_by_key(|reply| std::cmp::Reverse(remaining(reply).unwrap_or(0)));
            } else {
                for sending in sendings {
                    replies.push(sending.send().await?);
                }
            }
            for reply in &replies {
                let now = remaining(reply)?;
                reply.holds(
                    number(reply, "x-ratelimit-limit")? == limit as u64,
                    format!("X-RateLimit-Limit: {limit} from {}", reply.place()),
                    header(reply, "x-ratelimit-limit"),
                )?;
                reply.holds(
                    now < left,
                    format!("X-RateLimit-Remaining below {left} from {}", reply.place()),
                    now.to_string(),
                )?;
                left = now;
            }
            let later = replies.iter().map(|reply| number(reply, "x-ratelimit-reset"));
            for (reply, until) in replies.iter().zip(later) {
                let until = until?;
                // At once, an earlier one may be answered later.
                let most = if together { reset + 1 } else { reset };
                reply.holds(
                    until <= most && until <= 60,
                    format!("X-RateLimit-Reset of at most {} from {}", most.min(60), reply.place()),
                    until.to_string(),
                )?;
                reset = reset.min(until);
            }
            moved += then;
            if moved >= 50 {
                return Ok(());
            }
            if then > 0 {
                client.advance(then).await?;
                reset = reset.saturating_sub(then.saturating_sub(1)).max(1);
            }
        }
        Ok(())
    })
}

fn remaining(reply: &Reply) -> Result<u64, Fault> {
    number(reply, "x-ratelimit-remaining")
}

/// A header that is a whole number.
pub(super) fn number(reply: &Reply, name: &str) -> Result<u64, Fault> {
    let found = reply.header(name).and_then(|value| value.parse().ok());
    found.ok_or_else(|| {
        let expected = format!("a whole number in {name} from {}", reply.place());
        reply.broken(expected, header(reply, name))
    })
}

fn header(reply: &Reply, name: &str) -> String {
    reply.header(name).unwrap_or("no such header").to_owned()
}
