//! One populated organization that rules look at and never change: it costs sandboxes, and many rules need no more than
//! that it is there.

use crate::case::{Case, Client};
use crate::fault::Fault;
use crate::operations::Op;
use crate::target::Credential;
use crate::world::World;

/// Up to so many operations get a world of their own, with what they need and no more: what breaks a rule is told from
/// the first request on.
const OWN: usize = 4;

/// The organization, and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Populated {
    credential: Credential,
    world: World,
}

/// The one that all rules share. Nobody may change what it holds; more may be made in it.
///
/// # Errors
/// [`Fault::Unable`] when it cannot be made.
pub async fn whole(case: &Case) -> Result<(Client, World), Fault> {
    let target = case.target().clone();
    let made = target
        .populated
        .get_or_init(|| async {
            let client = Case::new(target.clone()).organization()?;
            let world = World::populate_what_runs(&client).await?;
            let credential = client.credential().cloned();
            let credential = credential.ok_or_else(|| Fault::unable("no credential"))?;
            Ok(Populated { credential, world })
        })
        .await;
    let Populated { credential, world } = made.clone()?;
    Ok((case.client(credential), world))
}

/// The shared one, or for a few operations one of their own.
///
/// # Errors
/// [`Fault::Unable`] when it cannot be made.
pub async fn whole_or_for(case: &Case, operations: &[Op]) -> Result<(Client, World), Fault> {
    if operations.len() > OWN {
        return whole(case).await;
    }
    let client = case.organization()?;
    let world = World::for_operations(&client, operations.iter().map(|op| op.0)).await?;
    Ok((client, world))
}

/// A world of the caller's own: whole, or for a few operations what they need.
///
/// # Errors
/// [`Fault::Unable`] when it cannot be made.
pub async fn own(client: &Client, operations: &[Op]) -> Result<World, Fault> {
    if operations.len() <= OWN {
        World::for_operations(client, operations.iter().map(|op| op.0)).await
    } else {
        World::populate_what_runs(client).await
    }
}
