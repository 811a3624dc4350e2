//! Keys with a scope, and keys without it.

use std::collections::BTreeMap;

use http::Method;

use crate::case::made::field;
use crate::case::{Client, Reply};
use crate::fault::{Fault, holds};
use crate::operations::{Op, sweep};
use crate::populated;
use crate::reading::Reading;
use crate::session::Session;
use crate::world::World;

/// After so many requests a new rate window begins.
const WINDOW: usize = 200;

/// Every scope that an operation needs.
pub(super) fn all() -> Vec<&'static str> {
    let mut scopes: Vec<_> = Op::all().iter().filter_map(|op| op.scope()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Whether a key that holds the one may do what needs the other (miosa-cli: `write` includes `create` and `exec`).
pub(super) fn grants(held: &str, needed: &str) -> bool {
    let (Some((of, level)), Some((resource, act))) = (held.split_once(':'), needed.split_once(':'))
    else {
        return held == needed;
    };
    of == resource && (level == act || (level == "write" && matches!(act, "create" | "exec")))
}

/// Keys by the scope that they hold, or lack.
struct Ring {
    owner: Client,
    keys: BTreeMap<&'static str, Client>,
    lacking: bool,
}

impl Ring {
    fn new(owner: Client, lacking: bool) -> Self {
        Self { owner, keys: BTreeMap::new(), lacking }
    }

    /// The key for an operation that needs this scope.
    async fn key(&mut self, scope: &'static str) -> Result<Client, Fault> {
        if let Some(known) = self.keys.get(scope) {
            return Ok(known.clone());
        }
        let scopes: Vec<_> = if self.lacking {
            all().into_iter().filter(|held| !grants(held, scope)).collect()
        } else {
            vec![scope]
        };
        let made = self.owner.minted(Some(&scopes)).await?;
        let client = self.owner.as_key(&field(&made, "key")?);
        self.keys.insert(scope, client.clone());
        Ok(client)
    }
}

fn forbidden(reply: &Reply, scope: &str) -> Result<(), Fault> {
    let expected = format!("403 from {} for a key without {scope}", reply.place());
    reply.holds(reply.status == 403, expected, reply.summary())?;
    reply.refusal().map(drop)
}

/// SCP-001.
pub(super) fn refused(session: &Session) -> Result<(), Fault> {
    session.forall(sweep(session, Op::scoped(None)), async |case, operations| {
        let (owner, world) = populated::whole_or_for(&case, &operations).await?;
        let mut ring = Ring::new(owner.clone(), true);
        for (sent, op) in operations.iter().enumerate() {
            let Some(scope) = op.scope() else { continue };
            if sent % WINDOW == WINDOW - 1 {
                owner.breathe().await?;
            }
            let Some(sending) = op.valid(&ring.key(scope).await?, &world) else { continue };
            forbidden(&sending.send().await?, scope)?;
        }
        Ok(())
    })
}

/// SCP-002.
pub(super) fn enough(session: &Session) -> Result<(), Fault> {
    session.forall(sweep(session, Op::scoped(None)), async |case, operations| {
        let (owner, world) = populated::whole_or_for(&case, &operations).await?;
        let stranger = case.organization()?;
        let (mut here, mut elsewhere) = (Ring::new(owner, false), Ring::new(stranger, false));
        for op in operations.iter() {
            let Some(scope) = op.scope() else { continue };
            // One that waits for a port need not.
            let waits = op.path().ends_with("/status");
            let reads = *op.method() == Method::GET && !World::is_endless(op.0) && !waits;
            let valid = if reads { op.valid(&here.key(scope).await?, &world) } else { None };
            let reply = match valid {
                Some(sending) => sending.send().await?,
                // What never ends is looked at where there is nothing to show.
                None if World::is_endless(op.0) && World::kinds(op.0).is_empty() => continue,
                None => op.blank(&elsewhere.key(scope).await?).send().await?,
            };
            let expected = format!("{op:?} to be open to a key that holds {scope}");
            reply.holds(!matches!(reply.status, 401 | 403), expected, reply.summary())?;
        }
        Ok(())
    })
}

/// SCP-004.
pub(super) fn unchanged(session: &Session) -> Result<(), Fault> {
    let changes = Op::scoped(None).into_iter().filter(|op| *op.method() != Method::GET).collect();
    session.forall(sweep(session, changes), async |case, operations| {
        let owner = case.organization()?;
        let world = populated::own(&owner, &operations).await?;
        let mut ring = Ring::new(owner.clone(), true);
        // What mints the keys is no part of what is compared.
        for op in operations.iter() {
            if let Some(scope) = op.scope() {
                ring.key(scope).await?;
            }
        }
        let before = Reading::settled(&owner, &world).await?;
        owner.breathe().await?;
        for op in operations.iter() {
            let Some(scope) = op.scope() else { continue };
            let Some(sending) = op.valid(&ring.key(scope).await?, &world) else { continue };
            let reply = sending.send().await?;
            if reply.status != 403 {
                return Err(Fault::unable(format!("{op:?} is not refused: {}", reply.summary())));
            }
        }
        owner.breathe().await?;
        let after = Reading::of(&owner, &world).await?;
        match before.difference(&after) {
            None => Ok(()),
            Some((place, was, is)) => {
                holds(false, format!("{place} as before: {was}"), format!("after 403s: {is}"))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_includes_create_and_exec_and_nothing_reads_but_read() {
        assert!(grants("sandboxes:write", "sandboxes:exec") && grants("env:read", "env:read"));
        assert!(
            !grants("sandboxes:write", "sandboxes:read") && !grants("env:write", "egress:write")
        );
    }

    #[test]
    fn the_contract_names_scopes() {
        assert!(all().len() > 10, "{:?}", all());
    }
}
