//! How large a page is when nothing is said, how large it may be, and that it says so.

use proptest::prelude::*;

use super::pages;
use super::shelf::{Shelf, paths, shared};
use crate::fault::Fault;
use crate::session::Session;

/// Lists that official clients read whole, or in larger parts, when they say no size.
const OTHER_DEFAULT: &[&str] = &[
    "/snapshots",
    "/sandboxes/batches/{id}/items",
    "/sandbox-templates",
    "/api-keys/presets",
    "/sandboxes/runtimes",
];

const MANY: usize = 101;

pub(super) fn defaults(session: &Session) -> Result<(), Fault> {
    let long = prop::sample::select(vec![
        "/workspaces",
        "/projects",
        "/api-keys",
        "/service-accounts",
        "/projects/{id}/environments",
        "/service-accounts/{id}/keys",
        "/workspaces/{id}/invites",
        "/workspaces/{id}/projects",
        "/workspaces/{id}/activity",
        "/api-keys/{id}/events",
        "/audit-log",
        "/activity",
    ]);
    session.forall(long, async |case, list| {
        let mut shelf = Shelf::open(&case, list, None).await?;
        // The deeds of this organization are on these lists, too.
        for _ in 0..MANY {
            shelf.add().await?;
        }
        let mut shelves = vec![shelf.clone()];
        for other in ["/audit-log", "/activity"].into_iter().filter(|other| *other != list) {
            shelves.push(Shelf::plain(&shelf.client, other));
        }
        for shelf in shelves {
            for (query, size) in [("", 20), ("page_size=100", 100), ("page_size=99", 99)] {
                let part = shelf.read(query).await?;
                part.reply.holds(
                    part.keys.len() == size,
                    format!("{size} of {} items from {}", part.total, part.reply.place()),
                    format!("{} items", part.keys.len()),
                )?;
            }
        }
        Ok(())
    })?;
    for list in paths(&session.target) {
        session.forall(Just(()), async |case, ()| {
            let shelf = shared(&case, list).await?;
            let part = shelf.read("").await?;
            if !OTHER_DEFAULT.contains(&list) {
                part.reply.holds(
                    part.size == 20 && part.page == 1,
                    format!("page 1 and page_size 20 from {}", part.reply.place()),
                    format!("page {} and page_size {}", part.page, part.size),
                )?;
            }
            let items = part.total.min(part.size);
            part.reply.holds(
                part.keys.len() as u64 == items,
                format!("{items} of {} items from {}", part.total, part.reply.place()),
                format!("{} items", part.keys.len()),
            )
        })?;
    }
    Ok(())
}

pub(super) fn echo(session: &Session) -> Result<(), Fault> {
    let page = prop_oneof![1_u64..=4, Just(77)];
    for list in paths(&session.target) {
        session.forall((page.clone(), pages::sizes()), async |case, (page, size)| {
            let shelf = shared(&case, list).await?;
            let part = shelf.read(&format!("page={page}&page_size={size}")).await?;
            let place = part.reply.place();
            part.reply.holds(
                (part.page, part.size) == (page, size),
                format!("page {page} and page_size {size} under `page` from {place}"),
                format!("page {} and page_size {}", part.page, part.size),
            )?;
            let meta = part.reply.json()?["meta"].take();
            let more = part.total > page * size;
            for (name, wanted) in [("page", page), ("per_page", size), ("total", part.total)] {
                part.reply.holds(
                    meta[name].is_null() || meta[name] == wanted,
                    format!("{wanted} in meta.{name} from {place}"),
                    meta[name].to_string(),
                )?;
            }
            part.reply.holds(
                meta["has_next_page"].is_null() || meta["has_next_page"] == more,
                format!("{more} in meta.has_next_page from {place}, of {} items", part.total),
                meta["has_next_page"].to_string(),
            )
        })?;
    }
    Ok(())
}
