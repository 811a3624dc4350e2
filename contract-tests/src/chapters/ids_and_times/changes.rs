//! Ids and times of what is made and changed.

use std::collections::HashSet;

use chrono::DateTime;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::session::Session;
use crate::world::World;

/// The time in a member, in milliseconds since 1970.
fn moment(record: &Value, name: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(record[name].as_str()?).ok()?;
    Some(time.timestamp_millis())
}

pub(super) fn never_twice(session: &Session) -> Result<(), Fault> {
    let family = prop::sample::select(vec!["/workspaces", "/api-keys", "/service-accounts"]);
    // In which organization, what, and whether it is deleted at once.
    let step = (any::<bool>(), family, any::<bool>());
    session.forall(prop::collection::vec(step, 2..=10), async |case, steps| {
        let (one, other) = (case.organization()?, case.organization()?);
        let mut seen = HashSet::new();
        let name = case.name();
        for (n, (first, family, delete)) in steps.into_iter().enumerate() {
            let client = if first { &one } else { &other };
            // The same name where the last that had it is gone.
            let name = if delete { name.clone() } else { format!("{name}-{n}") };
            let reply = client.post(family, json!({ "name": name })).send().await?.needs(201)?;
            let id = reply.id()?;
            reply.holds(
                seen.insert(id.clone()),
                format!("an id from {} that nothing had", reply.place()),
                format!("{id} once more"),
            )?;
            if delete {
                let reply = client.delete(format!("{family}/{id}")).send().await?;
                if reply.status >= 300 {
                    return Err(Fault::unable(format!("{}: {}", reply.place(), reply.summary())));
                }
            }
        }
        Ok(())
    })?;
    if !session.target.has_machines() {
        return Ok(());
    }
    // What is made at the place of something that is gone.
    session.forall(1_024_u16..60_000, async |case, port| {
        let client = case.organization()?;
        let sandbox = crate::case::made::id(&client.sandbox().await?)?;
        let previews = format!("/sandboxes/{sandbox}/previews");
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let body = json!({ "port": port });
            let reply = client.post(previews.clone(), body).send().await?.needs(201)?;
            let id = reply.id()?;
            client.delete(format!("{previews}/{id}")).send().await?;
            reply.holds(
                seen.insert(id.clone()),
                format!("an id from {} that nothing had", reply.place()),
                format!("{id} once more"),
            )?;
        }
        Ok(())
    })
}

/// Rounded times, and the milliseconds of the way.
const SLACK: i64 = 1_000;

pub(super) fn made_now(session: &Session) -> Result<(), Fault> {
    let creates: Vec<_> = World::in_order()
        .into_iter()
        .filter(|it| *it.method() == Method::POST && it.response(201).is_some())
        .filter(|it| !it.path().starts_with("/sandboxes") && !it.path().contains("snapshots"))
        .collect();
    for operation in creates {
        session.forall(0_u64..=86_400, async |case, later| {
            let client = case.organization()?;
            client.advance(later).await?;
            let world = World::for_operations(&client, [operation]).await?;
            let Some(sending) = world.call(&client, operation) else { return Ok(()) };
            let before = client.now().await?;
            let reply = sending.send().await?;
            let after = client.now().await?;
            if reply.status != 201 {
                return Ok(());
            }
            let record = reply.data()?;
            let Some(created) = moment(&record, "created_at") else { return Ok(()) };
            reply.holds(
                (before - SLACK..=after + SLACK).contains(&created),
                format!("created_at of {} within a second of its request", reply.place()),
                format!("{} ms after it", created - before),
            )?;
            let updated = moment(&record, "updated_at").unwrap_or(created);
            reply.holds(
                updated >= created,
                format!("updated_at of {} not before created_at", reply.place()),
                format!("{} and {}", record["updated_at"], record["created_at"]),
            )
        })?;
    }
    Ok(())
}

pub(super) fn patched(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    let patches = World::in_order().into_iter().filter(|it| *it.method() == Method::PATCH);
    for operation in patches {
        let stands_on_one = operation.path().starts_with("/sandboxes");
        if stands_on_one && !machines {
            continue;
        }
        session.forall(2_u64..=120, async |case, later| {
            let client = case.organization()?;
            let world = World::for_operations(&client, [operation]).await?;
            let Some(path) = world.path(operation) else { return Ok(()) };
            let made = crate::case::Case::exchanges(&case);
            client.advance(later).await?;
            let Some(sending) = world.call(&client, operation) else { return Ok(()) };
            let reply = sending.send().await?;
            if reply.status != 200 {
                return Err(Fault::unable(format!("{}: {}", reply.place(), reply.summary())));
            }
            let record = reply.data()?;
            let id = record["id"].as_str().unwrap_or_default();
            // What it was when it was made.
            let earlier = made.iter().rev().find_map(|exchange| {
                let body = &exchange.answer.as_ref()?.body;
                let data = serde_json::from_slice::<Value>(body).ok()?["data"].take();
                (!id.is_empty() && data["id"] == id && path.contains(id)).then_some(data)
            });
            // Not every PATCH answers the record.
            let Some(earlier) = earlier.filter(|_| record["created_at"].is_string()) else {
                return Ok(());
            };
            let created = (&earlier["created_at"], &record["created_at"]);
            reply.holds(
                created.0 == created.1,
                format!("created_at {} as before {}", created.0, reply.place()),
                created.1.to_string(),
            )?;
            let (Some(was), Some(is)) =
                (moment(&earlier, "updated_at"), moment(&record, "updated_at"))
            else {
                return Ok(());
            };
            reply.holds(
                is > was,
                format!(
                    "updated_at after {}: {later} s later {}",
                    earlier["updated_at"],
                    reply.place()
                ),
                record["updated_at"].to_string(),
            )
        })?;
    }
    Ok(())
}
