//! Every operation, about what is another's.

use http::Method;
use serde_json::json;

use super::neighbour::Neighbour;
use crate::case::made::{field, id};
use crate::case::{Case, Client, Reply};
use crate::fault::{Fault, holds};
use crate::masked::masked;
use crate::operations::{Op, sweep};
use crate::populated;
use crate::reading::Reading;
use crate::session::Session;
use crate::world::World;

/// After so many operations, each sent twice, a new rate window begins.
const WINDOW: usize = 120;

/// How alike two answers must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alike {
    /// In status and code.
    Outcome,
    /// In everything but ids and times.
    Wholly,
}

/// Operations that name something of an organization. Who holds an invite's token may use it, whoever that is.
fn naming() -> Vec<Op> {
    Op::guarded().into_iter().filter(|op| !op.path().starts_with("/workspace-invites")).collect()
}

/// ISO-001.
pub(super) fn as_unknown(session: &Session) -> Result<(), Fault> {
    compared(session, naming(), Alike::Outcome, own_organization)
}

/// ISO-009.
pub(super) fn alike(session: &Session) -> Result<(), Fault> {
    compared(session, naming(), Alike::Wholly, own_organization)
}

/// Another organization, and who moves its clock: itself.
async fn own_organization(case: &Case, _: &Client) -> Result<(Client, Client), Fault> {
    let outsider = case.organization()?;
    Ok((outsider.clone(), outsider))
}

/// Where what lies in a workspace is found; the rest is the organization's.
const WITHIN: [&str; 5] = ["workspaces", "projects", "sandboxes", "snapshots", "named-snapshots"];

/// ISO-007.
pub(super) fn other_workspace(session: &Session) -> Result<(), Fault> {
    let mut operations = naming();
    operations.retain(|op| {
        let path = op.path();
        let first = path.split('/').nth(1).unwrap_or_default();
        WITHIN.contains(&first) || path == "/tokens/scoped"
    });
    compared(session, operations, Alike::Outcome, async |case, owner| {
        let workspace = owner.workspace().await?;
        let body = json!({ "name": case.name(), "workspace_id": id(&workspace)? });
        let key = field(&owner.make("/api-keys", body).await?, "key")?;
        Ok((owner.as_key(&key), owner.clone()))
    })
}

/// Sends every operation about what is there and about what is not, as who must see neither.
fn compared<F>(session: &Session, operations: Vec<Op>, how: Alike, outsider: F) -> Result<(), Fault>
where
    F: AsyncFn(&Case, &Client) -> Result<(Client, Client), Fault>,
{
    session.forall(sweep(session, operations), async |case, operations| {
        let (owner, world) = populated::whole_or_for(&case, &operations).await?;
        let (outsider, clock) = outsider(&case, &owner).await?;
        let neighbour = Neighbour::of(world);
        for (sent, op) in operations.iter().enumerate() {
            if sent % WINDOW == WINDOW - 1 {
                clock.breathe().await?;
            }
            if !neighbour.is_named_by(*op) {
                // What names nothing shows the outsider's own.
                if *op.method() == Method::GET && op.is_paginated() {
                    neighbour.silent(&op.blank(&outsider).send().await?, "")?;
                }
                continue;
            }
            let Some((theirs, said)) = neighbour.request(&outsider, *op, true) else { continue };
            let Some((nobodys, _)) = neighbour.request(&outsider, *op, false) else { continue };
            let theirs = answered(theirs.send().await?)?;
            let nobodys = answered(nobodys.send().await?)?;
            neighbour.silent(&theirs, &said)?;
            same(&theirs, &nobodys, how)?;
        }
        Ok(())
    })
}

/// What was answered for too many requests says nothing about what is another's.
fn answered(reply: Reply) -> Result<Reply, Fault> {
    match reply.status {
        429 => Err(Fault::unable(format!("{} answered {}", reply.place(), reply.summary()))),
        _ => Ok(reply),
    }
}

/// Both answers are alike.
fn same(theirs: &Reply, nobodys: &Reply, how: Alike) -> Result<(), Fault> {
    let told = |reply: &Reply| match how {
        Alike::Outcome => {
            let code =
                reply.json().ok().and_then(|body| Some(body["error"]["code"].as_str()?.to_owned()));
            format!("{} {}", reply.status, code.unwrap_or_default())
        }
        Alike::Wholly => masked(reply),
    };
    let (got, wanted) = (told(theirs), told(nobodys));
    let expected = format!("as for what does not exist: {}", nobodys.summary());
    let equal = match how {
        Alike::Outcome => got == wanted,
        Alike::Wholly => got.len() == wanted.len() && unnamed(&got) == unnamed(&wanted),
    };
    theirs.holds(equal, expected, theirs.summary())
}

/// The text without the names that requests make up, which end in eight letters or digits that differ.
fn unnamed(text: &str) -> String {
    text.split("contract-")
        .map(|part| {
            part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_.".contains(c))
        })
        .collect()
}

/// ISO-004.
pub(super) fn changes_nothing(session: &Session) -> Result<(), Fault> {
    let mut changes = naming();
    changes.retain(|op| *op.method() != Method::GET);
    session.forall(sweep(session, changes), async |case, operations| {
        let owner = case.organization()?;
        let world = populated::own(&owner, &operations).await?;
        let outsider = case.organization()?;
        let before = Reading::settled(&owner, &world).await?;
        let neighbour = Neighbour::of(world.clone());
        for op in operations.iter().filter(|op| neighbour.is_named_by(**op)) {
            if let Some((sending, _)) = neighbour.request(&outsider, *op, true) {
                answered(sending.send().await?)?;
            }
        }
        unchanged(&before, &owner, &world, "what another organization sent").await
    })
}

/// The organization shows what it showed before.
pub(in super::super) async fn unchanged(
    before: &Reading,
    owner: &Client,
    world: &World,
    since: &str,
) -> Result<(), Fault> {
    owner.breathe().await?;
    let after = Reading::of(owner, world).await?;
    if let Some((place, was, is)) = before.difference(&after) {
        return holds(false, format!("{place} as it was: {was}"), format!("after {since}: {is}"));
    }
    Ok(())
}
