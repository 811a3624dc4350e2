//! Whose limit it is.

use proptest::prelude::*;

use super::spending::{GENERAL, Kind, begin, kind, mixed, pass};
use crate::case::made::{field, id};
use crate::fault::Fault;
use crate::session::Session;

pub(super) fn shared(session: &Session) -> Result<(), Fault> {
    // Who sends, and whether from a connection and an address of its own.
    let turns = prop::collection::vec((0_usize..3, prop::bool::weighted(0.3), kind()), 1..=8);
    session.forall(turns, async |case, turns| {
        let owner = case.organization()?;
        begin(&owner).await?;
        let mut keys = vec![owner.clone()];
        for _ in 0..2 {
            keys.push(owner.as_key(&field(&owner.minted(None).await?, "key")?));
        }
        // Two were spent on the keys.
        let sendings = turns.iter().cycle().take(GENERAL - 2).map(|(who, apart, kind)| {
            let sending = kind.by(keys.get(*who).unwrap_or(&owner));
            if *apart { sending.apart() } else { sending }
        });
        pass(sendings.collect()).await?;
        for (n, key) in keys.iter().enumerate() {
            for apart in [false, true] {
                let sending = Kind::List.by(key);
                let reply = if apart { sending.apart() } else { sending }.send().await?;
                let place = if apart { "on a new connection" } else { "on an old one" };
                reply.holds(
                    reply.status == 429,
                    format!("429 for key {} {place}: the workspace has sent 300 requests", n + 1),
                    reply.summary(),
                )?;
            }
        }
        Ok(())
    })
}

pub(super) fn untouched(session: &Session) -> Result<(), Fault> {
    // Which of three workspaces spends; the first is the default one.
    session.forall((0_usize..3, kind(), kind()), async |case, (spends, kind, other)| {
        let client = case.organization()?;
        let stranger = case.organization()?;
        begin(&client).await?;
        let mut workspaces = vec![client.clone()];
        for _ in 0..2 {
            let workspace = id(&client.workspace().await?)?;
            workspaces.push(client.with("X-MIOSA-Workspace", &workspace));
        }
        // What made the workspaces was sent in the default one.
        let many = if spends == 0 { GENERAL - 2 } else { GENERAL };
        let spending = workspaces.remove(spends);
        pass(mixed(&spending, &[kind], many)).await?;
        let reply = kind.by(&spending).send().await?;
        if reply.status != 429 {
            return Err(Fault::unable(format!(
                "300 requests did not spend the limit: {}",
                reply.summary()
            )));
        }
        for client in workspaces.iter().chain([&stranger]) {
            let reply = other.by(client).send().await?;
            let whose =
                if client.secret() == stranger.secret() { "organization" } else { "workspace" };
            reply.holds(
                reply.status != 429,
                format!("{} to pass: another {whose} has spent its limit", reply.place()),
                reply.summary(),
            )?;
        }
        Ok(())
    })
}
