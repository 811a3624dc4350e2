//! A list, and what was made, deleted and read one by one.

use proptest::prelude::*;
use proptest::sample::Index;

use super::shelf::{Machine, Shelf, paths};
use crate::fault::{Fault, holds};
use crate::session::Session;

#[derive(Debug, Clone)]
enum Step {
    Make,
    /// One of those that are there; nothing when none is.
    Delete(Index),
}

/// Lists whose items can be deleted one by one, and whether one can be read by itself.
const FAMILIES: &[(&str, bool)] = &[
    ("/workspaces", true),
    ("/projects", true),
    ("/api-keys", true),
    ("/api-keys/presets", false),
    ("/tokens/scoped", false),
    ("/service-accounts", false),
    ("/projects/{id}/environments", false),
    ("/workspaces/{id}/invites", false),
    ("/sandbox-templates", true),
    ("/sandboxes/{id}/previews", true),
    ("/sandboxes/{id}/shares", false),
    ("/sandboxes/{id}/services", true),
    ("/sandboxes/{id}/snapshots", true),
    ("/snapshots", true),
    ("/named-snapshots", true),
];

pub(super) fn model(session: &Session) -> Result<(), Fault> {
    let served = paths(&session.target);
    let machine = if session.target.has_machines() {
        Some(session.prepare(async |case| Machine::start(&case).await)?)
    } else {
        None
    };
    let step = prop_oneof![3 => Just(Step::Make), 2 => any::<Index>().prop_map(Step::Delete)];
    for (list, single) in FAMILIES.iter().filter(|(list, _)| served.contains(list)) {
        let dear =
            list.contains("{id}/s") && list.starts_with("/sandboxes") || list.contains("snapshots");
        let most = if dear { 4 } else { 7 };
        let steps = prop::collection::vec(step.clone(), 1..=most);
        session.forall((steps, 1_u64..=4), async |case, (steps, size)| {
            let stands = list.starts_with("/sandboxes") || list.contains("snapshots");
            let mut shelf = Shelf::open(&case, list, machine.as_ref().filter(|_| stands)).await?;
            let mut there = shelf.whole().await?;
            let mut mine: Vec<String> = Vec::new();
            for step in steps {
                match step {
                    Step::Make => {
                        let key = shelf.add().await?.unwrap_or_default();
                        there.push(key.clone());
                        mine.push(key);
                    }
                    Step::Delete(_) if mine.is_empty() => continue,
                    Step::Delete(index) => {
                        let gone = mine.remove(index.index(mine.len()));
                        let reply = shelf.client.delete(shelf.one(&gone)).send().await?;
                        if !(200..300).contains(&reply.status) {
                            return Err(Fault::unable(format!(
                                "{}: {}",
                                reply.place(),
                                reply.summary()
                            )));
                        }
                        there.retain(|key| *key != gone);
                        if *single {
                            shelf.client.get(shelf.one(&gone)).send().await?.refused(404)?;
                        }
                    }
                }
                let parts = shelf.by_page(size).await?;
                let total = parts.first().map_or(0, |part| part.total);
                let (mut found, mut wanted) = (super::walk::keys(&parts), there.clone());
                found.sort();
                wanted.sort();
                holds(
                    found == wanted && total == wanted.len() as u64,
                    format!("{} items on {}: {}", wanted.len(), shelf.path, wanted.join(" ")),
                    format!("{} items, total {total}: {}", found.len(), found.join(" ")),
                )?;
            }
            for key in mine.iter().filter(|_| *single) {
                let reply = shelf.client.get(shelf.one(key)).send().await?.expect(200)?;
                let found = super::shelf::key(&reply.data()?);
                reply.holds(
                    found == *key,
                    format!("{key} from {}", reply.place()),
                    found.clone(),
                )?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
