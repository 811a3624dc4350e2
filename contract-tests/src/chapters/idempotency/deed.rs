//! A mutation that can be sent again, byte for byte, and the organization that it is sent in.

use bytes::Bytes;
use http::Method;
use miosa_openapi::check::{Contract, Operation};
use serde_json::{Value, json};

use crate::case::{Case, Client, Reply, Sending};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::session::Session;
use crate::world::World;

/// A populated organization, and how it came to be.
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) world: World,
    said: Vec<Exchange>,
}

impl Stage {
    /// One with sandboxes, where the server has them.
    pub(super) fn full(session: &Session) -> Result<Self, Fault> {
        let machines = session.target.has_machines();
        session.prepare(async |case| Self::set(&case, machines).await)
    }

    /// One without sandboxes.
    pub(super) async fn set(case: &Case, machines: bool) -> Result<Self, Fault> {
        let client = case.organization()?;
        let world = if machines {
            World::populate(&client).await?
        } else {
            World::populate_without_machines(&client).await?
        };
        Ok(Self { client, world, said: case.exchanges() })
    }

    /// The client in a case that begins with what made the organization.
    pub(super) fn enter(&self, case: &Case) -> Client {
        case.begin_with(&self.said);
        self.client.in_case(case)
    }
}

/// A valid request of a mutation.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) operation: &'static Operation,
    pub(super) path: String,
    pub(super) body: Option<(String, Bytes)>,
}

impl Deed {
    /// None where the world lacks what the request names.
    pub(super) fn of(world: &World, operation: &'static Operation) -> Option<Self> {
        let path = format!("{}{}", world.path(operation)?, world.query(operation));
        let body = world.body(operation);
        if body.is_none() && operation.request_body().is_some_and(|body| body.required) {
            return None;
        }
        Some(Self { operation, path, body })
    }

    /// The request, to be sent by anybody.
    pub(super) fn by(&self, client: &Client) -> Sending {
        let sending = client.request(self.operation.method().clone(), &self.path);
        match &self.body {
            Some((content_type, body)) => sending.bytes(content_type, body.clone()),
            None => sending,
        }
    }

    /// The same with another body, where it has one in JSON.
    pub(super) fn with_another_body(&self) -> Option<Self> {
        let (content_type, body) = self.body.as_ref()?;
        let mut json = serde_json::from_slice::<Value>(body).ok()?;
        json.as_object_mut()?.insert("metadata".to_owned(), json!({ "another": key() }));
        let body = Some((content_type.clone(), json.to_string().into()));
        Some(Self { body, ..self.clone() })
    }

    /// How many there are of what it makes, where a list tells.
    pub(super) async fn count(&self, client: &Client) -> Result<Option<u64>, Fault> {
        let path = self.path.split('?').next().unwrap_or_default();
        let list = Contract::get().operation(&Method::GET, path);
        if *self.operation.method() != Method::POST || !list.is_some_and(Operation::is_paginated) {
            return Ok(None);
        }
        let reply = client.get(format!("{path}?page_size=1")).send().await?.needs(200)?;
        Ok(reply.json()?["page"]["total"].as_u64())
    }
}

/// Every mutation that takes a key, in an order in which one world serves them all.
pub(super) fn mutations() -> Vec<&'static Operation> {
    let all = World::in_order().into_iter();
    all.filter(|operation| operation.is_idempotent() && !World::is_endless(operation)).collect()
}

/// Creates that need no sandbox, with a list that they add to.
pub(super) fn creates() -> Vec<&'static Operation> {
    let all = mutations().into_iter();
    all.filter(|operation| {
        let list = Contract::get().operation(&Method::GET, operation.path());
        *operation.method() == Method::POST
            && operation.response(201).is_some()
            && list.is_some_and(Operation::is_paginated)
            && !operation.path().starts_with("/sandboxes")
            && !operation.path().starts_with("/named-snapshots")
            && !operation.path().ends_with("/builds")
            && !operation.path().ends_with("/members")
    })
    .collect()
}

/// A key that nothing has.
pub(super) fn key() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Whether an answer is kept: one that may pass later is not.
pub(super) fn is_kept(reply: &Reply) -> bool {
    let retryable = reply.json().is_ok_and(|body| body["error"]["retryable"] == true);
    !matches!(reply.status, 401 | 403 | 429 | 500..) && !retryable
}

/// That an answer is the first one again.
pub(super) fn alike(first: &Reply, again: &Reply, what: &str) -> Result<(), Fault> {
    again.holds(
        (again.status, &again.body) == (first.status, &first.body),
        format!("the first answer again, {what}: {}", first.summary()),
        again.summary(),
    )
}

/// That a list has grown by so many.
pub(super) async fn grown(
    deed: &Deed,
    client: &Client,
    before: Option<u64>,
    by: u64,
) -> Result<(), Fault> {
    let Some(before) = before else { return Ok(()) };
    let after = deed.count(client).await?.unwrap_or(0);
    crate::fault::holds(
        after == before + by,
        format!("{} in the list of {}, {by} more than before", before + by, deed.path),
        after.to_string(),
    )
}
