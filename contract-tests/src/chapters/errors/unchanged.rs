//! That what was refused did not happen.

use std::time::Duration;

use http::Method;
use miosa_openapi::check::Contract;
use serde_json::Value;

use super::invalid::{Invalid, drawn, schema};
use crate::case::Client;
use crate::case::raw::Raw;
use crate::fault::Fault;
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

/// Where to see what an operation is about: its own path, or the nearest above it that can be read.
fn seen_at(path: &str) -> Option<String> {
    let contract = Contract::get();
    let mut path = path.to_owned();
    loop {
        let reads = contract.operation(&Method::GET, &path);
        if reads.is_some_and(|it| !World::is_endless(it) && it.response(200).is_some()) {
            return Some(path);
        }
        path.truncate(path.rfind('/').filter(|at| *at > 0)?);
    }
}

/// What is there now.
async fn state(client: &Client, at: &str) -> Result<Value, Fault> {
    let reply = client.get(at).send().await?;
    if reply.status == 200 { reply.json() } else { Ok(Value::from(reply.status)) }
}

/// Whether what did not move by itself is as it was.
fn same(first: &Value, second: &Value, after: &Value) -> bool {
    match (first, second, after) {
        (Value::Object(one), Value::Object(two), Value::Object(three)) => {
            one.iter().all(|(name, value)| {
                let null = Value::Null;
                let two = two.get(name).unwrap_or(&null);
                let three = three.get(name).unwrap_or(&null);
                same(value, two, three)
            })
        }
        (first, second, after) => first != second || first == after,
    }
}

pub(super) fn by_invalid_bodies(session: &Session) -> Result<(), Fault> {
    // What makes something is most likely to have made it already when it refuses.
    let mut last = "";
    let items = drawn(session, 5).into_iter().filter(|it| {
        let first = it.operation.id() != last;
        last = it.operation.id();
        first || (*it.operation.method() == Method::POST && it.operation.response(201).is_some())
    });
    session.each(
        session.shuffled(items.collect()).into_iter().take(120).collect(),
        async |client, items| {
            World::for_operations(client, items.iter().map(|it| it.operation)).await
        },
        async |client, world, Invalid { operation, mutation }| {
            let Some(path) = world.path(operation) else { return Ok(()) };
            let body = world.json(operation).and_then(|body| mutation.apply(body));
            let (Some(at), Some(body)) = (seen_at(&path), body) else { return Ok(()) };
            let before = (state(client, &at).await?, state(client, &at).await?);
            let method = operation.method().clone();
            let reply = client.request(method, path).json(body).send().await?;
            // That it must be refused is another rule's.
            if !(400..500).contains(&reply.status) {
                return Ok(());
            }
            let after = state(client, &at).await?;
            reply.holds(
                same(&before.0, &before.1, &after),
                format!("{at} as before: {}", before.1),
                after.to_string(),
            )
        },
    )
}

pub(super) fn by_broken_bodies(session: &Session) -> Result<(), Fault> {
    let takers: Vec<Op> =
        World::in_order().into_iter().filter(|it| schema(it).is_some()).map(Op).collect();
    let takers = session.shuffled(takers).into_iter().take(30).collect();
    session.each(
        takers,
        async |client, operations| {
            World::for_operations(client, operations.iter().map(|it| it.0)).await
        },
        async |client, world, operation| {
            let (Some(path), Some(body)) = (world.path(operation), world.json(operation)) else {
                return Ok(());
            };
            let Some(at) = seen_at(&path) else { return Ok(()) };
            let before = (state(client, &at).await?, state(client, &at).await?);
            let whole = body.to_string().into_bytes();
            let half = whole.iter().copied().take(whole.len().div_ceil(2)).collect::<Vec<u8>>();
            let raw = Raw {
                method: operation.method().clone(),
                target: path.clone().into_bytes(),
                headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
                body: half.into(),
                declared: Some(whole.len()),
                hang_up: true,
                peculiar: "breaks off in the middle of the body".to_owned(),
            };
            let reply = client.raw(raw, Duration::from_secs(10)).await?;
            let said = reply.map_or(0, |reply| reply.status);
            let after = state(client, &at).await?;
            crate::fault::holds(
                said < 500 && !(200..300).contains(&said),
                "4xx, or the end of the connection",
                said.to_string(),
            )?;
            crate::fault::holds(
                same(&before.0, &before.1, &after),
                format!("{at} as before: {}", before.1),
                after.to_string(),
            )
        },
    )
}
