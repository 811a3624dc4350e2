//! What was deleted.

use http::Method;
use miosa_openapi::check::{Contract, Operation};

use crate::case::{Client, Reply};
use crate::fault::Fault;
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

/// What ends and is still told of (miosa-go 2.0), what begins anew when it is next used (miosa-python 2.19), and what is
/// gone all the same when it is told to go once more.
const STAYS: &[&str] =
    &["stopProcess", "resetCodeContext", "revokeInvite", "deleteQuota", "revokeScopedToken"];

/// Operations that delete one thing of its own, inner things first.
fn deletes() -> Vec<Op> {
    let all = World::in_order().into_iter();
    let one = |it: &&Operation| {
        *it.method() == Method::DELETE && it.path().ends_with('}') && !STAYS.contains(&it.id())
    };
    all.filter(one).map(Op).collect()
}

async fn stage(client: &Client, operations: &[Op]) -> Result<World, Fault> {
    World::for_operations(client, operations.iter().map(|it| it.0)).await
}

/// Deletes; none when there is nothing to delete.
async fn delete(
    client: &Client,
    world: &World,
    operation: &Operation,
) -> Result<Option<Reply>, Fault> {
    let Some(sending) = world.call(client, operation) else { return Ok(None) };
    let reply = sending.send().await?;
    if reply.status >= 300 {
        return Err(Fault::unable(format!("{} answered {}", reply.place(), reply.summary())));
    }
    Ok(Some(reply))
}

pub(super) fn unreadable(session: &Session) -> Result<(), Fault> {
    session.in_order(&deletes(), stage, async |client, world, operation| {
        let contract = Contract::get();
        // A server that remembers what it answered must forget it.
        if let Some(path) = world.path(operation)
            && contract.operation(&Method::GET, &path).is_some_and(|it| !World::is_endless(it))
        {
            client.get(path).send().await?;
        }
        let Some(reply) = delete(client, world, operation).await? else { return Ok(()) };
        let path = reply.path.split('?').next().unwrap_or_default().to_owned();
        let readable = contract
            .operation(&Method::GET, &path)
            .is_some_and(|it| it.path() == operation.path() && !World::is_endless(it));
        if !readable {
            return Ok(());
        }
        client.get(path).send().await?.refused(404).map(drop)
    })
}

pub(super) fn twice(session: &Session) -> Result<(), Fault> {
    session.in_order(&deletes(), stage, async |client, world, operation| {
        if delete(client, world, operation).await?.is_none() {
            return Ok(());
        }
        let Some(again) = world.call(client, operation) else { return Ok(()) };
        again.send().await?.refused(404).map(drop)
    })
}
