//! The whole list by its pages: nothing missing, nothing twice, nothing beyond, and in order.

use proptest::prelude::*;

use super::shelf::{paths, shared};
use super::walk::{keys, twice};
use crate::fault::Fault;
use crate::session::Session;

/// Page sizes: mostly so small that a short list has several pages.
pub(super) fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 1_u64..=4, 1 => 5_u64..=7, 1 => Just(20), 1 => Just(100)]
}

pub(super) fn union(session: &Session) -> Result<(), Fault> {
    for list in paths(&session.target) {
        session.forall(sizes(), async |case, size| {
            let shelf = shared(&case, list).await?;
            let parts = shelf.by_page(size).await?;
            let total = parts.first().map_or(0, |part| part.total);
            for (n, part) in parts.iter().enumerate() {
                let place = part.reply.place();
                part.reply.holds(
                    part.total == total,
                    format!("the total of the first page, {total}, from {place}"),
                    part.total.to_string(),
                )?;
                let left = total.saturating_sub(n as u64 * size).min(size);
                part.reply.holds(
                    part.keys.len() as u64 == left,
                    format!("{left} of {total} items from {place}"),
                    format!("{} items", part.keys.len()),
                )?;
            }
            let all = keys(&parts);
            if let Some(key) = twice(&all) {
                let why = format!("{key} is on two, page_size {size}");
                return Err(Fault::broken(
                    format!("every item on one page of {}", shelf.path),
                    why,
                ));
            }
            for key in &shelf.keys {
                crate::fault::holds(
                    all.contains(key),
                    format!("{key}, which was made, on a page of {}", shelf.path),
                    format!("{} items without it: {}", all.len(), all.join(" ")),
                )?;
            }
            let whole = shelf.whole().await?;
            crate::fault::holds(
                whole == all,
                format!("the pages of {size} in one piece: {}", all.join(" ")),
                whole.join(" "),
            )
        })?;
    }
    Ok(())
}

pub(super) fn beyond(session: &Session) -> Result<(), Fault> {
    let far = prop_oneof![1_u64..=3, Just(1_000), Just(10_000_000)];
    for list in paths(&session.target) {
        session.forall((sizes(), far.clone()), async |case, (size, far)| {
            let shelf = shared(&case, list).await?;
            let total = shelf.read("page=1&page_size=100").await?.total;
            let page = total.div_ceil(size).max(1) + far;
            let part = shelf.read(&format!("page={page}&page_size={size}")).await?;
            let place = part.reply.place();
            part.reply.holds(
                part.keys.is_empty(),
                format!("no items of {total} from {place}"),
                format!("{} items", part.keys.len()),
            )?;
            part.reply.holds(
                part.total == total,
                format!("the total {total} from {place}"),
                part.total.to_string(),
            )
        })?;
    }
    Ok(())
}

/// Lists that have an order of their own.
const NOT_NEWEST_FIRST: &[&str] = &[
    "/sandboxes/batches/{id}/items",
    "/sandbox-templates",
    "/api-keys/presets",
    "/sandboxes/runtimes",
];

pub(super) fn order(session: &Session) -> Result<(), Fault> {
    for list in paths(&session.target) {
        session.forall((sizes(), sizes()), async |case, (one, other)| {
            let shelf = shared(&case, list).await?;
            let first = keys(&shelf.by_page(one).await?);
            let second = keys(&shelf.by_page(other).await?);
            crate::fault::holds(
                first == second,
                format!("the order of the first read of {}: {}", shelf.path, first.join(" ")),
                second.join(" "),
            )?;
            if NOT_NEWEST_FIRST.contains(&list) {
                return Ok(());
            }
            let made: Vec<_> = shelf.keys.iter().rev().collect();
            let found: Vec<_> = first.iter().filter(|key| made.contains(key)).collect();
            crate::fault::holds(
                found == made,
                format!("newest first on {}: {made:?}", shelf.path),
                format!("{found:?}"),
            )
        })?;
    }
    Ok(())
}
