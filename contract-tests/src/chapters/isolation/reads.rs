//! What an organization reads.

use http::Method;

use super::foreign::unchanged;
use super::neighbour::Neighbour;
use crate::fault::Fault;
use crate::operations::{Op, sweep};
use crate::populated;
use crate::reading::Reading;
use crate::session::Session;
use crate::world::World;

/// ISO-002.
pub(super) fn hold_nothing(session: &Session) -> Result<(), Fault> {
    let mut reads = Op::guarded();
    reads.retain(|op| *op.method() == Method::GET && !World::is_endless(op.0));
    session.forall(sweep(session, reads), async |case, reads| {
        // Few operations make a world of their own, and then what is looked for must be there, too.
        let (_, theirs) = populated::whole(&case).await?;
        let neighbour = Neighbour::of(theirs);
        let reader = case.organization()?;
        let own = World::populate_without_machines(&reader).await?;
        for op in reads.iter() {
            let Some(sending) = op.valid(&reader, &own) else { continue };
            let reply = sending.send().await?;
            neighbour.silent(&reply, "")?;
            if op.is_paginated() {
                let path =
                    format!("{}?page_size=100", reply.path.split('?').next().unwrap_or_default());
                neighbour.silent(&reader.get(path).send().await?, "")?;
            }
        }
        Ok(())
    })
}

/// ISO-003.
pub(super) fn count_nothing(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    session.once(async |case| {
        let reader = case.organization()?;
        let own = World::populate_without_machines(&reader).await?;
        let before = Reading::settled(&reader, &own).await?;
        let other = case.organization()?;
        World::populate_without_machines(&other).await?;
        if machines {
            let sandbox = crate::case::made::id(&other.sandbox().await?)?;
            other.make(&format!("/sandboxes/{sandbox}/snapshots"), serde_json::json!({})).await?;
        }
        unchanged(&before, &reader, &own, "another organization made things").await
    })
}
