//! The parameters: their bounds, their other names, and the other ways through a list.

use http::Method;
use miosa_openapi::check::{Contract, Location, Parameter};
use proptest::prelude::*;

use super::pages;
use super::shelf::{paths, shared};
use super::walk::{Part, keys};
use crate::fault::Fault;
use crate::session::Session;

/// A parameter of a list.
fn parameter(list: &str, name: &str) -> Option<&'static Parameter> {
    Contract::get().operation(&Method::GET, list)?.parameter(Location::Query, name)
}

fn has(list: &str, name: &str) -> bool {
    parameter(list, name).is_some()
}

/// The first size that is too large: a few lists allow more with `limit` than the overview page says.
fn too_large(list: &str, name: &str) -> u64 {
    let maximum = parameter(list, name).and_then(|it| it.schema.value()["maximum"].as_u64());
    maximum.unwrap_or(100) + 1
}

#[derive(Debug, Clone)]
enum Asked {
    Wrong(String),
    /// So much above the largest, beside the one.
    Above(u64),
}

pub(super) fn bounds(session: &Session) -> Result<(), Fault> {
    let wrong = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just(String::new()),
        Just("1.5".to_owned()),
        Just("1e1".to_owned()),
        Just("99999999999999999999".to_owned()),
        "[a-z]{1,4}",
    ];
    let page = wrong.clone().prop_map(|value| ("page", Asked::Wrong(value)));
    let names = prop::sample::select(vec!["page_size", "per_page", "limit"]);
    let above = prop_oneof![Just(0), 1_u64..=100_000].prop_map(Asked::Above);
    let size = (names, prop_oneof![wrong.prop_map(Asked::Wrong), above]);
    for list in paths(&session.target) {
        session.once(async |case| {
            let shelf = shared(&case, list).await?;
            let above = too_large(list, "page_size").to_string();
            for value in ["0", "-1", "x", above.as_str()] {
                for name in ["page", "page_size"] {
                    if name == "page_size" || value != above {
                        shelf.part(&format!("{name}={value}")).await?.refused(400)?;
                    }
                }
            }
            Ok(())
        })?;
        session.forall(
            prop_oneof![1 => page.clone(), 2 => size.clone()],
            async |case, asked| {
                let (mut name, value) = asked;
                // The overview page promises these two everywhere, the other spellings are of some lists.
                if !matches!(name, "page" | "page_size") && !has(list, name) {
                    name = "page_size";
                }
                let value = match value {
                    Asked::Wrong(text) => text,
                    Asked::Above(by) => (too_large(list, name) + by).to_string(),
                };
                let shelf = shared(&case, list).await?;
                let reply = shelf.part(&format!("{name}={value}")).await?;
                reply.refused(400).map(drop)
            },
        )?;
    }
    Ok(())
}

pub(super) fn same(session: &Session) -> Result<(), Fault> {
    for list in paths(&session.target) {
        let others: Vec<_> =
            ["per_page", "limit"].into_iter().filter(|name| has(list, name)).collect();
        if others.is_empty() {
            continue;
        }
        session.forall((1_u64..=3, pages::sizes()), async |case, (page, size)| {
            let shelf = shared(&case, list).await?;
            let wanted = shelf.read(&format!("page={page}&page_size={size}")).await?;
            for name in &others {
                let part = shelf.read(&format!("page={page}&{name}={size}")).await?;
                let said = |part: &Part| {
                    let Part { page, size, total, keys, .. } = part;
                    format!("page {page} of {size}, total {total}: {}", keys.join(" "))
                };
                part.reply.holds(
                    said(&part) == said(&wanted),
                    format!("what {} answers: {}", wanted.reply.place(), said(&wanted)),
                    format!("{} from {}", said(&part), part.reply.place()),
                )?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) fn walks(session: &Session) -> Result<(), Fault> {
    for list in paths(&session.target) {
        let (offsets, cursors) = (has(list, "offset"), has(list, "cursor"));
        if !offsets && !cursors {
            continue;
        }
        session.forall(pages::sizes(), async |case, size| {
            let shelf = shared(&case, list).await?;
            let pages = shelf.by_page(size).await?;
            let total = pages.first().map_or(0, |part| part.total);
            let mut ways = Vec::new();
            if offsets {
                ways.push(("offset", shelf.by_offset(size).await?));
            }
            if cursors {
                ways.push(("cursor", shelf.by_cursor(size).await?));
            }
            let wanted = keys(&pages);
            for (way, parts) in ways {
                let found = keys(&parts);
                crate::fault::holds(
                    found == wanted,
                    format!("by {way} the pages of {}: {}", shelf.path, wanted.join(" ")),
                    found.join(" "),
                )?;
                if let Some(part) = parts.iter().find(|part| part.total != total) {
                    let expected = format!("the total {total} from {}", part.reply.place());
                    return Err(part.reply.broken(expected, part.total.to_string()));
                }
                // A cursor that leads nowhere makes a client ask once too often.
                if let Some(part) = parts.iter().skip(1).find(|part| part.keys.is_empty())
                    && way == "cursor"
                {
                    let expected = format!("no next_cursor after all {total} items");
                    return Err(part.reply.broken(expected, "one, to an empty part"));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
